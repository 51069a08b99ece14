import re
import shutil
import stat
from base64 import b64encode
from hashlib import sha256
from itertools import pairwise
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from callgate.audit.recording import MessageKind
from callgate.cli import main
from support.audit_logs import MadeLog
from support.html_pages import Page
from support.told_sessions import ANSWER, SESSION, ToldSession


@pytest.fixture
def told(tmp_path: Path) -> ToldSession:
    session = ToldSession(tmp_path / "log", MadeLog(step_ns=400_000_000))
    progress = (900, MessageKind.EVENT, {"method": "notifications/progress", "params": {"message": "booking"}})
    session.call("close_month", {"month": "2026-09"}, (progress, ANSWER))
    session.log.refusal(tool="wipe_ledger", reason="no_grant", rule="no-wiping", purpose="close the books")
    session.log.now_ns += 26 * 60 * 10**9
    session.call("refund", {"amount": 120}, status="tool_error")
    session.log.call(tool="get_invoice")
    session.log.call(tool="get_invoice", orphan=True)
    session.log.call(session="77" * 8)
    session.write()
    return session


def export(told: ToldSession, *more: str | Path) -> Result:
    page = str(told.folder / "page.html")
    return CliRunner().invoke(
        main, ["session", "export", SESSION, "--log", str(told.folder), "-o", page, *map(str, more)]
    )


def exported(told: ToldSession, *more: str | Path) -> str:
    result = export(told, *more)
    assert result.exit_code == 0, result.output
    return (told.folder / "page.html").read_text("utf-8")


def test_the_page_is_well_formed_html_with_landmarks_and_headings_in_order(told: ToldSession) -> None:
    page = Page(exported(told, "--identity", told.identity))

    assert page.doctype == "DOCTYPE html"
    assert page.one("html").attributes["lang"] == "en"
    assert page.all("title")[0].text == f"Session {SESSION}, 2026-01-07T12:00:00Z"
    for landmark in ("header", "main", "footer", "h1"):
        assert len(page.all(landmark)) == 1
    levels = [int(each.name[1]) for each in page.elements if re.fullmatch("h[1-6]", each.name)]
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))


def test_every_id_is_there_once_and_every_link_leads_to_one(told: ToldSession) -> None:
    page = Page(exported(told, "--identity", told.identity))

    ids = [each.attributes["id"] for each in page.elements if "id" in each.attributes]
    assert len(ids) == len(set(ids))
    links = [each.attributes["href"] for each in page.all("a")]
    named = [name for each in page.elements for name in each.attributes.get("aria-labelledby", "").split()]
    assert links
    assert {*links} <= {f"#{name}" for name in ids}
    assert {*named} <= {*ids}


def test_the_page_asks_for_nothing_and_forbids_what_could(told: ToldSession) -> None:
    text = exported(told, "--identity", told.identity)
    page = Page(text)

    policy = page.one("meta", **{"http-equiv": "Content-Security-Policy"}).attributes["content"]
    digest = b64encode(sha256(page.one("style").text.encode()).digest()).decode()
    assert policy == f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    # A policy in a meta element says nothing about what comes before it.
    names = page.skeleton
    assert names[:4] == ["html", "head", "meta", "meta"]
    assert not {*names} & {
        "script",
        "link",
        "img",
        "iframe",
        "object",
        "embed",
        "form",
        "base",
        "audio",
        "video",
        "use",
    }
    attributes = {name for each in page.elements for name in each.attributes}
    assert not attributes & {"src", "srcset", "style", "action", "data", "background", "xlink:href", "ping"}
    assert not any(name.startswith("on") for name in attributes)
    assert "url(" not in page.one("style").text
    assert "@import" not in page.one("style").text


def test_the_head_says_who_when_where_and_how_it_went(told: ToldSession) -> None:
    page = Page(exported(told))

    facts = {name.text: fact.text for name, fact in zip(page.all("dt"), page.all("dd"), strict=True)}
    assert facts["Agent"] == "spiffe://acme.test/ns/billing/sa/agent"
    assert facts["First request"] == "2026-01-07T12:00:00Z"
    assert page.one("p", **{"class": "lead"}).text.startswith(
        "5 requests: 2 went well, 1 denied, 1 failed, 1 without an outcome"
    )


def test_each_request_has_its_path_its_rules_and_its_outcome(told: ToldSession) -> None:
    page = Page(exported(told))

    refused = page.one("li", id="step-2")
    assert refused.attributes["class"] == "step denied"
    for said in (
        "tools/call wipe_ledger on ledger",
        "denied",
        "decide: no_grant",
        "denial no-wiping",
        "close the books",
    ):
        assert said in refused.text
    assert "no_grant: Denied by policy" in refused.text
    assert page.one("li", id="step-3").attributes["class"] == "step failed"
    assert page.one("li", id="step-5").attributes["class"] == "step open"
    assert "get_invoice" not in refused.text


def test_what_did_not_go_well_is_listed_before_the_rest(told: ToldSession) -> None:
    listed = Page(exported(told)).one("section", **{"aria-labelledby": "not-well"})

    assert re.findall(r"Request \d", listed.text) == ["Request 2", "Request 3", "Request 5"]


