"""People of a real OpenID provider sign in at the approvals page: the login form, the redirects, and who they are then."""

import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from callgate.approvals.sign_in.settings import SignInSettings
from support.openid_provider import CLIENT_SECRET, USER, Member, Provider, filled_in, provider_served
from support.sign_in_site import SITE, Browser, Wall, site_with

# Canaille starts in three seconds of processor time.
pytestmark = pytest.mark.timeout(120)

CLIENT = "approvals"
BOB = Member(
    {
        "user_name": "bob",
        "family_name": "Builder",
        "formatted_name": "Bob Builder",
        "emails": ["bob@acme.test"],
        "password": "can we fix it",
    },
    ("payments-leads", "local"),
)
PASSWORDS = {"alice": str(USER["password"]), "bob": str(BOB.user["password"])}


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    settings = SignInSettings("", "", SITE)
    with provider_served("https://gate.acme.test", sites={CLIENT: settings.redirect_uri}, people=[BOB]) as running:
        yield running


def settings_for(provider: Provider, name_claim: str = "sub") -> SignInSettings:
    secret = CLIENT_SECRET.encode()
    return SignInSettings(provider.issuer, CLIENT, SITE, secret, name_claim=name_claim)


async def logged_in(browser: Browser, name: str, query: str = "") -> tuple[httpx2.Response, list[str]]:
    """Fill in what the provider asks for until the site answers; also what the pages asked for."""
    known = {"login": name, "password": PASSWORDS[name]}
    response = await browser.begins(query)
    asked: list[str] = []
    for _ in range(12):
        if response.is_redirect:
            url = response.url.join(response.headers["location"])
            response = await browser.http.get(url)
            if str(url).startswith(SITE):
                return response, asked
        else:
            assert response.status_code == 200, response.text
            form = filled_in(response.text, known)
            asked += sorted(form.keys() & known.keys())
            response = await browser.http.post(response.url, data=form)
    raise AssertionError(f"no way back to the site: {response.url}")


async def test_two_people_sign_in_and_are_who_they_are(tmp_path: Path, provider: Provider) -> None:
    async with (
        site_with(tmp_path, settings_for(provider), wall=Wall(time.time())) as site,
        site.browser() as first,
        site.browser() as second,
    ):
        response, _ = await logged_in(first, "alice", "?next=/approvals/r/0123456789abcdef")
        await logged_in(second, "bob")
        alice, bob = await first.who(), await second.who()

        assert (response.status_code, response.headers["location"]) == (303, "/approvals/r/0123456789abcdef")
        assert (alice["name"], alice["groups"], alice["means"]) == ("alice", ["billing", "clerks"], "oidc")
        # A group of that name at a provider is not that of the gate's machine.
        assert (bob["name"], bob["groups"]) == ("bob", ["payments-leads"])
        assert alice["signed_in"] == pytest.approx(time.time(), abs=30)
        assert site.sessions() == 2


async def test_a_second_sign_in_asks_for_nothing_and_a_fresh_one_for_the_password(
    tmp_path: Path, provider: Provider
) -> None:
    wall = Wall(time.time())
    async with site_with(tmp_path, settings_for(provider), wall=wall) as site, site.browser() as browser:
        _, first = await logged_in(browser, "alice")
        before = (await browser.who())["signed_in"]
        _, second = await logged_in(browser, "alice")
        again = (await browser.who())["signed_in"]
        wall.now = time.time()
        _, third = await logged_in(browser, "alice", "?fresh=1")
        after = (await browser.who())["signed_in"]

        assert (first, second, third) == (["login", "password"], [], ["password"])
        # Coming back to a session of the provider's is no new proof of who somebody is.
        assert before == again <= after
        assert site.sessions() == 1


async def test_an_address_that_the_provider_does_not_vouch_for_is_nobodys_name(
    tmp_path: Path, provider: Provider
) -> None:
    settings = settings_for(provider, name_claim="email")
    async with site_with(tmp_path, settings, wall=Wall(time.time())) as site, site.browser() as browser:
        response, _ = await logged_in(browser, "alice")

        assert response.status_code == 403
        assert "email_not_verified" in response.text
        assert site.sessions() == 0
