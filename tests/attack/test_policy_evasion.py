"""An agent that tries to get round what the policy says: round its conditions, its users, its limits and its memory."""

import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import trio

from callgate.dev.agent import agent_context
from callgate.dev.identity import workload_identity
from callgate.errors import RPC_DENIED, RPC_LIMITED, Reason
from callgate.identity.spiffe_id import SpiffeId
from callgate.limits.breaker import DEFAULT_FAILURES
from callgate.parts import Clock, Granted, Identified
from callgate.policy.call import Call
from callgate.trace import Outcome, Stage, StageRecord
from callgate.wire.jsonrpc import RpcRequest
from callgate.wire.mcp import Era, Request
from support.desk import users_of
from support.gate import GATE, context_of, running_gate
from support.key_endpoint import KeyEndpoint
from support.raw_agent import (
    LEGACY,
    MODERN,
    Answer,
    RawAgent,
    legacy,
    modern,
    modern_call,
    open_session,
    request,
    transport_headers,
)
from support.said_upstream import claims_of
from support.siege import Siege, siege
from support.tls_agent import dialled, with_headers
from support.upstream import RESULTS, Asked, Reply, answer_with, said, scripted_server
from support.user_tokens import base64url, claims, jwks_of, user_key, user_token

START = """\
version: 1
trust_domains: [acme.test]
tools:
  - {server: ledger, tools: [get_invoice], tags: [reads_untrusted]}
grants:
  - {id: neighbour, server: ledger, tools: [list_invoices], workloads: ["spiffe://acme.test/ns/ops/**"]}
"""
BILLING = 'server: ledger, workloads: ["spiffe://acme.test/ns/billing/sa/*"]'
META = json.dumps({"io.modelcontextprotocol/protocolVersion": MODERN, "io.modelcontextprotocol/clientCapabilities": {}})


def grant(tools: str, more: str = "", *, name: str = "g") -> str:
    return f"  - {{id: {name}, {BILLING}, tools: {tools}{more}}}\n"


def denial(tools: str, more: str = "") -> str:
    return f"denials:\n  - {{id: d, server: ledger, tools: {tools}{more}}}\n"


def raw_call(arguments: str, tool: str = "refund", meta: str = META) -> bytes:
    """tools/call with arguments of any bytes."""
    body = (
        f'{{"jsonrpc":"2.0","id":1,"method":"tools/call",'
        f'"params":{{"name":"{tool}","arguments":{arguments},"_meta":{meta}}}}}'
    )
    mirrors = [("MCP-Protocol-Version", MODERN), ("Mcp-Method", "tools/call"), ("Mcp-Name", tool)]
    return request(body.encode(), [*transport_headers(), *mirrors])


async def asked_in_turn(scene: Siege, *contents: bytes) -> list[Answer]:
    async with scene.connected() as connection:
        return [await connection.ask(content) for content in contents]


# Conditions on arguments: `args.amount < 500`, with a grant of no other kind

NOT_ALLOWED = [
    "{}",
    '{"amount":"80"}',
    '{"amount":"500"}',
    '{"amount":null}',
    '{"amount":true}',
    '{"amount":false}',
    '{"amount":[80]}',
    '{"amount":[]}',
    '{"amount":{}}',
    '{"amount":{"amount":80}}',
    '{"amount":500}',
    '{"amount":500.0}',
    '{"amount":5e2}',
    '{"amount":5E+2}',
    '{"amount":0.5e3}',
    # The double next to it is 500.
    '{"amount":499.999999999999999}',
    '{"amount":9007199254740991}',
    '{"amount":1e308}',
    # Another name than the one that is asked for.
    '{"Amount":80}',
    '{"AMOUNT":80}',
    '{"amount ":80}',
    '{"amount\\u0000":80}',
    '{"amount\\u200b":80}',
    '{"\\u0430mount":80}',
    '{"\\uff41mount":80}',
    '{"args":{"amount":80}}',
    '{"nested":{"amount":80}}',
    # The condition reads the one that it names.
    '{"Amount":80,"amount":900}',
    '{"\\u0430mount":80,"amount":900}',
    '{"args.amount":80,"amount":900}',
]
NOT_READ = [
    '{"amount":80,"amount":900}',
    '{"amount":900,"amount":80}',
    '{"amount":900,"\\u0061mount":80}',
    '{"amount":80,"\\u0061mount":900}',
    '{"note":{"amount":80,"amount":900},"amount":80}',
    '{"amount":-9007199254740993}',
    '{"amount":100000000000000000000000000000000}',
    '{"amount":-100000000000000000000000000000000}',
    '{"amount":1e999}',
    '{"amount":-1e999}',
    '{"amount":NaN}',
    '{"amount":-Infinity}',
    '{"amount":0x50}',
    '{"amount":080}',
    '{"amount":+80}',
    '{"amount":"\\ud800"}',
    "[80]",
    '"amount"',
    "null",
    "80",
]
ALLOWED = ['{"amount":80}', '{"amount":80.0}', '{"amount":8e1}', '{"amount":499.5}', '{"amount":-1}', '{"amount":0}']


