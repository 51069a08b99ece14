"""Which refusals get a record of their own, and how the others are counted."""

import orjson
import pytest

from callgate.audit.chain import MAX_LINE_BYTES
from callgate.audit.refused import MAX_KINDS, RefusalKind, RefusalRates, Tally
from callgate.errors import Reason
from callgate.trace import Stage

ALICE, BOB = "spiffe://acme.test/alice", "spiffe://acme.test/bob"
NOBODY = ""


def taken(rates: RefusalRates, caller: str, tries: int, now: float) -> int:
    return sum(rates.take(caller, now) for _ in range(tries))


def test_the_first_refusals_of_everybody_have_records() -> None:
    rates = RefusalRates(50)
    assert taken(rates, NOBODY, 10_000, 0.0) == 100
    assert taken(rates, ALICE, 10_000, 0.0) == 250
    # What one workload uses up leaves room for another.
    assert taken(rates, BOB, 10_000, 0.0) == 150


@pytest.mark.parametrize("per_second", [1, 5, 50, 1000])
def test_over_time_all_together_have_no_more_than_the_rate(per_second: int) -> None:
    rates = RefusalRates(per_second)
    seconds, callers = 100, [NOBODY, ALICE, BOB, "spiffe://acme.test/c", "spiffe://acme.test/d"]
    kept = 0
    for tick in range(seconds * 4):
        kept += sum(taken(rates, caller, per_second, tick / 4) for caller in callers)
    # A rate of one is one for those who are known, and one for strangers.
    assert kept <= max(2, per_second) * (seconds + 10)
    assert kept >= per_second * seconds * 0.8


def test_strangers_take_nothing_from_workloads_nor_they_from_strangers() -> None:
    rates, others = RefusalRates(50), RefusalRates(50)
    taken(rates, NOBODY, 10_000, 0.0)
    assert taken(rates, ALICE, 10_000, 0.0) == taken(others, ALICE, 10_000, 0.0)
    assert taken(others, NOBODY, 10_000, 0.0) == 100


def test_who_was_over_the_rate_has_records_again_later() -> None:
    rates = RefusalRates(50)
    taken(rates, ALICE, 10_000, 0.0)
    assert not rates.take(ALICE, 0.01)
    assert taken(rates, ALICE, 10_000, 1.01) == 25


def test_more_workloads_than_can_be_told_apart_are_counted_and_not_recorded() -> None:
    rates = RefusalRates(10_000)
    known = sum(rates.take(f"spiffe://acme.test/{number}", 0.0) for number in range(20_000))
    assert known <= 16_384


def test_what_is_counted_is_told_once_with_the_time_of_the_first() -> None:
    tally = Tally()
    assert not tally
    for now_ns in (70, 80, 90):
        tally.count(RefusalKind("read", "json_malformed", ALICE), now_ns)
    tally.count(RefusalKind("accept", "tls_no_certificate", NOBODY), 95)
    assert tally
    assert tally.since_ns == 70
    assert tally.taken() == [
        {"stage": "read", "reason": "json_malformed", "count": 3, "caller": ALICE},
        {"stage": "accept", "reason": "tls_no_certificate", "count": 1},
    ]
    assert not tally
    assert tally.taken() == []
    tally.count(RefusalKind("read", "json_malformed", ALICE), 100)
    assert tally.since_ns == 100


def test_however_many_callers_there_are_nothing_is_lost_and_a_summary_stays_a_line() -> None:
    tally = Tally()
    count = 0
    for stage in Stage:
        for reason in Reason:
            for number in range(20):
                tally.count(RefusalKind(stage, reason, f"spiffe://acme.test/{'x' * 2000}/{number}"), 1)
                count += 1
    told = tally.taken()
    assert sum(int(str(each["count"])) for each in told) == count
    with_caller = [each for each in told if "caller" in each]
    assert len(with_caller) == MAX_KINDS
    # Of a real gate each reason has a stage or two.
    assert len(orjson.dumps(with_caller)) + 2 * len(Reason) * 100 < MAX_LINE_BYTES
