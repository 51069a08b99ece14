"""What is written down comes back as it was, and nothing else is read."""

from dataclasses import replace

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from callgate.approvals.model import Request, State
from callgate.approvals.store import Session, StoreFault
from callgate.approvals.stored import (
    Unreadable,
    request_of,
    request_parts,
    session_bytes,
    session_of,
    with_shown,
    without_shown,
)
from callgate.wire.json_strict import JsonObject
from support.approval_strategies import requests
from support.approval_values import ARGUMENTS, NOW, ask_of, person_of, vote_of
from support.approval_values import request_of as new_request_of

SESSION = Session("a" * 64, person_of(), "csrf", NOW, NOW)


def written() -> JsonObject:
    request = replace(new_request_of(), votes=(vote_of(),), ended=NOW, seen=("alice",))
    found: JsonObject = orjson.loads(request_parts(request)[0])
    return found


def read(value: object) -> Request:
    return request_of(orjson.dumps(value))


@settings(deadline=None)
@given(requests)
def test_every_request_comes_back_as_it_was(request: Request) -> None:
    part, shown = request_parts(request)
    assert request_of(part) == without_shown(request)
    assert with_shown(request_of(part), shown) == request


@settings(deadline=None)
@given(requests)
def test_types_come_back_as_well_as_values(request: Request) -> None:
    found = with_shown(request_of(request_parts(request)[0]), request_parts(request)[1])
    assert repr(found.ask.arguments) == repr(request.ask.arguments)
    assert type(found.state) is State
    assert all(type(approval.groups) is frozenset for approval in found.ask.approvals)
    hash(found.votes)


def test_what_lists_show_holds_neither_arguments_nor_the_definition() -> None:
    request = new_request_of(ask=ask_of(arguments={**ARGUMENTS, "note": "canary-argument"}))
    part, shown = request_parts(request)
    assert b"canary-argument" in shown
    assert b"canary-argument" not in part
    assert b'{"name"' not in part
    assert without_shown(request).ask.arguments == {}
    assert without_shown(request).ask.binding == request.ask.binding


@pytest.mark.parametrize("field", sorted(written()))
def test_a_field_that_is_missing_is_a_fault(field: str) -> None:
    value = written()
    del value[field]
    with pytest.raises(Unreadable):
        read(value)


@pytest.mark.parametrize("path", [(), ("ask",), ("ask", "binding"), ("deadline",), ("deadline", "since"), ("asked",)])
def test_a_field_that_is_not_known_is_a_fault_at_any_depth(path: tuple[str, ...]) -> None:
    value = written()
    inner = value
    for name in path:
        found = inner[name]
        assert isinstance(found, dict)
        inner = found
    inner["approved_by_the_agent"] = True
    with pytest.raises(Unreadable):
        read(value)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("id", 1),
        ("id", None),
        ("state", "granted"),
        ("state", "APPROVED"),
        ("calls", "1"),
        ("calls", 1.0),
        ("calls", True),
        ("revision", None),
        ("ended", False),
        ("ended", []),
        ("votes", {}),
        ("votes", [[]]),
        ("seen", ["alice", None]),
        ("asked", {"wall": "1", "boot": "b", "since_boot": 1.0}),
        ("asked", {"wall": True, "boot": "b", "since_boot": 1.0}),
        ("asked", {"wall": None, "boot": "b", "since_boot": 1.0}),
        ("deadline", None),
    ],
)
def test_a_value_of_another_type_is_a_fault(field: str, value: object) -> None:
    with pytest.raises(Unreadable):
        read({**written(), field: value})


def test_a_pair_has_two_and_a_vote_one_of_the_known_verdicts() -> None:
    value = written()
    ask = value["ask"]
    assert isinstance(ask, dict)
    for pair in ([1.0], [1.0, 2.0, 3.0]):
        with pytest.raises(Unreadable):
            read({**value, "ask": {**ask, "svid": pair}})
    votes = value["votes"]
    assert isinstance(votes, list)
    assert isinstance(votes[0], dict)
    with pytest.raises(Unreadable):
        read({**value, "votes": [{**votes[0], "verdict": "maybe"}]})


@pytest.mark.parametrize("shown", [b"", b"{}", b"[]", b"[{}]", b'[{}, ""', b'[[], ""]', b"[{}, null]", b'[{}, "", 1]'])
def test_arguments_and_a_definition_are_those_two(shown: bytes) -> None:
    with pytest.raises(Unreadable):
        with_shown(new_request_of(), shown)


@given(st.binary(max_size=64))
def test_bytes_that_nobody_wrote_are_a_fault_and_nothing_else(data: bytes) -> None:
    with pytest.raises(Unreadable):
        request_of(data)
    with pytest.raises(Unreadable):
        session_of(data)


def test_a_session_comes_back_as_it_was() -> None:
    assert session_of(session_bytes(SESSION)) == SESSION


def test_text_that_is_no_unicode_is_not_written_and_not_told() -> None:
    request = replace(new_request_of(), votes=(vote_of(reason="secret \ud800"),))
    with pytest.raises(StoreFault) as caught:
        request_parts(request)
    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_fault_tells_nothing_of_what_was_kept() -> None:
    with pytest.raises(Unreadable) as caught:
        read({**written(), "id": ["canary"]})
    assert "canary" not in str(caught.value)
