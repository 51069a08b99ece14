import time
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callgate.identity.spiffe_id import SpiffeId
from callgate.policy.history import (
    MAX_DENIAL_AGE_S,
    NEVER,
    STEP_BACK_S,
    Forgotten,
    History,
    HistoryBounds,
    Past,
    WorkloadHistory,
)
from callgate.policy.model import MAX_WINDOW_S
from callgate.policy.patterns import ToolPattern
from callgate.policy.tags import TagEntry, ToolTags

ALICE = SpiffeId.parse("spiffe://acme.test/alice")
BOB = SpiffeId.parse("spiffe://acme.test/bob")
CAROL = SpiffeId.parse("spiffe://acme.test/carol")
ANY = ToolPattern.parse("*")
REFUND = ToolPattern.parse("refund")
TAGS = ToolTags(
    (
        TagEntry("web", (ToolPattern.parse("fetch*"),), frozenset({"reads_untrusted"})),
        TagEntry("ledger", (ToolPattern.parse("get_*"),), frozenset({"reads_private"})),
    )
)
# A Friday; floats hold quarters of a second exactly.
NOW = 1_790_000_000.0


def history(**bounds: int) -> History:
    return History(HistoryBounds(**bounds))


def called(*times: float, tool: str = "refund", **bounds: int) -> History:
    found = history(**bounds)
    for moment in times:
        found.record_call(ALICE, "ledger", tool, moment)
    return found


def denied(*times: float, **bounds: int) -> WorkloadHistory:
    found = history(**bounds)
    for moment in times:
        found.record_denial(ALICE, "ledger", "refund", moment)
    return found.of(ALICE)


# What is asked


def test_counts_calls_of_the_named_tool_of_the_named_server_by_this_workload() -> None:
    found = called(NOW - 3, NOW - 2, NOW - 1)
    found.record_call(ALICE, "ledger", "pay", NOW)
    found.record_call(ALICE, "other", "refund", NOW)
    found.record_call(BOB, "ledger", "refund", NOW)

    assert found.of(ALICE).calls("ledger", REFUND, 60, NOW) == 3
    assert found.of(ALICE).calls("ledger", ANY, 60, NOW) == 4
    assert found.of(ALICE).calls("ledger", ToolPattern.parse("p?y"), 60, NOW) == 1
    assert found.of(ALICE).calls("nowhere", ANY, 60, NOW) == 0
    assert found.of(CAROL).calls("ledger", ANY, 60, NOW) == 0


@pytest.mark.parametrize(("age_s", "counts"), [(59.75, 1), (60, 0), (60.25, 0)])
def test_what_happened_exactly_a_window_ago_is_outside(age_s: float, counts: int) -> None:
    found = called(NOW - age_s, tool="get_invoice").of(ALICE)

    assert found.calls("ledger", ANY, 60, NOW) == counts
    assert found.calls("ledger", ToolPattern.parse("get_invoice"), 60, NOW) == counts
    assert found.used("reads_private", TAGS, 60, NOW) is bool(counts)
    assert denied(NOW - age_s).denials(60, NOW) == counts
    assert denied(NOW - age_s).lockout(1, 10, 60, NOW) is bool(counts)


def test_use_of_a_tag_goes_by_the_tags_in_force_when_asked() -> None:
    found = called(NOW, tool="get_invoice").of(ALICE)

    assert found.used("reads_private", TAGS, 60, NOW)
    assert not found.used("reads_untrusted", TAGS, 60, NOW)
    assert not found.used("reads_private", ToolTags(), 60, NOW)


def test_denials_and_calls_are_apart() -> None:
    found = called(NOW)
    found.record_denial(ALICE, "ledger", None, NOW)

    assert found.of(ALICE).denials(60, NOW) == 1
    assert found.of(ALICE).calls("ledger", ANY, 60, NOW) == 1


def test_lockout_lasts_from_the_denial_that_was_one_too_many() -> None:
    found = denied(NOW, NOW + 20, NOW + 40)

    assert not denied(NOW, NOW + 20).lockout(3, 60, 600, NOW + 20)
    assert found.lockout(3, 60, 600, NOW + 40)
    assert found.lockout(3, 60, 600, NOW + 639.75)
    assert not found.lockout(3, 60, 600, NOW + 640)


def test_lockout_asks_for_denials_that_are_close_to_each_other() -> None:
    assert denied(NOW, NOW + 30, NOW + 59.75).lockout(3, 60, 600, NOW + 100)
    assert not denied(NOW, NOW + 30, NOW + 60).lockout(3, 60, 600, NOW + 100)


