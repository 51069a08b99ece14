"""Webhooks over real sockets: what arrives, what is tried again, and what never holds anything up."""

import logging
import socket
import ssl
import subprocess
import sys
import time
from base64 import b64encode
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import orjson
import pytest
import trio
from standardwebhooks.webhooks import Webhook as Verifier

from callgate.approvals.happened import Happening
from callgate.approvals.model import Request, Verdict
from callgate.approvals.notify.notifiers import Fate
from callgate.approvals.notify.outbox import NoticeLimits
from callgate.approvals.notify.target import UnusableTarget
from callgate.approvals.notify.webhooks import Webhook, WebhookSettings
from callgate.approvals.sqlite_store import SqliteStore
from callgate.approvals.store_thread import StoreThread
from support import pki
from support.notified import ALICE, CALLER, CANARY, KEY, QUICK, SITE, Clock, notified
from support.webhook_receiver import Received, Receiver, answer

SECRET = f"whsec_{b64encode(bytes(range(24))).decode()}"
ALL = frozenset(Happening)


def settings_for(folder: Path, receiver: Receiver, name: str = "ops", **changes: object) -> WebhookSettings:
    file = folder / f"{name}-secret"
    file.write_text(SECRET)
    file.chmod(0o600)
    return replace(WebhookSettings(name, receiver.url, file, ALL), **changes)  # type: ignore[arg-type]


def hooks(clock: Clock, *settings: WebhookSettings) -> Callable[[StoreThread], Sequence[Webhook]]:
    return lambda _: [Webhook(each, clock.moment) for each in settings]


def types(received: Sequence[Received]) -> list[str]:
    return [orjson.loads(each.body)["type"] for each in received]


async def test_each_happening_arrives_signed_and_without_arguments(tmp_path: Path) -> None:
    clock = Clock(wall=time.time())
    async with (
        Receiver.open() as receiver,
        notified(tmp_path, clock, hooks(clock, settings_for(tmp_path, receiver))) as desk,
    ):
        request = await desk.ask()
        await receiver.came(1)
        await desk.desk.opened(request.id, ALICE)
        await receiver.came(2)
        await desk.say(request, Verdict.DENY, reason="not today")
        received = await receiver.came(3)
        for each in received:
            Verifier(SECRET).verify(each.body, each.headers)
            assert "." not in each.headers["webhook-id"]
            assert CANARY not in str(each)
        assert types(received) == ["approval.asked", "approval.seen", "approval.denied"]
        assert len({each.headers["webhook-id"] for each in received}) == 3
        asked, seen, denied = (orjson.loads(each.body)["data"] for each in received)
        assert asked == {
            "id": request.id,
            "state": "waiting",
            "caller": CALLER,
            "server": "payments",
            "tool": "refund",
            "rules": ["refunds-over-500"],
            "expires_at": asked["expires_at"],
            "url": f"{SITE}/approvals/r/{request.id}",
        }
        assert seen["seen_by"] == "alice@acme.test"
        assert (denied["state"], denied["decided_by"], denied["reason"]) == ("denied", "alice@acme.test", "not today")
        assert desk.notifiers.problems == {}


async def test_only_what_a_receiver_wants_is_sent_to_it(tmp_path: Path) -> None:
    clock = Clock()
    async with Receiver.open() as receiver:
        wanted = settings_for(tmp_path, receiver, events=frozenset({Happening.APPROVED}))
        async with notified(tmp_path, clock, hooks(clock, wanted)) as desk:
            request = await desk.ask()
            await desk.say(request)
            await receiver.came(1)
            await desk.counted("ops", Fate.DELIVERED)
    assert types(receiver.received) == ["approval.approved"]


async def test_a_failure_is_retried_by_the_schedule_with_the_same_id_and_a_new_timestamp(tmp_path: Path) -> None:
    clock = Clock(wall=time.time())
    async with (
        Receiver.open() as receiver,
        notified(tmp_path, clock, hooks(clock, settings_for(tmp_path, receiver))) as desk,
    ):
        receiver.answers = [answer(500), answer(500), answer(204)]
        began = clock.wall
        await desk.ask()
        await desk.counted("ops", Fate.FAILED)
        assert desk.notifiers.problems == {"ops": "Notices are not delivered: HTTP 500."}
        clock.wall = began + 5
        await desk.counted("ops", Fate.FAILED, 2)
        clock.wall = began + 305
        await desk.counted("ops", Fate.DELIVERED)
        assert desk.notifiers.problems == {}
        assert len({each.headers["webhook-id"] for each in receiver.received}) == 1
        assert len({each.body for each in receiver.received}) == 1
        assert desk.unreached == ["ops", "ops"]
        sent = [int(each.headers["webhook-timestamp"]) - int(began) for each in receiver.received]
        assert sent == [0, 5, 305]


