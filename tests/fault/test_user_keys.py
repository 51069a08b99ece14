"""JWKS-1: users' keys that rotate, vanish and turn to garbage, and who pays for tokens with made-up key names.

Virtual time and a real issuer on a socket: the clock moves only when a test says so.
"""

import ssl
from itertools import pairwise
from pathlib import Path

import orjson
import pytest
import trio
import trustme
from joserfc.jwk import Key
from trio.testing import MockClock, wait_all_tasks_blocked

from callgate.errors import Reason, Refusal
from callgate.identity.user import User
from callgate.users.issuers import UserVerifier
from callgate.users.key_source import KeysEvent, UnusableAuthorities
from support.key_endpoint import (
    KEYS,
    NOT_FOUND,
    OAUTH,
    OPENID,
    KeyEndpoint,
    Told,
    answer,
    settings_of,
    verifying,
)
from support.user_tokens import LEAF, NOW, claims, header, jwks_of, public_jwk, user_key, user_token

OLD, NEW = user_key("P-256", "old"), user_key("P-256", "new")
HOUR = 3600


def token_of(endpoint: KeyEndpoint, key: Key, kid: str | None = None) -> str:
    return user_token(claims(iss=endpoint.issuer), key=key, head=header(kid=kid or key.kid))


async def verify(verifier: UserVerifier, endpoint: KeyEndpoint, key: Key, kid: str | None = None) -> User | Refusal:
    return await verifier.verify(token_of(endpoint, key, kid), LEAF, NOW)


async def reason(verifier: UserVerifier, endpoint: KeyEndpoint, key: Key, kid: str | None = None) -> Reason:
    found = await verify(verifier, endpoint, key, kid)
    assert isinstance(found, Refusal), found
    return found.reason


# Rotation


async def test_no_valid_token_is_refused_while_keys_rotate_under_load(mock_clock: MockClock) -> None:
    results: list[User | Refusal] = []
    keys = [user_key("P-256", f"r{number}") for number in range(6)]
    signing = keys[0]

    async with KeyEndpoint.open(jwks_of(keys[0])) as endpoint, verifying(endpoint) as verifier:

        async def load() -> None:
            while True:
                results.append(await verify(verifier, endpoint, signing))
                await trio.lowlevel.checkpoint()

        assert isinstance(await verify(verifier, endpoint, signing), User)
        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(load)
            for before, after in pairwise(keys):
                # The new key is published and signed with at once, and the old one is taken away later.
                endpoint.publish(jwks_of(before, after))
                signing = after
                done = len(results) + 200
                while len(results) < done:
                    await trio.lowlevel.checkpoint()
                endpoint.publish(jwks_of(after))
                mock_clock.jump(10)
            nursery.cancel_scope.cancel()

    assert len(results) > 1000
    assert {type(found) for found in results} == {User}
    # The first, one for each new key, and the background's: every 2.5 to 5 minutes, in 50 seconds at most none.
    assert endpoint.times(KEYS) == 1 + 5


async def test_a_key_that_was_taken_away_is_not_accepted_after_the_next_fetch(mock_clock: MockClock) -> None:
    async with KeyEndpoint.open(jwks_of(OLD, NEW)) as endpoint, verifying(endpoint) as verifier:
        assert isinstance(await verify(verifier, endpoint, OLD), User)
        endpoint.publish(jwks_of(NEW))
        mock_clock.jump(300)
        await endpoint.was_asked(2)
        await wait_all_tasks_blocked()
        assert isinstance(await verify(verifier, endpoint, NEW), User)
        mock_clock.jump(10)
        assert await reason(verifier, endpoint, OLD) is Reason.USER_TOKEN_UNTRUSTED


async def test_an_empty_key_set_takes_all_keys_back(mock_clock: MockClock) -> None:
    told = Told()
    async with KeyEndpoint.open(jwks_of(OLD)) as endpoint, verifying(endpoint, told=told) as verifier:
        assert isinstance(await verify(verifier, endpoint, OLD), User)
        endpoint.publish(b'{"keys":[]}')
        mock_clock.jump(300)
        await told.heard(KeysEvent.UPDATED, 2)
        assert await reason(verifier, endpoint, OLD) is Reason.USER_TOKEN_UNTRUSTED


