"""What a token says for each method, and what no token ever says."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callgate.policy.decide import Permit
from callgate.tokens.claims import CannotMint, Claims, Stamp, TokenTarget, claims_of, scope_of
from support.permits import LEDGER_AUDIENCE, POLICY, READER, REFUNDER, forged, permit_for
from support.tokens import GATE, ISSUER, ISSUER_URL, TARGET

NOW_S = 1_795_000_000
STAMP = Stamp(now=NOW_S + 0.75, jti=bytes(range(16)), decision_id="d-1", request_id=3)
INVOICE = permit_for("get_invoice", {"number": "INV-1001"})
GRANTED = TokenTarget(LEDGER_AUDIENCE, list_scopes="granted")
# RFC 6749, section 3.3.
SCOPE = re.compile(r"[\x21\x23-\x5B\x5D-\x7E]+( [\x21\x23-\x5B\x5D-\x7E]+)*")


def claims_for(permit: Permit, target: TokenTarget = TARGET, stamp: Stamp = STAMP) -> Claims:
    return claims_of(permit, ISSUER, target, stamp)


def detail_of(permit: Permit, stamp: Stamp = STAMP) -> dict[str, object]:
    (detail,) = claims_for(permit, stamp=stamp)["authorization_details"]
    return detail


def test_a_tools_call_has_exactly_these_claims() -> None:
    assert claims_for(INVOICE) == {
        "iss": ISSUER_URL,
        "aud": LEDGER_AUDIENCE,
        "sub": "spiffe://acme.test/ns/billing/sa/reader",
        "client_id": "spiffe://acme.test/ns/billing/sa/reader",
        "act": {"sub": "spiffe://acme.test/gate"},
        "iat": NOW_S - 5,
        "exp": NOW_S + 20,
        "jti": "AAECAwQFBgcICQoLDA0ODw",
        "txn": "d-1",
        "scope": "mcp:tools.call tool:get_invoice ledger.read",
        "authorization_details": [
            {
                "type": "mcp_tool_call",
                "locations": [LEDGER_AUDIENCE],
                "actions": ["tools/call"],
                "tool": "get_invoice",
                # printf '{"number":"INV-1001"}' | openssl dgst -sha256 -binary | basenc --base64url
                "args_s256": "OFoH9Lee0BfM42WOB7T9o0MJNNIuaRo4t4C1vU7hKJ8",
                "request_id": "3",
                "policy": POLICY.digest,
            }
        ],
    }


def test_names_the_certificate_of_the_connection_where_there_is_one() -> None:
    stamp = Stamp(NOW_S, bytes(16), "d-1", 3, client_leaf_sha256=bytes(32))
    assert claims_for(INVOICE, stamp=stamp)["cnf"] == {"x5t#S256": "A" * 43}
    assert "cnf" not in claims_for(INVOICE)


@pytest.mark.parametrize(
    ("method", "scope"),
    [
        ("initialize", "mcp:initialize"),
        ("notifications/initialized", "mcp:notifications.initialized"),
        ("ping", "mcp:ping"),
        ("server/discover", "mcp:server.discover"),
        ("tools/list", "mcp:tools.list"),
    ],
)
def test_any_other_method_carries_its_own_scope_alone(method: str, scope: str) -> None:
    permit = permit_for(method=method)
    assert claims_for(permit)["scope"] == scope
    assert detail_of(permit) == {
        "type": "mcp_tool_call",
        "locations": [LEDGER_AUDIENCE],
        "actions": [method],
        "request_id": "3",
        "policy": POLICY.digest,
    }


def test_a_listing_carries_what_the_caller_may_call_where_the_server_filters_by_scope() -> None:
    assert scope_of(permit_for(method="tools/list", caller=READER), GRANTED).split() == [
        "mcp:tools.list",
        "tool:get_invoice",
        "tool:list_invoices",
        "ledger.read",
    ]
    assert scope_of(permit_for(method="tools/list", caller=REFUNDER), GRANTED).split() == [
        "mcp:tools.list",
        "tool:get_invoice",
        "tool:list_invoices",
        "tool:refund",
        "ledger.read",
        "ledger.refund",
        "ledger.write",
    ]


@pytest.mark.parametrize("method", ["initialize", "notifications/initialized", "ping", "server/discover"])
def test_granted_list_scopes_widen_nothing_but_the_listing(method: str) -> None:
    permit = permit_for(method=method)
    assert scope_of(permit, GRANTED) == scope_of(permit, TARGET)
    assert scope_of(INVOICE, GRANTED) == scope_of(INVOICE, TARGET)


def test_a_grants_ttl_comes_before_the_servers() -> None:
    refund = permit_for("refund", {}, caller=REFUNDER)
    assert claims_for(refund)["exp"] == NOW_S + 10
    assert claims_for(refund, TokenTarget(LEDGER_AUDIENCE, ttl_s=5))["exp"] == NOW_S + 10
    assert claims_for(INVOICE, TokenTarget(LEDGER_AUDIENCE, ttl_s=5))["exp"] == NOW_S + 5


@pytest.mark.parametrize("ttl_s", [-1, 0, 4, 61, 3600])
def test_no_token_lives_shorter_than_5_s_or_longer_than_60(ttl_s: int) -> None:
    with pytest.raises(ValueError, match="5 to 60 seconds"):
        TokenTarget(LEDGER_AUDIENCE, ttl_s=ttl_s)
    with pytest.raises(CannotMint, match="5 to 60 seconds"):
        claims_for(forged(INVOICE, ttl_s=ttl_s))


@pytest.mark.parametrize("typ", ["", "at+JWT", "jwt", "txntoken+jwt"])
def test_refuses_a_type_that_no_verifier_asks_for(typ: str) -> None:
    with pytest.raises(ValueError, match="typ is one of"):
        TokenTarget(LEDGER_AUDIENCE, typ=typ)


@pytest.mark.parametrize("size", [0, 15, 17])
def test_a_jti_has_128_bits(size: int) -> None:
    with pytest.raises(ValueError, match="16 bytes"):
        Stamp(NOW_S, bytes(size), "d-1")


def test_a_call_without_arguments_is_bound_to_the_empty_object() -> None:
    # printf '{}' | openssl dgst -sha256 -binary | basenc --base64url
    assert detail_of(permit_for("list_invoices"))["args_s256"] == "RBNvo1WzZ4oRRq0W9-hknpT7T8If536DEMBg9hyq_4o"
    assert detail_of(permit_for("list_invoices", {})) == detail_of(permit_for("list_invoices"))


def test_refuses_arguments_without_a_canonical_form() -> None:
    # RFC 8785 is over I-JSON (RFC 7493), whose integers end at 2^53 - 1.
    with pytest.raises(CannotMint, match="no canonical form"):
        claims_for(forged(INVOICE, call_arguments={"number": 2**53}))


def test_a_notification_has_no_request_id() -> None:
    stamp = Stamp(NOW_S, bytes(16), "d-1", request_id=None)
    assert "request_id" not in detail_of(permit_for(method="notifications/initialized"), stamp)


@pytest.mark.parametrize(("given_id", "told"), [(0, "0"), (-7, "-7"), ("", ""), ("a-1", "a-1"), ('"\\\n', '"\\\n')])
def test_the_request_id_is_told_as_a_string(given_id: str | int, told: str) -> None:
    assert detail_of(INVOICE, Stamp(NOW_S, bytes(16), "d-1", given_id))["request_id"] == told


@pytest.mark.parametrize(
    "name",
    [
        "",
        " ",
        "get_invoice tool:wipe_ledger",
        "get_invoice\ttool:wipe_ledger",
        "get_invoice\n",
        "get_invoice\x00",
        'get_"invoice',
        "get\\invoice",
        "get_invoice\u00a0tool:wipe_ledger",
        "get_invoice\u2028tool:wipe_ledger",
        "gеt_invoice",  # noqa: RUF001  # its second letter is Cyrillic, which is the point
        "*",
        "a" * 129,
    ],
)
def test_refuses_a_tool_name_that_would_break_out_of_its_scope(name: str) -> None:
    with pytest.raises(CannotMint, match="tool's name"):
        scope_of(forged(INVOICE, call_tool=name), TARGET)
    with pytest.raises(CannotMint, match="tool's name"):
        scope_of(forged(permit_for(method="tools/list"), listable=("get_invoice", name)), GRANTED)


def test_refuses_a_call_of_no_tool() -> None:
    with pytest.raises(CannotMint, match="without a tool"):
        scope_of(forged(INVOICE, call_tool=None), TARGET)


@pytest.mark.parametrize(
    "scope", ["", " ", "a b", "a\n", 'a"b', "a\\b", "é", "tool:wipe_ledger", "mcp:tools.call", "tool:"]
)
def test_refuses_a_granted_scope_that_is_none_or_that_is_the_gates_to_write(scope: str) -> None:
    with pytest.raises(CannotMint, match="granted scope"):
        scope_of(forged(INVOICE, scopes=("ledger.read", scope)), TARGET)
    with pytest.raises(CannotMint, match="granted scope"):
        scope_of(forged(permit_for(method="tools/list"), scopes=(scope,)), GRANTED)


@pytest.mark.parametrize(
    "method", ["", "/", "tools/", "/call", "tools//call", "tools.call", "tools/call ", "a b", "tools/cäll"]
)
def test_refuses_a_method_that_is_none(method: str) -> None:
    with pytest.raises(CannotMint, match="method's name"):
        scope_of(forged(INVOICE, call_method=method), TARGET)


@given(st.text(max_size=20), st.lists(st.text(max_size=8), max_size=3))
def test_a_scope_says_one_method_one_tool_and_what_was_granted_or_nothing(tool: str, scopes: list[str]) -> None:
    permit = forged(INVOICE, call_tool=tool, scopes=tuple(scopes))
    try:
        scope = scope_of(permit, TARGET)
    except CannotMint:
        return
    assert SCOPE.fullmatch(scope)
    assert scope.split(" ") == ["mcp:tools.call", f"tool:{tool}", *scopes]


def test_the_gate_is_the_current_actor() -> None:
    assert claims_for(INVOICE)["act"] == {"sub": str(GATE)}


@pytest.mark.parametrize(("ends_in_s", "lives_s"), [(100.0, 20), (20.0, 20), (12.7, 12), (0.4, 1), (-3.0, 1)])
def test_no_token_outlives_the_grant_by_more_than_its_last_second(ends_in_s: float, lives_s: int) -> None:
    permit = forged(permit_for("get_invoice"), not_after=NOW_S + ends_in_s)

    assert claims_for(permit)["exp"] == NOW_S + lives_s
