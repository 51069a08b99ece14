"""Moments, hours and time zones as a policy file writes them."""

import re
from datetime import UTC, datetime
from typing import Annotated, Final
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BeforeValidator

from callgate.yaml_model import text_form

# RFC 3339, section 5.6, with the offset written out: "until 18:00" means another moment in another place.  Years from
# 2000 to 2999: what lies elsewhere is a slip of the pen, and a duration added to it stays within the calendar.
_MOMENT: Final = re.compile(r"2[0-9]{3}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(?:[Zz]|[+-][0-9]{2}:[0-9]{2})")
_HOURS: Final = re.compile(r"((?:[01][0-9]|2[0-3]):[0-5][0-9])-((?:[01][0-9]|2[0-3]):[0-5][0-9]|24:00)")


# `Area/City`, and UTC.  Not what depends on the machine (`localtime`), counts leap seconds (`right/UTC`) or names an
# offset that no place keeps to all year (`EST`).
_ZONE: Final = re.compile(r"UTC|[A-Z][A-Za-z]{1,15}(?:/[A-Za-z0-9_+-]{1,32}){1,2}")


def parse_moment(value: object) -> float:
    """A moment as it is written, in Unix seconds.  Raises ValueError."""
    if isinstance(value, str) and _MOMENT.fullmatch(value):
        try:
            return datetime.fromisoformat(value.upper()).timestamp()
        except (ValueError, OverflowError):
            pass
    raise ValueError("must be a moment with its offset, such as 2026-12-31T18:00:00Z or 2026-12-31T18:00:00+01:00")


# Unix seconds.
Moment = Annotated[
    float,
    BeforeValidator(parse_moment),
    text_form(_MOMENT.pattern, "2026-12-31T18:00:00Z", "2026-12-31T18:00:00+01:00"),
]


def written(moment: float) -> str:
    """A moment for people, in UTC: `2026-12-31T18:00:00Z`; parts of a second are left out."""
    return datetime.fromtimestamp(moment // 1, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def minutes_of(hours: str) -> tuple[int, int]:
    """`08:00-18:00` as minutes since midnight.  Raises ValueError."""
    found = _HOURS.fullmatch(hours)
    if found is None or found[1] == found[2]:
        raise ValueError("must be hours such as '08:00-18:00', or '22:00-06:00' over midnight")
    return _minutes(found[1]), _minutes(found[2])


def _minutes(clock: str) -> int:
    return int(clock[:2]) * 60 + int(clock[3:])


def _check_hours(text: str) -> str:
    minutes_of(text)
    return text


def check_zone(text: str) -> str:
    """The name of a time zone that this machine knows.  Raises ValueError."""
    try:
        return ZoneInfo(text if _ZONE.fullmatch(text) else "").key
    except (ValueError, KeyError, OSError) as error:
        raise ValueError("must be a time zone such as Europe/Berlin or UTC") from error


# `08:00-18:00`; `minutes_of` reads it.
Hours = Annotated[
    str,
    AfterValidator(_check_hours),
    text_form(_HOURS.pattern, "08:00-18:00", "22:00-06:00"),
]
Zone = Annotated[
    str,
    AfterValidator(check_zone),
    text_form(_ZONE.pattern, "Europe/Berlin", "UTC"),
]
