"""Who the gate is and whom it may trust, kept current from the Workload API.

One task follows the stream on a thread of its own; everything that it learns is taken in trio's thread, as one
immutable `X509Context` that replaces the last.  Nothing here gives up: whatever happens, the stream is taken up again,
and what is lost meanwhile is lost visibly (`current` is None, `problem` says why).

W is SPIFFE Workload API, E is SPIFFE Workload Endpoint.
"""

import math
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from secrets import SystemRandom
from typing import assert_never

import trio

from callgate.identity.endpoint import Endpoint, endpoint_or_default
from callgate.identity.trust import X509Context
from callgate.identity.workload_api import Malformed, MessageLimits, StreamEnd, StreamEnding, Update, X509Stream

_random = SystemRandom()


class SourceEvent(StrEnum):
    """What `on_event` hears of."""

    UPDATED = "updated"
    """A message was taken, and we have an identity."""
    WARNING = "warning"
    """A message was taken, but part of it was not."""
    MALFORMED = "malformed"
    """A message was discarded; what we had stays."""
    HINT_MISSING = "hint_missing"
    """A message was taken, and no SVID in it has our hint: no identity."""
    EXPIRED = "expired"
    """Our own SVID is past its end: no identity."""
    PERMISSION_DENIED = "permission_denied"
    """The Workload API has no identity for us: no identity, nobody is trusted."""
    UNAVAILABLE = "unavailable"
    """The stream ended, or there is none to be had; what we had stays while it is valid."""
    MISUSED = "misused"
    """What answers at the address is no Workload API; what we had stays while it is valid."""


@dataclass(frozen=True, slots=True)
class SourceLimits:
    """When to try again, and how much to read.

    `retry_first_s` to `retry_max_s`: W 4.2 wants a lost stream back "immediately", E 6 "with a backoff"; five seconds
    is how often a SPIRE agent asks its server for news.  `misuse_retry_s`: E 6 says not to retry, as a person has to
    mend something; this is how long the gate then stays in the dark after they did.  `clock_check_s`: how late we may
    notice that the wall clock was set forward or the machine slept.
    """

    retry_first_s: float = 0.1
    retry_max_s: float = 5.0
    misuse_retry_s: float = 30.0
    clock_check_s: float = 5.0
    message: MessageLimits = field(default_factory=MessageLimits)


@dataclass(slots=True)
class Backoff:
    """How long to pause before the next stream: doubling, jittered, and back to the start after a stream that held.

    A stream that ended early counts as a failure even when it delivered something; a server that answers and hangs up
    would otherwise be asked again in a tight loop.
    """

    first_s: float
    max_s: float
    _next_s: float = 0.0

    def pause_s(self, lived_s: float) -> float:
        """The pause after a stream that was open for `lived_s`: between half and all of the current step."""
        step_s = self.first_s if lived_s >= self.max_s else max(self._next_s, self.first_s)
        self._next_s = min(2 * step_s, self.max_s)
        return jittered_s(step_s)


def jittered_s(most_s: float) -> float:
    """Between half and all of `most_s`, so that the workloads of a restarted agent do not return in step."""
    return most_s * _random.uniform(0.5, 1.0)


