"""The mistakes of RFC 8725 and their relatives, each as a token that must not be accepted.

`hit` judges with keys at hand; at the end the same tokens go through a running verifier, whose issuer is up.
"""

import hmac
from collections.abc import Mapping
from hashlib import sha256, sha512
from typing import Any

import orjson
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from joserfc.jwk import Key

from callgate.errors import Reason, Refusal
from callgate.identity.user import User
from callgate.users.key_set import KeySet, read_key_set
from callgate.users.user_token import NeedsKeys, TokenRules, TrustedIssuer, verify_user_token
from support.key_endpoint import KeyEndpoint, verifying
from support.user_tokens import (
    GATE_AUDIENCE,
    LEAF,
    NOW,
    OTHER_ISSUER,
    RULES,
    USERS_ISSUER,
    base64url,
    claims,
    compact,
    header,
    issuers_with,
    jwks_of,
    public_jwk,
    signature_of,
    user_key,
    user_token,
)

RSA, EC = user_key("RSA", "r1"), user_key("P-256")
MALLORY = user_key("P-256", "mallory")
PARTNER_RULES = TokenRules(OTHER_ISSUER, GATE_AUDIENCE)
PARTNER = user_key("P-256", "p1")
ISSUERS = issuers_with(EC, RSA) | issuers_with(PARTNER, rules=PARTNER_RULES)
ANY_TYPE = issuers_with(EC, rules=TokenRules(USERS_ISSUER, GATE_AUDIENCE, typ="any"))


def hit(token: str, issuers: Mapping[str, TrustedIssuer] = ISSUERS) -> User | Refusal | NeedsKeys:
    return verify_user_token(token, issuers, LEAF, NOW)


def reason(token: str, issuers: Mapping[str, TrustedIssuer] = ISSUERS) -> Reason:
    found = hit(token, issuers)
    assert isinstance(found, Refusal), found
    return found.reason


def raw(head: bytes, payload: bytes, key: Key = EC, alg: str = "ES256") -> str:
    return compact(head, payload, signature_of(alg, key))


HEADER, CLAIMS = orjson.dumps(header()), orjson.dumps(claims())


def test_the_tokens_of_these_tests_are_good_but_for_their_one_fault() -> None:
    assert isinstance(hit(user_token()), User)
    assert isinstance(hit(raw(HEADER, CLAIMS)), User)
    assert isinstance(hit(user_token(head=header(alg="RS256", kid="r1"), key=RSA)), User)
    assert isinstance(hit(user_token(head=header(typ="JWT")), ANY_TYPE), User)


# RFC 8725, section 2.1: weak signatures and insufficient signature validation


@pytest.mark.parametrize("alg", ["none", "None", "NONE", "nOnE", ""])
@pytest.mark.parametrize("signed", [False, True])
def test_alg_none_in_any_spelling(alg: str, signed: bool) -> None:
    token = compact(orjson.dumps(header(alg=alg)), CLAIMS, signature_of("ES256", EC) if signed else lambda _: b"")
    assert reason(token) is Reason.USER_TOKEN_UNTRUSTED


def _public_forms(key: Key) -> list[bytes]:
    public: Any = key.get_op_key("verify")
    return [
        public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).strip(),
        public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        orjson.dumps(public_jwk(key)),
        b"",
    ]


_FORMS = ("PEM", "PEM without its line end", "DER", "JWK", "empty")


@pytest.mark.parametrize(
    "secret",
    [*_public_forms(RSA), *_public_forms(EC)],
    ids=[f"{kind} {form}" for kind in ("RSA", "EC") for form in _FORMS],
)
@pytest.mark.parametrize(("alg", "digest"), [("HS256", sha256), ("HS512", sha512)])
@pytest.mark.parametrize("kid", ["r1", "k1"])
def test_a_public_key_taken_for_an_hmac_secret(secret: bytes, alg: str, digest: Any, kid: str) -> None:  # noqa: ANN401
    head = orjson.dumps(header(alg=alg, kid=kid))
    token = compact(head, CLAIMS, lambda signing_input: hmac.new(secret, signing_input, digest).digest())
    assert reason(token) is Reason.USER_TOKEN_UNTRUSTED


def test_an_hmac_signature_under_the_name_of_an_allowed_algorithm() -> None:
    secret = _public_forms(RSA)[0]
    head = orjson.dumps(header(alg="RS256", kid="r1"))
    token = compact(head, CLAIMS, lambda signing_input: hmac.new(secret, signing_input, sha256).digest())
    assert reason(token) is Reason.USER_TOKEN_UNTRUSTED


