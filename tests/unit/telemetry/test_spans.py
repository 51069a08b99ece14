"""A trace's spans.  Expected names and values are those of the MCP, HTTP and trace conventions, quoted in `spans`."""

import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanKind, StatusCode

from callgate.errors import Reason
from callgate.telemetry import names
from callgate.telemetry.spans import spans_of
from callgate.trace import Finding, Outcome, Stage, TraceParent
from support.decision_traces import (
    AGENT,
    AUTHORIZE_SPAN_ID,
    CLIENT_SPAN_ID,
    DENIAL,
    GRANT,
    MINT_SPAN_ID,
    OTHER_GRANT,
    SERVER_SPAN_ID,
    START_NS,
    TRACE_ID,
    allowed,
    approved,
    denied,
    held,
    record,
    refused_at,
    trace_of,
)

_REASON_AT = {
    Stage.ACCEPT: Reason.TLS_NO_CERTIFICATE,
    Stage.AUTHENTICATE: Reason.SVID_EXPIRED,
    Stage.READ: Reason.JSON_DUPLICATE_KEY,
    Stage.IDENTIFY: Reason.METHOD_NOT_SERVED,
    Stage.DECIDE: Reason.DENIED,
    Stage.INSPECT: Reason.ARGUMENTS_DENIED,
    Stage.APPROVE: Reason.APPROVAL_REQUIRED,
    Stage.MINT: Reason.MINT_FAILED,
    Stage.RECORD: Reason.AUDIT_UNAVAILABLE,
    Stage.FORWARD: Reason.UPSTREAM_TIMEOUT,
    Stage.SCREEN: Reason.ANSWER_DENIED,
    Stage.RESPOND: Reason.CLIENT_GONE,
}


def _by_name(spans: list[ReadableSpan]) -> dict[tuple[str, SpanKind], ReadableSpan]:
    return {(span.name, span.kind): span for span in spans}


def _attributes(span: ReadableSpan) -> dict[str, object]:
    return dict(span.attributes or {})


def _ids(span: ReadableSpan) -> tuple[int, int]:
    assert span.context is not None
    return span.context.trace_id, span.context.span_id


def _only(spans: list[ReadableSpan], kind: SpanKind, name: str | None = None) -> ReadableSpan:
    (found,) = (span for span in spans if span.kind is kind and name in (None, span.name))
    return found


def test_an_allowed_tool_call_is_a_server_span_with_authorize_mint_and_client_below_it() -> None:
    spans = _by_name(spans_of(allowed()))
    assert set(spans) == {
        ("tools/call get_invoice", SpanKind.SERVER),
        ("authorize", SpanKind.INTERNAL),
        ("mint", SpanKind.INTERNAL),
        ("tools/call get_invoice", SpanKind.CLIENT),
    }
    server = spans["tools/call get_invoice", SpanKind.SERVER]
    assert server.parent is None
    for span in spans.values():
        if span is not server:
            assert span.parent is not None
            assert (span.parent.trace_id, span.parent.span_id) == (TRACE_ID, SERVER_SPAN_ID)


def test_uses_the_ids_that_the_trace_chose() -> None:
    assert [_ids(span) for span in spans_of(allowed())] == [
        (TRACE_ID, SERVER_SPAN_ID),
        (TRACE_ID, AUTHORIZE_SPAN_ID),
        (TRACE_ID, MINT_SPAN_ID),
        (TRACE_ID, CLIENT_SPAN_ID),
    ]


def test_the_server_span_carries_what_the_mcp_conventions_ask_for() -> None:
    server = _only(spans_of(allowed()), SpanKind.SERVER)
    required = {
        "mcp.method.name": "tools/call",
        "gen_ai.tool.name": "get_invoice",
        "gen_ai.operation.name": "execute_tool",
        "jsonrpc.request.id": "3",
        "mcp.protocol.version": "2026-07-28",
        "network.transport": "tcp",
        "network.protocol.name": "http",
        "network.protocol.version": "1.1",
        "client.address": "127.0.0.1",
        "client.port": 40404,
        "http.request.method": "POST",
        "http.route": "/{server}/mcp",
        "http.response.status_code": 200,
        "tls.protocol.version": "1.3",
    }
    assert required.items() <= _attributes(server).items()


