"""Patterns over SPIFFE IDs and tool names.

A workload pattern is a SPIFFE ID in which `*` stands for exactly one path segment and `**` for any number of them, none
included.  A wildcard is a whole segment, never a part of one, and the trust domain is always written out: a pattern
cannot reach across it.  A tool pattern is a tool name in which `*` stands for any run of characters and `?` for one.
Both are matched in time linear in the text for each wildcard, whatever a caller sends.
"""

import re
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, Self

from callgate.identity.spiffe_id import InvalidSpiffeId, SpiffeId
from callgate.yaml_strict import shown

# MCP, server/tools: "Tool names SHOULD be between 1 and 128 characters in length (inclusive)", of "A-Z, a-z", "0-9",
# "underscore (_), hyphen (-), and dot (.)".  Here they must: a name with a space would be two scopes in a token.
TOOL_NAME: Final = re.compile(r"[A-Za-z0-9_.-]{1,128}")
TOOL_PATTERN: Final = re.compile(r"[A-Za-z0-9_.*?-]{1,128}")

_SCHEME: Final = "spiffe://"
_WILDCARDS: Final = frozenset({"*", "**"})
_ID_PROBLEMS: Final = {
    "scheme": "must start with 'spiffe://'",
    "missing_trust_domain": "names no trust domain after 'spiffe://'",
    "td_charset": "has a trust domain with other characters than a-z, 0-9, '.', '-' and '_'; no wildcard stands there",
    "td_too_long": "has a trust domain of more than 255 characters",
    "path_charset": "has a path segment with other characters than letters, digits, '.', '-' and '_'",
    "empty_segment": "has an empty path segment ('//')",
    "dot_segment": "has a path segment '.' or '..'",
    "trailing_slash": "ends with '/'",
    "too_long": "is longer than 2048 characters",
}


class PatternError(ValueError):
    """The text is no pattern; the message says why, to go behind a name ("… must start with 'spiffe://'")."""


@dataclass(frozen=True, slots=True)
class WorkloadPattern:
    """Which workloads a rule is about.  `text` is as written; `_path` is None where the pattern is one exact ID."""

    text: str
    trust_domain: str
    _exact: str
    _path: re.Pattern[str] | None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a pattern.  Raises PatternError."""
        if not text.startswith(_SCHEME):
            raise PatternError(_ID_PROBLEMS["scheme"])
        name, *segments = text[len(_SCHEME) :].split("/")
        for segment in segments:
            if "*" in segment and segment not in _WILDCARDS:
                raise PatternError(f"has '*' inside the segment '{shown(segment)}'; a wildcard is a whole segment")
        if ("**", "**") in pairwise(segments):
            raise PatternError("has '**' twice in a row; once says the same")
        example = _example(name, segments)
        if not segments:
            raise PatternError(f"names a trust domain and no workload; all of its workloads are '{text}/**'")
        wild = "*" in text
        return cls(text, example.trust_domain.name, example.path, _path_expression(segments) if wild else None)

    def matches(self, caller: SpiffeId) -> bool:
        """Whether `caller` is one of these workloads.  A trust domain itself (an ID without a path) never is."""
        if caller.trust_domain.name != self.trust_domain or not caller.path:
            return False
        if self._path is None:
            return caller.path == self._exact
        return self._path.fullmatch(caller.path) is not None


def _example(name: str, segments: list[str]) -> SpiffeId:
    """The pattern as an ID, with a segment in each wildcard's place: what surrounds them has to be right, too."""
    plain = ("x" if segment in _WILDCARDS else segment for segment in segments)
    try:
        return SpiffeId.parse("/".join([_SCHEME + name, *plain]))
    except InvalidSpiffeId as error:
        raise PatternError(_ID_PROBLEMS[error.code]) from error


def _path_expression(segments: list[str]) -> re.Pattern[str]:
    """Each block between two `**` is looked for as far left as it goes, and never anywhere else again (`(?>`).

    That finds a match where there is one, because a block further left leaves more to the blocks behind it, and keeps
    the time from growing with the power of the number of `**`.
    """
    blocks = [""]
    for segment in segments:
        if segment == "**":
            blocks.append("")
        else:
            # The end of a segment is asked for, lest `/a` be found at the beginning of `/ab`.
            blocks[-1] += (r"/[^/]++" if segment == "*" else f"/{re.escape(segment)}") + r"(?=/|\Z)"
    return re.compile(_in_order(blocks, r"(?:/[^/]++)"))


def _in_order(blocks: list[str], unit: str) -> str:
    """The expression for `blocks` in this order, with any number of `unit` between them."""
    first, *rest = blocks
    if not rest:
        return first
    *between, last = rest
    return first + "".join(f"(?>{unit}*?{block})" for block in between if block) + f"{unit}*{last}"


@dataclass(frozen=True, slots=True)
class ToolPattern:
    """Which tools a rule is about.  `text` is as written; `_name` is None where the pattern is one exact name."""

    text: str
    _name: re.Pattern[str] | None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a pattern.  Raises PatternError."""
        if TOOL_PATTERN.fullmatch(text) is None:
            raise PatternError("must be 1 to 128 letters, digits, '_', '.', '-', or the wildcards '*' and '?'")
        wild = "*" in text or "?" in text
        blocks = [re.escape(block).replace(r"\?", ".") for block in text.split("*")]
        return cls(text, re.compile(_in_order(blocks, ".")) if wild else None)

    @property
    def is_exact(self) -> bool:
        """Whether this names one tool."""
        return self._name is None

    def matches(self, tool: str) -> bool:
        """Whether `tool` is one of these; case matters."""
        return tool == self.text if self._name is None else self._name.fullmatch(tool) is not None
