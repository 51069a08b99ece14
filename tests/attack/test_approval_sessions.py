"""Sessions that are forged, planted, stolen, over, or kept alive by a clock: nobody is signed in by any of them."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from callgate.approvals.model import Means
from callgate.approvals.site.recent import MAX_SESSIONS_OF_PERSON
from support.approval_site import CAROL, LEAD, Browser, Clock, approval_site, person

ME = "/api/v1/me"
PAGE = "/approvals"
COOKIE = "callgate"
IDLE_S, LONGEST_S = 900, 3600


async def is_signed_in(browser: Browser) -> bool:
    answer = await browser.get(ME)
    assert answer.status in {200, 401}
    return answer.status == 200


async def is_used(browser: Browser) -> bool:
    """Whether a change is taken of it: what a person does, and not what a page asks by itself."""
    answer = await browser.post("/api/v1/decisions", {"decisions": []})
    assert answer.status in {400, 401}
    return answer.status == 400


FORGED: list[Callable[[str], str]] = [
    lambda _real: "",
    lambda _real: "A" * 43,
    lambda real: real[:-1],
    lambda real: real + "A",
    lambda real: real + "=",
    lambda real: real.swapcase(),
    lambda real: f'"{real}"',
    lambda real: real[:-1] + "%41",
    lambda real: real[:-1] + "\u00e9",
    lambda _real: "A" * 4096,
    lambda _real: "'; DROP TABLE sessions; --",
    lambda _real: "../../etc/passwd",
]


@pytest.mark.parametrize("forge", FORGED, ids=range(len(FORGED)))
async def test_a_forged_cookie_is_nobodys(tmp_path: Path, forge: Callable[[str], str]) -> None:
    async with approval_site(tmp_path) as site:
        alice = await site.browser(LEAD)
        assert await is_signed_in(alice)
        forged = replace(
            alice, cookies={}, before=(*alice.before, ("cookie", f"{COOKIE}={forge(alice.cookies[COOKIE])}"))
        )
        assert not await is_signed_in(forged)


async def test_what_the_store_keeps_of_a_cookie_is_no_cookie(tmp_path: Path) -> None:
    async with approval_site(tmp_path) as site:
        session, _ = await site.begun(LEAD)
        for stolen in (session.digest, session.digest[:43], session.csrf):
            assert not await is_signed_in(Browser(site.port, site.host, {COOKIE: stolen}))


@pytest.mark.parametrize("name", ["__Host-callgate", "Callgate", "CALLGATE", "callgate2", "xcallgate", ""])
async def test_a_cookie_of_another_name_is_none(tmp_path: Path, name: str) -> None:
    async with approval_site(tmp_path) as site:
        alice = await site.browser(LEAD)
        assert not await is_signed_in(replace(alice, cookies={name: alice.cookies[COOKIE]}))


async def test_of_two_cookies_neither_counts_in_any_order_or_line(tmp_path: Path) -> None:
    async with approval_site(tmp_path) as site:
        alice, carol = await site.browser(LEAD), await site.browser(CAROL)
        pairs = [f"{COOKIE}={each.cookies[COOKIE]}" for each in (alice, carol)]
        for line in ("; ".join(pairs), ";".join(reversed(pairs)), f"{COOKIE}=; {pairs[0]}", f"{pairs[0]}; {COOKIE}"):
            tossed = replace(alice, cookies={}, before=(*alice.before, ("cookie", line)))
            assert not await is_signed_in(tossed), line


async def test_signing_in_never_takes_over_a_cookie_that_was_planted(tmp_path: Path) -> None:
    async with approval_site(tmp_path) as site:
        mallory = await site.browser(person("mallory@acme.test"))
        planted = mallory.cookies
        alice = await site.browser(LEAD, cookies=planted)
        assert alice.cookies != planted
        assert await is_signed_in(alice)
        # Whoever planted it is not signed in as anybody any more.
        assert not await is_signed_in(mallory)


async def test_each_sign_in_ends_the_session_before_it_and_has_another_token(tmp_path: Path) -> None:
    async with approval_site(tmp_path) as site:
        first = await site.browser(LEAD)
        second = await site.browser(LEAD, cookies=first.cookies)
        assert (first.cookies, first.csrf) != (second.cookies, second.csrf)
        assert not await is_signed_in(first)
        assert await is_signed_in(second)


async def test_a_stolen_cookie_alone_changes_nothing(tmp_path: Path) -> None:
    async with approval_site(tmp_path) as site:
        request = await site.asked(account="A-1")
        alice = await site.browser(LEAD)
        stolen = Browser(site.port, site.host, alice.cookies)
        answer = await stolen.post(f"/api/v1/approvals/{request.id}/decision", site.decision(request, "approve"))
        assert (answer.status, answer.error) == (403, "csrf_mismatch")


async def test_a_session_ends_with_the_provider_that_it_began_at(tmp_path: Path) -> None:
    async with approval_site(tmp_path) as site:
        moved = await site.browser(replace(LEAD, issuer="https://idp-before.acme.test"))
        assert not await is_signed_in(moved)
        assert await is_signed_in(await site.browser(LEAD))


async def test_a_session_ends_with_the_right_of_the_user_whose_link_began_it(tmp_path: Path) -> None:
    async with approval_site(tmp_path, uids=frozenset({1000})) as site:
        for uid, holds in ((1000, True), (1001, False)):
            local = replace(LEAD, name=f"local:#{uid}", means=Means.SOCKET, issuer="", subject="", uid=uid)
            assert await is_signed_in(await site.browser(local)) is holds


async def ended(browser: Browser) -> bool:
    return not await is_signed_in(browser) and not await is_used(browser)


Move = Callable[[Clock], None]
ENDS: list[tuple[str, list[Move]]] = [
    ("nobody used it for 15 min", [lambda clock: clock.forward(IDLE_S)]),
    ("only the machine's own clock went on", [lambda clock: setattr(clock, "since_boot", clock.since_boot + IDLE_S)]),
    (
        "the wall was set back while time passed",
        [lambda clock: clock.forward(IDLE_S), lambda clock: clock.step(-IDLE_S)],
    ),
    ("the wall was set back before it began", [lambda clock: clock.step(-3600)]),
    ("the wall was set forward", [lambda clock: clock.step(IDLE_S)]),
]


@pytest.mark.parametrize("moves", [moves for _, moves in ENDS], ids=[name for name, _ in ENDS])
async def test_a_session_is_over_when(tmp_path: Path, moves: list[Move]) -> None:
    async with approval_site(tmp_path) as site:
        alice = await site.browser(LEAD)
        for move in moves:
            move(site.clock)
        assert await ended(alice)


async def test_using_it_keeps_it_for_an_hour_and_no_longer(tmp_path: Path) -> None:
    async with approval_site(tmp_path) as site:
        alice = await site.browser(LEAD)
        for _ in range(LONGEST_S // 600 - 1):
            site.clock.forward(600)
            assert await is_used(alice)
        site.clock.forward(600)
        assert await ended(alice)


async def test_clock_steps_never_lengthen_the_hour(tmp_path: Path) -> None:
    async with approval_site(tmp_path) as site:
        alice = await site.browser(LEAD)
        for _ in range(LONGEST_S // 600 - 1):
            site.clock.forward(600)
            site.clock.step(-4)
            assert await is_used(alice)
        site.clock.forward(600)
        assert await ended(alice)


@pytest.mark.parametrize(("path", "mode"), [(ME, "cors"), (ME, "navigate"), (PAGE, "cors")])
async def test_what_a_page_asks_by_itself_keeps_no_session_alive(tmp_path: Path, path: str, mode: str) -> None:
    async with approval_site(tmp_path) as site:
        alice = await site.browser(LEAD)
        for _ in range(IDLE_S // 100):
            await alice.get(path, {"sec-fetch-mode": mode})
            site.clock.forward(100)
        assert await ended(alice)


@pytest.mark.parametrize("mode", ["navigate", ""])
async def test_going_to_a_page_keeps_it_alive_also_in_an_older_browser(tmp_path: Path, mode: str) -> None:
    async with approval_site(tmp_path) as site:
        alice = await site.browser(LEAD)
        for _ in range(IDLE_S // 100 + 1):
            await alice.get(PAGE, {"sec-fetch-mode": mode})
            site.clock.forward(100)
        assert await is_used(alice)


async def test_a_person_has_so_many_sessions_and_the_oldest_goes(tmp_path: Path) -> None:
    async with approval_site(tmp_path) as site:
        other = await site.browser(CAROL)
        browsers = [await site.browser(LEAD) for _ in range(MAX_SESSIONS_OF_PERSON + 1)]
        assert [await is_signed_in(each) for each in browsers] == [False] + [True] * MAX_SESSIONS_OF_PERSON
        assert await is_signed_in(other)


@pytest.mark.parametrize(
    ("url", "name", "secure"),
    [("https://gate.acme.test", "__Host-callgate", True), ("http://127.0.0.1:8444", "callgate", False)],
)
async def test_the_cookie_is_for_this_host_alone_and_no_script_reads_it(
    tmp_path: Path, url: str, name: str, *, secure: bool
) -> None:
    async with approval_site(tmp_path, url=url) as site:
        _, cookie = await site.begun(LEAD)
    pair, *attributes = cookie.split("; ")
    assert pair.startswith(f"{name}=")
    assert set(attributes) == {"Path=/", "HttpOnly", "SameSite=Lax", *(["Secure"] if secure else [])}
