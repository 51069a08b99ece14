"""The approvals site as a gate serves it: real connections on loopback, a real desk, a real store; a clock of the test's.

    async with approval_site(tmp_path) as site:
        request = await site.asked(amount=900)
        alice = await site.browser(LEAD)
        answer = await alice.get(f"/api/v1/approvals/{request.id}")

Answers are read with h11 on its own, and each of the API's is held against its OpenAPI document.
"""

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from hashlib import sha256
from itertools import count
from pathlib import Path
from socket import socket
from types import SimpleNamespace
from typing import Any, Final
from urllib.parse import urlencode

import h11
import trio
from starlette.requests import Request as WebRequest

from callgate.addresses import Address
from callgate.approvals.desk import Desk, DeskLimits
from callgate.approvals.happened import Happened
from callgate.approvals.model import Ask, Binding, Means, Moment, Person, Request
from callgate.approvals.sign_in.oidc import SignIn
from callgate.approvals.site.app import ApprovalsSite, make_site
from callgate.approvals.site.parts import SiteParts
from callgate.approvals.site.sessions import begin_session
from callgate.approvals.sqlite_store import SqliteStore
from callgate.approvals.store import Session
from callgate.approvals.store_thread import StoreThread
from callgate.errors import Refusal
from callgate.net.connection import Connection, ConnectionLimits
from callgate.net.listener import Listener
from callgate.net.local_listener import Credentials
from callgate.net.tls_stream import PlainStream
from callgate.policy.approval import Approval, Owners, Repeat
from callgate.policy.compile import Policy, load_policy
from callgate.wire.http1 import HttpLimits, RawRequest
from callgate.wire.http1_server import ServerConnection
from callgate.wire.json_strict import JsonObject, JsonValue, canonical
from support.admin_api import check_documented
from support.policies import numbered

HeaderList = Sequence[tuple[str, str]]
REFUNDS: Final = Approval(
    "refunds-over-500",
    frozenset({"payments-leads"}),
    frozenset({"carol@acme.test"}),
    repeat=Repeat((("account",),), 900, 5),
)
AGENT: Final = "spiffe://acme.test/ns/billing/sa/refund-agent"
ISSUER: Final = "https://idp.acme.test"
DEFINITION: Final = json.dumps(
    {"name": "refund", "description": "Pays back.", "annotations": {"destructiveHint": True}}
)
# As Chromium 140 sends them to a page's own site.
CHROMIUM: Final = {
    "sec-ch-ua": '"Chromium";v="140", "Not=A?Brand";v="24"',
    "sec-ch-ua-mobile": "?0",
    "sec-ch-ua-platform": '"Linux"',
    "user-agent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36",
    "accept-encoding": "gzip, deflate, br, zstd",
    "accept-language": "en-US,en;q=0.9",
    "connection": "keep-alive",
}


def person(name: str, *groups: str, means: Means = Means.OIDC, uid: int | None = None) -> Person:
    return Person(name, frozenset(groups), means, 1_000_000.0, ISSUER, name, uid)


# A storm is what some tests are about.
_ROOM: Final = DeskLimits(max_waiting_per_workload=10_000)
LEAD: Final = person("alice@acme.test", "payments-leads")
CAROL: Final = person("carol@acme.test")
STRANGER: Final = person("mallory@acme.test", "interns")


@dataclass
class Clock:
    """A wall and a steady clock, which the test moves; `step` moves the wall alone."""

    wall: float = 1_000_000.0
    since_boot: float = 500.0

    def now(self) -> Moment:
        return Moment(self.wall, "boot", self.since_boot)

    def forward(self, seconds: float) -> None:
        self.wall += seconds
        self.since_boot += seconds

    def step(self, seconds: float) -> None:
        self.wall += seconds