async def test_argument_of_another_type_spelling_or_name_does_not_make_a_condition_hold(tmp_path: Path) -> None:
    policy = START + grant("[refund]", ", when: args.amount < 500")
    wrong: list[object] = []
    async with siege(tmp_path, policy=policy) as scene, scene.connected() as connection:
        for arguments in [*NOT_ALLOWED, *NOT_READ]:
            answer = await connection.ask(raw_call(arguments))
            expected: tuple[int, str] = (200, Reason.NO_GRANT)
            if arguments in NOT_READ:
                expected = (400, answer.reason if answer.reason.startswith(("json_", "params_")) else "json_…")
            if (answer.status, answer.reason) != expected:
                wrong.append((arguments, answer))
        assert wrong == []
        assert scene.reached() == []
        for arguments in ALLOWED:
            assert (await connection.ask(raw_call(arguments))).reason == "", arguments
        # What was decided on is what is sent: there is no second reading of it.
        sent = [asked.message["params"]["arguments"] for asked in scene.reached()]
        assert sent == [json.loads(arguments) for arguments in ALLOWED]


async def test_what_is_missing_or_of_another_type_does_not_avoid_a_denial(tmp_path: Path) -> None:
    policy = START + grant("[refund]") + denial("[refund]", ", when: args.amount >= 500")
    refused = ['{"amount":"80"}', '{"amount":null}', '{"amount":[80]}', '{"amount":true}', "{}", '{"Amount":80}']
    async with siege(tmp_path, policy=policy) as scene:
        answers = await asked_in_turn(scene, *map(raw_call, [*refused, '{"amount":500.0}', '{"amount":80}']))
        *denied, allowed = answers
        assert [(each.code, each.reason) for each in denied] == [(RPC_DENIED, "denied")] * (len(refused) + 1)
        assert allowed.reason == ""
        assert len(scene.reached()) == 1


async def test_condition_over_its_budget_fails_and_holds_nobody_up(tmp_path: Path) -> None:
    grown = "args.items.all(a, args.items.exists(b, b == a))"
    policy = (
        START
        + grant("[refund]", f', when: "{grown}"')
        + grant("[get_invoice]", name="low")
        + denial("[get_invoice]", f', when: "!({grown})"')
    )
    items = json.dumps({"items": list(range(5_000))})
    async with siege(tmp_path, policy=policy) as scene:
        started = trio.current_time()
        by_grant, by_denial, small = await asked_in_turn(
            scene, raw_call(items), raw_call(items, "get_invoice"), raw_call('{"items":[1,2]}')
        )
        assert trio.current_time() - started < 5
        assert (by_grant.reason, by_denial.reason, small.reason) == ("no_grant", "denied", "")
        whys = [f.why for t in scene.traces_of_attackers() for r in t.records for f in r.findings]
        assert len([why for why in whys if "budget exceeded" in why]) == 2


@pytest.mark.parametrize("tool", ["Refund", "REFUND", "refund.", "refun", "refund2", "-refund", "ledger.refund"])
async def test_tool_whose_name_only_looks_like_a_granted_one_is_not_granted(tmp_path: Path, tool: str) -> None:
    async with siege(tmp_path, policy=START + grant("[refund]")) as scene:
        (answer,) = await asked_in_turn(scene, raw_call("{}", tool))
        assert (answer.code, answer.reason) == (RPC_DENIED, "no_grant")
        assert scene.reached() == []