class X509Source:
    """The gate's identity and trust bundles, as of now.

    Read `current` for each use and keep no copy beyond it.  All attributes and methods belong to trio's thread.
    """

    def __init__(
        self,
        endpoint: str | None = None,
        *,
        hint: str | None = None,
        limits: SourceLimits | None = None,
        on_event: Callable[[SourceEvent, str], None] | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        """Nothing is opened before `run`.  Raises `InvalidEndpoint`.

        `endpoint`: the address of the Workload API, or None for that of the environment.  `hint`: which of several
        SVIDs is ours; None is the first, W 5.3's default identity.  `on_event` is called in trio's thread and must
        neither block nor raise.  `now`: Unix seconds.
        """
        self._endpoint: Endpoint = endpoint_or_default(endpoint, os.environ)
        self._hint = hint
        self._limits = limits or SourceLimits()
        self._on_event = on_event
        self._now = now
        self._current: X509Context | None = None
        self._problem = f"the Workload API at {self._endpoint} has not answered yet"
        self._change = trio.Event()
        self._thread = trio.CapacityLimiter(1)
        self._stream: X509Stream | None = None

    @property
    def current(self) -> X509Context | None:
        """The state of the last good message, with the SVID of our hint first; None where there is no identity."""
        return self._current

    @property
    def problem(self) -> str:
        """Why there is no identity, or why the one there is cannot be renewed just now; "" when all is well."""
        return self._problem

    async def wait_ready(self) -> None:
        """Return when there is an identity."""
        await self.changed(None)

    async def changed(self, since: X509Context | None) -> None:
        """Return when `current` is not `since` any longer; a checkpoint in any case."""
        await trio.lowlevel.checkpoint()
        while self._current is since:
            await self._change.wait()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Follow the Workload API until cancelled.  Started at once: to wait for an identity, see `wait_ready`.

        When cancelled, the stream and its thread are gone on return, and `current` is None.
        """
        task_status.started()
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._watch_expiry)
                await self._follow()
        finally:
            # Nobody would notice any more that it expired or was withdrawn.
            self._set(None, "the identity source was stopped")

    async def _follow(self) -> None:
        backoff = Backoff(self._limits.retry_first_s, self._limits.retry_max_s)
        while True:
            opened = trio.current_time()
            end = await self._read_one_stream()
            self._take_end(end)
            pause_s = backoff.pause_s(trio.current_time() - opened)
            if end.ending is StreamEnding.MISUSED:
                pause_s = jittered_s(self._limits.misuse_retry_s)
            await trio.sleep(pause_s)

    async def _read_one_stream(self) -> StreamEnd:
        self._stream = X509Stream(self._endpoint, self._limits.message)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_close_when_cancelled, self._stream)
            end = await trio.to_thread.run_sync(self._stream.read, self._take_from_thread, limiter=self._thread)
            nursery.cancel_scope.cancel()
        self._stream = None
        return end

    def _take_from_thread(self, message: Update | Malformed) -> None:
        trio.from_thread.run_sync(self._take, message)

    def _take(self, message: Update | Malformed) -> None:
        if isinstance(message, Malformed):
            self._set(self._current, f"a message of the Workload API was discarded: {message.detail}")
            self._tell(SourceEvent.MALFORMED, message.detail)
            return
        for warning in message.warnings:
            self._tell(SourceEvent.WARNING, warning)
        ours = _with_hint_first(message.context, self._hint)
        if ours is None:
            self._set(None, f"the Workload API offers no SVID with the hint {self._hint!r}")
            self._tell(SourceEvent.HINT_MISSING, self._problem)
        elif self._now() >= ours.svid.not_after:
            self._expire(ours)
        else:
            self._set(ours, "")
            self._tell(SourceEvent.UPDATED, f"{ours.svid.id}, valid until {_utc(ours.svid.not_after)}")

    def _take_end(self, end: StreamEnd) -> None:
        match end.ending:
            case StreamEnding.PERMISSION_DENIED:
                # W 5.2.1: "if the server redacts [...] all SVIDs, i.e., returns a "PermissionDenied" gRPC status code
                # the client SHOULD cease using the redacted SVIDS"; W 5.2.2 says the same of bundles.
                self._set(None, f"the Workload API has no identity for this process: {end.detail}")
                self._tell(SourceEvent.PERMISSION_DENIED, end.detail)
            case StreamEnding.MISUSED:
                self._set(self._current, f"{self._endpoint} does not serve the SPIFFE Workload API: {end.detail}")
                self._tell(SourceEvent.MISUSED, end.detail)
            case StreamEnding.UNAVAILABLE | StreamEnding.CLOSED:
                self._set(self._current, f"the Workload API at {self._endpoint} is unavailable: {end.detail}")
                self._tell(SourceEvent.UNAVAILABLE, self._problem)
            case StreamEnding.CANCELLED:
                # By us, because the SVID expired: that problem stays the one to tell.
                pass
            case _:
                assert_never(end.ending)

    async def _watch_expiry(self) -> None:
        while True:
            held = self._current
            with trio.move_on_after(self._until_next_check_s(held)):
                await self.changed(held)
            if self._current is not None and self._now() >= self._current.svid.not_after:
                self._expire(self._current)
                if self._stream is not None:
                    # It was open and silent for as long as an SVID lives; a new one will show whether anyone is there.
                    self._stream.close()

    def _until_next_check_s(self, held: X509Context | None) -> float:
        if held is None:
            return math.inf
        return min(max(held.svid.not_after - self._now(), 0.0), self._limits.clock_check_s)

    def _expire(self, context: X509Context) -> None:
        self._set(None, f"our own SVID {context.svid.id} expired at {_utc(context.svid.not_after)}")
        self._tell(SourceEvent.EXPIRED, self._problem)

    def _set(self, current: X509Context | None, problem: str) -> None:
        self._problem = problem
        if current is not self._current:
            self._current = current
            self._change.set()
            self._change = trio.Event()

    def _tell(self, event: SourceEvent, detail: str) -> None:
        if self._on_event is not None:
            self._on_event(event, detail)


async def _close_when_cancelled(stream: X509Stream) -> None:
    """A thread cannot be cancelled, but what it waits for can be closed."""
    try:
        await trio.sleep_forever()
    finally:
        stream.close()


def _with_hint_first(context: X509Context, hint: str | None) -> X509Context | None:
    if hint is None:
        return context
    ours = context.svid_with_hint(hint)
    if ours is None:
        return None
    return X509Context((ours, *(svid for svid in context.svids if svid is not ours)), context.bundles)


def _utc(when: float) -> str:
    return datetime.fromtimestamp(when, UTC).isoformat(timespec="seconds")
