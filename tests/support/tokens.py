"""Tokens for tests: one issuer, one audience, stamps at a given time."""

import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import replace

import orjson
from cryptography.hazmat.primitives.asymmetric import ec

from callgate.identity.spiffe_id import SpiffeId
from callgate.policy.decide import Permit
from callgate.tokens.claims import Issuer, Stamp, TokenTarget
from callgate.tokens.keys import SigningKey
from callgate.tokens.mint import MintedToken, mint
from support.permits import LEDGER_AUDIENCE, permit_for

ISSUER_URL = "https://gate.acme.test"
GATE = SpiffeId.parse("spiffe://acme.test/gate")
ISSUER = Issuer(ISSUER_URL, GATE, SigningKey(ec.generate_private_key(ec.SECP256R1())))
TARGET = TokenTarget(LEDGER_AUDIENCE)


def stamp_at(now: float) -> Stamp:
    """A stamp with a fixed jti and request id."""
    return Stamp(now=now, jti=bytes(range(16)), decision_id="d-1", request_id=3)


def token_for(
    permit: Permit, *, now: float | None = None, target: TokenTarget = TARGET, issuer: Issuer = ISSUER
) -> str:
    """A token made at `now`, the present unless given."""
    return minted_for(permit, now=now, target=target, issuer=issuer).token


def minted_for(
    permit: Permit, *, now: float | None = None, target: TokenTarget = TARGET, issuer: Issuer = ISSUER
) -> MintedToken:
    return mint(permit, issuer, target, stamp_at(time.time() if now is None else now))


def call_token(tool: str, *, now: float | None = None, target: TokenTarget = TARGET, issuer: Issuer = ISSUER) -> str:
    """The token of a call of one tool by a workload that may call it."""
    return token_for(permit_for(tool, {}), now=now, target=target, issuer=issuer)


def other_key(issuer: Issuer = ISSUER) -> Issuer:
    """The same issuer with a key that nobody published."""
    return replace(issuer, key=SigningKey(ec.generate_private_key(ec.SECP256R1())))


def segment(token: str, index: int) -> dict[str, object]:
    """The header (0) or the payload (1)."""
    text = token.split(".")[index]
    parsed: dict[str, object] = orjson.loads(urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    return parsed


def with_segment(token: str, index: int, **changes: object) -> str:
    """The token with other members in its header (0) or payload (1), and the old signature."""
    parts = token.split(".")
    changed = orjson.dumps({**segment(token, index), **changes})
    parts[index] = urlsafe_b64encode(changed).rstrip(b"=").decode()
    return ".".join(parts)


def unsigned(token: str) -> str:
    """RFC 8725, section 2.1: "alg" changed to "none", and the signature left out."""
    return with_segment(token, 0, alg="none").rpartition(".")[0] + "."
