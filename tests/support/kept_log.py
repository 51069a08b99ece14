"""A log as a gate keeps it, without the gate: records are put in by the test.

async with kept_log(folder) as log:
    receipt = await log.receipt(put(log, 1))
    log.outcome(receipt.seq, outcome_of(receipt.decision))
"""

import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import trio

from callgate.audit.checkpoint import CheckpointKey
from callgate.audit.log import AuditLog, Intent
from callgate.audit.log_terms import LogEvent, LogLimits, Telling
from callgate.audit.verify import Verdict, verify
from callgate.errors import Refusal
from support.audit_logs import ORIGIN, POLICY_DIGEST, MadeLog
from support.crashes import records_in
from support.record_format import faults_of

KEY = CheckpointKey.generate(ORIGIN)
# Nothing is slow but what a test makes slow.
LIMITS = LogLimits(idle_s=0.01, retry_s=0.01, patience_s=0.2, end_s=1.0)
START: Mapping[str, object] = {
    "version": "0.1.0",
    "instance": "ab" * 8,
    "issuer": "https://gate.acme.test",
    "key": KEY.vkey,
    "policy": POLICY_DIGEST,
}
PATIENCE_S = 20.0


@dataclass
class Told:
    """What the log told of itself: checkpoints as (note, size), events as (which, detail)."""

    checkpoints: list[tuple[str, int]] = field(default_factory=list)
    events: list[tuple[LogEvent, str]] = field(default_factory=list)

    @property
    def telling(self) -> Telling:
        return Telling(
            lambda note, size, _now: self.checkpoints.append((note, size)),
            lambda event, detail: self.events.append((event, detail)),
        )

    @property
    def names(self) -> list[LogEvent]:
        return [event for event, _ in self.events]


@asynccontextmanager
async def kept_log(
    folder: Path,
    limits: LogLimits = LIMITS,
    *,
    key: CheckpointKey = KEY,
    now_ns: Callable[[], int] = time.time_ns,
    mono_ns: Callable[[], int] = time.monotonic_ns,
    told: Told | None = None,
) -> AsyncIterator[AuditLog]:
    """Open until the end of the block; its first records are durable."""
    log = AuditLog(folder, key, now_ns, limits=limits, telling=(told or Told()).telling, mono_ns=mono_ns)
    async with trio.open_nursery() as nursery:
        await nursery.start(log.run, lambda: START)
        yield log
        nursery.cancel_scope.cancel()


def intent_fields(number: int) -> Mapping[str, object]:
    """An intent, as the gate says one."""
    made = MadeLog()
    made.call(number=number, orphan=True)
    return made.records[-1][1]


def put(log: AuditLog, number: int) -> Intent:
    """Put an intent in."""
    fields = intent_fields(number)
    intent = log.intent(fields, str(fields["decision"]))
    assert not isinstance(intent, Refusal), intent
    return intent


def outcome_of(decision: str) -> Mapping[str, object]:
    """How its call ended."""
    return {
        "decision": decision,
        "trace": "ab" * 16,
        "status": "answered",
        "reason": "",
        "took_us": 1,
        "path": ["record=ok", "forward=ok", "screen=ok", "respond=ok"],
    }


async def call(log: AuditLog, number: int) -> int:
    """A whole call; the number of its intent."""
    receipt = await log.receipt(put(log, number))
    assert not isinstance(receipt, Refusal), receipt
    log.outcome(receipt.seq, outcome_of(receipt.decision))
    return receipt.seq


def refusal_fields(number: int) -> Mapping[str, object]:
    made = MadeLog()
    made.refusal(number=number)
    return made.records[-1][1]


async def until(true: Callable[[], bool]) -> None:
    """Wait for what a thread does."""
    with trio.fail_after(PATIENCE_S):
        while not true():  # noqa: ASYNC110  # there is no event for it
            await trio.sleep(0.002)


def verdict_on(folder: Path) -> Verdict:
    return verify(folder, KEY.verifier)


def whole(folder: Path) -> list[dict[str, Any]]:
    """All records, of a log that verifies and whose last checkpoint is over all of them."""
    verdict = verdict_on(folder)
    assert verdict.is_whole, verdict.findings
    assert not verdict.remarks, verdict.remarks
    records = records_in(folder)
    assert verdict.covered.size == len(records)
    assert faults_of(records) == []
    return records


def kinds(records: list[dict[str, Any]]) -> list[str]:
    return [record["kind"] for record in records]
