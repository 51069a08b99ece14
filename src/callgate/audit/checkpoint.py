"""What the tree was at some size, signed: the C2SP checkpoint format (c2sp.org/tlog-checkpoint).

    <origin>
    <size, in decimal>
    <root hash, in Base64>

Whoever has one can tell, later and offline, whether a log still holds the records that it held then.  Pure.
"""

from base64 import b64encode
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from callgate.audit.merkle import HASH_BYTES
from callgate.audit.note import BadNote, Flaw, Signer, UnusableNoteKey, Verifier, decoded

# What other implementations keep in 64 bits with a sign; at a million records a second, 292,000 years.
MAX_SIZE: Final = 2**63 - 1
_MAX_SIZE_DIGITS: Final = len(str(MAX_SIZE))
# Records after the last checkpoint.  The gate signs after 256 at the latest, and while it is busy a few hundred more can
# be on their way.
MAX_UNSIGNED: Final = 4096


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """`size` records had this `root` (32 bytes), in the log that is called `origin`."""

    origin: str
    size: int
    root: bytes

    def __str__(self) -> str:
        """The text of its note."""
        return f"{self.origin}\n{self.size}\n{b64encode(self.root).decode()}\n"

    @classmethod
    def parse(cls, text: str) -> "Checkpoint | BadNote":
        """Read the text of a note; extension lines are passed over ("opaque and OPTIONAL")."""
        lines = text.removesuffix("\n").split("\n")
        if len(lines) < 3 or not all(lines):
            return BadNote(Flaw.MALFORMED, "a checkpoint has three lines or more, and none of them is empty")
        origin, size, root = lines[:3]
        octets = decoded(root)
        if not _is_size(size) or octets is None or len(octets) != HASH_BYTES:
            return BadNote(Flaw.MALFORMED, "no checkpoint: its second line is a number, its third a hash in Base64")
        return cls(origin, int(size), octets)


class VerifierKey:
    """The public half of a log's key.  The key is called as the log is."""

    __slots__ = ("_verifier",)

    def __init__(self, verifier: Verifier) -> None:
        self._verifier = verifier

    @classmethod
    def parse(cls, text: str) -> "VerifierKey":
        """Read `<origin>+<key ID>+<key>`.  Raises UnusableNoteKey."""
        return cls(Verifier.parse(text))

    def __str__(self) -> str:
        return str(self._verifier)

    @property
    def origin(self) -> str:
        """What the log is called."""
        return self._verifier.name

    def verify(self, note: str) -> Checkpoint | BadNote:
        """The checkpoint in a note that this key signed for its own log."""
        text = self._verifier.open(note)
        found = Checkpoint.parse(text) if isinstance(text, str) else text
        if isinstance(found, Checkpoint) and found.origin != self.origin:
            return BadNote(Flaw.OTHER_ORIGIN, "signed by this key, for another log than its own")
        return found


class CheckpointKey:
    """The private half: Ed25519, as PKCS #8 in PEM.  No text form of it holds any of the key."""

    __slots__ = ("_signer",)

    def __init__(self, origin: str, private_key: Ed25519PrivateKey) -> None:
        """Raises UnusableNoteKey for an origin that no log can have."""
        self._signer = Signer(origin, private_key)

    @classmethod
    def load(cls, pem: bytes, origin: str) -> "CheckpointKey":
        """Raises UnusableNoteKey for anything but an Ed25519 private key without a passphrase."""
        try:
            private_key = load_pem_private_key(pem, password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            raise UnusableNoteKey("not a private key in PEM, or one with a passphrase") from None
        if not isinstance(private_key, Ed25519PrivateKey):
            raise UnusableNoteKey("a private key of another kind than Ed25519")
        return cls(origin, private_key)

    @classmethod
    def generate(cls, origin: str) -> "CheckpointKey":
        """A new key.  Raises UnusableNoteKey for an origin that no log can have."""
        return cls(origin, Ed25519PrivateKey.generate())

    def __repr__(self) -> str:
        return f"CheckpointKey({self.vkey!r})"

    @property
    def origin(self) -> str:
        """What the log is called."""
        return self._signer.name

    @property
    def vkey(self) -> str:
        """The public half, as a verifier key."""
        return str(self._signer.verifier)

    @property
    def verifier(self) -> VerifierKey:
        """The public half."""
        return VerifierKey(self._signer.verifier)

    def pem(self) -> bytes:
        """The key itself, for its file."""
        return self._signer.private_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    def derived(self, purpose: bytes) -> bytes:
        """32 bytes for another purpose, the same each time, that tell nothing of the key (RFC 5869)."""
        secret = self._signer.private_key.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())
        return HKDF(SHA256(), 32, salt=None, info=purpose).derive(secret)

    def sign(self, size: int, root: bytes) -> str:
        """The checkpoint of a tree, as a whole note."""
        return self._signer.sign(str(Checkpoint(self.origin, size, root)))


def _is_size(text: str) -> bool:
    """Whether it is "the ASCII decimal representation of the number of leaves in the tree, with no leading zeroes"."""
    if not (text.isascii() and text.isdecimal() and len(text) <= _MAX_SIZE_DIGITS):
        return False
    return (text == "0" or not text.startswith("0")) and int(text) <= MAX_SIZE
