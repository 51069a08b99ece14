"""A whole gate whose log is on a disk that fails: no call goes out without an intent that is durable."""

import errno
import json
import resource
import signal
import ssl
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import trio

from callgate.audit.checkpoint import VerifierKey
from callgate.audit.verify import verify
from callgate.dev.workload_api import DevWorkloadApi
from support.auditors import Auditor
from support.crashes import jti_of, records_in
from support.failing_disk import FailingDisk
from support.gate import WORKLOADS, Gate, context_of, running_gate
from support.raw_agent import Answer, RawAgent, modern, modern_call
from support.record_format import faults_of
from support.serve_process import serving
from support.upstream import RESULTS, Asked, Reply, ScriptedServer, said, scripted_server

REFUSED_WITHIN_S = 2.0
# For a machine that is busy with something else.
MARGIN_S = 1.0
PATIENCE_S = 30.0
AGENTS = 4
UNAVAILABLE = (200, -31503, "audit_unavailable")


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> FailingDisk:
    return FailingDisk(monkeypatch)


@dataclass
class Asking:
    """Agents that ask without a pause.  `answers`: each with how long it took."""

    port: int
    answers: list[tuple[Answer, float]] = field(default_factory=list)
    heard: trio.Event = field(default_factory=trio.Event)
    asked: int = 0

    async def run(self, context: ssl.SSLContext) -> None:
        async with trio.open_nursery() as nursery:
            for _ in range(AGENTS):
                nursery.start_soon(self._ask, context)

    async def _ask(self, context: ssl.SSLContext) -> None:
        while True:
            await self._converse(context)

    async def _converse(self, context: ssl.SSLContext) -> None:
        closes = False
        async with RawAgent(self.port, context).connected() as connection:
            while not closes:
                self.asked += 1
                began = trio.current_time()
                answer = await connection.ask(modern_call("get_invoice", {}, rpc_id=f"call-{self.asked}"))
                self.answers.append((answer, trio.current_time() - began))
                self.heard.set()
                self.heard = trio.Event()
                closes = answer.closes

    async def until(self, is_so: Callable[[Answer], bool], count: int = 1) -> None:
        """Until so many more answers are so."""
        with trio.fail_after(PATIENCE_S):
            while count:
                seen = len(self.answers)
                await self.heard.wait()
                count = max(0, count - sum(is_so(answer) for answer, _ in self.answers[seen:]))

    @property
    def refused(self) -> list[tuple[Answer, float]]:
        return [each for each in self.answers if each[0].reason]


def is_refused(answer: Answer) -> bool:
    return bool(answer.reason)


def is_answered(answer: Answer) -> bool:
    return not answer.reason


def intents_of(folder: Path) -> dict[str, dict[str, Any]]:
    """By the `jti` of their tokens."""
    return {record["token"]["jti"]: record for record in records_in(folder) if record["kind"] == "intent"}


def assert_nothing_went_out_unrecorded(upstream: ScriptedServer, folder: Path) -> None:
    assert {jti_of(asked) for asked in upstream.requests} <= set(intents_of(folder))


def whole_log(folder: Path) -> list[dict[str, Any]]:
    key = VerifierKey.parse((folder / "key.pub").read_text().strip())
    verdict = verify(folder, key)
    assert verdict.is_whole, verdict.findings
    assert not verdict.remarks, verdict.remarks
    records = records_in(folder)
    assert faults_of(records) == []
    return records


def assert_all_is_accounted_for(records: list[dict[str, Any]], asking: Asking) -> None:
    """Each call that was refused was counted in the outage, or has an outcome that says that it did not go out."""
    intents = {record["seq"] for record in records if record["kind"] == "intent"}
    outcomes = [record for record in records if record["kind"] == "outcome"]
    assert {record["intent"] for record in outcomes} == intents
    assert len(outcomes) == len(intents)
    counted = sum(
        each["count"]
        for record in records
        if record["kind"] in {"outage", "summary"}
        for each in record["counts"]
        if each["reason"] == "audit_unavailable"
    )
    withdrawn = [record for record in outcomes if record["status"] == "not_forwarded"]
    # Agents that were stopped in the middle have not heard of theirs.
    assert len(asking.refused) <= counted + len(withdrawn) <= len(asking.refused) + AGENTS
    answered = Counter(record["status"] for record in outcomes)["answered"]
    good = len(asking.answers) - len(asking.refused)
    assert good <= answered <= good + AGENTS


