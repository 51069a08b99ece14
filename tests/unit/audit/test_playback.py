from collections.abc import Iterator

from callgate.audit.entries import Entry
from callgate.audit.passed import Passed
from callgate.audit.playback import Happening, moments
from callgate.audit.recording import MessageKind
from callgate.audit.story import Step, step_of


def step(number: int, offset_us: int, took_us: int | None = None) -> Step:
    when = f"1970-01-01T00:00:{offset_us // 10**6:02d}.{offset_us % 10**6:06d}000Z"
    outcome = None if took_us is None else {"status": "answered", "took_us": took_us}
    return step_of(Entry({"kind": "intent", "seq": number, "time": when}, outcome), number, 0)  # type: ignore[arg-type]  # JSON


def event(at_us: int) -> Passed:
    return Passed(at_us, MessageKind.EVENT, {"at": at_us})


def told(*steps: Step, passed: dict[int, list[Passed]] | None = None) -> list[tuple[int, int, Happening]]:
    found = moments(iter(steps), lambda each: (passed or {}).get(each.number, []))
    return [(moment.at_us, moment.step.number, moment.what) for moment in found]


def test_a_call_is_asked_passes_its_events_and_ends_in_its_own_time() -> None:
    assert told(step(1, 100, 50), passed={1: [event(10), event(20)]}) == [
        (100, 1, Happening.ASKED),
        (110, 1, Happening.PASSED),
        (120, 1, Happening.PASSED),
        (150, 1, Happening.ENDED),
    ]


def test_calls_that_overlap_are_told_in_the_order_in_which_things_happened() -> None:
    assert told(step(1, 0, 100), step(2, 30, 40), passed={1: [event(50)]}) == [
        (0, 1, Happening.ASKED),
        (30, 2, Happening.ASKED),
        (50, 1, Happening.PASSED),
        (70, 2, Happening.ENDED),
        (100, 1, Happening.ENDED),
    ]


def test_a_request_that_has_no_outcome_is_one_moment() -> None:
    assert told(step(1, 7)) == [(7, 1, Happening.ALONE)]


def test_an_event_that_was_noted_after_the_end_comes_before_it() -> None:
    assert told(step(1, 0, 100), passed={1: [event(130)]}) == [
        (0, 1, Happening.ASKED),
        (100, 1, Happening.PASSED),
        (100, 1, Happening.ENDED),
    ]


def test_of_moments_at_the_same_time_the_earlier_call_comes_first() -> None:
    assert told(step(1, 0, 10), step(2, 10, 10))[1:3] == [(10, 1, Happening.ENDED), (10, 2, Happening.ASKED)]


def test_no_step_is_read_before_its_time() -> None:
    read: list[int] = []

    def reading() -> Iterator[Step]:
        for number in range(3):
            read.append(number)
            yield step(number, number * 100, 10)

    playing = moments(reading(), lambda _: [])
    next(playing)

    assert len(read) == 2
