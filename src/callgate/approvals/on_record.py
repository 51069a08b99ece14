"""What the log says of a request for approval: one record for each thing that happened to it.

Never the call's arguments, nor what was found in them: their digest alone.  docs/reference/audit.md has every field.
Pure.
"""

from callgate.approvals.happened import Happened, Happening
from callgate.approvals.model import MAX_REASON_CHARACTERS, Ask, Binding, Person, Request, Vote
from callgate.telemetry.visible import without_credentials


def fields_of(happened: Happened) -> dict[str, object]:
    """The fields of an `approval` record, but for those that every record has."""
    request = happened.request
    return {
        "happening": happened.happening.value,
        "approval": request.id,
        **_binding(request.ask.binding),
        **_digests(request.ask),
        **_asked(request),
        "rules": [approval.rule for approval in request.ask.approvals],
        **_said({"decision": happened.decision, "trace": happened.trace}),
        **_by(happened),
        **_uses(happened),
        "expires": int(request.deadline.ends),
    }


def _binding(binding: Binding) -> dict[str, object]:
    issuer, subject = binding.user
    return {
        "caller": binding.caller,
        "server": binding.server,
        "tool": binding.tool,
        "policy": binding.policy,
        **_said({"definition": binding.definition}),
        **({"user": {"issuer": issuer, "subject": subject}} if issuer or subject else {}),
    }


def _digests(ask: Ask) -> dict[str, object]:
    """Both can be guessed where arguments have few forms."""
    return {"binding": ask.binding.digest, "args": ask.binding.arguments} if ask.has_digests else {}


def _asked(request: Request) -> dict[str, object]:
    """What asked first, by which this is found from a call and from a session."""
    return _said({"session": request.ask.session, "asked_by": request.ask.decision})


def _by(happened: Happened) -> dict[str, object]:
    """Who looked or answered, and what that person said."""
    if happened.vote is not None:
        return {"by": _person(happened.vote.person), **_vote(happened.vote)}
    return {"by": {"name": happened.person}} if happened.person else {}


def _person(person: Person) -> dict[str, object]:
    return {
        "name": person.name,
        "means": person.means.value,
        **_said({"issuer": person.issuer, "subject": person.subject}),
        **({} if person.uid is None else {"uid": person.uid}),
        "signed_in": int(person.signed_in),
    }


def _vote(vote: Vote) -> dict[str, object]:
    cover = vote.cover
    return {
        "verdict": vote.verdict.value,
        **_said({"reason": without_credentials(vote.reason.strip(), MAX_REASON_CHARACTERS)}),
        **({} if cover is None else {"cover": {"calls": cover.calls, "seconds": cover.lasts_s}}),
    }


def _uses(happened: Happened) -> dict[str, object]:
    """How many calls it lets through, once that is known, and how many it did."""
    request = happened.request
    if happened.happening not in {Happening.APPROVED, Happening.USED} and not request.used:
        return {}
    return {"calls": request.calls, "used": request.used}


def _said(texts: dict[str, str]) -> dict[str, object]:
    """Those that say something."""
    return {name: text for name, text in texts.items() if text}
