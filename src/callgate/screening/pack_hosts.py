"""Which host an address in a text leads to, however it is spelled, and which rule of `exfiltration` that breaks.

What leads where is what most clients make of it: RFC 3986, the WHATWG URL Standard (which takes a backslash for a
slash, percent-encoding and full-width letters in hosts, and numbers of any base for IPv4), and inet_aton(3).
"""

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from itertools import chain
from typing import Final
from urllib.parse import unquote

from callgate.screening.pack_addresses import (
    ADDRESS_NAMES,
    CHAT_HOOKS,
    EMBEDDING,
    METADATA_NAMES,
    METADATA_V4,
    METADATA_V6,
    NAMES,
)

# RFC 1035, 2.3.4: 255 octets; with percent-encoding, three times as many characters.
MAX_HOST_CHARACTERS: Final = 3 * 255
# What is read of one address: many clients and servers take no longer one.
MAX_ADDRESS_CHARACTERS: Final = 2048

# A label that is longer holds data: a hash in hexadecimal (40 characters of SHA-1) is the longest that names of machines
# have, and names of words have hyphens.
_DATA_LABEL: Final = 40
_DATA_DIGITS: Final = 4
# Shorter ones do when there are several: together, one encoded line.
_PART_LABEL: Final = 12
_PARTS: Final = 60
_LABEL: Final = re.compile(r"[a-z0-9_]+")

_NUMBER: Final = re.compile(r"0x[0-9a-f]*|[0-9]+")
_FIRST: Final = re.compile(r"[/?#]")


@dataclass(frozen=True, slots=True)
class Address:
    """An address as a text has it, from behind the scheme on.

    `hosts`: all that clients may take for its host, as written.  `userinfo`: what stands before the host.  `rest`: from
    the path on.
    """

    hosts: frozenset[str]
    userinfo: str
    rest: str


def address_of(text: str) -> Address:
    """Read what follows `scheme:` and its slashes."""
    text = text[:MAX_ADDRESS_CHARACTERS]
    found = _FIRST.search(text)
    strict = text[: found.start()] if found else text
    userinfo, at, _ = strict.rpartition("@")
    readings = {strict, strict.partition("\\")[0]}
    # Some clients take what follows the first `@` for the host, others what follows the last.
    readings |= {strict.split("@", 2)[1]} if "@" in userinfo else set()
    return Address(frozenset(filter(None, map(_host, readings))), f"{userinfo}{at}", text[len(strict) :])


def _host(authority: str) -> str:
    host = authority.rpartition("@")[2]
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]


def plain_host(host: str) -> str:
    """The host as it is looked up: decoded, folded, in lower case and without the last dot."""
    if len(host) > MAX_HOST_CHARACTERS:
        return ""
    decoded = unquote(host) if "%" in host else host
    if not decoded.isascii():
        decoded = unicodedata.normalize("NFKC", decoded).replace("\u3002", ".").replace("\u00ad", "")
    return decoded.lower().rstrip(".")


def rule_of(host: str, rest: str = "") -> str:
    """The rule that sending to `host` (as of `plain_host`) breaks; "" for none."""
    if any(_is_metadata(address) for address in addresses_of(host)) or host in METADATA_NAMES:
        return "cloud_metadata"
    labels = host.split(".")
    # No name in the tables has more than four labels, and a long name has many.
    for name in (".".join(labels[-count:]) for count in range(1, min(len(labels), _MOST_LABELS) + 1)):
        if name in NAMES:
            return NAMES[name]
        if name in CHAT_HOOKS and rest[:_LONGEST_PATH].lower().startswith(CHAT_HOOKS[name]):
            return "chat_hook"
    return "dns_data" if len(host) > _DATA_LABEL and holds_data(labels) else ""


_MOST_LABELS: Final = max(name.count(".") + 1 for name in (*NAMES, *CHAT_HOOKS))
_LONGEST_PATH: Final = max(map(len, CHAT_HOOKS.values()))


def _is_metadata(address: IPv4Address | IPv6Address) -> bool:
    return address in (METADATA_V4 if isinstance(address, IPv4Address) else METADATA_V6)


def holds_data(labels: list[str]) -> bool:
    """Whether names are long and have digits as encoded data has."""
    told = [label for label in labels[:-1] if len(label) >= _PART_LABEL and _looks_encoded(label)]
    return any(len(label) >= _DATA_LABEL for label in told) or sum(map(len, told)) >= _PARTS


