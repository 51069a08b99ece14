import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from callgate.cli import main
from callgate.screening.pins import lock_of, read_lock, write_lock
from callgate.wire.json_strict import JsonValue

CONFIG = """\
listen: 127.0.0.1:8443
issuer: https://gate.acme.test
policy: policy.yaml
servers:
  ledger: {url: https://ledger.acme.test/mcp, lock: pins/ledger.lock.json}
  mail: {url: https://mail.acme.test/mcp}
audit: {folder: audit}
"""


def tool(name: str, **more: JsonValue) -> dict[str, JsonValue]:
    return {"name": name, "description": f"Does {name}.", "inputSchema": {"type": "object"}, **more}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "callgate.yaml").write_text(CONFIG)
    (tmp_path / "pins").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def listed(folder: Path) -> Callable[..., str]:
    def write(*tools: JsonValue) -> str:
        (folder / "tools.json").write_text(json.dumps({"result": {"tools": list(tools)}}))
        return "tools.json"

    return write


def pin(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["pin", *arguments])


def test_writes_the_lock_file_that_callgate_yaml_names(folder: Path, listed: Callable[..., str]) -> None:
    result = pin("ledger", "--from", listed(tool("b"), tool("a")))

    assert result.exit_code == 0
    assert result.stdout.splitlines() == ["+ a: new", "+ b: new", "pins/ledger.lock.json: 2 tools written; 2 new"]
    assert read_lock((folder / "pins/ledger.lock.json").read_bytes()) == lock_of("ledger", [tool("a"), tool("b")])


def test_writes_beside_callgate_yaml_where_that_names_none(folder: Path, listed: Callable[..., str]) -> None:
    assert pin("mail", "--from", listed(tool("send"))).exit_code == 0
    assert (folder / "mail.lock.json").exists()


def test_writes_where_it_is_told_and_needs_no_callgate_yaml(folder: Path, listed: Callable[..., str]) -> None:
    (folder / "callgate.yaml").unlink()

    assert pin("ledger", "--from", listed(tool("a")), "--out", "here.json").exit_code == 0
    assert (folder / "here.json").exists()


def test_says_what_is_new_changed_and_gone(listed: Callable[..., str]) -> None:
    pin("ledger", "--from", listed(tool("a"), tool("b")))

    result = pin("ledger", "--from", listed(tool("b", description="Does more."), tool("c")))

    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[:3] == ["+ c: new", "- a: gone", "~ b: 1 change"]
    assert lines[-1] == "pins/ledger.lock.json: 2 tools written; 1 new, 1 changed, 1 gone"
    assert '    -  "description": "Does b.",' in lines
    assert '    +  "description": "Does more.",' in lines


def test_a_second_time_nothing_differs(folder: Path, listed: Callable[..., str]) -> None:
    pin("ledger", "--from", listed(tool("a")))
    before = (folder / "pins/ledger.lock.json").read_bytes()

    assert pin("ledger", "--from", listed(tool("a"))).stdout == "pins/ledger.lock.json: 1 tool written; as before\n"
    assert (folder / "pins/ledger.lock.json").read_bytes() == before


def test_a_difference_is_shown_and_nothing_written(folder: Path, listed: Callable[..., str]) -> None:
    pin("ledger", "--from", listed(tool("a")))
    before = (folder / "pins/ledger.lock.json").read_bytes()

    assert pin("ledger", "--diff", "--from", listed(tool("a"))).exit_code == 0
    result = pin("ledger", "--diff", "--from", listed(tool("a", title="A")))
    assert result.exit_code == 1
    assert "~ a: 1 change" in result.stdout
    assert result.stdout.endswith("pins/ledger.lock.json: 1 tool; 1 changed\n")
    assert (folder / "pins/ledger.lock.json").read_bytes() == before


