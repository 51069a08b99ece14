"""Who agreed to a call, as `callgate log`, `callgate session` and `callgate explain` tell it."""

import csv
import io
import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from callgate.audit.checkpoint import CheckpointKey
from callgate.cli import main
from callgate.wire.json_strict import JsonObject
from support.audit_logs import ORIGIN, MadeLog
from support.html_pages import Page

SESSION = "5e" * 8
APPROVED, DENIED, HELD = "aa" * 16, "bb" * 16, "cc" * 16
ALICE = "alice@acme.test"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A call that was approved, one that was denied, and one that nobody answered; between others."""
    log = MadeLog()
    log.start()
    log.call()
    for approval in (APPROVED, DENIED, HELD):
        log.approval("asked", approval=approval, asked_by=f"{approval[:2]}0" + "0" * 29, decision="0" * 32)
    log.approval("seen", approval=APPROVED, by=ALICE)
    log.approval("approved", approval=APPROVED, by=ALICE, verdict="approve", reason="as agreed", calls=1, used=0)
    log.approval("used", approval=APPROVED, calls=1, used=1, decision="f0" * 16)
    log.call(tool="refund", decision="f0" * 16, approval={"id": APPROVED, "by": [ALICE], "use": 1})
    log.refusal(tool="refund", reason="approval_required", stage="approve", approval={"id": HELD})
    log.approval("denied", approval=DENIED, by="bob@acme.test", verdict="deny", reason="\x1b[31mno\u202e")
    log.refusal(tool="refund", reason="approval_denied", stage="approve", approval={"id": DENIED})
    log.approval("denied", approval=HELD, by="bob@acme.test", verdict="deny", reason="too late")
    log.write(tmp_path / "audit", CheckpointKey.generate(ORIGIN), segment_records=5)
    return tmp_path / "audit"


def said(*arguments: str | Path) -> str:
    result = CliRunner().invoke(main, [*map(str, arguments)])
    assert result.exit_code == 0, result.output
    return result.stdout


def logged(folder: Path, *flags: str) -> list[JsonObject]:
    return [json.loads(line) for line in said("log", "--log", folder, "--format", "json", *flags).splitlines()]


def told(folder: Path, *flags: str) -> list[object]:
    return [each.get("happening", each["kind"]) for each in logged(folder, *flags)]


def test_what_people_said_stands_between_the_requests_where_it_happened(folder: Path) -> None:
    assert told(folder) == [
        *("intent", "asked", "asked", "asked", "seen", "approved", "used", "intent"),
        *("refusal", "denied", "refusal", "denied"),
    ]


def test_an_approvals_id_leads_to_what_people_said_and_to_the_calls(folder: Path) -> None:
    found = logged(folder, "--approval", APPROVED[:8])
    assert [each.get("happening", each["kind"]) for each in found] == ["asked", "seen", "approved", "used", "intent"]
    assert found[-1]["status"] == "answered"
    assert told(folder, "--approval", HELD) == ["asked", "refusal", "denied"]


def test_a_calls_decision_leads_to_the_use_of_the_approval(folder: Path) -> None:
    assert told(folder, "--id", "f0f0f0f0") == ["used", "intent"]


@pytest.mark.parametrize(
    ("flags", "found"),
    [
        (["--decision", "hold"], ["refusal"]),
        (["--decision", "deny"], ["refusal"]),
        (["--reason", "approval_required"], ["refusal"]),
        (["--kind", "approval", "--tool", "get_*"], []),
        (["--kind", "approval", "-n", "2"], ["denied", "denied"]),
        (["--session", "7777"], []),
    ],
)
def test_filters_know_held_calls_and_what_people_said(folder: Path, flags: list[str], found: list[str]) -> None:
    assert told(folder, *flags) == found


def test_the_table_tells_who_agreed_and_why(folder: Path) -> None:
    table = said("log", "--log", folder, "--format", "table")
    assert "-- approved by alice@acme.test (oidc): as agreed" in table
    assert "hold approval_required" in table
    assert "\x1b" not in table
    assert "\u202e" not in table


def test_a_spreadsheet_has_columns_for_the_approval_and_the_person(folder: Path) -> None:
    rows = list(csv.DictReader(io.StringIO(said("log", "--log", folder, "--format", "csv"))))
    assert [(row["kind"], row["happening"], row["by"]) for row in rows if row["approval"] == APPROVED] == [
        ("approval", "asked", ""),
        ("approval", "seen", ALICE),
        ("approval", "approved", ALICE),
        ("approval", "used", ""),
        ("intent", "", ALICE),
    ]


def test_a_siem_gets_an_event_of_each_kind(folder: Path) -> None:
    events = [json.loads(line) for line in said("log", "--log", folder, "--format", "ocsf").splitlines()]
    assert {event["class_uid"] for event in events} == {3004, 6003}
    assert len(events) == 12


def test_a_session_tells_who_agreed_to_which_of_its_requests(folder: Path) -> None:
    text = said("session", "show", SESSION, "--log", folder)
    assert f"approval {APPROVED} by alice@acme.test" in text
    assert "approved by alice@acme.test (oidc): as agreed" in text
    assert "4 requests: 2 went well, 1 held for a person, 1 denied" in text
    # It was answered after the session's last request.
    assert "denied by bob@acme.test (oidc): too late" in text
    assert "\u202e" not in text


def test_a_session_as_json_has_the_records_of_each_approval(folder: Path) -> None:
    found = json.loads(said("session", "show", SESSION, "--log", folder, "--format", "json"))
    assert found["session"]["held"] == 1
    happenings = [[each["happening"] for each in step["approval"]] for step in found["steps"]]
    assert happenings == [[], ["asked", "seen", "approved", "used"], ["asked", "denied"], ["asked", "denied"]]


def test_sessions_with_a_held_call_are_found(folder: Path) -> None:
    found = json.loads(said("session", "list", "--log", folder, "--decision", "hold", "--format", "json"))
    assert [each["session"] for each in found["sessions"]] == [SESSION]


def test_a_sessions_page_tells_it_too_and_marks_what_was_held(folder: Path, tmp_path: Path) -> None:
    said("session", "export", SESSION, "--log", folder, "-o", tmp_path / "page.html")
    page = Page((tmp_path / "page.html").read_text("utf-8"))
    words = [each.text for each in page.all("li") if "approved by" in each.text]
    assert any("approved by alice@acme.test (oidc): as agreed" in each for each in words)
    assert page.one("span", **{"class": "verdict held"}).text == "held"


def test_a_session_that_is_played_names_who_agreed(folder: Path) -> None:
    text = said("session", "play", SESSION, "--log", folder, "--speed", "1000")
    assert "→ tools/call refund on ledger, approved by alice@acme.test" in text


def test_a_decision_is_explained_with_who_agreed_to_it(folder: Path) -> None:
    text = said("explain", "--decision", "f0f0f0f0", "--log", folder)
    assert f"approval {APPROVED} by alice@acme.test" in text
    assert "approved by alice@acme.test (oidc): as agreed" in text
    found = json.loads(said("explain", "--decision", "f0f0f0f0", "--log", folder, "--format", "json"))
    assert [each["happening"] for each in found["approval"]] == ["asked", "seen", "approved", "used"]


def test_a_held_decision_is_explained_as_held_and_fails_where_a_denied_one_does(folder: Path) -> None:
    (held,) = logged(folder, "--decision", "hold")
    asked = ["explain", "--decision", str(held["decision"]), "--log", str(folder)]
    assert said(*asked).splitlines()[0].endswith("held  tools/call refund on ledger")
    assert CliRunner().invoke(main, [*asked, "--exit-code"]).exit_code == 3
