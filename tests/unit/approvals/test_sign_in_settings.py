"""The secret that the gate is known by at its provider: read from a file, and never told."""

import logging
import os
from pathlib import Path

import pytest

from callgate.approvals.secret_file import UnusableSecret
from callgate.approvals.sign_in.settings import MAX_SECRET_BYTES, SignInSettings, read_client_secret


def written(folder: Path, octets: bytes, mode: int = 0o600) -> Path:
    path = folder / "oidc-secret"
    path.write_bytes(octets)
    path.chmod(mode)
    return path


@pytest.mark.parametrize("octets", [b"s3cret", b"s3cret\n", b"s3cret\r\n"])
def test_a_secret_is_one_line(tmp_path: Path, octets: bytes, caplog: pytest.LogCaptureFixture) -> None:
    assert read_client_secret(written(tmp_path, octets)) == b"s3cret"
    assert caplog.text == ""


@pytest.mark.parametrize("octets", [b"", b"\n", b"a\nb", b"a\x00b", "schlüssel".encode()])
def test_what_is_no_secret_is_refused_without_telling_it(tmp_path: Path, octets: bytes) -> None:
    with pytest.raises(UnusableSecret) as caught:
        read_client_secret(written(tmp_path, octets))

    assert "printable ASCII" in str(caught.value)
    assert "schl" not in str(caught.value)


def test_a_file_that_is_longer_than_any_secret_is_none(tmp_path: Path) -> None:
    with pytest.raises(UnusableSecret, match="not more than 1024 bytes"):
        read_client_secret(written(tmp_path, b"a" * (MAX_SECRET_BYTES + 1)))


def test_a_secret_that_others_can_read_is_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)

    assert read_client_secret(written(tmp_path, b"s3cret", 0o640)) == b"s3cret"
    assert "chmod 600" in caplog.text
    assert "s3cret" not in caplog.text


def test_a_file_that_is_not_there_a_folder_and_a_pipe_are_no_secret(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path in (tmp_path / "missing", tmp_path, pipe):
        with pytest.raises(UnusableSecret, match=str(path)):
            read_client_secret(path)


def test_settings_do_not_show_their_secret() -> None:
    assert "s3cret" not in repr(
        SignInSettings("https://idp.acme.test", "callgate", "https://gate.acme.test", b"s3cret")
    )
