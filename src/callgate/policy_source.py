"""The policy in force, kept current from the files that it is written in.

One task looks at the files ten times a second, on a thread of its own, and compiles what has changed there, too; the
policy in force is swapped whole, in trio's thread.  Nothing here gives up: whatever happens to the files, the last good
policy goes on deciding, and that it is no longer what the files say is told loudly (`problem`, the log, metrics,
readiness).  docs/adr/0013 says why it looks instead of being told.
"""

import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final, TypeVar

import trio

from callgate.errors import place_of
from callgate.policy.compile import Policy
from callgate.policy_files import Look, PolicyFiles, Reading, Shortage, in_one_line
from callgate.telemetry import names
from callgate.telemetry.metrics import Reloads
from callgate.yaml_strict import Problem

T = TypeVar("T")
_LOG: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class WatchLimits:
    """When to look, and how long to wait for rest, in seconds.

    `every_s`: a look takes some 0.2 ms of a thread.  `settle_s`: a file that is being written looks different after
    so long.  `unrest_s`: then files that are only replaced are read between two changes, so that who replaces them
    all the time cannot keep an old policy in force; and what cannot be read by then is told of.  `again_s`: for so long
    after a change the contents are compared, too, because file systems keep time in steps (FAT: 2 s), and a second
    change within one step shows in nothing else.  `patience_s`: for a file system that does not answer.
    `complain_every_s`: between two lines of the log about what is wrong.
    """

    every_s: float = 0.1
    settle_s: float = 0.05
    unrest_s: float = 0.5
    again_s: float = 3.0
    patience_s: float = 30.0
    complain_every_s: float = 5.0


@dataclass(slots=True)
class Stillness:
    """Whether files have come to rest, by looks at them.  Pure: `now` is any clock that does not jump, in seconds."""

    limits: WatchLimits
    last: Look | None = None
    unrest_since: float | None = None

    def take(self, look: Look, now: float) -> bool:
        """Whether they can be read, now that they look like that."""
        before, self.last = self.last, look
        if look == before:
            return True
        if self.unrest_since is None:
            self.unrest_since = now
        # A file that is written in its place is left alone for as long as that goes on: it may be half of itself.
        return self.lasts_too_long(now) and before is not None and not look.was_written_since(before)

    def lasts_too_long(self, now: float) -> bool:
        """Whether they have been changing for so long that people should know."""
        return self.unrest_since is not None and now - self.unrest_since >= self.limits.unrest_s

    def was_read(self) -> None:
        """The contents of the last look are known."""
        self.unrest_since = None


