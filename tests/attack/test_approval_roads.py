"""Every road by which an agent, the machine it runs on, or a chat could approve a call: each is refused, none is made.

At the end of each test the one who may approve does, and then the call is made, once: so what was refused before was
refused for what it was.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Final

import trio

from callgate.approvals.model import VoteRefusal
from callgate.approvals.notify.slack_blocks import APPROVE
from callgate.approvals.notify.slack_said import NOT_MAPPED, said_of_answer
from callgate.errors import Reason
from support.approval_roads import (
    LEADS,
    POLICY,
    REFUND,
    Road,
    Said,
    Session,
    WaitingCall,
    said,
    session,
    taken,
    told,
    waiting_call,
)
from support.described_tools import DescribedTools, tool
from support.gate import context_of, running_gate
from support.people import APPROVALS, local_person
from support.raw_agent import RawAgent, modern_call, request
from support.slack_server import sign
from support.upstream import scripted_server

JSON: Final = ("Content-Type", "application/json")
INTERN: Final = ("mallory@acme.test", ["interns"])
ALICE: Final = ("alice@acme.test", LEADS)
OWN_USER: Final = (403, "agents_own_user")


# The agent, with what it has: its SVID.


async def by_the_agents_listener(at: WaitingCall, method: str, target: str) -> Said:
    body = json.dumps(at.saying()).encode() if method == "POST" else b""
    async with at.at.agent() as agent:
        return told(await agent.ask(request(body, [JSON], method=method, target=target)))


def page_of_the_agents_listener(target: str, method: str = "GET") -> Road:
    async def road(at: WaitingCall) -> Said:
        return await by_the_agents_listener(at, method, target.format(**at.request))

    return road


async def as_a_tool_server_of_that_name(at: WaitingCall) -> Said:
    async with at.at.agent() as agent:
        return told(await agent.ask(modern_call("refund", {}, target="/approvals/mcp")))


async def without_a_session(at: WaitingCall) -> Said:
    return await at.says(Session("", {}, ""))


async def as_a_proxy_would_name_it(at: WaitingCall) -> Said:
    headers = {
        "x_forwarded_client_cert": "URI=spiffe://acme.test/ns/billing/sa/refund-agent",
        "x_forwarded_user": "alice@acme.test",
        "x_forwarded_for": "127.0.0.1",
        "authorization": "Bearer " + "A" * 43,
    }
    return await at.says(Session("", {}, ""), **headers)


async def test_an_agent_gets_nowhere_with_its_svid(tmp_path: Path) -> None:
    async with waiting_call(tmp_path) as at:
        found = await taken(
            at,
            {
                "list": page_of_the_agents_listener("/approvals"),
                "page": page_of_the_agents_listener("/approvals/r/{id}"),
                "form": page_of_the_agents_listener("/approvals/r/{id}", "POST"),
                "api": page_of_the_agents_listener("/api/v1/approvals"),
                "decision": page_of_the_agents_listener("/api/v1/approvals/{id}/decision", "POST"),
                "decisions": page_of_the_agents_listener("/api/v1/decisions", "POST"),
                "links": page_of_the_agents_listener("/api/v1/links", "POST"),
                "a server": as_a_tool_server_of_that_name,
                "no session": without_a_session,
                "as a proxy": as_a_proxy_would_name_it,
            },
        )
    nothing_there = (404, Reason.HTTP_NOT_FOUND.value)
    assert found == {
        **dict.fromkeys(("list", "page", "form", "api", "decision", "decisions", "links"), nothing_there),
        "a server": (200, Reason.NO_GRANT.value),
        **dict.fromkeys(("no session", "as a proxy"), (401, "not_signed_in")),
    }


async def test_an_agents_svid_is_nobodys_sign_in_at_the_admin_listener(tmp_path: Path) -> None:
    """By TLS with the certificate that opens the agents' listener."""
    tools = DescribedTools([tool("refund", {"number": {"type": "string"}, "amount": {"type": "integer"}})])
    more = APPROVALS.replace("approvals: {", "approvals: {url: 'https://localhost:8444', ")
    policy = POLICY.replace("payments-leads, local", "local")
    async with (
        scripted_server(tools) as upstream,
        running_gate(tmp_path, upstream.url, policy=policy, admin="127.0.0.1:0', tls: 'svid", more=more) as gate,
        local_person(gate) as person,
    ):
        context = await context_of(gate.api, "billing")
        async with RawAgent(gate.addresses.agents.port, context).connected() as agent:
            await agent.ask(modern_call("refund", REFUND))
        (waiting,) = await person.waiting()
        body = json.dumps({"binding": waiting["binding"], "verdict": "approve", "reason": "", "cover": None}).encode()
        headers = [JSON, ("Origin", "https://localhost:8444"), ("Sec-Fetch-Site", "same-origin")]
        async with RawAgent(gate.addresses.admin.port, context).connected() as agent:
            answers = [
                await agent.ask(request(b"", method="GET", target="/api/v1/approvals", host="localhost:8444")),
                await agent.ask(
                    request(body, headers, target=f"/api/v1/approvals/{waiting['id']}/decision", host="localhost:8444")
                ),
            ]
        (still,) = await person.waiting()
    assert [(each.status, each.message["error"]) for each in answers] == [(401, "not_signed_in")] * 2
    assert still["id"] == waiting["id"]
    assert "tools/call" not in [asked.message["method"] for asked in upstream.requests]


