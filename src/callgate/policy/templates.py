"""Scopes that are filled in from the call: `ledger.account:{args.account}`.

What fills a placeholder is chosen by others than the policy's author, the arguments by the agent itself.  So that no
value makes another scope than the one that stands there, a value is one plain word, without the characters that
separate the parts of a scope (`.`, `:`, `/` and so on), and each placeholder stands between such separators: for
`ledger.{args.part}`, `read.all` is no value.  `-` and `_` are parts of words (account numbers, UUIDs), and therefore do
not separate.  A value that does not fit is not mended: the scope cannot be filled.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Self

from callgate.policy.spelling import misspelt_at
from callgate.wire.json_strict import MAX_SAFE_INTEGER
from callgate.yaml_model import did_you_mean
from callgate.yaml_strict import shown

# The model reads templates, and a call knows the model by way of its history.
if TYPE_CHECKING:
    from callgate.policy.call import Call

MAX_SCOPE_CHARACTERS: Final = 128
# Scopes that say which call this is are the gate's to write.
RESERVED_SCOPE_PREFIXES: Final = ("tool:", "mcp:")
# A UUID has 36; a token has room for 32 scopes in a header line of 8 KiB.
MAX_VALUE_CHARACTERS: Final = 64

# RFC 6749, section 3.3: scope-token = 1*( %x21 / %x23-5B / %x5D-7E ).
_SCOPE_TOKEN: Final = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+")
_PLACEHOLDER: Final = re.compile(r"(\{[^{}]*\})")
_ARGUMENT: Final = re.compile(r"args((?:\.[A-Za-z_][A-Za-z0-9_-]*)+)")
_SEGMENT: Final = re.compile(r"caller\.path\[(0|[1-9][0-9]?)\]")

_WORD: Final = re.compile(r"[A-Za-z0-9_-]+")
# The policy lists the trust domains that it knows, and each name has dots: nobody else chooses it.
_DOMAIN: Final = re.compile(r"[A-Za-z0-9._-]+")


def _argument(call: "Call", steps: tuple[str, ...]) -> object:
    found: object = call.arguments
    if misspelt_at(found, steps) is not None:
        return None
    for step in steps:
        found = found.get(step) if isinstance(found, dict) else None
    return found


def _segment(call: "Call", steps: tuple[str, ...]) -> object:
    # The path begins with a slash; segments count from 0, as in conditions.
    segments, index = call.caller.path.split("/")[1:], int(steps[0])
    return segments[index] if index < len(segments) else None


_READERS: Final[Mapping[str, Callable[["Call", tuple[str, ...]], object]]] = MappingProxyType(
    {
        "args": _argument,
        "caller.path": _segment,
        "caller.trust_domain": lambda call, _: call.caller.trust_domain.name,
        "request.purpose": lambda call, _: call.purpose,
        "tool.name": lambda call, _: call.tool,
        "user.subject": lambda call, _: call.user.subject if call.user else None,
    }
)
_PLAIN: Final = tuple(name for name in _READERS if name not in {"args", "caller.path"})
# What the agent chooses, and a list of tools does not know.
_OF_THE_CALL: Final = frozenset({"args", "request.purpose"})


def _schema_pattern() -> str:
    """A template as a regular expression that every dialect knows; separators are left to `parse`."""
    text = r"[\x21\x23-\x5b\x5d-\x7a|~]"
    names = "|".join([_ARGUMENT.pattern, _SEGMENT.pattern, *map(re.escape, _PLAIN)])
    return rf"(?!{'|'.join(RESERVED_SCOPE_PREFIXES)}){text}(?:{text}|\{{(?:{names})\}})*"


SCOPE_PATTERN: Final = _schema_pattern()


@dataclass(frozen=True, slots=True)
class _Placeholder:
    """`{text}`: what of the call stands there."""

    text: str
    source: str
    steps: tuple[str, ...]
    safe: re.Pattern[str]

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read what stands between braces.  Raises ValueError."""
        if found := _ARGUMENT.fullmatch(text):
            return cls(text, "args", tuple(found[1].split(".")[1:]), _WORD)
        if found := _SEGMENT.fullmatch(text):
            return cls(text, "caller.path", (found[1],), _WORD)
        if text in _PLAIN:
            return cls(text, text, (), _DOMAIN if text == "caller.trust_domain" else _WORD)
        known = (*_PLAIN, "caller.path[0]", f"args.{text.partition('.')[2] or 'name'}")
        raise ValueError(f"has the placeholder '{{{shown(text)}}}', which does not exist{did_you_mean(text, known)}")

    def value(self, call: "Call") -> str | None:
        """What fills it; None where that is missing or not safe."""
        found = _READERS[self.source](call, self.steps)
        if isinstance(found, int) and not isinstance(found, bool) and abs(found) <= MAX_SAFE_INTEGER:
            found = str(found)
        if not isinstance(found, str) or len(found) > MAX_VALUE_CHARACTERS or self.safe.fullmatch(found) is None:
            return None
        return found