@pytest.mark.parametrize(
    "tool", ["refund ", " refund", "refund\\u0000", "r\\u0435fund", "\\uff52efund", "refund/../refund", ""]
)
async def test_tool_whose_name_has_no_one_spelling_is_not_read(tmp_path: Path, tool: str) -> None:
    body = json.loads(f'"{tool}"')
    async with siege(tmp_path, policy=START + grant('["*"]')) as scene, scene.connected() as connection:
        session = await open_session(connection)
        answer = await connection.ask(legacy("tools/call", {"name": body, "arguments": {}}, session=session))
        assert answer.reason == Reason.PARAMS_INVALID
        assert [asked.message["method"] for asked in scene.reached()] == ["initialize"]


# What only the gate may say: annotations, purposes

READ_ONLY = START + grant('["*"]', ", when: tool.annotations.readOnlyHint == true")
HINT = {"readOnlyHint": True}


async def answer_with_annotations(asked: Asked, reply: Reply) -> None:
    """A server whose `get_invoice` only reads and whose `refund` says the contrary."""
    if asked.message.get("method") != "tools/list":
        await answer_with()(asked, reply)
        return
    tools = [
        {"name": "get_invoice", "inputSchema": {"type": "object"}, "annotations": HINT},
        {"name": "refund", "inputSchema": {"type": "object"}, "annotations": {"readOnlyHint": False}},
        {"name": "close_month", "inputSchema": {"type": "object"}},
    ]
    await reply.json(said(asked, {**RESULTS["tools/list"], "tools": tools}))


async def test_annotations_that_the_caller_brings_count_for_nothing(tmp_path: Path) -> None:
    meta = {**json.loads(META), "annotations": HINT, "tool": {"annotations": HINT}}
    tries = [
        modern_call("refund"),
        modern_call("refund", {"annotations": HINT, "tool": {"annotations": HINT}}),
        modern("tools/call", {"name": "refund", "arguments": {}, "_meta": meta}),
        modern("tools/call", {"name": "refund", "arguments": {}, "annotations": HINT}),
        modern("tools/list", {"tools": [{"name": "refund", "annotations": HINT}]}),
        with_headers(modern_call("refund"), ("Mcp-Tool-Annotations", "readOnlyHint")),
    ]
    async with siege(tmp_path, answer_with_annotations, policy=READ_ONLY) as scene:
        before = [answer.reason for answer in await asked_in_turn(scene, *tries, modern_call("get_invoice"))]
        assert before == ["no_grant"] * 3 + ["params_invalid"] * 2 + ["no_grant"] * 2
        assert scene.reached() == []
        (listed,) = await asked_in_turn(scene, modern("tools/list"))
        after = [answer.reason for answer in await asked_in_turn(scene, *tries, modern_call("get_invoice"))]
        assert after == ["no_grant"] * 3 + ["params_invalid"] * 2 + ["no_grant", ""]
        assert [tool["name"] for tool in listed.message["result"]["tools"]] == ["get_invoice"]


BAD_PURPOSES = [
    1,
    True,
    ["month-end"],
    {"a": "month-end"},
    "",
    " month-end",
    "month-end ",
    "m" * 129,
    "a\nb",
    "é",
    "a\x00",
]


@pytest.mark.parametrize("era", [MODERN, LEGACY])
async def test_purpose_of_another_type_or_length_is_refused_and_never_taken_for_none(tmp_path: Path, era: str) -> None:
    policy = START + grant("[refund]") + denial("[refund]", ", when: \"request.purpose == 'month-end'\"")
    async with siege(tmp_path, policy=policy) as scene, scene.connected() as connection:
        session = await open_session(connection)

        async def declared(meta: dict[str, object]) -> Answer:
            params = {"name": "refund", "arguments": {}, "_meta": meta}
            said = modern("tools/call", params) if era == MODERN else legacy("tools/call", params, session=session)
            return await connection.ask(said)

        for purpose in BAD_PURPOSES:
            assert (await declared({"callgate/purpose": purpose})).reason == Reason.META_INVALID, purpose
        for name in ("Callgate/Purpose", "callgate/purpo\u017fe"):
            found = await declared({name: "month-end"})
            assert found.reason == Reason.JSON_DUPLICATE_KEY, name
        assert (await declared({"callgate/purpose": "month-end"})).reason == "denied"
        assert [asked.message["method"] for asked in scene.reached()] == ["initialize"]
        assert (await declared({"callgate/purpose": "month-end?"})).reason == ""