FAULTS: dict[str, tuple[Callable[[FailingDisk], None], float, set[str]]] = {
    "full": (lambda disk: disk.fill_up(700), 1.0, {"ENOSPC"}),
    "read-only": (lambda disk: disk.fail(errno.EROFS), 1.0, {"EROFS"}),
    "broken": (lambda disk: disk.fail_syncs(errno.EIO), 1.0, {"EIO"}),
    "torn": (lambda disk: disk.tear(333, errno.EIO), 0.0, {"EIO"}),
    "lost": (lambda disk: disk.lose(), 0.0, {"EIO"}),
    "hangs": (lambda disk: disk.hang(), 5.0, {"slow"}),
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_while_the_disk_fails_calls_are_refused_and_none_goes_out_and_then_all_goes_on(
    tmp_path: Path, disk: FailingDisk, fault: str
) -> None:
    begin, lasts_s, errors = FAULTS[fault]
    async with scripted_server() as upstream:
        async with running_gate(tmp_path, upstream.url) as gate, trio.open_nursery() as nursery:
            asking = Asking(gate.addresses.agents.port)
            nursery.start_soon(asking.run, await context_of(gate.api, "billing"))
            await asking.until(is_answered, 20)
            begin(disk)
            await asking.until(is_refused)
            if lasts_s:
                problem = gate.service.log.problem
                assert problem in errors
                assert any(f"({problem})" in missing for missing in gate.service.readiness().missing)
                assert_nothing_went_out_unrecorded(upstream, gate.log_folder)
                before = len(upstream.requests)
                await trio.sleep(lasts_s)
                assert len(upstream.requests) == before
                disk.mend()
            await asking.until(is_answered, 20)
            assert gate.service.readiness().missing == ()
            nursery.cancel_scope.cancel()
        assert_nothing_went_out_unrecorded(upstream, gate.log_folder)
    assert {(each.status, each.code, each.reason) for each, _ in asking.refused} == {UNAVAILABLE}
    assert max(took for _, took in asking.refused) < REFUSED_WITHIN_S + MARGIN_S
    records = whole_log(gate.log_folder)
    outages = [record for record in records if record["kind"] == "outage"]
    assert len(outages) == 1
    assert outages[0]["error"] in errors
    assert_all_is_accounted_for(records, asking)


class Held:
    """A tool server that answers `refund` when it is told to."""

    def __init__(self) -> None:
        self.go_on = trio.Event()

    async def __call__(self, asked: Asked, reply: Reply) -> None:
        if asked.message["params"]["name"] == "refund":
            await self.go_on.wait()
        await reply.json(said(asked, RESULTS["tools/call"]))


async def test_the_outcome_of_a_call_under_way_is_not_lost(tmp_path: Path, disk: FailingDisk) -> None:
    held = Held()
    async with scripted_server(held) as upstream, running_gate(tmp_path, upstream.url) as gate:
        context = await context_of(gate.api, "billing")
        async with (
            RawAgent(gate.addresses.agents.port, context).connected() as agent,
            RawAgent(gate.addresses.agents.port, context).connected() as other,
        ):
            await agent.say(modern_call("refund", rpc_id="under-way"))
            await upstream.requests_when(1)
            disk.fail(errno.ENOSPC)
            assert (await other.ask(modern_call("get_invoice"))).reason == "audit_unavailable"
            held.go_on.set()
            answer = await agent.answer()
            assert answer is not None
            assert is_answered(answer)
            disk.mend()
            await until_ready(gate)
    records = whole_log(gate.log_folder)
    (intent,) = [record for record in records if record.get("rpc") == "under-way"]
    (outcome,) = [record for record in records if record.get("intent") == intent["seq"]]
    assert outcome["status"] == "answered"
    assert len(upstream.requests) == 1


async def until_ready(gate: Gate) -> None:
    with trio.fail_after(PATIENCE_S):
        while gate.service.readiness().missing:  # noqa: ASYNC110  # there is no event for it
            await trio.sleep(0.01)


async def test_messages_that_end_at_the_gate_are_counted_and_do_not_fill_its_memory(
    tmp_path: Path, disk: FailingDisk
) -> None:
    async with scripted_server() as upstream, running_gate(tmp_path, upstream.url) as gate:
        context = await context_of(gate.api, "billing")
        async with RawAgent(gate.addresses.agents.port, context).connected() as agent:
            notification = modern("notifications/cancelled", {"requestId": 1}, rpc_id=None)
            await agent.ask(notification)
            log = gate.service.log
            kept = log.records["absorbed"]
            assert kept == 1
            disk.fail(errno.ENOSPC)
            assert (await agent.ask(modern_call("get_invoice"))).reason == "audit_unavailable"
            pending = log._pending.records
            for _ in range(200):
                await agent.ask(notification)
            assert log._pending.records - pending <= 2
            disk.mend()
            await until_ready(gate)
    records = whole_log(gate.log_folder)
    assert sum(record["kind"] == "absorbed" for record in records) == kept
    (outage,) = [record for record in records if record["kind"] == "outage"]
    assert sum(each["count"] for each in outage["counts"]) >= 200


async def test_a_call_that_waits_when_the_gate_is_stopped_is_closed_and_never_goes_out(
    tmp_path: Path, disk: FailingDisk
) -> None:
    async with scripted_server() as upstream:
        async with running_gate(tmp_path, upstream.url, more="limits: {drain_s: 0.3}\n") as gate:
            context = await context_of(gate.api, "billing")
            async with RawAgent(gate.addresses.agents.port, context).connected() as agent:
                await agent.ask(modern_call("get_invoice"))
                disk.hang()
                await agent.say(modern_call("get_invoice", rpc_id="waits"))
                with trio.fail_after(PATIENCE_S):
                    await trio.to_thread.run_sync(disk.waiting.wait)
                gate.service.stop()
                assert await agent.until_closed() == []
                disk.mend()
        assert len(upstream.requests) == 1
    records = whole_log(gate.log_folder)
    (intent,) = [record for record in records if record.get("rpc") == "waits"]
    (outcome,) = [record for record in records if record.get("intent") == intent["seq"]]
    assert (outcome["status"], outcome["reason"]) == ("not_forwarded", "gate_shutting_down")
    assert records[-1]["kind"] == "stop"


async def test_a_refusal_whose_content_is_still_being_put_away_when_the_gate_is_stopped_is_on_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk, audit = (
        FailingDisk(monkeypatch, "content"),
        f"folder: audit, record: full, recipients: [{Auditor().recipient}]",
    )
    async with scripted_server() as upstream:
        async with running_gate(tmp_path, upstream.url, audit=audit, more="limits: {drain_s: 0.3}\n") as gate:
            context = await context_of(gate.api, "billing")
            async with RawAgent(gate.addresses.agents.port, context).connected() as agent:
                disk.hang()
                await agent.say(modern_call("wipe_ledger", rpc_id="denied"))
                with trio.fail_after(PATIENCE_S):
                    await trio.to_thread.run_sync(disk.waiting.wait)
                gate.service.stop()
                assert await agent.until_closed() == []
        disk.mend()
    (refusal,) = [record for record in whole_log(gate.log_folder) if record.get("rpc") == "denied"]
    assert (refusal["kind"], refusal["reason"]) == ("refusal", "denied")


async def test_a_disk_that_never_comes_back_does_not_hold_up_the_end(tmp_path: Path, disk: FailingDisk) -> None:
    async with scripted_server() as upstream:
        async with running_gate(tmp_path, upstream.url, more="limits: {drain_s: 1}\n") as gate:
            context = await context_of(gate.api, "billing")
            async with RawAgent(gate.addresses.agents.port, context).connected() as agent:
                disk.hang()
                assert (await agent.ask(modern_call("get_invoice"))).reason == "audit_unavailable"
            began = time.monotonic()
        # 1 s to drain, 3 s to write the rest, and 3 s for the thread.
        assert time.monotonic() - began < 7 + MARGIN_S
        assert upstream.requests == []
    disk.mend()


# A real limit on a real process: a file that may not grow takes part of a write, and then none.


async def page(port: int, path: str) -> tuple[int, dict[str, Any]]:
    stream = await trio.open_tcp_stream("127.0.0.1", port)
    async with stream:
        await stream.send_all(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        answer = b"".join([bytes(part) async for part in stream])
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split(b" ")[1]), json.loads(body)


def let_files_grow_to(pid: int, size: int) -> None:
    _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, hard))


