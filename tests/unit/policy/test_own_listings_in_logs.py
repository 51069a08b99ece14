"""What the gate asks on its own account is nobody's call: no policy is asked about it, and none is made of it."""

import json
from collections.abc import Mapping
from pathlib import Path

import pytest
from click.testing import CliRunner

from callgate.audit.chain import Kind
from callgate.audit.checkpoint import CheckpointKey
from callgate.audit.entries import Entry
from callgate.audit.sessions import sessions_of
from callgate.cli import main
from callgate.policy.recorded import Ruling, is_own_listing, recorded_call, ruling_of
from callgate.policy.replay import Replay
from callgate.policy.suggestion import suggestion
from callgate.policy.unused import Standing, grant_reports
from callgate.policy.usage import Usage
from callgate.trace import Finding
from callgate.wire.json_strict import JsonObject
from support.audit_logs import ORIGIN
from support.recorded_calls import HEAD, Recorder, policy

GATE = "spiffe://acme.test/gate"
SESSION = "9a" * 8
RULES = """\
grants:
  - id: looks
    workloads: ["spiffe://acme.test/ns/**"]
    server: ledger
    tools: [get_invoice]
"""
# A policy by which anybody may list, and the gate, too.
OPEN = """\
grants:
  - id: all
    workloads: ["spiffe://acme.test/**"]
    server: ledger
    tools: ["*"]
"""
_OWN = Finding("own-listing", "default", matched=True, why="the gate itself asks which tools there are")


def own(recorder: Recorder, method: str = "tools/list") -> None:
    """A question as the gate records it."""
    request = recorder.log.request(
        caller=GATE, tool=None, session=SESSION, method=method, policy=recorder.policy.digest
    )
    place = recorder.log.add(
        Kind.INTENT, **request, reason="", rules=[_OWN], path=["decide=ok"], record="digest"
    )  # fmt: skip
    recorder.log.outcome(place)


def own_refused(recorder: Recorder) -> None:
    """One for which no token could be made."""
    request = recorder.log.request(caller=GATE, tool=None, session=SESSION, policy=recorder.policy.digest)
    recorder.log.add(
        Kind.REFUSAL,
        **request, rules=[_OWN], stage="mint", reason="mint_failed", detail="", path=["decide=ok", "inspect=ok"],
    )  # fmt: skip


@pytest.fixture
def recorder() -> Recorder:
    found = Recorder(policy(RULES))
    found.log.start()
    for method in ("tools/list", "initialize", "notifications/initialized", "tools/list"):
        own(found, method)
    own_refused(found)
    found.call("get_invoice")
    return found


def own_records(recorder: Recorder) -> list[JsonObject]:
    return [record for record in recorder.records() if record.get("caller") == GATE]


def test_is_told_by_its_rule_and_not_by_who_asks(recorder: Recorder) -> None:
    assert len(own_records(recorder)) == 5
    assert all(map(is_own_listing, own_records(recorder)))
    assert not any(is_own_listing(record) for record in recorder.records() if record.get("caller") != GATE)


@pytest.mark.parametrize("kind", ["grant", "denial", "shadow-grant"])
def test_a_rule_of_a_policy_that_has_that_name_makes_no_own_listing(recorder: Recorder, kind: str) -> None:
    for record in own_records(recorder):
        named: JsonObject = {**record, "rules": [{"rule": "own-listing", "kind": kind, "matched": True, "why": ""}]}
        assert not is_own_listing(named)
        assert ruling_of(named) is not None


@pytest.mark.parametrize("rules", [None, [], ["own-listing"], "own-listing", {"rule": "own-listing"}, [[]]])
def test_a_log_that_was_tampered_with_is_read_all_the_same(rules: object) -> None:
    assert not is_own_listing({"rules": rules})  # type: ignore[dict-item]


def test_a_new_policy_says_nothing_to_it(recorder: Recorder) -> None:
    for new in (RULES, OPEN, RULES.replace("get_invoice", "other")):
        replay = Replay(None, policy(new), recorder.sources)
        replayed = [replay.see(record) for record in recorder.records() if record["kind"] != "outcome"]
        # That of the agent alone.
        assert len([each for each in replayed if each is not None]) == 1


