"""Figures, moments and other people's texts in words, as all commands that read a log say them."""

from datetime import UTC, datetime
from typing import Final

from callgate.policy.moments import written
from callgate.telemetry.visible import visible, without_credentials

_SHOWN_MAX_CHARS: Final = 300
_NS_IN_S: Final = 1_000_000_000
_HOUR_S: Final = 3600
_DAY_S: Final = 24 * _HOUR_S
# Unix seconds that a calendar of four-digit years can show.
_CALENDAR_S: Final = range(253_402_300_800)


def told(text: str) -> str:
    """Text from the log: one line, nothing that moves a cursor, no credential."""
    return without_credentials(text, _SHOWN_MAX_CHARS)


def counted(number: int, what: str) -> str:
    """`1 event`, `2 events`."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def moment(ns: int) -> str:
    """Unix nanoseconds as `2026-01-07T12:00:00Z`."""
    return moment_s(ns // _NS_IN_S)


def moment_s(seconds: int) -> str:
    """Unix seconds as `2026-01-07T12:00:00Z`; the number itself where no calendar has it."""
    return written(seconds) if seconds in _CALENDAR_S else f"second {seconds}"


def to_second(time: str) -> str:
    """A record's time without its decimals."""
    return f"{visible(time, _SHOWN_MAX_CHARS)[:19]}Z"


def clock(ns: int) -> str:
    """The time of day with milliseconds, in UTC."""
    if ns // _NS_IN_S not in _CALENDAR_S:
        return moment(ns)
    return f"{datetime.fromtimestamp(ns // _NS_IN_S, UTC):%H:%M:%S}.{ns % _NS_IN_S // 1_000_000:03d}Z"


def offset(us: int) -> str:
    """From the beginning of the session: `+0.250 s`, `+1:23.4`, `+2:03:04`."""
    seconds, rest = divmod(us, 1_000_000)
    if seconds < 60:
        return f"+{seconds}.{rest // 1000:03d} s"
    minutes, seconds = divmod(seconds, 60)
    if minutes < 60:
        return f"+{minutes}:{seconds:02d}.{rest // 100_000}"
    return f"+{minutes // 60}:{minutes % 60:02d}:{seconds:02d}"


def duration(us: int) -> str:
    """`30 µs`, `2.1 ms`, `1.20 s`, `4 min 12 s`, `2 h 3 min`."""
    if us < 1000:
        return f"{us} µs"
    if us < 1_000_000:
        return f"{us / 1000:.1f} ms"
    if us < 60_000_000:
        return f"{us / 1_000_000:.2f} s"
    minutes, seconds = divmod(us // 1_000_000, 60)
    return f"{minutes} min {seconds} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def size(count: int) -> str:
    """`300 B`, `1.2 KiB`, `3.4 MiB`."""
    if count < 1024:
        return f"{count} B"
    return f"{count / 1024:.1f} KiB" if count < 1024 * 1024 else f"{count / 1024 / 1024:.1f} MiB"


def days(seconds: float) -> str:
    """`30 days`, `5.2 days`, `3 hours`, `31 minutes`: rounded down, so that no more is claimed than is so."""
    if seconds >= _DAY_S:
        number, unit = f"{int(seconds * 10 // _DAY_S) / 10:g}", "day"
    elif seconds >= _HOUR_S:
        number, unit = str(int(seconds // _HOUR_S)), "hour"
    else:
        number, unit = str(int(seconds // 60)), "minute"
    return f"{number} {unit}{'' if number == '1' else 's'}"
