import json
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callgate.errors import ANSWERS, Reason, Refusal
from callgate.wire.json_strict import MAX_SAFE_INTEGER, JsonLimits, JsonValue, loads
from callgate.wire.jsonrpc import (
    RpcFailure,
    RpcNotification,
    RpcRequest,
    RpcResult,
    encode,
    read_client_message,
    read_server_message,
    refusal_body,
)

REQUEST: dict[str, Any] = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
RESULT: dict[str, Any] = {"jsonrpc": "2.0", "id": 1, "result": {}}
FAILURE: dict[str, Any] = {"jsonrpc": "2.0", "id": 1, "error": {"code": -32000, "message": "no"}}


def _refused(value: JsonValue) -> Reason:
    found = read_client_message(value)
    assert isinstance(found, Refusal)
    return found.reason


def test_reads_a_request() -> None:
    assert read_client_message({**REQUEST, "params": {"cursor": "a"}}) == RpcRequest(1, "tools/list", {"cursor": "a"})


def test_reads_a_notification() -> None:
    message: JsonValue = {"jsonrpc": "2.0", "method": "notifications/initialized"}
    assert read_client_message(message) == RpcNotification("notifications/initialized", {})


@pytest.mark.parametrize("rpc_id", ["", "a", "x" * 256, 0, -1, MAX_SAFE_INTEGER, -MAX_SAFE_INTEGER])
def test_takes_ids_that_are_strings_or_safe_integers(rpc_id: str | int) -> None:
    assert read_client_message({**REQUEST, "id": rpc_id}) == RpcRequest(rpc_id, "tools/list", {})


@pytest.mark.parametrize("rpc_id", [None, True, False, 1.0, 1.5, [], {}, "x" * 257, 2**53, -(2**53)])
def test_refuses_other_ids(rpc_id: JsonValue) -> None:
    assert _refused({**REQUEST, "id": rpc_id}) is Reason.RPC_INVALID


@pytest.mark.parametrize("batch", [[], [REQUEST], [REQUEST, REQUEST], [[]]])
def test_refuses_batches(batch: JsonValue) -> None:
    assert _refused(batch) is Reason.RPC_BATCH


@pytest.mark.parametrize("posted", [RESULT, FAILURE, {**REQUEST, "result": {}}, {**REQUEST, "error": {}}])
def test_refuses_a_posted_response(posted: JsonValue) -> None:
    assert _refused(posted) is Reason.RPC_INVALID


@pytest.mark.parametrize("member", ["Method", "ID", "jsonRPC", "params\0", "Result", "Error", "method\0x", "_META"])
def test_refuses_a_member_that_another_parser_takes_for_the_envelopes(member: str) -> None:
    assert _refused({**REQUEST, member: "x"}) is Reason.JSON_DUPLICATE_KEY


@pytest.mark.parametrize("member", ["extra", "name", "_meta", "auth", ""])
def test_refuses_a_member_that_is_not_known(member: str) -> None:
    assert _refused({**REQUEST, member: "x"}) is Reason.RPC_INVALID


@pytest.mark.parametrize("params", [None, [], "x", 1, True])
def test_refuses_params_that_are_no_object(params: JsonValue) -> None:
    assert _refused({**REQUEST, "params": params}) is Reason.RPC_INVALID


def test_reads_each_kind_of_server_message() -> None:
    assert read_server_message(REQUEST) == RpcRequest(1, "tools/list", {})
    assert read_server_message({"jsonrpc": "2.0", "method": "x", "params": {}}) == RpcNotification("x", {})
    assert read_server_message(RESULT) == RpcResult(1, {})
    assert read_server_message(FAILURE) == RpcFailure(1, -32000, "no")
    with_content = {**FAILURE, "error": {**FAILURE["error"], "data": [1]}}
    assert read_server_message(with_content) == RpcFailure(1, -32000, "no", [1])


@pytest.mark.parametrize("rpc_id", [{"id": None}, {}])
def test_a_failure_may_be_without_an_id(rpc_id: dict[str, JsonValue]) -> None:
    assert read_server_message({"jsonrpc": "2.0", "error": FAILURE["error"], **rpc_id}) == RpcFailure(
        None, -32000, "no"
    )