@pytest.mark.parametrize(
    ("cache_control", "least_s", "most_s"),
    [
        ("", 150, 300),
        ("Cache-Control: max-age=600", 300, 600),
        ("Cache-Control: public, max-age=600, must-revalidate", 300, 600),
        ("Cache-Control: max-age=1", 30, 60),
        ("Cache-Control: max-age=0", 30, 60),
        # A quarter of the hour for which keys count.
        ("Cache-Control: max-age=999999999", 450, 900),
        ("Cache-Control: no-store", 150, 300),
    ],
)
async def test_keys_are_fetched_again_as_often_as_their_server_says_within_bounds(
    mock_clock: MockClock, cache_control: str, least_s: float, most_s: float
) -> None:
    told = Told()
    async with KeyEndpoint.open() as endpoint:
        endpoint.publish(jwks_of(OLD), *filter(None, [cache_control]))
        async with verifying(endpoint, told=told):
            await told.heard(KeysEvent.UPDATED)
            await wait_all_tasks_blocked()
            mock_clock.jump(least_s - 0.001)
            await wait_all_tasks_blocked()
            assert endpoint.times() == 1
            mock_clock.jump(most_s - least_s + 0.001)
            await endpoint.was_asked(2)


# Made-up key names


async def test_a_storm_of_unknown_key_names_costs_the_issuer_one_fetch_in_ten_seconds(mock_clock: MockClock) -> None:
    reasons: list[Reason] = []
    async with KeyEndpoint.open(jwks_of(OLD)) as endpoint, verifying(endpoint) as verifier:
        assert isinstance(await verify(verifier, endpoint, OLD), User)

        async def storm(number: int) -> None:
            kids = [f"made-up-{number}-{attempt}" for attempt in range(20)]
            reasons.extend([await reason(verifier, endpoint, NEW, kid) for kid in kids])

        for round_ in range(1, 5):
            async with trio.open_nursery() as nursery:
                for number in range(50):
                    nursery.start_soon(storm, number)
            assert endpoint.times() == 1 + round_
            mock_clock.jump(9.999)
            await reason(verifier, endpoint, NEW, "made-up")
            assert endpoint.times() == 1 + round_
            mock_clock.jump(0.001)
        # The metadata are not asked again for a key.
        assert endpoint.times(OPENID) == 1
        assert isinstance(await verify(verifier, endpoint, OLD), User)

    assert len(reasons) == 4 * 50 * 20
    assert set(reasons) == {Reason.USER_TOKEN_UNTRUSTED}


async def test_everybody_who_waits_for_a_key_shares_one_fetch() -> None:
    found: list[User | Refusal] = []
    async with KeyEndpoint.open(jwks_of(OLD)) as endpoint, verifying(endpoint) as verifier:
        await verify(verifier, endpoint, OLD)
        endpoint.publish(jwks_of(OLD, NEW))
        endpoint.held[KEYS] = trio.Event()

        async def one() -> None:
            found.append(await verify(verifier, endpoint, NEW))

        async with trio.open_nursery() as nursery:
            for _ in range(100):
                nursery.start_soon(one)
            await endpoint.was_asked(2)
            await wait_all_tasks_blocked()
            assert found == []
            endpoint.held[KEYS].set()

    assert endpoint.times() == 2
    assert len(found) == 100
    assert all(isinstance(each, User) for each in found)


async def test_a_fetch_that_began_before_the_key_was_published_is_followed_by_another() -> None:
    found: list[User | Refusal] = []
    async with KeyEndpoint.open(jwks_of(OLD)) as endpoint:
        endpoint.held[KEYS] = trio.Event()
        async with verifying(endpoint) as verifier, trio.open_nursery() as nursery:
            await endpoint.was_asked(1)

            async def one() -> None:
                found.append(await verify(verifier, endpoint, NEW))
                nursery.cancel_scope.cancel()

            nursery.start_soon(one)
            await wait_all_tasks_blocked()
            endpoint.publish(jwks_of(OLD, NEW))
            endpoint.held[KEYS].set()
        assert endpoint.times() == 2
    assert isinstance(found[0], User)


