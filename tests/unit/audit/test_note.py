"""Signed notes as c2sp.org/signed-note has them; the Go tests hold them against another implementation."""

from base64 import b64encode

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from callgate.audit.note import MAX_NOTE_BYTES, BadNote, Flaw, Signer, UnusableNoteKey, Verifier, is_key_name

# The specification's own example.
VKEY = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
TEXT = "This is an example message.\n"
LINE = (
    "— example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n"
)
NOTE = f"{TEXT}\n{LINE}"
SIGNER = Signer("example.com/foo", Ed25519PrivateKey.from_private_bytes(bytes(32)))
OTHERS = "— example.com/witness " + b64encode(b"\1\2\3\4" + bytes(76)).decode() + "\n"


def flaw(note: str, key: str = VKEY) -> Flaw:
    found = Verifier.parse(key).open(note)
    assert isinstance(found, BadNote)
    return found.flaw


def test_the_example_of_the_specification_verifies() -> None:
    assert Verifier.parse(VKEY).open(NOTE) == TEXT
    assert str(Verifier.parse(VKEY)) == VKEY


def test_what_was_signed_verifies() -> None:
    assert SIGNER.verifier.open(SIGNER.sign("one\n\ntwo\n")) == "one\n\ntwo\n"


@pytest.mark.parametrize(
    "others", [[OTHERS, LINE], [LINE, OTHERS], [OTHERS] * 15 + [LINE], [LINE, OTHERS.replace("AQIDBA", "Uw2QOg")]]
)
def test_signatures_of_keys_that_are_not_known_are_ignored(others: list[str]) -> None:
    assert Verifier.parse(VKEY).open(f"{TEXT}\n{''.join(others)}") == TEXT


def test_a_key_of_the_same_name_or_the_same_id_is_not_the_key() -> None:
    assert flaw(NOTE, str(SIGNER.verifier)) is Flaw.UNSIGNED
    assert flaw(f"{TEXT}\n{LINE.replace('foo', 'bar')}") is Flaw.UNSIGNED


def test_a_signature_of_the_key_that_does_not_fit_is_not_made_good_by_a_second_one() -> None:
    forged = LINE.replace("Uw2QOkn8", "Uw2QOkn9")

    assert flaw(f"{TEXT}\n{forged}") is Flaw.FORGED
    assert flaw(f"{TEXT}\n{forged}{LINE}") is Flaw.FORGED
    assert flaw(NOTE.replace("example message", "example massage")) is Flaw.FORGED


@pytest.mark.parametrize(
    "note",
    [
        "",
        TEXT,
        f"{TEXT}\n",
        f"{TEXT}{LINE}",
        NOTE.removesuffix("\n"),
        f"{NOTE}\n",
        NOTE.replace("—", "-"),
        f"{TEXT}\n— example.com/foo\n",
        f"{TEXT}\n— example.com/foo Uw2QOg==\n",
        f"{TEXT}\n—  Uw2QOkn8\n",
        f"{TEXT}\n— a+b Uw2QOkn8\n{LINE}",
        f"{TEXT}\n— a\N{NO-BREAK SPACE}b Uw2QOkn8\n{LINE}",
        f"{TEXT}\nno signature\n{LINE}",
        NOTE.replace("=\n", "\n"),
        # The same bytes, written another way: bits that stand for nothing are set.
        NOTE.replace("aQM=", "aQN="),
        NOTE.replace("Uw2QOkn8", "Uw2QOkn8 "),
        NOTE.replace("\n", "\r\n"),
        NOTE.replace("example m", "example\tm"),
        NOTE.replace("example m", "example\0m"),
        NOTE.replace("example m", "example\ud800m"),
        f"{'x' * MAX_NOTE_BYTES}\n\n{LINE}",
    ],
)
def test_what_is_no_note_is_refused_as_malformed(note: str) -> None:
    assert flaw(note) is Flaw.MALFORMED


def test_what_is_wrong_is_told_without_anything_of_the_note() -> None:
    found = Verifier.parse(VKEY).open(NOTE.replace("This", "\x1b[31mThis"))

    assert isinstance(found, BadNote)
    assert "This" not in found.why
    assert found.why.isprintable()


@given(st.text())
def test_no_text_is_taken_for_a_note_or_makes_it_fail(text: str) -> None:
    assert isinstance(Verifier.parse(VKEY).open(text), BadNote)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "example.com/foo",
        "example.com/foo+530d903a",
        VKEY.replace("530d903a", "530d903b"),
        VKEY.replace("foo", "bar"),
        VKEY.replace("AekyeR", "BOkyeR"),
        VKEY.removesuffix("2k"),
        VKEY[:-1] + "l",
        VKEY.replace("example.com/foo", ""),
        VKEY.replace("example.com/foo", "example.com foo"),
        VKEY + "x" * 4096,
        "\udcff" + VKEY,
    ],
)
def test_what_is_no_verifier_key_is_refused(text: str) -> None:
    with pytest.raises(UnusableNoteKey):
        Verifier.parse(text)


def test_a_verifier_key_may_have_a_line_feed_behind_it_and_its_id_in_capitals() -> None:
    assert str(Verifier.parse(VKEY.replace("530d903a", "530D903A") + "\n")) == VKEY


@pytest.mark.parametrize(
    "name", ["", "a b", "a+b", "a\nb", "a\N{NO-BREAK SPACE}b", "a\N{EM SPACE}b", "a\x7f", "x" * 256]
)
def test_no_key_is_called_what_a_note_cannot_hold(name: str) -> None:
    assert not is_key_name(name)
    with pytest.raises(UnusableNoteKey):
        Signer(name, SIGNER.private_key)


def test_a_signer_does_not_show_its_key() -> None:
    assert SIGNER.private_key.private_bytes_raw().hex() not in repr(SIGNER)
    assert repr(SIGNER) == f"Signer({str(SIGNER.verifier)!r})"
