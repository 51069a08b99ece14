"""The token as others read it: PyJWT, joserfc and FastMCP's verifier, by key and by published key set."""

import time
from base64 import urlsafe_b64decode

import jwt
import orjson
import pytest
import rfc8785
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from fastmcp.server.auth.providers.jwt import JWTVerifier
from hypothesis import given, settings
from hypothesis import strategies as st
from joserfc import jwt as jose_jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from callgate.tokens.claims import CannotMint, Stamp, TokenTarget
from callgate.tokens.metadata import jwks
from callgate.tokens.mint import MAX_TOKEN_BYTES, mint
from support.permits import LEDGER_AUDIENCE, READER, forged, permit_for
from support.serving import document_served
from support.tokens import (
    ISSUER,
    ISSUER_URL,
    TARGET,
    call_token,
    minted_for,
    other_key,
    segment,
    stamp_at,
    token_for,
    unsigned,
    with_segment,
)

INVOICE = permit_for("get_invoice", {"number": "INV-1001"})
PUBLIC_KEY = ISSUER.key.private_key.public_key()
PUBLIC_PEM = PUBLIC_KEY.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def read_by_pyjwt(token: str) -> dict[str, object]:
    found: dict[str, object] = jwt.decode(
        token,
        PUBLIC_KEY,
        algorithms=["ES256"],
        audience=LEDGER_AUDIENCE,
        issuer=ISSUER_URL,
        options={"require": ["iss", "aud", "sub", "iat", "exp", "jti"]},
    )
    return found


def read_by_joserfc(token: str) -> dict[str, object]:
    keys = KeySet.import_key_set(jwks([ISSUER.key]))  # type: ignore[arg-type]  # a TypedDict of the same shape
    found = jose_jwt.decode(token, keys, algorithms=["ES256"])
    registry = jose_jwt.JWTClaimsRegistry(
        iss={"essential": True, "value": ISSUER_URL},
        aud={"essential": True, "value": LEDGER_AUDIENCE},
        exp={"essential": True},
        iat={"essential": True},
    )
    registry.validate(found.claims)
    return found.claims


async def scopes_seen_by_fastmcp(token: str, *required_scopes: str) -> list[str] | None:
    """None: refused."""
    verifier = JWTVerifier(
        public_key=PUBLIC_PEM,
        issuer=ISSUER_URL,
        audience=LEDGER_AUDIENCE,
        algorithm="ES256",
        required_scopes=list(required_scopes),
    )
    found = await verifier.verify_token(token)
    return None if found is None else found.scopes


async def test_is_read_by_three_libraries_with_the_same_claims() -> None:
    minted = minted_for(INVOICE)
    assert read_by_pyjwt(minted.token) == minted.claims
    assert read_by_joserfc(minted.token) == minted.claims
    assert await scopes_seen_by_fastmcp(minted.token) == ["mcp:tools.call", "tool:get_invoice", "ledger.read"]


async def test_is_read_by_fastmcp_with_nothing_but_the_published_key_set() -> None:
    with document_served(jwks([other_key().key, ISSUER.key])) as url:
        verifier = JWTVerifier(jwks_uri=url, issuer=ISSUER_URL, audience=LEDGER_AUDIENCE, algorithm="ES256")
        found = await verifier.verify_token(token_for(INVOICE))
        refused = await verifier.verify_token(token_for(INVOICE, issuer=other_key()))
    assert found is not None
    assert found.client_id == str(READER)
    assert refused is None


@pytest.mark.parametrize("typ", ["at+jwt", "JWT"])
def test_the_header_names_algorithm_type_and_key(typ: str) -> None:
    token = token_for(INVOICE, target=TokenTarget(LEDGER_AUDIENCE, typ=typ))
    assert segment(token, 0) == {"alg": "ES256", "typ": typ, "kid": ISSUER.key.kid}


def test_what_is_told_about_a_token_is_what_it_says() -> None:
    minted = mint(INVOICE, ISSUER, TARGET, stamp_at(1_795_000_000.9))
    assert segment(minted.token, 1) == minted.claims
    assert (minted.jti, minted.expires) == ("AAECAwQFBgcICQoLDA0ODw", 1_795_000_020)


