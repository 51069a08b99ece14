"""When a rule applies: from a moment, until a moment, and within hours and days by the clocks of a time zone.

What the zone's clock shows decides.  An hour that the clock skips in spring does not come, and one that it shows twice
in autumn comes twice.
"""

from bisect import bisect_right
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Final, Self
from zoneinfo import ZoneInfo

from callgate.policy.model import BetweenEntry
from callgate.policy.moments import minutes_of, written

_DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_DAY_S: Final = 24 * 3600
_WEEK_S: Final = 7 * _DAY_S
# How far a change is looked for, in steps of a day at most.  Every window opens and closes once a week, but for a week
# in which the clock skips it.
_MAX_STEPS: Final = 24


@dataclass(frozen=True, slots=True)
class ScheduleState:
    """Whether a rule is in force; `why` in words for its author.

    `active` stays as it is up to `changes`, in Unix seconds; None: for ever.
    """

    active: bool
    why: str
    changes: float | None


@dataclass(frozen=True, slots=True)
class _Window:
    """Hours and days of the week on one zone's clock.

    `edges` are the seconds of the week, Monday 00:00 being 0, at which it opens (`opens` is True there) or closes, in
    order; none where it never closes.
    """

    zone: ZoneInfo
    edges: tuple[int, ...]
    opens: tuple[bool, ...]
    text: str

    @classmethod
    def of(cls, entry: BetweenEntry) -> Self:
        days = sorted({_DAYS.index(day) for day in entry.days or _DAYS})
        first, last = minutes_of(entry.hours) if entry.hours else (0, 24 * 60)
        # Hours over midnight belong to the day on which they begin.
        length = last - first if last > first else last - first + 24 * 60
        begin = {day * _DAY_S + first * 60 for day in days}
        end = {(at + length * 60) % _WEEK_S for at in begin}
        # One window that ends where the next begins is one window.
        edges = tuple(sorted(begin ^ end))
        text = " ".join(part for part in (_days_text(days), entry.hours, entry.zone) if part)
        return cls(ZoneInfo(entry.zone), edges, tuple(edge in begin for edge in edges), text)

    def look(self, second: int) -> tuple[bool, int | None]:
        """Whether it is open in that second (Unix time), and the second in which that may change; None: never."""
        if not self.edges:
            return True, None
        is_open, at = self._stretch(second)
        for _ in range(_MAX_STEPS):
            then_open, later = self._stretch(at)
            if then_open is not is_open:
                break
            at = later
        return is_open, at

    def _stretch(self, second: int) -> tuple[bool, int]:
        """Whether it is open, and up to which second that stays so for certain: no further than a day."""
        shown = self._clock(second)
        last = bisect_right(self.edges, shown) - 1
        # Before the week's first edge the last one of the week before counts: index -1.
        is_open = self.opens[last]
        left = (self.edges[(last + 1) % len(self.edges)] - shown - 1) % _WEEK_S + 1
        later = second + min(left, _DAY_S)
        if self._runs_on(second, shown, later):
            return is_open, later
        return is_open, self._clock_change(second, shown, later)

    def _clock_change(self, second: int, shown: int, later: int) -> int:
        """The first second in which the clock does not show what a clock that runs on would."""
        while later - second > 1:
            middle = (second + later) // 2
            if self._runs_on(second, shown, middle):
                shown, second = self._clock(middle), middle
            else:
                later = middle
        return later

    def _runs_on(self, second: int, shown: int, later: int) -> bool:
        return self._clock(later) == (shown + later - second) % _WEEK_S

    def _clock(self, second: int) -> int:
        """What the zone's clock shows: the second of the week."""
        shown = datetime.fromtimestamp(second, self.zone)
        return shown.weekday() * _DAY_S + shown.hour * 3600 + shown.minute * 60 + shown.second


@dataclass(frozen=True, slots=True)
class Schedule:
    """When a rule applies: from `starts` up to, and not at, `ends` (Unix seconds), and only while `window` is open."""

    starts: float | None
    ends: float | None
    window: _Window | None
    _early: str
    _late: str
    _closed: str
    _now: str

    @classmethod
    def of(
        cls, starts: float | None, until: float | None, lasts_s: int | None, between: BetweenEntry | None
    ) -> "Schedule | None":
        """What a rule's `from`, `until`, `for` and `between` say; None where it has none of them.

        `for` counts from `from`; where there is `until`, too, the earlier of the two counts.  Raises ValueError for
        `for` without `from`.
        """
        ends = until
        if lasts_s is not None:
            if starts is None:
                raise ValueError("'for' needs 'from'")
            ends = starts + lasts_s if until is None else min(starts + lasts_s, until)
        window = None if between is None else _Window.of(between)
        if starts is None and ends is None and window is None:
            return None
        return cls._worded(starts, ends, window)

    @classmethod
    def _worded(cls, starts: float | None, ends: float | None, window: _Window | None) -> Self:
        since = "" if starts is None else f"since {written(starts)}"
        until = "" if ends is None else f"until {written(ends)}"
        hours = "" if window is None else window.text
        return cls(
            starts,
            ends,
            window,
            "" if starts is None else f"not before {written(starts)}",
            "" if ends is None else f"ended {written(ends)}",
            f"only {hours}",
            ", ".join(part for part in (hours, until or since) if part),
        )

    def state(self, now: float) -> ScheduleState:
        """Whether the rule is in force at `now` (Unix seconds, within the years 1 to 9998), why, and for how long."""
        if self.ends is not None and now >= self.ends:
            return ScheduleState(active=False, why=self._late, changes=None)
        if self.starts is not None and now < self.starts:
            is_open, changes = self._look(self.starts)
            return ScheduleState(active=False, why=self._early, changes=self.starts if is_open else changes)
        is_open, changes = self._look(now)
        if is_open:
            return ScheduleState(active=True, why=self._now, changes=self.ends if changes is None else changes)
        return ScheduleState(active=False, why=self._closed, changes=changes)

    def _look(self, now: float) -> tuple[bool, float | None]:
        """Whether the window is open, and when that changes; None where the rule has ended by then, or it never does."""
        if self.window is None:
            return True, None
        is_open, changes = self.window.look(int(now // 1))
        if changes is not None and self.ends is not None and changes >= self.ends:
            return is_open, None
        return is_open, changes


def _days_text(days: list[int]) -> str:
    """`mon to fri`, `sat, sun`, `mon, wed to fri`; "" for every day.  `days` count from Monday, 0, in order."""
    if len(days) == len(_DAYS):
        return ""
    runs = [[days[0]]]
    for before, day in pairwise(days):
        if day == before + 1:
            runs[-1].append(day)
        else:
            runs.append([day])
    return ", ".join(_run_text(run) for run in runs)


def _run_text(run: list[int]) -> str:
    joint = " to " if len(run) > 2 else ", "
    return joint.join(dict.fromkeys((_DAYS[run[0]], _DAYS[run[-1]])))