# Users


@dataclass
class Login:
    """Where users' tokens are from."""

    endpoint: KeyEndpoint

    def token(self, subject: str, **changes: object) -> str:
        now = int(time.time())
        usual = {"iss": self.endpoint.issuer, "sub": subject, "exp": now + 600, "iat": now - 10}
        return user_token(claims(**{**usual, **changes}))

    def call(self, subject: str, tool: str = "refund", **changes: object) -> bytes:
        return with_headers(modern_call(tool), ("Authorization", f"Bearer {self.token(subject, **changes)}"))


@asynccontextmanager
async def siege_with_users(folder: Path, policy: str) -> AsyncIterator[tuple[Siege, Login]]:
    async with (
        KeyEndpoint.open(jwks_of(user_key("P-256"))) as endpoint,
        siege(folder, policy=policy, more=users_of(endpoint)) as scene,
    ):
        yield scene, Login(endpoint)


@pytest.mark.parametrize("by", [", users: {subjects: [mallory]}", ", when: \"user.subject == 'mallory'\""])
async def test_leaving_the_users_token_out_or_spoiling_it_does_not_avoid_a_denial(tmp_path: Path, by: str) -> None:
    async with siege_with_users(tmp_path, START + grant("[refund]") + denial("[refund]", by)) as (scene, login):
        good = login.token("mallory")
        spoilt = [
            ("Authorization", f"Bearer {good[:-4]}AAAA"),
            ("Authorization", f"Bearer {good},"),
            ("Authorization", "Bearer"),
            ("Authorization", ""),
            ("Authorization", f"Token {good}"),
            ("Authorization", "Basic bWFsbG9yeTpwdw=="),
        ]
        mallory, none, elsewhere, *bad, alice, lower = await asked_in_turn(
            scene,
            login.call("mallory"),
            modern_call("refund"),
            # Only Authorization is a place for it.
            with_headers(modern_call("refund"), ("X-Authorization", f"Bearer {login.token('alice')}")),
            *(with_headers(modern_call("refund"), each) for each in spoilt),
            login.call("alice"),
            with_headers(modern_call("refund"), ("authorization", f"bearer {good}")),
        )
        assert [each.reason for each in (mallory, none, elsewhere, lower)] == ["denied"] * 4
        assert [each.status for each in bad] == [401] * len(spoilt)
        assert all(each.reason.startswith("user_token_") for each in bad)
        assert alice.reason == ""
        twice = [("Authorization", f"Bearer {login.token('alice')}"), ("Authorization", f"Bearer {good}")]
        (both,) = await asked_in_turn(scene, with_headers(modern_call("refund"), *twice))
        assert both.reason == Reason.HTTP_HEADER_REPEATED
        assert [claims_of(asked)["sub"] for asked in scene.reached()] == ["alice"]


async def test_users_token_that_is_bound_to_another_workload_is_refused(tmp_path: Path) -> None:
    policy = (
        START
        + grant("[refund]", ", users: {any: true}")
        + grant("[refund]", name="x").replace("ns/billing/sa/*", "ns/ops/**")
    )
    async with siege_with_users(tmp_path, policy) as (scene, login):
        port = scene.gate.addresses.agents.port
        identities = [await workload_identity(scene.gate.api.endpoint(name)) for name in ("ops", "billing")]
        theirs, ours = [(RawAgent(port, agent_context(each, SpiffeId.parse(GATE))), each.svid) for each in identities]
        bound = {"x5t#S256": base64url(theirs[1].leaf_sha256)}
        answers = []
        for agent in (ours[0], theirs[0]):
            async with scene.connected(agent) as connection:
                answers.append(await connection.ask(login.call("alice", cnf=bound)))
        stolen, honest = answers
        assert (stolen.status, stolen.reason) == (401, Reason.USER_TOKEN_BINDING)
        assert honest.reason == ""
        assert len(scene.reached()) == 1


