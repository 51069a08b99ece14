"""The log as a gate keeps it: on a real folder, with its thread; disks and clocks do as a test says."""

import errno
from dataclasses import replace
from pathlib import Path

import pytest
import trio
import trio.testing

from callgate.audit.checkpoint import Checkpoint, CheckpointKey
from callgate.audit.log import AuditLog, ForgedReceipt, Receipt, _Seal
from callgate.audit.log_terms import LogEvent, LogLimits
from callgate.audit.opening import CannotOpenLog
from callgate.audit.places import Places
from callgate.audit.refused import RefusalKind
from callgate.errors import Reason, Refusal
from support.audit_logs import ORIGIN
from support.crashes import records_in
from support.failing_disk import FailingDisk
from support.kept_log import (
    KEY,
    LIMITS,
    Told,
    call,
    intent_fields,
    kept_log,
    kinds,
    outcome_of,
    put,
    refusal_fields,
    until,
    whole,
)

SLOW = "slow"
DENIED = RefusalKind("decide", "denied", "spiffe://acme.test/a")
NS_PER_S = 1_000_000_000


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> FailingDisk:
    return FailingDisk(monkeypatch)


class Clock:
    """Nanoseconds, as a test sets them."""

    def __init__(self, ns: int = 1_767_787_200 * NS_PER_S) -> None:
        self.ns = ns

    def __call__(self) -> int:
        return self.ns


# Durable, and then told.


async def test_one_wait_for_the_disk_serves_all_calls_that_came_meanwhile(tmp_path: Path, disk: FailingDisk) -> None:
    async with kept_log(tmp_path, LogLimits()) as log:
        await call(log, 0)
        await until(lambda: log.checkpoint_size > 0)
        disk.hang()
        before = disk.syncs
        async with trio.open_nursery() as nursery:
            nursery.start_soon(call, log, 1)
            await until(disk.waiting.is_set)
            for number in range(2, 50):
                nursery.start_soon(call, log, number)
            await trio.testing.wait_all_tasks_blocked()
            disk.mend()
        # The outcome of call 0 may have gone alone.
        assert disk.syncs - before <= 3
    assert kinds(whole(tmp_path)).count("intent") == 50


async def test_a_receipt_comes_only_once_the_disk_has_the_intent(tmp_path: Path, disk: FailingDisk) -> None:
    async with kept_log(tmp_path, LogLimits()) as log:
        await call(log, 0)
        with disk.hanging():
            intent = put(log, 1)
            with trio.move_on_after(0.2):
                pytest.fail(f"{await log.receipt(intent)}")
            assert disk.waiting.is_set()
        receipt = await log.receipt(intent)
        assert isinstance(receipt, Receipt)
        assert records_in(tmp_path)[receipt.seq]["decision"] == receipt.decision
        log.outcome(receipt.seq, outcome_of(receipt.decision))
    whole(tmp_path)


def test_nobody_else_can_make_a_receipt() -> None:
    with pytest.raises(ForgedReceipt):
        Receipt(_Seal(), 7, "ab" * 16)
    with pytest.raises(ForgedReceipt):
        Receipt(None, 7, "ab" * 16)  # type: ignore[arg-type]


async def test_a_receipt_cannot_be_copied_into_another_call(tmp_path: Path) -> None:
    async with kept_log(tmp_path) as log:
        receipt = await log.receipt(put(log, 1))
        assert isinstance(receipt, Receipt)
        with pytest.raises((ForgedReceipt, TypeError, ValueError)):
            replace(receipt, seq=receipt.seq + 1)  # type: ignore[call-arg]  # nobody has the seal


async def test_a_refusal_is_settled_once_it_is_durable(tmp_path: Path, disk: FailingDisk) -> None:
    async with kept_log(tmp_path, LogLimits()) as log:
        await call(log, 0)
        with disk.hanging():
            assert log.has_room(DENIED)
            refusal = log.refusal(refusal_fields(1))
            with trio.move_on_after(0.1):
                await log.settled(refusal)
                pytest.fail("it is not durable")
        await log.settled(refusal)
        assert records_in(tmp_path)[refusal.seq]["kind"] == "refusal"


