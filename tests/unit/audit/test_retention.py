"""Which content has to go: by age, then by size, the oldest first."""

import tracemalloc
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callgate.audit.retention import Cause, Keep, Stored, Survey

NOW_S = 1_767_787_200
DAY_S = 24 * 3600

stored_objects = st.lists(
    st.builds(
        Stored,
        digest=st.integers(0, 2**32).map("{:064x}".format),
        written_s=st.integers(NOW_S - 12_000, NOW_S + 2_000),
        size=st.integers(0, 1000),
    ),
    max_size=40,
)


def going(keep: Keep, objects: Sequence[Stored]) -> list[Cause | None]:
    """Why each goes, in their order."""
    survey = Survey(keep, NOW_S)
    for stored in objects:
        survey.add(stored)
    plan = survey.plan()
    return [plan.why(stored) if plan else None for stored in objects]


def aged(*ages_s: int, size: int = 100) -> list[Stored]:
    return [Stored(f"{number:064x}", NOW_S - age_s, size) for number, age_s in enumerate(ages_s)]


def test_what_is_older_than_its_time_goes_and_what_is_not_stays() -> None:
    assert going(Keep(age_s=90 * DAY_S), aged(90 * DAY_S + 1, 90 * DAY_S, 0)) == ["age", None, None]


def test_what_is_over_the_size_goes_oldest_first() -> None:
    assert going(Keep(size=250), aged(10 * DAY_S, 30 * DAY_S, 20 * DAY_S, 0)) == [None, "size", "size", None]


def test_all_stays_that_fits_to_the_byte() -> None:
    assert going(Keep(size=400), aged(3, 2, 1, 0)) == [None] * 4


def test_no_more_goes_than_has_to_of_what_is_equally_old() -> None:
    assert going(Keep(size=350), aged(5, 5, 5, 5)).count("size") == 1


def test_what_goes_for_its_age_does_not_count_towards_the_size() -> None:
    assert going(Keep(age_s=DAY_S, size=200), aged(2 * DAY_S, 2 * DAY_S, 0, 0)) == ["age", "age", None, None]


def test_an_object_larger_than_all_that_is_kept_goes() -> None:
    assert going(Keep(size=99), aged(0)) == ["size"]


def test_an_object_from_the_future_is_the_last_to_go() -> None:
    assert going(Keep(size=100), aged(-100 * DAY_S, 5 * DAY_S)) == [None, "size"]


def test_an_empty_store_has_nothing_to_go() -> None:
    assert Survey(Keep(), NOW_S).plan() is None


def test_what_was_added_since_the_survey_stays() -> None:
    survey = Survey(Keep(age_s=DAY_S, size=100), NOW_S)
    for stored in aged(2 * DAY_S, 300, 200):
        survey.add(stored)
    plan = survey.plan()
    assert plan is not None
    assert plan.why(Stored("new", NOW_S + 1, 10**9)) is None


@given(stored_objects, st.integers(0, 20_000))
def test_what_stays_fits_and_nothing_newer_went_than_what_stays(objects: list[Stored], size: int) -> None:
    keep = Keep(age_s=10_000, size=size)
    fates = list(zip(objects, going(keep, objects), strict=True))
    young = [stored for stored in objects if stored.written_s >= NOW_S - keep.age_s]
    assert {stored.digest for stored, why in fates if why == "age"} == {
        stored.digest for stored in objects if stored not in young
    }
    left = [stored for stored, why in fates if why is None]
    went = [stored for stored, why in fates if why == "size"]
    assert sum(stored.size for stored in left) <= size
    if went and left:
        newest_gone = max(min(stored.written_s, NOW_S) for stored in went)
        oldest_left = min(min(stored.written_s, NOW_S) for stored in left)
        assert newest_gone <= oldest_left
    if sum(stored.size for stored in young) <= size:
        assert went == []


@pytest.mark.parametrize("step_s", [51, -5100])
def test_memory_does_not_grow_with_the_number_of_objects_of_past_or_future(step_s: int) -> None:
    survey = Survey(Keep(), NOW_S)
    tracemalloc.start()
    try:
        for number in range(150_000):
            # Each at another moment: of the last 90 days, or of the next 24 years.
            survey.add(Stored("", NOW_S - number * step_s, 1000))
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 8 * 1024**2
