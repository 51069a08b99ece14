"""What the gate's own token says where the agent acts for a user; read by standard verifiers."""

from typing import Any

import jwt
import pytest
from joserfc import jwt as jose_jwt
from joserfc.jwk import ECKey

from callgate.identity.user import User
from callgate.policy.decide import Permit
from callgate.tokens.claims import Stamp, claims_of
from callgate.tokens.mint import mint
from support.permits import LEDGER_AUDIENCE, READER, forged, permit_for
from support.tokens import ISSUER, ISSUER_URL, TARGET

NOW_S = 1_795_000_000
STAMP = Stamp(now=NOW_S, jti=bytes(16), decision_id="d-1", request_id=3)
GATE = "spiffe://acme.test/gate"
ALICE = User("https://login.acme.test", "248289761001", ("clerks",), {"email": "alice@acme.test"})
INVOICE = permit_for("get_invoice", {"number": "INV-1001"})
# RFC 7519, section 4.1: what the user changes; all others are as without one.
CHANGED = {"sub", "sub_id", "act"}


def for_user(user: User = ALICE) -> Permit:
    return forged(INVOICE, call_user=user)


def test_the_user_is_the_subject_and_the_agent_acts_with_the_gate_behind_it() -> None:
    claims = claims_of(for_user(), ISSUER, TARGET, STAMP)
    assert claims["sub"] == "248289761001"
    # RFC 9493, section 3.2.4.
    assert claims["sub_id"] == {"format": "iss_sub", "iss": "https://login.acme.test", "sub": "248289761001"}
    assert claims["client_id"] == str(READER)
    # RFC 8693, section 4.1.
    assert claims["act"] == {"sub": str(READER), "act": {"sub": GATE}}


def test_nothing_else_changes_with_a_user_and_no_group_or_claim_goes_upstream() -> None:
    with_user: dict[str, Any] = dict(claims_of(for_user(), ISSUER, TARGET, STAMP))
    without: dict[str, Any] = dict(claims_of(INVOICE, ISSUER, TARGET, STAMP))
    assert with_user.keys() - without.keys() == {"sub_id"}
    assert {name for name in without if with_user[name] != without[name]} == CHANGED - {"sub_id"}
    assert "clerks" not in str(with_user)
    assert "alice" not in str(with_user)


def test_without_a_user_the_agent_is_the_subject_and_the_gate_acts() -> None:
    claims = claims_of(INVOICE, ISSUER, TARGET, STAMP)
    assert claims["sub"] == claims["client_id"] == str(READER)
    assert claims["act"] == {"sub": GATE}
    assert "sub_id" not in claims


@pytest.mark.parametrize("subject", ["alice@acme.test", "Zoë", "s" * 255, '"}'])
def test_standard_verifiers_read_the_user(subject: str) -> None:
    token = mint(for_user(User("https://login.acme.test", subject)), ISSUER, TARGET, STAMP).token
    options: Any = {"verify_exp": False, "verify_iat": False}
    by_pyjwt = jwt.decode(
        token, jwt.PyJWK(ISSUER.key.jwk), ["ES256"], options, audience=LEDGER_AUDIENCE, issuer=ISSUER_URL
    )
    by_joserfc = jose_jwt.decode(token, ECKey.import_key({**ISSUER.key.jwk}), ["ES256"]).claims
    assert by_pyjwt == by_joserfc
    assert by_pyjwt["sub"] == by_pyjwt["sub_id"]["sub"] == subject
    assert by_pyjwt["act"]["act"]["sub"] == GATE
