"""A session again in its own time, or faster."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

import trio

from callgate.audit.playback import Happening, Moment
from callgate.audit.story import Step, Tone
from callgate.cli.session_content import as_line
from callgate.cli.session_words import SIGNS, call_words, ending_words
from callgate.cli.words import duration, offset, told
from callgate.telemetry.visible import visible

# Agents wait for people and models, minutes at a time; who watches waits no longer than this.
LONGEST_GAP_S: Final = 3.0
_BODY_CHARS: Final = 200
_US_IN_S: Final = 1_000_000
_GRANTS: Final = frozenset({"grant", "shadow-grant", "shadow-denial"})


@dataclass(frozen=True, slots=True)
class Pace:
    """`speed`: session seconds in one second.  `longest_gap_s`: no pause takes longer; None for as long as they were."""

    speed: float = 1.0
    longest_gap_s: float | None = LONGEST_GAP_S


@dataclass(slots=True)
class Playing:
    """How far it has come, for who stops it."""

    at_us: int = 0
    step: int = 0


async def play(
    moments: Iterable[Moment], pace: Pace, say: Callable[[str], None], playing: Playing | None = None
) -> None:
    """Say each moment when it comes, on trio's clock; no time is lost to what saying takes.

    Cancelled, it stops between two moments.
    """
    playing = playing or Playing()
    due, before_us = trio.current_time(), None
    for moment in moments:
        # A session may be played from its middle: that is no pause.
        passed_us = moment.at_us - (moment.at_us if before_us is None else before_us)
        pause_s = passed_us / _US_IN_S / pace.speed
        if pace.longest_gap_s is not None and pause_s > pace.longest_gap_s:
            say(f"          … {duration(passed_us)} pass, cut to {pace.longest_gap_s:g} s")
            pause_s = pace.longest_gap_s
        due += pause_s
        await trio.sleep_until(due)
        before_us = playing.at_us = moment.at_us
        playing.step = max(playing.step, moment.step.number)
        say(line(moment))


def line(moment: Moment) -> str:
    """`+0.250 s  #3 → tools/call refund on ledger`."""
    return f"{offset(moment.at_us):>10}  #{moment.step.number:<4} {_what(moment)}"


def _what(moment: Moment) -> str:
    step = moment.step
    match moment.what:
        case Happening.ASKED:
            approvers = ", ".join(map(told, step.entry.approvers))
            return f"→ {call_words(step)}{f', approved by {approvers}' if approvers else ''}"
        case Happening.ALONE:
            return f"{SIGNS[step.tone]} {call_words(step)}: {_ending(step)}"
        case Happening.ENDED:
            return f"{SIGNS[step.tone]} {_ending(step)}"
        case Happening.PASSED:
            assert moment.passed is not None  # noqa: S101  # what PASSED means
            return f"  {moment.passed.kind}: {visible(as_line(moment.passed), _BODY_CHARS)}"


def _ending(step: Step) -> str:
    # A grant that applies as well did not deny it.
    rules = [rule.rule for rule in step.rules if rule.matched and rule.kind not in _GRANTS]
    by = f", by {', '.join(map(told, rules))}" if rules and step.tone is Tone.DENIED else ""
    return f"{ending_words(step)}{by}"
