import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import pytest
import trio

from callgate.dev.workload_api import DevWorkloadApi
from callgate.identity.endpoint import InvalidEndpoint
from callgate.identity.source import Backoff, SourceEvent, SourceLimits, X509Source, jittered_s
from callgate.identity.spiffe_id import TrustDomain
from callgate.identity.trust import X509Context
from callgate.identity.workload_api import X509SVID, MessageLimits, X509SVIDResponse

ACME, PARTNER = TrustDomain("acme.test"), TrustDomain("partner.test")
PATIENCE_S = 10
IMPATIENT = SourceLimits(retry_first_s=0.01, retry_max_s=0.05, misuse_retry_s=0.02, clock_check_s=0.01)


@pytest.fixture
def api(tmp_path: Path) -> Iterator[DevWorkloadApi]:
    workloads = {"gate": "spiffe://acme.test/gate", "agent": "spiffe://partner.test/agent"}
    with DevWorkloadApi(tmp_path / "api", workloads) as running:
        yield running


@dataclass
class Watched:
    """A running source, everything that it told, and a wall clock that can be set forward."""

    source: X509Source = field(init=False)
    told: list[tuple[SourceEvent, str]] = field(default_factory=list)
    ahead_s: float = 0.0
    _more: trio.Event = field(default_factory=trio.Event)

    def hear(self, event: SourceEvent, detail: str) -> None:
        self.told.append((event, detail))
        self._more.set()
        self._more = trio.Event()

    async def next(self, event: SourceEvent, after: int = 0) -> str:
        """The detail of the first such event after so many events in all."""
        while event not in [kind for kind, _ in self.told[after:]]:
            await self._more.wait()
        return next(detail for kind, detail in self.told[after:] if kind is event)

    def count(self, event: SourceEvent) -> int:
        return sum(kind is event for kind, _ in self.told)

    @property
    def current(self) -> X509Context:
        assert self.source.current is not None, self.source.problem
        return self.source.current


@asynccontextmanager
async def watched(
    endpoint: str, *, hint: str | None = None, limits: SourceLimits = IMPATIENT
) -> AsyncIterator[Watched]:
    watch = Watched()
    watch.source = X509Source(
        endpoint, hint=hint, limits=limits, on_event=watch.hear, now=lambda: time.time() + watch.ahead_s
    )
    with trio.fail_after(PATIENCE_S):
        async with trio.open_nursery() as nursery:
            await nursery.start(watch.source.run)
            yield watch
            nursery.cancel_scope.cancel()


@asynccontextmanager
async def ready(api: DevWorkloadApi, *, hint: str | None = None) -> AsyncIterator[Watched]:
    async with watched(api.endpoint("gate"), hint=hint) as watch:
        await watch.source.wait_ready()
        yield watch


async def test_has_svid_and_every_bundle_after_the_first_message(api: DevWorkloadApi) -> None:
    async with ready(api) as watch:
        assert str(watch.current.svid.id) == "spiffe://acme.test/gate"
        assert set(watch.current.bundles) == {ACME, PARTNER}
        assert watch.source.problem == ""


async def test_has_no_identity_and_says_so_before_the_first_message(api: DevWorkloadApi) -> None:
    source = X509Source(api.endpoint("gate"))
    assert source.current is None
    assert api.endpoint("gate") in source.problem


