"""Entries for somebody who looks on: each as soon as there is something to tell.  Pure; the time is a parameter."""

from collections.abc import Iterable
from typing import Final

from callgate.audit.chain import Kind
from callgate.audit.entries import REQUESTS, Entry
from callgate.wire.json_strict import JsonObject
from callgate.wire.members import number_of, text_of

# Most calls end sooner, and are told once; who watches a call that hangs wants to know of it.
LASTING_S: Final = 2.0


class Live:
    """A request is told when it has ended; a call that lasts when that is clear, and again when it has ended."""

    def __init__(self, open_entries: Iterable[Entry] = (), *, others: frozenset[str] = frozenset()) -> None:
        """`open_entries`: calls without outcome that were told already.  `others`: further kinds of records to tell."""
        self._kinds = REQUESTS | others
        self._open = {entry.seq: entry for entry in open_entries}
        # Those that nobody was told of, and when each was read, the oldest first.
        self._untold: dict[int, float] = {}

    def record(self, record: JsonObject, now: float) -> Entry | None:
        """What there is to tell by the next record; `now` on a clock that does not go back, in seconds."""
        kind = text_of(record, "kind")
        if kind == Kind.OUTCOME:
            seq = number_of(record, "intent")
            self._untold.pop(seq, None)
            entry = self._open.pop(seq, None)
            return Entry(entry.record, record) if entry is not None else None
        if kind not in self._kinds:
            return None
        entry = Entry(record)
        if kind != Kind.INTENT:
            return entry
        self._open[entry.seq], self._untold[entry.seq] = entry, now
        return None

    def lasting(self, now: float) -> list[Entry]:
        """The calls that have been open for `LASTING_S`, each once."""
        found = []
        for seq, began in list(self._untold.items()):
            if now - began < LASTING_S:
                break
            del self._untold[seq]
            found.append(self._open[seq])
        return found