class PolicySource:
    """A policy that follows its files.  `current` is always a good one.

    All attributes and methods belong to trio's thread; `reloads` and `stale_since` may be read from any.
    """

    def __init__(
        self,
        files: PolicyFiles,
        policy: Policy,
        *,
        what: str = "policy",
        limits: WatchLimits | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        """`policy`: what the files said when it was read.  `what`: it, in messages.  `now`: Unix seconds."""
        self.reloads = Reloads()
        self._files = files
        self._what = what
        self._limits = limits or WatchLimits()
        self._now = now
        self._current = policy
        self._in_force_since = now()
        self._problem = ""
        self._stale_since: float | None = None
        self._stillness = Stillness(self._limits)
        self._reading: Reading | None = None
        self._compare_until = -math.inf
        self._asked = trio.Event()
        self._has_to_answer = False
        self._complaints = _Complaints(self._limits.complain_every_s)
        # A thread of its own: one that hangs is the only one that does, and holds up nothing else.
        self._thread = trio.CapacityLimiter(1)

    @classmethod
    def open(cls, files: PolicyFiles, *, what: str = "policy") -> "PolicySource | tuple[Problem, ...]":
        """Read the files now, or say all that is wrong with them.  Blocks; nothing is watched before `run`."""
        reading = files.read_now()
        policy = files.compiled(reading)
        if isinstance(policy, tuple):
            return policy
        source = cls(files, policy, what=what)
        source._reading = reading
        return source

    @property
    def current(self) -> Policy:
        """The policy in force.  Ask anew for each decision, and once for each."""
        return self._current

    @property
    def problem(self) -> str:
        """Why what the files say is not in force, in one line with file, line and column; "" when it is."""
        return self._problem

    @property
    def note(self) -> str:
        """The problem, and what decides instead, for operators; "" when all is well."""
        if not self._problem:
            return ""
        since = datetime.fromtimestamp(self._in_force_since, UTC).isoformat(timespec="seconds")
        return f"{self._what}: {self._problem}; {self._current.digest}, in force since {since}, goes on deciding"

    @property
    def stale_since(self) -> float | None:
        """Since when the files say what is not in force, in Unix seconds; None while all is well."""
        return self._stale_since

    def reload_now(self) -> None:
        """Read the files at once, whether or not they seem to have changed, and log what came of it."""
        self._asked.set()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Follow the files until cancelled; `current` stays what it was then."""
        task_status.started()
        while True:
            pause_s = await self._guarded_turn()
            self._say_what_is_wrong()
            with trio.move_on_after(pause_s):
                await self._asked.wait()
                self._asked = trio.Event()
                self._has_to_answer = True

    async def _guarded_turn(self) -> float:
        """The border of the task: whatever goes wrong with the files must not end the gate.  Seconds to the next."""
        try:
            return await self._turn()
        except Shortage as shortage:
            return self._wait_for_rest(trio.current_time(), str(shortage))
        except trio.TooSlowError:
            self._lose_sight(f"{self._files}: cannot be read within {self._limits.patience_s:g} s")
        except Exception as fault:  # noqa: BLE001  # the border of a task
            self.reloads.refused += 1
            self._refuse(f"{self._files}: cannot be made into a policy: {place_of(fault)}")
        return self._limits.every_s

    async def _turn(self) -> float:
        look = await self._in_thread(self._files.look)
        now = trio.current_time()
        if not self._stillness.take(look, now):
            return self._wait_for_rest(now)
        if self._stillness.unrest_since is not None:
            self._compare_until = now + self._limits.again_s
        elif now >= self._compare_until and not self._has_to_answer:
            return self._limits.every_s
        reading = await self._in_thread(lambda: self._files.read_unchanged(look))
        if reading is None:
            return self._wait_for_rest(now)
        self._stillness.was_read()
        await self._take(reading)
        return self._limits.every_s

    def _wait_for_rest(self, now: float, why: str = "changes all the time and cannot be read") -> float:
        if self._stillness.lasts_too_long(now):
            self._refuse(f"{self._files}: {why}")
            self._reading = None
        return self._limits.settle_s

    async def _take(self, reading: Reading) -> None:
        """Make what was read the policy in force, if it is news or somebody asked."""
        asked, self._has_to_answer = self._has_to_answer, False
        if reading == self._reading and not asked:
            return
        self._reading = reading
        if asked:
            self._complaints = _Complaints(self._limits.complain_every_s)
        found = await self._in_thread(lambda: self._files.compiled(reading))
        if isinstance(found, Policy):
            self._put_in_force(found, asked=asked)
        else:
            self.reloads.refused += 1
            self._refuse(in_one_line(found))

    def _put_in_force(self, policy: Policy, *, asked: bool) -> None:
        """Swap it whole; the same one as before stays itself, with what it has worked out for its callers."""
        is_new = policy.digest != self._current.digest
        if is_new:
            self._current = policy
            self._in_force_since = self._now()
        if is_new or self._problem:
            self.reloads.ok += 1
        if is_new or self._problem or asked:
            self._complaints.forget()
            state = "in force" if is_new else "still in force"
            counts = f"grants: {policy.count('grant')}, denials: {policy.count('denial')}"
            _LOG.info("%s %s: %s; %s", self._what, state, self._current.digest, counts, extra=_digest(policy))
        self._problem, self._stale_since = "", None

    def _refuse(self, problem: str) -> None:
        self._problem = problem
        if self._stale_since is None:
            self._stale_since = self._now()

    def _lose_sight(self, problem: str) -> None:
        """The next look and the next reading are news, even where they are what came last."""
        self._refuse(problem)
        self._reading, self._stillness.last = None, None

    def _say_what_is_wrong(self) -> None:
        if self._complaints.is_due(self._problem, trio.current_time()):
            _LOG.error("%s", self.note, extra=_digest(self._current))

    async def _in_thread(self, work: Callable[[], T]) -> T:
        """On our own thread; it is left to itself where it takes too long or the gate ends, as it only reads."""
        with trio.fail_after(self._limits.patience_s):
            return await trio.to_thread.run_sync(work, limiter=self._thread, abandon_on_cancel=True)


@dataclass(slots=True)
class _Complaints:
    """What is said once for each problem, no more often than `every_s`; what stands is said in the end."""

    every_s: float
    _said: str = field(default="")
    _said_at: float = field(default=-math.inf)

    def is_due(self, problem: str, now: float) -> bool:
        """Whether to say it now, and then it counts as said."""
        if problem in ("", self._said) or now - self._said_at < self.every_s:
            return False
        self._said, self._said_at = problem, now
        return True

    def forget(self) -> None:
        """The next problem is news, even if it is the same again."""
        self._said = ""


def _digest(policy: Policy) -> dict[str, str]:
    return {names.POLICY_DIGEST: policy.digest}


def in_force(given: Policy | PolicySource) -> Callable[[], Policy]:
    """What to ask for the policy, before each decision: of a source as of then, or always the same."""
    return (lambda: given.current) if isinstance(given, PolicySource) else (lambda: given)
