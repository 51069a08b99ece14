"""Pages made of templates.  Whatever a template puts in place is escaped, and what it was not given is a fault."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.responses import HTMLResponse

from callgate.approvals.site.sessions import Signed
from callgate.approvals.site.visible import Pieces, shown

_TEMPLATES: Final = Environment(
    loader=PackageLoader("callgate.approvals.site"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    auto_reload=False,
)


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who reads the page: the name to show, and the token that forms of theirs carry."""

    name: Pieces
    csrf: str


@dataclass(frozen=True, slots=True)
class Step:
    """What leads on from a page: a link to `href`; or, with `fields`, a button that posts them there."""

    label: str
    href: str
    fields: tuple[tuple[str, str], ...] = ()


def visitor(signed: Signed | None) -> Visitor | None:
    """Who reads the page; None for nobody that we know."""
    return Visitor(shown(signed.person.name, is_name=True), signed.csrf) if signed is not None else None


def rendered(template: str, signed: Signed | None, **facts: object) -> str:
    """One page as HTML.  `facts`: what its template takes."""
    return _TEMPLATES.get_template(template).render(visitor=visitor(signed), **facts)


def told(
    title: str, sentences: Sequence[str], *, signed: Signed | None = None, step: Step | None = None, status: int = 200
) -> HTMLResponse:
    """A page that says one thing, and what to do next.  `title` and `sentences` are our own words, or are shown as such."""
    texts = [shown(sentence) for sentence in sentences]
    return HTMLResponse(rendered("told.html", signed, title=title, texts=texts, step=step), status)
