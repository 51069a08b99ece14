"""Users' access tokens for tests: one issuer, its keys, and tokens with any one thing about them changed.

The signing is joserfc's algorithms over segments made here, so that a header or a payload may be anything at all.
"""

import warnings
from base64 import urlsafe_b64encode
from collections.abc import Callable, Mapping
from functools import cache
from hashlib import sha256
from typing import Any, Final

import orjson
from joserfc.errors import SecurityWarning
from joserfc.jwk import ECKey, Key, OctKey, OKPKey, RSAKey
from joserfc.jws import JWSRegistry

from callgate.users.key_set import KeySet, read_key_set
from callgate.users.user_token import TokenRules, TrustedIssuer

USERS_ISSUER: Final = "https://login.acme.test"
OTHER_ISSUER: Final = "https://login.partner.test"
GATE_AUDIENCE: Final = "https://gate.acme.test"
SUBJECT: Final = "248289761001"
NOW: Final = 1_795_000_000
# Of the certificate that the caller shows.
LEAF: Final = sha256(b"the caller's leaf").digest()
OTHER_LEAF: Final = sha256(b"another leaf").digest()
ALGORITHMS: Final[Mapping[str, str]] = {
    "RS256": "RSA",
    "RS384": "RSA",
    "RS512": "RSA",
    "PS256": "RSA",
    "PS384": "RSA",
    "PS512": "RSA",
    "ES256": "P-256",
    "ES384": "P-384",
    "ES512": "P-521",
    "EdDSA": "Ed25519",
    "Ed25519": "Ed25519",
}
RULES: Final = TokenRules(USERS_ISSUER, GATE_AUDIENCE, frozenset(ALGORITHMS))


@cache
def user_key(kind: str, kid: str = "k1") -> Key:
    """A private key, the same for the same name; `kind` as in ALGORITHMS, or "RSA-1024" or "oct"."""
    if kind.startswith("RSA"):
        bits = int(kind.partition("-")[2] or 2048)
        with warnings.catch_warnings():
            # Of keys that are too small, which some tests want.
            warnings.simplefilter("ignore", SecurityWarning)
            return RSAKey.generate_key(bits, {"kid": kid})
    if kind == "oct":
        return OctKey.generate_key(256, {"kid": kid})
    if kind == "Ed25519":
        return OKPKey.generate_key("Ed25519", {"kid": kid})
    return ECKey.generate_key(kind, {"kid": kid})


def public_jwk(key: Key, **changes: object) -> dict[str, Any]:
    """As its issuer publishes it; a change to None leaves a member out."""
    members = {**key.as_dict(private=False), "use": "sig", **changes}
    return {name: value for name, value in members.items() if value is not None}


def jwks_of(*keys: Key) -> bytes:
    return orjson.dumps({"keys": [public_jwk(key) for key in keys]})


def key_set_of(*keys: Key) -> KeySet:
    found = read_key_set(jwks_of(*keys))
    assert isinstance(found, KeySet), found
    return found


def issuers_with(*keys: Key, rules: TokenRules = RULES) -> dict[str, TrustedIssuer]:
    """The issuer of `rules`, with these keys."""
    return {rules.issuer: TrustedIssuer(rules, key_set_of(*keys))}


def claims(**changes: object) -> dict[str, Any]:
    """What a good token says; a change to None leaves a claim out."""
    members: dict[str, Any] = {
        "iss": USERS_ISSUER,
        "sub": SUBJECT,
        "aud": GATE_AUDIENCE,
        "exp": NOW + 300,
        "iat": NOW - 10,
        "jti": "j-1",
        "client_id": "agents",
        **changes,
    }
    return {name: value for name, value in members.items() if value is not None}


def header(**changes: object) -> dict[str, Any]:
    members: dict[str, Any] = {"alg": "ES256", "typ": "at+jwt", "kid": "k1", **changes}
    return {name: value for name, value in members.items() if value is not None}


def base64url(octets: bytes) -> str:
    return urlsafe_b64encode(octets).rstrip(b"=").decode()


def signature_of(alg: str, key: Key) -> Callable[[bytes], bytes]:
    return lambda signing_input: JWSRegistry.algorithms[alg].sign(signing_input, key)


def compact(head: bytes, payload: bytes, sign: Callable[[bytes], bytes]) -> str:
    signing_input = f"{base64url(head)}.{base64url(payload)}"
    return f"{signing_input}.{base64url(sign(signing_input.encode()))}"


def user_token(
    payload: Mapping[str, Any] | None = None, *, key: Key | None = None, head: Mapping[str, Any] | None = None
) -> str:
    """A token signed with `key`, by the algorithm that its header names; a good one unless told otherwise."""
    found = header() if head is None else dict(head)
    signing = key or user_key(ALGORITHMS.get(found.get("alg", ""), "P-256"))
    said = orjson.dumps(claims() if payload is None else dict(payload))
    return compact(orjson.dumps(found), said, signature_of(found["alg"], signing))
