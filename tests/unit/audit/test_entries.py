"""Records joined to entries: none lost, none twice, in the order in which the requests began."""

import orjson
from hypothesis import given
from hypothesis import strategies as st

from callgate.audit.chain import Kind
from callgate.audit.entries import MAX_WAITING, Entry, join
from callgate.wire.json_strict import JsonObject
from support.audit_logs import BEGAN_NS, CALLER, MadeLog


def records_of(log: MadeLog) -> list[JsonObject]:
    return [orjson.loads(line) for lines in log.lines() for line in lines]


def intent(seq: int) -> JsonObject:
    return {"seq": seq, "kind": "intent", "decision": f"{seq:032x}"}


def outcome(seq: int, of: int) -> JsonObject:
    return {"seq": seq, "kind": "outcome", "intent": of, "status": "answered"}


def test_a_call_is_one_entry_with_its_outcome() -> None:
    log = MadeLog()
    log.start()
    decision = log.call(tool="refund", status="tool_error")
    (entry,) = join(records_of(log))
    assert (entry.decision, entry.tool, entry.caller, entry.server) == (decision, "refund", CALLER, "ledger")
    assert (entry.verdict, entry.status, entry.reason, entry.took_us) == ("allow", "tool_error", "", 1500)
    assert entry.jti == decision[:22]
    assert entry.path[:2] == ("accept=ok", "authenticate=ok")
    assert entry.path[-4:] == ("record=ok", "forward=ok", "screen=ok", "respond=ok")


def test_a_refusal_is_denied_with_its_reason_and_stage() -> None:
    log = MadeLog()
    log.refusal(reason="no_grant", tool="wipe_ledger")
    (entry,) = join(records_of(log))
    assert (entry.verdict, entry.reason, entry.stage, entry.status) == ("deny", "no_grant", "decide", "refused")
    assert entry.took_us is None
    assert entry.jti == ""


def test_an_intent_without_outcome_is_open() -> None:
    log = MadeLog()
    log.call(orphan=True)
    (entry,) = join(records_of(log))
    assert (entry.outcome, entry.status, entry.verdict) == (None, "open", "allow")


def test_an_absorbed_notification_is_allowed_and_waits_for_nothing() -> None:
    log = MadeLog()
    log.add(Kind.ABSORBED, **log.request(tool=None), reason="")
    (entry,) = join(records_of(log))
    assert (entry.verdict, entry.status) == ("allow", "absorbed")


def test_a_call_that_failed_has_the_reason_of_its_outcome() -> None:
    failed = Entry({"kind": "intent", "reason": ""}, {"status": "failed", "reason": "upstream_timeout"})
    assert (failed.verdict, failed.reason, failed.status) == ("allow", "upstream_timeout", "failed")


def test_the_time_is_exact_to_the_nanosecond() -> None:
    log = MadeLog(step_ns=123_456_789)
    log.refusal()
    (entry,) = join(records_of(log))
    assert entry.time_ns == BEGAN_NS + 123_456_789
    assert entry.time.isoformat() == "2026-01-07T12:00:00.123456+00:00"


def test_entries_come_in_the_order_of_their_beginnings_whatever_ended_first() -> None:
    records: list[JsonObject] = [intent(0), intent(1), {"seq": 2, "kind": "refusal"}, outcome(3, 1), outcome(4, 0)]
    assert [entry.seq for entry in join(records)] == [0, 1, 2]


def test_an_outcome_without_intent_among_the_records_is_left_out() -> None:
    assert [entry.seq for entry in join([outcome(7, 3), intent(8), outcome(9, 8)])] == [8]


def test_of_two_outcomes_for_one_intent_the_first_counts() -> None:
    """Also while an earlier call holds the entry back."""
    second = {**outcome(3, 1), "status": "unknown"}
    entries = list(join([intent(0), intent(1), outcome(2, 1), second, outcome(4, 0)]))
    assert [entry.status for entry in entries] == ["answered", "answered"]


def test_other_records_are_given_out_only_when_asked_for_and_in_their_places() -> None:
    records: list[JsonObject] = [intent(0), {"seq": 1, "kind": "stop"}, outcome(2, 0)]
    assert [entry.kind for entry in join(records)] == ["intent"]
    assert [entry.kind for entry in join(records, others=frozenset({"stop"}))] == ["intent", "stop"]


def test_an_entry_is_not_held_back_for_longer_than_its_bound() -> None:
    asked: list[int] = []

    def late(seq: int) -> JsonObject | None:
        asked.append(seq)
        return outcome(10**6, seq)

    refusals: list[JsonObject] = [{"seq": seq, "kind": "refusal"} for seq in range(1, MAX_WAITING + 1)]
    first = next(join([intent(0), *refusals], late=late))
    assert (first.seq, first.status, asked) == (0, "answered", [0])


def test_fields_of_another_type_read_as_nothing() -> None:
    wrong: JsonObject = {
        "seq": "x",
        "kind": "intent",
        "time": 5,
        "caller": [],
        "tool": {},
        "token": "t",
        "user": 1,
        "path": "p",
    }
    entry = Entry(wrong, {"took_us": "soon", "status": 5, "path": [1, "ok"]})
    assert (entry.seq, entry.caller, entry.tool, entry.jti, entry.user) == (-1, "", "", "", "")
    assert (entry.took_us, entry.status, entry.path, entry.time_ns) == (None, "", ("ok",), 0)


@given(st.data())
def test_join_loses_and_doubles_nothing(data: st.DataObject) -> None:
    """Random logs: requests of each kind, and outcomes in any order, for some of the intents."""
    kinds = data.draw(st.lists(st.sampled_from(["intent", "refusal", "absorbed", "segment", "outcome"]), max_size=40))
    records: list[JsonObject] = []
    waiting: list[int] = []
    ended: dict[int, int] = {}
    for seq, kind in enumerate(kinds):
        if kind == "outcome":
            if not waiting:
                continue
            of = waiting.pop(data.draw(st.integers(0, len(waiting) - 1)))
            ended[of] = seq
            records.append(outcome(seq, of))
            continue
        if kind == "intent":
            waiting.append(seq)
        records.append({"seq": seq, "kind": kind})
    entries = list(join(records))
    requests = [record["seq"] for record in records if record["kind"] in {"intent", "refusal", "absorbed"}]
    assert [entry.seq for entry in entries] == requests
    assert {entry.seq: entry.outcome["seq"] for entry in entries if entry.outcome} == ended
