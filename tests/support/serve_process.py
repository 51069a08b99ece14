"""`callgate serve` as its own process, with configuration files in a folder.

async with serving(folder, api.endpoint("gate"), upstream.url) as gate:
    await gate.ready()
    gate.process.send_signal(signal.SIGTERM)
    code = await gate.end()
"""

import json
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import trio

from callgate.audit.keys import make_key
from support.gate import ISSUER, POLICY
from support.tls_agent import PATIENCE_S

LOG_ORIGIN = "gate.acme.test/audit"
CALLGATE = Path(sys.executable).with_name("callgate")
# A start takes a second or two of processor time, which a loaded machine does not have at once.
START_S = 60.0
_ADDRESSES = re.compile(r"listening for agents on 127\.0\.0\.1:(\d+), for metadata and health on 127\.0\.0\.1:(\d+)")


@dataclass
class ServeProcess:
    """A running one.  `lines`: what it logged, one JSON object each; `output`: what it printed."""

    process: trio.Process
    lines: list[dict[str, Any]] = field(default_factory=list)
    output: bytes = b""
    said: trio.Event = field(default_factory=trio.Event)
    ended: trio.Event = field(default_factory=trio.Event)

    async def line(self, text: str) -> str:
        """The first message with that text in it, once it was logged."""
        with trio.fail_after(START_S):
            while True:
                found = next((message for message in self.messages if text in message), None)
                if found is not None:
                    return found
                assert not self.ended.is_set(), f"ended without {text!r}: {self.messages}"
                await self.said.wait()
                self.said = trio.Event()

    async def lines_with(self, text: str, count: int) -> None:
        """Until it has logged so many messages with that text in them."""
        with trio.fail_after(START_S):
            while sum(text in message for message in self.messages) < count:
                assert not self.ended.is_set(), f"ended without {text!r}: {self.messages}"
                await self.said.wait()
                self.said = trio.Event()

    async def ports(self) -> tuple[int, int]:
        """Of the agents' listener and the admin's."""
        found = _ADDRESSES.fullmatch(await self.line("listening for agents"))
        assert found is not None
        return int(found[1]), int(found[2])

    async def ready(self) -> tuple[int, int]:
        """The ports, once it has an identity."""
        await self.line("ready as ")
        return await self.ports()

    @property
    def messages(self) -> list[str]:
        return [line["message"] for line in self.lines]

    async def end(self, timeout_s: float) -> int:
        """The exit code, once it has ended by itself and all that it said is here."""
        with trio.fail_after(timeout_s):
            code = await self.process.wait()
            await self.ended.wait()
        return code

    async def listen(self) -> None:
        assert self.process.stderr is not None
        buffer = b""
        async for received in self.process.stderr:
            *lines, buffer = (buffer + received).split(b"\n")
            for line in lines:
                self.lines.append(json.loads(line))
            self.said.set()
        assert buffer == b""
        self.ended.set()
        self.said.set()

    async def collect(self) -> None:
        assert self.process.stdout is not None
        async for received in self.process.stdout:
            self.output += received


def write_files(
    folder: Path, endpoint: str, upstream_url: str, more: str = "", policy: str = POLICY, audit: str = ""
) -> Path:
    """callgate.yaml, its policy and the log's key; returns the path of the first."""
    path = folder / "callgate.yaml"
    path.write_text(
        f"listen: 127.0.0.1:0\nworkload_api: {endpoint}\nissuer: {ISSUER}\npolicy: policy.yaml\naudit: {{{audit}}}\n"
        f"admin: {{listen: '127.0.0.1:0'}}\nservers:\n  ledger:\n    url: {upstream_url}\n{more}"
    )
    (folder / "policy.yaml").write_text(policy)
    if not (folder / "audit" / "key.pem").exists():
        make_key(folder / "audit" / "key.pem", LOG_ORIGIN)
    return path


@asynccontextmanager
async def serving(
    folder: Path,
    endpoint: str,
    upstream_url: str,
    more: str = "",
    env: Mapping[str, str] | None = None,
    *,
    audit: str = "",
    policy: str = POLICY,
) -> AsyncIterator[ServeProcess]:
    """Start it; at the end it must be over, or it is killed."""
    path = write_files(folder, endpoint, upstream_url, more, policy, audit)
    command = [str(CALLGATE), "serve", "-c", str(path)]
    run = partial(trio.run_process, command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False, env=env)
    async with trio.open_nursery() as nursery:
        gate = ServeProcess(await nursery.start(run))
        nursery.start_soon(gate.listen)
        nursery.start_soon(gate.collect)
        yield gate
        with trio.move_on_after(PATIENCE_S):
            await gate.ended.wait()
            return
        gate.process.kill()
