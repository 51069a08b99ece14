import json
from hashlib import sha256

import pytest

from callgate.audit.entries import Entry
from callgate.audit.replay import Said, body_of, compare, digest_of, handshake, headers_of, probe, said_of
from callgate.errors import ANSWERS, Reason
from callgate.wire.http1 import Headers, RawRequest
from callgate.wire.json_strict import JsonLimits, JsonObject
from callgate.wire.mcp import Request, read_request
from callgate.wire.params import META_DRY_RUN

MODERN, LEGACY = "2026-07-28", "2025-11-25"
CALL: JsonObject = {
    "jsonrpc": "2.0",
    "id": 7,
    "method": "tools/call",
    "params": {
        "name": "refund",
        "arguments": {"amount": 5},
        "_meta": {
            "io.modelcontextprotocol/protocolVersion": MODERN,
            "io.modelcontextprotocol/clientCapabilities": {},
            "traceparent": "00-" + "ab" * 16 + "-" + "cd" * 8 + "-01",
            "tracestate": "a=b",
            "progressToken": 3,
        },
    },
}


def read(message: JsonObject, revision: str, *, handle: str | None = None, dry_run: bool = False) -> Request:
    """What a gate reads of it."""
    body = body_of(message, dry_run=dry_run)
    headers = headers_of(message, revision, handle, None)
    found = read_request(RawRequest("POST", "/ledger/mcp", Headers(headers), body), JsonLimits())
    assert isinstance(found, Request), found
    return found


def entry(verdict: str = "allow", reason: str = "", status: str = "answered", **outcome: object) -> Entry:
    if verdict != "allow":
        return Entry({"kind": "refusal", "seq": 1, "reason": reason, "stage": "decide"})
    ended: JsonObject = {"kind": "outcome", "status": status, "reason": reason, **outcome}  # type: ignore[dict-item]
    return Entry({"kind": "intent", "seq": 1, "reason": ""}, ended)


def answered(result: JsonObject, *before: JsonObject) -> tuple[bytes, ...]:
    return tuple(json.dumps(each).encode() for each in (*before, {"jsonrpc": "2.0", "id": 7, "result": result}))


def refusal(reason: str, code: int = -31403) -> bytes:
    data = {"reason": reason, "decision_id": "ab" * 16, "trace_id": "cd" * 16}
    return json.dumps({"jsonrpc": "2.0", "id": 7, "error": {"code": code, "message": "no", "data": data}}).encode()


def test_a_gate_reads_the_call_that_was_recorded() -> None:
    found = read(CALL, MODERN)

    assert (found.tool, found.arguments, found.revision) == ("refund", {"amount": 5}, MODERN)
    assert found.message == read(CALL, MODERN).message
    assert found.trace is None
    assert found.meta["progressToken"] == 3
    assert found.is_dry_run is False


def test_a_gate_reads_a_dry_run_as_one_and_as_the_same_call() -> None:
    found = read(CALL, MODERN, dry_run=True)

    assert found.is_dry_run
    assert (found.tool, found.arguments) == ("refund", {"amount": 5})


def test_a_recorded_dry_run_is_made_for_real_when_it_is_sent() -> None:
    message: JsonObject = json.loads(json.dumps(CALL))
    message["params"]["_meta"][META_DRY_RUN] = True  # type: ignore[index,call-overload]

    assert read(message, MODERN).is_dry_run is False


def test_a_gate_reads_what_opens_a_session_and_what_asks_whether_it_knows_dry_runs() -> None:
    request, initialized = handshake("hello")

    assert read(request, LEGACY).message.method == "initialize"
    assert read(initialized, LEGACY, handle="handle").session_handle == "handle"
    assert read(probe(), MODERN, dry_run=True).is_dry_run


def test_a_name_that_no_header_can_carry_is_encoded_as_the_protocol_says() -> None:
    message: JsonObject = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": " ä"}}

    assert ("mcp-name", "=?base64?IMOk?=") in headers_of(message, MODERN, None, None)


@pytest.mark.parametrize(
    ("status", "messages", "found"),
    [
        (202, (), Said("allow", "", "answered")),
        (200, answered({}), Said("allow", "", "answered", answered({}))),
        (200, answered({"isError": True}), Said("allow", "", "tool_error", answered({"isError": True}))),
        (200, (refusal("denied"),), Said("deny", "denied", "refused")),
        (401, (refusal("user_token_expired", -31401),), Said("deny", "user_token_expired", "refused")),
        (200, (refusal("upstream_timeout", -31502),), Said("allow", "upstream_timeout", "failed")),
        (200, (refusal("dry_run"),), Said("allow", "", "not_forwarded", is_dry_run=True)),
        (403, (refusal("dry_run"),), Said("allow", "", "not_forwarded", is_dry_run=True)),
    ],
)
def test_tells_what_an_answer_comes_to(status: int, messages: tuple[bytes, ...], found: Said) -> None:
    assert said_of(status, messages) == found