def _looks_encoded(label: str) -> bool:
    return len(label) <= 63 and bool(_LABEL.fullmatch(label)) and sum(map(str.isdigit, label)) >= _DATA_DIGITS


def addresses_of(host: str) -> Iterator[IPv4Address | IPv6Address]:
    """The addresses that `host` may be a spelling of."""
    if ":" in host:
        return chain.from_iterable(map(_with_embedded, _v6(host)))
    if host.endswith(ADDRESS_NAMES):
        return _named(host.rpartition(".")[0].rpartition(".")[0])
    # What is an address of IPv4 begins and ends with a digit of base 16 at most.
    return _v4(host.split(".")) if host[:1].isdecimal() else iter(())


def _v6(host: str) -> Iterator[IPv6Address]:
    try:
        yield IPv6Address(host.partition("%")[0])
    except AddressValueError:
        return


def _with_embedded(address: IPv6Address) -> Iterator[IPv4Address | IPv6Address]:
    """The address, and that of IPv4 in it: mapped, translated (RFC 6052), 6to4 (RFC 3056), ISATAP (RFC 5214)."""
    yield address
    if any(address in network for network in EMBEDDING) or (int(address) >> 32) & 0xFFFFFFFF == 0x00005EFE:
        yield IPv4Address(int(address) & 0xFFFFFFFF)
    if address.sixtofour is not None:
        yield address.sixtofour


def _named(before: str) -> Iterator[IPv4Address]:
    """`app.10.0.0.1.nip.io`, `10-0-0-1.sslip.io` and `0a000001.nip.io` name addresses of IPv4."""
    labels = before.split(".")
    yield from _v4(labels[-4:])
    yield from _v4(labels[-1].split("-")[-4:])
    if re.fullmatch(r"(?:.*-)?[0-9a-f]{8}", labels[-1]):
        yield IPv4Address(int(labels[-1][-8:], 16))


def _v4(parts: list[str]) -> Iterator[IPv4Address]:
    """Both readings of numbers that begin with 0: base 8, and base 10."""
    if len(parts) > 4 or not all(len(part) <= 32 and _NUMBER.fullmatch(part) for part in parts):
        return
    for octal in (True, False):
        numbers = [_number(part, octal=octal) for part in parts]
        if None not in numbers:
            yield _together([number for number in numbers if number is not None])


def _number(part: str, *, octal: bool) -> int | None:
    if part.startswith("0x"):
        return int(part[2:] or "0", 16)
    if octal and part.startswith("0"):
        return int(part, 8) if re.fullmatch(r"[0-7]+", part) else None
    return int(part)


def _together(numbers: list[int]) -> IPv4Address:
    """inet_aton: the last number fills what is left.  What does not fit is cut off, as old parsers do."""
    value = 0
    for number in numbers[:-1]:
        value = value << 8 | number & 0xFF
    left = 8 * (5 - len(numbers))
    return IPv4Address((value << left | numbers[-1] & ((1 << left) - 1)) & 0xFFFFFFFF)


def is_disguised(address: Address) -> bool:
    """Whether an address of the web is written so that people take it for another one.

    A name before `@` that looks like a host, a backslash before `@`, a host of numbers in another spelling than four
    decimal ones, or a percent-encoded one.
    """
    before = address.userinfo.removesuffix("@")
    if before and ("@" in before or "\\" in before or _LOOKS_LIKE_HOST.search(unquote(before.partition(":")[0]))):
        return True
    return any("%" in host.partition("%25")[0] or _is_odd(plain_host(host)) for host in address.hosts)


# A user who is called by a mail address (`ada%40example.com`) is a user, and so is `first.last`.
_LOOKS_LIKE_HOST: Final = re.compile(
    r"^[^@]*(?:\w\.(?:com|net|org|io|gov|edu|mil|int|dev|app|co|ai|cloud|info|eu|uk|de|fr|cn|ru|jp|us)$|[/?#])",
    re.IGNORECASE,
)
_DOTTED: Final = re.compile(r"(?:(?:0|[1-9][0-9]{0,2})\.){3}(?:0|[1-9][0-9]{0,2})")


def _is_odd(host: str) -> bool:
    numbers = host.split(".", 4)
    return (
        host[:1].isdecimal()
        and len(numbers) <= 4
        and all(map(_NUMBER.fullmatch, numbers))
        and not _DOTTED.fullmatch(host)
    )