def segment_of(folder: Path) -> Path:
    return max((folder / "audit" / "log").iterdir())


async def test_callgate_serve_whose_files_may_not_grow_refuses_says_why_and_recovers(tmp_path: Path) -> None:
    with DevWorkloadApi(tmp_path / "spiffe", WORKLOADS, ttl_s=300, dns_names={"gate": ["localhost"]}) as api:
        async with scripted_server() as upstream, serving(tmp_path, api.endpoint("gate"), upstream.url) as gate:
            port, admin = await gate.ready()
            context = await context_of(api, "billing")
            async with trio.open_nursery() as nursery:
                asking = Asking(port)
                nursery.start_soon(asking.run, context)
                await asking.until(is_answered, 20)
                size = segment_of(tmp_path).stat().st_size
                let_files_grow_to(gate.process.pid, size + 300)
                await asking.until(is_refused)
                status, told = await page(admin, "/readyz")
                assert (status, told["ready"]) == (503, False)
                assert told["missing"] == ["the log takes no records (EFBIG), and no call goes out without one"]
                before = len(upstream.requests)
                await asking.until(is_refused, 20)
                assert len(upstream.requests) == before
                assert segment_of(tmp_path).stat().st_size <= size + 300
                let_files_grow_to(gate.process.pid, resource.RLIM_INFINITY)
                await asking.until(is_answered, 20)
                assert (await page(admin, "/readyz"))[0] == 200
                nursery.cancel_scope.cancel()
            gate.process.send_signal(signal.SIGTERM)
            assert await gate.end(PATIENCE_S) == 0
        assert_nothing_went_out_unrecorded(upstream, tmp_path / "audit")
    assert {(each.status, each.code, each.reason) for each, _ in asking.refused} == {UNAVAILABLE}
    assert max(took for _, took in asking.refused) < REFUSED_WITHIN_S + MARGIN_S
    records = whole_log(tmp_path / "audit")
    assert [record["error"] for record in records if record["kind"] == "outage"] == ["EFBIG"]
    assert_all_is_accounted_for(records, asking)
    told_so = [message for message in gate.messages if message.startswith("log of calls: ")]
    assert [message.split(": ")[1] for message in told_so] == ["opened", "unavailable", "available"]
