from hypothesis import given
from hypothesis import strategies as st

from callgate.limits.breaker import DEFAULT_OPEN_S, Breaker, BreakerLimits, BreakerState, Passage

NOW = 1_790_000_000.0
OPEN, CLOSED, HALF_OPEN = BreakerState.OPEN, BreakerState.CLOSED, BreakerState.HALF_OPEN


def breaker(failures: int = 5, open_s: int = 2) -> Breaker:
    return Breaker(BreakerLimits(failures, open_s))


def call(found: Breaker, now: float, *, failed: bool | None) -> None:
    assert found.wait(now) == 0.0
    found.leave(found.enter(now), failed=failed, now=now)


def opened(failures: int = 5, open_s: int = 2) -> Breaker:
    found = breaker(failures, open_s)
    for _ in range(failures):
        call(found, NOW, failed=True)
    return found


def test_opens_after_five_failures_in_a_row_and_lets_a_call_try_two_seconds_later() -> None:
    found = Breaker(BreakerLimits())
    for _ in range(4):
        call(found, NOW, failed=True)
    assert found.state is CLOSED
    call(found, NOW, failed=True)

    assert found.state is OPEN
    assert [found.wait(NOW + second) for second in (0, 1.5, 2)] == [2.0, 0.5, 0.0]


def test_a_success_in_between_starts_the_count_anew_and_a_cancelled_call_does_not() -> None:
    found = breaker(failures=3)
    for failed in (True, True, False, True, None, True):
        call(found, NOW, failed=failed)

    assert found.state is CLOSED
    call(found, NOW, failed=None)
    assert found.state is CLOSED
    call(found, NOW, failed=True)
    assert found.state is OPEN


def test_one_probe_at_a_time_goes_through() -> None:
    found = opened()
    found.enter(NOW + 2)

    assert found.state is HALF_OPEN
    assert found.wait(NOW + 2) == 2.0
    assert found.wait(NOW + 3) == 1.0


def test_a_probe_that_succeeds_closes() -> None:
    found = opened()
    call(found, NOW + 2, failed=False)

    assert found.state is CLOSED
    for _ in range(4):
        call(found, NOW + 2, failed=True)
    assert found.state is CLOSED


def test_a_probe_that_fails_opens_for_as_long_again() -> None:
    found = opened()
    probe = found.enter(NOW + 2)
    found.leave(probe, failed=True, now=NOW + 3)

    assert found.state is OPEN
    assert found.wait(NOW + 3) == 2.0
    assert found.wait(NOW + 5) == 0.0


def test_a_probe_that_was_cancelled_lets_the_next_one_try_at_once() -> None:
    found = opened()
    call(found, NOW + 2, failed=None)

    assert found.wait(NOW + 2) == 0.0
    call(found, NOW + 2, failed=False)
    assert found.state is CLOSED


def test_a_probe_that_never_reports_does_not_stand_in_the_way_for_ever() -> None:
    found = opened()
    found.enter(NOW + 2)

    call(found, NOW + 4, failed=False)
    assert found.state is CLOSED


def test_a_slow_probe_that_succeeds_closes_though_another_is_under_way() -> None:
    found = opened()
    slow = found.enter(NOW + 2)
    later = found.enter(NOW + 4)
    found.leave(slow, failed=False, now=NOW + 5)

    assert found.state is CLOSED
    found.leave(later, failed=True, now=NOW + 6)
    assert found.state is CLOSED


def test_a_slow_probe_that_fails_leaves_it_to_the_later_one() -> None:
    found = opened()
    slow = found.enter(NOW + 2)
    later = found.enter(NOW + 4)
    found.leave(slow, failed=True, now=NOW + 5)

    assert found.state is HALF_OPEN
    assert found.wait(NOW + 5) == 1.0
    found.leave(later, failed=False, now=NOW + 5.5)
    assert found.state is CLOSED


def test_calls_from_before_it_opened_have_nothing_to_say_any_more() -> None:
    found = breaker()
    old = [found.enter(NOW) for _ in range(8)]
    for passage in old[:5]:
        found.leave(passage, failed=True, now=NOW)
    found.leave(old[5], failed=True, now=NOW + 1)
    found.leave(old[6], failed=False, now=NOW + 1)

    assert found.state is OPEN
    assert found.wait(NOW + 1) == 1.0
    call(found, NOW + 2, failed=False)
    found.leave(old[7], failed=True, now=NOW + 2)
    for _ in range(4):
        call(found, NOW + 2, failed=True)
    assert found.state is CLOSED


def test_a_clock_that_steps_back_does_not_keep_it_open_for_longer_than_it_ever_is() -> None:
    found = opened()

    assert found.wait(NOW - 3600) == 2.0
    assert found.wait(NOW - 3598) == 0.0


