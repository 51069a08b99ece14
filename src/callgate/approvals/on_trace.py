"""What traces and metrics say of a request for approval.

Never who a person is: how many there were, and by which means they proved who they are.  Names are in the log alone,
which its auditors read; traces go to whoever runs the collector.  Pure, but for the metrics that are told.
"""

from collections.abc import Iterator
from typing import Final

from callgate.approvals.happened import Happened, Happening
from callgate.approvals.model import Request, Verdict, Vote, missing
from callgate.telemetry import names
from callgate.telemetry.approval_metrics import ApprovalTelling
from callgate.trace import AttributeValue, Finding

FINDING_KIND: Final = "approval"
# What is counted.  Who has looked, and who agreed before others, is in the log.
_COUNTED: Final = frozenset(Happening) - {Happening.SEEN, Happening.AGREED}
# With these nobody waits any longer.
_ENDS_A_WAIT: Final = frozenset({Happening.APPROVED, Happening.DENIED, Happening.EXPIRED, Happening.VOID})
_DONE: Final = {Verdict.APPROVE: "approved", Verdict.DENY: "denied"}


def attributes_of(request: Request, waited_s: float, *, is_repeat: bool) -> dict[str, AttributeValue]:
    """The attributes of the stage `approve`.

    `waited_s`: for how long the call waited, in seconds.  `is_repeat`: the call is let through by an answer that was
    given for an earlier one.
    """
    means = dict.fromkeys(vote.person.means.value for vote in request.votes)
    return {
        names.APPROVAL_ID: request.id,
        names.APPROVAL_STATE: request.state.value,
        names.APPROVAL_WAITED: round(waited_s, 3),
        names.APPROVAL_PEOPLE: len(request.votes),
        names.APPROVAL_REPEAT: is_repeat,
        **({names.APPROVAL_MEANS: tuple(means)} if means else {}),
    }


def findings_of(request: Request) -> tuple[Finding, ...]:
    """What happened to it so far, for each grant that asks: the events of the stage's span."""
    return tuple(finding for approval in request.ask.approvals for finding in _findings(request, approval.rule))


def _findings(request: Request, rule: str) -> Iterator[Finding]:
    yield Finding(rule, FINDING_KIND, matched=True, why="a person was asked")
    if request.seen:
        yield Finding(rule, FINDING_KIND, matched=True, why=f"seen by {_people(len(request.seen))}")
    for vote in request.votes:
        yield Finding(rule, FINDING_KIND, matched=vote.verdict is Verdict.APPROVE, why=_said(vote))
    if request.used:
        yield Finding(rule, FINDING_KIND, matched=True, why=f"used {request.used} of {request.calls}")


def _said(vote: Vote) -> str:
    return f"{_DONE[vote.verdict]} by one person ({vote.person.means.value})"


def _people(count: int) -> str:
    return "one person" if count == 1 else f"{count} people"


def count(happened: Happened, telling: ApprovalTelling) -> None:
    """Tell the metrics of what happened."""
    if happened.happening in _COUNTED:
        telling.happened(happened.happening.value, happened.request.ask.binding.server, _waited_s(happened))


def _waited_s(happened: Happened) -> float | None:
    """From asking until now, where the wait ended just now."""
    if happened.happening not in _ENDS_A_WAIT:
        return None
    request = happened.request
    # What was agreed to and never used ends a second time, and nobody waited for that.
    was_agreed_to = happened.happening in {Happening.EXPIRED, Happening.VOID} and missing(request) == 0
    return None if was_agreed_to else max(happened.at - request.asked.wall, 0.0)
