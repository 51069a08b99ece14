"""A long log of a busy gate, written segment by segment, so that it takes no memory to make."""

from pathlib import Path
from typing import Any

from callgate.audit.chain import Chain, Kind
from callgate.audit.places import Places, segment_name
from callgate.audit.policies import keep
from support.audit_logs import BEGAN_NS, MadeLog
from support.recorded_calls import policy

SEGMENT_CALLS = 25_000
WORKLOADS = [f"spiffe://acme.test/ns/{team}/sa/agent-{n}" for team in ("billing", "support", "ops") for n in range(20)]
READS = [f"get_{what}" for what in ("invoice", "customer", "order", "ticket", "report", "contract")]
POLICY = """\
version: 1
trust_domains: [acme.test]
grants:
  - id: reads
    workloads: [spiffe://acme.test/ns/*/sa/*]
    server: ledger
    tools: [get_*]
    scopes: [ledger.read]
  - id: refunds
    workloads: [spiffe://acme.test/ns/billing/sa/*]
    server: ledger
    tools: [refund]
    ttl: 10s
    when: args.amount < 500
  - id: notes-in-office-hours
    workloads: [spiffe://acme.test/ns/support/sa/*]
    server: ledger
    tools: [add_note]
    when: request.hour >= 6 && request.hour < 20
denials:
  - id: no-wiping
    server: ledger
    tools: [wipe_ledger]
"""
# Against it: reads for two teams alone, refunds up to another sum, notes in other hours.
OTHER_POLICY = (
    POLICY.replace(
        "workloads: [spiffe://acme.test/ns/*/sa/*]",
        "workloads: [spiffe://acme.test/ns/billing/sa/*, spiffe://acme.test/ns/support/sa/*]",
    )
    .replace("args.amount < 500", "args.amount < 400")
    .replace("request.hour < 20", "request.hour < 13")
)


def write_long_log(folder: Path, calls: int, *, step_ns: int = 50_000_000) -> None:
    """A log of so many decisions under POLICY: nine of ten allowed, each with its outcome."""
    places, chain = Places(folder), Chain()
    Path(places.log).mkdir(parents=True)
    files = keep(folder, [("policy.yaml", POLICY)])
    digest = policy(POLICY).digest
    log = MadeLog(step_ns=step_ns)
    log.start()
    log.add(Kind.POLICY, digest=digest, files=files)
    for first in range(0, calls, SEGMENT_CALLS):
        for number in range(first, min(first + SEGMENT_CALLS, calls)):
            _add(log, number, digest)
        name = segment_name(chain.size)
        ((lines, _),) = log._segmented(chain, 10 * SEGMENT_CALLS)
        Path(places.log, name).write_bytes(b"".join(lines))
        log = MadeLog(step_ns=step_ns, now_ns=log.now_ns)


def _add(log: MadeLog, number: int, digest: str) -> None:
    caller = WORKLOADS[number * 7 % len(WORKLOADS)]
    said: dict[str, Any] = {"number": number, "caller": caller, "policy": digest}
    match number % 10:
        case 0:
            log.refusal(tool="wipe_ledger", rule="no-wiping", **said)
        case 1 | 2 if "/billing/" in caller:
            log.call(tool="refund", grant="refunds", **said)
        case 3 if "/support/" in caller and 6 <= (log.now_ns - BEGAN_NS) // 3_600_000_000_000 % 24 + 12 < 20:
            log.call(tool="add_note", grant="notes-in-office-hours", **said)
        case _:
            log.call(tool=READS[number % len(READS)], grant="reads", **said)
