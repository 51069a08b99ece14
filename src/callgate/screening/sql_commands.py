"""Statements that the parser does not read, or reads as a lump: SHOW, EXPLAIN, SET, USE, PRAGMA and the like."""

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from types import MappingProxyType
from typing import Final

from callgate.screening.sql_found import Found, unreadable
from callgate.screening.sql_lexical import Part
from callgate.screening.sql_settings import read_set
from callgate.screening.sql_words import ASKING_PRAGMAS, READING_PRAGMAS, RESERVED

_SHOW: Final = frozenset(
    {"ansi", "mysql", "postgres", "redshift", "snowflake", "duckdb", "spark", "databricks", "trino", "clickhouse"}
)
_VERBS: Final = frozenset(
    {"select", "with", "insert", "update", "delete", "merge", "replace", "values", "table", "from"}
)
_EXPLAIN_WORDS: Final = frozenset(
    {
        "analyze", "analyse", "verbose", "extended", "partitions", "query", "plan", "for", "pipeline", "syntax", "ast",
        "estimate", "cost", "codegen", "formatted", "logical", "distributed", "format", "using", "text", "json",
        "tabular", "tree", "traditional", "xml", "yaml", "current", "optimizer", "type", "io", "validate", "costs",
        "buffers", "settings", "timing", "summary", "wal", "generic_plan", "memory", "serialize", "none", "on", "off",
        "true", "false", "binary", "html", "graphviz", "mermaid", "=", ",", "options", "header", "actions", "indexes",
    }
)  # fmt: skip
_OFF: Final = frozenset({"off", "false", "0", "no"})

Reader = Callable[[Sequence[Part], str], Found]


def explain_end(parts: Sequence[Part], dialect: str) -> tuple[int, bool]:
    """Where the explained statement begins (-1: nowhere), and whether it is carried out."""
    analyzes = parts[0].word in {"analyze", "analyse"}
    at = 1
    if dialect == "oracle" and len(parts) > 1 and parts[1].word == "plan":
        behind = [i for i, part in enumerate(parts) if part.kind == "word" and part.word == "for"]
        return (behind[0] + 1, False) if behind else (-1, False)
    if at < len(parts) and parts[at].word == "(" and parts[at + 1 : at + 2] and parts[at + 1].word in _EXPLAIN_WORDS:
        closing = next((i for i in range(at, len(parts)) if parts[i].word == ")"), -1)
        if closing < 0:
            return -1, False
        analyzes = analyzes or _asks_analyze(parts[at + 1 : closing])
        at = closing + 1
    while at < len(parts) and parts[at].word in _EXPLAIN_WORDS and parts[at].kind != "name":
        analyzes = analyzes or parts[at].word in {"analyze", "analyse"}
        at += 1
    if at < len(parts) and (parts[at].word in _VERBS or parts[at].word == "("):
        return at, analyzes
    return -1, analyzes


def _asks_analyze(options: Sequence[Part]) -> bool:
    for at, part in enumerate(options):
        if part.word in {"analyze", "analyse"}:
            value = next((each.word for each in options[at + 1 : at + 2]), ",")
            return value not in _OFF
    return False


def _is_plain(parts: Sequence[Part], signs: str = ".,%*@", most: int = 12) -> bool:
    """A few names, and nothing that could hold another statement."""
    return len(parts) <= most and all(part.kind != "sign" or part.word in signs for part in parts)


def _show(parts: Sequence[Part], dialect: str) -> Found:
    # Snowflake's flow operator sends what is shown on to another statement.
    flows = any(a.word == ">" and b.word == ">" for a, b in pairwise(parts))
    if dialect not in _SHOW or len(parts) < 2 or flows:
        return unreadable("show", parts)
    return Found("show")


def _describe(parts: Sequence[Part], dialect: str) -> Found:
    names_file = dialect == "duckdb" and any(part.kind == "string" for part in parts)
    if dialect in {"sqlite", "tsql", "bigquery"} or not _is_plain(parts[1:]):
        return unreadable("describe", parts)
    if names_file:
        return Found("describe").blame("file_access", writes=False)
    return Found("describe")


def _list(parts: Sequence[Part], dialect: str) -> Found:
    return (
        Found("list")
        if dialect in {"snowflake", "spark", "databricks"} and len(parts) > 1
        else unreadable("list", parts)
    )


def _help(parts: Sequence[Part], dialect: str) -> Found:
    return Found("help") if dialect == "mysql" and len(parts) == 2 else unreadable("help", parts)


