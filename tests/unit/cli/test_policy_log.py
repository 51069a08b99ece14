"""What a terminal is told while a log is decided on again."""

import io
import sys
from pathlib import Path

import pytest

from callgate.audit.checkpoint import CheckpointKey
from callgate.audit.query import Query
from callgate.cli import policy_log, progress
from support.audit_logs import ORIGIN, MadeLog


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    log = MadeLog()
    for _ in range(50):
        log.call()
    log.write(tmp_path / "audit", CheckpointKey.generate(ORIGIN))
    return tmp_path / "audit"


def test_a_terminal_is_told_the_rate_and_the_time_left(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(progress, "_EVERY_S", 0.0)
    monkeypatch.setattr(progress, "_LOOKED", 10)

    read = list(policy_log.entries_of(folder, Query(), from_start=True))

    lines = terminal.getvalue().split("\r")
    assert len(read) == 101
    assert sum(" a second, " in line and line.endswith(" s left\x1b[K") for line in lines) == 10
    assert " of 101 records, " in terminal.getvalue()
    # Nothing of it is left behind.
    assert lines[-1] == "\x1b[K"


def test_what_is_no_terminal_is_told_nothing(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert len(list(policy_log.entries_of(folder, Query(), from_start=True))) == 101

    assert capsys.readouterr().err == ""
