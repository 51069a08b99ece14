import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callgate.errors import Reason, Refusal
from callgate.wire.answers import (
    Verdict,
    answers,
    classify,
    filter_tools,
    is_tool_error,
    narrow_capabilities,
    read_answer,
    read_event,
    read_session_id,
)
from callgate.wire.json_strict import JsonLimits, JsonObject, JsonValue
from callgate.wire.jsonrpc import RpcFailure, RpcNotification, RpcRequest, RpcResult, ServerMessage
from callgate.wire.mcp import Era, Request
from callgate.wire.sse import SseEvent

LIMITS = JsonLimits(max_bytes=4096, safe_integers=False)


def _request(era: Era, progress: JsonValue = "t") -> Request:
    message = RpcRequest(1, "tools/call", {"name": "a", "_meta": {"progressToken": progress}})
    return Request("ledger", era, "", message, "a", {})


def _refused(found: object) -> Reason:
    assert isinstance(found, Refusal)
    return found.reason


def test_reads_an_answer() -> None:
    assert read_answer(b'{"jsonrpc":"2.0","id":1,"result":{"n":9007199254740993}}', LIMITS) == RpcResult(
        1, {"n": 9007199254740993}
    )


@pytest.mark.parametrize(
    "said",
    [
        *(b"", b"x", b"[]", b"{}", b'[{"jsonrpc":"2.0","id":1,"result":{}}]', b'{"jsonrpc":"2.0","id":1,"result":[]}'),
        *(b'{"jsonrpc":"2.0","id":1,"id":2,"result":{}}', b'{"jsonrpc":"2.0","id":1,"result":{"a":1,"a":2}}'),
        *(b'{"jsonrpc":"2.0","id":1,"result":{"a":NaN}}', b'\xef\xbb\xbf{"jsonrpc":"2.0","id":1,"result":{}}'),
        *(b'{"jsonrpc":"2.0","id":1,"Result":{},"result":{}}', b'{"jsonrpc":"2.0","id":1,"result":{}} {}'),
        b'{"jsonrpc":"2.0","id":1,"result":{"n":99999999999999999999}}',
    ],
)
def test_refuses_what_is_not_exactly_one_message(said: bytes) -> None:
    assert _refused(read_answer(said, LIMITS)) is Reason.UPSTREAM_MESSAGE


@pytest.mark.parametrize("said", [b'"' + b"x" * 4096 + b'"', b"[" * 65 + b"]" * 65])
def test_an_answer_beyond_the_limits_is_too_large(said: bytes) -> None:
    assert _refused(read_answer(said, LIMITS)) is Reason.UPSTREAM_TOO_LARGE


def test_reads_the_message_of_an_event() -> None:
    event = SseEvent(b'{"jsonrpc":"2.0","id":1,"result":{}}', id="7")
    assert read_event(event, LIMITS) == RpcResult(1, {})
    assert _refused(read_event(SseEvent(b"x"), LIMITS)) is Reason.UPSTREAM_MESSAGE


@pytest.mark.parametrize("event", [SseEvent(b""), SseEvent(b"{}", event="ping"), SseEvent(b"", id="0", retry_ms=500)])
def test_an_event_without_a_message_is_none(event: SseEvent) -> None:
    assert read_event(event, LIMITS) is None


@pytest.mark.parametrize(
    ("said", "asked", "same"),
    [(1, 1, True), ("1", "1", True), ("1", 1, False), (1, "1", False), (1, 2, False), ("", "", True), (None, 1, False)],
)
def test_an_answer_has_the_id_of_its_request(said: str | int | None, asked: str | int, same: bool) -> None:
    assert answers(RpcFailure(said, 1, "x"), RpcRequest(asked, "ping")) is same
    if said is not None:
        assert answers(RpcResult(said, {}), RpcRequest(asked, "ping")) is same


PASS: list[ServerMessage] = [
    RpcResult(1, {"content": []}),
    RpcResult(1, {"resultType": "complete"}),
    RpcFailure(1, -32602, "x"),
    RpcNotification("notifications/message", {"level": "info"}),
    RpcNotification("notifications/progress", {"progressToken": "t", "progress": 1}),
]
DROP: list[ServerMessage] = [
    RpcNotification("notifications/progress", {"progressToken": "other"}),
    RpcNotification("notifications/progress", {}),
    RpcNotification("notifications/tools/list_changed"),
    RpcNotification("notifications/resources/updated", {"uri": "file:///x"}),
    RpcNotification("notifications/cancelled", {"requestId": 1}),
    RpcNotification("notifications/unknown"),
]
REFUSE: list[ServerMessage] = [
    RpcRequest(1, "sampling/createMessage"),
    RpcRequest("x", "elicitation/create"),
    RpcRequest(1, "ping"),
    RpcRequest(2, "roots/list"),
    RpcResult(2, {}),
    RpcResult("1", {}),
    RpcFailure(2, 1, "x"),
    RpcFailure(None, 1, "x"),
]
NOT_COMPLETE: list[JsonValue] = ["input_required", "task", "Complete", "", None, 1, [], {}]


