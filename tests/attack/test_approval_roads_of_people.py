"""Everybody who may not approve a call, or did not mean to, with all that a browser can send: each is refused, none is made.

At the end of each test the one who may approve does, and then the call is made, once.
"""

from pathlib import Path
from typing import Final

from support.approval_roads import LEADS, MONTH, Road, Said, Session, WaitingCall, said, session, taken, waiting_call

INTERN: Final = ("mallory@acme.test", ["interns"])
ALICE: Final = ("alice@acme.test", LEADS)


# Sessions.


async def with_a_forged_cookie(at: WaitingCall) -> Said:
    return await at.says(Session("", {"callgate": "A" * 43}, "A" * 43))


async def with_the_token_for_a_cookie(at: WaitingCall) -> Said:
    alice = session(await at.signs_in(*ALICE))
    return await at.says(Session("", {"callgate": alice.csrf}, alice.csrf))


async def with_a_stolen_cookie_alone(at: WaitingCall) -> Said:
    alice = session(await at.signs_in(*ALICE))
    return await at.says(Session("", alice.cookies, ""))


async def with_two_cookies(at: WaitingCall) -> Said:
    alice = session(await at.signs_in(*ALICE))
    both = f"callgate={'A' * 43}; callgate={alice.cookies['callgate']}"
    return await at.says(Session("", {}, alice.csrf), cookie=both)


async def after_signing_out(at: WaitingCall) -> Said:
    alice = session(await at.signs_in(*ALICE))
    async with at.browser(alice.cookies) as browser:
        assert (await browser.post("/approvals/sign-out", data={"csrf": alice.csrf})).status_code == 200
    return await at.says(alice)


async def after_its_idle_time(at: WaitingCall) -> Said:
    alice = session(await at.signs_in(*ALICE))
    at.clock.ahead_s += 16 * 60
    return await at.says(alice)


async def by_a_sign_in_that_another_browser_began(at: WaitingCall) -> Said:
    at.provider.now, at.provider.said = at.now, {"email": ALICE[0], "groups": [*LEADS]}
    async with at.browser(origin="", sec_fetch_site="") as mine, at.browser(origin="", sec_fetch_site="") as theirs:
        begun = await theirs.get("/approvals/sign-in")
        back = await theirs.get(begun.headers["location"])
        await mine.get("/approvals/sign-in")
        return said(await mine.get(back.headers["location"]))


async def test_no_session_but_ones_own_answers(tmp_path: Path) -> None:
    async with waiting_call(tmp_path) as at:
        found = await taken(
            at,
            {
                "forged": with_a_forged_cookie,
                "the token": with_the_token_for_a_cookie,
                "the cookie alone": with_a_stolen_cookie_alone,
                "two": with_two_cookies,
                "signed out": after_signing_out,
                "idle": after_its_idle_time,
                "another browser": by_a_sign_in_that_another_browser_began,
            },
        )
    assert found == {
        **dict.fromkeys(("forged", "the token", "two", "signed out", "idle"), (401, "not_signed_in")),
        "the cookie alone": (403, "csrf_mismatch"),
        "another browser": (403, "sign_in_unknown"),
    }


# Other sites, with the cookie of somebody who may approve.


def from_elsewhere(**headers: str) -> Road:
    async def road(at: WaitingCall) -> Said:
        return await at.says(session(await at.signs_in(*ALICE)), **headers)

    return road


async def with_the_token_of_another_session(at: WaitingCall) -> Said:
    alice, mallory = session(await at.signs_in(*ALICE)), session(await at.signs_in(*INTERN))
    return await at.says(alice, x_csrf_token=mallory.csrf)


async def by_the_pages_form(at: WaitingCall) -> Said:
    """A form of another site, which needs no leave to be sent."""
    alice = session(await at.signs_in(*ALICE))
    async with at.browser(alice.cookies, origin="http://evil.test", sec_fetch_site="cross-site") as browser:
        fields = {"binding": at.request["binding"], "verdict": "approve", "csrf": alice.csrf}
        return said(await browser.post(f"/approvals/r/{at.request['id']}", data=fields))


async def by_the_pages_form_without_its_token(at: WaitingCall) -> Said:
    alice = session(await at.signs_in(*ALICE))
    async with at.browser(alice.cookies) as browser:
        fields = {"binding": at.request["binding"], "verdict": "approve"}
        return said(await browser.post(f"/approvals/r/{at.request['id']}", data=fields))


async def by_an_address(at: WaitingCall) -> Said:
    alice = session(await at.signs_in(*ALICE))
    async with at.browser(alice.cookies) as browser:
        return said(await browser.get(at.decision, params={"binding": at.request["binding"], "verdict": "approve"}))


