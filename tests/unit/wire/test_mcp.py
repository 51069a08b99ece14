import json
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mcp import Client, MCPError
from mcp.client.streamable_http import streamable_http_client
from mcp_types.methods import CLIENT_NOTIFICATIONS, CLIENT_REQUESTS

from callgate.errors import Reason, Refusal
from callgate.trace import TraceParent
from callgate.wire.http1 import Headers, RawRequest
from callgate.wire.json_strict import JsonLimits
from callgate.wire.jsonrpc import RpcNotification, RpcRequest, encode, refusal_body
from callgate.wire.mcp import (
    LEGACY_REVISION,
    METHODS,
    MODERN_REVISION,
    Era,
    RefusedMessage,
    Request,
    is_absorbed,
    read_request,
    upstream_headers,
    upstream_message,
)
from callgate.wire.methods import Kind, Service
from support.mcp_corpus import CORPUS, Vector, base_request, read_vectors

LIMITS = JsonLimits()
MUST_REJECT = read_vectors("must_reject.json")
MUST_ACCEPT = read_vectors("must_accept.json")
TRACE_ID, SPAN_ID = 0x4BF92F3577B34DA6A3CE929D0E0E4736, 0x00F067AA0BA902B7
OURS = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
THEIRS = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
PREFIX = "io.modelcontextprotocol/"


def _read(raw: RawRequest) -> Request:
    found = read_request(raw, LIMITS)
    assert isinstance(found, Request), found
    return found


def _refusal(raw: RawRequest) -> Refusal:
    found = read_request(raw, LIMITS)
    assert isinstance(found, Refusal)
    return found


def _sent(raw: RawRequest, *, trusted: bool = False) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(encode(upstream_message(_read(raw), TRACE_ID, SPAN_ID, trusted=trusted)))
    return body


def _sent_headers(raw: RawRequest, session_id: str | None = None, *, trusted: bool = False) -> dict[str, str]:
    found = upstream_headers(_read(raw), trace_id=TRACE_ID, span_id=SPAN_ID, session_id=session_id, trusted=trusted)
    assert len(dict(found)) == len(found)
    return dict(found)


# What is refused, what is read.


@pytest.mark.parametrize("vector", MUST_REJECT, ids=str)
def test_refuses_what_must_be_refused(vector: Vector) -> None:
    assert _refusal(vector.raw).reason == vector.reason


@pytest.mark.parametrize("vector", MUST_ACCEPT, ids=str)
def test_reads_what_the_protocol_allows(vector: Vector) -> None:
    assert isinstance(read_request(vector.raw, LIMITS), Request)


def test_reads_a_modern_call() -> None:
    request = _read(base_request("modern_call"))
    assert (request.server, request.era, request.revision) == ("ledger", Era.MODERN, MODERN_REVISION)
    assert isinstance(request.message, RpcRequest)
    assert (request.message.id, request.message.method) == (1, "tools/call")
    assert request.tool == "get_invoice"
    assert request.arguments == {"id": "INV-1", "limit": 42, "deep": {"region": "eu"}, "flag": True, "list": ["x"]}
    assert request.session_handle is None


def test_reads_a_legacy_call() -> None:
    request = _read(base_request("legacy_call"))
    assert (request.era, request.revision) == (Era.LEGACY, LEGACY_REVISION)
    assert (request.tool, request.arguments) == ("get_invoice", {"id": "INV-1"})
    assert request.session_handle == "handle"


def test_arguments_that_were_left_out_are_an_empty_object() -> None:
    raw = base_request("legacy_call", replace=[',"arguments":{"id":"INV-1"}', ""])
    assert _read(raw).arguments == {}
    assert _sent(raw)["params"]["arguments"] == {}


def test_only_tool_calls_have_a_tool_and_arguments() -> None:
    request = _read(base_request("modern_list"))
    assert (request.tool, request.arguments) == (None, None)


def test_a_modern_request_has_no_session_whatever_it_says() -> None:
    assert _read(base_request("modern_call", set={"mcp-session-id": "handle"})).session_handle is None


def test_initialize_begins_without_a_session() -> None:
    assert _read(base_request("legacy_initialize", set={"mcp-session-id": "old"})).session_handle is None


def test_param_headers_are_read_as_they_came() -> None:
    raw = base_request("modern_call", set={"mcp-param-id": "=?base64?SU5WLTE=?=", "mcp-param-limit": "42.0"})
    assert _read(raw).param_headers == (("mcp-param-id", "=?base64?SU5WLTE=?="), ("mcp-param-limit", "42.0"))


