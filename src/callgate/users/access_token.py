"""A user's access token as it was written, in exactly one reading.  Nothing in it is believed yet.

The profile is RFC 9068 (JWT access tokens) and RFC 8725 (JSON Web Token Best Current Practices): a compact JWS of JSON
objects, in which nothing names a key or says how the signature is to be read.
"""

import re
from dataclasses import dataclass, field
from typing import Final

from callgate.errors import Reason, Refusal
from callgate.users.base64url import decode
from callgate.users.key_set import MAX_KID_CHARACTERS
from callgate.wire.json_strict import JsonLimits, JsonObject, loads

# What nginx and Apache take in one header field; tokens with many groups come near it.
MAX_TOKEN_CHARACTERS: Final = 8 * 1024

# A claim such as a postal address is an object; nothing in use goes deeper than that.
_MAX_DEPTH: Final = 8
_MAX_VALUES: Final = 2_000
# RFC 6750, section 2.1: credentials = "Bearer" 1*SP b64token; RFC 9110, section 11.1: the scheme is case-insensitive.
_BEARER: Final = re.compile(r"[Bb][Ee][Aa][Rr][Ee][Rr] +([A-Za-z0-9._~+/-]+=*)")
# RFC 8725, section 3.10: do not follow "jku" and "x5u"; a key that the token brings along ("jwk", "x5c") proves
# nothing.  RFC 7515, section 4.1.11: of "crit" nothing is understood here; "b64" (RFC 7797) changes what is signed.
# "enc" and "zip" are those of encrypted tokens, "cty" that of nested ones (RFC 7519, section 5.2).
_REFUSED_MEMBERS: Final = frozenset({"jku", "x5u", "jwk", "x5c", "crit", "b64", "enc", "zip", "cty"})


@dataclass(frozen=True, slots=True)
class UnverifiedToken:
    """What a token says of itself.

    `kid` and `typ` are "" where the header has none.  `signing_input` is what `signature` is over.
    """

    alg: str
    kid: str
    typ: str
    issuer: str
    claims: JsonObject = field(repr=False)
    signing_input: bytes = field(repr=False)
    signature: bytes = field(repr=False)


def bearer_token(authorization: str | None) -> str | Refusal | None:
    """The token of an Authorization field, None where there is no such field; any other scheme is refused.

    A field that cannot be used must not be read as if the agent had said that it acts for nobody.
    """
    if authorization is None:
        return None
    found = _BEARER.fullmatch(authorization)
    return found[1] if found else malformed("Authorization is not 'Bearer' and one token")


def malformed(detail: str) -> Refusal:
    """A token that is not one access token in one reading."""
    return Refusal(Reason.USER_TOKEN_MALFORMED, detail)


def read_token(token: str, max_characters: int = MAX_TOKEN_CHARACTERS) -> UnverifiedToken | Refusal:
    """Take a token apart.  Never raises."""
    if len(token) > max_characters:
        return malformed(f"{len(token)} characters; the limit is {max_characters}")
    segments = token.split(".")
    if len(segments) != 3:
        # Five are an encrypted one (RFC 7516, section 3.1).
        return malformed(f"{min(len(segments), 100)} segments, not 3")
    header, claims = _read_object(segments[0], "the header"), _read_object(segments[1], "the payload")
    signature = decode(segments[2])
    if isinstance(header, Refusal):
        return header
    if isinstance(claims, Refusal):
        return claims
    if signature is None:
        return malformed("the signature is not base64url in its one spelling")
    return _read_header(header, claims, token.rpartition(".")[0].encode("ascii"), signature)


def _read_object(segment: str, what: str) -> JsonObject | Refusal:
    octets = decode(segment)
    if octets is None:
        return malformed(f"{what} is not base64url in its one spelling")
    # It is shorter than the token that it is of.
    limits = JsonLimits(len(octets), max_depth=_MAX_DEPTH, safe_integers=False, max_values=_MAX_VALUES)
    value = loads(octets, limits)
    if isinstance(value, Refusal):
        return malformed(f"{what}: {value.reason}")
    return value if isinstance(value, dict) else malformed(f"{what} is not a JSON object")


def _read_header(
    header: JsonObject, claims: JsonObject, signing_input: bytes, signature: bytes
) -> UnverifiedToken | Refusal:
    if refused := sorted(_REFUSED_MEMBERS & header.keys()):
        return malformed(f"the header has '{refused[0]}'")
    alg, kid, typ = header.get("alg"), header.get("kid", ""), header.get("typ", "")
    if not isinstance(alg, str) or not isinstance(kid, str) or not isinstance(typ, str):
        return malformed("'alg', 'kid' or 'typ' is missing or not text")
    if len(kid) > MAX_KID_CHARACTERS:
        return malformed(f"'kid' has {len(kid)} characters; the limit is {MAX_KID_CHARACTERS}")
    issuer = claims.get("iss")
    if not isinstance(issuer, str):
        return malformed("'iss' is missing or not text")
    return UnverifiedToken(alg, kid, typ, issuer, claims, signing_input, signature)
