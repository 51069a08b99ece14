"""From the tracing backend to the record and back: both name each other, and `callgate` follows the names."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from callgate.trace import Stage
from support.on_record import Record, callgate, on_record, records_in, until
from support.pki import anonymous_client_context
from support.raw_agent import modern, modern_call
from support.tls_agent import refused_by

# W3C Trace Context, section 3.2.3: the example.
TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"
TRACEPARENT = f"00-{TRACE_ID}-00f067aa0ba902b7-01"


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_SDK_DISABLED"):
        monkeypatch.delenv(name, raising=False)


def only(result: Result) -> dict[str, Any]:
    """The one entry that a command found."""
    assert result.exit_code == 0, result.output
    (line,) = result.stdout.splitlines()
    found: dict[str, Any] = json.loads(line)
    return found


def record_of(folder: Path, seq: object) -> Record:
    (found,) = [record for record in records_in(folder) if record["seq"] == seq]
    return found


async def test_a_spans_attributes_lead_to_the_record_of_a_call(tmp_path: Path) -> None:
    async with on_record(tmp_path) as at:
        async with at.agent() as agent:
            await agent.ask(modern_call("refund"))
        ((intent, outcome),) = await at.calls(1)
        ((trace_id, span),) = (await at.spans(1)).items()
        by_trace = only(await at.callgate("log", "--trace-id", trace_id))
        by_jti = only(await at.callgate("log", "--jti", str(intent["token"]["jti"])))
    (minted,) = [found for found in at.collector.spans if found.name == "mint"]
    assert by_trace == by_jti
    assert by_trace["seq"] == span["callgate.audit.sequence"] == intent["seq"]
    assert span["callgate.audit.origin"] == records_in(at.folder)[0]["origin"] == "gate.acme.test/audit"
    assert span["callgate.session.id"] == intent["session"]
    assert span["callgate.record.level"] == intent["record"] == "digest"
    assert minted.attributes["callgate.token.jti"] == intent["token"]["jti"]
    assert by_trace["outcome"] == outcome


async def test_a_trace_that_the_agent_began_leads_to_its_record(tmp_path: Path) -> None:
    params = {"name": "get_invoice", "arguments": {}, "_meta": {"traceparent": TRACEPARENT}}
    async with on_record(tmp_path) as at:
        async with at.agent() as agent:
            await agent.ask(modern("tools/call", params))
        ((intent, _),) = await at.calls(1)
        found = only(await at.callgate("log", "--trace-id", TRACE_ID))
    assert found["seq"] == intent["seq"]


async def test_a_trace_of_several_calls_leads_to_all_of_them(tmp_path: Path) -> None:
    async with on_record(tmp_path) as at:
        async with at.agent() as agent:
            for tool in ("get_invoice", "wipe_ledger"):
                params = {"name": tool, "arguments": {}, "_meta": {"traceparent": TRACEPARENT}}
                await agent.ask(modern("tools/call", params))
        await at.calls(1)
        found = await at.callgate("log", "--trace-id", TRACE_ID)
        asked = await at.callgate("explain", "--trace-id", TRACE_ID)
    tools = [json.loads(line)["tool"] for line in found.stdout.splitlines()]
    assert tools == ["get_invoice", "wipe_ledger"]
    assert asked.exit_code == 2
    assert "holds 2 decisions" in asked.stderr


async def test_a_refusal_leads_to_its_record_by_the_span_and_by_what_the_agent_was_told(tmp_path: Path) -> None:
    async with on_record(tmp_path) as at:
        async with at.agent() as agent:
            data = (await agent.ask(modern_call("wipe_ledger"))).message["error"]["data"]
        ((trace_id, span),) = (await at.spans(1)).items()
        record = record_of(at.folder, span["callgate.audit.sequence"])
        told = only(await at.callgate("log", "--id", data["decision_id"]))
    assert (data["trace_id"], data["decision_id"]) == (trace_id, record["decision"])
    assert (record["kind"], record["reason"]) == ("refusal", data["reason"])
    assert span["callgate.session.id"] == record["session"]
    assert told["seq"] == record["seq"]


async def test_a_handshake_that_failed_is_found_by_its_trace(tmp_path: Path) -> None:
    async with on_record(tmp_path) as at:
        await refused_by(at.gate, anonymous_client_context())
        (record,) = await at.requests(1)
        ((trace_id, _),) = (await at.spans(1)).items()
        found = only(await at.callgate("log", "--trace-id", trace_id))
    assert found["seq"] == record["seq"]


async def test_a_live_denial_is_explained_with_the_very_findings_of_its_decision(tmp_path: Path) -> None:
    async with on_record(tmp_path) as at:
        async with at.agent("ops") as agent:
            data = (await agent.ask(modern_call("wipe_ledger"))).message["error"]["data"]
        (record,) = await at.requests(1)
        (trace,) = await at.gate.traces_when(1)
        # It is written beside the log, and nobody waits for it.
        await until(lambda: any((at.folder / "policies").glob("*.yaml")))
        decided = await at.callgate("explain", "--decision", data["decision_id"], "--format", "json")
        by_trace = await at.callgate("explain", "--trace-id", data["trace_id"], "--format", "json")
    told = json.loads(decided.stdout)
    assert (decided.exit_code, decided.stdout) == (by_trace.exit_code, by_trace.stdout)
    (decide,) = [step for step in trace.records if step.stage is Stage.DECIDE]
    findings = [(finding.rule, finding.kind, finding.matched, finding.why) for finding in decide.findings]
    # No grant is for ops' refunds: what was looked at is told, though nothing of it to the agent.
    assert data["reason"] == "no_grant"
    assert [tuple(rule.values()) for rule in record["rules"]] == findings
    assert [(rule["id"], rule["kind"], rule["applied"], rule["why"]) for rule in told["recorded_rules"]] == findings
    assert (told["decision"], told["reason"], told["record"]) == ("deny", trace.reason, record["seq"])
    assert told["policy_from"] == "as kept in the log"
    assert told["path"] == list(record["path"])
    # The policy of then, asked again, says the same.
    again = {rule["id"]: rule["applies"] for rule in told["rules"]}
    assert again == {finding.rule: finding.matched for finding in decide.findings if finding.kind != "default"}
    assert not any("the record says" in note for note in told["notes"])


async def test_a_record_that_a_trace_led_to_is_proved_to_others(tmp_path: Path) -> None:
    """The end of the way: the proof stands without the log, and holds the record byte for byte."""
    async with on_record(tmp_path) as at, at.agent() as agent:
        data = (await agent.ask(modern_call("wipe_ledger"))).message["error"]["data"]
    proof = await at.callgate("audit", "prove", data["decision_id"])
    path = tmp_path / "proof"
    path.write_text(proof.stdout)
    lines = b"".join(file.read_bytes() for file in sorted((at.folder / "log").iterdir())).splitlines()
    (line,) = [each for each in lines if json.loads(each).get("decision") == data["decision_id"]]
    checked = await callgate("audit", "check", str(path), "--key", str(at.folder / "key.pub"), "--format", "json")
    assert (proof.exit_code, checked.exit_code) == (0, 0)
    assert checked.stdout_bytes.rstrip(b"\n") == line
