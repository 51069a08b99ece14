from collections.abc import Sequence
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from callgate.identity.spiffe_id import SpiffeId
from callgate.limits.rates import Gcra, Lack, Rate, WindowLog
from callgate.policy.limit import Limit

ALICE = SpiffeId.parse("spiffe://acme.test/alice")
BOB = SpiffeId.parse("spiffe://acme.test/bob")
NOW = 1_790_000_000.0
# Binary fractions, so that a float of Unix seconds holds them, and nanoseconds do.
steps = st.lists(st.sampled_from([0.0, 0.0, 0.125, 0.25, 0.5, 1.0, 3.0, 20.0]), max_size=80)
steps_both_ways = st.lists(st.sampled_from([0.0, 0.125, 0.5, 1.0, 3.0, 20.0, -0.125, -1.0, -5.0]), max_size=80)


def moments(some_steps: Sequence[float]) -> list[float]:
    found, now = [], NOW
    for step in some_steps:
        now += step
        found.append(now)
    return found


# Steady rates

rates = st.builds(Rate, calls=st.integers(1, 7), per_s=st.integers(1, 5), burst=st.integers(1, 4))


def leaky_bucket(rate: Rate, times: Sequence[float]) -> list[bool]:
    """ITU-T I.371, the other form of the same algorithm: a bucket that leaks, and holds `burst` calls."""
    level, last, found = Fraction(0), Fraction(NOW), []
    for now in map(Fraction, times):
        level = max(Fraction(0), level - (now - last) * rate.calls / rate.per_s)
        last = now
        conforms = level + 1 <= rate.burst
        level += conforms
        found.append(conforms)
    return found


@given(rates, steps)
def test_admits_what_a_leaky_bucket_admits(rate: Rate, some_steps: list[float]) -> None:
    gcra, times = Gcra(rate), moments(some_steps)

    assert [gcra.take("k", now) == 0.0 for now in times] == leaky_bucket(rate, times)


@given(rates, steps)
def test_never_admits_more_than_burst_and_rate_in_any_stretch(rate: Rate, some_steps: list[float]) -> None:
    gcra = Gcra(rate)
    taken = [now for now in moments(some_steps) if not gcra.take("k", now)]

    for first in range(len(taken)):
        for last in range(first, len(taken)):
            length = Fraction(taken[last]) - Fraction(taken[first])
            assert last - first + 1 <= rate.burst + length * rate.calls / rate.per_s


@given(rates, steps_both_ways)
def test_a_clock_that_steps_back_never_lets_more_through_than_one_that_stands_still(
    rate: Rate, some_steps: list[float]
) -> None:
    stepping, standing = Gcra(rate), Gcra(rate)
    times = moments(some_steps)
    highest = [max(times[: place + 1]) for place in range(len(times))]

    taken = sum(not stepping.take("k", now) for now in times)
    assert taken <= sum(not standing.take("k", now) for now in highest)


@given(rates, steps)
def test_the_wait_that_is_told_is_enough_and_no_longer_than_it_must_be(rate: Rate, some_steps: list[float]) -> None:
    gcra = Gcra(rate)
    for now in moments(some_steps):
        wait_s = gcra.take("k", now)
        if wait_s:
            # The clock's own step is 0.24 µs.
            assert gcra.wait("k", now + wait_s + 1e-6) == 0.0
            assert gcra.wait("k", now + wait_s - 1e-6) > 0.0


def test_an_interval_of_less_than_a_second_is_exact_in_unix_time() -> None:
    for eighth in range(100):
        gcra, start = Gcra(Rate(calls=8, per_s=1, burst=1)), NOW + eighth / 8

        assert gcra.take("k", start) == 0.0
        assert gcra.take("k", start + 0.125) == 0.0
        assert gcra.take("k", start + 0.125) == 0.125


def test_the_interval_does_not_drift() -> None:
    gcra = Gcra(Rate(calls=3, per_s=1, burst=3))

    # A third of a second is no whole number of nanoseconds, and no float.
    for second in range(5_000):
        assert [gcra.take("k", NOW + second) == 0.0 for _ in range(4)] == [True, True, True, False]


def test_a_refused_call_costs_nothing() -> None:
    gcra = Gcra(Rate(calls=1, per_s=10, burst=1))
    assert gcra.take("k", NOW) == 0.0

    assert [gcra.take("k", NOW + second) for second in range(1, 10)] == [10.0 - second for second in range(1, 10)]
    assert gcra.take("k", NOW + 10) == 0.0


def test_keys_are_counted_apart() -> None:
    gcra = Gcra(Rate(calls=1, per_s=10, burst=1))

    assert [gcra.take(key, NOW) for key in ("a", "b", "a", "b")] == [0.0, 0.0, 10.0, 10.0]


def test_a_full_table_lets_no_new_key_begin_and_forgets_none() -> None:
    gcra = Gcra(Rate(calls=1, per_s=10, burst=1), max_keys=2)
    gcra.take("a", NOW)
    gcra.take("b", NOW + 4)

    assert gcra.take("c", NOW + 5) == 5.0
    assert "c" not in gcra
    assert gcra.take("a", NOW + 5) == 5.0
    assert gcra.take("c", NOW + 10) == 0.0
    assert gcra.take("b", NOW + 10) == 4.0


# Windows


def limit(calls: int, per_s: int, rule: str = "refunds") -> Limit:
    return Limit(rule, calls, per_s)


limits = st.builds(limit, calls=st.integers(1, 5), per_s=st.integers(1, 8))