# Files.


async def test_a_segment_that_is_full_is_followed_by_one_that_says_all_it_takes_to_go_on(tmp_path: Path) -> None:
    async with kept_log(tmp_path, replace(LIMITS, segment_bytes=10_000)) as log:
        open_call = await log.receipt(put(log, 1000))
        assert isinstance(open_call, Receipt)
        for number in range(30):
            await call(log, number)
        log.outcome(open_call.seq, outcome_of(open_call.decision))
    records = whole(tmp_path)
    heads = [record for record in records if record["kind"] == "segment"]
    assert len(heads) > 3
    assert [head["segment"] for head in heads] == list(range(len(heads)))
    assert all([open_call.seq, open_call.decision] in head["open"] for head in heads[1:])
    sizes = [path.stat().st_size for path in sorted((tmp_path / "log").iterdir())]
    assert all(10_000 <= size < 13_000 for size in sizes[:-1])


async def test_a_segment_ends_when_it_is_old(tmp_path: Path) -> None:
    mono = Clock()
    async with kept_log(tmp_path, replace(LIMITS, segment_age_s=60), mono_ns=mono, now_ns=mono) as log:
        await call(log, 1)
        mono.ns += 59 * NS_PER_S
        await call(log, 2)
        mono.ns += 2 * NS_PER_S
        await call(log, 3)
    segments = sorted((tmp_path / "log").iterdir())
    assert len(segments) == 2
    first_numbers = [int(path.stem) for path in segments]
    records = whole(tmp_path)
    assert [records[number]["kind"] for number in first_numbers] == ["segment", "segment"]


async def test_a_log_goes_on_where_it_ended_and_in_the_same_file(tmp_path: Path) -> None:
    for life in range(3):
        async with kept_log(tmp_path) as log:
            await call(log, life)
    assert kinds(whole(tmp_path)) == ["segment", *["start", "intent", "outcome", "stop"] * 3]
    assert len(list((tmp_path / "log").iterdir())) == 1


async def test_files_are_for_the_gate_alone(tmp_path: Path) -> None:
    folder = tmp_path / "audit"
    async with kept_log(folder) as log:
        await call(log, 1)
    modes = {path.name: path.stat().st_mode & 0o777 for path in (folder, *folder.rglob("*"))}
    assert {mode for name, mode in modes.items() if name in {"audit", "log", "checkpoints"}} == {0o700}
    assert {mode for name, mode in modes.items() if name not in {"audit", "log", "checkpoints"}} == {0o600}


# Checkpoints.


def checkpoint_in(folder: Path) -> Checkpoint:
    found = KEY.verifier.verify(Path(Places(folder).checkpoint).read_text())
    assert isinstance(found, Checkpoint), found
    return found


async def test_a_checkpoint_comes_with_the_start_and_then_after_256_records(tmp_path: Path) -> None:
    told = Told()
    async with kept_log(tmp_path, replace(LIMITS, checkpoint_every_s=3600), told=told) as log:
        await until(lambda: bool(told.checkpoints))
        assert told.checkpoints[0][1] == 2
        for number in range(127):
            await call(log, number)
        await until(lambda: not log._unwritten)
        assert len(told.checkpoints) == 1
        await call(log, 127)
        await until(lambda: len(told.checkpoints) == 2)
        assert 2 + 256 <= told.checkpoints[1][1] <= 2 + 258