def test_an_error_of_the_tool_servers_is_no_refusal_of_the_gates() -> None:
    error = b'{"jsonrpc":"2.0","id":7,"error":{"code":-31403,"message":"no","data":{"reason":"denied"}}}'

    found = said_of(200, (error,))

    assert isinstance(found, Said)
    assert (found.decision, found.status) == ("allow", "rpc_error")


@pytest.mark.parametrize(("status", "messages"), [(404, ()), (200, (b"<html>",)), (200, (b"[]",)), (200, (b"{}",))])
def test_what_no_gate_says_is_no_answer(status: int, messages: tuple[bytes, ...]) -> None:
    assert isinstance(said_of(status, messages), str)


def test_every_refusal_of_the_gates_own_is_read_as_one() -> None:
    for reason, answer in ANSWERS.items():
        found = said_of(answer.http_status, (refusal(reason, answer.rpc_code),))
        assert isinstance(found, Said)
        assert found.is_dry_run == (reason is Reason.DRY_RUN)
        let_through = reason.startswith(("upstream_", "answer_", "text_"))
        held = reason is Reason.APPROVAL_REQUIRED
        assert found.decision == ("allow" if found.is_dry_run or let_through else "hold" if held else "deny"), reason


DRY = Said("allow", "", "not_forwarded", is_dry_run=True)


@pytest.mark.parametrize(
    ("recorded", "said", "changed"),
    [
        (entry(), DRY, []),
        # That the tool failed then is nothing that a dry run could tell about.
        (entry(status="failed", reason="upstream_timeout"), DRY, []),
        (entry("deny", "denied"), Said("deny", "denied", "refused"), []),
        # Whom no grant names is told so, whatever the reason was.
        (entry("deny", "denied"), Said("deny", "no_grant", "refused"), []),
        (entry("deny", "server_unknown"), Said("deny", "no_grant", "refused"), []),
        (entry("deny", "no_grant"), Said("deny", "denied", "refused"), [("reason", "no_grant", "denied")]),
        (entry("deny", "rate_limited"), Said("deny", "no_grant", "refused"), [("reason", "rate_limited", "no_grant")]),
        (entry(), Said("deny", "denied", "refused"), [("decision", "allow", "deny (denied)")]),
        (entry("deny", "denied"), DRY, [("decision", "deny (denied)", "allow")]),
        (entry("hold", "approval_required"), Said("hold", "approval_required", "refused"), []),
        (entry(), Said("hold", "approval_required", "refused"), [("decision", "allow", "hold (approval_required)")]),
        (
            entry("hold", "approval_required"),
            Said("deny", "approval_denied", "refused"),
            [("decision", "hold (approval_required)", "deny (approval_denied)")],
        ),
        (entry(), Said("allow", "", "tool_error"), [("status", "answered", "tool_error")]),
        (
            entry(status="failed", reason="upstream_timeout"),
            Said("allow", "upstream_closed", "failed"),
            [("reason", "upstream_timeout", "upstream_closed")],
        ),
        (entry(status="failed", reason="upstream_timeout"), Said("allow", "upstream_timeout", "failed"), []),
    ],
)
def test_names_what_is_not_as_it_was(recorded: Entry, said: Said, changed: list[tuple[str, str, str]]) -> None:
    found = compare(recorded, None, said)

    assert [(each.what, each.before, each.after) for each in found.changed] == changed
    assert found.is_same == (not changed)


def test_an_answer_with_the_recorded_digest_is_the_same_one() -> None:
    messages = answered({"a": 1}, {"method": "notifications/message"})
    recorded = entry(answer={"sha256": digest_of(messages), "bytes": 1})

    assert compare(recorded, None, Said("allow", "", "answered", messages)).is_same


def test_the_digest_of_an_answer_is_over_each_message_and_a_line_feed() -> None:
    assert digest_of((b"{}", b"[]")) == sha256(b"{}\n[]\n").hexdigest()


def test_without_the_content_another_answer_is_known_by_its_digest() -> None:
    recorded = entry(answer={"sha256": "00" * 32})

    found = compare(recorded, None, Said("allow", "", "answered", answered({"a": 1})))

    assert [each.what for each in found.changed] == ["answer"]
    assert found.content == ()


def test_with_the_content_another_answer_is_told_by_its_places() -> None:
    recorded = entry(answer={"sha256": "00" * 32})
    before = [json.loads(each) for each in answered({"a": 1}, {"method": "x"})]
    after = answered({"a": 2}, {"method": "y"})

    found = compare(recorded, before, Said("allow", "", "answered", after))

    assert [(d.path, d.before, d.after) for d in found.content] == [
        ("event [0].method", "x", "y"),
        ("$.result.a", 1, 2),
    ]


def test_the_same_values_written_otherwise_are_the_same_answer() -> None:
    recorded = entry(answer={"sha256": "00" * 32})
    before = [json.loads(each) for each in answered({"a": 1, "b": 2})]

    assert compare(recorded, before, Said("allow", "", "answered", answered({"b": 2, "a": 1}))).is_same