def naive_window(some_limit: Limit, times: Sequence[float]) -> list[bool]:
    taken: list[float] = []
    found = []
    for now in times:
        room = sum(moment > now - some_limit.per_s for moment in taken) < some_limit.calls
        taken += [now] if room else []
        found.append(room)
    return found


@given(limits, steps)
def test_no_admissible_call_is_refused_and_no_other_admitted(some_limit: Limit, some_steps: list[float]) -> None:
    log, times = WindowLog(), moments(some_steps)

    assert [log.take(ALICE, "t", (some_limit,), now) is None for now in times] == naive_window(some_limit, times)


@given(limits, steps)
def test_never_admits_more_than_the_limit_in_any_window(some_limit: Limit, some_steps: list[float]) -> None:
    log = WindowLog()
    taken = [now for now in moments(some_steps) if log.take(ALICE, "t", (some_limit,), now) is None]

    for start in taken:
        assert sum(start <= moment < start + some_limit.per_s for moment in taken) <= some_limit.calls


@given(limits, steps_both_ways)
def test_a_clock_that_steps_back_never_makes_room(some_limit: Limit, some_steps: list[float]) -> None:
    stepping, standing, times = WindowLog(), WindowLog(), moments(some_steps)
    highest = [max(times[: place + 1]) for place in range(len(times))]

    taken = sum(stepping.take(ALICE, "t", (some_limit,), now) is None for now in times)
    assert taken <= sum(standing.take(ALICE, "t", (some_limit,), now) is None for now in highest)


@given(
    st.lists(
        st.builds(limit, st.integers(1, 4), st.integers(1, 8), st.sampled_from("abc")), unique_by=lambda x: x.rule
    ),
    steps,
)
def test_several_limits_all_count_a_call_or_none_does(some_limits: list[Limit], some_steps: list[float]) -> None:
    log, times = WindowLog(), moments(some_steps)
    taken: list[float] = []

    for now in times:
        room = all(sum(moment > now - its.per_s for moment in taken) < its.calls for its in some_limits)
        assert (log.take(ALICE, "t", some_limits, now) is None) == room
        taken += [now] if room else []


def test_a_call_exactly_a_window_later_has_room() -> None:
    log, two = WindowLog(), (limit(2, 60),)
    for second in (0, 10):
        assert log.take(ALICE, "t", two, NOW + second) is None

    assert log.take(ALICE, "t", two, NOW + 59) == Lack(two[0], 1.0, counted=True)
    assert log.take(ALICE, "t", two, NOW + 60) is None
    assert log.take(ALICE, "t", two, NOW + 60) == Lack(two[0], 10.0, counted=True)


def test_the_longest_wait_is_told() -> None:
    log, short, long = WindowLog(), limit(1, 10, "short"), limit(1, 60, "long")
    log.take(ALICE, "t", (short, long), NOW)

    assert log.lack(ALICE, "t", (short, long), NOW + 4) == Lack(long, 56.0, counted=True)
    assert log.lack(ALICE, "t", (short,), NOW + 4) == Lack(short, 6.0, counted=True)
    assert log.lack(ALICE, "t", (), NOW + 4) is None


def test_each_workload_and_each_tool_has_a_limit_of_its_own() -> None:
    log, one = WindowLog(), (limit(1, 60),)

    asked = [(ALICE, "a"), (ALICE, "b"), (BOB, "a"), (ALICE, "a")]
    assert [log.take(who, tool, one, NOW) is None for who, tool in asked] == [True, True, True, False]


def test_calls_count_on_when_a_reload_changes_the_limit() -> None:
    log = WindowLog()
    for second in range(3):
        assert log.take(ALICE, "t", (limit(3, 60),), NOW + second) is None

    assert log.lack(ALICE, "t", (limit(2, 60),), NOW + 3) == Lack(limit(2, 60), 58.0, counted=True)
    assert log.lack(ALICE, "t", (limit(3, 120),), NOW + 100) == Lack(limit(3, 120), 20.0, counted=True)
    assert log.take(ALICE, "t", (limit(4, 60),), NOW + 3) is None


def test_a_full_log_counts_nobody_new_and_forgets_nobody() -> None:
    log, one = WindowLog(max_keys=2), (limit(1, 60),)
    log.take(ALICE, "t", one, NOW)
    log.take(BOB, "t", one, NOW + 10)
    carol = SpiffeId.parse("spiffe://acme.test/carol")

    assert log.take(carol, "t", one, NOW + 20) == Lack(one[0], 40.0, counted=False)
    assert log.take(ALICE, "t", one, NOW + 20) == Lack(one[0], 40.0, counted=True)
    assert log.take(carol, "t", one, NOW + 60) is None
    assert log.take(BOB, "t", one, NOW + 60) == Lack(one[0], 10.0, counted=True)


def test_one_workload_cannot_use_up_the_log_with_tools_that_it_makes_up() -> None:
    log, one = WindowLog(max_of_workload=3), (limit(1, 60),)

    assert [log.take(ALICE, f"t{n}", one, NOW) is None for n in range(5)] == [True, True, True, False, False]
    assert log.take(BOB, "t", one, NOW) is None


def test_room_for_some_of_several_new_limits_is_no_room() -> None:
    log, three = WindowLog(max_keys=2), [limit(1, 60, rule) for rule in "abc"]

    lack = log.take(ALICE, "t", three, NOW)
    assert lack is not None
    assert not lack.counted
    assert lack.wait_s > 0
    assert log.take(ALICE, "t", three[:2], NOW) is None
