"""Addresses and URLs as the configuration writes them: one spelling each, and no reading left to a resolver.

What two programs could read differently is refused: user names in URLs, upper case, numbers that some resolvers take
for an IPv4 address (`127.1`, `0x7f000001`), dot segments.
"""

import re
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import Final, NamedTuple, Self

# RFC 1123, section 2.1, in lower case.
_NAME: Final = re.compile(
    r"(?=.{1,253}\Z)[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)*"
)
# What a resolver may read as a number: WHATWG URL, "ends in a number checker".
_NUMERIC_END: Final = re.compile(r"(?:.*\.)?(?:[0-9]+|0x[0-9a-f]*)")
_PORT: Final = re.compile(r"0|[1-9][0-9]{0,4}")
_AUTHORITY: Final = re.compile(r"(\[[^\[\]]*\]|[^:\[\]]*)(?::([0-9]*))?")
_URL: Final = re.compile(r"(https?)://([^/?#]*)([^?#]*)(.*)")
# RFC 3986, section 3.3: path-abempty.
_PATH: Final = re.compile(r"(?:/(?:[A-Za-z0-9._~!$&'()*+,;=:@-]|%[0-9A-Fa-f]{2})*)*")
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}


class Address(NamedTuple):
    """An IP address (or a name) and a TCP port, to listen on; port 0 lets the system choose."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"{_bracketed(self.host)}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it."""
        return is_loopback(self.host)

    @property
    def is_wildcard(self) -> bool:
        """Whether it stands for every address of this machine."""
        return self.host in {"0.0.0.0", "::"}  # noqa: S104  # recognised, not chosen


@dataclass(frozen=True, slots=True)
class Url:
    """An absolute http or https URL without user, query and fragment.

    `text` is as written; `authority` is what Host says of it: the port only where it is not the scheme's own.
    """

    text: str
    scheme: str
    host: str
    port: int
    path: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a URL.  Raises ValueError with words to go behind a name ("must start with …")."""
        found = _URL.fullmatch(text)
        if found is None:
            raise ValueError("must be a URL that starts with https:// or http://")
        scheme, authority, path, rest = found.groups()
        if rest:
            raise ValueError("must have no query and no fragment")
        host, port = _host_and_port(authority)
        if _PATH.fullmatch(path) is None:
            raise ValueError("has a path with characters that must be percent-encoded")
        if {".", ".."} & set(path.split("/")):
            raise ValueError("must have no '.' or '..' in its path")
        if port == 0:
            raise ValueError("must not name port 0")
        return cls(text, scheme, host, _DEFAULT_PORTS[scheme] if port is None else port, path)

    @property
    def authority(self) -> str:
        """RFC 9110, section 7.2: Host = uri-host [ ":" port ]."""
        own = self.port == _DEFAULT_PORTS[self.scheme]
        return _bracketed(self.host) if own else f"{_bracketed(self.host)}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        """Whether it leads to this machine and no further."""
        return is_loopback(self.host)


def parse_address(text: str) -> Address:
    """Read `host:port`, an IPv6 address in brackets.  Raises ValueError."""
    host, port = _host_and_port(text)
    if port is None:
        raise ValueError("must name a port, as in 0.0.0.0:8443 or [::]:8443")
    return Address(host, port)


def check_authority(text: str) -> str:
    """What a Host header may say: `host` or `host:port`.  Raises ValueError."""
    host, port = _host_and_port(text)
    if port == 0:
        raise ValueError("must not name port 0")
    return _bracketed(host) if port is None else f"{_bracketed(host)}:{port}"


def is_loopback(host: str) -> bool:
    """Whether `host` (no brackets) is this machine: `localhost`, 127.0.0.0/8 or ::1."""
    if host in {"localhost", "::1"}:
        return True
    try:
        return IPv4Address(host).is_loopback
    except AddressValueError:
        return False


def _host_and_port(text: str) -> tuple[str, int | None]:
    if "@" in text:
        raise ValueError("must not hold a user name or password")
    found = _AUTHORITY.fullmatch(text)
    if found is None:
        raise ValueError("must be a host, or a host and a port; an IPv6 address stands in brackets")
    return _host(found[1]), None if found[2] is None else _port(found[2])


def _host(text: str) -> str:
    if text.startswith("["):
        return _ipv6(text[1:-1])
    if text != text.lower():
        raise ValueError("must have its host in lower case")
    if _NAME.fullmatch(text) is None:
        raise ValueError("must have a host name of a-z, 0-9, '-' and '.', or an IP address")
    if _NUMERIC_END.fullmatch(text) is not None:
        try:
            IPv4Address(text)
        except AddressValueError as error:
            raise ValueError("has a host that ends in a number and is no IPv4 address") from error
    return text


def _ipv6(text: str) -> str:
    try:
        address = IPv6Address(text)
    except AddressValueError as error:
        raise ValueError("has no IPv6 address between its brackets") from error
    if address.ipv4_mapped is not None:
        raise ValueError(f"must write the IPv4 address {address.ipv4_mapped} as one")
    # A zone ("%eth0") means something on one machine alone, and RFC 9110 has no place for it.
    if address.compressed != text or "%" in text:
        raise ValueError(f"must have its IPv6 address in its short form, [{address.compressed.partition('%')[0]}]")
    return text


def _port(text: str) -> int:
    if _PORT.fullmatch(text) is None or int(text) > 65535:
        raise ValueError("must have a port from 1 to 65535")
    return int(text)


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