async def test_a_checkpoint_comes_each_second_while_there_is_something_new_and_also_after_that(tmp_path: Path) -> None:
    told, mono = Told(), Clock()
    async with kept_log(tmp_path, told=told, mono_ns=mono, now_ns=mono) as log:
        await until(lambda: bool(told.checkpoints))
        await call(log, 1)
        await until(lambda: not log._unwritten)
        assert len(told.checkpoints) == 1
        mono.ns += NS_PER_S
        # Nothing more is recorded, and the last records get theirs.
        await until(lambda: len(told.checkpoints) == 2)
        assert checkpoint_in(tmp_path).size == 4
        mono.ns += 10 * NS_PER_S
        await trio.sleep(5 * LIMITS.idle_s)
        assert len(told.checkpoints) == 2


async def test_each_checkpoint_is_also_in_the_file_named_after_its_segment(tmp_path: Path) -> None:
    told = Told()
    async with kept_log(tmp_path, replace(LIMITS, checkpoint_every_s=0.0, segment_bytes=5_000), told=told) as log:
        for number in range(20):
            await call(log, number)
    kept = [path.name for path in sorted((tmp_path / "checkpoints").iterdir())]
    assert kept == [path.name for path in sorted((tmp_path / "log").iterdir())]
    lines = [line for path in sorted((tmp_path / "checkpoints").iterdir()) for line in path.read_text().splitlines()]
    assert len(lines) == len(told.checkpoints)
    whole(tmp_path)


async def test_while_checkpoints_cannot_be_kept_no_call_gets_a_receipt(tmp_path: Path) -> None:
    told = Told()
    async with kept_log(tmp_path, replace(LIMITS, checkpoint_every_s=0.0), told=told) as log:
        await until(lambda: bool(told.checkpoints))
        aside = (tmp_path / "checkpoints").rename(tmp_path / "aside")
        intent = put(log, 1)
        refused = await log.receipt(intent)
        assert isinstance(refused, Refusal)
        assert refused.reason is Reason.AUDIT_UNAVAILABLE
        log.outcome(intent.seq, outcome_of(intent.decision))
        aside.rename(tmp_path / "checkpoints")
        await until(lambda: log.available)
        await call(log, 2)
    whole(tmp_path)


# Clocks.


async def test_a_clock_that_is_set_is_on_record(tmp_path: Path) -> None:
    wall, mono = Clock(), Clock(5 * NS_PER_S)
    async with kept_log(tmp_path, now_ns=wall, mono_ns=mono) as log:
        await call(log, 1)
        wall.ns -= 3600 * NS_PER_S
        await until(lambda: log.records["clock"] == 1)
        wall.ns += 100 * NS_PER_S
        mono.ns += 100 * NS_PER_S
        await trio.sleep(5 * LIMITS.idle_s)
        wall.ns += 7 * NS_PER_S
        await until(lambda: log.records["clock"] == 2)
    assert [record["step_us"] for record in whole(tmp_path) if record["kind"] == "clock"] == [-3_600_000_000, 7_000_000]


async def test_a_clock_that_was_set_back_while_the_gate_was_stopped_is_on_record(tmp_path: Path) -> None:
    wall = Clock()
    async with kept_log(tmp_path, now_ns=wall) as log:
        await call(log, 1)
    wall.ns -= 60 * NS_PER_S
    async with kept_log(tmp_path, now_ns=wall) as log:
        await call(log, 2)
    assert [record["step_us"] for record in whole(tmp_path) if record["kind"] == "clock"] == [-60_000_000]


# One gate, from its start to its end.


async def test_a_second_gate_on_the_same_folder_is_refused_until_the_first_has_stopped(tmp_path: Path) -> None:
    async with kept_log(tmp_path) as log:
        await call(log, 1)
        with pytest.raises(BaseExceptionGroup) as refused:
            async with kept_log(tmp_path):
                pass
        assert refused.group_contains(CannotOpenLog, match=r"another gate .*; each gate needs a folder of its own")
        await call(log, 2)
    async with kept_log(tmp_path) as log:
        await call(log, 3)
    whole(tmp_path)


