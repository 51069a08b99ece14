"""How a log is kept, and whom it tells: limits, events, listeners.  Pure."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum


@dataclass(frozen=True, slots=True)
class LogLimits:
    """How the log is cut into files, and how long anything may take.  Seconds, bytes and records.

    `patience_s`: a write that takes longer refuses calls.  `retry_s`: between two tries.  `idle_s`: what nobody waits
    for is written after so long.  `quiet_s`: between two looks at the clocks where there is nothing to write.
    `linger_s`: so long may a group grow where `busy_calls` or more are under way.  `checkpoint_every_s`,
    `checkpoint_records`: whichever comes first.  `summary_every_s`: how often refusals that have no record of their own
    are told.  `clock_step_s`: how far the wall clock may part from the monotonic one between two looks before a record
    tells of it.  `end_s`: how long the end may take.
    """

    segment_bytes: int = 64 * 1024 * 1024
    segment_age_s: float = 24 * 3600.0
    refusals_per_second: int = 50
    patience_s: float = 2.0
    retry_s: float = 0.25
    idle_s: float = 0.1
    quiet_s: float = 1.0
    linger_s: float = 0.0025
    busy_calls: int = 4
    checkpoint_every_s: float = 1.0
    checkpoint_records: int = 256
    summary_every_s: float = 10.0
    clock_step_s: float = 0.5
    end_s: float = 3.0


class LogEvent(StrEnum):
    """What operators should know of the log."""

    OPENED = "opened"
    RECOVERED = "recovered"
    UNAVAILABLE = "unavailable"
    AVAILABLE = "available"
    CLOCK_STEP = "clock step"
    LOST = "lost"


@dataclass(frozen=True, slots=True)
class Telling:
    """Whom the log tells: of each checkpoint (note, size, Unix ns), and of what operators should know."""

    checkpoint: Callable[[str, int, int], None] = lambda *_: None
    event: Callable[[LogEvent, str], None] = lambda *_: None
    checkpoint_ages: Callable[[int], Mapping[str, float]] = lambda _: {}
