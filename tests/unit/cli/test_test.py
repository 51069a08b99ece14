import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from click.testing import CliRunner, Result

from callgate.cli import main, trials

POLICY = """\
version: 1
trust_domains: [acme.test]
grants:
  - id: reads
    workloads: ["spiffe://acme.test/ns/billing/sa/*"]
    server: ledger
    tools: [get_invoice]
  - id: refunds
    workloads: [spiffe://acme.test/ns/billing/sa/agent]
    server: ledger
    tools: [refund]
    when: args.amount < 500
"""
WHO = "who: spiffe://acme.test/ns/billing/sa/agent"
TESTS = f"""\
policy: policy.yaml
tests:
  - name: reading
    {WHO}
    call: {{server: ledger, tool: get_invoice}}
    expect: {{decision: allow}}
  - name: refunds
    {WHO}
    call: {{server: ledger, tool: refund}}
    cases:
      - {{name: small, args: {{amount: 499}}, expect: {{decision: allow, rules: [refunds]}}}}
      - {{name: large, args: {{amount: 500}}, expect: {{decision: deny, reason: no_grant}}}}
"""
WRONG = TESTS.replace("reason: no_grant", "reason: denied")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "policy.yaml").write_text(POLICY)
    (tmp_path / "policy.test.yaml").write_text(TESTS)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["test", *arguments])


def found(*arguments: str) -> Any:  # noqa: ANN401  # JSON
    return json.loads(run(*arguments, "--format", "json").stdout)


@pytest.mark.usefixtures("folder")
def test_finds_and_runs_the_tests_below_the_working_folder() -> None:
    result = run()

    assert result.exit_code == 0
    assert result.stderr == ""
    assert result.stdout.splitlines() == ["policy.test.yaml: 3 passed", "3 passed"]


def test_tells_of_a_failure_with_the_explanation(folder: Path) -> None:
    (folder / "policy.test.yaml").write_text(WRONG)

    result = run()
    assert result.exit_code == 1
    lines = result.stdout.splitlines()
    assert lines[:4] == [
        "✗ policy.test.yaml:12: refunds: large",
        "    reason: expected denied, got no_grant",
        "    ✗ denied  tools/call refund on ledger",
        "      no_grant: none of this workload's grants that name this tool applies to this call",
    ]
    assert "    │  └─ ✗ condition: args.amount < 500  does not hold" in lines
    assert lines[-2:] == ["policy.test.yaml: 2 passed, 1 failed", "2 passed, 1 failed"]


def test_runs_named_files_whatever_they_are_called_and_folders_at_any_depth(folder: Path) -> None:
    deep = folder / "a" / "b"
    deep.mkdir(parents=True)
    (deep / "x_test.yaml").write_text(TESTS.replace("policy.yaml", "../../policy.yaml"))
    (folder / "checks.yaml").write_text(TESTS)
    (folder / ".hidden").mkdir()
    (folder / ".hidden" / "y.test.yaml").write_text(WRONG)

    assert run().stdout.splitlines() == ["a/b/x_test.yaml: 3 passed", "policy.test.yaml: 3 passed", "6 passed"]
    assert run("checks.yaml", "a").stdout.splitlines() == [
        "checks.yaml: 3 passed",
        "a/b/x_test.yaml: 3 passed",
        "6 passed",
    ]


@pytest.mark.usefixtures("folder")
def test_runs_each_file_once() -> None:
    assert run("policy.test.yaml", ".", "policy.test.yaml").stdout.splitlines()[-1] == "3 passed"


@pytest.mark.usefixtures("folder")
def test_runs_the_tests_whose_names_have_a_word_in_them() -> None:
    assert run("-k", "SMALL").stdout.splitlines()[-1] == "1 passed"


@pytest.mark.usefixtures("folder")
def test_no_test_of_that_name_is_an_error() -> None:
    result = run("-k", "smal l")

    assert result.exit_code == 2
    assert result.stderr == "no tests: none has 'smal l' in its name\n"


def test_no_tests_at_all_is_an_error(tmp_path: Path) -> None:
    result = run(str(tmp_path))

    assert result.exit_code == 2
    assert "no tests: nothing in" in result.stderr


def test_tests_that_cannot_be_read_are_no_success_and_the_others_are_run(folder: Path) -> None:
    (folder / "bad.test.yaml").write_text(TESTS.replace("expect:", "expct:"))

    result = run()
    assert result.exit_code == 2
    assert "bad.test.yaml:6:5: unknown key 'expct'; did you mean 'expect'?" in result.stderr.splitlines()
    assert result.stdout.splitlines() == ["policy.test.yaml: 3 passed", "3 passed"]


