"""The log of one gate with all that stands beside it: its key, what is recorded in full, and where checkpoints go."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import trio

from callgate.audit.anchors import Anchors
from callgate.audit.chain import Kind
from callgate.audit.content import ContentStore
from callgate.audit.keys import load_key
from callgate.audit.log import AuditLog
from callgate.audit.log_terms import LogEvent, LogLimits, Telling
from callgate.audit.opening import CannotOpenLog
from callgate.audit.places import Places
from callgate.audit.policies import keep
from callgate.audit.retention import Keep
from callgate.audit.sweep import Doomed, sweep
from callgate.config import Config
from callgate.errors import place_of
from callgate.parts import Clock
from callgate.policy.compile import Policy
from callgate.telemetry.log_events import CheckpointEvents

_LOG: Final = logging.getLogger(__name__)
# Content is kept for days: an hour more or less of it is no matter, but for what was written meanwhile, a share of
# `keep_content_bytes`.
_SWEEP_SHARE: Final = 16
_SWEEP_LOOK_S: Final = 10.0
_SWEEP_LOOKS: Final = 360
# Between two steps of a few milliseconds: calls come first.
_SWEEP_PAUSE_S: Final = 0.01
# A folder that cannot be written to now can be soon.
_AGAIN_S: Final = 5.0
# Each has up to 4 MiB; a folder that takes none of them is told of.
_MAX_UNKEPT: Final = 16
# For what could not be kept before, at the end; as long as the log itself takes at most.
_END_S: Final = 3.0
_PSEUDONYMS: Final = b"callgate/pseudonyms/v1"
_APPROVALS: Final = b"callgate/approvals/v1"
_SILENT: Final = frozenset({LogEvent.OPENED, LogEvent.AVAILABLE})


@dataclass(frozen=True, slots=True)
class Notes:
    """What readiness tells: what keeps calls from being served, and what people should know."""

    missing: tuple[str, ...]
    notes: tuple[str, ...]


class RecordKeeping:
    """Keeps the records of one gate.  `log` and `content` are what the path of a call asks for."""

    def __init__(self, config: Config, folder: Path, clock: Clock, events: CheckpointEvents | None) -> None:
        """Relative paths begin in `folder`.  Raises CannotOpenLog where there is no key."""
        audit = config.audit
        self._beside = folder
        self._folder = folder / audit.folder
        self._recipients = audit.recipients
        self._keep = Keep(audit.keep_content_s, audit.keep_content_bytes)
        self._clock = clock
        key = load_key(folder / audit.key if audit.key else Path(Places(self._folder).key), audit.origin)
        self.vkey = key.vkey
        # What masks tell values apart by: as stable as the log's own key, so that a restart changes no name.
        self.pseudonym_key = key.derived(_PSEUDONYMS)
        # What seals what people are asked: who reads the store's file alone reads no arguments.
        self.approvals_key = key.derived(_APPROVALS)
        self._anchors = Anchors([_place(folder, target) for target in audit.checkpoint_to], events)
        self._outage_since_ns = 0
        self.log = AuditLog(
            self._folder,
            key,
            clock.now_ns,
            limits=LogLimits(
                segment_bytes=audit.segment_bytes,
                segment_age_s=audit.segment_age_s,
                refusals_per_second=audit.refusals_per_second,
            ),
            telling=Telling(self._anchors.offer, self._told, self._anchors.ages),
        )
        self._store: ContentStore | None = None
        self._known: str = ""
        self._unkept: dict[str, Policy] = {}
        self._to_keep = trio.Event()

    def content(self) -> ContentStore | None:
        """Where content goes; None where nobody could read it."""
        return self._store

    @property
    def state(self) -> Notes:
        """For readiness."""
        problem = self.log.problem
        missing = (f"the log takes no records ({problem}), and no call goes out without one",) if problem else ()
        return Notes(missing, self._anchors.notes)

    def under(self, policy: Policy) -> None:
        """Decisions are made under that policy from now on; a record says so before any of them does."""
        if policy.digest == self._known:
            return
        self._known = policy.digest
        self.log.note(Kind.POLICY, {"digest": policy.digest, "files": policy.sources_told})
        self._unkept[policy.digest] = policy
        if len(self._unkept) > _MAX_UNKEPT:
            del self._unkept[next(iter(self._unkept))]
        self._to_keep.set()

    async def run(
        self,
        start: Callable[[], Mapping[str, object]],
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Keep records until cancelled, and end whole.  Raises CannotOpenLog and UnusableRecipient."""
        try:
            async with trio.open_nursery() as nursery:
                await nursery.start(self.log.run, start)
                await self._open_content()
                nursery.start_soon(self._anchors.run)
                nursery.start_soon(self._sweep_forever)
                nursery.start_soon(self._keep_policies)
                task_status.started()
        finally:
            with trio.move_on_after(_END_S, shield=True):
                await self._keep_the_rest()
            await self._anchors.close()

    async def _keep_the_rest(self) -> None:
        """The texts that nobody would have any more: the next gate may begin with another policy."""
        for policy in self._unkept.values():
            try:
                await trio.to_thread.run_sync(
                    keep, self._folder, policy.sources, abandon_on_cancel=True, limiter=trio.CapacityLimiter(1)
                )
            except OSError as error:
                _LOG.warning("log of calls: the policy's text is lost: %s", error.strerror or error)

    async def _open_content(self) -> None:
        if not self._recipients:
            return
        try:
            self._store = await trio.to_thread.run_sync(ContentStore, self._folder, self._recipients, self._beside)
        except OSError as error:
            raise CannotOpenLog(f"cannot open {Places(self._folder).content}: {error.strerror or error}") from error

    def _told(self, event: LogEvent, detail: str) -> None:
        level = logging.INFO if event in _SILENT else logging.WARNING
        _LOG.log(level, "log of calls: %s: %s", event, detail)
        if event is LogEvent.UNAVAILABLE:
            self._outage_since_ns = self._clock.now_ns()
            self._anchors.outage(detail, self._outage_since_ns)
        elif event is LogEvent.AVAILABLE:
            self._anchors.recovered(self._outage_since_ns, self._clock.now_ns())

    async def _keep_policies(self) -> None:
        while True:
            await self._to_keep.wait()
            policy = next(iter(self._unkept.values()))
            try:
                await trio.to_thread.run_sync(keep, self._folder, policy.sources, abandon_on_cancel=True)
            except OSError as error:
                _LOG.warning("log of calls: the policy's text cannot be kept: %s", error.strerror or error)
                await trio.sleep(_AGAIN_S)
                continue
            self._unkept.pop(policy.digest, None)
            if not self._unkept:
                self._to_keep = trio.Event()

    async def _sweep_forever(self) -> None:
        while True:
            try:
                await self._sweep()
            except OSError as error:
                _LOG.warning("log of calls: old content cannot be deleted: %s", place_of(error))
            await self._until_sweep_is_due()

    async def _until_sweep_is_due(self) -> None:
        """An hour, or until so much was written that the bound could be left far behind by then."""
        written = self._written
        for _ in range(_SWEEP_LOOKS):
            await trio.sleep(_SWEEP_LOOK_S)
            if self._written - written >= self._keep.size // _SWEEP_SHARE:
                return

    @property
    def _written(self) -> int:
        return self._store.written if self._store else 0

    async def _sweep(self) -> None:
        steps = sweep(self._folder, self._keep, self._clock.now())
        limiter = trio.CapacityLimiter(1)
        take = partial(trio.to_thread.run_sync, next, steps, _NO_MORE, limiter=limiter, abandon_on_cancel=True)
        while (step := await take()) is not _NO_MORE:
            # Deleted is what the next step is asked for.
            if isinstance(step, Doomed) and not await self.log.noted(
                Kind.RETENTION, {"deleted": step.digests, "why": step.why}
            ):
                return
            await trio.sleep(_SWEEP_PAUSE_S)


_NO_MORE: Final = object()


def _place(folder: Path, target: str) -> str:
    return target if "://" in target else str(folder / target)
