"""What a token says: one caller, one tool server, one method, one tool, these arguments, for seconds.

The claims are RFC 9068's, with RFC 8693's actor (the gate, or the agent and behind it the gate where there is a user),
RFC 8705's confirmation of the gate's own certificate where the leg to the tool server is mutual TLS, and one RFC 9396
`authorization_details` object that binds the call.  Pure: time, identifiers and digests come in as parameters.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from typing import Literal, NotRequired, TypedDict

from callgate.errors import GatewayError
from callgate.identity.spiffe_id import SpiffeId
from callgate.policy.call import Call
from callgate.policy.decide import Permit
from callgate.policy.model import MAX_TTL_S, MIN_TTL_S
from callgate.policy.patterns import TOOL_NAME
from callgate.policy.templates import RESERVED_SCOPE_PREFIXES
from callgate.tokens.keys import TOKEN_TYPES, SigningKey, base64url
from callgate.wire.json_strict import canonical

# Long enough for clocks that differ by some seconds where a verifier grants no leeway, as FastMCP does not.
DEFAULT_TTL_S = 20
# PyJWT and joserfc refuse an `iat` in the future without any leeway: this much clock skew is forgiven.
BACKDATED_S = 5
JTI_BYTES = 16
DETAIL_TYPE = "mcp_tool_call"

ListScopes = Literal["minimal", "granted"]

# A dot is not among a method's characters, so that no two methods share a scope once "/" has become ".".
_METHOD = re.compile(r"[A-Za-z_]+(?:/[A-Za-z_]+)*")
# RFC 6749, section 3.3: scope-token = 1*( %x21 / %x23-5B / %x5D-7E )
_SCOPE_TOKEN = re.compile(r"[!#-\[\]-~]+")


class CannotMint(GatewayError):  # noqa: N818  # says what did not work
    """No token can say what this permit allows; the call must not be forwarded."""


class Claims(TypedDict):
    """The payload.  `iat` and `exp` are Unix seconds; `cnf` is there when the leg to the server is mutual TLS.

    Where the agent acts for a user: `sub` is the user as the user's own issuer calls them, and `sub_id` says which
    issuer that is.
    """

    iss: str
    aud: str
    sub: str
    client_id: str
    sub_id: NotRequired[dict[str, str]]
    act: dict[str, object]
    iat: int
    exp: int
    jti: str
    txn: str
    scope: str
    authorization_details: list[dict[str, object]]
    cnf: NotRequired[dict[str, str]]


@dataclass(frozen=True, slots=True)
class Issuer:
    """Who signs: the issuer URL that verifiers know, the gate's own SPIFFE ID (the `act` claim), the key."""

    url: str
    spiffe_id: SpiffeId
    key: SigningKey


@dataclass(frozen=True, slots=True)
class TokenTarget:
    """What one tool server expects of its tokens.

    `audience` is compared byte by byte by most verifiers: the server's URI (RFC 8707) with no slash at the end.
    `ttl_s` holds for calls whose grant names none.  `typ` is one of TOKEN_TYPES.

    `list_scopes` is a trade-off.  "minimal": the token of a `tools/list` allows that and nothing else, which is enough
    for a server that shows its list to anyone.  "granted": it also carries the caller's granted scopes and
    `tool:<name>` for each tool that the caller may call, because a server that filters its list by the token's scopes
    (FastMCP with `require_scopes`) would show an empty one.  Such a token, stolen on its way to this server or by it,
    can call each of those tools there until it expires, without another decision.  Tools that a grant names by a
    pattern are not in it: which those are only the server knows.

    Raises ValueError for a ttl outside MIN_TTL_S..MAX_TTL_S and for an unknown type.
    """

    audience: str
    ttl_s: int = DEFAULT_TTL_S
    typ: str = "at+jwt"
    list_scopes: ListScopes = "minimal"

    def __post_init__(self) -> None:
        if not MIN_TTL_S <= self.ttl_s <= MAX_TTL_S:
            raise ValueError(f"a token lives {MIN_TTL_S} to {MAX_TTL_S} seconds, not {self.ttl_s}")
        if self.typ not in TOKEN_TYPES:
            raise ValueError(f"typ is one of {', '.join(TOKEN_TYPES)}, not {self.typ!r}")


@dataclass(frozen=True, slots=True)
class Stamp:
    """What is new in each token.

    `now`: Unix seconds.  `jti`: 16 random bytes, never used twice.  `decision_id` becomes `txn`.  `request_id` is the
    JSON-RPC id, None for a notification.  `client_leaf_sha256` is the SHA-256 of the DER certificate that the gate
    shows on the very connection that will carry the token, None where that leg is not mutual TLS.
    """

    now: float
    jti: bytes
    decision_id: str
    request_id: str | int | None = None
    client_leaf_sha256: bytes | None = None

    def __post_init__(self) -> None:
        if len(self.jti) != JTI_BYTES:
            raise ValueError(f"a jti has {JTI_BYTES} bytes, not {len(self.jti)}")


