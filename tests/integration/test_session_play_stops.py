import signal
import subprocess
import sys
from pathlib import Path

from callgate.audit.checkpoint import CheckpointKey
from support.audit_logs import ORIGIN, MadeLog


def test_ctrl_c_ends_a_playing_session_in_one_line_and_without_a_fault(tmp_path: Path) -> None:
    log = MadeLog()
    log.call()
    log.now_ns += 3600 * 10**9
    log.call()
    log.write(tmp_path, CheckpointKey.generate(ORIGIN))
    command = [sys.executable, "-m", "callgate", "session", "play", "5e", "--keep-gaps", "--log", str(tmp_path)]

    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as playing:
        assert playing.stdout is not None
        assert any("answered in 1.5 ms" in line for line in playing.stdout)
        playing.send_signal(signal.SIGINT)
        said, complained = playing.communicate(timeout=30)

    assert playing.returncode == 0
    assert said.strip() == "stopped at +0.001 s, request 1"
    assert complained == ""
