from datetime import datetime, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from callgate.policy.model import BetweenEntry
from callgate.policy.moments import minutes_of
from callgate.policy.schedule import Schedule, ScheduleState

Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
DAYS: tuple[Day, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
OFFICE = BetweenEntry(days=DAYS[:5], hours="08:00-18:00", zone="Europe/Berlin")
NIGHT = BetweenEntry(days=("fri",), hours="22:00-06:00")


def at(text: str) -> float:
    """2026-06-01 is a Monday."""
    return datetime.fromisoformat(text).timestamp()


def between(hours: str | None = None, zone: str = "UTC", days: tuple[Day, ...] | None = None) -> BetweenEntry:
    return BetweenEntry(days=days, hours=hours, zone=zone)


def schedule(
    starts: str | None = None, until: str | None = None, lasts_s: int | None = None, entry: BetweenEntry | None = None
) -> Schedule:
    found = Schedule.of(at(starts) if starts else None, at(until) if until else None, lasts_s, entry)
    assert found is not None
    return found


def state(found: Schedule, now: str) -> tuple[bool, float | None]:
    told = found.state(at(now))
    return told.active, told.changes


def spans(entry: BetweenEntry, first: str, last: str) -> list[str]:
    """Each change between two moments, in UTC."""
    found, now, end = schedule(entry=entry), at(first), at(last)
    told = []
    while (changes := found.state(now).changes) is not None and changes < end:
        now = changes
        word = "opens" if found.state(now).active else "closes"
        told.append(f"{datetime.fromtimestamp(now, ZoneInfo('UTC')):%d %H:%M} {word}")
    return told


def test_there_is_no_schedule_where_a_rule_says_nothing_of_time() -> None:
    assert Schedule.of(None, None, None, None) is None


def test_refuses_a_duration_that_counts_from_nowhere() -> None:
    with pytest.raises(ValueError, match="'for' needs 'from'"):
        Schedule.of(None, at("2026-06-01T00:00:00Z"), 60, None)


def test_applies_from_its_first_moment_up_to_and_not_at_its_last() -> None:
    found = schedule("2026-06-01T08:00:00Z", "2026-06-01T18:00:00Z")
    first, last = at("2026-06-01T08:00:00Z"), at("2026-06-01T18:00:00Z")

    assert found.state(first - 0.001) == ScheduleState(False, "not before 2026-06-01T08:00:00Z", first)
    assert found.state(first) == ScheduleState(True, "until 2026-06-01T18:00:00Z", last)
    assert found.state(last - 0.001) == ScheduleState(True, "until 2026-06-01T18:00:00Z", last)
    assert found.state(last) == ScheduleState(False, "ended 2026-06-01T18:00:00Z", None)


def test_applies_for_ever_after_a_moment() -> None:
    found = schedule("2026-06-01T08:00:00Z")

    assert found.state(at("2026-06-01T08:00:00Z")) == ScheduleState(True, "since 2026-06-01T08:00:00Z", None)


def test_duration_counts_from_the_first_moment() -> None:
    found = schedule("2026-06-01T08:00:00Z", lasts_s=8 * 3600)

    assert state(found, "2026-06-01T15:59:59Z") == (True, at("2026-06-01T16:00:00Z"))
    assert state(found, "2026-06-01T16:00:00Z") == (False, None)


@pytest.mark.parametrize(
    ("until", "ends"),
    [("2026-06-01T09:00:00Z", "2026-06-01T09:00:00Z"), ("2026-06-02T00:00:00Z", "2026-06-01T16:00:00Z")],
)
def test_the_earlier_end_counts(until: str, ends: str) -> None:
    found = schedule("2026-06-01T08:00:00Z", until, 8 * 3600)

    assert state(found, "2026-06-01T08:00:00Z") == (True, at(ends))


def test_hours_are_those_of_the_zones_clock() -> None:
    found = schedule(entry=OFFICE)

    assert state(found, "2026-06-01T05:59:59Z") == (False, at("2026-06-01T06:00:00Z"))
    assert state(found, "2026-06-01T06:00:00Z") == (True, at("2026-06-01T16:00:00Z"))
    assert state(found, "2026-06-01T16:00:00Z") == (False, at("2026-06-02T06:00:00Z"))
    assert state(found, "2026-06-05T16:00:00Z") == (False, at("2026-06-08T06:00:00Z"))


def test_hours_over_midnight_belong_to_the_day_on_which_they_begin() -> None:
    assert spans(NIGHT, "2026-06-01T00:00:00Z", "2026-06-15T00:00:00Z") == [
        "05 22:00 opens",
        "06 06:00 closes",
        "12 22:00 opens",
        "13 06:00 closes",
    ]


def test_hours_over_midnight_reach_from_sunday_into_monday() -> None:
    entry = between("22:00-06:00", days=("sun",))

    assert state(schedule(entry=entry), "2026-06-01T05:59:00Z") == (True, at("2026-06-01T06:00:00Z"))
    assert state(schedule(entry=entry), "2026-06-01T06:00:00Z") == (False, at("2026-06-07T22:00:00Z"))


def test_days_without_hours_are_whole_days_of_the_zones_clock() -> None:
    entry = between(zone="Asia/Kolkata", days=("sat", "sun"))

    # Five and a half hours before UTC.
    assert spans(entry, "2026-06-01T00:00:00Z", "2026-06-08T00:00:00Z") == ["05 18:30 opens", "07 18:30 closes"]


def test_hours_in_a_zone_of_half_an_hour() -> None:
    entry = between("09:00-17:30", "Asia/Kolkata")

    assert spans(entry, "2026-06-01T00:00:00Z", "2026-06-02T00:00:00Z") == ["01 03:30 opens", "01 12:00 closes"]


def test_hours_until_midnight() -> None:
    entry = between("22:00-24:00", days=("mon",))

    assert spans(entry, "2026-06-01T00:00:00Z", "2026-06-08T00:00:00Z") == ["01 22:00 opens", "02 00:00 closes"]


@pytest.mark.parametrize("entry", [between("00:00-24:00"), between(days=DAYS), between("00:00-24:00", days=DAYS)])
def test_a_window_that_never_closes_never_changes(entry: BetweenEntry) -> None:
    told = schedule(entry=entry).state(at("2026-06-01T00:00:00Z"))

    assert (told.active, told.changes) == (True, None)


@pytest.mark.parametrize(
    ("zone", "first", "last", "expected"),
    [
        # The clock goes from 02:00 to 03:00 at 01:00 UTC.
        ("Europe/Berlin", "2026-03-28T12:00:00Z", "2026-03-30T12:00:00Z", ["30 00:30 opens", "30 01:30 closes"]),
        # It goes from 03:00 back to 02:00 at 01:00 UTC: what it shows twice counts twice.
        (
            "Europe/Berlin",
            "2026-10-24T12:00:00Z",
            "2026-10-25T12:00:00Z",
            ["25 00:30 opens", "25 01:00 closes", "25 01:30 opens", "25 02:30 closes"],
        ),
        # From 02:00 to 03:00 at 07:00 UTC, and from 02:00 back to 01:00 at 06:00 UTC.
        ("America/New_York", "2026-03-08T00:00:00Z", "2026-03-09T00:00:00Z", ["08 07:00 opens", "08 07:30 closes"]),
        ("America/New_York", "2026-11-01T00:00:00Z", "2026-11-02T00:00:00Z", ["01 07:30 opens", "01 08:30 closes"]),
        # By half an hour: from 02:00 to 02:30 at 15:30 UTC, and from 02:00 back to 01:30 at 15:00 UTC.
        ("Australia/Lord_Howe", "2026-10-03T12:00:00Z", "2026-10-04T12:00:00Z", ["03 15:30 opens", "03 16:30 closes"]),
    ],
)
def test_hours_on_days_when_the_clock_changes(zone: str, first: str, last: str, expected: list[str]) -> None:
    hours = "02:30-03:30"
    if zone == "Europe/Berlin" and "03-28" in first:
        # On the 29th the clock shows 03:00 to 03:30 of it.
        expected = ["29 01:00 opens", "29 01:30 closes", *expected]

    assert spans(between(hours, zone), first, last) == expected


def test_an_hour_that_the_clock_skips_does_not_come() -> None:
    entry = between("02:00-03:00", "Europe/Berlin", ("sun",))

    assert spans(entry, "2026-03-23T00:00:00Z", "2026-04-06T00:00:00Z") == ["05 00:00 opens", "05 01:00 closes"]


def test_window_is_told_where_the_rule_has_not_begun() -> None:
    found = schedule("2026-06-01T12:00:00Z", entry=NIGHT)

    assert state(found, "2026-01-01T00:00:00Z") == (False, at("2026-06-05T22:00:00Z"))


def test_begins_with_the_rule_where_the_window_is_open_then() -> None:
    found = schedule("2026-06-05T23:00:00Z", entry=NIGHT)

    assert state(found, "2026-06-05T22:30:00Z") == (False, at("2026-06-05T23:00:00Z"))


def test_open_window_closes_when_the_rule_ends() -> None:
    found = schedule(until="2026-06-05T23:00:00Z", entry=NIGHT)

    assert state(found, "2026-06-05T22:30:00Z") == (True, at("2026-06-05T23:00:00Z"))


@pytest.mark.parametrize("until", ["2026-06-05T21:00:00Z", "2026-06-05T22:00:00Z"])
def test_never_changes_again_where_the_rule_ends_before_the_window_opens(until: str) -> None:
    found = schedule("2026-06-02T00:00:00Z", until, entry=NIGHT)

    assert state(found, "2026-06-03T00:00:00Z") == (False, None)
    assert state(found, "2026-06-01T00:00:00Z") == (False, None)


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        (OFFICE, "mon to fri 08:00-18:00 Europe/Berlin"),
        (between("12:00-13:00"), "12:00-13:00 UTC"),
        (between("12:00-13:00", days=("sun", "sat")), "sat, sun 12:00-13:00 UTC"),
        (between("12:00-13:00", days=("fri", "mon", "wed", "thu", "mon")), "mon, wed to fri 12:00-13:00 UTC"),
        (between(zone="America/New_York", days=("tue",)), "tue America/New_York"),
        (between("12:00-13:00", days=DAYS), "12:00-13:00 UTC"),
    ],
)
def test_says_which_hours_and_days(entry: BetweenEntry, why: str) -> None:
    found = schedule(entry=entry)
    closed = found.state(at("2026-06-07T03:00:00Z"))
    assert closed.changes is not None

    assert closed.why == f"only {why}"
    assert found.state(closed.changes).why == why


