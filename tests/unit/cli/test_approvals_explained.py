"""What `explain`, `check`, `test` and `policy diff` say of calls that people have to agree to."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from callgate.cli import main
from callgate.cli.approval_terms import approval_text
from callgate.cli.durations import duration_text
from callgate.policy.approval import Approval, Repeat

AGENT = "spiffe://acme.test/ns/billing/sa/agent"
CONFIG = """\
listen: 127.0.0.1:8443
issuer: https://gate.acme.test
policy: policy.yaml
servers: {ledger: {url: https://ledger.acme.test/mcp}}
audit: {folder: audit}
"""
POLICY = """\
version: 1
trust_domains: [acme.test]
owners:
  - {workloads: ["spiffe://acme.test/ns/billing/**"], people: [bob], groups: [billing]}
grants:
  - id: refunds
    workloads: [spiffe://acme.test/ns/billing/sa/agent]
    server: ledger
    tools: [refund]
    mask_arguments: [{entity: card, mode: hold}]
  - id: large
    workloads: [spiffe://acme.test/ns/billing/sa/agent]
    server: ledger
    tools: [refund]
    when: args.amount > 500
    approval:
      {groups: [leads], people: [carol], needed: 2, stands: 1h, waits: 0s, reason: required, four_eyes: true,
       sign_in: 5m, repeat: {same: [account, /customer/id], for: 15m, calls: 5}}
  - id: held
    workloads: [spiffe://acme.test/ns/billing/sa/agent]
    server: ledger
    tools: [refund]
    approval: {groups: [local], asks: on_hold}
"""
LARGE = (
    "2 people of group leads or carol; with a reason; no owner of the workload; signed in within 5m; stands 1h, the call "
    "waits 0s; may cover 5 calls in 15m with the same account, /customer/id"
)
HELD = "1 person of group local; only where the arguments hold what is masked with mode hold; stands 15m, the call waits 30s"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "callgate.yaml").write_text(CONFIG + "approvals: {}\n")
    (tmp_path / "policy.yaml").write_text(POLICY)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, [*arguments])


def explained(amount: int, *more: str) -> Result:
    asked = ("--server", "ledger", "--tool", "refund", "--args", json.dumps({"amount": amount}))
    return run("explain", "--who", AGENT, *asked, *more)


def found(*arguments: str) -> Any:  # noqa: ANN401  # JSON
    result = run("explain", "--who", AGENT, *arguments, "--format", "json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


@pytest.mark.usefixtures("folder")
def test_a_call_that_waits_for_people_is_drawn_as_one_with_all_that_is_asked() -> None:
    result = explained(501, "--exit-code")

    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[:2] == [
        "· held for approval  tools/call refund on ledger",
        "  grant refunds, grant large and grant held",
    ]
    assert f"├─ · approval for large: {LARGE}" in lines
    assert f"├─ · approval for held: {HELD}" in lines
    assert "├─ · owners of this workload, who cannot agree: group billing, bob" in lines
    assert "├─ · held for approval, where the arguments hold it: card" in lines


@pytest.mark.usefixtures("folder")
def test_a_call_that_waits_only_for_what_it_may_hold_is_allowed() -> None:
    lines = explained(5).stdout.splitlines()

    assert lines[0] == "✓ allowed  tools/call refund on ledger"
    assert f"├─ · approval for held: {HELD}" in lines
    # Nobody is kept out for it.
    assert not any("owners" in line for line in lines)


@pytest.mark.usefixtures("folder")
def test_json_has_the_decision_and_all_that_is_asked() -> None:
    asked = ("--server", "ledger", "--tool", "refund", "--args")
    large = found(*asked, '{"amount": 501}')

    assert large["decision"] == "hold"
    assert large["reason"] is None
    assert large["owners"] == {"groups": ["billing"], "people": ["bob"]}
    assert [each["rule"] for each in large["approvals"]] == ["large", "held"]
    assert large["approvals"][0] == {
        "rule": "large",
        "groups": ["leads"],
        "people": ["carol"],
        "needed": 2,
        "stands": "1h",
        "waits": "0s",
        "reason": "required",
        "four_eyes": True,
        "sign_in": "5m",
        "repeat": {"same": ["account", "/customer/id"], "for": "15m", "calls": 5},
        "asks": "always",
    }
    assert large["screening"]["hold"] == ["card"]
    assert large["screening"]["mask_arguments"] == {}
    assert found(*asked, '{"amount": 5}')["decision"] == "allow"


@pytest.mark.usefixtures("folder")
def test_a_picture_is_drawn_of_it() -> None:
    result = explained(501, "--format", "mermaid")

    assert result.exit_code == 0
    assert "held for approval" in result.stdout


@pytest.mark.usefixtures("folder")
def test_what_a_workload_may_do_says_for_what_people_are_asked() -> None:
    result = run("explain", "--who", AGENT)

    assert f"approval of {LARGE}" in result.stdout
    assert "masked in arguments: hold card" in result.stdout
    grants = found()["servers"][0]["grants"]
    assert [grant["approval"] and grant["approval"]["asks"] for grant in grants] == [None, "always", "on_hold"]
    assert [grant["hold"] for grant in grants] == [["card"], [], []]


def test_a_policy_that_asks_people_where_the_configuration_has_no_place_for_it_is_refused(folder: Path) -> None:
    (folder / "callgate.yaml").write_text(CONFIG)

    for arguments in (("check",), ("explain", "--who", AGENT), ("check", "-c", "callgate.yaml", "policy.yaml")):
        result = run(*arguments)
        assert result.exit_code == 1, arguments
        assert "policy.yaml:17:7: " in result.output
        assert "add 'approvals: {folder: approvals}' to callgate.yaml" in result.output
    # Nothing says that it has none.
    assert run("check", "policy.yaml").exit_code == 0


def test_a_policy_beside_a_configuration_that_is_refused_is_held_against_what_that_says(folder: Path) -> None:
    (folder / "callgate.yaml").write_text(CONFIG + "limit: {}\n")
    assert "approval needs a place" in run("check").output

    (folder / "callgate.yaml").write_text(CONFIG + "limit: {}\napprovals: {}\n")
    assert "approval needs a place" not in run("check").output


def test_tests_of_a_policy_expect_that_people_are_asked(folder: Path) -> None:
    tests = f"""\
policy: policy.yaml
tests:
  - name: large ones wait
    who: {AGENT}
    call: {{server: ledger, tool: refund}}
    cases:
      - {{args: {{amount: 501}}, expect: {{decision: hold, approvals: [large, held], mask_arguments: {{card: hold}}}}}}
      - {{args: {{amount: 500}}, expect: {{decision: allow, approvals: [held]}}}}
"""
    (folder / "policy.test.yaml").write_text(tests)
    assert run("test", "policy.test.yaml").exit_code == 0

    (folder / "policy.test.yaml").write_text(tests.replace("decision: hold", "decision: allow"))
    result = run("test", "policy.test.yaml")
    assert result.exit_code == 1
    assert "decision: expected allow, got hold" in result.output


@pytest.mark.parametrize(("seconds", "text"), [(0, "0s"), (1, "1s"), (90, "90s"), (60, "1m"), (7 * 86_400, "168h")])
def test_durations_are_written_as_a_policy_has_them(seconds: int, text: str) -> None:
    assert duration_text(seconds) == text


def test_one_call_whatever_its_arguments_is_said_as_that() -> None:
    approval = Approval("g", frozenset(), frozenset({"ann"}), repeat=Repeat((), 60, 1))

    assert approval_text(approval) == "1 person of ann; stands 15m, the call waits 30s; may cover 1 call in 1m"
