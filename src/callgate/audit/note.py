"""Text that a key has signed: the C2SP signed-note format (c2sp.org/signed-note), with Ed25519.

    <text, one line or more>
    <empty line>
    — <key name> base64(key ID || signature)

A verifier key is `<key name>+<key ID in hex>+base64(0x01 || public key)`.  Pure.
"""

import binascii
import re
from base64 import b64encode
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import sha256
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from callgate.errors import GatewayError

# "MUST accept at least up to 16 signatures"; "post-quantum signatures can be up to nearly 5kB in size": 16 of these
# come to 107 kB.  A note of ours has 200 bytes.
MAX_NOTE_BYTES: Final = 128 * 1024
# A name of 255 characters of four bytes, and the key; a verifier key of ours has less than 150.
MAX_VERIFIER_KEY_BYTES: Final = 2048
# As long as a DNS name can be; it stands in every note and at the head of every file of a log.
MAX_NAME_CHARACTERS: Final = 255
# Signature type identifier: "`0x01` — Ed25519 signatures as specified by this document."
_ED25519: Final = b"\x01"
_KEY_BYTES: Final = 32
_KEY_ID_BYTES: Final = 4
# Each signature line has "em dash (U+2014), space (U+0020), key name, space, base64-encoded signature, newline".
_SIGNATURE_LINE: Final = "\N{EM DASH} "
_CONTROL: Final = re.compile(rb"[\x00-\x09\x0b-\x1f]")


class UnusableNoteKey(GatewayError):  # noqa: N818  # says what the input is
    """A key, or a key's name, that no note can be signed or verified with."""


class Flaw(StrEnum):
    """What is wrong with a note."""

    MALFORMED = "malformed"
    # No signature of the key that was asked about.
    UNSIGNED = "unsigned"
    # One that does not fit the text.
    FORGED = "forged"
    # Well signed, and of another log.
    OTHER_ORIGIN = "other_origin"


@dataclass(frozen=True, slots=True)
class BadNote:
    """A note that proves nothing.  `why` is a sentence of ours, without any of the note's text."""

    flaw: Flaw
    why: str


