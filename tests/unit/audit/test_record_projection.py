"""What the records of requests say of a decision trace."""

import json
from collections.abc import Mapping

import pytest

from callgate.audit.chain import Chain, Kind, Moment
from callgate.audit.record import (
    MAX_DETAIL_CHARACTERS,
    MAX_RULES,
    intent_fields,
    outcome_fields,
    refusal_fields,
    request_fields,
)
from callgate.errors import Reason
from callgate.telemetry import names
from callgate.trace import DecisionTrace, Finding, Outcome, Stage
from callgate.wire.json_strict import JsonObject
from support.decision_traces import AGENT, DENIAL, GRANT, OTHER_GRANT, START_NS, denied, record, refused_at, trace_of
from support.record_format import faults_of

TOKEN = "ab" * 32
BEFORE = list(Stage)[: list(Stage).index(Stage.RECORD)]
EVIDENCE: Mapping[str, object] = {
    "svid": (1_800_000_000, 1_800_003_600),
    "session": "5e" * 8,
    "args": "cd" * 32,
    "record": "digest",
    "request": {"sha256": "ef" * 32, "bytes": 300},
}


def said(kind: Kind, fields: Mapping[str, object]) -> JsonObject:
    """The record as it is read again."""
    found: JsonObject = json.loads(Chain().extend(kind, fields, Moment(START_NS, 5)))
    return found


def read_with(**attributes: str) -> DecisionTrace:
    """Up to `mint`, with what was read."""
    told = {names.MCP_METHOD_NAME: "tools/call", names.GEN_AI_TOOL_NAME: "get_invoice", names.JSONRPC_REQUEST_ID: "3"}
    trace = trace_of(
        *(
            record(stage, attributes=told | {names.MCP_PROTOCOL_VERSION: "2026-07-28"} | attributes)
            if stage is Stage.READ
            else record(stage)
            for stage in BEFORE
        )
    )
    trace.decision_id = "0d" * 16
    trace.evidence |= EVIDENCE
    return trace


def test_an_intent_says_who_asks_for_what_under_which_rules_and_with_which_token() -> None:
    found = said(Kind.INTENT, intent_fields(read_with(), TOKEN))
    assert (
        found
        | {
            "decision": "0d" * 16,
            "trace": "4bf92f3577b34da6a3ce929d0e0e4736",
            "span": "00f067aa0ba902b7",
            "session": "5e" * 8,
            "address": "127.0.0.1:40404",
            "caller": AGENT,
            "leaf": "0f" * 32,
            "svid": [1_800_000_000, 1_800_003_600],
            "server": "ledger",
            "method": "tools/call",
            "tool": "get_invoice",
            "revision": "2026-07-28",
            "args": "cd" * 32,
            "size": 212,
            "rpc": "3",
            "policy": "sha256:5b1c",
            "reason": "",
            "rules": [{"rule": GRANT.rule, "kind": "grant", "matched": True, "why": GRANT.why}],
            "path": [f"{stage}=ok" for stage in BEFORE],
            "token": {
                "sha256": TOKEN,
                "jti": "b7Vq0pX1Qd6",
                "aud": "https://ledger.acme.test/mcp",
                "exp": 1_800_000_020,
                "scope": "ledger.read tool:get_invoice",
            },
            "record": "digest",
            "request": {"sha256": "ef" * 32, "bytes": 300},
            "masked_arguments": ["card=1"],
        }
        == found
    )
    assert set(found) == {"v", "seq", "prev", "time", "mono_us", "kind"} | {
        *("decision", "trace", "span", "session", "address", "caller", "leaf", "svid", "server", "method", "tool"),
        *("revision", "args", "size", "rpc", "policy", "reason", "rules", "path", "token", "record", "request"),
        "masked_arguments",
    }


def test_what_has_nothing_to_say_is_left_out() -> None:
    found = said(Kind.REFUSAL, refusal_fields(refused_at(Stage.ACCEPT, Reason.TLS_NO_CERTIFICATE), None))
    assert set(found) == {"v", "seq", "prev", "time", "mono_us", "kind"} | {
        *("decision", "trace", "span", "address", "path", "stage", "reason", "detail")
    }


def test_a_refusal_says_where_why_which_rules_and_what_the_agent_was_told() -> None:
    found = said(Kind.REFUSAL, refusal_fields(denied(), {"http": 200, "rpc": -31403}))
    assert (found["stage"], found["reason"]) == ("decide", "no_grant")
    assert found["detail"] == "no grant of this workload names the tool"
    assert found["answered"] == {"http": 200, "rpc": -31403}
    assert found["path"] == [
        *("accept=ok", "authenticate=ok", "read=ok", "identify=ok", "decide=refused:no_grant", "respond=ok")
    ]
    assert found["rules"] == [
        {"rule": each.rule, "kind": each.kind, "matched": each.matched, "why": each.why}
        for each in (DENIAL, OTHER_GRANT)
    ]
    assert "token" not in found


@pytest.mark.parametrize("stage", [*BEFORE, Stage.RECORD])
def test_a_refusal_at_any_stage_names_that_stage(stage: Stage) -> None:
    found = said(Kind.REFUSAL, refusal_fields(refused_at(stage, Reason.INTERNAL), None))
    assert found["stage"] == stage.value
    path = found["path"]
    assert isinstance(path, list)
    assert path[-1] == f"{stage.value}=refused:internal"