def test_lockout_looks_at_every_denial_within_the_time() -> None:
    far_apart, first_two = [NOW + 10 * n for n in range(4)], [NOW, NOW + 1, NOW + 100, NOW + 200, NOW + 300]

    assert not denied(*far_apart).lockout(2, 5, 600, NOW + 30)
    assert denied(*first_two).lockout(2, 5, 600, NOW + 300)


def test_lockout_of_a_day_sees_denials_that_are_two_days_old() -> None:
    found = denied(NOW, NOW + MAX_WINDOW_S - 1)

    assert found.lockout(2, MAX_WINDOW_S, MAX_WINDOW_S, NOW + 2 * MAX_WINDOW_S - 1.25)


def test_a_view_sees_what_is_recorded_after_it_was_made() -> None:
    found = history()
    view = found.of(ALICE)
    found.record_call(ALICE, "ledger", "refund", NOW)

    assert view.calls("ledger", REFUND, 60, NOW) == 1


# What is dropped


def test_a_full_list_answers_as_far_as_it_reaches_and_then_raises() -> None:
    found = called(*(NOW + second for second in range(6)), tool="get_invoice", times=4).of(ALICE)

    assert found.calls("ledger", ANY, 4, NOW + 5) == 4
    for pattern in (ANY, ToolPattern.parse("get_invoice")):
        with pytest.raises(Forgotten):
            found.calls("ledger", pattern, 5, NOW + 5)
    assert found.used("reads_private", TAGS, 5, NOW + 5)
    assert not found.used("reads_untrusted", TAGS, 5, NOW + 5)


def test_full_denials_answer_as_far_as_they_reach_and_then_raise() -> None:
    found = denied(*(NOW + second for second in range(6)), times=4)

    assert found.denials(4, NOW + 5) == 4
    with pytest.raises(Forgotten):
        found.denials(5, NOW + 5)


def test_lockout_is_told_from_what_is_kept_and_else_raises() -> None:
    found = denied(*(NOW + 10 * n for n in range(6)), times=4)

    assert found.lockout(3, 21, 1, NOW + 50)
    assert not found.lockout(3, 20, 15, NOW + 50)
    with pytest.raises(Forgotten):
        found.lockout(3, 20, 25, NOW + 50)
    with pytest.raises(Forgotten):
        found.lockout(7, 100, 1, NOW + 50)


def test_more_denials_than_a_list_holds_are_not_taken_for_fewer() -> None:
    assert not denied(NOW).lockout(1001, 60, 60, NOW)


def test_the_pair_that_was_not_used_for_longest_goes_and_is_missed_where_it_could_matter() -> None:
    found = history(pairs=2)
    for second, tool in enumerate(["get_a", "get_b", "get_a", "get_c"]):
        found.record_call(ALICE, "ledger", tool, NOW + second)
    view = found.of(ALICE)

    assert view.calls("ledger", ToolPattern.parse("get_a"), 60, NOW + 3) == 2
    # get_b went at NOW + 1.
    assert view.calls("ledger", ToolPattern.parse("get_b"), 2, NOW + 3) == 0
    assert view.calls("ledger", ANY, 2, NOW + 3) == 2
    for pattern in ("get_b", "*", "get_never"):
        with pytest.raises(Forgotten):
            view.calls("ledger", ToolPattern.parse(pattern), 3, NOW + 3)
    assert view.used("reads_private", TAGS, 3, NOW + 3)
    with pytest.raises(Forgotten):
        view.used("reads_untrusted", TAGS, 3, NOW + 3)


def test_a_pair_that_comes_back_does_not_hide_that_it_was_dropped() -> None:
    found = history(pairs=1)
    for second, tool in enumerate(["a", "b", "a"]):
        found.record_call(ALICE, "ledger", tool, NOW + second)

    assert found.of(ALICE).calls("ledger", ToolPattern.parse("a"), 1, NOW + 2) == 1
    with pytest.raises(Forgotten):
        found.of(ALICE).calls("ledger", ToolPattern.parse("a"), 60, NOW + 2)


