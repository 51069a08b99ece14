from typing import Any

import pytest

from callgate.audit.chain import Kind
from callgate.audit.entries import Entry, join
from callgate.audit.sessions import Overview, Sessions, sessions_of, steps_of
from callgate.audit.story import Step, Tone, step_of
from callgate.cli.session_words import ending_words
from support.audit_logs import BEGAN_NS, MadeLog

SESSION = "5e" * 8


def entries(log: MadeLog) -> list[Entry]:
    """As a reader of the log finds them."""
    records = [(seq, kind, dict(fields), when) for seq, (kind, fields, when) in enumerate(log.records)]
    moment = "2026-01-07T12:00:{:02d}.{:09d}Z"
    found: list[Any] = [
        {
            **fields,
            "seq": seq,
            "kind": kind,
            "time": moment.format(*divmod(when.wall_ns - BEGAN_NS, 10**9)),
        }
        for seq, kind, fields, when in records
    ]
    return list(join(found))


def overview(log: MadeLog, session: str = SESSION) -> Overview:
    found = Sessions(10)
    for entry in entries(log):
        for each in sessions_of(entry):
            found.add(each, entry)
    return next(each for each in found if each.id == session)


def steps(log: MadeLog, session: str = SESSION) -> list[Step]:
    return list(steps_of(entries(log), overview(log, session)))


def test_steps_are_the_sessions_requests_alone_numbered_and_timed_from_its_first() -> None:
    log = MadeLog()
    log.call(session="aa" * 8)
    log.call(tool="get_invoice")
    log.refusal(tool="wipe_ledger")

    first, second = steps(log)

    assert (first.number, first.offset_us, first.entry.tool) == (1, 0, "get_invoice")
    assert (second.number, second.offset_us, second.entry.tool) == (2, 100_000, "wipe_ledger")


def test_a_call_that_waits_for_a_person_is_held_and_not_denied() -> None:
    log = MadeLog()
    log.refusal(tool="refund", reason="approval_required", stage="approve", approval={"id": "ad" * 16})

    (step,) = steps(log)

    assert step.tone is Tone.HELD
    assert ending_words(step) == "approval_required: A person has to agree to this call first"
    assert overview(log).status is Tone.HELD


def test_a_call_that_a_person_denied_is_denied() -> None:
    log = MadeLog()
    log.refusal(tool="refund", reason="approval_denied", stage="approve", approval={"id": "ad" * 16})
    assert [step.tone for step in steps(log)] == [Tone.DENIED]


def test_a_step_has_the_records_of_its_own_approval() -> None:
    log = MadeLog()
    log.call(tool="refund", approval={"id": "ad" * 16, "by": ["alice@acme.test"], "use": 1})
    log.call(tool="refund")
    said = (Entry({"kind": "approval", "approval": "ad" * 16}),)

    first, second = steps_of(entries(log), overview(log), approvals={"ad" * 16: said, "ae" * 16: ()})

    assert (first.approval, first.entry.approvers) == (said, ("alice@acme.test",))
    assert (second.approval, second.entry.approvers) == ((), ())


def test_a_step_tells_the_whole_path_the_rules_and_the_token_but_never_the_token_itself() -> None:
    log = MadeLog()
    log.call(tool="refund", grant="refunds-under-500")

    (step,) = steps(log)

    assert [each.stage for each in step.path] == [
        "accept", "authenticate", "read", "identify", "decide", "inspect", "mint", "record", "forward", "screen", "respond"
    ]  # fmt: skip
    assert all(each.is_ok for each in step.path)
    assert [(rule.rule, rule.kind, rule.matched) for rule in step.rules] == [("refunds-under-500", "grant", True)]
    assert step.token is not None
    assert (step.token.audience, step.token.scope) == ("https://ledger.acme.test/mcp", "tool:refund")
    assert step.token.jti == step.entry.jti != ""
    assert step.token.expires == BEGAN_NS // 10**9 + 20
    assert step.took_us == 1500


def test_a_refused_step_names_the_stage_and_the_reason_of_its_refusal() -> None:
    log = MadeLog()
    log.refusal(reason="no_grant")

    (step,) = steps(log)

    refused = step.path[-1]
    assert (refused.stage, refused.outcome, refused.reason, refused.is_ok) == ("decide", "refused", "no_grant", False)
    assert step.tone is Tone.DENIED
    assert step.token is None


@pytest.mark.parametrize(
    ("status", "tone"),
    [
        ("answered", Tone.WELL),
        ("tool_error", Tone.FAILED),
        ("rpc_error", Tone.FAILED),
        ("failed", Tone.FAILED),
        ("cancelled", Tone.FAILED),
        ("unknown", Tone.FAILED),
        ("not_forwarded", Tone.FAILED),
        ("a status of a later format", Tone.FAILED),
    ],
)
def test_a_call_that_did_not_end_well_has_failed(status: str, tone: Tone) -> None:
    log = MadeLog()
    log.call(status=status)

    assert steps(log)[0].tone is tone


