"""Which user runs the process at the other end: real sockets, and other users where we may become one."""

import errno
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from callgate.approvals import asking_user
from callgate.approvals.asking_user import user_of_peer
from callgate.approvals.model import UNKNOWN_USER

# `nobody` of every Linux, and no user of the tests.
OTHER_UID = 65534
PATIENCE_S = 20
# It becomes the other user once it runs: who that is may not read everybody's environment.
_CONNECT = """
import encodings.idna, os, socket, sys
if os.getuid() == 0:
    os.setuid(int(sys.argv[3]))
with socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=20) as peer:
    peer.recv(1)
"""
ADDRESSES = ["127.0.0.1", "::1", "127.0.0.77"]


@contextmanager
def accepted(host: str, *, dual: bool = False) -> Iterator[tuple[socket.socket, socket.socket]]:
    """A connection to ourselves: the socket as it was accepted, and its peer."""
    family = socket.AF_INET6 if ":" in host or dual else socket.AF_INET
    with (
        socket.create_server(("::" if dual else host, 0), family=family, dualstack_ipv6=dual) as listener,
        socket.create_connection((host, listener.getsockname()[1])) as peer,
    ):
        taken, _ = listener.accept()
        with taken:
            yield taken, peer


def user_of(taken: socket.socket) -> int | None:
    return user_of_peer(taken.getsockname(), taken.getpeername())


@pytest.fixture
def without_netlink(monkeypatch: pytest.MonkeyPatch) -> None:
    """As under systemd's RestrictAddressFamilies=: the address family is refused to the gate."""
    make = socket.socket

    def refuse(family: int = -1, *rest: int, **named: int) -> socket.socket:
        if family == socket.AF_NETLINK:
            raise OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")
        return make(family, *rest, **named)

    monkeypatch.setattr(socket, "socket", refuse)


@pytest.mark.parametrize("host", ADDRESSES)
def test_names_the_user_of_a_process_on_this_machine(host: str) -> None:
    with accepted(host) as (taken, _):
        assert user_of(taken) == os.getuid()


@pytest.mark.usefixtures("without_netlink")
@pytest.mark.parametrize("host", ADDRESSES)
def test_names_the_user_where_netlink_is_refused_to_the_gate(host: str) -> None:
    with accepted(host) as (taken, _):
        assert user_of(taken) == os.getuid()


def test_names_the_user_of_an_ipv4_process_at_a_socket_that_takes_both_families() -> None:
    with accepted("127.0.0.1", dual=True) as (taken, _):
        assert taken.getpeername()[0] == "::ffff:127.0.0.1"
        assert user_of(taken) == os.getuid()


def test_names_the_user_of_a_process_that_says_the_ipv4_address_in_ipv6() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket(socket.AF_INET6) as peer:
        peer.connect(("::ffff:127.0.0.1", listener.getsockname()[1]))
        taken, _ = listener.accept()
        with taken:
            assert user_of(taken) == os.getuid()


@pytest.mark.usefixtures("without_netlink")
def test_names_the_user_of_a_process_that_says_the_ipv4_address_in_ipv6_without_netlink() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket(socket.AF_INET6) as peer:
        peer.connect(("::ffff:127.0.0.1", listener.getsockname()[1]))
        taken, _ = listener.accept()
        with taken:
            assert user_of(taken) == os.getuid()


@contextmanager
def connected_by_another_user(host: str) -> Iterator[socket.socket]:
    """Accepted from a process of another user; of our own where we may not become another."""
    with socket.create_server((host, 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET) as listener:
        listener.settimeout(PATIENCE_S)
        command = [sys.executable, "-I", "-c", _CONNECT, host, str(listener.getsockname()[1]), str(OTHER_UID)]
        with subprocess.Popen(command) as peer:
            try:
                taken, _ = listener.accept()
                with taken:
                    yield taken
            finally:
                peer.terminate()


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_names_another_user_than_the_gates_own(host: str) -> None:
    with connected_by_another_user(host) as taken:
        assert user_of(taken) == (OTHER_UID if os.getuid() == 0 else os.getuid())


@pytest.mark.usefixtures("without_netlink")
def test_names_another_user_without_netlink() -> None:
    with connected_by_another_user("127.0.0.1") as taken:
        assert user_of(taken) == (OTHER_UID if os.getuid() == 0 else os.getuid())


@pytest.mark.parametrize("way", ["netlink", "table"])
def test_does_not_take_a_process_that_has_gone_for_roots(way: str, request: pytest.FixtureRequest) -> None:
    if way == "table":
        request.getfixturevalue("without_netlink")
    with accepted("127.0.0.1") as (taken, peer):
        peer.close()
        assert user_of(taken) == UNKNOWN_USER


def test_does_not_take_whoever_listens_at_the_peers_port_for_the_peer() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        ours, theirs = ("127.0.0.1", 9), ("127.0.0.1", listening.getsockname()[1])
        assert user_of_peer(ours, theirs) == UNKNOWN_USER


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (("192.0.2.1", 8443), ("198.51.100.7", 50000)),
        (("2001:db8::1", 8443, 0, 0), ("2001:db8::2", 50000, 0, 0)),
        (("fe80::1", 8443, 0, 2), ("fe80::2%eth0", 50000, 0, 2)),
        (("::ffff:192.0.2.1", 8443, 0, 0), ("::ffff:198.51.100.7", 50000, 0, 0)),
    ],
)
def test_names_nobody_of_another_machine(ours: asking_user.SocketName, theirs: asking_user.SocketName) -> None:
    assert user_of_peer(ours, theirs) is None


@pytest.mark.usefixtures("without_netlink")
def test_names_the_user_at_another_address_of_this_machine_without_netlink(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # proc(5): words in the byte order of the machine; 192.0.2.1:8443 connected to by 198.51.100.7:50000.
    local, remote = (
        f"{int.from_bytes(socket.inet_aton(host), sys.byteorder):08X}:{port:04X}"
        for host, port in (("198.51.100.7", 50000), ("192.0.2.1", 8443))
    )
    table = tmp_path / "tcp"
    table.write_text(f"heading\n 0: {local} {remote} 01 0:0 0:0 0 1234 0 4711 1 0\n")
    monkeypatch.setattr(asking_user, "_TABLES", (table,))
    assert user_of_peer(("192.0.2.1", 8443), ("198.51.100.7", 50000)) == 1234
    assert user_of_peer(("192.0.2.1", 8443), ("198.51.100.7", 50001)) is None


@pytest.mark.parametrize("peer", [("", 0), ("/run/agent.sock", 1), ("127.0.0.1.5", 1), ("::1", 50000)])
def test_names_nobody_where_the_names_are_no_pair_of_addresses(peer: tuple[str, int]) -> None:
    assert user_of_peer(("127.0.0.1", 8443), peer) is None


def test_answers_in_less_than_200_us() -> None:
    """The best of many: what else this machine does is not what is measured."""
    with accepted("127.0.0.1") as (taken, _):
        names = taken.getsockname(), taken.getpeername()
        assert min(_seconds(names) for _ in range(200)) < 200e-6


def _seconds(names: tuple[asking_user.SocketName, asking_user.SocketName]) -> float:
    started = time.perf_counter()
    user_of_peer(*names)
    return time.perf_counter() - started


def test_leaves_no_file_open() -> None:
    with accepted("127.0.0.1") as (taken, _):
        before = _open_files()
        for _ in range(20):
            user_of(taken)
        assert _open_files() == before


def _open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))
