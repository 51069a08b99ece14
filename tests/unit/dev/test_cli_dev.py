import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from spiffe import WorkloadApiClient

from callgate.cli.dev import dev

COMMAND = (sys.executable, "-c", "from callgate.cli.dev import dev; dev()", "workload-api")


@pytest.fixture
def running(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    workloads = ("--workload", "gate=spiffe://acme.test/gate", "--workload", "agent=spiffe://partner.test/agent")
    command = (*COMMAND, "--directory", str(tmp_path / "run"), *workloads, "--dns", "gate=localhost", "--ttl", "1m")
    with subprocess.Popen(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        yield process
        process.kill()


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
def test_serves_what_it_prints_until_a_signal_and_removes_the_sockets(
    running: subprocess.Popen[str], tmp_path: Path, end: signal.Signals
) -> None:
    assert running.stdout is not None
    printed = [running.stdout.readline().rstrip() for _ in range(4)]
    assert printed == [
        "# gate is spiffe://acme.test/gate",
        f"export SPIFFE_ENDPOINT_SOCKET=unix://{tmp_path}/run/gate.sock",
        "# agent is spiffe://partner.test/agent",
        f"export SPIFFE_ENDPOINT_SOCKET=unix://{tmp_path}/run/agent.sock",
    ]
    with WorkloadApiClient(printed[1].partition("=")[2]) as client:
        assert str(client.fetch_x509_svid(timeout=10).spiffe_id) == "spiffe://acme.test/gate"
    running.send_signal(end)
    _, errors = running.communicate(timeout=10)
    assert running.returncode == 0
    assert "FOR DEVELOPMENT ONLY" in errors
    assert list((tmp_path / "run").iterdir()) == []


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--workload", "gate"], "is not NAME=VALUE, such as gate=spiffe://acme.test/gate"),
        (["--workload", "gate=acme.test/gate"], "'acme.test/gate' is not a SPIFFE ID"),
        (["--workload", "gate=spiffe://acme.test"], "add a path, such as /gate"),
        (["--workload", "gate=spiffe://a.test/a", "--workload", "gate=spiffe://a.test/b"], "the same name"),
        (["--workload", "gate=spiffe://a.test/a", "--dns", "gaet=localhost"], "DNS names for 'gaet'"),
        (["--workload", "gate=spiffe://a.test/a", "--ttl", "5"], "'5' is no duration; write for instance 30s"),
        (["--workload", "gate=spiffe://a.test/a", "--ttl", "1s"], "2 s at least"),
        ([], "--workload"),
    ],
)
def test_says_what_to_write_instead(tmp_path: Path, options: list[str], told: str) -> None:
    result = CliRunner().invoke(dev, ["workload-api", "--directory", str(tmp_path / "run"), *options])
    assert result.exit_code in {1, 2}
    assert told in " ".join(result.output.split())
    assert "Traceback" not in result.output
    assert not (tmp_path / "run").exists()


def test_refuses_a_directory_that_others_can_enter(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    result = CliRunner().invoke(
        dev, ["workload-api", "--directory", str(tmp_path), "--workload", "gate=spiffe://acme.test/gate"]
    )
    assert result.exit_code == 1
    assert "chmod 700" in result.output