async def test_a_notice_is_given_up_after_the_whole_schedule_and_that_is_seen(tmp_path: Path) -> None:
    clock = Clock()
    limits = replace(QUICK, retries_s=(5.0, 300.0))
    async with Receiver.open() as receiver:
        receiver.answers = [answer(500)]
        wanted = settings_for(tmp_path, receiver, events=frozenset({Happening.DENIED}))
        async with notified(tmp_path, clock, hooks(clock, wanted), limits=limits) as desk:
            await desk.say(await desk.ask(), Verdict.DENY)
            for failed in (1, 2):
                await desk.counted("ops", Fate.FAILED, failed)
                clock.wall += 1000
            await desk.counted("ops", Fate.GIVEN_UP)
            assert await desk.store.do(lambda store: store.notices_due(clock.wall + 1e9, 10)) == ()
    assert len(receiver.received) == 3


async def test_the_schedule_is_the_one_that_the_specification_gives_as_its_example() -> None:
    # "5 seconds, 5 minutes, 30 minutes, 2 hours, 5 hours, 10 hours, 14 hours, 20 hours, 24 hours"
    minutes = (5 / 60, 5, 30, 120, 300, 600, 840, 1200, 1440)
    assert NoticeLimits().retries_s == tuple(each * 60 for each in minutes)


async def test_what_was_told_before_a_crash_is_delivered_after_it(tmp_path: Path) -> None:
    clock = Clock()
    async with Receiver.open() as receiver:
        wanted = settings_for(tmp_path, receiver)
        async with notified(tmp_path, clock, hooks(clock, wanted), delivers=False) as desk:
            await desk.ask()
        assert receiver.received == []
        async with notified(tmp_path, clock, hooks(clock, wanted)) as desk:
            await receiver.came(1)
            await desk.counted("ops", Fate.DELIVERED)


async def test_a_delivery_that_a_crash_cut_off_is_made_again_with_the_same_id(tmp_path: Path) -> None:
    clock = Clock()
    async with Receiver.open() as receiver:
        wanted = settings_for(tmp_path, receiver)
        receiver.held = trio.Event()
        async with notified(tmp_path, clock, hooks(clock, wanted)) as desk:
            await desk.ask()
            await receiver.came(1)
        receiver.held.set()
        async with notified(tmp_path, clock, hooks(clock, wanted)) as desk:
            # Still claimed by the process that is no more.
            with trio.move_on_after(0.2):
                await receiver.came(2)
            assert len(receiver.received) == 1
            clock.wall += NoticeLimits().claim_s
            await receiver.came(2)
            await desk.counted("ops", Fate.DELIVERED)
    assert len({each.headers["webhook-id"] for each in receiver.received}) == 1


async def test_nothing_that_was_told_is_lost_by_a_kill(tmp_path: Path) -> None:
    clock = Clock()
    tests = Path(__file__).parent.parent
    async with Receiver.open() as receiver:
        wanted = settings_for(tmp_path, receiver)
        receiver.held = trio.Event()
        command = [sys.executable, "-m", "support.notifying_process"]
        command += [str(tmp_path), receiver.url, str(wanted.secret_file)]
        process = await trio.lowlevel.open_process(command, cwd=tests, stdout=subprocess.PIPE)
        assert process.stdout is not None
        assert await process.stdout.receive_some() == b"told\n"
        before = {each.headers["webhook-id"] for each in await receiver.came(4)}
        process.kill()
        await process.wait()
        await process.stdout.aclose()
        receiver.held.set()
        clock.wall += NoticeLimits().claim_s
        async with notified(tmp_path, clock, hooks(clock, wanted)) as desk:
            await desk.counted("ops", Fate.DELIVERED, 5)
    after = {each.headers["webhook-id"] for each in receiver.received[4:]}
    assert len(after) == 5
    assert before < after


