"""What the gate publishes so that anybody can verify its tokens: its keys and where they are.

The gate is an authorization server in one respect only: it signs.  It has no authorization and no token endpoint,
and the documents say so.  Pure: the values are JSON objects for the second listener to serve.
"""

from collections.abc import Iterable

from callgate.tokens.claims import DETAIL_TYPE
from callgate.tokens.keys import ALGORITHM, SigningKey

JWKS_PATH = "/.well-known/jwks.json"
AUTHORIZATION_SERVER_PATH = "/.well-known/oauth-authorization-server"
OPENID_CONFIGURATION_PATH = "/.well-known/openid-configuration"


def jwks(keys: Iterable[SigningKey]) -> dict[str, object]:
    """The public keys as a JWK Set (RFC 7517, section 5), in the given order."""
    return {"keys": [key.jwk for key in keys]}


def authorization_server_metadata(issuer: str) -> dict[str, object]:
    """The RFC 8414 document of an issuer URL, which verifiers compare byte by byte with the `iss` claim.

    RFC 8414, section 3.2, wants claims without elements left out.  The two empty ones stay: `response_types_supported`
    is REQUIRED by section 2, and a missing `grant_types_supported` means ["authorization_code", "implicit"] there,
    neither of which is served.  MCP clients refuse a server without `code_challenge_methods_supported`.
    """
    return {
        "issuer": issuer,
        "jwks_uri": f"{issuer.rstrip('/')}{JWKS_PATH}",
        "response_types_supported": [],
        "grant_types_supported": [],
        "code_challenge_methods_supported": ["S256"],
        # RFC 9396, section 10.
        "authorization_details_types_supported": [DETAIL_TYPE],
    }


def openid_configuration(issuer: str) -> dict[str, object]:
    """The same for verifiers that look for OpenID Connect Discovery 1.0, with the fields that its section 3 requires.

    No ID token is ever issued; the algorithm named is that of every token the gate signs.
    """
    return {
        **authorization_server_metadata(issuer),
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": [ALGORITHM],
    }