async def test_one_who_gives_up_waiting_leaves_the_fetch_to_the_others() -> None:
    found: list[User | Refusal] = []
    leaving = trio.CancelScope()
    async with KeyEndpoint.open(jwks_of(OLD)) as endpoint, verifying(endpoint) as verifier:
        await verify(verifier, endpoint, OLD)
        endpoint.publish(jwks_of(OLD, NEW))
        endpoint.held[KEYS] = trio.Event()

        async def stays() -> None:
            found.append(await verify(verifier, endpoint, NEW))

        async def leaves() -> None:
            with leaving:
                await stays()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(leaves)
            await endpoint.was_asked(2)
            nursery.start_soon(stays)
            await wait_all_tasks_blocked()
            leaving.cancel()
            await wait_all_tasks_blocked()
            endpoint.held[KEYS].set()

        assert endpoint.times() == 2
    assert [type(each) for each in found] == [User]


# An issuer that is down


async def test_known_keys_count_for_an_hour_while_the_issuer_is_down_and_no_longer(mock_clock: MockClock) -> None:
    told = Told()
    async with KeyEndpoint.open(jwks_of(OLD)) as endpoint, verifying(endpoint, told=told) as verifier:
        assert isinstance(await verify(verifier, endpoint, OLD), User)
        endpoint.answers = {OPENID: b"", KEYS: b""}
        mock_clock.jump(300)
        await told.heard(KeysEvent.UNAVAILABLE)
        assert list(verifier.problems) == [endpoint.issuer]
        assert isinstance(await verify(verifier, endpoint, OLD), User)
        mock_clock.jump(HOUR - 300)
        assert isinstance(await verify(verifier, endpoint, OLD), User)
        mock_clock.jump(0.001)
        assert await reason(verifier, endpoint, OLD) is Reason.USER_KEYS_UNAVAILABLE

        # And it is back.
        endpoint.publish(jwks_of(OLD))
        mock_clock.jump(10)
        assert isinstance(await verify(verifier, endpoint, OLD), User)
        assert verifier.problems == {}


async def test_how_long_stale_keys_count_is_that_of_the_configuration(mock_clock: MockClock) -> None:
    told = Told()
    async with (
        KeyEndpoint.open(jwks_of(OLD)) as endpoint,
        verifying(endpoint, settings_of(endpoint, max_stale_s=600), told=told) as verifier,
    ):
        await told.heard(KeysEvent.UPDATED)
        endpoint.publish(b"")
        mock_clock.jump(600)
        assert isinstance(await verify(verifier, endpoint, OLD), User)
        mock_clock.jump(0.001)
        assert await reason(verifier, endpoint, OLD) is Reason.USER_KEYS_UNAVAILABLE


async def test_a_key_that_is_unknown_while_the_issuer_is_down_cannot_be_told_from_a_new_one() -> None:
    async with KeyEndpoint.open(jwks_of(OLD)) as endpoint, verifying(endpoint) as verifier:
        assert isinstance(await verify(verifier, endpoint, OLD), User)
        endpoint.answers = {}
        assert await reason(verifier, endpoint, NEW) is Reason.USER_KEYS_UNAVAILABLE
        assert isinstance(await verify(verifier, endpoint, OLD), User)


async def test_a_call_waits_three_seconds_for_an_issuer_that_does_not_answer(mock_clock: MockClock) -> None:
    found: list[Refusal | User] = []
    async with KeyEndpoint.open(jwks_of(OLD)) as endpoint:
        endpoint.held[KEYS] = trio.Event()
        async with verifying(endpoint) as verifier, trio.open_nursery() as nursery:

            async def one() -> None:
                found.append(await verify(verifier, endpoint, OLD))

            nursery.start_soon(one)
            await endpoint.was_asked(1)
            mock_clock.jump(2.999)
            await wait_all_tasks_blocked()
            assert found == []
            mock_clock.jump(0.001)
        assert isinstance(found[0], Refusal)
        assert found[0].reason is Reason.USER_KEYS_UNAVAILABLE


async def test_an_issuer_that_never_ends_its_answer_is_left_after_five_seconds(mock_clock: MockClock) -> None:
    told = Told()
    async with KeyEndpoint.open(jwks_of(OLD)) as endpoint:
        endpoint.held[KEYS] = trio.Event()
        async with verifying(endpoint, told=told):
            await endpoint.was_asked(1)
            mock_clock.jump(5)
            assert "not done within 5 s" in await told.heard(KeysEvent.UNAVAILABLE)


