"""The records of a log once more, in their order, with all that is known beside them."""

import time
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Final

from callgate.audit.age import Identity
from callgate.audit.chain import Kind
from callgate.audit.entries import Entry
from callgate.audit.lookup import policy_record
from callgate.audit.query import COUNTING, Query
from callgate.audit.reading import read_entries, read_records, size_of, start_of
from callgate.cli.kept import kept_arguments, kept_policy
from callgate.cli.progress import watched
from callgate.policy.compile import Policy
from callgate.policy.recall import Sources
from callgate.wire.json_strict import JsonObject
from callgate.wire.members import text_of

# Kinds of records that are no requests and matter to a replay.
EVENTS: Final = COUNTING | {Kind.START.value, Kind.POLICY.value}
# Policies of a log that are kept ready: a gate has one for days or weeks.
_MAX_POLICIES: Final = 64


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
        record = self._records.get(digest) or policy_record(self._folder, digest, size_of(self._folder))
        found = kept_policy(self._folder, record)
        if isinstance(found, Policy):
            return found
        self.unknown_policies[digest] = found
        return None

    def _arguments(self, record: JsonObject) -> JsonObject | None:
        """The arguments that were decided on, by their digest; None where they were not recorded, or cannot be read."""
        found = kept_arguments(self._folder, Entry(record), self._identities) if self._identities else ""
        return found if isinstance(found, dict) else None


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
    size, began = size_of(folder), time.monotonic()

    def far(_number: int, entry: Entry) -> str:
        return _far(entry.seq - start, size - start, time.monotonic() - began)

    for entry in watched(entries, far):
        if query.is_past(entry):
            return
        yield entry


def _far(done: int, total: int, elapsed_s: float) -> str:
    rate = done / elapsed_s if elapsed_s else 0.0
    left = (total - done) / rate if rate else 0.0
    return f"{done:,} of {total:,} records, {rate:,.0f} a second, {left:.0f} s left"
