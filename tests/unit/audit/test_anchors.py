"""Checkpoints leave the log's folder: real files, real sockets, real signatures."""

import json
import logging
import os
import stat
import threading
from io import StringIO
from pathlib import Path

import pytest
import trio
from opentelemetry.sdk.resources import Resource

from callgate.audit.anchor_places import append_line
from callgate.audit.anchors import AnchorLimits, Anchors
from callgate.audit.checkpoint import Checkpoint, VerifierKey
from callgate.telemetry.log_events import CheckpointEvents, checkpoint_events
from callgate.telemetry.logs import set_up_logging
from support.anchoring import BEGAN_NS, ORIGIN, QUICK, GrowingLog, anchored, everywhere, kept_in, until
from support.collector import Answer, BlackHole, Collector, DeadPort

RESOURCE = Resource({"service.name": "callgate"})


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("OTEL_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


def _events(url: str) -> CheckpointEvents:
    events = checkpoint_events(url, RESOURCE, ORIGIN)
    assert events is not None
    return events


async def test_a_checkpoint_kept_elsewhere_verifies_with_the_public_key_alone(tmp_path: Path) -> None:
    log = GrowingLog()
    async with anchored(tmp_path / "kept") as anchors:
        log.offer_to(anchors, 3)
    *_, last = kept_in(tmp_path / "kept")
    found = VerifierKey.parse(log.key.vkey).verify(last)
    assert found == Checkpoint(ORIGIN, 3, log.tree.root())


async def test_a_file_gets_one_line_of_json_for_each_in_the_order_of_the_log(tmp_path: Path) -> None:
    log = GrowingLog()
    async with anchored(tmp_path / "kept") as anchors:
        for _ in range(3):
            log.offer_to(anchors)
            await everywhere(anchors)
    first, *_ = (tmp_path / "kept").read_text().splitlines()
    assert json.loads(first) == {"time": "2026-01-07T12:00:01.000000000Z", "note": log.notes[0]}
    assert log.verified(kept_in(tmp_path / "kept")) == [1, 2, 3]


async def test_what_a_file_holds_already_stays_and_a_new_one_is_its_owners_alone(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    old.write_text('{"time": "2025-12-31T00:00:00.000000000Z", "note": "before"}\n')
    async with anchored(old, new) as anchors:
        note = GrowingLog().offer_to(anchors)
    assert kept_in(old) == ["before", note]
    assert stat.S_IMODE(new.stat().st_mode) == 0o600


async def test_a_url_gets_the_note_as_it_is() -> None:
    log = GrowingLog()
    with Collector() as witness:
        async with anchored(f"{witness.url}/add?log=1") as anchors:
            note = log.offer_to(anchors)
            await everywhere(anchors)
    (request,) = witness.received
    assert (request.target, request.body) == ("/add?log=1", note.encode())
    assert request.headers["content-type"] == "text/plain; charset=utf-8"
    assert log.verified([request.body.decode()]) == [1]


async def test_a_collector_gets_the_note_as_the_body_of_an_event() -> None:
    log = GrowingLog()
    with Collector() as collector:
        async with anchored(otlp=_events(collector.url)) as anchors:
            note = log.offer_to(anchors)
            (event,) = await trio.to_thread.run_sync(collector.wait_for_logs, 1)
    assert (event.event, event.body, event.at_ns) == ("callgate.audit.checkpoint", note, BEGAN_NS + 10**9)
    assert event.attributes == {"callgate.audit.origin": ORIGIN, "callgate.audit.size": 1}
    assert log.verified([event.body]) == [1]


async def test_of_checkpoints_that_could_not_be_sent_only_the_newest_is(tmp_path: Path) -> None:
    folder = tmp_path / "not-there-yet"
    log = GrowingLog()
    async with anchored(folder / "kept") as anchors:
        for _ in range(5):
            log.offer_to(anchors)
            await until(lambda: anchors.states[0].problem)
        folder.mkdir()
        await everywhere(anchors)
        assert log.verified(kept_in(folder / "kept")) == [5]


async def test_a_busy_log_sends_one_in_a_while_and_that_is_the_newest(tmp_path: Path) -> None:
    log = GrowingLog()
    patient = AnchorLimits(every_s=3600)
    async with anchored(tmp_path / "kept", limits=patient) as anchors:
        log.offer_to(anchors)
        await everywhere(anchors)
        log.offer_to(anchors, 1000)
    assert log.verified(kept_in(tmp_path / "kept")) == [1, 1001]


async def test_is_offered_checkpoints_by_any_thread(tmp_path: Path) -> None:
    log = GrowingLog()
    async with anchored(tmp_path / "kept") as anchors:
        thread = threading.Thread(target=log.offer_to, args=(anchors, 50))
        thread.start()
        await trio.to_thread.run_sync(thread.join)
        await everywhere(anchors)
        assert log.verified(kept_in(tmp_path / "kept"))[-1] == 50


async def test_what_was_offered_before_it_runs_is_sent_once_it_does(tmp_path: Path) -> None:
    anchors = Anchors([str(tmp_path / "kept")], limits=QUICK)
    note = GrowingLog().offer_to(anchors)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(anchors.run)
        await everywhere(anchors)
        await anchors.close()
    assert kept_in(tmp_path / "kept") == [note]


async def test_the_last_checkpoint_is_delivered_at_the_end_although_its_turn_has_not_come(tmp_path: Path) -> None:
    log = GrowingLog()
    with Collector() as witness, Collector() as collector:
        slow = AnchorLimits(every_s=3600)
        async with anchored(tmp_path / "kept", witness.url, otlp=_events(collector.url), limits=slow) as anchors:
            log.offer_to(anchors)
            await everywhere(anchors)
            last = log.offer_to(anchors)
        assert kept_in(tmp_path / "kept")[-1] == last
        assert witness.received[-1].body.decode() == last
        assert collector.logs[-1].body == last


async def test_the_last_checkpoint_is_delivered_where_everything_is_cancelled(tmp_path: Path) -> None:
    log = GrowingLog()
    anchors = Anchors([str(tmp_path / "kept")], limits=QUICK)
    with trio.CancelScope() as everything:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(anchors.run)
            everything.cancel()
    log.offer_to(anchors)
    with trio.CancelScope() as ending:
        ending.cancel()
        await anchors.close()
    assert log.verified(kept_in(tmp_path / "kept")) == [1]


async def test_the_end_takes_two_seconds_at_most_whoever_hangs(tmp_path: Path) -> None:
    with BlackHole() as witness, BlackHole() as collector:
        limits = AnchorLimits()
        started = trio.current_time()
        async with anchored(witness.url, tmp_path / "kept", otlp=_events(collector.url), limits=limits) as anchors:
            GrowingLog().offer_to(anchors)
            for hung in (witness, collector):
                assert await trio.to_thread.run_sync(hung.connected.wait, 5.0)
            started = trio.current_time()
        assert trio.current_time() - started < 2.2
    assert len(kept_in(tmp_path / "kept")) == 1


async def test_after_the_end_nothing_is_sent(tmp_path: Path) -> None:
    log = GrowingLog()
    async with anchored(tmp_path / "kept") as anchors:
        log.offer_to(anchors)
    log.offer_to(anchors)
    await anchors.close()
    assert log.verified(kept_in(tmp_path / "kept")) == [1]


async def test_a_place_that_hangs_keeps_no_other_waiting(tmp_path: Path) -> None:
    with BlackHole() as hole, DeadPort() as dead:
        async with anchored(hole.url, dead.url, tmp_path / "no-folder/kept", tmp_path / "kept") as anchors:
            log = GrowingLog()
            for _ in range(3):
                log.offer_to(anchors)
                await until(lambda: anchors.states[3].size == log.tree.size)
            await until(lambda: all(state.problem for state in anchors.states[:3]))
        assert log.verified(kept_in(tmp_path / "kept")) == [1, 2, 3]


async def test_the_state_tells_what_a_place_has_and_since_when_it_lacks_the_newest(tmp_path: Path) -> None:
    log = GrowingLog()
    kept = tmp_path / "kept"
    async with anchored(kept) as anchors:
        log.offer_to(anchors)
        await everywhere(anchors)
        (state,) = anchors.states
        assert (state.name, state.size, state.problem) == (str(kept), 1, "")
        assert anchors.ages(BEGAN_NS + 10 * 10**9) == {str(kept): 0.0}
        kept.unlink()
        kept.mkdir()
        log.offer_to(anchors, 3)
        await until(lambda: state.problem)
        assert (state.size, state.problem) == (1, "EISDIR: Is a directory")
        # The second checkpoint is the first that it lacks.
        assert anchors.ages(BEGAN_NS + 10 * 10**9) == {str(kept): 8.0}
        expected = f"checkpoints of the log do not reach {kept} since 2026-01-07T12:00:02+00:00: EISDIR: Is a directory"
        assert list(anchors.notes) == [expected]
        kept.rmdir()
        await everywhere(anchors)
        assert not anchors.notes


async def test_places_are_named_by_their_path_or_host_and_no_two_alike() -> None:
    urls = ["https://user:secret@witness.acme.test:8443/a?key=secret", "http://witness.acme.test:8443/b"]
    with Collector() as collector:
        anchors = Anchors(["relative", *urls], _events(collector.url))
        names = [state.name for state in anchors.states]
        await anchors.close()
    assert names == ["relative", "witness.acme.test:8443", "witness.acme.test:8443 (2)", "collector"]


async def test_no_secret_of_a_url_is_in_a_state_a_note_or_a_log_line() -> None:
    out = StringIO()
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    set_up_logging(out, level=logging.DEBUG)
    try:
        with DeadPort() as dead, Collector(answers=[Answer(302, {"location": "http://canary-2/"})]) as witness:
            host = witness.url.removeprefix("http://")
            urls = [f"{dead.url}/canary-1?key=canary-1", f"http://canary-3:canary-4@{host}/canary-5?k=canary-6"]
            async with anchored(*urls, "http://canary.invalid:99999/canary-7") as anchors:
                GrowingLog().offer_to(anchors)
                await until(lambda: all(state.problem or state.size for state in anchors.states))
                said = str(anchors.states) + str(anchors.notes) + str(anchors.ages(0))
    finally:
        root.handlers[:] = before
        root.setLevel(level)
    assert out.getvalue().count("do not reach") == 3
    for number in range(1, 8):
        assert f"canary-{number}" not in said + out.getvalue()


async def test_a_place_that_fails_for_long_is_one_log_line_and_one_when_it_is_over(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "callgate")
    with Collector(status=503) as witness:
        async with anchored(witness.url) as anchors:
            log = GrowingLog()
            for count in range(1, 6):
                log.offer_to(anchors)
                await trio.to_thread.run_sync(witness.wait_for_requests, count)
            witness.status = 200
            await everywhere(anchors)
            await until(lambda: not anchors.states[0].problem)
    name = witness.url.removeprefix("http://")
    assert [(line.levelname, line.getMessage()) for line in caplog.records] == [
        ("WARNING", f"checkpoints of the log do not reach {name}: HTTP 503"),
        ("INFO", f"checkpoints of the log reach {name} again, up to record 5"),
    ]


async def test_a_redirect_is_not_followed() -> None:
    with Collector() as elsewhere, Collector(answers=[Answer(307, {"location": elsewhere.url})]) as witness:
        async with anchored(witness.url, limits=AnchorLimits(retry_first_s=3600, retry_max_s=3600)) as anchors:
            GrowingLog().offer_to(anchors)
            await until(lambda: anchors.states[0].problem)
            assert anchors.states[0].problem == "HTTP 307, and redirects are not followed"
    assert elsewhere.requests == 0


async def test_a_proxy_that_the_environment_names_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_PROXY")
    with Collector() as proxy, Collector() as witness:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        async with anchored(witness.url) as anchors:
            GrowingLog().offer_to(anchors)
            await everywhere(anchors)
        assert (proxy.requests, witness.requests) == (0, 1)


async def test_a_collector_without_logs_is_not_asked_again_soon_nor_complained_of(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "callgate")
    with Collector(without={"/v1/logs"}) as collector:
        patient = AnchorLimits(every_s=0.01, retry_first_s=0.01, retry_max_s=0.01)
        async with anchored(otlp=_events(collector.url), limits=patient) as anchors:
            log = GrowingLog()
            log.offer_to(anchors)
            await until(lambda: anchors.states[0].refused)
            for _ in range(20):
                log.offer_to(anchors)
                anchors.outage("ENOSPC", BEGAN_NS)
                await trio.sleep(0.01)
            assert anchors.notes == ()
            assert anchors.ages(BEGAN_NS) == {}
    assert collector.requests == 1
    assert [(line.levelname, line.getMessage()) for line in caplog.records] == [
        ("INFO", "collector takes no checkpoints of the log, and is sent none: HTTP 404 Not Found")
    ]


async def test_a_collector_that_takes_logs_later_gets_them() -> None:
    with Collector(answers=[Answer(405), Answer(501)]) as collector:
        async with anchored(otlp=_events(collector.url)) as anchors:
            note = GrowingLog().offer_to(anchors)
            (event,) = await trio.to_thread.run_sync(collector.wait_for_logs, 1)
            await everywhere(anchors)
            assert anchors.ages(BEGAN_NS) == {"collector": 0.0}
    assert event.body == note


async def test_outages_are_told_of_once_the_collector_is_back_and_none_is_told_twice() -> None:
    with Collector(status=503) as collector:
        events = checkpoint_events(collector.url, RESOURCE, ORIGIN)
        async with anchored(otlp=events) as anchors:
            anchors.outage("ENOSPC", BEGAN_NS)
            anchors.recovered(BEGAN_NS, BEGAN_NS + 2_500_000_000)
            await trio.to_thread.run_sync(collector.wait_for_requests, 2)
            collector.status = 200
            await trio.to_thread.run_sync(collector.wait_for_logs, 2)
            GrowingLog().offer_to(anchors)
            found = await trio.to_thread.run_sync(collector.wait_for_logs, 3)
    assert [(each.event, each.severity[1]) for each in found] == [
        ("callgate.audit.outage", "ERROR"),
        ("callgate.audit.recovered", "INFO"),
        ("callgate.audit.checkpoint", "INFO"),
    ]
    assert found[0].attributes["error.type"] == "ENOSPC"
    assert found[1].attributes["callgate.audit.outage.duration"] == 2.5


async def test_without_a_place_it_ends_at_once() -> None:
    anchors = Anchors([])
    GrowingLog().offer_to(anchors)
    anchors.outage("slow", BEGAN_NS)
    await anchors.run()
    await anchors.close()
    assert (anchors.states, anchors.notes, anchors.ages(BEGAN_NS)) == ((), (), {})


def test_a_line_that_was_torn_off_does_not_spoil_the_next(tmp_path: Path) -> None:
    path = tmp_path / "kept"
    path.write_bytes(b'{"time": "2026-01-07T12:00:00.0')
    append_line(path, b'{"note": "a"}\n')
    append_line(path, b'{"note": "b"}\n')
    assert path.read_bytes().splitlines()[1:] == [b'{"note": "a"}', b'{"note": "b"}']
