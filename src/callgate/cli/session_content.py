"""What passed in the steps of a session, as far as it was kept and the key at hand opens it."""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

import click
import orjson

from callgate.audit.age import Identity
from callgate.audit.content import object_path
from callgate.audit.passed import Passed, Unread, deletions, read_passed
from callgate.audit.reading import read_records
from callgate.audit.story import Step
from callgate.cli.files import FileProblems
from callgate.cli.log_options import CONFIG, read_config
from callgate.cli.session_log import Story
from callgate.cli.words import counted, size

F = TypeVar("F", bound=Callable[..., Any])

# C2SP age, "Header": text before the content, a stanza for each key that opens it; what is called -grease opens nothing.
_HEADER_BYTES: Final = 64 * 1024
_STANZA: Final = re.compile(rb"\n-> (?![^ \n]*-grease[ \n])")


@dataclass(frozen=True, slots=True)
class Content:
    """What passed in one step.  `note`: why it is not all that passed, or ""."""

    passed: tuple[Passed, ...] = ()
    note: str = ""


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much content is shown, in bytes as JSON: of one step, and of all of them."""

    step: int
    total: int


# A terminal is no place for more, and --format json and the page have it.
TERMINAL: Final = Bounds(step=16 * 1024, total=1024 * 1024 * 1024)
# A page that a browser opens within a second or two.
PAGE: Final = Bounds(step=256 * 1024, total=16 * 1024 * 1024)
# One step is held in memory at a time.
JSON: Final = Bounds(step=64 * 1024 * 1024, total=1 << 62)


def identity_option(command: F) -> F:
    """Add --identity to a command, which takes it as `identity`."""
    path = click.Path(path_type=Path, dir_okay=False)
    words = "An auditor's private key: shows what was kept in full."
    return click.option("--identity", metavar="FILE", type=path, help=words)(command)


class ContentReader:
    """Reads the content of one session's steps, one after the other.

    `identities`: an auditor's keys; none where there are none at hand, and then nothing is opened.
    """

    def __init__(self, story: Story, identities: Sequence[Identity], bounds: Bounds) -> None:
        self._story = story
        self._identities = identities
        self._bounds = bounds
        self._left = bounds.total
        self._deleted: frozenset[str] | None = None

    def of(self, step: Step) -> Content:
        """Blocks.  Raises ClickException for a file that is there and cannot be opened."""
        objects = step.traffic.objects
        if not objects:
            return Content()
        if not self._identities:
            return Content(note=f"content encrypted, in {counted(len(objects), 'object')}")
        try:
            return self._read(step)
        except OSError as fault:
            raise click.ClickException(f"cannot read what was recorded: {fault.filename}: {fault.strerror}") from fault

    def _read(self, step: Step) -> Content:
        if not self._left:
            return Content(note=f"content is not shown: {size(self._bounds.total)} of other requests are")
        passed: list[Passed] = []
        notes: list[str] = []
        room = left = min(self._bounds.step, self._left)
        for each in read_passed(self._story.folder, step.entry, self._identities, self._deletions()):
            if isinstance(each, Unread):
                notes.append(each.words)
                continue
            left -= len(orjson.dumps(each.body))
            if left < 0:
                notes.append(f"more than {size(room)} passed; the rest is not shown here")
                break
            passed.append(each)
        self._left -= room - max(left, 0)
        return Content(tuple(passed), "; ".join(notes))

    def _deletions(self) -> frozenset[str]:
        """What retention deleted of this session: looked for once, and only where something is missing."""
        if self._deleted is None:
            missing = {digest for step in self._story.steps() for digest in self._missing(step)}
            records = read_records(self._story.folder, start=self._story.overview.first_seq)
            self._deleted = deletions(records, missing) if missing else frozenset()
        return self._deleted

    def _missing(self, step: Step) -> Iterator[str]:
        paths = ((digest, object_path(self._story.folder, digest)) for digest in step.traffic.objects)
        return (digest for digest, path in paths if path and not path.exists())


def recipients_of(log: Path | None, config: Path | None) -> tuple[str, ...]:
    """Whose keys content is encrypted to now, where a configuration says so; a key or the path of a file of keys each."""
    if log is not None:
        return ()
    try:
        return tuple(read_config(config or CONFIG).audit.recipients)
    except FileProblems:
        return ()


def kept_words(story: Story, recipients: Sequence[str], *, has_identity: bool) -> str:
    """How much of a session was kept in full, and who can read it; "" where nothing was."""
    kept = story.overview.kept_in_full
    if not kept:
        return ""
    words = f"content was kept in full for {kept:,} of {counted(story.overview.requests, 'request')}"
    if has_identity:
        return words
    whose = f": {', '.join(map(_short, recipients))}" if recipients else ""
    return f"{words}, encrypted to {_keys(story)}{whose}; --identity FILE with an auditor's key shows it"


def _keys(story: Story) -> str:
    """How many keys open the first object that is there."""
    objects = (digest for step in story.steps() for digest in step.traffic.objects)
    for path in filter(None, (object_path(story.folder, digest) for digest in objects)):
        # One that may not be read says nothing, and is told of where its content would be shown.
        with suppress(OSError):
            if path.is_file():
                with path.open("rb") as file:
                    header, _, _ = file.read(_HEADER_BYTES).partition(b"\n---")
                return counted(len(_STANZA.findall(header)), "key")
    return "the auditors' keys"


def _short(recipient: str) -> str:
    """Enough of a public key to tell whose it is."""
    return recipient if len(recipient) <= 32 else f"{recipient[:24]}…{recipient[-6:]}"


def as_text(passed: Passed) -> str:
    """One message as JSON, of several lines."""
    return orjson.dumps(passed.body, option=orjson.OPT_INDENT_2).decode()


def as_line(passed: Passed) -> str:
    """The same in one line."""
    return orjson.dumps(passed.body).decode()
