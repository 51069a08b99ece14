"""What was decided on is what the tool server reads: with any parser, in header and body, and never the agent's bytes."""

import json
from base64 import urlsafe_b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import rfc8785
import trio

from callgate.telemetry import names
from callgate.trace import DecisionTrace
from callgate.wire.headers import decode_value
from support.mcp_corpus import CORPUS, read_vectors
from support.raw_agent import MODERN, modern_call, open_session, request, transport_headers
from support.said_upstream import HEADERS, by_node, by_python, claims_of, is_compact, span_id
from support.siege import Siege, siege
from support.upstream import Asked

AUTHORITIES = "authorities: [gate.acme.test, gate]\n"
ANY_TOOL = """
version: 1
trust_domains: [acme.test, partner.test]
grants:
  - {id: all, workloads: ["spiffe://acme.test/**"], server: ledger, tools: ["*"], scopes: [ledger.read]}
"""
ABSORBED = ("notifications/cancelled", "notifications/progress", "notifications/roots/list_changed")
CALL_HEADERS = transport_headers(MCP_Protocol_Version=MODERN, Mcp_Method="tools/call", Mcp_Name="get_invoice")


@dataclass(frozen=True)
class Said:
    """What an agent says, and what it means by it."""

    name: str
    content: bytes
    body: bytes
    message: dict[str, Any]
    tool: str | None
    arguments: Any


async def hear(scene: Siege, all_said: Sequence[Said]) -> list[tuple[Said, DecisionTrace, list[Asked]]]:
    """Send each on a connection of its own; its trace, and what the tool server heard for it."""
    traces: dict[str, DecisionTrace] = {}

    async def send(said: Said) -> None:
        async with scene.connected() as connection:
            answer = await connection.ask(said.content)
            assert answer.status in {200, 202}, (said.name, answer)
            (traces[said.name],) = await scene.traces_when(connection, 1)

    await scene.for_each(all_said, send)
    spans: dict[int, list[Asked]] = {}
    for asked in scene.upstream.requests:
        spans.setdefault(span_id(asked), []).append(asked)
    return [(said, traces[said.name], spans.get(traces[said.name].client_span_id, [])) for said in all_said]


def check(said: Said, trace: DecisionTrace, asked: Asked) -> None:
    """Header, body, token and trace say the same, which is what the agent said."""
    method, tool, arguments = by_python(asked)
    attributes = {name: value for record in trace.records for name, value in record.attributes.items()}
    assert (method, tool) == (attributes[names.MCP_METHOD_NAME], attributes.get(names.GEN_AI_TOOL_NAME))
    assert (method, tool) == (said.message["method"], said.tool)
    assert asked.message.get("id") == said.message.get("id")
    if method == "tools/call":
        assert arguments == said.arguments
        (detail,) = claims_of(asked)["authorization_details"]
        digest = urlsafe_b64encode(sha256(rfc8785.dumps(arguments)).digest()).rstrip(b"=").decode()
        assert (detail["tool"], detail["args_s256"]) == (tool, digest)
    assert asked.header("mcp-method") in {None, method}
    assert decode_value(asked.header("mcp-name") or tool or "") == (tool or "")
    check_serialisation(said, asked)


def check_serialisation(said: Said, asked: Asked) -> None:
    """One request of ours: compact, rebuilt, and with none of the agent's headers but those that were checked."""
    assert is_compact(asked.body)
    assert asked.body != said.body
    heard = [name for name, _ in asked.headers if not name.startswith("mcp-param-")]
    assert len(heard) == len(set(heard))
    assert HEADERS.issuperset(heard)
    assert int(asked.header("content-length") or "") == len(asked.body)


def check_all(heard: Sequence[tuple[Said, DecisionTrace, list[Asked]]]) -> None:
    for said, trace, requests in heard:
        assert len(requests) == (0 if said.message["method"] in ABSORBED else 1), said.name
        for asked in requests:
            check(said, trace, asked)
    flat = [asked for _, _, requests in heard for asked in requests]
    read = by_node(flat)
    assert read is None or [tuple(each) for each in read] == [by_python(asked) for asked in flat]


def said_with_json(name: str, text: str, value: object) -> Said:
    before, after = modern_call("get_invoice", {"v": "HERE"}, rpc_id=name).partition(b"\r\n\r\n")[2].split(b'"HERE"')
    body = before + text.encode() + after
    return Said(name, request(body, CALL_HEADERS), body, json.loads(body), "get_invoice", {"v": value})


async def test_every_good_json_value_is_read_alike(tmp_path: Path) -> None:
    entries = json.loads((CORPUS / "json" / "must_accept.json").read_text())
    # Inside a call they stand three containers deep.
    shallow = [entry for entry in entries if depth(entry["value"]) < 60]
    async with siege(tmp_path, policy=ANY_TOOL) as scene:
        heard = await hear(scene, [said_with_json(each["name"], each["text"], each["value"]) for each in shallow])
        await trio.to_thread.run_sync(check_all, heard)


