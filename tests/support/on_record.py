"""A gate on record: its log is read as an outsider would, line by line from the disk, and through `callgate`.

    async with on_record(tmp_path, audit="folder: audit, record: full, ...") as at, at.agent() as agent:
        answer = await agent.ask(modern_call("get_invoice"))
        ((intent, outcome),) = await at.calls(1)

At the end every record must be of the published format.
"""

import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any, Final

import trio
from click.testing import CliRunner, Result
from jsonschema import Draft202012Validator

from callgate.cli import main
from callgate.parts import Clock
from callgate.policy_source import PolicySource
from callgate.telemetry.export import Telemetry
from support.collector import Collector
from support.gate import POLICY, Gate, context_of, running_gate
from support.raw_agent import RawAgent, RawConnection
from support.upstream import Script, ScriptedServer, scripted_server
from support.watched import SENDER

Record = dict[str, Any]
_SCHEMA: Final = Path(__file__).parents[2] / "docs" / "reference" / "audit-record.schema.json"
_REQUESTS: Final = frozenset({"intent", "refusal", "absorbed"})
PATIENCE_S: Final = 20.0


@dataclass(frozen=True, slots=True)
class OnRecord:
    """A gate, what it calls, and a collector for its traces."""

    gate: Gate
    upstream: ScriptedServer
    collector: Collector
    telemetry: Telemetry

    @property
    def folder(self) -> Path:
        """The log's."""
        return self.gate.log_folder

    @asynccontextmanager
    async def agent(self, name: str = "billing") -> AsyncIterator[RawConnection]:
        """One connection of that workload's."""
        context = await context_of(self.gate.api, name)
        async with RawAgent(self.gate.addresses.agents.port, context).connected() as connection:
            yield connection

    async def records(self, *kinds: str, count: int) -> list[Record]:
        """The records of those kinds, once there are so many; more than that is the test's to notice."""
        found: list[Record] = []

        def are_there() -> bool:
            found[:] = [record for record in records_in(self.folder) if record["kind"] in kinds]
            return len(found) >= count

        await until(are_there)
        return found

    async def requests(self, count: int) -> list[Record]:
        """The record of each request or connection, in order, once there are so many."""
        return await self.records(*_REQUESTS, count=count)

    async def calls(self, count: int) -> list[tuple[Record, Record]]:
        """Each intent with its outcome, in order, once so many calls have ended."""
        await self.records("outcome", count=count)
        return calls_in(records_in(self.folder))

    async def callgate(self, *arguments: str) -> Result:
        """What the command line answers; it is told of the log by `--log`."""
        return await callgate(*arguments, "--log", str(self.folder))

    async def spans(self, traces: int) -> dict[str, Mapping[str, Any]]:
        """What the collector received, once there were so many traces: the SERVER span's attributes by trace id."""
        await self.gate.traces_when(traces)
        assert await trio.to_thread.run_sync(self.telemetry.flush, 10.0)
        return {f"{span.trace_id:032x}": span.attributes for span in self.collector.spans if span.kind == "SERVER"}


@asynccontextmanager
async def on_record(
    directory: Path,
    script: Script | None = None,
    *,
    policy: str | PolicySource = POLICY,
    server: Mapping[str, str] | None = None,
    audit: str = "folder: audit",
    more: str = "",
    home: Path | None = None,
    clock: Clock | None = None,
    ttl_s: float = 300.0,
) -> AsyncIterator[OnRecord]:
    """Start all of it; the options are `running_gate`'s."""
    with Collector() as collector:
        telemetry = Telemetry.from_settings(collector.url, SENDER, with_metrics=False)
        async with scripted_server(script) as upstream:
            async with running_gate(
                directory,
                upstream.url,
                policy=policy,
                server=server,
                audit=audit,
                more=more,
                home=home,
                clock=clock,
                ttl_s=ttl_s,
                record=telemetry.record,
                approvals=telemetry.approvals,
            ) as gate:
                yield OnRecord(gate, upstream, collector, telemetry)
            assert_published_format(records_in(gate.log_folder))
        await trio.to_thread.run_sync(telemetry.close)


def records_in(folder: Path) -> list[Record]:
    """The records that are on disk as whole lines at this moment."""
    files = sorted((folder / "log").glob("*.jsonl"))
    return [json.loads(line) for line in b"".join(path.read_bytes() for path in files).split(b"\n")[:-1]]


def calls_in(records: Sequence[Record]) -> list[tuple[Record, Record]]:
    """The intents that have an outcome, in their order, each with it.  Fails where one has two, or one has no intent."""
    intents = {record["seq"]: record for record in records if record["kind"] == "intent"}
    outcomes = [record for record in records if record["kind"] == "outcome"]
    assert len({outcome["intent"] for outcome in outcomes}) == len(outcomes)
    ended = sorted(outcomes, key=lambda outcome: int(outcome["intent"]))
    return [(intents[outcome["intent"]], outcome) for outcome in ended]


def assert_published_format(records: Sequence[Record]) -> None:
    """Whether each is what docs/reference/audit-record.schema.json says."""
    faults = [
        f"record {record['seq']}, {record['kind']}: {error.message}"
        for record in records
        for error in _validator(record["kind"]).iter_errors(record)
    ]
    assert not faults, faults


@cache
def _validator(kind: str) -> Draft202012Validator:
    """Of one kind alone: that a record is not any of fourteen says little."""
    schema = json.loads(_SCHEMA.read_text())
    return Draft202012Validator({"$defs": schema["$defs"], "$ref": f"#/$defs/{kind}"})


async def callgate(*arguments: str) -> Result:
    """Run a command beside the gate.  A traceback fails the test."""
    result = await trio.to_thread.run_sync(partial(CliRunner().invoke, main, arguments))
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exc_info
    return result


async def until(holds: Callable[[], bool]) -> None:
    """Look until it holds: what is waited for is on disk, and has no event."""
    with trio.fail_after(PATIENCE_S):
        while not holds():  # noqa: ASYNC110  # there is no event for it
            await trio.sleep(0.02)
