"""What a call costs: `just bench`.

Drives the full path over loopback (mutual TLS, strict reading, decision, token, forwarding, one trace a call to a local
sink) and, in the same run and turn by turn, a plain trio and h11 forwarder that does none of the work between.
Figures are medians of `--rounds`; CPU time is the server process's own, user and system.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import IO, NamedTuple, Self

from callgate.dev.workload_api import DevWorkloadApi

TESTS = Path(__file__).parent.parent
DECISIONS = Path(__file__).with_name("decisions.py")
SCREENING = Path(__file__).with_name("screening.py")
TICKS_S = os.sysconf("SC_CLK_TCK")
POLICY = """
version: 1
trust_domains: [acme.test]
grants:
  - id: billing-reads
    workloads: [spiffe://acme.test/ns/billing/sa/*]
    server: ledger
    tools: ["get_*", list_invoices]
    scopes: [ledger.read]
denials:
  - id: nobody-wipes
    server: ledger
    tools: [wipe_ledger]
"""


class Round(NamedTuple):
    """One measurement."""

    cpu_us: float
    per_s: float
    p50_us: float
    p99_us: float


class Actor:
    """One process of the benchmark."""

    def __init__(self, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "bench.actors", *arguments],
            cwd=TESTS,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def said(self) -> dict[str, object]:
        output: IO[str] | None = self.process.stdout
        line = output.readline() if output else ""
        if not line:
            raise SystemExit(f"{self.process.args!r} ended without a word")
        return dict(json.loads(line))

    def cpu_s(self) -> float:
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS_S

    def end(self) -> None:
        if self.process.stdin and not self.process.stdin.closed:
            self.process.stdin.close()
        self.process.wait(20)


def measure(server: Actor, endpoint: str, port: int, connections: int, calls: int) -> Round:
    before = server.cpu_s()
    with Actor("load", endpoint, str(port), str(connections), str(calls)) as load:
        figures = load.said()
    cpu_us = (server.cpu_s() - before) / calls * 1e6
    return Round(cpu_us, *(float(str(figures[key])) for key in ("per_s", "p50_us", "p99_us")))


def row(name: str, rounds: list[Round]) -> str:
    middle = [statistics.median(column) for column in zip(*rounds, strict=True)]
    return f"{name:<34}{middle[0]:>10.0f}{middle[1]:>10.0f}{middle[2]:>10.0f}{middle[3]:>10.0f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=4000, help="calls a round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--connections", type=int, nargs="+", default=[16, 64])
    options = parser.parse_args()
    with ExitStack() as running:
        directory = Path(running.enter_context(tempfile.TemporaryDirectory(prefix="callgate-bench-")))
        workloads = {"gate": "spiffe://acme.test/gate", "agent": "spiffe://acme.test/ns/billing/sa/agent"}
        api = running.enter_context(
            DevWorkloadApi(directory / "spiffe", workloads, ttl_s=3600, dns_names={"gate": ["localhost"]})
        )
        tools, sink = (running.enter_context(Actor(role)) for role in ("tool-server", "sink"))
        tools_port, sink_port = str(tools.said()["port"]), str(sink.said()["port"])
        configs = [directory / name / "callgate.yaml" for name in ("recorded", "unrecorded")]
        text = (
            f"listen: 127.0.0.1:0\nworkload_api: {api.endpoint('gate')}\nissuer: https://gate.acme.test\n"
            f"policy: policy.yaml\nadmin: {{listen: '127.0.0.1:0'}}\n"
            f"servers:\n  ledger: {{url: 'http://127.0.0.1:{tools_port}/mcp'}}\n"
            f"audit: {{folder: audit}}\n"
            f"telemetry: {{otlp: 'http://127.0.0.1:{sink_port}'}}\n"
            f"limits: {{requests_per_connection: 1000000, idle_s: 600}}\n"
        )
        for config in configs:
            config.parent.mkdir()
            config.with_name("policy.yaml").write_text(POLICY)
            config.write_text(text)
        gate = running.enter_context(Actor("gate", str(configs[0])))
        bare = running.enter_context(Actor("gate-unrecorded", str(configs[1])))
        plain = running.enter_context(Actor("forwarder", api.endpoint("gate"), tools_port))
        servers = {
            "callgate, the full path": (gate, int(str(gate.said()["port"]))),
            "callgate, nothing on record": (bare, int(str(bare.said()["port"]))),
            "plain trio + h11 forwarder": (plain, int(str(plain.said()["port"]))),
        }
        for connections in options.connections:
            print(f"{connections} connections, {options.calls} calls a round, {options.rounds} rounds, by turns")
            print(f"{'':<34}{'CPU µs':>10}{'calls/s':>10}{'p50 µs':>10}{'p99 µs':>10}")
            found: dict[str, list[Round]] = {name: [] for name in servers}
            for number in range(options.rounds):
                for name, (server, port) in servers.items():
                    found[name].append(measure(server, api.endpoint("agent"), port, connections, options.calls))
                    print(f"  round {number + 1}, {name}", file=sys.stderr)
            for name, rounds in found.items():
                print(row(name, rounds))
            report_record(*(found[name] for name in list(servers)[:2]))
        alone = {name: measure(server, api.endpoint("agent"), port, 1, 500) for name, (server, port) in servers.items()}
        for name, one in alone.items():
            print(row(f"{name[:18]}…, alone", [one]))
        gate.end()
        report_stages(gate.said())
    sys.stdout.flush()
    for part in (DECISIONS, SCREENING):
        subprocess.run([sys.executable, str(part)], check=True)


def report_record(recorded: list[Round], bare: list[Round]) -> None:
    """What the durable record adds, round by round: both of a round ran one after the other."""
    pairs = list(zip(recorded, bare, strict=True))
    cpu_us = statistics.median(a.cpu_us - b.cpu_us for a, b in pairs)
    p99_us = statistics.median(a.p99_us - b.p99_us for a, b in pairs)
    print(
        f"the durable record adds, at the median of the rounds: {cpu_us:+.0f} µs CPU a call, {p99_us:+.0f} µs to p99\n"
    )


def report_stages(said: dict[str, object]) -> None:
    stages = said["stages"]
    assert isinstance(stages, dict)
    print("\nWhere the time of a call goes, wall µs at the median (forward: with the tool server's own time)")
    for stage, micros in stages.items():
        print(f"  {stage:<14}{micros:>10.1f}")
    print(f"traces lost on the way to the sink: {said['lost']}")


if __name__ == "__main__":
    main()
