"""Every method, from every kind of caller, on behalf of every kind of user, under every kind of rule: what is allowed is
what these tables say, and the tool servers are asked that and nothing else.

The tables are from the rules of the issue: default deny; a denial beats grants; what fails keeps a grant from applying
and makes a denial apply; what is in shadow or out of its time changes nothing; a denial that is about users applies
where there is none; a grant of any tool, whatever it asks of a call, lets its workload say what a client needs to get
there; a list shows a tool exactly if some call of it could be allowed now.
"""

import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import cycle, product
from pathlib import Path
from secrets import token_bytes
from typing import Final

import trio

from callgate.errors import RPC_DENIED, RPC_IDENTITY, Reason
from callgate.identity.spiffe_id import SpiffeId
from callgate.trace import DecisionTrace
from callgate.wire.methods import METHODS, Era, Kind
from support.desk import users_of
from support.gate import WORKLOADS, Gate, context_of, running_gate
from support.key_endpoint import KeyEndpoint
from support.raw_agent import INITIALIZE, Answer, RawAgent, RawConnection, legacy, modern
from support.served_methods import ABSORBED, FORWARDED
from support.siege import client_port
from support.tls_agent import with_headers
from support.upstream import ScriptedServer, scripted_server
from support.user_tokens import claims, header, jwks_of, user_key, user_token

PATIENCE_S: Final = 100.0
# Of one workload's, at a time.
CONNECTIONS: Final = 2
TOOL, OTHER_TOOL = "get_invoice", "close_month"
ARGUMENTS = {"amount": 80}
GRANT = "{id: g-%s, server: %s, tools: [get_invoice], workloads: ['spiffe://acme.test/ns/billing/sa/*']%s}"
OTHERS_GRANT = "{id: o-%s, server: %s, tools: [close_month], workloads: ['spiffe://acme.test/ns/ops/**']}"
DENIAL = "{id: d-%s, server: %s, tools: [get_invoice]%s}"


@dataclass(frozen=True)
class Situation:
    """The rules on one tool server.  `grant`, `denial`: what is added to them; None: there is none.

    `calls`: what comes of calling the tool with a grant for no user, for alice (a clerk), for mallory: "" is allowed.
    `shown`: for which of the three the list shows the tool.  `opens`: whether the grant counts at all.
    """

    grant: str | None
    denial: str | None
    calls: tuple[str, str, str]
    shown: tuple[bool, bool, bool] = (True, True, True)
    opens: bool = True


ALLOWED, NO_GRANT, DENIED = ("", "", ""), ("no_grant",) * 3, ("denied",) * 3
HIDDEN = (False, False, False)
PAST, FUTURE = ", until: '2020-01-01T00:00:00Z'", ", from: '2990-01-01T00:00:00Z'"
SITUATIONS = {
    "grant": Situation("", None, ALLOWED),
    "no-grant": Situation(None, None, NO_GRANT, HIDDEN, opens=False),
    "denial": Situation("", "", DENIED, HIDDEN),
    "denial-alone": Situation(None, "", DENIED, HIDDEN, opens=False),
    "holds": Situation(", when: args.amount < 500", None, ALLOWED),
    "does-not-hold": Situation(", when: args.amount < 50", None, NO_GRANT),
    "fails": Situation(", when: args.missing < 500", None, NO_GRANT),
    "fails-for-its-type": Situation(", when: args.amount.matches('8.')", None, NO_GRANT),
    "fails-without-user": Situation(
        ", when: user.subject == 'alice'", None, ("no_grant", "", "no_grant"), (False, True, False)
    ),
    "denial-holds": Situation("", ", when: args.amount > 50", DENIED),
    "denial-does-not-hold": Situation("", ", when: args.amount > 500", ALLOWED),
    "denial-fails": Situation("", ", when: args.missing > 500", DENIED),
    "denial-fails-without-user": Situation(
        "", ", when: user.subject == 'mallory'", ("denied", "", "denied"), (False, True, False)
    ),
    "shadow-grant": Situation(", shadow: true", None, NO_GRANT, HIDDEN, opens=False),
    "shadow-denial": Situation("", ", shadow: true", ALLOWED),
    "expired": Situation(PAST, None, NO_GRANT, HIDDEN, opens=False),
    "not-yet": Situation(FUTURE, None, NO_GRANT, HIDDEN, opens=False),
    "expired-denial": Situation("", PAST, ALLOWED),
    "for-clerks": Situation(", users: {groups: [clerks]}", None, ("no_grant", "", "no_grant"), (False, True, False)),
    "not-for-mallory": Situation("", ", users: {subjects: [mallory]}", ("denied", "", "denied"), (False, True, False)),
}
# Who asks: the holder of the grants, a workload with grants of another tool on the same servers, one without any, and
# the one that bears the holder's name in another trust domain.
HOLDER, OTHER, STRANGER, TWIN = "billing", "ops", "stranger", "twin"
NOBODY, ALICE, MALLORY, BAD = "nobody", "alice", "mallory", "bad"
USERS = (NOBODY, ALICE, MALLORY)