async def test_an_issuer_that_comes_up_after_the_gate_is_found(mock_clock: MockClock) -> None:
    told = Told()
    async with KeyEndpoint.open(jwks_of(OLD)) as endpoint:
        good, endpoint.answers = endpoint.answers, {}
        async with verifying(endpoint, told=told) as verifier:
            for failures in range(1, 4):
                await told.heard(KeysEvent.UNAVAILABLE, failures)
                await wait_all_tasks_blocked()
                mock_clock.jump(2.0 ** (failures - 1))
            endpoint.answers = good
            mock_clock.jump(8)
            await told.heard(KeysEvent.UPDATED)
            assert isinstance(await verify(verifier, endpoint, OLD), User)


# An issuer that serves what is of no use

GARBAGE = {
    "html": answer(b"<html>502</html>"),
    "nothing": answer(b""),
    "no keys in it": answer(b'{"error":"x"}'),
    "alg none": answer(orjson.dumps({"keys": [{"kty": "oct", "alg": "none", "kid": "old", "k": ""}]})),
    "a shared secret": answer(orjson.dumps({"keys": [{"kty": "oct", "kid": "old", "k": "c2VjcmV0"}]})),
    "a weak key": answer(orjson.dumps({"keys": [public_jwk(user_key("RSA-1024", "old"))]})),
    "10^5 keys": answer(orjson.dumps({"keys": [public_jwk(NEW)] * 100_000})),
    "101 keys": answer(orjson.dumps({"keys": [public_jwk(NEW)] * 101})),
    "200 levels": answer(b'{"keys":' + b"[" * 200 + b"]" * 200 + b"}"),
    "a repeated member": answer(b'{"keys":[],"keys":[]}'),
    "500": answer(jwks_of(NEW), status="500 Internal Server Error"),
    "201": answer(jwks_of(NEW), status="201 Created"),
    "compressed": answer(jwks_of(NEW), "Content-Encoding: gzip"),
    "cut off": answer(jwks_of(NEW))[:-20],
    "no HTTP": b"SSH-2.0-OpenSSH_9.2p1\r\n",
    "silence": b"",
}


@pytest.mark.parametrize("octets", GARBAGE.values(), ids=GARBAGE)
async def test_garbage_leaves_the_last_good_keys(mock_clock: MockClock, octets: bytes) -> None:
    told = Told()
    async with KeyEndpoint.open(jwks_of(OLD)) as endpoint, verifying(endpoint, told=told) as verifier:
        assert isinstance(await verify(verifier, endpoint, OLD), User)
        endpoint.answers[KEYS] = octets
        mock_clock.jump(300)
        await told.heard(KeysEvent.UNAVAILABLE)
        assert isinstance(await verify(verifier, endpoint, OLD), User)
        assert await reason(verifier, endpoint, NEW) is Reason.USER_KEYS_UNAVAILABLE
        endpoint.publish(jwks_of(NEW))
        mock_clock.jump(10)
        assert isinstance(await verify(verifier, endpoint, NEW), User)


async def test_garbage_from_the_start_is_no_key() -> None:
    async with KeyEndpoint.open(b"<html>") as endpoint, verifying(endpoint) as verifier:
        assert await reason(verifier, endpoint, OLD) is Reason.USER_KEYS_UNAVAILABLE


async def test_metadata_that_vanish_leave_the_keys_where_they_were(mock_clock: MockClock) -> None:
    async with KeyEndpoint.open(jwks_of(OLD)) as endpoint, verifying(endpoint) as verifier:
        assert isinstance(await verify(verifier, endpoint, OLD), User)
        endpoint.answers[OPENID] = NOT_FOUND
        endpoint.publish(jwks_of(NEW))
        mock_clock.jump(300)
        await endpoint.was_asked(2)
        assert isinstance(await verify(verifier, endpoint, NEW), User)


# Where keys are looked for


async def test_asks_for_the_metadata_of_rfc_8414_where_openids_are_not_there() -> None:
    async with KeyEndpoint.open(jwks_of(OLD)) as endpoint:
        endpoint.answers[OAUTH] = endpoint.answers.pop(OPENID)
        async with verifying(endpoint) as verifier:
            assert isinstance(await verify(verifier, endpoint, OLD), User)
        assert endpoint.asked == [OPENID, OAUTH, KEYS]


async def test_a_configured_jwks_uri_is_asked_and_nothing_else() -> None:
    async with KeyEndpoint.open() as endpoint:
        endpoint.answers = {"/elsewhere?p=a": answer(jwks_of(OLD))}
        settings = settings_of(endpoint, jwks_uri=endpoint.url("/elsewhere?p=a"))
        async with verifying(endpoint, settings) as verifier:
            assert isinstance(await verify(verifier, endpoint, OLD), User)
        assert endpoint.asked == ["/elsewhere?p=a"]


