"""How the site says no: one stable code, one sentence, as JSON where a program asked and as plain text elsewhere."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from callgate.approvals.model import MAX_REASON_CHARACTERS, VoteRefusal
from callgate.wire.json_strict import dumps

# Who may not, and why: codes beside those of `VoteRefusal`.
NOT_SIGNED_IN: Final = "not_signed_in"
NOT_THIS_USER: Final = "not_this_user"


@dataclass(frozen=True, slots=True)
class Said:
    """An HTTP status, and a sentence for a person."""

    status: int
    sentence: str


# Why an answer does not count.
REFUSALS: Final[Mapping[VoteRefusal, Said]] = {
    VoteRefusal.UNKNOWN: Said(404, "There is no such request for approval; what ended is forgotten after a while."),
    VoteRefusal.FINISHED: Said(409, "This request was decided before."),
    VoteRefusal.EXPIRED: Said(409, "This request has expired; if the agent asks again, it is a new one."),
    VoteRefusal.POLICY_CHANGED: Said(
        409, "The policy has changed since; if the agent asks again, it is a new request."
    ),
    VoteRefusal.BINDING_MISMATCH: Said(409, "What you have read is not what is asked for; load the request again."),
    VoteRefusal.NOT_AN_APPROVER: Said(403, "The policy does not name you as an approver of this request."),
    VoteRefusal.OWNER: Said(403, "You answer for the workload that asks; somebody else has to approve."),
    VoteRefusal.AGENTS_OWN_USER: Said(403, "The agent that asks runs as the same user; somebody else has to decide."),
    VoteRefusal.ALREADY_SAID: Said(409, "You have answered this request before."),
    VoteRefusal.SIGN_IN_TOO_OLD: Said(403, "The policy asks for a fresh sign-in before this is approved."),
    VoteRefusal.REASON_NEEDED: Said(422, "The policy asks for a reason."),
    VoteRefusal.REASON_TOO_LONG: Said(422, f"A reason has at most {MAX_REASON_CHARACTERS} characters."),
    VoteRefusal.COVER_NOT_ALLOWED: Said(422, "The policy does not let an approval cover that much."),
    VoteRefusal.UNAVAILABLE: Said(
        503, "The gate cannot keep or record approvals just now; your answer does not count."
    ),
}
# Everything else that is refused.
OTHERS: Final[Mapping[str, Said]] = {
    "malformed": Said(400, "The request is not what this path takes."),
    NOT_SIGNED_IN: Said(401, "Sign in first."),
    NOT_THIS_USER: Said(403, "The configuration does not let this user of the machine come by the admin socket."),
    "csrf_mismatch": Said(403, "This page is not of your present sign-in; load it again."),
    "cross_site": Said(403, "Another site's page sent this."),
    "origin_mismatch": Said(403, "A change is taken only from this site's own pages."),
    "by_the_socket_alone": Said(403, "A link is made by the admin socket alone: run callgate approvals link."),
    "not_found": Said(404, "Nothing is served at this path."),
    "method_not_allowed": Said(405, "This path is not asked in that way."),
    "host_mismatch": Said(421, "This gate is not known by that name; use the address in approvals.url."),
    "too_many_streams": Said(429, "Too many pages are open; close some of them."),
    "internal": Said(500, "Something went wrong inside the gate."),
}


class Json(Response):
    """JSON, written as everywhere in the gate."""

    media_type = "application/json"

    def render(self, content: object) -> bytes:
        """The body."""
        return dumps(content)


def refused(request: Request, code: str, sentence: str = "") -> Response:
    """The answer to a request that is refused; `code` is one of `REFUSALS` or `OTHERS`."""
    said = REFUSALS[VoteRefusal(code)] if code in REFUSALS else OTHERS[code]
    if request.url.path.startswith("/api/"):
        return Json({"error": code, "message": sentence or said.sentence}, said.status)
    return PlainTextResponse(f"{sentence or said.sentence}\n", said.status)
