"""The pack `exfiltration`: data that leaves by arguments.

All names and texts of a call are searched once for words that may begin such a thing; what stands around each word
tells whether it does.  Naming a collecting address is enough: a text that only speaks of one breaks the rule too.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Final

import re2  # type: ignore[import-untyped]  # ships no types

from callgate.screening.pack_addresses import METADATA_NAMES, METADATA_V4, NAMES
from callgate.screening.pack_commands import command_lines
from callgate.screening.pack_declared import Shell, Sql, SqlText, Unclear, shell_of, sql_of
from callgate.screening.pack_hosts import address_of, is_disguised, plain_host, rule_of
from callgate.screening.pack_links import carries_data
from callgate.screening.pack_sends import (
    SHELL_PARTS,
    SHELL_WORDS,
    SQL_FUNCTIONS,
    SQL_WORDS,
    TUNNEL_WORDS,
    shell_sends,
    sql_sends,
)
from callgate.screening.pack_terms import UNCLEAR, Declared, Pack, rules_with, table_of
from callgate.screening.pack_walk import Contents, contents_of, fold
from callgate.wire.json_strict import JsonObject

EXFILTRATION: Final = Pack(
    "exfiltration",
    1,
    "Data that leaves by arguments: addresses that collect it, and SQL, shell and links that carry it there",
    rules_with(
        {
            "request_bin": "an address where whoever opened it reads what is sent there",
            "paste_site": "an address where anybody leaves texts or files for anybody",
            "tunnel": "an address that leads to somebody's own machine, or a program that opens one",
            "chat_hook": "an address that posts into somebody's chat",
            "cloud_metadata": "the address where a cloud tells a machine its credentials, in whatever spelling",
            "disguised_url": "an address that looks as if it led elsewhere: a host before `@`, numbers of another base, "
            "encoded letters, a name that changes its address",
            "dns_data": "a name of the DNS that carries data in its labels, or is put together by a shell",
            "query_data": "a link or picture whose address carries much data",
            "data_url": "a `data:` URL with markup, script or text",
            "sql_sends": "SQL that sends to another machine",
            "shell_sends": "a shell command that sends what it reads to another machine",
            "shell_network": "a declared shell command that reaches the network, or may",
        },
        declared=False,
    ),
)

# What the words of one call may cost, in some 10 microseconds: a page with more links than that is not looked at wholly.
MAX_EFFORT: Final = 1000
_EFFORT: Final = MappingProxyType({"shell": 4, "tunnel": 4})
_EFFORT_CHARACTERS: Final = 256


def _number(value: int) -> str:
    """In base 10, 8 and 16."""
    return f"(?:0*{value}|0+{value:o}|0x0*{value:x})"


def _address(value: int) -> str:
    """All spellings of inet_aton: four, three, two numbers, or one."""
    a, b, c, d = value.to_bytes(4, "big")
    ends = ((a, b, c, d), (a, b, c << 8 | d), (a, value & 0xFFFFFF), (value,))
    return "|".join(r"\.".join(map(_number, numbers)) for numbers in ends)


_NAME_START: Final = r"(?:^|[^a-z0-9_-])"
_NAME_END: Final = r"(?:$|[^a-z0-9._-]|[.](?:$|[^a-z0-9_-]))"
_HOSTS: Final = "|".join(re2.escape(name) for name in sorted(NAMES) if "." in name)


def _metadata_names() -> Iterable[str]:
    yield from (re2.escape(name) for name in METADATA_NAMES if "." in name)
    yield from (_address(int(each)) for each in METADATA_V4)


_URL: Final = (
    r"(?:\b(?:https?|wss?|ftps?):[\\/]*|:[\\/]{2}|\]\([ <]*[\\/]{2}|url\([\x22']?[\\/]{2}"
    r"|\b(?:src|href|action|poster|background)\s*=\s*[\x22']?[\\/]{2})"
)
_DATA: Final = r"\bdata:(?:[a-z]+/[a-z0-9.+-]+|;)[^,\s]{0,60},"
_LABEL: Final = r"(?:[a-z0-9_]{16,63}\.[a-z0-9_]{16,63}\.|[a-z0-9_]{40,63}\.)"
_SQL: Final = f"(?:{'|'.join(SQL_WORDS)})"
_TUNNEL: Final = rf"(?:\b(?:{'|'.join(TUNNEL_WORDS)}))"
_SHELL: Final = rf"(?:\b(?:{'|'.join(SHELL_WORDS)})|{'|'.join(SHELL_PARTS)})"
_METADATA: Final = (
    rf"(?:{_NAME_START}(?:{'|'.join(_metadata_names())}){_NAME_END}"
    r"|a9fe:a9fe|fd00:0?ec2:[0:]*:0?254|169-254-169-254|a9fea9fe\.)"
)
# One pass over the text, and no groups: with them it would take twice as long.
_WORDS: Final = re2.compile(
    f"(?i){_METADATA}|{_NAME_START}(?:{_HOSTS}){_NAME_END}|{_URL}|{_DATA}|{_LABEL}|{_SQL}|{_TUNNEL}|{_SHELL}"
)
# What was found, by its own text alone.
_KINDS: Final = re.compile(
    rf"(?P<url>{_URL}$)|(?P<data>{_DATA})|(?P<label>{_LABEL}$)|(?P<sql>{_SQL})|(?P<tunnel>{_TUNNEL})|(?P<shell>{_SHELL})",
    re.IGNORECASE,
)
# RFC 2397.  What these hold is shown or played, and is no text.
_HARMLESS_DATA: Final = re.compile(
    r"data:(?:image/(?!svg)|audio/|video/|font/|application/(?:pdf|octet-stream|zip)\b)", re.IGNORECASE
)
_ADDRESS: Final = re.compile(r"[^\s\"'<>`]{1,2048}")
_WEB: Final = re.compile(r"(?:https?|wss?|ftps?):[\\/]*$", re.IGNORECASE)
# Names of files end like names of hosts.
_FILES: Final = table_of(
    "bz2 cfg conf css csv dat deb gz html ico jar jpeg jpg js json lock log map md pdf png py rpm sh sig so sql svg tar tgz toml "
    "ts txt wasm whl xml xz yaml yml zip zst"
)


def look_for_exfiltration(_tool: str, arguments: JsonObject, declared: Declared) -> set[str]:
    """The rules of exfiltration that the call breaks."""
    contents = contents_of(arguments)
    lines = command_lines(contents)
    text, is_folded = fold("\n".join((contents.text(), *lines)))
    broken = _in_text(text) | _in_values(contents) | _in_sql(sql_of(arguments, declared))
    broken |= _in_shell(shell_of(arguments, declared))
    return broken if contents.is_whole and is_folded else broken | {UNCLEAR}


def _in_text(text: str) -> set[str]:
    broken: set[str] = set()
    left = MAX_EFFORT
    for match in _WORDS.finditer(text):
        kind = _KINDS.match(match[0])
        name = (kind.lastgroup or "") if kind else "name"
        left -= _effort(name, text, match.end())
        if left < 0:
            return broken | {UNCLEAR}
        broken.update(_LOOKS[name](text, match.start(), match.end()))
    return broken


def _effort(name: str, text: str, end: int) -> int:
    if name != "url":
        return _EFFORT.get(name, 1)
    found = _ADDRESS.match(text, end)
    return 1 + len(found[0]) // _EFFORT_CHARACTERS if found else 1


def _name(text: str, start: int, end: int) -> Iterable[str]:
    """One of the tables' names; what is none of them is an address of metadata."""
    labels = _HOST_ALONE.sub("", text[start:end]).lower().split(".")
    names = (".".join(labels[first:]) for first in range(len(labels)))
    return {NAMES[name] for name in names if name in NAMES} or ("cloud_metadata",)