WRONG_RESULTS: list[JsonValue] = [None, [], "x", 1, True]
WRONG_IDS: list[JsonValue] = [True, 1.0, 1.5, [], {}, "x" * 257]
WRONG_ERRORS: list[Any] = [
    *(None, [], "x", {}, {"code": 1}, {"message": "x"}),
    *({"code": None, "message": "x"}, {"code": "1", "message": "x"}, {"code": 1.0, "message": "x"}),
    *({"code": True, "message": "x"}, {"code": 1, "message": None}, {"code": 1, "message": []}),
]
NO_SERVER_MESSAGES: list[Any] = [
    *(None, [], [RESULT], "x", 1, {}),
    *({**RESULT, "jsonrpc": "1.0"}, {"id": 1, "result": {}}, {**RESULT, "error": {}}, {**RESULT, "Result": {}}),
    *({**RESULT, "extra": 1}, {**RESULT, "method": "x"}, {**FAILURE, "params": {}}, {"jsonrpc": "2.0", "id": 1}),
    *({**RESULT, "id": None}, {"jsonrpc": "2.0", "result": {}}),
    *[{**RESULT, "result": wrong} for wrong in WRONG_RESULTS],
    *[{**RESULT, "id": wrong} for wrong in WRONG_IDS],
    *[{**FAILURE, "id": wrong} for wrong in WRONG_IDS],
    *[{**FAILURE, "error": wrong} for wrong in WRONG_ERRORS],
]


@pytest.mark.parametrize("said", NO_SERVER_MESSAGES)
def test_refuses_what_is_no_server_message(said: JsonValue) -> None:
    found = read_server_message(said)
    assert isinstance(found, Refusal)
    assert found.reason is Reason.UPSTREAM_MESSAGE


IDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20) | st.integers(-MAX_SAFE_INTEGER, MAX_SAFE_INTEGER)
METHODS = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=128)
MEMBERS: st.SearchStrategy[JsonValue] = st.integers(0, 9) | st.none() | st.booleans()
PARAMS = st.dictionaries(st.sampled_from(["a", "b", "_meta"]), MEMBERS)
MESSAGES = (
    st.builds(RpcRequest, IDS, METHODS, PARAMS)
    | st.builds(RpcNotification, METHODS, PARAMS)
    | st.builds(RpcResult, IDS, PARAMS)
    | st.builds(RpcFailure, st.none() | IDS, st.integers(-40000, 40000), st.just("m"), st.none() | st.integers(0, 9))
)


@given(MESSAGES)
def test_reads_back_what_it_encodes(message: RpcRequest | RpcNotification | RpcResult | RpcFailure) -> None:
    value = loads(encode(message), JsonLimits())
    assert not isinstance(value, Refusal)
    assert read_server_message(value) == message


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(["2.0", "tools/call", "x"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["jsonrpc", "id", "method", "params", "result", "error", "code", "message", "Id", "x"]),
            inner,
        )
    ),
)


@given(VALUES)
def test_any_value_is_a_message_or_a_refusal(value: JsonValue) -> None:
    assert isinstance(read_client_message(value), RpcRequest | RpcNotification | Refusal)
    assert isinstance(read_server_message(value), RpcRequest | RpcNotification | RpcResult | RpcFailure | Refusal)


def test_a_refusal_tells_reason_decision_and_trace_and_nothing_else() -> None:
    body = refusal_body(Refusal(Reason.NO_GRANT, "workload is not in ops"), 7, "d" * 32, "t" * 32)
    assert json.loads(body) == {
        "jsonrpc": "2.0",
        "id": 7,
        "error": {
            "code": -31403,
            "message": "Denied by policy",
            "data": {"reason": "no_grant", "decision_id": "d" * 32, "trace_id": "t" * 32},
        },
    }


def test_a_refusal_tells_what_the_protocol_wants_known() -> None:
    told = MappingProxyType({"supported": ["2026-07-28"], "requested": "x", "reason": "forged"})
    error = json.loads(refusal_body(Refusal(Reason.REVISION_UNSUPPORTED, "", told), "a", "d", "t"))["error"]
    assert error["code"] == -32022
    assert error["data"] == {
        "supported": ["2026-07-28"],
        "requested": "x",
        "reason": "revision_unsupported",
        "decision_id": "d",
        "trace_id": "t",
    }


@pytest.mark.parametrize("reason", Reason)
def test_no_refusal_tells_its_detail(reason: Reason) -> None:
    body = refusal_body(Refusal(reason, "for operators only"), None, "d", "t")
    assert b"operators" not in body
    assert json.loads(body)["error"]["code"] == ANSWERS[reason].rpc_code
    assert json.loads(body)["id"] is None
