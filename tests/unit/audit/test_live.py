"""What somebody who looks on is told, and when."""

from callgate.audit.entries import Entry
from callgate.audit.live import LASTING_S, Live
from callgate.wire.json_strict import JsonObject

INTENT: JsonObject = {"seq": 4, "kind": "intent", "tool": "refund"}
OUTCOME: JsonObject = {"seq": 5, "kind": "outcome", "intent": 4, "status": "answered"}


def test_a_call_is_told_once_when_it_has_ended() -> None:
    live = Live()
    assert live.record(INTENT, 0) is None
    assert live.lasting(LASTING_S - 0.1) == []
    told = live.record(OUTCOME, 1)
    assert told == Entry(INTENT, OUTCOME)
    assert live.lasting(100) == []


def test_a_call_that_lasts_is_told_while_open_and_again_at_its_end() -> None:
    live = Live()
    live.record(INTENT, 0)
    assert live.lasting(LASTING_S) == [Entry(INTENT)]
    assert live.lasting(LASTING_S + 1) == []
    assert live.record(OUTCOME, 50) == Entry(INTENT, OUTCOME)


def test_a_refusal_is_told_at_once() -> None:
    refusal: JsonObject = {"seq": 1, "kind": "refusal"}
    assert Live().record(refusal, 0) == Entry(refusal)


def test_the_end_of_a_call_that_was_open_before_is_told() -> None:
    assert Live([Entry(INTENT)]).record(OUTCOME, 0) == Entry(INTENT, OUTCOME)


def test_an_outcome_to_a_call_that_nobody_asked_about_is_not_told() -> None:
    assert Live().record(OUTCOME, 0) is None


def test_the_gates_own_records_are_told_only_when_asked_for() -> None:
    stop: JsonObject = {"seq": 9, "kind": "stop"}
    assert Live().record(stop, 0) is None
    assert Live(others=frozenset({"stop"})).record(stop, 0) == Entry(stop)