def test_param_headers_are_no_part_of_a_legacy_request() -> None:
    assert _read(base_request("legacy_call", set={"mcp-param-id": "INV-1"})).param_headers == ()


def test_reads_the_callers_span() -> None:
    raw = base_request("legacy_call", replace=['"progressToken":6', f'"traceparent":"{THEIRS}","tracestate":"a=b"'])
    expected = TraceParent(0x0AF7651916CD43DD8448EB211C80319C, 0xB7AD6B7169203331, sampled=True, state="a=b")
    assert _read(raw).trace == expected


def test_a_refusal_of_a_message_can_be_answered() -> None:
    refusal = _refusal(base_request("legacy_list", replace=["tools/list", "prompts/list"]))
    assert isinstance(refusal, RefusedMessage)
    assert (refusal.rpc_id, refusal.era) == (5, Era.LEGACY)


def test_a_refusal_of_a_notification_has_no_id() -> None:
    refusal = _refusal(base_request("legacy_initialized", set={"mcp-session-id": None}))
    assert isinstance(refusal, RefusedMessage)
    assert (refusal.rpc_id, refusal.era) == (None, Era.LEGACY)


def test_a_refusal_of_a_mixture_has_an_id_and_no_era() -> None:
    refusal = _refusal(base_request("modern_call", set={"mcp-protocol-version": "2025-11-25"}))
    assert isinstance(refusal, RefusedMessage)
    assert (refusal.rpc_id, refusal.era) == (1, None)


@pytest.mark.parametrize(
    ("header", "requested"), [("2027-01-01", "2027-01-01"), (None, "2025-03-26"), ("x" * 99, "x" * 64)]
)
def test_an_unsupported_revision_is_told_which_are(header: str | None, requested: str) -> None:
    # 2026-07-28, UnsupportedProtocolVersionError: data.supported and data.requested.
    refusal = _refusal(base_request("legacy_list", set={"mcp-protocol-version": header}))
    assert refusal.public == {"supported": ["2026-07-28", "2025-11-25"], "requested": requested}


def test_limits_are_those_it_was_given() -> None:
    found = read_request(base_request("modern_call"), JsonLimits(max_bytes=100))
    assert isinstance(found, Refusal)
    assert found.reason is Reason.JSON_TOO_LARGE


@pytest.mark.parametrize("vector", MUST_REJECT, ids=str)
def test_no_refusal_holds_an_argument_or_much_of_what_the_caller_wrote(vector: Vector) -> None:
    refusal = _refusal(vector.raw)
    assert "INV-1" not in refusal.detail
    assert len(refusal.detail) <= 200


# The table.


def _rows() -> Iterator[tuple[str, Kind, Era]]:
    revisions = {LEGACY_REVISION: Era.LEGACY, MODERN_REVISION: Era.MODERN}
    for kind, table in ((Kind.REQUEST, CLIENT_REQUESTS), (Kind.NOTIFICATION, CLIENT_NOTIFICATIONS)):
        for method, revision in table:
            if revision in revisions:
                yield method, kind, revisions[revision]


@pytest.mark.parametrize(("method", "kind", "era"), list(_rows()))
def test_every_method_of_both_revisions_is_in_the_table(method: str, kind: Kind, era: Era) -> None:
    assert METHODS[method].kind is kind
    assert era in METHODS[method].eras


def test_the_table_has_no_method_that_the_revisions_do_not() -> None:
    known = set(_rows())
    tasks = {name for name in METHODS if name.startswith(("tasks/", "notifications/tasks/"))}
    listed = {(name, row.kind, era) for name, row in METHODS.items() for era in row.eras if name not in tasks}
    assert listed == known


def test_serves_six_methods_and_no_more() -> None:
    served = {name for name, row in METHODS.items() if row.service is Service.SERVED}
    assert served == {
        *("initialize", "notifications/initialized", "ping", "server/discover", "tools/list", "tools/call"),
    }


@pytest.mark.parametrize(
    "method", ["notifications/cancelled", "notifications/progress", "notifications/roots/list_changed"]
)
def test_absorbs_what_legacy_clients_send_of_their_own_accord(method: str) -> None:
    raw = base_request("legacy_initialized", replace=["notifications/initialized", method])
    assert is_absorbed(_read(raw))
    assert not is_absorbed(_read(base_request("legacy_initialized")))


# What goes upstream.


