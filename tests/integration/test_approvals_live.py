"""Live updates: told to whoever is signed in, for as long as that holds, and to so many at once."""

from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from callgate.approvals.site.places import MAX_STREAMS, MAX_STREAMS_OF_SESSION
from callgate.net.local_listener import Credentials
from support.approval_site import LEAD, Answer, Browser, Reading, Site, approval_site, person

EVENTS = "/api/v1/events"


@pytest.fixture
def quick_clock() -> MockClock:
    """Fifteen seconds in one: what is waited for is real, as sockets and the store are."""
    return MockClock(rate=15.0)


async def opened(stack: AsyncExitStack, browser: Browser) -> Reading:
    """A stream whose first event has come."""
    reading = await stack.enter_async_context(browser.opened("GET", EVENTS, {"accept": "text/event-stream"}))
    head = await reading.head()
    assert head.status_code == 200
    assert (b"content-type", b"text/event-stream") in list(head.headers)
    first = await reading.piece()
    assert first is not None
    assert first.startswith("event: changed\ndata: ")
    return reading


def version(event: str | None) -> int:
    assert event is not None
    name, told, end = event.split("\n", 2)
    assert (name, end) == ("event: changed", "\n")
    return int(told.removeprefix("data: "))


async def all_told(reading: Reading, site: Site) -> int:
    """Read until the latest change is told; how many pieces of news that took."""
    news = 1
    while version(await reading.piece()) != site.desk.version:
        news += 1
    return news


async def refused(browser: Browser) -> Answer:
    return await browser.get(EVENTS)


async def test_tells_each_page_that_something_has_changed_and_not_what(tmp_path: Path) -> None:
    async with approval_site(tmp_path) as site, AsyncExitStack() as stack:
        readings = [await opened(stack, await site.browser(who)) for who in (LEAD, person("x@acme.test"))]
        await site.asked(account="SECRET")
        with trio.fail_after(20):
            for reading in readings:
                await all_told(reading, site)


async def test_a_storm_of_changes_is_little_news(tmp_path: Path) -> None:
    async with approval_site(tmp_path) as site, AsyncExitStack() as stack:
        reading = await opened(stack, await site.browser(LEAD))
        began = trio.current_time()
        for number in range(20):
            await site.asked(number=number)
        with trio.fail_after(20):
            news = await all_told(reading, site)
        assert news <= (trio.current_time() - began) / 0.25


async def test_says_something_each_15_seconds(tmp_path: Path, quick_clock: MockClock) -> None:
    async with approval_site(tmp_path) as site, AsyncExitStack() as stack:
        reading = await opened(stack, await site.browser(LEAD))
        comments: list[float] = []
        while len(comments) < 2:
            is_comment = await reading.piece() == ":\n\n"
            # Two without news between them.
            comments = [*comments, quick_clock.current_time()] if is_comment else []
        assert comments[1] - comments[0] >= 14


@pytest.mark.parametrize("end", ["signed out", "too old"])
async def test_ends_with_the_session(tmp_path: Path, quick_clock: MockClock, end: str) -> None:
    async with approval_site(tmp_path) as site, AsyncExitStack() as stack:
        alice = await site.browser(LEAD)
        reading = await opened(stack, alice)
        if end == "signed out":
            await site.begun(LEAD, alice.cookies)
        else:
            site.clock.forward(900)
        # Other things that happen meanwhile do not keep it.
        await site.asked(account="A-1")
        began, told = quick_clock.current_time(), [await reading.piece()]
        while told[-1] is not None:
            told.append(await reading.piece())
        assert told[-2] == "event: signed-out\ndata:\n\n"
        assert quick_clock.current_time() - began < 30
        assert (await refused(alice)).status == 401


async def test_a_person_opens_so_many_and_others_still_can(tmp_path: Path) -> None:
    async with approval_site(tmp_path) as site, AsyncExitStack() as stack:
        alice = await site.browser(LEAD)
        for _ in range(MAX_STREAMS_OF_SESSION):
            await opened(stack, alice)
        answer = await refused(alice)
        assert (answer.status, answer.error) == (429, "too_many_streams")
        await opened(stack, await site.browser(LEAD))


async def test_so_many_are_open_at_once_and_a_place_is_free_when_its_page_has_gone(tmp_path: Path) -> None:
    async with approval_site(tmp_path) as site, AsyncExitStack() as stack:
        browsers = [await site.browser(person(f"p{number}@acme.test")) for number in range(MAX_STREAMS // 8 + 1)]
        async with AsyncExitStack() as first:
            await opened(first, browsers[-1])
            for number in range(MAX_STREAMS - 1):
                await opened(stack, browsers[number // 8])
            assert (await refused(browsers[-1])).status == 429
        with trio.fail_after(20):
            while await status_of(browsers[-1]) != 200:
                await trio.lowlevel.checkpoint()


async def status_of(browser: Browser) -> int:
    async with browser.opened("GET", EVENTS, {}) as reading:
        return (await reading.head()).status_code


async def test_the_command_line_is_told_by_the_socket(tmp_path: Path) -> None:
    async with (
        approval_site(tmp_path, uids=frozenset({0}), peer=Credentials(77, 0, 0)) as site,
        AsyncExitStack() as stack,
    ):
        reading = await opened(stack, replace(site.anybody(), host="localhost"))
        await site.asked(account="A-1")
        with trio.fail_after(20):
            await all_told(reading, site)