async def test_finds_the_workload_api_through_the_environment(
    api: DevWorkloadApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPIFFE_ENDPOINT_SOCKET", api.endpoint("agent"))
    source = X509Source()
    with trio.fail_after(PATIENCE_S):
        async with trio.open_nursery() as nursery:
            await nursery.start(source.run)
            await source.wait_ready()
            assert source.current is not None
            assert str(source.current.svid.id) == "spiffe://partner.test/agent"
            nursery.cancel_scope.cancel()


def test_unusable_address_is_a_fault_at_once() -> None:
    with pytest.raises(InvalidEndpoint):
        X509Source("/run/spire/agent.sock")


async def test_rotated_svid_replaces_the_old_one(api: DevWorkloadApi) -> None:
    async with ready(api) as watch:
        before = watch.current
        api.rotate("gate")
        await watch.source.changed(before)
        assert watch.current.svid.leaf_sha256 != before.svid.leaf_sha256


async def test_new_authority_reaches_those_who_federate_with_it(api: DevWorkloadApi) -> None:
    async with ready(api) as watch:
        before = watch.current
        api.rotate_authority("partner.test")
        await watch.source.changed(before)
        assert len(watch.current.bundles[PARTNER].authorities) == 2
        before = watch.current
        api.drop_old_roots("partner.test")
        await watch.source.changed(before)
        assert len(watch.current.bundles[PARTNER].authorities) == 1


async def test_federated_bundle_that_is_gone_from_a_message_is_unloaded(api: DevWorkloadApi) -> None:
    async with ready(api) as watch:
        before = watch.current
        api.remove_bundle("partner.test")
        await watch.source.changed(before)
        assert set(watch.current.bundles) == {ACME}


async def test_empty_federated_bundle_leaves_our_identity_alone(api: DevWorkloadApi) -> None:
    async with ready(api) as watch:
        before = watch.current
        api.empty_bundle("partner.test")
        await watch.source.changed(before)
        assert watch.current.bundles[PARTNER].authorities == ()
        assert watch.source.problem == ""
        before = watch.current
        api.restore_bundle("partner.test")
        await watch.source.changed(before)
        assert len(watch.current.bundles[PARTNER].authorities) == 1


async def test_unreadable_federated_bundle_is_reported_and_our_rotation_goes_on(api: DevWorkloadApi) -> None:
    async with ready(api) as watch:
        before = watch.current
        message = api.message("gate")
        message.federated_bundles["spiffe://partner.test"] = b"garbage"
        api.send("gate", message.SerializeToString())
        assert "partner.test" in await watch.next(SourceEvent.WARNING)
        await watch.source.changed(before)
        assert watch.current.bundles[PARTNER].authorities == ()


def garbage(_api: DevWorkloadApi) -> bytes:
    return b"\xff\xff\xff"


def nothing_at_all(_api: DevWorkloadApi) -> bytes:
    return b""


def no_key(api: DevWorkloadApi) -> bytes:
    message = api.message("gate")
    message.svids[0].x509_svid_key = b""
    return message.SerializeToString()


def key_of_another(api: DevWorkloadApi) -> bytes:
    message = api.message("gate")
    message.svids[0].x509_svid_key = api.message("agent").svids[0].x509_svid_key
    return message.SerializeToString()


def id_of_another(api: DevWorkloadApi) -> bytes:
    message = api.message("gate")
    message.svids[0].spiffe_id = "spiffe://acme.test/admin"
    return message.SerializeToString()


@pytest.mark.parametrize("spoiled", [garbage, nothing_at_all, no_key, key_of_another, id_of_another])
async def test_malformed_message_is_discarded_and_the_next_good_one_taken(
    api: DevWorkloadApi, spoiled: Callable[[DevWorkloadApi], bytes]
) -> None:
    async with ready(api) as watch:
        before = watch.current
        api.send("gate", spoiled(api))
        detail = await watch.next(SourceEvent.MALFORMED)
        assert watch.current is before
        assert detail in watch.source.problem
        api.rotate("gate")
        await watch.source.changed(before)
        assert watch.source.problem == ""
        assert api.streams_opened("gate") == 1


async def test_malformed_first_message_gives_no_identity_and_says_why(api: DevWorkloadApi) -> None:
    api.send("gate", no_key(api))
    async with watched(api.endpoint("gate")) as watch:
        await watch.next(SourceEvent.MALFORMED)
        assert watch.source.current is None
        assert "x509_svid_key is empty" in watch.source.problem


async def test_message_beyond_the_size_limit_leaves_the_old_state(api: DevWorkloadApi) -> None:
    limits = SourceLimits(0.01, 0.05, message=MessageLimits(max_message_bytes=8192))
    async with watched(api.endpoint("gate"), limits=limits) as watch:
        await watch.source.wait_ready()
        before = watch.current
        message = api.message("gate")
        message.federated_bundles["spiffe://partner.test"] = api.authority("partner.test").bundle_der * 20
        assert message.ByteSize() > 8192
        api.send("gate", message.SerializeToString())
        await watch.next(SourceEvent.UNAVAILABLE)
        assert watch.current is before
        api.rotate("gate")
        await watch.source.changed(before)


async def test_permission_denied_takes_everything_away_until_the_identity_is_back(api: DevWorkloadApi) -> None:
    async with ready(api) as watch:
        before = watch.current
        api.withdraw("gate")
        await watch.source.changed(before)
        assert watch.source.current is None
        assert "no identity issued" in watch.source.problem
        api.restore("gate")
        await watch.source.wait_ready()
        assert watch.source.problem == ""


async def test_permission_denied_is_asked_again_and_again(api: DevWorkloadApi) -> None:
    api.withdraw("gate")
    async with watched(api.endpoint("gate")) as watch:
        for refusals in range(3):
            await watch.next(SourceEvent.PERMISSION_DENIED, after=refusals)
        api.restore("gate")
        await watch.source.wait_ready()


async def test_stream_that_ends_cleanly_is_taken_up_again_with_growing_pauses(api: DevWorkloadApi) -> None:
    limits = SourceLimits(retry_first_s=0.02, retry_max_s=5.0)
    async with watched(api.endpoint("gate"), limits=limits) as watch:
        started = trio.current_time()
        for taken in range(1, 5):
            while watch.count(SourceEvent.UPDATED) < taken:
                await watch.next(SourceEvent.UPDATED, after=len(watch.told))
            held = watch.current
            api.end_streams("gate")
            await watch.next(SourceEvent.UNAVAILABLE, after=2 * taken - 1)
            assert watch.current is held
        await watch.next(SourceEvent.UPDATED, after=2 * 4)
        # Half of 20, 40, 80 and 160 ms at least, although each stream delivered a good message.
        assert trio.current_time() - started >= 0.15
        assert api.streams_opened("gate") == 5


async def test_server_that_restarts_is_found_again_and_our_identity_stays_meanwhile(api: DevWorkloadApi) -> None:
    async with ready(api) as watch:
        before = watch.current
        await trio.to_thread.run_sync(api.stop)
        await watch.next(SourceEvent.UNAVAILABLE)
        assert watch.current is before
        assert "unavailable" in watch.source.problem
        await trio.to_thread.run_sync(api.start)
        await watch.source.changed(before)
        assert watch.source.problem == ""


async def test_keeps_trying_for_a_socket_that_is_not_there_yet(api: DevWorkloadApi) -> None:
    api.stop()
    async with watched(api.endpoint("gate")) as watch:
        await watch.next(SourceEvent.UNAVAILABLE)
        assert watch.source.current is None
        assert f"no socket at {api.directory / 'gate.sock'}" in watch.source.problem
        await trio.to_thread.run_sync(api.start)
        await watch.source.wait_ready()


@pytest.mark.parametrize("code", [grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.UNIMPLEMENTED])
async def test_what_is_no_workload_api_is_told_and_asked_again_slowly(
    api: DevWorkloadApi, code: grpc.StatusCode
) -> None:
    limits = SourceLimits(retry_first_s=0.001, retry_max_s=0.001, misuse_retry_s=0.2)
    async with watched(api.endpoint("gate"), limits=limits) as watch:
        await watch.source.wait_ready()
        before = watch.current
        api.refuse("gate", code, "not here")
        await watch.next(SourceEvent.MISUSED)
        refused_at, told = trio.current_time(), len(watch.told)
        assert watch.current is before
        assert "does not serve the SPIFFE Workload API" in watch.source.problem
        await watch.next(SourceEvent.MISUSED, after=told)
        assert trio.current_time() - refused_at >= 0.1
        api.restore("gate")
        await watch.source.changed(before)
        assert watch.source.problem == ""


async def test_own_svid_is_gone_when_it_expires_and_the_silent_stream_is_opened_anew(api: DevWorkloadApi) -> None:
    async with ready(api) as watch:
        before = watch.current
        watch.ahead_s = 301.0
        await watch.source.changed(before)
        assert watch.source.current is None
        assert "spiffe://acme.test/gate expired" in watch.source.problem
        # The second stream answers with the same SVID, which is as expired as before.
        await watch.next(SourceEvent.EXPIRED, after=len(watch.told))
        assert watch.source.current is None
        assert api.streams_opened("gate") == 2
        watch.ahead_s = 0.0
        api.rotate("gate")
        await watch.source.wait_ready()


async def test_own_svid_expires_although_the_workload_api_is_gone(api: DevWorkloadApi) -> None:
    async with ready(api) as watch:
        before = watch.current
        await trio.to_thread.run_sync(api.stop)
        await watch.next(SourceEvent.UNAVAILABLE)
        assert watch.current is before
        watch.ahead_s = 301.0
        await watch.source.changed(before)
        assert watch.source.current is None


async def test_svid_that_has_expired_already_is_no_identity(api: DevWorkloadApi) -> None:
    async with watched(api.endpoint("gate")) as watch:
        watch.ahead_s = 301.0
        await watch.next(SourceEvent.EXPIRED)
        assert watch.source.current is None
        assert watch.count(SourceEvent.UPDATED) == 0


def hinted(api: DevWorkloadApi, *hints: str) -> bytes:
    svids = []
    for number, hint in enumerate(hints):
        authority = api.authority("acme.test")
        chain, key = authority.issue(f"/{number}", now=time.time(), ttl_s=60)
        svids.append(
            X509SVID(
                spiffe_id=f"spiffe://acme.test/{number}",
                x509_svid=chain,
                x509_svid_key=key,
                bundle=authority.bundle_der,
                hint=hint,
            )
        )
    return X509SVIDResponse(svids=svids).SerializeToString()


async def test_our_hint_chooses_the_svid_that_comes_first(api: DevWorkloadApi) -> None:
    api.send("gate", hinted(api, "external", "internal", "", "internal"))
    async with ready(api, hint="internal") as watch:
        assert [svid.id.path for svid in watch.current.svids] == ["/1", "/0", "/2"]


async def test_without_a_hint_the_first_svid_is_ours(api: DevWorkloadApi) -> None:
    api.send("gate", hinted(api, "external", "internal"))
    async with ready(api) as watch:
        assert watch.current.svid.id.path == "/0"


async def test_message_without_our_hint_takes_the_identity_away(api: DevWorkloadApi) -> None:
    api.send("gate", hinted(api, "internal"))
    async with ready(api, hint="internal") as watch:
        api.send("gate", hinted(api, "external"))
        await watch.next(SourceEvent.HINT_MISSING)
        assert watch.source.current is None
        assert "'internal'" in watch.source.problem


async def test_cancelling_ends_a_silent_stream_at_once(api: DevWorkloadApi) -> None:
    async with ready(api) as watch:
        started = trio.current_time()
    assert trio.current_time() - started < 1.0
    assert watch.source.current is None
    assert "stopped" in watch.source.problem


async def test_cancelling_ends_an_attempt_that_nobody_answers_at_once(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as mute:
        mute.bind(str(tmp_path / "mute.sock"))
        mute.listen()
        mute.setblocking(False)
        async with watched(f"unix://{tmp_path}/mute.sock") as watch:
            await trio.lowlevel.wait_readable(mute)
            started = trio.current_time()
        assert trio.current_time() - started < 1.0
        assert watch.count(SourceEvent.UPDATED) == 0


async def test_cancelling_ends_a_pause_at_once(tmp_path: Path) -> None:
    limits = SourceLimits(retry_first_s=1000.0, retry_max_s=1000.0)
    async with watched(f"unix://{tmp_path}/none.sock", limits=limits) as watch:
        await watch.next(SourceEvent.UNAVAILABLE)
        started = trio.current_time()
    assert trio.current_time() - started < 1.0


async def test_source_can_be_run_again_after_it_was_stopped(api: DevWorkloadApi) -> None:
    async with ready(api) as watch:
        pass
    with trio.fail_after(PATIENCE_S):
        async with trio.open_nursery() as nursery:
            await nursery.start(watch.source.run)
            await watch.source.wait_ready()
            nursery.cancel_scope.cancel()


async def test_server_sees_the_stream_end_when_the_source_is_stopped(api: DevWorkloadApi) -> None:
    async with ready(api):
        pass
    # Every stream holds a thread of the server, which `stop` joins: it would hang if the call were left open.
    with trio.fail_after(PATIENCE_S):
        await trio.to_thread.run_sync(api.stop)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("callgate-dev")]


async def test_changed_returns_at_once_for_a_state_that_is_past(api: DevWorkloadApi) -> None:
    async with ready(api) as watch:
        with trio.fail_after(PATIENCE_S):
            await watch.source.changed(None)


def test_pauses_double_up_to_the_limit_and_start_over_after_a_stream_that_held() -> None:
    backoff = Backoff(first_s=0.1, max_s=5.0)
    steps_s = [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]
    for step_s in steps_s:
        assert step_s / 2 <= backoff.pause_s(lived_s=0.0) <= step_s
    assert 0.05 <= backoff.pause_s(lived_s=5.0) <= 0.1
    assert 0.1 <= backoff.pause_s(lived_s=4.9) <= 0.2


def test_pauses_are_jittered() -> None:
    assert len({jittered_s(1.0) for _ in range(20)}) > 1
