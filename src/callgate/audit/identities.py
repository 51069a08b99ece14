"""Private keys with which auditors read recorded content.  They have no place on the gate's machine."""

import os
import stat
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from callgate.audit.age import INTRODUCTION, OPENSSH_KEY, Identity, KeyPair
from callgate.errors import GatewayError

# A key takes 75 bytes: some hundred of them, with comments.
_MAX_BYTES: Final = 64 * 1024
_MODE: Final = 0o600
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO


class UnusableIdentity(GatewayError):  # noqa: N818  # says what it is
    """A file holds no private key that can be used.  The words never hold what is in it."""


@dataclass(frozen=True, slots=True)
class IdentityFile:
    """The keys of one file.  `warning`: who else can read them, or ""."""

    identities: tuple[Identity, ...]
    warning: str


def load_identities(path: Path) -> IdentityFile:
    """Read a file as age-keygen writes it (`AGE-SECRET-KEY-1…`, comments), or an OpenSSH private key.

    Blocks.  Raises UnusableIdentity.
    """
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            content = file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise UnusableIdentity(f"cannot read the key file {path}: {error.strerror}") from None
    if len(content) > _MAX_BYTES:
        raise UnusableIdentity(f"{path} is larger than {_MAX_BYTES} bytes: is it a key file?")
    open_to_others = stat.S_ISREG(mode) and mode & _OTHERS
    warning = f"{path} is open to others than its owner; run: chmod 600 {path}" if open_to_others else ""
    return IdentityFile(_parsed(content, path), warning)


def write_identity(path: Path, pair: KeyPair) -> None:
    """Write a new key file, whole and durable or not at all, readable by nobody else.  Raises OSError.

    FileExistsError where there is one: a key that is overwritten cannot be brought back.
    """
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _MODE)
    try:
        with os.fdopen(fd, "w", encoding="ascii") as file:
            file.write(f"# created: {now}\n# public key: {pair.recipient}\n{pair.identity}\n")
            file.flush()
            os.fsync(fd)
    except OSError:
        path.unlink()
        raise


def _parsed(content: bytes, path: Path) -> tuple[Identity, ...]:
    if content.startswith(INTRODUCTION):
        raise UnusableIdentity(f"{path} is itself encrypted; decrypt it first, with age --decrypt")
    if content.lstrip().startswith(OPENSSH_KEY):
        return (_openssh(content, path),)
    lines = [line.strip() for line in content.decode("utf-8", "replace").splitlines()]
    found = [
        (number, Identity.parse(line)) for number, line in enumerate(lines, 1) if line and not line.startswith("#")
    ]
    identities = tuple(identity for _, identity in found if identity is not None)
    if not found or len(identities) < len(found):
        line = next((f", line {number}," for number, identity in found if identity is None), "")
        raise UnusableIdentity(f"{path}{line} holds no private key of age: AGE-SECRET-KEY-1…, as age-keygen writes it")
    return identities


def _openssh(content: bytes, path: Path) -> Identity:
    identity = Identity.parse_openssh(content)
    if identity is None:
        raise UnusableIdentity(
            f"{path} cannot be used: it must be an OpenSSH key of type ssh-ed25519 without a passphrase (a copy without "
            "one: ssh-keygen -p -N '' -f COPY)"
        )
    return identity
