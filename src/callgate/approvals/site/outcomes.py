"""What an answer came to, in plain words, and what the person can do next."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal

from callgate.approvals.model import MAX_REASON_CHARACTERS, State, VoteRefusal


@dataclass(frozen=True, slots=True)
class Outcome:
    """`title` says it, `text` explains it; `then`: what leads on, if anything.  `status`: of the HTTP answer."""

    title: str
    text: str
    status: int
    then: Literal["", "read", "sign_in"] = ""


OUTCOMES: Final[Mapping[VoteRefusal, Outcome]] = MappingProxyType(
    {
        VoteRefusal.UNKNOWN: Outcome(
            "There is no such request", "It was never asked, or it ended so long ago that it is no longer kept.", 404
        ),
        VoteRefusal.FINISHED: Outcome(
            "Somebody else was faster",
            "The request was decided before your answer came in. Your answer changed nothing; below is how it ended.",
            409,
        ),
        VoteRefusal.EXPIRED: Outcome(
            "The time is up",
            "The request expired before your answer came in. Nothing was let through; the agent has to ask again.",
            409,
        ),
        VoteRefusal.POLICY_CHANGED: Outcome(
            "The policy has changed",
            "This was asked under a policy that is no longer in force, so nobody can agree to it. "
            "If the new policy still asks for approval, the same call will appear as a new request.",
            409,
        ),
        VoteRefusal.BINDING_MISMATCH: Outcome(
            "What you read is not what is asked for",
            "Your answer belongs to another call than this one, so it does not count. Read the request again, from the "
            "top, before you answer.",
            409,
            "read",
        ),
        VoteRefusal.NOT_AN_APPROVER: Outcome(
            "You are not an approver of this call",
            "The policy names other people or groups for it. You can read it, but your answer would not count.",
            403,
        ),
        VoteRefusal.OWNER: Outcome(
            "You own the workload that asks",
            "This policy wants four eyes: whoever answers for a workload cannot also approve what it does. "
            "Somebody else has to approve; you can still deny.",
            403,
        ),
        VoteRefusal.AGENTS_OWN_USER: Outcome(
            "The agent runs as you",
            "The same user of this machine runs the agent that asks, so the agent could give this answer itself. "
            "Somebody else has to answer, or the agent has to run as a user of its own.",
            403,
        ),
        VoteRefusal.ALREADY_SAID: Outcome(
            "You have already answered",
            "Your first answer stands. Where several people are needed, each counts once.",
            409,
        ),
        VoteRefusal.SIGN_IN_TOO_OLD: Outcome(
            "Sign in afresh to approve",
            "The policy wants a recent sign-in for this call, and yours is older. Nothing was approved.",
            403,
            "sign_in",
        ),
        VoteRefusal.REASON_NEEDED: Outcome(
            "A reason is needed",
            "The policy wants everybody who approves this call to say why. Nothing was approved.",
            422,
        ),
        VoteRefusal.REASON_TOO_LONG: Outcome(
            "The reason is too long", f"It can have up to {MAX_REASON_CHARACTERS} characters. Nothing was decided.", 422
        ),
        VoteRefusal.COVER_NOT_ALLOWED: Outcome(
            "That is more than the policy allows",
            "The approval would have covered more calls, or a longer time, than the policy allows. Nothing was approved.",
            422,
        ),
        VoteRefusal.UNAVAILABLE: Outcome(
            "Nothing can be decided just now",
            "The gate cannot keep or record answers at the moment, so none counts. Try again in a minute.",
            503,
            "read",
        ),
    }
)
# For those whom nothing of the request is shown.
NOT_YOURS: Final = Outcome(
    "You are not an approver of this call", "The policy names other people or groups for it, so you cannot see it.", 403
)
# What the page itself refuses, before any answer is looked at.
NOT_THIS_PAGES: Final = Outcome(
    "This answer did not come from this page",
    "It was not sent by the page that you are signed in to, or your sign-in has been renewed since. Nothing was decided. "
    "Open the request again and answer there.",
    403,
    "read",
)
UNREADABLE: Final = Outcome(
    "This form cannot be read", "Nothing was decided. Open the request again and answer there.", 400, "read"
)

STATES: Final[Mapping[State, str]] = MappingProxyType(
    {
        State.WAITING: "Waiting for an answer",
        State.APPROVED: "Approved, not used yet",
        State.DENIED: "Denied",
        State.USED: "Approved and used",
        State.EXPIRED: "Expired",
        State.VOID: "No longer valid",
    }
)
ENDINGS: Final[Mapping[State, str]] = MappingProxyType(
    {
        State.WAITING: "The call is held until people agree, or time is up.",
        State.APPROVED: "The gate lets exactly what was approved through, once it is called.",
        State.DENIED: "The gate refused the call and told the agent the reason.",
        State.USED: "The call went on; the approval cannot be used again.",
        State.EXPIRED: "Nobody decided in time, or what was approved was not called in time. Nothing more is let through.",
        State.VOID: "The policy changed, or the clock was set back. Nothing is let through by this request.",
    }
)
