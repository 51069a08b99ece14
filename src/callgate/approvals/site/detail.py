"""What the page of one request says: all that a person has to know before saying yes.

Pure, and bounded whatever the request holds; screening's readings of SQL and shell take up to some 20 ms each.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from callgate.approvals.model import (
    Before,
    Moment,
    Person,
    Request,
    State,
    Verdict,
    is_named,
    missing,
)
from callgate.approvals.site.answering import Answering, answering
from callgate.approvals.site.outcomes import ENDINGS, STATES
from callgate.approvals.site.programs import Program, read_programs
from callgate.approvals.site.reading import MAX_CHARACTERS, Arguments, read_arguments
from callgate.approvals.site.views import Left, Said, When, Who, left, said, short, when, who
from callgate.approvals.site.visible import Allowance, Pieces, Text, folded
from callgate.policy.approval import Approval
from callgate.screening.pack_terms import Declared
from callgate.wire.json_strict import JsonLimits, JsonObject, dumps, loads

# Of what the agent did before, the latest.
MAX_BEFORE: Final = 20
# Names of those who looked, of those who may agree, and sentences of rules and findings.
_MAX_NAMES: Final = 12
_MAX_SENTENCES: Final = 20
# The protocol knows five annotations; others are a tool server's own.
_MAX_ANNOTATIONS: Final = 10
# It was read within the bounds of a tool server's answer before.
_DEFINITION: Final = JsonLimits(max_bytes=4 << 20, safe_integers=False)


@dataclass(frozen=True, slots=True)
class Tool:
    """What is called.  `title`, `description` and `annotations` are the tool server's own words.

    `is_known`: whether the gate has seen the tool's definition.
    """

    server: Pieces
    name: Pieces
    is_known: bool
    title: Text | None
    description: Text | None
    annotations: tuple[tuple[Pieces, Pieces], ...]


@dataclass(frozen=True, slots=True)
class Rule:
    """One grant that asks, who may agree for it, and how many did of those it needs."""

    rule: Pieces
    needed: int
    agreed: int
    people: tuple[Pieces, ...]
    groups: tuple[Pieces, ...]
    others: int
    four_eyes: bool


@dataclass(frozen=True, slots=True)
class Earlier:
    """One call of the same session before."""

    when: When
    server: Pieces
    tool: Pieces
    decision: Pieces
    reason: Pieces


@dataclass(frozen=True, slots=True)
class Detail:
    """One request, in words.  `held`: how much longer the call itself waits, None where it no longer does.

    `asker` lasts from `svid_from` to `svid_until`, None where that is not known.  `earlier_left_out`: calls before those
    in `earlier`.  `digests`: what exactly is agreed to, by name.
    """

    id: str
    binding: str
    state: State
    state_words: str
    ending: str
    asker: Who
    svid_from: When | None
    svid_until: When | None
    user: Pieces
    purpose: Text | None
    tool: Tool
    programs: tuple[Program, ...]
    arguments: Arguments
    why: tuple[Text, ...]
    found: tuple[Text, ...]
    rules: tuple[Rule, ...]
    earlier: tuple[Earlier, ...]
    earlier_left_out: int
    asked: When
    asks: int
    seen: tuple[Pieces, ...]
    seen_others: int
    votes: tuple[Said, ...]
    more: int
    left: Left
    held: Left | None
    uses: tuple[int, int]
    digests: tuple[tuple[str, str], ...]
    session: Pieces
    answering: Answering

    @property
    def is_waiting(self) -> bool:
        """Whether it can still be answered."""
        return self.state is State.WAITING


def detail(request: Request, person: Person, declared: Declared, now: Moment, left_s: float) -> Detail:
    """What `person` is shown of a request; `declared`: which of its arguments are SQL or shell."""
    ask, allowance = request.ask, Allowance(MAX_CHARACTERS)
    # The names first: what they are is told in full whatever the arguments hold.
    asker, tool = who(ask.binding.caller, allowance), _tool(request, allowance)
    programs = read_programs(ask.arguments, declared, allowance)
    seen, before = request.seen, ask.before[-MAX_BEFORE:]
    return Detail(
        id=request.id,
        binding=ask.binding.digest,
        state=request.state,
        state_words=STATES[request.state],
        ending=ENDINGS[request.state],
        asker=asker,
        svid_from=when(ask.svid[0]) if ask.svid[0] else None,
        svid_until=when(ask.svid[1]) if ask.svid[1] else None,
        user=short(ask.user, allowance),
        purpose=folded(ask.purpose, allowance) if ask.purpose else None,
        tool=tool,
        why=tuple(folded(each, allowance) for each in ask.why[:_MAX_SENTENCES]),
        found=tuple(folded(each, allowance) for each in ask.found[:_MAX_SENTENCES]),
        rules=tuple(_rule(each, request, allowance) for each in ask.approvals),
        earlier=tuple(_earlier(each, allowance) for each in before),
        earlier_left_out=len(ask.before) - len(before),
        asked=when(request.asked.wall),
        asks=request.asks,
        seen=tuple(short(name, allowance) for name in seen[:_MAX_NAMES]),
        seen_others=max(0, len(seen) - _MAX_NAMES),
        votes=tuple(said(vote, allowance) for vote in request.votes),
        more=missing(request),
        left=left(left_s),
        held=_held(request, now, left_s),
        uses=(request.used, request.calls),
        digests=_digests(request),
        session=short(ask.session, allowance),
        answering=answering(request, person, now, allowance),
        programs=programs,
        # Last: they get what is left of the page's room.
        arguments=read_arguments(ask.arguments, allowance, [program.path for program in programs]),
    )


def _tool(request: Request, allowance: Allowance) -> Tool:
    binding, definition = request.ask.binding, _definition(request.ask.definition)
    said_title, said_text = definition.get("title"), definition.get("description")
    said_hints = definition.get("annotations")
    hints = list(said_hints.items())[:_MAX_ANNOTATIONS] if isinstance(said_hints, dict) else []
    return Tool(
        short(binding.server, allowance),
        short(binding.tool, allowance),
        is_known=bool(definition),
        title=folded(said_title, allowance) if isinstance(said_title, str) else None,
        description=folded(said_text, allowance) if isinstance(said_text, str) else None,
        annotations=tuple((short(name, allowance), short(dumps(hint).decode(), allowance)) for name, hint in hints),
    )


def _definition(text: str) -> JsonObject:
    """The tool's definition; nothing where it is not known or cannot be read."""
    found = loads(text.encode(errors="replace"), _DEFINITION) if text else None
    return found if isinstance(found, dict) else {}


