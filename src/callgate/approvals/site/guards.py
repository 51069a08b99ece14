"""What stands before every page: who may be addressed, and whether a change was meant by this site's own page."""

from collections.abc import Mapping
from hmac import compare_digest
from typing import Final
from urllib.parse import parse_qsl

from starlette.requests import Request

from callgate.addresses import Url
from callgate.approvals.site.parts import SiteParts, parts_of
from callgate.approvals.site.sessions import Signed, peer_of

CSRF_HEADER: Final = "x-csrf-token"
_FORM: Final = "application/x-www-form-urlencoded"
# A form of ours has six fields, and a reason of 500 characters is its longest.
_MAX_FORM_BYTES: Final = 16 * 1024
_MAX_FIELDS: Final = 16
_LOOPBACK_NAMES: Final = ("127.0.0.1", "[::1]", "localhost")


def refuse_cross_site(request: Request, signed: Signed | None, csrf: str | None) -> str | None:
    """Why a request that changes something is not this site's own; None where it is.

    `csrf`: what the request said (a form's field `csrf`, or the header `x-csrf-token`); of no account before a sign-in.
    Browsers say Origin at every POST, and no page can choose it (RFC 6454, 7.3).  By the admin socket come no browsers.
    """
    if peer_of(request) is not None:
        return None
    if request.headers.getlist("origin") != [_own_origin(request)]:
        return "origin_mismatch"
    if request.headers.get("sec-fetch-site", "same-origin") != "same-origin":
        return "cross_site"
    if signed is not None and not compare_digest(signed.csrf.encode(), (csrf or "").encode()):
        return "csrf_mismatch"
    return None


def refuse_host(request: Request, parts: SiteParts) -> str | None:
    """Why this is not the site that was asked for; None where it is.

    Any name can be made to lead here (DNS rebinding), and a page of that name would be of the same origin.
    """
    if peer_of(request) is not None:
        return None
    return None if request.headers.get("host", "").lower() in _authorities(parts.url) else "host_mismatch"


async def form_fields(request: Request) -> Mapping[str, str] | None:
    """The fields of a posted form; None where it is none, is too large, or says a field twice."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != _FORM:
        return None
    body = await request.body()
    return _form_read(body) if len(body) <= _MAX_FORM_BYTES else None


def csrf_header(request: Request) -> str | None:
    """The token that a page's script sends."""
    found = request.headers.getlist(CSRF_HEADER)
    return found[0] if len(found) == 1 else None


def _form_read(body: bytes) -> Mapping[str, str] | None:
    try:
        text = body.decode("ascii")
        pairs = parse_qsl(
            text, keep_blank_values=True, strict_parsing=True, errors="strict", max_num_fields=_MAX_FIELDS
        )
    except ValueError:
        return None
    fields = dict(pairs)
    return fields if len(fields) == len(pairs) else None


def _own_origin(request: Request) -> str:
    """`refuse_host` has let this Host in; an origin never says its scheme's own port (RFC 6454, 6.1)."""
    scheme = parts_of(request).url.partition(":")[0]
    host = request.headers.get("host", "").lower()
    return f"{scheme}://{host.removesuffix({'http': ':80', 'https': ':443'}[scheme])}"


def _authorities(url: str) -> frozenset[str]:
    """What Host may say.  A site on this machine is known by each name that always leads there."""
    parsed = Url.parse(url)
    # With its scheme's own port, a client may say it or leave it out (RFC 9110, 4.2.3).
    ports = {parsed.authority.removeprefix(parsed.authority.removesuffix(f":{parsed.port}")), f":{parsed.port}"}
    names = {parsed.authority.removesuffix(f":{parsed.port}"), *(_LOOPBACK_NAMES if parsed.is_loopback else ())}
    return frozenset(f"{name}{port}" for name in names for port in ports)
