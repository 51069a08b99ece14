"""A tree of marked lines, drawn for a terminal or as a Mermaid flowchart.

Every text goes through `visible`, because a policy, a test or a call may have been written by somebody else: nothing
that is printed can move the cursor, break a line, or pretend to be another branch.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum

from callgate.telemetry.visible import visible

_SHOWN_MAX_CHARS = 300
_RESET = "\x1b[0m"


class Mark(Enum):
    """What stands before a line: a character and its colour; the name is its class in Mermaid."""

    YES = ("✓", "\x1b[32m")
    NO = ("✗", "\x1b[31m")
    APPLIES = ("●", "\x1b[1m")
    PASSES = ("○", "\x1b[2m")
    NOTE = ("·", "\x1b[2m")
    UNKNOWN = ("?", "\x1b[33m")
    NONE = ("", "")


@dataclass(frozen=True, slots=True)
class Node:
    """One line, more lines that belong to it, and the branches that hang from it."""

    mark: Mark
    text: str
    branches: tuple["Node", ...] = ()
    lines: tuple[str, ...] = ()


def draw(root: Node, *, colour: bool) -> str:
    """Text of several lines, without a newline at its end."""
    head = (_marked(root, colour=colour), *(f"  {_shown(line)}" for line in root.lines))
    return "\n".join((*head, *_hang(root.branches, "", colour=colour)))


def mermaid(root: Node) -> str:
    """A flowchart from left to right, for where Markdown is shown."""
    lines = ["flowchart LR"]
    rest: list[tuple[Node, int | None]] = [(root, None)]
    number = 0
    while rest:
        node, parent = rest.pop()
        label = "<br/>".join(_escaped(line) for line in (_line(node), *node.lines))
        lines.append(f'  n{number}["{label}"]:::{node.mark.name.lower()}')
        if parent is not None:
            lines.append(f"  n{parent} --> n{number}")
        rest += [(branch, number) for branch in reversed(node.branches)]
        number += 1
    return "\n".join((*lines, *_STYLES))


_STYLES = (
    "  classDef yes stroke:#2a2",
    "  classDef no stroke:#c22",
    "  classDef applies stroke-width:3px",
    "  classDef passes stroke-dasharray:4",
    "  classDef note stroke-dasharray:4",
    "  classDef unknown stroke:#c90,stroke-dasharray:4",
    "  classDef none stroke-width:1px",
)


def _hang(nodes: Sequence[Node], margin: str, *, colour: bool) -> Iterator[str]:
    for index, node in enumerate(nodes):
        last = index == len(nodes) - 1
        yield f"{margin}{'└─' if last else '├─'} {_marked(node, colour=colour)}"
        inner = f"{margin}{'   ' if last else '│  '}"
        yield from (f"{inner}{_shown(line)}" for line in node.lines)
        yield from _hang(node.branches, inner, colour=colour)


def _line(node: Node) -> str:
    return f"{node.mark.value[0]} {node.text}".lstrip()


def _marked(node: Node, *, colour: bool) -> str:
    sign, code = node.mark.value
    if not sign:
        return _shown(node.text)
    return f"{code}{sign}{_RESET} {_shown(node.text)}" if colour else f"{sign} {_shown(node.text)}"


def _shown(text: str) -> str:
    return visible(text, _SHOWN_MAX_CHARS)


def _escaped(text: str) -> str:
    """Characters that Mermaid or HTML would read are written as entities, which Mermaid spells `#35;`."""
    return "".join(c if c.isalnum() or c in _PLAIN else f"#{ord(c)};" for c in _shown(text))


# A slash is not among them: Mermaid makes links of URLs, and shapes of slashes beside brackets.
_PLAIN = frozenset(" .,:-_=●○✓✗·…?")
