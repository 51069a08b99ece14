"""What a notice says, and what it never says."""

from dataclasses import replace

import orjson
import pytest

from callgate.approvals.happened import Happened, Happening
from callgate.approvals.model import Request, Verdict, Vote, new_request
from callgate.approvals.notify.notices import document, notice_of, subject_of
from callgate.approvals.store import Notice
from support.notified import ALICE, CANARY, LEADS, SITE, Clock, ask_of

AT = 1_700_000_000.123


def request_of(**changes: object) -> Request:
    return new_request("ab" * 16, ask_of("refund", LEADS, **changes), Clock().moment())


def happened(happening: Happening = Happening.ASKED, request: Request | None = None, **changes: object) -> Happened:
    return replace(Happened(happening, request or request_of(), AT), **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize("happening", Happening)
def test_has_the_structure_that_the_specification_recommends(happening: Happening) -> None:
    found = document(happened(happening), SITE)
    assert found["type"] == f"approval.{happening}"
    assert found["timestamp"] == "2023-11-14T22:13:20.123Z"
    assert isinstance(found["data"], dict)
    assert found["data"]["id"] == "ab" * 16


def test_leads_to_the_page() -> None:
    found = orjson.loads(notice_of(happened(), "ops", SITE).body)
    assert found["data"]["url"] == f"https://gate.acme.test:8444/approvals/r/{'ab' * 16}"


def test_holds_no_argument_no_definition_and_nothing_that_screening_found() -> None:
    assert CANARY not in notice_of(happened(), "ops", SITE).body.decode()


def test_says_on_whose_behalf_where_it_is_somebodys() -> None:
    assert "user" not in orjson.loads(notice_of(happened(), "ops", SITE).body)["data"]
    told = notice_of(happened(request=request_of(user="erin@acme.test")), "ops", SITE)
    assert orjson.loads(told.body)["data"]["user"] == "erin@acme.test"


def test_takes_what_looks_like_a_credential_out_of_a_reason() -> None:
    vote = Vote(ALICE, Verdict.DENY, "try Bearer abcdefghijklmnopqrstuvwxyz", AT)
    found = orjson.loads(notice_of(happened(Happening.DENIED, vote=vote), "ops", SITE).body)
    assert found["data"]["reason"] == "try [removed]"


def test_is_smaller_than_20_kilobytes_whatever_an_agent_asks_for() -> None:
    request = request_of(user="\u202e" * 9000)
    binding = replace(request.ask.binding, tool="\u202e" * 9000, server="s" * 9000, caller="spiffe://" + "c" * 9000)
    approvals = tuple(replace(LEADS, rule=f"{number}" * 9000) for number in range(100))
    request = replace(request, ask=replace(request.ask, binding=binding, approvals=approvals))
    assert len(notice_of(happened(request=request), "ops", SITE).body) < 20_000


def test_one_happening_has_one_id_and_each_target_its_own() -> None:
    first, again = (notice_of(happened(), "ops", SITE).id for _ in range(2))
    assert first == again
    others = [
        notice_of(happened(), "other", SITE).id,
        notice_of(happened(Happening.EXPIRED), "ops", SITE).id,
        notice_of(happened(request=replace(request_of(), revision=1)), "ops", SITE).id,
        notice_of(happened(Happening.SEEN, person="alice"), "ops", SITE).id,
    ]
    assert len({first, *others}) == 5


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{}", b'{"type": "approval.made-up", "data": {"id": "1"}}', b'{"type": 1}']
)
def test_what_was_not_made_here_is_about_nothing(body: bytes) -> None:
    assert subject_of(Notice("msg_1", "ops", body, 0.0)) is None
