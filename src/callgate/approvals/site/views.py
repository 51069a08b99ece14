"""What the list's page says, and what both pages have in common: words made of values, for templates to put in place.

Pure.  Whatever comes from an agent, a tool server or a person is `Pieces` or `Text`; nothing else of it gets to a page.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from callgate.approvals.model import Person, Request, State, Verdict, Vote, may_answer, missing
from callgate.approvals.site.outcomes import STATES
from callgate.approvals.site.visible import Allowance, Piece, Pieces, Text, folded, shown

# So many of one workload within as long are a storm: a person who works asks for less in two minutes, and a page of them
# is approved without being read.
STORM_REQUESTS: Final = 8
STORM_WITHIN_S: Final = 120.0
# Requests that one form denies: their ids and bindings are some 5 KiB.
MAX_DENIED_AT_ONCE: Final = 50
# Different tools that a storm's summary names.
_MAX_TOOLS: Final = 8
# Names in a list are shown as far; MCP lets tools' names have 128 characters (2025-11-25, "Tool Names").
_MAX_NAME_CHARACTERS: Final = 128
# Signs on their own, and words to be looked at, in all names of a list.
_LIST_CHARACTERS: Final = 8 * 1024
# 9999-12-31T23:59:59Z: what can be written as a date.
_LAST_MOMENT: Final = 253_402_300_799.0


@dataclass(frozen=True, slots=True)
class When:
    """A moment: for machines (ISO 8601) and for people, both in UTC."""

    iso: str
    words: str


@dataclass(frozen=True, slots=True)
class Left:
    """Time left: in whole seconds, rounded down, and in words."""

    seconds: int
    words: str


@dataclass(frozen=True, slots=True)
class Who:
    """A SPIFFE ID, its trust domain apart."""

    domain: Pieces
    path: Pieces


@dataclass(frozen=True, slots=True)
class Said:
    """One person's answer."""

    person: Pieces
    verdict: str
    reason: Text | None
    when: When
    means: str
    cover: str


@dataclass(frozen=True, slots=True)
class Row:
    """One request in a list.  `more`: how many people still have to agree; `tag`: its id and binding, for a form."""

    id: str
    tag: str
    who: Who
    server: Pieces
    tool: Pieces
    user: Pieces
    state_name: str
    state: str
    asked: When
    left: Left
    more: int
    votes: int
    asks: int
    seen: int
    ended: When | None
    by: tuple[Said, ...]


@dataclass(frozen=True, slots=True)
class Group:
    """What waits of one workload, `count` requests, of which MAX_DENIED_AT_ONCE are in `rows`.

    `tools`: which ones and how often, the most frequent first.
    """

    who: Who
    count: int
    rows: tuple[Row, ...]
    is_storm: bool
    tools: tuple[tuple[Pieces, Pieces, int], ...]
    other_tools: int
    within: str
    asks: int


@dataclass(frozen=True, slots=True)
class Listing:
    """The page of what waits.  `open_count`: those that are waiting; `approved` ones are not used yet."""

    groups: tuple[Group, ...]
    approved: tuple[Row, ...]
    ended: tuple[Row, ...]
    open_count: int


def listing(opened: Sequence[Request], ended: Sequence[Request], left_s: Callable[[Request], float]) -> Listing:
    """What waits, by workload, the one that waits longest first; what is approved; and what ended."""
    allowance = Allowance(_LIST_CHARACTERS)
    by_workload: dict[str, list[Request]] = {}
    for request in opened:
        if request.state is State.WAITING:
            by_workload.setdefault(request.ask.binding.caller, []).append(request)
    groups = tuple(_group(requests, left_s, allowance) for requests in by_workload.values())
    approved = [request for request in opened if request.state is not State.WAITING]
    return Listing(
        groups,
        tuple(row(request, left_s(request), allowance) for request in approved),
        tuple(row(request, 0.0, allowance) for request in ended),
        sum(group.count for group in groups),
    )


def deniable(requests: Iterable[Request], person: Person) -> tuple[Row, ...]:
    """Those that `person` may deny."""
    allowance = Allowance(_LIST_CHARACTERS)
    return tuple(row(each, 0.0, allowance) for each in requests if may_answer(each, person, Verdict.DENY) is None)


