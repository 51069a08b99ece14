"""`callgate log` on logs of made-up calls."""

import csv
import io
import re
from pathlib import Path

import orjson
import pytest
from click.testing import CliRunner, Result

from callgate.audit.chain import Kind
from callgate.audit.checkpoint import CheckpointKey
from callgate.cli import main
from callgate.wire.json_strict import JsonObject
from support.audit_logs import ORIGIN, MadeLog

# Escape sequences, line feeds and characters that turn the reading direction, as agents choose their tools' names.
HOSTILE = "x\x1b[2J\x1b]0;owned\x07\r\n\u202egnp.exe\u2028\x9b31m\x7f"
NO_TEXT_OF_OURS = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two agents' calls, a denial, a peer without certificate, and what was only counted."""
    log = MadeLog()
    log.start()
    for number in range(6):
        log.call(tool="get_invoice", caller=f"spiffe://acme.test/ns/billing/sa/agent{number % 2}")
    log.refusal(tool="wipe_ledger", session="77" * 8)
    log.call(tool="refund", status="tool_error")
    log.handshake_refusal()
    counts = [{"stage": "accept", "reason": "tls_no_certificate", "count": 12_004}]
    log.add(Kind.SUMMARY, since="2026-01-07T12:00:00.000000000Z", until="2026-01-07T12:00:01.000000000Z", counts=counts)
    log.add(Kind.STOP)
    log.write(tmp_path / "audit", CheckpointKey.generate(ORIGIN), segment_records=7)
    return tmp_path / "audit"


def run(folder: Path, *flags: str) -> Result:
    return CliRunner().invoke(main, ["log", "--log", str(folder), *flags])


def told(folder: Path, *flags: str) -> list[JsonObject]:
    result = run(folder, "--format", "json", *flags)
    assert result.exit_code == 0, result.output
    return [orjson.loads(line) for line in result.stdout.splitlines()]


def tools(folder: Path, *flags: str) -> list[object]:
    return [entry.get("tool") for entry in told(folder, *flags)]


def test_all_requests_are_told_in_order_with_their_outcomes(folder: Path) -> None:
    entries = told(folder)
    assert [entry["kind"] for entry in entries] == ["intent"] * 6 + ["refusal", "intent", "refusal"]
    assert [entry["status"] for entry in entries] == ["answered"] * 6 + ["refused", "tool_error", "refused"]
    assert [entry["verdict"] for entry in entries] == ["allow"] * 6 + ["deny", "allow", "deny"]
    assert all(re.fullmatch("[0-9a-f]{32}", str(entry["trace"])) for entry in entries)


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (["--agent", "spiffe://acme.test/ns/*/sa/agent1"], ["get_invoice"] * 3),
        (["--agent", "agent0"], ["get_invoice"] * 3),
        (["--tool", "re*"], ["refund"]),
        (["--tool", "re*", "--tool", "wipe_*"], ["wipe_ledger", "refund"]),
        (["--decision", "deny"], ["wipe_ledger", None]),
        (["--reason", "tls_no_certificate"], [None]),
        (["--status", "tool_error"], ["refund"]),
        (["--session", "7777"], ["wipe_ledger"]),
        (["--server", "ledger", "--decision", "deny"], ["wipe_ledger"]),
        (["--method", "tools/call", "-n", "2"], ["wipe_ledger", "refund"]),
        (["-n", "1"], [None]),
        (["-n", "0"], []),
        (["-n", "all", "--status", "tool_error"], ["refund"]),
        (["--since", "2026-01-07T12:00:00.7Z", "--until", "2026-01-07T12:00:00.75Z"], ["wipe_ledger"]),
        (["--until", "2020-01-01T00:00:00Z"], []),
        (["--since", "2026-01-07T12:00:00.7Z", "-n", "2"], ["refund", None]),
        (["--user", "nobody"], []),
    ],
)
def test_filters_leave_out_what_is_not_wanted(folder: Path, flags: list[str], expected: list[str | None]) -> None:
    assert tools(folder, *flags) == expected


def test_a_trace_id_and_a_token_id_lead_to_the_record(folder: Path) -> None:
    (refund,) = told(folder, "--tool", "refund")
    token = refund["token"]
    assert isinstance(token, dict)
    for flags in (["--trace-id", refund["trace"]], ["--jti", token["jti"]], ["--id", str(refund["decision"])[:8]]):
        assert told(folder, *map(str, flags)) == [refund]


def test_a_record_leads_to_its_trace(folder: Path) -> None:
    (refund,) = told(folder, "--tool", "refund", "--trace-url", "https://jaeger.test/trace/{trace_id}")
    assert refund["link"] == f"https://jaeger.test/trace/{refund['trace']}"
    table = run(folder, "--tool", "refund", "--format", "table", "--trace-url", "https://jaeger.test/trace/{trace_id}")
    assert f"\n  https://jaeger.test/trace/{refund['trace']}\n" in table.stdout


