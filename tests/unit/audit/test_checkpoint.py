"""Checkpoints as c2sp.org/tlog-checkpoint has them."""

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from callgate.audit.checkpoint import MAX_SIZE, Checkpoint, CheckpointKey, VerifierKey
from callgate.audit.note import BadNote, Flaw, Signer, UnusableNoteKey

ORIGIN = "gate.acme.test/audit"
PRIVATE = Ed25519PrivateKey.from_private_bytes(bytes(32))
KEY = CheckpointKey(ORIGIN, PRIVATE)
ROOT = bytes(range(32))
TEXT = f"{ORIGIN}\n1000\nAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n"


def flaw(text: str) -> Flaw:
    found = KEY.verifier.verify(Signer(ORIGIN, PRIVATE).sign(text))
    assert isinstance(found, BadNote)
    return found.flaw


def test_the_note_has_origin_size_and_root_on_three_lines() -> None:
    assert KEY.sign(1000, ROOT).startswith(f"{TEXT}\n— {ORIGIN} ")


def test_what_the_key_signed_is_read_with_its_verifier_key_alone() -> None:
    found = VerifierKey.parse(KEY.vkey).verify(KEY.sign(1000, ROOT))

    assert found == Checkpoint(ORIGIN, 1000, ROOT)
    assert VerifierKey.parse(KEY.vkey).origin == ORIGIN


@pytest.mark.parametrize("size", [0, 1, MAX_SIZE])
def test_sizes_of_63_bits_are_read(size: int) -> None:
    assert KEY.verifier.verify(KEY.sign(size, ROOT)) == Checkpoint(ORIGIN, size, ROOT)


def test_extension_lines_are_passed_over() -> None:
    assert KEY.verifier.verify(Signer(ORIGIN, PRIVATE).sign(f"{TEXT}more\nand more\n")) == Checkpoint(
        ORIGIN, 1000, ROOT
    )


@pytest.mark.parametrize(
    "text",
    [
        "x\n",
        f"{ORIGIN}\n1000\n",
        TEXT.replace("1000", "01000"),
        TEXT.replace("1000", "-1"),
        TEXT.replace("1000", "+1"),
        TEXT.replace("1000", "1_0"),
        TEXT.replace("1000", "٣"),
        TEXT.replace("1000", ""),
        TEXT.replace("1000", " 1000"),
        TEXT.replace("1000", str(MAX_SIZE + 1)),
        TEXT.replace("1000", "9" * 5000),
        TEXT.replace("Hh8=", "Hh9="),
        TEXT.replace("Hh8=", "Hh8"),
        TEXT.replace("AAEC", ""),
        f"{TEXT}\nmore\n",
    ],
)
def test_a_text_that_is_no_checkpoint_is_refused_although_it_is_signed(text: str) -> None:
    assert flaw(text) is Flaw.MALFORMED


def test_a_checkpoint_of_another_log_is_refused_although_this_key_signed_it() -> None:
    assert flaw(TEXT.replace("gate.acme.test", "gate.evil.test")) is Flaw.OTHER_ORIGIN


def test_a_key_comes_back_from_its_pem() -> None:
    assert KEY.pem().startswith(b"-----BEGIN PRIVATE KEY-----\n")
    assert CheckpointKey.load(KEY.pem(), ORIGIN).vkey == KEY.vkey


def test_each_generated_key_is_another_one() -> None:
    assert CheckpointKey.generate(ORIGIN).vkey != CheckpointKey.generate(ORIGIN).vkey


@pytest.mark.parametrize(
    "pem",
    [
        b"",
        b"\xff" * 100,
        KEY.pem()[:60],
        KEY.vkey.encode(),
        PRIVATE.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")),
        generate_private_key(SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
    ],
)
def test_what_is_no_ed25519_key_without_a_passphrase_is_refused(pem: bytes) -> None:
    with pytest.raises(UnusableNoteKey):
        CheckpointKey.load(pem, ORIGIN)


def test_an_origin_that_no_note_can_name_is_refused() -> None:
    with pytest.raises(UnusableNoteKey):
        CheckpointKey.load(KEY.pem(), "two words")


def test_no_text_form_of_a_key_holds_any_of_it() -> None:
    assert repr(KEY) == f"CheckpointKey({KEY.vkey!r})"
    assert PRIVATE.private_bytes_raw().hex() not in f"{KEY} {KEY!r}"
