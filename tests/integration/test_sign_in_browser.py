"""Signing in with a real browser: by the provider and by a one-time link, with the policy of content and cookies in force."""

from pathlib import Path

import trio

from callgate.approvals.model import Means
from callgate.approvals.sign_in.links import make_link
from callgate.approvals.sign_in.oidc import SignIn
from callgate.approvals.sign_in.settings import SignInSettings
from support.approval_site import approval_site, person
from support.browser import PHONE, chromium, violations
from support.key_endpoint import HERE, Told
from support.sign_in_provider import CLIENT_ID, CLIENT_SECRET, SignInProvider


def signs_in_by_link(link: str) -> tuple[str, list[str], list[str]]:
    """What the list's page says, and what was wrong on the way."""
    origin = link.partition("/approvals")[0]
    with chromium() as browser:
        tab = browser.tab(origin, viewport=PHONE)
        tab.page.goto(link)
        found = violations(tab.page)
        tab.keep("sign-in-by-link")
        tab.page.get_by_role("button", name="Sign in as local:ada").click()
        tab.page.wait_for_url(f"{origin}/approvals")
        return tab.page.locator("header").inner_text(), found, tab.complaints


async def test_a_link_signs_a_browser_in(tmp_path: Path) -> None:
    async with approval_site(tmp_path, uids=frozenset({4_000})) as site:
        link = await make_link(site.parts, person("local:ada", "local", means=Means.SOCKET, uid=4_000))
        header, found, complaints = await trio.to_thread.run_sync(signs_in_by_link, link)

    assert "local:ada" in header
    assert (found, complaints) == ([], [])


def signs_in_and_out(url: str) -> tuple[list[str], list[str]]:
    """What the headers of the pages say, and what axe finds."""
    with chromium() as browser:
        page = browser.tab(url).page
        page.goto(f"{url}/approvals")
        headers = [page.locator("header").inner_text()]
        page.get_by_role("button", name="Sign out").click()
        page.get_by_role("heading", name="Signed out").wait_for()
        found = violations(page)
        headers.append(page.locator("header").inner_text())
        page.get_by_role("link", name="Sign in again").click()
        page.get_by_role("button", name="Sign out").wait_for()
        return headers, found


async def test_a_browser_is_sent_to_the_provider_and_comes_back_signed_in(tmp_path: Path) -> None:
    async with SignInProvider.open() as provider:

        def sign_in(url: str) -> SignIn:
            settings = SignInSettings(provider.issuer, CLIENT_ID, url, CLIENT_SECRET.encode())
            return SignIn(settings, HERE, Told().hear)

        async with approval_site(tmp_path, sign_in=sign_in) as site:
            provider.now = site.clock.wall
            (before, after), found = await trio.to_thread.run_sync(signs_in_and_out, site.parts.url)

    assert "alice@acme.test" in before
    assert "alice@acme.test" not in after
    assert found == []


def is_refused(url: str) -> tuple[list[str], str, list[str]]:
    with chromium() as browser:
        tab = browser.tab(url)
        tab.page.goto(f"{url}/approvals")
        tab.page.get_by_role("heading", name="Not signed in").wait_for()
        tab.keep("sign-in-refused")
        return violations(tab.page), tab.page.content(), [each for each in tab.complaints if "a request to" not in each]


async def test_whoever_is_refused_reads_why(tmp_path: Path) -> None:
    async with SignInProvider.open() as provider:
        provider.callback["error"] = "<img src=x onerror=alert(1)>"

        def sign_in(url: str) -> SignIn:
            settings = SignInSettings(provider.issuer, CLIENT_ID, url, CLIENT_SECRET.encode())
            return SignIn(settings, HERE, Told().hear)

        async with approval_site(tmp_path, sign_in=sign_in) as site:
            found, page, complaints = await trio.to_thread.run_sync(is_refused, site.parts.url)

    assert "provider_error" in page
    assert (found, complaints) == ([], [])
