"""One-time links: a user of this machine opens the page signed in, once, within a minute, and by nobody else's doing."""

from base64 import urlsafe_b64encode
from dataclasses import replace
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
import trio

from callgate.approvals.model import Means
from callgate.approvals.sign_in.links import make_link, use_link
from support.sign_in_site import ADA, SESSION_COOKIE, SITE, code_of, site_with
from support.user_tokens import NOW

ENTER = "/approvals/enter"


def token_of(link: str) -> str:
    return parse_qs(urlsplit(link).query)["token"][0]


async def test_a_link_signs_in_whoever_asked_for_it(tmp_path: Path) -> None:
    async with site_with(tmp_path, None) as site, site.browser() as browser:
        link = await make_link(site.parts, ADA)
        page = await browser.http.get(link)
        response = await browser.posts(ENTER, {"token": token_of(link)})
        who = await browser.who()

        assert link.startswith(f"{SITE}{ENTER}?token=")
        assert "local:ada" in page.text
        assert (response.status_code, response.headers["location"]) == (303, "/approvals")
        assert (who["name"], who["groups"], who["means"], who["signed_in"]) == ("local:ada", ["local"], "socket", NOW)


async def test_the_person_keeps_the_user_of_the_machine(tmp_path: Path) -> None:
    async with site_with(tmp_path, None) as site:
        token = token_of(await make_link(site.parts, ADA))

        assert await use_link(site.parts, token) == ADA


async def test_looking_at_a_link_never_uses_it(tmp_path: Path) -> None:
    async with site_with(tmp_path, None) as site, site.browser() as previewer, site.browser() as browser:
        link = await make_link(site.parts, ADA)
        for _ in range(3):
            await previewer.http.get(link)
            await previewer.http.head(link)

        assert (site.sessions(), SESSION_COOKIE in previewer.http.cookies) == (0, False)
        assert (await browser.posts(ENTER, {"token": token_of(link)})).status_code == 303


async def test_the_link_goes_nowhere_else(tmp_path: Path) -> None:
    async with site_with(tmp_path, None) as site, site.browser() as browser:
        page = await browser.http.get(await make_link(site.parts, ADA))

        assert page.headers["referrer-policy"] in {"no-referrer", "same-origin"}
        assert page.headers["cache-control"] == "no-store"
        assert "default-src 'none'" in page.headers["content-security-policy"]


async def test_of_browsers_that_use_a_link_at_the_same_time_one_is_signed_in(tmp_path: Path) -> None:
    async with site_with(tmp_path, None) as site:
        token, codes = token_of(await make_link(site.parts, ADA)), list[int]()

        async def come() -> None:
            async with site.browser() as browser:
                codes.append((await browser.posts(ENTER, {"token": token})).status_code)

        async with trio.open_nursery() as nursery:
            for _ in range(8):
                nursery.start_soon(come)

        assert sorted(codes) == [303] + [403] * 7
        assert site.sessions() == 1


@pytest.mark.parametrize(("after_s", "status"), [(59.9, 303), (60, 403)])
async def test_a_link_counts_for_a_minute(tmp_path: Path, after_s: float, status: int) -> None:
    async with site_with(tmp_path, None) as site, site.browser() as browser:
        token = token_of(await make_link(site.parts, ADA))
        site.wall.now += after_s

        assert (await browser.posts(ENTER, {"token": token})).status_code == status


def named(token: str, name: str) -> str:
    return f"{token.partition('.')[0]}.{urlsafe_b64encode(name.encode()).rstrip(b'=').decode()}"


@pytest.mark.parametrize(
    "forged",
    [
        lambda token: named(token, "local:root"),
        lambda token: named(token, "alice@acme.test"),
        lambda token: "A" * 43 + token[43:],
        lambda token: token + "A",
        lambda token: token[:43],
        lambda token: token.upper(),
        lambda _: "",
        lambda _: "." * 5_000,
    ],
)
async def test_a_link_that_was_changed_is_none(tmp_path: Path, forged: object) -> None:
    async with site_with(tmp_path, None) as site, site.browser() as browser:
        token = token_of(await make_link(site.parts, ADA))
        response = await browser.posts(ENTER, {"token": forged(token)})  # type: ignore[operator]

        assert (response.status_code, code_of(response.text)) == (403, "link_unknown")
        assert site.sessions() == 0
        # And the one that was made is not used up by it.
        assert (await browser.posts(ENTER, {"token": token})).status_code == 303


@pytest.mark.parametrize(
    "headers", [{"Origin": "https://evil.acme.test"}, {"Origin": "null"}, {"Sec_Fetch_Site": "cross-site"}]
)
async def test_another_site_signs_nobody_in_as_somebody_else(tmp_path: Path, headers: dict[str, str]) -> None:
    async with site_with(tmp_path, None) as site, site.browser() as browser:
        token = token_of(await make_link(site.parts, ADA))
        response = await browser.posts(ENTER, {"token": token}, **headers)

        assert (response.status_code, code_of(response.text)) == (403, "cross_site")
        assert site.sessions() == 0


@pytest.mark.parametrize(
    "name", ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "a\u202eb", "\n", "\x00"]
)
async def test_a_name_in_a_link_is_never_markup(tmp_path: Path, name: str) -> None:
    async with site_with(tmp_path, None) as site, site.browser() as browser:
        page = await browser.http.get(f"{SITE}{ENTER}", params={"token": named("A" * 43, name)})

        assert [found for found in ("<script>alert", "<img", "\u202e", "\x00") if found in page.text] == []


@pytest.mark.parametrize(
    "person", [replace(ADA, means=Means.OIDC), replace(ADA, means=Means.SLACK), replace(ADA, uid=None)]
)
async def test_no_link_is_made_for_anybody_else(tmp_path: Path, person: object) -> None:
    async with site_with(tmp_path, None) as site:
        with pytest.raises(ValueError, match="admin socket"):
            await make_link(site.parts, person)  # type: ignore[arg-type]

        assert site.secrets() == 0


async def test_what_the_store_holds_is_no_link(tmp_path: Path) -> None:
    async with site_with(tmp_path, None) as site:
        token = token_of(await make_link(site.parts, ADA))
        kept = (tmp_path / "approvals.db").read_bytes()

        assert token.partition(".")[0].encode() not in kept
