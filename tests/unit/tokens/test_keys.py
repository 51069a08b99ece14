"""The signing key, against RFC 7515's example key, RFC 7638 and two independent JOSE libraries."""

from base64 import urlsafe_b64decode

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from hypothesis import given
from hypothesis import strategies as st
from joserfc.jwk import ECKey

from callgate.tokens.keys import SigningKey, UnusableKey, base64url

# RFC 7515, appendix A.3.1.
RFC_7515_D = "jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI"
RFC_7515_X = "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU"
RFC_7515_Y = "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"
D = int.from_bytes(urlsafe_b64decode(RFC_7515_D + "="), "big")

KEY = SigningKey(ec.derive_private_key(D, ec.SECP256R1()))


def test_jwk_holds_the_coordinates_of_rfc_7515_and_no_private_member() -> None:
    assert KEY.jwk == {
        "kty": "EC",
        "crv": "P-256",
        "x": RFC_7515_X,
        "y": RFC_7515_Y,
        "use": "sig",
        "alg": "ES256",
        "kid": KEY.kid,
    }


def test_kid_is_the_rfc_7638_thumbprint() -> None:
    independent = ECKey.import_key({"kty": "EC", "crv": "P-256", "x": RFC_7515_X, "y": RFC_7515_Y})
    assert independent.thumbprint() == KEY.kid


def test_a_coordinate_with_leading_zeros_keeps_its_full_size() -> None:
    short = next(
        key
        for key in (ec.derive_private_key(d, ec.SECP256R1()) for d in range(1, 5000))
        if key.public_key().public_numbers().x < 2**248
    )
    x = SigningKey(short).jwk["x"]
    assert len(urlsafe_b64decode(x + "=")) == 32
    assert ECKey.import_key({**SigningKey(short).jwk}).thumbprint() == SigningKey(short).kid


@given(st.binary(max_size=200))
def test_a_signature_is_r_and_s_of_32_bytes_each(signing_input: bytes) -> None:
    signature = KEY.sign(signing_input)
    assert len(signature) == 64
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
    public_key = KEY.private_key.public_key()
    public_key.verify(encode_dss_signature(r, s), signing_input, ec.ECDSA(SHA256()))
    with pytest.raises(InvalidSignature):
        public_key.verify(encode_dss_signature(r, s), signing_input + b".", ec.ECDSA(SHA256()))


@given(st.binary(max_size=100))
def test_base64url_is_that_of_rfc_7515(octets: bytes) -> None:
    text = base64url(octets)
    assert not set(text) & set("+/=")
    assert urlsafe_b64decode(text + "=" * (-len(text) % 4)) == octets


def test_no_text_form_of_a_key_shows_more_than_its_name() -> None:
    for text in (repr(KEY), str(KEY), f"{KEY}"):
        assert text == f"SigningKey(kid={KEY.kid!r})"


@pytest.mark.parametrize("curve", [ec.SECP384R1(), ec.SECP521R1(), ec.SECP256K1()])
def test_refuses_a_key_on_another_curve(curve: ec.EllipticCurve) -> None:
    with pytest.raises(UnusableKey, match="P-256"):
        SigningKey(ec.generate_private_key(curve))
