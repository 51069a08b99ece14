"""The records of a log once more, in their order, with all that is known beside them."""

import sys
import time
from collections.abc import Iterator, Sequence
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Final

import click

from callgate.audit.age import Identity
from callgate.audit.chain import Kind
from callgate.audit.entries import Entry, text_of
from callgate.audit.lookup import policy_record
from callgate.audit.passed import Passed, read_passed
from callgate.audit.policies import KeptPolicy, kept
from callgate.audit.query import Query
from callgate.audit.reading import read_entries, read_records, size_of, start_of
from callgate.audit.recording import MessageKind
from callgate.policy.compile import Policy, load_policies
from callgate.policy.recall import Sources
from callgate.policy_files import in_one_line
from callgate.wire.json_strict import JsonObject, canonical

# Kinds of records that are no requests: those that count some without a record, and all that matter to a replay.
COUNTING: Final = frozenset({Kind.SUMMARY.value, Kind.OUTAGE.value})
EVENTS: Final = COUNTING | {Kind.START.value, Kind.POLICY.value}
# Policies of a log that are kept ready: a gate has one for days or weeks.
_MAX_POLICIES: Final = 64
# How often the line on the terminal is written, and after how many records the clock is asked.
_SAID_S: Final = 0.5
_ASKED: Final = 2_000
_LINE_CHARS: Final = 78


class LogSources:
    """What a log's folder holds beside the records: the policies that were in force, and content for its auditors."""

    def __init__(self, folder: Path, identities: Sequence[Identity]) -> None:
        self._folder = folder
        self._identities = identities
        self._records: dict[str, JsonObject] = {}
        self.unknown_policies: dict[str, str] = {}
        self.sources = Sources(lru_cache(maxsize=_MAX_POLICIES)(self._policy), self._arguments)

    def see(self, record: JsonObject) -> None:
        """The next record of the log."""
        if record.get("kind") == Kind.POLICY:
            self._records[text_of(record, "digest")] = record

    def _policy(self, digest: str) -> Policy | None:
        """The policy of that digest; why there is none is in `unknown_policies`."""
        found = self._kept(digest)
        if isinstance(found, Policy):
            return found
        self.unknown_policies[digest] = found
        return None

    def _kept(self, digest: str) -> Policy | str:
        record = self._records.get(digest) or policy_record(self._folder, digest, size_of(self._folder))
        if record is None:
            return "is in no record"
        files = kept(self._folder, record)
        if not isinstance(files, KeptPolicy):
            return files.why
        found = load_policies(files.files)
        if isinstance(found, tuple):
            return f"cannot be read by this version: {in_one_line(found)}"
        return found if found.digest == digest else f"is not what was kept: that is {found.digest}"

    def _arguments(self, record: JsonObject) -> JsonObject | None:
        """The arguments that were decided on, by their digest; None where they were not recorded, or cannot be read."""
        request = record.get("request")
        if not self._identities or not isinstance(request, dict) or not text_of(request, "object"):
            return None
        passed = next(read_passed(self._folder, Entry(record), self._identities), None)
        if (
            not isinstance(passed, Passed)
            or passed.kind is not MessageKind.REQUEST
            or not isinstance(passed.body, dict)
        ):
            return None
        params = passed.body.get("params")
        arguments = params.get("arguments", {}) if isinstance(params, dict) else None
        if not isinstance(arguments, dict) or sha256(canonical(arguments)).hexdigest() != text_of(record, "args"):
            return None
        return arguments


def entries_of(folder: Path, query: Query, *, from_start: bool) -> Iterator[Entry]:
    """The requests of a log, and the events between them, in order, with progress on a terminal.

    With their outcomes only where `query` asks for those: most of them need not be waited for.  `from_start`: those
    before the query's time, too.  Raises UnreadableLog.
    """
    start = 0 if query.since is None or from_start else start_of(folder, query.since.seconds)
    if query.statuses or query.reasons:
        entries = read_entries(folder, start=start, others=EVENTS)
    else:
        entries = (Entry(record) for record in read_records(folder, start=start))
    for entry in _told(entries, start, size_of(folder)):
        if query.is_past(entry):
            return
        yield entry


def _told(entries: Iterator[Entry], start: int, size: int) -> Iterator[Entry]:
    """Says on a terminal how fast it goes and how long it will take."""
    if not sys.stderr.isatty():
        yield from entries
        return
    began = said = time.monotonic()
    for number, entry in enumerate(entries, 1):
        yield entry
        if number % _ASKED == 0 and (now := time.monotonic()) - said > _SAID_S:
            said = now
            click.echo(
                f"\r{_progress(entry.seq - start, size - start, now - began):<{_LINE_CHARS}}", err=True, nl=False
            )
    click.echo("\r" + " " * _LINE_CHARS + "\r", err=True, nl=False)


def _progress(done: int, total: int, elapsed_s: float) -> str:
    rate = done / elapsed_s if elapsed_s else 0.0
    left = (total - done) / rate if rate else 0.0
    return f"{done:,} of {total:,} records, {rate:,.0f} a second, {left:.0f} s left"
