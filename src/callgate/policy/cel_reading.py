"""What a condition asks of an argument that is a program: `sql(args.query).destructive`.

The operand is a path that is written out, so that what will be read is known when the condition is compiled.  The gate
reads it before the expression is evaluated, and hands over what it found: in the text that the runtime is given,
`sql(args.query)` is `sql.r0         `, and `sql.r0.destructive` is a variable with a type.  So the checker knows what each
field is, and all else stays where its author sees it.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, TypeAlias, get_args

from callgate.policy.cel_paths import Path
from callgate.policy.cel_tree import Apply, Const, Expr, Name, Reading, Select
from callgate.policy.mask_entries import ShellForm
from callgate.policy.reading_fields import FIELDS, MAX_READINGS
from callgate.screening.sql import DIALECTS
from callgate.yaml_model import did_you_mean
from callgate.yaml_strict import shown

_EXAMPLES: Final = {"sql": "sql(args.query).destructive", "shell": "shell(args.command).destructive"}
_LANGUAGES: Final[Mapping[str, tuple[str, ...]]] = {"sql": DIALECTS, "shell": get_args(ShellForm)}

# cel-spec, "Syntax": COMMENT, STRING_LIT, IDENT (with fields in backticks), numbers; and any other character.
_TOKEN: Final = re.compile(
    r"""
      (?P<blank>\s+|//[^\n]*)
    | (?P<string>(?:[bB]?[rR]|[rR][bB])(?:\"{3}(?:[^"]|"{1,2}(?!"))*\"{3}|'{3}(?:[^']|'{1,2}(?!'))*'{3}|"[^"\n]*"|'[^'\n]*')
        |[bB]?(?:\"{3}(?:[^"\\]|\\[\s\S]|"{1,2}(?!"))*\"{3}|'{3}(?:[^'\\]|\\[\s\S]|'{1,2}(?!'))*'{3}
            |"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'))
    | (?P<name>[A-Za-z_][A-Za-z0-9_]*)
    | (?P<number>[0-9][A-Za-z0-9_]*)
    | (?P<quoted>`[^`\n]*`)
    | (?P<other>[\s\S])
    """,
    re.VERBOSE,
)
_PLAIN_STRING: Final = re.compile(r"\"([^\"\\\n]*)\"|'([^'\\\n]*)'")
_PLAIN_INDEX: Final = re.compile(r"0|[1-9][0-9]{0,8}")

# Where in the text, and what is wrong there.
Fault: TypeAlias = tuple[int, str]


@dataclass(frozen=True, slots=True)
class ReadingQuestion:
    """One program that a condition reads.

    `name` is what the runtime finds it by, `language` the dialect or form that the condition says itself, "" where the
    policy's `tools` are asked, `fields` those that the condition looks at.
    """

    name: str
    function: str
    path: Path
    language: str
    fields: tuple[str, ...]

    @property
    def text(self) -> str:
        """As an author writes it."""
        said = f', "{self.language}"' if self.language else ""
        return f"{self.function}({self.path.text}{said})"


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    start: int
    end: int


@dataclass(slots=True)
class Rewritten:
    """A condition's text as the runtime is given it, and what stands for what in it."""

    text: str
    faults: list[Fault] = field(default_factory=list)
    # By function, path and language: the name, the operand as a tree, and the fields.
    _found: dict[tuple[str, str, str], tuple[str, Path, Expr, dict[str, None]]] = field(default_factory=dict)

    @property
    def questions(self) -> tuple[ReadingQuestion, ...]:
        """What has to be read."""
        return tuple(
            ReadingQuestion(name, function, path, language, tuple(fields))
            for (function, _, language), (name, path, _, fields) in self._found.items()
        )

    @property
    def nodes(self) -> Mapping[str, Reading]:
        """By the names of the variables: what the tree has in their place."""
        return {
            f"{question.name}.{each}": Reading(
                operand.offset,
                f"{question.name}.{each}",
                f"{question.text}.{each}",
                operand,
                FIELDS[question.function][each],
            )
            for question, (_, _, operand, _) in zip(self.questions, self._found.values(), strict=True)
            for each in question.fields
        }

    def name_of(self, function: str, operand: tuple[Path, Expr], language: str, asked: str) -> str:
        """The name that stands for it; "" where there would be too many."""
        path, tree = operand
        key = (function, path.text, language)
        if key not in self._found:
            if len(self._found) == MAX_READINGS:
                return ""
            self._found[key] = (f"{function}.r{len(self._found)}", path, tree, {})
        name, _, _, fields = self._found[key]
        fields[asked] = None
        return name


class _Misread(ValueError):  # noqa: N818  # says what it is
    def __init__(self, offset: int, message: str) -> None:
        super().__init__(message)
        self.offset = offset


def rewritten(text: str) -> Rewritten:
    """`text` with a name in the place of each reading, every other character where it was."""
    found = Rewritten(text)
    if not any(name in text for name in FIELDS):
        return found
    tokens = [
        _Token(str(match.lastgroup), match[0], match.start(), match.end())
        for match in _TOKEN.finditer(text)
        if match.lastgroup != "blank"
    ]
    for at, token in enumerate(tokens):
        if token.kind == "name" and token.text in FIELDS and not _is(tokens, at - 1, "."):
            try:
                _replace(_Reader(tokens, at), found)
            except _Misread as error:
                found.faults.append((error.offset, str(error)))
    return found


def _replace(reader: "_Reader", found: Rewritten) -> None:
    first = reader.tokens[reader.at]
    function, start = first.text, first.start
    if _is(reader.tokens, reader.at - 1, "(") and _is(reader.tokens, reader.at - 2, "has"):
        raise _Misread(start, f"has is not asked of {function}(...): what it finds has all of its fields")
    path, operand = reader.operand(function)
    language = reader.language(function)
    end = reader.close(function)
    name = found.name_of(function, (path, operand), language, reader.field(function))
    if not name:
        raise _Misread(start, f"reads SQL and shell more than {MAX_READINGS} times")
    # Each part in the place of one of at least its length: "sql", "(" and "args".
    parts = list(re.sub(r"[^\n]", " ", found.text[start:end]))
    for word, at in ((function, start), (".", reader.opening), (name.partition(".")[2], reader.opening_operand)):
        parts[at - start : at - start + len(word)] = word
    found.text = f"{found.text[:start]}{''.join(parts)}{found.text[end:]}"


@dataclass(slots=True)
class _Reader:
    """Reads one call of a function; `at` is the token that is read next.

    `opening` is where its parenthesis stands, `opening_operand` where its operand begins.
    """

    tokens: list[_Token]
    at: int
    opening: int = 0
    opening_operand: int = 0

    def operand(self, function: str) -> tuple[Path, Expr]:
        """The path, and the same as a tree."""
        first = self.tokens[self.at]
        if not _is(self.tokens, self.at + 1, "("):
            raise _Misread(first.start, f"'{function}' is nothing by itself; it is asked like {_EXAMPLES[function]}")
        self.at += 2
        if not _is(self.tokens, self.at, "args"):
            raise self._no_path(function)
        root = self.tokens[self.at]
        self.opening, self.opening_operand = self.tokens[self.at - 1].start, root.start
        path = Path("args", (), root.start)
        tree: Expr = Name(root.start, "args")
        self.at += 1
        while _is(self.tokens, self.at, ".") or _is(self.tokens, self.at, "["):
            path, tree = self._step(function, path, tree)
        if not path.steps:
            raise self._no_path(function)
        return path, tree

    def _step(self, function: str, path: Path, tree: Expr) -> tuple[Path, Expr]:
        opening, step = self.tokens[self.at], self._token(self.at + 1)
        if opening.text == ".":
            if step is None or step.kind not in {"name", "quoted"}:
                raise self._no_path(function)
            self.at += 2
            name = step.text.strip("`")
            return path.then(name, opening.start), Select(opening.start, tree, name, only_tests=False)
        index = _literal(step)
        if index is None or not _is(self.tokens, self.at + 2, "]"):
            raise self._no_path(function)
        self.at += 3
        key = Const(opening.start, index)
        return path.then(index, opening.start), Apply(opening.start, "_[_]", (tree, key), is_method=False)

    def language(self, function: str) -> str:
        """The second operand, "" where there is none."""
        if not _is(self.tokens, self.at, ","):
            return ""
        said = self._token(self.at + 1)
        language = _literal(said)
        start = said.start if said else self.tokens[self.at].start
        known = _LANGUAGES[function]
        if not isinstance(language, str):
            raise _Misread(start, f'{function} takes one of {", ".join(known)}, written out, such as "{known[0]}"')
        if language not in known:
            raise _Misread(start, f"{function} knows no '{shown(language)}'{did_you_mean(language, known)}")
        self.at += 2
        return language

    def close(self, function: str) -> int:
        """Where the call ends."""
        if not _is(self.tokens, self.at, ")"):
            raise self._no_path(function)
        self.at += 1
        return self.tokens[self.at - 1].end

    def field(self, function: str) -> str:
        """What is asked of it."""
        known = FIELDS[function]
        asked = self._token(self.at + 1)
        if not _is(self.tokens, self.at, ".") or asked is None or asked.kind != "name":
            start = self.tokens[self.at - 1].start
            raise _Misread(start, f"what {function} finds is nothing by itself; it has {', '.join(known)}")
        if asked.text not in known:
            near = did_you_mean(asked.text, known) or f"; it has {', '.join(known)}"
            raise _Misread(asked.start, f"what {function} finds has no '{shown(asked.text)}'{near}")
        return asked.text

    def _token(self, at: int) -> _Token | None:
        return self.tokens[at] if at < len(self.tokens) else None

    def _no_path(self, function: str) -> _Misread:
        found = self._token(self.at) or self.tokens[-1]
        return _Misread(found.start, f"{function} takes an argument that is written out: {_EXAMPLES[function]}")


def _is(tokens: list[_Token], at: int, text: str) -> bool:
    return 0 <= at < len(tokens) and tokens[at].text == text


def _literal(token: _Token | None) -> str | int | None:
    """A text without escapes, or a place in a list."""
    if token is None:
        return None
    if token.kind == "number":
        return int(token.text) if _PLAIN_INDEX.fullmatch(token.text) else None
    found = _PLAIN_STRING.fullmatch(token.text)
    return None if found is None else found[1] if found[1] is not None else found[2]


def _as_expr(node: Expr) -> Expr:
    return node
