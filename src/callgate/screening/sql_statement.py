"""What one statement does: its first word says what it is, and everything else in it must agree."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

from callgate.screening.sql_commands import COMMANDS, explain_end
from callgate.screening.sql_effort import is_too_deep
from callgate.screening.sql_found import Found, judge_calls, names_from, unreadable
from callgate.screening.sql_lexical import Part
from callgate.screening.sql_parsed import PARSED, read_parsed
from callgate.screening.sql_words import (
    BY_FIRST_WORD,
    CLIENT_WORDS,
    NOT_WRITING,
    TSQL_BEFORE,
    TSQL_BEHIND,
    TSQL_BEHIND_IN_CREATE,
    TSQL_STARTERS,
    WRITING_WORDS,
)

# Codes of what only a statement that is carried out can do.
_WHEN_CARRIED_OUT: Final = frozenset(
    {"no_where", "always_true", "overwrite", "merge_delete", "merge_all", "system_table"}
)


def read_statement(parts: Sequence[Part], dialect: str) -> Found:
    """Read one statement, which has at least one part.  Never raises; what cannot be read is destructive."""
    if is_too_deep(parts):
        return Found(_first(parts)).blame("too_deep")
    try:
        found = _read(parts, dialect)
        judge_calls(found, parts, dialect)
    except RecursionError:
        return Found(_first(parts)).blame("too_deep")
    except Exception:  # noqa: BLE001  # a tree of a shape that nobody thought of: not read, and so destructive
        return unreadable(_first(parts), parts)
    if _is_client_command(parts, dialect):
        found.blame("client_command", writes=found.writes or not _only_shows(parts))
    if dialect == "tsql" and _starts_another(parts):
        found.blame("several_statements", writes=_has_writing_word(parts[1:]))
    return found


def _first(parts: Sequence[Part]) -> str:
    first = next((part for part in parts if part.word != "("), parts[0])
    return first.word if first.kind == "word" else "unparsable"


def _has_writing_word(parts: Sequence[Part]) -> bool:
    return any(part.word in WRITING_WORDS for part in parts)


def _read(parts: Sequence[Part], dialect: str) -> Found:
    first = parts[0].word
    if first in {"explain", "describe", "desc", "analyze", "analyse"}:
        begin, analyzes = explain_end(parts, dialect)
        if begin > 0 and (first == "explain" or dialect in {"mysql", "duckdb"}):
            return _explained(parts[begin:], dialect, analyzes=analyzes)
        if first == "explain":
            return _explained_table(parts, dialect)
    if first in PARSED:
        return read_parsed(parts, dialect)
    if first in COMMANDS:
        return COMMANDS[first](parts, dialect)
    return _by_first_word(parts, dialect)


def _explained(parts: Sequence[Part], dialect: str, *, analyzes: bool) -> Found:
    inner = read_parsed(parts, dialect)
    found = Found("explain", why=set(inner.why), tables=inner.tables)
    if analyzes and inner.writes:
        return found.blame("explain_write")
    found.why -= _WHEN_CARRIED_OUT
    return found


def _explained_table(parts: Sequence[Part], dialect: str) -> Found:
    """MySQL's EXPLAIN of a table, or of another session's statement."""
    names = dialect == "mysql" and 1 < len(parts) <= 6 and parts[1].kind in {"word", "name"}
    return Found("explain") if names and not _has_writing_word(parts) else unreadable("explain", parts)


# By their first word alone


def _by_first_word(parts: Sequence[Part], dialect: str) -> Found:
    first = parts[0].word
    code = BY_FIRST_WORD.get(first)
    if code is None:
        found = unreadable(_first(parts), parts)
        return found.blame("unknown_statement", writes=found.writes) if parts[0].kind == "word" else found
    if first in {"execute", "exec"}:
        return _executed(parts)
    words = {part.word for part in parts}
    found = Found(first, schema_change=code in {"alter", "drop", "truncate", "rename"}, tables=_named_tables(parts))
    if first == "copy" and "program" in words:
        found.blame("program")
    return found.blame(code, writes=_writes(first, words, dialect))


def _executed(parts: Sequence[Part]) -> Found:
    """EXECUTE in its many senses: a procedure, a prepared statement, a string, as somebody else."""
    second = parts[1].word if len(parts) > 1 else ""
    if second == "as":
        return Found("execute").blame("privilege", writes=False)
    found = Found("execute").blame("procedure")
    strings = any(part.kind == "string" for part in parts[1:3])
    return found.blame("dynamic_sql") if strings or second in {"immediate", "sp_executesql"} else found


# Statements that hold others, or nothing that counts: their words tell.
_HOLDERS: Final = frozenset(
    {"declare", "if", "while", "print", "prepare", "for", "raiserror", "return", "goto", "loop"}
)


def _writes(first: str, words: set[str], dialect: str) -> bool:
    if first in {"reset", "do", "call"}:
        # RESET empties logs in MySQL, and settings elsewhere; DO evaluates in MySQL, and runs a block elsewhere.
        asks = first == "call" and dialect == "duckdb" and not words.isdisjoint({"pragma_version", "pragma_table_info"})
        return not asks and (first == "call" or (first == "reset") == (dialect == "mysql"))
    if first == "prepare" and not words.isdisjoint({"transaction", "from"}):
        return True
    if first in _HOLDERS:
        return not words.isdisjoint(WRITING_WORDS)
    return first not in NOT_WRITING


def _named_tables(parts: Sequence[Part]) -> list[str]:
    at = next((at for at, part in enumerate(parts[:6]) if part.word in {"table", "tables"}), -1)
    if at < 0 and parts[0].word != "truncate":
        return []
    return list(dict.fromkeys(names_from(parts, max(at, 0) + 1)))


# Client programs


def _is_client_command(parts: Sequence[Part], dialect: str) -> bool:
    r"""`\!`, `.shell`, `!source`, DELIMITER and their like."""
    first = parts[0]
    if "\\" in {part.word for part in parts}:
        return True
    return first.word in {".", "!", "@", ":", "/"} or first.word in CLIENT_WORDS.get(dialect, frozenset())


# psql: where the rows go, and how they look.
_SHOWING: Final = frozenset({"g", "gx", "x", "crosstabview", "gdesc"})


def _only_shows(parts: Sequence[Part]) -> bool:
    behind = {part.word for before, part in pairwise(parts) if before.word == "\\"}
    return bool(behind) and behind <= _SHOWING


# Transact-SQL


# Statements that are destructive in any case, and full of such words.
_OWN_WORDS: Final = frozenset({"alter", "drop", "grant", "deny", "revoke"})


def _starts_another(parts: Sequence[Part]) -> bool:
    """Whether a word starts another statement.  Transact-SQL needs no semicolon between two."""
    first = parts[0].word
    if first in _OWN_WORDS:
        return False
    sets = 1 if first in {"update", "with", "merge"} else 0
    for at in [at for at, part in enumerate(parts) if part.word in TSQL_STARTERS and at]:
        before, word = parts[at - 1].word, parts[at].word
        if word == "set" and sets:
            sets = 0
        elif not _belongs(first, before, word, parts[at + 1].word if at + 1 < len(parts) else ""):
            return True
    return False


def _belongs(first: str, before: str, word: str, behind: str) -> bool:
    """Whether a word that starts statements is part of the one that began with `first`."""
    if before == "." or (before, word) in TSQL_BEHIND or (word, behind) in TSQL_BEFORE:
        return True
    if first == "create":
        return (before, word) in TSQL_BEHIND_IN_CREATE
    return first == "with" and before == ")" and word in {"update", "delete", "insert", "merge"}
