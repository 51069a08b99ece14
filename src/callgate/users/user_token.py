"""On whose behalf: one user's access token, verified against the issuers that the configuration names.

A synchronous brain: it is given the keys that are known and says yes, no, or which keys it needs; `issuers` fetches
them.  Whatever is wrong with a token is a refusal and never "no user".
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal
from unicodedata import normalize

from joserfc.errors import JoseError
from joserfc.jws import JWSRegistry

from callgate.errors import Reason, Refusal
from callgate.identity.user import User
from callgate.users.access_token import UnverifiedToken, malformed, read_token
from callgate.users.base64url import decode
from callgate.users.key_set import KEY_KINDS, KeySet
from callgate.wire.json_strict import JsonObject, JsonValue, dumps
from callgate.yaml_strict import shown

DEFAULT_ALGORITHMS: Final = ("RS256", "PS256", "ES256", "EdDSA", "Ed25519")
# RFC 7519, section 4.1.4: "some small leeway, usually no more than a few minutes, to account for clock skew".
DEFAULT_LEEWAY_S: Final = 30
MAX_LEEWAY_S: Final = 120
# OpenID Connect Core 1.0, section 2: "sub [...] MUST NOT exceed 255 ASCII characters in length".
MAX_SUBJECT_CHARACTERS: Final = 255
# Entra ID puts 200 groups into a token and no more; a group's name is a UUID or a path.
MAX_GROUPS: Final = 256
MAX_GROUP_CHARACTERS: Final = 256
# Half of the largest token: they are held for the call, and conditions walk over them.
MAX_CLAIMS_BYTES: Final = 4 * 1024
# 9999-12-31T23:59:59Z in Unix seconds: beyond it nothing is a moment.
_LAST_MOMENT: Final = 253_402_300_799

TokenTypes = Literal["at+jwt", "any"]

# RFC 9068, section 4: "The resource server MUST verify that the "typ" header value is "at+jwt" or
# "application/at+jwt" and reject tokens carrying any other value."  RFC 2045: media types ignore case.
_ACCESS_TOKEN_TYPES: Final = frozenset({"at+jwt", "application/at+jwt"})
_UNMARKED_TYPES: Final = frozenset({"", "jwt", "application/jwt"})
# What stands in ID tokens (OpenID Connect Core 1.0, sections 2 and 3.3.2.11) and logout tokens (Back-Channel Logout
# 1.0, section 2.4) and says nothing in an access token.
_OTHER_TOKENS_CLAIMS: Final = frozenset({"nonce", "at_hash", "c_hash", "s_hash", "events"})
# What Keycloak and Cognito write into the payload of their ID tokens.
_ID_TOKEN_MARKS: Final = MappingProxyType({"typ": "ID", "token_use": "id"})


@dataclass(frozen=True, slots=True)
class TokenRules:
    """What the tokens of one issuer must be like, and what is taken from them.

    `issuer` and `audience` are compared byte by byte with `iss` and `aud`.  `algorithms` are keys of KEY_KINDS.
    `typ`: "at+jwt" is RFC 9068's; "any" also takes "JWT" and none.  `groups_claim` and `claims` are names of claims.
    """

    issuer: str
    audience: str
    algorithms: frozenset[str] = frozenset(DEFAULT_ALGORITHMS)
    typ: TokenTypes = "at+jwt"
    groups_claim: str = "groups"
    claims: tuple[str, ...] = ()
    leeway_s: int = DEFAULT_LEEWAY_S

    def __post_init__(self) -> None:
        if unknown := sorted(self.algorithms - KEY_KINDS.keys()):
            raise ValueError(f"{unknown[0]} is not an algorithm for users' tokens")
        if not self.algorithms:
            raise ValueError("no algorithm is allowed")
        if not 0 <= self.leeway_s <= MAX_LEEWAY_S:
            raise ValueError(f"leeway is 0 to {MAX_LEEWAY_S} seconds, not {self.leeway_s}")


@dataclass(frozen=True, slots=True)
class TrustedIssuer:
    """One issuer as of now: its rules, and its keys, None where there are none to go by."""

    rules: TokenRules
    keys: KeySet | None


@dataclass(frozen=True, slots=True)
class NeedsKeys:
    """Nothing can be said before the issuer's keys are fetched (again): none of them has this name."""

    issuer: str