@dataclass(frozen=True, slots=True, eq=False)
class Verifier:
    """The public half of a key and its name: what an auditor holds.

    Raises UnusableNoteKey for a name that no key can have.
    """

    name: str
    public_key: Ed25519PublicKey
    key_id: bytes = field(init=False)

    def __post_init__(self) -> None:
        if not is_key_name(self.name):
            raise UnusableNoteKey(
                f"a key's name has 1 to {MAX_NAME_CHARACTERS} characters, no space, no control character and no '+'"
            )
        # Ed25519 signatures: "key ID = SHA-256(key name || 0x0A || 0x01 || 32-byte Ed25519 public key)[:4]".
        hashed = sha256(self.name.encode() + b"\n" + _ED25519 + self.public_key.public_bytes_raw())
        object.__setattr__(self, "key_id", hashed.digest()[:_KEY_ID_BYTES])

    def __str__(self) -> str:
        key = b64encode(_ED25519 + self.public_key.public_bytes_raw()).decode()
        return f"{self.name}+{self.key_id.hex()}+{key}"

    @classmethod
    def parse(cls, text: str) -> "Verifier":
        """Read a verifier key; blanks around it are no part of it.  Raises UnusableNoteKey."""
        name, plus, rest = text.strip().partition("+")
        key_id, second_plus, encoded = rest.partition("+")
        octets = decoded(encoded)
        if len(text) > MAX_VERIFIER_KEY_BYTES or not (plus and second_plus and octets):
            raise UnusableNoteKey("not a verifier key: that is <name>+<8 hex digits>+<base64>, on one line")
        if octets[:1] != _ED25519:
            raise UnusableNoteKey("a verifier key of another kind than Ed25519")
        if len(octets) != 1 + _KEY_BYTES:
            raise UnusableNoteKey("a verifier key that is too short or too long; was it cut?")
        verifier = cls(name, Ed25519PublicKey.from_public_bytes(octets[1:]))
        if key_id.lower() != verifier.key_id.hex():
            raise UnusableNoteKey(
                "the ID within the verifier key is not that of its name and key; was it cut or edited?"
            )
        return verifier

    def open(self, note: str) -> str | BadNote:
        """The text of a note, its final line feed included, if this key has signed it."""
        try:
            octets = note.encode()
        except UnicodeEncodeError:
            return BadNote(Flaw.MALFORMED, "not valid UTF-8")
        if len(octets) > MAX_NOTE_BYTES:
            return BadNote(Flaw.MALFORMED, f"more than {MAX_NOTE_BYTES} bytes")
        # Notes "MUST NOT contain any ASCII control characters (those below U+0020) other than newline".
        if _CONTROL.search(octets):
            return BadNote(Flaw.MALFORMED, "it holds a control character")
        # "the text is separated from the signatures by the last empty line in the note"
        text, empty_line, signatures = note.rpartition("\n\n")
        if not empty_line or not signatures.endswith("\n"):
            return BadNote(Flaw.MALFORMED, "not a text, an empty line and signatures, with a line feed at the end")
        return self._verified(text + "\n", signatures.removesuffix("\n").split("\n"))

    def _verified(self, text: str, lines: list[str]) -> str | BadNote:
        mine: bytes | None = None
        for line in lines:
            found = _signature(line)
            if found is None:
                return BadNote(Flaw.MALFORMED, "a line after the empty one is no signature")
            name, octets = found
            # "Verifiers MUST ignore signatures from unknown keys, even if they share a name or ID (but not both)".
            if mine is None and name == self.name and octets[:_KEY_ID_BYTES] == self.key_id:
                mine = octets[_KEY_ID_BYTES:]
        if mine is None:
            return BadNote(Flaw.UNSIGNED, "no signature of this key")
        try:
            self.public_key.verify(mine, text.encode())
        except InvalidSignature:
            return BadNote(Flaw.FORGED, "the signature does not fit the text")
        return text


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Signer:
    """A private key and its name.  Raises UnusableNoteKey for a name that no key can have."""

    name: str
    private_key: Ed25519PrivateKey
    verifier: Verifier = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "verifier", Verifier(self.name, self.private_key.public_key()))

    def __repr__(self) -> str:
        return f"Signer({str(self.verifier)!r})"

    def sign(self, text: str) -> str:
        """The whole note.  `text` ends with a line feed and has no control character."""
        signature = b64encode(self.verifier.key_id + self.private_key.sign(text.encode())).decode()
        return f"{text}\n{_SIGNATURE_LINE}{self.name} {signature}\n"


def is_key_name(name: str) -> bool:
    """Whether a key can be called so.

    "Key names MUST be non-empty and MUST NOT contain any Unicode spaces or plus (U+002B) characters."
    """
    # Longer names and unprintable ones are allowed there; a name is shown to people, and stands in every note.
    return 0 < len(name) <= MAX_NAME_CHARACTERS and name.isprintable() and not any(map(_is_no_name, name))


def decoded(text: str) -> bytes | None:
    """What standard Base64 with its padding stands for; None for any other text, and for a second way to write it."""
    try:
        octets = binascii.a2b_base64(text, strict_mode=True)
    except ValueError:
        return None
    return octets if b64encode(octets).decode() == text else None


def _is_no_name(character: str) -> bool:
    return character == "+" or character.isspace()


def _signature(line: str) -> tuple[str, bytes] | None:
    """The key's name, and its ID followed by the signature."""
    name, space, encoded = line.removeprefix(_SIGNATURE_LINE).partition(" ")
    octets = decoded(encoded)
    if not line.startswith(_SIGNATURE_LINE) or not space or octets is None or len(octets) <= _KEY_ID_BYTES:
        return None
    return None if not name or any(map(_is_no_name, name)) else (name, octets)
