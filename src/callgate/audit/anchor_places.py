"""Places outside the log's folder that a checkpoint goes to: a file on another disk, a URL, a collector.

What blocks is done in a thread, one for each place: where a disk or a network share never comes back, one thread hangs
and nobody else.
"""

import errno
import os
import ssl
import stat
from collections import deque
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple, Protocol
from urllib.parse import urlsplit

import orjson
import trio

from callgate.audit.chain import time_text
from callgate.audit.disk import sync_folder
from callgate.telemetry.log_events import CheckpointEvents, LogEvent, checkpoint_event
from callgate.telemetry.visible import visible

COLLECTOR: Final = "collector"
_NAME_MAX_CHARS: Final = 200
# An outage and its end are two; who goes up and down for longer than a collector is away is known well enough.
EVENTS_MAX: Final = 64
# What a collector without logs says to POST /v1/logs: not found, method not allowed, gone, not implemented.
_TAKES_NO_LOGS: Final = frozenset({404, 405, 410, 501})
_MODE: Final = 0o600
_FLAGS: Final = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC


class Head(NamedTuple):
    """The newest checkpoint: a signed note over `size` records, made at `at_ns` (Unix nanoseconds)."""

    note: str
    size: int
    at_ns: int


class Delivery(NamedTuple):
    """What became of one attempt.  `problem`: "" or what is wrong, for people.  `refused`: the place takes none at all."""

    problem: str = ""
    refused: bool = False


class Place(Protocol):
    """Where heads go.  `name`: for people and metrics, without anything secret."""

    name: str

    @property
    def has_more(self) -> bool:
        """Whether something waits beside the head."""

    async def deliver(self, head: Head | None) -> Delivery:
        """Returns when the head is there, or cannot be brought there.  None: what waits beside it is all."""


class FilePlace:
    """A file that is only ever appended to: one JSON object a line, {"time", "note"}, as in the log's own folder."""

    has_more = False

    def __init__(self, path: str, patience_s: float) -> None:
        self.name = visible(path, _NAME_MAX_CHARS)
        self._path = Path(path)
        self._patience_s = patience_s
        self._limiter = trio.CapacityLimiter(1)

    async def deliver(self, head: Head | None) -> Delivery:
        """See `Place`.  Durable when it returns without a problem."""
        if head is None:
            return Delivery()
        line = orjson.dumps({"time": time_text(head.at_ns), "note": head.note}) + b"\n"
        with trio.move_on_after(self._patience_s):
            try:
                await trio.to_thread.run_sync(
                    append_line, self._path, line, abandon_on_cancel=True, limiter=self._limiter
                )
            except OSError as error:
                return Delivery(_named(error))
            return Delivery()
        return _unanswered(self._patience_s)


class UrlPlace:
    """A URL that a checkpoint is POSTed to."""

    has_more = False

    def __init__(self, url: str, patience_s: float, tls: ssl.SSLContext | None = None) -> None:
        """`tls`: whom to trust; None: the system's certificates."""
        # The HTTP client takes 0.2 s to load: not for gates that send to no URL.
        from callgate.audit.post import post  # noqa: PLC0415

        self._post = post
        self._url = url
        self._patience_s = patience_s
        self._tls = tls or _trust_for(url)
        # A path and a query may be a credential, and so may what stands before the host.
        self.name = visible(urlsplit(url).netloc.rpartition("@")[2], _NAME_MAX_CHARS)

    async def deliver(self, head: Head | None) -> Delivery:
        """See `Place`."""
        if head is None:
            return Delivery()
        with trio.move_on_after(self._patience_s):
            return Delivery(await self._post(self._url, self._tls, head.note))
        return _unanswered(self._patience_s)


class CollectorPlace:
    """A collector of OpenTelemetry logs; besides heads it is told of outages.

    Its client has a timeout of its own, retries included.  Delivered at least once: what hangs at the end is sent anew.
    """

    def __init__(self, events: CheckpointEvents) -> None:
        self.name = COLLECTOR
        self._events = events
        self._waiting: deque[LogEvent] = deque(maxlen=EVENTS_MAX)
        self._limiter = trio.CapacityLimiter(1)

    @property
    def has_more(self) -> bool:
        """See `Place`."""
        return bool(self._waiting)

    def tell(self, event: LogEvent) -> None:
        """Have an event delivered with the next head, or before; of too many the oldest is forgotten."""
        self._waiting.append(event)

    async def deliver(self, head: Head | None) -> Delivery:
        """See `Place`."""
        waiting = list(self._waiting)
        events = [*waiting, *([checkpoint_event(*head)] if head else [])]
        receipt = await trio.to_thread.run_sync(
            self._events.send, events, abandon_on_cancel=True, limiter=self._limiter
        )
        if receipt.rejected:
            # "The client MUST NOT retry the request when it receives a partial success response" (OTLP 1.10).
            return Delivery(f"{receipt.rejected} of {len(events)} log records were rejected", refused=True)
        if not receipt.accepted:
            return Delivery(receipt.why, refused=receipt.status in _TAKES_NO_LOGS)
        for event in waiting:
            if self._waiting and self._waiting[0] is event:
                self._waiting.popleft()
        return Delivery()

    async def shutdown(self) -> None:
        """Make a delivery that hangs fail.  Takes 0.2 s at most."""
        await trio.to_thread.run_sync(self._events.shutdown, limiter=trio.CapacityLimiter(1))


def place_of_target(target: str, patience_s: float, tls: ssl.SSLContext | None = None) -> FilePlace | UrlPlace:
    """What a `checkpoint_to` of the configuration names: a URL by its scheme, else a path.

    `patience_s`: what takes longer counts as no answer.
    """
    is_url = target.lower().startswith(("http://", "https://"))
    return UrlPlace(target, patience_s, tls) if is_url else FilePlace(target, patience_s)


def append_line(path: Path, line: bytes) -> None:
    """Append a line to a file, a new one where there is none, so that it survives a power failure.

    Blocks.  Raises OSError.  After what a power failure left of a line, the next one begins on a line of its own.
    """
    fd = os.open(path, _FLAGS, _MODE)
    try:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            raise OSError(errno.EINVAL, "is no regular file, so that nothing is kept in it")
        is_torn = found.st_size > 0 and os.pread(fd, 1, found.st_size - 1) != b"\n"
        _write(fd, b"\n" + line if is_torn else line, found.st_size)
        os.fdatasync(fd)
    finally:
        os.close(fd)
    if not found.st_size:
        sync_folder(path.parent)


def _write(fd: int, line: bytes, size: int) -> None:
    """All of the line, or nothing: what a full disk has taken of it is cut off, unless something else stands behind it."""
    rest = memoryview(line)
    try:
        while rest:
            rest = rest[os.write(fd, rest) :]
    except OSError:
        # Refused where files can only grow (`chattr +a`).
        with suppress(OSError):
            if os.fstat(fd).st_size == size + len(line) - len(rest):
                os.ftruncate(fd, size)
        raise


def _trust_for(url: str) -> ssl.SSLContext:
    """The system's certificates; for plain http, where it is not used, an empty one, because they take long to load."""
    is_secure = urlsplit(url).scheme.lower() == "https"
    return ssl.create_default_context() if is_secure else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def _named(error: OSError) -> str:
    return f"{errno.errorcode.get(error.errno or 0, type(error).__name__)}: {error.strerror or error}"


def _unanswered(patience_s: float) -> Delivery:
    return Delivery(f"no answer within {patience_s:g} s")