@pytest.mark.parametrize(
    "alg", ["RS256", "PS256", "ES384", "ES256K", "RS1", "HS256", "A128GCM", "dir", "es256", "ES256 "]
)
def test_an_algorithm_that_the_issuer_is_not_allowed(alg: str) -> None:
    only_es256 = issuers_with(EC, RSA, rules=TokenRules(USERS_ISSUER, GATE_AUDIENCE, frozenset({"ES256"})))
    sign = signature_of(alg, RSA) if alg in {"RS256", "PS256"} else lambda _: b"x" * 64
    token = compact(orjson.dumps(header(alg=alg, kid="r1" if alg in {"RS256", "PS256"} else "k1")), CLAIMS, sign)
    assert reason(token, only_es256) is Reason.USER_TOKEN_UNTRUSTED


@pytest.mark.parametrize(("alg", "kid"), [("ES256", "r1"), ("RS256", "k1"), ("ES384", "k1"), ("EdDSA", "k1")])
def test_an_algorithm_that_is_not_one_for_the_key(alg: str, kid: str) -> None:
    kinds = {"ES256": "P-256", "RS256": "RSA", "ES384": "P-384", "EdDSA": "Ed25519"}
    token = user_token(head=header(alg=alg, kid=kid), key=user_key(kinds[alg], "mallory"))
    assert reason(token) is Reason.USER_TOKEN_UNTRUSTED


def test_a_key_is_not_used_with_another_algorithm_than_its_issuer_names() -> None:
    octets = orjson.dumps({"keys": [public_jwk(RSA, alg="PS256")]})
    keys = read_key_set(octets)
    assert isinstance(keys, KeySet)
    issuers = {USERS_ISSUER: TrustedIssuer(RULES, keys)}
    assert isinstance(hit(user_token(head=header(alg="PS256", kid="r1"), key=RSA), issuers), User)
    assert reason(user_token(head=header(alg="RS256", kid="r1"), key=RSA), issuers) is Reason.USER_TOKEN_UNTRUSTED


@pytest.mark.parametrize(
    "change",
    [
        lambda _: b"",
        lambda _: bytes(64),
        lambda signature: signature[:-1],
        lambda signature: signature + b"\0",
        lambda signature: signature[32:] + signature[:32],
        # CVE-2022-21449: r and s are multiples of the group's order.
        lambda _: (0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551).to_bytes(32, "big") * 2,
    ],
)
def test_a_signature_that_is_none(change: Any) -> None:  # noqa: ANN401
    sign = signature_of("ES256", EC)
    token = compact(HEADER, CLAIMS, lambda signing_input: change(sign(signing_input)))
    assert reason(token) is Reason.USER_TOKEN_UNTRUSTED


def test_a_signature_in_der_form() -> None:
    private: Any = EC.get_op_key("sign")
    token = compact(HEADER, CLAIMS, lambda signing_input: private.sign(signing_input, ec.ECDSA(SHA256())))
    assert reason(token) is Reason.USER_TOKEN_UNTRUSTED


def test_a_payload_that_was_changed_under_its_signature() -> None:
    head, _, signature = user_token().split(".")
    changed = f"{head}.{base64url(orjson.dumps(claims(sub='root')))}.{signature}"
    assert reason(changed) is Reason.USER_TOKEN_UNTRUSTED


# RFC 8725, sections 2.7 and 2.8: substitution and cross-JWT confusion


def test_a_key_of_another_issuer() -> None:
    token = user_token(key=PARTNER, head=header(kid="p1"))
    assert hit(token) == NeedsKeys(USERS_ISSUER)


def test_a_key_of_another_issuer_under_a_name_that_this_issuer_has() -> None:
    assert reason(user_token(key=PARTNER)) is Reason.USER_TOKEN_UNTRUSTED


def test_an_issuer_that_speaks_for_another() -> None:
    token = user_token(claims(iss=USERS_ISSUER), key=PARTNER, head=header(kid=None))
    assert reason(token) is Reason.USER_TOKEN_UNTRUSTED


@pytest.mark.parametrize(
    "issuer",
    [
        USERS_ISSUER + "/",
        USERS_ISSUER.upper(),
        USERS_ISSUER + "\0",
        USERS_ISSUER + ".evil.test",
        f" {USERS_ISSUER}",
        "http://login.acme.test",
        "https://nobody.test",
        "",
    ],
)
def test_an_issuer_that_only_looks_like_one(issuer: str) -> None:
    assert reason(user_token(claims(iss=issuer))) is Reason.USER_TOKEN_UNTRUSTED


@pytest.mark.parametrize("issuer", [None, 1, [USERS_ISSUER], {"iss": USERS_ISSUER}])
def test_an_issuer_that_is_no_text(issuer: object) -> None:
    assert reason(user_token(claims(iss=issuer))) is Reason.USER_TOKEN_MALFORMED


