"""Clicks in Slack: each is an answer like any other, and whoever clicked is told what it came to."""

from dataclasses import replace
from pathlib import Path

import pytest

from callgate.approvals.model import Means, State, Verdict
from callgate.approvals.notify.notifiers import Fate
from callgate.approvals.notify.slack_blocks import APPROVE, DENY, LOOK, value_of
from support.notified import ALICE, LEADS
from support.slack_clicking import clicking
from support.slack_server import buttons


async def test_a_click_on_deny_denies_in_the_name_of_the_person_it_belongs_to(tmp_path: Path) -> None:
    async with clicking(tmp_path) as here:
        request = await here.desk.ask()
        await here.desk.counted("Slack", Fate.DELIVERED)
        (message,) = here.slack.messages.values()
        assert await here.click("U0ALICE", DENY, buttons(message)[DENY]["value"]) == 200
        assert await here.told() == "You denied it."
        denied = await here.now(request)
        assert denied.state is State.DENIED
        assert denied.denial is not None
        person = denied.denial.person
        assert (person.name, person.groups, person.means) == (
            "alice@acme.test",
            frozenset({"payments-leads"}),
            Means.SLACK,
        )
        assert denied.denial.reason == "denied in Slack"
        await here.desk.counted("Slack", Fate.DELIVERED, 2)
        (message,) = here.slack.messages.values()
        assert set(buttons(message)) == {LOOK}


async def test_a_click_approves_where_that_is_configured(tmp_path: Path) -> None:
    async with clicking(tmp_path, approve_in_slack=True) as here:
        request = await here.desk.ask()
        assert await here.click("U0ALICE", APPROVE, value_of(request)) == 200
        assert await here.told() == "You approved it."
        assert (await here.now(request)).state is State.APPROVED


async def test_two_people_who_are_needed_are_two_people(tmp_path: Path) -> None:
    async with clicking(tmp_path, approve_in_slack=True) as here:
        request = await here.desk.ask("refund", replace(LEADS, needed=2))
        await here.click("U0ALICE", APPROVE, value_of(request))
        assert await here.told(1) == "You agreed; others still have to."
        await here.click("U0ALICE", APPROVE, value_of(request))
        assert await here.told(2) == "You have said so before."
        assert (await here.now(request)).state is State.WAITING
        await here.click("U0BOB", APPROVE, value_of(request))
        assert await here.told(3) == "You approved it."


async def test_a_person_who_signed_in_elsewhere_and_clicks_is_one_person(tmp_path: Path) -> None:
    async with clicking(tmp_path, approve_in_slack=True) as here:
        request = await here.desk.ask("refund", replace(LEADS, needed=2))
        await here.desk.say(request, Verdict.APPROVE, ALICE)
        await here.click("U0ALICE", APPROVE, value_of(request))
        assert "said so before" in await here.told()


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"needs_reason": True}, "The policy wants a reason: approve on the page."),
        ({"sign_in_s": 300}, "The policy wants a fresh sign-in: approve on the page."),
    ],
)
async def test_a_click_does_not_approve_what_wants_more_than_a_click(
    tmp_path: Path, changes: dict[str, object], told: str
) -> None:
    async with clicking(tmp_path, approve_in_slack=True) as here:
        request = await here.desk.ask("refund", replace(LEADS, **changes))  # type: ignore[arg-type]
        await here.click("U0ALICE", APPROVE, value_of(request))
        assert await here.told() == told
        assert (await here.now(request)).votes == ()


async def test_a_click_on_a_link_is_taken_and_says_nothing(tmp_path: Path) -> None:
    async with clicking(tmp_path) as here:
        request = await here.desk.ask()
        assert await here.click("U0ALICE", LOOK, "") == 200
        await here.click("U0ALICE", DENY, value_of(request))
        await here.told()
        assert len(here.slack.replies) == 1


async def test_who_cannot_be_told_is_counted_and_the_answer_counts_all_the_same(tmp_path: Path) -> None:
    async with clicking(tmp_path) as here:
        request = await here.desk.ask()
        assert await here.click("U0ALICE", DENY, value_of(request), reply="") == 200
        assert (await here.now(request)).state is State.DENIED
        assert here.clicks.replies_lost == 1
