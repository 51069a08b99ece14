"""Which sessions a log tells of, and the steps of one of them.

Entries are taken one at a time and in their order, so that a session of any length can be told.  Pure.
"""

from collections import Counter, OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, TypeAlias

from callgate.audit.entries import Entry, Status
from callgate.audit.story import Step, Tone, began_by, status_of, step_of, tone_of, traffic_of
from callgate.policy.recorded import is_own_listing
from callgate.wire.members import text_of

# Who and where, of one session.  One workload is behind a session, and it calls a handful of servers; a log that was
# tampered with may say more, and is told without being kept.
_MOST_NAMES: Final = 16
# The records about each request for approval, by its id.
Approvals: TypeAlias = Mapping[str, tuple[Entry, ...]]
_NO_APPROVALS: Final[Approvals] = MappingProxyType({})


@dataclass(slots=True)
class Overview:
    """A whole session in a few figures; grows by `add`.  Times are Unix nanoseconds."""

    id: str
    first_seq: int
    first_ns: int
    last_seq: int = 0
    last_ns: int = 0
    callers: dict[str, None] = field(default_factory=dict)
    users: dict[str, None] = field(default_factory=dict)
    servers: dict[str, None] = field(default_factory=dict)
    # How often each came up.
    statuses: Counter[Status] = field(default_factory=Counter)
    tones: Counter[Tone] = field(default_factory=Counter)
    kept_in_full: int = 0
    only_begins_others: bool = True
    is_wanted: bool = False

    def add(self, entry: Entry, *, wanted: bool = True) -> None:
        """Count one more request.  `wanted`: this one is what was asked for."""
        self.last_seq = max(self.last_seq, entry.seq)
        self.last_ns = max(self.last_ns, entry.time_ns + 1000 * (entry.took_us or 0))
        self.statuses[status_of(entry)] += 1
        self.tones[tone_of(entry)] += 1
        self.kept_in_full += bool(traffic_of(entry).objects)
        self.only_begins_others &= began_by(entry) not in {"", self.id}
        self.is_wanted |= wanted
        _note(self.callers, entry.caller)
        _note(self.users, user_of(entry))
        _note(self.servers, entry.server)

    @property
    def requests(self) -> int:
        """How many there were."""
        return self.statuses.total()

    def count(self, tone: Tone) -> int:
        """How many of them ended that way."""
        return self.tones[tone]

    @property
    def status(self) -> Tone:
        """The worst that happened: `open` (a call without an outcome), `failed`, `denied`, or `well`."""
        return next((tone for tone in Tone if self.count(tone)), Tone.WELL)


class Sessions:
    """The sessions of a log, while it is read.

    Keeps the `most` that were last active: those before are counted in `forgotten`.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._found: OrderedDict[str, Overview] = OrderedDict()
        self.forgotten = 0

    def add(self, session: str, entry: Entry, *, wanted: bool = True) -> None:
        """Count a request for that session."""
        overview = self._found.get(session)
        if overview is None:
            overview = self._found[session] = Overview(session, entry.seq, entry.time_ns)
            self._forget()
        overview.add(entry, wanted=wanted)
        self._found.move_to_end(session)

    def _forget(self) -> None:
        if len(self._found) > self._most:
            self._found.popitem(last=False)
            self.forgotten += 1

    def __iter__(self) -> Iterator[Overview]:
        """Those that were active last come last."""
        return iter(self._found.values())


def sessions_of(entry: Entry) -> tuple[str, ...]:
    """The sessions that a request is part of: an `initialize` is the beginning of the one that it began, too.

    What the gate asks on its own account is part of none.
    """
    if is_own_listing(entry.record):
        return ()
    return tuple(dict.fromkeys(filter(None, (began_by(entry), entry.session))))


def steps_of(
    entries: Iterable[Entry], session: Overview, skipped: int = 0, approvals: Approvals = _NO_APPROVALS
) -> Iterator[Step]:
    """The requests of a session, as far as the overview was made of them; the first `skipped` are only counted."""
    number = 0
    for entry in entries:
        if entry.seq > session.last_seq:
            return
        if session.id in sessions_of(entry):
            number += 1
            if number > skipped:
                yield step_of(entry, number, session.first_ns, approvals.get(entry.approval, ()))


def user_of(entry: Entry) -> str:
    """Whose token came along: `subject of issuer`, or ""."""
    issuer = text_of(entry.part("user"), "issuer")
    return f"{entry.user} of {issuer}" if issuer else entry.user


def _note(names: dict[str, None], name: str) -> None:
    if name and len(names) < _MOST_NAMES:
        names[name] = None
