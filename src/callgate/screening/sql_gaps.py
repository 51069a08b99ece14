"""Where the parser knows less than the database, or lets through what no database takes: mended before and after it."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from callgate.screening.sql_lexical import Part
from callgate.screening.sql_words import UNFINISHED

# From so many parts on, lists of constants are cut short.
_LONG: Final = 300

_FINISHED: Final = frozenset({("limit", "all"), ("by", "all"), ("default", "values"), ("with", "offset")})
_JOINS: Final = frozenset({",", ":"})
_BLANK_COMMA: Final = frozenset({")", "]", "from", "where", ""})
_TAKES_TRAILING_COMMAS: Final = frozenset({"duckdb", "bigquery", "snowflake", "clickhouse"})


def is_cut_off(parts: Sequence[Part], dialect: str) -> bool:
    """What the parser reads and no database does: a statement that stops short, commas with nothing between."""
    before = parts[-2].word if len(parts) > 1 else ""
    if parts[-1].word in UNFINISHED and before != "." and (before, parts[-1].word) not in _FINISHED:
        return True
    for at in [at for at, part in enumerate(parts) if part.word in _JOINS]:
        if parts[at].word == ":":
            if at + 1 < len(parts) and parts[at + 1].apart and parts[at + 1].word in UNFINISHED:
                return True
            continue
        behind = parts[at + 1].word or "x" if at + 1 < len(parts) else ""
        if behind == "," or parts[at - 1].word == "(" or at == 1:
            return True
        if behind in _BLANK_COMMA and dialect not in _TAKES_TRAILING_COMMAS:
            return True
    return False


# Words behind the verb that say how, not what.
_HOW: Final = frozenset({"low_priority", "high_priority", "delayed", "quick", "ignore"})


def bridged(parts: Sequence[Part], dialect: str) -> Sequence[Part]:
    """The same statement without what the parser stumbles over, where that changes nothing that is asked of it."""
    bridge = _BRIDGES.get(dialect)
    return bridge(parts) if bridge is not None else parts


def _without_how(parts: Sequence[Part]) -> Sequence[Part]:
    if parts[0].word not in {"insert", "update", "delete", "replace"}:
        return parts
    at = 1
    while at < len(parts) and parts[at].word in _HOW:
        at += 1
    return [_as_insert(parts[0]), *parts[at:]]


def _as_insert(verb: Part) -> Part:
    return verb._replace(text="INSERT", word="insert") if verb.word == "replace" else verb


_MODEL: Final = frozenset(
    {"dimension", "partition", "measures", "ignore", "keep", "return", "reference", "main", "unique"}
)


def _without_model(parts: Sequence[Part]) -> Sequence[Part]:
    """Without the MODEL clause of a query, which computes."""
    for at, part in enumerate(parts):
        if part.word == "model" and parts[at + 1 : at + 2] and parts[at + 1].word in _MODEL:
            return parts[:at]
    return parts


def _without_conflict_clause(parts: Sequence[Part]) -> Sequence[Part]:
    """UPDATE OR IGNORE; REPLACE; and ?1."""
    parts = [_as_insert(parts[0]), *parts[1:]]
    if len(parts) > 3 and parts[0].word == "update" and parts[1].word == "or":
        parts = [parts[0], *parts[3:]]
    return [
        part
        for at, part in enumerate(parts)
        if not (part.kind == "number" and at and parts[at - 1].word == "?" and not part.apart)
    ]


def _without_top(parts: Sequence[Part]) -> Sequence[Part]:
    """UPDATE TOP (5) t: how many is not asked; and `+=` sets as `=` does."""
    kept = [
        part
        for at, part in enumerate(parts)
        if not (part.kind == "sign" and part.word in "+-*/%&|^" and at + 1 < len(parts) and parts[at + 1].word == "="
                and not parts[at + 1].apart)
    ]  # fmt: skip
    verb = next((at for at, part in enumerate(kept) if part.word in {"insert", "update", "delete"}), -1)
    if verb < 0 or len(kept) < verb + 5 or kept[verb + 1].word != "top" or kept[verb + 2].word != "(":
        return kept
    closing = next((at for at in range(verb + 3, len(kept)) if kept[at].word == ")"), len(kept))
    behind = closing + 1 + (closing + 1 < len(kept) and kept[closing + 1].word == "percent")
    return [*kept[: verb + 1], *kept[behind:]]


def _without_output(parts: Sequence[Part]) -> Sequence[Part]:
    """Without OUTPUT deleted.id, …: what it gives back is not asked; where it writes to is seen by its INTO."""
    begin = next((at for at, part in enumerate(parts) if part.kind == "word" and part.word == "output"), -1)
    if begin < 0 or not parts[begin + 2 : begin + 3] or parts[begin + 1].word not in {"deleted", "inserted", "$action"}:
        return parts
    ends = {"where", "from", "values", "select", "default"}
    end = next(
        (at for at in range(begin, len(parts)) if parts[at].kind == "word" and parts[at].word in ends), len(parts)
    )
    if any(part.word == "into" for part in parts[begin:end]):
        return parts
    return [*parts[:begin], *parts[end:]]


def _without_pair(parts: Sequence[Part], word: str, width: int, behind: str = "") -> Sequence[Part]:
    """Without a word and what belongs to it, `width` parts in all, once."""
    for at in [at for at, part in enumerate(parts) if part.word == word]:
        if not behind or (at + 1 < len(parts) and parts[at + 1].word == behind):
            return [*parts[:at], *parts[at + width :]]
    return parts


_BRIDGES: Final[Mapping[str, Callable[[Sequence[Part]], Sequence[Part]]]] = {
    "duckdb": lambda parts: _without_pair(parts, "by", 2, behind="position"),
    "mysql": _without_how,
    "oracle": _without_model,
    "postgres": lambda parts: _without_pair(parts, "overriding", 3),
    "redshift": lambda parts: _without_pair(parts, "overriding", 3),
    "sqlite": _without_conflict_clause,
    "tsql": lambda parts: _without_top(_without_output(parts)),
}

# In shape: n a constant, anything else that is no bracket or comma x.
_LIST: Final = re.compile(r"(n(?:,n){7})(?:,n)++")
_ROWS: Final = re.compile(r"(\((?:n,)*+n\),\((?:n,)*+n\))(?:,\((?:n,)*+n\))++")
_CONSTANTS: Final = frozenset({"null", "true", "false", "default"})


def shortened(parts: Sequence[Part]) -> Sequence[Part]:
    """Long lists of constants, and of rows of constants, without most of their entries."""
    if len(parts) < _LONG:
        return parts
    for pattern in (_LIST, _ROWS):
        shape = "".join(map(_shape, parts))
        kept: list[Part] = []
        at = 0
        for run in pattern.finditer(shape):
            kept += parts[at : run.end(1)]
            at = run.end()
        parts = [*kept, *parts[at:]]
    return parts


def _shape(part: Part) -> str:
    if part.kind in {"number", "string"} or part.word in _CONSTANTS:
        return "n"
    return part.text if part.kind == "sign" and part.word in "(,)" else "x"
