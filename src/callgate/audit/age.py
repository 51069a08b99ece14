"""The age format (C2SP age v1), by the only module that knows whose implementation it is.

pyrage holds Python's global lock while it works, but lets go of it between the 64 KiB chunks of the format when it
writes to a Python object: so it is given one, and the hash of the file is taken at the same time.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from io import BytesIO
from typing import Any, Final

import pyrage  # type: ignore[import-untyped]

from callgate.errors import GatewayError

# The first line of every age file.
INTRODUCTION: Final = b"age-encryption.org/v1\n"
OPENSSH_KEY: Final = b"-----BEGIN OPENSSH PRIVATE KEY-----"
# What pyrage says where each recipient of a file is somebody else; its errors have no other mark.
_NO_KEY: Final = "No matching keys found"


class NoMatchingKey(GatewayError):  # noqa: N818  # says what there is not
    """The file is encrypted to other keys."""


class BrokenAgeFile(GatewayError):  # noqa: N818  # says what it is
    """The file is none of the age format, or was cut or changed."""


@dataclass(frozen=True, slots=True)
class Recipient:
    """To whom files are encrypted: a public key."""

    _key: Any = field(repr=False)

    @classmethod
    def parse(cls, text: str) -> "Recipient | None":
        """An X25519 recipient (`age1…`) or an SSH key (`ssh-ed25519 AAAA…`, with or without its comment)."""
        read = pyrage.ssh.Recipient.from_str if text.startswith("ssh-ed25519 ") else pyrage.x25519.Recipient.from_str
        try:
            return cls(read(text))
        except pyrage.RecipientError:
            return None


@dataclass(frozen=True, slots=True)
class Identity:
    """Who can read: a private key.  It shows itself to nobody."""

    _key: Any = field(repr=False)

    @classmethod
    def parse(cls, text: str) -> "Identity | None":
        """An X25519 identity, `AGE-SECRET-KEY-1…`."""
        try:
            return cls(pyrage.x25519.Identity.from_str(text))
        except pyrage.IdentityError:
            return None

    @classmethod
    def parse_openssh(cls, file: bytes) -> "Identity | None":
        """A private key file of OpenSSH; None for one that is not Ed25519's or RSA's, or has a passphrase."""
        try:
            return cls(pyrage.ssh.Identity.from_buffer(file))
        except pyrage.IdentityError:
            return None


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A new X25519 identity in writing.  `identity` is secret."""

    identity: str = field(repr=False)
    recipient: str

    @classmethod
    def generate(cls) -> "KeyPair":
        """A pair that nobody else has."""
        key = pyrage.x25519.Identity.generate()
        return cls(str(key), str(key.to_public()))


class AgeFile:
    """An encrypted file in memory, in the pieces in which it was made, and its SHA-256."""

    __slots__ = ("_digest", "pieces")

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self._digest = sha256()

    @property
    def sha256(self) -> str:
        """Of the whole file, in hex."""
        return self._digest.hexdigest()

    def write(self, piece: bytes) -> int:
        """For pyrage: the next piece."""
        self._digest.update(piece)
        self.pieces.append(piece)
        return len(piece)

    def flush(self) -> None:
        """For pyrage: nothing is held back."""


def encrypt(plaintext: bytes, recipients: Sequence[Recipient]) -> AgeFile:
    """Each of the recipients can read the file, and nobody else.  There must be one."""
    file = AgeFile()
    pyrage.encrypt_io(BytesIO(plaintext), file, [recipient._key for recipient in recipients])  # noqa: SLF001
    return file


def decrypt(file: bytes, identities: Sequence[Identity]) -> bytes:
    """The plaintext, by the first identity that fits.  Raises NoMatchingKey or BrokenAgeFile."""
    try:
        plaintext: bytes = pyrage.decrypt(file, [identity._key for identity in identities])  # noqa: SLF001
    except pyrage.DecryptError as error:
        if str(error) == _NO_KEY:
            raise NoMatchingKey("it is encrypted to other keys") from None
        raise BrokenAgeFile("it is no whole age file") from None
    return plaintext
