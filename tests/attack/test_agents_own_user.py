"""An agent that tries to approve its own call by way of the user that runs it: whatever it does, nothing is executed."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import httpx2
import trio
from click.testing import CliRunner, Result

from callgate.cli import main
from callgate.errors import Reason
from support.described_tools import called
from support.gate import context_of
from support.on_record import OnRecord, on_record
from support.people import LocalPerson, local_person
from support.raw_agent import RawConnection, modern_call

REFUND: Final = {"number": "INV-7", "amount": 900}
POLICY: Final = """
version: 1
trust_domains: [acme.test]
screening:
  - {server: ledger, schemas: off}
grants:
  - id: refunds
    workloads: ["spiffe://acme.test/**"]
    server: ledger
    tools: [refund]
    approval: {groups: [local], waits: 0s}
"""


@asynccontextmanager
async def gate_of_this_user(folder: Path) -> AsyncIterator[tuple[OnRecord, LocalPerson]]:
    """A gate whose socket is for the user that runs the test, and with it the agents."""
    async with on_record(folder, policy=POLICY, more="approvals: {}\n") as at, local_person(at.gate) as person:
        yield at, person


async def command(at: OnRecord, *arguments: str) -> Result:
    socket = next(at.folder.parent.glob("**/admin.sock"))
    line = ["approvals", arguments[0], "--socket", str(socket), *arguments[1:]]
    return await trio.to_thread.run_sync(lambda: CliRunner().invoke(main, line))


async def asked(at: OnRecord) -> dict[str, Any]:
    async with at.agent() as agent:
        return dict((await agent.ask(modern_call("refund", REFUND))).message["error"])


async def test_the_command_line_takes_no_answer_from_the_user_that_runs_the_agent(tmp_path: Path) -> None:
    async with gate_of_this_user(tmp_path) as (at, person):
        error = await asked(at)
        (request,) = await person.waiting()
        assert (await person.whole(request))["you"]["why"] == "agents_own_user"
        results = [
            await command(at, "approve", request["id"], "--yes"),
            await command(at, "deny", request["id"], "--reason", "so that nobody else looks"),
        ]
        again = await asked(at)
        listed = await person.waiting()
    assert [result.exit_code for result in results] == [3, 3]
    assert all("no agent may answer what it asks" in result.stderr for result in results)
    assert [each["data"]["reason"] for each in (error, again)] == [Reason.APPROVAL_REQUIRED] * 2
    assert [each["id"] for each in listed] == [request["id"]]
    assert not called(at)


async def test_a_link_leads_to_no_other_person_than_the_socket_does(tmp_path: Path) -> None:
    async with gate_of_this_user(tmp_path) as (at, person):
        await asked(at)
        (request,) = await person.waiting()
        link = (await command(at, "link")).stdout.strip()
        origin = link.partition("/approvals/")[0]
        headers = {"origin": origin, "sec-fetch-site": "same-origin"}
        async with httpx2.AsyncClient(base_url=origin, headers=headers, trust_env=False) as browser:
            entered = await browser.post("/approvals/enter", data={"token": link.partition("token=")[2]})
            me = (await browser.get("/api/v1/me")).json()
            said = {"binding": request["binding"], "verdict": "approve", "reason": "", "cover": None}
            answer = await browser.post(
                f"/api/v1/approvals/{request['id']}/decision", json=said, headers={"x-csrf-token": me["csrf"]}
            )
    assert entered.status_code in {200, 303}
    assert re.fullmatch(r"local:\S+", me["name"])
    assert (answer.status_code, answer.json()["error"]) == (403, "agents_own_user")
    assert not called(at)


async def test_another_address_of_this_machine_hides_no_user(tmp_path: Path) -> None:
    async with gate_of_this_user(tmp_path) as (at, person):
        tcp = await trio.open_tcp_stream("127.0.0.1", at.gate.addresses.agents.port, local_address="127.0.0.77")
        async with tcp:
            agent = RawConnection(tcp, await context_of(at.gate.api, "billing"))
            await agent.shake_hands()
            answer = await agent.ask(modern_call("refund", REFUND))
        (request,) = await person.waiting()
        result = await command(at, "approve", request["id"], "--yes")
    assert answer.reason == Reason.APPROVAL_REQUIRED
    assert result.exit_code == 3
    assert not called(at)
