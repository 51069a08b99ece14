"""A scripted tool server that says of its tools what a test has it say at the moment, in either revision.

tools = DescribedTools([tool("refund", PROPERTIES)], result={"content": [], "structuredContent": {"amount": 3}})
async with on_record(tmp_path, tools, policy=POLICY) as at, at.agent() as agent: ...
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import trio

from support.on_record import OnRecord
from support.raw_agent import Answer, RawConnection, legacy, modern, modern_call, open_session
from support.upstream import RESULTS, Asked, Reply, answer_with, said

Json = dict[str, Any]
LIST_CHANGED: Json = {"jsonrpc": "2.0", "method": "notifications/tools/list_changed"}
PROGRESS: Json = {
    "jsonrpc": "2.0",
    "method": "notifications/progress",
    "params": {"progressToken": "p", "progress": 1},
}


def tool(name: str, properties: Mapping[str, object] | None = None, **more: object) -> Json:
    """One definition; every property is required, and there are no others."""
    given = dict(properties or {})
    schema = {"type": "object", "properties": given, "required": [*given], "additionalProperties": False}
    return {"name": name, "description": f"What {name} does.", "inputSchema": schema, **more}


def digest_of(definition: object) -> str:
    """As docs/reference/audit.md has it; of ASCII without fractions RFC 8785 is sorted names and no white space."""
    text = json.dumps(definition, sort_keys=True, separators=(",", ":"))
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


@dataclass
class DescribedTools:
    """The script.  `tools`: what it lists from now on; `result`: of every call; `before`: events that come first.

    `held`: set where calls are to wait; `called` is set by each that came.
    """

    tools: Sequence[object]
    result: Mapping[str, object] = field(default_factory=lambda: RESULTS["tools/call"])
    before: Sequence[object] = ()
    held: trio.Event | None = None
    called: trio.Event = field(default_factory=trio.Event)

    async def __call__(self, asked: Asked, reply: Reply) -> None:
        method = asked.message.get("method")
        if method == "tools/list":
            await reply.json(said(asked, {**RESULTS["tools/list"], "tools": list(self.tools)}))
        elif method == "tools/call":
            await self._answer(asked, reply)
        else:
            await answer_with()(asked, reply)

    async def _answer(self, asked: Asked, reply: Reply) -> None:
        if self.before:
            await reply.start_events()
            for event in self.before:
                await reply.event(event)
        self.called.set()
        if self.held is not None:
            await self.held.wait()
        answer = said(asked, self.result)
        if self.before:
            await reply.event(answer)
            await reply.end_events()
        else:
            await reply.json(answer)


@dataclass
class Era:
    """How an agent of one revision says things."""

    name: str
    session: str = ""

    async def begin(self, agent: RawConnection) -> None:
        if self.name == "legacy":
            self.session = await open_session(agent)

    async def list(self, agent: RawConnection) -> list[Json]:
        """The tools that it is shown."""
        found = await agent.ask(self._said("tools/list", {}))
        tools: list[Json] = found.message["result"]["tools"]
        return tools

    async def call(self, agent: RawConnection, name: str, arguments: object, **meta: object) -> Answer:
        return await agent.ask(self.calling(name, arguments, **meta))

    def calling(self, name: str, arguments: object, **meta: object) -> bytes:
        """The request."""
        more: Json = {"_meta": meta} if meta else {}
        return self._said("tools/call", {"name": name, "arguments": arguments, **more})

    def _said(self, method: str, params: Json) -> bytes:
        return legacy(method, params, session=self.session) if self.name == "legacy" else modern(method, params)


def called(at: OnRecord) -> list[Json]:
    """The params of each call that reached the tool server."""
    return [asked.message["params"] for asked in at.upstream.requests if asked.message["method"] == "tools/call"]


async def list_and_call(agent: RawConnection, name: str, arguments: Mapping[str, object]) -> Answer:
    """As an agent of the newer revision does: it looks, and then it calls."""
    await agent.ask(modern("tools/list"))
    return await agent.ask(modern_call(name, arguments))
