"""Where the SPIFFE Workload API is: the address of SPIFFE Workload Endpoint, section 4.

Strict on purpose: an address that two programs read differently is two Workload APIs.
"""

import ipaddress
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote, unquote_to_bytes

from callgate.errors import GatewayError

ENVIRONMENT_VARIABLE = "SPIFFE_ENDPOINT_SOCKET"
# sockaddr_un.sun_path of Linux holds 108 bytes, the last of them NUL.
MAX_SOCKET_PATH_BYTES = 107

# RFC 3986, section 3.3: pchar and "/".  A path that starts with "//" is not told from an authority by eye: refused.
_UNIX = re.compile(r"unix:(?://)?(?P<path>/(?!/)(?:[A-Za-z0-9._~!$&'()*+,;=:@/-]|%[0-9A-Fa-f]{2})+)")
_TCP = re.compile(r"tcp://(?P<host>\[[0-9A-Fa-f:.]+\]|[0-9.]+):(?P<port>[0-9]{1,5})")


class InvalidEndpoint(GatewayError):  # noqa: N818  # says what the input is
    """The address of the Workload API is missing or cannot be used; the message says what to write instead."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A Workload API to connect to.

    `address` is what was configured, `grpc_target` the same in gRPC's naming, `socket_path` the file of a Unix domain
    socket, or "" for TCP.
    """

    address: str
    grpc_target: str
    socket_path: str

    def __str__(self) -> str:
        return self.address


def parse_endpoint(address: str) -> Endpoint:
    """Read `unix:///absolute/path` or `tcp://IP:port`.  Raises `InvalidEndpoint`."""
    scheme = address.partition(":")[0]
    if scheme == "unix":
        return _unix_endpoint(address)
    if scheme == "tcp":
        return _tcp_endpoint(address)
    # "The scheme MUST be set to either `unix` or `tcp`".
    raise InvalidEndpoint(f"{address!r} is no Workload API address: it must start with unix:/// or tcp://")


def endpoint_or_default(address: str | None, environment: Mapping[str, str]) -> Endpoint:
    """The configured address, or else the environment's.  Raises `InvalidEndpoint`.

    "If not explicitly configured, conforming clients MUST fall back to the environment variable."
    """
    found = address or environment.get(ENVIRONMENT_VARIABLE, "")
    if not found:
        raise InvalidEndpoint(
            f"no Workload API address: set {ENVIRONMENT_VARIABLE}, for instance unix:///run/spire.sock"
        )
    return parse_endpoint(found)


def _unix_endpoint(address: str) -> Endpoint:
    # "the authority component MUST NOT be set, and the path component MUST be set to the absolute path [...] and no
    # other component may be set".
    match = _UNIX.fullmatch(address)
    if match is None:
        raise InvalidEndpoint(
            f"{address!r} is no Workload API address: write unix:///absolute/path, without host, query or fragment,"
            " and percent-encode what is no URI character"
        )
    path = unquote_to_bytes(match["path"])
    if b"\0" in path:
        raise InvalidEndpoint(f"{address!r} holds a NUL byte")
    if len(path) > MAX_SOCKET_PATH_BYTES:
        raise InvalidEndpoint(
            f"{address!r} is longer than the {MAX_SOCKET_PATH_BYTES} bytes that a socket path may have"
        )
    # gRPC decodes the target once more, so it is given the encoded form.
    return Endpoint(address, f"unix:{quote(path, safe='/')}", os.fsdecode(path))


def _tcp_endpoint(address: str) -> Endpoint:
    # "the host component of the authority MUST be set to an IP address, and the port component [...] and no other
    # component may be set".
    match = _TCP.fullmatch(address)
    ip = match and _ip_address(match["host"])
    if match is None or ip is None or not 1 <= int(match["port"]) <= 65535:
        raise InvalidEndpoint(
            f"{address!r} is no Workload API address: write tcp://IP:port, with an IP address and nothing after the port"
        )
    family = "ipv4" if ip.version == 4 else "ipv6"
    return Endpoint(address, f"{family}:{match['host']}:{int(match['port'])}", "")


def _ip_address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """An IPv6 address stands in brackets, an IPv4 address does not (RFC 3986, section 3.2.2)."""
    try:
        if host.startswith("["):
            return ipaddress.IPv6Address(host[1:-1])
        return ipaddress.IPv4Address(host)
    except ValueError:
        return None