async def test_two_processes_that_share_the_outbox_send_each_notice_once(tmp_path: Path) -> None:
    clock = Clock()
    async with Receiver.open() as receiver:
        wanted = settings_for(tmp_path, receiver)
        async with (
            notified(tmp_path, clock, hooks(clock, wanted)) as desk,
            notified(tmp_path, clock, hooks(clock, wanted)) as other,
        ):
            async with trio.open_nursery() as nursery:
                for number in range(10):
                    nursery.start_soon(desk.ask, f"a{number}")
                    nursery.start_soon(other.ask, f"b{number}")
            await receiver.came(20)
            await desk.until(lambda: desk.count("ops", Fate.DELIVERED) + other.count("ops", Fate.DELIVERED) == 20)
            assert await desk.store.do(lambda store: store.notices_due(clock.wall + 1e9, 10)) == ()
    assert len(receiver.received) == 20
    assert len({each.headers["webhook-id"] for each in receiver.received}) == 20


async def test_a_request_that_has_ended_is_not_announced_any_more(tmp_path: Path) -> None:
    clock = Clock()
    async with (
        Receiver.open() as receiver,
        notified(tmp_path, clock, hooks(clock, settings_for(tmp_path, receiver))) as desk,
    ):
        receiver.answers = [answer(500), answer(204)]
        request = await desk.ask()
        await desk.counted("ops", Fate.FAILED)
        await desk.say(request)
        await desk.counted("ops", Fate.DELIVERED)
        clock.wall += 10
        await desk.counted("ops", Fate.DROPPED)
    assert types(receiver.received) == ["approval.asked", "approval.approved"]


async def test_a_receiver_that_is_slow_does_not_hold_up_another(tmp_path: Path) -> None:
    clock = Clock()
    async with Receiver.open() as slow, Receiver.open() as quick:
        slow.held = trio.Event()
        wanted = (settings_for(tmp_path, slow, "slow"), settings_for(tmp_path, quick, "quick"))
        limits = replace(QUICK, look_at=8)
        async with notified(tmp_path, clock, hooks(clock, *wanted), limits=limits) as desk:
            for number in range(12):
                await desk.ask(f"t{number}")
            await quick.came(12)
            await slow.came(4)
            assert slow.most_at_once == 4
            assert quick.most_at_once <= 4


async def test_whoever_tells_is_not_held_up_by_a_receiver(tmp_path: Path) -> None:
    clock = Clock()
    async with Receiver.open() as receiver:
        receiver.held = trio.Event()
        async with notified(tmp_path, clock, hooks(clock, settings_for(tmp_path, receiver))) as desk:
            request = await desk.ask()
            await receiver.came(1)
            assert isinstance(await desk.say(request), Request)


