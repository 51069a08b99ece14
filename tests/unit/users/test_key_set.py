"""What of an issuer's published keys is used, and what is not."""

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from callgate.users.key_set import KEY_KINDS, MAX_CANDIDATES, KeySet, read_key_set
from callgate.users.unusable import Unusable
from support.user_tokens import ALGORITHMS, base64url, jwks_of, key_set_of, public_jwk, user_key

GOOD = public_jwk(user_key("P-256"))


def keys_of(*entries: object) -> KeySet:
    found = read_key_set(orjson.dumps({"keys": [*entries]}))
    assert isinstance(found, KeySet), found
    return found


def why_not(octets: bytes) -> str:
    found = read_key_set(octets)
    assert isinstance(found, Unusable)
    return found.why


def test_knows_what_kind_of_key_each_algorithm_of_rfc_7518_8037_and_9864_needs() -> None:
    assert KEY_KINDS == ALGORITHMS


@pytest.mark.parametrize("kind", sorted(set(ALGORITHMS.values())))
def test_reads_each_kind_of_key(kind: str) -> None:
    (key,) = key_set_of(user_key(kind)).keys
    assert (key.kid, key.kind, key.alg) == ("k1", kind, "")
    for alg, needed in ALGORITHMS.items():
        assert key.fits(alg) is (needed == kind)


def test_reads_the_keys_of_rfc_7517_appendix_a_1() -> None:
    """Its first key is for encryption, and its second an RSA key of 2048 bits for RS256."""
    found = keys_of(
        {
            "kty": "EC",
            "crv": "P-256",
            "x": "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",
            "y": "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM",
            "use": "enc",
            "kid": "1",
        },
        {
            "kty": "RSA",
            "n": "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZ"
            "CiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZg"
            "nYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqb"
            "w0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw",
            "e": "AQAB",
            "alg": "RS256",
            "kid": "2011-04-29",
        },
    )
    assert [(key.kid, key.kind, key.alg) for key in found.keys] == [("2011-04-29", "RSA", "RS256")]
    assert found.skipped == 1


def _rsa(**changes: object) -> dict[str, Any]:
    return public_jwk(user_key("RSA"), **changes)


@pytest.mark.parametrize(
    "entry",
    [
        pytest.param(public_jwk(user_key("oct")) | {"k": "c2VjcmV0"}, id="a shared secret"),
        pytest.param(user_key("P-256").as_dict(private=True), id="a private key"),
        pytest.param(GOOD | {"use": "enc"}, id="for encryption"),
        pytest.param(GOOD | {"use": None}, id="use null"),
        pytest.param(GOOD | {"key_ops": ["sign"]}, id="for signing only"),
        pytest.param(GOOD | {"key_ops": "verify"}, id="key_ops is no list"),
        pytest.param(GOOD | {"alg": "ES384"}, id="for an algorithm of another curve"),
        pytest.param(GOOD | {"alg": "HS256"}, id="for HMAC"),
        pytest.param(GOOD | {"alg": "none"}, id="for no algorithm"),
        pytest.param(GOOD | {"alg": 256}, id="alg is no text"),
        pytest.param(GOOD | {"kid": 1}, id="kid is no text"),
        pytest.param(GOOD | {"kid": "k" * 256}, id="kid too long"),
        pytest.param(GOOD | {"kty": "ec"}, id="kty in lower case"),
        pytest.param(GOOD | {"kty": ["EC"]}, id="kty is no text"),
        pytest.param(GOOD | {"crv": "secp256k1"}, id="another curve"),
        pytest.param(GOOD | {"crv": "P-384"}, id="coordinates of another size"),
        pytest.param(GOOD | {"x": base64url(bytes(32))}, id="a point that is not on the curve"),
        pytest.param(GOOD | {"x": base64url(bytes(31))}, id="a coordinate too short"),
        pytest.param(GOOD | {"x": GOOD["x"] + "="}, id="padding"),
        pytest.param({"kty": "EC", "crv": "P-256"}, id="no coordinates"),
        pytest.param(public_jwk(user_key("Ed25519")) | {"crv": "X25519"}, id="for key agreement"),
        pytest.param(public_jwk(user_key("Ed25519")) | {"x": base64url(bytes(33))}, id="Ed25519 too long"),
        pytest.param(public_jwk(user_key("RSA-1024")), id="RSA of 1024 bits"),
        pytest.param(_rsa(n=base64url(b"\xff" * 2048)), id="RSA of 16384 bits"),
        pytest.param(_rsa(e="Aw"), id="RSA exponent 3"),
        pytest.param(_rsa(e=base64url(b"\x01\x00\x02")), id="RSA exponent even"),
        pytest.param(_rsa(e=base64url(b"\x01\x00\x00\x00\x01")), id="RSA exponent long"),
        pytest.param(_rsa(n=None), id="RSA without modulus"),
        pytest.param("a text", id="no object"),
        pytest.param(None, id="null"),
    ],
)
def test_a_key_that_must_not_be_used_is_left_out_and_the_others_stay(entry: object) -> None:
    found = keys_of(entry, GOOD)
    assert [key.kid for key in found.keys] == ["k1"]
    assert found.keys[0].kind == "P-256"
    assert found.skipped == 1
    assert why_not(orjson.dumps({"keys": [entry]})) == "none of its 1 keys can be used"


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        b"<html>",
        b"null",
        b"[]",
        b"{}",
        b'{"keys": {}}',
        b'{"keys": null}',
        b'{"keys": [], "keys": []}',
        b"\xff",
        b'{"keys": ' + b"[" * 5000,
        b" " * 65536 + b'{"keys": []}',
    ],
)
def test_what_is_no_key_set_is_none(octets: bytes) -> None:
    assert why_not(octets) == "not a JWK Set"


