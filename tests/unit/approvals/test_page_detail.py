"""What the page of one request says, and to whom."""

import json
from dataclasses import replace
from typing import Final

import pytest

from callgate.approvals.model import Means, Moment, Request, State, VoteRefusal
from callgate.approvals.site.detail import MAX_BEFORE, Detail, detail
from callgate.approvals.site.outcomes import ENDINGS, OUTCOMES, STATES
from callgate.approvals.site.visible import Pieces, Text
from callgate.policy.approval import Approval, Owners, Repeat
from callgate.screening.pack_terms import Declared
from support.hostile_requests import LEAD, NOW, REFUNDS, asked, request

NOTHING: Final = Declared()


def text_of(shown: Pieces | Text | None) -> str:
    assert shown is not None
    pieces = shown if isinstance(shown, tuple) else shown.head + shown.middle + shown.tail
    return "".join(piece.text for piece in pieces)


def view(found: Request, now: Moment = NOW, left_s: float = 800.0, person: object = LEAD) -> Detail:
    assert isinstance(person, type(LEAD))
    return detail(found, person, NOTHING, now, left_s)


def with_approval(approval: Approval, **more: object) -> Request:
    plain = replace(request("x"), votes=())
    return replace(plain, ask=replace(plain.ask, approvals=(approval,), **more))  # type: ignore[arg-type]  # as told


def later(seconds: float) -> Moment:
    return Moment(NOW.wall + seconds, NOW.boot, NOW.since_boot + seconds)


def test_what_the_tool_server_says_is_shown_as_its_own_words() -> None:
    definition = {"name": "t", "title": "T", "description": "Does it.", "annotations": {"readOnlyHint": True}}

    tool = view(with_approval(REFUNDS, definition=json.dumps(definition))).tool

    assert (text_of(tool.title), text_of(tool.description)) == ("T", "Does it.")
    assert [(text_of(name), text_of(hint)) for name, hint in tool.annotations] == [("readOnlyHint", "true")]


@pytest.mark.parametrize("definition", ["", "no json", "[]", '{"description": 1, "annotations": [1]}'])
def test_a_definition_that_says_nothing_is_no_reason_to_fail(definition: str) -> None:
    tool = view(with_approval(REFUNDS, definition=definition)).tool

    assert (tool.title, tool.description, tool.annotations) == (None, None, ())


def test_how_many_agreed_is_told_for_each_rule() -> None:
    (rule,) = view(request("x")).rules

    assert (rule.needed, rule.agreed) == (2, 1)
    assert view(request("x")).more == 1


def test_the_latest_calls_of_the_session_are_shown_and_the_others_counted() -> None:
    before = request("x").ask.before * (MAX_BEFORE + 5)

    found = view(with_approval(REFUNDS, before=before))

    assert (len(found.earlier), found.earlier_left_out) == (MAX_BEFORE, 5)


def test_how_long_the_call_itself_waits_is_told_while_it_does() -> None:
    found = with_approval(replace(REFUNDS, waits_s=30))

    held = view(found, later(10.0)).held
    assert held is not None
    assert held.seconds == 20
    assert view(found, later(31.0)).held is None
    # Whoever asks again waits anew, and nobody knows since when.
    assert view(replace(found, asks=2), later(10.0)).held is None


def test_who_has_answered_is_told_so() -> None:
    found = request(LEAD.name)

    mine = view(found).answering.mine
    assert mine is not None
    assert mine.verdict == "approved"


def test_an_owner_is_told_before_answering() -> None:
    owned = with_approval(replace(REFUNDS, four_eyes=True), owners=Owners(people=frozenset({LEAD.name})))

    answering = view(owned).answering

    assert answering.approve is OUTCOMES[VoteRefusal.OWNER]
    assert answering.deny is None


def test_a_stranger_can_neither_approve_nor_deny() -> None:
    stranger = replace(LEAD, groups=frozenset())

    answering = view(with_approval(REFUNDS), person=stranger).answering

    assert answering.approve is answering.deny is OUTCOMES[VoteRefusal.NOT_AN_APPROVER]


@pytest.mark.parametrize(
    ("age_s", "means", "stale"),
    [(299.0, Means.OIDC, False), (301.0, Means.OIDC, True), (301.0, Means.SOCKET, True)],
)
def test_an_old_sign_in_is_told_before_answering(age_s: float, means: Means, stale: bool) -> None:
    person = replace(LEAD, signed_in=NOW.wall - age_s, means=means)

    answering = view(with_approval(replace(REFUNDS, sign_in_s=300)), person=person).answering

    assert (answering.is_stale, answering.fresh_within) == (stale, "5 min")


def test_what_an_approval_may_cover_is_told_with_the_values_that_stay() -> None:
    repeat = Repeat((("account",), ("list", 0), ("nowhere",), ("null",)), 900, 5)
    arguments = {"account": "a-17", "list": [1], "null": None}

    cover = view(with_approval(replace(REFUNDS, repeat=repeat), arguments=arguments)).answering.cover

    assert cover is not None
    assert (cover.calls, cover.minutes) == (5, 15)
    assert [(text_of(path), value and text_of(value)) for path, value in cover.same] == [
        ("account", '"a-17"'), ("list / 0", "1"), ("nowhere", None), ("null", "null"),
    ]  # fmt: skip


def test_no_repeat_no_choice() -> None:
    assert view(with_approval(replace(REFUNDS, repeat=None))).answering.cover is None


def test_everything_that_is_agreed_to_is_named() -> None:
    found = asked("x")

    digests = dict(view(request("x")).digests)

    assert digests["Arguments (SHA-256)"] == found.binding.arguments
    assert digests["Tool's definition"] == found.binding.definition
    assert digests["Policy"] == found.binding.policy


def test_every_state_and_every_refusal_has_its_words() -> None:
    assert set(STATES) == set(ENDINGS) == set(State)
    assert set(OUTCOMES) == set(VoteRefusal)
