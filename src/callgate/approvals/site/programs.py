"""The arguments that the policy declares as SQL or shell, with what screening says of each.

Telling words are marked wherever they stand, in quotes and comments too: where those end, databases and shells disagree.
"""

import re
import shlex
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final

from callgate.approvals.site.visible import Allowance, Text, folded
from callgate.screening.pack_terms import ArgumentPath, Declared, ShellForm
from callgate.screening.pack_walk import Value, value_at
from callgate.screening.shell import SHELL_RULES, ShellReading, read_argv, read_shell
from callgate.screening.sql import SQL_RULES, SqlReading, read_sql
from callgate.screening.sql_words import WRITING_WORDS
from callgate.wire.json_strict import JsonObject

# Programs of one call that are read for the page, at up to 20 ms each; policies declare one or two.
MAX_PROGRAMS: Final = 8
# Commands and tables that are named; a text with more of them is not summed up by naming them.
_MAX_NAMED: Final = 12

_SQL_TELLING: Final = re.compile(rf"(?i)(?<![\w$])(?:{'|'.join(sorted(WRITING_WORDS))})(?![\w$])|--|/\*|;(?=\s*\S)")
# Beside commands: what joins, redirects, substitutes, and options that force or recurse.
_SHELL_SIGNS: Final = (
    r"\|\|?|&&|>>?|\$\(|`|;|(?<!\S)-[a-zA-Z]*[rRf][a-zA-Z]*(?!\S)|(?<!\S)--(?:force|recursive)\b|\bsudo\b"
)


@dataclass(frozen=True, slots=True)
class Program:
    """One of them.  `what`: "SQL (postgres)", "Shell".  `why`: sentences; `marks`: what it does, in a word or two each.

    `names`: of the tables or commands in it, as `names_are` says.
    """

    path: ArgumentPath
    what: str
    text: Text
    destructive: bool
    marks: tuple[str, ...]
    why: tuple[str, ...]
    names: tuple[Text, ...]
    names_are: str


def read_programs(arguments: JsonObject, declared: Declared, allowance: Allowance) -> tuple[Program, ...]:
    """The declared programs that a call has.  Up to some 20 ms each, for whatever text."""
    return tuple(islice(_programs(arguments, declared, allowance), MAX_PROGRAMS))


def _programs(arguments: JsonObject, declared: Declared, allowance: Allowance) -> Iterator[Program]:
    dialects: dict[ArgumentPath, list[str]] = {}
    for path, dialect in declared.sql:
        dialects.setdefault(path, []).append(dialect)
    for path, each in dialects.items():
        value = value_at(arguments, path)
        if isinstance(value, str):
            yield _sql(path, value, each, allowance)
    for path, form in dict(declared.shell).items():
        value = value_at(arguments, path)
        if path not in dialects and (words := _words(value, form)) is not None:
            yield _shell(path, words, allowance)


def _sql(path: ArgumentPath, text: str, dialects: Sequence[str], allowance: Allowance) -> Program:
    """Each dialect's reading counts."""
    readings = [read_sql(text, dialect) for dialect in dialects]
    is_telling = any(reading.destructive or reading.writes for reading in readings)
    return Program(
        path,
        f"SQL ({', '.join(dialects)})",
        folded(text, allowance, _SQL_TELLING if is_telling else None),
        any(reading.destructive for reading in readings),
        _sql_marks(readings),
        tuple(SQL_RULES[code] for code in sorted({code for reading in readings for code in reading.why})),
        _named(dict.fromkeys(table for reading in readings for table in reading.tables), allowance),
        "Tables",
    )


def _sql_marks(readings: Sequence[SqlReading]) -> tuple[str, ...]:
    said = (
        (any(reading.writes for reading in readings), "writes"),
        (any(reading.schema_change for reading in readings), "changes the schema"),
    )
    return tuple(word for is_so, word in said if is_so) or ("reads only",)


def _shell(path: ArgumentPath, words: str | list[str], allowance: Allowance) -> Program:
    reading = read_shell(words) if isinstance(words, str) else read_argv(words)
    text = words if isinstance(words, str) else shlex.join(words)
    commands = [re.escape(name) for name in reading.commands[:_MAX_NAMED] if name != "?"]
    telling = re.compile("|".join((*(rf"(?<![\w-]){name}(?![\w-])" for name in commands), _SHELL_SIGNS)))
    return Program(
        path,
        "Shell",
        folded(text, allowance, telling if reading.destructive or reading.privileged else None),
        reading.destructive,
        _shell_marks(reading),
        tuple(SHELL_RULES[code] for code in reading.why),
        _named(reading.commands, allowance),
        "Commands",
    )


def _shell_marks(reading: ShellReading) -> tuple[str, ...]:
    said = (
        (reading.writes, "writes"),
        (reading.network, "uses the network"),
        (reading.privileged, "runs with more rights"),
    )
    return tuple(word for is_so, word in said if is_so)


def _named(names: Iterable[str], allowance: Allowance) -> tuple[Text, ...]:
    return tuple(folded(name, allowance) for name in islice(names, _MAX_NAMED))


def _words(value: Value, form: ShellForm) -> str | list[str] | None:
    """A text for bash, or the words of an argument list; None for what is neither."""
    if form == "bash":
        return value if isinstance(value, str) else None
    words = [word for word in value if isinstance(word, str)] if isinstance(value, list) else []
    return words if isinstance(value, list) and len(words) == len(value) else None
