"""SET: what a session may set for itself, and what it may not."""

from collections.abc import Sequence
from typing import Final

from callgate.screening.sql_found import Found
from callgate.screening.sql_lexical import Part
from callgate.screening.sql_words import HARMLESS_SETTINGS

# Who acts, and by what word: harm, whatever the value.
_PRIVILEGED: Final = frozenset({"role", "session", "authorization", "password", "default"})
_CHANGES_ACCOUNTS: Final = frozenset({"password", "default"})
_FOR_ALL: Final = frozenset({"global", "persist", "persist_only"})
_ZONED: Final = frozenset({"postgres", "redshift", "trino", "spark", "databricks"})
_WITHOUT_TRANSACTIONS: Final = frozenset({"sqlite", "duckdb", "bigquery"})
# In some encodings the second byte of a letter is a quote or a backslash.
_ENCODINGS: Final = frozenset(
    {"names", "client_encoding", "character_set_client", "character_set_connection", "collation_connection"}
)
# What ends or takes up another thought: a query, a call, a second setting.
_NEVER: Final = frozenset({"select", "set", "("})
_MOST_WORDS: Final = 6


def read_set(parts: Sequence[Part], dialect: str) -> Found:
    """Read a SET; what is not known to be harmless is destructive."""
    words = [part.word for part in parts[1:]]
    while words[:1] in (["session"], ["local"]) and words[1:2] not in (["authorization"], ["characteristics"]):
        words = words[1:]
    first = words[0] if words else ""
    if first in _PRIVILEGED:
        return Found("set").blame("privilege", writes=first in _CHANGES_ACCOUNTS)
    if first in _FOR_ALL or words[:3] == ["@", "@", "global"]:
        return Found("set").blame("setting")
    harmless = _NEVER.isdisjoint(words) and _is_harmless(parts, words, dialect)
    return Found("set") if harmless else Found("set").blame("setting", writes=False)


def _is_harmless(  # noqa: PLR0911  # a table of forms
    parts: Sequence[Part], words: list[str], dialect: str
) -> bool:
    known = HARMLESS_SETTINGS.get(dialect, frozenset())
    match words:
        case ["transaction", *rest] if dialect not in _WITHOUT_TRANSACTIONS:
            return len(rest) <= 12 and all(part.kind == "word" or part.word == "," for part in parts)
        case ["time", "zone", _] | ["time", "zone", _, _]:
            return dialect in _ZONED
        case ["variable", _, "=", _]:
            return "variable" in known
        case ["@", _, "=", _] | ["@", _, ":", "=", _] if dialect == "mysql":
            return _is_value(parts[-1])
        case [_, "=", _] if dialect == "snowflake":
            return _is_value(parts[-1])
        case ["@", "@", "session" | "local", ".", *rest] | ["@", "@", *rest] if dialect == "mysql":
            return _is_known(parts, rest, known)
        case _:
            return _is_known(parts, words, known)


def _is_known(parts: Sequence[Part], words: list[str], known: frozenset[str]) -> bool:
    first = words[0] if words else ""
    if first in _ENCODINGS and not any(part.text.lower().startswith("utf") for part in parts[-3:]):
        return False
    return first in known and len(words) <= _MOST_WORDS and ("," not in words or first == "datestyle")


def _is_value(part: Part) -> bool:
    return part.kind in {"number", "string"} or part.word in {"null", "true", "false"}