# Time


@dataclass
class StoppedClock:
    """`now`, Unix seconds, until it is set anew."""

    now: float
    clock: Clock = field(init=False)

    def __post_init__(self) -> None:
        self.clock = Clock(lambda: int(self.now * 1e9))


async def test_grant_ends_in_the_moment_that_it_says_and_its_tokens_with_it(tmp_path: Path) -> None:
    begins, ends = int(time.time()) + 30, int(time.time()) + 60
    at_begin, at_end = (datetime.fromtimestamp(each, UTC).strftime("%Y-%m-%dT%H:%M:%SZ") for each in (begins, ends))
    policy = START + grant("[refund]", f', from: "{at_begin}", until: "{at_end}"')
    stopped = StoppedClock(time.time())
    moments = [begins - 1, begins - 1e-5, begins, ends - 20, ends - 1, ends - 1e-5, ends, ends + 1e-5, ends + 3]
    async with (
        scripted_server() as upstream,
        running_gate(tmp_path, upstream.url, policy=policy, clock=stopped.clock) as gate,
        dialled(gate, await context_of(gate.api, "billing")) as agent,
    ):
        reasons = []
        for stopped.now in moments:
            reasons.append((await agent.ask(modern_call("refund"))).reason)
            listed = (await agent.ask(modern("tools/list"))).message
            shown = [tool["name"] for tool in listed["result"]["tools"]] if "result" in listed else []
            # List and call agree, up to the last moment.
            assert shown == ([] if reasons[-1] else ["refund"])
        assert reasons == ["no_grant"] * 2 + [""] * 4 + ["no_grant"] * 3
        calls = [asked for asked in upstream.requests if asked.message["method"] == "tools/call"]
        assert [claims_of(asked)["exp"] <= ends for asked in calls] == [True] * 4


# Limits


async def all_at_once(scene: Siege, contents: list[bytes]) -> list[Answer]:
    """Each over a connection of its own, which is up before the first of them speaks."""
    answers: list[Answer] = []
    ready = trio.Event()
    waiting = 0

    async def ask(content: bytes) -> None:
        nonlocal waiting
        async with scene.connected() as connection:
            waiting += 1
            if waiting == len(contents):
                ready.set()
            await ready.wait()
            answers.append(await connection.ask(content))

    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            for content in contents:
                nursery.start_soon(ask, content)
    return answers


async def test_limit_is_exact_under_fifty_concurrent_calls_of_both_eras(tmp_path: Path) -> None:
    policy = START + grant("[refund]", ", limit: {calls: 5, per: 1h}") + grant("[get_invoice]", name="other")
    async with siege(tmp_path, policy=policy) as scene:
        async with scene.connected() as connection:
            sessions = [await open_session(connection) for _ in range(5)]
        call = {"name": "refund", "arguments": {}}
        contents = [legacy("tools/call", call, session=sessions[n % 5]) for n in range(25)]
        answers = await all_at_once(scene, [*contents, *[modern_call("refund")] * 25])
        refused = [answer for answer in answers if answer.reason]
        reached = [asked for asked in scene.reached() if asked.message["method"] == "tools/call"]
        assert len(reached) == len(answers) - len(refused) == 5
        assert {(each.status, each.code, each.reason) for each in refused} == {(200, RPC_LIMITED, "rate_limited")}
        waits = [each.message["error"]["data"]["retry_after_ms"] for each in refused]
        assert all(3_500_000 < wait <= 3_600_001 for wait in waits)
        # Waiting, reconnecting or calling for a user changes nothing; another tool is another matter.
        again, other = await asked_in_turn(scene, modern_call("refund"), modern_call("get_invoice"))
        assert (again.reason, other.reason) == ("rate_limited", "")


