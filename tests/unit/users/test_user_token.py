"""Whom a good token names, and each limit on what it may say."""

from collections.abc import Mapping
from typing import Any

import jwt
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jwt as jose_jwt

from callgate.errors import ANSWERS, Reason, Refusal
from callgate.identity.user import User
from callgate.users.access_token import bearer_token, read_token
from callgate.users.key_set import KeySet, read_key_set
from callgate.users.user_token import NeedsKeys, TokenRules, TrustedIssuer, verify_user_token
from support.user_tokens import (
    ALGORITHMS,
    GATE_AUDIENCE,
    LEAF,
    NOW,
    OTHER_LEAF,
    RULES,
    SUBJECT,
    USERS_ISSUER,
    base64url,
    claims,
    header,
    issuers_with,
    user_key,
    user_token,
)

KEY = user_key("P-256")
TRUSTED = issuers_with(KEY)
USER = User(USERS_ISSUER, SUBJECT)


def verified(
    token: str, issuers: Mapping[str, TrustedIssuer] = TRUSTED, *, leaf: bytes = LEAF, now: float = NOW
) -> User | Refusal | NeedsKeys:
    return verify_user_token(token, issuers, leaf, now)


def reason(found: User | Refusal | NeedsKeys) -> Reason:
    assert isinstance(found, Refusal), found
    return found.reason


def with_rules(**changes: Any) -> dict[str, TrustedIssuer]:  # noqa: ANN401
    rules = TokenRules(**{"issuer": USERS_ISSUER, "audience": GATE_AUDIENCE, **changes})
    return issuers_with(KEY, rules=rules)


def said(**changes: object) -> User | Refusal | NeedsKeys:
    return verified(user_token(claims(**changes)))


def user(found: User | Refusal | NeedsKeys) -> User:
    assert isinstance(found, User), found
    return found


# Good tokens


@pytest.mark.parametrize(("alg", "kind"), ALGORITHMS.items())
def test_accepts_each_algorithm_with_a_key_of_its_kind(alg: str, kind: str) -> None:
    token = user_token(head=header(alg=alg))
    assert verified(token, issuers_with(user_key(kind))) == USER


@pytest.mark.parametrize("alg", ["RS256", "PS256", "ES256", "EdDSA"])
def test_accepts_what_pyjwt_makes(alg: str) -> None:
    signing: Any = user_key(ALGORITHMS[alg])
    token = jwt.encode(claims(), signing.private_key, alg, headers={"kid": "k1", "typ": "at+jwt"})
    assert verified(token, issuers_with(signing)) == USER


def test_accepts_what_joserfc_makes() -> None:
    assert verified(jose_jwt.encode(header(), claims(), KEY)) == USER


@pytest.mark.parametrize("typ", ["at+jwt", "AT+JWT", "application/at+jwt", "Application/AT+JWT"])
def test_accepts_the_two_types_of_rfc_9068_in_any_case(typ: str) -> None:
    assert verified(user_token(head=header(typ=typ))) == USER


@pytest.mark.parametrize("typ", [None, "JWT", "jwt", "application/jwt", "at+jwt"])
def test_an_issuer_may_be_trusted_to_mark_its_access_tokens_as_jwt_or_not_at_all(typ: str | None) -> None:
    assert verified(user_token(head=header(typ=typ)), with_rules(typ="any")) == USER


def test_header_members_that_name_no_key_are_ignored() -> None:
    # RFC 7515, section 4: "all Header Parameters not defined by this specification MUST be ignored when not understood".
    assert verified(user_token(head=header(x5t="abc", nonce="n"))) == USER


@pytest.mark.parametrize("audience", [GATE_AUDIENCE, [GATE_AUDIENCE], ["account", GATE_AUDIENCE]])
def test_the_gate_may_be_one_audience_among_several(audience: object) -> None:
    assert said(aud=audience) == USER


def test_a_token_without_kid_is_checked_with_every_key_that_fits() -> None:
    issuers = issuers_with(user_key("P-256", "k0"), user_key("RSA", "k2"), KEY)
    assert verified(user_token(head=header(kid=None)), issuers) == USER


def test_two_keys_of_one_name_are_both_tried() -> None:
    twin = KEY.as_dict(private=False) | user_key("P-256", "other").as_dict(private=False) | {"kid": "k1"}
    octets = orjson.dumps({"keys": [twin, KEY.as_dict(private=False)]})
    keys = read_key_set(octets)
    assert isinstance(keys, KeySet)
    assert len(keys.keys) == 2
    assert verified(user_token(), {USERS_ISSUER: TrustedIssuer(RULES, keys)}) == USER


