"""`callgate policy suggest`: the narrowest policy for a log on disk."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from callgate.audit.chain import Kind
from callgate.audit.checkpoint import CheckpointKey
from callgate.audit.policies import keep
from callgate.cli import main
from support.audit_logs import ORIGIN
from support.recorded_calls import HEAD, Recorder, policy

DAY_S = 24 * 3600
AGENTS = [f"spiffe://acme.test/ns/billing/sa/{name}" for name in ("one", "two")]
RULES = """\
grants:
  - id: looks
    workloads: ["spiffe://acme.test/ns/billing/sa/*"]
    server: ledger
    tools: ["get_*", list_invoices]
  - id: refunds
    workloads: ["spiffe://acme.test/ns/billing/sa/*"]
    server: ledger
    tools: [refund]
    when: args.amount < 500
  - id: exports
    workloads: ["spiffe://acme.test/ns/billing/sa/*"]
    server: ledger
    tools: [export]
"""


@pytest.fixture
def log(tmp_path: Path) -> Path:
    recorder = Recorder(policy(RULES))
    recorder.log.start()
    files = keep(tmp_path / "audit", [("policy.yaml", HEAD + RULES)])
    recorder.log.add(Kind.POLICY, digest=recorder.policy.digest, files=files)
    for caller in AGENTS:
        recorder.call("get_invoice", caller=caller)
    recorder.wait(40 * DAY_S)
    recorder.call("refund", {"amount": 5}, caller=AGENTS[0])
    recorder.call("refund", {"amount": 5000}, caller=AGENTS[0])
    recorder.call(None, method="tools/list", caller="spiffe://acme.test/ns/billing/sa/idle")
    recorder.log.call(
        caller=AGENTS[1], tool="get_rich", status="rpc_error", grant="looks", policy=recorder.policy.digest
    )
    recorder.log.write(tmp_path / "audit", CheckpointKey.generate(ORIGIN))
    (tmp_path / "policy.yaml").write_text(HEAD + RULES)
    return tmp_path / "audit"


def suggest(log: Path, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["policy", "suggest", "--log", str(log), *arguments])


def given(log: Path) -> list[str]:
    return ["--policy", str(log.parent / "policy.yaml")]


@pytest.mark.parametrize("with_policy", [False, True])
@pytest.mark.parametrize("fold", [False, True])
def test_callgate_check_accepts_what_is_suggested(log: Path, with_policy: bool, fold: bool) -> None:
    arguments = [*(given(log) if with_policy else []), *(["--fold"] if fold else [])]

    result = suggest(log, "--format", "yaml", *arguments)

    assert result.exit_code == 0
    path = log.parent / "suggested.yaml"
    path.write_text(result.stdout)
    checked = CliRunner().invoke(main, ["check", str(path)])
    assert checked.exit_code == 0, checked.output


def test_the_log_allows_under_the_suggestion_exactly_what_was_allowed(log: Path) -> None:
    path = log.parent / "suggested.yaml"
    path.write_text(suggest(log, "--format", "yaml", *given(log)).stdout)

    result = CliRunner().invoke(
        main, ["policy", "diff", "-", str(path), "--log", str(log), "--method", "tools/call", "--format", "json"]
    )

    changes = json.loads(result.stdout)["changes"]
    # A call of a tool that never answered is the one that is left out.
    assert (changes["allow_to_deny"], changes["deny_to_allow"], changes["cannot_be_told"]) == (1, 0, 0)


def test_text_says_what_is_unused_before_the_policy(log: Path) -> None:
    out = suggest(log, *given(log)).stdout

    assert "  named and never called in 40 days: list_invoices\n  get_* could be get_invoice\n" in out
    assert "exports: unused: not once in the 40 days that the log tells of it" in out
    assert "refunds: used once, last 2026-02-16" in out
    assert "get_rich on ledger, 1 call: no call of it was answered" in out
    assert "spiffe://acme.test/ns/billing/sa/idle on ledger, which called no tool" in out
    assert out.index("exports:") < out.index("version: 1")


def test_nothing_is_called_unused_for_longer_than_the_log_reaches_back(log: Path) -> None:
    out = suggest(log, *given(log), "--unused", "60d").stdout

    assert "exports: not used in the 40 days that the log tells of it; whether it was in 60 days is not known" in out
    assert "unused" not in out


def test_the_head_of_the_file_says_how_far_the_log_reaches(log: Path) -> None:
    first = suggest(log, "--format", "yaml").stdout.splitlines()[0]

    assert first.startswith("# What was used: 4 calls from 2026-01-07T12:00:00Z to 2026-02-16")
    assert first.endswith("(40 days).")


def test_json_has_the_policy_and_what_was_found(log: Path) -> None:
    found = json.loads(suggest(log, *given(log), "--format", "json").stdout)

    assert found["policy"].startswith("# What was used")
    assert [(grant["id"], grant["tools"]) for grant in found["grants"]] == [
        ("looks", ["get_invoice"]),
        ("refunds", ["refund"]),
    ]
    assert {grant["grant"]: grant["standing"] for grant in found["given"]} == {
        "looks": "used",
        "refunds": "used",
        "exports": "unused",
    }
    looks = found["given"][0]
    assert looks["unused_tools"] == ["list_invoices"]
    assert looks["wildcards"] == [{"pattern": "get_*", "tools": ["get_invoice"]}]


@pytest.mark.parametrize("what", ["nothing used", "bad duration", "bad policy", "no log"])
def test_what_cannot_be_suggested_exits_with_2(log: Path, what: str) -> None:
    bad = log.parent / "bad.yaml"
    bad.write_text("grants: 5\n")
    empty = log.parent / "empty"
    (empty / "log").mkdir(parents=True)
    arguments = {
        "nothing used": ["--log", str(empty)],
        "bad duration": ["--unused", "soon"],
        "bad policy": ["--policy", str(bad)],
        "no log": ["--log", str(log.parent / "none")],
    }[what]

    result = suggest(log, *arguments)

    assert result.exit_code == 2
    assert result.stdout == ""