async def test_call_that_is_hung_up_on_counts_all_the_same(tmp_path: Path) -> None:
    policy = START + grant("[refund]", ", limit: {calls: 3, per: 1h}")
    stuck = trio.Event()

    async def hold(asked: Asked, reply: Reply) -> None:
        await stuck.wait()
        await answer_with()(asked, reply)

    async with siege(tmp_path, hold, policy=policy) as scene:
        for number in range(3):
            async with scene.connected() as connection:
                await connection.say(modern_call("refund"))
                with trio.fail_after(20):
                    while len(scene.reached()) <= number:
                        await scene.upstream.arrived.wait()
                        scene.upstream.arrived = trio.Event()
        stuck.set()
        (answer,) = await asked_in_turn(scene, modern_call("refund"))
        assert answer.reason == "rate_limited"
        assert len(scene.reached()) == 3


# The breaker: the neighbour of the siege calls all the while, and must always be answered

ILL: dict[str, Callable[[Asked, Reply], Any]] = {
    "tool error": lambda asked, reply: reply.json(said(asked, {**RESULTS["tools/call"], "isError": True})),
    "rpc error": lambda asked, reply: reply.json(
        {"jsonrpc": "2.0", "id": asked.message["id"], "error": {"code": -32603, "message": "Internal error"}}
    ),
    "400": lambda _, reply: reply.json({}, 400),
    "401": lambda _, reply: reply.json({}, 401),
    "404": lambda _, reply: reply.json({}, 404),
    "500": lambda _, reply: reply.json({"detail": "Internal Server Error"}, 500),
    # What can be the call's own doing does not count for others, either.
    "503": lambda _, reply: reply.json({}, 503),
    "cut off": lambda _, reply: reply.close(),
    "no json": lambda _, reply: reply.json("not an answer"),
    "another id": lambda _, reply: reply.json({"jsonrpc": "2.0", "id": 999, "result": {}}),
    "too large": lambda _, reply: reply.json("x" * 5_000_000),
}


async def test_breaker_is_not_opened_for_others_by_odd_arguments(tmp_path: Path) -> None:
    async def odd(asked: Asked, reply: Reply) -> None:
        kind = asked.message["params"]["arguments"]["kind"]
        await ILL[kind](asked, reply)

    async with siege(tmp_path, odd, policy=START + grant("[refund]")) as scene:
        for kind in ILL:
            # More in a row than a breaker needs, and at once: the neighbour's successes hardly come between them.
            answers = await all_at_once(scene, [modern_call("refund", {"kind": kind})] * (2 * DEFAULT_FAILURES))
            assert Reason.UPSTREAM_BREAKER_OPEN not in {answer.reason for answer in answers}, kind
        refused = [t.path for t in scene.gate.traces if t.reason == Reason.UPSTREAM_BREAKER_OPEN]
        assert refused == []


async def test_breaker_is_not_opened_by_an_agent_that_hangs_up(tmp_path: Path) -> None:
    stuck = trio.Event()

    async def hold(_: Asked, __: Reply) -> None:
        await stuck.wait()

    async with siege(tmp_path, hold, policy=START + grant("[refund]")) as scene:
        for number in range(2 * DEFAULT_FAILURES):
            async with scene.connected() as connection:
                await connection.say(modern_call("refund"))
                with trio.fail_after(20):
                    while len(scene.reached()) <= number:
                        await scene.upstream.arrived.wait()
                        scene.upstream.arrived = trio.Event()
        calls = scene.neighbour.calls
        with trio.fail_after(20):
            while scene.neighbour.calls < calls + 3:  # noqa: ASYNC110  # there is no event for it
                await trio.sleep(0.01)
        assert [t.path for t in scene.gate.traces if t.reason == Reason.UPSTREAM_BREAKER_OPEN] == []


# History: it is the workload's, whatever it calls over

NO_MAIL = (
    START
    + grant("[get_invoice, refund]")
    + grant('["made_*"]', name="many")
    + denial("[refund]", ", when: \"history.used('reads_untrusted', duration('1h'))\"")
)


