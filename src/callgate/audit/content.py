"""What passed the gate in a recorded session, in files that the gate can write and not read.

Each object is one age file, encrypted to the auditors' public keys and named by the SHA-256 of itself, which the log
holds.  Its plaintext is never written anywhere.
"""

import os
import re
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from enum import StrEnum
from hashlib import sha256
from pathlib import Path
from secrets import token_hex
from typing import Final

from callgate.audit.age import AgeFile, BrokenAgeFile, Identity, NoMatchingKey, decrypt, encrypt
from callgate.audit.disk import write_whole
from callgate.audit.places import Places
from callgate.audit.recipients import load_recipients
from callgate.errors import GatewayError

# An object is 1 MiB at the most and then one message, which `limits.max_answer_bytes` holds to 1 GiB: what is larger
# was put in its place, and is not read into memory.
MAX_OBJECT_BYTES: Final = 1024**3 + 64 * 1024**2
_FOLDER_MODE: Final = 0o700
_FILE_MODE: Final = 0o600
_UNFINISHED: Final = ".new"
# Nothing here is a symbolic link, and one that somebody made is not followed.
_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_WRITE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
# A FIFO in place of an object must not keep its reader waiting.
_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")


class ContentStore:
    """Puts objects into the folder of a log.  Blocks; any number of threads may use it."""

    def __init__(self, folder: Path, recipients: Sequence[str], beside: Path = Path()) -> None:
        """Take the log's `folder`, and clear away what a crash left unfinished: whoever calls holds the log's lock.

        `recipients`: keys or paths of files of them, relative to `beside`.  Raises UnusableRecipient and OSError.
        """
        self._recipients = load_recipients(recipients, beside)
        self._content = Path(Places(folder).content)
        # Bytes, since the start.
        self.written = 0
        # Folders of objects whose names are known to be durable.
        self._settled: set[str] = set()
        self._content.mkdir(mode=_FOLDER_MODE, parents=True, exist_ok=True)
        with opened_folder(self._content) as content:
            _clear_unfinished(content)

    def put(self, plaintext: bytes) -> str:
        """Encrypt, and write durably; returns the SHA-256 of the file, in hex.  Raises OSError, and leaves nothing."""
        file = encrypt(plaintext, self._recipients)
        # Beside the folders of objects, not in one of them, so that few names have to be looked at after a crash.
        unfinished = f"{token_hex(16)}{_UNFINISHED}"
        with opened_folder(self._content) as content:
            try:
                _write(unfinished, content, file)
                self._give_name(unfinished, file.sha256, content)
            except BaseException:
                # Whatever went wrong, nothing is taken for granted the next time.
                self._settled.clear()
                with suppress(OSError):
                    os.unlink(unfinished, dir_fd=content)
                raise
        self.written += sum(map(len, file.pieces))
        return file.sha256

    def _give_name(self, unfinished: str, digest: str, content: int) -> None:
        shard = digest[:2]
        if shard not in self._settled:
            with suppress(FileExistsError):
                os.mkdir(shard, _FOLDER_MODE, dir_fd=content)
            os.fsync(content)
            self._settled.add(shard)
        with opened_folder(shard, dir_fd=content) as folder:
            os.rename(unfinished, f"{digest}.age", src_dir_fd=content, dst_dir_fd=folder)
            os.fsync(folder)


class Why(StrEnum):
    """Why an object cannot be read."""

    MISSING = "missing"
    # Missing, and the log says so.
    DELETED = "deleted"
    CHANGED = "changed"
    NO_KEY = "no_key"
    # As it was recorded, and still of no use.
    MALFORMED = "malformed"


_WORDS: Final = {
    Why.MISSING: "is not in the content folder: it was deleted, or this is a copy of the log without it",
    Why.DELETED: "was deleted by retention, as the log says",
    Why.CHANGED: "is not the file that was recorded",
    Why.NO_KEY: "is encrypted to other keys than these",
    Why.MALFORMED: "is the file that was recorded, but does not hold what it should",
}


class UnreadableContent(GatewayError):  # noqa: N818  # says what it is
    """One object cannot be read; `why` says the reason, `digest` which one."""

    def __init__(self, why: Why, digest: str) -> None:
        super().__init__(f"object {digest} {_WORDS[why]}")
        self.why = why
        self.digest = digest


def read(folder: Path, digest: str, identities: Sequence[Identity]) -> bytes:
    """The plaintext of one object of the log in `folder`, once its file is known to be the recorded one.

    Blocks.  Raises UnreadableContent, and OSError for a file that is there and cannot be opened.
    """
    file = _file_of(folder, digest)
    if sha256(file).hexdigest() != digest:
        raise UnreadableContent(Why.CHANGED, digest)
    try:
        return decrypt(file, identities)
    except NoMatchingKey:
        raise UnreadableContent(Why.NO_KEY, digest) from None
    except BrokenAgeFile:
        raise UnreadableContent(Why.MALFORMED, digest) from None


def object_path(folder: Path, digest: str) -> Path | None:
    """Where an object of the log in `folder` would be; None for what is no hash: it comes from the log."""
    return Path(Places(folder).object(digest)) if _DIGEST.fullmatch(digest) else None


def _file_of(folder: Path, digest: str) -> bytes:
    path = object_path(folder, digest)
    if path is None:
        raise UnreadableContent(Why.MISSING, digest)
    try:
        descriptor = os.open(path, _READ)
    except FileNotFoundError:
        raise UnreadableContent(Why.MISSING, digest) from None
    except OSError as error:
        if path.is_symlink():
            raise UnreadableContent(Why.CHANGED, digest) from error
        raise
    try:
        about = os.fstat(descriptor)
        if not stat.S_ISREG(about.st_mode) or about.st_size > MAX_OBJECT_BYTES:
            raise UnreadableContent(Why.CHANGED, digest)
        with open(descriptor, "rb", closefd=False) as file:
            return file.read(MAX_OBJECT_BYTES)
    finally:
        os.close(descriptor)


@contextmanager
def opened_folder(folder: Path | str, dir_fd: int | None = None) -> Iterator[int]:
    """A descriptor of a folder that is no symbolic link.  Raises OSError."""
    descriptor = os.open(folder, _FOLDER, dir_fd=dir_fd)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _write(name: str, folder: int, file: AgeFile) -> None:
    descriptor = os.open(name, _WRITE, _FILE_MODE, dir_fd=folder)
    try:
        for piece in file.pieces:
            write_whole(descriptor, piece)
        os.fdatasync(descriptor)
    finally:
        os.close(descriptor)


def _clear_unfinished(content: int) -> None:
    for name in os.listdir(content):
        if name.endswith(_UNFINISHED):
            os.unlink(name, dir_fd=content)