@pytest.mark.parametrize(
    "typ", [None, "JWT", "id_token+jwt", "logout+jwt", "dpop+jwt", "txntoken+jwt", "at+jwt ", "jose"]
)
def test_a_token_of_another_type(typ: str | None) -> None:
    assert reason(user_token(head=header(typ=typ))) is Reason.USER_TOKEN_MALFORMED


@pytest.mark.parametrize("typ", ["id_token+jwt", "logout+jwt", "dpop+jwt", "jose", "application/json"])
def test_a_token_of_another_type_where_any_access_token_is_accepted(typ: str) -> None:
    assert reason(user_token(head=header(typ=typ)), ANY_TYPE) is Reason.USER_TOKEN_MALFORMED


@pytest.mark.parametrize(
    "mark",
    [
        {"nonce": "n"},
        {"at_hash": "x"},
        {"c_hash": "x"},
        {"s_hash": "x"},
        {"typ": "ID"},
        {"token_use": "id"},
        {"events": {"http://schemas.openid.net/event/backchannel-logout": {}}},
    ],
)
def test_an_id_token_or_a_logout_token_where_no_type_is_asked_for(mark: dict[str, object]) -> None:
    assert reason(user_token(claims(**mark), head=header(typ="JWT")), ANY_TYPE) is Reason.USER_TOKEN_MALFORMED


def test_the_gates_own_tokens_are_not_users_tokens() -> None:
    own = user_token(claims(iss=GATE_AUDIENCE, aud="https://ledger.acme.test/mcp"))
    assert reason(own) is Reason.USER_TOKEN_UNTRUSTED


# RFC 8725, sections 2.9 and 3.10: indirect attacks on the verifier; section 2.6: JSON with several readings


@pytest.mark.parametrize(
    "member",
    [
        {"jku": "https://evil.test/keys"},
        {"jku": "http://169.254.169.254/latest/meta-data"},
        {"x5u": "https://evil.test/cert.pem"},
        {"x5u": "file:///etc/passwd"},
        {"jwk": public_jwk(MALLORY)},
        {"x5c": ["MIIB"]},
        {"crit": ["exp"], "exp": 1},
        {"crit": []},
        {"b64": False, "crit": ["b64"]},
        {"b64": True},
        {"zip": "DEF"},
        {"enc": "A128GCM"},
        {"cty": "JWT"},
    ],
)
@pytest.mark.parametrize("key", [EC, MALLORY])
def test_a_header_that_brings_its_own_key_or_asks_for_another_reading(member: dict[str, object], key: Key) -> None:
    assert reason(user_token(head=header(**member), key=key)) is Reason.USER_TOKEN_MALFORMED


@pytest.mark.parametrize("kid", ["../../../dev/null", "' OR 1=1 --", "k1\0", "k1 ", "K1", "|id", "x" * 255, "\u202ek1"])
def test_a_key_name_made_to_be_used_in_a_query_or_a_path(kid: str) -> None:
    assert hit(user_token(head=header(kid=kid))) == NeedsKeys(USERS_ISSUER)


@pytest.mark.parametrize("members", [{"kid": 1}, {"kid": ["k1"]}, {"kid": "k" * 256}, {"typ": 1}, {"alg": ["ES256"]}])
def test_a_header_member_of_another_type(members: dict[str, object]) -> None:
    assert reason(raw(orjson.dumps({**header(), **members}), CLAIMS)) is Reason.USER_TOKEN_MALFORMED


@pytest.mark.parametrize(
    ("head", "payload"),
    [
        (b'{"alg":"ES256","alg":"none","typ":"at+jwt","kid":"k1"}', CLAIMS),
        (b'{"alg":"ES256","\\u0061lg":"none","typ":"at+jwt","kid":"k1"}', CLAIMS),
        (HEADER, CLAIMS[:-1] + b',"sub":"root"}'),
        (HEADER, CLAIMS[:-1] + b',"\\u0073ub":"root"}'),
        (HEADER, CLAIMS[:-1] + b',"address":{"a":1,"a":2}}'),
        (HEADER, b"\xef\xbb\xbf" + CLAIMS),
        (HEADER, CLAIMS.decode().encode("utf-16")),
        (HEADER, CLAIMS + b"{}"),
        (HEADER, CLAIMS[:-1] + b',"x":"\\ud800"}'),
        (HEADER, CLAIMS[:-1] + b',"x":NaN}'),
        (HEADER, CLAIMS[:-1] + b',"x":123456789012345678901234567890}'),
        (HEADER, CLAIMS[:-1] + b',"x":' + b"[" * 20 + b"]" * 20 + b"}"),
        (HEADER, b"[" + CLAIMS + b"]"),
        (HEADER, b"null"),
        (HEADER, b""),
        (b"", CLAIMS),
        (b"[]", CLAIMS),
    ],
)
def test_json_with_more_than_one_reading(head: bytes, payload: bytes) -> None:
    assert reason(raw(head, payload)) is Reason.USER_TOKEN_MALFORMED


