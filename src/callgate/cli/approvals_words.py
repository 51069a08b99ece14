"""What a gate says of a request, in words for a terminal: nothing hidden, nothing that moves a cursor.

What an agent or a tool server wrote goes through `seen`, the same signs as the page shows.
"""

from collections.abc import Iterator
from typing import Final

import orjson

from callgate.approvals.site.visible import MAX_WORDS, Allowance, shown
from callgate.cli.words import duration, moment_s
from callgate.wire.json_strict import JsonObject, JsonValue

# Signs of one text that are told by their names; further ones are written out.
_MARKS: Final = 1_000
# Of what is not decided on, such as a description; `--format json` has all of it.
_MAX_CHARACTERS: Final = 2_000
_US_IN_S: Final = 1_000_000
STATES: Final = {
    "waiting": "waiting",
    "approved": "approved",
    "denied": "denied",
    "used": "used up",
    "expired": "expired",
    "void": "void",
}


def text(found: JsonObject, name: str) -> str:
    """A member that is text, as it came; "" where there is none."""
    value = found.get(name)
    return value if isinstance(value, str) else ""


def number(found: JsonObject, name: str) -> float:
    """A member that is a number; 0 where there is none."""
    value = found.get(name)
    return value if isinstance(value, int | float) and not isinstance(value, bool) else 0


def texts(found: JsonObject, name: str) -> list[str]:
    """Those entries of a list that are text."""
    value = found.get(name)
    return [each for each in value if isinstance(each, str)] if isinstance(value, list) else []


def objects(found: JsonObject, name: str) -> list[JsonObject]:
    """Those entries of a list that are objects."""
    value = found.get(name)
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def seen(said: str) -> str:
    """All of a text that others wrote, on one line: `⟨U+202E⟩` stands for what cannot be seen."""
    return "".join(_piece(*piece) for piece in shown(said, Allowance(0, _MARKS, MAX_WORDS)))


def seen_shortly(said: str) -> str:
    """The same, no more than a screen of it."""
    if len(said) <= _MAX_CHARACTERS:
        return seen(said)
    return f"{seen(said[:_MAX_CHARACTERS])}… and {len(said) - _MAX_CHARACTERS:,} characters more"


def seen_json(value: JsonValue) -> Iterator[str]:
    """JSON, pretty-printed line by line, whole."""
    # Within JSON a line feed of a text is `\n` (RFC 8259, section 7): each line is one of ours.
    lines = orjson.dumps(value, option=orjson.OPT_INDENT_2).decode().split("\n")
    return (f"{' ' * (len(line) - len(line.lstrip(' ')))}{seen(line.lstrip(' '))}" for line in lines)


def _piece(kind: str, said: str, note: str) -> str:
    match kind:
        case "forged":
            return f"{said}⟨not what it looks like: {note}⟩"
        case "rtl":
            return f"{said}⟨{note}⟩"
        case _:
            return said


def call_of(request: JsonObject) -> str:
    """`refund on ledger`."""
    return f"{seen_shortly(text(request, 'tool'))} on {seen_shortly(text(request, 'server'))}"


def state_of(request: JsonObject) -> str:
    """`waiting, 14 min 3 s left`, and what is still missing."""
    state = text(request, "state")
    said = STATES.get(state, seen_shortly(state))
    left, missing = number(request, "left_s"), int(number(request, "missing"))
    if state not in {"waiting", "approved"}:
        return said
    more = f", {missing} to agree" if state == "waiting" and missing > 1 else ""
    return f"{said}{more}, {for_s(left)} left"


def for_s(seconds: float) -> str:
    """`14 min 3 s`, `40 s`."""
    whole = max(0, int(seconds))
    return f"{whole} s" if whole < 60 else duration(whole * _US_IN_S)


def at(seconds: float) -> str:
    """`2026-01-07T12:00:00Z`."""
    return moment_s(int(seconds))