@pytest.mark.parametrize("era", Era)
@pytest.mark.parametrize(
    ("said", "verdict"),
    [
        *((said, Verdict.PASS) for said in PASS),
        *((said, Verdict.DROP) for said in DROP),
        *((said, Verdict.REFUSE) for said in REFUSE),
    ],
)
def test_what_becomes_of_a_message_on_the_stream(said: ServerMessage, verdict: Verdict, era: Era) -> None:
    assert classify(said, _request(era)) is verdict


@pytest.mark.parametrize("kind", NOT_COMPLETE)
def test_a_result_that_asks_for_more_is_refused(kind: JsonValue) -> None:
    said = RpcResult(1, {"resultType": kind, "inputRequests": {}})
    assert classify(said, _request(Era.MODERN)) is Verdict.REFUSE


@pytest.mark.parametrize(
    ("token", "said"), [(1, "1"), ("1", 1), (1, True), (0, False), (1, 1.0), (None, None), ("t", None)]
)
def test_progress_of_a_token_of_another_type_is_dropped(token: JsonValue, said: JsonValue) -> None:
    message = RpcNotification("notifications/progress", {"progressToken": said})
    assert classify(message, _request(Era.MODERN, token)) is Verdict.DROP


def test_nothing_answers_a_notification() -> None:
    request = Request("ledger", Era.LEGACY, "", RpcNotification("notifications/initialized"))
    assert classify(RpcResult(1, {}), request) is Verdict.REFUSE


CAPABILITIES: JsonObject = {"tools": {"listChanged": True}, "resources": {}, "prompts": {}, "logging": {}, "tasks": {}}


def test_initialize_offers_tools_alone() -> None:
    result: JsonObject = {
        "protocolVersion": "2025-11-25",
        "capabilities": CAPABILITIES,
        "serverInfo": {"name": "ledger"},
        "instructions": "be kind",
    }
    assert narrow_capabilities(result, Era.LEGACY) == {**result, "capabilities": {"tools": {}}}


def test_a_server_without_tools_offers_nothing() -> None:
    result: JsonObject = {"protocolVersion": "2025-11-25", "capabilities": {"prompts": {}}}
    assert narrow_capabilities(result, Era.LEGACY) == {"protocolVersion": "2025-11-25", "capabilities": {}}


@pytest.mark.parametrize("version", ["2025-06-18", "2024-11-05", "2026-07-28", "", None, 1, []])
def test_initialize_in_another_revision_is_refused(version: JsonValue) -> None:
    result: JsonObject = {"protocolVersion": version, "capabilities": {"tools": {}}}
    assert _refused(narrow_capabilities(result, Era.LEGACY)) is Reason.UPSTREAM_MESSAGE


def test_discover_names_the_revisions_that_both_serve_and_is_private() -> None:
    result: JsonObject = {
        "resultType": "complete",
        "supportedVersions": ["2025-06-18", "2026-07-28", "2027-01-01", "2025-11-25"],
        "capabilities": CAPABILITIES,
        "instructions": "be kind",
        "ttlMs": 5000,
        "cacheScope": "public",
    }
    assert narrow_capabilities(result, Era.MODERN) == {
        "resultType": "complete",
        "supportedVersions": ["2026-07-28", "2025-11-25"],
        "capabilities": {"tools": {}},
        "instructions": "be kind",
        "ttlMs": 5000,
        "cacheScope": "private",
    }


@pytest.mark.parametrize("versions", [[], ["2027-01-01"], [[], {}, 1, None], "2026-07-28", None])
def test_discover_without_a_common_revision_is_refused(versions: JsonValue) -> None:
    result: JsonObject = {"supportedVersions": versions, "capabilities": {"tools": {}}}
    assert _refused(narrow_capabilities(result, Era.MODERN)) is Reason.UPSTREAM_MESSAGE


@pytest.mark.parametrize("capabilities", [None, [], "x"])
@pytest.mark.parametrize("era", Era)
def test_a_result_without_capabilities_is_refused(capabilities: JsonValue, era: Era) -> None:
    result: JsonObject = {"capabilities": capabilities, "protocolVersion": "2025-11-25"}
    assert _refused(narrow_capabilities(result, era)) is Reason.UPSTREAM_MESSAGE