@dataclass(frozen=True)
class Cell:
    """One cell of the matrix.  `number` is the request's JSON-RPC id."""

    number: int
    workload: str
    server: str
    era: Era
    method: str
    user: str
    # In place of a token, and what is said of it.
    bad: tuple[str, Reason] | None = None

    @property
    def situation(self) -> Situation:
        return SITUATIONS[self.server]

    @property
    def is_quiet(self) -> bool:
        return METHODS[self.method].kind is Kind.NOTIFICATION

    @property
    def refusal(self) -> str:
        """The reason that the caller is told; "" where it is allowed."""
        if (self.era, self.method) not in FORWARDED | ABSORBED:
            return Reason.METHOD_NOT_SERVED
        if self.bad is not None:
            return self.bad[1]
        if self.method == "tools/call":
            return self.call if self.workload == HOLDER else Reason.NO_GRANT
        opens = {HOLDER: self.situation.opens, OTHER: True}.get(self.workload, False)
        return "" if opens else Reason.NO_GRANT

    @property
    def call(self) -> str:
        """What comes of the holder's call.  Whom no grant names is not told that a denial does."""
        found = self.situation.calls[USERS.index(self.user)]
        return found if self.situation.opens else found and Reason.NO_GRANT

    @property
    def status(self) -> int:
        refusal = self.refusal
        if refusal == Reason.METHOD_NOT_SERVED:
            return 200 if self.era is Era.LEGACY and not self.is_quiet else 404
        if self.bad is not None:
            return 401
        if self.is_quiet:
            return 403 if refusal else 202
        return 200

    @property
    def shown(self) -> list[str]:
        """The tools that a list has, of those that its server has."""
        if self.workload == OTHER:
            return [OTHER_TOOL]
        return [TOOL] if self.situation.shown[USERS.index(self.user)] else []

    def message(self, session: str, token: str | None) -> bytes:
        params: Mapping[str, object] = {}
        if self.method == "tools/call":
            params = {"name": TOOL, "arguments": ARGUMENTS}
        elif self.method == "initialize":
            params = INITIALIZE
        rpc_id = None if self.is_quiet else self.number
        target = f"/{self.server}/mcp"
        if self.era is Era.MODERN:
            said = modern(self.method, params, rpc_id=rpc_id, target=target)
        else:
            said = legacy(self.method, params, session=session, rpc_id=rpc_id, target=target)
        return said if token is None else with_headers(said, ("Authorization", token))


@dataclass
class Scene:
    """A gate before one scripted server that stands for all of them; `said`: what was answered to each connection."""

    gate: Gate
    upstream: ScriptedServer
    users: KeyEndpoint
    said: dict[int, list[tuple[Cell, Answer]]]

    def token(self, subject: str, *groups: str, **changes: object) -> str:
        now = int(time.time())
        usual = {"iss": self.users.issuer, "sub": subject, "exp": now + 600, "iat": now - 10, "groups": list(groups)}
        return "Bearer " + user_token(claims(**{**usual, **changes}))

    def bad_tokens(self) -> list[tuple[str, Reason]]:
        """One of each kind, which but for one thing is alice's good one."""
        past = int(time.time()) - 600
        forged = claims(iss=self.users.issuer, sub="alice", exp=int(time.time()) + 600)
        return [
            (self.token("alice", "clerks", exp=past), Reason.USER_TOKEN_EXPIRED),
            (self.token("alice", "clerks", aud="https://other.acme.test"), Reason.USER_TOKEN_AUDIENCE),
            (self.token("alice", "clerks", iss="https://nobody.test"), Reason.USER_TOKEN_UNTRUSTED),
            (self.token("alice", "clerks", cnf={"x5t#S256": "A" * 43}), Reason.USER_TOKEN_BINDING),
            ("Bearer " + user_token(forged, key=user_key("P-256", "mallory")), Reason.USER_TOKEN_UNTRUSTED),
            ("Bearer " + user_token(forged, head=header(typ="JWT")), Reason.USER_TOKEN_MALFORMED),
            ("Bearer alice", Reason.USER_TOKEN_MALFORMED),
            ("Basic YWxpY2U6YWxpY2U=", Reason.USER_TOKEN_MALFORMED),
        ]

    def cells(self) -> Iterator[Cell]:
        """All users, rules and callers for what is served; for the rest, who calls must not matter, nor what for."""
        bad, numbers = cycle(self.bad_tokens()), iter(range(1, 1_000_000))
        for workload, (era, method), server, user in product(
            (HOLDER, OTHER, STRANGER, TWIN), sorted(FORWARDED | ABSORBED), SITUATIONS, (*USERS, BAD)
        ):
            yield Cell(next(numbers), workload, server, era, method, user, next(bad) if user == BAD else None)
        unserved = [each for each in product(Era, METHODS) if each not in FORWARDED | ABSORBED]
        for workload, (era, method), user in product((HOLDER, STRANGER), unserved, (NOBODY, ALICE)):
            yield Cell(next(numbers), workload, "grant", era, method, user)

    async def play(self, workload: str, cells: Iterator[Cell]) -> None:
        """Ask for one cell after the other on one connection."""
        agent = RawAgent(self.gate.addresses.agents.port, await context_of(self.gate.api, workload))
        good = {ALICE: self.token("alice", "clerks"), MALLORY: self.token("mallory", "strangers")}
        async with agent.connected() as connection:
            said = self.said[connection.port] = []
            for cell in cells:
                token = cell.bad[0] if cell.bad else good.get(cell.user)
                said.append((cell, await self.ask(connection, cell, token)))

    async def ask(self, connection: RawConnection, cell: Cell, token: str | None) -> Answer:
        parts = self.gate.service._gateway._parts
        # As if the workload had opened a session there when it still had a grant.
        caller = SpiffeId.parse(WORKLOADS[cell.workload])
        session = parts.sealer.seal("theirs", caller, cell.server, token_bytes(12), parts.clock.now())
        return await connection.ask(cell.message(session, token))

    def played(self) -> list[tuple[Cell, Answer, DecisionTrace]]:
        """Each cell with its answer and its trace: the n-th of its connection."""
        traces: dict[int, list[DecisionTrace]] = {}
        for trace in self.gate.traces:
            traces.setdefault(client_port(trace), []).append(trace)
        return [
            (cell, answer, trace)
            for port, said in self.said.items()
            for (cell, answer), trace in zip(said, traces[port], strict=True)
        ]


