"""kill -9 at random points under load, five hundred times, and what is found in the logs afterwards.

    python tests/bench/crash.py [ROUNDS] [SEED]

Fails where a client has an answer that is not on record, a call went out without an intent, a chain does not verify, or
a gate is not ready again within three seconds.
"""

import random
import signal
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import trio

# As pytest has it: this is a script of the tests.
sys.path.insert(0, str(Path(__file__).parents[1]))

from callgate.dev.workload_api import DevWorkloadApi
from support.crashes import READY_WITHIN_S, kill_often
from support.gate import WORKLOADS
from support.serve_process import serving

ROUNDS = 500
# Starts with the interpreter's own second in them.
WHOLE_STARTS = 10


async def whole_starts(folder: Path, api: DevWorkloadApi) -> list[float]:
    """Seconds from the command line to the first call that could be served."""
    took = []
    for _ in range(WHOLE_STARTS):
        began = time.monotonic()
        async with serving(folder, api.endpoint("gate"), "http://127.0.0.1:9/mcp") as gate:
            await gate.ready()
            took.append(time.monotonic() - began)
            gate.process.send_signal(signal.SIGKILL)
    return sorted(took)


async def main(rounds: int, seed: int) -> int:
    print(f"seed {seed}", flush=True)
    began = time.monotonic()
    with TemporaryDirectory(prefix="callgate-crash-") as name:
        folder = Path(name)
        with DevWorkloadApi(folder / "spiffe", WORKLOADS, ttl_s=3600, dns_names={"gate": ["localhost"]}) as api:
            figures = await kill_often(folder, api, rounds=rounds, seed=seed)
            starts = await whole_starts(folder / "from-0", api)
    print(figures)
    print(f"`callgate serve` from its command line: ready after {starts[-1]:.2f} s at the most of {len(starts)} starts")
    print(f"took {time.monotonic() - began:.0f} s")
    is_good = not figures.missing and not figures.unrecorded and figures.cuts == figures.tears
    return 0 if is_good and max(*figures.ready_s, *starts) < READY_WITHIN_S else 1


if __name__ == "__main__":
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else random.SystemRandom().randrange(2**32)
    sys.exit(trio.run(main, rounds, seed))