async def test_at_the_end_all_is_written_the_last_record_says_so_and_a_checkpoint_is_over_it(tmp_path: Path) -> None:
    told = Told()
    async with kept_log(tmp_path, LogLimits(idle_s=3600, checkpoint_every_s=3600), told=told) as log:
        receipt = await log.receipt(put(log, 1))
        assert isinstance(receipt, Receipt)
        assert log.records["stop"] == 0
        log.outcome(receipt.seq, outcome_of(receipt.decision))
        for _ in range(1000):
            log.has_room(DENIED)
    records = whole(tmp_path)
    assert kinds(records) == ["segment", "start", "intent", "outcome", "summary", "stop"]
    assert records[-2]["counts"] == [
        {"stage": "decide", "reason": "denied", "count": 750, "caller": "spiffe://acme.test/a"}
    ]
    assert told.checkpoints[-1][1] == len(records)
    assert not log.available


async def test_an_end_during_an_outage_that_passes_loses_nothing(tmp_path: Path, disk: FailingDisk) -> None:
    async with kept_log(tmp_path) as log:
        receipt = await log.receipt(put(log, 1))
        assert isinstance(receipt, Receipt)
        disk.fail(errno.ENOSPC)
        log.outcome(receipt.seq, outcome_of(receipt.decision))
        await until(lambda: not log.available)
        trio.lowlevel.current_trio_token().run_sync_soon(disk.mend)
    assert kinds(whole(tmp_path)) == ["segment", "start", "intent", "outcome", "outage", "stop"]


async def test_an_outage_at_the_very_end_leaves_a_checkpoint_over_all(tmp_path: Path, disk: FailingDisk) -> None:
    async with kept_log(tmp_path) as log:
        await call(log, 1)
        await until(lambda: not log._unwritten)
        disk.tear(30, errno.EIO)
    assert sorted(kinds(whole(tmp_path))[-2:]) == ["outage", "stop"]


@pytest.mark.parametrize("fault", ["hang", "full"])
async def test_a_disk_that_takes_nothing_does_not_hold_up_the_end_and_what_is_lost_is_told(
    tmp_path: Path, disk: FailingDisk, fault: str
) -> None:
    told = Told()
    limits = replace(LIMITS, end_s=0.3)
    with trio.fail_after(5):
        async with kept_log(tmp_path, limits, told=told) as log:
            await call(log, 1)
            await until(lambda: not log._unwritten)
            disk.hang() if fault == "hang" else disk.fail(errno.ENOSPC)
            put(log, 2)
            await until(lambda: not log.available)
    lost = [detail for event, detail in told.events if event is LogEvent.LOST]
    assert len(lost) == 1
    if fault == "hang":
        # The thread may still write: nobody else may meanwhile.
        with pytest.raises(BaseExceptionGroup) as refused:
            async with kept_log(tmp_path):
                pass
        assert refused.group_contains(CannotOpenLog)
    disk.mend()


async def test_calls_that_nobody_closed_are_closed_as_unknown_by_the_next_process(tmp_path: Path) -> None:
    told = Told()
    async with kept_log(tmp_path, replace(LIMITS, segment_bytes=4_000)) as log:
        await call(log, 1)
        orphans = [await log.receipt(put(log, number)) for number in (2, 3)]
        for number in range(4, 12):
            await call(log, number)
    async with kept_log(tmp_path, told=told):
        pass
    records = whole(tmp_path)
    (recovery,) = [record for record in records if record["kind"] == "recovery"]
    assert recovery["orphans"] == 2
    closed = [record for record in records if record.get("closed_by") == "recovery"]
    assert [(each["intent"], each["decision"], each["status"]) for each in closed] == [
        (each.seq, each.decision, "unknown") for each in orphans if isinstance(each, Receipt)
    ]
    assert LogEvent.RECOVERED in told.names
    async with kept_log(tmp_path):
        pass
    assert kinds(whole(tmp_path)).count("recovery") == 1