@given(st.lists(st.tuples(st.sampled_from([0.0, 0.1, 0.5, 1.0, 2.0]), st.sampled_from(["enter", True, False, None]))))
def test_whatever_happened_a_server_that_is_well_again_is_served_within_two_seconds(
    events: list[tuple[float, str | bool | None]],
) -> None:
    found, under_way, now = breaker(), list[Passage](), NOW
    for step, event in events:
        now += step
        if isinstance(event, str):
            under_way += [found.enter(now)] if found.wait(now) == 0.0 else []
        elif under_way:
            found.leave(under_way.pop(0), failed=event, now=now)

    # None of those still under way is ever heard of again.
    assert found.wait(now) <= 2.0
    call(found, now + 2, failed=False)
    assert found.state is CLOSED


@given(st.lists(st.booleans(), max_size=60))
def test_a_flapping_server_costs_no_more_than_five_failures_at_a_time(answers: list[bool]) -> None:
    found, in_a_row = breaker(), 0
    for number, failed in enumerate(answers):
        now = NOW + number / 10
        if found.wait(now):
            continue
        probing = found.state is not CLOSED
        call(found, now, failed=failed)
        in_a_row = (in_a_row + 1) if failed else 0
        assert (found.state is CLOSED) == (in_a_row < 5 and not (probing and failed))


def test_one_caller_whose_calls_fail_by_their_own_doing_does_not_close_the_way_for_others() -> None:
    found = Breaker(BreakerLimits())
    for _ in range(50):
        found.leave(found.enter(NOW), failed=True, now=NOW, by="a")

    assert found.wait(NOW) == 0.0

    found.leave(found.enter(NOW), failed=True, now=NOW, by="b")
    assert found.wait(NOW) == DEFAULT_OPEN_S


def test_a_failure_that_is_nobodys_doing_counts_whoever_calls() -> None:
    found = Breaker(BreakerLimits())
    for by in ("a", "a", "a", "a", None):
        found.leave(found.enter(NOW), failed=True, now=NOW, by=by)

    assert found.wait(NOW) == DEFAULT_OPEN_S


def test_a_success_clears_whose_calls_failed() -> None:
    found = Breaker(BreakerLimits())
    found.leave(found.enter(NOW), failed=True, now=NOW, by="b")
    found.leave(found.enter(NOW), failed=False, now=NOW)
    for _ in range(5):
        found.leave(found.enter(NOW), failed=True, now=NOW, by="a")

    assert found.wait(NOW) == 0.0


def test_a_probe_that_fails_by_its_own_doing_keeps_nobody_else_from_trying() -> None:
    found = Breaker(BreakerLimits())
    for _ in range(5):
        found.leave(found.enter(NOW), failed=True, now=NOW)
    later = NOW + DEFAULT_OPEN_S
    found.leave(found.enter(later), failed=True, now=later, by="a")

    assert found.wait(later) == 0.0
    found.leave(found.enter(later), failed=True, now=later)
    assert found.wait(later) == DEFAULT_OPEN_S


def test_the_next_probe_is_another_callers_where_the_last_one_told_nothing() -> None:
    """After one outage, a caller whose calls hang, are cancelled or drop the connection would have kept all others out."""
    for told in (None, True):
        found = breaker()
        for _ in range(5):
            found.leave(found.enter(NOW), failed=True, now=NOW)
        assert found.wait(NOW + 2, "mallory") == 0.0
        probe = found.enter(NOW + 2, "mallory")
        found.leave(probe, failed=told, now=NOW + 2.5, by="mallory")
        assert (found.wait(NOW + 2.5, "mallory"), found.wait(NOW + 2.5, "alice")) == (2.0, 0.0)
        assert found.wait(NOW + 4.5, "mallory") == 0.0


def test_a_probe_that_hangs_is_not_followed_by_another_of_the_same_caller() -> None:
    found = breaker()
    for _ in range(5):
        found.leave(found.enter(NOW), failed=True, now=NOW)
    found.enter(NOW + 2, "mallory")
    assert (found.wait(NOW + 4, "mallory"), found.wait(NOW + 4, "alice")) == (2.0, 0.0)
    found.leave(found.enter(NOW + 4, "alice"), failed=False, now=NOW + 4)
    assert found.wait(NOW + 4, "mallory") == 0.0


def test_a_probe_that_finds_the_server_down_makes_its_caller_wait_no_longer_than_others() -> None:
    found = breaker()
    for _ in range(5):
        found.leave(found.enter(NOW), failed=True, now=NOW)
    found.leave(found.enter(NOW + 2, "alice"), failed=True, now=NOW + 2)
    assert (found.wait(NOW + 2, "alice"), found.wait(NOW + 2, "bob")) == (2.0, 2.0)