def depth(value: object) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + max(map(depth, inner), default=0)


# Other parsers, routers and tool servers trip over these; the gate must neither, nor change them.
TRICKY: dict[str, str] = {
    "escaped name": '{"n\\u0061me":"x","\\u0061rguments":{"\\u006dethod":1}}',
    "envelope inside": '{"jsonrpc":"1.0","id":9,"method":"tools/list","params":{"name":"wipe_ledger","_meta":{}}}',
    "prototype": '{"__proto__":{"name":"wipe_ledger"},"constructor":{"prototype":{"x":1}},"toString":1}',
    "near twins": '{"a":1,"A":2,"\\u00e5":3,"a\\u030a":4,"\\uff41":5,"a ":6,"a\\u0000":7}',
    "line separators": '{"x":"\\u2028\\u2029\\u0085\\u000b\\u000c\\r\\n\\t\\b"}',
    "quotes and slashes": '{"x":"\\"\\\\\\/\\u002f\\u0022\\u005c</script>"}',
    "astral": '{"\\ud83d\\ude00":"\\ud800\\udc00\\udbff\\udfff\\uffff\\ufffe\\ufeff"}',
    "bidi": '{"x":"\\u202e\\u2066\\u200b\\u200d\\ue000\\u00ad"}',
    "numbers": '{"x":[-0,0.0,-0.0,1.0,1e2,1E-7,9007199254740991,-9007199254740991,0.1,1.7976931348623157e308,5e-324]}',
    "numeric keys": '{"1":1,"0":0,"-1":2,"1.0":3,"":4,"01":5}',
    "event stream": '{"x":"data: {}\\n\\nevent: message\\ndata: x"}',
    "request in a string": '{"x":"\\r\\n\\r\\nPOST /mcp HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n"}',
    "white space": ' {\t"x" : [ 1 ,\n2 ] ,\r\n "y" : { } } ',
}


async def test_tricky_arguments_arrive_as_they_were_meant(tmp_path: Path) -> None:
    async with siege(tmp_path, policy=ANY_TOOL) as scene:
        heard = await hear(scene, [said_with_json(name, text, json.loads(text)) for name, text in TRICKY.items()])
        await trio.to_thread.run_sync(check_all, heard)


def said_as_in_the_corpora(session: str) -> list[Said]:
    """Every message that must be accepted, and what real clients send, for a server that is configured."""
    good = [(vector.name, vector.raw.headers.fields, vector.raw.body) for vector in on_ledger()]
    recorded = json.loads((CORPUS / "mcp" / "clients.json").read_text())
    clients = [
        (f"{each['client']} {at}", tuple(map(tuple, each["headers"])), each["body"].encode())
        for at, each in enumerate(recorded)
    ]
    return [said_as(*each, session) for each in (*good, *clients)]


def on_ledger() -> list[Any]:
    return [vector for vector in read_vectors("must_accept.json") if vector.raw.target == "/ledger/mcp"]


def said_as(name: str, fields: tuple[tuple[str, str], ...], body: bytes, session: str) -> Said:
    kept = [field for field in fields if field[0] not in {"host", "mcp-session-id"}]
    with_session = [("mcp-session-id", session)] if "mcp-session-id" in dict(fields) else []
    message = json.loads(body)
    params = message.get("params", {})
    arguments = params.get("arguments", {}) if message["method"] == "tools/call" else None
    return Said(name, request(body, [*kept, *with_session], host="gate"), body, message, params.get("name"), arguments)


async def test_every_good_message_is_read_alike(tmp_path: Path) -> None:
    async with siege(tmp_path, policy=ANY_TOOL, more=AUTHORITIES) as scene:
        async with scene.connected() as connection:
            session = await open_session(connection)
        all_said = said_as_in_the_corpora(session)
        assert len(all_said) > 60
        heard = await hear(scene, all_said)
        await trio.to_thread.run_sync(check_all, heard)


async def test_agents_bytes_are_in_no_request_to_the_tool_server(tmp_path: Path) -> None:
    """Not its spelling, not its order of headers, not what it says beside the message."""
    spelling = '{"v":"\\u0063\\u0061\\u006e\\u0061\\u0072\\u0079"  ,  "w" : 1}'
    said = said_with_json("spelling", spelling, json.loads(spelling))
    noisy = said.content.replace(b"\r\n", b"\r\nX-Canary: canary-header\r\nCookie: canary-cookie\r\n", 1)
    async with siege(tmp_path, policy=ANY_TOOL) as scene:
        async with scene.connected() as connection:
            assert (await connection.ask(noisy)).status == 200
        (asked,) = scene.reached()
        assert json.loads(asked.body)["params"]["arguments"] == {"v": {"v": "canary", "w": 1}}
        assert b"canary-" not in asked.raw
        assert b"\\u00" not in asked.body
        assert said.body not in asked.raw