def verify_user_token(
    token: str, issuers: Mapping[str, TrustedIssuer], peer_leaf_sha256: bytes, now: float
) -> User | Refusal | NeedsKeys:
    """Whom the token names, if one of the issuers vouches for it, to this gate and this caller, at `now` (Unix s).

    `issuers` are found by their `iss`.  `peer_leaf_sha256`: of the certificate that the caller showed, for tokens that
    are bound to one.
    """
    read = read_token(token)
    if isinstance(read, Refusal):
        return read
    issuer = issuers.get(read.issuer)
    if issuer is None:
        return _untrusted(f"its issuer '{shown(read.issuer)}' is not configured")
    refused = _refuse_kind(read, issuer.rules)
    if refused is not None:
        return refused
    if issuer.keys is None or not issuer.keys.knows(read.kid):
        return NeedsKeys(read.issuer)
    return (
        _refuse_signature(read, issuer.keys)
        or _refuse_time(read, issuer.rules, now)
        or _refuse_audience(read, issuer.rules)
        or _refuse_binding(read, peer_leaf_sha256)
        or _user_of(read, issuer.rules)
    )


def _untrusted(detail: str) -> Refusal:
    return Refusal(Reason.USER_TOKEN_UNTRUSTED, detail)


def _refuse_kind(token: UnverifiedToken, rules: TokenRules) -> Refusal | None:
    # RFC 8725, section 3.1: "Libraries MUST enable the caller to specify a supported set of algorithms and MUST NOT
    # use any other algorithms"; section 3.11: explicit typing keeps one kind of JWT from passing as another.
    if token.alg not in rules.algorithms:
        return _untrusted(f"its algorithm '{shown(token.alg)}' is not allowed")
    typ = token.typ.lower()
    if typ in _ACCESS_TOKEN_TYPES:
        return None
    if rules.typ != "any" or typ not in _UNMARKED_TYPES:
        return malformed(f"'typ' is '{shown(token.typ)}', not that of an access token")
    # Nothing says what it is: at least it must not say that it is something else.
    if _OTHER_TOKENS_CLAIMS & token.claims.keys() or _ID_TOKEN_MARKS.items() & _texts(token).items():
        return malformed("an ID token or a logout token, not an access token")
    return None


def _texts(token: UnverifiedToken) -> dict[str, str]:
    return {name: value for name, value in token.claims.items() if isinstance(value, str)}


def _refuse_signature(token: UnverifiedToken, keys: KeySet) -> Refusal | None:
    why = signature_fault(token, keys)
    return _untrusted(why) if why else None


def signature_fault(token: UnverifiedToken, keys: KeySet) -> str:
    """What is wrong with a token's signature; "" where one of the keys made it.  `token.alg` is one of KEY_KINDS."""
    candidates = keys.candidates(token.kid, token.alg)
    if not candidates:
        return "its key is not one for its algorithm"
    algorithm = JWSRegistry.algorithms[token.alg]
    try:
        for candidate in candidates:
            algorithm.check_key(candidate.key)
            if algorithm.verify(token.signing_input, token.signature, candidate.key):
                return ""
    except (JoseError, ValueError):
        return "its signature cannot be checked"
    return "its signature is not that of its issuer"


def _refuse_time(token: UnverifiedToken, rules: TokenRules, now: float) -> Refusal | None:
    moments = {name: moment_of(token.claims[name]) for name in ("exp", "nbf", "iat") if name in token.claims}
    # RFC 9068, section 2.2: "exp REQUIRED".
    if "exp" not in moments or None in moments.values():
        return malformed("'exp' is missing, or a moment is not in Unix seconds")
    if now >= (moments["exp"] or 0) + rules.leeway_s:
        return Refusal(Reason.USER_TOKEN_EXPIRED)
    if now < max(moments.get("nbf") or 0, moments.get("iat") or 0) - rules.leeway_s:
        return Refusal(Reason.USER_TOKEN_NOT_YET_VALID)
    return None