def test_passes_the_call_on_as_it_was_decided_on() -> None:
    sent = _sent(base_request("modern_call"))
    assert (sent["jsonrpc"], sent["id"], sent["method"]) == ("2.0", 1, "tools/call")
    assert sent["params"]["name"] == "get_invoice"
    assert sent["params"]["arguments"] == _read(base_request("modern_call")).arguments
    assert set(sent["params"]) == {"name", "arguments", "_meta"}


def test_the_tool_server_sees_our_span_and_no_baggage() -> None:
    raw = base_request(
        "legacy_call",
        replace=[
            '"progressToken":6',
            f'"progressToken":6,"traceparent":"{THEIRS}","tracestate":"a=b","baggage":"user=x"',
        ],
    )
    assert _sent(raw)["params"]["_meta"] == {"progressToken": 6, "traceparent": OURS}
    assert "tracestate" not in _sent_headers(raw)
    assert _sent_headers(raw)["traceparent"] == OURS


def test_the_callers_tracestate_passes_only_where_its_trace_is_trusted() -> None:
    raw = base_request("legacy_call", replace=['"progressToken":6', f'"traceparent":"{THEIRS}","tracestate":"a=b"'])
    assert _sent(raw, trusted=True)["params"]["_meta"] == {"traceparent": OURS, "tracestate": "a=b"}
    assert _sent_headers(raw, trusted=True)["tracestate"] == "a=b"


def test_metadata_that_no_policy_looks_at_does_not_pass() -> None:
    vendor = (
        '"progressToken":6,"fastmcp":{"version":"9"},"com.acme/user":"root","io.modelcontextprotocol/related-task":{}'
    )
    raw = base_request("legacy_call", replace=['"progressToken":6', vendor])
    assert _sent(raw)["params"]["_meta"] == {"progressToken": 6, "traceparent": OURS}


def test_no_capability_that_asks_the_agent_back_is_offered_to_a_tool_server() -> None:
    full = 'clientCapabilities":{"sampling":{},"extensions":{"io.modelcontextprotocol/tasks":{}}}'
    raw = base_request("modern_call", replace=['clientCapabilities":{}', full])
    assert _sent(raw)["params"]["_meta"] == {
        PREFIX + "protocolVersion": "2026-07-28",
        PREFIX + "clientInfo": {"name": "agent", "version": "1"},
        PREFIX + "clientCapabilities": {},
        "traceparent": OURS,
    }
    raw = base_request("legacy_initialize", replace=['"capabilities":{}', '"capabilities":{"roots":{}}'])
    assert _sent(raw)["params"]["capabilities"] == {}


@pytest.mark.parametrize("asked", ["2024-11-05", "2025-06-18", "2025-11-25", "2026-07-28", "9999-01-01"])
def test_negotiates_the_one_legacy_revision_that_it_serves(asked: str) -> None:
    raw = base_request("legacy_initialize", replace=['"protocolVersion":"2025-11-25"', f'"protocolVersion":"{asked}"'])
    assert _sent(raw)["params"]["protocolVersion"] == "2025-11-25"
    assert "mcp-protocol-version" not in _sent_headers(raw)


def test_a_notification_stays_a_notification() -> None:
    message = upstream_message(_read(base_request("legacy_initialized")), TRACE_ID, SPAN_ID)
    assert isinstance(message, RpcNotification)
    assert message == RpcNotification("notifications/initialized", {"_meta": {"traceparent": OURS}})


def test_the_message_that_was_read_is_left_as_it_is() -> None:
    request = _read(base_request("modern_call"))
    before = json.dumps(request.message.params)
    upstream_message(request, TRACE_ID, SPAN_ID, trusted=True)
    assert json.dumps(request.message.params) == before


def test_headers_of_a_modern_call() -> None:
    raw = base_request("modern_call", set={"mcp-param-id": "INV-1", "mcp-session-id": "x"})
    assert _sent_headers(raw) == {
        "accept": "application/json, text/event-stream",
        "content-type": "application/json",
        "traceparent": OURS,
        "mcp-protocol-version": "2026-07-28",
        "mcp-method": "tools/call",
        "mcp-name": "get_invoice",
        "mcp-param-id": "INV-1",
    }


def test_headers_of_a_legacy_call_name_the_tool_servers_own_session() -> None:
    assert _sent_headers(base_request("legacy_call"), session_id="upstream-1") == {
        "accept": "application/json, text/event-stream",
        "content-type": "application/json",
        "traceparent": OURS,
        "mcp-protocol-version": "2025-11-25",
        "mcp-session-id": "upstream-1",
    }


