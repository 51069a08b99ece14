"""A suggested policy as the text of a policy file."""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

import orjson

from callgate.policy.suggestion import Suggested, Suggestion
from callgate.yaml_strict import YamlValue

# What YAML reads as text in one way only; all else is quoted, as JSON does it, which YAML reads, too.
_PLAIN: Final = re.compile(r"[A-Za-z][A-Za-z0-9_./*-]*(?:://[A-Za-z0-9_./*-]+)?|[0-9]+[smhd]")
_WORDS: Final = frozenset({"true", "false", "null", "yes", "no", "on", "off", "y", "n"})
# Longer lists are written one entry a line.
_MAX_LINE: Final = 100


def as_yaml(found: Suggestion, head: Iterable[str]) -> str:
    """The file, with how often and when each tool was used beside it.  `head`: lines of comment to begin with."""
    return "".join(f"{line}\n" for line in _lines(found, head))


def _lines(found: Suggestion, head: Iterable[str]) -> Iterator[str]:
    yield from (f"# {_printable(line)}" for line in head)
    yield "version: 1"
    yield from _entry("trust_domains", [*found.trust_domains], "")
    yield from _kept(found, "tools")
    yield from _kept(found, "screening")
    yield from _kept(found, "owners")
    shadow = found.kept.shadow if found.kept is not None else ()
    if found.grants or shadow:
        yield ""
        yield "grants:"
    for grant in found.grants:
        yield from (f"  # {_printable(note)}" for note in grant.notes)
        yield from _item(_mapping(grant))
    for entry in shadow:
        yield "  # in shadow: taken over as it is"
        yield from _item(entry)
    yield from _kept(found, "denials")
    yield from _kept(found, "packs")


def _kept(found: Suggestion, key: str) -> Iterator[str]:
    entries = found.kept.lists[key] if found.kept is not None else ()
    if entries:
        yield ""
        yield f"{key}:"
        yield from (line for entry in entries for line in _item(entry))


def _mapping(grant: Suggested) -> Mapping[str, YamlValue]:
    return {
        "id": grant.id,
        "workloads": [*grant.workloads],
        "server": grant.server,
        "tools": [*grant.tools],
        **grant.terms,
    }


def _item(entry: Mapping[str, YamlValue]) -> Iterator[str]:
    indent = "  - "
    for key, value in entry.items():
        yield from _entry(key, value, indent)
        indent = "    "


def _entry(key: str, value: YamlValue, indent: str) -> Iterator[str]:
    line = f"{indent}{key}: {_flow(value)}"
    if len(line) <= _MAX_LINE or not isinstance(value, list):
        yield line
        return
    yield f"{indent}{key}:"
    inner = " " * len(indent)
    yield from (f"{inner}  - {_flow(each)}" for each in value)


def _flow(value: YamlValue) -> str:
    match value:
        case str() if _PLAIN.fullmatch(value) and value.lower() not in _WORDS:
            return value
        case list():
            return f"[{', '.join(map(_flow, value))}]"
        case dict():
            return f"{{{', '.join(f'{_flow(key)}: {_flow(inner)}' for key, inner in value.items())}}}"
        case _:
            return _printable(orjson.dumps(value).decode())


def _printable(text: str) -> str:
    """Names and moments are from a log, and a log holds what others sent: escaped as YAML does it."""
    return "".join(char if char.isprintable() else _escaped(ord(char)) for char in text)


def _escaped(code: int) -> str:
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
