"""A log in which an attacker wrote what they liked: each command that shows it ends, and no escape reaches a terminal."""

import os
from collections.abc import Sequence
from pathlib import Path

import orjson
import pytest
from click.testing import CliRunner, Result

from callgate.cli import main
from support.audit_logs import ORIGIN, MadeLog
from support.tampering import KEY

# A colour, a change of the reading direction, a control sequence in one character, an end of line, DEL.
EVIL = "\x1b[31m\u202e\u009b31m\x00\r\n\u2028\x7f"
SESSION = "5e" * 8
POLICY = """\
version: 1
trust_domains: [acme.test]
grants: [{id: all, workloads: ["spiffe://acme.test/**"], server: ledger, tools: ["*"]}]
"""

READING = [
    *(["log", "--all", "--format", form] for form in ("table", "json", "csv", "ocsf")),
    ["log", "--all", "--format", "json", "-n", "5"],
    *(["session", "list", "--format", form] for form in ("table", "json")),
    *(["session", "show", SESSION, "--format", form] for form in ("text", "json")),
    ["session", "play", SESSION, "--speed", "1e12"],
    ["session", "export", SESSION, "-o", "session.html"],
    *(["policy", "diff", "-", "policy.yaml", "--format", form] for form in ("text", "json")),
    *(["policy", "suggest", "--format", form] for form in ("text", "yaml", "json")),
    *(["explain", "--decision", "DECISION", "--format", form] for form in ("tree", "json", "mermaid")),
    ["audit", "prove", "DECISION", "--key", str(KEY.verifier)],
]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    log = MadeLog()
    log.start()
    for _ in range(3):
        log.call()
    log.refusal()
    log.write(tmp_path / "audit", KEY)
    monkeypatch.chdir(tmp_path)
    Path("policy.yaml").write_text(POLICY)
    return tmp_path / "audit"


def segment(folder: Path) -> Path:
    (found,) = (folder / "log").iterdir()
    return found


def records(folder: Path) -> list[dict[str, object]]:
    return [orjson.loads(line) for line in segment(folder).read_bytes().splitlines()]


def write(folder: Path, changed: Sequence[dict[str, object]]) -> None:
    segment(folder).write_bytes(b"".join(orjson.dumps(record) + b"\n" for record in changed))


def run(folder: Path, words: Sequence[str]) -> Result:
    decision = next(str(record["decision"]) for record in records(folder) if record["kind"] == "intent")
    given = [decision if word == "DECISION" else word for word in words]
    # With colour nothing is taken out of what is written.
    return CliRunner().invoke(main, [*given, "--log", str(folder)], color=True)


def is_told(result: Result) -> bool:
    """No fault of ours: an answer, or a sentence on stderr."""
    return (result.exception is None or isinstance(result.exception, SystemExit)) and result.exit_code in {0, 1, 2}


@pytest.mark.parametrize("words", READING, ids=" ".join)
@pytest.mark.parametrize("kind", [[], {}, None, 7], ids=repr)
def test_a_kind_that_is_no_text_is_no_kind(folder: Path, words: list[str], kind: object) -> None:
    write(folder, [*records(folder), {**records(folder)[-1], "seq": len(records(folder)), "kind": kind}])
    assert is_told(run(folder, words))


@pytest.mark.parametrize("words", READING, ids=" ".join)
def test_a_record_that_is_too_deep_to_be_shown_is_none(folder: Path, words: list[str]) -> None:
    lines = segment(folder).read_bytes().splitlines()
    lines[-1] = lines[-1][:-1] + b',"x":' + b"[" * 300 + b"]" * 300 + b"}"
    segment(folder).write_bytes(b"\n".join(lines) + b"\n")
    decision = orjson.loads(lines[2])["decision"]
    given = [decision if word == "DECISION" else word for word in words]
    assert is_told(CliRunner().invoke(main, [*given, "--log", str(folder)]))


