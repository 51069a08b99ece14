"""Which entries of a log are wanted.  Pure."""

import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final, Self, TypeVar

from callgate.audit.chain import Kind
from callgate.audit.entries import REQUESTS, Entry, Status, Verdict, moment_of
from callgate.errors import Reason
from callgate.identity.spiffe_id import InvalidSpiffeId, SpiffeId
from callgate.policy.patterns import PatternError, ToolPattern, WorkloadPattern
from callgate.wire.members import number_of, objects_of, text_of
from callgate.yaml_model import did_you_mean
from callgate.yaml_strict import shown

T = TypeVar("T")

# A clock may have been set back by this much and a search that stops early still finds everything.
CLOCK_STEP_S: Final = 3600
# The kinds that stand in a list of entries as what they are.  An outcome stands with its intent.
KINDS: Final = tuple(kind.value for kind in Kind if kind is not Kind.OUTCOME)

# Those that tell of requests without a record of their own (`Query.counted`).
COUNTING: Final = frozenset({Kind.SUMMARY.value, Kind.OUTAGE.value})

_SCHEME: Final = "spiffe://"
# The longest is 191 years.
_AGE: Final = re.compile(r"([0-9]{1,4})([smhdw])")
_AGE_S: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
# RFC 3339, section 5.6, with the offset written out; as a record writes it, too.
_MOMENT: Final = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,9})?(?:[Zz]|[+-][0-9]{2}:[0-9]{2})"
)
# Ids are hex digits or base64url; fewer characters than these name too many.
_ID_PREFIX: Final = re.compile(r"[A-Za-z0-9_-]{4,64}")


class NoQuery(ValueError):  # noqa: N818  # says what the input is
    """A filter that cannot be meant; the message goes behind its name ("must be …")."""


@dataclass(frozen=True, slots=True)
class Agents:
    """Whose calls: a workload pattern as in a policy, or a part of a SPIFFE ID.  `text` is as given."""

    text: str
    pattern: WorkloadPattern | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """`spiffe://` may be left out before a pattern with wildcards.  Raises NoQuery."""
        if not text:
            raise NoQuery(
                "must name a workload: a pattern such as spiffe://acme.test/ns/billing/**, or a part of its ID"
            )
        if "*" not in text:
            return cls(text)
        try:
            return cls(text, WorkloadPattern.parse(text if text.startswith(_SCHEME) else _SCHEME + text))
        except PatternError as error:
            raise NoQuery(str(error)) from error

    def matches(self, caller: str) -> bool:
        """`caller`: a SPIFFE ID as recorded."""
        if self.pattern is None:
            return self.text in caller
        found = _spiffe_id(caller)
        return found is not None and self.pattern.matches(found)


