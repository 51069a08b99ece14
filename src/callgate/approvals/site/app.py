"""The site as one ASGI application, and how the gate's listeners serve it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from callgate.addresses import Address
from callgate.approvals.model import VoteRefusal
from callgate.approvals.site import pages, sign_in_routes, slack_routes
from callgate.approvals.site.api import api_routes
from callgate.approvals.site.guards import refuse_host
from callgate.approvals.site.parts import SiteParts
from callgate.approvals.site.said import NOT_THIS_USER, Json, refused
from callgate.approvals.site.sessions import PEER, USER, peer_of
from callgate.approvals.store import StoreFault
from callgate.errors import ANSWERS, Refusal
from callgate.net.asgi import AsgiApp, Message, Receive, Scope, Send, serve_asgi
from callgate.net.connection import Connection
from callgate.net.local_listener import Credentials
from callgate.wire.http1 import RawRequest

# On every answer.  Nothing is fetched from elsewhere, nothing runs that is not a file of ours, nothing is framed, kept or
# told on.  `same-origin` and not `no-referrer`: under the latter a browser says "Origin: null" when it posts a form
# (Fetch, "append a request Origin header"), and nothing would tell our own form from another site's.
SECURITY_HEADERS: Final = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cache-control": "no-store",
}
_PREFIXES: Final = ("/approvals", "/api/v1/")
_CODES: Final = {404: "not_found", 405: "method_not_allowed"}


@dataclass(frozen=True, slots=True)
class ApprovalsSite:
    """The site, for the listeners of a gate."""

    app: AsgiApp
    scheme: str

    @staticmethod
    def serves(found: RawRequest | Refusal) -> bool:
        """Whether a request is for this site."""
        return isinstance(found, RawRequest) and found.target.startswith(_PREFIXES)

    async def answer(
        self, found: RawRequest, connection: Connection, client: Address | None, user: int | None = None
    ) -> None:
        """Answer one request that came by TCP.  `user`: who of this machine made the connection.  Raises ClientLost."""
        await self._serve(found, connection, client, {USER: user})

    async def _serve(
        self, found: RawRequest, connection: Connection, client: Address | None, extensions: Mapping[str, object]
    ) -> None:
        await serve_asgi(self.app, found, connection, scheme=self.scheme, client=client, extensions=extensions)

    async def answer_local(self, found: RawRequest | Refusal, connection: Connection, peer: Credentials) -> None:
        """Answer one request that came by the admin socket.  Raises ClientLost."""
        if isinstance(found, RawRequest):
            await self._serve(found, connection, None, {PEER: peer})
            return
        response = Json({"error": str(found.reason), "message": "The request cannot be read."})
        headers = [("content-type", "application/json"), *SECURITY_HEADERS.items()]
        await connection.reply(ANSWERS[found.reason].http_status, headers, bytes(response.body))


def make_site(parts: SiteParts) -> ApprovalsSite:
    """The site with all its pages."""
    handlers = {HTTPException: _not_served, StoreFault: _unavailable, Exception: _failed}
    app = Starlette(routes=_routes(parts), exception_handlers=handlers)
    # A redirect to the same path with another slash would be one more way to say each path.
    app.router.redirect_slashes = False
    app.state.parts = parts
    return ApprovalsSite(_Guarded(app, parts), parts.url.partition(":")[0])


def _routes(parts: SiteParts) -> list[BaseRoute]:
    return [*api_routes(), *pages.routes(parts), *sign_in_routes.routes(parts), *slack_routes.routes(parts)]


class _Guarded:
    """What holds for every answer, whatever page gives it: its headers, the site's name, and who may come at all."""

    def __init__(self, app: AsgiApp, parts: SiteParts) -> None:
        self._app = app
        self._parts = parts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(SECURITY_HEADERS)
            await send(message)

        response = self._refused(Request(scope))
        await (response or self._app)(scope, receive, send_with_headers)

    def _refused(self, request: Request) -> Response | None:
        peer = peer_of(request)
        if peer is not None and peer.uid not in self._parts.uids:
            return refused(request, NOT_THIS_USER)
        mismatch = refuse_host(request, self._parts)
        return refused(request, mismatch) if mismatch else None


def _not_served(request: Request, error: Exception) -> Response:
    """A path or a method that is not ours."""
    status = error.status_code if isinstance(error, HTTPException) else 500
    return refused(request, _CODES.get(status, "internal"))


def _failed(request: Request, _error: Exception) -> Response:
    """A fault of ours, which is raised on, and logged by whoever serves this (net/asgi.py)."""
    return refused(request, "internal")


def _unavailable(request: Request, _error: Exception) -> Response:
    """No store, no answer."""
    return refused(request, VoteRefusal.UNAVAILABLE)