def _segments(token: str) -> list[str]:
    return token.split(".")


GOOD = user_token()


@pytest.mark.parametrize(
    "token",
    [
        "",
        ".",
        "..",
        "....",
        ".".join(_segments(GOOD)[:2]),
        GOOD + ".",
        "." + GOOD,
        GOOD + "=",
        GOOD.replace(".", "=.", 1),
        GOOD + "\n",
        " " + GOOD,
        GOOD + "\0",
        GOOD.replace(".", ".\0", 1),
        f"{GOOD},{GOOD}",
        GOOD.replace(".", "..", 1),
        GOOD + "Ä",
        # The last character's unused bits: another text of the same octets.
        GOOD[:-1] + chr(ord(GOOD[-1]) + 1),
        # Five segments: an encrypted token (RFC 7516).
        f"{GOOD}.a.b",
        "eyJhbGciOiJkaXIiLCJlbmMiOiJBMTI4R0NNIn0..AAAA.AAAA.AAAA",
        # The JSON serialisation (RFC 7515, section 7.2).
        orjson.dumps(dict(zip(("protected", "payload", "signature"), _segments(GOOD), strict=True))).decode(),
    ],
)
def test_what_is_not_one_compact_token_in_its_one_spelling(token: str) -> None:
    assert reason(token) is Reason.USER_TOKEN_MALFORMED


def test_a_token_within_a_token() -> None:
    nested = compact(orjson.dumps(header(cty="JWT")), GOOD.encode(), signature_of("ES256", EC))
    assert reason(nested) is Reason.USER_TOKEN_MALFORMED
    assert reason(compact(HEADER, GOOD.encode(), signature_of("ES256", EC))) is Reason.USER_TOKEN_MALFORMED


def test_a_token_over_eight_kib() -> None:
    def of_length(filler: int) -> str:
        return user_token(claims(filler="x" * filler))

    # Three octets are four characters: some filler makes it exact.
    longest = next(token for filler in range(5_700, 6_000) if len(token := of_length(filler)) >= 8_191)
    assert isinstance(hit(longest), User)
    assert len(longest) <= 8_192
    assert reason(of_length(6_000)) is Reason.USER_TOKEN_MALFORMED
    assert reason("a" * 10**7) is Reason.USER_TOKEN_MALFORMED


# The same through a running verifier, whose issuer is up and publishes its keys


async def test_none_of_them_passes_a_running_verifier_and_the_good_one_does() -> None:
    async with KeyEndpoint.open(jwks_of(EC, RSA)) as endpoint, verifying(endpoint) as verifier:

        async def judged(payload: dict[str, object] | None = None, **how: Any) -> User | Refusal:  # noqa: ANN401
            said = {"iss": endpoint.issuer, **(payload or {})}
            return await verifier.verify(user_token(claims(**said), **how), LEAF, NOW)

        good = await judged()
        refused = [
            await judged(head=header(typ="JWT")),
            await judged(head=header(jwk=public_jwk(MALLORY)), key=MALLORY),
            await judged(head=header(jku=endpoint.url("/evil"))),
            await judged(key=MALLORY),
            await judged(head=header(kid="mallory"), key=MALLORY),
            await judged({"aud": "agents"}),
            await judged({"exp": NOW - 100}),
            await judged({"nbf": NOW + 100}),
            await judged({"cnf": {"jkt": "x"}}),
            await judged({"iss": "https://nobody.test"}),
            await verifier.verify("", LEAF, NOW),
        ]

    assert isinstance(good, User)
    assert [found.reason for found in refused if isinstance(found, Refusal)] == [
        Reason.USER_TOKEN_MALFORMED,
        Reason.USER_TOKEN_MALFORMED,
        Reason.USER_TOKEN_MALFORMED,
        Reason.USER_TOKEN_UNTRUSTED,
        Reason.USER_TOKEN_UNTRUSTED,
        Reason.USER_TOKEN_AUDIENCE,
        Reason.USER_TOKEN_EXPIRED,
        Reason.USER_TOKEN_NOT_YET_VALID,
        Reason.USER_TOKEN_BINDING,
        Reason.USER_TOKEN_UNTRUSTED,
        Reason.USER_TOKEN_MALFORMED,
    ]
    assert "/evil" not in endpoint.asked