def _tool(name: JsonValue) -> JsonObject:
    return {"name": name, "inputSchema": {"type": "object"}}


def test_shows_the_visible_tools_in_their_order() -> None:
    result: JsonObject = {"tools": [_tool("c"), _tool("a"), _tool("b")], "nextCursor": "n"}
    shown, hidden = filter_tools(result, {"b", "c"}.__contains__, Era.LEGACY)
    assert shown == {"tools": [_tool("c"), _tool("b")], "nextCursor": "n"}
    assert hidden == 1


def test_a_filtered_list_is_private_in_modern_revisions() -> None:
    result: JsonObject = {"tools": [_tool("a")], "resultType": "complete", "ttlMs": 60_000, "cacheScope": "public"}
    shown, _ = filter_tools(result, lambda _: True, Era.MODERN)
    assert shown == {"tools": [_tool("a")], "resultType": "complete", "ttlMs": 60_000, "cacheScope": "private"}


def test_a_list_says_private_even_where_the_tool_server_says_nothing() -> None:
    shown, _ = filter_tools({"tools": []}, lambda _: True, Era.MODERN)
    assert shown == {"tools": [], "cacheScope": "private"}


def test_an_empty_page_keeps_its_cursor() -> None:
    shown, hidden = filter_tools({"tools": [_tool("a")], "nextCursor": "n"}, lambda _: False, Era.LEGACY)
    assert shown == {"tools": [], "nextCursor": "n"}
    assert hidden == 1


@pytest.mark.parametrize(
    "tool",
    [
        None,
        "a",
        1,
        [],
        {},
        _tool(None),
        _tool(1),
        _tool([]),
        _tool(""),
        _tool("a b"),
        _tool("a" * 129),
        _tool("\u0430"),
    ],
)
def test_hides_a_tool_that_nobody_could_call(tool: JsonValue) -> None:
    shown, hidden = filter_tools({"tools": [tool, _tool("b")]}, lambda _: True, Era.LEGACY)
    assert shown == {"tools": [_tool("b")]}
    assert hidden == 1


def test_hides_a_second_tool_of_the_same_name() -> None:
    impostor: JsonObject = {"name": "a", "description": "the better one"}
    shown, hidden = filter_tools({"tools": [_tool("a"), impostor]}, lambda _: True, Era.LEGACY)
    assert shown == {"tools": [_tool("a")]}
    assert hidden == 1


@pytest.mark.parametrize("tools", [None, {}, "x", 1])
def test_a_list_that_is_none_shows_no_tool(tools: JsonValue) -> None:
    assert filter_tools({"tools": tools}, lambda _: True, Era.LEGACY) == ({"tools": []}, 0)


def test_filtering_leaves_the_result_as_it_was() -> None:
    result: JsonObject = {"tools": [_tool("a"), _tool("b")], "cacheScope": "public"}
    before = json.dumps(result)
    filter_tools(result, "a".__eq__, Era.MODERN)
    assert json.dumps(result) == before


@pytest.mark.parametrize(("result", "failed"), [({"isError": True}, True), ({"isError": False}, False), ({}, False)])
def test_knows_an_answer_that_failed_inside_the_tool(result: JsonObject, failed: bool) -> None:
    assert is_tool_error(result) is failed


@pytest.mark.parametrize("text", [None, "a", "8a3e1c1e8f0a4a31b6b1", "x" * 1024])
def test_takes_a_session_id(text: str | None) -> None:
    assert read_session_id(text) == text


@pytest.mark.parametrize("text", ["", "a b", "é", "x" * 1025, "a\tb"])
def test_refuses_what_is_no_session_id(text: str) -> None:
    assert _refused(read_session_id(text)) is Reason.UPSTREAM_MESSAGE


@given(st.binary(max_size=200))
def test_any_bytes_are_a_message_or_a_refusal(data: bytes) -> None:
    assert isinstance(read_answer(data, LIMITS), RpcRequest | RpcNotification | RpcResult | RpcFailure | Refusal)


ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["tools", "name", "capabilities", "supportedVersions", "protocolVersion", "cacheScope"]),
            inner,
        )
    ),
)


@given(st.dictionaries(st.sampled_from(["tools", "capabilities", "supportedVersions", "protocolVersion"]), ANY))
def test_any_result_is_cut_or_refused(result: JsonObject) -> None:
    for era in Era:
        shown, hidden = filter_tools(result, lambda _: True, era)
        assert isinstance(shown["tools"], list)
        assert hidden >= 0
        assert isinstance(narrow_capabilities(result, era), dict | Refusal)
