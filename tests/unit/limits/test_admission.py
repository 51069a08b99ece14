from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callgate.errors import ANSWERS, RPC_LIMITED, RPC_UPSTREAM, Reason, Refusal
from callgate.identity.spiffe_id import SpiffeId
from callgate.limits.admission import Admission, ServerLimits, Slot
from callgate.limits.breaker import BreakerLimits
from callgate.limits.rates import Rate
from callgate.policy.call import Call
from callgate.policy.limit import Limit

ALICE = SpiffeId.parse("spiffe://acme.test/alice")
BOB = SpiffeId.parse("spiffe://acme.test/bob")
NOW = 1_790_000_000.0
REFUNDS = (Limit("refunds", 1, 3600),)


def admission(limits: ServerLimits | None = None) -> Admission:
    return Admission({"ledger": limits or ServerLimits(), "other": ServerLimits()})


def call(tool: str | None = "refund", caller: SpiffeId = ALICE, server: str = "ledger") -> Call:
    method = "tools/list" if tool is None else "tools/call"
    return Call(caller=caller, server=server, method=method, tool=tool, now=NOW)


def admitted(found: Slot | Refusal) -> Slot:
    assert isinstance(found, Slot), found
    return found


def refused(found: Slot | Refusal) -> tuple[Reason, str, Mapping[str, object]]:
    assert isinstance(found, Refusal)
    return found.reason, found.detail, found.public


def fail(found: Admission, times: int, now: float = NOW) -> None:
    for _ in range(times):
        admitted(found.admit(call(), (), now)).release(failed=True, now=now)


def test_a_call_beyond_a_grants_limit_is_told_how_long_to_wait() -> None:
    found = admission()
    admitted(found.admit(call(), REFUNDS, NOW))

    assert refused(found.admit(call(), REFUNDS, NOW + 0.5)) == (
        Reason.RATE_LIMITED,
        "limit of grant refunds: 1 in 3600 s",
        {"retry_after_ms": 3_599_501},
    )
    admitted(found.admit(call(), REFUNDS, NOW + 0.5 + 3599.501))


def test_the_rate_of_a_server_is_of_all_workloads_together() -> None:
    found = admission(ServerLimits(rate=Rate(2, 1, 2)))
    admitted(found.admit(call(), (), NOW))
    admitted(found.admit(call(caller=BOB), (), NOW))

    assert refused(found.admit(call(), (), NOW)) == (
        Reason.RATE_LIMITED,
        "rate of server ledger: 2 in 1 s, 2 at once",
        {"retry_after_ms": 501},
    )
    admitted(found.admit(call(server="other"), (), NOW))


def test_the_rate_of_each_workload_is_its_own() -> None:
    found = admission(ServerLimits(rate_per_workload=Rate(1, 60, 1)))
    admitted(found.admit(call(), (), NOW))
    admitted(found.admit(call(caller=BOB), (), NOW))

    reason, detail, _ = refused(found.admit(call(), (), NOW))
    assert (reason, detail) == (Reason.RATE_LIMITED, "rate_per_workload of server ledger: 1 in 60 s, 1 at once")


def test_the_limit_with_the_longest_wait_is_the_one_that_is_named() -> None:
    found = admission(ServerLimits(rate=Rate(1, 10, 1), rate_per_workload=Rate(1, 60, 1)))
    limits = (Limit("short", 1, 20), Limit("long", 1, 50))
    admitted(found.admit(call(), limits, NOW))

    reason, detail, public = refused(found.admit(call(), limits, NOW))
    assert (reason, detail.partition(" ")[0], public) == (
        Reason.RATE_LIMITED,
        "rate_per_workload",
        {"retry_after_ms": 60_001},
    )


def test_what_is_no_tool_call_is_not_counted_against_rates() -> None:
    found = admission(ServerLimits(rate=Rate(1, 60, 1), rate_per_workload=Rate(1, 60, 1)))
    for _ in range(3):
        admitted(found.admit(call(tool=None), REFUNDS, NOW))

    admitted(found.admit(call(), REFUNDS, NOW))
    admitted(found.admit(call(tool=None), REFUNDS, NOW))


def test_requests_under_way_are_bounded_for_each_server() -> None:
    found = admission(ServerLimits(max_concurrent=2))
    first, _ = (admitted(found.admit(call(tool=None), (), NOW)) for _ in range(2))

    assert refused(found.admit(call(), (), NOW)) == (Reason.TOO_MANY_CALLS, "max_concurrent of server ledger: 2", {})
    admitted(found.admit(call(server="other"), (), NOW))
    first.release(failed=False, now=NOW)
    admitted(found.admit(call(), (), NOW))