def test_the_picture_has_a_mark_for_each_request_that_differs_in_shape_too(told: ToldSession) -> None:
    text = exported(told)
    page = Page(text)

    drawn = re.search(r"<figure.*?<svg(.*?)</svg>", text, re.DOTALL)
    assert drawn is not None
    marks = re.findall(r'<a href="#step-(\d)".*?<g class="(\w+)".*?</title><(\w+) (?:d="([^"]*)"|r="(\d)")', drawn[1])
    assert {number for number, *_ in marks} == {"1", "2", "3", "4", "5"}
    shapes = {tone: (name, outline or radius) for _, tone, name, outline, radius in marks}
    assert set(shapes) == {"well", "denied", "failed", "open"}
    assert len(set(shapes.values())) == 4
    assert page.one("svg", role="img").attributes["aria-labelledby"] == "picture-title picture-text"


def test_a_long_pause_is_cut_in_the_picture_and_said_there(told: ToldSession) -> None:
    longer = ToldSession(told.folder.with_name("longer"), told.log)
    for _ in range(10):
        longer.log.call()
    longer.write()

    assert "26 min 0 s cut" in exported(longer)


def test_content_is_on_the_page_for_who_has_the_key_alone(told: ToldSession) -> None:
    assert "2026-09" not in exported(told)
    assert "encrypted to 1 key" in exported(told)

    page = Page(exported(told, "--identity", told.identity))

    messages = [each.text for each in page.all("pre")]
    assert '"month": "2026-09"' in messages[0]
    assert '"message": "booking"' in messages[1]
    assert "event, +0.000 s after the call began" in page.one("li", id="step-1").text


def test_the_page_is_its_owners_alone(told: ToldSession) -> None:
    exported(told, "--identity", told.identity)

    assert stat.S_IMODE((told.folder / "page.html").stat().st_mode) == 0o600


def test_a_page_that_cannot_be_made_to_its_end_leaves_the_old_one_and_no_pieces(told: ToldSession) -> None:
    before = exported(told)
    for shard in told.folder.glob("content/??"):
        shutil.rmtree(shard)
        shard.write_text("no folder")

    result = export(told, "--identity", told.identity)

    assert result.exit_code == 1
    assert "cannot read what was recorded" in result.stderr
    assert (told.folder / "page.html").read_text("utf-8") == before
    assert not [*told.folder.glob(".*.new")]


def test_a_place_where_nothing_can_be_written_is_told_in_a_sentence(told: ToldSession, tmp_path: Path) -> None:
    result = export(told, "-o", tmp_path / "not" / "there.html")

    assert result.exit_code == 1
    assert "cannot write" in result.stderr


def test_a_page_of_a_long_session_has_its_end_and_says_what_was_left_out(told: ToldSession) -> None:
    page = Page(exported(told, "--last", "2"))

    assert "This page has the last 2 of them; 3 earlier ones were left out." in page.one("header").text
    steps = [each.attributes["id"] for each in page.all("li") if each.attributes.get("id", "").startswith("step-")]
    assert steps == ["step-4", "step-5"]


def test_content_beyond_what_a_page_takes_is_left_out_and_said_to_be(tmp_path: Path) -> None:
    told = ToldSession(tmp_path)
    told.call("upload", {"file": "x" * 300_000})
    told.call("upload", {"file": "y" * 1000})
    told.write()

    text = exported(told, "--identity", told.identity)

    assert "more than 256.0 KiB passed; the rest is not shown here" in text
    assert "xxx" not in text
    assert "yyy" in text


def test_says_that_the_records_hang_together_and_how_to_check_more(told: ToldSession) -> None:
    verdict = Page(exported(told)).one("section", **{"aria-labelledby": "verdict"}).text

    assert "each names the one before it by its hash, checked when this page was made" in verdict
    assert "only a checkpoint helps: none was looked at" in verdict
    assert "callgate audit verify DIR --key PUB --checkpoint FILE" in verdict


def test_says_so_where_a_record_was_edited(told: ToldSession) -> None:
    (path,) = (told.folder / "log").iterdir()
    path.write_bytes(path.read_bytes().replace(b'"tool":"wipe_ledger"', b'"tool":"get_invoice"', 1))

    page = Page(exported(told))

    verdict = page.one("section", **{"aria-labelledby": "verdict"}).text
    assert "No: record" in verdict
    assert "What is told here may be false." in verdict


def test_with_the_logs_key_the_whole_log_is_verified(told: ToldSession, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.write_text((told.folder / "checkpoint").read_text())
    key = tmp_path / "key.pub"
    key.write_text(f"{told.key.vkey}\n")

    verdict = (
        Page(exported(told, "--key", key, "--checkpoint", kept)).one("section", **{"aria-labelledby": "verdict"}).text
    )

    assert "Yes: all" in verdict
    assert told.key.vkey in verdict
    assert "No checkpoint that was kept elsewhere" not in verdict
    without = Page(exported(told, "--key", told.key.vkey)).one("section", **{"aria-labelledby": "verdict"}).text
    assert "No checkpoint that was kept elsewhere covers all of this session." in without


def test_with_the_logs_key_an_edited_log_is_found_whole_or_not(told: ToldSession) -> None:
    (path,) = (told.folder / "log").iterdir()
    path.write_bytes(path.read_bytes().replace(b'"tool":"wipe_ledger"', b'"tool":"get_invoice"', 1))

    verdict = Page(exported(told, "--key", told.key.vkey)).one("section", **{"aria-labelledby": "verdict"}).text

    assert "No: the log was verified, and is not whole." in verdict


@pytest.mark.parametrize("key", ["nonsense", "/etc/hostname"])
def test_what_is_no_key_is_refused(told: ToldSession, key: str) -> None:
    assert export(told, "--key", key).exit_code == 2


def test_a_checkpoint_without_a_key_is_refused(told: ToldSession) -> None:
    result = export(told, "--checkpoint", told.folder / "checkpoint")

    assert result.exit_code == 2
    assert "--checkpoint needs --key" in result.stderr
