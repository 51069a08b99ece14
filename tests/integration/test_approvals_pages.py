"""The pages where people decide, over real connections, as a browser without script uses them."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest

from callgate.approvals.model import Request, State, VoteRefusal
from callgate.approvals.site.outcomes import OUTCOMES
from callgate.policy.approval import Approval, Owners
from support.approval_site import CAROL, LEAD, REFUNDS, STRANGER, Answer, Browser, Site, approval_site, policy_numbered
from support.html_pages import Page

TWO: Final = replace(REFUNDS, needed=2)


def form_of(browser: Browser, request: Request, verdict: str, **more: str) -> dict[str, str]:
    fields = {
        "csrf": browser.csrf,
        "binding": request.ask.binding.digest,
        "verdict": verdict,
        "reason": "",
        "cover": "once",
    }
    return fields | more


async def answered(browser: Browser, request: Request, verdict: str, **more: str) -> Answer:
    return await browser.post_form(f"/approvals/r/{request.id}", form_of(browser, request, verdict, **more))


async def state_of(site: Site, request: Request) -> State:
    found = await site.desk.opened(request.id, None)
    assert found is not None
    return found.state


def field(shown: Page, name: str) -> str:
    (found,) = (each for each in shown.all("input") if each.attributes["name"] == name)
    return found.attributes["value"]


def page(answer: Answer) -> Page:
    assert ("content-type", "text/html; charset=utf-8") in answer.headers
    return Page(answer.body.decode())


async def test_whoever_is_not_signed_in_is_sent_to_sign_in_and_come_back(tmp_path: Path) -> None:
    async with approval_site(tmp_path) as site:
        request = await site.asked(amount=900)

        answer = await site.anybody().get(f"/approvals/r/{request.id}")

        assert (answer.status, answer.all("location")) == (303, [f"/approvals/sign-in?next=/approvals/r/{request.id}"])


async def test_the_list_says_what_waits_and_leads_to_it(tmp_path: Path) -> None:
    async with approval_site(tmp_path) as site:
        request = await site.asked(amount=900)

        listed = page(await (await site.browser(LEAD)).get("/approvals"))

        assert listed.one("title").text == "(1) Approvals · callgate"
        assert listed.one("a", href=f"/approvals/r/{request.id}").text == "ledger refund"


async def test_an_approval_is_answered_by_a_redirect_and_the_page_says_so(tmp_path: Path) -> None:
    async with approval_site(tmp_path) as site:
        request, lead = await site.asked(amount=900), await site.browser(LEAD)

        answer = await answered(lead, request, "approve", reason="Ticket 4711")

        assert (answer.status, answer.all("location")) == (303, [f"/approvals/r/{request.id}"])
        assert await state_of(site, request) is State.APPROVED
        shown = page(await lead.get(f"/approvals/r/{request.id}"))
        assert shown.one("div", id="outcome").text.split("\n")[1] == "You approved this"
        assert "Ticket 4711" in shown.one("main").text
        assert not any("Approve" in button.text for button in shown.all("button"))


async def test_a_denial_tells_the_reason(tmp_path: Path) -> None:
    async with approval_site(tmp_path) as site:
        request, lead = await site.asked(amount=900), await site.browser(LEAD)

        await answered(lead, request, "deny", reason="Not this month")

        assert await state_of(site, request) is State.DENIED
        assert "Not this month" in page(await lead.get(f"/approvals/r/{request.id}")).one("main").text


async def test_a_form_that_is_sent_twice_counts_once_and_says_the_same(tmp_path: Path) -> None:
    async with approval_site(tmp_path) as site:
        request, lead = await site.asked((TWO,), amount=900), await site.browser(LEAD)

        answers = [await answered(lead, request, "approve") for _ in range(3)]

        assert [answer.status for answer in answers] == [303, 303, 303]
        found = await site.desk.opened(request.id, None)
        assert found is not None
        assert (len(found.votes), found.state) == (1, State.WAITING)


@pytest.mark.parametrize("approval", [TWO, REFUNDS], ids=["one of two", "enough"])
async def test_who_agreed_can_deny_after_all_on_the_same_page(tmp_path: Path, approval: Approval) -> None:
    async with approval_site(tmp_path) as site:
        request, lead = await site.asked((approval,), amount=900), await site.browser(LEAD)
        await answered(lead, request, "approve")
        shown = page(await lead.get(f"/approvals/r/{request.id}"))
        assert "Deny after all" in shown.one("main").text

        answer = await answered(lead, request, "deny", reason="Wrong account")
        after = await site.desk.opened(request.id, None)

        assert answer.status == 303
        assert after is not None
        assert after.state is State.DENIED


async def test_somebody_else_was_faster(tmp_path: Path) -> None:
    async with approval_site(tmp_path) as site:
        request, lead, carol = await site.asked(amount=900), await site.browser(LEAD), await site.browser(CAROL)
        await answered(carol, request, "deny", reason="No")

        answer = await answered(lead, request, "approve")

        assert_refused(answer, VoteRefusal.FINISHED)
        assert "carol@acme.test denied this" in page(answer).one("main").text


async def test_too_late_is_said_so(tmp_path: Path) -> None:
    async with approval_site(tmp_path) as site:
        request, lead = await site.asked(amount=900), await site.browser(LEAD)
        site.clock.forward(request.ask.stands_s - 1)
        lead = await site.browser(LEAD)
        site.clock.forward(2)

        assert_refused(await answered(lead, request, "approve"), VoteRefusal.EXPIRED)


async def test_another_policy_is_said_so(tmp_path: Path) -> None:
    async with approval_site(tmp_path) as site:
        request, lead = await site.asked(amount=900), await site.browser(LEAD)
        site.policies[0] = policy_numbered(2)

        assert_refused(await answered(lead, request, "approve"), VoteRefusal.POLICY_CHANGED)


async def test_an_answer_to_another_binding_does_not_count(tmp_path: Path) -> None:
    async with approval_site(tmp_path) as site:
        one, other, lead = await site.asked(amount=900), await site.asked(amount=901), await site.browser(LEAD)

        answer = await answered(lead, one, "approve", binding=other.ask.binding.digest)

        assert_refused(answer, VoteRefusal.BINDING_MISMATCH)
        assert await state_of(site, one) is State.WAITING


async def test_a_missing_reason_is_said_and_what_was_typed_stays(tmp_path: Path) -> None:
    async with approval_site(tmp_path) as site:
        request, lead = await site.asked((replace(REFUNDS, needs_reason=True),), amount=900), await site.browser(LEAD)

        answer = await answered(lead, request, "approve", cover="repeat", cover_calls="2", cover_minutes="3")

        assert_refused(answer, VoteRefusal.REASON_NEEDED)
        shown = page(answer)
        assert shown.one("textarea").attributes["aria-invalid"] == "true"
        assert shown.one("input", id="cover-calls").attributes["value"] == "2"
        assert "checked" in shown.one("input", id="repeat").attributes


async def test_an_owner_cannot_approve_and_can_deny(tmp_path: Path) -> None:
    async with approval_site(tmp_path) as site:
        owners = Owners(people=frozenset({LEAD.name}))
        request = await site.asked((replace(REFUNDS, four_eyes=True),), owners, amount=900)
        lead = await site.browser(LEAD)

        shown = page(await lead.get(f"/approvals/r/{request.id}"))
        assert OUTCOMES[VoteRefusal.OWNER].title in shown.one("div", id="cannot").text
        assert [each.attributes["value"] for each in shown.all("button") if "value" in each.attributes] == ["deny"]
        assert_refused(await answered(lead, request, "approve"), VoteRefusal.OWNER)
        assert (await answered(lead, request, "deny")).status == 303


async def test_an_old_sign_in_leads_to_a_fresh_one(tmp_path: Path) -> None:
    async with approval_site(tmp_path) as site:
        request, lead = await site.asked((replace(REFUNDS, sign_in_s=60),), amount=900), await site.browser(LEAD)
        site.clock.forward(61)

        answer = await answered(lead, request, "approve")

        assert_refused(answer, VoteRefusal.SIGN_IN_TOO_OLD)
        links = {each.attributes["href"] for each in page(answer).all("a")}
        assert f"/approvals/sign-in?next=/approvals/r/{request.id}&fresh=1" in links


async def test_more_than_the_policy_allows_is_refused(tmp_path: Path) -> None:
    async with approval_site(tmp_path) as site:
        request, lead = await site.asked(account="a"), await site.browser(LEAD)

        answer = await answered(lead, request, "approve", cover="repeat", cover_calls="6", cover_minutes="15")

        assert_refused(answer, VoteRefusal.COVER_NOT_ALLOWED)


async def test_an_approval_of_several_calls_says_how_many_are_left(tmp_path: Path) -> None:
    async with approval_site(tmp_path) as site:
        request, lead = await site.asked(account="a"), await site.browser(LEAD)

        await answered(lead, request, "approve", cover="repeat", cover_calls="3", cover_minutes="10")

        assert "3 of 3 calls left" in page(await lead.get(f"/approvals/r/{request.id}")).one("main").text


async def test_a_stranger_sees_nothing_of_it(tmp_path: Path) -> None:
    async with approval_site(tmp_path) as site:
        request, stranger = await site.asked(secret="pears"), await site.browser(STRANGER)

        for path in ("", "/arguments"):
            answer = await stranger.get(f"/approvals/r/{request.id}{path}")
            assert (answer.status, b"pears" in answer.body) == (403, False)
        assert (await answered(stranger, request, "approve")).status == 403
        assert request.id not in (await stranger.get("/approvals")).body.decode()


@pytest.mark.parametrize("id_", ["0" * 31, "f" * 32, "%3Cb%3E", "..", "%2e%2e"])
async def test_what_is_not_there_is_said_so(tmp_path: Path, id_: str) -> None:
    async with approval_site(tmp_path) as site:
        answer = await (await site.browser(LEAD)).get(f"/approvals/r/{id_}")

        assert answer.status == 404
        assert b"<b>" not in answer.body


async def test_an_answer_without_the_token_does_not_count(tmp_path: Path) -> None:
    async with approval_site(tmp_path) as site:
        request, lead = await site.asked(amount=900), await site.browser(LEAD)

        for change in ({"csrf": ""}, {"csrf": "A" * 43}):
            assert (await answered(lead, request, "approve", **change)).status == 403
        assert await state_of(site, request) is State.WAITING


async def test_a_form_from_another_site_does_not_count(tmp_path: Path) -> None:
    async with approval_site(tmp_path) as site:
        request, lead = await site.asked(amount=900), await site.browser(LEAD)

        for foreign in ({"origin": "https://evil.test"}, {"origin": "null"}, {"sec-fetch-site": "cross-site"}):
            fields = form_of(lead, request, "approve")
            assert (await lead.post_form(f"/approvals/r/{request.id}", fields, foreign)).status == 403
        assert await state_of(site, request) is State.WAITING


@pytest.mark.parametrize("fields", [{"verdict": "yes"}, {"binding": ""}, {"cover": "repeat"}])
async def test_a_form_that_the_page_does_not_send_is_refused(tmp_path: Path, fields: dict[str, str]) -> None:
    async with approval_site(tmp_path) as site:
        request, lead = await site.asked(amount=900), await site.browser(LEAD)

        answer = await lead.post_form(f"/approvals/r/{request.id}", form_of(lead, request, "approve") | fields)

        assert answer.status == 400
        assert await state_of(site, request) is State.WAITING


async def test_the_arguments_are_a_file_and_nothing_that_a_browser_shows(tmp_path: Path) -> None:
    async with approval_site(tmp_path) as site:
        note = "<script>window.ran=1</script>"
        request, lead = await site.asked(note=note, amount=900), await site.browser(LEAD)

        answer = await lead.get(f"/approvals/r/{request.id}/arguments")

        assert json.loads(answer.body) == {"note": note, "amount": 900}
        assert answer.all("content-type") == ["text/plain; charset=utf-8"]
        assert answer.all("content-disposition") == [f'attachment; filename="arguments-{request.id}.json"']
        assert answer.all("x-content-type-options") == ["nosniff"]


@pytest.mark.parametrize(
    ("name", "type_"),
    [
        ("approvals.css", "text/css; charset=utf-8"),
        ("approvals.js", "text/javascript; charset=utf-8"),
        ("approvals.svg", "image/svg+xml"),
    ],
)
async def test_the_pages_files_are_served_as_what_they_are(tmp_path: Path, name: str, type_: str) -> None:
    async with approval_site(tmp_path) as site:
        answer = await site.anybody().get(f"/approvals/static/{name}")

        assert (answer.status, answer.all("content-type")) == (200, [type_])


@pytest.mark.parametrize("name", ["approvals.py", "..%2fpages.py", "%2e%2e/pages.py", ""])
async def test_no_other_file_is_served(tmp_path: Path, name: str) -> None:
    async with approval_site(tmp_path) as site:
        assert (await site.anybody().get(f"/approvals/static/{name}")).status == 404


async def test_a_storm_is_denied_at_once_after_a_page_of_its_own(tmp_path: Path) -> None:
    async with approval_site(tmp_path) as site:
        requests = [await site.asked(number=number) for number in range(12)]
        lead = await site.browser(LEAD)
        form = field(page(await lead.get("/approvals")), "chosen")

        confirm = page(await lead.post_form("/approvals/deny-all", {"csrf": lead.csrf, "chosen": form}))
        assert {await state_of(site, each) for each in requests} == {State.WAITING}
        assert confirm.one("h1").text == "Deny 12 requests?"
        fields = {each.attributes["name"]: each.attributes["value"] for each in confirm.all("input")}
        answer = await lead.post_form("/approvals/deny-all", fields | {"csrf": lead.csrf, "reason": "A storm"})

        assert (answer.status, answer.all("location")) == (303, ["/approvals?denied=12&kept=0"])
        assert {await state_of(site, each) for each in requests} == {State.DENIED}
        again = await lead.post_form("/approvals/deny-all", fields | {"csrf": lead.csrf})
        assert again.all("location") == ["/approvals?denied=0&kept=12"]


async def test_a_storm_is_not_denied_without_the_token(tmp_path: Path) -> None:
    async with approval_site(tmp_path) as site:
        request, lead = await site.asked(amount=900), await site.browser(LEAD)
        chosen = f"{request.id}.{request.ask.binding.digest}"

        answer = await lead.post_form("/approvals/deny-all", {"csrf": "", "chosen": chosen, "confirmed": "yes"})

        assert answer.status == 403
        assert await state_of(site, request) is State.WAITING


def assert_refused(answer: Answer, refusal: VoteRefusal) -> None:
    outcome = OUTCOMES[refusal]
    assert answer.status == outcome.status
    said = page(answer).one("div", id="outcome")
    assert said.attributes["role"] == "alert"
    assert outcome.title in said.text
    assert outcome.text in said.text
