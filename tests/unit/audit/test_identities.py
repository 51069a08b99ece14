"""Identity files: those that auditors have, and words that tell nothing of what is in them."""

from pathlib import Path

import pytest

from callgate.audit.age import KeyPair, encrypt
from callgate.audit.identities import UnusableIdentity, load_identities
from callgate.audit.recipients import load_recipients
from support.auditors import Auditor, ssh_key


def refusal(path: Path) -> str:
    with pytest.raises(UnusableIdentity) as told:
        load_identities(path)
    return str(told.value)


def written(path: Path, text: str, mode: int = 0o600) -> Path:
    path.write_text(text)
    path.chmod(mode)
    return path


def test_a_file_as_age_keygen_writes_it_is_read(tmp_path: Path) -> None:
    pair = KeyPair.generate()
    text = f"# created: 2026-11-21T12:00:00Z\n# public key: {pair.recipient}\n{pair.identity}\n"
    assert len(load_identities(written(tmp_path / "key.txt", text)).identities) == 1


def test_a_file_of_several_keys_gives_them_all(tmp_path: Path) -> None:
    keys = "\r\n".join(KeyPair.generate().identity for _ in range(3))
    assert len(load_identities(written(tmp_path / "key.txt", keys)).identities) == 3


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o620])
def test_a_file_that_is_open_to_others_is_warned_about(tmp_path: Path, mode: int) -> None:
    path = written(tmp_path / "key.txt", KeyPair.generate().identity, mode)
    assert str(path) in load_identities(path).warning


def test_a_file_that_is_its_owners_alone_is_not_warned_about(tmp_path: Path) -> None:
    assert not load_identities(written(tmp_path / "key.txt", KeyPair.generate().identity)).warning


def test_a_key_shows_itself_to_nobody(tmp_path: Path) -> None:
    pair = KeyPair.generate()
    found = load_identities(written(tmp_path / "key.txt", pair.identity))
    for shown in (repr(found), str(found.identities[0]), repr(found.identities[0]), repr(pair), str(pair)):
        assert pair.identity not in shown
        assert "SECRET" not in shown


def test_a_damaged_key_is_told_by_its_line_and_not_repeated(tmp_path: Path) -> None:
    whole, damaged = KeyPair.generate().identity, KeyPair.generate().identity[:-3]
    words = refusal(written(tmp_path / "key.txt", f"# mine\n{whole}\n{damaged}\n"))
    assert "line 3" in words
    assert damaged not in words
    assert whole not in words


def test_a_recipient_is_no_identity(tmp_path: Path) -> None:
    assert "AGE-SECRET-KEY-1" in refusal(written(tmp_path / "key.txt", Auditor().recipient))


def test_an_identity_file_that_is_itself_encrypted_is_told_so(tmp_path: Path) -> None:
    file = b"".join(encrypt(b"AGE-SECRET-KEY-1", load_recipients([Auditor().recipient])).pieces)
    (tmp_path / "key.age").write_bytes(file)
    assert "is itself encrypted" in refusal(tmp_path / "key.age")


def test_an_ssh_key_with_a_passphrase_is_told_so(tmp_path: Path) -> None:
    private, _ = ssh_key(tmp_path, passphrase="correct horse")
    assert "passphrase" in refusal(private)


@pytest.mark.parametrize("text", ["", "# only words\n", "x" * 100_000])
def test_a_file_without_a_key_is_refused(tmp_path: Path, text: str) -> None:
    assert str(tmp_path / "key.txt") in refusal(written(tmp_path / "key.txt", text))


def test_a_file_that_is_larger_than_any_key_file_is_refused(tmp_path: Path) -> None:
    text = f"{KeyPair.generate().identity}\n" + "#" * 100_000
    assert "larger than 65536 bytes" in refusal(written(tmp_path / "key.txt", text))


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    assert "No such file" in refusal(tmp_path / "key.txt")
