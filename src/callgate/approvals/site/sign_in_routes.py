"""The pages by which somebody signs in and out: to the identity provider and back, and in by a one-time link."""

import logging
import re
from typing import Final

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from callgate.approvals.model import Person
from callgate.approvals.sign_in.links import ENTER_PATH, name_in, use_link
from callgate.approvals.sign_in.refused import SignInReason, SignInRefused, said_of, status_of
from callgate.approvals.sign_in.settings import SIGNED_IN_PATH
from callgate.approvals.sign_in.under_way import HOME, UNDER_WAY_S, safe_path
from callgate.approvals.site.guards import form_fields, refuse_cross_site
from callgate.approvals.site.looks import Step, told
from callgate.approvals.site.parts import SiteParts, parts_of
from callgate.approvals.site.sessions import begin_session, end_session, signed_in

_LOG: Final = logging.getLogger(__name__)

SIGN_IN_PATH: Final = "/approvals/sign-in"
_SIGNED_OUT: Final = (
    "You are signed out here.",
    "Your identity provider may still know you: on a machine that others use, sign out there as well.",
)
_NOT_YOURS: Final = "Did you not ask for it yourself just now? Then close this page."
_BROWSER: Final = re.compile(r"[A-Za-z0-9_-]{43}")


def routes(_parts: SiteParts) -> list[BaseRoute]:
    """All of them."""
    return [
        Route(SIGN_IN_PATH, _sign_in, methods=["GET"]),
        Route(SIGNED_IN_PATH, _signed_in, methods=["GET"]),
        Route("/approvals/sign-out", _sign_out, methods=["POST"]),
        Route(ENTER_PATH, _enter, methods=["GET"]),
        Route(ENTER_PATH, _entered, methods=["POST"]),
    ]


async def _sign_in(request: Request) -> Response:
    """Send the browser to the provider.  `next`: where to go in the end; `fresh=1`: prove anew who you are."""
    # The HTTP client takes 0.2 s to load: not for gates that have no provider.
    from callgate.approvals.sign_in.oidc import Visit  # noqa: PLC0415

    parts = parts_of(request)
    if parts.sign_in is None:
        return _refused(SignInRefused(SignInReason.NOT_CONFIGURED))
    asked = request.query_params
    visit = Visit(safe_path(asked.get("next")), asked.get("fresh") == "1", _browser(request, parts))
    begun = await parts.sign_in.begin(parts, visit)
    if isinstance(begun, SignInRefused):
        return _refused(begun)
    return RedirectResponse(begun.url, 303, {"set-cookie": _set_cookie(parts, begun.browser)})


async def _signed_in(request: Request) -> Response:
    """The browser comes back from the provider."""
    parts = parts_of(request)
    if parts.sign_in is None:
        return _refused(SignInRefused(SignInReason.NOT_CONFIGURED))
    found = await parts.sign_in.finish(parts, request.query_params.multi_items(), _browser(request, parts))
    if isinstance(found, SignInRefused):
        return _refused(found)
    return await _begun(request, found.person, found.after)


async def _sign_out(request: Request) -> Response:
    fields = await form_fields(request) or {}
    why = refuse_cross_site(request, await signed_in(request), fields.get("csrf"))
    if why is not None:
        return _refused(SignInRefused(SignInReason.CROSS_SITE, why))
    cookie = await end_session(request)
    response = told("Signed out", _SIGNED_OUT, step=Step("Sign in again", SIGN_IN_PATH))
    response.headers["set-cookie"] = cookie
    return response


async def _enter(request: Request) -> Response:
    """Show whom a link signs in.  Nothing is used up: programs that preview links open them, too."""
    token = request.query_params.get("token", "")
    name = name_in(token)
    if name is None:
        return _refused(SignInRefused(SignInReason.LINK_UNKNOWN))
    sentences = [f"This link signs this browser in as {name}, once.", _NOT_YOURS]
    return told("Sign in by a link", sentences, step=Step(f"Sign in as {name}", ENTER_PATH, (("token", token),)))


async def _entered(request: Request) -> Response:
    # Or another site could sign somebody's browser in as somebody else, who would then have approved what they do.
    why = refuse_cross_site(request, None, None)
    if why is not None:
        return _refused(SignInRefused(SignInReason.CROSS_SITE, why))
    fields = await form_fields(request) or {}
    person = await use_link(parts_of(request), fields.get("token", ""))
    if person is None:
        return _refused(SignInRefused(SignInReason.LINK_UNKNOWN))
    return await _begun(request, person, HOME)


async def _begun(request: Request, person: Person, after: str) -> Response:
    _, cookie = await begin_session(request, person)
    _LOG.info("%s signed in to the approvals page by %s", ascii(person.name), person.means)
    return RedirectResponse(after, 303, {"set-cookie": cookie})


def _refused(refused: SignInRefused) -> Response:
    _LOG.warning("a sign-in to the approvals page was refused: %s %s", refused.reason, refused.detail)
    sentences = [*said_of(refused.reason), f"Code: {refused.reason}"]
    step = Step("To the approvals page", HOME)
    return told("Not signed in", sentences, step=step, status=status_of(refused.reason))


def _browser(request: Request, parts: SiteParts) -> str | None:
    found = request.cookies.get(_cookie_name(parts), "")
    return found if _BROWSER.fullmatch(found) else None


def _set_cookie(parts: SiteParts, browser: str) -> str:
    """`SameSite=Lax`: the provider's page sends the browser back, which is another site's doing."""
    secure = "; Secure" if parts.url.startswith("https:") else ""
    return f"{_cookie_name(parts)}={browser}; Path=/; HttpOnly; SameSite=Lax; Max-Age={UNDER_WAY_S}{secure}"


def _cookie_name(parts: SiteParts) -> str:
    return "__Host-callgate-sign-in" if parts.url.startswith("https:") else "callgate-sign-in"