def test_says_until_when_beside_the_hours() -> None:
    told = schedule(until="2026-07-01T00:00:00+02:00", entry=OFFICE).state(at("2026-06-01T10:00:00Z"))

    assert told.why == "mon to fri 08:00-18:00 Europe/Berlin, until 2026-06-30T22:00:00Z"


MINUTE = 60
ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "Africa/Cairo")
# Moments near which clocks change; and one in Samoa, which left out 30 December 2011.
NEAR = [
    ("Europe/Berlin", "2026-03-29T01:00:00Z"),
    ("Europe/Berlin", "2026-10-25T01:00:00Z"),
    ("America/New_York", "2026-03-08T07:00:00Z"),
    ("America/New_York", "2026-11-01T06:00:00Z"),
    ("Australia/Lord_Howe", "2026-04-04T15:00:00Z"),
    ("Africa/Cairo", "2026-04-23T22:00:00Z"),
    ("Pacific/Apia", "2011-12-30T10:00:00Z"),
]


@st.composite
def zones_and_moments(draw: st.DrawFn) -> tuple[str, int]:
    if draw(st.booleans()):
        zone, moment = draw(st.sampled_from(NEAR))
        return zone, int(at(moment)) + draw(st.integers(-3 * 86_400, 86_400))
    return draw(st.sampled_from(ZONES)), draw(
        st.integers(int(at("2025-01-01T00:00:00Z")), int(at("2027-01-01T00:00:00Z")))
    )


