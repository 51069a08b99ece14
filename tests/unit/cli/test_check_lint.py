import json
from pathlib import Path
from typing import Any

import pytest
import trio
from click.testing import CliRunner, Result

from callgate.cli.check import check
from callgate.policy.remarks import CHECKS, Level
from support.upstream import Asked, Reply, answer_with, said, scripted_server

CONFIG = """\
listen: 127.0.0.1:8443
issuer: https://gate.acme.test
policy: policy.yaml
servers:
  ledger: {url: https://ledger.acme.test/mcp}
audit: {folder: audit}
"""
HEAD = "version: 1\ntrust_domains: [acme.test]\ngrants:\n"
# An error, a warning and a note.
BYPASSED = (
    HEAD
    + """\
  - {id: all, workloads: ["spiffe://acme.test/**"], server: ledger, tools: ["*"]}
  - {id: few, workloads: ["spiffe://acme.test/a"], server: ledger, tools: [pay], when: "args.amount < 500"}
"""
)
ENDED = (
    HEAD
    + """\
  - {id: old, workloads: ["spiffe://acme.test/a"], server: ledger, tools: [pay], until: "2026-01-01T00:00:00Z"}
"""
)
NOTED = (
    HEAD
    + """\
  - {id: a, workloads: ["spiffe://acme.test/a"], server: ledger, tools: [pay, pay]}
"""
)
AMOUNT = (
    HEAD
    + """\
  - {id: a, workloads: ["spiffe://acme.test/a"], server: ledger, tools: [refund], when: "args.ammount < 500"}
"""
)
WHEN = BYPASSED.splitlines()[-1].index('"args.amount') + 1
AGAIN = NOTED.splitlines()[-1].index("pay]") + 1
TOOLS = {
    "tools": [{"name": "refund", "inputSchema": {"type": "object", "properties": {"amount": {"type": "integer"}}}}]
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "callgate.yaml").write_text(CONFIG)
    (tmp_path / "ledger.json").write_text(json.dumps(TOOLS))
    return tmp_path


def run(folder: Path, policy: str, *arguments: str) -> Result:
    (folder / "policy.yaml").write_text(policy)
    return CliRunner().invoke(check, list(arguments))


def test_prints_the_place_the_level_the_code_and_how_to_mend_it(folder: Path) -> None:
    result = run(folder, BYPASSED)

    assert result.exit_code == 1
    assert result.stderr.splitlines() == [
        f"policy.yaml:5:{WHEN}: error CG211 'when' of grant 'few' limits nothing: 'all' gives the same without it",
        f"    {CHECKS['CG211'].hint} See docs/reference/policy.md#cg211",
        "1 error",
    ]
    assert [line.partition(": ")[0] for line in result.stdout.splitlines()] == ["callgate.yaml", "policy.yaml"]


@pytest.mark.parametrize(
    ("policy", "fail_on", "exit_code"),
    [
        (BYPASSED, "error", 1),
        (ENDED, "error", 0),
        (ENDED, "warning", 1),
        (NOTED, "error", 0),
        (NOTED, "warning", 0),
        (NOTED, "note", 1),
    ],
)
def test_fails_on_the_level_that_was_asked_for(folder: Path, policy: str, fail_on: str, exit_code: int) -> None:
    assert run(folder, policy, "--fail-on", fail_on).exit_code == exit_code


def test_shows_notes_when_asked(folder: Path) -> None:
    assert run(folder, NOTED).stderr == ""
    assert "note CG213" in run(folder, NOTED, "--notes").stderr
    assert run(folder, BYPASSED.replace("[pay]", "[pay, pay]")).stderr.endswith(
        "1 error, 1 note (--notes shows them)\n"
    )


def test_colours_nothing_that_is_not_a_terminal(folder: Path) -> None:
    assert "\x1b" not in run(folder, BYPASSED).stderr
    (folder / "policy.yaml").write_text(BYPASSED)
    assert "\x1b[31m" in CliRunner().invoke(check, [], color=True).stderr


def test_checks_a_policy_without_a_configuration(folder: Path) -> None:
    (folder / "callgate.yaml").unlink()

    result = run(folder, ENDED.replace("ledger", "unheard-of"), "policy.yaml")

    assert result.exit_code == 0
    assert "warning CG207" in result.stderr
    assert result.stdout.startswith("policy.yaml: 1 grant, 0 denials, digest sha256:")