# A disk that fails.


async def test_a_call_is_refused_in_time_where_a_write_does_not_come_back(tmp_path: Path, disk: FailingDisk) -> None:
    told = Told()
    async with kept_log(tmp_path, told=told) as log:
        await call(log, 1)
        with disk.hanging():
            intent = put(log, 2)
            began = trio.current_time()
            refused = await log.receipt(intent)
            assert trio.current_time() - began < LIMITS.patience_s + 0.3
            assert refused == Refusal(Reason.AUDIT_UNAVAILABLE, SLOW)
            assert log.problem == SLOW
            assert log.intent(intent_fields(3), "x") == Refusal(Reason.AUDIT_UNAVAILABLE, SLOW)
            log.outcome(intent.seq, outcome_of(intent.decision))
        await until(lambda: log.available)
        await call(log, 4)
    outage = next(record for record in whole(tmp_path) if record["kind"] == "outage")
    assert outage["error"] == SLOW
    assert told.names == [LogEvent.OPENED, LogEvent.UNAVAILABLE, LogEvent.AVAILABLE]


async def test_nobody_waits_longer_because_the_group_before_was_slow_too(tmp_path: Path, disk: FailingDisk) -> None:
    limits = replace(LIMITS, patience_s=0.5)
    async with kept_log(tmp_path, limits) as log:
        await call(log, 1)
        disk.hang()
        first = put(log, 2)
        await until(disk.waiting.is_set)
        second = put(log, 3)
        began = trio.current_time()
        await trio.sleep(0.4)
        # The first comes back just in time, and the next one then hangs.
        disk.mend()
        disk.hang()
        assert isinstance(await log.receipt(first), Receipt)
        assert isinstance(await log.receipt(second), Refusal)
        assert trio.current_time() - began < 0.8
        disk.mend()
        await until(lambda: log.available)
        for intent in (first, second):
            log.outcome(intent.seq, outcome_of(intent.decision))
    whole(tmp_path)


async def test_all_who_wait_are_refused_and_their_records_are_written_once_the_disk_takes_them(
    tmp_path: Path, disk: FailingDisk
) -> None:
    refused: list[Refusal] = []
    async with kept_log(tmp_path) as log:
        await call(log, 0)
        disk.fill_up(100)

        async def refuse(number: int) -> None:
            intent = put(log, number)
            answer = await log.receipt(intent)
            assert isinstance(answer, Refusal)
            refused.append(answer)
            log.outcome(intent.seq, {**outcome_of(intent.decision), "status": "not_forwarded"})

        async with trio.open_nursery() as nursery:
            for number in range(1, 20):
                nursery.start_soon(refuse, number)
        assert {(each.reason, each.detail) for each in refused} == {(Reason.AUDIT_UNAVAILABLE, "ENOSPC")}
        disk.mend()
        await until(lambda: log.available)
        await call(log, 20)
    records = whole(tmp_path)
    assert kinds(records).count("intent") == 21
    assert [record["status"] for record in records if record["kind"] == "outcome"].count("not_forwarded") == 19


async def test_an_outage_is_on_record_with_the_refusals_of_that_time_alone(tmp_path: Path, disk: FailingDisk) -> None:
    async with kept_log(tmp_path, replace(LIMITS, refusals_per_second=1)) as log:
        # Two of them beyond the rate, before it.
        for _ in range(12):
            if log.has_room(DENIED):
                log.refusal(refusal_fields(1))
        await until(lambda: not log._unwritten)
        disk.fail(errno.EROFS)
        put(log, 2)
        await until(lambda: not log.available)
        for _ in range(5):
            assert not log.has_room(RefusalKind("record", "audit_unavailable", ""))
        disk.mend()
        await until(lambda: log.available)
    records = whole(tmp_path)
    (summary,) = [record for record in records if record["kind"] == "summary"]
    (outage,) = [record for record in records if record["kind"] == "outage"]
    assert [each["count"] for each in summary["counts"]] == [2]
    assert outage["error"] == "EROFS"
    assert outage["counts"] == [{"stage": "record", "reason": "audit_unavailable", "count": 5}]
    assert summary["until"] <= outage["since"] < outage["until"]


