"""Places that checkpoints go to, and what can be wrong with them: real faults, and all comes back by itself."""

import os
import ssl
import sys
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final

import pytest
import trio
import trustme
from opentelemetry.sdk.resources import Resource

from callgate.audit.anchors import AnchorLimits
from callgate.telemetry.log_events import checkpoint_events
from support.anchoring import ORIGIN, GrowingLog, anchored, everywhere, kept_in, until
from support.collector import Collector, DeadPort

Spoil = Callable[[Path], None]
_TESTS: Final = Path(__file__).parents[1]


def _no_folder(path: Path) -> None:
    path.parent.rmdir()


def _folder_is_a_file(path: Path) -> None:
    path.parent.rmdir()
    path.parent.touch()


def _folder_itself(path: Path) -> None:
    path.mkdir()


def _link_elsewhere(path: Path) -> None:
    path.symlink_to(path.with_name("elsewhere"))


def _fifo(path: Path) -> None:
    os.mkfifo(path)


@pytest.mark.parametrize(
    ("spoil", "problem"),
    [
        (_no_folder, "ENOENT: No such file or directory"),
        (_folder_is_a_file, "ENOTDIR: Not a directory"),
        (_folder_itself, "EISDIR: Is a directory"),
        (_link_elsewhere, "ELOOP: Too many levels of symbolic links"),
        (_fifo, "EINVAL: is no regular file, so that nothing is kept in it"),
    ],
)
async def test_a_path_that_cannot_be_kept_at_is_told_of_and_used_once_it_can(
    tmp_path: Path, spoil: Spoil, problem: str
) -> None:
    path = tmp_path / "mount" / "kept"
    path.parent.mkdir()
    spoil(path)
    log = GrowingLog()
    async with anchored(path) as anchors:
        log.offer_to(anchors)
        await until(lambda: anchors.states[0].problem)
        assert anchors.states[0].problem == problem
        assert not (path.parent / "elsewhere").exists()
        _mend(path)
        await everywhere(anchors)
        assert anchors.states[0].problem == ""
    assert log.verified(kept_in(path)) == [1]


def _mend(path: Path) -> None:
    for wrong in (path, path.parent):
        with suppress(OSError):
            wrong.rmdir() if wrong.is_dir() else wrong.unlink()
    path.parent.mkdir(exist_ok=True)


async def test_a_device_keeps_nothing_and_is_no_place() -> None:
    async with anchored("/dev/full") as anchors:
        GrowingLog().offer_to(anchors)
        await until(lambda: anchors.states[0].problem)
        assert anchors.states[0].problem.startswith("EINVAL: is no regular file")


_WITH_A_FULL_DISK: Final = """
import resource, sys, trio
from pathlib import Path
from support.anchoring import GrowingLog, anchored, everywhere, until

async def main(path):
    log = GrowingLog()
    async with anchored(path) as anchors:
        log.offer_to(anchors)
        await everywhere(anchors)
        half = path.stat().st_size * 3 // 2
        resource.setrlimit(resource.RLIMIT_FSIZE, (half, resource.RLIM_INFINITY))
        log.offer_to(anchors)
        await until(lambda: anchors.states[0].problem)
        print(anchors.states[0].problem)
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        log.offer_to(anchors)
        await everywhere(anchors)
    print(log.key.vkey)

trio.run(main, Path(sys.argv[1]))
"""


async def test_a_disk_that_is_full_in_mid_line_leaves_no_half_of_one(tmp_path: Path) -> None:
    path = tmp_path / "kept"
    ran = await trio.run_process(
        [sys.executable, "-c", _WITH_A_FULL_DISK, str(path)],
        env={**os.environ, "PYTHONPATH": str(_TESTS)},
        capture_stdout=True,
    )
    assert ran.stdout.decode().splitlines()[0] == "EFBIG: File too large"
    sizes = [note.splitlines()[1] for note in kept_in(path)]
    # The second may have been on its way when there was room again.
    assert (sizes[0], sizes[-1]) == ("1", "3")


async def test_a_disk_that_never_comes_back_takes_one_thread_and_nobodys_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hung, fine = tmp_path / "hung", tmp_path / "fine"
    back = threading.Event()
    waiting: list[str] = []
    sync = os.fdatasync

    def fdatasync(fd: int) -> None:
        if Path(f"/proc/self/fd/{fd}").readlink() == hung:
            waiting.append(threading.current_thread().name)
            assert back.wait(30)
        sync(fd)

    # The system's, and not ours: no disk can be made to hang without the rights of root.
    monkeypatch.setattr(os, "fdatasync", fdatasync)
    log = GrowingLog()
    try:
        async with anchored(hung, fine) as anchors:
            stuck, quick = anchors.states
            for _ in range(5):
                log.offer_to(anchors)
                await until(lambda: quick.size == log.tree.size)
            await until(lambda: stuck.problem)
            assert stuck.problem == "no answer within 0.3 s"
            assert len(waiting) == 1
            back.set()
            await everywhere(anchors)
            assert (stuck.size, stuck.problem) == (5, "")
    finally:
        back.set()
    assert log.verified(kept_in(hung))[-1] == 5


