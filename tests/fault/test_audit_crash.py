"""kill -9 under load, again and again: nothing that anybody was told of is missing from the log.

`just crash` does the same five hundred times.
"""

from pathlib import Path

from callgate.dev.workload_api import DevWorkloadApi
from support.crashes import READY_WITHIN_S, kill_often
from support.gate import WORKLOADS

ROUNDS = 25
SEED = 20260728


async def test_after_kill_9_at_random_points_under_load_nothing_is_missing_and_the_chain_verifies(
    tmp_path: Path,
) -> None:
    with DevWorkloadApi(tmp_path / "spiffe", WORKLOADS, ttl_s=3600, dns_names={"gate": ["localhost"]}) as api:
        figures = await kill_often(tmp_path, api, rounds=ROUNDS, seed=SEED)
    print(f"\nseed {SEED}: {figures}")
    assert figures.missing == []
    assert figures.unrecorded == []
    assert figures.answers > ROUNDS
    assert figures.orphans > 0
    assert figures.cuts == figures.tears > 0
    assert max(figures.ready_s) < READY_WITHIN_S
