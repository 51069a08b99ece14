"""Recipients: which texts are keys, and that private ones are refused without being repeated."""

from pathlib import Path

import pytest

from callgate.audit.age import KeyPair
from callgate.audit.content import ContentStore, read
from callgate.audit.identities import load_identities
from callgate.audit.recipients import UnusableRecipient, load_recipients
from support.auditors import Auditor, ssh_key


def refusal(folder: Path, *given: str) -> str:
    with pytest.raises(UnusableRecipient) as told:
        load_recipients(given, folder)
    return str(told.value)


def test_content_is_read_with_the_ssh_key_that_it_was_encrypted_to(tmp_path: Path) -> None:
    private, public = ssh_key(tmp_path)
    digest = ContentStore(tmp_path / "audit", [public]).put(b"of interest")
    assert read(tmp_path / "audit", digest, load_identities(private).identities) == b"of interest"


def test_an_ssh_key_needs_no_comment(tmp_path: Path) -> None:
    _, public = ssh_key(tmp_path)
    assert len(load_recipients([public.removesuffix(" auditor@acme.test")])) == 1


def test_a_file_gives_all_recipients_in_it(tmp_path: Path) -> None:
    first, second, third = Auditor(), Auditor(), Auditor()
    text = f"# who may read\n\n{first.recipient}\n  {second.recipient}  \r\n"
    (tmp_path / "auditors.txt").write_text(text)
    store = ContentStore(tmp_path / "audit", ["auditors.txt", third.recipient], tmp_path)
    digest = store.put(b"of interest")
    for auditor in (first, second, third):
        assert read(tmp_path / "audit", digest, auditor.identities) == b"of interest"


def test_a_store_without_recipients_is_refused(tmp_path: Path) -> None:
    assert "there are 0" in refusal(tmp_path)


def test_more_recipients_than_auditors_are_refused(tmp_path: Path) -> None:
    assert "1 to 32" in refusal(tmp_path, *[Auditor().recipient] * 33)


@pytest.mark.parametrize("spelled", [str.upper, str.lower, lambda key: f"  {key}\n", lambda key: f"age1 {key}"])
def test_a_private_key_given_as_recipient_is_refused_and_not_repeated(tmp_path: Path, spelled: object) -> None:
    secret = KeyPair.generate().identity
    words = refusal(tmp_path, Auditor().recipient, spelled(secret))  # type: ignore[operator]
    assert "recipient 2 is a private key" in words
    assert secret[16:].lower() not in words.lower()


def test_a_private_key_in_a_recipients_file_is_refused_with_its_line_and_not_repeated(tmp_path: Path) -> None:
    pair = KeyPair.generate()
    (tmp_path / "auditors.txt").write_text(f"# created: today\n# public key: {pair.recipient}\n{pair.identity}\n")
    words = refusal(tmp_path, "auditors.txt")
    assert "auditors.txt:3:" in words
    assert "private key" in words
    assert pair.identity[16:].lower() not in words.lower()


def test_an_openssh_private_key_file_is_refused_and_not_repeated(tmp_path: Path) -> None:
    private, _ = ssh_key(tmp_path)
    words = refusal(tmp_path, private.name)
    assert "private key" in words
    assert not any(line in words for line in private.read_text().splitlines() if not line.startswith("-----"))


def test_the_rest_of_a_private_key_without_its_beginning_is_not_repeated(tmp_path: Path) -> None:
    rest = KeyPair.generate().identity[20:]
    assert rest not in refusal(tmp_path, rest)


def test_a_recipient_with_one_wrong_character_is_told_as_mistyped(tmp_path: Path) -> None:
    right = Auditor().recipient
    wrong = right[:-1] + ("q" if right[-1] != "q" else "p")
    assert "recipient 1 is mistyped" in refusal(tmp_path, wrong)
    (tmp_path / "auditors.txt").write_text(f"{wrong}\n")
    assert "auditors.txt is mistyped" in refusal(tmp_path, "auditors.txt")


def test_other_ssh_keys_and_post_quantum_keys_are_refused(tmp_path: Path) -> None:
    _, ecdsa = ssh_key(tmp_path, "ecdsa")
    for other in (ecdsa, "ssh-rsa AAAAB3NzaC1yc2E", "age1pq1qqqq"):
        assert "recipient 1 is neither age1… nor ssh-ed25519 …" in refusal(tmp_path, other)


@pytest.mark.parametrize("content", [b"", b"# nobody\n", b"\xff\xfe", b"not a key\n", b"#" * 100_000])
def test_a_file_that_gives_no_recipients_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "auditors.txt").write_bytes(content)
    assert refusal(tmp_path, "auditors.txt")


def test_a_file_that_is_larger_than_any_list_of_recipients_is_refused(tmp_path: Path) -> None:
    (tmp_path / "auditors.txt").write_text(f"{Auditor().recipient}\n" + "#" * 100_000)
    assert "larger than 65536 bytes" in refusal(tmp_path, "auditors.txt")


def test_a_folder_and_a_file_that_is_not_there_are_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path, ".") == refusal(tmp_path, "nobody.txt")
