"""What is in shadow is evaluated on live calls and told of, and never enforced: single rules, and a whole policy."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from opentelemetry.sdk.resources import Resource

from callgate.policy.compile import Policy
from callgate.telemetry.metrics import Metrics
from callgate.trace import DecisionTrace, Stage
from support.gate import context_of, policy_of, running_gate
from support.raw_agent import Answer, modern, modern_call
from support.tls_agent import dialled
from support.upstream import scripted_server

HEAD = "version: 1\ntrust_domains: [acme.test]\ngrants:\n"
BILLING = "workloads: ['spiffe://acme.test/ns/billing/sa/*'], server: ledger"
LOOK = HEAD + f"  - {{id: look, {BILLING}, tools: [get_invoice]}}\n"
REFUND = HEAD + f"  - {{id: pay, {BILLING}, tools: [refund]}}\n"
RULES_IN_SHADOW = (
    LOOK
    + f"  - {{id: pay-soon, {BILLING}, tools: [refund], shadow: true}}\n"
    + "denials:\n  - {id: look-no-more, server: ledger, tools: [get_invoice], when: args.n > 5, shadow: true}\n"
)


async def played(folder: Path, policy: str, shadow: Policy | None) -> tuple[list[Answer], list[DecisionTrace], int]:
    """The answers to get_invoice(n=9), refund and tools/list; their traces; how many calls reached the tool server."""
    calls = [modern_call("get_invoice", {"n": 9}), modern_call("refund"), modern("tools/list")]
    async with (
        scripted_server() as upstream,
        running_gate(folder, upstream.url, policy=policy, shadow=shadow) as gate,
        dialled(gate, await context_of(gate.api, "billing")) as agent,
    ):
        answers = [await agent.ask(call) for call in calls]
        traces = list(await gate.traces_when(len(calls)))
        reached = [each for each in upstream.requests if each.message["method"] == "tools/call"]
    return answers, traces, len(reached)


def told(trace: DecisionTrace) -> Mapping[str, object]:
    (decide,) = [record for record in trace.records if record.stage is Stage.DECIDE]
    return {name: value for name, value in decide.attributes.items() if ".shadow" in name}


def counted(traces: list[DecisionTrace]) -> set[tuple[object, object, object, int]]:
    metrics = Metrics(Resource({}))
    for trace in traces:
        metrics.count(trace)
    (scope,) = metrics.collect().resource_metrics[0].scope_metrics
    points: Any = next((m.data.data_points for m in scope.metrics if m.name == "callgate.shadow.decisions"), ())
    names = ("callgate.shadow.source", "callgate.decision", "callgate.shadow.decision")
    return {(*(point.attributes[name] for name in names), point.value) for point in points}


async def test_a_policy_in_shadow_is_told_of_and_changes_nothing(tmp_path: Path) -> None:
    shadow = policy_of(REFUND)

    answers, traces, reached = await played(tmp_path, LOOK, shadow)

    assert [answer.reason for answer in answers] == ["", "no_grant", ""]
    assert reached == 1
    assert told(traces[0]) == {
        "callgate.shadow_policy.decision": "deny",
        "callgate.shadow_policy.reason": "no_grant",
        "callgate.shadow_policy.rules": ("default-deny",),
        "callgate.shadow_policy.digest": shadow.digest,
    }
    assert told(traces[1]) == {
        "callgate.shadow_policy.decision": "allow",
        "callgate.shadow_policy.rules": ("pay",),
        "callgate.shadow_policy.digest": shadow.digest,
    }
    assert [trace.decision for trace in traces] == ["allow", "deny", "allow"]
    assert counted(traces) == {
        ("policy", "allow", "deny", 1),
        ("policy", "deny", "allow", 1),
        ("policy", "allow", "allow", 1),
    }


async def test_rules_in_shadow_are_told_of_and_change_nothing(tmp_path: Path) -> None:
    answers, traces, reached = await played(tmp_path, RULES_IN_SHADOW, None)

    assert [answer.reason for answer in answers] == ["", "no_grant", ""]
    assert reached == 1
    assert told(traces[0]) == {
        "callgate.shadow.decision": "deny",
        "callgate.shadow.reason": "denied",
        "callgate.shadow.rules": ("look-no-more",),
    }
    assert told(traces[1]) == {"callgate.shadow.decision": "allow", "callgate.shadow.rules": ("pay-soon",)}
    assert [tool["name"] for tool in answers[2].message["result"]["tools"]] == ["get_invoice"]
    assert counted(traces) == {("rules", "allow", "deny", 1), ("rules", "deny", "allow", 1)}


async def test_a_policy_in_shadow_that_fails_fails_no_call(tmp_path: Path) -> None:
    broken = replace(policy_of(REFUND), rules=None)  # type: ignore[arg-type]  # a fault in the gate's own code

    answers, traces, reached = await played(tmp_path, LOOK, broken)

    assert [answer.reason for answer in answers] == ["", "no_grant", ""]
    assert reached == 1
    assert [told(trace) for trace in traces] == [{}, {}, {}]