def test_a_difference_as_json_names_places_and_no_text(listed: Callable[..., str]) -> None:
    pin("ledger", "--from", listed(tool("a"), tool("gone")))

    result = pin("ledger", "--diff", "--format", "json", "--from", listed(tool("a", description="Other."), tool("new")))

    told = json.loads(result.stdout)
    assert told["changed"] == {"a": [{"path": "description", "what": "changed (7 → 6 characters)"}]}
    assert (told["new"], told["gone"], told["differs"], told["written"]) == (["new"], ["gone"], True, False)
    assert "Other." not in result.stdout


@pytest.mark.parametrize(
    "text", ["\x1b[2J\x1b[31m", "\u202eevil", "a\u200bb", "tag\U000e0041s", "line\nbreak", "\u2028x"]
)
def test_what_a_tool_server_wrote_moves_no_cursor(listed: Callable[..., str], text: str) -> None:
    pin("ledger", "--from", listed(tool("a")))

    result = pin("ledger", "--diff", "--from", listed(tool("a", description=f"Does {text}.")))

    assert result.exit_code == 1
    assert all(line.isprintable() for line in result.stdout.split("\n"))


def test_points_out_text_that_is_not_what_it_looks_like(listed: Callable[..., str]) -> None:
    result = pin("ledger", "--from", listed(tool("a", description="Does \u202ea\u202c.")))

    assert "! a has text that is not what it looks like: bidi 2" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("ledger", "--from", "nowhere.json"), "cannot be read"),
        (("ledger", "--diff", "--from", "tools.json"), "ledger.lock.json cannot be read"),
        (("mail", "--from", "bad.json"), "is not JSON"),
        (("mail", "--from", "empty.json"), "has no list 'tools'"),
        (("mail", "--from", "twice.json"), "lists two tools of this name"),
        (("mail", "--from", "unusable.json"), "inputSchema"),
        (("mail", "--from", "tools.json", "--out", "no/such/folder.json"), "cannot write"),
        (("mail", "--diff", "--from", "tools.json", "--out", "other.json"), "another server"),
        (("leger", "--from", "tools.json"), "did you mean 'ledger'?"),
        (("mail", "--from", "http://mail.acme.test/mcp"), "must start with https://"),
        (("mail", "--from", "http://127.0.0.1:1/mcp"), "gives no list of tools: it cannot be reached"),
        (("mail", "--through", "https://localhost:1"), "--gate is missing"),
        (("mail", "--through", "https://localhost:1/mail/mcp", "--gate", "spiffe://acme.test/gate"), "the gate alone"),
        (("mail", "--through", "https://localhost:1", "--gate", "gate"), "--gate"),
    ],
)
def test_says_in_a_sentence_why_there_is_nothing_to_write(
    folder: Path, listed: Callable[..., str], arguments: tuple[str, ...], why: str
) -> None:
    listed(tool("a"))
    (folder / "bad.json").write_text("{")
    (folder / "empty.json").write_text("{}")
    (folder / "twice.json").write_text(json.dumps({"tools": [tool("a"), tool("a")]}))
    (folder / "unusable.json").write_text(json.dumps({"tools": [{"name": "a"}]}))
    (folder / "other.json").write_bytes(write_lock(lock_of("other", [])))

    result = pin(*arguments)

    assert result.exit_code == 2
    assert why in " ".join(result.stderr.split())
    assert "Traceback" not in result.stderr


def test_a_broken_lock_file_is_not_written_over(folder: Path, listed: Callable[..., str]) -> None:
    (folder / "pins/ledger.lock.json").write_text("{}")

    result = pin("ledger", "--from", listed(tool("a")))

    assert result.exit_code == 2
    assert (folder / "pins/ledger.lock.json").read_text() == "{}"


def test_a_callgate_yaml_with_mistakes_is_told_of(folder: Path, listed: Callable[..., str]) -> None:
    (folder / "callgate.yaml").write_text("listen: 5\n")

    result = pin("ledger", "--from", listed(tool("a")))

    assert result.exit_code == 2
    assert "callgate.yaml" in result.stderr


def test_without_callgate_yaml_it_must_be_told_where_to_look(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    assert "--from FILE or URL" in pin("ledger").stderr
