"""The policy files that were in force, kept beside the log: a decision of last year can be explained by its own rules.

A `policy` record names its files and the SHA-256 of each; the text is in `policies/<SHA-256>.yaml` of the log's folder.
What is read back is compared with the record, so that nobody can put another policy under a decision.
"""

import os
import re
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final

from callgate.audit.disk import sync_folder
from callgate.audit.places import Places
from callgate.wire.json_strict import JsonObject, JsonValue

_SHA256: Final = re.compile(r"[0-9a-f]{64}")
# Who may read a log may read the policies in it, and nobody else.
_FOLDER_MODE: Final = 0o700
_FILE_MODE: Final = 0o600
# A policy is no larger than 4 MiB, whatever its number of files (`policy.model`, POLICY_LIMITS).
_MAX_BYTES: Final = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class KeptPolicy:
    """A policy as it was: its digest by the record, and its files as (name, text), in the order of the record."""

    digest: str
    files: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class NotKept:
    """Why the texts cannot be had, in words that follow "the policy … ": for whoever wants to read them."""

    why: str


def keep(folder: Path, files: Sequence[tuple[str, str]]) -> list[dict[str, str]]:
    """Write the texts into the log's folder, durably, and return what the `policy` record says of them.

    `files` are (name, text).  What is there already is left as it is, and what is not what its name says is replaced.
    Blocks; raises OSError.
    """
    policies = Path(Places(folder).policies)
    if not policies.is_dir():
        policies.mkdir(mode=_FOLDER_MODE, parents=True, exist_ok=True)
        sync_folder(policies.parent)
    named = [(name, text.encode()) for name, text in files]
    said = [{"name": name, "sha256": sha256(content).hexdigest()} for name, content in named]
    for entry, (_, content) in zip(said, named, strict=True):
        _write(policies / f"{entry['sha256']}.yaml", content)
    sync_folder(policies)
    return said


def kept(folder: Path, record: JsonObject) -> KeptPolicy | NotKept:
    """The files that a `policy` record names, each compared with its digest.  Blocks."""
    digest, entries = record.get("digest"), record.get("files")
    if not isinstance(digest, str) or not isinstance(entries, list) or not entries:
        return NotKept("is named by a record that does not say its digest and its files")
    policies = Path(Places(folder).policies)
    files: list[tuple[str, str]] = []
    for entry in entries:
        text = _text_of(policies, entry)
        if isinstance(text, NotKept):
            return text
        files.append(text)
    return KeptPolicy(digest, tuple(files))


def _write(path: Path, content: bytes) -> None:
    if _holds(path, content):
        return
    # One gate writes to a folder, and what it left behind when it was killed is written over.
    temporary = path.with_suffix(".new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, _FILE_MODE)
    with open(descriptor, "wb") as file:  # noqa: PTH123  # a descriptor
        file.write(content)
        file.flush()
        os.fdatasync(file.fileno())
    temporary.replace(path)


def _holds(path: Path, content: bytes) -> bool:
    try:
        return path.stat().st_size == len(content) and path.read_bytes() == content
    except FileNotFoundError:
        return False


def _text_of(policies: Path, entry: JsonValue) -> tuple[str, str] | NotKept:
    name, digest = (entry.get("name"), entry.get("sha256")) if isinstance(entry, dict) else (None, None)
    # The name of a file comes from the log: it is one of ours, or it is not opened.
    if not isinstance(name, str) or not isinstance(digest, str) or _SHA256.fullmatch(digest) is None:
        return NotKept("is named by a record whose files have no name or no SHA-256")
    path = policies / f"{digest}.yaml"
    try:
        content = _plain(path)
    except OSError as error:
        return NotKept(f"was not kept: {path}: {error.strerror}")
    if sha256(content).hexdigest() != digest:
        return NotKept(f"is not what was kept: {path} has been changed since")
    return name, content.decode("utf-8", "replace")


def _plain(path: Path) -> bytes:
    """What is in a plain file; nothing of what is none.  Raises OSError."""
    # To open a FIFO that nobody writes to would take for ever.
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC), "rb") as file:
        return file.read(_MAX_BYTES + 1) if stat.S_ISREG(os.fstat(file.fileno()).st_mode) else b""