async def calls_of_every_kind(scene: Siege) -> list[str]:
    """`refund` over new connections, new sessions, both eras, and with a new SVID."""
    reasons = []
    renewed = RawAgent(scene.gate.addresses.agents.port, await context_of(scene.gate.api, "billing"))
    for agent in (scene.attacker, renewed):
        async with scene.connected(agent) as connection:
            session = await open_session(connection)
            call = legacy("tools/call", {"name": "refund", "arguments": {}}, session=session)
            reasons += [(await connection.ask(content)).reason for content in (call, modern_call("refund"))]
    return reasons


async def test_what_a_workload_did_is_not_left_behind_with_its_session_connection_or_svid(tmp_path: Path) -> None:
    async with siege(tmp_path, policy=NO_MAIL) as scene:
        assert await calls_of_every_kind(scene) == [""] * 4
        async with scene.connected() as connection:
            session = await open_session(connection)
            call = {"name": "get_invoice", "arguments": {}}
            assert (await connection.ask(legacy("tools/call", call, session=session))).reason == ""
        assert await calls_of_every_kind(scene) == ["denied"] * 4
        reached = [
            asked.message["params"]["name"] for asked in scene.reached() if asked.message["method"] == "tools/call"
        ]
        assert reached == ["refund"] * 4 + ["get_invoice"]


async def test_read_that_the_tool_server_failed_or_the_agent_hung_up_on_counts_all_the_same(tmp_path: Path) -> None:
    async def fail(_: Asked, reply: Reply) -> None:
        await reply.json({}, 500)

    async with siege(tmp_path, fail, policy=NO_MAIL) as scene:
        read, mail = await asked_in_turn(scene, modern_call("get_invoice"), modern_call("refund"))
        assert (read.reason, mail.reason) == ("upstream_status", "denied")


async def test_history_is_not_flooded_out_of_memory_to_be_forgotten(tmp_path: Path) -> None:
    async with siege(tmp_path, policy=NO_MAIL) as scene:
        async with scene.connected() as connection:
            assert (await connection.ask(modern_call("get_invoice"))).reason == ""
            for number in range(300):
                assert (await connection.ask(modern_call(f"made_{number}"))).reason == ""
            last = await connection.ask(modern_call("refund"))
        history = scene.gate.service._gateway._parts.history
        (past,) = [past for caller, past in history._pasts.items() if "billing" in caller.path]
        assert last.reason == "denied"
        # It is not in memory any more, and the denial applies for that very reason.
        assert ("ledger", "get_invoice") not in past.pairs
        assert len(past.pairs) == history.bounds.pairs
        found = [
            f.why for t in scene.traces_of_attackers()[-1:] for r in t.records for f in r.findings if f.rule == "d"
        ]
        assert found == ["tool matches refund; any workload; condition failed: history does not reach back 1h"]


async def test_denials_of_one_workload_shut_out_nobody_else_and_are_not_its_to_reset(tmp_path: Path) -> None:
    out = ", when: \"history.lockout(3, duration('1m'), duration('10m'))\""
    policy = START + grant("[refund]") + denial('["*"]', out)
    async with siege(tmp_path, policy=policy) as scene:
        for number in range(3):
            assert (await asked_in_turn(scene, modern_call(f"none_{number}")))[0].reason == "no_grant"
        assert await calls_of_every_kind(scene) == ["denied"] * 4
        calls = scene.neighbour.calls
        with trio.fail_after(20):
            while scene.neighbour.calls < calls + 3:  # noqa: ASYNC110  # there is no event for it
                await trio.sleep(0.01)
        assert [a.message["method"] for a in scene.reached()] == ["initialize"] * 2


async def test_attempts_at_what_the_history_forbids_are_denials_like_any_other(tmp_path: Path) -> None:
    out = '  - {id: out, server: ledger, tools: ["*"], when: \'history.lockout(3, duration("1m"), duration("10m"))\'}\n'
    async with siege(tmp_path, policy=NO_MAIL + out) as scene:
        answers = await asked_in_turn(
            scene,
            modern_call("get_invoice"),
            *[modern_call("refund")] * 2,
            modern_call("get_invoice"),
            modern_call("refund"),
            modern_call("get_invoice"),
        )
        assert [each.reason for each in answers] == ["", "denied", "denied", "", "denied", "denied"]