# The user of this machine who runs the agent, and others.


async def by_the_socket(at: WaitingCall) -> Said:
    return said(await at.local.say(at.request, "approve"))


async def denied_by_the_socket(at: WaitingCall) -> Said:
    return said(await at.local.say(at.request, "deny", "so that nobody else looks"))


async def among_many_by_the_socket(at: WaitingCall) -> Said:
    decisions = [{"id": at.request["id"], "binding": at.request["binding"], "verdict": "approve"}]
    answer = await at.local.client.post("/api/v1/decisions", json={"decisions": decisions})
    (result,) = answer.json()["results"]
    assert answer.status_code == 200
    return 403, result["error"]


async def link(at: WaitingCall) -> str:
    """The token of a new one."""
    answer = await at.local.client.post("/api/v1/links", json={})
    return str(answer.json()["url"]).partition("token=")[2]


async def by_a_link(at: WaitingCall) -> Session:
    async with at.browser() as browser:
        entered = await browser.post("/approvals/enter", data={"token": await link(at)})
        assert entered.status_code == 303
        return await at.session(browser)


async def by_ones_own_link(at: WaitingCall) -> Said:
    return await at.says(await by_a_link(at))


async def more_links_by_a_link(at: WaitingCall) -> Said:
    return said(await at.posts(await by_a_link(at), "/api/v1/links", {}))


async def by_a_link_that_was_used(at: WaitingCall) -> Said:
    token = await link(at)
    async with at.browser() as browser, at.browser() as another:
        assert (await browser.post("/approvals/enter", data={"token": token})).status_code == 303
        return said(await another.post("/approvals/enter", data={"token": token}))


async def by_a_link_for_another_name(at: WaitingCall) -> Said:
    secret, _, _ = (await link(at)).partition(".")
    async with at.browser() as browser:
        return said(await browser.post("/approvals/enter", data={"token": f"{secret}.YWxpY2VAYWNtZS50ZXN0"}))


async def by_a_link_from_another_site(at: WaitingCall) -> Said:
    async with at.browser(origin="http://evil.test") as browser:
        return said(await browser.post("/approvals/enter", data={"token": await link(at)}))


async def test_the_user_that_runs_the_agent_answers_by_no_road_of_this_machine(tmp_path: Path) -> None:
    async with waiting_call(tmp_path) as at:
        found = await taken(
            at,
            {
                "socket": by_the_socket,
                "denial": denied_by_the_socket,
                "many": among_many_by_the_socket,
                "link": by_ones_own_link,
                "links": more_links_by_a_link,
                "used link": by_a_link_that_was_used,
                "changed link": by_a_link_for_another_name,
                "foreign link": by_a_link_from_another_site,
            },
        )
    assert found == {
        **dict.fromkeys(("socket", "denial", "many", "link"), OWN_USER),
        "links": (403, "by_the_socket_alone"),
        **dict.fromkeys(("used link", "changed link"), (403, "link_unknown")),
        "foreign link": (403, "cross_site"),
    }


async def test_a_link_is_good_for_a_minute(tmp_path: Path) -> None:
    async with waiting_call(tmp_path) as at, at.browser() as browser:
        token = await link(at)
        at.clock.ahead_s += 61
        assert said(await browser.post("/approvals/enter", data={"token": token})) == (403, "link_unknown")
        await at.untouched()