@pytest.mark.parametrize(
    "template", ["https://jaeger.test/trace/", "javascript:{trace_id}", "https://j/\x1b[2J{trace_id}"]
)
def test_an_address_that_leads_to_no_trace_is_refused(folder: Path, template: str) -> None:
    result = run(folder, "--trace-url", template)
    assert result.exit_code == 2
    assert "--trace-url" in result.stderr
    assert "\x1b" not in result.stderr


def test_the_table_says_who_what_when_how_it_was_decided_and_how_long_it_took(folder: Path) -> None:
    lines = run(folder, "--format", "table", "--utc").stdout.splitlines()
    assert lines[0].split() == ["TIME", "(UTC)", "AGENT", "SERVER/TOOL", "DECISION", "TOOK", "ID"]
    first, denied, failed, stranger = lines[1], lines[7], lines[8], lines[9]
    assert re.fullmatch(
        r"2026-01-07 12:00:00  acme\.test/ns/billing/sa/agent0 +ledger/get_invoice +allow answered +1\.5 ms  [0-9a-f]{8}",
        first,
    )
    assert "ledger/wipe_ledger" in denied
    assert "deny denied" in denied
    assert "allow tool_error" in failed
    assert "203.0.113.9:4711" in stranger
    assert "deny tls_no_certificate" in stranger


def test_the_gates_own_doings_are_rows_when_asked_for(folder: Path) -> None:
    assert "-- start" not in run(folder, "--format", "table").stdout
    lines = run(folder, "--format", "table", "--all", "--utc").stdout.splitlines()
    assert "-- start version=0.1.0" in lines[1]
    assert lines[-1].endswith("-- stop")
    assert "12,004 refusals (tls_no_certificate 12,004)" in lines[-2]
    assert [entry["kind"] for entry in told(folder, "--kind", "start", "--kind", "stop")] == ["start", "stop"]


def test_what_was_only_counted_is_said_below(folder: Path) -> None:
    said = "and 12,004 refusals (tls_no_certificate 12,004) that were counted and have no record of their own"
    assert said in run(folder).stderr
    assert said in run(folder, "-n", "1").stderr
    assert said not in run(folder, "--decision", "allow").stderr


def test_where_there_are_more_the_way_to_them_is_said(folder: Path) -> None:
    assert "the last 2 of more; -n 20 shows more, -n all everything" in run(folder, "-n", "2").stderr
    assert "of more" not in run(folder, "-n", "9").stderr


def test_csv_has_a_header_and_a_row_for_each(folder: Path) -> None:
    result = run(folder, "--format", "csv")
    # RFC 4180, section 2: CRLF after each record, the last one, too.
    assert result.stdout_bytes.count(b"\r\n") == 10
    rows = list(csv.DictReader(io.StringIO(result.stdout_bytes.decode(), newline="")))
    assert [row["tool"] for row in rows] == ["get_invoice"] * 6 + ["wipe_ledger", "refund", ""]
    assert (rows[6]["verdict"], rows[6]["reason"], rows[6]["took_us"]) == ("deny", "denied", "")
    assert (rows[7]["status"], rows[7]["took_us"], rows[7]["time"]) == (
        "tool_error", "1500", "2026-01-07T12:00:00.750000000Z",
    )  # fmt: skip