def test_the_server_span_carries_the_decision_and_its_path() -> None:
    ours = {
        "callgate.decision": "allow",
        "callgate.decision.id": "01J-decision",
        "callgate.decision.path": (
            "accept=ok", "authenticate=ok", "read=ok", "identify=ok", "decide=ok", "inspect=ok", "mint=ok", "record=ok",
            "forward=ok", "screen=ok", "respond=ok",
        ),
        "callgate.workload.spiffe_id": AGENT,
        "callgate.server": "ledger",
    }  # fmt: skip
    server = _only(spans_of(allowed()), SpanKind.SERVER)
    assert ours.items() <= _attributes(server).items()
    assert "callgate.reason" not in _attributes(server)


def test_the_server_span_says_which_record_of_the_evidence_log_is_this_call() -> None:
    record_of = {
        "callgate.audit.origin": "gate.acme.test/audit",
        "callgate.audit.sequence": 4711,
        "callgate.session.id": "5e5e5e5e5e5e5e5e",
        "callgate.record.level": "digest",
    }
    server, *children = spans_of(allowed())
    assert record_of.items() <= _attributes(server).items()
    assert not any(record_of.keys() & _attributes(child).keys() for child in children)


def test_the_client_span_names_the_method_the_tool_and_the_tool_server() -> None:
    required = {
        "mcp.method.name": "tools/call",
        "gen_ai.tool.name": "get_invoice",
        "gen_ai.operation.name": "execute_tool",
        "network.transport": "tcp",
        "server.address": "ledger.acme.test",
        "server.port": 8443,
    }
    assert required.items() <= _attributes(_only(spans_of(allowed()), SpanKind.CLIENT)).items()


def test_a_stages_attributes_stay_on_the_span_of_their_stage() -> None:
    spans = spans_of(allowed())
    assert "callgate.token.aud" not in _attributes(_only(spans, SpanKind.SERVER))
    assert _attributes(_only(spans, SpanKind.INTERNAL, "mint"))["callgate.token.aud"] == "https://ledger.acme.test/mcp"
    assert _attributes(_only(spans, SpanKind.INTERNAL, "authorize"))["callgate.policy.digest"] == "sha256:5b1c"


def test_the_authorize_span_has_one_event_for_each_rule_in_order() -> None:
    authorize = _only(spans_of(allowed()), SpanKind.INTERNAL, "authorize")
    assert [event.name for event in authorize.events] == ["callgate.finding"] * 3
    assert [dict(event.attributes or {}) for event in authorize.events] == [
        {
            "callgate.rule.id": finding.rule,
            "callgate.rule.kind": finding.kind,
            "callgate.rule.matched": finding.matched,
            "callgate.rule.why": finding.why,
        }
        for finding in (DENIAL, OTHER_GRANT, GRANT)
    ]


def test_default_deny_is_a_rule_of_its_own() -> None:
    authorize = _only(spans_of(denied()), SpanKind.INTERNAL, "authorize")
    last = dict(authorize.events[-1].attributes or {})
    assert len(authorize.events) == 3
    assert (last["callgate.rule.id"], last["callgate.rule.matched"]) == ("default", True)


def test_default_deny_is_not_said_twice_where_policy_says_it() -> None:
    said = Finding("default", "default", matched=True, why="nothing applies")
    trace = refused_at(Stage.DECIDE, Reason.NO_GRANT, findings=(DENIAL, said))
    authorize = _only(spans_of(trace), SpanKind.INTERNAL, "authorize")
    assert [dict(event.attributes or {})["callgate.rule.why"] for event in authorize.events] == [DENIAL.why, said.why]