def _rule(approval: Approval, request: Request, allowance: Allowance) -> Rule:
    agreed = {
        vote.person.name
        for vote in request.votes
        if vote.verdict is Verdict.APPROVE and is_named(approval, vote.person)
    }
    people, groups = sorted(approval.people), sorted(approval.groups)
    return Rule(
        short(approval.rule, allowance),
        approval.needed,
        len(agreed),
        _names(people, allowance),
        _names(groups, allowance),
        max(0, len(people) - _MAX_NAMES) + max(0, len(groups) - _MAX_NAMES),
        approval.four_eyes,
    )


def _names(names: Iterable[str], allowance: Allowance) -> tuple[Pieces, ...]:
    return tuple(short(name, allowance) for name in list(names)[:_MAX_NAMES])


_DECIDED: Final = {"allow": "allowed", "deny": "refused", "hold": "waited for a person"}


def _earlier(before: Before, allowance: Allowance) -> Earlier:
    words = (before.server, before.tool, _DECIDED.get(before.decision, before.decision), before.reason)
    return Earlier(when(before.at), *(short(word, allowance) for word in words))


def _held(request: Request, now: Moment, left_s: float) -> Left | None:
    """The call waits as long as the least patient grant says; of one that was sent again, nobody can tell here."""
    waits = min(approval.waits_s for approval in request.ask.approvals)
    still = min(left_s, waits - (now.wall - request.asked.wall))
    return left(still) if request.state is State.WAITING and still > 0 and request.asks == 1 else None


def _digests(request: Request) -> tuple[tuple[str, str], ...]:
    binding = request.ask.binding
    return (
        ("Request", request.id),
        ("Binding", binding.digest),
        ("Arguments (SHA-256)", binding.arguments),
        ("Tool's definition", binding.definition or "not known"),
        ("Policy", binding.policy),
        ("Decision", request.ask.decision),
        ("Trace", request.ask.trace),
    )
