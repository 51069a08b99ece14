"""Where Slack sends what people click (`Interactivity & Shortcuts`, Request URL).  Slack's signature is all its proof."""

from contextlib import aclosing
from typing import TYPE_CHECKING, Final

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from callgate.approvals.notify.slack import MAX_CLICK_BYTES, ClickRefusal, SlackClicks

if TYPE_CHECKING:
    from callgate.approvals.site.parts import SiteParts

PATH: Final = "/approvals/slack"
_FORM: Final = "application/x-www-form-urlencoded"
_REFUSALS: Final = {
    ClickRefusal.NOT_FROM_SLACK: (401, "This request is not signed by Slack, or not of the last five minutes."),
    ClickRefusal.MALFORMED: (400, "This is not what Slack sends for a click on one of the gate's messages."),
}


def routes(parts: "SiteParts") -> list[BaseRoute]:
    """One address; none where Slack is not configured."""
    clicks = parts.slack
    return [] if clicks is None else [slack_route(clicks)]


def slack_route(clicks: SlackClicks) -> Route:
    """The address by which clicks come in."""

    async def take(request: Request) -> Response:
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != _FORM:
            return _error(415, "content_type", f"Only {_FORM} is taken here.")
        body = await _body(request)
        if body is None:
            return _error(413, "too_large", f"No click takes more than {MAX_CLICK_BYTES} bytes.")
        refusal = await clicks.take(
            body, _one(request, "x-slack-request-timestamp"), _one(request, "x-slack-signature")
        )
        if refusal is None:
            return Response()
        status, message = _REFUSALS[refusal]
        return _error(status, refusal, message)

    return Route(PATH, take, methods=["POST"])


async def _body(request: Request) -> bytes | None:
    """None where it is too large, or does not come whole."""
    body = bytearray()
    try:
        async with aclosing(request.stream()) as pieces:
            async for piece in pieces:
                body += piece
                if len(body) > MAX_CLICK_BYTES:
                    return None
    except ClientDisconnect:
        return None
    return bytes(body)


def _one(request: Request, name: str) -> str:
    """A header that is there once; "" else."""
    values = request.headers.getlist(name)
    return values[0] if len(values) == 1 else ""


def _error(status: int, code: str, message: str) -> JSONResponse:
    return JSONResponse({"error": code, "message": message}, status)
