from typing import Any

import pytest

from callgate.errors import Reason, Refusal
from callgate.wire.jsonrpc import RpcFailure, RpcNotification, RpcRequest, RpcResult
from callgate.wire.list_walk import MAX_LIST_BYTES, MAX_LISTED_TOOLS, MAX_PAGES, ListWalk
from callgate.wire.mcp import Request
from callgate.wire.methods import LEGACY_REVISION, MODERN_REVISION, Era

NO_SUCH_REVISION = RpcFailure(None, -32600, "Bad Request: Missing session ID")
BEGUN = RpcResult(2, {"protocolVersion": LEGACY_REVISION, "capabilities": {"tools": {}}})


def page(*names: str, cursor: object = None, **more: Any) -> RpcResult:  # noqa: ANN401  # JSON
    next_cursor: dict[str, Any] = {} if cursor is None else {"nextCursor": cursor}
    return RpcResult(1, {"tools": [{"name": name} for name in names], **next_cursor, **more})


def sent(walk: ListWalk) -> Request:
    found = walk.next()
    assert found is not None
    return found


def method(walk: ListWalk) -> str:
    return sent(walk).message.method


def test_asks_in_the_modern_revision_first() -> None:
    walk = ListWalk("ledger")
    request = sent(walk)

    assert (request.era, request.revision, request.message.method) == (Era.MODERN, MODERN_REVISION, "tools/list")
    meta = request.message.params["_meta"]
    assert isinstance(meta, dict)
    assert meta["io.modelcontextprotocol/protocolVersion"] == MODERN_REVISION
    assert walk.take(page("a", "b")) is None
    assert walk.next() is None
    assert walk.tools == [{"name": "a"}, {"name": "b"}]
    assert walk.era is Era.MODERN


@pytest.mark.parametrize(
    "answer",
    [NO_SUCH_REVISION, Refusal(Reason.UPSTREAM_STATUS, "406"), Refusal(Reason.UPSTREAM_MESSAGE, "no JSON")],
)
def test_opens_a_session_with_a_server_that_speaks_the_legacy_revision(answer: RpcFailure | Refusal) -> None:
    walk = ListWalk("ledger")
    sent(walk)
    assert walk.take(answer) is None

    request = sent(walk)
    assert (request.era, request.revision) == (Era.LEGACY, LEGACY_REVISION)
    assert isinstance(request.message, RpcRequest)
    assert request.message.method == "initialize"
    assert request.message.params["protocolVersion"] == LEGACY_REVISION
    assert walk.take(BEGUN, "session-1") is None
    assert isinstance(sent(walk).message, RpcNotification)
    assert walk.take(None) is None
    last = sent(walk)
    assert last.message.method == "tools/list"
    assert last.message.params == {}
    assert walk.session_id == "session-1"
    assert walk.take(page("a")) is None
    assert walk.next() is None
    assert walk.era is Era.LEGACY


def test_tries_no_other_revision_where_one_is_known() -> None:
    walk = ListWalk("ledger", Era.MODERN)
    sent(walk)
    refusal = walk.take(NO_SUCH_REVISION)
    assert isinstance(refusal, Refusal)
    assert method(ListWalk("ledger", Era.LEGACY)) == "initialize"


@pytest.mark.parametrize(
    "reason",
    [Reason.UPSTREAM_UNREACHABLE, Reason.UPSTREAM_IDENTITY, Reason.UPSTREAM_REFUSED_TOKEN, Reason.UPSTREAM_TIMEOUT],
)
def test_asks_a_server_that_cannot_be_reached_nothing_more(reason: Reason) -> None:
    walk = ListWalk("ledger")
    sent(walk)
    refused = Refusal(reason)
    assert walk.take(refused) is refused


def test_turns_all_pages() -> None:
    walk = ListWalk("ledger")
    sent(walk)
    assert walk.take(page("a", cursor="2")) is None
    second = sent(walk)
    assert second.message.params["cursor"] == "2"
    assert walk.take(page("b")) is None
    assert walk.next() is None
    assert [tool["name"] for tool in walk.tools if isinstance(tool, dict)] == ["a", "b"]


def test_no_two_messages_have_the_same_id() -> None:
    walk = ListWalk("ledger")
    first = sent(walk).message
    walk.take(page("a", cursor="2"))
    second = sent(walk).message
    assert isinstance(first, RpcRequest)
    assert isinstance(second, RpcRequest)
    assert first.id != second.id


@pytest.mark.parametrize(
    "answer",
    [
        RpcResult(1, {}),
        RpcResult(1, {"tools": {}}),
        page("a", resultType="input_required"),
        page("a", cursor=5),
        page("a", cursor="x" * 5_000),
        None,
    ],
)
def test_an_answer_that_is_no_list_is_the_end(answer: RpcResult | None) -> None:
    walk = ListWalk("ledger", Era.MODERN)
    sent(walk)
    refusal = walk.take(answer)
    assert isinstance(refusal, Refusal)
    assert refusal.reason is Reason.UPSTREAM_MESSAGE


def test_a_server_that_speaks_an_older_revision_alone_is_not_asked() -> None:
    walk = ListWalk("ledger", Era.LEGACY)
    sent(walk)
    assert isinstance(walk.take(RpcResult(1, {"protocolVersion": "2024-11-05"})), Refusal)


def test_a_list_without_an_end_is_the_end() -> None:
    walk = ListWalk("ledger", Era.MODERN)
    for number in range(MAX_PAGES):
        sent(walk)
        refusal = walk.take(page(cursor=str(number)))
        if refusal is not None:
            assert refusal.reason is Reason.UPSTREAM_TOO_LARGE
            return
    pytest.fail("it never ends")


def test_a_cursor_that_comes_again_is_the_end() -> None:
    walk = ListWalk("ledger", Era.MODERN)
    sent(walk)
    assert walk.take(page(cursor="1")) is None
    sent(walk)
    assert isinstance(walk.take(page(cursor="1")), Refusal)


def test_too_many_tools_or_bytes_are_the_end() -> None:
    many = ListWalk("ledger", Era.MODERN)
    sent(many)
    assert isinstance(many.take(page(*[f"t{n}" for n in range(MAX_LISTED_TOOLS + 1)])), Refusal)
    large = ListWalk("ledger", Era.MODERN)
    sent(large)
    assert isinstance(large.take(page("a"), size=MAX_LIST_BYTES + 1), Refusal)
