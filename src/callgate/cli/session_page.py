"""A session as one HTML page: for a person who investigates, on a machine that has nothing but a browser.

The page asks for nothing: no script, font, image or style from elsewhere, and a policy in it that would forbid each.
Whatever the log or the content say is text in it (`markup`).
"""

from base64 import b64encode
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from importlib.resources import files
from typing import Final

from callgate.audit.entries import Entry
from callgate.audit.sessions import Overview
from callgate.audit.story import Step, Tone
from callgate.cli.markup import Markup, end, joined, start, tag
from callgate.cli.session_content import Content
from callgate.cli.session_picture import mark, picture
from callgate.cli.session_remarks import LogVerdict, remark_words
from callgate.cli.session_step import step_article
from callgate.cli.session_words import COUNTED, call_words, ending_words, names, session_words
from callgate.cli.words import duration, moment, offset, told

# More bad news than this is no summary; the list below has all of it.
_MAX_BAD: Final = 50


@dataclass(frozen=True, slots=True)
class Page:
    """What a page is made of, beside the content of the steps.

    `steps`: the last ones, `earlier` the number of those before.  `content`: how much was kept, in words.  `made`: by
    which version and when.
    """

    session: Overview
    steps: Sequence[Step]
    earlier: int
    remarks: Sequence[Entry]
    verdict: LogVerdict
    content: str
    made: str


def page(told_of: Page, contents: Iterable[Content]) -> Iterator[str]:
    """The page, piece by piece.  `contents`: of each step, taken as they are written."""
    yield "<!DOCTYPE html>\n"
    yield start("html", lang="en")
    yield _head(told_of)
    yield start("body")
    yield tag("a", "Skip to the requests", class_="skip", href="#requests")
    yield _header(told_of)
    yield start("main")
    yield from _sections(told_of)
    yield start("section", aria_labelledby="requests")
    yield tag("h2", "Each request", id="requests")
    yield start("ol", class_="steps")
    for step, content in zip(told_of.steps, contents, strict=True):
        yield step_article(step, content)
    yield joined(end("ol"), end("section"), end("main"), _footer(told_of), end("body"), end("html"), "\n")


def _head(told_of: Page) -> Markup:
    # HTML, section 4.2.6: the text of a style element is taken as it is; ours has no `<`.
    style = Markup(_style())
    digest = b64encode(sha256(style.encode()).digest()).decode()
    forbids = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    return tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=forbids),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="referrer", content="no-referrer"),
        tag("title", f"Session {told(told_of.session.id)}, {moment(told_of.session.first_ns)}"),
        tag("style", style),
    )


def _style() -> str:
    return files("callgate.cli").joinpath("session_page.css").read_text("utf-8")


def _header(told_of: Page) -> Markup:
    session = told_of.session
    lasted = duration((session.last_ns - session.first_ns) // 1000)
    return tag(
        "header",
        tag("p", "callgate, session on record", class_="eyebrow"),
        tag("h1", "Session ", tag("code", told(session.id))),
        tag("p", f"{session_words(session)}, in {lasted}", class_="lead"),
        tag("ul", _tile(session.requests, "requests"), *_tiles(session), class_="tiles"),
        *_left_out(told_of),
    )


def _tiles(session: Overview) -> Iterator[Markup]:
    for tone in reversed(Tone):
        if session.count(tone) or tone not in {Tone.OPEN, Tone.HELD}:
            yield _tile(session.count(tone), mark(tone), COUNTED[tone])


def _tile(count: int, *what: str) -> Markup:
    return tag("li", tag("b", f"{count:,}"), tag("span", *what))


def _sections(told_of: Page) -> Iterator[Markup]:
    yield _section("who", "Who, when and where", tag("dl", *_facts(told_of)))
    yield _section("verdict", "Is this what was recorded?", *_verdict(told_of))
    if told_of.steps:
        yield _section(
            "over-time",
            "Over time",
            tag("figure", picture(told_of.steps), _legend(), tabindex=0, aria_labelledby="over-time"),
        )
    if bad := [step for step in told_of.steps if step.tone is not Tone.WELL]:
        yield _section("not-well", "What did not go well", *_bad(bad))


def _section(name: str, title: str, *children: Markup) -> Markup:
    return tag("section", tag("h2", title, id=name), *children, aria_labelledby=name)


def _facts(told_of: Page) -> Iterator[Markup]:
    session = told_of.session
    facts = {
        "Agent": names(session.callers) or "without a verified identity",
        "User": names(session.users),
        "Tool servers": names(session.servers),
        "First request": moment(session.first_ns),
        "Last one ended": moment(session.last_ns),
        "Records": f"{session.first_seq} to {session.last_seq} of the log, beside others",
        "Content": told_of.content or "none was kept: the log has the digests of arguments and answers",
    }
    for name, fact in facts.items():
        if fact:
            yield joined(tag("dt", name), tag("dd", fact, class_="said"))


def _verdict(told_of: Page) -> Iterator[Markup]:
    verdict = told_of.verdict
    yield tag("p", " ".join(verdict.sentences), class_="good said" if verdict.is_good else "warn said")
    yield tag(
        "p",
        "This page proves nothing by itself. To check the log that it was made from, against a checkpoint that was kept "
        "elsewhere: ",
        tag("code", "callgate audit verify DIR --key PUB --checkpoint FILE"),
        class_="note",
    )
    for remark in told_of.remarks:
        yield tag("p", remark_words(remark), class_="warn said")


def _legend() -> Markup:
    entries = (tag("span", mark(tone), COUNTED[tone]) for tone in reversed(Tone))
    return tag("figcaption", *entries, tag("span", "Each mark leads to its request. Long pauses are cut."))


def _bad(bad: Sequence[Step]) -> Iterator[Markup]:
    yield tag("ul", *map(_link, bad[:_MAX_BAD]), class_="marked")
    if len(bad) > _MAX_BAD:
        yield tag("p", f"and {len(bad) - _MAX_BAD:,} more below", class_="note")


def _link(step: Step) -> Markup:
    number = tag("a", f"Request {step.number}", href=f"#step-{step.number}")
    words = f" {offset(step.offset_us)}  {call_words(step)}: {ending_words(step)}"
    return tag("li", number, tag("span", words, class_="said"))


def _left_out(told_of: Page) -> Iterator[Markup]:
    if told_of.earlier:
        words = (
            f"This page has the last {len(told_of.steps):,} of them; {told_of.earlier:,} earlier ones were left out."
        )
        yield tag("p", words, class_="warn")


def _footer(told_of: Page) -> Markup:
    return tag("footer", f"Made by {told_of.made}. Nothing on this page is loaded from elsewhere. Times are UTC.")
