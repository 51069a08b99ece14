"""What somebody who clicked in Slack is told, by nobody else seen.  Pure."""

from typing import Final

from callgate.approvals.model import Request, State, VoteRefusal

NOT_MAPPED: Final = "You are not an approver: the gate does not know your Slack user."
ON_THE_PAGE: Final = "Approve on the page: there you see what exactly will happen."
NOT_KEPT: Final = "Your answer could not be kept. Nothing was decided; try again."

_REFUSALS: Final = {
    VoteRefusal.UNKNOWN: "The gate does not know this request any more.",
    VoteRefusal.FINISHED: "This request was decided before.",
    VoteRefusal.EXPIRED: "This request is over; the agent has to ask anew.",
    VoteRefusal.POLICY_CHANGED: "The policy has changed since; the agent has to ask anew.",
    VoteRefusal.BINDING_MISMATCH: "This message is not about what is asked for now; look at the page.",
    VoteRefusal.NOT_AN_APPROVER: "You are not an approver of this request.",
    VoteRefusal.OWNER: "You own the workload that asks, and the policy wants four eyes.",
    VoteRefusal.AGENTS_OWN_USER: "The agent that asks runs as your user.",
    VoteRefusal.ALREADY_SAID: "You have said so before.",
    VoteRefusal.SIGN_IN_TOO_OLD: "The policy wants a fresh sign-in: approve on the page.",
    VoteRefusal.REASON_NEEDED: "The policy wants a reason: approve on the page.",
    VoteRefusal.REASON_TOO_LONG: "The reason is too long.",
    VoteRefusal.COVER_NOT_ALLOWED: "The policy lets an approval cover this call alone.",
    VoteRefusal.UNAVAILABLE: NOT_KEPT,
}


def said_of_answer(found: Request | VoteRefusal) -> str:
    """What their click came to."""
    if isinstance(found, VoteRefusal):
        return _REFUSALS[found]
    match found.state:
        case State.DENIED:
            return "You denied it."
        case State.WAITING:
            return "You agreed; others still have to."
        case _:
            return "You approved it."