def test_a_place_is_given_back_once() -> None:
    found = admission(ServerLimits(max_concurrent=2))
    first, _ = (admitted(found.admit(call(), (), NOW)) for _ in range(2))
    for _ in range(3):
        first.release(failed=None, now=NOW)

    admitted(found.admit(call(), (), NOW))
    assert refused(found.admit(call(), (), NOW))[0] is Reason.TOO_MANY_CALLS


def test_only_the_first_verdict_on_a_call_counts() -> None:
    found = admission(ServerLimits(breaker=BreakerLimits(failures=2, open_s=2)))
    slot = admitted(found.admit(call(), (), NOW))
    for _ in range(3):
        slot.release(failed=True, now=NOW)

    admitted(found.admit(call(), (), NOW))


def test_a_server_that_keeps_failing_is_left_alone_for_two_seconds() -> None:
    found = admission()
    fail(found, 5)

    for asked in (call(), call(tool=None), call(caller=BOB)):
        assert refused(found.admit(asked, (), NOW + 0.5)) == (
            Reason.UPSTREAM_BREAKER_OPEN,
            "server ledger failed too often",
            {"retry_after_ms": 1501},
        )
    admitted(found.admit(call(server="other"), (), NOW))


def test_one_call_tries_and_when_it_succeeds_all_go_through() -> None:
    found = admission()
    fail(found, 5)
    probe = admitted(found.admit(call(), (), NOW + 2))

    assert refused(found.admit(call(), (), NOW + 2))[0] is Reason.UPSTREAM_BREAKER_OPEN
    probe.release(failed=False, now=NOW + 2)
    for _ in range(3):
        admitted(found.admit(call(), (), NOW + 2))


def test_cancelled_calls_say_nothing_of_the_server() -> None:
    found = admission()
    fail(found, 4)
    for _ in range(20):
        admitted(found.admit(call(), (), NOW)).release(failed=None, now=NOW)

    fail(found, 1)
    assert refused(found.admit(call(), (), NOW))[0] is Reason.UPSTREAM_BREAKER_OPEN


def test_a_server_may_be_without_limits() -> None:
    found = admission(ServerLimits(breaker=None))
    fail(found, 50)

    admitted(found.admit(call(), (), NOW))


def test_a_refused_call_uses_up_no_rate() -> None:
    found = admission(ServerLimits(rate=Rate(2, 60, 2), rate_per_workload=Rate(2, 60, 2)))
    admitted(found.admit(call(), REFUNDS, NOW))
    for _ in range(5):
        refused(found.admit(call(), REFUNDS, NOW))

    admitted(found.admit(call("get_invoice"), REFUNDS, NOW))


def test_a_refused_call_uses_up_no_limit() -> None:
    found = admission(ServerLimits(rate=Rate(1, 60, 1)))
    admitted(found.admit(call(caller=BOB), (), NOW))
    refused(found.admit(call(), REFUNDS, NOW))

    admitted(found.admit(call(), REFUNDS, NOW + 60))


def test_a_refused_call_takes_no_place() -> None:
    found = admission(ServerLimits(max_concurrent=2))
    admitted(found.admit(call(), REFUNDS, NOW))
    for _ in range(5):
        refused(found.admit(call(), REFUNDS, NOW))

    admitted(found.admit(call(tool=None), (), NOW))


def test_a_refused_call_is_not_the_one_that_tries() -> None:
    found = admission()
    admitted(found.admit(call(), REFUNDS, NOW)).release(failed=None, now=NOW)
    fail(found, 5)
    assert refused(found.admit(call(), REFUNDS, NOW + 2))[0] is Reason.RATE_LIMITED

    admitted(found.admit(call(caller=BOB), REFUNDS, NOW + 2))


def test_who_is_refused_for_want_of_room_to_count_is_told_apart_for_the_operator() -> None:
    found = admission()
    details = [
        found_.detail
        for n in range(257)
        if isinstance(found_ := found.admit(call(f"made_up_{n}"), REFUNDS, NOW), Refusal)
    ]

    # `max_concurrent` is 256 as well.
    assert details == ["max_concurrent of server ledger: 256"]
    found = admission(ServerLimits(max_concurrent=1000))
    for n in range(256):
        admitted(found.admit(call(f"made_up_{n}"), REFUNDS, NOW))
    reason, detail, _ = refused(found.admit(call("one_more"), REFUNDS, NOW))
    assert reason is Reason.RATE_LIMITED
    assert detail == "limit of grant refunds: 1 in 3600 s; there is no room to count another caller or tool"
    admitted(found.admit(call("one_more", caller=BOB), REFUNDS, NOW))


