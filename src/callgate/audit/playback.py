"""A session once more, moment by moment: what was asked, what passed, how it ended, in the order in which it happened.

Calls overlap, so the moments of several of them interleave.  Takes steps as they come and holds only those that have
not ended yet.  Pure: who plays them keeps the time.
"""

import heapq
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from callgate.audit.passed import Passed
from callgate.audit.story import Step


class Happening(StrEnum):
    """What happens at a moment of a session."""

    # The whole of a request that the gate itself answered, or whose end nobody knows: there is no second moment.
    ALONE = "alone"
    ASKED = "asked"
    PASSED = "passed"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class Moment:
    """`at_us`: from the session's beginning.  `passed`: the event, where it was kept and can be read."""

    at_us: int
    what: Happening
    step: Step
    passed: Passed | None = None


def moments(steps: Iterable[Step], passed: Callable[[Step], Iterable[Passed]]) -> Iterator[Moment]:
    """The moments of the steps, earliest first.  `passed` says what is known to have passed during a step."""
    coming: list[tuple[int, int, Moment]] = []
    count = 0
    for step in steps:
        while coming and coming[0][0] <= step.offset_us:
            yield heapq.heappop(coming)[2]
        for moment in _moments_of(step, passed(step)):
            # Of two at the same time the one that was told first is first.
            count += 1
            heapq.heappush(coming, (moment.at_us, count, moment))
    while coming:
        yield heapq.heappop(coming)[2]


def _moments_of(step: Step, passed: Iterable[Passed]) -> Iterator[Moment]:
    if step.took_us is None:
        yield Moment(step.offset_us, Happening.ALONE, step)
        return
    end = step.offset_us + step.took_us
    yield Moment(step.offset_us, Happening.ASKED, step)
    for each in passed:
        # What was noted after the end belongs before it: the outcome is the last that is told of a call.
        yield Moment(min(step.offset_us + max(each.at_us, 0), end), Happening.PASSED, step, each)
    yield Moment(end, Happening.ENDED, step)
