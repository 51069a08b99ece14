"""`callgate approvals` against a site that is served at a real UNIX socket.

    async with admin_socket(tmp_path) as gate:
        request = await gate.site.asked(BY_HAND, account="A-1", amount=900)
        result = await gate.run("show", request.id[:8])

The command runs in a thread of the test's own process, or as a process of its own at a terminal.
"""

import os
import pty
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from socket import socket
from typing import Final

import trio
from click.testing import CliRunner, Result

from callgate.approvals.site.app import ApprovalsSite
from callgate.cli import main
from callgate.errors import Refusal
from callgate.net.connection import Connection, ConnectionLimits
from callgate.net.local_listener import Credentials, LocalListener
from callgate.net.tls_stream import PlainStream
from callgate.policy.approval import Approval, Repeat
from callgate.wire.http1 import HttpLimits, RawRequest
from callgate.wire.http1_server import ServerConnection
from support.approval_site import Site, approval_site

CALLGATE: Final = Path(sys.executable).with_name("callgate")
# What whoever sits at the machine may answer.
BY_HAND: Final = (
    Approval("refunds-over-500", frozenset({"local"}), frozenset(), repeat=Repeat((("account",),), 900, 5)),
)
PATIENCE_S: Final = 60.0


@dataclass
class AdminSocketSite:
    """The site, and where its socket is."""

    site: Site
    path: Path

    async def run(self, *arguments: str) -> Result:
        """One command, without a terminal."""
        command = ["approvals", arguments[0], "--socket", str(self.path), *arguments[1:]]
        return await trio.to_thread.run_sync(lambda: CliRunner().invoke(main, command))


@asynccontextmanager
async def admin_socket(folder: Path, uids: frozenset[int] | None = None) -> AsyncIterator[AdminSocketSite]:
    """`uids`: who may come; else the user that runs the test."""
    async with (
        approval_site(folder, uids=frozenset({os.geteuid()}) if uids is None else uids) as site,
        listening(folder / "admin.sock", site.served),
    ):
        yield AdminSocketSite(site, folder / "admin.sock")


@asynccontextmanager
async def listening(path: Path, served: ApprovalsSite) -> AsyncIterator[None]:
    """The site at that path, as the kernel tells who is there."""

    async def welcome(sock: socket, peer: Credentials) -> None:
        connection = Connection(PlainStream(sock), ServerConnection(HttpLimits(), None), ConnectionLimits())

        async def answer(found: RawRequest | Refusal) -> None:
            await served.answer_local(found, connection, peer)

        await connection.run(answer)

    listener = LocalListener.open(path)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(listener.serve, nursery, welcome)
        try:
            yield
        finally:
            listener.close()
            nursery.cancel_scope.cancel()


@dataclass
class Terminal:
    """A command at a terminal of its own.  `said`: what it has printed."""

    process: "subprocess.Popen[bytes]"
    master: int
    said: bytes = b""

    async def until(self, text: str) -> str:
        """All that it printed, once that is among it."""
        with trio.fail_after(PATIENCE_S):
            while text.encode() not in self.said:
                await trio.lowlevel.wait_readable(self.master)
                self.said += os.read(self.master, 65536)
        return self.said.decode()

    def types(self, text: str) -> None:
        os.write(self.master, text.encode())

    async def ends(self) -> tuple[int, str]:
        """Its exit status, and all that it printed."""
        code = await trio.to_thread.run_sync(self.process.wait, abandon_on_cancel=True)
        os.set_blocking(self.master, False)
        while True:
            try:
                self.said += os.read(self.master, 65536)
            # EIO: nobody has the other end open any more (pty(7) of Linux).
            except OSError:
                return code, self.said.decode()


@contextmanager
def at_a_terminal(arguments: Sequence[str], **env: str) -> Iterator[Terminal]:
    """`callgate` with both its input and its output at a terminal."""
    master, slave = pty.openpty()
    environment = {**os.environ, "COLUMNS": "120", **env}
    command = [str(CALLGATE), *arguments]
    with subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, env=environment) as process:
        os.close(slave)
        try:
            yield Terminal(process, master)
        finally:
            process.kill()
            os.close(master)


@dataclass
class Piped:
    """A command whose lines are read as they come."""

    process: "subprocess.Popen[bytes]"
    read: dict[int, bytes] = field(default_factory=dict)

    async def line(self) -> str:
        """The next line of its output."""
        assert self.process.stdout is not None
        return await self._line(self.process.stdout.fileno())

    async def complaint(self) -> str:
        """The next line of what it says beside its output."""
        assert self.process.stderr is not None
        return await self._line(self.process.stderr.fileno())

    async def _line(self, file: int) -> str:
        read = self.read.get(file, b"")
        with trio.fail_after(PATIENCE_S):
            while b"\n" not in read:
                await trio.lowlevel.wait_readable(file)
                received = os.read(file, 65536)
                assert received, "it ended"
                read += received
        line, _, self.read[file] = read.partition(b"\n")
        return line.decode()


@contextmanager
def piped(arguments: Sequence[str]) -> Iterator[Piped]:
    """`callgate` as a script runs it."""
    command = [str(CALLGATE), *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        try:
            yield Piped(process)
        finally:
            process.kill()
