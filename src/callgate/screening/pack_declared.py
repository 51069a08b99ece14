"""The readings of the arguments that a policy declares as SQL or shell."""

from dataclasses import dataclass
from typing import Final, TypeAlias

from callgate.screening.pack_terms import UNCLEAR, ArgumentPath, Declared, ShellForm
from callgate.screening.pack_walk import MISSING, value_at
from callgate.screening.shell import ShellReading, read_argv, read_shell
from callgate.screening.sql import SqlReading, read_sql
from callgate.wire.json_strict import JsonObject

# Words of one argument list that are read; execve(2) takes more, but no tool is called with so many.
MAX_WORDS: Final = 4096


@dataclass(frozen=True, slots=True)
class SqlText:
    """SQL in an argument."""

    text: str
    reading: SqlReading


@dataclass(frozen=True, slots=True)
class ShellText:
    """Shell in an argument; of an argument list, `text` is its words with a space between them."""

    text: str
    reading: ShellReading


@dataclass(frozen=True, slots=True)
class Unclear:
    """An argument that is not what the policy declares."""


Sql: TypeAlias = SqlText | Unclear
Shell: TypeAlias = ShellText | Unclear
_UNCLEAR: Final = Unclear()


def sql_of(arguments: JsonObject, declared: Declared) -> tuple[Sql, ...]:
    """The declared SQL that this call has."""
    read = (_read_sql(arguments, path, dialect) for path, dialect in declared.sql)
    return tuple(each for each in read if each is not None)


def shell_of(arguments: JsonObject, declared: Declared) -> tuple[Shell, ...]:
    """The declared shell that this call has."""
    read = (_read_shell(arguments, path, form) for path, form in declared.shell)
    return tuple(each for each in read if each is not None)


def _read_sql(arguments: JsonObject, path: ArgumentPath, dialect: str) -> Sql | None:
    value = value_at(arguments, path)
    if value is MISSING:
        return None
    return SqlText(value, read_sql(value, dialect)) if isinstance(value, str) else _UNCLEAR


def _read_shell(arguments: JsonObject, path: ArgumentPath, form: ShellForm) -> Shell | None:
    value = value_at(arguments, path)
    if value is MISSING:
        return None
    if form == "bash":
        return ShellText(value, read_shell(value)) if isinstance(value, str) else _UNCLEAR
    if not isinstance(value, list) or len(value) > MAX_WORDS:
        return _UNCLEAR
    words = [word for word in value if isinstance(word, str)]
    return ShellText(" ".join(words), read_argv(words)) if len(words) == len(value) else _UNCLEAR


def destructive(found: tuple[Sql, ...] | tuple[Shell, ...]) -> set[str]:
    """Why the texts count as destructive."""
    broken: set[str] = set()
    for each in found:
        if isinstance(each, Unclear):
            broken.add(UNCLEAR)
        elif each.reading.destructive:
            broken |= set(each.reading.why) or {UNCLEAR}
    return broken
