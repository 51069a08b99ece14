"""One ID token, believed or not: OpenID Connect Core 1.0, section 3.1.3.7.  Pure."""

from dataclasses import dataclass, field
from hashlib import sha256, sha384, sha512
from hmac import compare_digest
from typing import Final

from callgate.approvals.sign_in.refused import SignInReason, SignInRefused
from callgate.errors import Refusal
from callgate.users.access_token import UnverifiedToken, read_token
from callgate.users.base64url import decode
from callgate.users.key_set import KEY_KINDS, KeySet
from callgate.users.user_token import (
    DEFAULT_LEEWAY_S,
    MAX_SUBJECT_CHARACTERS,
    NeedsKeys,
    moment_of,
    signature_fault,
)
from callgate.wire.json_strict import JsonObject
from callgate.yaml_strict import shown

# It comes in a body and not in a header, and 200 groups of 36 characters in it are 11 KiB.
MAX_ID_TOKEN_CHARACTERS: Final = 32 * 1024
# RFC 9068's access tokens and logout tokens say what they are; ID tokens say nothing or "JWT".
_TYPES: Final = frozenset({"", "jwt", "application/jwt"})

_HASHES: Final = {"256": sha256, "384": sha384, "512": sha512}


@dataclass(frozen=True, slots=True)
class Expected:
    """What the ID token has to answer to: this provider, this client, this sign-in, this access token."""

    issuer: str
    client_id: str
    nonce: str = field(repr=False)
    access_token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class IdToken:
    """What the provider says of whoever signed in.  `auth_time`: when they proved it, Unix s; None where it is not said."""

    subject: str
    auth_time: float | None
    claims: JsonObject = field(repr=False)


def verify_id_token(
    token: str, expected: Expected, keys: KeySet | None, now: float
) -> IdToken | SignInRefused | NeedsKeys:
    """Who signed in, at `now` (Unix s); NeedsKeys where none of these keys has the name that the token says."""
    read = read_token(token, MAX_ID_TOKEN_CHARACTERS)
    if isinstance(read, Refusal):
        return SignInRefused(SignInReason.ID_TOKEN_MALFORMED, read.detail)
    # Neither "none" nor anything symmetric is among these: the provider's public key is no secret (RFC 8725, 2.1).
    if read.alg not in KEY_KINDS:
        return SignInRefused(SignInReason.ID_TOKEN_ALGORITHM, ascii(shown(read.alg)))
    if read.issuer != expected.issuer:
        return SignInRefused(SignInReason.ID_TOKEN_ISSUER, ascii(shown(read.issuer)))
    if keys is None or not keys.knows(read.kid):
        return NeedsKeys(expected.issuer)
    if why := signature_fault(read, keys):
        return SignInRefused(SignInReason.ID_TOKEN_SIGNATURE, why)
    return (
        _refuse_audience(read, expected)
        or _refuse_time(read, now)
        or _refuse_answer(read, expected)
        or _read(read, now)
    )


def _refuse_audience(token: UnverifiedToken, expected: Expected) -> SignInRefused | None:
    """Steps 3 to 5.  With several audiences only `azp` says for whom it was made: then it must be there, and be us."""
    found = token.claims.get("aud")
    audiences = found if isinstance(found, list) else [found]
    azp = token.claims.get("azp", expected.client_id if len(audiences) == 1 else None)
    if expected.client_id not in audiences or azp != expected.client_id:
        return SignInRefused(SignInReason.ID_TOKEN_AUDIENCE)
    return None


def _refuse_time(token: UnverifiedToken, now: float) -> SignInRefused | None:
    """Steps 9 and 10; section 2: `exp` and `iat` are REQUIRED."""
    said = {"exp": None, "iat": None, **token.claims}
    moments = {name: moment_of(said[name]) for name in ("exp", "iat", "nbf", "auth_time") if name in said}
    if None in moments.values():
        return SignInRefused(SignInReason.ID_TOKEN_MALFORMED, "'exp' or 'iat' is missing, or a moment is none")
    if now >= (moments.pop("exp") or 0) + DEFAULT_LEEWAY_S:
        return SignInRefused(SignInReason.ID_TOKEN_EXPIRED)
    if any(now < (moment or 0) - DEFAULT_LEEWAY_S for moment in moments.values()):
        return SignInRefused(SignInReason.ID_TOKEN_NOT_YET_VALID)
    return None


def _refuse_answer(token: UnverifiedToken, expected: Expected) -> SignInRefused | None:
    """Step 11: the nonce is that of this sign-in; section 3.1.3.8: and `at_hash` that of the access token."""
    if token.typ.lower() not in _TYPES:
        return SignInRefused(SignInReason.ID_TOKEN_MALFORMED, f"'typ' is {shown(token.typ)!a}")
    nonce = token.claims.get("nonce")
    if not isinstance(nonce, str) or not compare_digest(nonce.encode(), expected.nonce.encode()):
        return SignInRefused(SignInReason.ID_TOKEN_NONCE)
    if "at_hash" in token.claims and not _is_hash(token.claims["at_hash"], token.alg, expected.access_token):
        return SignInRefused(SignInReason.ID_TOKEN_ACCESS_TOKEN)
    return None


def _is_hash(said: object, alg: str, access_token: str) -> bool:
    """Section 3.1.3.6: the left half of a hash by the hash algorithm of `alg`.

    Ed25519 hashes with SHA-512 (RFC 8032, section 5.1).
    """
    digest = _HASHES.get(alg[2:], sha512)(access_token.encode()).digest()
    return isinstance(said, str) and decode(said) == digest[: len(digest) // 2]


def _read(token: UnverifiedToken, now: float) -> IdToken | SignInRefused:
    subject = token.claims.get("sub")
    if not isinstance(subject, str) or not 0 < len(subject) <= MAX_SUBJECT_CHARACTERS or not subject.isprintable():
        return SignInRefused(SignInReason.ID_TOKEN_MALFORMED, f"'sub' is not 1 to {MAX_SUBJECT_CHARACTERS} characters")
    auth_time = moment_of(token.claims.get("auth_time"))
    return IdToken(subject, None if auth_time is None else min(auth_time, now), token.claims)
