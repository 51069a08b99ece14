"""Statements that the parser reads: queries, changes of rows, CREATE.  What it makes of them must agree with their words."""

import re
from collections.abc import Sequence
from itertools import pairwise
from typing import Final

from callgate.screening.sql_changes import read_change, read_insert, read_merge
from callgate.screening.sql_creates import only_creates, read_create
from callgate.screening.sql_effort import is_too_much
from callgate.screening.sql_found import Found, unreadable
from callgate.screening.sql_functions import FILE_ENDINGS, FILE_FORMATS, FILE_TABLES
from callgate.screening.sql_gaps import bridged, is_cut_off, shortened
from callgate.screening.sql_lexical import Part
from callgate.screening.sql_lexicon import LEXICONS
from callgate.screening.sql_plain import plain_text
from callgate.screening.sql_tree import Tree, exp, parse_plain

_QUERIES: Final = frozenset({"select", "with", "values", "table", "from", "(", "pivot", "unpivot", "summarize"})
# First words of what is read here.
PARSED: Final = _QUERIES | {"insert", "update", "delete", "merge", "replace", "create"}
_NAME_TABLES: Final = frozenset({"summarize", "pivot", "unpivot", "from", "table"})
_CHANGES: Final = frozenset({"insert", "update", "delete", "merge"})
_GIVES_BACK: Final = frozenset({"output", "returning", "return"})


def read_parsed(parts: Sequence[Part], dialect: str) -> Found:
    """Read a statement that begins with one of PARSED.  Raises RecursionError for what nests too deeply."""
    first = parts[0].word
    kind = first if first in PARSED - _QUERIES or first == "with" else "select"
    if first == "with" and parts[1:2] and parts[1].word in {"function", "procedure"}:
        return unreadable(kind, parts).blame("create_code")
    created = read_create(parts, dialect) if first == "create" else None
    if created is not None and created.why:
        return created
    read, parser = shortened(bridged(parts, dialect)), LEXICONS[dialect].parser
    if is_too_much(read, parser):
        return Found(kind).blame("too_long")
    text, renamed = plain_text(read, dialect)
    tree = parse_plain(text, parser, renamed)
    if tree is None or tree.misnamed or is_cut_off(parts, dialect):
        return unreadable(kind, parts)
    found = _of_tree(tree, parts)
    found.tables = tree.tables
    _judge_files(found, parts, dialect)
    return found


def _of_tree(tree: Tree, parts: Sequence[Part]) -> Found:
    root = tree.root
    match root:
        case exp.Insert() | exp.MultitableInserts():
            found = read_insert(root, parts)
        case exp.Update() | exp.Delete():
            found = read_change(root, tree)
        case exp.Merge():
            found = read_merge(root, parts)
        case exp.Create():
            found = Found("create", writes=True, schema_change=True)
        case exp.Command() if parts[0].word == "create" and only_creates(parts):
            return Found("create", writes=True, schema_change=True)
        case exp.Query() | exp.Values() | exp.Pivot() | exp.Summarize():
            found = Found("select")
        case _:
            return unreadable(parts[0].word or "unparsable", parts)
    _judge_writers(found, tree)
    if _selects_into(found.kind, parts):
        found.blame("select_into")
        found.schema_change = True
    return found


def _judge_writers(found: Found, tree: Tree) -> None:
    """What writes below the root: a branch of a MERGE may, and one of INSERT ALL."""
    for node in tree.writers:
        if isinstance(node.parent, exp.When | exp.MultitableInserts | exp.ConditionalInsert):
            continue
        if isinstance(node, exp.Into):
            found.blame("select_into")
        elif isinstance(node, exp.Insert | exp.Update | exp.Delete | exp.Merge):
            found.blame("data_modifying_cte")
        else:
            found.blame("unparsable")


def _selects_into(kind: str, parts: Sequence[Part]) -> bool:
    """Whether INTO stands where no INSERT, no MERGE and no RETURNING has it, nor DuckDB's UNPIVOT … INTO NAME."""
    words = [part.word for part in parts]
    places = [at for at, word in enumerate(words) if word == "into" and words[at + 1 : at + 2] != ["name"]]
    if not places or (kind == "insert" and words[1] in {"all", "first"}) or words[1:3] == ["overwrite", "all"]:
        return False
    if kind in {"insert", "merge"}:
        places = places[1:]
    first_given = next((at for at, word in enumerate(words) if word in _GIVES_BACK), len(words))
    return any(kind not in _CHANGES or at < first_given for at in places)


# What a table's name is made of that is the name of a file.
_LOCATED: Final = re.compile(r"[/\\:]|^\.")


def _judge_files(found: Found, parts: Sequence[Part], dialect: str) -> None:
    """Files in the place of tables."""
    match dialect:
        case "duckdb":
            names_one = len(parts) > 1 and parts[0].word in _NAME_TABLES and parts[1].kind == "string"
            reads = names_one or any(map(_is_file, found.tables))
        case "spark" | "databricks":
            reads = any(map(_is_spark_file, found.tables))
            if any(before.word == "using" and part.kind == "string" for before, part in pairwise(parts)):
                # SELECT TRANSFORM … USING 'script'.
                found.blame("program")
        case "sqlite":
            reads = any(each.lower() in FILE_TABLES for each in found.tables)
        case "snowflake":
            reads = found.kind != "select" and any(part.word == "@" for part in parts)
        case _:
            reads = False
    if reads:
        found.blame("file_access", writes=False)


def _is_file(name: str) -> bool:
    return name.lower().endswith(FILE_ENDINGS) or not {"/", "\\", "*"}.isdisjoint(name)


def _is_spark_file(name: str) -> bool:
    kind, _, rest = name.partition(".")
    return kind.lower() in FILE_FORMATS and _LOCATED.search(rest) is not None
