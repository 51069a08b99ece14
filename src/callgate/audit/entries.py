"""One request of the log: what was decided about it, and how it ended.

A call that was allowed has two records, its intent and its outcome; everything else has one.  `join` puts the two
together again.  Whoever reads a log must take it as it is: a field that is missing or of another type reads as "", for
the log may have been edited, and only `callgate audit verify` tells.  Pure.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final, Literal, TypeAlias

from callgate.audit.chain import Kind
from callgate.errors import Reason
from callgate.wire.json_strict import JsonObject
from callgate.wire.members import number_of, text_of, texts_of

# The records that are about one request each.
REQUESTS: Final = frozenset({Kind.INTENT, Kind.REFUSAL, Kind.ABSORBED})
# How many entries `join` holds back while the first of them waits for its outcome: 30 MB or so.  A gate that serves
# 1000 calls a second comes to that within 4 s; a call that lasts longer is rare, and is looked up.
MAX_WAITING: Final = 4096

_YEARS: Final = range(1970, 9999)

# `hold`: refused until a person agrees.
Verdict: TypeAlias = Literal["allow", "deny", "hold"]


class Status(StrEnum):
    """How a request ended."""

    # An outcome's.
    ANSWERED = "answered"
    TOOL_ERROR = "tool_error"
    RPC_ERROR = "rpc_error"
    FAILED = "failed"
    # It was answered, and the answer was not passed on.
    WITHHELD = "withheld"
    CANCELLED = "cancelled"
    UNKNOWN = "unknown"
    NOT_FORWARDED = "not_forwarded"
    # Of requests that have none: refused, a notification that ends at the gate, a call under way.
    REFUSED = "refused"
    ABSORBED = "absorbed"
    OPEN = "open"


_WITHOUT_OUTCOME: Final[Mapping[str, str]] = {
    Kind.INTENT: Status.OPEN.value,
    Kind.REFUSAL: Status.REFUSED.value,
    Kind.ABSORBED: Status.ABSORBED.value,
}


@dataclass(frozen=True, slots=True)
class Entry:
    """A request (`REQUESTS`) and, for an intent, its outcome; None while there is none.

    `join` can be asked for other records in between; of those most properties are "".
    """

    record: JsonObject
    outcome: JsonObject | None = None

    @property
    def seq(self) -> int:
        """The record's number."""
        return number_of(self.record, "seq")

    @property
    def kind(self) -> str:
        """A `Kind`."""
        return text_of(self.record, "kind")

    @property
    def time(self) -> datetime:
        """To the microsecond, in UTC; the epoch where the record names no moment."""
        return moment_of(self.time_text) or datetime.fromtimestamp(0, UTC)

    @property
    def time_text(self) -> str:
        """RFC 3339 in UTC with nine decimals, as recorded: such texts sort as their moments do."""
        return text_of(self.record, "time")

    @property
    def time_ns(self) -> int:
        """Unix nanoseconds."""
        # RFC 3339 with nine decimals: what follows the point is exact, and below a microsecond not in `time`.
        decimals = self.time_text[20:29]
        whole = int(self.time.replace(microsecond=0).timestamp()) * 1_000_000_000
        return whole + (int(decimals) if len(decimals) == 9 and decimals.isdecimal() else 0)

    @property
    def decision(self) -> str:
        """The decision's id, which the caller was told."""
        return text_of(self.record, "decision")

    @property
    def trace(self) -> str:
        """The trace id, 32 hex digits."""
        return text_of(self.record, "trace")

    @property
    def session(self) -> str:
        """The session's id, 16 hex digits."""
        return text_of(self.record, "session")

    @property
    def caller(self) -> str:
        """The SPIFFE ID of the workload."""
        return text_of(self.record, "caller")

    @property
    def address(self) -> str:
        """Where the connection came from, `host:port`."""
        return text_of(self.record, "address")

    @property
    def server(self) -> str:
        """The tool server, as the configuration names it."""
        return text_of(self.record, "server")

    @property
    def method(self) -> str:
        """The MCP method."""
        return text_of(self.record, "method")

    @property
    def tool(self) -> str:
        """The tool that was called."""
        return text_of(self.record, "tool")

    @property
    def verdict(self) -> Verdict:
        """An absorbed notification was allowed, unless it says why not; so was a dry run that got as far as that."""
        reason = text_of(self.record, "reason")
        if reason == Reason.DRY_RUN:
            return "allow"
        if reason == Reason.APPROVAL_REQUIRED:
            return "hold"
        return "deny" if self.kind == Kind.REFUSAL or reason else "allow"

    @property
    def reason(self) -> str:
        """Why it was refused, or why an allowed call failed; "" where nothing went wrong."""
        return text_of(self.record, "reason") or (text_of(self.outcome, "reason") if self.outcome else "")

    @property
    def stage(self) -> str:
        """Where a refused request was refused."""
        return text_of(self.record, "stage")

    @property
    def status(self) -> str:
        """A `Status`."""
        if self.outcome is not None:
            return text_of(self.outcome, "status")
        return _WITHOUT_OUTCOME.get(self.kind, "")

    @property
    def took_us(self) -> int | None:
        """From the intent to the end, in microseconds."""
        took = number_of(self.outcome, "took_us") if self.outcome else -1
        return took if took >= 0 else None

    @property
    def answer(self) -> JsonObject:
        """What was passed on to the agent, as the outcome has it; empty where it says nothing."""
        found = self.outcome.get("answer") if self.outcome else None
        return found if isinstance(found, dict) else {}

    @property
    def jti(self) -> str:
        """The id of the token that was minted."""
        return text_of(self.part("token"), "jti")

    @property
    def user(self) -> str:
        """The subject of the user in whose name the agent called."""
        return text_of(self.part("user"), "subject")

    @property
    def approval(self) -> str:
        """The id of the request for a person's approval that it is about, 32 hex digits."""
        return text_of(self.record, "approval") or text_of(self.part("approval"), "id")

    @property
    def approvers(self) -> tuple[str, ...]:
        """Who agreed to an allowed call, by name."""
        return texts_of(self.part("approval"), "by")

    @property
    def path(self) -> tuple[str, ...]:
        """Each stage and how it went, such as `decide=ok`; the whole way where the call has ended."""
        return (*texts_of(self.record, "path"), *(texts_of(self.outcome, "path") if self.outcome else ()))

    def part(self, name: str) -> JsonObject:
        """An object within the record; empty where there is none."""
        found = self.record.get(name)
        return found if isinstance(found, dict) else {}