@pytest.mark.parametrize("formula", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", '=cmd|"/c calc"!A0'])
def test_no_cell_is_a_formula(tmp_path: Path, formula: str) -> None:
    log = MadeLog()
    log.refusal(tool=formula)
    log.write(tmp_path / "audit", CheckpointKey.generate(ORIGIN))
    (row,) = csv.DictReader(io.StringIO(run(tmp_path / "audit", "--format", "csv").stdout_bytes.decode(), newline=""))
    assert row["tool"][0] == "'"


def test_ocsf_is_an_event_for_each_request_and_nothing_else(folder: Path) -> None:
    events = [orjson.loads(line) for line in run(folder, "--format", "ocsf", "--all").stdout.splitlines()]
    assert [event["class_uid"] for event in events] == [6003] * 9


@pytest.mark.parametrize("form", ["table", "json", "csv", "ocsf"])
def test_nothing_that_a_caller_wrote_reaches_the_terminal_as_a_control(tmp_path: Path, form: str) -> None:
    log = MadeLog()
    for name in ("caller", "server", "tool", "session", "purpose", "address", "rpc", "decision", "trace"):
        log.refusal(**{name: HOSTILE})
    log.refusal(reason=HOSTILE, user={"issuer": HOSTILE, "subject": HOSTILE, "groups": [HOSTILE]})
    log.call(status=HOSTILE)
    log.add(Kind.OUTAGE, error=HOSTILE, counts=[{"stage": HOSTILE, "reason": HOSTILE, "count": 3}])
    log.add(Kind.START, **{"version": HOSTILE, HOSTILE: HOSTILE})
    log.write(tmp_path / "audit", CheckpointKey.generate(ORIGIN))
    result = run(tmp_path / "audit", "--format", form, "--all", "--trace-url", "https://jaeger.test/{trace_id}")
    assert result.exit_code == 0
    printed = result.output.replace("\r\n", "\n")
    assert NO_TEXT_OF_OURS.findall(printed) == []
    # A head, each request, a link below each but the one whose trace id is none, and two records about the gate.
    rows = {"table": 1 + 11 + 10 + 2, "json": 13, "csv": 14, "ocsf": 11}
    assert len(result.stdout.splitlines()) == rows[form]


def test_json_with_hostile_text_still_says_that_text(tmp_path: Path) -> None:
    log = MadeLog()
    log.refusal(tool=HOSTILE + "\U000e0041")
    log.write(tmp_path / "audit", CheckpointKey.generate(ORIGIN))
    assert tools(tmp_path / "audit") == [HOSTILE + "\U000e0041"]


def test_damage_is_one_sentence_and_what_comes_before_is_shown(folder: Path) -> None:
    second = sorted((folder / "log").iterdir())[1]
    second.write_bytes(b"garbage\n" + second.read_bytes())
    result = run(folder, "--format", "json")
    assert result.exit_code == 2
    assert len(result.stdout.splitlines()) == 3
    assert result.stderr.count("\n") == 1
    assert "there is no record 7 where it should be; callgate audit verify tells more" in result.stderr


def test_from_the_end_what_comes_after_damage_is_shown(folder: Path) -> None:
    second = sorted((folder / "log").iterdir())[1]
    second.write_bytes(b"garbage\n" + second.read_bytes())
    result = run(folder, "--format", "json", "-n", "100")
    assert result.exit_code == 2
    assert len(result.stdout.splitlines()) == 6
    assert "callgate audit verify tells more" in result.stderr


@pytest.mark.parametrize(
    ("damaged", "flags"),
    [
        (0, ["--since", "2026-01-07T16:00:00Z"]),
        (0, ["--since", "2026-01-07T16:00:00Z", "-n", "100"]),
        (-1, ["--until", "2026-01-07T13:00:00Z"]),
    ],
)
def test_files_of_another_time_are_not_read(tmp_path: Path, damaged: int, flags: list[str]) -> None:
    """So damage there is not met: what is quick on a great log reads little of it."""
    log = MadeLog(step_ns=600 * 10**9)
    for _ in range(40):
        log.refusal()
    log.write(tmp_path / "audit", CheckpointKey.generate(ORIGIN), segment_records=5)
    whole = told(tmp_path / "audit", *flags)
    assert whole
    file = sorted((tmp_path / "audit" / "log").iterdir())[damaged]
    first = file.read_bytes().splitlines(keepends=True)[0]
    file.write_bytes(first + b"garbage\n" * 4)
    assert told(tmp_path / "audit", *flags) == whole


def test_a_torn_end_is_said_and_no_fault(folder: Path) -> None:
    last = sorted((folder / "log").iterdir())[-1]
    last.write_bytes(last.read_bytes()[:-5])
    result = run(folder)
    assert result.exit_code == 0
    assert "the log ends amid a record" in result.stderr


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--reason", "no_grnat"], "did you mean 'no_grant'?"),
        (["--status", "awnsered"], "did you mean 'answered'?"),
        (["--since", "yesterday"], "an age such as 15m, 2h or 7d"),
        (["--agent", "spiffe://acme.test/a*"], "a wildcard is a whole segment"),
        (["--trace-id", "no hex"], "must be an id"),
        (["-n", "many"], "no number of entries, and not 'all'"),
        (["-n", "-1"], "no number of entries"),
        (["--config", "callgate.yaml"], "--log and --config exclude each other"),
    ],
)
def test_a_slip_on_the_command_line_is_answered_with_what_may_be_meant(
    folder: Path, flags: list[str], words: str
) -> None:
    result = run(folder, *flags)
    assert result.exit_code == 2
    assert words in result.stderr


def test_a_folder_that_is_not_there_is_said(tmp_path: Path) -> None:
    result = run(tmp_path / "nowhere")
    assert result.exit_code == 2
    assert "there is no folder" in result.stderr
    empty = run(tmp_path)
    assert empty.exit_code == 2
    assert "there is no log to read in" in empty.stderr


def test_the_configuration_names_the_folder_whatever_is_wrong_with_the_policy(folder: Path) -> None:
    example = Path(__file__).parents[3] / "examples" / "quickstart" / "callgate.yaml"
    text = re.sub(r"(?m)^audit:.*(\n +.*)*", "", example.read_text(encoding="utf-8"))
    config = folder.parent / "callgate.yaml"
    config.write_text(f"{text}\naudit: {{folder: audit}}\n", encoding="utf-8")
    assert not (folder.parent / "policy.yaml").exists()
    result = CliRunner().invoke(main, ["log", "-c", str(config), "--format", "json"])
    assert result.exit_code == 0, result.output
    assert len(result.stdout.splitlines()) == 9


def test_without_a_configuration_the_ways_to_a_log_are_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(main, ["log"])
    assert result.exit_code == 2
    assert "there is no callgate.yaml here; name one by --config, or the log's folder by --log" in result.stderr
