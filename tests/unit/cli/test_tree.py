import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callgate.cli.tree import render
from callgate.errors import Reason
from callgate.telemetry import names
from callgate.trace import Finding, Outcome, Stage
from support.decision_traces import AGENT, USUAL, allowed, approved, denied, held, record, refused_at, trace_of

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def _lines(text: str) -> list[str]:
    return text.splitlines()


def _branches(text: str) -> list[str]:
    return [line for line in _lines(text) if line.startswith(("├─", "└─"))]


def test_an_allowed_call_shows_who_what_every_stage_and_the_trace() -> None:
    text = render(allowed(), colour=False)
    title, who, *rest = _lines(text)
    assert title.startswith("✓ allowed  tools/call get_invoice on ledger")
    assert who.strip() == AGENT
    assert [line.split()[2] for line in _branches(text)] == [str(stage) for stage in USUAL]
    assert "trace 4bf92f3577b34da6a3ce929d0e0e4736  decision 01J-decision" in rest[-1]


def test_each_stage_shows_how_long_it_took() -> None:
    (line,) = (line for line in _branches(render(allowed(), colour=False)) if " forward " in line)
    assert "5.2 ms" in line


def test_a_denied_call_shows_the_reason_and_the_rules_with_default_deny_last() -> None:
    lines = _lines(render(denied(), colour=False))
    assert lines[0].startswith("✗ denied  tools/call refund on ledger")
    assert lines[1].strip() == "no_grant: no grant of this workload names the tool"
    rules = [line for line in lines if line.startswith("│  ")]
    assert [("does not apply" in rule, "applies" in rule) for rule in rules] == [
        (True, False),
        (True, False),
        (False, True),
    ]
    assert "workload is not spiffe://acme.test/ns/ops/**" in rules[1]
    assert "default" in rules[2]
    assert lines[-3] == "├─ · not reached: inspect, mint, record, forward, screen"
    assert lines[-2].endswith("HTTP 200  JSON-RPC -31403")


@pytest.mark.parametrize("stage", list(Stage))
def test_a_refusal_at_any_stage_marks_that_stage_and_names_what_was_not_reached(stage: Stage) -> None:
    text = render(refused_at(stage, Reason.INTERNAL), colour=False)
    passed = [each for each in USUAL if list(Stage).index(each) < list(Stage).index(stage)]
    position = len(passed)
    marks = [line.split()[1] for line in _branches(text)]
    assert marks[: position + 1] == ["✓"] * position + ["✗"]
    beyond = ", ".join(each for each in USUAL if list(Stage).index(each) > list(Stage).index(stage))
    assert ("not reached: " + beyond in text) == bool(beyond)


def test_an_approved_call_shows_what_was_asked_and_how_it_was_agreed_to() -> None:
    lines = _lines(render(approved(), colour=False))
    assert lines[0].startswith("✓ allowed")
    (stage,) = (line for line in lines if " approve " in line)
    assert f"approval {'ad' * 16}  used  after 12.5 s" in stage
    after = lines[lines.index(stage) + 1 :][:2]
    assert ["a person was asked" in after[0], "approved by one person (oidc)" in after[1]] == [True, True]


def test_a_held_call_is_neither_allowed_nor_denied() -> None:
    title, why, *rest = _lines(render(held(), colour=False))
    assert title.startswith("‖ held  tools/call get_invoice on ledger")
    assert why.strip() == "approval_required"
    assert any("not reached: mint, record, forward, screen, respond" in line for line in rest)


def test_an_allowed_call_that_the_tool_server_failed_says_both() -> None:
    trace = refused_at(Stage.FORWARD, Reason.UPSTREAM_TIMEOUT, "no answer in 30 s", outcome=Outcome.FAILED)
    title, why, *_ = _lines(render(trace, colour=False))
    assert title.startswith("! allowed, but failed")
    assert why.strip() == "upstream_timeout: no answer in 30 s"


def test_a_failed_handshake_says_that_nobody_knows_who_it_was() -> None:
    trace = trace_of(record(Stage.ACCEPT, outcome=Outcome.REFUSED, reason="tls_no_certificate"))
    text = render(trace, colour=False)
    assert text.startswith("✗ denied  tls handshake")
    assert "a caller without a verified identity" in text


def test_the_claims_of_the_token_are_shown_with_how_long_they_hold() -> None:
    text = render(allowed(), colour=False)
    assert "scope     ledger.read tool:get_invoice" in text
    assert "act       spiffe://acme.test/gate" in text
    assert "(in 20 s)" in text


def test_neither_token_nor_arguments_are_shown_wherever_they_strayed() -> None:
    canary = "canary-7f3a"
    token = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJjYW5hcnkifQ.c2lnbmF0dXJl"
    attributes = {"callgate.token": canary, "callgate.token.raw": canary, "gen_ai.tool.call.arguments": canary}
    trace = trace_of(*(record(stage, attributes=attributes | {names.CLAIM_AUD: token}) for stage in Stage))
    text = render(trace, colour=False)
    assert canary not in text
    assert token not in text


def test_colour_only_when_asked_for_and_nothing_else_changes() -> None:
    for trace in (allowed(), denied()):
        plain, coloured = render(trace, colour=False), render(trace, colour=True)
        assert "\x1b" not in plain
        assert plain != coloured
        assert _COLOUR.sub("", coloured) == plain


def test_a_tool_whose_name_imitates_the_tree_is_quoted() -> None:
    attributes = {names.GEN_AI_TOOL_NAME: 'get on ledger  1 ms "ok"'}
    trace = refused_at(Stage.DECIDE, Reason.NO_GRANT)
    trace.records[3] = record(Stage.IDENTIFY, attributes=attributes)
    assert 'tools/call "get on ledger  1 ms \\x22ok\\x22" on ledger' in _lines(render(trace, colour=False))[0]


@given(
    text=st.text(st.characters(), max_size=300),
    stage=st.sampled_from(Stage),
    name=st.sampled_from(sorted(names.ALLOWED)),
)
def test_no_text_from_outside_adds_a_line_or_a_control_character(text: str, stage: Stage, name: str) -> None:
    trace = refused_at(stage, Reason.INTERNAL, text, attributes={name: text})
    finding = Finding(text, text, matched=True, why=text)
    plain = refused_at(stage, Reason.INTERNAL, "x", attributes={name: "x"})
    for each in (trace, plain):
        each.decision_id = text if each is trace else "x"
        each.add(
            record(Stage.DECIDE, findings=(finding if each is trace else Finding("x", "x", matched=True, why="x"),))
        )
    shown = render(trace, colour=False)
    assert all(line.isprintable() for line in shown.split("\n"))
    assert abs(len(shown.split("\n")) - len(render(plain, colour=False).split("\n"))) <= 1


def test_a_trace_without_records_can_be_shown() -> None:
    assert "not reached: accept" in render(trace_of(), colour=False)