def test_a_hundred_keys_are_read_and_one_more_spoils_all() -> None:
    assert len(keys_of(*[GOOD] * 100).keys) == 100
    assert why_not(orjson.dumps({"keys": [GOOD] * 101})) == "101 keys; the limit is 100"


def test_an_empty_set_takes_all_keys_back() -> None:
    assert keys_of() == KeySet((), 0)


def test_finds_the_keys_of_a_name_that_fit_the_algorithm() -> None:
    found = key_set_of(user_key("P-256", "a"), user_key("RSA", "a"), user_key("P-256", "b"))
    assert [key.kind for key in found.candidates("a", "ES256")] == ["P-256"]
    assert [key.kind for key in found.candidates("a", "PS256")] == ["RSA"]
    assert found.candidates("a", "ES384") == ()
    assert found.candidates("c", "ES256") == ()
    assert (found.knows("a"), found.knows("c"), found.knows("A")) == (True, False, False)


def test_a_key_is_used_with_the_one_algorithm_that_its_issuer_names() -> None:
    found = keys_of(_rsa(alg="PS256"))
    assert len(found.candidates("k1", "PS256")) == 1
    assert found.candidates("k1", "RS256") == ()


def test_a_token_that_names_no_key_may_be_of_any_that_fits() -> None:
    found = key_set_of(user_key("P-256", "a"), user_key("RSA", "b"), user_key("P-256", "c"))
    assert [key.kid for key in found.candidates("", "ES256")] == ["a", "c"]
    assert found.knows("")
    assert not KeySet(()).knows("")


def test_a_key_without_a_name_is_not_found_under_one() -> None:
    found = keys_of({name: value for name, value in GOOD.items() if name != "kid"})
    assert not found.knows("k1")
    assert len(found.candidates("", "ES256")) == 1


def test_no_token_costs_more_than_a_few_signature_checks() -> None:
    found = keys_of(*[GOOD] * 50)
    assert len(found.candidates("k1", "ES256")) == len(found.candidates("", "ES256")) == MAX_CANDIDATES == 4


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=50),
    lambda inner: st.lists(inner, max_size=3),
)
_MEMBERS = st.sampled_from(["kty", "crv", "x", "y", "n", "e", "use", "key_ops", "alg", "kid", "d"])


@given(st.sampled_from(sorted(set(ALGORITHMS.values()))), st.dictionaries(_MEMBERS, _VALUES, max_size=4))
def test_reading_any_key_is_total(kind: str, changes: dict[str, Any]) -> None:
    found = read_key_set(orjson.dumps({"keys": [public_jwk(user_key(kind)) | changes]}))
    assert isinstance(found, KeySet | Unusable)


@given(
    st.binary(max_size=200)
    | st.just(jwks_of(user_key("P-256"))).flatmap(lambda octets: st.permutations(list(octets)).map(bytes))
)
def test_reading_any_octets_is_total(octets: bytes) -> None:
    assert isinstance(read_key_set(octets), KeySet | Unusable)
