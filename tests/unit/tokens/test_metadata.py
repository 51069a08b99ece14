"""What verifiers find under /.well-known."""

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from joserfc.jwk import KeySet

from callgate.tokens.keys import SigningKey
from callgate.tokens.metadata import authorization_server_metadata, jwks, openid_configuration

ISSUER = "https://gate.acme.test"
KEYS = [SigningKey(ec.generate_private_key(ec.SECP256R1())) for _ in range(2)]


def test_jwks_is_a_key_set_that_a_jose_library_reads() -> None:
    imported = KeySet.import_key_set(jwks(KEYS))  # type: ignore[arg-type]  # a TypedDict of the same shape
    assert [key.kid for key in imported.keys] == [key.kid for key in KEYS]
    assert not any(key.is_private for key in imported.keys)


def test_the_issuer_is_given_byte_for_byte() -> None:
    assert authorization_server_metadata(ISSUER)["issuer"] == ISSUER
    assert authorization_server_metadata(f"{ISSUER}/")["issuer"] == f"{ISSUER}/"


@pytest.mark.parametrize("issuer", [ISSUER, f"{ISSUER}/"])
def test_the_keys_are_found_under_the_issuer(issuer: str) -> None:
    assert authorization_server_metadata(issuer)["jwks_uri"] == f"{ISSUER}/.well-known/jwks.json"


def test_no_endpoint_and_no_grant_type_is_claimed_that_is_not_served() -> None:
    for document in (authorization_server_metadata(ISSUER), openid_configuration(ISSUER)):
        assert not [name for name in document if name.endswith("_endpoint")]
        assert document["grant_types_supported"] == []
        assert document["response_types_supported"] == []


def test_mcp_clients_find_the_challenge_method_that_they_require() -> None:
    assert authorization_server_metadata(ISSUER)["code_challenge_methods_supported"] == ["S256"]


def test_openid_configuration_has_what_openid_discovery_requires_of_an_issuer_without_endpoints() -> None:
    document = openid_configuration(ISSUER)
    assert document["subject_types_supported"] == ["public"]
    assert document["id_token_signing_alg_values_supported"] == ["ES256"]
    assert document["jwks_uri"] == authorization_server_metadata(ISSUER)["jwks_uri"]
