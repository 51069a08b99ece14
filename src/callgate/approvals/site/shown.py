"""A request for approval as the admin API shows it.  Pure: who looks, and when, are parameters."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from callgate.approvals.model import (
    Moment,
    Person,
    Request,
    Verdict,
    Vote,
    VoteRefusal,
    is_named,
    missing,
    voted,
)
from callgate.errors import Refusal
from callgate.policy.approval import Approval, Repeat
from callgate.wire.json_strict import JsonLimits, JsonObject, JsonValue, loads

# A definition is the gate's own text of what a tool server said; it was read under such limits before.
_DEFINITION_LIMITS: Final = JsonLimits(max_bytes=4 << 20, safe_integers=False)
# Whether an answer could count is asked with a reason given, so that a missing one is not in the way.
_SOME_REASON: Final = "-"


@dataclass(frozen=True, slots=True)
class Look:
    """Who looks, when, and under which policy (its digest)."""

    person: Person
    now: Moment
    policy: str


def may_see(request: Request, person: Person) -> bool:
    """Approvers see what they decide on, and owners what is asked in their workload's name; nobody else does."""
    owners = request.ask.owners
    is_owner = person.name in owners.people or not owners.groups.isdisjoint(person.groups)
    return is_owner or any(is_named(approval, person) for approval in request.ask.approvals)


def summary(request: Request, look: Look) -> JsonObject:
    """One line of a list: without arguments and definition."""
    ask = request.ask
    return {
        "id": request.id,
        "state": str(request.state),
        "binding": ask.binding.digest,
        "caller": ask.binding.caller,
        "trust_domain": trust_domain(ask.binding.caller),
        "server": ask.binding.server,
        "tool": ask.binding.tool,
        "user": ask.user,
        "purpose": ask.purpose,
        "why": list(ask.why),
        "asked_at": request.asked.wall,
        "expires_at": request.deadline.ends,
        "left_s": request.deadline.left_s(look.now) if request.is_open else 0.0,
        "missing": missing(request),
        "asks": request.asks,
        "you": _you(request, look),
    }


def shown(request: Request, look: Look) -> JsonObject:
    """All that a person is shown before deciding."""
    ask = request.ask
    approvals = ask.approvals
    return summary(request, look) | {
        "caller_svid": {"from": ask.svid[0], "until": ask.svid[1]},
        "arguments": ask.arguments,
        "definition": _definition(ask.definition),
        "found": list(ask.found),
        "before": [
            {"at": each.at, "server": each.server, "tool": each.tool, "decision": each.decision, "reason": each.reason}
            for each in ask.before
        ],
        "approvers": [_approvers(request, approval) for approval in approvals],
        "four_eyes": any(approval.four_eyes for approval in approvals),
        "sign_in_s": min((each.sign_in_s for each in approvals if each.sign_in_s is not None), default=None),
        "reason_required": any(approval.needs_reason for approval in approvals),
        "repeat": _repeat(ask.repeat),
        "votes": [_vote(vote) for vote in request.votes],
        "calls": request.calls,
        "used": request.used,
        "seen": list(request.seen),
        "session": ask.session,
        "decision": ask.decision,
        "trace": ask.trace,
    }


def trust_domain(caller: str) -> str:
    """SPIFFE-ID, 2.1: the authority of the URI."""
    return caller.removeprefix("spiffe://").partition("/")[0]


def _you(request: Request, look: Look) -> JsonObject:
    """What this person may do about it, by the rule that their answer is judged by; `why` not approve, or not at all."""
    approve, deny = _refusal(request, look, Verdict.APPROVE), _refusal(request, look, Verdict.DENY)
    why = approve or deny
    return {"may_approve": approve is None, "may_deny": deny is None, "why": str(why) if why else None}


def _refusal(request: Request, look: Look, verdict: Verdict) -> VoteRefusal | None:
    found = voted(request, Vote(look.person, verdict, _SOME_REASON, look.now.wall), look.now, look.policy)
    return found if isinstance(found, VoteRefusal) else None


def _approvers(request: Request, approval: Approval) -> JsonObject:
    agreeing = (vote.person for vote in request.votes if vote.verdict is Verdict.APPROVE)
    return {
        "rule": approval.rule,
        "groups": _sorted(approval.groups),
        "people": _sorted(approval.people),
        "needed": approval.needed,
        "agreed": _sorted({person.name for person in agreeing if is_named(approval, person)}),
    }


def _vote(vote: Vote) -> JsonObject:
    cover: JsonValue = None if vote.cover is None else {"calls": vote.cover.calls, "seconds": vote.cover.lasts_s}
    return {
        "name": vote.person.name,
        "means": str(vote.person.means),
        "verdict": str(vote.verdict),
        "reason": vote.reason,
        "at": vote.at,
        "cover": cover,
    }


def _repeat(repeat: Repeat | None) -> JsonValue:
    """`same` as JSON Pointers (RFC 6901)."""
    if repeat is None:
        return None
    same: list[JsonValue] = ["".join(f"/{_escaped(str(step))}" for step in steps) for steps in repeat.same]
    return {"same": same, "seconds": repeat.lasts_s, "calls": repeat.calls}


def _escaped(step: str) -> str:
    return step.replace("~", "~0").replace("/", "~1")


def _definition(text: str) -> JsonValue:
    """What the tool server says of the tool, as it was approved; null where it is not known."""
    found = loads(text.encode(), _DEFINITION_LIMITS) if text else None
    if isinstance(found, Refusal) or not isinstance(found, dict):
        return None
    annotations = found.get("annotations")
    return {
        "description": _text(found, "description"),
        "title": _text(found, "title"),
        "annotations": annotations if isinstance(annotations, dict) else None,
    }


def _text(found: Mapping[str, JsonValue], name: str) -> str | None:
    value = found.get(name)
    return value if isinstance(value, str) else None


def _sorted(names: frozenset[str] | set[str]) -> list[JsonValue]:
    found: list[JsonValue] = []
    found += sorted(names)
    return found
