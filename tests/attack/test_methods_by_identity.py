"""Every method of both eras, and some that do not exist, from every kind of caller: nothing is allowed but the table.

Which methods are served is in the issue that asked for this gate; whatever is not in these tables is refused.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from secrets import token_bytes

import pytest

from callgate.errors import RPC_DENIED, Reason
from callgate.identity.spiffe_id import SpiffeId
from callgate.trace import Outcome, Stage
from callgate.wire.methods import METHODS, Era, Kind
from support.gate import WORKLOADS
from support.raw_agent import INITIALIZE, Answer, legacy, modern, modern_call
from support.served_methods import ABSORBED, FORWARDED
from support.siege import Siege, siege

POLICY = """
version: 1
trust_domains: [acme.test, partner.test]
grants:
  - {id: billing, workloads: ["spiffe://acme.test/ns/billing/sa/*"], server: ledger, tools: [get_invoice, wipe_ledger]}
  - {id: ops, workloads: ["spiffe://acme.test/ns/ops/**"], server: ledger, tools: ["list_*", close_month]}
  - {id: ops-books, workloads: ["spiffe://acme.test/ns/ops/**"], server: books, tools: ["*"]}
denials:
  - {id: nobody-wipes, server: ledger, tools: [wipe_ledger]}
"""
# A second tool server, on which the attacker has no grant.  Nobody listens there, and nobody need.
BOOKS = "  books:\n    url: http://127.0.0.1:9/mcp\n"
UNKNOWN_METHODS = (
    "tools/delete",
    "tools",
    "TOOLS/CALL",
    "tools/call/",
    "rpc.discover",
    "sampling/createMessage",
    "elicitation/create",
    "roots/list",
    "notifications/message",
    "notifications/unknown",
    "x",
)
PARAMS = {
    "tools/call": {"name": "get_invoice", "arguments": {}},
    "initialize": INITIALIZE,
}


@dataclass(frozen=True)
class Caller:
    """Who calls which server."""

    workload: str
    server: str
    granted: bool = False
    known: bool = True


CALLERS = (
    Caller("billing", "ledger", granted=True),
    Caller("stranger", "ledger"),
    Caller("partner", "ledger"),
    Caller("billing", "books"),
    Caller("billing", "nowhere", known=False),
)


@dataclass(frozen=True)
class Cell:
    """One cell of the matrix."""

    caller: Caller
    era: Era
    method: str

    @property
    def is_notification(self) -> bool:
        row = METHODS.get(self.method)
        return self.method.startswith("notifications/") if row is None else row.kind is Kind.NOTIFICATION

    @property
    def served(self) -> bool:
        return (self.era, self.method) in FORWARDED | ABSORBED

    def expected(self) -> tuple[int, str]:
        """HTTP status, and the reason of the refusal or ""."""
        quiet = self.is_notification
        if not self.served:
            return 200 if self.era is Era.LEGACY and not quiet else 404, Reason.METHOD_NOT_SERVED
        # Whoever has no grant is not told whether there is such a server.
        if not self.caller.granted:
            return 403 if quiet else 200, Reason.NO_GRANT
        return 202 if quiet else 200, ""

    def message(self, session: str | None) -> bytes:
        params = PARAMS.get(self.method, {})
        rpc_id = None if self.is_notification else 7
        target = f"/{self.caller.server}/mcp"
        if self.era is Era.MODERN:
            return modern(self.method, params, rpc_id=rpc_id, target=target)
        return legacy(self.method, params, rpc_id=rpc_id, session=session, target=target)


def cells() -> Iterator[Cell]:
    for caller, era, method in product(CALLERS, Era, (*METHODS, *UNKNOWN_METHODS)):
        yield Cell(caller, era, method)


def sealed_session(scene: Siege, workload: str, server: str) -> str:
    """A handle as it would be if the workload had opened a session there, before its grant was taken away."""
    parts = scene.gate.service._gateway._parts
    caller = SpiffeId.parse(WORKLOADS[workload])
    return parts.sealer.seal("theirs", caller, server, token_bytes(12), parts.clock.now())


async def test_nothing_is_allowed_outside_the_table(tmp_path: Path) -> None:
    wrong: list[object] = []

    async def attack(cell: Cell) -> None:
        session = sealed_session(scene, cell.caller.workload, cell.caller.server)
        async with scene.connected(agents[cell.caller.workload]) as connection:
            answer = await connection.ask(cell.message(session))
            (trace,) = await scene.traces_when(connection, 1)
        known = cell.caller.known or not cell.served
        recorded = answer.reason if known else Reason.SERVER_UNKNOWN
        if (answer.status, answer.reason) != cell.expected() or trace.reason != recorded:
            wrong.append((cell, answer.status, answer.reason, trace.path))
        allowed = trace.decision == "allow"
        if allowed != (cell.caller.granted and cell.served):
            wrong.append((cell, trace.path))

    async with siege(tmp_path, policy=POLICY, more=BOOKS) as scene:
        agents = {name: await scene.agent(name) for name in ("billing", "stranger", "partner")}
        await scene.for_each(cells(), attack)

        assert wrong == []
        assert sorted(asked.message["method"] for asked in scene.reached()) == sorted(method for _, method in FORWARDED)


async def test_legacy_method_without_a_session_of_ones_own_is_refused_whoever_asks(tmp_path: Path) -> None:
    wrong: list[object] = []

    async def attack(cell: Cell) -> None:
        stolen = sealed_session(scene, "ops", "ledger")
        async with scene.connected(agents[cell.caller.workload]) as connection:
            without = await connection.ask(cell.message(None))
            with_stolen = await connection.ask(cell.message(stolen))
        reasons = (Reason.SESSION_MISSING, Reason.SESSION_UNKNOWN)
        if ((without.status, with_stolen.status), (without.reason, with_stolen.reason)) != ((400, 404), reasons):
            wrong.append((cell, without, with_stolen))

    async with siege(tmp_path, policy=POLICY, more=BOOKS) as scene:
        agents = {name: await scene.agent(name) for name in ("billing", "stranger", "partner")}
        in_sessions = [
            cell for cell in cells() if cell.era is Era.LEGACY and cell.served and cell.method != "initialize"
        ]
        await scene.for_each(in_sessions, attack)

        assert wrong == []
        assert scene.reached() == []


def without_ids(answer: Answer) -> tuple[int, object, object]:
    """What an answer tells apart from the ids, which are new in each."""
    told = {name: value for name, value in answer.message["error"]["data"].items() if not name.endswith("_id")}
    headers = [name for name, _ in answer.headers]
    return answer.status, headers, {**answer.message, "error": {**answer.message["error"], "data": told}}


@pytest.mark.parametrize("workload", ["billing", "stranger", "partner"])
async def test_refusal_does_not_tell_whether_a_tool_exists(tmp_path: Path, workload: str) -> None:
    async with siege(tmp_path, policy=POLICY, more=BOOKS) as scene:
        async with scene.connected(await scene.agent(workload)) as connection:
            exists, unknown, list_only = [
                without_ids(await connection.ask(modern_call(tool)))
                for tool in ("close_month", "no_such_tool", "list_invoices")
            ]
        assert exists == unknown == list_only
        assert exists[0] == 200
        assert scene.reached() == []


async def test_tool_that_a_denial_names_is_refused_in_the_same_form_as_an_unknown_one(tmp_path: Path) -> None:
    async with siege(tmp_path, policy=POLICY, more=BOOKS) as scene:
        async with scene.connected() as connection:
            denied = await connection.ask(modern_call("wipe_ledger"))
            unknown = await connection.ask(modern_call("no_such_tool"))
        assert (denied.status, denied.code) == (unknown.status, unknown.code) == (200, RPC_DENIED)
        assert denied.message["error"]["message"] == unknown.message["error"]["message"]
        assert denied.message["error"]["data"].keys() == unknown.message["error"]["data"].keys()
        assert scene.reached() == []


async def test_each_refusal_of_the_matrix_names_the_stage_that_refused(tmp_path: Path) -> None:
    async with siege(tmp_path, policy=POLICY, more=BOOKS) as scene:
        stranger = await scene.agent("stranger")
        stages = []
        for content in (
            modern("resources/list"),
            modern_call("get_invoice", target="/nowhere/mcp"),
            modern_call("get_invoice"),
        ):
            async with scene.connected(stranger) as connection:
                await connection.ask(content)
                (trace,) = await scene.traces_when(connection, 1)
            stages += [record.stage for record in trace.records if record.outcome is not Outcome.OK]
        assert stages == [Stage.READ, Stage.IDENTIFY, Stage.DECIDE]
