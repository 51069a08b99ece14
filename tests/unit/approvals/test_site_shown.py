"""A request as the API shows it: to whom, and what becomes of texts that others wrote."""

import json
from dataclasses import replace

import pytest

from callgate.approvals.model import Ask, Binding, Means, Moment, Person, Request, new_request
from callgate.approvals.site.shown import Look, may_see, shown, summary
from callgate.policy.approval import Approval, Owners, Repeat

NOW = Moment(1_000.0, "boot", 10.0)
APPROVAL = Approval("r", frozenset({"leads"}), frozenset({"carol"}))
BINDING = Binding("spiffe://acme.test/ns/a", "ledger", "refund", "a" * 64, "d" * 64, "policy")


def person(name: str, *groups: str) -> Person:
    return Person(name, frozenset(groups), Means.OIDC, 1_000.0)


def asked(**more: object) -> Request:
    ask = Ask(BINDING, {"amount": 900}, (APPROVAL,), Owners(frozenset({"bob"}), frozenset({"devs"})))
    return new_request("0" * 32, replace(ask, **more), NOW)  # type: ignore[arg-type]  # of any field


LOOK = Look(person("carol"), NOW, "policy")


@pytest.mark.parametrize(
    ("who", "sees"),
    [
        (person("carol"), True),
        (person("x", "leads"), True),
        (person("bob"), True),
        (person("x", "devs"), True),
        (person("x"), False),
        (person("leads"), False),
        (person("x", "carol", "bob"), False),
        (person("Carol"), False),
    ],
)
def test_approvers_and_owners_see_a_request_and_nobody_else(who: Person, *, sees: bool) -> None:
    assert may_see(asked(), who) is sees


def test_a_list_tells_no_arguments_and_no_definition() -> None:
    told = json.dumps(summary(asked(definition='{"description": "SECRET"}'), LOOK))
    assert "SECRET" not in told
    assert "amount" not in told


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", None),
        ("[]", None),
        ("{", None),
        ('{"description": "a", "description": "b"}', None),
        ('{"description": 1, "annotations": []}', {"description": None, "title": None, "annotations": None}),
        (
            '{"title": "T", "description": "D", "annotations": {"readOnlyHint": true}, "inputSchema": {}}',
            {"title": "T", "description": "D", "annotations": {"readOnlyHint": True}},
        ),
    ],
)
def test_a_definition_is_told_as_far_as_it_is_one(text: str, found: object) -> None:
    assert shown(asked(definition=text), LOOK)["definition"] == found


def test_what_may_be_covered_is_told_as_json_pointers() -> None:
    repeat = Repeat((("a/b", "~c"), ("list", 0)), 60, 3)
    found = shown(asked(approvals=(replace(APPROVAL, repeat=repeat),)), LOOK)["repeat"]
    assert found == {"same": ["/a~1b/~0c", "/list/0"], "seconds": 60, "calls": 3}


@pytest.mark.parametrize(
    ("look", "you"),
    [
        (LOOK, (True, True, None)),
        (replace(LOOK, person=person("bob")), (False, False, "not_an_approver")),
        (replace(LOOK, policy="another"), (False, False, "policy_changed")),
        (replace(LOOK, now=Moment(2_000.0, "boot", 1_010.0)), (False, False, "approval_expired")),
        (replace(LOOK, now=Moment(900.0, "boot", 11.0)), (False, False, "approval_expired")),
    ],
)
def test_says_what_whoever_looks_may_do(look: Look, you: tuple[bool, bool, str | None]) -> None:
    found = summary(asked(), look)["you"]
    assert isinstance(found, dict)
    assert (found["may_approve"], found["may_deny"], found["why"]) == you


def test_a_reason_that_is_still_to_be_given_is_in_nobodys_way() -> None:
    found = shown(asked(approvals=(replace(APPROVAL, needs_reason=True),)), LOOK)
    assert found["reason_required"] is True
    assert found["you"] == {"may_approve": True, "may_deny": True, "why": None}