async def test_a_refusal_that_comes_too_late_for_the_outage_is_not_waited_for(
    tmp_path: Path, disk: FailingDisk
) -> None:
    async with kept_log(tmp_path) as log:
        await call(log, 1)
        with disk.hanging():
            put(log, 2)
            await until(lambda: not log.available)
            # There was room for it when it was asked, before its content was put away.
            with trio.fail_after(1):
                await log.settled(log.refusal(refusal_fields(3)))


async def test_the_problem_that_is_told_is_the_one_there_is(tmp_path: Path, disk: FailingDisk) -> None:
    async with kept_log(tmp_path) as log:
        await call(log, 1)
        disk.hang()
        put(log, 2)
        await until(lambda: log.problem == SLOW)
        disk.fail_syncs(errno.EIO)
        disk.go_on()
        await until(lambda: log.problem == "EIO")
        disk.mend()
        await until(lambda: log.available)


@pytest.mark.parametrize("count", [0, 1, 50, 500])
async def test_a_write_that_is_cut_in_two_leaves_no_trace_in_the_log(
    tmp_path: Path, disk: FailingDisk, count: int
) -> None:
    async with kept_log(tmp_path) as log:
        await call(log, 1)
        await until(lambda: not log._unwritten)
        disk.tear(count, errno.EIO)
        intent = put(log, 2)
        assert isinstance(await log.receipt(intent), Refusal)
        log.outcome(intent.seq, outcome_of(intent.decision))
        await until(lambda: log.available)
        await call(log, 3)
    assert kinds(whole(tmp_path)).count("intent") == 3


async def test_what_a_failed_fdatasync_lost_is_written_again(tmp_path: Path, disk: FailingDisk) -> None:
    async with kept_log(tmp_path) as log:
        await call(log, 1)
        await until(lambda: not log._unwritten)
        disk.lose()
        intent = put(log, 2)
        assert isinstance(await log.receipt(intent), Refusal)
        log.outcome(intent.seq, outcome_of(intent.decision))
        await until(lambda: log.available)
    assert b"\0" not in b"".join(path.read_bytes() for path in (tmp_path / "log").iterdir())
    whole(tmp_path)


async def test_a_gate_that_starts_on_a_full_disk_takes_calls_once_there_is_room(
    tmp_path: Path, disk: FailingDisk
) -> None:
    disk.fill_up(50)
    async with kept_log(tmp_path) as log:
        await until(lambda: log.problem == "ENOSPC")
        disk.mend()
        await until(lambda: log.available)
        await call(log, 1)
    assert kinds(whole(tmp_path)) == ["segment", "start", "outage", "intent", "outcome", "stop"]


async def test_no_call_goes_on_record_in_a_file_that_was_deleted(tmp_path: Path) -> None:
    async with kept_log(tmp_path, replace(LIMITS, checkpoint_every_s=0.0, end_s=0.2)) as log:
        await call(log, 1)
        await until(lambda: not log._unwritten)
        for path in (tmp_path / "log").iterdir():
            path.unlink()
        number = 2
        with trio.fail_after(5):
            while not isinstance(found := log.intent(intent_fields(number), "x"), Refusal):
                number += 1
                await trio.sleep(0.01)
        assert found == Refusal(Reason.AUDIT_UNAVAILABLE, "ENOENT")
    # Nothing was made up in its place.
    assert list((tmp_path / "log").iterdir()) == []


