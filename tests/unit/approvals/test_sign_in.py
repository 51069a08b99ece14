"""Signing in at a provider that behaves: who somebody is then, for how long, and what the provider was asked."""

from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from trio.testing import MockClock

from callgate.approvals.model import Moment
from callgate.approvals.sign_in.under_way import KIND, LONGEST_AGO_S, digest_of
from callgate.approvals.store import Secret
from callgate.approvals.store_thread import StoreThread
from support.key_endpoint import KEYS, OPENID, answer
from support.sign_in_provider import CLIENT_ID, CLIENT_SECRET, TOKEN, USERINFO, SignInProvider
from support.sign_in_site import BROWSER_COOKIE, SESSION_COOKIE, SITE, Browser, code_of, settings_of, site_with
from support.user_tokens import NOW, user_key


async def test_somebody_who_signed_in_is_known_by_name_and_groups(tmp_path: Path) -> None:
    async with (
        SignInProvider.open() as provider,
        site_with(tmp_path, settings_of(provider)) as site,
        site.browser() as browser,
    ):
        response = await browser.signs_in("?next=/approvals/r/abc?x=1")
        who = await browser.who()

        assert (response.status_code, response.headers["location"]) == (303, "/approvals/r/abc?x=1")
        assert (who["name"], who["groups"], who["means"]) == ("alice@acme.test", ["payments-leads"], "oidc")
        assert site.sessions() == 1


async def test_the_browser_is_asked_for_a_code_with_pkce_state_and_nonce(tmp_path: Path) -> None:
    async with (
        SignInProvider.open() as provider,
        site_with(tmp_path, settings_of(provider)) as site,
        site.browser() as browser,
    ):
        for _ in range(2):
            await browser.signs_in()

        first, second = provider.queries
        assert {name: first[name] for name in ("response_type", "client_id", "redirect_uri", "scope")} == {
            "response_type": "code",
            "client_id": CLIENT_ID,
            "redirect_uri": f"{SITE}/approvals/signed-in",
            "scope": "openid profile email groups",
        }
        assert first["code_challenge_method"] == "S256"
        assert first["max_age"] == str(LONGEST_AGO_S)
        assert "prompt" not in first
        # RFC 7636, section 4.1: 43 characters at the least; nothing is used for two sign-ins.
        assert min(len(form["code_verifier"]) for form in provider.forms) >= 43
        assert [name for name in ("state", "nonce", "code_challenge") if first[name] == second[name]] == []


async def test_cookies_are_for_this_site_alone(tmp_path: Path) -> None:
    async with (
        SignInProvider.open() as provider,
        site_with(tmp_path, settings_of(provider)) as site,
        site.browser() as browser,
    ):
        begun = (await browser.begins()).headers["set-cookie"]
        signed_in = (await browser.signs_in()).headers["set-cookie"]

    assert begun.startswith(f"{BROWSER_COOKIE}=")
    assert signed_in.startswith(f"{SESSION_COOKIE}=")
    assert "Max-Age=600" in begun
    for cookie in (begun, signed_in):
        assert [each for each in ("Path=/", "HttpOnly", "SameSite=Lax", "Secure") if each not in cookie] == []
        assert "Domain" not in cookie


async def test_without_tls_on_loopback_the_cookie_has_another_name(tmp_path: Path) -> None:
    async with SignInProvider.open() as provider:
        settings = settings_of(provider, site="http://127.0.0.1:8444")
        async with site_with(tmp_path, settings) as site, site.browser() as browser:
            cookie = (await browser.begins()).headers["set-cookie"]

    assert cookie.startswith("callgate-sign-in=")
    assert "Secure" not in cookie


async def test_two_tabs_sign_in_side_by_side(tmp_path: Path) -> None:
    async with (
        SignInProvider.open() as provider,
        site_with(tmp_path, settings_of(provider)) as site,
        site.browser() as browser,
    ):
        first, second = await browser.at_provider(), await browser.at_provider()
        statuses = [(await browser.http.get(url)).status_code for url in (first, second)]

        assert statuses == [303, 303]
        # The second sign-in of a browser ends the session of the first.
        assert site.sessions() == 1


async def test_an_answer_that_comes_to_another_worker_counts(tmp_path: Path) -> None:
    async with SignInProvider.open() as provider:
        async with site_with(tmp_path, settings_of(provider)) as first, first.browser() as browser:
            back = await browser.at_provider()
            cookie = browser.http.cookies[BROWSER_COOKIE]
        async with site_with(tmp_path, settings_of(provider)) as second, second.browser() as browser:
            browser.http.cookies.set(BROWSER_COOKIE, cookie, "gate.acme.test")
            response = await browser.http.get(back)

            assert response.status_code == 303
            assert (await browser.who())["name"] == "alice@acme.test"


