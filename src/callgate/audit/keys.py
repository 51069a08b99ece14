"""The key that signs a log's checkpoints, in its file."""

import os
from pathlib import Path
from secrets import token_hex
from typing import Final

from callgate.audit.checkpoint import CheckpointKey
from callgate.audit.disk import sync_folder
from callgate.audit.note import UnusableNoteKey
from callgate.audit.opening import CannotOpenLog

_KEY_MODE: Final = 0o600
_PUBLIC_MODE: Final = 0o644
_FOLDER_MODE: Final = 0o700
_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
# A key is 120 bytes of PEM.
_MAX_BYTES: Final = 16 * 1024


def load_key(path: Path, origin: str) -> CheckpointKey:
    """Read the key.  Raises CannotOpenLog, in words for whoever starts the gate."""
    try:
        with path.open("rb") as file:
            pem = file.read(_MAX_BYTES)
    except FileNotFoundError:
        raise CannotOpenLog(f"there is no key for the log at {path}; make one with: callgate audit init") from None
    except OSError as error:
        raise CannotOpenLog(f"the key of the log at {path} cannot be read: {error.strerror or error}") from error
    try:
        return CheckpointKey.load(pem, origin)
    except UnusableNoteKey as error:
        raise CannotOpenLog(f"the key of the log at {path} cannot be used: {error}") from error


def make_key(path: Path, origin: str) -> CheckpointKey:
    """Make a key, readable by nobody else, and beside it `<name>.pub` with its public half.

    Raises FileExistsError where there is one already (a log is only as good as the key that it was begun with), and
    OSError.
    """
    key = CheckpointKey.generate(origin)
    path.parent.mkdir(mode=_FOLDER_MODE, parents=True, exist_ok=True)
    _write_new(path, key.pem(), _KEY_MODE)
    public = path.with_suffix(".pub")
    public.unlink(missing_ok=True)
    _write_new(public, f"{key.vkey}\n".encode(), _PUBLIC_MODE)
    sync_folder(path.parent)
    return key


def _write_new(path: Path, content: bytes, mode: int) -> None:
    """Whole or not at all: half a key would stand in the way of the next one."""
    beside = path.with_name(f"{path.name}.{token_hex(8)}.new")
    fd = os.open(beside, _NEW, mode)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(fd)
        # Unlike a rename, a link takes nobody's place.
        path.hardlink_to(beside)
    finally:
        beside.unlink()