_HOST_ALONE: Final = re.compile(r"^[^a-zA-Z0-9]+|[^a-zA-Z0-9]+$")


def _data(text: str, start: int, _end: int) -> Iterable[str]:
    return () if _HARMLESS_DATA.match(text, start) else ("data_url",)


def _url(text: str, start: int, end: int) -> Iterable[str]:
    found = _ADDRESS.match(text, end)
    if found is None:
        return ()
    # What closes a bracket or a sentence is no part of it.
    address = address_of(found[0].rstrip(").,;>]}"))
    broken = {rule_of(plain_host(host), address.rest) for host in address.hosts}
    if is_disguised(address) and _WEB.search(text[max(0, start - 5) : end]):
        broken.add("disguised_url")
    if carries_data(text, start, address):
        broken.add("query_data")
    if any("$(" in host or "`" in host for host in address.hosts):
        broken.add("dns_data")
    return broken - {""}


_NAME_OF_HOST: Final = re.compile(r"[\w.-]{1,253}")


def _label(text: str, start: int, _end: int) -> Iterable[str]:
    """A name that stands alone; in an address it is found as its host."""
    before = text[max(0, start - 1) : start]
    found = _NAME_OF_HOST.match(text, start)
    if found is None or (before and (before.isalnum() or before in "/+-_=")):
        return ()
    name = found[0].rstrip(".").lower()
    labels = name.split(".")
    is_host = len(labels) >= 3 and labels[-1].isalpha() and 2 <= len(labels[-1]) <= 24 and labels[-1] not in _FILES
    return (rule_of(name),) if is_host and rule_of(name) else ()


def _sql(text: str, start: int, end: int) -> Iterable[str]:
    return ("sql_sends",) if sql_sends(text, start, end) else ()


def _tunnel(text: str, start: int, end: int) -> Iterable[str]:
    return ("tunnel",) if shell_sends(text, start, end) else ()


def _shell(text: str, start: int, end: int) -> Iterable[str]:
    return ("shell_sends",) if shell_sends(text, start, end) else ()


_LOOKS: Final[Mapping[str, Callable[[str, int, int], Iterable[str]]]] = MappingProxyType(
    {"name": _name, "data": _data, "url": _url, "label": _label, "sql": _sql, "tunnel": _tunnel, "shell": _shell}
)  # fmt: skip


def _in_values(contents: Contents) -> set[str]:
    """Whole values: an address of IPv4 as one number."""
    return {"cloud_metadata"} if contents.numbers & _METADATA_NUMBERS else set()


_METADATA_NUMBERS: Final = frozenset(map(int, METADATA_V4))


def _in_sql(found: tuple[Sql, ...]) -> set[str]:
    broken: set[str] = set()
    for each in found:
        if isinstance(each, Unclear) or _UNREADABLE.intersection(each.reading.why):
            broken.add(UNCLEAR)
        elif _sends(each):
            broken.add("sql_sends")
    return broken


_UNREADABLE: Final = frozenset({"unparsable", "too_long", "too_deep", "unknown_dialect"})
_REACHES_OUT: Final = frozenset({"network", "program"})


def _sends(sql: SqlText) -> bool:
    if _REACHES_OUT.intersection(sql.reading.why):
        return True
    return any(function.lower().rpartition(".")[2] in SQL_FUNCTIONS for function in sql.reading.functions)


def _in_shell(found: tuple[Shell, ...]) -> set[str]:
    broken: set[str] = set()
    for each in found:
        if isinstance(each, Unclear):
            broken.add(UNCLEAR)
        elif each.reading.network:
            broken.add("shell_network")
    return broken