def test_a_note_of_kind_default_that_does_not_apply_does_not_replace_default_deny() -> None:
    note = Finding("more", "default", matched=False, why="40 more rules were looked at")
    trace = refused_at(Stage.DECIDE, Reason.NO_GRANT, findings=(DENIAL, note))
    authorize = _only(spans_of(trace), SpanKind.INTERNAL, "authorize")
    matched = [dict(event.attributes or {})["callgate.rule.matched"] for event in authorize.events]
    assert matched == [False, False, True]


def test_a_denial_names_the_json_rpc_code_the_reason_and_the_message() -> None:
    spans = spans_of(denied())
    server = _only(spans, SpanKind.SERVER)
    expected = {
        "error.type": "-31403",
        "rpc.response.status_code": "-31403",
        "callgate.decision": "deny",
        "callgate.reason": "no_grant",
        "callgate.detail": "no grant of this workload names the tool",
    }
    assert expected.items() <= _attributes(server).items()
    # "The status description SHOULD match the JSONRPCError.message"
    assert (server.status.status_code, server.status.description) == (StatusCode.ERROR, "Denied by policy")
    assert server.name == "tools/call refund"
    assert [span.name for span in spans] == ["tools/call refund", "authorize"]


def test_a_call_that_a_person_agreed_to_has_a_span_of_the_wait_with_what_happened_as_its_events() -> None:
    spans = spans_of(approved())
    server = _only(spans, SpanKind.SERVER)
    span = _only(spans, SpanKind.INTERNAL, "approve")
    assert span.parent is not None
    assert span.parent.span_id == _ids(server)[1]
    assert len({_ids(each) for each in spans}) == len(spans) == 5
    assert [dict(event.attributes or {})["callgate.rule.why"] for event in span.events] == [
        "a person was asked",
        "approved by one person (oidc)",
    ]
    assert _attributes(span) == {
        "callgate.approval.id": "ad" * 16,
        "callgate.approval.state": "used",
        "callgate.approval.waited_s": 12.5,
        "callgate.approval.people": 1,
        "callgate.approval.means": ("oidc",),
        "callgate.approval.repeat": False,
    }


def test_a_call_that_waits_in_vain_is_held_and_neither_allowed_nor_denied() -> None:
    spans = spans_of(held())
    for span in (_only(spans, SpanKind.SERVER), _only(spans, SpanKind.INTERNAL, "authorize")):
        assert _attributes(span)["callgate.decision"] == "hold"
    assert _attributes(_only(spans, SpanKind.INTERNAL, "approve"))["error.type"] == "approval_required"
    assert _attributes(_only(spans, SpanKind.SERVER))["error.type"] == "-31202"


@pytest.mark.parametrize("stage", list(Stage))
def test_a_refusal_at_any_stage_is_exactly_one_trace_that_names_every_stage_passed(stage: Stage) -> None:
    trace = refused_at(stage, _REASON_AT[stage])
    spans = spans_of(trace)
    server = _only(spans, SpanKind.SERVER)
    before = list(Stage)[: list(Stage).index(stage)]
    reached = [*(passed for passed in before if passed is not Stage.APPROVE), stage]
    assert {_ids(span)[0] for span in spans} == {TRACE_ID}
    assert len(spans) == 1 + len({Stage.DECIDE, Stage.APPROVE, Stage.MINT, Stage.FORWARD} & set(reached))
    path = [f"{passed}=ok" for passed in reached[:-1]] + [f"{stage}=refused:{_REASON_AT[stage]}"]
    assert _attributes(server)["callgate.decision.path"] == tuple(path)
    assert server.status.status_code is StatusCode.ERROR
    assert _attributes(server)["callgate.reason"] == _REASON_AT[stage]


