"""People who answer: the user of this machine by the admin socket, with the API that the page uses.

async with local_person(gate) as person:
    (waiting,) = await person.open(1)
    await person.approve(waiting)
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx2
import trio

from support.gate import Gate

Json = dict[str, Any]
PATIENCE_S: Final = 10.0
# In tests the agent runs as whoever answers.
APPROVALS: Final = "approvals: {socket: {agents_share_user: true}}\n"


@dataclass(frozen=True)
class LocalPerson:
    """One person at the socket."""

    client: httpx2.AsyncClient

    async def get(self, path: str) -> httpx2.Response:
        return await self.client.get(path)

    async def listed(self) -> list[Json]:
        """What is open at this moment."""
        found: list[Json] = (await self.client.get("/api/v1/approvals?state=open")).json()["approvals"]
        return found

    async def open(self, count: int) -> list[Json]:
        """What waits or is approved, once there are so many."""
        with trio.fail_after(PATIENCE_S):
            while True:
                found: list[Json] = (await self.client.get("/api/v1/approvals?state=open")).json()["approvals"]
                if len(found) >= count:
                    assert len(found) == count, found
                    return found
                await trio.sleep(0.01)

    async def waiting(self, count: int = 1) -> list[Json]:
        """What waits for an answer, once there are so many."""
        with trio.fail_after(PATIENCE_S):
            while True:
                found: list[Json] = (await self.client.get("/api/v1/approvals?state=open")).json()["approvals"]
                waiting = [each for each in found if each["state"] == "waiting"]
                if len(waiting) >= count:
                    assert len(waiting) == count, waiting
                    return waiting
                await trio.sleep(0.01)

    async def whole(self, request: Mapping[str, Any]) -> Json:
        """One request with all that a person is shown."""
        found: Json = (await self.client.get(f"/api/v1/approvals/{request['id']}")).json()
        return found

    async def say(
        self, request: Mapping[str, Any], verdict: str, reason: str = "", cover: object = None
    ) -> httpx2.Response:
        """An answer to exactly what was read."""
        said = {"binding": request["binding"], "verdict": verdict, "reason": reason, "cover": cover}
        return await self.client.post(f"/api/v1/approvals/{request['id']}/decision", json=said)

    async def approve(self, request: Mapping[str, Any], reason: str = "", cover: object = None) -> None:
        """It must count."""
        answer = await self.say(request, "approve", reason, cover)
        assert answer.status_code == 200, answer.text

    async def deny(self, request: Mapping[str, Any], reason: str = "") -> None:
        """It must count."""
        answer = await self.say(request, "deny", reason)
        assert answer.status_code == 200, answer.text


def local_person(gate: Gate, socket: Path | None = None) -> AbstractAsyncContextManager[LocalPerson]:
    """Whoever runs this test."""
    return person_at(socket or gate.log_folder.parent / "approvals" / "admin.sock")


@asynccontextmanager
async def person_at(path: Path) -> AsyncIterator[LocalPerson]:
    """The same, of a gate whose socket is there."""
    transport = httpx2.AsyncHTTPTransport(uds=str(path))
    async with httpx2.AsyncClient(transport=transport, base_url="http://localhost", timeout=PATIENCE_S) as client:
        yield LocalPerson(client)
