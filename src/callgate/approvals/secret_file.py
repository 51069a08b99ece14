"""Small files of secrets: client secrets, tokens, signing secrets."""

import logging
import os
import stat
from pathlib import Path
from typing import Final

from callgate.errors import GatewayError

_LOG: Final = logging.getLogger(__name__)
_OTHERS: Final = 0o077


class UnusableSecret(GatewayError):  # noqa: N818  # says what the file holds
    """A file of a secret that cannot be read, or that holds none.  The message never says what it read."""


def read_secret_file(path: Path, max_bytes: int) -> bytes:
    """All of it.  Raises UnusableSecret.  One that others can read is told of in the log: mounted secrets often are so."""
    try:
        # Without O_NONBLOCK a pipe of that name would hold up the start for ever.
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            octets = file.read(max_bytes + 1) if stat.S_ISREG(mode) else None
    except OSError as error:
        raise UnusableSecret(f"{path}: a secret cannot be read: {error.strerror or error}") from error
    if octets is None:
        raise UnusableSecret(f"{path}: a secret stands in a plain file, and this is none")
    if len(octets) > max_bytes:
        raise UnusableSecret(f"{path}: a secret has not more than {max_bytes} bytes, and this file has")
    if mode & _OTHERS:
        _LOG.warning("%s can be read by other users of this machine: chmod 600", path)
    return octets
