"""A notice as it is kept and sent: what happened to which request, without the call's arguments.  Pure."""

from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Final

import orjson

from callgate.approvals.happened import Happened, Happening
from callgate.approvals.store import Notice
from callgate.telemetry.visible import visible, without_credentials

TYPE_PREFIX: Final = "approval."
# Standard Webhooks 1.0, "Payload size": "usually smaller than 20kb".  A SPIFFE ID is 2048 bytes at most; what an agent
# or a person wrote is cut, and the page has all of it.
_MAX_ID_CHARACTERS: Final = 2_048
_MAX_TEXT_CHARACTERS: Final = 500
_MAX_RULES: Final = 20


@dataclass(frozen=True, slots=True)
class Subject:
    """What a notice is about."""

    happening: Happening
    request: str


def notice_of(happened: Happened, target: str, url: str) -> Notice:
    """What `target` is to be told; `url` is the site's.  The same happening makes a notice of the same id."""
    return Notice(_id(happened, target), target, orjson.dumps(document(happened, url)), happened.at)


def document(happened: Happened, url: str) -> dict[str, object]:
    """Standard Webhooks 1.0, "Payload structure": `type`, `timestamp`, `data`."""
    return {"type": TYPE_PREFIX + happened.happening, "timestamp": rfc3339(happened.at), "data": _facts(happened, url)}


def subject_of(notice: Notice) -> Subject | None:
    """What a kept notice is about; None where it was not made here."""
    try:
        found = orjson.loads(notice.body)
        return Subject(Happening(found["type"].removeprefix(TYPE_PREFIX)), str(found["data"]["id"]))
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def page_of(url: str, request: str) -> str:
    """Where people look at a request."""
    return f"{url}/approvals/r/{request}"


def rfc3339(at: float) -> str:
    """A moment in UTC, to the millisecond."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _facts(happened: Happened, url: str) -> dict[str, object]:
    request, vote = happened.request, happened.vote
    binding = request.ask.binding
    facts: dict[str, object] = {
        "id": request.id,
        "state": request.state.value,
        "caller": visible(binding.caller, _MAX_ID_CHARACTERS),
        "server": visible(binding.server, _MAX_TEXT_CHARACTERS),
        "tool": visible(binding.tool, _MAX_TEXT_CHARACTERS),
        "rules": [visible(approval.rule, _MAX_TEXT_CHARACTERS) for approval in request.ask.approvals[:_MAX_RULES]],
        "expires_at": rfc3339(request.deadline.ends),
        "url": page_of(url, request.id),
    }
    people = {"user": request.ask.user, "seen_by": happened.person}
    if vote is not None:
        people |= {"decided_by": vote.person.name, "reason": vote.reason.strip()}
    return facts | {name: without_credentials(text, _MAX_TEXT_CHARACTERS) for name, text in people.items() if text}


def _id(happened: Happened, target: str) -> str:
    """Standard Webhooks 1.0: "not be allowed to include any `.`"; the same over retries, another for each target."""
    request = happened.request
    parts = (target, request.id, happened.happening, str(request.revision), happened.person)
    return "msg_" + sha256("\0".join(parts).encode()).hexdigest()[:32]