def test_checks_a_folder_of_policies_as_one(folder: Path) -> None:
    (folder / "policies").mkdir()
    head, first, second = BYPASSED.rsplit("\n", 3)[:3]
    (folder / "policies" / "one.yaml").write_text(f"{head}\n{first}\n")
    (folder / "policies" / "two.yml").write_text(f"{HEAD}{second}\n")

    result = run(folder, NOTED, "policies")

    assert result.stderr.startswith(f"policies/two.yml:4:{WHEN}: error CG211")
    assert result.stdout.startswith("policies: 2 grants")


def test_checks_a_policy_against_the_configuration_that_is_named(folder: Path) -> None:
    result = run(folder, ENDED.replace("ledger", "mail"), "-c", "callgate.yaml", "policy.yaml")

    assert result.exit_code == 1
    assert "error CG001 server 'mail' is not configured" in result.stderr


def test_checks_the_policy_in_shadow_too_and_tells_of_a_file_in_both_once(folder: Path) -> None:
    (folder / "callgate.yaml").write_text(CONFIG + "shadow_policy: [policy.yaml, next.yaml]\n")
    (folder / "next.yaml").write_text(NOTED.replace("id: a", "id: b").replace("[pay, pay]", "[see, see]"))

    result = run(folder, NOTED, "--notes")

    assert [line.split(" ")[0] for line in result.stderr.splitlines() if "CG213" in line and line[0] != " "] == [
        f"policy.yaml:4:{AGAIN}:",
        f"next.yaml:4:{AGAIN}:",
    ]
    assert "policy.yaml, next.yaml (in shadow): 2 grants" in result.stdout


def test_checks_for_the_moment_that_is_named(folder: Path) -> None:
    assert "CG207" not in run(folder, ENDED, "--at", "2025-12-31T23:59:59Z").stderr
    assert "CG207" in run(folder, ENDED, "--at", "2026-01-01T00:00:00Z").stderr
    assert run(folder, ENDED, "--at", "tomorrow").exit_code == 2


# Formats


def test_json_has_every_finding_and_a_count_of_each_level(folder: Path) -> None:
    result = run(folder, NOTED, "--format", "json")

    found = json.loads(result.stdout)
    assert result.stderr == ""
    assert found["counts"] == {"error": 0, "warning": 0, "note": 1}
    (finding,) = found["findings"]
    assert finding == {
        "code": "CG213",
        "name": "repeated-pattern",
        "level": "note",
        "file": "policy.yaml",
        "line": 4,
        "column": AGAIN,
        "rule": "a",
        "message": "'pay' is among 'pay' already",
        "hint": CHECKS["CG213"].hint,
        "documentation": "docs/reference/policy.md#cg213",
    }


def sarif(result: Result) -> dict[str, Any]:
    """The one run of a log, held against SARIF 2.1.0 and what GitHub's code scanning asks for."""
    log: dict[str, Any] = json.loads(result.stdout)
    assert log["version"] == "2.1.0"
    assert log["$schema"].endswith("sarif-2.1.0.json")
    (found,) = log["runs"]
    driver = found["tool"]["driver"]
    assert driver["name"] == "callgate"
    for rule in driver["rules"]:
        assert rule.keys() >= {"id", "name", "shortDescription", "fullDescription", "help", "defaultConfiguration"}
        assert rule["defaultConfiguration"]["level"] in {"error", "warning", "note"}
        assert all(rule[key]["text"] for key in ("shortDescription", "fullDescription", "help"))
    for one in found["results"]:
        assert driver["rules"][one["ruleIndex"]]["id"] == one["ruleId"]
        assert one["level"] in {"error", "warning", "note"}
        assert one["message"]["text"]
        (location,) = one["locations"]
        assert location["physicalLocation"]["region"]["startLine"] >= 1
        assert location["physicalLocation"]["region"]["startColumn"] >= 1
    return dict(found)


def test_sarif_has_every_finding_with_its_rule_and_place(folder: Path) -> None:
    (one,) = sarif(run(folder, BYPASSED, "--format", "sarif"))["results"]

    assert (one["ruleId"], one["level"]) == ("CG211", "error")
    assert one["locations"][0]["physicalLocation"] == {
        "artifactLocation": {"uri": "policy.yaml"},
        "region": {"startLine": 5, "startColumn": WHEN},
    }


def test_sarif_describes_every_check(folder: Path) -> None:
    rules = sarif(run(folder, NOTED, "--format", "sarif"))["tool"]["driver"]["rules"]

    assert [rule["id"] for rule in rules] == list(CHECKS)
    assert {rule["defaultConfiguration"]["level"] for rule in rules} == set(Level)