def test_verify_tells_of_a_record_that_is_too_deep(folder: Path) -> None:
    lines = segment(folder).read_bytes().splitlines()
    lines[3] = lines[3][:-1] + b',"x":' + b"[" * 300 + b"]" * 300 + b"}"
    segment(folder).write_bytes(b"\n".join(lines) + b"\n")
    result = CliRunner().invoke(main, ["audit", "verify", str(folder), "--key", str(KEY.verifier)])
    assert result.exit_code == 1
    assert ":4: unreadable" in result.stdout


@pytest.mark.parametrize("words", READING, ids=" ".join)
@pytest.mark.parametrize("name", ["caller", "server", "tool", "method", "reason", "trace", "time", "session", "token"])
def test_no_text_of_a_record_moves_a_cursor(folder: Path, words: list[str], name: str) -> None:
    changed = records(folder)
    for record in changed:
        if name in record and record["kind"] in {"intent", "refusal"}:
            said = record[name]
            # What stands before it lets it get as far as it can.
            record[name] = {**said, "scope": EVIL} if isinstance(said, dict) else f"{said}{EVIL}"
    write(folder, changed)
    result = run(folder, words)
    assert is_told(result)
    shown = (result.stdout + result.stderr).replace("\r\n", "\n").replace("\n", "")
    assert shown.isprintable(), [char for char in shown if not char.isprintable()]


@pytest.mark.parametrize("words", READING, ids=" ".join)
@pytest.mark.parametrize("place", ["log/0000000000000000.jsonl", "log/0000000000000099.jsonl"])
def test_a_pipe_in_place_of_a_file_of_the_log_keeps_nobody_waiting(folder: Path, words: list[str], place: str) -> None:
    decision = str(records(folder)[2]["decision"])
    given = [decision if word == "DECISION" else word for word in words]
    (folder / place).unlink(missing_ok=True)
    os.mkfifo(folder / place)
    result = CliRunner().invoke(main, [*given, "--log", str(folder)])
    assert result.exit_code == 2
    assert result.stderr


def test_a_key_beside_the_log_that_is_a_pipe_keeps_nobody_waiting(folder: Path) -> None:
    os.mkfifo(folder / "key.pub")
    result = CliRunner().invoke(main, ["audit", "prove", "1", "--log", str(folder)])
    assert result.exit_code == 2


@pytest.mark.parametrize(
    "words",
    [
        ["log", "--log", "x" * 300],
        ["audit", "verify", "audit", "--key", f"{'x' * 300}+00000000+AAAA"],
        ["audit", "verify", "audit", "--key", str(KEY.verifier), "--checkpoint", "loop"],
        ["session", "export", SESSION, "--log", "audit", "-o", "policy.yaml/session.html"],
        ["session", "export", SESSION, "--log", "audit", "-o", "loop/session.html"],
    ],
    ids=lambda words: " ".join(words)[:40],
)
def test_what_cannot_be_a_file_is_told_in_a_sentence(folder: Path, words: list[str]) -> None:
    (folder.parent / "loop").symlink_to("loop")
    result = CliRunner().invoke(main, words)
    assert isinstance(result.exception, SystemExit)
    assert result.exit_code in {1, 2}
    assert "Error: " in result.stderr


def test_a_suggested_policy_with_an_odd_moment_in_it_has_no_line_of_the_attackers(folder: Path) -> None:
    changed = records(folder)
    for record in changed:
        # datetime.fromisoformat takes any character between date and time.
        record["time"] = str(record["time"]).replace("T", "\n")
    write(folder, changed)
    result = run(folder, ["policy", "suggest", "--format", "yaml"])
    assert result.exit_code == 0
    assert not [line for line in result.stdout.splitlines() if line.startswith("12:00:")]


def test_the_log_under_attack_is_one_that_commands_read(folder: Path) -> None:
    assert ORIGIN in segment(folder).read_text()
    # 1: by the other policy, the refusal is none.
    assert {run(folder, words).exit_code for words in READING} == {0, 1}
