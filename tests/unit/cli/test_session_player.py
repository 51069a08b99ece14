import math

import pytest
import trio
import trio.testing

from callgate.audit.entries import Entry
from callgate.audit.passed import Passed
from callgate.audit.playback import Happening, Moment
from callgate.audit.recording import MessageKind
from callgate.audit.story import step_of
from callgate.cli.session_player import Pace, Playing, play
from callgate.wire.json_strict import JsonValue

STEP = step_of(
    Entry(
        {
            "kind": "refusal",
            "seq": 0,
            "method": "tools/call",
            "tool": "refund",
            "server": "ledger",
            "reason": "no_grant",
        }
    ),
    1,
    0,
)


class Screen:
    """What was said, and when by trio's clock."""

    def __init__(self) -> None:
        self.began = trio.current_time()
        self.said: list[tuple[float, str]] = []

    def __call__(self, text: str) -> None:
        self.said.append((trio.current_time() - self.began, text))

    @property
    def times(self) -> list[float]:
        return [when for when, _ in self.said]


def at(*seconds: float) -> list[Moment]:
    return [Moment(round(each * 1_000_000), Happening.ALONE, STEP) for each in seconds]


@pytest.mark.parametrize(("speed", "times"), [(1.0, [0, 1, 2.5]), (10.0, [0, 0.1, 0.25]), (0.5, [0, 2, 5])])
async def test_each_moment_comes_in_its_own_time_or_as_much_faster_as_asked(
    speed: float, times: list[float], autojump_clock: trio.testing.MockClock
) -> None:
    del autojump_clock
    screen = Screen()
    await play(at(0, 1, 2.5), Pace(speed), screen)
    assert screen.times == pytest.approx(times)


async def test_a_pause_of_more_than_three_seconds_is_cut_to_that_and_said(
    autojump_clock: trio.testing.MockClock,
) -> None:
    del autojump_clock
    screen = Screen()
    await play(at(0, 1560), Pace(), screen)
    assert screen.times == pytest.approx([0, 0, 3])
    assert "26 min 0 s pass" in screen.said[1][1]


async def test_a_pause_of_three_seconds_is_not_cut_and_a_longer_one_is(autojump_clock: trio.testing.MockClock) -> None:
    del autojump_clock
    screen = Screen()
    await play(at(0, 3, 6.5), Pace(), screen)
    assert [text for _, text in screen.said if "cut to" in text] == ["          … 3.50 s pass, cut to 3 s"]
    assert screen.times[-1] == pytest.approx(6)


async def test_what_takes_less_than_three_seconds_at_that_speed_is_no_pause(
    autojump_clock: trio.testing.MockClock,
) -> None:
    del autojump_clock
    screen = Screen()
    await play(at(0, 20), Pace(10), screen)
    assert screen.times == pytest.approx([0, 2])


async def test_pauses_can_be_kept(autojump_clock: trio.testing.MockClock) -> None:
    del autojump_clock
    screen = Screen()
    await play(at(0, 1560), Pace(longest_gap_s=None), screen)
    assert screen.times == pytest.approx([0, 1560])


async def test_a_session_that_is_played_from_its_middle_begins_at_once(autojump_clock: trio.testing.MockClock) -> None:
    del autojump_clock
    screen = Screen()
    await play(at(7200, 7201), Pace(), screen)
    assert screen.times == pytest.approx([0, 1])


async def test_stopped_it_says_no_more_and_knows_where_it_was(mock_clock: trio.testing.MockClock) -> None:
    screen, playing = Screen(), Playing()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(play, at(0, 1, 2), Pace(), screen, playing)
        await trio.testing.wait_all_tasks_blocked()
        mock_clock.jump(1)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert len(screen.said) == 2
    assert (playing.at_us, playing.step) == (1_000_000, 1)


async def test_tells_a_denied_call_with_its_reason(autojump_clock: trio.testing.MockClock) -> None:
    del autojump_clock
    screen = Screen()
    await play(at(0.25), Pace(), screen)
    assert screen.said[0][1].split(maxsplit=3)[:3] == ["+0.250", "s", "#1"]
    assert "✗ tools/call refund on ledger: no_grant: Denied by policy" in screen.said[0][1]


async def test_a_grant_that_applies_as_well_is_not_told_to_have_denied_it(
    autojump_clock: trio.testing.MockClock,
) -> None:
    del autojump_clock
    rules: list[JsonValue] = [
        {"rule": "no-refunds", "kind": "denial", "matched": True, "why": "tool matches refund"},
        {"rule": "agents-refund", "kind": "grant", "matched": True, "why": "tool matches refund"},
        {"rule": "nobody-in-shadow", "kind": "shadow-denial", "matched": True, "why": "any tool"},
    ]
    step = step_of(Entry({**STEP.entry.record, "reason": "denied", "rules": rules}), 1, 0)
    screen = Screen()
    await play([Moment(0, Happening.ALONE, step)], Pace(), screen)
    assert screen.said[0][1].endswith("denied: Denied by policy, by no-refunds")


async def test_what_passed_cannot_move_the_cursor(autojump_clock: trio.testing.MockClock) -> None:
    del autojump_clock
    screen = Screen()
    passed = Passed(0, MessageKind.EVENT, {"text": "\x1b[2J\r\n\u202e\x9b31m"})
    await play([Moment(0, Happening.PASSED, STEP, passed)], Pace(math.inf), screen)
    ((_, line),) = screen.said
    assert line.isprintable()
