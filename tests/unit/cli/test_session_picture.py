import pytest
from hypothesis import given
from hypothesis import strategies as st

from callgate.audit.entries import Entry
from callgate.audit.story import Step, step_of
from callgate.cli.session_picture import Scale, picture
from callgate.wire.json_strict import JsonObject

moments = st.lists(st.integers(0, 10**12), min_size=1, max_size=200)


@given(moments)
def test_what_came_later_is_farther_to_the_right_and_all_is_within_the_plot(offsets: list[int]) -> None:
    scale = Scale.of(offsets, 700)
    places = [scale.x(each) for each in sorted(offsets)]

    assert places == sorted(places)
    assert places[0] == 0
    assert places[-1] == pytest.approx(700 if len(set(offsets)) > 1 else 0)


@given(moments)
def test_a_place_stands_for_the_moment_that_is_drawn_there(offsets: list[int]) -> None:
    scale = Scale.of(offsets, 700)

    assert scale.moment(0) == min(offsets)
    assert scale.moment(scale.x(max(offsets))) == max(offsets)


def test_one_pause_takes_little_of_the_picture_however_long_it_was() -> None:
    second = 1_000_000
    offsets = [each * second for each in (*range(20), *range(3600, 3620))]

    scale = Scale.of(offsets, 700)

    assert scale.cuts == ((19 * second, 3600 * second),)
    assert scale.x(3600 * second) - scale.x(19 * second) < 100


def test_what_is_evenly_spread_is_not_cut() -> None:
    assert Scale.of([*range(0, 1000, 10)], 700).cuts == ()


def step(number: int, tool: str) -> Step:
    time = f"2026-01-07T12:00:{number:02d}.000000000Z"
    record: JsonObject = {
        "kind": "refusal",
        "seq": number,
        "time": time,
        "server": "s",
        "method": "tools/call",
        "tool": tool,
    }
    return step_of(Entry(record), number, 0)


def test_more_tools_than_there_is_room_for_share_a_lane() -> None:
    few = picture([step(number, f"tool-{number}") for number in range(12)])
    many = picture([step(number, f"tool-{number}") for number in range(40)])

    assert (few.count('class="lane"'), many.count('class="lane"')) == (12, 12)
    assert "other tools" not in few
    assert many.count("other tools") == 1
    assert many.count("<a ") == 40


def test_no_requests_make_no_picture() -> None:
    assert picture([]) == ""