@st.composite
def windows(draw: st.DrawFn) -> tuple[tuple[Day, ...] | None, str | None]:
    days = draw(st.none() | st.lists(st.sampled_from(DAYS), min_size=1, max_size=7).map(tuple))
    clock = st.tuples(st.integers(0, 23), st.sampled_from([0, 15, 30, 59])).map(lambda at: f"{at[0]:02}:{at[1]:02}")
    first = draw(clock)
    last = draw(clock.filter(lambda text: text != first) | st.just("24:00"))
    hours = draw(st.just(f"{first}-{last}") if days is None else st.none() | st.just(f"{first}-{last}"))
    return days, hours


def shows(entry: BetweenEntry, now: float) -> bool:
    """The oracle: what somebody would say who looks at a clock in that zone."""
    clock = datetime.fromtimestamp(now, ZoneInfo(entry.zone))
    first, last = minutes_of(entry.hours) if entry.hours else (0, 1440)
    days = entry.days or DAYS
    today = DAYS[clock.weekday()] in days
    yesterday = DAYS[(clock.date() - timedelta(days=1)).weekday()] in days
    minute = clock.hour * 60 + clock.minute
    if first < last:
        return today and first <= minute < last
    return (today and minute >= first) or (yesterday and minute < last)


@settings(max_examples=150, deadline=None)
@given(zones_and_moments(), windows(), st.none() | st.integers(0, 5_000), st.none() | st.integers(1, 20_000))
def test_stays_as_it_is_until_it_says(
    place: tuple[str, int], window: tuple[tuple[Day, ...] | None, str | None], wait: int | None, length: int | None
) -> None:
    (zone, now), (days, hours) = place, window
    entry = between(hours, zone, days)
    starts = None if wait is None else float(now - now % MINUTE + wait * MINUTE)
    ends = None if length is None else float((starts or now - now % MINUTE) + length * MINUTE)
    found = Schedule.of(starts, ends, None, entry)
    assert found is not None
    told = found.state(now)

    def active(moment: float) -> bool:
        return (starts is None or moment >= starts) and (ends is None or moment < ends) and shows(entry, moment)

    last = told.changes if told.changes is not None else now + 16 * 86_400
    minutes = range(now - now % MINUTE + MINUTE, int(last), MINUTE)
    assert {active(now), *map(active, minutes), active(last - 1)} == {told.active}
    if told.changes is not None:
        assert told.changes > now
        assert active(told.changes) is not told.active