# The provider says that it was 20 s ago.
SIGNED_IN = NOW - 20


@pytest.mark.parametrize(
    ("said", "signed_in"),
    [({}, SIGNED_IN), ({"auth_time": NOW - 9_000}, NOW - 9_000), ({"auth_time": NOW + 30}, NOW)],
)
async def test_a_sign_in_is_as_old_as_the_provider_says(
    tmp_path: Path, said: dict[str, object], signed_in: float
) -> None:
    async with (
        SignInProvider.open() as provider,
        site_with(tmp_path, settings_of(provider)) as site,
        site.browser() as browser,
    ):
        provider.said.update(said)
        await browser.signs_in()

        assert (await browser.who())["signed_in"] == signed_in


async def test_where_the_provider_does_not_say_it_a_sign_in_is_as_old_as_it_may_be(tmp_path: Path) -> None:
    async with (
        SignInProvider.open() as provider,
        site_with(tmp_path, settings_of(provider)) as site,
        site.browser() as browser,
    ):
        provider.said["auth_time"] = None
        await browser.signs_in()

        assert (await browser.who())["signed_in"] == NOW - LONGEST_AGO_S


@pytest.mark.parametrize(
    ("auth_time", "code"),
    [(NOW, ""), (NOW - 90, ""), (NOW - 91, "sign_in_not_fresh"), (None, "auth_time_missing")],
)
async def test_a_fresh_sign_in_is_one_of_this_minute(tmp_path: Path, auth_time: float | None, code: str) -> None:
    async with (
        SignInProvider.open() as provider,
        site_with(tmp_path, settings_of(provider)) as site,
        site.browser() as browser,
    ):
        provider.said["auth_time"] = auth_time
        response = await browser.signs_in("?fresh=1")

        assert (provider.queries[0]["prompt"], provider.queries[0]["max_age"]) == ("login", "60")
        assert code_of(response.text) == code
        assert site.sessions() == (0 if code else 1)


async def test_what_the_id_token_does_not_say_is_asked_for_once(tmp_path: Path) -> None:
    async with (
        SignInProvider.open() as provider,
        site_with(tmp_path, settings_of(provider)) as site,
        site.browser() as browser,
    ):
        provider.said.update(groups=None, email=None, email_verified=None)
        provider.info.update(email="bob@acme.test", email_verified=True, groups=["a", "Local", "local"])
        await browser.signs_in()
        who = await browser.who()

        assert (who["name"], who["groups"]) == ("bob@acme.test", ["a"])
        assert provider.asked.count(USERINFO) == 1


async def test_an_address_and_that_it_is_verified_are_said_by_the_same_document(tmp_path: Path) -> None:
    async with (
        SignInProvider.open() as provider,
        site_with(tmp_path, settings_of(provider)) as site,
        site.browser() as browser,
    ):
        provider.said.update(email="mallory@evil.test", email_verified=None)
        provider.info.update(email="bob@acme.test", email_verified=True)
        await browser.signs_in()

        assert (await browser.who())["name"] == "bob@acme.test"


async def test_whoever_the_provider_puts_in_no_group_is_in_none(tmp_path: Path) -> None:
    async with (
        SignInProvider.open() as provider,
        site_with(tmp_path, settings_of(provider)) as site,
        site.browser() as browser,
    ):
        provider.metadata["userinfo_endpoint"] = None
        provider.said["groups"] = None
        await browser.signs_in()

        assert (await browser.who())["groups"] == []


@pytest.mark.parametrize("claim", ["sub", "preferred_username", "upn"])
async def test_a_name_is_taken_from_the_claim_that_is_configured(tmp_path: Path, claim: str) -> None:
    async with SignInProvider.open() as provider:
        settings = settings_of(provider, name_claim=claim, groups_claim="roles")
        provider.said.update({"email_verified": False, claim: "alice", "roles": "leads"})
        provider.said["sub"] = "alice"
        async with site_with(tmp_path, settings) as site, site.browser() as browser:
            await browser.signs_in()
            who = await browser.who()

    assert (who["name"], who["groups"]) == ("alice", ["leads"])