async def test_410_ends_it_for_this_target_and_is_seen(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    async with (
        Receiver.open() as receiver,
        notified(tmp_path, clock, hooks(clock, settings_for(tmp_path, receiver))) as desk,
    ):
        receiver.answers = [answer(410)]
        request = await desk.ask()
        await desk.counted("ops", Fate.DROPPED)
        assert desk.notifiers.problems == {
            "ops": "It answered 410 Gone; it is told nothing more until the gate starts anew."
        }
        await desk.say(request)
        assert await desk.store.do(lambda store: store.notices_due(clock.wall + 1e9, 10)) == ()
    assert len(receiver.received) == 1
    assert sum("410" in record.getMessage() for record in caplog.records) == 1


async def test_who_is_gone_stays_gone_whatever_was_under_way_to_it(tmp_path: Path) -> None:
    clock = Clock()
    async with (
        Receiver.open() as receiver,
        notified(tmp_path, clock, hooks(clock, settings_for(tmp_path, receiver))) as desk,
    ):
        receiver.held = trio.Event()
        receiver.answers = [answer(410), answer(500), answer(204)]
        for number in range(3):
            await desk.ask(f"t{number}")
        await receiver.came(3)
        receiver.held.set()
        await desk.counted("ops", Fate.FAILED)
        await desk.counted("ops", Fate.DELIVERED)
        await desk.counted("ops", Fate.DROPPED)
        assert "410 Gone" in desk.notifiers.problems["ops"]


async def test_retry_after_is_honoured_for_all_notices_of_the_target(tmp_path: Path) -> None:
    clock = Clock()
    async with (
        Receiver.open() as receiver,
        notified(tmp_path, clock, hooks(clock, settings_for(tmp_path, receiver))) as desk,
    ):
        receiver.answers = [answer(429, "Retry-After: 1"), answer(204)]
        await desk.ask("first")
        await desk.counted("ops", Fate.FAILED)
        clock.wall += 10
        await desk.ask("second")
        await receiver.came(3)
    first, second, _ = (each.at for each in receiver.received)
    assert second - first >= 1.0


async def test_a_redirect_is_not_followed(tmp_path: Path) -> None:
    clock = Clock()
    async with (
        Receiver.open() as elsewhere,
        Receiver.open() as receiver,
        notified(tmp_path, clock, hooks(clock, settings_for(tmp_path, receiver))) as desk,
    ):
        receiver.answers = [answer(307, f"Location: {elsewhere.url}")]
        await desk.ask()
        await desk.counted("ops", Fate.FAILED)
        assert desk.notifiers.problems["ops"].endswith("HTTP 307, and redirects are not followed.")
    assert elsewhere.received == []


async def test_an_answer_without_end_is_not_read(tmp_path: Path) -> None:
    clock = Clock()
    async with (
        Receiver.open() as receiver,
        notified(tmp_path, clock, hooks(clock, settings_for(tmp_path, receiver))) as desk,
    ):
        receiver.answers = [b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n"]
        receiver.endless = True
        await desk.ask()
        with trio.fail_after(10):
            await desk.counted("ops", Fate.DELIVERED)


async def test_a_receiver_that_never_answers_is_a_failure_in_time(tmp_path: Path) -> None:
    clock = Clock()
    async with Receiver.open() as receiver:
        receiver.held = trio.Event()
        wanted = settings_for(tmp_path, receiver, timeout_s=0.3)
        async with notified(tmp_path, clock, hooks(clock, wanted)) as desk:
            await desk.ask()
            await desk.counted("ops", Fate.FAILED)
            assert desk.notifiers.problems["ops"] == "Notices are not delivered: no answer within 0.3 s."


async def test_a_refused_connection_is_a_failure_that_says_so(tmp_path: Path) -> None:
    clock = Clock()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    wanted = settings_for(tmp_path, Receiver(port, "http"))
    async with notified(tmp_path, clock, hooks(clock, wanted)) as desk:
        request = await desk.ask()
        await desk.counted("ops", Fate.FAILED)
        assert "ops" in desk.notifiers.problems
        found = await desk.desk.opened(request.id, None)
        assert found is not None
        assert found.state == "waiting"


def _server(folder: Path, dns_name: str) -> tuple[ssl.SSLContext, Path]:
    """A server's TLS, and the file of the authority that vouches for it."""
    authority = pki.Authority.root("acme.test", now=time.time())
    issued = authority.issue(pki.workload("spiffe://acme.test/hooks", now=time.time(), dns_names=(dns_name,)))
    chain, ca_file = folder / "chain.pem", folder / "ca.pem"
    chain.write_bytes(issued.chain_pem + issued.key_pem)
    ca_file.write_text(ssl.DER_cert_to_PEM_cert(authority.der))
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(chain)
    return tls, ca_file


async def test_tls_is_verified_against_the_authorities_that_are_configured(tmp_path: Path) -> None:
    clock = Clock()
    tls, ca_file = _server(tmp_path, "localhost")
    async with Receiver.open(tls) as receiver:
        async with notified(tmp_path, clock, hooks(clock, settings_for(tmp_path, receiver, ca_file=ca_file))) as desk:
            await desk.ask("good")
            await desk.counted("ops", Fate.DELIVERED)
        async with notified(tmp_path, clock, hooks(clock, settings_for(tmp_path, receiver))) as desk:
            await desk.ask("unknown authority")
            await desk.counted("ops", Fate.FAILED)
            assert "certificate is not trusted" in desk.notifiers.problems["ops"]
    assert len(receiver.received) == 1


async def test_nothing_is_sent_to_a_server_with_another_name(tmp_path: Path) -> None:
    clock = Clock()
    tls, ca_file = _server(tmp_path, "elsewhere.acme.test")
    async with (
        Receiver.open(tls) as receiver,
        notified(tmp_path, clock, hooks(clock, settings_for(tmp_path, receiver, ca_file=ca_file))) as desk,
    ):
        await desk.ask()
        await desk.counted("ops", Fate.FAILED)
    assert receiver.received == []


@pytest.mark.parametrize(
    "url", ["http://hooks.acme.test/x", "ftp://hooks.acme.test/", "https://user:word@hooks.acme.test/", "hooks"]
)
def test_a_url_that_is_not_https_is_refused_at_start(tmp_path: Path, url: str) -> None:
    (tmp_path / "secret").write_text(SECRET)
    with pytest.raises(UnusableTarget):
        Webhook(WebhookSettings("ops", url, tmp_path / "secret"), Clock().moment)


async def test_no_log_line_holds_a_secret_an_argument_or_what_a_receiver_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Clock()
    caplog.set_level(logging.DEBUG)
    async with (
        Receiver.open() as receiver,
        notified(tmp_path, clock, hooks(clock, settings_for(tmp_path, receiver))) as desk,
    ):
        receiver.answers = [answer(500, body=b"body-canary"), b"body-canary garbage\r\n\r\n", answer(204)]
        await desk.ask("one")
        await desk.counted("ops", Fate.FAILED)
        clock.wall += 6
        await desk.counted("ops", Fate.FAILED, 2)
        clock.wall += 400
        await desk.counted("ops", Fate.DELIVERED)
        said = "\n".join(record.getMessage() for record in caplog.records if record.name.startswith("callgate"))
        said += str(desk.notifiers.problems)
    assert "notices are delivered again" in said
    for never in (CANARY, SECRET.removeprefix("whsec_"), "body-canary"):
        assert never not in said


async def test_a_change_of_state_is_logged_once_however_many_notices_fail(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Clock()
    async with (
        Receiver.open() as receiver,
        notified(tmp_path, clock, hooks(clock, settings_for(tmp_path, receiver))) as desk,
    ):
        receiver.answers = [answer(500)]
        for number in range(5):
            await desk.ask(f"t{number}")
        await desk.counted("ops", Fate.FAILED, 5)
    assert sum("not delivered" in record.getMessage() for record in caplog.records) == 1


async def test_what_the_store_does_not_take_waits_in_memory_and_is_seen(tmp_path: Path) -> None:
    clock = Clock()
    # So small that the store cannot have answered.
    limits = replace(QUICK, tell_s=0.0, unkept=2)
    async with Receiver.open() as receiver:
        wanted = settings_for(tmp_path, receiver, events=frozenset({Happening.ASKED}))
        async with notified(tmp_path, clock, hooks(clock, wanted), limits=limits, delivers=False) as desk:
            for number in range(3):
                await desk.ask(f"t{number}")
            assert desk.notifiers.problems == {"ops": "Notices wait for the store."}
            assert desk.count("ops", Fate.LOST) == 1
            assert desk.unreached == ["ops"]


async def test_what_was_told_while_the_store_was_away_is_delivered_later(tmp_path: Path) -> None:
    clock = Clock()
    async with Receiver.open() as receiver:
        wanted = settings_for(tmp_path, receiver)
        async with notified(tmp_path, clock, hooks(clock, wanted)) as desk:
            await desk.ask()
            await desk.counted("ops", Fate.DELIVERED)
        # Its store has ended.
        await desk.notifiers.tell(replace(desk.told[0], happening=Happening.DENIED))
        assert desk.notifiers.problems == {"ops": "Notices wait for the store."}
        store = StoreThread(SqliteStore(tmp_path / "approvals.db", KEY), patience_s=20)
        desk.notifiers._store = store
        async with trio.open_nursery() as nursery:
            await nursery.start(store.run)
            nursery.start_soon(desk.notifiers.run)
            await desk.counted("ops", Fate.DELIVERED, 2)
            nursery.cancel_scope.cancel()
        assert desk.notifiers.problems == {}


async def test_a_receiver_that_is_no_longer_configured_is_told_nothing(tmp_path: Path) -> None:
    clock = Clock()
    async with Receiver.open() as receiver, Receiver.open() as other:
        before, after = settings_for(tmp_path, receiver), settings_for(tmp_path, other, "other")
        async with notified(tmp_path, clock, hooks(clock, before), delivers=False) as desk:
            await desk.ask()
        async with notified(tmp_path, clock, hooks(clock, after)) as desk:
            await desk.counted("", Fate.DROPPED)
            assert await desk.store.do(lambda store: store.notices_due(clock.wall + 1e9, 10)) == ()
    assert receiver.received == other.received == []