def moment_of(value: JsonValue) -> float | None:
    """Unix seconds, None for what is no moment.

    RFC 7519, section 2, NumericDate: "non-integer values can be represented".
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if 0 <= value <= _LAST_MOMENT else None


def _refuse_audience(token: UnverifiedToken, rules: TokenRules) -> Refusal | None:
    found = token.claims.get("aud")
    # RFC 7519, section 4.1.3: "an array of case-sensitive strings", or "a single case-sensitive string".
    listed = found if isinstance(found, list) else [found]
    if not listed or not all(isinstance(name, str) for name in listed):
        return malformed("'aud' is neither text nor a list of texts")
    if rules.audience not in listed:
        return Refusal(Reason.USER_TOKEN_AUDIENCE, "it is meant for another service")
    return None


def _refuse_binding(token: UnverifiedToken, peer_leaf_sha256: bytes) -> Refusal | None:
    """RFC 8705, section 3.1.  Another confirmation (RFC 9449's `jkt`), or one beside it, cannot be checked here."""
    if "cnf" not in token.claims:
        return None
    bound = token.claims["cnf"]
    if not isinstance(bound, dict) or bound.keys() != {"x5t#S256"}:
        return Refusal(Reason.USER_TOKEN_BINDING, "it is bound in a way that cannot be checked here")
    thumbprint = bound["x5t#S256"]
    if not isinstance(thumbprint, str) or decode(thumbprint) != peer_leaf_sha256:
        return Refusal(Reason.USER_TOKEN_BINDING, "it is bound to another certificate than the caller's")
    return None


def _user_of(token: UnverifiedToken, rules: TokenRules) -> User | Refusal:
    subject = token.claims.get("sub")
    if not isinstance(subject, str) or not 0 < len(subject) <= MAX_SUBJECT_CHARACTERS or not subject.isprintable():
        return malformed(f"'sub' is not 1 to {MAX_SUBJECT_CHARACTERS} printable characters")
    if folded(subject).startswith("spiffe://"):
        # It becomes the `sub` of the gate's tokens, where a tool server would take the user for a workload.
        return malformed("'sub' is a SPIFFE ID, which names a workload and no user")
    if elsewhere := claim_elsewhere(token.claims, (rules.groups_claim, *rules.claims)):
        return malformed(f"'{elsewhere}' is not in the token but has to be fetched elsewhere")
    groups = groups_of(token.claims, rules.groups_claim)
    if groups is None:
        return malformed("the groups are not a list of names, or too many")
    claims = {name: token.claims[name] for name in rules.claims if name in token.claims}
    if len(dumps(claims)) > MAX_CLAIMS_BYTES:
        return malformed(f"the configured claims have more than {MAX_CLAIMS_BYTES} bytes")
    return User(rules.issuer, subject, groups, MappingProxyType(claims))


def folded(name: str) -> str:
    """A name as it is for whoever trims or folds names before comparing them."""
    return normalize("NFKC", name).casefold().strip()


def claim_elsewhere(claims: JsonObject, names: Iterable[str]) -> str | None:
    """The first of these claims that its issuer left out for want of space (OpenID Connect Core 1.0, 5.6.2).

    Entra ID does so with more than 200 groups, and in tokens for a URL says `hasgroups` instead: read as "no groups", a
    denial that names one would not apply.
    """
    named = claims.get("_claim_names")
    left_out = set(named) if isinstance(named, dict) else set()
    if "hasgroups" in claims and "groups" not in claims:
        left_out.add("groups")
    return next((name for name in names if name in left_out), None)


def groups_of(claims: JsonObject, name: str) -> tuple[str, ...] | None:
    """The names of groups in the claim of that name: none where it is missing, None where it cannot be read."""
    found = claims.get(name, [])
    listed = [found] if isinstance(found, str) else found
    if not isinstance(listed, list) or len(listed) > MAX_GROUPS:
        return None
    groups = tuple(group for group in listed if isinstance(group, str) and _is_name(group))
    return groups if len(groups) == len(listed) else None


def _is_name(text: str) -> bool:
    return 0 < len(text) <= MAX_GROUP_CHARACTERS and text.isprintable()