@dataclass(frozen=True, slots=True)
class Bound:
    """A moment: in Unix seconds, and as records write it."""

    seconds: float
    text: str

    @classmethod
    def parse(cls, text: str, now: float) -> Self:
        """`2026-12-31T18:00:00Z`, or an age such as `15m`, `2h`, `7d`.  Raises NoQuery."""
        if age := _AGE.fullmatch(text):
            return cls.at(datetime.fromtimestamp(now, UTC) - timedelta(seconds=int(age[1]) * _AGE_S[age[2]]))
        found = moment_of(text.upper()) if _MOMENT.fullmatch(text) else None
        if found is None:
            raise NoQuery(
                "must be a moment with its offset, such as 2026-12-31T18:00:00Z, or an age such as 15m, 2h or 7d"
            )
        return cls.at(found.astimezone(UTC))

    @classmethod
    def at(cls, moment: datetime) -> Self:
        """That moment, which has an offset."""
        return cls(moment.timestamp(), f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%f}000Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """Every condition that is given has to hold; of several values for one, any.

    Entries from `since` on and before `until`.  Ids (`decision`, `trace`, `session`, `jti`, `approval`) by their
    beginnings.  Records that are no requests are wanted where `kinds` names them, and only the time is asked of them;
    but for those about approvals, which name a caller, a tool and ids.
    """

    agents: tuple[Agents, ...] = ()
    servers: frozenset[str] = frozenset()
    tools: tuple[ToolPattern, ...] = ()
    methods: frozenset[str] = frozenset()
    verdict: Verdict | None = None
    reasons: frozenset[str] = frozenset()
    statuses: frozenset[str] = frozenset()
    user: str = ""
    session: str = ""
    decision: str = ""
    trace: str = ""
    jti: str = ""
    approval: str = ""
    since: Bound | None = None
    until: Bound | None = None
    kinds: frozenset[str] = REQUESTS

    def matches(self, entry: Entry) -> bool:
        """Whether this entry is wanted."""
        if entry.kind not in self.kinds or not self._is_within(entry.time_text):
            return False
        if entry.kind == Kind.APPROVAL:
            return self._wants_approval(entry)
        if entry.kind not in REQUESTS:
            # It is no workload's and has no tool: of what asks for either, it is no part.
            return self == Query(kinds=self.kinds, since=self.since, until=self.until)
        return (
            self._names_caller(entry) and self._names_call(entry) and self._names_ids(entry) and self._names_end(entry)
        )

    def _wants_approval(self, entry: Entry) -> bool:
        """It is no decision and has no token: of what asks how one was made, it is no part."""
        asks_for_more = self.verdict or self.reasons or self.statuses or self.methods or self.jti
        asked_by = text_of(entry.record, "asked_by")
        return (
            not asks_for_more
            and self._names_caller(entry)
            and self._names_call(entry)
            and (not self.decision or entry.decision.startswith(self.decision) or asked_by.startswith(self.decision))
            and self._names_same(entry)
        )

    def _is_within(self, time: str) -> bool:
        return (self.since is None or time >= self.since.text) and (self.until is None or time < self.until.text)

    def _names_caller(self, entry: Entry) -> bool:
        if self.user and entry.user != self.user:
            return False
        return not self.agents or any(agents.matches(entry.caller) for agents in self.agents)

    def _names_call(self, entry: Entry) -> bool:
        if self.servers and entry.server not in self.servers:
            return False
        if self.methods and entry.method not in self.methods:
            return False
        return not self.tools or (entry.tool != "" and any(tool.matches(entry.tool) for tool in self.tools))

    def _names_ids(self, entry: Entry) -> bool:
        return (
            (not self.decision or entry.decision.startswith(self.decision))
            and (not self.jti or entry.jti.startswith(self.jti))
            and self._names_same(entry)
        )

    def _names_same(self, entry: Entry) -> bool:
        return (
            (not self.trace or entry.trace.startswith(self.trace))
            and (not self.session or entry.session.startswith(self.session))
            and (not self.approval or entry.approval.startswith(self.approval))
        )

    def _names_end(self, entry: Entry) -> bool:
        if self.verdict is not None and entry.verdict != self.verdict:
            return False
        if self.reasons and entry.reason not in self.reasons:
            return False
        return not self.statuses or entry.status in self.statuses

    def is_past(self, entry: Entry) -> bool:
        """Whether everything that was written after this is too late."""
        return self.until is not None and entry.time.timestamp() > self.until.seconds + CLOCK_STEP_S

    def is_before(self, entry: Entry) -> bool:
        """Whether everything that was written before this is too early."""
        return self.since is not None and entry.time.timestamp() < self.since.seconds - CLOCK_STEP_S

    def counted(self, entry: Entry) -> Counter[str]:
        """Of a summary or an outage: how many requests that have no record may be wanted, by their reasons.

        A count tells a reason and perhaps a caller; what it does not tell cannot speak against it.
        """
        found: Counter[str] = Counter()
        has_none = self.verdict == "allow" or self.decision or self.trace or self.jti or self.approval
        if has_none or not self._is_within(entry.time_text):
            return found
        for count in objects_of(entry.record, "counts"):
            reason, caller = text_of(count, "reason"), text_of(count, "caller")
            is_callers = not self.agents or any(agents.matches(caller) for agents in self.agents)
            if is_callers and self._is_wanted(reason):
                found[reason] += max(0, number_of(count, "count"))
        return found

    def _is_wanted(self, reason: str) -> bool:
        if self.verdict is not None and (reason == Reason.APPROVAL_REQUIRED) != (self.verdict == "hold"):
            return False
        return not self.reasons or reason in self.reasons


def one_of(known: Iterable[str], what: str) -> Callable[[str], str]:
    """A reader of words that must be among `known`; it raises NoQuery."""
    words = tuple(known)

    def read(text: str) -> str:
        if text not in words:
            listed = "" if len(words) > 20 else f": one of {', '.join(words)}"
            raise NoQuery(f"'{shown(text)}' is no {what}{did_you_mean(text, words) or listed}")
        return text

    return read


read_reason: Final = one_of((reason.value for reason in Reason), "reason")
read_status: Final = one_of((status.value for status in Status), "status")
read_kind: Final = one_of(KINDS, "kind of record that is listed")


def read_tool(text: str) -> ToolPattern:
    """Raises NoQuery."""
    try:
        return ToolPattern.parse(text)
    except PatternError as error:
        raise NoQuery(str(error)) from error


def read_id(text: str) -> str:
    """The beginning of an id, or all of it.  Raises NoQuery."""
    if _ID_PREFIX.fullmatch(text) is None:
        raise NoQuery("must be an id, or at least the first 4 characters of one")
    return text


# As many as workloads are seen in one log, mostly; each is read once.
@lru_cache(maxsize=4096)
def _spiffe_id(text: str) -> SpiffeId | None:
    try:
        return SpiffeId.parse(text)
    except InvalidSpiffeId:
        return None