async def test_no_other_site_answers_with_somebodys_cookie(tmp_path: Path) -> None:
    async with waiting_call(tmp_path) as at:
        found = await taken(
            at,
            {
                "no origin": from_elsewhere(origin=""),
                "null": from_elsewhere(origin="null"),
                "evil": from_elsewhere(origin="http://evil.test"),
                "another port": from_elsewhere(origin="http://127.0.0.1:1"),
                "the browser says so": from_elsewhere(sec_fetch_site="cross-site"),
                "same site": from_elsewhere(sec_fetch_site="same-site"),
                "no token": from_elsewhere(x_csrf_token=""),
                "a made-up token": from_elsewhere(x_csrf_token="A" * 43),
                "another's token": with_the_token_of_another_session,
                "rebinding": from_elsewhere(host="evil.test"),
                "plain text": from_elsewhere(content_type="text/plain"),
                "form": by_the_pages_form,
                "form without token": by_the_pages_form_without_its_token,
                "address": by_an_address,
            },
        )
    assert found == {
        **dict.fromkeys(("no origin", "null", "evil", "another port"), (403, "origin_mismatch")),
        **dict.fromkeys(("the browser says so", "same site"), (403, "cross_site")),
        **dict.fromkeys(("no token", "a made-up token", "another's token"), (403, "csrf_mismatch")),
        "rebinding": (421, "host_mismatch"),
        "plain text": (400, "malformed"),
        **dict.fromkeys(("form", "form without token"), (403, "")),
        "address": (405, "method_not_allowed"),
    }


# People who are who they say, and may not.


def as_person(name: str, *groups: str, **claims: object) -> Road:
    async def road(at: WaitingCall) -> Said:
        signed = await at.signs_in(name, groups, **claims)
        return await at.says(signed) if isinstance(signed, Session) else signed

    return road


async def for_another_binding(at: WaitingCall) -> Said:
    alice = session(await at.signs_in(*ALICE))
    return said(await at.posts(alice, at.decision, at.saying(binding="0" * 64)))


async def for_an_id_that_is_none(at: WaitingCall) -> Said:
    alice = session(await at.signs_in(*ALICE))
    return said(await at.posts(alice, f"/api/v1/approvals/{'0' * 32}/decision", at.saying()))


async def for_more_than_the_policy_allows(at: WaitingCall) -> Said:
    alice = session(await at.signs_in(*ALICE))
    return said(await at.posts(alice, at.decision, at.saying(cover={"calls": 5, "seconds": 60})))


async def to_see_it_alone(at: WaitingCall) -> Said:
    mallory = session(await at.signs_in(*INTERN))
    async with at.browser(mallory.cookies) as browser:
        assert (await browser.get("/api/v1/approvals")).json()["approvals"] == []
        return said(await browser.get(f"/api/v1/approvals/{at.request['id']}"))


async def test_nobody_answers_whom_the_policy_does_not_name(tmp_path: Path) -> None:
    async with waiting_call(tmp_path) as at:
        found = await taken(
            at,
            {
                "owner": as_person("bob@acme.test", "payments-leads"),
                "intern": as_person(*INTERN[0:1], *INTERN[1]),
                "no groups": as_person("mallory@acme.test"),
                "nearly the group": as_person("mallory@acme.test", "Payments-Leads", "payments-leads "),
                "the group of this machine": as_person("mallory@acme.test", "local"),
                "a workload": as_person("spiffe://acme.test/ns/billing/sa/refund-agent", "payments-leads"),
                "a user of this machine": as_person("local:root", "payments-leads"),
                "an unverified address": as_person("alice@acme.test", "payments-leads", email_verified=False),
                "another binding": for_another_binding,
                "another id": for_an_id_that_is_none,
                "a wider cover": for_more_than_the_policy_allows,
                "a look": to_see_it_alone,
            },
        )
    assert found == {
        "owner": (403, "owner_of_the_workload"),
        **dict.fromkeys(
            ("intern", "no groups", "nearly the group", "the group of this machine", "a look"),
            (403, "not_an_approver"),
        ),
        **dict.fromkeys(("a workload", "a user of this machine"), (403, "name_reserved")),
        "an unverified address": (403, "email_not_verified"),
        "another binding": (409, "binding_mismatch"),
        "another id": (404, "approval_unknown"),
        "a wider cover": (422, "cover_not_allowed"),
    }


async def test_of_many_decisions_at_once_those_on_others_requests_count_for_nothing(tmp_path: Path) -> None:
    async with waiting_call(tmp_path) as at:
        await at.ask("close_month", MONTH)
        (month,) = [each for each in await at.local.waiting(2) if each["tool"] == "close_month"]
        mine = {"id": at.request["id"], "binding": "0" * 64, "verdict": "approve"}
        others = {"id": month["id"], "binding": month["binding"], "verdict": "approve"}
        nobodys = {"id": "0" * 32, "binding": month["binding"], "verdict": "approve"}
        alice, mallory = session(await at.signs_in(*ALICE)), session(await at.signs_in(*INTERN))
        decisions = {"decisions": [mine, others, nobodys]}
        answers = [await at.posts(each, "/api/v1/decisions", decisions) for each in (alice, mallory)]
        still = await at.local.waiting(2)
        await at.untouched()
        assert "error" in await at.ask("close_month", MONTH)
    told_each = [[result["error"] for result in answer.json()["results"]] for answer in answers]
    assert told_each == [["binding_mismatch", "not_an_approver", "approval_unknown"]] * 2
    assert {each["id"] for each in still} == {at.request["id"], month["id"]}