def test_no_grant_is_suggested_for_the_gate(recorder: Recorder) -> None:
    for given in (None, policy(OPEN)):
        usage = Usage(given, recorder.sources)
        for record in recorder.records():
            usage.see(record)
        assert {caller for caller, _, _ in usage.uses} == {"spiffe://acme.test/ns/billing/sa/agent"}
        assert usage.listeners == set()
        assert GATE not in repr(suggestion(usage, None))


def test_a_grant_that_only_the_gates_questions_could_have_used_is_unused() -> None:
    recorder = Recorder(policy(OPEN))
    recorder.log.start()
    own(recorder)
    recorder.wait(40 * 24 * 3600)
    own(recorder)
    usage = Usage(policy(OPEN), recorder.sources)
    for record in recorder.records():
        usage.see(record)

    (report,) = grant_reports(usage, 24 * 3600)
    assert report.calls == 0
    assert report.standing is not Standing.USED


def test_it_is_part_of_no_session(recorder: Recorder, tmp_path: Path) -> None:
    assert [sessions_of(Entry(record)) for record in own_records(recorder)] == [()] * 5
    recorder.log.write(tmp_path / "audit", CheckpointKey.generate(ORIGIN))

    result = CliRunner().invoke(main, ["session", "list", "--log", str(tmp_path / "audit"), "--format", "json"])
    shown = CliRunner().invoke(main, ["session", "show", SESSION, "--log", str(tmp_path / "audit")])

    assert [each["session"] for each in json.loads(result.stdout)["sessions"]] == ["5e" * 8]
    assert shown.exit_code == 2


def test_the_log_shows_it(recorder: Recorder, tmp_path: Path) -> None:
    recorder.log.write(tmp_path / "audit", CheckpointKey.generate(ORIGIN))

    result = CliRunner().invoke(main, ["log", "--log", str(tmp_path / "audit"), "--format", "json"])

    assert result.stdout.count(GATE) >= 5


def test_diff_and_suggest_say_nothing_of_it(recorder: Recorder, tmp_path: Path) -> None:
    log = tmp_path / "audit"
    recorder.log.write(log, CheckpointKey.generate(ORIGIN))
    (tmp_path / "new.yaml").write_text(HEAD + RULES)

    diff = CliRunner().invoke(main, ["policy", "diff", "recorded", str(tmp_path / "new.yaml"), "--log", str(log)])
    suggested = CliRunner().invoke(main, ["policy", "suggest", "--log", str(log)])

    assert diff.exit_code == 0, diff.output
    assert "1  no change" in diff.stdout
    assert GATE not in diff.stdout + suggested.stdout


# What inspection leaves in a log


@pytest.mark.parametrize(
    "reason",
    [
        "arguments_invalid", "arguments_denied", "tool_drift", "schema_unknown", "schema_unusable",
        "definitions_unavailable", "screening_failed",
    ],
)  # fmt: skip
@pytest.mark.parametrize("is_dry", [False, True])
def test_what_inspection_refused_the_policy_allowed(reason: str, *, is_dry: bool) -> None:
    at: Mapping[str, object] = (
        {"stage": "decide", "path": [f"decide=refused:{reason}"], "dry_run": True}
        if is_dry
        else {"stage": "inspect", "path": ["decide=ok", f"inspect=refused:{reason}"]}
    )
    record: JsonObject = {"kind": "refusal", "reason": reason, **at}  # type: ignore[dict-item]

    assert ruling_of(record) is Ruling.ALLOWED


def test_arguments_that_were_masked_are_not_those_that_were_decided_on() -> None:
    record: JsonObject = {
        "kind": "intent", "caller": "spiffe://acme.test/a", "time": "2026-01-07T12:00:00.000000000Z", "server": "s",
        "method": "tools/call", "tool": "t", "masked_arguments": ["card=1"],
        # Of {}: everything was taken out of them.
        "args": "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a",
    }  # fmt: skip
    for kept in (None, {"card": "[card]"}):
        found = recorded_call(record, kept)  # type: ignore[arg-type]
        assert found is not None
        assert "args" in found.unknown
        assert found.call.arguments is None