def test_tells_what_is_wrong_with_the_policy(folder: Path) -> None:
    (folder / "policy.yaml").write_text(POLICY.replace("tools: [refund]", "tols: [refund]"))

    result = run()
    assert result.exit_code == 2
    assert "policy.yaml:11:5: unknown key 'tols'; did you mean 'tools'?" in result.stderr.splitlines()


def test_says_that_the_policy_is_missing(folder: Path) -> None:
    (folder / "policy.yaml").unlink()

    result = run()
    assert result.exit_code == 2
    assert result.stderr == "policy.yaml: cannot be read: No such file or directory\n"


def test_a_policy_may_be_several_files(folder: Path) -> None:
    (folder / "more.yaml").write_text(
        "version: 1\ntrust_domains: [acme.test]\ndenials:\n  - {id: none, server: ledger, tools: ['*']}\n"
    )
    (folder / "policy.test.yaml").write_text(TESTS.replace("policy: policy.yaml", "policy: [policy.yaml, more.yaml]"))

    result = run()
    assert result.exit_code == 1
    assert result.stdout.splitlines()[-1] == "0 passed, 3 failed"


@pytest.mark.usefixtures("folder")
def test_coverage_tells_of_each_rule_what_was_shown() -> None:
    result = run("--coverage")

    assert result.exit_code == 0
    assert result.stdout.splitlines()[2:5] == [
        "coverage of policy.yaml: 100.0 %",
        "  ✓ grant reads: applied 1 of 1  policy.yaml:4",
        "  ✓ grant refunds: applied 1 of 2; condition held 1, did not hold 1, failed 0  policy.yaml:8",
    ]


def test_coverage_is_in_the_order_of_the_file_and_one_policy_follows_the_other(folder: Path) -> None:
    grant = "  - {id: %s, workloads: ['spiffe://acme.test/x'], server: %s, tools: [x]}\n"
    (folder / "policy.yaml").write_text(POLICY + grant % ("mails", "mail") + grant % ("lasts", "ledger"))
    (folder / "other.yaml").write_text("version: 1\ntrust_domains: [acme.test]\ngrants:\n" + grant % ("one", "mail"))
    (folder / "other.test.yaml").write_text(
        f"policy: other.yaml\ntests: [{{name: none, {WHO}, call: {{server: mail, tool: x}}, expect: {{decision: deny}}}}]"
    )

    lines = run("--coverage").stdout.splitlines()
    first = [line.split(":")[0] for line in lines]
    assert first == [
        "other.test.yaml", "policy.test.yaml",
        "", "coverage of other.yaml", "  ✗ grant one",
        "", "coverage of policy.yaml", "  ✓ grant reads", "  ✓ grant refunds", "  ✗ grant mails", "  ✗ grant lasts",
        "", "4 passed",
    ]  # fmt: skip


def test_says_that_a_policy_is_no_test(folder: Path) -> None:
    result = run("policy.yaml")

    assert result.exit_code == 2
    assert result.stderr == (
        "policy.yaml: is a policy and no test of one; tests stand in files such as policy.test.yaml\n"
    )
    assert result.stdout == ""
    # What is meant to be a test is told its mistakes.
    (folder / "policy.test.yaml").write_text(TESTS + "trust_domains: [acme.test]\n")
    assert "unknown key 'trust_domains'" in run().stderr


@pytest.mark.usefixtures("folder")
def test_too_little_coverage_fails() -> None:
    assert run("--min-coverage", "100").exit_code == 0
    result = run("--min-coverage", "67", "-k", "refunds")

    assert result.exit_code == 1
    assert "✗ grant reads: applied 0 of 0  never exercised" in result.stdout
    assert result.stderr == "coverage of policy.yaml is below 67 %\n"
    assert run("--min-coverage", "66", "-k", "refunds").exit_code == 0


def test_coverage_adds_up_over_the_files_that_test_one_policy(folder: Path) -> None:
    first, second = TESTS.split("  - name: refunds")
    (folder / "policy.test.yaml").write_text(first)
    (folder / "more.test.yaml").write_text(first[: first.index("  - name")] + "  - name: refunds" + second)

    (policy,) = found("--coverage")["coverage"]
    assert policy["percent"] == 100
    assert [(rule["id"], rule["missing"]) for rule in policy["rules"]] == [("reads", []), ("refunds", [])]