def test_the_workload_that_was_not_active_for_longest_goes_and_is_not_taken_for_one_that_did_nothing() -> None:
    found = history(workloads=2)
    found.record_denial(ALICE, "ledger", "refund", NOW)
    found.record_call(BOB, "ledger", "refund", NOW + 1)
    found.record_call(ALICE, "ledger", "refund", NOW + 2)
    found.record_call(CAROL, "ledger", "refund", NOW + 3)
    questions: list[Callable[[WorkloadHistory, float], int]] = [
        lambda view, window_s: view.calls("ledger", ANY, window_s, NOW + 3),
        lambda view, window_s: view.calls("ledger", REFUND, window_s, NOW + 3),
        lambda view, window_s: view.used("reads_private", TAGS, window_s, NOW + 3),
        lambda view, window_s: view.denials(window_s, NOW + 3),
        lambda view, window_s: view.lockout(1, 0.5, window_s - 0.5, NOW + 3),
    ]

    assert found.of(ALICE).denials(60, NOW + 3) == 1
    assert found.of(ALICE).calls("ledger", ANY, 60, NOW + 3) == 1
    for ask in questions:
        assert not ask(found.of(BOB), 2)
        with pytest.raises(Forgotten):
            ask(found.of(BOB), 2.25)


def test_a_workload_that_comes_back_does_not_hide_that_it_was_dropped() -> None:
    found = history(workloads=1)
    found.record_denial(ALICE, "ledger", "refund", NOW)
    found.record_call(BOB, "ledger", "refund", NOW + 1)
    found.record_call(ALICE, "ledger", "pay", NOW + 2)

    with pytest.raises(Forgotten):
        found.of(ALICE).denials(60, NOW + 2)
    with pytest.raises(Forgotten):
        found.of(ALICE).calls("ledger", REFUND, 60, NOW + 2)


def test_what_no_window_reaches_is_dropped_without_a_trace() -> None:
    found = called(NOW, tool="get_a")
    found.record_denial(BOB, "ledger", None, NOW)
    later = NOW + MAX_DENIAL_AGE_S
    found.record_call(CAROL, "ledger", "get_a", later)

    assert [(found.past(who).pairs, len(found.past(who).denials.kept)) for who in (ALICE, BOB)] == [({}, 0)] * 2
    assert found.of(ALICE).calls("ledger", ANY, MAX_WINDOW_S, later) == 0
    assert not found.of(BOB).lockout(1, MAX_WINDOW_S, MAX_WINDOW_S, later)


def test_pairs_that_no_window_reaches_are_dropped() -> None:
    found = called(NOW, tool="get_a")
    found.record_call(ALICE, "ledger", "get_b", NOW + MAX_WINDOW_S + STEP_BACK_S)

    assert list(found.past(ALICE).pairs) == [("ledger", "get_b")]


# Clocks


def test_a_clock_that_steps_back_makes_nothing_disappear() -> None:
    found = called(NOW, NOW + 1, tool="get_a")
    found.record_denial(ALICE, "ledger", None, NOW + 1)
    back = NOW - STEP_BACK_S
    found.record_call(ALICE, "ledger", "get_a", back)
    found.record_denial(ALICE, "ledger", None, back)

    for now in (back, NOW, NOW + 1):
        assert found.of(ALICE).calls("ledger", ANY, 60, now) == 3
        assert found.of(ALICE).used("reads_private", TAGS, 60, now)
        assert found.of(ALICE).denials(60, now) == 2
        assert found.of(ALICE).lockout(2, 60, 600, now)


def test_a_clock_that_steps_back_an_hour_leaves_a_whole_day_to_ask_for() -> None:
    found = called(NOW, NOW + MAX_WINDOW_S + 10, tool="get_a")

    assert found.of(ALICE).calls("ledger", ANY, MAX_WINDOW_S, NOW + MAX_WINDOW_S - 10) == 2


def test_one_workload_ahead_of_its_time_pushes_nobody_out() -> None:
    found = called(NOW + 10 * MAX_DENIAL_AGE_S)
    found.record_call(BOB, "ledger", "refund", NOW)
    found.record_call(ALICE, "ledger", "refund", NOW)

    assert found.of(BOB).calls("ledger", ANY, 60, NOW) == 1
    assert found.of(CAROL).calls("ledger", ANY, 60, NOW) == 0


# Against a model that keeps everything

WORKLOADS = [ALICE, BOB, CAROL]
TOOLS = ["get_a", "get_b", "refund"]


