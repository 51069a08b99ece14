"""A desk whose requests stand in a Slack channel, and the address where clicks come in.

async with clicking(tmp_path) as here:
    request = await here.desk.ask()
    assert await here.click("U0ALICE", DENY, value_of(request)) == 200
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2
import trio
from starlette.applications import Starlette

from callgate.approvals.model import Request
from callgate.approvals.notify.slack import SlackClicks
from callgate.approvals.notify.slack_channel import SlackChannel
from callgate.approvals.site.slack_routes import PATH, slack_route
from support.notified import SITE, Clock, NotifiedDesk, notified
from support.slack_server import FakeSlack


@dataclass
class Clicking:
    """All of it."""

    desk: NotifiedDesk
    slack: FakeSlack
    http: httpx2.AsyncClient
    clicks: SlackClicks

    async def click(self, user: str, action: str, value: str, *, reply: str | None = None) -> int:
        body, timestamp, signature = self.slack.click(user, action, value, self.desk.clock.wall, reply=reply)
        return await self.send(body, timestamp, signature)

    async def send(self, body: bytes, timestamp: str, signature: str) -> int:
        headers = {
            "content-type": "application/x-www-form-urlencoded",
            "x-slack-request-timestamp": timestamp,
            "x-slack-signature": signature,
        }
        return (await self.http.post(PATH, content=body, headers=headers)).status_code

    async def told(self, times: int = 1) -> str:
        """What the last one who clicked was told."""
        with trio.fail_after(10):
            await self.desk.until(lambda: len(self.slack.replies) >= times)
        assert self.slack.replies[-1]["response_type"] == "ephemeral"
        assert self.slack.replies[-1]["replace_original"] is False
        return str(self.slack.replies[-1]["text"])

    async def now(self, request: Request) -> Request:
        found = await self.desk.desk.opened(request.id, None)
        assert found is not None
        return found


@asynccontextmanager
async def clicking(folder: Path, *, approve_in_slack: bool = False) -> AsyncIterator[Clicking]:
    clock = Clock()
    async with FakeSlack.open(folder) as slack:
        settings = slack.settings(approve_in_slack=approve_in_slack)
        async with notified(
            folder, clock, lambda store: [SlackChannel(settings, store, SITE, clock.moment, pace_s=0.0)]
        ) as desk:
            clicks = SlackClicks(settings, desk.desk, clock.moment)
            transport = httpx2.ASGITransport(Starlette(routes=[slack_route(clicks)]))
            async with trio.open_nursery() as nursery, httpx2.AsyncClient(transport=transport, base_url=SITE) as http:
                nursery.start_soon(clicks.run)
                yield Clicking(desk, slack, http, clicks)
                nursery.cancel_scope.cancel()