def row(request: Request, left_s: float, allowance: Allowance) -> Row:
    """One request in a list."""
    ask = request.ask
    return Row(
        id=request.id,
        tag=f"{request.id}.{ask.binding.digest}",
        who=who(ask.binding.caller, allowance),
        server=short(ask.binding.server, allowance),
        tool=short(ask.binding.tool, allowance),
        user=short(ask.user, allowance),
        state_name=request.state.value,
        state=STATES[request.state],
        asked=when(request.asked.wall),
        left=left(left_s),
        more=missing(request),
        votes=len(request.votes),
        asks=request.asks,
        seen=len(request.seen),
        ended=when(request.ended.wall) if request.ended else None,
        by=tuple(said(vote, allowance) for vote in request.votes),
    )


def who(caller: str, allowance: Allowance) -> Who:
    """`spiffe://acme.test/ns/billing` in its two parts."""
    domain, slash, path = caller.removeprefix("spiffe://").partition("/")
    return Who(short(domain, allowance), short(slash + path, allowance))


def said(vote: Vote, allowance: Allowance) -> Said:
    """One person's answer."""
    cover = vote.cover
    return Said(
        person=shown(vote.person.name, allowance, is_name=True),
        verdict="approved" if vote.verdict is Verdict.APPROVE else "denied",
        reason=folded(vote.reason, allowance) if vote.reason.strip() else None,
        when=when(vote.at),
        means=means(vote.person),
        cover=f"up to {cover.calls:,} calls in {lasting(cover.lasts_s)}" if cover else "",
    )


def means(person: Person) -> str:
    """How a person proved who it is, in words."""
    return {"oidc": "signed in", "socket": "on the gate's machine", "slack": "by Slack"}[person.means]


def when(at: float) -> When:
    """A moment, from Unix seconds."""
    moment = datetime.fromtimestamp(min(max(at, 0.0), _LAST_MOMENT), UTC)
    return When(f"{moment:%Y-%m-%dT%H:%M:%SZ}", f"{moment:%Y-%m-%d %H:%M:%S} UTC")


def left(seconds: float) -> Left:
    """How much time is left."""
    return Left(int(seconds), lasting(seconds))


def lasting(seconds: float) -> str:
    """A span of time in its two largest units: `14 min 3 s`."""
    rest, found = max(0, int(seconds)), []
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s")):
        count, rest = divmod(rest, size)
        if count:
            found.append(f"{count} {unit}")
        elif found:
            break
    return " ".join(found[:2]) or "0 s"


def _group(requests: list[Request], left_s: Callable[[Request], float], allowance: Allowance) -> Group:
    tools = Counter((request.ask.binding.server, request.ask.binding.tool) for request in requests)
    return Group(
        who=who(requests[0].ask.binding.caller, allowance),
        count=len(requests),
        rows=tuple(row(request, left_s(request), allowance) for request in requests[:MAX_DENIED_AT_ONCE]),
        is_storm=_is_storm([request.asked.wall for request in requests]),
        tools=tuple(
            (short(server, allowance), short(tool, allowance), count)
            for (server, tool), count in tools.most_common(_MAX_TOOLS)
        ),
        other_tools=max(0, len(tools) - _MAX_TOOLS),
        within=lasting(max(1.0, requests[-1].asked.wall - requests[0].asked.wall)),
        asks=sum(request.asks for request in requests),
    )


def _is_storm(asked: Iterable[float]) -> bool:
    """Whether there are STORM_REQUESTS within STORM_WITHIN_S anywhere."""
    times = sorted(asked)
    return any(last - first <= STORM_WITHIN_S for first, last in zip(times, times[STORM_REQUESTS - 1 :], strict=False))


def short(text: str, allowance: Allowance) -> Pieces:
    """A name in a list; of a longer one, its beginning and its end."""
    if len(text) <= _MAX_NAME_CHARACTERS:
        return shown(text, allowance, is_name=True)
    half = _MAX_NAME_CHARACTERS // 2
    cut = Piece("unseen", f"⟨… {len(text) - 2 * half:,} characters …⟩", "left out here")
    return (*shown(text[:half], allowance, is_name=True), cut, *shown(text[-half:], allowance, is_name=True))