@pytest.mark.parametrize(
    ("stage", "attributes", "name"),
    [
        (Stage.ACCEPT, {}, "tls handshake"),
        (Stage.AUTHENTICATE, {}, "tls handshake"),
        (Stage.READ, {}, "POST /{server}/mcp"),
        (Stage.READ, {names.HTTP_ROUTE: ""}, "POST"),
        (Stage.READ, {names.HTTP_REQUEST_METHOD: "BREW", names.HTTP_ROUTE: ""}, "HTTP"),
        (Stage.READ, {names.HTTP_REQUEST_METHOD: ""}, "HTTP"),
        (Stage.IDENTIFY, {names.MCP_METHOD_NAME: "ping", names.GEN_AI_TOOL_NAME: ""}, "ping"),
        (Stage.DECIDE, {}, "tools/call get_invoice"),
    ],
)
def test_the_server_span_is_named_by_the_furthest_thing_that_was_read(
    stage: Stage, attributes: dict[str, str], name: str
) -> None:
    trace = refused_at(stage, Reason.INTERNAL, attributes=attributes)
    assert _only(spans_of(trace), SpanKind.SERVER).name == name


@pytest.mark.parametrize(
    ("stage", "reason", "error"),
    [
        (Stage.ACCEPT, Reason.TLS_CERTIFICATE_EXPIRED, "tls_certificate_expired"),
        (Stage.READ, Reason.HTTP_FRAMING, "http_framing"),
        (Stage.IDENTIFY, Reason.METHOD_NOT_SERVED, "-32601"),
        (Stage.DECIDE, Reason.NO_GRANT, "-31403"),
        (Stage.FORWARD, Reason.UPSTREAM_TIMEOUT, "-31502"),
        (Stage.RESPOND, Reason.CLIENT_GONE, "client_gone"),
    ],
)
def test_error_type_is_the_json_rpc_code_that_was_answered_or_else_the_reason(
    stage: Stage, reason: Reason, error: str
) -> None:
    assert _attributes(_only(spans_of(refused_at(stage, reason)), SpanKind.SERVER))["error.type"] == error


def test_a_json_rpc_code_that_was_answered_is_the_error_type_though_no_message_was_read() -> None:
    trace = refused_at(Stage.READ, Reason.JSON_MALFORMED)
    trace.add(record(Stage.RESPOND, attributes={names.RPC_RESPONSE_STATUS_CODE: "-32700"}))
    server = _only(spans_of(trace), SpanKind.SERVER)
    assert _attributes(server)["error.type"] == "-32700"
    assert server.name == "POST /{server}/mcp"


def test_an_svid_that_ran_out_on_a_kept_alive_connection_is_no_handshake() -> None:
    trace = refused_at(Stage.AUTHENTICATE, Reason.SVID_EXPIRED)
    trace.add(record(Stage.RESPOND, attributes={names.RPC_RESPONSE_STATUS_CODE: "-31401"}))
    server = _only(spans_of(trace), SpanKind.SERVER)
    assert (server.name, _attributes(server)["error.type"]) == ("HTTP", "-31401")


def test_the_span_of_the_stage_that_failed_carries_the_reason_as_error_type() -> None:
    trace = refused_at(Stage.FORWARD, Reason.UPSTREAM_TIMEOUT, "no answer in 30 s", outcome=Outcome.FAILED)
    client = _only(spans_of(trace), SpanKind.CLIENT)
    assert _attributes(client)["error.type"] == "upstream_timeout"
    assert (client.status.status_code, client.status.description) == (StatusCode.ERROR, "no answer in 30 s")


@pytest.mark.parametrize(
    ("attributes", "error"),
    [({"error.type": "tool_error"}, "tool_error"), ({"rpc.response.status_code": "-32602"}, "-32602")],
)
def test_the_tool_servers_own_error_is_on_both_spans_though_the_gate_did_well(
    attributes: dict[str, str], error: str
) -> None:
    records = [record(stage) for stage in Stage if stage is not Stage.FORWARD]
    spans = spans_of(trace_of(*records, record(Stage.FORWARD, attributes=attributes)))
    for kind in (SpanKind.SERVER, SpanKind.CLIENT):
        span = _only(spans, kind)
        assert _attributes(span)["error.type"] == error
        assert span.status.status_code is StatusCode.ERROR
        assert "callgate.reason" not in _attributes(span)


