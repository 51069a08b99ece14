"""Arguments that are programs, read for conditions that ask of them.

What cannot be read as the policy says has no answer, and the condition fails: an argument that is not declared, is not
there, or is of another type.  What can be read and is not understood is destructive: that is the readers' own verdict.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, TypeAlias

from callgate.policy.call import Call
from callgate.policy.cel_failure import kind_of
from callgate.policy.cel_paths import Missing
from callgate.policy.cel_reading import ReadingQuestion
from callgate.policy.reading_fields import FIELDS, MAX_NAME_CHARACTERS, MAX_NAMES
from callgate.policy.tags import ToolTags
from callgate.screening.shell import ShellReading, read_argv, read_shell
from callgate.screening.sql import SqlReading, read_sql

# Texts of one argument that is a list of them, times the ways in which they are declared; each is parsed.
MAX_TEXTS: Final = 32

# What one reader found, and the texts that one argument comes to.
Found: TypeAlias = SqlReading | ShellReading
Value: TypeAlias = bool | list[str]

_WHAT: Final = {"sql": "SQL", "shell": "shell"}


@dataclass(frozen=True, slots=True)
class Answers:
    """`values` by the names of the runtime's variables; `missing`: why there is none, for each that has none."""

    values: Mapping[str, Value]
    missing: Mapping[str, str]


def read_arguments(questions: Iterable[ReadingQuestion], call: Call, tags: ToolTags) -> Answers:
    """Everything that a condition asks of the arguments of one call.  Total; bounded by MAX_READINGS and MAX_TEXTS."""
    values: dict[str, Value] = {}
    missing: dict[str, str] = {}
    for question in questions:
        found = _readings(question, call, tags)
        for field in question.fields:
            value = found if isinstance(found, str) else _joined(question, field, found)
            if isinstance(value, str):
                missing[f"{question.name}.{field}"] = value
            else:
                values[f"{question.name}.{field}"] = value
    return Answers(values, missing)


def languages_of(question: ReadingQuestion, server: str, tool: str | None, tags: ToolTags) -> tuple[str, ...]:
    """The dialects, or forms, that an argument is read as: what the condition says, else what the policy's tools do."""
    if question.language:
        return (question.language,)
    if tool is None:
        return ()
    declared = tags.declared(server, tool)
    named: Sequence[tuple[tuple[str | int, ...], str]] = declared.sql if question.function == "sql" else declared.shell
    steps = [str(step) for step in question.path.steps]
    return tuple(language for path, language in named if [str(step) for step in path] == steps)


def _readings(question: ReadingQuestion, call: Call, tags: ToolTags) -> list[Found] | str:
    languages = languages_of(question, call.server, call.tool, tags)
    if not languages:
        return f"{question.path.text} is not declared as {_WHAT[question.function]}"
    if call.arguments is None:
        return "the request has no arguments"
    value = question.path.of(call.arguments)
    if isinstance(value, Missing):
        return value.why
    found: list[Found] = []
    for language in languages:
        texts = _programs(language, value)
        if texts is None:
            return f"{question.path.text} is {kind_of(value)}, and is declared as {_form(question, language)}"
        if len(texts) > MAX_TEXTS // len(languages):
            return f"{question.path.text} has more than {MAX_TEXTS // len(languages)} entries"
        found += [reader() for reader in texts]
    return found


def _form(question: ReadingQuestion, language: str) -> str:
    if question.function == "sql":
        return "SQL, which is text or a list of texts"
    return "argv, which is a list of texts" if language == "argv" else "shell, which is text or a list of texts"


def _programs(language: str, value: object) -> list[Callable[[], Found]] | None:
    """What there is to be read; None for a value of another type."""
    entries = value if isinstance(value, list) else [value]
    texts = [text for text in entries if isinstance(text, str)]
    if len(texts) < len(entries) or (language == "argv" and not isinstance(value, list)):
        return None
    if language == "argv":
        return [partial(read_argv, texts)]
    if language == "bash":
        return [partial(read_shell, text) for text in texts]
    return [partial(read_sql, text, language) for text in texts]


def _joined(question: ReadingQuestion, field: str, found: Sequence[Found]) -> Value | str:
    """One field of all readings together: the worst of each; why it has no value, where it is too large."""
    values = [getattr(each, field) for each in found]
    if not FIELDS[question.function][field]:
        return any(values)
    names = [name for each in values for name in each]
    if len(names) > MAX_NAMES or any(len(name) > MAX_NAME_CHARACTERS for name in names):
        return f"{question.path.text} has more {field} than can be looked at, or longer ones"
    return names
