"""A real SPIRE for the tests, and processes that are workloads of it.

How SPIRE tells them apart stands in `spire/workloads`: each has a copy of the Python that runs the tests, selected by
`unix:path`.  The process that runs the tests is nobody: there is no entry for it.
"""

import json
import os
import subprocess
from base64 import b64decode
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trio

TRUST_DOMAIN = "acme.test"
GATE = "gate"
LEDGER = "ledger"
REFUND_AGENT = "refund-agent"
AUDITOR = "auditor"

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Spire:
    """A running SPIRE server and agent.  `run`: its directory; `sockets`: that of its two sockets."""

    run: Path
    sockets: Path

    @property
    def endpoint(self) -> str:
        """The Workload API's address, as in SPIFFE_ENDPOINT_SOCKET."""
        return f"unix://{self.sockets}/agent.sock"

    @property
    def environment(self) -> dict[str, str]:
        """What a workload's process needs."""
        return {**os.environ, "SPIFFE_ENDPOINT_SOCKET": self.endpoint}

    def command(self, workload: str, *arguments: str | Path) -> list[str]:
        """The command line that runs Python as that workload."""
        return [str(self.run / "python" / workload / "bin" / "python"), *map(str, arguments)]

    async def server(self, *arguments: str, stdin: bytes = b"") -> Json:
        """One command of spire-server's; its answer.  Raises CalledProcessError, with its words on the test's stderr."""
        flags = ["-socketPath", f"{self.sockets}/server.sock", "-output", "json"]
        done = await trio.run_process(
            [str(self.run / "bin" / "spire-server"), *arguments, *flags], stdin=stdin, capture_stdout=True
        )
        answer: Json = json.loads(done.stdout)
        return answer

    async def delete_entry(self, workload_path: str) -> None:
        """The workload with this SPIFFE ID path is no longer registered; the agent hears of it in about 2 s."""
        shown = await self.server("entry", "show", "-spiffeID", f"spiffe://{TRUST_DOMAIN}{workload_path}")
        for entry in shown["entries"]:
            await self.server("entry", "delete", "-entryID", entry["id"])

    async def restore_entry(self, workload_path: str) -> None:
        """Register it again, as `spire/up` did."""
        wanted = f"spiffe://{TRUST_DOMAIN}{workload_path}"
        entries = json.loads((self.run / "entries.json").read_text())["entries"]
        again = {"entries": [entry for entry in entries if entry["spiffe_id"] == wanted]}
        await self.server("entry", "create", "-data", "-", stdin=json.dumps(again).encode())

    async def bundle(self) -> bytes:
        """The X.509 authorities of the trust domain as of now, DER, one after the other."""
        shown = await self.server("bundle", "show")
        return b"".join(b64decode(authority["asn1"]) for authority in shown["x509_authorities"])

    async def authority(self, step: str, authority_id: str | None = None) -> Json:
        """`localauthority x509` show, prepare, activate, taint or revoke."""
        chosen = () if authority_id is None else ("-authorityID", authority_id)
        return await self.server("localauthority", "x509", step, *chosen)


@dataclass(slots=True)
class Workload:
    """A running process of a workload's, whose standard output is one JSON object a line."""

    process: trio.Process
    _rest: bytes = b""

    async def next_text(self) -> str:
        """The next line that it prints.  Raises EOFError when it has ended."""
        assert self.process.stdout is not None
        while b"\n" not in self._rest:
            received = await self.process.stdout.receive_some()
            if not received:
                raise EOFError(f"the workload ended, status {await self.process.wait()}")
            self._rest += received
        line, self._rest = self._rest.split(b"\n", 1)
        return line.decode()

    async def next_line(self) -> Json:
        """The next object that it prints.  Raises EOFError when it has ended."""
        answer: Json = json.loads(await self.next_text())
        return answer

    async def follow(self, take: Callable[[str], None]) -> None:
        """Give to `take` each line that it still prints, until it has ended."""
        while True:
            try:
                line = await self.next_text()
            except EOFError:
                return
            take(line)

    async def tell(self, line: str) -> None:
        """One line on its standard input."""
        assert self.process.stdin is not None
        await self.process.stdin.send_all(f"{line}\n".encode())


@asynccontextmanager
async def running(
    command: Sequence[str], environment: Mapping[str, str], *, stderr: int | None = None
) -> AsyncIterator[Workload]:
    """Start a workload's process; it is killed on leaving.  `stderr` as in `subprocess`."""
    process = await trio.lowlevel.open_process(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr, env=dict(environment)
    )
    try:
        yield Workload(process)
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()
            for pipe in (process.stdin, process.stdout):
                assert pipe is not None
                await pipe.aclose()
