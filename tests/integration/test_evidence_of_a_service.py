"""`callgate serve` and its log: one gate a folder, no gate without a key, and files that follow each other whole."""

import json
import signal
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from callgate.dev.workload_api import DevWorkloadApi
from support.gate import WORKLOADS, context_of
from support.on_record import assert_published_format, callgate, calls_in, on_record, records_in, until
from support.raw_agent import RawAgent, modern_call
from support.serve_process import CALLGATE, START_S, ServeProcess, serving, write_files
from support.upstream import scripted_server

GRACE_S = 20.0
MIB = 1024 * 1024
ENDLESS = "limits: {requests_per_connection: 1000000}\n"


@pytest.fixture
def api(tmp_path: Path) -> Iterator[DevWorkloadApi]:
    with DevWorkloadApi(tmp_path / "spiffe", WORKLOADS, ttl_s=300, dns_names={"gate": ["localhost"]}) as running:
        yield running


def refused_to_start(config: Path) -> tuple[int, str]:
    """`callgate serve`, which must end by itself: exit code and standard error."""
    ran = subprocess.run(
        [str(CALLGATE), "serve", "-c", str(config)], capture_output=True, text=True, check=False, timeout=START_S
    )
    assert "Traceback" not in ran.stdout + ran.stderr
    return ran.returncode, ran.stderr


async def stop(gate: ServeProcess) -> None:
    gate.process.send_signal(signal.SIGTERM)
    assert await gate.end(GRACE_S) == 0


@asynccontextmanager
async def calling(port: int, api: DevWorkloadApi) -> AsyncIterator[None]:
    """One call that succeeds, before and after."""
    async with RawAgent(port, await context_of(api, "billing")).connected() as agent:
        assert (await agent.ask(modern_call("get_invoice"))).status == 200
        yield
        assert (await agent.ask(modern_call("get_invoice"))).status == 200


async def test_a_second_gate_on_the_same_folder_is_refused_in_one_sentence_and_harms_nothing(
    tmp_path: Path, api: DevWorkloadApi
) -> None:
    async with scripted_server() as upstream, serving(tmp_path, api.endpoint("gate"), upstream.url) as gate:
        port, _ = await gate.ready()
        async with calling(port, api):
            code, said = await trio.to_thread.run_sync(refused_to_start, tmp_path / "callgate.yaml")
        await stop(gate)
    assert code == 1
    last = said.strip().splitlines()[-1]
    assert f"another gate writes to the log in {tmp_path / 'audit'}; each gate needs a folder of its own" in last
    records = records_in(tmp_path / "audit")
    assert_published_format(records)
    assert [record["kind"] for record in records].count("start") == 1
    assert len(calls_in(records)) == 2
    verified = await callgate("audit", "verify", str(tmp_path / "audit"), "--key", str(tmp_path / "audit" / "key.pub"))
    assert verified.exit_code == 0, verified.output


async def test_the_next_gate_on_a_folder_goes_on_where_the_one_before_stopped(
    tmp_path: Path, api: DevWorkloadApi
) -> None:
    async with scripted_server() as upstream:
        for _ in range(2):
            async with serving(tmp_path, api.endpoint("gate"), upstream.url) as gate:
                port, _admin = await gate.ready()
                async with calling(port, api):
                    pass
                await stop(gate)
    records = records_in(tmp_path / "audit")
    assert [record["seq"] for record in records] == list(range(len(records)))
    kinds = [record["kind"] for record in records if record["kind"] in {"start", "stop", "recovery"}]
    assert kinds == ["start", "stop", "start", "stop"]
    assert len({record["instance"] for record in records if record["kind"] == "start"}) == 2
    assert len(calls_in(records)) == 4
    verified = await callgate("audit", "verify", str(tmp_path / "audit"), "--key", str(tmp_path / "audit" / "key.pub"))
    assert verified.exit_code == 0, verified.output