async def test_being_shut_out_does_not_make_the_time_longer(tmp_path: Path) -> None:
    out = ', when: \'history.lockout(3, duration("1m"), duration("10m"))\''
    stopped = StoppedClock(time.time())
    began = stopped.now
    async with (
        scripted_server() as upstream,
        running_gate(
            tmp_path,
            upstream.url,
            policy=START + grant("[refund]") + denial('["*"]', out),
            clock=stopped.clock,
            ttl_s=3600,
        ) as gate,
        dialled(gate, await context_of(gate.api, "billing")) as agent,
    ):
        reasons = []
        tries: list[tuple[float, str]] = [
            (0, "close_month"),
            (20, "close_month"),
            (40, "close_month"),
            (41, "refund"),
            (300, "close_month"),
        ]
        # What is refused meanwhile does not count, or nobody who keeps trying would ever get in again.
        tries += [(600, "refund"), (639.9, "refund"), (640.1, "refund")]
        for later, tool in tries:
            stopped.now = began + later
            reasons.append((await agent.ask(modern_call(tool))).reason)
        assert reasons == ["no_grant"] * 3 + ["denied", "no_grant", "denied", "denied", ""]


async def test_reads_and_mails_that_race_are_in_one_order_for_everybody(tmp_path: Path) -> None:
    async with siege(tmp_path, policy=NO_MAIL) as scene:
        mails = [modern_call("refund")] * 12
        await all_at_once(scene, [*mails, modern_call("get_invoice"), *mails])
        order = [
            (trace.records[2].attributes["gen_ai.tool.name"], trace.decision)
            for trace in sorted(scene.traces_of_attackers(), key=lambda trace: trace.records[4].started_ns)
        ]
        read = order.index(("get_invoice", "allow"))
        assert {decision for tool, decision in order[:read] if tool == "refund"} <= {"allow"}
        assert {decision for tool, decision in order[read:] if tool == "refund"} <= {"deny"}


# Memory

MADE_UP = 10_000
MIB = 1024 * 1024


async def test_ten_thousand_made_up_tool_names_do_not_make_the_gate_grow(tmp_path: Path) -> None:
    policy = (
        START + grant('["*"]', ", when: args.n >= 0") + grant('["l*"]', ", limit: {calls: 1000, per: 1h}", name="l")
    )
    policy += denial('["*"]', ", when: \"history.used('reads_untrusted', duration('1h'))\"")
    async with siege(tmp_path, policy=policy) as scene:
        gateway = scene.gate.service._gateway
        parts = gateway._parts
        async with scene.connected() as connection:
            for number in range(50):
                assert (await connection.ask(modern_call(f"live_{number}", {"n": 1}))).reason == ""
        # What each of those calls passed through, without the way there.
        (billing,) = [caller for caller in parts.history._pasts if "billing" in caller.path]

        async def flood(letter: str, count: int) -> None:
            for number in range(count):
                tool = f"{letter}{number}"
                call = Call(
                    caller=billing,
                    server="ledger",
                    method="tools/call",
                    tool=tool,
                    arguments={"n": 1},
                    now=parts.clock.now(),
                    history=parts.history.of(billing),
                )
                asked = Request("ledger", Era.MODERN, MODERN, RpcRequest(1, "tools/call", {}), tool, {"n": 1})
                path = gateway.begin(StageRecord(Stage.ACCEPT, Outcome.OK, 0, 0))
                granted = await gateway._decide(Identified(asked, call, None), path)
                if isinstance(granted, Granted) and granted.slot is not None:
                    granted.slot.release(failed=False, now=call.now)

        await flood("l", 300)
        await flood("t", MADE_UP)
        past = parts.history._pasts[billing]
        assert len(past.pairs) == parts.history.bounds.pairs == 256
        assert len(past.denials.kept) <= parts.history.bounds.times
        assert parts.history._bytes < MIB
        in_force = parts.policy()
        assert len(in_force._views) <= 2
        assert all(len(view._tools) <= 64 for view in in_force._views.values())
        assert all(len(rule._applying) <= 256 for rules in in_force.rules.values() for rule in rules)
        assert len(in_force.tags._kept) <= 4_096
        assert len(parts.admission._log._windows) <= 256
