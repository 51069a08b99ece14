"""A call that waits, a gate with every way in which people can answer, and somebody who may not.

    async with waiting_call(tmp_path) as at:
        mallory = await at.signs_in("mallory@acme.test", ["interns"])
        assert await at.says(mallory, "approve") == (403, "not_an_approver")

What each road comes to is (HTTP status, stable reason).
"""

import os
import pwd
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import httpx2
import orjson

from support.described_tools import DescribedTools, called, tool
from support.gate import WallClock
from support.on_record import OnRecord, on_record
from support.people import LocalPerson, local_person
from support.raw_agent import Answer, modern_call
from support.sign_in_provider import CLIENT_ID, CLIENT_SECRET, SignInProvider
from support.slack_server import CHANNEL, SIGNING_SECRET, TOKEN, FakeSlack

Json = dict[str, Any]
Said = tuple[int, str]
LEADS: Final = ["payments-leads"]
REFUND: Final = {"number": "INV-7", "amount": 900}
MONTH: Final = {"month": "2026-10"}
TOOLS: Final = [
    tool("refund", {"number": {"type": "string"}, "amount": {"type": "integer"}}),
    tool("close_month", {"month": {"type": "string"}}),
]
POLICY: Final = """
version: 1
trust_domains: [acme.test]
owners:
  - workloads: ["spiffe://acme.test/ns/billing/**"]
    people: [bob@acme.test]
grants:
  - id: refunds
    workloads: ["spiffe://acme.test/**"]
    server: ledger
    tools: [refund]
    approval: {groups: [payments-leads, local], people: [bob@acme.test], four_eyes: true, waits: 0s, stands: 2h}
  - id: months
    workloads: ["spiffe://acme.test/**"]
    server: ledger
    tools: [close_month]
    approval: {groups: [controllers, local], waits: 0s, stands: 2h}
"""
MEMBERS: Final = {
    "U0ALICE": {"name": "alice@acme.test", "groups": [*LEADS]},
    "U0BOB": {"name": "bob@acme.test", "groups": [*LEADS]},
    "U0CAROL": {"name": "carol@acme.test", "groups": ["cooks"]},
}
_CODE: Final = re.compile(r"Code: ([a-z_]+)")
# The SVIDs and a session's idle time are both outlived by what a test sets the clock forward.
_SVID_S: Final = 36_000.0


@dataclass
class WaitingCall:
    """All of it.  `request`: what waits for an answer, as the API lists it; `asked`: what the agent heard of it."""

    at: OnRecord
    local: LocalPerson
    provider: SignInProvider
    slack: FakeSlack
    clock: WallClock
    socket: Path
    request: Json = field(default_factory=dict)

    @property
    def url(self) -> str:
        return self.at.gate.admin_url

    @property
    def decision(self) -> str:
        """The path at which this request is answered."""
        return f"/api/v1/approvals/{self.request['id']}/decision"

    @property
    def now(self) -> float:
        return time.time() + self.clock.ahead_s

    def saying(self, verdict: str = "approve", **more: object) -> Json:
        """The body of an answer."""
        return {"binding": self.request["binding"], "verdict": verdict, "reason": "", "cover": None} | more

    async def ask(self, name: str = "refund", arguments: Mapping[str, object] = REFUND) -> Json:
        """The agent's call, now."""
        async with self.at.agent() as agent:
            return dict((await agent.ask(modern_call(name, arguments))).message)

    def browser(self, cookies: Mapping[str, str] | None = None, **headers: str) -> httpx2.AsyncClient:
        """Somebody's browser at the admin listener, as the page's own script asks."""
        said = {"origin": self.url, "sec-fetch-site": "same-origin"} | {
            k.replace("_", "-"): v for k, v in headers.items()
        }
        return httpx2.AsyncClient(
            base_url=self.url,
            cookies=dict(cookies or {}),
            headers={name: value for name, value in said.items() if value},
            trust_env=False,
            timeout=30,
        )

    async def signs_in(self, name: str, groups: Sequence[str] = (), **claims: object) -> "Session | Said":
        """By OpenID Connect, all the way; what the site says where it does not let them in."""
        self.provider.now = self.now
        self.provider.said = {"email": name, "sub": name, "groups": list(groups), **claims}
        async with self.browser(origin="", sec_fetch_site="") as browser:
            begun = await browser.get("/approvals/sign-in")
            back = await browser.get(begun.headers["location"])
            response = await browser.get(back.headers["location"])
            if response.status_code != 303:
                return said(response)
            return await self.session(browser)

    async def session(self, browser: httpx2.AsyncClient) -> "Session":
        """What that browser has."""
        cookies = {name: value for name, value in browser.cookies.items() if name == "callgate"}
        me = (await browser.get("/api/v1/me")).json()
        return Session(str(me["name"]), cookies, str(me["csrf"]))

    async def posts(self, session: "Session", path: str, body: object, **headers: str) -> httpx2.Response:
        """By the API, with that session's cookie and token unless `headers` say otherwise; "" leaves one out."""
        own = {"x_csrf_token": session.csrf} | headers
        async with self.browser(session.cookies, **own) as browser:
            return await browser.post(path, json=body)

    async def says(self, session: "Session", verdict: str = "approve", **headers: str) -> Said:
        """An answer to what waits."""
        return said(await self.posts(session, self.decision, self.saying(verdict), **headers))

    async def untouched(self) -> None:
        """Nobody's answer counted, the agent is told to come back, and nothing was executed."""
        found = await self.local.whole(self.request)
        assert (found["state"], found["votes"]) == ("waiting", [])
        error = (await self.ask())["error"]
        assert (error["code"], error["data"]["approval"]) == (-31202, self.request["id"])
        assert called(self.at) == []


