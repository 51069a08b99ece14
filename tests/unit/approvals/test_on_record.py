"""What the log says of a request for approval: all that a reader needs, and nothing that must not be there."""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from callgate.approvals.happened import Happened, Happening
from callgate.approvals.model import (
    Ask,
    Binding,
    Cover,
    Means,
    Moment,
    Person,
    Request,
    Verdict,
    Vote,
    new_request,
    settled,
    used_once,
    voted,
)
from callgate.approvals.on_record import fields_of
from callgate.audit.chain import Chain, Kind
from callgate.audit.chain import Moment as At
from callgate.audit.record_parts import HAPPENINGS, MEANS, VERDICTS
from callgate.policy.approval import Approval, Repeat
from support.record_format import faults_of

POLICY = f"sha256:{'1' * 64}"
NOW = Moment(1_800_000_000.0, "boot", 100.0)
BINDING = Binding("spiffe://acme.test/ns/billing/sa/agent", "ledger", "refund", "2" * 64, f"sha256:{'3' * 64}", POLICY)
ONCE = Approval("refunds-over-500", frozenset({"leads"}), frozenset())
ALICE = Person("alice@acme.test", frozenset({"leads"}), Means.OIDC, 1_799_999_990.5, "https://idp.acme.test", "sub-1")
ADA = Person("local:ada", frozenset({"leads", "local"}), Means.SOCKET, 1_800_000_001.0, uid=1000)
SECRET = "card 4111 1111 1111 1111"


def request(approval: Approval = ONCE, binding: Binding = BINDING) -> Request:
    ask = Ask(
        binding,
        {"note": SECRET},
        (approval,),
        found=(f"found {SECRET}",),
        session="5e" * 8,
        decision="dd" * 16,
        trace="cc" * 16,
    )
    return new_request("ad" * 16, ask, NOW)


def answered(vote: Vote, of: Request | None = None) -> Request:
    found = voted(of or request(), vote, NOW, POLICY)
    assert isinstance(found, Request)
    return found


def approval(reason: str = "", person: Person = ALICE, cover: Cover | None = None) -> Vote:
    return Vote(person, Verdict.APPROVE, reason, NOW.wall, cover)


def said(
    happening: Happening, of: Request, vote: Vote | None = None, person: str = "", call: tuple[str, str] = ("", "")
) -> Mapping[str, Any]:
    """The fields, as a record of the published format has them.  `call`: its decision and its trace."""
    fields = fields_of(Happened(happening, of, NOW.wall, vote, person, *call))
    line = Chain().extend(Kind.APPROVAL, fields, At(0, 0))
    assert faults_of([json.loads(line)]) == []
    return fields


def test_asked_names_the_call_the_rule_and_the_binding_and_no_person() -> None:
    assert said(Happening.ASKED, request(), call=("dd" * 16, "cc" * 16)) == {
        "happening": "asked",
        "approval": "ad" * 16,
        "binding": BINDING.digest,
        "caller": BINDING.caller,
        "server": "ledger",
        "tool": "refund",
        "args": "2" * 64,
        "policy": POLICY,
        "definition": f"sha256:{'3' * 64}",
        "session": "5e" * 8,
        "asked_by": "dd" * 16,
        "rules": ["refunds-over-500"],
        "decision": "dd" * 16,
        "trace": "cc" * 16,
        "expires": 1_800_000_900,
    }


def test_an_answer_names_the_person_how_it_signed_in_and_why() -> None:
    vote = approval("as agreed with sales")
    fields = said(Happening.APPROVED, answered(vote), vote=vote)

    assert fields["by"] == {
        "name": "alice@acme.test",
        "means": "oidc",
        "issuer": "https://idp.acme.test",
        "subject": "sub-1",
        "signed_in": 1_799_999_990,
    }
    assert (fields["verdict"], fields["reason"]) == ("approve", "as agreed with sales")
    assert (fields["calls"], fields["used"]) == (1, 0)


def test_a_person_at_the_admin_socket_is_named_by_the_kernels_word_of_it() -> None:
    vote = Vote(ADA, Verdict.DENY, "not today", NOW.wall)
    fields = said(Happening.DENIED, answered(vote), vote=vote)

    assert fields["by"] == {"name": "local:ada", "means": "socket", "uid": 1000, "signed_in": 1_800_000_001}
    assert (fields["verdict"], fields["reason"]) == ("deny", "not today")
    assert "calls" not in fields


def test_who_only_looked_is_named_and_said_nothing() -> None:
    fields = said(Happening.SEEN, request(), person="alice@acme.test")
    assert fields["by"] == {"name": "alice@acme.test"}
    assert "verdict" not in fields


def test_what_was_agreed_to_beyond_one_call_is_on_record_with_what_was_used_of_it() -> None:
    repeated = request(replace(ONCE, repeat=Repeat((("customer",),), 900, 5)))
    vote = approval("", cover=Cover(3, 600))
    agreed = answered(vote, repeated)
    used = used_once(agreed, NOW, POLICY)
    assert used is not None

    fields = said(Happening.APPROVED, agreed, vote=vote)
    assert (fields["cover"], fields["calls"], fields["expires"]) == ({"calls": 3, "seconds": 600}, 3, 1_800_000_600)
    fields = said(Happening.USED, used, call=("ee" * 16, "bb" * 16))
    assert (fields["calls"], fields["used"], fields["decision"]) == (3, 1, "ee" * 16)
    later = replace(NOW, wall=NOW.wall + 601)
    fields = said(Happening.EXPIRED, settled(used, later, POLICY))
    assert (fields["calls"], fields["used"]) == (3, 1)


@pytest.mark.parametrize("happening", [Happening.EXPIRED, Happening.VOID])
def test_what_ends_by_itself_names_nobody(happening: Happening) -> None:
    assert "by" not in said(happening, request())


def test_no_argument_and_nothing_that_was_found_in_one_is_on_record() -> None:
    vote = approval("fine")
    for happening in Happening:
        fields = said(happening, answered(vote), vote=vote)
        assert "4111" not in json.dumps(fields)
        assert "before" not in fields


@pytest.mark.parametrize(
    ("reason", "kept"),
    [
        ("first\nsecond\u202e", r"first\nsecond\u202e"),
        ("see Bearer abcdefghijklmnopqrstuvwxyz", "see [removed]"),
        ("eyJhbGciOiJFUzI1NiJ9.e30.c2ln", "[removed]"),
        (" ", None),
        ("", None),
    ],
)
def test_a_reason_is_one_line_without_credentials(reason: str, kept: str | None) -> None:
    vote = approval(reason)
    assert said(Happening.APPROVED, answered(vote), vote=vote).get("reason") == kept


def test_a_reason_has_500_characters_at_most_whatever_they_become() -> None:
    vote = Vote(ALICE, Verdict.DENY, "\x00" * 500, NOW.wall)
    assert len(said(Happening.DENIED, answered(vote), vote=vote)["reason"]) == 500


def test_on_whose_behalf_the_call_is_stands_beside_the_workload() -> None:
    user = ("https://idp.acme.test", "bob")
    fields = said(Happening.ASKED, request(binding=replace(BINDING, user=user)))
    assert fields["user"] == {"issuer": "https://idp.acme.test", "subject": "bob"}


def test_what_is_not_known_of_the_tool_is_left_out() -> None:
    assert "definition" not in said(Happening.ASKED, request(binding=replace(BINDING, definition="")))


def test_the_format_knows_everything_that_can_happen_and_every_answer_and_means() -> None:
    assert set(HAPPENINGS) == set(Happening)
    assert set(VERDICTS) == set(Verdict)
    assert set(MEANS) == set(Means)
