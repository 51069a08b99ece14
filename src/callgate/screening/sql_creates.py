"""What a CREATE creates, by its words: what only adds a table or the like, and what runs, reaches out or replaces."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

from callgate.screening.sql_found import Found, names_from
from callgate.screening.sql_lexical import Part
from callgate.screening.sql_words import (
    CREATE_ADDS,
    CREATE_CODES,
    CREATE_MODIFIERS,
    CREATE_REACHES,
    HARMLESS_ENGINES,
    WRITING_WORDS,
)

_REPLACES: Final = (["or", "replace"], ["or", "alter"])
_QUERY_WORDS: Final = frozenset({"select", "with", "values", "from"})


def read_create(parts: Sequence[Part], dialect: str) -> Found:
    """What the words of a CREATE tell; a query in it is not looked at."""
    found = Found("create", writes=True, schema_change=True)
    words = [part.word for part in parts]
    at = 1
    if words[1:3] in _REPLACES:
        found.blame("or_replace")
        at = 3
    begin = at
    while at < len(words) and words[at] in CREATE_MODIFIERS:
        at += 2 if words[at] == "sql" else 1
    thing, rest = (words[at] if at < len(words) else ""), words[at + 1 :]
    if thing not in CREATE_ADDS or "definer" in words[begin:at]:
        found.blame(CREATE_CODES.get(thing, "create_other"))
    found.why |= {CREATE_REACHES[word] for word in rest if word in CREATE_REACHES}
    found.why |= _OF_THING.get(thing, _nothing)(rest, dialect)
    if ("as", "execute") in pairwise(words):
        found.blame("prepare")
    if found.why and thing in {"table", "view"}:
        found.tables = _named(parts, at + 1)
    return found


def only_creates(parts: Sequence[Part]) -> bool:
    """Whether a CREATE that the parser takes as a lump holds no query, and no other statement."""
    return not any(
        part.word in _QUERY_WORDS or (part.word in WRITING_WORDS and before.word != "on")
        for before, part in pairwise(parts)
    )


def _nothing(words: list[str], dialect: str) -> set[str]:
    del words, dialect
    return set()


def _of_table(words: list[str], dialect: str) -> set[str]:
    found = set()
    if words[:1] == ["function"]:
        found.add("create_code")
    if dialect == "tsql" and "select" in words and "as" not in words:
        # MySQL's way to fill a table; here a statement of its own.
        found.add("several_statements")
    if "directory" in words or (dialect in {"spark", "databricks"} and "path" in words):
        found.add("file_access")
    if "engine" in words:
        engine = next((each for each in words[words.index("engine") + 1 :][:2] if each != "="), "")
        if engine not in HARMLESS_ENGINES and not engine.endswith("mergetree"):
            found.add("network")
    return found


def _of_view(words: list[str], dialect: str) -> set[str]:
    del dialect
    return {"create_other"} if words[:1] == ["log"] else set()


def _of_schema(words: list[str], dialect: str) -> set[str]:
    del dialect
    found = {"privilege"} if "authorization" in words else set()
    return found | ({"several_statements"} if {"grant", "create"} & set(words) else set())


def _of_type(words: list[str], dialect: str) -> set[str]:
    """Other types than lists of values come with functions."""
    del dialect
    return set() if "enum" in words else {"create_other"}


_OF_THING: Final = {"table": _of_table, "view": _of_view, "schema": _of_schema, "type": _of_type}


def _named(parts: Sequence[Part], at: int) -> list[str]:
    """The name in front of the columns: `t` of `t (id INT)`."""
    opening = next((i for i in range(at, len(parts)) if parts[i].word == "("), len(parts))
    return list(names_from(parts[:opening], at))[:1]
