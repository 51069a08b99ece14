"""The pages where people decide: the list, one request, and denying a storm at once.

Each changing request is a form of these pages, carries the binding that was shown, and is answered by a redirect once it
counted: sent twice, it does no harm.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Final
from urllib.parse import quote

import trio
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from callgate.approvals.model import MAX_REASON_CHARACTERS, State, Verdict, Vote, VoteRefusal
from callgate.approvals.model import Request as Asked
from callgate.approvals.site.answers import ID, Answer, Typed, answer_of, chosen_of
from callgate.approvals.site.detail import detail
from callgate.approvals.site.guards import form_fields, refuse_cross_site
from callgate.approvals.site.looks import Step, rendered, told
from callgate.approvals.site.outcomes import NOT_THIS_PAGES, NOT_YOURS, OUTCOMES, UNREADABLE, Outcome
from callgate.approvals.site.parts import SiteParts, parts_of
from callgate.approvals.site.sessions import Signed, signed_in
from callgate.approvals.site.shown import may_see
from callgate.approvals.site.views import deniable, listing
from callgate.approvals.store import StoreFault
from callgate.wire.json_strict import dumps

# Of what waits, and of what ended: more is no list that anybody reads.
MAX_LISTED: Final = 1_000
MAX_ENDED: Final = 30
# Larger pages are made in a thread, for other calls do not wait for them: 16 KiB of arguments take some 10 ms, and as
# many rows of a list.
_IN_LOOP_BYTES: Final = 16 * 1024
_IN_LOOP_ROWS: Final = 50
_STATIC: Final[Mapping[str, str]] = {
    "approvals.css": "text/css; charset=utf-8",
    "approvals.js": "text/javascript; charset=utf-8",
    "approvals.svg": "image/svg+xml",
}
_TO_LIST: Final = Step("All approvals", "/approvals")
_NOTHING_TYPED: Final = Typed()
_MAX_DIGITS: Final = 4
Page = Callable[[Request, Signed], Awaitable[Response]]


def routes(_parts: SiteParts) -> list[BaseRoute]:
    """Every page, and the two files that they load."""
    return [
        Route("/approvals", _page(_list), methods=["GET"]),
        Route("/approvals/r/{id}", _page(_one), methods=["GET"]),
        Route("/approvals/r/{id}", _page(_answered), methods=["POST"]),
        Route("/approvals/r/{id}/arguments", _page(_arguments), methods=["GET"]),
        Route("/approvals/deny-all", _page(_deny_all), methods=["POST"]),
        Route("/approvals/static/{name}", _static, methods=["GET"]),
    ]


def _page(page: Page) -> Callable[[Request], Awaitable[Response]]:
    """A page for those who are signed in; others are sent to sign in and come back."""

    async def endpoint(request: Request) -> Response:
        try:
            signed = await signed_in(request)
            if signed is None:
                return _sign_in_first(request)
            return await page(request, signed)
        except StoreFault:
            return _says(OUTCOMES[VoteRefusal.UNAVAILABLE], None, Step("Try again", "/approvals"))

    return endpoint


def _sign_in_first(request: Request) -> Response:
    path = request.url.path if request.method == "GET" else "/approvals"
    return RedirectResponse(f"/approvals/sign-in?next={quote(path)}", 303)


def _says(outcome: Outcome, signed: Signed | None, step: Step) -> Response:
    return told(outcome.title, [outcome.text], signed=signed, step=step, status=outcome.status)


async def _static(request: Request) -> Response:
    name = request.path_params["name"]
    if name not in _STATIC:
        return Response(status_code=404)
    content = files("callgate.approvals.site").joinpath("static", name).read_bytes()
    return Response(content, headers={"content-type": _STATIC[name]})


async def _list(request: Request, signed: Signed) -> Response:
    desk = parts_of(request).desk
    # Before it is read: what changes meanwhile is news to the page.
    version = desk.version
    opened = [each for each in await desk.listed(is_open=True, limit=MAX_LISTED) if may_see(each, signed.person)]
    ended = [each for each in await desk.listed(is_open=False, limit=MAX_ENDED) if may_see(each, signed.person)]

    def made() -> str:
        facts = {"denied": _count(request, "denied"), "kept": _count(request, "kept"), "version": version}
        return rendered("list.html", signed, listing=listing(opened, ended, desk.left_s), **facts)

    return await _html(made, is_small=len(opened) + len(ended) <= _IN_LOOP_ROWS)


def _count(request: Request, name: str) -> int | None:
    """What the address says of what was done; anybody can write that, and it changes nothing."""
    said = request.query_params.get(name, "")
    return int(said) if said.isascii() and said.isdigit() and len(said) <= _MAX_DIGITS else None


async def _one(request: Request, signed: Signed) -> Response:
    found = await _found(request, signed)
    return found if isinstance(found, Response) else await _detail_page(request, signed, found, _Shown())


async def _found(request: Request, signed: Signed) -> Asked | Response:
    """The request that the path names, looked at by whoever may see it; or the page that says why not."""
    desk, id_ = parts_of(request).desk, request.path_params["id"]
    found = await desk.opened(id_, None) if ID.fullmatch(id_) else None
    if found is None:
        return _says(OUTCOMES[VoteRefusal.UNKNOWN], signed, _TO_LIST)
    if not may_see(found, signed.person):
        return _says(NOT_YOURS, signed, _TO_LIST)
    return await desk.opened(id_, signed.person) or found


@dataclass(frozen=True, slots=True)
class _Shown:
    """What a page of a request says besides: what the last answer came to, and what was typed."""

    refusal: VoteRefusal | None = None
    typed: Typed = _NOTHING_TYPED


async def _detail_page(request: Request, signed: Signed, asked: Asked, shown: _Shown) -> Response:
    parts = parts_of(request)
    now, left_s, version = parts.moment(), parts.desk.left_s(asked), parts.desk.version
    declared = parts.policy().tags.declared(asked.ask.binding.server, asked.ask.binding.tool)
    outcome = OUTCOMES[shown.refusal] if shown.refusal else None

    def made() -> str:
        return rendered(
            "request.html",
            signed,
            it=detail(asked, signed.person, declared, now, left_s),
            outcome=outcome,
            typed=shown.typed,
            reason_is_wrong=shown.refusal in {VoteRefusal.REASON_NEEDED, VoteRefusal.REASON_TOO_LONG},
            max_reason=MAX_REASON_CHARACTERS,
            version=version,
        )

    size = len(dumps(asked.ask.arguments)) + len(asked.ask.definition)
    return await _html(made, is_small=size <= _IN_LOOP_BYTES, status=outcome.status if outcome else 200)


async def _answered(request: Request, signed: Signed) -> Response:
    """A decision: a redirect to the request where it counted, the request with the reason why not elsewhere."""
    fields = await form_fields(request)
    if refuse_cross_site(request, signed, (fields or {}).get("csrf")):
        return _says(NOT_THIS_PAGES, signed, _TO_LIST)
    found = await _found(request, signed)
    if isinstance(found, Response):
        return found
    repeat = found.ask.repeat
    answer = answer_of(fields or {}, repeat.lasts_s if repeat else None)
    if answer is None:
        return _says(UNREADABLE, signed, Step("Read it again", f"/approvals/r/{found.id}"))
    refusal = await _refusal(parts_of(request), signed, found, answer)
    if refusal is None:
        return RedirectResponse(f"/approvals/r/{found.id}", 303)
    after = await parts_of(request).desk.opened(found.id, signed.person) or found
    return await _detail_page(request, signed, after, _Shown(refusal, answer.typed))


async def _refusal(parts: SiteParts, signed: Signed, asked: Asked, answer: Answer) -> VoteRefusal | None:
    """Why the answer does not count; None where it does, or did before."""
    vote = Vote(signed.person, answer.verdict, answer.typed.reason, parts.moment().wall, answer.cover)
    result = await parts.desk.answer(asked.id, answer.binding, vote)
    if not isinstance(result, VoteRefusal):
        return None
    if result in {VoteRefusal.ALREADY_SAID, VoteRefusal.FINISHED} and answer.binding == asked.ask.binding.digest:
        # The second click of two.
        after = await parts.desk.opened(asked.id, None) or asked
        mine = [said.verdict for said in after.votes if said.person.name == signed.person.name]
        return None if mine[-1:] == [answer.verdict] else result
    return result


async def _arguments(request: Request, signed: Signed) -> Response:
    """What goes to the tool server, as a file: nothing that a browser would show or run."""
    found = await _found(request, signed)
    if isinstance(found, Response):
        return found
    name = f'attachment; filename="arguments-{found.id}.json"'
    headers = {"content-disposition": name, "content-type": "text/plain; charset=utf-8"}
    return Response(dumps(found.ask.arguments), headers=headers)


async def _deny_all(request: Request, signed: Signed) -> Response:
    """First the page that asks whether that is meant, then the denials."""
    fields = await form_fields(request) or {}
    if refuse_cross_site(request, signed, fields.get("csrf")):
        return _says(NOT_THIS_PAGES, signed, _TO_LIST)
    chosen = chosen_of(fields)
    if chosen is None:
        return _says(UNREADABLE, signed, _TO_LIST)
    if fields.get("confirmed") == "yes":
        return await _deny(request, signed, chosen, fields.get("reason", ""))
    listed = await parts_of(request).desk.listed(is_open=True, limit=MAX_LISTED)
    waiting = [each for each in listed if each.id in chosen and each.state is State.WAITING]
    rows = deniable(waiting, signed.person)
    if not rows:
        return RedirectResponse("/approvals", 303)
    facts = {"rows": rows, "gone": len(chosen) - len(rows), "max_reason": MAX_REASON_CHARACTERS}
    return HTMLResponse(rendered("deny_all.html", signed, **facts))


async def _deny(request: Request, signed: Signed, chosen: Mapping[str, str], reason: str) -> Response:
    parts, denied = parts_of(request), 0

    async def deny(id_: str, binding: str) -> None:
        nonlocal denied
        vote = Vote(signed.person, Verdict.DENY, reason, parts.moment().wall)
        found = await parts.desk.answer(id_, binding, vote)
        denied += not isinstance(found, VoteRefusal)

    if len(reason) > MAX_REASON_CHARACTERS:
        return _says(OUTCOMES[VoteRefusal.REASON_TOO_LONG], signed, _TO_LIST)
    async with trio.open_nursery() as nursery:
        for id_, binding in chosen.items():
            nursery.start_soon(deny, id_, binding)
    return RedirectResponse(f"/approvals?denied={denied}&kept={len(chosen) - denied}", 303)


async def _html(made: Callable[[], str], *, is_small: bool, status: int = 200) -> Response:
    return HTMLResponse(made() if is_small else await trio.to_thread.run_sync(made), status)
