"""ID tokens by each algorithm: taken with the hash that goes with it, and not with another (OpenID Connect Core, 3.1.3.6)."""

import hashlib

import orjson
import pytest

from callgate.approvals.sign_in.id_token import Expected, IdToken, verify_id_token
from callgate.approvals.sign_in.refused import SignInReason, SignInRefused, said_of, status_of
from callgate.users.user_token import NeedsKeys
from support.user_tokens import ALGORITHMS, NOW, base64url, compact, key_set_of, signature_of, user_key

ISSUER = "https://idp.acme.test"
EXPECTED = Expected(ISSUER, "callgate", "the nonce", "the-access-token")


def at_hash(alg: str) -> str:
    name = {"EdDSA": "sha512", "Ed25519": "sha512"}.get(alg, f"sha{alg[2:]}")
    digest = hashlib.new(name, b"the-access-token").digest()
    return base64url(digest[: len(digest) // 2])


def id_token(alg: str, **changes: object) -> str:
    claims: dict[str, object] = {
        "iss": ISSUER,
        "sub": "u-1",
        "aud": "callgate",
        "exp": NOW + 60,
        "iat": NOW,
        "nonce": "the nonce",
        "at_hash": at_hash(alg),
        **changes,
    }
    head = orjson.dumps({"alg": alg, "kid": "k1"})
    return compact(head, orjson.dumps(claims), signature_of(alg, user_key(ALGORITHMS[alg])))


@pytest.mark.parametrize("alg", ALGORITHMS)
def test_takes_an_id_token_with_the_hash_of_its_algorithm(alg: str) -> None:
    keys = key_set_of(user_key(ALGORITHMS[alg]))

    good = verify_id_token(id_token(alg), EXPECTED, keys, NOW)
    other = verify_id_token(id_token(alg, at_hash="AAAA"), EXPECTED, keys, NOW)

    assert isinstance(good, IdToken)
    assert (good.subject, good.auth_time) == ("u-1", None)
    assert other == SignInRefused(SignInReason.ID_TOKEN_ACCESS_TOKEN)


def test_takes_several_audiences_where_it_was_made_for_this_client() -> None:
    keys = key_set_of(user_key("P-256"))
    token = id_token("ES256", aud=["callgate", "project-1"], azp="callgate")

    assert isinstance(verify_id_token(token, EXPECTED, keys, NOW), IdToken)


def test_asks_for_keys_before_it_says_no_to_a_name_that_it_does_not_know() -> None:
    token = id_token("ES256")

    assert verify_id_token(token, EXPECTED, None, NOW) == NeedsKeys(ISSUER)
    assert verify_id_token(token, EXPECTED, key_set_of(user_key("P-256", "k2")), NOW) == NeedsKeys(ISSUER)


@pytest.mark.parametrize("reason", SignInReason)
def test_every_reason_tells_what_to_do(reason: SignInReason) -> None:
    what, advice = said_of(reason)

    assert what.endswith(".")
    assert advice.endswith(".")
    assert status_of(reason) in {403, 503}
