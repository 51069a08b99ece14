"""What an identity provider says of itself (OpenID Connect Discovery 1.0), read with suspicion and kept for a while."""

import math
import ssl
from dataclasses import dataclass
from typing import Final

import trio

from callgate.users.discovery import DEFAULT_MAX_STALE_S, MAX_METADATA_BYTES, check_discovered, metadata_urls
from callgate.users.fetch import fetch
from callgate.users.unusable import Unusable
from callgate.wire.json_strict import JsonLimits, JsonObject, loads

# Endpoints move once in years; a provider that is set up anew is followed while people still look.
_FRESH_S: Final = 300.0
# Anybody can begin a sign-in: one that cannot begin asks the provider that often and no oftener.
_RETRY_S: Final = 2.0
_LIMITS: Final = JsonLimits(max_bytes=MAX_METADATA_BYTES, max_depth=16, safe_integers=False, max_values=5_000)


@dataclass(frozen=True, slots=True)
class Provider:
    """Where what is asked of it.

    `userinfo_endpoint`: "" where it has none.  `says_issuer`: it names itself in its answers (RFC 9207).  `takes_basic`:
    the client's secret goes into the header Authorization, else into the form.
    """

    authorization_endpoint: str
    token_endpoint: str
    userinfo_endpoint: str
    says_issuer: bool
    takes_basic: bool


def read_provider(octets: bytes, issuer: str) -> Provider | Unusable:
    """The provider's metadata, or what is wrong with them.  Never raises."""
    found = loads(octets, _LIMITS)
    if not isinstance(found, dict) or found.get("issuer") != issuer:
        return Unusable("not the metadata of this issuer")
    # RFC 9700, section 2.1.1: "clients MUST ensure that the authorization server supports PKCE"; it need not say so here.
    if "S256" not in _listed(found, "code_challenge_methods_supported", "S256"):
        return Unusable("it does not support PKCE with S256")
    try:
        return Provider(
            _endpoint(found, "authorization_endpoint", issuer),
            _endpoint(found, "token_endpoint", issuer),
            _endpoint(found, "userinfo_endpoint", issuer) if "userinfo_endpoint" in found else "",
            says_issuer=found.get("authorization_response_iss_parameter_supported") is True,
            # OpenID Connect Discovery 1.0, section 3: "If omitted, the default is client_secret_basic".
            takes_basic="client_secret_basic"
            in _listed(found, "token_endpoint_auth_methods_supported", "client_secret_basic"),
        )
    except ValueError as error:
        return Unusable(str(error))


def _endpoint(metadata: JsonObject, name: str, issuer: str) -> str:
    url = metadata.get(name)
    if not isinstance(url, str):
        raise ValueError(f"{name} is missing")  # noqa: TRY004  # the metadata's fault, told as any other
    try:
        return check_discovered(url, issuer)
    except ValueError as error:
        raise ValueError(f"{name} {error}") from error


def _listed(metadata: JsonObject, name: str, default: str) -> list[object]:
    found = metadata.get(name)
    return list(found) if isinstance(found, list) else [default]


class ProviderSource:
    """The provider as of now: asked when somebody signs in, and not each time.  Belongs to trio's thread."""

    def __init__(self, issuer: str, tls: ssl.SSLContext, timeout_s: float) -> None:
        self._issuer = issuer
        self._tls = tls
        self._timeout_s = timeout_s
        self._lock = trio.Lock()
        self._known: Provider | None = None
        self._known_at = -math.inf
        self._problem = Unusable("not asked yet")
        self._tried_at = -math.inf

    async def current(self) -> Provider | Unusable:
        """What it says of itself; what it said within the hour, where it does not answer now."""
        async with self._lock:
            now = trio.current_time()
            if now - self._known_at > _FRESH_S and now - self._tried_at > _RETRY_S:
                await self._ask()
            age_s = trio.current_time() - self._known_at
            return self._known if self._known is not None and age_s <= DEFAULT_MAX_STALE_S else self._problem

    async def _ask(self) -> None:
        problems = []
        for url in metadata_urls(self._issuer):
            fetched = await fetch(url, self._tls, MAX_METADATA_BYTES, self._timeout_s)
            found = fetched if isinstance(fetched, Unusable) else read_provider(fetched.octets, self._issuer)
            if isinstance(found, Provider):
                self._known, self._known_at = found, trio.current_time()
                return
            problems.append(found.why)
        self._problem, self._tried_at = Unusable("; ".join(problems)), trio.current_time()
