"""Standard Webhooks 1.0, "Signature scheme": symmetric, HMAC-SHA256.  Pure, but for reading the file."""

import binascii
import hmac
from base64 import b64decode, b64encode
from pathlib import Path
from typing import Final

from callgate.approvals.notify.target import UnusableTarget
from callgate.approvals.secret_file import UnusableSecret, read_secret_file

_PREFIX: Final = "whsec_"
# "Random. At least 24 bytes (192 bits, 512 maximum)".
_LEAST_BYTES: Final = 24
_MOST_BYTES: Final = 64
# The new one and the old one: "both signatures are sent, space delimited".
MAX_SECRETS: Final = 2
# Two secrets are less than 200 characters.
_MAX_FILE_BYTES: Final = 4_096


def read_secrets(file: Path) -> tuple[bytes, ...]:
    """One secret, or two while one gives way to the other, one a line.  Raises UnusableTarget, never with the content."""
    lines = read_lines(file)
    secrets = tuple(_secret(line) for line in lines)
    if not 1 <= len(secrets) <= MAX_SECRETS or None in secrets:
        raise UnusableTarget(
            f"{file}: must hold one secret, or two on two lines while one gives way to the other; a secret is whsec_ and "
            f"{_LEAST_BYTES} to {_MOST_BYTES} random bytes in base64, as `echo whsec_$(openssl rand -base64 32)` prints"
        )
    return tuple(secret for secret in secrets if secret is not None)


def read_lines(file: Path) -> list[str]:
    """The lines of a small file of secrets that say something.  Raises UnusableTarget."""
    try:
        text = read_secret_file(file, _MAX_FILE_BYTES).decode("ascii")
    except UnusableSecret as fault:
        raise UnusableTarget(str(fault)) from None
    except UnicodeDecodeError:
        raise UnusableTarget(f"{file}: is not plain text") from None
    return [line.strip() for line in text.splitlines() if line.strip()]


def signatures(secrets: tuple[bytes, ...], id_: str, timestamp: int, body: bytes) -> str:
    """`webhook-signature`: "v1, followed by a comma, followed by the base64 encoded signature", one for each secret."""
    signed = b".".join((id_.encode("ascii"), str(timestamp).encode("ascii"), body))
    return " ".join(f"v1,{b64encode(hmac.digest(secret, signed, 'sha256')).decode()}" for secret in secrets)


def _secret(line: str) -> bytes | None:
    """What a line holds: "base64 encoded, prefixed with `whsec_`"; some programs leave the padding out."""
    if not line.startswith(_PREFIX):
        return None
    text = line.removeprefix(_PREFIX)
    try:
        octets = b64decode(text + "=" * (-len(text) % 4), validate=True)
    except binascii.Error:
        return None
    return octets if _LEAST_BYTES <= len(octets) <= _MOST_BYTES else None
