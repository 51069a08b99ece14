"""Keeping what people are shown from whoever can read the disk, and from being put in another row's place."""

import hmac
import os
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from callgate.approvals.stored import Unreadable, written

KEY_BYTES: Final = 32
SALT_BYTES: Final = 32
# SP 800-38D, 8.2.2 and 8.3: random 96-bit nonces serve for 2^32 messages under one key; each store has a salt, and so a
# key, of its own, and a hundred changes a second for a year are fewer.
_NONCE_BYTES: Final = 12
_INFO: Final = b"callgate approvals store, version 1"
_INFO_OF_NAMES: Final = b"callgate approvals store, names of rows, version 1"


class Seal:
    """AES-256-GCM under a key for one store, made from the gate's `key` (32 bytes) and the store's `salt`."""

    def __init__(self, key: bytes, salt: bytes) -> None:
        if len(key) != KEY_BYTES:
            raise ValueError(f"the store's key has {KEY_BYTES} bytes")
        self._cipher = AESGCM(HKDF(SHA256(), KEY_BYTES, salt, _INFO).derive(key))
        self._names = HKDF(SHA256(), KEY_BYTES, salt, _INFO_OF_NAMES).derive(key)

    def name(self, text: str) -> str:
        """What stands for `text` in clear, the same each time: of a digest of arguments, one could guess them."""
        return hmac.digest(self._names, text.encode(), "sha256").hex()

    def sealed(self, plain: bytes, *place: str | float | None) -> bytes:
        """`plain`, to be opened with the same `place` alone.  Raises StoreFault for a place that is not Unicode."""
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, plain, _bytes_of(place))

    def opened(self, sealed: bytes, *place: str | float | None) -> bytes:
        """What was sealed for that place.  Raises Unreadable for anything else."""
        try:
            return self._cipher.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], _bytes_of(place))
        except (InvalidTag, ValueError):
            raise Unreadable("not what was kept there") from None


def _bytes_of(place: tuple[str | float | None, ...]) -> bytes:
    # SQLite keeps -0.0 as 0.0.
    return written([each + 0.0 if isinstance(each, float) else each for each in place])
