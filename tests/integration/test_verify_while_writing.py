"""An auditor need not stop the gate: what it writes meanwhile is left out, and is no finding."""

import time
from pathlib import Path

import trio

from callgate.audit.findings import REMARKS
from callgate.audit.log import AuditLog, Intent
from callgate.audit.log_terms import LogLimits
from callgate.audit.verify import Verdict, verify
from support.tampering import KEY

# A new file each few hundred records, and a checkpoint each few dozen.
LIMITS = LogLimits(segment_bytes=100_000, checkpoint_records=32)


async def keep_calling(log: AuditLog, number: int) -> None:
    while True:
        decision = f"{number:032x}"
        intent = log.intent({"decision": decision}, decision)
        assert isinstance(intent, Intent)
        await log.receipt(intent)
        log.outcome(intent.seq, {"decision": decision, "status": "answered"})


async def test_a_log_is_whole_at_any_moment_while_a_gate_writes_it(tmp_path: Path) -> None:
    folder = tmp_path / "audit"
    log = AuditLog(folder, KEY, time.time_ns, limits=LIMITS)
    verdicts: list[Verdict] = []
    async with trio.open_nursery() as nursery:
        await nursery.start(log.run, dict)
        for number in range(8):
            nursery.start_soon(keep_calling, log, number)
        while len(verdicts) < 15 or verdicts[-1].segments < 4:
            # Until there is a first checkpoint, nothing is proved.
            await trio.sleep(0.02)
            if log.checkpoint_size:
                verdicts.append(await trio.to_thread.run_sync(verify, folder, KEY.verifier))
        nursery.cancel_scope.cancel()

    assert [verdict.findings for verdict in verdicts] == [()] * len(verdicts)
    assert {remark.code for verdict in verdicts for remark in verdict.remarks} <= REMARKS
    assert [verdict.covered.size for verdict in verdicts] == sorted(verdict.covered.size for verdict in verdicts)
    # Closed whole: under a checkpoint to the last record.
    assert verify(folder, KEY.verifier).remarks == ()