BAD_TOKENS = {
    "expired": lambda: token_for(INVOICE, now=time.time() - 21),
    "for another audience": lambda: token_for(INVOICE, target=TokenTarget("https://other.acme.test/mcp")),
    "for the audience with a slash": lambda: token_for(INVOICE, target=TokenTarget(f"{LEDGER_AUDIENCE}/")),
    "of another key": lambda: token_for(INVOICE, issuer=other_key()),
    "of another key under our name": lambda: with_segment(
        token_for(INVOICE, issuer=other_key()), 0, kid=ISSUER.key.kid
    ),
    "with a longer life": lambda: with_segment(token_for(INVOICE), 1, exp=int(time.time()) + 3600),
    "with another scope": lambda: with_segment(token_for(INVOICE), 1, scope="mcp:tools.call tool:wipe_ledger"),
    "with another caller": lambda: with_segment(token_for(INVOICE), 1, sub="spiffe://acme.test/ns/ops/sa/root"),
    "with another type": lambda: with_segment(token_for(INVOICE), 0, typ="JWT"),
    "unsigned": lambda: unsigned(token_for(INVOICE)),
    "without a signature": lambda: token_for(INVOICE).rpartition(".")[0] + ".",
    "signed with the public key as a secret": lambda: with_segment(token_for(INVOICE), 0, alg="HS256"),
}


@pytest.mark.parametrize("kind", BAD_TOKENS)
async def test_three_libraries_refuse_a_token(kind: str) -> None:
    token = BAD_TOKENS[kind]()
    with pytest.raises(jwt.PyJWTError):
        read_by_pyjwt(token)
    with pytest.raises(JoseError):
        read_by_joserfc(token)
    assert await scopes_seen_by_fastmcp(token) is None


async def test_opens_what_asks_for_its_own_tool_and_nothing_else() -> None:
    token = call_token("get_invoice")
    assert await scopes_seen_by_fastmcp(token, "tool:get_invoice") is not None
    assert await scopes_seen_by_fastmcp(token, "tool:get_invoice", "ledger.read") is not None
    for scope in ("tool:list_invoices", "tool:get", "tool:get_invoice_2", "mcp:tools.list", "ledger.refund"):
        assert await scopes_seen_by_fastmcp(token, scope) is None


@given(
    request_id=st.one_of(st.text(max_size=50), st.integers(-(2**63), 2**63)),
    decision_id=st.text(st.characters(codec="ascii"), max_size=40),
    now=st.floats(0, 4e9),
    jti=st.binary(min_size=16, max_size=16),
)
def test_the_payload_is_canonical_json(request_id: str | int, decision_id: str, now: float, jti: bytes) -> None:
    token = mint(INVOICE, ISSUER, TARGET, Stamp(now, jti, decision_id, request_id)).token
    payload = token.split(".")[1]
    octets = urlsafe_b64decode(payload + "=" * (-len(payload) % 4))
    assert octets == rfc8785.dumps(orjson.loads(octets))


@settings(max_examples=25)
@given(st.text(st.characters(categories=["Cs"]), min_size=1, max_size=3))
def test_refuses_a_request_id_that_is_no_unicode_text(surrogates: str) -> None:
    with pytest.raises(CannotMint, match="Unicode"):
        mint(INVOICE, ISSUER, TARGET, Stamp(1_795_000_000, bytes(16), "d-1", surrogates))


def test_refuses_a_token_that_no_server_would_read() -> None:
    many = tuple(f"ledger.scope-{n:04}" for n in range(500))
    with pytest.raises(CannotMint, match=f"more than {MAX_TOKEN_BYTES}"):
        mint(forged(INVOICE, scopes=many), ISSUER, TARGET, stamp_at(1_795_000_000))


def test_no_text_form_of_a_minted_token_holds_it() -> None:
    minted = minted_for(INVOICE)
    signature = minted.token.rpartition(".")[2]
    for text in (repr(minted), str(minted), f"{minted}", f"{[minted]!r}"):
        assert minted.token not in text
        assert signature not in text


def test_two_tokens_of_one_permit_differ_in_their_jti_alone() -> None:
    first, second = (mint(INVOICE, ISSUER, TARGET, Stamp(1_795_000_000, bytes([n]) * 16, "d-1", 3)) for n in (1, 2))
    assert first.jti != second.jti
    assert {**first.claims, "jti": ""} == {**second.claims, "jti": ""}