@pytest.mark.parametrize(
    ("methods", "secret", "in_form"),
    [
        (None, CLIENT_SECRET, False),
        (["client_secret_basic", "client_secret_post"], CLIENT_SECRET, False),
        (["client_secret_post"], CLIENT_SECRET, True),
        (None, None, False),
    ],
)
async def test_the_gate_proves_itself_as_the_provider_wants_it(
    tmp_path: Path, methods: list[str] | None, secret: str | None, in_form: bool
) -> None:
    async with SignInProvider.open() as provider:
        provider.metadata["token_endpoint_auth_methods_supported"] = methods
        settings = settings_of(provider, client_secret=None if secret is None else secret.encode())
        async with site_with(tmp_path, settings) as site, site.browser() as browser:
            response = await browser.signs_in()

    assert response.status_code == 303
    (form,) = provider.forms
    assert ("client_secret" in form) is in_form
    # A secret in the header names the client there and nowhere else.
    assert ("client_id" in form) is (in_form or secret is None)


async def test_another_client_secret_is_told_as_such(tmp_path: Path) -> None:
    async with (
        SignInProvider.open() as provider,
        site_with(tmp_path, settings_of(provider, client_secret=b"another")) as site,
        site.browser() as browser,
    ):
        assert code_of((await browser.signs_in()).text) == "client_refused"


async def test_a_provider_that_changes_its_key_is_followed(tmp_path: Path) -> None:
    async with (
        SignInProvider.open() as provider,
        site_with(tmp_path, settings_of(provider)) as site,
        site.browser() as browser,
    ):
        first = await browser.signs_in()
        provider.key = user_key("P-256", "k2")
        second = await browser.signs_in()

        assert (first.status_code, second.status_code) == (303, 303)
        assert provider.asked.count(KEYS) == 2


async def test_a_provider_without_the_parameter_of_rfc_9207_is_taken_without(tmp_path: Path) -> None:
    async with (
        SignInProvider.open() as provider,
        site_with(tmp_path, settings_of(provider)) as site,
        site.browser() as browser,
    ):
        provider.metadata["authorization_response_iss_parameter_supported"] = None
        provider.callback["iss"] = None
        good = await browser.signs_in()
        provider.callback["iss"] = "http://evil.acme.test"
        wrong = await browser.signs_in()

        # Section 2.4 of it: what is there is compared all the same.
        assert (good.status_code, code_of(wrong.text)) == (303, "issuer_mismatch")


async def test_metadata_are_not_asked_for_at_each_sign_in(tmp_path: Path) -> None:
    async with (
        SignInProvider.open() as provider,
        site_with(tmp_path, settings_of(provider)) as site,
        site.browser() as browser,
    ):
        for _ in range(3):
            await browser.signs_in()

        # Once for the keys, once for the sign-ins.
        assert provider.asked.count(OPENID) == 2


async def test_sign_ins_that_cannot_begin_do_not_become_requests_to_the_provider(
    tmp_path: Path, mock_clock: MockClock
) -> None:
    async with SignInProvider.open() as provider:
        provider.answers[OPENID] = answer(b"", status="500 Oops")
        async with site_with(tmp_path, settings_of(provider)) as site, site.browser() as browser:
            for _ in range(20):
                assert (await browser.begins()).status_code == 503
            asked = provider.asked.count(OPENID)
            del provider.answers[OPENID]
            mock_clock.jump(2.5)
            later = await browser.begins()

            # Once for the keys, once for the sign-ins.
            assert asked <= 2
            assert later.status_code == 303


async def test_a_provider_that_is_down_is_remembered_for_an_hour(tmp_path: Path, mock_clock: MockClock) -> None:
    async with (
        SignInProvider.open() as provider,
        site_with(tmp_path, settings_of(provider)) as site,
        site.browser() as browser,
    ):
        await browser.begins()
        provider.answers[OPENID] = answer(b"", status="500 Oops")
        mock_clock.jump(3600)
        within = await browser.begins()
        mock_clock.jump(5)
        after = await browser.begins()

        assert (within.status_code, after.status_code) == (303, 503)


async def test_nothing_is_kept_of_a_sign_in_but_who_it_is(tmp_path: Path) -> None:
    async with (
        SignInProvider.open() as provider,
        site_with(tmp_path, settings_of(provider)) as site,
        site.browser() as browser,
    ):
        await browser.signs_in()

        assert site.secrets() == 0
        kept = b"".join(path.read_bytes() for path in sorted(tmp_path.iterdir()))  # noqa: ASYNC240  # a test may
        assert [secret for secret in provider.secrets_given if secret.encode() in kept] == []