def test_sarif_tells_of_a_file_that_cannot_be_read_at_all(folder: Path) -> None:
    result = run(folder, NOTED, "no such policy.yaml", "--format", "sarif")

    (one,) = sarif(result)["results"]
    assert result.exit_code == 1
    assert one["ruleId"] == "CG001"
    assert one["locations"][0]["physicalLocation"] == {
        "artifactLocation": {"uri": "no%20such%20policy.yaml"},
        "region": {"startLine": 1, "startColumn": 1},
    }


def test_sarif_names_a_file_elsewhere_by_its_uri(folder: Path) -> None:
    (one,) = sarif(run(folder, NOTED, str(folder / "policy.yaml"), "--format", "sarif"))["results"]

    location = one["locations"][0]["physicalLocation"]["artifactLocation"]
    assert location == {"uri": (folder / "policy.yaml").as_uri()}


# Tool lists


def test_holds_a_policy_against_a_list_of_tools(folder: Path) -> None:
    result = run(folder, AMOUNT, "--tools", "ledger=ledger.json")

    assert (
        "warning CG102 argument 'ammount' is not in the schema of tool 'refund'; did you mean 'amount'?"
        in result.stderr
    )


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("ledger.json", "must be SERVER=FILE or SERVER=URL"),
        ("ledger=", "must be SERVER=FILE or SERVER=URL"),
        ("Ledger=ledger.json", "server 'Ledger' must be 1 to 63 of a-z"),
        ("legder=ledger.json", "server 'legder' is not configured; did you mean 'ledger'?"),
        ("ledger=missing.json", "missing.json cannot be read: No such file or directory"),
        ("ledger=callgate.yaml", "callgate.yaml is not JSON that can be taken"),
        ("ledger=http://ledger.acme.test/mcp", "must start with https://; http is for this machine alone"),
        ("ledger=https://", "must have a host name"),
        ("ledger=http://127.0.0.1:1/mcp", "cannot be asked: "),
    ],
)
def test_a_list_that_cannot_be_had_is_a_wrong_command_line(folder: Path, option: str, words: str) -> None:
    result = run(folder, NOTED, "--tools", option)

    assert result.exit_code == 2
    assert words in " ".join(result.stderr.split())


def test_takes_one_list_for_a_server(folder: Path) -> None:
    result = run(folder, NOTED, "--tools", "ledger=ledger.json", "--tools", "ledger=ledger.json")

    assert result.exit_code == 2
    assert "names server 'ledger' twice" in result.stderr


async def test_asks_a_running_server_page_by_page_and_shows_it_no_credentials(folder: Path) -> None:
    pages = {None: ("list", "next"), "next": ("refund", None)}
    others = answer_with()

    async def paged(asked: Asked, reply: Reply) -> None:
        if asked.body and asked.message.get("method") == "tools/list":
            name, following = pages[asked.message.get("params", {}).get("cursor")]
            page = {
                "tools": [{**TOOLS["tools"][0], "name": name}],
                "resultType": "complete",
                "ttlMs": 0,
                "cacheScope": "public",
            }
            await reply.json(said(asked, page | ({"nextCursor": following} if following else {})))
        else:
            await others(asked, reply)

    async with scripted_server(paged) as server:
        result = await trio.to_thread.run_sync(run, folder, AMOUNT, "--tools", f"ledger={server.url}")

        assert all(asked.header("authorization") is None for asked in server.requests)
    assert "CG102 argument 'ammount' is not in the schema of tool 'refund'" in result.stderr


async def test_says_that_a_server_does_not_list_its_tools(folder: Path) -> None:
    async def refuse(_: Asked, reply: Reply) -> None:
        await reply.empty(401)

    async with scripted_server(refuse) as server:
        result = await trio.to_thread.run_sync(run, folder, AMOUNT, "--tools", f"ledger={server.url}")

    assert result.exit_code == 2
    assert f"{server.url} cannot be asked: " in " ".join(result.stderr.split())


def test_says_what_to_do_where_there_is_no_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    result = CliRunner().invoke(check, [])

    assert result.exit_code == 2
    assert "there is no callgate.yaml here; name one with -c, or a policy: callgate check policy.yaml" in result.stderr


def test_says_how_tests_of_a_policy_are_run(folder: Path) -> None:
    (folder / "policy.test.yaml").write_text("policy: policy.yaml\n")

    result = CliRunner().invoke(check, ["policy.test.yaml"])

    assert result.exit_code == 2
    assert "policy.test.yaml holds tests of a policy; run them with: callgate test policy.test.yaml" in result.stderr