def test_the_issuer_of_the_token_chooses_the_keys_and_the_rules() -> None:
    other = TokenRules("https://login.partner.test", GATE_AUDIENCE, groups_claim="roles")
    issuers = TRUSTED | issuers_with(user_key("P-256", "p1"), rules=other)
    token = user_token(
        claims(iss=other.issuer, groups=["no"], roles=["clerk"]),
        key=user_key("P-256", "p1"),
        head=header(kid="p1"),
    )
    assert verified(token, issuers) == User(other.issuer, SUBJECT, ("clerk",))


# Groups and claims


@pytest.mark.parametrize(
    ("groups", "read"),
    [(None, ()), ([], ()), ("clerks", ("clerks",)), (["b", "a"], ("b", "a")), (["g" * 256] * 2, ("g" * 256,) * 2)],
)
def test_groups_are_a_list_of_names_or_one_name(groups: object, read: tuple[str, ...]) -> None:
    assert user(said(groups=groups)).groups == read


@pytest.mark.parametrize(
    "groups", [1, True, {}, [1], ["a", None], [["a"]], [""], "", ["g" * 257], ["a\0b"], ["a\nb"], ["g"] * 257]
)
def test_groups_that_are_anything_else_are_refused_and_not_dropped(groups: object) -> None:
    assert reason(said(groups=groups)) is Reason.USER_TOKEN_MALFORMED


def test_as_many_groups_as_the_limit_are_read() -> None:
    assert len(user(said(groups=["g"] * 256)).groups) == 256


@pytest.mark.parametrize("name", ["groups", "department"])
def test_claims_that_were_left_out_for_want_of_space_are_not_read_as_none(name: str) -> None:
    token = user_token(claims(_claim_names={name: "src1"}, _claim_sources={"src1": {"endpoint": "https://a.test"}}))
    assert reason(verified(token, with_rules(claims=("department",)))) is Reason.USER_TOKEN_MALFORMED
    assert verified(user_token(claims(_claim_names={"photo": "src1"}))) == USER


def test_only_the_configured_claims_are_taken() -> None:
    token = user_token(claims(department="billing", level=3, secret="x", address={"city": "Bonn"}))
    found = user(verified(token, with_rules(claims=("department", "level", "address", "absent"))))
    assert found.claims == {"department": "billing", "level": 3, "address": {"city": "Bonn"}}
    assert user(said(department="billing")).claims == {}


def test_the_configured_claims_have_4_kib_together() -> None:
    # {"a":"…","b":"…"} takes 15 bytes beside the texts.
    issuers = with_rules(claims=("a", "b"))
    assert user(verified(user_token(claims(a="x" * 2000, b="y" * 2081)), issuers)).claims["a"] == "x" * 2000
    too_much = user_token(claims(a="x" * 2000, b="y" * 2082))
    assert reason(verified(too_much, issuers)) is Reason.USER_TOKEN_MALFORMED


# Time


@pytest.mark.parametrize(
    ("when", "outcome"),
    [
        (NOW + 329, USER),
        (NOW + 329.999, USER),
        (NOW + 330, Reason.USER_TOKEN_EXPIRED),
        (NOW + 10**6, Reason.USER_TOKEN_EXPIRED),
        (NOW - 40, USER),
        (NOW - 40.001, Reason.USER_TOKEN_NOT_YET_VALID),
    ],
)
def test_times_count_with_thirty_seconds_of_leeway(when: float, outcome: object) -> None:
    found = verified(user_token(), now=when)
    assert found == outcome or (isinstance(found, Refusal) and found.reason is outcome)


@pytest.mark.parametrize(("leeway_s", "late_s"), [(0, 300), (120, 420)])
def test_the_leeway_is_that_of_the_configuration(leeway_s: int, late_s: int) -> None:
    issuers = with_rules(leeway_s=leeway_s)
    assert verified(user_token(), issuers, now=NOW + late_s - 1) == USER
    assert reason(verified(user_token(), issuers, now=NOW + late_s)) is Reason.USER_TOKEN_EXPIRED


def test_not_before_counts_where_it_stands() -> None:
    assert said(nbf=NOW + 30) == USER
    assert reason(said(nbf=NOW + 31)) is Reason.USER_TOKEN_NOT_YET_VALID
    assert said(iat=None) == USER