async def test_without_a_key_it_says_how_to_make_one_and_with_that_key_it_serves(
    tmp_path: Path, api: DevWorkloadApi
) -> None:
    async with scripted_server() as upstream:
        config = write_files(tmp_path, api.endpoint("gate"), upstream.url)
        (tmp_path / "audit" / "key.pem").unlink()
        (tmp_path / "audit" / "key.pub").unlink()
        code, said = await trio.to_thread.run_sync(refused_to_start, config)
        assert code == 1
        assert "callgate audit init" in said.strip().splitlines()[-1]
        assert not (tmp_path / "audit" / "log").exists()

        made = await callgate("audit", "init", "-c", str(config))
        vkey = made.stdout.strip()
        assert (made.exit_code, (tmp_path / "audit" / "key.pem").stat().st_mode & 0o777) == (0, 0o600)
        async with serving(tmp_path, api.endpoint("gate"), upstream.url) as gate:
            port, _ = await gate.ready()
            async with calling(port, api):
                pass
            await stop(gate)
    # What `init` printed is all that an auditor needs.
    verified = await callgate("audit", "verify", str(tmp_path / "audit"), "--key", vkey)
    assert verified.exit_code == 0, verified.output
    assert records_in(tmp_path / "audit")[1]["key"] == vkey


async def test_with_another_key_than_the_logs_it_does_not_start(tmp_path: Path, api: DevWorkloadApi) -> None:
    async with scripted_server() as upstream:
        async with serving(tmp_path, api.endpoint("gate"), upstream.url) as gate:
            port, _ = await gate.ready()
            async with calling(port, api):
                pass
            await stop(gate)
        (tmp_path / "audit" / "key.pem").unlink()
        before = records_in(tmp_path / "audit")
        # Makes a new one.
        config = write_files(tmp_path, api.endpoint("gate"), upstream.url)
        code, said = await trio.to_thread.run_sync(refused_to_start, config)
    assert code == 1
    assert "is it the right key and origin?" in said.strip().splitlines()[-1]
    assert records_in(tmp_path / "audit") == before


async def test_a_log_that_is_cut_into_files_while_it_serves_stays_whole(tmp_path: Path) -> None:
    """1 MiB a file is the least there is; long purposes get there with fewer calls."""
    calls = 700
    async with on_record(tmp_path, audit="folder: audit, segment_bytes: 1048576", more=ENDLESS) as at:

        async def call(count: int) -> None:
            async with at.agent() as agent:
                for _ in range(count):
                    assert (await agent.ask(modern_call("get_invoice"))).status == 200

        async with trio.open_nursery() as nursery:
            for _ in range(4):
                nursery.start_soon(call, calls // 4)
        await at.calls(calls)
        listed = await at.callgate("log", "--format", "json")
    files = sorted((at.folder / "log").iterdir())
    assert len(files) >= 2
    heads = [json.loads(path.read_bytes().partition(b"\n")[0]) for path in files]
    assert [int(path.stem) for path in files] == [head["seq"] for head in heads]
    assert [(head["kind"], head["segment"]) for head in heads] == [("segment", number) for number in range(len(files))]
    assert all(path.stat().st_size <= 1.01 * MIB for path in files)
    assert len(calls_in(records_in(at.folder))) == len(listed.stdout.splitlines()) == calls
    # Each call was counted as open where its outcome is in the next file.
    for head in heads[1:]:
        before = [record for record in records_in(at.folder) if record["seq"] < head["seq"]]
        over = {record["intent"] for record in before if record["kind"] == "outcome"}
        still = [[r["seq"], r["decision"]] for r in before if r["kind"] == "intent" and r["seq"] not in over]
        assert head["open"] == still
    verified = await callgate("audit", "verify", str(at.folder), "--key", str(at.folder / "key.pub"))
    assert verified.exit_code == 0, verified.output


async def test_readiness_and_the_log_of_the_process_say_nothing_of_what_was_called(
    tmp_path: Path, api: DevWorkloadApi
) -> None:
    """Beside the log nothing is told of calls."""
    async with scripted_server() as upstream, serving(tmp_path, api.endpoint("gate"), upstream.url) as gate:
        port, _ = await gate.ready()
        async with calling(port, api):
            await until(lambda: len(records_in(tmp_path / "audit")) > 4)
        await stop(gate)
    assert gate.output == b""
    assert not any("get_invoice" in message for message in gate.messages)