@dataclass(frozen=True, slots=True)
class ScopeTemplate:
    """One scope of a grant, `text` as written.

    `reads_call` tells whether it takes something from the arguments or the declared purpose, which only a call has.
    """

    text: str
    reads_call: bool
    _parts: tuple[str | _Placeholder, ...]

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a scope with or without placeholders.  Raises ValueError with words to go behind `scopes[0] `."""
        if _SCOPE_TOKEN.fullmatch(text) is None:
            raise ValueError("must be one scope: printable ASCII without space, '\"' and '\\' (RFC 6749, section 3.3)")
        if text.startswith(RESERVED_SCOPE_PREFIXES):
            raise ValueError("must not start with 'tool:' or 'mcp:': the gate adds the scope that names the tool")
        if text.startswith("{"):
            raise ValueError("must begin with text of its own, not with a placeholder")
        parts = tuple(_parts_of(text))
        for before, after in pairwise(parts):
            _check_joint(before, after)
        return cls(text, any(isinstance(part, _Placeholder) and part.source in _OF_THE_CALL for part in parts), parts)

    @property
    def reads_tool(self) -> bool:
        """Whether it takes something from the tool."""
        return any(isinstance(part, _Placeholder) and part.source == "tool.name" for part in self._parts)

    @property
    def is_template(self) -> bool:
        """Whether there is anything to fill in."""
        return len(self._parts) > 1

    def fill(self, call: "Call") -> str | None:
        """The scope for this call; None where a value is missing, is no word or whole number, or makes it too long.

        A filled scope is `text` but for one word in each placeholder's place, and so never a reserved one.
        """
        if not self.is_template:
            return self.text
        filled: list[str] = []
        for part in self._parts:
            value = part if isinstance(part, str) else part.value(call)
            if value is None:
                return None
            filled.append(value)
        scope = "".join(filled)
        return scope if len(scope) <= MAX_SCOPE_CHARACTERS else None


def _parts_of(text: str) -> Iterator[str | _Placeholder]:
    for part in _PLACEHOLDER.split(text):
        if part.startswith("{") and part.endswith("}"):
            yield _Placeholder.parse(part[1:-1])
        elif "{" in part or "}" in part:
            raise ValueError("has a brace that belongs to no placeholder; one is written '{args.account}'")
        elif part:
            yield part


def _check_joint(before: str | _Placeholder, after: str | _Placeholder) -> None:
    """Whether one can tell where a value ends.  Raises ValueError."""
    match before, after:
        case str(), _Placeholder():
            placeholder, neighbour = after, before[-1]
        case _Placeholder(), str():
            placeholder, neighbour = before, after[0]
        case _:
            raise ValueError("needs a separator such as ':' between two placeholders")
    if placeholder.safe.fullmatch(neighbour):
        raise ValueError(
            f"needs a separator such as ':' beside '{{{placeholder.text}}}', not '{neighbour}', which its value may hold"
        )
