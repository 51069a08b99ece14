"""The admin API: what the page's script, `callgate approvals` and the demo ask, in JSON."""

from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Final

import trio
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from callgate.approvals.model import Means, Vote, VoteRefusal
from callgate.approvals.model import Request as Asked
from callgate.approvals.sign_in.links import LINK_S, make_link
from callgate.approvals.site import bodies
from callgate.approvals.site.bodies import Malformed, Said
from callgate.approvals.site.guards import csrf_header, refuse_cross_site
from callgate.approvals.site.live import events
from callgate.approvals.site.openapi import document
from callgate.approvals.site.parts import SiteParts, parts_of
from callgate.approvals.site.said import NOT_SIGNED_IN, REFUSALS, Json, refused
from callgate.approvals.site.sessions import Signed, signed_in
from callgate.approvals.site.shown import Look, may_see, shown, summary
from callgate.approvals.store import StoreFault
from callgate.wire.json_strict import JsonObject, JsonValue

# What a person can look through; a storm is longer, and then its end is not what matters.
MAX_LISTED: Final = 1_000
# So many wait for the store together; they share its transactions.
_AT_ONCE: Final = 64
# Of a list; some 5 ms, after which others have their turn.
_IN_ONE_GO: Final = 50
_STATES: Final = {"open": True, "ended": False}
Endpoint = Callable[[Request], Awaitable[Response]]
SignedEndpoint = Callable[[Request, Signed], Awaitable[Response]]


def api_routes() -> list[BaseRoute]:
    """Every path of the API; each is in the OpenAPI document, too."""
    return [
        Route("/api/v1/me", _for_signed(_me), methods=["GET"]),
        Route("/api/v1/approvals", _for_signed(_listed), methods=["GET"]),
        Route("/api/v1/approvals/{id}", _for_signed(_one), methods=["GET"]),
        Route("/api/v1/approvals/{id}/decision", _changing(_decide), methods=["POST"]),
        Route("/api/v1/decisions", _changing(_decide_many), methods=["POST"]),
        Route("/api/v1/events", _for_signed(events), methods=["GET"]),
        Route("/api/v1/links", _changing(_link), methods=["POST"]),
        Route("/api/v1/openapi.json", _openapi, methods=["GET"]),
    ]


def _for_signed(endpoint: SignedEndpoint) -> Endpoint:
    @wraps(endpoint)
    async def answer(request: Request) -> Response:
        signed = await signed_in(request)
        if signed is None:
            return refused(request, NOT_SIGNED_IN)
        try:
            return await endpoint(request, signed)
        except Malformed as error:
            return refused(request, "malformed", f"{str(error).capitalize()}.")

    return answer


def _changing(endpoint: SignedEndpoint) -> Endpoint:
    @wraps(endpoint)
    async def answer(request: Request, signed: Signed) -> Response:
        foreign = refuse_cross_site(request, signed, csrf_header(request))
        return refused(request, foreign) if foreign else await endpoint(request, signed)

    return _for_signed(answer)


async def _me(request: Request, signed: Signed) -> Response:
    parts, person = parts_of(request), signed.person
    session = signed.session
    ends = None if session is None else session.began.wall + parts.session_max_s
    return Json(
        {
            "name": person.name,
            "groups": sorted(person.groups),
            "means": str(person.means),
            "signed_in": person.signed_in,
            "csrf": signed.csrf,
            "session_ends": ends,
        }
    )


async def _listed(request: Request, signed: Signed) -> Response:
    parts, is_open = parts_of(request), _is_open(request)
    version = parts.desk.version
    found = await parts.desk.listed(is_open=is_open, limit=MAX_LISTED)
    look = _look(parts, signed)
    told: list[JsonValue] = []
    for number, each in enumerate(found, start=1):
        if may_see(each, signed.person):
            told.append(summary(each, look))
        if number % _IN_ONE_GO == 0:
            await trio.lowlevel.checkpoint()
    return Json({"approvals": told, "version": version})


def _is_open(request: Request) -> bool:
    """Which of them are asked for.  Raises Malformed."""
    said = request.query_params.multi_items() or [("state", "open")]
    if len(said) > 1 or said[0][0] != "state" or said[0][1] not in _STATES:
        raise Malformed("the query must be state=open or state=ended, or none")
    return _STATES[said[0][1]]


async def _one(request: Request, signed: Signed) -> Response:
    parts, id_ = parts_of(request), _id(request)
    found = await parts.desk.opened(id_, None) if id_ else None
    if found is None:
        return refused(request, VoteRefusal.UNKNOWN)
    if not may_see(found, signed.person):
        return refused(request, VoteRefusal.NOT_AN_APPROVER)
    seen = await parts.desk.opened(found.id, signed.person) or found
    return Json(shown(seen, _look(parts, signed)))


async def _decide(request: Request, signed: Signed) -> Response:
    said = bodies.one_decision(_id(request), await bodies.json_body(request))
    parts = parts_of(request)
    found = await _answered(parts, signed, said)
    if isinstance(found, VoteRefusal):
        return refused(request, found)
    return Json(shown(found, _look(parts, signed)))


async def _decide_many(request: Request, signed: Signed) -> Response:
    said = bodies.many_decisions(await bodies.json_body(request))
    parts = parts_of(request)
    results: dict[str, JsonObject] = {each.id: {} for each in said}
    limit = trio.CapacityLimiter(_AT_ONCE)

    async def decide(each: Said) -> None:
        async with limit:
            results[each.id] = _result(each.id, await _answered_or_unavailable(parts, signed, each))

    async with trio.open_nursery() as nursery:
        for each in said:
            nursery.start_soon(decide, each)
    return Json({"results": list(results.values())})


def _result(id_: str, found: Asked | VoteRefusal) -> JsonObject:
    if isinstance(found, VoteRefusal):
        return {"id": id_, "error": str(found), "message": REFUSALS[found].sentence}
    return {"id": id_, "state": str(found.state)}


async def _answered_or_unavailable(parts: SiteParts, signed: Signed, said: Said) -> Asked | VoteRefusal:
    try:
        return await _answered(parts, signed, said)
    except StoreFault:
        # Of each one it is told what became of it, also where the store failed half-way.
        return VoteRefusal.UNAVAILABLE


async def _answered(parts: SiteParts, signed: Signed, said: Said) -> Asked | VoteRefusal:
    if not said.id:
        return VoteRefusal.UNKNOWN
    vote = Vote(signed.person, said.verdict, said.reason, parts.moment().wall, said.cover)
    return await parts.desk.answer(said.id, said.binding, vote)


async def _link(request: Request, signed: Signed) -> Response:
    """For whoever the kernel vouches for; a session that could make links would have no end."""
    if signed.person.means is not Means.SOCKET or signed.session is not None:
        return refused(request, "by_the_socket_alone")
    url = await make_link(parts_of(request), signed.person)
    return Json({"url": url, "expires_in_s": LINK_S})


async def _openapi(_request: Request) -> Response:
    return Json(document())


def _look(parts: SiteParts, signed: Signed) -> Look:
    return Look(signed.person, parts.moment(), parts.policy().digest)


def _id(request: Request) -> str:
    """The id in the path; "" for what is none."""
    found = str(request.path_params["id"])
    return found if bodies.ID.fullmatch(found) else ""