@dataclass
class Naive:
    """Everything that ever happened: (workload, tool or None for a denial, moment)."""

    events: list[tuple[SpiffeId, str | None, float]] = field(default_factory=list)

    def record(self, who: SpiffeId, tool: str | None, now: float) -> None:
        newest = max((moment for whose, _, moment in self.events if whose == who), default=NEVER)
        self.events.append((who, tool, max(now, newest)))

    def count(self, who: SpiffeId, tools: set[str | None], window_s: float, now: float) -> int:
        return sum(w == who and tool in tools and moment > now - window_s for w, tool, moment in self.events)

    def lockout(self, who: SpiffeId, count: int, within_s: float, lasting_s: float, now: float) -> bool:
        denials = [moment for w, tool, moment in self.events if w == who and tool is None]
        return any(
            moment > now - lasting_s and sum(earlier > moment - within_s for earlier in denials[: place + 1]) >= count
            for place, moment in enumerate(denials)
        )


steps = st.lists(
    st.tuples(st.sampled_from(WORKLOADS), st.sampled_from([*TOOLS, None]), st.sampled_from([-3, 0, 0.25, 1, 2, 7])),
    max_size=40,
)
windows = st.sampled_from([0.25, 1, 2, 3, 5, 10, 30, 100])


def played(events: list[tuple[SpiffeId, str | None, float]], found: History) -> tuple[Naive, float]:
    naive, now = Naive(), NOW
    for who, tool, step in events:
        now += step
        naive.record(who, tool, now)
        if tool is None:
            found.record_denial(who, "ledger", "refund", now)
        else:
            found.record_call(who, "ledger", tool, now)
    return naive, now


@given(steps, st.sampled_from(WORKLOADS), windows, windows, st.integers(1, 4))
def test_a_history_within_its_bounds_says_what_happened(
    events: list[tuple[SpiffeId, str | None, float]], who: SpiffeId, window_s: float, within_s: float, count: int
) -> None:
    found = history()
    naive, now = played(events, found)
    view = found.of(who)

    for tool in TOOLS:
        assert view.calls("ledger", ToolPattern.parse(tool), window_s, now) == naive.count(who, {tool}, window_s, now)
    assert view.calls("ledger", ToolPattern.parse("get_*"), window_s, now) == naive.count(
        who, {"get_a", "get_b"}, window_s, now
    )
    assert view.used("reads_private", TAGS, window_s, now) == bool(naive.count(who, {"get_a", "get_b"}, window_s, now))
    assert view.denials(window_s, now) == naive.count(who, {None}, window_s, now)
    assert view.lockout(count, within_s, window_s, now) == naive.lockout(who, count, within_s, window_s, now)


def answer(ask: Callable[[], int]) -> int | None:
    try:
        return ask()
    except Forgotten:
        return None


@given(
    steps,
    st.sampled_from(WORKLOADS),
    windows,
    windows,
    st.integers(1, 4),
    st.builds(HistoryBounds, workloads=st.integers(1, 3), pairs=st.integers(1, 3), times=st.integers(1, 5)),
)
def test_a_history_beyond_its_bounds_says_what_happened_or_nothing(
    events: list[tuple[SpiffeId, str | None, float]],
    who: SpiffeId,
    window_s: float,
    within_s: float,
    count: int,
    bounds: HistoryBounds,
) -> None:
    found = History(bounds)
    naive, now = played(events, found)
    view = found.of(who)
    gets: set[str | None] = {"get_a", "get_b"}

    for tool in TOOLS:
        pattern = ToolPattern.parse(tool)
        exact = answer(lambda pattern=pattern: view.calls("ledger", pattern, window_s, now))  # type: ignore[misc]
        assert exact in {None, naive.count(who, {tool}, window_s, now)}
    wild = answer(lambda: view.calls("ledger", ToolPattern.parse("get_*"), window_s, now))
    assert wild in {None, naive.count(who, gets, window_s, now)}
    used = answer(lambda: view.used("reads_private", TAGS, window_s, now))
    assert used in {None, bool(naive.count(who, gets, window_s, now))}
    assert answer(lambda: view.denials(window_s, now)) in {None, naive.count(who, {None}, window_s, now)}
    locked = answer(lambda: view.lockout(count, within_s, window_s, now))
    assert locked in {None, naive.lockout(who, count, within_s, window_s, now)}


# Memory and time


def test_bounds_are_those_that_the_documentation_states() -> None:
    bounds = HistoryBounds()

    assert (bounds.workloads, bounds.pairs, bounds.times) == (10_000, 256, 1_000)
    assert bounds.total_bytes == 128 * 1024 * 1024


def weighed(past: Past) -> int:
    """9 bytes a time and 400 a pair, with its names."""
    pairs = sum(400 + len(server + tool) + 9 * len(times.kept) for (server, tool), times in past.pairs.items())
    return pairs + 9 * len(past.denials.kept)


