"""`callgate log --follow` in a process of its own, while a gate writes."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest

from callgate.audit.places import segment_name
from support.audit_logs import MadeLog

WAIT_S = 30


@pytest.fixture
def lines() -> list[bytes]:
    log = MadeLog()
    for number in range(15):
        log.refusal(tool=f"tool_{number}")
    log.call(tool="refund")
    (lines,) = log.lines()
    return lines


@pytest.fixture
def following(tmp_path: Path, lines: list[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    """Started on a log of the first 13 records: where the file begins, and 12 refusals."""
    (tmp_path / "log").mkdir()
    (tmp_path / "log" / segment_name(0)).write_bytes(b"".join(lines[:13]))
    command = [sys.executable, "-m", "callgate", "log", "--log", str(tmp_path), "--follow", "--format", "json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        try:
            yield process
        finally:
            process.kill()


def told(process: subprocess.Popen[bytes], count: int) -> list[object]:
    assert process.stdout is not None
    entries = (orjson.loads(process.stdout.readline()) for _ in range(count))
    return [(entry["tool"], entry["status"]) for entry in entries]


@pytest.mark.timeout(WAIT_S)
def test_following_shows_the_last_ten_then_each_as_it_ends_and_goes_with_ctrl_c(
    tmp_path: Path, lines: list[bytes], following: subprocess.Popen[bytes]
) -> None:
    assert told(following, 10) == [(f"tool_{number}", "refused") for number in range(2, 12)]
    with (tmp_path / "log" / segment_name(0)).open("ab") as file:
        file.write(lines[13][:50])
        file.flush()
        file.write(lines[13][50:])
    # The rest in a new file: the gate began one meanwhile, and its first record is left out here.
    (tmp_path / "log" / segment_name(14)).write_bytes(b"".join(lines[14:]))
    assert told(following, 4) == [
        ("tool_12", "refused"),
        ("tool_13", "refused"),
        ("tool_14", "refused"),
        ("refund", "answered"),
    ]
    following.send_signal(signal.SIGINT)
    assert following.wait() == 0
    assert following.stderr is not None
    assert following.stderr.read() == b""


@pytest.mark.timeout(WAIT_S)
def test_a_call_that_lasts_is_shown_open_and_then_with_its_end(
    tmp_path: Path, lines: list[bytes], following: subprocess.Popen[bytes]
) -> None:
    told(following, 10)
    *before, outcome = lines
    file = tmp_path / "log" / segment_name(0)
    with file.open("ab") as more:
        more.write(b"".join(before[13:]))
    assert told(following, 4)[-1] == ("refund", "open")
    with file.open("ab") as more:
        more.write(outcome)
    assert told(following, 1) == [("refund", "answered")]
