"""What `callgate explain` tells of masks and packs: for a call, and in what a workload may do."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from callgate.cli import main

AGENT = "spiffe://acme.test/ns/support/sa/agent"
POLICY = """\
version: 1
trust_domains: [acme.test]
tools:
  - {server: crm, tools: [query], sql: {query: postgres}}
screening:
  - server: crm
    mask: [email, phone, {entity: card, mode: partial}]
    mask_arguments: [{entity: secret, mode: deny}]
    base64: deny
    text: {definitions: deny, results: pass}
    schemas: required
  - {server: crm, tools: [query], base64: deny}
packs:
  - {pack: destructive-sql@1, server: crm, tools: [query]}
grants:
  - id: desk
    workloads: [spiffe://acme.test/ns/support/sa/*]
    server: crm
    tools: [query]
    mask: [{key: note, mode: drop}]
    unmask: [phone]
    mask_arguments: [card]
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "policy.yaml").write_text(POLICY)
    monkeypatch.chdir(tmp_path)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["explain", "--policy", "policy.yaml", "--who", AGENT, *arguments])


def called(query: str, *arguments: str) -> Result:
    return run("--server", "crm", "--tool", "query", "--args", json.dumps({"query": query}), *arguments)


def found(result: Result) -> Any:  # noqa: ANN401  # JSON
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_a_call_that_is_allowed_is_told_with_all_that_it_is_screened_by() -> None:
    lines = called("SELECT 1").stdout.splitlines()

    assert "├─ · masked in answers: redact email; partial card; drop note" in lines
    assert "├─ · masked in arguments: deny secret; redact card" in lines
    assert "├─ · base64 content: deny" in lines
    assert "├─ · text that deceives, in definitions: deny" in lines
    assert "├─ · text that deceives, in results: pass" in lines
    assert "├─ · schemas: required" in lines


def test_the_same_as_json() -> None:
    assert found(called("SELECT 1", "--format", "json"))["screening"] == {
        "mask": {"email": "redact", "card": "partial", "note": "drop"},
        "mask_arguments": {"secret": "deny", "card": "redact"},
        "hold": [],
        "base64": "deny",
        "text": {"definitions": "deny", "results": "pass"},
        "schemas": "required",
    }


def test_a_call_that_a_pack_denies_is_told_with_the_rules_that_it_breaks() -> None:
    result = called("DROP TABLE users")

    assert result.stdout.startswith("✗ denied  tools/call query on crm\n  denied: denial crm-destructive-sql\n")
    assert "✓ condition: breaks destructive-sql@1  holds: destructive-sql@1: drop" in result.stdout
    assert 'args = {"query":"DROP TABLE users"}' in result.stdout
    assert "masked" not in result.stdout
    assert found(called("DROP TABLE users", "--format", "json"))["screening"] is None


def test_a_call_that_breaks_no_rule_is_told_so() -> None:
    assert "breaks destructive-sql@1  does not hold: breaks no rule of destructive-sql@1" in called("SELECT 1").stdout


def test_what_a_workload_may_do_tells_of_masks_and_packs() -> None:
    result = run()

    assert "masked in answers: drop note" in result.stdout
    assert "not masked, where every grant that applies says so: phone" in result.stdout
    assert "masked in arguments: redact card" in result.stdout
    assert "but denial crm-destructive-sql  policy.yaml:14 when breaks destructive-sql@1: query" in result.stdout
    assert (
        "whoever calls *, masked in answers: redact email, phone; partial card; in arguments: deny secret"
        in result.stdout
    )


def test_what_a_workload_may_do_as_json() -> None:
    (server,) = found(run("--format", "json"))["servers"]

    (grant,) = server["grants"]
    assert (grant["mask"], grant["unmask"], grant["mask_arguments"]) == (
        {"note": "drop"},
        ["phone"],
        {"card": "redact"},
    )
    assert grant["denials"][0]["when"] == "breaks destructive-sql@1"
    assert server["screening"][0] == {
        "tools": ["*"],
        "mask": {"email": "redact", "phone": "redact", "card": "partial"},
        "mask_arguments": {"secret": "deny"},
        "hold": [],
    }
