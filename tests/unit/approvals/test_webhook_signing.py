"""Standard Webhooks 1.0: the secret and the signature."""

import os
import time
from base64 import b64decode, b64encode
from pathlib import Path

import pytest
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from callgate.approvals.notify.signing import read_secrets, signatures
from callgate.approvals.notify.target import UnusableTarget

SECRET = bytes(range(32))
OTHER = bytes(range(32, 64))
WRITTEN = f"whsec_{b64encode(SECRET).decode()}"
WRITTEN_OTHER = f"whsec_{b64encode(OTHER).decode()}"


def written(folder: Path, text: str) -> Path:
    file = folder / "secret"
    file.write_text(text)
    return file


def test_signs_as_the_libraries_of_the_specification_do() -> None:
    # The vector that libraries/*/tests of the specification's repository share.
    secret = "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    found = signatures((b64decode(secret),), "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert found == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_either_secret_verifies_while_one_gives_way_to_the_other(tmp_path: Path) -> None:
    secrets = read_secrets(written(tmp_path, f"{WRITTEN}\n{WRITTEN_OTHER}\n"))
    now = int(time.time())
    headers = {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(now),
        "webhook-signature": signatures(secrets, "msg_1", now, b"{}"),
    }
    assert Webhook(WRITTEN).verify(b"{}", headers) == {}
    assert Webhook(WRITTEN_OTHER).verify(b"{}", headers) == {}
    with pytest.raises(WebhookVerificationError):
        Webhook(f"whsec_{b64encode(bytes(32)).decode()}").verify(b"{}", headers)


def test_reads_a_secret_without_padding(tmp_path: Path) -> None:
    assert read_secrets(written(tmp_path, WRITTEN.rstrip("="))) == (SECRET,)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n\n",
        "a password",
        b64encode(SECRET).decode(),
        f"whsec_{b64encode(bytes(23)).decode()}",
        f"whsec_{b64encode(bytes(65)).decode()}",
        "whsec_!!!not base64!!!",
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw!",
        f"whsk_{b64encode(SECRET).decode()}",
        f"{WRITTEN}\n{WRITTEN_OTHER}\n{WRITTEN}",
        f"{WRITTEN}\nand more",
        WRITTEN + "\n" * 5000,
        "whsec_é",
    ],
)
def test_refuses_a_file_that_holds_no_secret_without_repeating_it(tmp_path: Path, text: str) -> None:
    with pytest.raises(UnusableTarget) as refused:
        read_secrets(written(tmp_path, text))
    assert "secret" in str(refused.value)
    assert b64encode(SECRET).decode() not in str(refused.value)
    assert refused.value.__cause__ is None


@pytest.mark.parametrize("size", [24, 64])
def test_takes_secrets_of_24_to_64_bytes(tmp_path: Path, size: int) -> None:
    assert read_secrets(written(tmp_path, f"whsec_{b64encode(bytes(size)).decode()}")) == (bytes(size),)


def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UnusableTarget, match="plain file"):
        read_secrets(tmp_path / "pipe")


def test_a_secret_that_others_can_read_is_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = written(tmp_path, WRITTEN)
    file.chmod(0o640)
    assert read_secrets(file) == (SECRET,)
    assert f"{file} can be read by other users" in caplog.text
    assert WRITTEN not in caplog.text


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UnusableTarget, match="nowhere: a secret cannot be read: No such file"):
        read_secrets(tmp_path / "nowhere")
