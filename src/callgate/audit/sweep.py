"""Deleting the recorded content that has to go, a little at a time.

Nothing is deleted but regular files `content/<xx>/<xx…>.age`, and no symbolic link is followed.
"""

import os
import re
import stat
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final

from callgate.audit.content import opened_folder
from callgate.audit.places import Places
from callgate.audit.retention import Cause, Keep, Plan, Stored, Survey

# A `retention` record of this many hashes takes 67 KB, well within the longest line of the log.
GROUP: Final = 1000
# Entries looked at in one step: some 1 ms of work, and then others have the processor.
STEP: Final = 250
_SHARD: Final = re.compile(r"[0-9a-f]{2}")
_OBJECT: Final = re.compile(r"([0-9a-f]{64})\.age")


@dataclass(frozen=True, slots=True)
class Doomed:
    """Objects about to be deleted, `GROUP` at the most, and the reason."""

    why: Cause
    digests: tuple[str, ...]


def sweep(folder: Path, keep: Keep, now_s: float) -> Iterator[Doomed | None]:
    """Go through the content of the log in `folder` once or twice, a few milliseconds of work for each step.

    A `Doomed` says what will be deleted when the next step is asked for: whoever asks puts it on record first, so that
    an object is never gone without a record that says so.  After a None there is nothing to do but to go on.  Blocks.
    Raises OSError; asked anew later, it finds what it left.
    """
    path = Path(Places(folder).content)
    # Without it nothing was ever recorded in full.
    if path.exists():
        with opened_folder(path) as content:
            yield from _sweep(content, keep, int(now_s))


def _sweep(content: int, keep: Keep, now_s: int) -> Iterator[Doomed | None]:
    survey = Survey(keep, now_s)
    for some in _listed(content):
        for stored in some:
            survey.add(stored)
        yield None
    plan = survey.plan()
    if plan is None:
        return
    for doomed in _grouped(content, plan):
        yield doomed
        if doomed:
            _delete(content, doomed)


def _grouped(content: int, plan: Plan) -> Iterator[Doomed | None]:
    going: dict[Cause, list[str]] = {"age": [], "size": []}
    for some in _listed(content):
        yield None
        for stored in some:
            if why := plan.why(stored):
                going[why].append(stored.digest)
        yield from _full_groups(going)
    yield from (Doomed(why, tuple(digests)) for why, digests in going.items() if digests)


def _full_groups(going: dict[Cause, list[str]]) -> Iterator[Doomed]:
    for why, digests in going.items():
        while len(digests) >= GROUP:
            yield Doomed(why, tuple(digests[:GROUP]))
            del digests[:GROUP]


def _listed(content: int) -> Iterator[list[Stored]]:
    """All objects, up to `STEP` at a time."""
    for shard in filter(_SHARD.fullmatch, os.listdir(content)):
        try:
            with opened_folder(shard, dir_fd=content) as folder, os.scandir(folder) as entries:
                while some := list(islice(entries, STEP)):
                    yield [stored for entry in some if (stored := _stored(entry, shard))]
        except (FileNotFoundError, NotADirectoryError):
            # No folder of ours: a file or a symbolic link of that name.
            continue


def _stored(entry: "os.DirEntry[str]", shard: str) -> Stored | None:
    name = _OBJECT.fullmatch(entry.name)
    if name is None or not name[1].startswith(shard):
        return None
    try:
        about = entry.stat(follow_symlinks=False)
    except FileNotFoundError:
        return None
    return Stored(name[1], int(about.st_mtime), about.st_size) if stat.S_ISREG(about.st_mode) else None


def _delete(content: int, doomed: Doomed) -> None:
    for digest in doomed.digests:
        with suppress(FileNotFoundError), opened_folder(digest[:2], dir_fd=content) as folder:
            os.unlink(f"{digest}.age", dir_fd=folder)
