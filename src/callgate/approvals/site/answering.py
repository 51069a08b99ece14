"""Whether and how a person can answer a request: what the form on its page says.  Pure."""

from dataclasses import dataclass
from typing import Final

from callgate.approvals.model import Moment, Person, Request, Verdict, may_answer
from callgate.approvals.site.outcomes import OUTCOMES, Outcome
from callgate.approvals.site.views import Said, lasting, said, short
from callgate.approvals.site.visible import Allowance, Pieces, Text, folded
from callgate.policy.approval import Repeat, Steps
from callgate.wire.json_strict import JsonObject, JsonValue, dumps


@dataclass(frozen=True, slots=True)
class CoverChoice:
    """What an approval may cover beyond this call: `same` are the arguments that have to stay as they are."""

    same: tuple[tuple[Pieces, Text | None], ...]
    calls: int
    minutes: int
    lasting: str


@dataclass(frozen=True, slots=True)
class Answering:
    """Whether and how the person who reads can answer; `approve` and `deny`: why not, None where they can."""

    approve: Outcome | None
    deny: Outcome | None
    mine: Said | None
    needs_reason: bool
    is_stale: bool
    fresh_within: str
    cover: CoverChoice | None


@dataclass(frozen=True, slots=True)
class _Nothing:
    """Where no value is; null is one."""


_NOTHING: Final = _Nothing()


def answering(request: Request, person: Person, now: Moment, allowance: Allowance) -> Answering:
    """What the form for `person` says."""
    approvals = request.ask.approvals
    mine = next((vote for vote in request.votes if vote.person.name == person.name), None)
    oldest = min((each.sign_in_s for each in approvals if each.sign_in_s is not None), default=None)
    is_recent = oldest is None or now.wall - person.signed_in <= oldest
    repeat = request.ask.repeat
    return Answering(
        approve=_refusal(request, person, Verdict.APPROVE),
        deny=_refusal(request, person, Verdict.DENY),
        mine=said(mine, allowance) if mine else None,
        needs_reason=any(each.needs_reason for each in approvals),
        is_stale=not is_recent,
        fresh_within=lasting(oldest) if oldest is not None else "",
        cover=_cover(repeat, request.ask.arguments, allowance) if repeat else None,
    )


def _refusal(request: Request, person: Person, verdict: Verdict) -> Outcome | None:
    refusal = may_answer(request, person, verdict)
    return OUTCOMES[refusal] if refusal is not None else None


def _cover(repeat: Repeat, arguments: JsonObject, allowance: Allowance) -> CoverChoice:
    same = tuple((_path(steps, allowance), _value(steps, arguments, allowance)) for steps in repeat.same)
    return CoverChoice(same, repeat.calls, max(1, repeat.lasts_s // 60), lasting(repeat.lasts_s))


def _path(steps: Steps, allowance: Allowance) -> Pieces:
    return short(" / ".join(map(str, steps)), allowance)


def _value(steps: Steps, arguments: JsonObject, allowance: Allowance) -> Text | None:
    """What stands there as JSON; None where nothing does.  As `Binding.standing` goes about it."""
    found: JsonValue = arguments
    for step in steps:
        inside = found.get(step, _NOTHING) if isinstance(found, dict) and isinstance(step, str) else _NOTHING
        if isinstance(found, list) and isinstance(step, int) and 0 <= step < len(found):
            inside = found[step]
        if isinstance(inside, _Nothing):
            return None
        found = inside
    return folded(dumps(found).decode(), allowance)