async def test_metadata_of_another_issuer_are_not_believed() -> None:
    async with KeyEndpoint.open(jwks_of(OLD)) as endpoint:
        metadata = {"issuer": endpoint.issuer + "/", "jwks_uri": endpoint.url(KEYS)}
        endpoint.answers[OPENID] = answer(orjson.dumps(metadata))
        async with verifying(endpoint) as verifier:
            assert await reason(verifier, endpoint, OLD) is Reason.USER_KEYS_UNAVAILABLE
            assert "of another issuer" in verifier.problems[endpoint.issuer]
        assert endpoint.times() == 0


@pytest.mark.parametrize("path", [OPENID, KEYS])
@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"])
async def test_redirects_are_not_followed(path: str, status: str) -> None:
    async with KeyEndpoint.open(jwks_of(OLD)) as endpoint:
        endpoint.answers["/moved"] = endpoint.answers[path]
        endpoint.answers[path] = answer(b"", f"Location: {endpoint.url('/moved')}", status=status)
        async with verifying(endpoint) as verifier:
            assert await reason(verifier, endpoint, OLD) is Reason.USER_KEYS_UNAVAILABLE
        assert "/moved" not in endpoint.asked


async def test_a_proxy_of_the_environment_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    async with KeyEndpoint.open() as proxy, KeyEndpoint.open(jwks_of(OLD)) as endpoint:
        for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.issuer)
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.delenv("no_proxy", raising=False)
        async with verifying(endpoint) as verifier:
            assert isinstance(await verify(verifier, endpoint, OLD), User)
        assert proxy.asked == []


async def test_sends_no_credential_and_asks_for_no_compression() -> None:
    async with KeyEndpoint.open(jwks_of(OLD)) as endpoint, verifying(endpoint) as verifier:
        assert isinstance(await verify(verifier, endpoint, OLD), User)
        for head in endpoint.heads:
            names = {line.partition(b":")[0].lower() for line in head.split(b"\r\n")[1:] if line}
            assert names == {b"host", b"accept", b"accept-encoding", b"user-agent", b"connection"}
            assert b"accept-encoding: identity" in head.lower()


# TLS


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


def server_context(authority: trustme.CA, name: str = "127.0.0.1") -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(name).configure_cert(context)
    return context


async def test_an_issuer_is_known_by_the_authorities_of_its_ca_file(authority: trustme.CA, tmp_path: Path) -> None:
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    async with KeyEndpoint.open(jwks_of(OLD), server_context(authority)) as endpoint:
        settings = settings_of(endpoint, ca_file="ca.pem")
        async with verifying(endpoint, settings, folder=tmp_path) as verifier:
            assert isinstance(await verify(verifier, endpoint, OLD), User)


@pytest.mark.parametrize("name", ["127.0.0.2", "login.acme.test"])
async def test_an_issuer_with_another_name_in_its_certificate_is_not_believed(
    authority: trustme.CA, tmp_path: Path, name: str
) -> None:
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    async with KeyEndpoint.open(jwks_of(OLD), server_context(authority, name)) as endpoint:
        settings = settings_of(endpoint, ca_file=str(tmp_path / "ca.pem"))
        async with verifying(endpoint, settings) as verifier:
            assert await reason(verifier, endpoint, OLD) is Reason.USER_KEYS_UNAVAILABLE
        assert endpoint.asked == []


async def test_an_issuer_that_no_authority_of_the_system_vouches_for_is_not_believed(authority: trustme.CA) -> None:
    async with KeyEndpoint.open(jwks_of(OLD), server_context(authority)) as endpoint:
        async with verifying(endpoint) as verifier:
            assert await reason(verifier, endpoint, OLD) is Reason.USER_KEYS_UNAVAILABLE
        assert endpoint.asked == []


@pytest.mark.parametrize("content", [None, "", "no certificate"])
async def test_a_ca_file_that_cannot_be_used_is_told_at_the_start(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "ca.pem").write_text(content)
    async with KeyEndpoint.open() as endpoint:
        with pytest.raises(UnusableAuthorities, match=r"ca\.pem"):
            UserVerifier([settings_of(endpoint, ca_file="ca.pem")], tmp_path, Told().hear)
