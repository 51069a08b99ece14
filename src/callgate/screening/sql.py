"""What a SQL text does, as far as can be told without the database: `read_sql`.

A text is cut into parts by rules of our own (`sql_lexical`), each statement of it is told by its words
(`sql_statement`, `sql_commands`), and what is a query or changes rows is read by sqlglot from a text that is written
anew (`sql_tree`).  All three must agree; what they do not agree on, or do not know, is destructive.
"""

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from callgate.screening.sql_found import Found
from callgate.screening.sql_lexical import Part, parts_of
from callgate.screening.sql_lexicon import LEXICONS
from callgate.screening.sql_rules import SQL_RULES
from callgate.screening.sql_statement import read_statement
from callgate.screening.sql_words import WRITING_WORDS

__all__ = ["DIALECTS", "MAX_CHARACTERS", "SQL_RULES", "SqlReading", "read_sql"]

DIALECTS: Final[tuple[str, ...]] = tuple(sorted(LEXICONS))
# Longer texts are not read.  A migration or a bulk load is longer; a call of a tool is not.
MAX_CHARACTERS: Final = 64 * 1024
# Of a text of many statements, which is destructive in any case, so many are read.
_MAX_STATEMENTS: Final = 8
# Readings that are remembered, and what one may hold to be: 2 MiB in all.
MAX_REMEMBERED: Final = 1024
_MAX_REMEMBERED_CHARACTERS: Final = 1024
# sqlcmd and SSMS: a line of its own that ends the batch.
_BATCH_END: Final = re.compile(r"(?:^|[\r\n])[ \t]*go[ \t]*(?:[0-9]{1,9}[ \t]*)?;?[ \t]*(?:[\r\n]|$)", re.IGNORECASE)

_LETTERS: Final = re.compile(r"[a-z]++")
_HIDING: Final = frozenset({"executable_comment", "lookalike", "unclear_comment", "control_character", "unparsable"})


@dataclass(frozen=True, slots=True)
class SqlReading:
    """What one SQL text does.

    `statements`: the kind of each, in lower case, "unparsable" for what is none.  `writes`: whether it changes rows,
    definitions, files or the server.  `destructive`: whether `why` is not empty.  `schema_change`: whether it creates,
    alters, drops, renames or empties what rows stand in.  `why`: codes of SQL_RULES, in order of the alphabet.
    `tables`: base tables as written, without quotes.  `functions`: what is called, in lower case; a function with a
    schema or package in front of it stands there with it and without it.
    """

    statements: tuple[str, ...]
    writes: bool
    destructive: bool
    schema_change: bool
    why: tuple[str, ...]
    tables: tuple[str, ...]
    functions: tuple[str, ...]


_remembered: dict[bytes, SqlReading] = {}


def read_sql(text: str, dialect: str) -> SqlReading:
    """Read one SQL text in one of DIALECTS; any other dialect, and whatever cannot be read, is destructive.

    Never raises.  At most some 20 ms, for whatever text; remembered by the digest of both arguments.
    """
    if dialect not in LEXICONS:
        return _unread("unknown_dialect")
    if len(text) > MAX_CHARACTERS:
        return _unread("too_long")
    digest = hashlib.blake2b(f"{dialect}\0{text}".encode("utf-8", "surrogatepass"), digest_size=16).digest()
    known = _remembered.get(digest)
    if known is not None:
        return known
    reading = _read(text, dialect)
    _remember(digest, reading)
    return reading


def _remember(digest: bytes, reading: SqlReading) -> None:
    if sum(map(len, (*reading.tables, *reading.functions, *reading.statements))) > _MAX_REMEMBERED_CHARACTERS:
        return
    while len(_remembered) >= MAX_REMEMBERED:
        # Two threads may be at it: the one that comes second finds it gone.
        _remembered.pop(next(iter(_remembered), b""), None)
    _remembered[digest] = reading


def _unread(code: str) -> SqlReading:
    return SqlReading(
        ("unparsable",), writes=True, destructive=True, schema_change=True, why=(code,), tables=(), functions=()
    )


def _read(text: str, dialect: str) -> SqlReading:
    found = parts_of(text, dialect)
    if "too_long" in found.why:
        return _unread("too_long")
    statements = _statements(found.parts)
    readings = [read_statement(each, dialect) for each in statements[:_MAX_STATEMENTS]]
    why = set(found.why)
    if len(statements) > 1:
        why.add("several_statements")
    if not statements:
        why.add("empty")
    if dialect == "tsql" and _BATCH_END.search(text):
        why.add("client_command")
    # Where the text hides something, every word of it counts, in comments and in quotes that are never closed too.
    hides = not found.why.isdisjoint(_HIDING) and not WRITING_WORDS.isdisjoint(_LETTERS.findall(text.lower()))
    return _joined(readings, why, writes=hides or len(statements) > _MAX_STATEMENTS)


def _statements(parts: list[Part]) -> list[list[Part]]:
    """The parts of each statement, without the semicolons between them."""
    ends = [at for at, part in enumerate(parts) if part.word == ";"]
    begins = [0, *(at + 1 for at in ends)]
    return [parts[begin:end] for begin, end in zip(begins, [*ends, len(parts)], strict=True) if begin < end]


def _joined(readings: Sequence[Found], why: set[str], *, writes: bool) -> SqlReading:
    codes = why.union(*(each.why for each in readings))
    return SqlReading(
        statements=tuple("unparsable" if "unparsable" in each.why else each.kind for each in readings),
        writes=writes or any(each.writes for each in readings),
        destructive=bool(codes),
        schema_change=any(each.schema_change for each in readings),
        why=tuple(sorted(codes)),
        tables=_each_once(each.tables for each in readings),
        functions=_each_once(each.functions for each in readings),
    )


def _each_once(lists: Iterable[Sequence[str]]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(one for each in lists for one in each))
