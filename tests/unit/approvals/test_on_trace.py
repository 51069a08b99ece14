"""What traces and metrics say of a request for approval: how it went, and never who a person is."""

from dataclasses import replace

import pytest

from callgate.approvals.happened import Happened, Happening
from callgate.approvals.model import (
    Ask,
    Binding,
    Means,
    Moment,
    Person,
    Request,
    State,
    Verdict,
    Vote,
    looked_at,
    new_request,
    used_once,
    voted,
)
from callgate.approvals.on_trace import attributes_of, count, findings_of
from callgate.policy.approval import Approval
from callgate.telemetry import names
from callgate.telemetry.approval_metrics import ApprovalTelling

NOW = Moment(1_800_000_000.0, "boot", 100.0)
TWO = Approval("refunds", frozenset({"leads"}), frozenset(), needed=2)
ONE = replace(TWO, needed=1)
BINDING = Binding("spiffe://acme.test/agent", "ledger", "refund", "2" * 64, "", "policy")


def person(name: str, means: Means = Means.OIDC) -> Person:
    return Person(name, frozenset({"leads"}), means, NOW.wall)


def request(approval: Approval = ONE) -> Request:
    return new_request("ad" * 16, Ask(BINDING, {}, (approval,)), NOW)


def after(of: Request, name: str, means: Means = Means.OIDC, verdict: Verdict = Verdict.APPROVE) -> Request:
    found = voted(of, Vote(person(name, means), verdict, "because", NOW.wall), NOW, "policy")
    assert isinstance(found, Request)
    return found


def test_the_wait_of_two_people_is_told_by_their_number_and_means() -> None:
    agreed = after(after(request(TWO), "alice@acme.test"), "local:ada", Means.SOCKET)
    used = used_once(agreed, NOW, "policy")
    assert used is not None

    assert attributes_of(used, 12.34567, is_repeat=False) == {
        names.APPROVAL_ID: "ad" * 16,
        names.APPROVAL_STATE: "used",
        names.APPROVAL_WAITED: 12.346,
        names.APPROVAL_PEOPLE: 2,
        names.APPROVAL_MEANS: ("oidc", "socket"),
        names.APPROVAL_REPEAT: False,
    }


def test_what_nobody_answered_has_no_means() -> None:
    assert names.APPROVAL_MEANS not in attributes_of(request(), 30.0, is_repeat=False)


def test_events_tell_what_happened_in_its_order_for_the_rule_that_asks() -> None:
    seen = looked_at(looked_at(request(TWO), "alice@acme.test"), "carol@acme.test")
    denied = after(after(seen, "alice@acme.test"), "carol@acme.test", Means.SLACK, Verdict.DENY)

    assert [(each.rule, each.kind, each.matched, each.why) for each in findings_of(denied)] == [
        ("refunds", "approval", True, "a person was asked"),
        ("refunds", "approval", True, "seen by 2 people"),
        ("refunds", "approval", True, "approved by one person (oidc)"),
        ("refunds", "approval", False, "denied by one person (slack)"),
    ]


def test_no_name_of_a_person_nor_what_it_said_leaves_by_a_trace() -> None:
    agreed = after(looked_at(request(), "alice@acme.test"), "alice@acme.test")
    told = f"{findings_of(agreed)} {attributes_of(agreed, 1.0, is_repeat=True)}"
    assert "alice" not in told
    assert "because" not in told


def told_of(happening: Happening, of: Request, at: float = NOW.wall + 20) -> list[tuple[str, str, float | None]]:
    told: list[tuple[str, str, float | None]] = []
    count(Happened(happening, of, at), ApprovalTelling(happened=lambda *each: told.append(each)))
    return told


@pytest.mark.parametrize(
    ("happening", "waited_s"),
    [("asked", None), ("approved", 20.0), ("denied", 20.0), ("used", None), ("expired", 20.0), ("void", 20.0)],
)
def test_what_happens_is_counted_and_an_end_of_the_wait_measured(happening: str, waited_s: float | None) -> None:
    assert told_of(Happening(happening), request()) == [(happening, "ledger", waited_s)]


@pytest.mark.parametrize("happening", [Happening.SEEN, Happening.AGREED])
def test_who_looked_or_agreed_before_others_is_not_counted(happening: Happening) -> None:
    assert told_of(happening, request()) == []


@pytest.mark.parametrize("happening", [Happening.EXPIRED, Happening.VOID])
def test_the_end_of_what_was_agreed_to_and_not_used_is_no_wait(happening: Happening) -> None:
    agreed = replace(after(request(), "alice@acme.test"), state=State.EXPIRED)
    assert told_of(happening, agreed) == [(happening.value, "ledger", None)]


def test_the_wait_ended_with_the_second_of_two_people_and_not_with_the_first() -> None:
    one_of_two = after(request(TWO), "alice@acme.test")
    assert told_of(Happening.EXPIRED, one_of_two) == [("expired", "ledger", 20.0)]
