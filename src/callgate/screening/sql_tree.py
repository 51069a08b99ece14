"""sqlglot, and what is read off its trees.  The one module that knows the parser; it sees plain texts alone."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Final

from sqlglot import exp
from sqlglot import parser as _parser
from sqlglot.dialects.dialect import Dialect
from sqlglot.errors import ErrorLevel
from sqlglot.parser import Parser
from sqlglot.tokens import Tokenizer

from callgate.screening.sql_words import RESERVED, TSQL_RESERVED

__all__ = ["Tree", "exp", "parse_plain", "type_words"]

# It logs the text of what it cannot read, and what is screened stands in no log.
_parser.logger.disabled = True

# Kinds of nodes that write, or that the parser did not read, wherever they stand below the root.
_WRITES: Final = (
    exp.Insert, exp.Update, exp.Delete, exp.Merge, exp.Create, exp.Drop, exp.Alter, exp.TruncateTable, exp.Copy,
    exp.Command, exp.Kill, exp.Into, exp.Set, exp.Use, exp.Transaction, exp.Commit, exp.Rollback, exp.Execute,
    exp.Attach, exp.Detach, exp.Grant, exp.Revoke, exp.Comment, exp.Declare, exp.Pragma, exp.LoadData, exp.Export,
    exp.Analyze, exp.Cache, exp.Uncache, exp.Refresh,
)  # fmt: skip


@dataclass(slots=True)
class Tree:
    """One statement as the parser reads it, and what it is made of.

    `tables`: base tables as written, each once, in order.  `named`: every place that names a table.  `writers`: nodes
    below the root that write.  `misnamed`: bare names that cannot be names.  `aliases`: of tables, in lower case.
    """

    root: exp.Expr
    tables: list[str] = field(default_factory=list)
    named: list[exp.Table] = field(default_factory=list)
    joins: list[exp.Join] = field(default_factory=list)
    writers: list[exp.Expr] = field(default_factory=list)
    misnamed: list[str] = field(default_factory=list)
    aliases: set[str] = field(default_factory=set)


_Tools = tuple[Tokenizer, Parser]
# Of each dialect, those that nobody uses now: to make them takes as long as to read a short statement.  Each is used by
# one thread at a time; those that failed are not used again.
_idle: dict[str, list[_Tools]] = {}


def _made(parser: str) -> _Tools:
    dialect = Dialect.get_or_raise(parser or None)
    return dialect.tokenizer(), dialect.parser(error_level=ErrorLevel.IMMEDIATE)


# What may follow the name of a type and still belong to it.
_TYPE_ENDS: Final = frozenset({"unsigned", "signed", "zerofill", "zone", "precision", "varying"})


@cache
def type_words(parser: str) -> frozenset[str]:
    """What the parser may take for the name of a type, or for its last word, in lower case."""
    tokenizer, reader = _made(parser)
    return frozenset(
        word.lower().rpartition(" ")[2] for word, kind in tokenizer.KEYWORDS.items() if kind in reader.TYPE_TOKENS
    )


def parse_plain(text: str, parser: str, renamed: Mapping[str, str]) -> Tree | None:
    """The tree of a text that holds one statement, None for one that cannot be read.

    `renamed`: what names were before they were made plain.  Raises RecursionError for what nests too deeply.
    """
    idle = _idle.setdefault(parser, [])
    try:
        tools = idle.pop()
    except IndexError:
        tools = _made(parser)
    try:
        roots = tools[1].parse(tools[0].tokenize(text), text)
    except RecursionError:
        raise
    except Exception:  # noqa: BLE001  # whatever goes wrong in there, the text could not be read
        return None
    idle.append(tools)
    if len(roots) != 1 or roots[0] is None:
        return None
    return _surveyed(roots[0], TSQL_RESERVED if parser == "tsql" else RESERVED, renamed)


def _with_subclasses(kinds: tuple[type[exp.Expr], ...]) -> frozenset[type[exp.Expr]]:
    found = set(kinds)
    for kind in kinds:
        found |= _with_subclasses(tuple(kind.__subclasses__()))
    return frozenset(found)


# What becomes of a node, by its type.
_ROLES: Final[Mapping[type[exp.Expr], str]] = {
    kind: role
    for role, kinds in {
        "writer": _WRITES,
        "identifier": (exp.Identifier,),
        "table": (exp.Table,),
        "cte": (exp.CTE,),
        "alias": (exp.TableAlias,),
        "join": (exp.Join,),
    }.items()
    for kind in _with_subclasses(kinds)
}


def _surveyed(root: exp.Expr, reserved: frozenset[str], renamed: Mapping[str, str]) -> Tree:
    found: dict[str, list[exp.Expr]] = {role: [] for role in _ROLES.values()}
    for node in root.walk():
        role = _ROLES.get(type(node))
        if role is not None:
            found[role].append(node)
    tree = Tree(root, aliases={each.name.lower() for each in found["alias"]})
    tree.misnamed = [
        each.this for each in found["identifier"] if each.this.lower() in reserved and not each.args.get("quoted")
    ]
    # SQLite's INDEXED BY names an index.
    tree.named = [each for each in found["table"] if isinstance(each, exp.Table) and each.arg_key != "indexed"]
    tree.joins = [each for each in found["join"] if isinstance(each, exp.Join)]
    tree.writers = [each for each in found["writer"] if each is not root]
    scoped: dict[str, list[exp.Expr]] = {}
    for each in found["cte"]:
        scoped.setdefault(each.alias.lower(), []).append(each)
    tree.tables = list(dict.fromkeys(_base_names(tree, scoped, renamed)))
    return tree


def _base_names(tree: Tree, scoped: Mapping[str, list[exp.Expr]], renamed: Mapping[str, str]) -> Iterator[str]:
    for table in tree.named:
        name = _written(table, renamed)
        if not name or (scoped and "." not in name and _is_scoped(table, scoped.get(name.lower(), []))):
            continue
        if _is_target(table) and "." not in name and name.lower() in tree.aliases and not table.alias:
            continue
        yield name


def _written(table: exp.Table, renamed: Mapping[str, str]) -> str:
    """A table's name as written, without quotes; "" for what is no table: a function, a stage."""
    last = table.this
    if type(last) is exp.Identifier and not (
        table.args.get("catalog") or table.args.get("db") or last.args.get("temporary") or last.args.get("global_")
    ):
        return renamed.get(last.this, last.this)
    while isinstance(last, exp.Dot):
        last = last.expression
    if not isinstance(last, exp.Identifier):
        return ""
    parts = (
        [each.this for each in table.parts]
        if not isinstance(table.this, exp.Dot)
        else [each.name for each in table.find_all(exp.Identifier) if each.parent is not table.args.get("alias")]
    )
    words = [renamed.get(each, each) for each in parts if isinstance(each, str)]
    if table.catalog and not table.db:
        # Transact-SQL's `database..table`.
        words.insert(-1, "")
    mark = "#" if last.args.get("temporary") else "##" if last.args.get("global_") else ""
    return ".".join([*words[:-1], mark + words[-1]])


def _is_scoped(table: exp.Table, named: list[exp.Expr]) -> bool:
    """Whether the name is that of a common table expression there, and of no table."""
    for cte in named:
        clause = cte.parent
        holder = clause.parent if clause else None
        if clause is None or holder is None:
            continue
        path = _path_up(table, holder)
        if path is None:
            continue
        inside = next((each for each in path if isinstance(each, exp.CTE) and each.parent is clause), None)
        if inside is None or clause.args.get("recursive"):
            return True
        order = clause.expressions
        if order.index(cte) < order.index(inside):
            return True
        # Its own body: a table of that name, except where RECURSIVE goes without saying.
        if inside is cte and cte.find(exp.SetOperation) is not None:
            return True
    return False


def _path_up(node: exp.Expr, holder: exp.Expr) -> list[exp.Expr] | None:
    path: list[exp.Expr] = []
    at: exp.Expr | None = node
    while at is not None:
        if at is holder:
            return path
        path.append(at)
        at = at.parent
    return None


def _is_target(table: exp.Table) -> bool:
    """Whether it is what an UPDATE or DELETE names in front of its FROM."""
    parent = table.parent
    return isinstance(parent, exp.Update | exp.Delete)