@dataclass(frozen=True)
class Session:
    """A signed-in browser's."""

    name: str
    cookies: Mapping[str, str]
    csrf: str


Road = Callable[[WaitingCall], Awaitable[Said]]


async def taken(at: WaitingCall, roads: Mapping[str, Road]) -> dict[str, Said]:
    """What each road comes to; after each of them the request waits as it did before."""
    found = {}
    for name, road in roads.items():
        found[name] = await road(at)
        await at.untouched()
    return found


def said(response: httpx2.Response) -> Said:
    """The status, and the stable reason: the API's, or the one on a page; "" where a page says none."""
    if response.headers.get("content-type", "").startswith("application/json"):
        return response.status_code, str(response.json().get("error", ""))
    found = _CODE.search(response.text)
    return response.status_code, found[1] if found else ""


def told(answer: Answer) -> Said:
    """The same of what the agents' listener answers."""
    return answer.status, answer.reason


def session(found: "Session | Said") -> Session:
    """Somebody who may sign in has to be let in."""
    assert isinstance(found, Session), found
    return found


@asynccontextmanager
async def waiting_call(folder: Path) -> AsyncIterator[WaitingCall]:
    """`billing` asked for a refund, and nobody has answered.  At the end one who may approves, and it is made once."""
    clock = WallClock()
    async with SignInProvider.open() as provider, FakeSlack.open(folder) as slack:
        with _open_folder() as shared:
            more = _config(folder, shared / "admin.sock", provider, slack)
            async with (
                on_record(
                    folder, DescribedTools(TOOLS), policy=POLICY, more=more, clock=clock.clock, ttl_s=_SVID_S
                ) as at,
                local_person(at.gate, shared / "admin.sock") as person,
            ):
                call = WaitingCall(at, person, provider, slack, clock, shared / "admin.sock")
                await call.ask()
                (call.request,) = await person.waiting()
                yield call
                await _approved_at_last(call)


async def _approved_at_last(call: WaitingCall) -> None:
    await call.untouched()
    alice = session(await call.signs_in("alice@acme.test", LEADS))
    assert await call.says(alice) == (200, "")
    assert "result" in await call.ask()
    assert [each["arguments"] for each in called(call.at)] == [REFUND]


@contextmanager
def _open_folder() -> Iterator[Path]:
    """One that other users of this machine can get into, as a socket for several people needs."""
    with TemporaryDirectory(prefix="callgate-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


def _config(folder: Path, socket: Path, provider: SignInProvider, slack: FakeSlack) -> str:
    texts = {"oidc-secret": CLIENT_SECRET, "slack-token": TOKEN, "slack-signing": SIGNING_SECRET}
    for name, text in texts.items():
        (folder / name).write_text(f"{text}\n")
        (folder / name).chmod(0o600)
    part = {
        "socket": {"path": str(socket), "users": _users()},
        "sign_in": {
            "issuer": provider.issuer,
            "client_id": CLIENT_ID,
            "client_secret_file": str(folder / "oidc-secret"),
        },
        "slack": {
            "channel": CHANNEL,
            "token_file": str(folder / "slack-token"),
            "signing_secret_file": str(folder / "slack-signing"),
            "people": MEMBERS,
            "approve_in_slack": True,
            "api": f"{slack.url}api",
        },
    }
    # JSON is YAML.
    return f"approvals: {orjson.dumps(part).decode()}\n"


def _users() -> list[str]:
    """Whoever runs the tests, and a user that every machine has: so the socket is for more than one."""
    return [pwd.getpwuid(os.geteuid()).pw_name, "daemon"]