async def test_a_hung_disk_does_not_hold_up_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    back = threading.Event()
    monkeypatch.setattr(os, "fdatasync", lambda _fd: back.wait(30))
    try:
        async with anchored(tmp_path / "kept", limits=AnchorLimits()) as anchors:
            GrowingLog().offer_to(anchors)
            started = trio.current_time()
        assert trio.current_time() - started < 2.2
    finally:
        back.set()


async def _asked(stream: trio.SocketStream) -> None:
    """Read all of the request: its body ends as the Base64 of a signature does."""
    request = b""
    while not request.endswith(b"=\n"):
        request += await stream.receive_some()


async def _trickle(stream: trio.SocketStream) -> None:
    await _asked(stream)
    for octet in b"HTTP/1.1 200 OK\r\nX: " + b"x" * 10_000:
        await stream.send_all(bytes([octet]))
        await trio.sleep(0.02)


async def _endless_body(stream: trio.SocketStream) -> None:
    await _asked(stream)
    await stream.send_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        await stream.send_all(b"10000\r\n" + b"x" * 65536 + b"\r\n")


async def _endless_head(stream: trio.SocketStream) -> None:
    await _asked(stream)
    await stream.send_all(b"HTTP/1.1 200 OK\r\n")
    while True:
        await stream.send_all(b"X: " + b"x" * 1000 + b"\r\n")


async def _hang_up(stream: trio.SocketStream) -> None:
    await _asked(stream)


async def _no_http(stream: trio.SocketStream) -> None:
    await _asked(stream)
    await stream.send_all(b"220 mail.acme.test ESMTP\r\n")


@pytest.mark.parametrize(
    ("behave", "problem"),
    [
        (_trickle, "no answer within 0.3 s"),
        (_endless_head, "RemoteProtocolError"),
        (_hang_up, "RemoteProtocolError"),
        (_no_http, "RemoteProtocolError"),
        (_endless_body, ""),
    ],
)
async def test_a_server_that_misbehaves_is_told_of_in_good_time(
    behave: Callable[[trio.SocketStream], Awaitable[None]], problem: str
) -> None:
    async def serve(stream: trio.SocketStream) -> None:
        with suppress(trio.BrokenResourceError):
            await behave(stream)
        await stream.aclose()

    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(partial(trio.serve_tcp, serve, 0, host="127.0.0.1"))
        port = listener.socket.getsockname()[1]
        async with anchored(f"http://127.0.0.1:{port}/") as anchors:
            GrowingLog().offer_to(anchors)
            (state,) = anchors.states
            with trio.fail_after(5):
                await until(lambda: state.problem or state.size)
            assert state.problem == problem
        nursery.cancel_scope.cancel()


async def test_of_a_dead_url_and_a_dead_collector_the_states_tell() -> None:
    with DeadPort() as dead, DeadPort() as dead_collector:
        otlp = checkpoint_events(dead_collector.url, Resource({}), ORIGIN)
        async with anchored(dead.url, otlp=otlp) as anchors:
            GrowingLog().offer_to(anchors)
            await until(lambda: all(state.problem for state in anchors.states))
            assert anchors.states[0].problem.startswith("ConnectError: all attempts to connect to 127.0.0.1:")
            assert "refused" in anchors.states[1].problem


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


def _server(authority: trustme.CA, name: str = "127.0.0.1") -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    return context


async def test_a_witness_by_https_is_known_by_its_certificate(authority: trustme.CA) -> None:
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    with Collector(tls=_server(authority)) as witness:
        async with anchored(witness.url, tls=trusting) as anchors:
            note = GrowingLog().offer_to(anchors)
            await everywhere(anchors)
    assert witness.received[0].body.decode() == note


@pytest.mark.parametrize("name", ["127.0.0.1", "other.acme.test"])
async def test_a_witness_that_is_not_who_it_should_be_gets_nothing(authority: trustme.CA, name: str) -> None:
    trusting = ssl.create_default_context()
    if name == "other.acme.test":
        authority.configure_trust(trusting)
    with Collector(tls=_server(authority, name)) as witness:
        async with anchored(witness.url, tls=trusting) as anchors:
            GrowingLog().offer_to(anchors)
            await until(lambda: anchors.states[0].problem)
            assert "CERTIFICATE_VERIFY_FAILED" in anchors.states[0].problem
    assert witness.requests == 0