def join(
    records: Iterable[JsonObject],
    *,
    late: Callable[[int], JsonObject | None] = lambda _: None,
    others: frozenset[str] = frozenset(),
) -> Iterator[Entry]:
    """The requests in the order in which they began, each with its outcome; of no record two, and none left out.

    An entry whose outcome is still to come holds back those behind it, `MAX_WAITING` of them: from then on `late` is
    asked for the outcome to the intent of that number.  Outcomes to intents that are not among `records` are left out.
    `others`: further kinds of records to give out, in their places.
    """
    kinds = REQUESTS | others
    waiting: deque[_Waiting] = deque()
    open_intents: dict[int, _Waiting] = {}
    for record in records:
        kind = text_of(record, "kind")
        if kind == Kind.OUTCOME:
            if ended := open_intents.pop(number_of(record, "intent"), None):
                ended.entry, ended.waits = Entry(ended.entry.record, record), False
        elif kind == Kind.INTENT:
            waiting.append(_Waiting(Entry(record), waits=True))
            open_intents[number_of(record, "seq")] = waiting[-1]
        elif kind in kinds:
            waiting.append(_Waiting(Entry(record), waits=False))
        while waiting and not waiting[0].waits:
            yield waiting.popleft().entry
        if len(waiting) > MAX_WAITING:
            first = waiting.popleft().entry
            open_intents.pop(first.seq, None)
            yield Entry(first.record, late(first.seq))
    for each in waiting:
        yield each.entry


@dataclass(slots=True)
class _Waiting:
    """An entry in its place; `waits`: for its outcome."""

    entry: Entry
    waits: bool


def moment_of(text: str) -> datetime | None:
    """A moment as records write it, to the microsecond; None for what is none, or in no year that a log is from."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    # At the ends of the calendar a moment cannot be told in the time of another place.
    return found if found.tzinfo is not None and found.year in _YEARS else None
