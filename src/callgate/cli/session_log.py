"""Finding sessions in a log, and reading one of them from its files."""

import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice, takewhile
from pathlib import Path
from typing import Final

import click

from callgate.audit.chain import Kind
from callgate.audit.entries import Entry
from callgate.audit.lookup import approvals_in
from callgate.audit.reading import read_entries, read_records
from callgate.audit.segments import UnreadableLog
from callgate.audit.sessions import Overview, Sessions, sessions_of, steps_of
from callgate.audit.story import Step
from callgate.cli.log_options import CannotShow
from callgate.cli.progress import watched
from callgate.cli.words import told
from callgate.telemetry.visible import visible
from callgate.wire.members import number_of, text_of
from callgate.yaml_model import did_you_mean

# Each takes a kilobyte while the log is read; who looks for older ones asks for their time.
MAX_SESSIONS: Final = 100_000
# To find what was meant by a slip of the pen; among more the search itself takes seconds.
_NEAR_IDS: Final = 1_000
# An error that lists more of them helps nobody.
_CANDIDATES: Final = 5
# What the gate noted of itself that a reader of times and outcomes must know of.
_REMARKABLE: Final = frozenset({Kind.OUTAGE, Kind.CLOCK, Kind.RECOVERY, Kind.SUMMARY})
_MAX_REMARKS: Final = 20
_ID: Final = re.compile(r"[0-9a-f]{1,16}")


@dataclass(frozen=True, slots=True)
class Story:
    """One session of a log, of any length: it is read from its files each time that it is told."""

    folder: Path
    overview: Overview

    def steps(self, last: int | None = None) -> Iterator[Step]:
        """Its requests, or the last of them.  Raises UnreadableLog."""
        entries = read_entries(self.folder, start=self.overview.first_seq)
        approvals = approvals_in(self.folder, self.overview.id, self.overview.first_seq)
        return steps_of(entries, self.overview, self.left_out(last), approvals)

    def left_out(self, last: int | None) -> int:
        """How many requests come before those."""
        return max(0, self.overview.requests - last) if last is not None else 0

    def remarks(self) -> list[Entry]:
        """What the gate noted of itself meanwhile, the first `_MAX_REMARKS`.  Raises UnreadableLog."""
        records = read_records(self.folder, start=self.overview.first_seq)
        meanwhile = takewhile(lambda record: number_of(record, "seq") <= self.overview.last_seq, records)
        remarkable = (Entry(record) for record in meanwhile if text_of(record, "kind") in _REMARKABLE)
        return list(islice(remarkable, _MAX_REMARKS))


def find_sessions(folder: Path, is_wanted: Callable[[Entry], bool]) -> tuple[list[Overview], int]:
    """The sessions with a request that is wanted, the latest last, and how many old ones were left out."""
    found = Sessions(MAX_SESSIONS)
    for entry in watched(read_entries(folder), _far):
        wanted = is_wanted(entry)
        for session in sessions_of(entry):
            found.add(session, entry, wanted=wanted)
    return [each for each in found if each.is_wanted and not each.only_begins_others], found.forgotten


def open_story(folder: Path, given: str) -> Story:
    """The session whose id is `given` or begins with it.  Raises UsageError where that is none, or several."""
    wanted = given.strip().lower()
    if _ID.fullmatch(wanted) is None:
        raise click.UsageError(f"{visible(given, 40)!r} is no session id: 16 hex digits, or the first of them")
    found = Sessions(MAX_SESSIONS)
    others: deque[str] = deque(maxlen=_NEAR_IDS)
    for entry in watched(read_entries(folder), _far):
        for session in sessions_of(entry):
            if session.startswith(wanted):
                found.add(session, entry)
            elif not others or others[-1] != session:
                others.append(session)
    return Story(folder, _the_one(list(found), wanted, others))


def _the_one(found: Sequence[Overview], wanted: str, others: Iterable[str]) -> Overview:
    exactly = [each for each in found if each.id == wanted]
    if len(exactly or found) == 1:
        return (exactly or found)[0]
    if not found:
        near = did_you_mean(wanted, dict.fromkeys(map(told, others)))
        raise click.UsageError(f"the log has no session {wanted}{near or '; callgate session list shows all'}")
    more = f" and {len(found) - _CANDIDATES} more" if len(found) > _CANDIDATES else ""
    listed = ", ".join(told(each.id) for each in found[:_CANDIDATES])
    raise click.UsageError(f"{len(found)} sessions begin with {wanted}: {listed}{more}; write more digits")


def _far(number: int, _entry: Entry) -> str:
    return f"{number:,} requests read"


@contextmanager
def readable() -> Iterator[None]:
    """What is wrong with a log, in a sentence and exit code 2."""
    try:
        yield
    except UnreadableLog as fault:
        raise CannotShow(fault) from fault