def claims_of(permit: Permit, issuer: Issuer, target: TokenTarget, stamp: Stamp) -> Claims:
    """The claims of the token for one permitted call.  Raises CannotMint."""
    caller, user = str(permit.call.caller), permit.call.user
    gate: dict[str, object] = {"sub": str(issuer.spiffe_id)}
    now_s = int(stamp.now)
    claims: Claims = {
        "iss": issuer.url,
        "aud": target.audience,
        "sub": caller,
        "client_id": caller,
        "act": gate,
        "iat": now_s - BACKDATED_S,
        "exp": _expiry(permit, target, now_s),
        "jti": base64url(stamp.jti),
        "txn": stamp.decision_id,
        "scope": scope_of(permit, target),
        "authorization_details": [_detail(permit, target, stamp)],
    }
    if user is not None:
        claims["sub"] = user.subject
        # RFC 9493, section 3.2.4: a subject means somebody together with its issuer, and `iss` is the gate.
        claims["sub_id"] = {"format": "iss_sub", "iss": user.issuer, "sub": user.subject}
        # RFC 8693, section 4.1: "the consumer of a token MUST only consider the token's top-level claims and the party
        # identified as the current actor by the "act" claim": that is the agent.  Through whom it came stands inside.
        claims["act"] = {"sub": caller, "act": gate}
    if stamp.client_leaf_sha256 is not None:
        # RFC 8705, section 3.1.
        claims["cnf"] = {"x5t#S256": base64url(stamp.client_leaf_sha256)}
    return claims


def scope_of(permit: Permit, target: TokenTarget) -> str:
    """The `scope` claim: space-separated scope-tokens, the method's first.  Raises CannotMint.

    A name that could not stand in a scope as it is, is refused and not encoded: an encoded one would be a scope that
    no tool server asks for.
    """
    return " ".join(_scopes(permit, target))


def _scopes(permit: Permit, target: TokenTarget) -> Iterator[str]:
    method = permit.call.method
    yield _method_scope(method)
    if method == "tools/call":
        yield _tool_scope(_tool_of(permit.call))
        yield from map(_granted_scope, permit.scopes)
    elif method == "tools/list" and target.list_scopes == "granted":
        yield from map(_tool_scope, permit.listable)
        yield from map(_granted_scope, permit.scopes)


def _method_scope(method: str) -> str:
    if _METHOD.fullmatch(method) is None:
        raise CannotMint("the method's name cannot be a scope")
    return f"mcp:{method.replace('/', '.')}"


def _tool_scope(name: str) -> str:
    if TOOL_NAME.fullmatch(name) is None:
        raise CannotMint("the tool's name cannot be a scope")
    return f"tool:{name}"


def _granted_scope(scope: str) -> str:
    if _SCOPE_TOKEN.fullmatch(scope) is None:
        raise CannotMint("a granted scope is not a scope-token of RFC 6749")
    if scope.startswith(RESERVED_SCOPE_PREFIXES):
        raise CannotMint("a granted scope has a prefix that only the gate may write")
    return scope


def _tool_of(call: Call) -> str:
    if call.tool is None:
        raise CannotMint("a tools/call without a tool")
    return call.tool


def _expiry(permit: Permit, target: TokenTarget, now_s: int) -> int:
    """When the token ends: no later than the grant that allows the call."""
    expiry = now_s + _ttl_s(permit, target)
    if permit.not_after is None:
        return expiry
    # A token that is expired when it arrives helps nobody; one second is what whole seconds leave open anyway.
    return max(min(expiry, int(permit.not_after)), now_s + 1)


def _ttl_s(permit: Permit, target: TokenTarget) -> int:
    if permit.ttl_s is None:
        return target.ttl_s
    if not MIN_TTL_S <= permit.ttl_s <= MAX_TTL_S:
        raise CannotMint(f"a token lives {MIN_TTL_S} to {MAX_TTL_S} seconds, not {permit.ttl_s}")
    return permit.ttl_s


def _detail(permit: Permit, target: TokenTarget, stamp: Stamp) -> dict[str, object]:
    """The call as an RFC 9396 authorization detail; `type`, `locations` and `actions` are that document's fields."""
    call = permit.call
    detail: dict[str, object] = {
        "type": DETAIL_TYPE,
        "locations": [target.audience],
        "actions": [call.method],
        "policy": permit.policy_digest,
    }
    if call.method == "tools/call":
        detail["tool"] = _tool_of(call)
        try:
            detail["args_s256"] = base64url(arguments_digest(call))
        except ValueError as fault:
            raise CannotMint("the arguments have no canonical form to bind the token to") from fault
    if stamp.request_id is not None:
        detail["request_id"] = str(stamp.request_id)
    return detail


def arguments_digest(call: Call) -> bytes:
    """SHA-256 of the arguments' canonical form (RFC 8785); a receiver reads arguments that were left out as {}.

    Raises ValueError for arguments that have no such form.
    """
    return sha256(canonical(call.arguments or {})).digest()