def test_a_moment_may_have_a_fraction() -> None:
    assert said(exp=NOW + 0.5, iat=NOW - 0.25) == USER


@pytest.mark.parametrize("name", ["exp", "nbf", "iat"])
@pytest.mark.parametrize("moment", ["1795000300", True, [], {}, -1, 10**12, 1e300])
def test_a_moment_that_is_none_is_refused(name: str, moment: object) -> None:
    assert reason(said(**{name: moment})) is Reason.USER_TOKEN_MALFORMED


def test_moments_go_from_1970_to_the_end_of_9999() -> None:
    assert said(nbf=0, exp=253_402_300_799) == USER
    assert reason(said(exp=253_402_300_800)) is Reason.USER_TOKEN_MALFORMED


def test_a_token_that_never_ends_is_refused() -> None:
    assert reason(said(exp=None)) is Reason.USER_TOKEN_MALFORMED


# Subjects and audiences


@pytest.mark.parametrize("subject", ["a", "alice@acme.test", "Zoë", "s" * 255, "https://acme.test/alice", "a b"])
def test_a_subject_is_up_to_255_printable_characters(subject: str) -> None:
    assert user(said(sub=subject)).subject == subject


@pytest.mark.parametrize("subject", [None, "", 7, ["a"], "s" * 256, "a\0", "a\n", "\u202ea", "\x7f", "a\u200bb"])
def test_any_other_subject_is_refused(subject: object) -> None:
    assert reason(said(sub=subject)) is Reason.USER_TOKEN_MALFORMED


@pytest.mark.parametrize("subject", ["spiffe://acme.test/gate", "SPIFFE://acme.test/gate", "spiffe://"])
def test_no_user_can_be_called_as_a_workload_is(subject: str) -> None:
    assert reason(said(sub=subject)) is Reason.USER_TOKEN_MALFORMED


@pytest.mark.parametrize(
    "audience", [GATE_AUDIENCE + "/", GATE_AUDIENCE.upper(), "agents", ["agents"], GATE_AUDIENCE[:-1], ""]
)
def test_a_token_for_somebody_else_is_refused(audience: object) -> None:
    assert reason(said(aud=audience)) is Reason.USER_TOKEN_AUDIENCE


@pytest.mark.parametrize("audience", [None, [], 1, {}, [GATE_AUDIENCE, 1], [[GATE_AUDIENCE]]])
def test_an_audience_that_is_none_is_refused(audience: object) -> None:
    assert reason(said(aud=audience)) is Reason.USER_TOKEN_MALFORMED


# Binding


def test_a_token_bound_to_the_callers_certificate_is_accepted_from_that_caller_alone() -> None:
    token = user_token(claims(cnf={"x5t#S256": base64url(LEAF)}))
    assert verified(token) == USER
    assert reason(verified(token, leaf=OTHER_LEAF)) is Reason.USER_TOKEN_BINDING


@pytest.mark.parametrize(
    "bound",
    [
        {},
        {"jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"},
        {"x5t#S256": base64url(LEAF), "jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"},
        {"kid": "k1"},
        {"jwk": {}},
        {"x5t#s256": base64url(LEAF)},
        {"x5t#S256": base64url(LEAF) + "="},
        {"x5t#S256": LEAF.hex()},
        {"x5t#S256": ""},
        {"x5t#S256": None},
        {"x5t#S256": [base64url(LEAF)]},
        [],
        base64url(LEAF),
        False,
    ],
)
def test_a_binding_that_cannot_be_checked_is_refused(bound: object) -> None:
    assert reason(said(cnf=bound)) is Reason.USER_TOKEN_BINDING


# Keys


def test_says_whose_keys_it_needs_where_none_has_that_name() -> None:
    without = {USERS_ISSUER: TrustedIssuer(RULES, None)}
    assert verified(user_token(), without) == NeedsKeys(USERS_ISSUER)
    assert verified(user_token(), issuers_with(user_key("P-256", "k2"))) == NeedsKeys(USERS_ISSUER)
    assert verified(user_token(head=header(kid=None)), {USERS_ISSUER: TrustedIssuer(RULES, KeySet(()))}) == NeedsKeys(
        USERS_ISSUER
    )


@pytest.mark.parametrize(
    "token",
    [
        user_token(claims(iss="https://nobody.test")),
        user_token(head=header(alg="HS256"), key=user_key("oct")),
        user_token(head=header(typ="JWT")),
        "a.b.c",
    ],
)
def test_needs_no_keys_for_what_is_refused_without_them(token: str) -> None:
    assert isinstance(verified(token, {USERS_ISSUER: TrustedIssuer(RULES, None)}), Refusal)