# Nobody else can become another user.
if os.geteuid() == 0:
    _NOBODY: Final = 65534
    _SAYS: Final = """
import json, os, socket, sys
os.setuid(int(sys.argv[1]))
with socket.socket(socket.AF_UNIX) if sys.argv[2].startswith("/") else socket.socket() as sock:
    sock.connect(sys.argv[2] if sys.argv[2].startswith("/") else ("127.0.0.1", int(sys.argv[2])))
    sock.sendall(sys.stdin.buffer.read())
    sys.stdout.buffer.write(sock.makefile("rb").read())
"""

    async def as_user(uid: int, to: object, headers: Mapping[str, str], path: str, body: object) -> Said:
        """What another user of this machine hears."""
        text = json.dumps(body)
        lines = {"Content-Type": "application/json", "Content-Length": str(len(text)), "Connection": "close", **headers}
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        sent = f"POST {path} HTTP/1.1\r\n{head}\r\n{text}".encode()
        done = await trio.run_process([sys.executable, "-c", _SAYS, str(uid), str(to)], stdin=sent, capture_stdout=True)
        first, _, rest = done.stdout.partition(b"\r\n")
        return int(first.split(b" ")[1]), str(json.loads(rest.partition(b"\r\n\r\n")[2]).get("error", ""))

    async def as_another_user_by_the_socket(at: WaitingCall) -> Said:
        return await as_user(_NOBODY, at.socket, {"Host": "localhost"}, at.decision, at.saying())

    async def with_a_cookie_that_a_page_of_this_machine_was_told(at: WaitingCall) -> Said:
        """A browser tells a cookie to each port of a host: here to one at which another user listens."""
        alice = session(await at.signs_in(*ALICE))
        headers = {
            "Host": at.url.partition("://")[2],
            "Origin": at.url,
            "Cookie": f"callgate={alice.cookies['callgate']}",
            "X-CSRF-Token": alice.csrf,
        }
        return await as_user(_NOBODY, at.at.gate.addresses.admin.port, headers, at.decision, at.saying())

    async def test_another_user_of_this_machine_is_told_apart_by_the_kernel(tmp_path: Path) -> None:
        async with waiting_call(tmp_path) as at:
            found = await taken(
                at,
                {
                    "socket": as_another_user_by_the_socket,
                    "stolen": with_a_cookie_that_a_page_of_this_machine_was_told,
                },
            )
        assert found == {"socket": (403, "not_this_user"), "stolen": (401, "not_signed_in")}

    _HOLDS: Final = """
import os, socket, sys
os.setuid(int(sys.argv[1]))
held = []
for _ in range(100):
    held.append(socket.socket(socket.AF_UNIX))
    held[-1].connect(sys.argv[2])
print("held", flush=True)
sys.stdin.read()
"""

    async def test_another_user_of_this_machine_does_not_take_all_places_at_the_socket(tmp_path: Path) -> None:
        async with waiting_call(tmp_path) as at, trio.open_nursery() as nursery:
            command = [sys.executable, "-c", _HOLDS, str(_NOBODY), str(at.socket)]
            run = partial(trio.run_process, command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            process = await nursery.start(run)
            assert await process.stdout.receive_some(4) == b"held"
            async with local_person(at.at.gate, at.socket) as another:
                assert (await another.get("/api/v1/me")).status_code == 200
            process.kill()
            nursery.cancel_scope.cancel()


# Slack.


async def clicked(at: WaitingCall, member: str, value: str = "", *, ago_s: float = 0, secret: str = "") -> Said:
    """What the click's sender hears, and whoever clicked."""
    value = value or f"{at.request['id']}.{at.request['binding']}"
    body, timestamp, signature = at.slack.click(member, APPROVE, value, at.now - ago_s)
    if secret:
        body, timestamp, signature = sign(body, at.now, secret)
    headers = {
        "content-type": "application/x-www-form-urlencoded",
        "x-slack-request-timestamp": timestamp,
        "x-slack-signature": signature,
    }
    before = len(at.slack.replies)
    async with at.browser(origin="", sec_fetch_site="") as slack:
        answer = await slack.post("/approvals/slack", content=body, headers=headers)
    if answer.status_code != 200:
        return said(answer)
    with trio.fail_after(20):
        while len(at.slack.replies) == before:  # noqa: ASYNC110  # it is told by HTTP
            await trio.sleep(0.01)
    return 200, str(at.slack.replies[-1]["text"])


async def click_with_another_secret(at: WaitingCall) -> Said:
    return await clicked(at, "U0ALICE", secret="0" * 32)


async def click_of_long_ago(at: WaitingCall) -> Said:
    return await clicked(at, "U0ALICE", ago_s=301)


async def click_of_an_unknown_member(at: WaitingCall) -> Said:
    return await clicked(at, "U0NOBODY")


async def click_of_a_cook(at: WaitingCall) -> Said:
    return await clicked(at, "U0CAROL")


async def click_of_the_owner(at: WaitingCall) -> Said:
    return await clicked(at, "U0BOB")


async def click_on_an_old_message(at: WaitingCall) -> Said:
    return await clicked(at, "U0ALICE", f"{at.request['id']}.{'0' * 64}")


async def test_no_click_answers_but_of_those_who_may(tmp_path: Path) -> None:
    async with waiting_call(tmp_path) as at:
        found = await taken(
            at,
            {
                "forged": click_with_another_secret,
                "old": click_of_long_ago,
                "unknown": click_of_an_unknown_member,
                "cook": click_of_a_cook,
                "owner": click_of_the_owner,
                "another binding": click_on_an_old_message,
            },
        )
    assert found == {
        **dict.fromkeys(("forged", "old"), (401, "not_from_slack")),
        "unknown": (200, NOT_MAPPED),
        "cook": (200, said_of_answer(VoteRefusal.NOT_AN_APPROVER)),
        "owner": (200, said_of_answer(VoteRefusal.OWNER)),
        "another binding": (200, said_of_answer(VoteRefusal.BINDING_MISMATCH)),
    }