def test_json_tells_the_same(folder: Path) -> None:
    (folder / "policy.test.yaml").write_text(WRONG)

    told = found()
    assert (told["passed"], told["failed"], told["problems"]) == (2, 1, [])
    (file,) = told["files"]
    assert [(test["name"], test["line"], test["passed"]) for test in file["tests"]] == [
        ("reading", 3, True),
        ("refunds: small", 11, True),
        ("refunds: large", 12, False),
    ]
    assert file["tests"][2]["mismatches"] == [{"what": "reason", "expected": "denied", "got": "no_grant"}]
    assert "coverage" not in told


def test_json_goes_to_stdout_alone_even_when_a_file_is_bad(folder: Path) -> None:
    (folder / "bad.test.yaml").write_text("tests: 1\n")

    result = run("--format", "json")
    assert result.exit_code == 2
    assert json.loads(result.stdout)["problems"]


def test_junit_counts_tests_failures_and_errors(folder: Path) -> None:
    (folder / "policy.test.yaml").write_text(WRONG.replace("name: large", "name: large <&> '"))
    (folder / "bad.test.yaml").write_text("tests: 1\n")

    assert run("--junit", "out.xml").exit_code == 2
    root = ET.fromstring((folder / "out.xml").read_bytes())  # noqa: S314  # our own
    assert (root.tag, root.get("tests"), root.get("failures"), root.get("errors")) == ("testsuites", "5", "1", "2")
    bad, good = root
    assert [suite.get("name") for suite in root] == ["bad.test.yaml", "policy.test.yaml"]
    assert [error.get("message") for error in bad.findall("testcase/error")] == [
        "bad.test.yaml:1:1: key 'policy' is missing",
        "bad.test.yaml:1:8: tests must be a list, not the number 1",
    ]
    assert [case.get("name") for case in good][:2] == ["reading", "refunds: small"]
    (failure,) = good.findall("testcase/failure")
    assert failure.get("message") == "reason: expected denied, got no_grant"
    assert "args.amount = 500" in (failure.text or "")
    assert all(float(case.get("time") or "x") >= 0 for case in good)


def test_says_that_the_report_cannot_be_written(folder: Path) -> None:
    result = run("--junit", str(folder / "no" / "out.xml"))

    assert result.exit_code == 2
    assert "out.xml: cannot be written: No such file or directory" in result.stderr


@pytest.mark.usefixtures("folder")
def test_a_path_that_is_not_there_is_a_wrong_command_line() -> None:
    result = run("nowhere")

    assert result.exit_code == 2
    assert "'nowhere' does not exist" in result.stderr


def test_refuses_more_test_files_than_anyone_has(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trials, "MAX_TEST_FILES", 1)
    (folder / "b.test.yaml").write_text(TESTS)

    result = run()
    assert result.exit_code == 2
    assert "more than 1 test files" in result.stderr


def test_refuses_a_folder_with_more_files_than_a_walk_should_take(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trials, "MAX_ENTRIES", 1)

    result = run(str(folder))
    assert result.exit_code == 2
    assert "name the tests, or a smaller folder" in result.stderr


def test_nothing_that_is_printed_moves_the_cursor(folder: Path) -> None:
    (folder / "policy.test.yaml").write_text(WRONG.replace("name: large", "name: 'large \u2066'"))

    # Not even a name may hold such a character.
    result = run()
    assert result.exit_code == 2
    assert "U+2066" in result.stderr


@pytest.fixture
def watching(folder: Path) -> Iterator["subprocess.Popen[str]"]:
    command = [sys.executable, "-m", "callgate", "test", "--watch"]
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        yield process
        process.kill()


def _until(process: "subprocess.Popen[str]", words: str) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        if words in line:
            return
    raise AssertionError(f"ended without saying {words!r}")


def test_watch_runs_again_whenever_a_test_or_a_policy_changes(folder: Path, watching: "subprocess.Popen[str]") -> None:
    _until(watching, "policy.test.yaml: 3 passed")
    (folder / "policy.test.yaml").write_text(WRONG)
    _until(watching, "policy.test.yaml: 2 passed, 1 failed")
    (folder / "policy.yaml").write_text(POLICY.replace("500", "5"))
    _until(watching, "policy.test.yaml: 1 passed, 2 failed")
    (folder / "policy.yaml").write_text("broken")
    _until(watching, "policy.yaml:1:1:")
    (folder / "policy.yaml").write_text(POLICY)
    (folder / "new.test.yaml").write_text(TESTS)
    _until(watching, "new.test.yaml: 3 passed")


def test_watch_ends_without_a_fuss_when_interrupted(watching: "subprocess.Popen[str]") -> None:
    _until(watching, "3 passed")
    os.kill(watching.pid, signal.SIGINT)

    rest = watching.communicate(timeout=30)[0]
    assert watching.returncode == 0
    assert "Traceback" not in rest
