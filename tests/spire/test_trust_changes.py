"""A forced change of SPIRE's authority.

In a file that runs after the others: revoking an authority can take the SPIRE agent's own SVID with it, where that was
not renewed in time, and the agent then serves nobody any more.
"""

from collections.abc import Callable

import pytest

from spire.watching import has_identity, until, watching
from spire.workloads import GATE, Json, Spire

pytestmark = [pytest.mark.spire, pytest.mark.timeout(120, func_only=True)]


async def test_follows_a_forced_change_of_authority_without_losing_identity(spire: Spire) -> None:
    async with watching(spire, GATE) as watcher:
        first = await until(watcher, has_identity)
        old = first["issuer"]
        seen = [first]

        async def until_seen(wanted: Callable[[Json], bool]) -> Json:
            while not wanted(seen[-1]):
                seen.append(await watcher.next_line())
                assert has_identity(seen[-1]), seen
            return seen[-1]

        new = (await spire.authority("prepare"))["prepared_authority"]["authority_id"]
        await until_seen(lambda state: {old, new} <= set(state["authorities"]))
        await spire.authority("activate", new)
        # SPIRE knows a tainted authority by it being the old one: agents renew at once what it signed.
        await spire.authority("taint", old)
        await until_seen(lambda state: state["issuer"] == new)
        await spire.authority("revoke", old)
        last = await until_seen(lambda state: old not in state["authorities"])
    assert last["issuer"] == new
    assert all(state["refused"] is None for state in seen), seen