async def test_a_new_sign_in_gives_the_browser_another_session(tmp_path: Path) -> None:
    async with (
        SignInProvider.open() as provider,
        site_with(tmp_path, settings_of(provider)) as site,
        site.browser() as browser,
    ):
        await browser.signs_in()
        before = browser.http.cookies[SESSION_COOKIE]
        provider.said["email"] = "bob@acme.test"
        await browser.signs_in()
        after = browser.http.cookies[SESSION_COOKIE]
        browser.http.cookies.set(SESSION_COOKIE, before, "gate.acme.test", "/")

        assert before != after
        assert await browser.who() == {}


async def test_signing_out_ends_the_session_for_whoever_has_its_cookie(tmp_path: Path) -> None:
    async with (
        SignInProvider.open() as provider,
        site_with(tmp_path, settings_of(provider)) as site,
        site.browser() as browser,
        site.browser() as thief,
    ):
        await browser.signs_in()
        thief.http.cookies.set(SESSION_COOKIE, browser.http.cookies[SESSION_COOKIE], "gate.acme.test", "/")
        csrf = (await browser.who())["csrf"]
        response = await browser.posts("/approvals/sign-out", {"csrf": csrf})

        assert response.status_code == 200
        assert "signed out" in response.text
        assert [await each.who() for each in (browser, thief)] == [{}, {}]
        assert site.sessions() == 0


@pytest.mark.parametrize(
    ("fields", "headers"),
    [
        ({"csrf": "wrong"}, {}),
        ({}, {}),
        (None, {"Origin": "https://evil.acme.test"}),
        (None, {"Origin": "null"}),
        (None, {"Sec_Fetch_Site": "cross-site"}),
    ],
)
async def test_nobody_is_signed_out_by_another_site(
    tmp_path: Path, fields: dict[str, str] | None, headers: dict[str, str]
) -> None:
    async with (
        SignInProvider.open() as provider,
        site_with(tmp_path, settings_of(provider)) as site,
        site.browser() as browser,
    ):
        await browser.signs_in()
        csrf = (await browser.who())["csrf"]
        response = await browser.posts("/approvals/sign-out", {"csrf": csrf} if fields is None else fields, **headers)

        assert (response.status_code, code_of(response.text)) == (403, "cross_site")
        assert (await browser.who())["name"] == "alice@acme.test"


async def test_a_gate_without_a_provider_says_how_to_come_in(tmp_path: Path) -> None:
    async with site_with(tmp_path, None) as site, site.browser() as browser:
        for path in ("/approvals/sign-in", "/approvals/signed-in?code=x&state=y"):
            response = await browser.http.get(f"{SITE}{path}")

            assert (response.status_code, code_of(response.text)) == (403, "sign_in_not_configured")
            assert "callgate approvals link" in response.text


async def test_the_problem_tells_whether_people_could_sign_in(tmp_path: Path) -> None:
    async with SignInProvider.open() as provider:
        provider.answers[KEYS] = answer(b"", status="500 Oops")
        async with site_with(tmp_path, settings_of(provider)) as site, site.browser() as browser:
            await browser.signs_in()
            sign_in = site.parts.sign_in
            assert sign_in is not None
            before = sign_in.problem
            del provider.answers[KEYS]
            await browser.signs_in()

            assert before == f"sign-in at {provider.issuer}: {provider.issuer}{KEYS}: status 500"
            assert sign_in.problem == ""


async def test_what_another_program_put_into_the_store_signs_nobody_in(tmp_path: Path) -> None:
    async with (
        SignInProvider.open() as provider,
        site_with(tmp_path, settings_of(provider)) as site,
        site.browser() as browser,
    ):
        back = await browser.at_provider()
        await replace_bodies(site.parts.store, back, browser, site.wall.moment())
        response = await browser.http.get(back)

        assert code_of(response.text) == "sign_in_unknown"
        assert provider.asked.count(TOKEN) == 0


async def replace_bodies(store: StoreThread, back: str, browser: Browser, now: Moment) -> None:
    """The sign-in under way becomes something else under its own name."""
    state = parse_qs(urlsplit(back).query)["state"][0]
    digest = digest_of(state, browser.http.cookies[BROWSER_COOKIE])
    await store.do(lambda each: each.take_secret(digest, KIND, now))
    await store.do(lambda each: each.keep_secret(Secret(digest, KIND, b'{"nonce": 1}', now, 600)))
