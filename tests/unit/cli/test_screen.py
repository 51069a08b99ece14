"""`callgate screen`: what would become of an answer, of arguments, of a statement."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from callgate.cli.screen import screen
from callgate.cli.screened import MAX_BYTES

POLICY = """\
version: 1
trust_domains: [acme.test]
tools:
  - {server: db, tools: [query], sql: {query: postgres}}
screening:
  - server: db
    mask: [email, {entity: card, mode: partial}]
    mask_arguments: [{entity: card, mode: deny}]
packs:
  - {id: nobody-drops, pack: destructive-sql@1, server: db, except: {tools: [migrate]}}
grants:
  - {id: support, workloads: ["spiffe://acme.test/support"], server: db, tools: [query], unmask: [email]}
"""
CARD = "4111 1111 1111 1111"
MAIL = "bob@corp.example"
MASKED, NOTHING, REFUSED, WRONG = 1, 0, 3, 2


@pytest.fixture
def policy(tmp_path: Path) -> str:
    path = tmp_path / "policy.yaml"
    path.write_text(POLICY)
    return str(path)


def run(said: object, *options: str) -> Result:
    text = said if isinstance(said, str) else json.dumps(said)
    return CliRunner().invoke(screen, options, input=text.encode())


def test_masks_what_is_named_without_a_policy() -> None:
    result = run(f"write to {MAIL} or call\n", "--mask", "email")

    assert (result.exit_code, result.stdout) == (MASKED, "write to [email] or call\n")
    assert result.stderr == "masked: email 1\n"


def test_passes_text_on_byte_for_byte_where_nothing_is_found() -> None:
    result = run("a\tb \u2014 c\r\n", "--mask", "all")

    assert (result.exit_code, result.stdout_bytes) == (NOTHING, "a\tb \u2014 c\r\n".encode())
    assert result.stderr == "nothing found\n"


def test_masks_structured_content_as_its_policy_says(policy: str) -> None:
    result = run({"rows": [{"mail": MAIL, "card": CARD}]}, "--policy", policy, "--server", "db")

    assert result.exit_code == MASKED
    assert json.loads(result.stdout) == {"rows": [{"mail": "[email]", "card": "**** **** **** 1111"}]}


def test_a_workload_whose_grant_unmasks_sees_more(policy: str) -> None:
    who = ("--tool", "query", "--workload", "spiffe://acme.test/support")
    result = run({"mail": MAIL}, "--policy", policy, "--server", "db", *who)

    assert (result.exit_code, json.loads(result.stdout)) == (NOTHING, {"mail": MAIL})


def test_reads_a_message_of_a_tool_server_as_one(policy: str) -> None:
    failure = {"jsonrpc": "2.0", "id": 7, "error": {"code": 5, "message": f"no {MAIL}"}}
    result = run(failure, "--policy", policy, "--server", "db")

    assert json.loads(result.stdout)["error"] == {"code": 5, "message": "no [email]"}


def test_reads_a_result_as_one(policy: str) -> None:
    said = {"content": [{"type": "text", "text": MAIL}], "isError": True}
    result = run(said, "--policy", policy, "--server", "db")

    assert json.loads(result.stdout) == {"content": [{"type": "text", "text": "[email]"}], "isError": True}


def test_an_answer_that_a_rule_denies_is_shown_nowhere() -> None:
    result = run({"card": CARD}, "--mask", "card=deny")

    assert (result.exit_code, result.stdout) == (REFUSED, "")
    assert result.stderr == "masked: card 1\nrefused: answer_denied: card\n"


def test_arguments_that_a_rule_denies_are_refused(policy: str) -> None:
    result = run({"query": CARD}, "--policy", policy, "--server", "db", "--tool", "other", "--arguments")

    assert result.exit_code == REFUSED
    assert "refused: arguments_denied" in result.stderr
    assert CARD not in result.output


def test_what_a_person_has_to_agree_to_is_told_and_passed_on(tmp_path: Path) -> None:
    path = tmp_path / "held.yaml"
    path.write_text(POLICY.replace("mode: deny", "mode: hold"))
    options = ("--policy", str(path), "--server", "db", "--tool", "query", "--arguments")

    result = run({"query": f"select '{CARD}'"}, *options)
    assert (result.exit_code, json.loads(result.stdout)) == (MASKED, {"query": f"select '{CARD}'"})
    assert result.stderr == "held for a person to agree: card\n"
    assert json.loads(run({"query": CARD}, *options, "--format", "json").stdout)["held"] == ["card"]


def test_a_call_that_breaks_a_pack_is_denied_with_the_sentence_of_the_rule(policy: str) -> None:
    result = run({"query": "DROP TABLE users"}, "-p", policy, "--server", "db", "--tool", "query", "--arguments")

    assert (result.exit_code, result.stdout) == (REFUSED, "")
    assert "denied by nobody-drops: destructive-sql@1 drop: " in result.stderr


def test_a_tool_that_the_pack_leaves_out_is_not_denied(policy: str) -> None:
    result = run({"query": "DROP TABLE users"}, "-p", policy, "--server", "db", "--tool", "migrate", "--arguments")

    assert result.exit_code == NOTHING


def test_tells_a_program_all_of_it_as_json() -> None:
    found = json.loads(run(f"{MAIL}\u200b", "--mask", "email", "--format", "json").stdout)

    assert found == {
        "version": 1,
        "verdict": "found",
        "output": "[email]",
        "masked": {"email": 1},
        "held": [],
        "deceptive": {"zero_width": 1},
        "broken": [],
        "refused": None,
    }


def test_tells_a_program_why_an_answer_is_refused() -> None:
    found = json.loads(run(CARD, "--mask", "card=deny", "--format", "json").stdout)

    assert (found["verdict"], found["output"]) == ("refused", None)
    assert found["refused"] == {"reason": "answer_denied", "detail": "card"}


def test_a_destructive_statement_is_found_with_what_makes_it_one() -> None:
    result = run("DROP TABLE users", "--sql", "postgres")

    assert result.exit_code == MASKED
    assert result.stdout.startswith("destructive: drop\n  drop: ")


def test_a_harmless_statement_is_clean() -> None:
    result = run("SELECT name FROM users WHERE id = 1", "--sql", "postgres", "--format", "json")

    found = json.loads(result.stdout)
    assert (result.exit_code, found["verdict"]) == (NOTHING, "clean")
    assert found["reading"]["statements"] == ["select"]
    assert found["reading"]["tables"] == ["users"]


@pytest.mark.parametrize(
    ("said", "form", "status"),
    [("ls -l", "--shell", NOTHING), ("rm -rf /srv", "--shell", MASKED), (["ls", "-l"], "--argv", NOTHING),
     (["rm", "-rf", "/srv"], "--argv", MASKED)],
)  # fmt: skip
def test_reads_a_command_in_either_form(said: object, form: str, status: int) -> None:
    assert run(said, form).exit_code == status


def test_looks_for_text_that_lies_alone() -> None:
    result = run(f"{MAIL} p\u0430y\x1b[8m now", "--text")

    assert (result.exit_code, result.stdout) == (MASKED, f"{MAIL} p\u0430y now")
    assert result.stderr == "deceptive: ansi 1, homoglyph 1\n"


def test_a_file_is_read_instead_of_standard_input(tmp_path: Path) -> None:
    (tmp_path / "answer.txt").write_text(MAIL)

    assert run("", "--mask", "email", str(tmp_path / "answer.txt")).stdout == "[email]"


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ((), "say by what to screen: --mask email,card, or --server and what names a policy"),
        (("--tool", "x"), "--server is missing: whose answers these are"),
        (("--sql", "postgre"), "did you mean 'postgres'?"),
        (("--mask", "emial"), "did you mean 'email'?"),
        (("--mask", "email=blur"), "Input should be 'redact', 'partial', 'pseudonym', 'drop' or 'deny'"),
        (("--mask", "email", "--server", "db"), "--mask is for a trial without a policy: leave out what names one"),
        (("--shell", "--argv"), "--shell and --argv exclude each other"),
        (("--text", "--mask", "email"), "--text asks no policy and masks nothing"),
        (("--argv",), "an argument list is a JSON array of texts"),
        (("--arguments", "--mask", "email"), "the arguments of a call must be a JSON object"),
        (("--mask", "email", "no-such-file"), "no-such-file: No such file or directory"),
    ],
)
def test_a_wrong_command_line_is_told_what_to_do(options: tuple[str, ...], sentence: str) -> None:
    result = run("text", *options)

    assert result.exit_code == WRONG
    assert sentence in result.stderr


def test_a_server_that_the_policy_does_not_know_is_a_slip(policy: str) -> None:
    result = run("x", "--policy", policy, "--server", "dbb")

    assert result.exit_code == WRONG
    assert "the policy says nothing of server 'dbb'; did you mean 'db'?" in result.stderr


def test_a_policy_that_is_no_good_is_not_screened_by(tmp_path: Path) -> None:
    (tmp_path / "policy.yaml").write_text("version: 2\n")
    result = run("x", "--policy", str(tmp_path / "policy.yaml"), "--server", "db")

    assert result.exit_code == WRONG
    assert "policy.yaml:1" in result.stderr


def test_what_a_gate_would_not_take_is_refused() -> None:
    assert run("a" * (MAX_BYTES + 1), "--mask", "email").exit_code == WRONG
    assert "is not UTF-8" in CliRunner().invoke(screen, ["--mask", "email"], input=b"\xff").stderr


def test_nothing_that_moves_a_cursor_goes_to_a_terminal(tmp_path: Path) -> None:
    colourful = POLICY.replace("packs:\n", "  - {server: log, text: {results: pass}}\npacks:\n")
    (tmp_path / "policy.yaml").write_text(colourful)
    terminal, side = os.openpty()
    try:
        subprocess.run(
            [sys.executable, "-m", "callgate", "screen", "-p", str(tmp_path / "policy.yaml"), "--server", "log"],
            input=b"\x1b[31mred\x1b[0m\tline\nnext",
            stdout=side,
            stderr=subprocess.DEVNULL,
            check=False,
        )
        shown = os.read(terminal, 4096)
    finally:
        os.close(terminal)
        os.close(side)
    assert shown.splitlines() == [rb"\x1b[31mred\x1b[0m    line", b"next"]
