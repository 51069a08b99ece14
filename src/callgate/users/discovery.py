"""Where an issuer says that its keys are: OpenID Connect Discovery 1.0 and RFC 8414.

The document comes from elsewhere, so that what it names is not simply fetched: a gate that follows it anywhere could be
sent to the services of its own machine or network (server-side request forgery; RFC 8725, section 2.9).
"""

import re
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final

from callgate.addresses import Url
from callgate.users.unusable import Unusable
from callgate.users.user_token import TokenRules
from callgate.wire.json_strict import JsonLimits, loads

# Metadata takes 2 to 6 KiB.
MAX_METADATA_BYTES: Final = 64 * 1024
MAX_URL_CHARACTERS: Final = 2_000

_LIMITS: Final = JsonLimits(max_bytes=MAX_METADATA_BYTES, max_depth=16, safe_integers=False, max_values=5_000)
# RFC 3986, section 3.4.
_QUERY: Final = re.compile(r"(?:[A-Za-z0-9._~!$&'()*+,;=:@/?-]|%[0-9A-Fa-f]{2})*")

# An hour without its issuer is an outage that people notice; keys that were withdrawn meanwhile count so much longer.
DEFAULT_MAX_STALE_S: Final = 3600


@dataclass(frozen=True, slots=True)
class IssuerSettings:
    """One issuer: what its tokens must be like, and where its keys are.

    `jwks_uri`: None to ask for its metadata.  `ca_file`: authorities for its TLS certificate in PEM, None for the
    system's.  `max_stale_s`: how long keys count after they were last fetched.
    """

    rules: TokenRules
    jwks_uri: str | None = None
    ca_file: str | None = None
    max_stale_s: int = DEFAULT_MAX_STALE_S


def metadata_urls(issuer: str) -> tuple[str, str]:
    """Where to ask, in this order.

    OpenID Connect Discovery 1.0, sections 4 and 4.1: "concatenating the string /.well-known/openid-configuration to the
    Issuer.  If the Issuer value contains a path component, any terminating / MUST be removed".  RFC 8414, section 3:
    "by inserting a well-known URI string into the authorization server's issuer identifier between the host component
    and the path component".
    """
    url = Url.parse(issuer)
    origin, path = f"{url.scheme}://{url.authority}", url.path.rstrip("/")
    return (
        f"{origin}{path}/.well-known/openid-configuration",
        f"{origin}/.well-known/oauth-authorization-server{path}",
    )


def read_metadata(octets: bytes, issuer: str) -> str | Unusable:
    """The `jwks_uri` of `issuer`'s metadata, or what is wrong with them.  Never raises.

    OpenID Connect Discovery 1.0, section 4.3: "The issuer value returned MUST be identical to the Issuer URL that was
    used".  A `jwks_uri` on another host is taken where it is a name and https, because providers have them elsewhere.
    """
    found = loads(octets, _LIMITS)
    if not isinstance(found, dict):
        return Unusable("the metadata are not a JSON object")
    if found.get("issuer") != issuer:
        return Unusable("the metadata are of another issuer")
    jwks_uri = found.get("jwks_uri")
    if not isinstance(jwks_uri, str):
        return Unusable("the metadata have no jwks_uri")
    try:
        return check_discovered(jwks_uri, issuer)
    except ValueError as error:
        return Unusable(f"jwks_uri {error}")


def check_key_url(text: str) -> str:
    """A configured URL: https, or http for this machine alone; a query is allowed.  Raises ValueError."""
    url = _parse(text)
    if url.scheme == "http" and not url.is_loopback:
        raise ValueError("must start with https://; http is for this machine alone (127.0.0.1, [::1], localhost)")
    return text


def check_discovered(text: str, issuer: str) -> str:
    """A URL that the metadata of `issuer` name: one that may be asked.  Raises ValueError."""
    url, own = _parse(text), Url.parse(issuer)
    if url.host == own.host and (url.scheme == "https" or own.scheme == "http"):
        return text
    if url.scheme != "https":
        raise ValueError("must start with https://")
    if url.is_loopback or _is_ip_address(url.host):
        raise ValueError("must name its host, where that is not the issuer's")
    return text


def _parse(text: str) -> Url:
    if len(text) > MAX_URL_CHARACTERS:
        raise ValueError(f"must have at most {MAX_URL_CHARACTERS} characters")
    if "#" in text:
        raise ValueError("must have no fragment")
    base, _, query = text.partition("?")
    if _QUERY.fullmatch(query) is None:
        raise ValueError("has a query with characters that must be percent-encoded")
    return Url.parse(base)


def _is_ip_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
