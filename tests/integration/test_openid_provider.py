"""A real user of a real OpenID provider: logged in by the authorization code flow, then known to the gate.

Canaille's access tokens are JWTs with the gate as audience, and unmarked (no `typ`), as many providers' are.
"""

import time
from collections.abc import Iterator
from dataclasses import replace

import jwt
import pytest
import trio

from callgate.errors import Reason, Refusal
from callgate.identity.user import User
from callgate.users.discovery import IssuerSettings
from callgate.users.issuers import UserVerifier
from callgate.users.key_source import KeyLimits
from callgate.users.user_token import TokenRules
from support.key_endpoint import HERE, Told
from support.openid_provider import Provider, Tokens, provider_served
from support.user_tokens import GATE_AUDIENCE, LEAF

# Canaille starts in three seconds of processor time.
pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    with provider_served(GATE_AUDIENCE) as running:
        yield running


@pytest.fixture(scope="module")
def tokens(provider: Provider) -> Tokens:
    return provider.log_in("agents")


def settings_for(provider: Provider) -> IssuerSettings:
    rules = TokenRules(provider.issuer, GATE_AUDIENCE, typ="any", claims=("email", "name"))
    return IssuerSettings(rules)


async def verified(
    settings: IssuerSettings, *tokens: str, now: float | None = None, limits: KeyLimits | None = None
) -> list[User | Refusal]:
    verifier = UserVerifier([settings], HERE, Told().hear, limits)
    async with trio.open_nursery() as nursery:
        await nursery.start(verifier.run)
        found = [await verifier.verify(token, LEAF, time.time() if now is None else now) for token in tokens]
        nursery.cancel_scope.cancel()
    return found


def reason(found: User | Refusal) -> Reason:
    assert isinstance(found, Refusal), found
    return found.reason


async def test_a_user_who_logged_in_is_known_with_groups_and_claims(provider: Provider, tokens: Tokens) -> None:
    (found,) = await verified(settings_for(provider), tokens.access_token)

    assert isinstance(found, User), found
    assert (found.issuer, found.subject) == (provider.issuer, "alice")
    assert sorted(found.groups) == ["billing", "clerks"]
    assert found.claims == {"email": "alice@acme.test", "name": "Alice Liddell"}


async def test_a_token_signed_with_eddsa_is_accepted_as_well(provider: Provider) -> None:
    token = provider.log_in("agents-eddsa").access_token
    assert jwt.get_unverified_header(token)["alg"] == "EdDSA"

    (found,) = await verified(settings_for(provider), token)

    assert isinstance(found, User)
    assert found.subject == "alice"


async def test_the_id_token_of_the_same_login_is_not_accepted(provider: Provider, tokens: Tokens) -> None:
    said = jwt.decode(tokens.id_token, options={"verify_signature": False})
    # It is of the same issuer, for the same audience, and signed with the same key.
    assert said["aud"] in (GATE_AUDIENCE, [GATE_AUDIENCE])

    (found,) = await verified(settings_for(provider), tokens.id_token)

    assert reason(found) is Reason.USER_TOKEN_MALFORMED


async def test_nothing_of_this_provider_is_accepted_where_rfc_9068_is_asked_for(
    provider: Provider, tokens: Tokens
) -> None:
    settings = settings_for(provider)
    strict = replace(settings, rules=replace(settings.rules, typ="at+jwt"))

    found = await verified(strict, tokens.access_token, tokens.id_token)

    assert [reason(each) for each in found] == [Reason.USER_TOKEN_MALFORMED] * 2


async def test_the_providers_token_has_an_end_and_an_audience(provider: Provider, tokens: Tokens) -> None:
    settings = settings_for(provider)
    end = jwt.decode(tokens.access_token, options={"verify_signature": False})["exp"]
    elsewhere = replace(settings, rules=replace(settings.rules, audience="https://other.acme.test"))

    (late,) = await verified(settings, tokens.access_token, now=end + 31)
    (other,) = await verified(elsewhere, tokens.access_token)
    (changed,) = await verified(settings, tokens.access_token[:-8] + "AAAAAAAA")

    assert reason(late) is Reason.USER_TOKEN_EXPIRED
    assert reason(other) is Reason.USER_TOKEN_AUDIENCE
    assert reason(changed) is Reason.USER_TOKEN_UNTRUSTED


async def test_a_provider_that_starts_anew_with_other_keys_is_followed() -> None:
    with provider_served(GATE_AUDIENCE) as first:
        before = await trio.to_thread.run_sync(first.log_in, "agents")
        settings = settings_for(first)
        verifier = UserVerifier([settings], HERE, Told().hear, KeyLimits(on_demand_s=0))
        async with trio.open_nursery() as nursery:
            await nursery.start(verifier.run)
            known = await verifier.verify(before.access_token, LEAF, time.time())
            first.stop()
            still = await verifier.verify(before.access_token, LEAF, time.time())
            with provider_served(GATE_AUDIENCE, first.port) as second:
                after = await trio.to_thread.run_sync(second.log_in, "agents")
                new = await verifier.verify(after.access_token, LEAF, time.time())
                old = await verifier.verify(before.access_token, LEAF, time.time())
            nursery.cancel_scope.cancel()

    # While it is down, the keys that are known count; then the new ones do and the old ones no longer.
    assert [type(each) for each in (known, still, new)] == [User, User, User]
    assert reason(old) is Reason.USER_TOKEN_UNTRUSTED
