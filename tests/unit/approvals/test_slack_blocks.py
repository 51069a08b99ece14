"""What a channel shows: who asks for what, and never the arguments."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from callgate.approvals.model import Request, State, Verdict, Vote, new_request
from callgate.approvals.notify.slack_blocks import APPROVE, APPROVE_ON_PAGE, DENY, LOOK, message_of
from callgate.approvals.notify.slack_settings import SlackPerson, SlackSettings
from callgate.policy.approval import Approval
from support.notified import ALICE, CANARY, LEADS, Clock, ask_of
from support.slack_server import PEOPLE, buttons

PAGE = "https://gate.acme.test:8444/approvals/r/1"
BOTH = replace(LEADS, needed=2)


def request_of(approval: Approval = LEADS, **changes: object) -> Request:
    return new_request("ab" * 16, ask_of("refund", approval, **changes), Clock().moment())


def shown(
    request: Request, *, approve_in_slack: bool = False, people: Mapping[str, SlackPerson] = PEOPLE
) -> dict[str, Any]:
    settings = SlackSettings("C0", Path(), Path(), people, approve_in_slack)
    return {"blocks": message_of(request, PAGE, settings)}


def test_says_who_asks_for_what_and_why_and_nothing_of_the_arguments() -> None:
    text = json.dumps(shown(request_of(user="erin@acme.test")))
    for told in ("spiffe://acme.test/ns/billing/sa/agent", "payments/refund", "refunds-over-500", "erin@acme.test"):
        assert told in text
    assert CANARY not in text
    assert "0" * 64 not in text


def test_approving_leads_to_the_page_unless_configured_otherwise() -> None:
    found = buttons(shown(request_of()))
    assert set(found) == {LOOK, APPROVE_ON_PAGE, DENY}
    assert found[LOOK]["url"] == found[APPROVE_ON_PAGE]["url"] == PAGE
    assert "value" not in found[APPROVE_ON_PAGE]


def test_without_people_there_is_nothing_to_click_but_the_page() -> None:
    assert set(buttons(shown(request_of(), approve_in_slack=True, people={}))) == {LOOK}


def test_a_click_approves_where_that_is_configured_and_says_that_nothing_was_seen() -> None:
    request = request_of()
    found = buttons(shown(request, approve_in_slack=True))
    assert found[APPROVE]["value"] == f"{request.id}.{request.ask.binding.digest}"
    assert "not shown" in found[APPROVE]["confirm"]["text"]["text"]


@pytest.mark.parametrize("approval", [replace(LEADS, needs_reason=True), replace(LEADS, sign_in_s=300)])
def test_approving_leads_to_the_page_where_a_click_cannot_say_enough(approval: Approval) -> None:
    found = buttons(shown(request_of(approval), approve_in_slack=True))
    assert set(found) == {LOOK, APPROVE_ON_PAGE, DENY}


@pytest.mark.parametrize("state", [State.APPROVED, State.DENIED, State.USED, State.EXPIRED, State.VOID])
def test_what_has_ended_can_only_be_looked_at(state: State) -> None:
    vote = Vote(ALICE, Verdict.DENY if state is State.DENIED else Verdict.APPROVE, "no: <!channel>", 0.0)
    request = replace(request_of(), state=state, votes=(vote,))
    assert set(buttons(shown(request, approve_in_slack=True))) == {LOOK}


@pytest.mark.parametrize(
    ("state", "verdict", "said"),
    [
        (State.APPROVED, Verdict.APPROVE, "Approved by alice@acme.test"),
        (State.DENIED, Verdict.DENY, "Denied by alice@acme.test: too much"),
        (State.EXPIRED, None, "Over: not decided"),
        (State.EXPIRED, Verdict.APPROVE, "Over: approved by alice@acme.test, not used in time"),
    ],
)
def test_says_who_decided(state: State, verdict: Verdict | None, said: str) -> None:
    votes = () if verdict is None else (Vote(ALICE, verdict, "too much", 0.0),)
    assert said in json.dumps(shown(replace(request_of(), state=state, votes=votes)))


def test_says_how_many_more_have_to_agree() -> None:
    request = replace(request_of(BOTH), votes=(Vote(ALICE, Verdict.APPROVE, "", 0.0),))
    assert "Agreed: alice@acme.test; 1 more needed to agree" in json.dumps(shown(request))


def test_what_others_wrote_is_plain_text_with_all_that_deceives_made_visible() -> None:
    hostile = "<!channel> *x* \u202egnp.exe <https://evil.test|ok>"
    text = json.dumps(shown(request_of(user=hostile)), ensure_ascii=False)
    assert "\u202e" not in text
    for block in shown(request_of(user=hostile))["blocks"]:
        for element in (*block.get("fields", ()), *block.get("elements", ())):
            if "evil.test" in json.dumps(element):
                assert element["type"] == "plain_text"


def test_stays_within_what_slack_takes_whatever_an_agent_asks_for() -> None:
    request = request_of(replace(LEADS, rule="r" * 5000), user="u" * 5000)
    binding = replace(request.ask.binding, tool="t" * 5000, caller="spiffe://acme.test/" + "c" * 2000)
    request = replace(request, ask=replace(request.ask, binding=binding))
    section = shown(request)["blocks"][0]
    # Block Kit: at most 10 fields of 2000 characters.
    assert len(section["fields"]) <= 10
    assert all(len(each["text"]) <= 2000 for each in section["fields"])
