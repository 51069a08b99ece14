"""Logs and content hold what attackers sent: none of it may become markup, a script, or invisible text."""

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from callgate.audit.chain import Kind
from callgate.audit.checkpoint import CheckpointKey
from callgate.audit.recording import MessageKind
from callgate.cli import main
from support.audit_logs import ORIGIN, MadeLog
from support.html_pages import Page
from support.told_sessions import ToldSession

SESSION = "5e" * 8
KEY = CheckpointKey.generate(ORIGIN)
ATTACKS = {
    "script": "</script><script>alert(1)</script>",
    "style": "</style><style>*{display:none}</style><link rel=stylesheet href=//evil.test>",
    "image": '"><img src=x onerror=alert(1)>',
    "attribute": "' onmouseover='alert(1)' x=\"",
    "comment": "--><!--><![CDATA[<svg onload=alert(1)>]]>",
    "entity": "&lt;script&gt;&#x3c;b&#x3e;&amp;",
    "policy": '"><meta http-equiv=refresh content="0;url=https://evil.test">',
    "bidi": "\u202eexe.gnp\u2066\u2069\u200f\u061c",
    "controls": "\x00\x01\x1b[2J\x1b]0;x\x07\r\n\x7f\x9b31m\u2028\u2029\ufeff",
    "closing": "</pre></div></li></ol></main></body></html>",
    "long": "<b>" * 5000,
    "javascript": "javascript:alert(1)",
}


def said(text: str) -> MadeLog:
    """A session whose every field says that."""
    log = MadeLog()
    fields = {
        "method": text, "purpose": text, "address": text, "revision": text, "leaf": text, "args": text, "policy": text,
        "trace": text, "user": {"issuer": text, "subject": text, "groups": [text]},
    }  # fmt: skip
    rules = [{"rule": text, "kind": text, "matched": True, "why": text}]
    path = [f"{text}=ok", f"{text}={text}:{text}", "decide=refused:" + text]
    token = {"jti": text, "aud": text, "scope": text, "exp": 1}
    shadow = {"decision": text, "reason": text, "rules": [text]}
    ours = {"rules": rules, "path": path, "token": token, "shadow": shadow, "reason": text, "detail": text}
    request = log.request(caller=text, server=text, tool=text) | fields | ours
    place = log.add(Kind.INTENT, **(request | {"record": text}))
    log.add(
        Kind.OUTCOME, intent=place, decision=text, status=text, reason=text, took_us=5, http=200, path=[text],
        answer={"bytes": 1, "events": 1, "objects": [text, "../../" + text]},
    )  # fmt: skip
    log.add(Kind.REFUSAL, **request, stage=text)
    log.add(Kind.OUTAGE, since=text, error=text, counts=[{"stage": text, "reason": text, "count": 1}])
    log.call()
    return log


def page_of(folder: Path, *more: str | Path) -> str:
    page = folder / "page.html"
    arguments = ["session", "export", SESSION, "--log", str(folder), "-o", str(page), *map(str, more)]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    return page.read_bytes().decode()


@pytest.mark.parametrize("attack", ATTACKS)
def test_what_the_log_says_never_becomes_markup(tmp_path: Path, attack: str) -> None:
    said("plain").write(tmp_path / "plain", KEY)
    said(ATTACKS[attack]).write(tmp_path / "attack", KEY)

    plain, attacked = Page(page_of(tmp_path / "plain")), Page(page_of(tmp_path / "attack"))

    # Element by element the same page: nothing that was said is an element, or closes one.
    assert attacked.skeleton == plain.skeleton
    assert [sorted(each.attributes) for each in attacked.elements] == [
        sorted(each.attributes) for each in plain.elements
    ]


@pytest.mark.parametrize("attack", ATTACKS)
def test_nothing_that_cannot_be_seen_is_on_the_page(tmp_path: Path, attack: str) -> None:
    said(ATTACKS[attack]).write(tmp_path / "log", KEY)

    page = page_of(tmp_path / "log")

    assert all(char.isprintable() or char == "\n" for char in page)


@pytest.mark.parametrize("attack", ATTACKS)
def test_nothing_that_moves_a_cursor_is_printed(tmp_path: Path, attack: str) -> None:
    said(ATTACKS[attack]).write(tmp_path / "log", KEY)

    for command in (["list"], ["show", SESSION], ["play", SESSION, "--speed", "1000"]):
        result = CliRunner().invoke(main, ["session", *command, "--log", str(tmp_path / "log")])
        assert result.exit_code == 0, result.output
        assert all(char.isprintable() or char == "\n" for char in result.output)
        assert len(result.stdout.splitlines()) < 60


@pytest.mark.parametrize("attack", ATTACKS)
def test_what_passed_is_text_on_the_page_and_nothing_else(tmp_path: Path, attack: str) -> None:
    text = ATTACKS[attack]
    pages = []
    for name, content in (("plain", "plain"), ("attack", text)):
        told = ToldSession(tmp_path / name)
        body = {content: [content, {content: content}]}
        told.call("get_invoice", {"number": content}, ((9, MessageKind.EVENT, body), (10, MessageKind.ANSWER, content)))
        told.write()
        pages.append(page_of(told.folder, "--identity", told.identity))

    plain, attacked = map(Page, pages)

    assert attacked.skeleton == plain.skeleton
    assert all(char.isprintable() or char == "\n" for char in pages[1])


def test_attack_text_is_shown_as_it_was_written(tmp_path: Path) -> None:
    told = ToldSession(tmp_path)
    told.call("get_invoice", {"number": ATTACKS["script"]})
    told.write()

    assert ATTACKS["script"] in Page(page_of(tmp_path, "--identity", told.identity)).all("pre")[0].text


def test_a_credential_that_got_into_a_record_is_not_repeated(tmp_path: Path) -> None:
    token = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhbGljZSJ9.c2lnbmF0dXJl"
    log = MadeLog()
    log.refusal(purpose=f"Bearer {token}", tool=token, rule=token)
    log.write(tmp_path, KEY)

    page = page_of(tmp_path)
    shown = CliRunner().invoke(main, ["session", "show", SESSION, "--log", str(tmp_path)]).output

    assert token not in page
    assert token not in shown


def test_names_of_objects_that_are_paths_open_nothing(tmp_path: Path) -> None:
    told = ToldSession(tmp_path / "log")
    told.log.call()
    intent = dict(told.log.request(tool="get_invoice"), record="full", rules=[], path=[], reason="")
    place = told.log.add(Kind.INTENT, **intent, request={"object": "../../../secret"})
    told.log.add(Kind.OUTCOME, intent=place, status="answered", answer={"objects": ["/etc/passwd", "..", "a/b"]})
    (tmp_path / "secret.age").write_text("the secret")
    told.write()

    page = page_of(told.folder, "--identity", told.identity)

    assert "the secret" not in page
    assert not re.search("root:.*:0:0", page)
