"""Live updates: server-sent events that say that something has changed, never what."""

from typing import Final

import trio
from starlette.requests import Request
from starlette.responses import Response

from callgate.approvals.site.parts import parts_of
from callgate.approvals.site.places import Places
from callgate.approvals.site.said import refused
from callgate.approvals.site.sessions import Signed, peer_of, still_signed_in
from callgate.approvals.store import StoreFault
from callgate.net.asgi import Receive, Scope, Send

# Below the 30 s and more after which proxies cut what says nothing.  As long a stream outlives its session at most.
_COMMENT_S: Final = 15.0
# A storm of changes is one piece of news; what a person sees need not be newer.
_PAUSE_S: Final = 0.25
_HEADERS: Final = [(b"content-type", b"text/event-stream")]


class Live(Response):
    """`event: changed` with the desk's version as its data, at first and after each change; ends with the session.

    A comment every 15 s, where nothing else is said.  `event: signed-out` is the last.
    """

    media_type = "text/event-stream"

    def __init__(self, request: Request, whose: str, places: Places) -> None:
        super().__init__()
        self._request = request
        self._desk = parts_of(request).desk
        self._whose = whose
        self._places = places

    async def __call__(self, _scope: Scope, receive: Receive, send: Send) -> None:
        """Say what there is to say until the client has gone or the session is over."""
        with self._places.taken(self._whose):
            await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_until_gone, receive, nursery.cancel_scope)
                await self._tell(send)
                nursery.cancel_scope.cancel()

    async def _tell(self, send: Send) -> None:
        version = self._desk.version
        checked = trio.current_time()
        await _say(send, f"event: changed\ndata: {version}\n\n")
        while True:
            await trio.sleep(_PAUSE_S)
            with trio.move_on_at(checked + _COMMENT_S) as waiting:
                version = await self._desk.changed(version)
            if trio.current_time() >= checked + _COMMENT_S:
                checked = trio.current_time()
                if not await self._holds():
                    await _say(send, "event: signed-out\ndata:\n\n", more=False)
                    return
            await _say(send, ":\n\n" if waiting.cancelled_caught else f"event: changed\ndata: {version}\n\n")

    async def _holds(self) -> bool:
        try:
            return await still_signed_in(self._request)
        except StoreFault:
            # The page asks again, and is told then.
            return False


async def events(request: Request, signed: Signed) -> Response:
    """`GET /api/v1/events`."""
    parts = parts_of(request)
    whose = _whose(request, signed)
    if not parts.places.has_room(whose):
        return refused(request, "too_many_streams")
    return Live(request, whose, parts.places)


def _whose(request: Request, signed: Signed) -> str:
    peer = peer_of(request)
    return signed.session.digest if signed.session else f"uid {peer.uid if peer else ''}"


async def _until_gone(receive: Receive, scope: trio.CancelScope) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    scope.cancel()


async def _say(send: Send, text: str, *, more: bool = True) -> None:
    await send({"type": "http.response.body", "body": text.encode(), "more_body": more})