def test_no_detail_is_longer_than_its_limit() -> None:
    found = refusal_fields(refused_at(Stage.READ, Reason.RPC_INVALID, "x" * 5000), None)
    assert len(str(found["detail"])) == MAX_DETAIL_CHARACTERS


def test_of_many_rules_the_first_are_told_and_the_others_counted() -> None:
    many = tuple(Finding(f"rule-{number}", "grant", matched=True, why="") for number in range(MAX_RULES + 5))
    found = request_fields(trace_of(record(Stage.DECIDE, findings=many)))
    assert found["rules"] == many[:MAX_RULES]
    assert found["more_rules"] == 5


def test_of_an_allowed_call_only_the_rules_that_apply_are_told() -> None:
    rules = request_fields(trace_of(record(Stage.DECIDE)))["rules"]
    assert rules == (GRANT,)


def test_what_rules_in_shadow_make_of_it_is_told() -> None:
    attributes = {names.SHADOW_DECISION: "deny", names.SHADOW_REASON: "denied", names.SHADOW_RULES: ("tried",)}
    found = said(Kind.REFUSAL, request_fields(trace_of(record(Stage.DECIDE, attributes=attributes))))
    assert found["shadow"] == {"decision": "deny", "reason": "denied", "rules": ["tried"]}


# Outcomes.


def ended(*after: object, **answer: object) -> JsonObject:
    trace = trace_of(*(record(stage) for stage in BEFORE), *after)  # type: ignore[arg-type]
    trace.decision_id = "0d" * 16
    trace.answer |= answer
    return said(Kind.OUTCOME, {"intent": 7, **outcome_fields(trace, START_NS + 200_000_000)})


FAILED = Outcome.FAILED


@pytest.mark.parametrize(
    ("after", "status", "reason"),
    [
        ([record(Stage.RECORD), record(Stage.FORWARD), record(Stage.RESPOND)], "answered", ""),
        (
            [
                record(Stage.RECORD),
                record(Stage.FORWARD, attributes={names.ERROR_TYPE: "tool_error"}),
                record(Stage.RESPOND),
            ],
            "tool_error",
            "",
        ),
        (
            [
                record(Stage.RECORD),
                record(
                    Stage.FORWARD, attributes={names.ERROR_TYPE: "-32000", names.RPC_RESPONSE_STATUS_CODE: "-32000"}
                ),
                record(Stage.RESPOND),
            ],
            "rpc_error",
            "",
        ),
        (
            [
                record(Stage.RECORD),
                record(Stage.FORWARD, outcome=FAILED, reason="upstream_timeout"),
                record(Stage.RESPOND),
            ],
            "failed",
            "upstream_timeout",
        ),
        (
            [
                record(Stage.RECORD),
                record(Stage.FORWARD, outcome=FAILED, reason="client_gone"),
                record(Stage.RESPOND, outcome=FAILED, reason="client_gone"),
            ],
            "cancelled",
            "client_gone",
        ),
        (
            [
                record(Stage.RECORD),
                record(Stage.FORWARD),
                record(Stage.RESPOND, outcome=FAILED, reason="client_stalled"),
            ],
            "answered",
            "client_stalled",
        ),
        (
            [
                record(Stage.RECORD),
                record(Stage.FORWARD),
                record(Stage.SCREEN, outcome=Outcome.REFUSED, reason="answer_denied"),
                record(Stage.RESPOND),
            ],
            "withheld",
            "answer_denied",
        ),
        (
            [record(Stage.RECORD, outcome=Outcome.REFUSED, reason="audit_unavailable"), record(Stage.RESPOND)],
            "not_forwarded",
            "audit_unavailable",
        ),
        (
            [record(Stage.RESPOND, outcome=FAILED, reason="gate_shutting_down")],
            "not_forwarded",
            "gate_shutting_down",
        ),
    ],
)
def test_an_outcome_says_how_it_ended(after: list[object], status: str, reason: str) -> None:
    found = ended(*after)
    assert (found["status"], found["reason"]) == (status, reason)
    assert found["path"] == [each.step for each in after]  # type: ignore[attr-defined]
    assert faults_of([found]) == []


def test_an_outcome_says_what_came_back_and_how_long_it_took() -> None:
    answer = {"sha256": "ab" * 32, "bytes": 10, "events": 1}
    hidden = record(Stage.FORWARD, attributes={names.TOOLS_HIDDEN: 3})
    found = ended(record(Stage.RECORD), hidden, record(Stage.RESPOND), answer=answer, began="5e" * 8)
    assert (found["http"], found["hidden"], found["answer"], found["began"]) == (200, 3, answer, "5e" * 8)
    began = record(Stage.RECORD).started_ns
    assert found["took_us"] == (START_NS + 200_000_000 - began) // 1000
    assert faults_of([found]) == []


def test_a_clock_that_is_set_back_during_a_call_makes_no_record_that_is_none() -> None:
    trace = trace_of(*(record(stage) for stage in Stage))
    assert outcome_fields(trace, START_NS - 1_000_000_000)["took_us"] == 0
