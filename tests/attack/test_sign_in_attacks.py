"""A provider, or somebody between it and the gate, that does any one thing wrong: nobody is signed in, and it is told why."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
import trio

from callgate.approvals.sign_in.exchange import MAX_ANSWER_BYTES
from support.key_endpoint import KEYS, OPENID, answer
from support.sign_in_provider import CLIENT_ID, CLIENT_SECRET, TOKEN, USERINFO, SignInProvider
from support.sign_in_site import BROWSER_COOKIE, SESSION_COOKIE, SITE, Browser, Site, code_of, settings_of, site_with
from support.user_tokens import NOW, user_key

HUGE = answer(b'{"x": "' + b"x" * MAX_ANSWER_BYTES + b'"}')
ELSEWHERE = "http://evil.acme.test"


@dataclass(frozen=True)
class Wrong:
    """One thing that is wrong, and the code that the page says."""

    name: str
    code: str
    do: Callable[[SignInProvider], object]


def said(**changes: object) -> Callable[[SignInProvider], object]:
    return lambda provider: provider.said.update(changes)


def head(**changes: object) -> Callable[[SignInProvider], object]:
    return lambda provider: provider.head.update(changes)


def info(**changes: object) -> Callable[[SignInProvider], object]:
    """The groups are not in the ID token, so that userinfo is asked."""
    return lambda provider: (provider.said.update(groups=None), provider.info.update(changes))


def callback(**changes: object) -> Callable[[SignInProvider], object]:
    return lambda provider: provider.callback.update(changes)


def tokens(**changes: object) -> Callable[[SignInProvider], object]:
    return lambda provider: provider.tokens.update(changes)


def metadata(**changes: object) -> Callable[[SignInProvider], object]:
    return lambda provider: provider.metadata.update(changes)


def answers(path: str, octets: bytes) -> Callable[[SignInProvider], object]:
    return lambda provider: provider.answers.update({path: octets})


def slow(path: str) -> Callable[[SignInProvider], object]:
    return lambda provider: provider.held.update({path: trio.Event()})


def other_key(provider: SignInProvider) -> None:
    """Signed with another key, under the name of the one that is published."""
    provider.signer = user_key("P-256", "k2")


def other_algorithm(provider: SignInProvider) -> None:
    provider.signer = user_key("RSA", "k2")
    provider.head["alg"] = "RS256"


CALLBACK = [
    Wrong("another state", "sign_in_unknown", callback(state="s" * 43)),
    Wrong("no state", "sign_in_unknown", callback(state=None)),
    Wrong("the issuer's name is missing", "issuer_mismatch", callback(iss=None)),
    Wrong("another issuer's name", "issuer_mismatch", callback(iss=ELSEWHERE)),
    Wrong("another issuer's error", "issuer_mismatch", callback(iss=ELSEWHERE, error="access_denied")),
    Wrong("no code", "callback_malformed", callback(code=None)),
    Wrong("an empty code", "callback_malformed", callback(code="")),
    Wrong("a code without end", "callback_malformed", callback(code="c" * 5_000)),
    Wrong("a made-up code", "code_refused", callback(code="made-up")),
    Wrong("access denied", "access_denied", callback(code=None, error="access_denied")),
    Wrong("an error beside a code", "provider_error", callback(error="server_error")),
]
TOKENS = [
    Wrong("the token endpoint fails", "provider_unavailable", answers(TOKEN, answer(b"", status="500 Oops"))),
    Wrong(
        "the token endpoint leads elsewhere",
        "provider_unavailable",
        answers(TOKEN, answer(b"", f"Location: {ELSEWHERE}/", status="307 Temporary Redirect")),
    ),
    Wrong("a huge token answer", "provider_unavailable", answers(TOKEN, HUGE)),
    Wrong("a compressed one", "provider_unavailable", answers(TOKEN, answer(b"{}", "Content-Encoding: gzip"))),
    Wrong("a slow one", "provider_unavailable", slow(TOKEN)),
    Wrong("no JSON", "tokens_unusable", answers(TOKEN, answer(b"<html>"))),
    Wrong("no object", "tokens_unusable", answers(TOKEN, answer(b"[]"))),
    Wrong("a member twice", "tokens_unusable", answers(TOKEN, answer(b'{"id_token":"a","id_token":"b"}'))),
    Wrong("no ID token", "tokens_unusable", tokens(id_token=None)),
    Wrong("no access token", "tokens_unusable", tokens(access_token=None)),
    Wrong("an access token with a line break", "tokens_unusable", tokens(access_token="a\r\nX: y")),
    Wrong("another type of token", "tokens_unusable", tokens(token_type="DPoP")),
    Wrong(
        "the client is not known",
        "client_refused",
        answers(TOKEN, answer(b'{"error":"invalid_client"}', status="401 No")),
    ),
    Wrong("another error", "provider_error", answers(TOKEN, answer(b'{"error":"invalid_request"}', status="400 No"))),
]
ID_TOKEN = [
    Wrong("no signature", "id_token_algorithm", head(alg="none")),
    Wrong("the public key as a secret", "id_token_algorithm", head(alg="HS256")),
    Wrong("an algorithm of another key", "id_token_signature", other_algorithm),
    Wrong("another key under its name", "id_token_signature", other_key),
    Wrong("a key that is not published", "id_token_signature", head(kid="k9")),
    Wrong("a key that comes along", "id_token_malformed", head(jwk={"kty": "EC"})),
    Wrong("a key from elsewhere", "id_token_malformed", head(jku=f"{ELSEWHERE}/keys")),
    Wrong("critical extensions", "id_token_malformed", head(crit=["b64"], b64=False)),
    Wrong("an access token", "id_token_malformed", head(typ="at+jwt")),
    Wrong("three tokens in one", "id_token_malformed", tokens(id_token="a.b.c.d.e")),
    Wrong("a token without end", "id_token_malformed", tokens(id_token="a" * 40_000)),
    Wrong("another issuer", "id_token_issuer", said(iss=ELSEWHERE)),
    Wrong("no issuer", "id_token_malformed", said(iss=None)),
    Wrong("another audience", "id_token_audience", said(aud="another")),
    Wrong("no audience", "id_token_audience", said(aud=None)),
    Wrong("one more audience", "id_token_audience", said(aud=[CLIENT_ID, "another"])),
    Wrong("made for another client", "id_token_audience", said(azp="another")),
    Wrong("made for another of its audiences", "id_token_audience", said(aud=[CLIENT_ID, "another"], azp="another")),
    Wrong("expired", "id_token_expired", said(exp=NOW - 30)),
    Wrong("no end", "id_token_malformed", said(exp=None)),
    Wrong("no beginning", "id_token_malformed", said(iat=None)),
    Wrong("from the future", "id_token_not_yet_valid", said(iat=NOW + 31)),
    Wrong("not yet valid", "id_token_not_yet_valid", said(nbf=NOW + 31)),
    Wrong("signed in later than now", "id_token_not_yet_valid", said(auth_time=NOW + 31)),
    Wrong("signed in at no moment", "id_token_malformed", said(auth_time="yesterday")),
    Wrong("another nonce", "id_token_nonce", said(nonce="n" * 43)),
    Wrong("no nonce", "id_token_nonce", said(nonce=None)),
    Wrong("another access token's hash", "id_token_access_token", said(at_hash="AAAAAAAAAAAAAAAAAAAAAA")),
    Wrong("a hash that is none", "id_token_access_token", said(at_hash=7)),
    Wrong("no subject", "id_token_malformed", said(sub=None)),
    Wrong("a subject without end", "id_token_malformed", said(sub="s" * 256)),
]
KEY_SET = [
    Wrong("no keys", "provider_keys_unavailable", answers(KEYS, answer(b"", status="500 Oops"))),
    Wrong("a huge key set", "provider_keys_unavailable", answers(KEYS, HUGE)),
    Wrong("keys that are none", "provider_keys_unavailable", answers(KEYS, answer(b'{"keys": 1}'))),
]
PERSON = [
    Wrong("userinfo of somebody else", "userinfo_subject", info(sub="u-2")),
    Wrong("userinfo of nobody", "userinfo_subject", info(sub=None)),
    Wrong("userinfo fails", "userinfo_unusable", lambda p: (said(groups=None)(p), answers(USERINFO, HUGE)(p))),
    Wrong("userinfo is slow", "userinfo_unusable", lambda p: (said(groups=None)(p), slow(USERINFO)(p))),
    Wrong("the address is not verified", "email_not_verified", said(email_verified=False)),
    Wrong("the address is verified in words", "email_not_verified", said(email_verified="true")),
    Wrong("nobody says whether it is verified", "email_not_verified", said(email_verified=None)),
    Wrong("no address", "name_missing", said(email=None)),
    Wrong("an address that is none", "name_missing", said(email=["alice@acme.test"])),
    Wrong("an address with a line break", "name_missing", said(email="alice@acme.test\nx")),
    Wrong("an address that turns around", "name_missing", said(email="alice@acme.test\u202e")),
    Wrong("an address without end", "name_missing", said(email="a" * 300)),
    Wrong("a user of the machine", "name_reserved", said(email="local:ada")),
    Wrong("a user of the machine, folded", "name_reserved", said(email=" \uff2cOCAL:ada")),
    Wrong("the group of those users", "name_reserved", said(email="Local")),
    Wrong("a workload", "name_reserved", said(email="spiffe://acme.test/x")),
    Wrong("groups that are no list", "groups_unreadable", said(groups={"payments-leads": True})),
    Wrong("groups that are no names", "groups_unreadable", said(groups=["payments-leads", 7])),
    Wrong("too many groups", "groups_unreadable", said(groups=[f"g{number}" for number in range(257)])),
    Wrong("groups elsewhere", "groups_unreadable", said(groups=None, _claim_names={"groups": "src1"})),
]
ALL = [*CALLBACK, *TOKENS, *ID_TOKEN, *KEY_SET, *PERSON]


async def assert_nobody_signed_in(site: Site, browser: Browser) -> None:
    assert site.sessions() == 0
    assert SESSION_COOKIE not in browser.http.cookies
    assert await browser.who() == {}


@pytest.mark.parametrize("wrong", ALL, ids=lambda wrong: wrong.name)
async def test_nobody_is_signed_in_by_a_provider_that_does_one_thing_wrong(
    tmp_path: Path, wrong: Wrong, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with SignInProvider.open() as provider:
        wrong.do(provider)
        async with site_with(tmp_path, settings_of(provider)) as site, site.browser() as browser:
            response = await browser.signs_in()

            assert code_of(response.text) == wrong.code, response.text
            assert response.status_code in {403, 503}
            await assert_nobody_signed_in(site, browser)
    # Of the gate alone: the browser of this test tells of the URLs that it asks for.
    lines = [record.getMessage() for record in caplog.records if record.name.startswith("callgate")]
    told = "\n".join([response.text, *lines])
    assert [secret for secret in [CLIENT_SECRET, *provider.secrets_given] if secret in told] == []


METADATA = [
    Wrong("of another issuer", "provider_unavailable", metadata(issuer=ELSEWHERE)),
    Wrong("no PKCE", "provider_unavailable", metadata(code_challenge_methods_supported=["plain"])),
    Wrong("no token endpoint", "provider_unavailable", metadata(token_endpoint=None)),
    Wrong("a token endpoint without TLS", "provider_unavailable", metadata(token_endpoint=f"{ELSEWHERE}/token")),
    Wrong(
        "a token endpoint in this network", "provider_unavailable", metadata(token_endpoint="https://10.0.0.1/token")
    ),
    Wrong("userinfo that is no URL", "provider_unavailable", metadata(userinfo_endpoint=7)),
    Wrong("a script to sign in at", "provider_unavailable", metadata(authorization_endpoint="javascript:alert(1)")),
    Wrong("huge", "provider_unavailable", answers(OPENID, HUGE)),
    Wrong("slow", "provider_unavailable", slow(OPENID)),
]


@pytest.mark.parametrize("wrong", METADATA, ids=lambda wrong: wrong.name)
async def test_no_browser_is_sent_to_a_provider_whose_metadata_cannot_be_believed(tmp_path: Path, wrong: Wrong) -> None:
    async with SignInProvider.open() as provider:
        wrong.do(provider)
        async with site_with(tmp_path, settings_of(provider)) as site, site.browser() as browser:
            response = await browser.begins()

            assert (response.status_code, code_of(response.text)) == (503, wrong.code)
            assert (site.secrets(), provider.queries) == (0, [])


async def test_a_callback_counts_once(tmp_path: Path) -> None:
    async with (
        SignInProvider.open() as provider,
        site_with(tmp_path, settings_of(provider)) as site,
        site.browser() as browser,
    ):
        back = await browser.at_provider()
        first = await browser.http.get(back)
        second = await browser.http.get(back)

        assert (first.status_code, code_of(second.text)) == (303, "sign_in_unknown")
        assert (site.sessions(), provider.asked.count(TOKEN)) == (1, 1)


async def test_of_callbacks_at_the_same_time_one_counts(tmp_path: Path) -> None:
    async with (
        SignInProvider.open() as provider,
        site_with(tmp_path, settings_of(provider)) as site,
        site.browser() as browser,
    ):
        back, statuses = await browser.at_provider(), list[int]()

        async def come_back() -> None:
            statuses.append((await browser.http.get(back)).status_code)

        async with trio.open_nursery() as nursery:
            for _ in range(8):
                nursery.start_soon(come_back)

        assert sorted(statuses) == [303] + [403] * 7
        assert site.sessions() == 1


async def test_a_callback_that_was_stolen_is_worth_nothing_in_another_browser_and_is_not_used_up(
    tmp_path: Path,
) -> None:
    async with (
        SignInProvider.open() as provider,
        site_with(tmp_path, settings_of(provider)) as site,
        site.browser() as alice,
        site.browser() as mallory,
    ):
        stolen = await alice.at_provider()
        await mallory.begins()
        theirs = await mallory.http.get(stolen)
        asked = provider.asked.count(TOKEN)
        hers = await alice.http.get(stolen)

        assert code_of(theirs.text) == "sign_in_unknown"
        assert (asked, await mallory.who()) == (0, {})
        assert hers.status_code == 303


async def test_nobody_can_be_signed_in_as_somebody_else_by_a_callback_that_is_planted(tmp_path: Path) -> None:
    async with (
        SignInProvider.open() as provider,
        site_with(tmp_path, settings_of(provider)) as site,
        site.browser() as mallory,
        site.browser() as alice,
    ):
        planted = await mallory.at_provider()
        response = await alice.http.get(planted)

        assert code_of(response.text) == "sign_in_unknown"
        await assert_nobody_signed_in(site, alice)


async def test_a_code_of_another_sign_in_does_not_fit_the_verifier_of_this_one(tmp_path: Path) -> None:
    async with (
        SignInProvider.open() as provider,
        site_with(tmp_path, settings_of(provider)) as site,
        site.browser() as mallory,
        site.browser() as alice,
    ):
        code = parse_qs(urlsplit(await alice.at_provider()).query)["code"][0]
        own = parse_qs(urlsplit(await mallory.at_provider()).query)
        mixed = urlencode({"code": code, "state": own["state"][0], "iss": provider.issuer})
        response = await mallory.http.get(f"{SITE}/approvals/signed-in?{mixed}")

        assert code_of(response.text) == "code_refused"
        await assert_nobody_signed_in(site, mallory)


async def test_a_parameter_that_comes_twice_is_no_answer(tmp_path: Path) -> None:
    async with (
        SignInProvider.open() as provider,
        site_with(tmp_path, settings_of(provider)) as site,
        site.browser() as browser,
    ):
        response = await browser.http.get(await browser.at_provider() + "&code=other")

        assert code_of(response.text) == "callback_malformed"
        await assert_nobody_signed_in(site, browser)


async def test_a_sign_in_is_over_after_ten_minutes(tmp_path: Path) -> None:
    async with (
        SignInProvider.open() as provider,
        site_with(tmp_path, settings_of(provider)) as site,
        site.browser() as browser,
    ):
        back = await browser.at_provider()
        site.wall.now += 600
        response = await browser.http.get(back)

        assert code_of(response.text) == "sign_in_unknown"


async def test_without_its_cookie_a_browser_has_begun_nothing(tmp_path: Path) -> None:
    async with (
        SignInProvider.open() as provider,
        site_with(tmp_path, settings_of(provider)) as site,
        site.browser() as browser,
    ):
        back = await browser.at_provider()
        browser.http.cookies.delete(BROWSER_COOKIE)
        response = await browser.http.get(back)

        assert code_of(response.text) == "sign_in_unknown"
        assert provider.asked.count(TOKEN) == 0


@pytest.mark.parametrize(
    "after",
    [
        "https://evil.acme.test/",
        "//evil.acme.test",
        "/\\evil.acme.test",
        "/approvals@evil.acme.test",
        "/approvals.evil.acme.test",
        "/approvals/../admin",
        "/approvals//evil.acme.test",
        "/approvals/%2e%2e/",
        "/approvals/sign-in",
        "/approvals/enter?token=x",
        "/approvals\r\nSet-Cookie: a=b",
        "/approvals\n",
        "javascript:alert(1)",
        "/api/v1/me",
        "/approvals?" + "a" * 400,
        "",
    ],
)
async def test_a_sign_in_never_leads_anywhere_but_to_the_approvals(tmp_path: Path, after: str) -> None:
    async with (
        SignInProvider.open() as provider,
        site_with(tmp_path, settings_of(provider)) as site,
        site.browser() as browser,
    ):
        response = await browser.signs_in("?" + urlencode({"next": after}))

        assert (response.status_code, response.headers["location"]) == (303, "/approvals")


MARKUP = "<script>alert(1)</script>'\""


async def test_what_the_provider_says_is_never_markup_on_the_page(tmp_path: Path) -> None:
    async with SignInProvider.open() as provider, site_with(tmp_path, settings_of(provider)) as site:
        provider.callback.update(error=MARKUP, error_description=MARKUP)
        async with site.browser() as browser:
            response = await browser.signs_in()

            assert code_of(response.text) == "provider_error"
            assert "alert(1)" not in response.text
            assert "default-src 'none'" in response.headers["content-security-policy"]


async def test_what_the_provider_says_is_one_line_of_the_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with SignInProvider.open() as provider, site_with(tmp_path, settings_of(provider)) as site:
        provider.callback.update(error="x\r\n2026-01-01 INFO alice signed in\x1b[2J")
        async with site.browser() as browser:
            await browser.signs_in()

    (line,) = [record.getMessage() for record in caplog.records if "refused" in record.getMessage()]
    assert line.isprintable()
