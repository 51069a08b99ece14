"""Log lines: JSON where a machine reads them, plain and coloured where a person does.

What becomes of a call is in its trace and not logged; log lines are for the gate's own life (started, identity renewed,
policy loaded, stopping).  Attributes come in by `extra={names.REASON: …}`, and those that `names.ALLOWED` does not list
do not come out.
"""

import logging
import os
import sys
from datetime import UTC, datetime
from typing import TextIO

import orjson

from callgate.telemetry import names
from callgate.telemetry.visible import redacted, visible, without_credentials

MESSAGE_MAX_CHARS = 2000
STACK_MAX_LINES = 100
_VALUE_MAX_CHARS = 300

_RESET, _DIM, _BOLD = "\x1b[0m", "\x1b[2m", "\x1b[1m"
_LEVEL_COLOURS = {
    "DEBUG": _DIM,
    "INFO": "\x1b[36m",
    "WARNING": "\x1b[33m",
    "ERROR": "\x1b[31m",
    "CRITICAL": "\x1b[1;31m",
}


class JsonLines(logging.Formatter):
    """One JSON object a line: `time` (RFC 3339, UTC), `level`, `logger`, `message`, the attributes, `stack`."""

    def format(self, record: logging.LogRecord) -> str:
        """Never raises on what a caller wrote: text is escaped before it is serialised."""
        line: dict[str, object] = {
            "time": _time_of(record).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": message_of(record),
        }
        line |= attributes_of(record)
        if record.exc_info:
            line["stack"] = "\n".join(_stack_of(self, record))
        return orjson.dumps(line, default=str).decode()


class ReadableLines(logging.Formatter):
    """`12:03:04 WARNING  policy.yaml was not taken over  callgate.reason=…`, and a traceback below it."""

    def __init__(self, *, colour: bool) -> None:
        super().__init__()
        self._colour = colour

    def format(self, record: logging.LogRecord) -> str:
        """Local time, as a person expects it."""
        level = self._paint(f"{record.levelname:<8}", _LEVEL_COLOURS.get(record.levelname, ""))
        extra = "".join(self._paint(f"  {key}={value}", _DIM) for key, value in attributes_of(record).items())
        when = self._paint(f"{_time_of(record).astimezone():%H:%M:%S}", _DIM)
        lines = [f"{when} {level} {message_of(record)}{extra}"]
        if record.exc_info:
            lines += [self._paint(f"  {line}", _DIM) for line in _stack_of(self, record)]
        return "\n".join(lines)

    def _paint(self, text: str, colour: str) -> str:
        return f"{colour}{text}{_RESET}" if self._colour and colour else text


def set_up_logging(stream: TextIO | None = None, *, level: int = logging.INFO) -> None:
    """Send this process's log lines to `stream` (standard error), in the form that suits it.

    `level` is callgate's own; other libraries speak from WARNING on.  Colour: on a terminal, unless NO_COLOR is set
    (no-color.org).  Replaces whatever was set up before.
    """
    target = stream or sys.stderr
    lines = logging.StreamHandler(target)
    person = target.isatty()
    lines.setFormatter(ReadableLines(colour=not os.environ.get("NO_COLOR")) if person else JsonLines())
    root = logging.getLogger()
    root.handlers[:] = [lines]
    root.setLevel(logging.WARNING)
    logging.getLogger("callgate").setLevel(level)


def message_of(record: logging.LogRecord) -> str:
    """The message, on one line, without what looks like a credential."""
    return without_credentials(record.getMessage(), MESSAGE_MAX_CHARS)


def attributes_of(record: logging.LogRecord) -> dict[str, str | int | float | bool]:
    """The attributes that may be logged, by name; a sequence as one text."""
    given = record.__dict__
    return {name: _loggable(given[name]) for name in sorted(given.keys() & names.ALLOWED)}


def _stack_of(formatter: logging.Formatter, record: logging.LogRecord) -> list[str]:
    """The traceback, line by line; its end is what matters where it is long."""
    stack = redacted(formatter.formatException(record.exc_info)) if record.exc_info else ""
    return [visible(line, MESSAGE_MAX_CHARS) for line in stack.split("\n")[-STACK_MAX_LINES:]]


def _loggable(value: object) -> str | int | float | bool:
    if isinstance(value, int) and value.bit_length() > 63:
        return visible(f"{value:#x}", _VALUE_MAX_CHARS)
    if isinstance(value, bool | int | float):
        return value
    text = ", ".join(map(str, value)) if isinstance(value, tuple | list) else str(value)
    return without_credentials(text, _VALUE_MAX_CHARS)


def _time_of(record: logging.LogRecord) -> datetime:
    return datetime.fromtimestamp(record.created, UTC)