@pytest.mark.parametrize("trace", [allowed(), denied(), *(refused_at(s, r) for s, r in _REASON_AT.items())])
def test_status_is_error_if_and_only_if_there_is_an_error_type(trace: object) -> None:
    for span in spans_of(trace):  # type: ignore[arg-type]
        assert (span.status.status_code is StatusCode.ERROR) == ("error.type" in _attributes(span))


def test_a_trusted_caller_is_the_parent_and_its_state_goes_on() -> None:
    trace = allowed()
    trace.join(TraceParent(0xABC, 0xDEF, sampled=False, state="rojo=00f067aa0ba902b7,congo=t61rcWkgMzE"), trusted=True)
    server = _only(spans_of(trace), SpanKind.SERVER)
    assert server.parent is not None
    assert server.parent.is_remote
    assert (server.parent.trace_id, server.parent.span_id, _ids(server)[0]) == (0xABC, 0xDEF, 0xABC)
    assert server.links == ()
    for span in spans_of(trace):
        assert span.context is not None
        assert dict(span.context.trace_state) == {"rojo": "00f067aa0ba902b7", "congo": "t61rcWkgMzE"}


def test_a_foreign_caller_is_linked_to_and_chooses_neither_trace_id_nor_sampling() -> None:
    trace = allowed()
    trace.join(TraceParent(0xABC, 0xDEF, sampled=False, state="rojo=1"), trusted=False)
    server = _only(spans_of(trace), SpanKind.SERVER)
    assert server.parent is None
    assert server.context is not None
    assert (server.context.trace_id, bool(server.context.trace_flags.sampled)) == (TRACE_ID, True)
    assert [(link.context.trace_id, link.context.span_id) for link in server.links] == [(0xABC, 0xDEF)]
    assert not server.context.trace_state


@pytest.mark.parametrize(
    "state",
    ["=", "a", "A=1", "a=1,a=2", "a=" + "x" * 257, "a=\x1b[2J", ",".join(f"k{i}=1" for i in range(33)), "a=b=c"],
)
def test_a_malformed_tracestate_is_left_out_without_a_log_line(state: str, caplog: pytest.LogCaptureFixture) -> None:
    trace = allowed()
    trace.join(TraceParent(0xABC, 0xDEF, sampled=True, state=state), trusted=True)
    with caplog.at_level(logging.DEBUG):
        server = _only(spans_of(trace), SpanKind.SERVER)
    assert server.context is not None
    assert not server.context.trace_state
    assert not caplog.records


def test_an_attribute_that_no_convention_lists_is_dropped_and_counted() -> None:
    canary = "canary-7f3a"
    strays = {
        "gen_ai.tool.call.arguments": canary,
        "gen_ai.tool.call.result": canary,
        "http.request.header.authorization": canary,
        "mcp.session.id": canary,
        "callgate.token": canary,
        "callgate.token.raw": canary,
    }
    trace = trace_of(*(record(stage, attributes=strays) for stage in Stage))
    spans = spans_of(trace)
    assert canary not in str(encode_spans(spans))
    assert _attributes(_only(spans, SpanKind.SERVER))["callgate.attributes.dropped"] == len(strays) * (
        len(Stage) - len(("decide", "approve", "mint", "forward"))
    )
    assert _attributes(_only(spans, SpanKind.CLIENT))["callgate.attributes.dropped"] == len(strays)


@pytest.mark.parametrize(
    "secret",
    [
        "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJjYW5hcnkifQ.c2lnbmF0dXJlLWNhbmFyeQ",
        "Authorization: Bearer Y2FuYXJ5LXRva2VuLWNhbmFyeQ",
        "-----BEGIN PRIVATE KEY-----\nY2FuYXJ5\n-----END PRIVATE KEY-----",
        "-----BEGIN EC PRIVATE KEY-----\nY2FuYXJ5 cut off",
    ],
)
def test_a_credential_in_a_detail_or_a_finding_does_not_leave(secret: str) -> None:
    finding = Finding("r", "grant", matched=False, why=f"because {secret}")
    trace = refused_at(Stage.DECIDE, Reason.DENIED, f"refused {secret} here", findings=(finding,))
    sent = str(encode_spans(spans_of(trace)))
    for part in secret.replace("\n", " ").split():
        if len(part) > 15 or part.startswith("Y2Fu"):
            assert part not in sent


