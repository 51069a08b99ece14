"""The log that a gate writes: what is to be remembered goes in at once, and is durable when a `Receipt` says so.

Records are chained in trio's thread, in the order in which they come, and written in groups by a thread of its own
(`writing`): one wait for the disk serves all calls that wait (group commit).  While the disk fails or does not come
back, no call gets a receipt, what has to be remembered is kept in memory, and the same bytes are written until the disk
takes them; nothing needs to be restarted.
"""

import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import InitVar, dataclass
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

import trio

from callgate.audit.chain import Chain, Kind, Moment, time_text
from callgate.audit.checkpoint import CheckpointKey
from callgate.audit.disk import SegmentWriter
from callgate.audit.entries import Status
from callgate.audit.group import Group, Wait
from callgate.audit.log_terms import LogEvent, LogLimits, Telling
from callgate.audit.opening import Opened, open_log
from callgate.audit.places import Places, segment_name
from callgate.audit.refused import RefusalKind, RefusalRates, Tally
from callgate.audit.writing import Due, Order, WritingThread, Written
from callgate.errors import GatewayError, Reason, Refusal
from callgate.telemetry.audit_metrics import Commits

_NS_PER_S: Final = 1_000_000_000


class ForgedReceipt(GatewayError):  # noqa: N818  # says what it is
    """Something other than the log tried to make a Receipt: a fault in the gate's own code."""


class _Seal:
    """What only this module has."""


_SEAL: Final = _Seal()


@dataclass(frozen=True, slots=True)
class Receipt:
    """Proof that an intent is durable.  Only the log makes one: anything else raises ForgedReceipt.

    `seq`: the number of the intent's record.
    """

    seal: InitVar[_Seal]
    seq: int
    decision: str

    def __post_init__(self, seal: _Seal) -> None:
        if seal is not _SEAL:
            raise ForgedReceipt("a receipt comes from the log and nowhere else")


class Intent(NamedTuple):
    """A call that is on its way into the log.  `seq`: the number of its record."""

    seq: int
    decision: str
    wait: Wait


