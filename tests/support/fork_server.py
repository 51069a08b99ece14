"""A process that has everything imported that `callgate serve` needs, and becomes one by fork for each line it is told.

    python fork_server.py            stdin: a path of callgate.yaml a line; stdout: 0 once it is ready, and then the pid
                                     of each gate a line

A start then takes what the gate itself takes, without the interpreter's second.  The gates' own log comes on standard
error, after a line that says which gate it is.
"""

import gc
import json
import os
import signal
import sys

import callgate.cli.serve  # noqa: F401  # all that a gate imports
from callgate.cli import main


def become_a_gate(path: str) -> None:
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.write(2, json.dumps({"message": f"this is {os.getpid()}"}).encode() + b"\n")
    main(["serve", "-c", path], prog_name="callgate")


def serve_forks() -> None:
    # Nobody waits for them.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    gc.freeze()
    os.write(1, b"0\n")
    for line in sys.stdin:
        pid = os.fork()
        if not pid:
            become_a_gate(line.strip())
        os.write(1, b"%d\n" % pid)


if __name__ == "__main__":
    serve_forks()
