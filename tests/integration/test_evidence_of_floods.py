"""Refusals past a rate are counted, not lost, and cannot fill the disk: every attempt is a record or in a summary."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import trio

from support.on_record import OnRecord, Record, assert_published_format, callgate, on_record, records_in
from support.pki import anonymous_client_context
from support.raw_agent import modern, modern_call
from support.tls_agent import refused_by

AGENT = "spiffe://acme.test/ns/billing/sa/refund-agent"
# The least that can be configured: a fifth of it for strangers, and half for one workload, come to one a second each,
# of which ten may come at once.
RATE = "folder: audit, refusals_per_second: 1"
BURST = 10
DENIALS, STRANGERS = 400, 80
DENIED = modern_call("wipe_ledger")
NO_END = "limits: {requests_per_connection: 100000}\n"


def counts_in(records: Sequence[Record]) -> Counter[tuple[str, str, str]]:
    """What the summaries say: stage, reason and caller of refusals without a record of their own."""
    said = [entry for record in records if record["kind"] == "summary" for entry in record["counts"]]
    found: Counter[tuple[str, str, str]] = Counter()
    for entry in said:
        found[entry["stage"], entry["reason"], entry.get("caller", "")] += entry["count"]
    return found


def refusals_in(records: Sequence[Record]) -> list[Record]:
    return [record for record in records if record["kind"] == "refusal"]


def bytes_of_log(folder: Path) -> int:
    return sum(path.stat().st_size for path in (folder / "log").iterdir())


async def denied(at: OnRecord, count: int, name: str = "billing") -> None:
    async with at.agent(name) as agent:
        for _ in range(count):
            assert (await agent.ask(DENIED)).reason in {"denied", "no_grant"}


async def test_of_a_flood_of_denials_each_is_a_record_or_counted_by_caller_and_reason(tmp_path: Path) -> None:
    async with on_record(tmp_path, audit=RATE, more=NO_END) as at:
        began = trio.current_time()
        await denied(at, DENIALS)
        took_s = trio.current_time() - began
    records = records_in(at.folder)
    refusals, counts = refusals_in(records), counts_in(records)
    assert set(counts) == {("decide", "denied", AGENT)}
    assert len(refusals) + counts.total() == DENIALS
    # The first ones tell all that there is to know of an agent that lost its way.
    assert BURST <= len(refusals) <= BURST + took_s + 1
    assert all(record["reason"] == "denied" for record in refusals)


async def test_a_flood_takes_no_more_of_the_disk_than_the_rate_allows(tmp_path: Path) -> None:
    async with on_record(tmp_path, audit=RATE, more=NO_END) as at:
        began = trio.current_time()
        await denied(at, DENIALS)
        took_s = trio.current_time() - began
    most = max(len(line) for line in (at.folder / "log" / f"{0:016d}.jsonl").read_bytes().splitlines())
    # Those of the gate itself, and a summary each ten seconds.
    others = 5 + took_s / 10
    assert bytes_of_log(at.folder) <= (BURST + took_s + 1 + others) * most < DENIALS * most / 4


async def test_of_a_flood_of_strangers_each_is_a_record_or_counted_and_workloads_keep_their_records(
    tmp_path: Path,
) -> None:
    async with on_record(tmp_path, audit=RATE) as at:
        for _ in range(STRANGERS):
            assert await refused_by(at.gate, anonymous_client_context()) == "certificate_required"
        await denied(at, 1)
        await at.gate.traces_when(STRANGERS + 1)
    records = records_in(at.folder)
    strangers = [record for record in refusals_in(records) if record["stage"] == "accept"]
    counts = counts_in(records)
    assert set(counts) == {("accept", "tls_no_certificate", "")}
    assert len(strangers) + counts.total() == STRANGERS
    assert counts.total() > STRANGERS // 2
    assert [record["caller"] for record in refusals_in(records) if "caller" in record] == [AGENT]


async def test_a_summary_says_when_it_began_and_is_written_while_the_gate_runs(tmp_path: Path) -> None:
    async with on_record(tmp_path, audit=RATE, more=NO_END) as at:
        await denied(at, 3 * BURST)
        (summary,) = await at.records("summary", count=1)
        told = await at.callgate("log")
    refusals = refusals_in(records_in(at.folder))
    assert refusals[0]["time"] <= summary["since"] <= summary["until"] <= summary["time"]
    assert len(refusals) + counts_in([summary]).total() == 3 * BURST
    assert f"and {counts_in([summary]).total()} " in told.stderr
    assert_published_format([summary])


async def test_the_calls_of_others_are_on_record_during_a_flood(tmp_path: Path) -> None:
    async with on_record(tmp_path, audit=RATE, more=NO_END) as at:
        async with trio.open_nursery() as nursery, at.agent("ops") as agent:
            nursery.start_soon(denied, at, DENIALS)
            for _ in range(20):
                assert (await agent.ask(modern_call("list_invoices"))).status == 200
        calls = await at.calls(20)
    assert [intent["tool"] for intent, _ in calls] == ["list_invoices"] * 20
    found = await callgate("log", "--log", str(at.folder), "--agent", "spiffe://acme.test/ns/ops/**", "--format", "csv")
    assert len(found.stdout.splitlines()) == 1 + 20


async def test_of_a_flood_of_messages_that_end_at_the_gate_those_beyond_the_rate_are_refused(tmp_path: Path) -> None:
    message = modern("notifications/cancelled", {"requestId": 1}, rpc_id=None)
    async with on_record(tmp_path, audit=RATE, more=NO_END) as at, at.agent("billing") as agent:
        began = trio.current_time()
        statuses = Counter([(await agent.ask(message)).status for _ in range(100)])
        took_s = trio.current_time() - began
    records = records_in(at.folder)
    kinds = Counter(record["kind"] for record in records)
    assert set(statuses) == {202, 403}
    assert statuses[202] == kinds["absorbed"] <= BURST + took_s + 1
    assert statuses[403] == kinds["refusal"] + counts_in(records)["decide", "rate_limited", AGENT]