@dataclass(frozen=True)
class Answer:
    """One response.  `headers`: names in lower case."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key == name]

    @property
    def json(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.body)
        return found

    @property
    def error(self) -> str:
        return str(self.json["error"])


@dataclass
class Browser:
    """One client.  `cookies` and `csrf` are what it was given; `host` is what it believes to be talking to."""

    port: int
    host: str
    cookies: dict[str, str] = field(default_factory=dict)
    csrf: str = ""
    before: tuple[tuple[str, str], ...] = tuple(CHROMIUM.items())

    @property
    def origin(self) -> str:
        return f"http://{self.host}"

    async def get(self, path: str, headers: Mapping[str, str] | None = None) -> Answer:
        return await self.send("GET", path, headers or {})

    async def post(self, path: str, said: object, headers: Mapping[str, str] | None = None) -> Answer:
        """As the page's own script does."""
        own = {
            "content-type": "application/json",
            "origin": self.origin,
            "sec-fetch-site": "same-origin",
            "sec-fetch-mode": "cors",
            "x-csrf-token": self.csrf,
        }
        body = said if isinstance(said, bytes) else json.dumps(said).encode()
        return await self.send("POST", path, own | dict(headers or {}), body)

    async def post_form(self, path: str, fields: Mapping[str, str], headers: Mapping[str, str] | None = None) -> Answer:
        """As a form without script does."""
        own = {
            "content-type": "application/x-www-form-urlencoded",
            "origin": self.origin,
            "sec-fetch-site": "same-origin",
            "sec-fetch-mode": "navigate",
            "sec-fetch-dest": "document",
            "upgrade-insecure-requests": "1",
        }
        return await self.send("POST", path, own | dict(headers or {}), urlencode(fields).encode())

    async def send(self, method: str, path: str, headers: Mapping[str, str], body: bytes = b"") -> Answer:
        """One request on a connection of its own; "" leaves a header out."""
        async with self.opened(method, path, headers, body) as stream:
            answer = await stream.whole()
        check_documented(method, path, answer.status, answer.body)
        return answer

    @asynccontextmanager
    async def opened(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes = b""
    ) -> AsyncIterator["Reading"]:
        """The answer as it comes."""
        tcp = await trio.open_tcp_stream("127.0.0.1", self.port)
        async with tcp:
            protocol = h11.Connection(h11.CLIENT)
            sent = {"host": self.host, **dict(self.before), **self._cookie(), **headers}
            if method == "POST":
                sent["content-length"] = str(len(body))
            listed = [(name.encode(), value.encode()) for name, value in sent.items() if value]
            await tcp.send_all(protocol.send(h11.Request(method=method, target=path, headers=listed)) or b"")
            await tcp.send_all((protocol.send(h11.Data(data=body)) or b"") + (protocol.send(h11.EndOfMessage()) or b""))
            yield Reading(tcp, protocol)

    def _cookie(self) -> dict[str, str]:
        return {"cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items())} if self.cookies else {}


@dataclass
class Reading:
    """An answer under way."""

    tcp: trio.SocketStream
    protocol: h11.Connection

    async def event(self) -> h11.Event:
        while True:
            event = self.protocol.next_event()
            if event is not h11.NEED_DATA:
                assert not isinstance(event, type)
                return event
            self.protocol.receive_data(await self.tcp.receive_some(65536))

    async def head(self) -> h11.Response:
        event = await self.event()
        assert isinstance(event, h11.Response)
        return event

    async def piece(self) -> str | None:
        """The next piece of its body; None at the end."""
        event = await self.event()
        return bytes(event.data).decode() if isinstance(event, h11.Data) else None

    async def whole(self) -> Answer:
        head, body = await self.head(), b""
        while isinstance(event := await self.event(), h11.Data):
            body += event.data
        headers = tuple((name.decode(), value.decode()) for name, value in head.headers)
        return Answer(head.status_code, headers, body)


@dataclass
class Site:
    """A site that is served.  `happened`: all that its desk told."""

    parts: SiteParts
    served: ApprovalsSite
    desk: Desk
    clock: Clock
    port: int
    policies: list[Policy]
    happened: list[Happened]
    # Nothing is read or kept from then on.
    stop_store: Callable[[], None]

    @property
    def host(self) -> str:
        return self.parts.url.partition("://")[2]

    def anybody(self) -> Browser:
        return Browser(self.port, self.host)

    async def browser(self, who: Person, cookies: Mapping[str, str] | None = None) -> Browser:
        """A browser in which that person signed in just now; `cookies`: what it had before."""
        session, cookie = await self.begun(who, cookies)
        name, _, value = cookie.partition(";")[0].partition("=")
        return Browser(self.port, self.host, {name: value}, session.csrf)

    async def begun(self, who: Person, cookies: Mapping[str, str] | None = None) -> tuple[Session, str]:
        """What a way to sign in does once it knows who is there."""
        line = "; ".join(f"{name}={value}" for name, value in (cookies or {}).items())
        headers = [(b"cookie", line.encode())] if line else []
        app = SimpleNamespace(state=SimpleNamespace(parts=self.parts))
        scope = {"type": "http", "app": app, "headers": headers}
        return await begin_session(WebRequest(scope), replace(who, signed_in=self.clock.wall))

    async def asked(
        self,
        approvals: Sequence[Approval] = (REFUNDS,),
        owners: Owners | None = None,
        uid: int | None = None,
        **arguments: JsonValue,
    ) -> Request:
        """What the desk made of a call of `refund` with these arguments."""
        found = await self.desk.ask(self.ask(tuple(approvals), owners or Owners(), uid, arguments))
        assert not isinstance(found, Refusal)
        return found

    def ask(self, approvals: tuple[Approval, ...], owners: Owners, uid: int | None, arguments: JsonObject) -> Ask:
        binding = Binding(
            AGENT, "ledger", "refund", sha256(canonical(arguments)).hexdigest(), "d" * 64, self.policies[0].digest
        )
        return Ask(binding, arguments, approvals, owners, DEFINITION, ("refunds-over-500 asks",), uid=uid)

    def decision(self, request: Request, verdict: str, **more: object) -> dict[str, object]:
        return {"binding": request.ask.binding.digest, "verdict": verdict, "reason": "", "cover": None} | more


def policy_numbered(number: int) -> Policy:
    found = load_policy(numbered(number), "policy.yaml")
    assert isinstance(found, Policy)
    return found


@asynccontextmanager
async def approval_site(
    folder: Path,
    *,
    uids: frozenset[int] = frozenset(),
    url: str = "",
    peer: Credentials | None = None,
    sign_in: Callable[[str], SignIn] | None = None,
) -> AsyncIterator[Site]:
    """`peer`: whom the kernel is to name at the other end of each connection.  `sign_in`: made for the site's URL."""
    clock, policies, happened, ids = Clock(), [policy_numbered(0)], list[Happened](), count(1)
    listener = await Listener.open("127.0.0.1", 0)
    own_url = url or f"http://{listener.address}"
    # Patience is real time here, and this machine has other things to do.
    store = StoreThread(SqliteStore(folder / "approvals.db", bytes(32)), patience_s=3600.0)

    async def noted(_: Happened) -> bool:
        return True

    async def told(one: Happened) -> None:
        happened.append(one)

    desk = Desk(store, clock.now, lambda: policies[0].digest, noted, told, lambda: f"{next(ids):032x}", _ROOM)
    provider = None if sign_in is None else sign_in(own_url)
    parts = SiteParts(
        desk=desk,
        store=store,
        moment=clock.now,
        policy=lambda: policies[0],
        url=own_url,
        session_idle_s=900,
        session_max_s=3600,
        sign_in=provider,
        slack=None,
        secret=_counted_secret(),
        uids=uids,
        issuer=ISSUER if provider is None else provider.issuer,
    )
    served = make_site(parts)
    try:
        async with trio.open_nursery() as nursery:
            stop = await nursery.start(_kept, store)
            await nursery.start(desk.run)
            if parts.sign_in is not None:
                await nursery.start(parts.sign_in.run)
            nursery.start_soon(listener.serve, nursery, _welcome(served, peer))
            yield Site(parts, served, desk, clock, listener.address.port, policies, happened, stop)
            nursery.cancel_scope.cancel()
    finally:
        listener.close()


async def _kept(store: StoreThread, *, task_status: trio.TaskStatus[Callable[[], None]]) -> None:
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            await nursery.start(store.run)
            task_status.started(scope.cancel)


def _counted_secret() -> Callable[[int], bytes]:
    numbers = count(1)
    return lambda size: next(numbers).to_bytes(size, "big")


def _welcome(site: ApprovalsSite, peer: Credentials | None) -> Callable[[socket, Address], Awaitable[None]]:
    async def welcome(sock: socket, address: Address) -> None:
        connection = Connection(PlainStream(sock), ServerConnection(HttpLimits(), None), ConnectionLimits())

        async def answer(found: RawRequest | Refusal) -> None:
            if isinstance(found, RawRequest) and peer is None:
                await site.answer(found, connection, address)
            else:
                await site.answer_local(found, connection, peer or Credentials(0, 0, 0))

        await connection.run(answer)

    return welcome
