"""How long `callgate policy diff` takes over a million recorded decisions, and how much memory.

    python tests/bench/policy_diff.py [DECISIONS]

The log is made up, in a folder of its own that goes away again: 1.5 GB for a million.
"""

import os
import subprocess
import sys
import tempfile
import time
from multiprocessing import get_context
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).parents[1]))

from support.long_logs import OTHER_POLICY, POLICY, write_long_log

DECISIONS: Final = 1_000_000
# What the issue that asked for it set, in seconds.
TARGET_S: Final = 180


def main() -> None:
    """Print the figures for the policy that decided against another one, and for the record against it."""
    decisions = int(sys.argv[1]) if len(sys.argv) > 1 else DECISIONS
    with tempfile.TemporaryDirectory(prefix="callgate-policy-diff-") as name:
        folder = Path(name)
        old, new = folder / "old.yaml", folder / "new.yaml"
        old.write_text(POLICY)
        new.write_text(OTHER_POLICY)
        # Elsewhere: what a process has ever taken counts for those that it starts.
        writing = get_context("spawn").Process(target=write_long_log, args=(folder / "audit", decisions))
        writing.start()
        writing.join()
        for what, arguments in (
            ("old policy, new policy", [str(old), str(new)]),
            ("record, new policy", ["-", str(new)]),
        ):
            _measure(what, decisions, [*arguments, "--log", str(folder / "audit")])


def _measure(what: str, decisions: int, arguments: list[str]) -> None:
    began = time.monotonic()
    with tempfile.TemporaryFile("w+") as out:
        child = subprocess.Popen([sys.executable, "-m", "callgate", "policy", "diff", *arguments], stdout=out)
        # The usage of this very child: `getrusage` has the largest of all of them.
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        said = out.read().splitlines()
    took, cpu = time.monotonic() - began, usage.ru_utime + usage.ru_stime
    print(f"{what}: {decisions:,} decisions in {took:.1f} s ({cpu:.1f} s of CPU), target {TARGET_S} s a million")
    print(
        f"  {decisions / took:,.0f} a second, {usage.ru_maxrss / 1024:.0f} MiB at the most, exit code {child.returncode}"
    )
    print("\n".join(f"  {line}" for line in said[:6]))


if __name__ == "__main__":
    main()