class AuditLog:
    """One gate's log.  All but the metrics' attributes belong to trio's thread.

    `records` counts what was put in by kind, `summarised` the refusals without a record of their own.
    """

    def __init__(
        self,
        folder: Path,
        key: CheckpointKey,
        now_ns: Callable[[], int],
        *,
        limits: LogLimits | None = None,
        telling: Telling | None = None,
        mono_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        """Opens nothing yet.  `now_ns`: Unix nanoseconds; `mono_ns`: nanoseconds of a clock that nobody sets."""
        self.commits = Commits()
        self.records: Counter[str] = Counter()
        self.summarised = 0
        self.checkpoint_size = 0
        self._folder = folder
        self._places = Places(folder)
        self._key = key
        self._now_ns = now_ns
        self._mono_ns = mono_ns
        self._limits = limits or LogLimits()
        self._telling = telling or Telling()
        self._rates = RefusalRates(self._limits.refusals_per_second)
        self._tally = Tally()
        self._chain = Chain()
        self._open: dict[int, str] = {}
        self._segment = ""
        self._segments = 0
        self._segment_bytes = 0
        self._segment_since_ns = 0
        self._pending = Group()
        self._in_flight: Group | None = None
        self._urgent = trio.Event()
        self._news = trio.Event()
        self._problem = "not open"
        self._outage_since_ns = 0
        self._checkpoint_at_ns = 0
        self._summary_at_ns = 0
        self._drift_ns = 0

    @property
    def origin(self) -> str:
        """What the log is called."""
        return self._key.origin

    @property
    def problem(self) -> str:
        """Why no call can be recorded just now; "" while all is well."""
        return self._problem

    @property
    def available(self) -> bool:
        """Whether a call can be recorded just now."""
        return not self._problem

    def checkpoint_ages(self, now_ns: int) -> Mapping[str, float]:
        """By place outside: seconds since it had the newest checkpoint."""
        return self._telling.checkpoint_ages(now_ns)

    # What the path of a call asks for.

    def intent(self, fields: Mapping[str, object], decision: str) -> Intent | Refusal:
        """Put a call's intent into the log; `receipt` waits until it is durable.  AUDIT_UNAVAILABLE."""
        if self._problem:
            return self._refusal(self._problem)
        seq = self._append(Kind.INTENT, fields)
        self._open[seq] = decision
        wait = self._pending.wait
        wait.join()
        self._hurry()
        return Intent(seq, decision, wait)

    async def receipt(self, intent: Intent) -> Receipt | Refusal:
        """Wait until an intent is durable, for no longer than `patience_s`.  AUDIT_UNAVAILABLE.

        Whoever gives up waiting, or is refused, closes the intent with an outcome as well.
        """
        await intent.wait.event.wait()
        if intent.wait.refused:
            return self._refusal(intent.wait.refused)
        return Receipt(_SEAL, intent.seq, intent.decision)

    def outcome(self, seq: int, fields: Mapping[str, object]) -> None:
        """Close an intent.  Never waits."""
        # In this order: where a new segment begins with it, the head of that says that the call is still open.
        self._append(Kind.OUTCOME, {"intent": seq, **fields})
        self._open.pop(seq, None)

    def has_room(self, kind: RefusalKind) -> bool:
        """Whether a refusal gets a record of its own; one that does not is counted."""
        if not self._problem and self._rates.take(kind.caller, self._mono_ns() / _NS_PER_S):
            return True
        self.count(kind)
        return False

    def count(self, kind: RefusalKind) -> None:
        """One request without a record of its own: a summary tells how many there were."""
        self.summarised += 1
        self._tally.count(kind, self._now_ns())

    def room_for(self, caller: str) -> Refusal | None:
        """Whether there is room for one more record that nobody waits for.  AUDIT_UNAVAILABLE, RATE_LIMITED."""
        if self._problem:
            return self._refusal(self._problem)
        if self._rates.take(caller, self._mono_ns() / _NS_PER_S):
            return None
        return Refusal(Reason.RATE_LIMITED, "more messages than get a record")

    def refusal(self, fields: Mapping[str, object]) -> Intent:
        """Put a refusal into the log, for which there is room; `settled` waits until it is durable."""
        seq = self._append(Kind.REFUSAL, fields)
        wait = self._pending.wait
        wait.join()
        self._hurry()
        return Intent(seq, "", wait)

    async def settled(self, refusal: Intent) -> None:
        """Wait until a refusal is durable, or cannot be for now."""
        if self._problem:
            # It was put in after everybody was told.
            return
        await refusal.wait.event.wait()

    def note(self, kind: Kind, fields: Mapping[str, object]) -> None:
        """Put any other record into the log.  Never waits."""
        self._append(kind, fields)

    async def noted(self, kind: Kind, fields: Mapping[str, object]) -> bool:
        """The same, and wait until it is durable; False where that takes too long."""
        self._append(kind, fields)
        wait = self._pending.wait
        self._hurry()
        await wait.event.wait()
        return not wait.refused

    # The log's own life.

    async def run(
        self,
        start: Callable[[], Mapping[str, object]],
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Open the log, and keep it until cancelled; it is closed whole.  Raises CannotOpenLog.

        `start`: what the record of the gate's start says.
        """
        opened = await trio.to_thread.run_sync(open_log, self._folder, self._key)
        thread = WritingThread(
            self._places, SegmentWriter(Path(self._places.log), opened.end.segment, opened.end.segment_bytes), self._key
        )
        self._thread = thread
        self._trio = trio.lowlevel.current_trio_token()
        try:
            self._begin(opened, start())
            thread.start()
            # Signed before anything is let through: what stands after a signed end and is not signed is nobody's then.
            with trio.move_on_after(self._limits.patience_s) as waiting:
                await self._commit()
            if waiting.cancelled_caught:
                self._close_gate("slow")
            task_status.started()
            while True:
                await self._turn()
        finally:
            with trio.CancelScope(shield=True):
                ended = await self._end(thread)
            # A thread that still writes keeps the lock: nobody else may write meanwhile.
            if ended:
                opened.close()

    def _begin(self, opened: Opened, start: Mapping[str, object]) -> None:
        end = opened.end
        self._chain, self._open = end.chain, dict(end.open_intents)
        self._segment, self._segments, self._segment_bytes = end.segment, end.segments, end.segment_bytes
        self._problem = ""
        now = self._moment()
        self._segment_since_ns = self._summary_at_ns = self._mono_ns()
        self._sign_soon()
        self._drift_ns = self._drift()
        self._telling.event(LogEvent.OPENED, f"{self.origin} at record {self._chain.size}")
        if end.last_time_ns > now.wall_ns:
            self._append(Kind.CLOCK, {"step_us": (now.wall_ns - end.last_time_ns) // 1000})
        self._recover(opened)
        self._append(Kind.START, start)
        # A gate that does not live for long leaves a checkpoint, too.
        self._hurry()

    def _recover(self, opened: Opened) -> None:
        """Close what the process before left open, and say so."""
        orphans = dict(self._open)
        if opened.cut is None and not orphans:
            return
        said: dict[str, object] = {"orphans": len(orphans)}
        if opened.cut is not None:
            said |= {"cut_bytes": opened.cut.size, "cut_sha256": opened.cut.sha256}
        self._append(Kind.RECOVERY, said)
        for seq, decision in orphans.items():
            self.outcome(seq, {"decision": decision, "status": Status.UNKNOWN, "closed_by": "recovery"})
        cut = f", {opened.cut.size} bytes of a record that was not whole" if opened.cut else ""
        self._telling.event(LogEvent.RECOVERED, f"{len(orphans)} calls whose outcome is not known{cut}")

    async def _turn(self) -> None:
        """Write what has come together, as soon as somebody waits for it, or after a while."""
        if not self._has_something():
            self._news = trio.Event()
            with trio.move_on_after(self._limits.quiet_s):
                await self._news.wait()
        with trio.move_on_after(self._limits.idle_s if self._has_something() else 0):
            await self._urgent.wait()
        self._look_around()
        if not self._pending.records and not self._is_checkpoint_due():
            return
        if self._urgent.is_set():
            await self._linger()
            self._urgent = trio.Event()
        await self._commit()

    def _has_something(self) -> bool:
        return bool(self._pending.records or self._tally or self._chain.size > self.checkpoint_size)

    async def _linger(self) -> None:
        """Where many calls are under way, wait for some more of them: each wait for the disk costs as much as they do."""
        if len(self._open) >= self._limits.busy_calls:
            await trio.sleep(self._limits.linger_s)

    async def _commit(self) -> None:
        """Write one group, however long it takes.  Cancelled, it leaves the group to the next call."""
        group = self._in_flight or self._next_group()
        # Whoever is in it may have waited for the group before already.
        began = min(group.wait.since, trio.current_time())
        with trio.move_on_at(began + self._limits.patience_s):
            await group.returned.wait()
        if not group.returned.is_set():
            self._close_gate("slow")
            await group.returned.wait()
        while group.written.error:
            self._close_gate(group.written.error)
            await trio.sleep(self._limits.retry_s)
            self._order(group)
            await group.returned.wait()
        self._in_flight = None
        group.wait.event.set()
        self._open_gate()
        if group.written.note and group.due:
            self.checkpoint_size = group.due.size
            self._telling.checkpoint(group.written.note, group.due.size, self._now_ns())

    def _next_group(self) -> Group:
        group, self._pending = self._pending, Group()
        group.due = self._due()
        self._in_flight = group
        self._order(group)
        return group

    def _order(self, group: Group) -> None:
        group.returned = trio.Event()
        began = time.perf_counter()
        self._thread.order(Order(group.pieces(), group.due, partial(self._tell, group, began)))

    def _tell(self, group: Group, began: float, written: Written) -> None:
        """In the writing thread."""
        if not written.error:
            self.commits.add(time.perf_counter() - began, group.records)
        try:
            self._trio.run_sync_soon(self._returned, group, written)
        except trio.RunFinishedError:
            return

    @staticmethod
    def _returned(group: Group, written: Written) -> None:
        group.written = written
        group.returned.set()

    def _due(self) -> Due | None:
        if not self._is_checkpoint_due():
            return None
        self._checkpoint_at_ns = self._mono_ns()
        return Due(self._segment, self._chain.size, self._chain.tree.root(), time_text(self._now_ns()))

    def _is_checkpoint_due(self) -> bool:
        new = self._chain.size - self.checkpoint_size
        age_ns = self._mono_ns() - self._checkpoint_at_ns
        return new >= self._limits.checkpoint_records or (
            new > 0 and age_ns >= self._limits.checkpoint_every_s * _NS_PER_S
        )

    def _close_gate(self, problem: str) -> None:
        """Nobody gets a receipt from now on; who waits is told."""
        if not self._problem:
            # What was counted before has nothing to do with it.
            self._summarise()
            self._outage_since_ns = self._now_ns()
            self._telling.event(LogEvent.UNAVAILABLE, problem)
        self._problem = problem
        if self._in_flight is not None:
            self._in_flight.wait.refuse(problem)
        self._pending.wait.refuse(problem)
        self._pending.wait = Wait()

    def _open_gate(self) -> None:
        if not self._problem:
            return
        since, until = time_text(self._outage_since_ns), time_text(self._now_ns())
        problem, self._problem = self._problem, ""
        self._append(Kind.OUTAGE, {"since": since, "until": until, "error": problem, "counts": self._tally.taken()})
        self._telling.event(LogEvent.AVAILABLE, f"after {(self._now_ns() - self._outage_since_ns) / _NS_PER_S:.1f} s")

    def _look_around(self) -> None:
        """What is told at intervals: refusals that were only counted, a checkpoint, a clock that was set."""
        now_ns = self._mono_ns()
        if self._tally and now_ns - self._summary_at_ns >= self._limits.summary_every_s * _NS_PER_S:
            self._summary_at_ns = now_ns
            self._summarise()
        step_ns = self._drift() - self._drift_ns
        if abs(step_ns) > self._limits.clock_step_s * _NS_PER_S:
            self._drift_ns += step_ns
            self._append(Kind.CLOCK, {"step_us": step_ns // 1000})
            self._telling.event(LogEvent.CLOCK_STEP, f"{step_ns / _NS_PER_S:+.3f} s")

    def _summarise(self) -> None:
        if self._tally:
            since, until = time_text(self._tally.since_ns), time_text(self._now_ns())
            self._append(Kind.SUMMARY, {"since": since, "until": until, "counts": self._tally.taken()})

    async def _end(self, thread: WritingThread) -> bool:
        """Write the last records and the checkpoint over them; whether that was possible in time."""
        with trio.move_on_after(self._limits.end_s):
            if thread.is_running:
                await self._write_all()
                self._summarise()
                self._append(Kind.STOP, {})
                await self._write_all()
        if unwritten := self._unwritten:
            self._telling.event(LogEvent.LOST, f"{unwritten} records, which the disk did not take before the end")
        self._problem = "closed"
        return await trio.to_thread.run_sync(thread.end, self._limits.end_s, limiter=trio.CapacityLimiter(1))

    async def _write_all(self) -> None:
        """Until everything is durable and under a checkpoint."""
        while self._unwritten:
            self._sign_soon()
            await self._commit()

    def _sign_soon(self) -> None:
        """The next group gets a checkpoint."""
        self._checkpoint_at_ns = self._mono_ns() - int(self._limits.checkpoint_every_s * _NS_PER_S)

    @property
    def _unwritten(self) -> int:
        return self._pending.records + (self._in_flight.records if self._in_flight else 0)

    # One record.

    def _append(self, kind: Kind, fields: Mapping[str, object]) -> int:
        at = self._moment()
        if not self._segment or self._segment_is_full(at):
            self._begin_segment(at)
        seq = self._chain.size
        self._add(self._chain.extend(kind, fields, at))
        self.records[kind] += 1
        return seq

    def _add(self, line: bytes) -> None:
        group = self._pending
        if not group.parts or group.parts[-1][0] != self._segment:
            group.parts.append((self._segment, self._segment_bytes, []))
        group.parts[-1][2].append(line)
        group.records += 1
        self._segment_bytes += len(line)
        if group.records == 1:
            self._news.set()

    def _segment_is_full(self, at: Moment) -> bool:
        age_ns = at.mono_us * 1000 - self._segment_since_ns
        return self._segment_bytes >= self._limits.segment_bytes or age_ns >= self._limits.segment_age_s * _NS_PER_S

    def _begin_segment(self, at: Moment) -> None:
        """The first record of a segment says all that it takes to go on from here without those before it."""
        chain = self._chain
        head = {
            "origin": self.origin,
            "segment": self._segments,
            "peaks": [peak.hex() for peak in chain.tree.peaks],
            "open": list(self._open.items()),
        }
        self._segment, self._segment_bytes = segment_name(chain.size), 0
        self._segments += 1
        self._segment_since_ns = at.mono_us * 1000
        self._add(chain.extend(Kind.SEGMENT, head, at))

    def _moment(self) -> Moment:
        return Moment(self._now_ns(), self._mono_ns() // 1000)

    def _drift(self) -> int:
        return self._now_ns() - self._mono_ns()

    def _hurry(self) -> None:
        if not self._urgent.is_set():
            self._urgent.set()

    def _refusal(self, problem: str) -> Refusal:
        return Refusal(Reason.AUDIT_UNAVAILABLE, problem)
