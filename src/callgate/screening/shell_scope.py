"""Which variables hold what for certain, at each place of a text.

A value is known from an assignment that is always made to the place where it is used.  What is set on one way through
the text alone, in a loop, by a name in a variable or by other text is not known.
"""

from collections.abc import Iterator
from typing import Final

from callgate.screening.shell_state import State
from callgate.screening.shell_terms import Block, Command, Node, Word

# Among names that are set: each and every one.
EVERY: Final = "*"
ASSIGNS: Final = frozenset({"declare", "typeset", "local", "export", "readonly"})
_SETS_BY_NAME: Final = ASSIGNS | {"read", "printf", "mapfile", "readarray", "unset", "getopts", "let", "wait"}
_RUNS_TEXT: Final = frozenset({"eval", ".", "source", "trap", "command", "builtin", "alias"})


def forget(state: State, names: set[str]) -> None:
    """These variables may hold anything from here on."""
    if EVERY in names:
        state.known = {}
    for name in names:
        state.known.pop(name, None)


def forget_assigned(state: State, node: Node) -> None:
    """What commands in there may have set is not known any more."""
    if state.known:
        forget(state, set(assigned_in(node)))


def assigned_in(node: Node) -> Iterator[str]:
    """Names that assignments, loops and expansions in there may set; EVERY for any name at all."""
    if isinstance(node, Command):
        yield from _assigned_by(node)
        return
    yield node.name
    for each in node.nodes:
        yield from assigned_in(each)
    yield from names_in_arithmetic(node)


def _assigned_by(command: Command) -> Iterator[str]:
    yield from (each.name for each in command.assignments)
    first = command.words[0] if command.words else Word("")
    if first.holes or first.text in _RUNS_TEXT:
        yield EVERY
    for word in command.words:
        # read, printf -v, export and their kin name what they set as a word.
        yield EVERY if word.holes and first.text in _SETS_BY_NAME else word.text.partition("=")[0].partition("\x04")[0]
        yield from (hole.name for hole in word.holes if hole.detail.startswith(("=", ":=")))


def names_in_arithmetic(node: Block) -> set[str]:
    """Whatever looks like a name in arithmetic may be assigned there."""
    if node.kind != "arithmetic" and not (node.kind == "for" and not node.name):
        return set()
    text = "".join(letter if letter.isalnum() or letter == "_" else " " for word in node.words for letter in word.text)
    return {name for name in text.split() if name.isidentifier()}
