"""A CEL expression as a tree, as it is after the checker: macros are loops, dotted variables are names."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

Literal: TypeAlias = bool | int | float | str | bytes | None


@dataclass(frozen=True, slots=True)
class Node:
    """A part of an expression; `offset` counts characters of its text from 0."""

    offset: int


@dataclass(frozen=True, slots=True)
class Const(Node):
    """A literal; `is_unsigned` tells `1u` from `1`."""

    value: Literal
    is_unsigned: bool = False


@dataclass(frozen=True, slots=True)
class Name(Node):
    """A variable, with its dots where it has some, or a type."""

    name: str


@dataclass(frozen=True, slots=True)
class Select(Node):
    """`operand.field`, or has(operand.field) where it `only_tests`."""

    operand: "Expr"
    field: str
    only_tests: bool


@dataclass(frozen=True, slots=True)
class Apply(Node):
    """A function or operator; a method's receiver is its first operand."""

    function: str
    operands: tuple["Expr", ...]
    is_method: bool


@dataclass(frozen=True, slots=True)
class Items(Node):
    """A list written out."""

    items: tuple["Expr", ...]


@dataclass(frozen=True, slots=True)
class Entries(Node):
    """A map written out."""

    entries: tuple[tuple["Expr", "Expr"], ...]


@dataclass(frozen=True, slots=True)
class Loop(Node):
    """What a macro over a list or a map becomes.

    Its value is `result`, after `step` has given `accumulator` a new value for each `variable` of `over` while
    `condition` held.
    """

    variable: str
    over: "Expr"
    accumulator: str
    start: "Expr"
    condition: "Expr"
    step: "Expr"
    result: "Expr"


@dataclass(frozen=True, slots=True)
class Reading(Node):
    """`sql(operand).field`: what the gate found when it read an argument.

    `name` is what the runtime calls it, `text` its author.  It is a list of texts, or else true or false.
    """

    name: str
    text: str
    operand: "Expr"
    is_list: bool


Expr: TypeAlias = Const | Name | Select | Apply | Items | Entries | Loop | Reading


def children(node: Expr) -> tuple[Expr, ...]:
    """The parts that `node` is directly made of, in the order in which they stand."""
    match node:
        case Const() | Name():
            return ()
        case Select() | Reading():
            return (node.operand,)
        case Apply():
            return node.operands
        case Items():
            return node.items
        case Entries():
            return tuple(part for entry in node.entries for part in entry)
        case Loop():
            return (node.over, node.start, node.condition, node.step, node.result)


def walk(node: Expr) -> Iterator[Expr]:
    """`node` and all that it is made of, whole before parts and first before last."""
    rest = [node]
    while rest:
        found = rest.pop()
        yield found
        rest += reversed(children(found))
