"""Commands in arguments that nobody declared: lists of words, and a command beside the list of its arguments."""

from collections.abc import Iterator
from typing import Final

from callgate.screening.pack_walk import Contents
from callgate.wire.json_strict import JsonObject, JsonValue

# A longer list is no command that somebody typed.
MAX_WORDS: Final = 200
MAX_LINE_CHARACTERS: Final = 8192
# Lines of one call, so that what is searched at most doubles.
MAX_LINES: Final = 500

_COMMAND_KEYS: Final = ("command", "cmd", "program", "executable", "entrypoint", "binary", "exec", "file")
_ARGUMENT_KEYS: Final = ("args", "arguments", "argv", "params", "parameters", "command", "cmd")

_SPELLED: Final = frozenset(
    form for key in (*_COMMAND_KEYS, *_ARGUMENT_KEYS) for form in (key, key.capitalize(), key.upper())
)


def command_lines(contents: Contents) -> tuple[str, ...]:
    """Each as one line, in the order in which they stand."""
    lines: list[str] = []
    for line in _all(contents):
        lines.append(line)
        if len(lines) == MAX_LINES:
            break
    return tuple(lines)


def _all(contents: Contents) -> Iterator[str]:
    for members in contents.objects:
        if _SPELLED.isdisjoint(members):
            continue
        yield from _of_members(members)
    for words in contents.lists:
        if (line := _line(words)) and " " in line:
            yield line


def _of_members(members: JsonObject) -> Iterator[str]:
    lower = {name.lower(): value for name, value in members.items()} if len(members) <= MAX_WORDS else {}
    commands = [line for key in _COMMAND_KEYS if (line := _line(lower.get(key)))]
    rests = [line for key in _ARGUMENT_KEYS if (line := _line(lower.get(key)))]
    for command in commands:
        for rest in rests:
            if rest != command:
                yield f"{command} {rest}"


def _line(value: JsonValue) -> str:
    if isinstance(value, str):
        return value if len(value) <= MAX_LINE_CHARACTERS else ""
    if not isinstance(value, list) or len(value) > MAX_WORDS:
        return ""
    words = [word for word in value if isinstance(word, str)]
    line = " ".join(words)
    return line if len(words) == len(value) and len(line) <= MAX_LINE_CHARACTERS else ""
