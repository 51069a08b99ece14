"""Make the token for one permitted call: a compact JWS (RFC 7515) signed with ES256.

Written by hand over `cryptography`, because a token is made for every call: header segments are made once for each key
and the rest is one serialisation and one signature.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import orjson

from callgate.policy.decide import Permit
from callgate.tokens.claims import CannotMint, Claims, Issuer, Stamp, TokenTarget, claims_of
from callgate.tokens.keys import base64url

# Common servers refuse a header line of more than 8190 bytes (Apache) or 8 KiB (nginx): beyond this nothing arrives.
MAX_TOKEN_BYTES = 8000


@dataclass(frozen=True, slots=True)
class MintedToken:
    """A bearer token and what may be told about it.

    `token` is a secret: it goes into one header of one request, and into no log, trace or text form of this value.
    `expires` is its `exp`, in Unix seconds.
    """

    token: str = field(repr=False)
    claims: Mapping[str, object]
    jti: str
    expires: int


def mint(permit: Permit, issuer: Issuer, target: TokenTarget, stamp: Stamp) -> MintedToken:
    """The token for one permitted call to one tool server.

    A repeated call needs a new token: another `jti`, the same decision.  Raises CannotMint where the permit asks for
    what a token must not say.
    """
    claims = claims_of(permit, issuer, target, stamp)
    signing_input = issuer.key.header_segment(target.typ) + base64url(_serialised(claims)).encode("ascii")
    token = f"{signing_input.decode('ascii')}.{base64url(issuer.key.sign(signing_input))}"
    if len(token) > MAX_TOKEN_BYTES:
        raise CannotMint(f"the token would have {len(token)} bytes, more than {MAX_TOKEN_BYTES}")
    return MintedToken(token, MappingProxyType(claims), claims["jti"], claims["exp"])


def _serialised(claims: Claims) -> bytes:
    """The claims in the one form that RFC 8785 gives them: names and strings alone need no more than sorted names."""
    try:
        return orjson.dumps(claims, option=orjson.OPT_SORT_KEYS)
    except orjson.JSONEncodeError as error:
        raise CannotMint("a claim is not Unicode text") from error