# Rules


@pytest.mark.parametrize(
    "changes",
    [{"algorithms": {"none"}}, {"algorithms": {"HS256"}}, {"algorithms": {"RS256", "ES256K"}}, {"algorithms": set()}],
)
def test_nothing_symmetric_and_not_none_can_be_allowed(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="algorithm"):
        TokenRules(USERS_ISSUER, GATE_AUDIENCE, frozenset(changes["algorithms"]))


@pytest.mark.parametrize("leeway_s", [-1, 121])
def test_leeway_is_bounded(leeway_s: int) -> None:
    with pytest.raises(ValueError, match="leeway is 0 to 120 seconds"):
        TokenRules(USERS_ISSUER, GATE_AUDIENCE, leeway_s=leeway_s)


# The Authorization field


@pytest.mark.parametrize("field", ["Bearer a.b.c", "bearer a.b.c", "BEARER   a.b.c"])
def test_reads_a_bearer_token(field: str) -> None:
    assert bearer_token(field) == "a.b.c"


def test_no_field_is_no_user() -> None:
    assert bearer_token(None) is None


@pytest.mark.parametrize(
    "field", ["", "Bearer", "Bearer ", "Bearer a b", "Bearer a,b", "DPoP a.b.c", "Basic YTpi", "a.b.c", "Bearer\ta.b.c"]
)
def test_a_field_that_is_no_bearer_token_is_refused_and_not_overlooked(field: str) -> None:
    found = bearer_token(field)
    assert isinstance(found, Refusal)
    assert found.reason is Reason.USER_TOKEN_MALFORMED


def test_a_token_is_looked_at_up_to_8192_characters() -> None:
    assert read_token("a" * 8_192) == Refusal(Reason.USER_TOKEN_MALFORMED, "1 segments, not 3")
    too_long = Refusal(Reason.USER_TOKEN_MALFORMED, "8193 characters; the limit is 8192")
    assert read_token("a" * 8_193) == too_long


def test_claims_may_have_integers_of_64_bits_and_eight_levels() -> None:
    deep: object = 2**60
    for _ in range(7):
        deep = [deep]
    issuers = with_rules(claims=("deep",))
    assert user(verified(user_token(claims(deep=deep)), issuers)).claims == {"deep": deep}
    assert reason(verified(user_token(claims(deep=[deep])), issuers)) is Reason.USER_TOKEN_MALFORMED


# What callers and operators are told


def test_no_text_form_of_a_token_that_was_read_holds_what_could_be_used_again() -> None:
    token = user_token()
    shown = repr(read_token(token))
    assert SUBJECT not in shown
    assert "signature" not in shown
    assert "signing_input" not in shown


def test_a_bad_token_is_answered_401_and_the_connection_stays() -> None:
    for each in Reason:
        if each.startswith("user_token_"):
            answer = ANSWERS[each]
            assert (answer.http_status, answer.rpc_code, answer.closes) == (401, -31401, False)
    unavailable = ANSWERS[Reason.USER_KEYS_UNAVAILABLE]
    assert (unavailable.http_status, unavailable.rpc_code, unavailable.closes) == (503, -31503, False)


@given(st.sampled_from(["sub", "aud", "groups", "cnf", "exp", "nbf", "department"]))
def test_no_refusal_repeats_what_a_claim_says(name: str) -> None:
    secret = "s3cr3t\0" * 40
    found = verified(user_token(claims(**{name: {"inner": secret}})), with_rules(claims=("department",)))
    assert "s3cr3t" not in repr(found) or isinstance(found, User)


_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**60), 2**60)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
_NAMES = st.sampled_from(["iss", "sub", "aud", "exp", "nbf", "iat", "cnf", "groups", "_claim_names", "typ", "nonce"])


@given(st.dictionaries(_NAMES, _JSON, max_size=3))
def test_a_signed_token_that_says_anything_is_judged_without_an_error(changes: dict[str, Any]) -> None:
    found = verified(user_token({**claims(), **changes}))
    assert isinstance(found, User | Refusal)


@given(
    st.text(max_size=60)
    | st.from_regex(r"[A-Za-z0-9_-]{0,30}\.[A-Za-z0-9_-]{0,30}\.[A-Za-z0-9_-]{0,30}", fullmatch=True)
)
def test_reading_any_text_as_a_token_is_total(text: str) -> None:
    assert isinstance(read_token(text), Refusal)
