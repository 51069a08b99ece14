"""Identity and trust as a real SPIRE gives them, renews them and takes them away."""

import pytest
import trio

from callgate.identity.source import SourceEvent, X509Source
from spire.watching import has_identity, until, watching
from spire.workloads import AUDITOR, GATE, LEDGER, REFUND_AGENT, Spire

# The first test builds SPIRE if need be: the fixture has its own, longer, limits.
pytestmark = [pytest.mark.spire, pytest.mark.timeout(120, func_only=True)]


@pytest.mark.parametrize(
    ("workload", "spiffe_id"),
    [
        (GATE, "spiffe://acme.test/gate"),
        (LEDGER, "spiffe://acme.test/tools/ledger"),
        (REFUND_AGENT, "spiffe://acme.test/ns/billing/sa/refund-agent"),
        (AUDITOR, "spiffe://acme.test/ns/ops/sa/auditor"),
    ],
)
async def test_gives_a_process_the_identity_that_its_selectors_name(
    spire: Spire, workload: str, spiffe_id: str
) -> None:
    async with watching(spire, workload) as watcher:
        state = await until(watcher, has_identity)
    assert state["id"] == spiffe_id


async def test_what_spire_issues_passes_our_rules_for_peers(spire: Spire) -> None:
    async with watching(spire, GATE) as watcher:
        state = await until(watcher, has_identity)
    assert state["refused"] is None


async def test_a_process_without_an_entry_has_no_identity_and_says_why(spire: Spire) -> None:
    denied = trio.Event()

    def hear(event: SourceEvent, _detail: str) -> None:
        if event is SourceEvent.PERMISSION_DENIED:
            denied.set()

    source = X509Source(spire.endpoint, on_event=hear)
    async with trio.open_nursery() as nursery:
        await nursery.start(source.run)
        await denied.wait()
        current, problem = source.current, source.problem
        nursery.cancel_scope.cancel()
    assert current is None
    assert "no identity issued" in problem  # SPIRE's own words


async def test_delivers_each_renewed_svid_and_is_never_without_one(spire: Spire) -> None:
    async with watching(spire, GATE) as watcher:
        states = [await until(watcher, has_identity)]
        while len({state["leaf"] for state in states}) < 3:
            states.append(await watcher.next_line())
    assert all(state["id"] == "spiffe://acme.test/gate" for state in states)
    ends = [state["not_after"] for state in states]
    assert ends == sorted(ends)


async def test_loses_identity_when_its_entry_is_deleted_and_has_it_again_when_restored(spire: Spire) -> None:
    async with watching(spire, AUDITOR) as watcher:
        await until(watcher, has_identity)
        await spire.delete_entry("/ns/ops/sa/auditor")
        lost = await until(watcher, lambda state: not has_identity(state))
        await spire.restore_entry("/ns/ops/sa/auditor")
        found = await until(watcher, has_identity)
    assert "no identity issued" in lost["problem"]
    assert found["id"] == "spiffe://acme.test/ns/ops/sa/auditor"