CREDENTIALS = [
    *(
        "authorization",
        "cookie",
        "proxy-authorization",
        "dpop",
        "x-forwarded-for",
        "x-forwarded-client-cert",
        "forwarded",
    ),
    *(
        "x-spiffe-id",
        "x-api-key",
        "x-real-ip",
        "baggage",
        "tracestate",
        "traceparent",
        "last-event-id",
        "origin",
        "via",
    ),
    *("x-auth-request-user", "content-length", "transfer-encoding", "connection", "te", "mcp-other", "x-mcp-name"),
]


@pytest.mark.parametrize("vector", MUST_ACCEPT, ids=str)
def test_no_credential_of_the_agents_goes_upstream(vector: Vector) -> None:
    planted = Headers((*vector.raw.headers, *((name, "canary") for name in CREDENTIALS)))
    raw = RawRequest(vector.raw.method, vector.raw.target, planted, vector.raw.body)
    sent = _sent_headers(raw, session_id="upstream-1")
    assert "canary" not in sent.values()
    assert b"canary" not in encode(upstream_message(_read(raw), TRACE_ID, SPAN_ID))


@pytest.mark.parametrize("vector", MUST_ACCEPT, ids=str)
def test_another_gate_would_read_the_same_call_from_what_goes_upstream(vector: Vector) -> None:
    request = _read(vector.raw)
    headers = upstream_headers(request, trace_id=TRACE_ID, span_id=SPAN_ID, session_id="upstream-1")
    body = encode(upstream_message(request, TRACE_ID, SPAN_ID))
    again = _read(RawRequest("POST", "/next/mcp", Headers(headers), body))
    assert again.era is request.era
    assert again.message.method == request.message.method
    assert (again.tool, again.arguments, again.param_headers) == (
        request.tool,
        request.arguments,
        request.param_headers,
    )
    assert again.trace == TraceParent(TRACE_ID, SPAN_ID, sampled=True)
    if isinstance(request.message, RpcRequest):
        assert isinstance(again.message, RpcRequest)
        assert repr(again.message.id) == repr(request.message.id)


# Real clients.


def _recorded() -> list[Any]:
    requests: list[Any] = json.loads((CORPUS / "mcp" / "clients.json").read_text())
    return requests


@pytest.mark.parametrize(
    "sent", _recorded(), ids=lambda sent: f"{sent['client']}: {json.loads(sent['body'])['method']}"
)
def test_reads_what_official_clients_were_recorded_to_send(sent: dict[str, Any]) -> None:
    fields = tuple((name, value) for name, value in sent["headers"])
    request = _read(RawRequest("POST", "/ledger/mcp", Headers(fields), sent["body"].encode()))
    assert request.message.method == json.loads(sent["body"])["method"]


TOOL = {
    "name": "get_invoice",
    "inputSchema": {
        "type": "object",
        "properties": {"id": {"type": "string", "x-mcp-header": "Id"}, "n": {"type": "integer", "x-mcp-header": "N"}},
    },
}
RESULTS: dict[str, dict[str, Any]] = {
    "initialize": {
        "protocolVersion": "2025-11-25",
        "capabilities": {"tools": {}},
        "serverInfo": {"name": "ledger", "version": "1"},
    },
    "server/discover": {"supportedVersions": ["2026-07-28"], "capabilities": {"tools": {}}},
    "tools/list": {"tools": [TOOL]},
    "tools/call": {"content": [{"type": "text", "text": "paid"}]},
}


def _serve(seen: list[Request]) -> httpx2.MockTransport:
    """A gate that serves one tool by itself, with our reading of what the client sends."""

    def answer(sent: httpx2.Request) -> httpx2.Response:
        fields = tuple((name.lower(), value) for name, value in sent.headers.items())
        found = read_request(RawRequest(sent.method, sent.url.path, Headers(fields), sent.read()), LIMITS)
        if isinstance(found, Refusal):
            rpc_id = found.rpc_id if isinstance(found, RefusedMessage) else None
            status = 405 if found.reason is Reason.HTTP_METHOD else 400
            return httpx2.Response(status, json=json.loads(refusal_body(found, rpc_id, "d", "t")))
        seen.append(found)
        message = found.message
        if not isinstance(message, RpcRequest):
            return httpx2.Response(202)
        modern = {"resultType": "complete", "ttlMs": 0, "cacheScope": "private"} if found.era is Era.MODERN else {}
        session = {"mcp-session-id": "handle"} if message.method == "initialize" else {}
        result = RESULTS[message.method] | modern
        return httpx2.Response(200, headers=session, json={"jsonrpc": "2.0", "id": message.id, "result": result})

    return httpx2.MockTransport(answer)