async def test_a_fault_in_signing_refuses_calls_and_hangs_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with kept_log(tmp_path, replace(LIMITS, checkpoint_every_s=0.0, end_s=0.2)) as log:
        await call(log, 1)
        key = CheckpointKey.generate(ORIGIN)
        object.__setattr__(key, "_signer", None)
        monkeypatch.setattr(log._thread, "_key", key)
        intent = put(log, 2)
        with trio.fail_after(2):
            refused = await log.receipt(intent)
        assert isinstance(refused, Refusal)
        assert "sign" in refused.detail


# Refusals that have no record of their own.


async def test_refusals_past_the_rate_are_counted_and_told_at_intervals(tmp_path: Path) -> None:
    mono = Clock()
    async with kept_log(tmp_path, mono_ns=mono, now_ns=mono) as log:
        room = sum(log.has_room(DENIED) for _ in range(1000))
        assert log.summarised == 1000 - room
        mono.ns += 11 * NS_PER_S
        await until(lambda: log.records["summary"] == 1)
        await until(lambda: not log._unwritten)
        (summary,) = [record for record in records_in(tmp_path) if record["kind"] == "summary"]
        assert summary["counts"][0]["count"] == 1000 - room


async def test_refusals_have_records_although_the_wall_clock_was_set_back(tmp_path: Path) -> None:
    wall = Clock()
    async with kept_log(tmp_path, now_ns=wall) as log:
        assert log.has_room(DENIED)
        wall.ns -= 365 * 24 * 3600 * NS_PER_S
        assert log.has_room(DENIED)


async def test_a_flood_of_refusals_cannot_make_the_log_grow_faster_than_its_rate(tmp_path: Path) -> None:
    clock = Clock()
    seconds, per_second = 60, 50
    async with kept_log(tmp_path, LogLimits(patience_s=60), mono_ns=clock, now_ns=clock) as log:
        for tick in range(seconds * 10):
            clock.ns += NS_PER_S // 10
            for number in range(400):
                caller = f"spiffe://acme.test/agent-{number % 40}" if number % 2 else ""
                if log.has_room(RefusalKind("read", "json_malformed", caller)):
                    log.refusal(refusal_fields(tick))
            if not tick % 50:
                await trio.lowlevel.checkpoint()
    written = sum(path.stat().st_size for path in (tmp_path / "log").iterdir())
    records = whole(tmp_path)
    line = max(len(str(record)) for record in records if record["kind"] == "refusal") + 50
    kept = kinds(records).count("refusal")
    # The burst of ten seconds comes once.
    assert kept <= per_second * (seconds + 10)
    assert written < line * per_second * (seconds + 10) + 200_000
    counted = sum(each["count"] for record in records if record["kind"] == "summary" for each in record["counts"])
    assert kept + counted == seconds * 10 * 400


def test_a_log_that_is_not_open_takes_no_call(tmp_path: Path) -> None:
    log = AuditLog(tmp_path, KEY, Clock())
    assert not log.available
    assert isinstance(log.intent(intent_fields(1), "x"), Refusal)
    assert list(tmp_path.iterdir()) == []


async def test_messages_that_nobody_waits_for_have_a_rate_of_their_sender_alone(tmp_path: Path) -> None:
    async with kept_log(tmp_path) as log:
        found = [log.room_for("spiffe://acme.test/chatty") for _ in range(1000)]
        refused = [each for each in found if each is not None]
        assert found[0] is None
        assert {each.reason for each in refused} == {Reason.RATE_LIMITED}
        assert log.room_for("spiffe://acme.test/other") is None
        assert log.has_room(DENIED)


async def test_the_start_is_under_a_checkpoint_before_anything_can_be_let_through(tmp_path: Path) -> None:
    async with kept_log(tmp_path, replace(LIMITS, checkpoint_every_s=3600)):
        signed = KEY.verifier.verify((tmp_path / "checkpoint").read_text())
        assert isinstance(signed, Checkpoint)
        assert kinds(records_in(tmp_path))[: signed.size] == ["segment", "start"]