@given(steps, st.builds(HistoryBounds, workloads=st.integers(1, 3), pairs=st.integers(1, 3), times=st.integers(1, 5)))
def test_no_bound_is_ever_exceeded_and_weight_is_counted_to_the_byte(
    events: list[tuple[SpiffeId, str | None, float]], bounds: HistoryBounds
) -> None:
    found = History(replace(bounds, total_bytes=4_000))
    for place in range(len(events)):
        played(events[place : place + 1], found)
        kept = found._pasts

        assert len(kept) <= bounds.workloads
        assert all(len(past.pairs) <= bounds.pairs for past in kept.values())
        lists = [times for past in kept.values() for times in (*past.pairs.values(), past.denials)]
        assert all(len(times.kept) <= bounds.times for times in lists)
        # 1 100 bytes a workload, with its name.
        weight = sum(1_100 + len("acme.test" + who.path) + weighed(past) for who, past in kept.items())
        assert found._bytes == weight <= 4_000


def filled_with_pairs(found: History, who: int) -> None:
    caller = SpiffeId.parse(f"spiffe://acme.test/ns/somewhere/sa/{who}")
    for tool in range(256):
        found.record_call(caller, "ledger", f"tool_{who}_{tool}_{'x' * 40}", NOW)


def filled_with_calls(found: History, who: int) -> None:
    caller = SpiffeId.parse(f"spiffe://acme.test/ns/somewhere/sa/{who}")
    for tool in range(4):
        for second in range(250):
            found.record_call(caller, "ledger", f"tool_{who}_{tool}", NOW + second)


def filled_with_denials(found: History, who: int) -> None:
    caller = SpiffeId.parse(f"spiffe://acme.test/ns/somewhere/sa/{who}")
    for second in range(1000):
        found.record_denial(caller, "ledger", f"tool_{who}", NOW + second)


def filled_with_names(found: History, who: int) -> None:
    for n in range(10):
        path = f"{'x' * 1900}/{who}/{n}"
        found.record_denial(SpiffeId.parse(f"spiffe://acme.test/{path}"), "ledger", None, NOW)


@pytest.mark.parametrize("fill", [filled_with_pairs, filled_with_calls, filled_with_denials, filled_with_names])
def test_a_full_store_is_no_heavier_than_it_may_be(fill: Callable[[History, int], None]) -> None:
    limit = 256 * 1024
    tracemalloc.start()
    try:
        found = history(total_bytes=limit)
        peak, before = 0, tracemalloc.get_traced_memory()[0]
        for who in range(40):
            fill(found, who)
            peak = max(peak, tracemalloc.get_traced_memory()[0] - before)
    finally:
        tracemalloc.stop()

    assert limit / 2 < peak <= limit


def test_what_gives_way_to_weight_is_missed() -> None:
    found = called(NOW, total_bytes=64 * 1024)
    filled_with_pairs(found, 0)

    with pytest.raises(Forgotten):
        found.of(ALICE).calls("ledger", REFUND, 60, NOW)


def test_one_workload_alone_cannot_outgrow_the_store() -> None:
    found = history(total_bytes=16 * 1024)
    filled_with_pairs(found, 0)

    caller = SpiffeId.parse("spiffe://acme.test/ns/somewhere/sa/0")
    assert len(found.past(caller).pairs) < 256
    with pytest.raises(Forgotten):
        found.of(caller).calls("ledger", ANY, 60, NOW)


def _fastest_s(ask: Callable[[], object]) -> float:
    def once() -> float:
        started = time.perf_counter()
        ask()
        return time.perf_counter() - started

    return min(once() for _ in range(200))


def test_an_answer_costs_microseconds_however_much_is_kept() -> None:
    found = history()
    for tool in range(256):
        for n in range(100):
            found.record_call(ALICE, "ledger", f"tool_{tool}", NOW + n)
    for n in range(1000):
        found.record_denial(ALICE, "ledger", None, NOW + 60 * n)
    view, end = found.of(ALICE), NOW + 60_000

    # Ten times what they take, so that a busy machine does not matter and a scan over all 25 600 times does.
    assert _fastest_s(lambda: view.calls("ledger", ToolPattern("tool_7", None), 60, end)) < 20e-6
    assert _fastest_s(lambda: view.calls("ledger", ANY, MAX_WINDOW_S, end)) < 1e-3
    assert _fastest_s(lambda: view.denials(MAX_WINDOW_S, end)) < 20e-6
    assert _fastest_s(lambda: view.lockout(3, 60, MAX_WINDOW_S, end)) < 1e-3