def test_a_detail_is_bounded_and_its_control_characters_are_visible() -> None:
    trace = refused_at(Stage.READ, Reason.HTTP_MALFORMED, "\x1b[2J\r\n" + "x" * 5000)
    detail = _attributes(_only(spans_of(trace), SpanKind.SERVER))["callgate.detail"]
    assert isinstance(detail, str)
    assert detail.startswith("\\x1b[2J\\r\\nxxx")
    assert len(detail) == 200


def test_a_tool_name_that_an_attacker_chose_is_one_bounded_printable_line() -> None:
    attributes = {names.GEN_AI_TOOL_NAME: "a\n\u202eb\ud800" + "c" * 9000}
    trace = refused_at(Stage.IDENTIFY, Reason.PARAMS_INVALID, attributes=attributes)
    name = _only(spans_of(trace), SpanKind.SERVER).name
    assert name.isprintable()
    assert name.startswith("tools/call a\\n\\u202eb\\ud800c")
    assert len(name) <= len("tools/call ") + 128


def test_of_many_rules_those_that_applied_are_kept_and_the_rest_is_counted() -> None:
    findings = tuple(Finding(f"g{i}", "grant", matched=i == 499, why="-") for i in range(500))
    trace = trace_of(record(Stage.DECIDE, findings=findings))
    authorize = _only(spans_of(trace), SpanKind.INTERNAL)
    assert len(authorize.events) == 128
    assert "g499" in {dict(event.attributes or {})["callgate.rule.id"] for event in authorize.events}
    assert _attributes(authorize)["callgate.rules.omitted"] == 500 - 128


def test_spans_have_the_times_of_their_stages() -> None:
    trace = allowed()
    spans = spans_of(trace)
    server, mint = _only(spans, SpanKind.SERVER), _only(spans, SpanKind.INTERNAL, "mint")
    assert (server.start_time, server.end_time) == (START_NS, START_NS + 90_000_000)
    (minted,) = [record for record in trace.records if record.stage is Stage.MINT]
    assert (mint.start_time, mint.end_time) == (minted.started_ns, minted.ended_ns)


def test_a_trace_without_any_record_still_is_a_span() -> None:
    (server,) = spans_of(trace_of())
    assert server.name == "tls handshake"
    assert _attributes(server)["callgate.decision"] == "deny"


class _Heard(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.heard: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.heard.append(record)


_values = st.one_of(st.text(), st.integers(), st.booleans(), st.floats(), st.lists(st.text()).map(tuple))


@given(
    attributes=st.dictionaries(st.sampled_from(sorted(names.ALLOWED)), _values),
    detail=st.text(),
    reason=st.one_of(st.sampled_from(Reason), st.text()),
    state=st.text(),
    why=st.text(),
)
def test_the_exporters_encoder_takes_whatever_a_record_holds(
    attributes: dict[str, str], detail: str, reason: str, state: str, why: str
) -> None:
    listener = _Heard()
    logging.getLogger("opentelemetry").addHandler(listener)
    try:
        trace = trace_of(
            *(
                record(stage, outcome=Outcome.REFUSED, reason=reason, detail=detail, attributes=attributes)
                for stage in Stage
            ),
            record(Stage.DECIDE, findings=(Finding(why, why, matched=True, why=why),)),
        )
        trace.join(TraceParent(1, 2, sampled=True, state=state), trusted=True)
        spans = spans_of(trace)
        encoded = encode_spans(spans)
    finally:
        logging.getLogger("opentelemetry").removeHandler(listener)
    assert not listener.heard
    sent = [span for group in encoded.resource_spans for scope in group.scope_spans for span in scope.spans]
    assert [len(span.attributes) for span in sent] == [len(span.attributes or {}) for span in spans]