def test_a_call_without_an_outcome_is_open() -> None:
    log = MadeLog()
    log.call(orphan=True)

    (step,) = steps(log)
    assert (step.tone, step.took_us) == (Tone.OPEN, None)


def test_a_clock_that_was_set_back_makes_no_step_earlier_than_its_session() -> None:
    log = MadeLog()
    log.call()

    (entry,) = entries(log)

    assert step_of(entry, 2, BEGAN_NS + 10**12).offset_us == 0


def test_the_initialize_that_began_a_session_is_its_first_step() -> None:
    log = MadeLog()
    request = log.request(tool=None, session="aa" * 8) | {"method": "initialize"}
    log.outcome(log.add(Kind.INTENT, **request, path=[]), began=SESSION)
    log.call(tool="get_invoice")

    assert [step.entry.method for step in steps(log)] == ["initialize", "tools/call"]


def test_a_session_that_consists_of_beginnings_of_others_says_so() -> None:
    log = MadeLog()
    request = log.request(tool=None, session="aa" * 8) | {"method": "initialize"}
    log.outcome(log.add(Kind.INTENT, **request, path=[]), began=SESSION)

    assert overview(log, "aa" * 8).only_begins_others
    assert not overview(log).only_begins_others


@pytest.mark.parametrize("wrong", [None, 7, [], {}, "text", [[1]], [None], {"rule": 3}, {"exp": "soon"}, -1, True])
def test_a_record_with_fields_of_other_types_is_told_as_one_that_says_nothing(wrong: object) -> None:
    record: Any = dict.fromkeys(
        ("seq", "time", "rules", "path", "token", "request", "size", "record", "session", "caller", "user", "method"),
        wrong,
    )
    outcome: Any = dict.fromkeys(("status", "took_us", "answer", "path", "began", "http", "reason"), wrong)

    step = step_of(Entry({**record, "kind": "intent"}, outcome), 1, 0)

    assert step.tone is Tone.FAILED
    assert all(isinstance(rule.rule, str) for rule in step.rules)


def test_an_overview_has_who_where_and_how_often() -> None:
    log = MadeLog()
    log.call(user={"issuer": "https://login.acme.test", "subject": "alice"})
    log.call(server="mail", status="failed")
    log.refusal()

    found = overview(log)

    assert (found.requests, found.count(Tone.WELL), found.count(Tone.FAILED), found.count(Tone.DENIED)) == (3, 1, 1, 1)
    assert [*found.servers] == ["ledger", "mail"]
    assert [*found.users] == ["alice of https://login.acme.test"]
    assert [*found.callers] == ["spiffe://acme.test/ns/billing/sa/agent"]
    assert (found.first_ns - BEGAN_NS, found.last_ns - BEGAN_NS) == (50_000_000, 250_000_000)


def test_the_status_of_a_session_is_the_worst_that_happened() -> None:
    log = MadeLog()
    log.call()
    assert overview(log).status is Tone.WELL
    log.refusal()
    assert overview(log).status is Tone.DENIED
    log.call(status="failed")
    assert overview(log).status is Tone.FAILED
    log.call(orphan=True)
    assert overview(log).status is Tone.OPEN


def test_a_dry_run_of_what_would_be_allowed_is_no_denial() -> None:
    log = MadeLog()
    log.refusal(reason="dry_run")
    (step,) = steps(log)

    assert (step.tone, overview(log).status) == (Tone.WELL, Tone.WELL)
    assert ending_words(step).startswith("dry_run: ")


def test_sessions_come_in_the_order_in_which_they_were_last_active() -> None:
    log = MadeLog()
    for session in ("aa" * 8, "bb" * 8, "aa" * 8):
        log.call(session=session)
    found = Sessions(10)
    for entry in entries(log):
        found.add(entry.session, entry)

    assert [each.id for each in found] == ["bb" * 8, "aa" * 8]


def test_of_more_sessions_than_are_kept_the_latest_stay_and_the_others_are_counted() -> None:
    log = MadeLog()
    for number in range(5):
        log.call(session=f"{number:016x}")
    found = Sessions(2)
    for entry in entries(log):
        found.add(entry.session, entry)

    assert [each.id for each in found] == [f"{3:016x}", f"{4:016x}"]
    assert found.forgotten == 3


def test_what_a_session_names_does_not_grow_with_a_forged_log() -> None:
    log = MadeLog()
    for number in range(200):
        log.call(caller=f"spiffe://acme.test/{number}", server=f"s{number}")

    found = overview(log)

    assert len(found.callers) <= 16
    assert len(found.servers) <= 16
    assert found.requests == 200
