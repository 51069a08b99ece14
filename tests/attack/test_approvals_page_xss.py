"""What an attacker writes is text on the approvals pages: it opens nothing, closes nothing, hides nothing, runs nothing."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Final

import pytest
import trio

from callgate.approvals.model import Request, State
from callgate.approvals.site.answers import Typed
from callgate.approvals.site.detail import detail
from callgate.approvals.site.looks import rendered, told
from callgate.approvals.site.sessions import Signed
from callgate.approvals.site.views import listing
from callgate.screening.pack_terms import Declared
from callgate.wire.json_strict import JsonObject, canonical
from support.approval_site import LEAD as SITE_LEAD
from support.approval_site import Site, approval_site
from support.browser import Tab, chromium
from support.hostile_requests import LEAD, NOW, asked, payloads, request
from support.html_pages import Element, Page

PAYLOADS: Final = payloads()
# What the pages put around parts of a text to show it; none of it can be pressed or fetched.
_SHOWING: Final = {
    ("span", "unseen"), ("span", "line-end"), ("bdi", "rtl"), ("span", "forged"), ("mark", "telling"), ("span", "folded"),
    ("span", "fold-part"), ("details", "fold"), ("summary", "fold-says"), ("span", "cut"), ("bdi", "said"),
}  # fmt: skip
_SHOWING_ATTRIBUTES: Final = {"class", "role", "aria-label", "title", "dir"}
_NONE: Final = Declared()
_DECLARED: Final = Declared(((("account",), "postgres"),), ((("list", 0), "bash"),))
# Payloads that a browser is given in every place, by what they try; the others it is given as arguments and in the list.
_EACH_PLACE: Final = 14


def detail_page(text: str, declared: Declared = _NONE, typed: str = "") -> str:
    it = detail(request(text), LEAD, declared, NOW, 800.0)
    facts = {"outcome": None, "typed": Typed(reason=typed), "reason_is_wrong": False, "max_reason": 500, "version": 1}
    return rendered("request.html", Signed(replace(LEAD, name=text), "token", None), it=it, **facts)


def list_page(text: str) -> str:
    waiting, ended = request(text), replace(request(text), state=State.DENIED, ended=NOW)
    storm = [replace(request(text), id=f"{number:032x}") for number in range(9)]
    lists = [listing([waiting], [ended], lambda _: 60.0), listing(storm, [], lambda _: 60.0)]
    signed = Signed(replace(LEAD, name=text), "token", None)
    return "".join(rendered("list.html", signed, listing=each, denied=None, kept=None, version=1) for each in lists)


def told_page(text: str) -> str:
    return bytes(told("Title", [text], signed=Signed(replace(LEAD, name=text), "token", None)).body).decode()


PAGES: Final = (detail_page, list_page, told_page)


def structure(page: str) -> list[tuple[str, list[str]]]:
    """Elements and the names of their attributes, without those that only show a text."""
    return [(each.name, sorted(each.attributes)) for each in Page(page).elements if not is_showing(each)]


def is_showing(element: Element) -> bool:
    if (element.name, element.attributes.get("class")) not in _SHOWING:
        return False
    assert element.attributes.keys() <= _SHOWING_ATTRIBUTES
    return True


@pytest.mark.parametrize("name", PAYLOADS)
def test_what_an_attacker_writes_never_becomes_markup(name: str) -> None:
    for page in PAGES:
        assert structure(page(PAYLOADS[name])) == _plain(page, len(PAYLOADS[name]))


@cache
def _plain(page: Callable[[str], str], length: int) -> list[tuple[str, list[str]]]:
    """The same page with a harmless text; as long a one, for what is long is folded."""
    return structure(page("x" * length))


@pytest.mark.parametrize("name", PAYLOADS)
def test_what_was_typed_stays_in_its_field(name: str) -> None:
    page = Page(detail_page("x", typed=PAYLOADS[name]))

    # HTML, section 13.2.6.4.7: a line end at the very beginning is none, so that the page puts one there.
    assert page.one("textarea").text == "\n" + PAYLOADS[name]
    assert page.skeleton == Page(detail_page("x")).skeleton


@pytest.mark.parametrize("name", PAYLOADS)
def test_sql_and_shell_never_become_markup(name: str) -> None:
    known = set(_kinds("ALTER TABLE x")) | set(_kinds("sudo rm -rf /"))

    assert set(_kinds(PAYLOADS[name])) <= known


def _kinds(text: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    """What elements there are; of SQL and shell some pages say more than others."""
    return ((name, tuple(attributes)) for name, attributes in structure(detail_page(text, _DECLARED)))


@pytest.mark.parametrize("name", PAYLOADS)
def test_nothing_that_cannot_be_seen_is_on_a_page(name: str) -> None:
    for page in PAGES:
        assert all(sign.isprintable() or sign == "\n" for sign in page(PAYLOADS[name]))


@pytest.mark.parametrize("name", PAYLOADS)
def test_what_is_written_in_plain_signs_is_read_as_it_was_written(name: str) -> None:
    text = PAYLOADS[name]
    if text.isascii() and text.isprintable() and len(text) <= 128 and " " * 41 not in text:
        shown = [each.text for each in Page(detail_page(text)).all("bdi")]
        assert shown.count(text) >= 10


@pytest.mark.parametrize("name", PAYLOADS)
def test_addresses_and_fields_hold_nothing_of_an_attacker(name: str) -> None:
    text = PAYLOADS[name]
    for element in Page(detail_page(text)).elements:
        for attribute in ("href", "src", "action", "formaction", "id", "name", "class", "for"):
            assert text not in element.attributes.get(attribute, "") or len(text) < 2


@pytest.mark.timeout(120)
async def test_nothing_runs_in_a_browser(tmp_path: Path) -> None:
    async with approval_site(tmp_path) as site:
        texts = list(PAYLOADS.values())
        spread = [await _put(site, text) for text in texts][:: len(texts) // _EACH_PLACE]
        for chunk in _chunks(texts, 60):
            values: JsonObject = {f"a{number}": text for number, text in enumerate(chunk)}
            keys: JsonObject = {text: number for number, text in enumerate(chunk)}
            spread += [await _put(site, "values", values), await _put(site, "keys", keys)]
        lead = await site.browser(SITE_LEAD)

        def look() -> list[str]:
            with chromium() as browser:
                # Without the policy that would stop what is not escaped.
                tab = browser.tab(site.parts.url, lead.cookies, bypass_csp=True)
                for path in ("/approvals", *(f"/approvals/r/{id_}" for id_ in spread)):
                    _load(tab, path)
                return tab.complaints

        assert await trio.to_thread.run_sync(look) == []


def _load(tab: Tab, path: str) -> None:
    response = tab.page.goto(f"{tab.origin}{path}")
    assert response is not None
    assert response.status == 200
    tab.page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
    assert tab.page.evaluate("window.ran") is None, path
    assert tab.page.evaluate("document.scripts.length") == 1


async def _put(site: Site, text: str, arguments: JsonObject | None = None) -> str:
    """A request that waits at the site; its id."""
    ask = asked(text, arguments)
    bound = replace(ask.binding, policy=site.policies[0].digest, arguments=sha256(canonical(ask.arguments)).hexdigest())
    found = await site.desk.ask(replace(ask, binding=bound))
    assert isinstance(found, Request)
    return found.id


def _chunks(texts: list[str], size: int) -> Iterator[list[str]]:
    for start in range(0, len(texts), size):
        yield texts[start : start + size]
