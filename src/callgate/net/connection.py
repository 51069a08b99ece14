"""One agent's connection: reads requests, has each answered, and notices when the agent goes away.

Two tasks a connection and none a request: `_pump` alone reads from the socket, so that a vanished agent is noticed
while its call is under way, and the other reads requests from what the pump brings (docs/adr/0005).
"""

from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import trio

from callgate.errors import Reason, Refusal
from callgate.net.tls_stream import Stream
from callgate.wire.http1 import RawRequest
from callgate.wire.http1_server import Phase, ServerConnection

HeaderList = Sequence[tuple[str, str]]


class ClientLost(Exception):  # noqa: N818  # not a fault of ours, and nothing is wrong with the gate
    """The agent can no longer be answered; `reason` is CLIENT_GONE or CLIENT_STALLED."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """How slow an agent may be, in seconds, and how much it may ask of one connection.

    The defaults cut slow-loris peers early and leave a model room to think between two calls.
    """

    idle_s: float = 15.0
    head_s: float = 10.0
    body_s: float = 30.0
    write_stall_s: float = 30.0
    requests: int = 1000
    # With one read more it stays below `HttpLimits.max_pipelined_bytes`.
    ahead_bytes: int = 48 * 1024


class Connection:
    """Owned by the task that calls `run`; the methods that answer are for that task alone."""

    def __init__(self, stream: Stream, http: ServerConnection, limits: ConnectionLimits) -> None:
        self.stream = stream
        self.http = http
        self.gone = False
        self.streaming = False
        self._limits = limits
        self._draining = False
        self._idle = False
        self._answering = False
        self._torn = False
        self._news = trio.Event()
        self._room = trio.Event()
        self._call: trio.CancelScope | None = None

    async def run(self, answer: Callable[[RawRequest | Refusal], Awaitable[None]]) -> None:
        """Serve requests until either side is done.  Closes the stream, on cancellation without ceremony."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._pump)
                await self._serve(answer)
                nursery.cancel_scope.cancel()
            await self.stream.aclose()
        finally:
            self.stream.close_now()

    async def _serve(self, answer: Callable[[RawRequest | Refusal], Awaitable[None]]) -> None:
        for served in range(1, self._limits.requests + 1):
            found = await self._next_request()
            if found is None:
                return
            if served == self._limits.requests or self._draining or isinstance(found, Refusal):
                self.http.close_after_response()
            self._answering = True
            try:
                await answer(found)
            except ClientLost:
                return
            self._answering = False
            if self.http.must_close:
                return
            self.http.finish()
            self._room.set()
            # A client that always has the next request ready must not keep the others waiting.
            await trio.lowlevel.checkpoint()

    async def _next_request(self) -> RawRequest | Refusal | None:
        deadline, phase = 0.0, None
        while True:
            found = self.http.next_request()
            if found is not None or self.http.closed_cleanly:
                return found
            if phase is not self.http.phase:
                phase = self.http.phase
                deadline = trio.current_time() + self._patience(phase)
            self._idle = phase is Phase.IDLE
            if self._idle and self._draining:
                return None
            with trio.CancelScope(deadline=deadline) as scope:
                await self._news.wait()
            if scope.cancelled_caught:
                return None if self._idle else Refusal(Reason.HTTP_TIMEOUT, f"slow {phase}")
            self._news = trio.Event()

    def _patience(self, phase: Phase) -> float:
        return {
            Phase.IDLE: self._limits.idle_s,
            Phase.HEAD: self._limits.head_s,
            Phase.BODY: self._limits.body_s,
        }[phase]

    async def _pump(self) -> None:
        while not self.gone:
            try:
                received = await self.stream.receive_some()
            except OSError:
                received = b""
            self.gone = not received
            self.http.receive(received)
            self._news.set()
            if self.gone and self._call is not None:
                self._call.cancel()
            # `receive_some` does not wait while there is something to read: the other connections get their turn here.
            await trio.lowlevel.checkpoint()
            # More than that waits in TCP, and with it the news that the agent has gone: no client sends so far ahead.
            # Not `_answering`: between two answers there is always a moment without.
            while self.http.phase is Phase.ANSWER and self.http.buffered >= self._limits.ahead_bytes:
                self._room = trio.Event()
                await self._room.wait()

    @contextmanager
    def call(self, timeout_s: float) -> Iterator[trio.CancelScope]:
        """A scope for work done on the agent's behalf: ends after `timeout_s`, or when the agent goes away."""
        with trio.CancelScope(deadline=trio.current_time() + timeout_s) as scope:
            self._call = scope
            if self.gone:
                scope.cancel()
            try:
                yield scope
            finally:
                self._call = None

    def drain(self) -> None:
        """Finish what is under way and take no further request."""
        self._draining = True
        if self._answering:
            self.http.close_after_response()
        elif self._idle:
            self._news.set()

    async def reply(self, status: int, headers: HeaderList, body: bytes) -> None:
        """Answer with one complete response.  Raises `ClientLost`."""
        await self._send(self.http.respond(status, headers, body))

    async def start_stream(self, status: int, headers: HeaderList) -> None:
        """Begin a response of unknown length.  Raises `ClientLost`."""
        self.streaming = True
        await self._send(self.http.start_stream(status, headers))

    async def stream_out(self, content: bytes) -> None:
        """Send one more piece of it.  Raises `ClientLost`."""
        await self._send(self.http.stream(content))

    async def end_stream(self) -> None:
        """End it.  Raises `ClientLost`."""
        await self._send(self.http.end_stream())
        self.streaming = False

    async def _send(self, content: bytes) -> None:
        if self._torn:
            # Part of a message is sent and the rest of it lost: whatever came next would be read as that rest.
            raise ClientLost(Reason.CLIENT_STALLED)
        try:
            if self.stream.send_now(content):
                return
            self._torn = True
            with trio.CancelScope(deadline=trio.current_time() + self._limits.write_stall_s) as scope:
                await self.stream.flush()
        except OSError as error:
            raise ClientLost(Reason.CLIENT_GONE) from error
        if scope.cancelled_caught:
            raise ClientLost(Reason.CLIENT_STALLED)
        self._torn = False
