"""A stream of any length is kept in full without being held in memory: it goes to disk object by object."""

import re
import signal
from hashlib import sha256
from pathlib import Path

import orjson
import pyrage  # type: ignore[import-untyped]

from callgate.dev.workload_api import DevWorkloadApi
from support.event_stream import event_stream
from support.gate import WORKLOADS, context_of
from support.on_record import assert_published_format, calls_in, on_record, records_in
from support.raw_agent import RawAgent, modern
from support.serve_process import serving
from support.upstream import Asked, Reply, Script, said, scripted_server

MIB = 1024 * 1024
CALL = modern("tools/call", {"name": "refund", "arguments": {}, "_meta": {"progressToken": 1}})
EVENT_CHARS = 500_000
# 6 MB in the test of what is kept; 100 MB, which nobody could hold unnoticed, in that of the memory.
EVENTS, MANY = 12, 200
# What passes in pieces, an object and its ciphertext, several times over; a tenth of what a gate would need to hold all.
MOST_GROWTH = 24 * MIB
_PEAK = re.compile(r"VmHWM:\s+(\d+) kB")


def streaming(events: int) -> Script:
    message = "x" * EVENT_CHARS

    async def stream(asked: Asked, reply: Reply) -> None:
        await reply.start_events()
        for step in range(events if asked.message["params"]["name"] == "refund" else 1):
            params = {"progressToken": 1, "progress": step, "message": message}
            await reply.event({"jsonrpc": "2.0", "method": "notifications/progress", "params": params})
        await reply.event(said(asked, {"content": [], "resultType": "complete"}))
        await reply.end_events()

    return stream


def plaintexts(folder: Path, objects: list[str], identity: object) -> list[bytes]:
    files = [folder / "content" / digest[:2] / f"{digest}.age" for digest in objects]
    return [pyrage.decrypt(path.read_bytes(), [identity]) for path in files]


async def test_a_stream_of_megabytes_is_kept_in_several_objects_in_its_order(tmp_path: Path) -> None:
    identity = pyrage.x25519.Identity.generate()
    audit = f"folder: audit, record: full, recipients: [{identity.to_public()}]"
    async with on_record(tmp_path, streaming(EVENTS), audit=audit) as at:
        async with at.agent() as agent:
            await agent.say(CALL)
            heard = await (await event_stream(agent)).rest()
        ((_, outcome),) = await at.calls(1)
    answer = outcome["answer"]
    assert len(heard) == answer["events"] == EVENTS + 1
    pieces = plaintexts(at.folder, answer["objects"], identity)
    assert len(pieces) >= EVENTS * EVENT_CHARS // (2 * MIB)
    assert max(map(len, pieces)) <= 2 * MIB
    lines = b"".join(pieces).splitlines()
    assert [orjson.loads(line)["body"] for line in lines] == heard
    times = [orjson.loads(line)["at_us"] for line in lines]
    assert times == sorted(times)
    bodies = [line.partition(b'"body":')[2].removesuffix(b"}") for line in lines]
    assert answer["sha256"] == sha256(b"".join(body + b"\n" for body in bodies)).hexdigest()
    assert answer["bytes"] == sum(map(len, bodies))


def peak_of(pid: int) -> int:
    """The most memory that a process has had, in bytes."""
    found = _PEAK.search(Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found[1]) * 1024


async def _drained(agent_port: int, api: DevWorkloadApi, tool: str) -> int:
    """One call; how many events came."""
    request = modern("tools/call", {"name": tool, "arguments": {}, "_meta": {"progressToken": 1}})
    async with RawAgent(agent_port, await context_of(api, "billing")).connected() as agent:
        await agent.say(request)
        stream = await event_stream(agent)
        count = 0
        while await stream.next() is not None:
            count += 1
        return count


async def test_the_gate_takes_no_more_memory_for_a_longer_stream(tmp_path: Path) -> None:
    identity = pyrage.x25519.Identity.generate()
    with DevWorkloadApi(tmp_path / "spiffe", WORKLOADS, ttl_s=300, dns_names={"gate": ["localhost"]}) as api:
        audit = f"record: full, recipients: [{identity.to_public()}]"
        async with (
            scripted_server(streaming(MANY)) as upstream,
            serving(tmp_path, api.endpoint("gate"), upstream.url, audit=audit) as gate,
        ):
            port, _ = await gate.ready()
            # The first stream is as long as an object: from then on everything that there is was there.
            for _ in range(2):
                assert await _drained(port, api, "get_invoice") == 2
            before = peak_of(gate.process.pid)
            assert await _drained(port, api, "refund") == MANY + 1
            grown = peak_of(gate.process.pid) - before
            gate.process.send_signal(signal.SIGTERM)
            assert await gate.end(20) == 0
    records = records_in(tmp_path / "audit")
    assert_published_format(records)
    answer = calls_in(records)[-1][1]["answer"]
    assert answer["bytes"] >= MANY * EVENT_CHARS
    assert len(answer["objects"]) >= MANY * EVENT_CHARS // (2 * MIB)
    assert grown <= MOST_GROWTH, f"{grown / MIB:.1f} MiB more for {answer['bytes'] / MIB:.0f} MiB"
