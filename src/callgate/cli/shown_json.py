"""JSON of what others wrote, for a terminal or a file."""

import json

import orjson

from callgate.wire.json_strict import JsonValue


def shown_json(value: object) -> str:
    """Over several lines, for people, too; safe as `printable` says.  Whole numbers may be of any size."""
    try:
        return printable(orjson.dumps(value, option=orjson.OPT_INDENT_2).decode())
    except TypeError:
        # orjson has no number beyond 64 bits, and sums of what a log says may be.
        return printable(json.dumps(value, ensure_ascii=False, indent=2))


def json_line(value: JsonValue) -> str:
    """One line without an end, as compact as a record."""
    return printable(orjson.dumps(value).decode())


def printable(text: str) -> str:
    """The same JSON; what a terminal would not show as a character of its own is escaped."""
    if text.replace("\n", "").isprintable():
        return text
    # Outside of strings JSON is printable but for its line feeds, and within them this means the same (RFC 8259,
    # section 7).
    return "".join(char if char.isprintable() or char == "\n" else json.dumps(char)[1:-1] for char in text)
