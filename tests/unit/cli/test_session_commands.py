import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from click.testing import CliRunner, Result

from callgate.audit.age import KeyPair
from callgate.audit.chain import Kind
from callgate.audit.checkpoint import CheckpointKey
from callgate.audit.identities import load_identities
from callgate.audit.recording import MessageKind
from callgate.audit.sessions import Overview
from callgate.cli import main
from callgate.cli.session_content import JSON, Bounds, ContentReader
from callgate.cli.session_json import story_json
from callgate.cli.session_log import open_story
from callgate.wire.json_strict import JsonObject
from support.audit_logs import ORIGIN, MadeLog
from support.told_sessions import ANSWER, SESSION, ToldSession

KEY = CheckpointKey.generate(ORIGIN)
OTHER = "77" * 8
REPORTER = "spiffe://acme.test/ns/ops/sa/reporter"


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["session", *map(str, arguments)])


def written(log: MadeLog, folder: Path) -> Path:
    log.write(folder / "log-folder", KEY)
    return folder / "log-folder"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two sessions; one has a denied call, a failed one, and one without an outcome."""
    log = MadeLog()
    log.start()
    log.handshake_refusal()
    log.call(user={"issuer": "https://login.acme.test", "subject": "alice", "groups": []})
    log.refusal(tool="wipe_ledger", reason="denied", rule="no-wiping")
    log.call(session=OTHER, caller=REPORTER, server="mail", tool="send")
    log.call(tool="refund", status="failed")
    log.call(tool="refund", orphan=True)
    return written(log, tmp_path)


def listed(folder: Path, *filters: str) -> list[str]:
    result = run("list", "--log", folder, "--format", "json", *filters)
    assert result.exit_code == 0, result.output
    return [each["session"] for each in json.loads(result.stdout)["sessions"]]


def test_list_has_a_line_for_each_session_the_one_last_active_last(folder: Path) -> None:
    result = run("list", "--log", folder)

    assert result.exit_code == 0, result.output
    heading, *rows = result.stdout.splitlines()
    assert heading.split()[:2] == ["session", "first"]
    assert [row.split()[0] for row in rows] == [OTHER, SESSION]
    assert rows[1].split()[-5:] == [
        "ledger",
        "spiffe://acme.test/ns/billing/sa/agent",
        "alice",
        "of",
        "https://login.acme.test",
    ]


def test_list_counts_requests_denials_and_failures(folder: Path) -> None:
    found = json.loads(run("list", "--log", folder, "--format", "json").stdout)["sessions"][1]

    assert {key: found[key] for key in ("requests", "denied", "failed", "open", "status", "servers")} == {
        "requests": 4, "denied": 1, "failed": 1, "open": 1, "status": "open", "servers": ["ledger"]
    }  # fmt: skip
    assert found["first"] == "2026-01-07T12:00:00Z"


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        (("--agent", "spiffe://acme.test/ns/ops/**"), [OTHER]),
        (("--agent", "billing"), [SESSION]),
        (("--server", "mail"), [OTHER]),
        (("--tool", "ref*"), [SESSION]),
        (("--decision", "deny"), [SESSION]),
        (("--reason", "denied"), [SESSION]),
        (("--status", "failed"), [SESSION]),
        (("--user", "alice"), [SESSION]),
        (("--user", "bob"), []),
        (("--since", "2026-01-07T12:00:01Z"), []),
        (("--until", "2026-01-07T12:00:01Z"), [OTHER, SESSION]),
        (("--agent", "billing", "--server", "mail"), []),
    ],
)
def test_list_has_the_sessions_with_a_request_that_fits_all_filters(
    folder: Path, filters: tuple[str, ...], found: list[str]
) -> None:
    assert listed(folder, *filters) == found


def test_figures_are_of_the_whole_session_whatever_is_filtered_for(folder: Path) -> None:
    result = run("list", "--log", folder, "--format", "json", "--tool", "wipe_ledger")

    assert json.loads(result.stdout)["sessions"][0]["requests"] == 4


def test_list_of_nothing_says_so_and_succeeds(folder: Path) -> None:
    result = run("list", "--log", folder, "--user", "nobody")

    assert (result.exit_code, result.stdout) == (0, "")
    assert "no session has a request like that" in result.stderr


def test_a_workloads_own_stretch_that_only_began_a_legacy_session_is_not_listed_but_can_be_shown(
    tmp_path: Path,
) -> None:
    log = MadeLog()
    request = log.request(tool=None, session=OTHER) | {"method": "initialize"}
    log.outcome(log.add(Kind.INTENT, **request, path=[]), began=SESSION)
    log.call()
    folder = written(log, tmp_path)

    assert listed(folder) == [SESSION]
    assert run("show", OTHER, "--log", folder).exit_code == 0
    shown = run("show", SESSION, "--log", folder).stdout
    assert "initialize on ledger" in shown
    assert "tools/call get_invoice on ledger" in shown


def test_show_tells_each_request_with_path_rules_token_and_outcome(folder: Path) -> None:
    result = run("show", SESSION, "--log", folder)

    assert result.exit_code == 0, result.output
    said = result.stdout
    assert "4 requests: 1 went well, 1 denied, 1 failed, 1 without an outcome" in said
    assert "✓ 1  +0.000 s  allowed  tools/call get_invoice on ledger" in said
    assert "answered in 1.5 ms" in said
    assert (
        "✓ accept  ✓ authenticate  ✓ read  ✓ identify  ✓ decide  ✓ inspect  ✓ mint  ✓ record  ✓ forward  ✓ screen  ✓ respond"
        in said
    )
    assert "● grant billing-reads-invoices applies: tool matches get_invoice" in said
    assert (
        "for https://ledger.acme.test/mcp, scope tool:get_invoice, until 2026-01-07T12:00:20Z (20 s after the call)"
        in said
    )
    assert "✗ 2  +0.100 s  denied  tools/call wipe_ledger on ledger" in said
    assert "✗ decide: denied" in said
    assert "● denial no-wiping applies" in said
    assert "! 3  +0.250 s  allowed, but failed  tools/call refund on ledger" in said
    assert "… 4  +0.350 s  allowed, no outcome yet  tools/call refund on ledger" in said
    assert OTHER not in said
    assert "send" not in said


def test_show_as_json_has_the_records_as_they_stand_in_the_log(folder: Path) -> None:
    found = json.loads(run("show", SESSION, "--log", folder, "--format", "json").stdout)

    assert (found["version"], found["earlier"], found["session"]["session"]) == (1, 0, SESSION)
    first, refused, *_ = found["steps"]
    assert first["outcome"]["took_us"] == first["took_us"] == 1500
    assert first["record"]["token"]["aud"] == "https://ledger.acme.test/mcp"
    assert refused["path"][-1] == {"stage": "decide", "outcome": "refused", "reason": "denied"}
    assert refused["outcome"] is None


def test_show_can_be_cut_to_the_last_requests_and_says_what_is_missing(folder: Path) -> None:
    said = run("show", SESSION, "--log", folder, "--last", "1").stdout

    assert "3 earlier requests not shown" in said
    assert "4  +0.350 s" in said
    assert "get_invoice" not in said
    found = json.loads(run("show", SESSION, "--log", folder, "--last", "1", "--format", "json").stdout)
    assert (found["earlier"], [step["number"] for step in found["steps"]]) == (3, [4])


def test_an_id_may_be_as_short_as_is_unique(folder: Path) -> None:
    assert run("show", "5", "--log", folder).stdout == run("show", SESSION.upper(), "--log", folder).stdout


def test_an_id_that_several_sessions_begin_with_is_refused_with_their_names(tmp_path: Path) -> None:
    log = MadeLog()
    for number in range(7):
        log.call(session=f"5e{number:014x}")
    folder = written(log, tmp_path)

    result = run("show", "5e0", "--log", folder)

    assert result.exit_code == 2
    assert "7 sessions begin with 5e0: 5e00000000000000" in result.stderr
    assert "and 2 more; write more digits" in result.stderr


def test_a_forged_session_that_begins_as_another_does_not_hide_it(tmp_path: Path) -> None:
    log = MadeLog()
    log.call()
    log.call(session=f"{SESSION}00", tool="wipe_ledger")

    result = run("show", SESSION, "--log", written(log, tmp_path))

    assert result.exit_code == 0, result.output
    assert "wipe_ledger" not in result.stdout


def test_a_slip_in_an_id_is_answered_with_what_was_meant(folder: Path) -> None:
    result = run("show", SESSION[:-1] + "f", "--log", folder)

    assert result.exit_code == 2
    assert f"did you mean '{SESSION}'?" in result.stderr


@pytest.mark.parametrize("wrong", ["", "xyz", "../etc", "5e" * 9, "5e\x1b[2J"])
def test_what_is_no_id_is_refused_in_words(folder: Path, wrong: str) -> None:
    result = run("show", "--log", folder, "--", wrong)

    assert result.exit_code == 2
    assert "is no session id: 16 hex digits, or the first of them" in result.stderr
    assert "\x1b" not in result.stderr


def test_a_folder_without_a_log_is_told_in_a_sentence_and_exit_code_2(tmp_path: Path) -> None:
    for command in (["list"], ["show", "5e"], ["play", "5e"], ["export", "5e", "-o", tmp_path / "page.html"]):
        result = run(*command, "--log", tmp_path)
        assert result.exit_code == 2, command
        assert "there is no log to read" in result.stderr


def test_a_clock_step_amid_a_session_is_told(tmp_path: Path) -> None:
    log = MadeLog()
    log.call()
    log.add(Kind.CLOCK, step_us=-2_500_000)
    log.call()

    assert "the clock was set back by 2.50 s (record 3)" in run("show", SESSION, "--log", written(log, tmp_path)).stdout


def test_an_outage_and_a_crash_amid_a_session_are_told(tmp_path: Path) -> None:
    log = MadeLog()
    log.call()
    log.add(
        Kind.OUTAGE, since="2026-01-07T12:00:00Z", until="2026-01-07T12:00:09Z", error="ENOSPC", counts=[{"count": 7}]
    )
    log.add(Kind.RECOVERY, cut_bytes=10, cut_sha256="ab", orphans=2)
    log.add(Kind.SUMMARY, counts=[{"stage": "decide", "reason": "denied", "count": 400}])
    log.call()

    said = run("show", SESSION, "--log", written(log, tmp_path)).stdout

    assert "the log could not be written (ENOSPC)" in said
    assert "7 requests without a record of their own" in said
    assert "the outcome of 2 calls is unknown" in said
    assert "400 requests were refused without a record of their own" in said


@pytest.fixture
def told(tmp_path: Path) -> ToldSession:
    session = ToldSession(tmp_path)
    progress = (
        900,
        MessageKind.EVENT,
        {"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progress": 1}},
    )
    session.call("close_month", {"month": "2026-09"}, (progress, ANSWER))
    session.log.call(tool="get_invoice")
    session.write()
    return session


def test_without_a_key_content_is_said_to_be_encrypted_and_to_how_many(told: ToldSession) -> None:
    said = run("show", SESSION, "--log", told.folder).stdout

    assert "content was kept in full for 1 of 2 requests, encrypted to 1 key; --identity FILE" in said
    assert "content encrypted, in 2 objects" in said
    assert "2026-09" not in said


def test_with_an_auditors_key_show_has_arguments_events_and_answer_with_their_times(told: ToldSession) -> None:
    said = run("show", SESSION, "--log", told.folder, "--identity", told.identity).stdout

    assert '"arguments":{"month":"2026-09"}' in said
    assert "event at +0.000 s" in said
    assert "notifications/progress" in said
    assert "answer at +0.001 s" in said
    content = json.loads(
        run("show", SESSION, "--log", told.folder, "--identity", told.identity, "--format", "json").stdout
    )["steps"][0]["content"]
    assert [(each["at_us"], each["kind"]) for each in content] == [(0, "request"), (900, "event"), (1500, "answer")]
    assert content[0]["body"]["params"]["arguments"] == {"month": "2026-09"}


def test_with_somebody_elses_key_says_that_it_does_not_fit(told: ToldSession, tmp_path: Path) -> None:
    other = tmp_path / "other.txt"
    other.write_text(KeyPair.generate().identity)
    other.chmod(0o600)

    said = run("show", SESSION, "--log", told.folder, "--identity", other).stdout

    assert "is encrypted to other keys than these" in said
    assert "2026-09" not in said


def test_content_that_retention_deleted_is_said_to_be_deleted(told: ToldSession) -> None:
    objects = [path.stem for path in told.folder.glob("content/*/*.age")]
    for path in told.folder.glob("content/*/*.age"):
        path.unlink()
    session = ToldSession(told.folder / "again", log=told.log, auditor=told.auditor)
    session.log.add(Kind.RETENTION, deleted=objects, why="age")
    session.write()

    said = run("show", SESSION, "--log", session.folder, "--identity", told.identity).stdout

    assert "was deleted by retention, as the log says" in said


def test_content_that_is_gone_for_no_known_reason_is_said_to_be_missing(told: ToldSession) -> None:
    for path in told.folder.glob("content/*/*.age"):
        path.unlink()

    assert (
        "is not in the content folder" in run("show", SESSION, "--log", told.folder, "--identity", told.identity).stdout
    )


def test_long_content_is_cut_on_a_terminal_and_said_to_be(tmp_path: Path) -> None:
    session = ToldSession(tmp_path)
    session.call("get_invoice", {"lines": [*range(100)]})
    session.call("get_invoice", {"text": "x" * 20_000})
    session.write()

    said = run("show", SESSION, "--log", tmp_path, "--identity", session.identity).stdout

    assert "more lines" in said
    assert "more than 16.0 KiB passed; the rest is not shown here" in said


def test_recipients_are_named_where_the_configuration_names_them(
    told: ToldSession, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    config = tmp_path / "callgate.yaml"
    config.write_text(
        "listen: 127.0.0.1:8443\nissuer: https://gate.acme.test\npolicy: policy.yaml\n"
        f"audit: {{folder: '{told.folder}', recipients: [{told.auditor.recipient}]}}\n"
        "servers:\n  ledger: {url: https://ledger.acme.test/mcp}\n"
    )
    monkeypatch.chdir(tmp_path)

    assert f"encrypted to 1 key: {told.auditor.recipient[:24]}" in run("show", SESSION).stdout


def test_play_tells_what_happened_and_ends(told: ToldSession) -> None:
    result = run("play", SESSION, "--log", told.folder, "--identity", told.identity, "--speed", "1000")

    assert result.exit_code == 0, result.output
    lines = [line.strip() for line in result.stdout.splitlines()]
    begin = next(index for index, line in enumerate(lines) if "→ tools/call close_month" in line)
    assert "request:" in lines[begin + 1]
    assert "event:" in lines[begin + 2]
    assert "answer:" in lines[begin + 3]
    assert "✓ answered in 1.5 ms" in lines[begin + 4]
    assert "→ tools/call get_invoice" in lines[begin + 5]


@pytest.mark.parametrize("speed", ["0", "-1", "fast"])
def test_play_refuses_a_speed_at_which_time_would_stand_still(told: ToldSession, speed: str) -> None:
    assert run("play", SESSION, "--log", told.folder, "--speed", speed).exit_code == 2


def test_help_names_every_command() -> None:
    said: Any = run("--help").stdout
    for name in ("list", "show", "export", "play"):
        assert name in said


def test_json_of_a_session_is_written_as_it_is_read() -> None:
    read: list[int] = []

    def steps() -> Iterator[JsonObject]:
        for number in range(1000):
            read.append(number)
            yield {"number": number}

    pieces = story_json(Overview(SESSION, 0, 0), 0, steps())
    first = [next(pieces), next(pieces), next(pieces)]

    assert len(read) == 2
    whole = json.loads(b"".join([*first, *pieces]))
    assert [step["number"] for step in whole["steps"]] == [*range(1000)]


def test_a_session_without_steps_is_json_too() -> None:
    assert json.loads(b"".join(story_json(Overview(SESSION, 0, 0), 3, [])))["steps"] == []


def test_content_is_read_up_to_what_all_of_it_may_take(told: ToldSession) -> None:
    story = open_story(told.folder, SESSION)
    identities = load_identities(told.identity).identities
    step = next(story.steps())
    size = sum(len(orjson.dumps(each.body)) for each in ContentReader(story, identities, JSON).of(step).passed)

    reader = ContentReader(story, identities, Bounds(step=10 * size, total=2 * size))

    assert [len(reader.of(step).passed) for _ in range(3)] == [3, 3, 0]
    assert "content is not shown" in reader.of(step).note
