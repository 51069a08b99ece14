"""What was found out about one statement, and small questions about its parts."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from callgate.screening.sql_functions import (
    FUNCTIONS,
    HARMLESS_PACKAGES,
    PACKAGES,
    PREFIXES,
    WRITING_CODES,
    WRITING_FUNCTIONS,
)
from callgate.screening.sql_lexical import Part
from callgate.screening.sql_words import READING_WORDS, WRITING_WORDS


@dataclass(slots=True)
class Found:
    """One statement's reading in the making."""

    kind: str
    writes: bool = False
    schema_change: bool = False
    why: set[str] = field(default_factory=set)
    tables: list[str] = field(default_factory=list)
    functions: list[str] = field(default_factory=list)

    def blame(self, *codes: str, writes: bool = True) -> "Found":
        """Destructive, by those codes."""
        self.why.update(codes)
        self.writes = self.writes or writes
        return self


def unreadable(kind: str, parts: Sequence[Part]) -> Found:
    """A statement that cannot be read: it writes unless it begins like a read and no word of it writes."""
    words = {part.word for part in parts if part.kind == "word"}
    writes = parts[0].word not in READING_WORDS or not words.isdisjoint(WRITING_WORDS)
    found = Found(kind, tables=list(dict.fromkeys(names_after(parts, _TABLES_FOLLOW))))
    return found.blame("unparsable", writes=writes)


_TABLES_FOLLOW: Final = frozenset({"from", "join", "into", "update", "table"})
_NOT_NAMES: Final = frozenset(
    {"if", "exists", "not", "only", "table", "tables", "lateral", "ignore", "low_priority", "concurrently"}
)
_ENDS_NAMES: Final = frozenset(
    {"select", "where", "set", "values", "outfile", "dumpfile", "as", "on", "stdin", "stdout", "function"}
)


def names_after(parts: Sequence[Part], starts: frozenset[str]) -> Iterator[str]:
    """The names that stand behind one of those words, lists of them too."""
    for at, part in enumerate(parts):
        if part.kind == "word" and part.word in starts:
            yield from names_from(parts, at + 1)


def names_from(parts: Sequence[Part], at: int) -> Iterator[str]:
    """The names of a list that begins there: `a.b, "c d"`."""
    while at < len(parts):
        while at < len(parts) and parts[at].kind == "word" and parts[at].word in _NOT_NAMES:
            at += 1
        name, at = _name_from(parts, at)
        if not name:
            return
        yield name
        if at >= len(parts) or parts[at].word != ",":
            return
        at += 1


def _name_from(parts: Sequence[Part], at: int) -> tuple[str, int]:
    words: list[str] = []
    while at < len(parts) and parts[at].kind in {"word", "name"}:
        if parts[at].kind == "word" and parts[at].word in _ENDS_NAMES:
            break
        words.append(parts[at].text)
        at += 1
        if at >= len(parts) or parts[at].word != "." or parts[at].kind != "sign":
            break
        at += 1
    if at < len(parts) and parts[at].word == "(" and words:
        return "", at
    return ".".join(words), at


# What stands in front of a bracket and calls nothing.
_NO_CALLS: Final = frozenset(
    {
        "in", "and", "or", "not", "values", "value", "on", "using", "over", "filter", "exists", "any", "all", "some", "as",
        "where", "when", "then", "else", "select", "from", "join", "by", "union", "except", "intersect", "minus", "case",
        "is", "like", "ilike", "between", "having", "limit", "offset", "distinct", "lateral", "group", "within", "sets",
        "rollup", "cube", "with", "set", "key", "unique", "check", "references", "table", "into", "returning", "end",
        "materialized", "option", "include", "partition", "apply", "struct", "array", "top", "fetch", "div", "regexp",
        "rlike", "against", "default", "columns", "pivot", "unpivot", "for", "primary", "rows", "only", "of", "both",
        "varchar", "char", "numeric", "decimal", "nvarchar", "varbinary", "number", "varchar2", "float", "int", "time",
        "timestamp", "bit", "character", "varying", "text", "exclude", "rename", "qualify", "return", "window", "cluster", "measures", "rules", "dimension", "bulk",
    }
)  # fmt: skip
# A name with a bracket behind it is no call behind one of these: columns, not arguments, follow.
_NAMES_COLUMNS: Final = frozenset(
    {"into", "table", "references", "view", "index", "key", "constraint", "with", "recursive", "exists"}
)


def called(parts: Sequence[Part], dialect: str) -> Iterator[tuple[str, str]]:
    """Each call's whole name and its last word, in lower case."""
    for at in [at for at, part in enumerate(parts) if part.word == "("]:
        name = parts[at - 1] if at else parts[0]
        if name.kind in {"word", "name"} and name.word not in _NO_CALLS:
            path, before = _path_to(parts, at - 1)
            if before not in _NAMES_COLUMNS:
                yield path, name.text.lower()
    if dialect in {"oracle", "ansi"}:
        yield from _called_without_brackets(parts)


def _called_without_brackets(parts: Sequence[Part]) -> Iterator[tuple[str, str]]:
    """Oracle calls a package's function without brackets where it needs no argument."""
    for at in [at for at, part in enumerate(parts[:-1]) if part.word == "."]:
        if at and _is_package(parts[at - 1].text.lower()):
            yield f"{parts[at - 1].text}.{parts[at + 1].text}".lower(), parts[at + 1].text.lower()


def _path_to(parts: Sequence[Part], at: int) -> tuple[str, str]:
    """The dotted name that ends there, and the word in front of it."""
    path = parts[at].text.lower()
    while at >= 2 and parts[at - 1].word == "." and parts[at - 2].kind in {"word", "name"}:
        at -= 2
        path = f"{parts[at].text.lower()}.{path}"
    return path, parts[at - 1].word if at else ""


def judge_calls(found: Found, parts: Sequence[Part], dialect: str) -> None:
    """Note the functions that a statement calls, and blame those that do more than compute."""
    known, prefixes = FUNCTIONS[dialect], PREFIXES.get(dialect, ())
    for path, last in called(parts, dialect):
        found.functions += [path] if path == last else [path, last]
        code = known.get(last) or known.get(path) or next((c for start, c in prefixes if last.startswith(start)), "")
        if not last.isascii():
            code = code or "lookalike"
        for package in path.split(".")[:-1] if "." in path else ():
            code = code or _package_code(package, dialect)
        if code:
            found.blame(code, writes=code in WRITING_CODES or last in WRITING_FUNCTIONS)
    found.functions = list(dict.fromkeys(found.functions))
    if any("xml" in name or name == "extractvalue" for name in found.functions) and _defines_entities(parts):
        found.blame("network", writes=False)


def _defines_entities(parts: Sequence[Part]) -> bool:
    """XML that fetches what it is made of."""
    texts = (part.text.lower() for part in parts if part.kind == "string")
    return any("<!doctype" in text or "<!entity" in text for text in texts)


def _is_package(name: str) -> bool:
    return name in PACKAGES or name.startswith(("dbms_", "utl_"))


def _package_code(package: str, dialect: str) -> str:
    if dialect not in {"oracle", "ansi"} or package in HARMLESS_PACKAGES:
        return ""
    return PACKAGES.get(package) or ("unknown_statement" if package.startswith(("dbms_", "utl_")) else "")