def policy() -> str:
    grants = [OTHERS_GRANT % (name, name) for name in SITUATIONS]
    denials = []
    for name, situation in SITUATIONS.items():
        if situation.grant is not None:
            grants.append(GRANT % (name, name, situation.grant))
        if situation.denial is not None:
            denials.append(DENIAL % (name, name, situation.denial))
    listed = [
        f"{key}:\n" + "".join(f"  - {rule}\n" for rule in rules)
        for key, rules in (("grants", grants), ("denials", denials))
    ]
    return "version: 1\ntrust_domains: [acme.test, partner.test]\n" + "".join(listed)


@asynccontextmanager
async def scene(folder: Path) -> AsyncIterator[Scene]:
    async with scripted_server() as upstream, KeyEndpoint.open(jwks_of(user_key("P-256"))) as users:
        servers = "".join(f"  {name}:\n    url: {upstream.url.replace('/mcp', f'/{name}')}\n" for name in SITUATIONS)
        more = f"{servers}{users_of(users)}limits: {{requests_per_connection: 100000}}\n"
        # Each cell is to be decided for what it is, and none for how many there are.
        audit = "folder: audit, refusals_per_second: 10000"
        async with running_gate(folder, upstream.url, policy=policy(), audit=audit, more=more) as gate:
            yield Scene(gate, upstream, users, {})


async def test_nothing_is_allowed_outside_the_table(tmp_path: Path) -> None:
    async with scene(tmp_path) as at:
        cells = list(at.cells())
        with trio.fail_after(PATIENCE_S):
            async with trio.open_nursery() as nursery:
                for workload in {cell.workload for cell in cells}:
                    theirs = iter([cell for cell in cells if cell.workload == workload])
                    for _ in range(CONNECTIONS):
                        nursery.start_soon(at.play, workload, theirs)
        await at.gate.traces_when(len(cells))
        played = at.played()

    wrong = [(cell, answer, trace.path) for cell, answer, trace in played if not is_as_said(cell, answer, trace)]
    assert wrong == []
    assert len(played) == len(cells)
    through = [cell for cell in cells if not cell.refusal and (cell.era, cell.method) in FORWARDED]
    asked = Counter((each.target, each.message["method"], each.message.get("id")) for each in at.upstream.requests)
    assert asked == Counter(
        (f"/{cell.server}", cell.method, None if cell.is_quiet else cell.number) for cell in through
    )
    # The table is neither empty nor full.
    assert len(cells) / 10 < len(through) < len(cells) / 2


def is_as_said(cell: Cell, answer: Answer, trace: DecisionTrace) -> bool:
    refusal = cell.refusal
    if (answer.status, answer.reason, trace.decision) != (cell.status, refusal, "deny" if refusal else "allow"):
        return False
    if refusal == Reason.METHOD_NOT_SERVED:
        return trace.reason == refusal
    if refusal:
        return is_recorded(cell, trace) and (cell.is_quiet or answer.code == (RPC_IDENTITY if cell.bad else RPC_DENIED))
    if cell.method == "tools/list":
        return [tool["name"] for tool in answer.message["result"]["tools"]] == cell.shown
    return True


def is_recorded(cell: Cell, trace: DecisionTrace) -> bool:
    """The trace says by which it was refused, a denial or the lack of a grant, even where the caller is not told."""
    if cell.method != "tools/call" or cell.bad:
        return trace.reason == cell.refusal
    as_holder = cell.situation.calls[USERS.index(cell.user)]
    return trace.reason == (as_holder or Reason.NO_GRANT)