def _use(parts: Sequence[Part], dialect: str) -> Found:
    second = parts[1].word if len(parts) > 1 else ""
    if second in {"role", "secondary"} and len(parts) > 2:
        return Found("use").blame("privilege", writes=False)
    named = (
        parts[2:]
        if second in {"database", "schema", "warehouse", "catalog", "namespace"} and len(parts) > 2
        else parts[1:]
    )
    if dialect in {"oracle", "sqlite", "postgres"} or not _is_one_name(named):
        return unreadable("use", parts)
    return Found("use")


def _is_one_name(parts: Sequence[Part]) -> bool:
    """`a`, `a.b`, `a.b.c`."""
    names, dots = parts[::2], parts[1::2]
    named = all(part.kind in {"word", "name"} and part.word not in RESERVED for part in names)
    return named and len(names) == len(dots) + 1 and len(names) <= 3 and all(part.word == "." for part in dots)


_BEGINS: Final = frozenset(
    {
        "work", "transaction", "tran", "deferred", "immediate", "isolation", "level", "read", "only", "write",
        "committed", "uncommitted", "repeatable", "serializable", "snapshot", "not", "deferrable", "with", "consistent",
        ",", "and", "no", "chain", "release", "to", "savepoint", "concurrent",
    }
)  # fmt: skip


def _transaction(parts: Sequence[Part], dialect: str) -> Found:
    first, rest = parts[0].word, [part.word for part in parts[1:]]
    starts_block = first == "begin" and dialect in {"oracle", "tsql", "bigquery", "snowflake"} and rest[:1] not in (
        ["transaction"], ["tran"], ["work"])  # fmt: skip
    if starts_block and (dialect != "snowflake" or rest):
        return unreadable("block", parts).blame("block", writes=False)
    names = 2 if first in {"savepoint", "release", "rollback"} or dialect == "tsql" else 0
    if first == "start" and rest[:1] != ["transaction"]:
        return Found(first).blame("admin")
    if "prepared" in rest:
        return Found("transaction").blame("admin")
    if first == "end" and dialect not in {"postgres", "sqlite", "redshift", "duckdb"}:
        return unreadable("transaction", parts)
    unknown = [word for word in rest if word not in _BEGINS]
    if len(unknown) > min(names, 1) or len(rest) > 8:
        return unreadable("transaction", parts)
    return Found("transaction")


def _pragma(parts: Sequence[Part], dialect: str) -> Found:
    rest = list(parts[1:])
    if len(rest) > 2 and rest[1].word == ".":
        rest = rest[2:]
    name = rest[0].word if rest else ""
    if dialect not in READING_PRAGMAS or not name:
        return unreadable("pragma", parts)
    asks = len(rest) > 3 and rest[1].word == "(" and rest[-1].word == ")" and _is_plain(rest[2:-1])
    if (len(rest) == 1 and name in READING_PRAGMAS[dialect]) or (asks and name in ASKING_PRAGMAS):
        return Found("pragma")
    return Found("pragma").blame("pragma")


def _comment(parts: Sequence[Part], dialect: str) -> Found:
    ends = len(parts) > 4 and parts[-2].word == "is" and (parts[-1].kind == "string" or parts[-1].word == "null")
    if dialect in {"mysql", "sqlite", "tsql", "bigquery"} or not ends or not _is_plain(parts[:-2], "().,%", 40):
        return unreadable("comment", parts)
    return Found("comment", writes=True, schema_change=True)


def _analyze(parts: Sequence[Part], dialect: str) -> Found:
    named = parts[2:] if len(parts) > 1 and parts[1].word == "table" else parts[1:]
    if dialect == "oracle" or len(named) > 5 or not _is_plain(named):
        return unreadable("analyze", parts).blame("admin")
    return Found("analyze")


COMMANDS: Final[Mapping[str, Reader]] = MappingProxyType(
    {
        "show": _show,
        "describe": _describe,
        "desc": _describe,
        "list": _list,
        "ls": _list,
        "help": _help,
        "use": _use,
        "set": read_set,
        "pragma": _pragma,
        "comment": _comment,
        "analyze": _analyze,
        "analyse": _analyze,
        "begin": _transaction,
        "start": _transaction,
        "commit": _transaction,
        "rollback": _transaction,
        "savepoint": _transaction,
        "release": _transaction,
        "end": _transaction,
        "abort": _transaction,
    }
)
