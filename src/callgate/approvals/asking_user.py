"""Which user of this machine runs the process at the other end of a TCP connection.  Linux.

Whoever approves by the admin socket is told by the kernel, and so is the agent that asks, where it runs on the same
machine: an agent must not approve its own call by way of the user that runs it.

Ask when the connection is accepted: a process that has closed its end is no longer known to anybody.
"""

import errno
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import Final, TypeAlias

from callgate.approvals.model import UNKNOWN_USER

# What `getsockname` and `getpeername` give for AF_INET and AF_INET6.
SocketName: TypeAlias = tuple[str, int] | tuple[str, int, int, int]
_Address: TypeAlias = IPv4Address | IPv6Address

# linux/netlink.h, linux/sock_diag.h, linux/inet_diag.h
_NETLINK_SOCK_DIAG: Final = 4
_SOCK_DIAG_BY_FAMILY: Final = 20
_NLMSG_ERROR: Final = 2
_NLM_F_REQUEST: Final = 1
_ALL_STATES: Final = 0xFFFFFFFF
_NO_COOKIE: Final = 0xFFFFFFFF
# struct nlmsghdr: length, type, flags, sequence, port.
_HEADER: Final = struct.Struct("=IHHII")
# struct inet_diag_req_v2 without its inet_diag_sockid: family, protocol, extensions, padding, states.
_ASKED: Final = struct.Struct("=BBBBI")
# struct inet_diag_sockid: both ports and both addresses in network order, interface, cookie.
_ENDS: Final = struct.Struct("!HH16s16s")
_REST: Final = struct.Struct("=III")
# struct inet_diag_msg around it: family, state, timer, retransmits; then expires, both queues, user, inode.
_FOUND_AT: Final = _HEADER.size + 4
_OWNER: Final = struct.Struct("=IIIII")
_OWNER_AT: Final = _FOUND_AT + _ENDS.size + _REST.size
# One answer is 20 + 72 bytes, and attributes that nobody asked for; an error is shorter.
_MAX_ANSWER_BYTES: Final = 4096
# Some 1,600 connections: a machine with more has a kernel that answers by netlink, and this is read for each connection.
_MAX_TABLE_BYTES: Final = 256 * 1024
_TABLES: Final = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))


@dataclass(frozen=True, slots=True)
class _Pair:
    """One end of a connection as its own process sees it."""

    local: _Address
    local_port: int
    remote: _Address
    remote_port: int

    @property
    def is_of_this_machine(self) -> bool:
        return self.local.is_loopback or self.local == self.remote


def user_of_peer(sock_name: SocketName, peer_name: SocketName) -> int | None:
    """The user id of the process that made this connection; None where it is on another machine.

    `sock_name` and `peer_name`: what `getsockname()` and `getpeername()` say of the accepted socket.  UNKNOWN_USER for a
    process of this machine that the kernel does not tell us of (any more).  Raises nothing, and waits for nobody.
    """
    pair = _pair(sock_name, peer_name)
    if pair is None:
        return None
    is_sure = True
    try:
        user = _by_netlink(pair)
    except OSError:
        # The address family may be forbidden to the gate (systemd, RestrictAddressFamilies=).
        user, is_sure = None, False
    if user is not None or (is_sure and not pair.is_of_this_machine):
        return user
    # Also for an address that is not known to be this machine's: it can have several, and a process chooses among them.
    user = _by_table(pair)
    return UNKNOWN_USER if user is None and pair.is_of_this_machine else user


def _pair(sock_name: SocketName, peer_name: SocketName) -> _Pair | None:
    try:
        local, remote = _plain(peer_name[0]), _plain(sock_name[0])
        return _Pair(local, peer_name[1], remote, sock_name[1]) if local.version == remote.version else None
    except ValueError:
        return None


def _plain(host: str) -> _Address:
    """RFC 4291, section 2.5.5.2: an IPv4 node, as a socket that takes both families names it.  Raises ValueError."""
    address = ip_address(host.partition("%")[0])
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def _by_netlink(pair: _Pair) -> int | None:
    """sock_diag(7), one exact look-up; None where there is no such socket.  Raises OSError."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_SOCK_DIAG) as asking:
        asking.sendto(_question(pair), (0, 0))
        # The kernel has answered before `sendto` returns.
        answer, (sender, _) = asking.recvfrom(_MAX_ANSWER_BYTES, socket.MSG_DONTWAIT)
    if sender != 0 or len(answer) < _HEADER.size + 4:
        return None
    _, kind, _, _, _ = _HEADER.unpack_from(answer)
    if kind == _NLMSG_ERROR:
        _check(struct.unpack_from("=i", answer, _HEADER.size)[0])
        return None
    ends = answer[_FOUND_AT : _FOUND_AT + _ENDS.size]
    # Where no connection fits, the kernel answers with a socket that listens there.
    if kind != _SOCK_DIAG_BY_FAMILY or len(answer) < _OWNER_AT + _OWNER.size or ends != _ends(pair):
        return None
    *_, user, inode = _OWNER.unpack_from(answer, _OWNER_AT)
    # A socket that its process has closed is nobody's, and said to be root's.
    return int(user) if inode else UNKNOWN_USER


def _check(code: int) -> None:
    """ENOENT says that there is no such socket.  Raises OSError for any other."""
    if code != -errno.ENOENT:
        raise OSError(-code, "sock_diag")


def _question(pair: _Pair) -> bytes:
    family = socket.AF_INET if pair.local.version == 4 else socket.AF_INET6
    asked = _ASKED.pack(family, socket.IPPROTO_TCP, 0, 0, _ALL_STATES)
    body = asked + _ends(pair) + _REST.pack(0, _NO_COOKIE, _NO_COOKIE)
    return _HEADER.pack(_HEADER.size + len(body), _SOCK_DIAG_BY_FAMILY, _NLM_F_REQUEST, 1, 0) + body


def _ends(pair: _Pair) -> bytes:
    # struct pads an IPv4 address to the 16 bytes that both have.
    return _ENDS.pack(pair.local_port, pair.remote_port, pair.local.packed, pair.remote.packed)


def _by_table(pair: _Pair) -> int | None:
    """proc(5), /proc/net/tcp: what there is where netlink is not to be had; None where there is no such socket."""
    for table in _TABLES:
        for fields in _rows(table):
            if fields[1:3] == _columns(pair, is_ipv6=table.name == "tcp6"):
                user, inode = int(fields[7]), fields[9]
                return user if inode != b"0" else UNKNOWN_USER
    return None


def _rows(table: Path) -> Iterator[list[bytes]]:
    try:
        with table.open("rb") as file:
            lines = file.read(_MAX_TABLE_BYTES).splitlines()
    except OSError:
        return
    yield from (fields for fields in map(bytes.split, lines[1:]) if len(fields) > 9)


def _columns(pair: _Pair, *, is_ipv6: bool) -> list[bytes]:
    ends = ((pair.local, pair.local_port), (pair.remote, pair.remote_port))
    return [f"{_hex(address, is_ipv6=is_ipv6)}:{port:04X}".encode() for address, port in ends]


def _hex(address: _Address, *, is_ipv6: bool) -> str:
    """Words of 32 bits as this machine has them in memory."""
    packed = address.packed
    if is_ipv6 and address.version == 4:
        packed = IPv6Address(f"::ffff:{address}").packed
    return "".join(f"{word:08X}" for word in struct.unpack(f"={len(packed) // 4}I", packed))
