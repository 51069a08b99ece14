"""What happens to a request for approval, as it is told to the log, to traces and to those who want to know.  Pure."""

from dataclasses import dataclass
from enum import StrEnum

from callgate.approvals.model import Request, Vote


class Happening(StrEnum):
    """What happened."""

    ASKED = "asked"
    SEEN = "seen"
    # One of several who are needed has agreed.
    AGREED = "agreed"
    APPROVED = "approved"
    DENIED = "denied"
    USED = "used"
    EXPIRED = "expired"
    VOID = "void"


@dataclass(frozen=True, slots=True)
class Happened:
    """One thing that happened to `request`, which is as it stands afterwards.

    `vote`: the answer that brought it about, for AGREED, APPROVED and DENIED.  `person`: who looked, for SEEN.
    `decision` and `trace`: the call that asked or used, for ASKED and USED.  `at`: Unix seconds.
    """

    happening: Happening
    request: Request
    at: float
    vote: Vote | None = None
    person: str = ""
    decision: str = ""
    trace: str = ""