def test_an_unknown_server_has_no_places() -> None:
    with pytest.raises(KeyError):
        admission().admit(call(server="nowhere"), (), NOW)


def test_limits_are_told_as_errors_of_json_rpc() -> None:
    assert RPC_LIMITED == -31429
    wire = {
        reason: (ANSWERS[reason].http_status, ANSWERS[reason].rpc_code, ANSWERS[reason].closes)
        for reason in (Reason.RATE_LIMITED, Reason.TOO_MANY_CALLS, Reason.UPSTREAM_BREAKER_OPEN)
    }
    assert wire == {
        Reason.RATE_LIMITED: (200, RPC_LIMITED, False),
        Reason.TOO_MANY_CALLS: (200, RPC_LIMITED, False),
        Reason.UPSTREAM_BREAKER_OPEN: (200, RPC_UPSTREAM, False),
    }


@given(
    st.lists(
        st.tuples(
            st.sampled_from([0.0, 0.25, 1.0, 4.0]),
            st.sampled_from([ALICE, BOB]),
            st.sampled_from(["a", "b", None]),
            st.sampled_from([None, 0, 1]),
        ),
        max_size=60,
    )
)
def test_all_limits_hold_at_once_and_nothing_else_refuses(
    events: list[tuple[float, SpiffeId, str | None, int | None]],
) -> None:
    """Bursts of one make a GCRA a shortest distance, which a list of what was admitted tells."""
    found = admission(ServerLimits(rate=Rate(2, 1, 1), rate_per_workload=Rate(1, 1, 1), max_concurrent=3))
    limit = Limit("g", 2, 10)
    slots: list[Slot] = []
    taken: list[tuple[float, SpiffeId, str]] = []
    now = NOW
    for step, who, tool, ends in events:
        now += step
        if ends is not None and ends < len(slots):
            slots.pop(ends).release(failed=False, now=now)
        has_room = len(slots) < 3
        if tool is not None:
            has_room &= all(moment <= now - 0.5 for moment, _, _ in taken)
            has_room &= all(moment <= now - 1 for moment, whose, _ in taken if whose == who)
            has_room &= sum(moment > now - 10 and (w, t) == (who, tool) for moment, w, t in taken) < 2
        outcome = found.admit(call(tool, who), (limit,), now)
        assert isinstance(outcome, Slot) == has_room
        if isinstance(outcome, Slot):
            slots.append(outcome)
            taken += [(now, who, tool)] if tool is not None else []


def test_one_workload_cannot_take_the_places_that_are_left_to_others() -> None:
    found = admission(ServerLimits(max_concurrent=4, max_concurrent_per_workload=3))
    slots = [admitted(found.admit(call(), (), NOW)) for _ in range(3)]

    assert refused(found.admit(call(), (), NOW)) == (
        Reason.TOO_MANY_CALLS,
        "max_concurrent_per_workload of server ledger: 3",
        {},
    )
    admitted(found.admit(call(caller=BOB), (), NOW))
    slots[0].release(failed=False, now=NOW)
    admitted(found.admit(call(), (), NOW))


def test_a_clock_that_is_set_back_makes_nobody_wait_for_it_to_catch_up() -> None:
    found = admission(ServerLimits(rate=Rate(1, 1, 1)))
    admitted(found.admit(call(), (), NOW + 3600))

    reason, _, public = refused(found.admit(call(), REFUNDS, NOW))
    assert (reason, public) == (Reason.RATE_LIMITED, {"retry_after_ms": 1001})
    admitted(found.admit(call(), REFUNDS, NOW + 1.001))
    # What was counted goes on counting.
    assert refused(found.admit(call(), REFUNDS, NOW - 7200 + 3599))[0] is Reason.RATE_LIMITED


def test_what_the_gate_asks_for_a_call_that_has_a_place_takes_one_beside_the_limits() -> None:
    found = Admission({"ledger": ServerLimits(max_concurrent=1)})
    held = admitted(found.admit(call(), (), NOW))
    beside = found.beside(call(tool=None))

    assert isinstance(found.admit(call(), (), NOW), Refusal)
    beside.release(failed=None, now=NOW)
    assert isinstance(found.admit(call(), (), NOW), Refusal)
    held.release(failed=None, now=NOW)
    admitted(found.admit(call(), (), NOW))
