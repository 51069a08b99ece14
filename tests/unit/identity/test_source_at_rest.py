"""A source that has an identity waits; it does not ask over and over whether it still has one."""

import time
from pathlib import Path

import trio
from trio.testing import wait_all_tasks_blocked

from callgate.dev.workload_api import DevWorkloadApi
from callgate.identity.source import X509Source


async def test_a_source_with_an_identity_is_at_rest(tmp_path: Path) -> None:
    with DevWorkloadApi(tmp_path / "api", {"gate": "spiffe://acme.test/gate"}) as api, trio.fail_after(10):
        source = X509Source(api.endpoint("gate"), now=time.time)
        async with trio.open_nursery() as nursery:
            await nursery.start(source.run)
            await source.wait_ready()
            await wait_all_tasks_blocked(cushion=0.02)
            assert source.current is not None
            nursery.cancel_scope.cancel()
        assert source.current is None
        assert source.problem == "the identity source was stopped"