@pytest.mark.parametrize(("mode", "era"), [("auto", Era.MODERN), ("legacy", Era.LEGACY)])
async def test_the_official_client_lists_and_calls(mode: str, era: Era) -> None:
    seen: list[Request] = []
    async with httpx2.AsyncClient(transport=_serve(seen)) as http:
        transport = streamable_http_client("http://gate/ledger/mcp", http_client=http)
        async with Client(transport, mode=mode) as client:
            listed = await client.list_tools()
            result = await client.call_tool("get_invoice", {"id": "INV-é", "n": 7})
    assert [tool.name for tool in listed.tools] == ["get_invoice"]
    assert result.is_error is not True
    call = seen[-1]
    assert (call.era, call.tool, call.arguments) == (era, "get_invoice", {"id": "INV-é", "n": 7})


async def test_the_official_client_is_told_no_and_goes_on() -> None:
    seen: list[Request] = []
    async with httpx2.AsyncClient(transport=_serve(seen)) as http:
        transport = streamable_http_client("http://gate/ledger/mcp", http_client=http)
        async with Client(transport) as client:
            with pytest.raises(MCPError) as caught:
                await client.call_tool("not a tool name", {})
            await client.list_tools()
    assert caught.value.error.code == -32602


# Anything at all.

BASES = ["modern_call", "modern_list", "legacy_initialize", "legacy_call", "legacy_ping"]
HEADER_NAMES = [
    "mcp-protocol-version",
    "mcp-method",
    "mcp-name",
    "mcp-session-id",
    "mcp-param-id",
    "accept",
    "content-type",
]
HEADER_VALUES = st.text(st.characters(max_codepoint=255), max_size=30) | st.sampled_from(
    ["2026-07-28", "2025-11-25", "tools/call", "tools/list", "get_invoice", "INV-1", "=?base64?SU5WLTE=?="]
)


@given(st.sampled_from(BASES), st.lists(st.tuples(st.sampled_from(HEADER_NAMES), HEADER_VALUES), max_size=4))
def test_any_headers_are_a_request_or_a_refusal(base: str, fields: list[tuple[str, str]]) -> None:
    raw = base_request(base)
    found = read_request(RawRequest("POST", raw.target, Headers((*raw.headers, *fields)), raw.body), LIMITS)
    assert isinstance(found, Request | Refusal)


@given(st.sampled_from(BASES), st.integers(0, 10**6), st.integers(0, 40), st.binary(max_size=20))
def test_any_damage_to_a_body_is_a_request_or_a_refusal(base: str, at: int, cut: int, new: bytes) -> None:
    raw = base_request(base)
    at %= len(raw.body)
    body = raw.body[:at] + new + raw.body[at + cut :]
    found = read_request(RawRequest("POST", raw.target, raw.headers, body), LIMITS)
    assert isinstance(found, Request | Refusal)


SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5)
MEMBERS = st.sampled_from(
    [
        *("name", "arguments", "_meta", "cursor", "protocolVersion", "capabilities", "clientInfo", "progressToken"),
        *(PREFIX + "protocolVersion", PREFIX + "clientCapabilities", PREFIX + "clientInfo", PREFIX + "logLevel"),
        *("traceparent", "tracestate", "Name", "x"),
    ]
)
PARAMS = st.dictionaries(
    MEMBERS,
    st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(MEMBERS, inner, max_size=4)),
    max_size=5,
)


@given(st.sampled_from(BASES), st.sampled_from(sorted(METHODS)), PARAMS, st.booleans())
def test_any_params_are_a_request_or_a_refusal(base: str, method: str, params: dict[str, Any], modern: bool) -> None:
    if modern:
        meta = params["_meta"] if isinstance(params.get("_meta"), dict) else {}
        required = {PREFIX + "protocolVersion": "2026-07-28", PREFIX + "clientCapabilities": {}}
        params = {**params, "_meta": {**meta, **required}}
    raw = base_request(base, set={"mcp-method": method, "mcp-name": None})
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode()
    found = read_request(RawRequest("POST", raw.target, raw.headers, body), LIMITS)
    assert isinstance(found, Request | Refusal)
    if isinstance(found, Request):
        encode(upstream_message(found, TRACE_ID, SPAN_ID, trusted=True))


@given(st.text(max_size=80), st.text(max_size=8))
def test_any_target_is_a_request_or_a_refusal(target: str, method: str) -> None:
    raw = base_request("modern_call")
    assert isinstance(read_request(RawRequest(method, target, raw.headers, raw.body), LIMITS), Refusal)
