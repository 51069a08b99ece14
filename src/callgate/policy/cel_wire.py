"""A checked CEL expression read from the form in which the runtime gives it out.

`Expression.serialize()` is a `google.protobuf.Any` with a `cel.expr.CheckedExpr` in it (cel-spec, proto/cel/expr/
checked.proto and syntax.proto).  No package brings those messages, and a reader made from them would skip a field that
it does not know.  This one does not: whatever a later runtime puts there that is not known here is
`UnreadableExpression`, because nobody has bounded what it costs.
"""

import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from callgate.errors import GatewayError
from callgate.policy.cel_tree import Apply, Const, Entries, Expr, Items, Literal, Loop, Name, Select

# Protocol Buffers, "Message Structure": how the value after a field's number is written.
_VARINT, _FIXED_64, _DELIMITED = 0, 1, 2
_MAX_VARINT_BYTES: Final = 10
# Set in numbers below zero, which are written as unsigned ones of 64 bits.
_SIGN: Final = 1 << 63
_TYPE_URL: Final = b"type.googleapis.com/cel.expr.CheckedExpr"


class UnreadableExpression(GatewayError):  # noqa: N818  # says what it is
    """The runtime made something of an expression that is not known here."""


def read_tree(serialized: bytes, instead: Mapping[str, Expr] = MappingProxyType({})) -> Expr:
    """The tree of a serialised CheckedExpr, with others in the place of some variables.  Raises UnreadableExpression."""
    try:
        wrapped = dict(_fields(serialized))
        parts = dict(_fields(_bytes({_TYPE_URL: wrapped[2]}[_bytes(wrapped[1])])))
        offsets = dict(_position(value) for number, value in _fields(_bytes(parts[5])) if number == 4)
        return _Reader(offsets, instead).expression(_bytes(parts[4]))
    except (KeyError, IndexError, ValueError, struct.error) as error:
        raise UnreadableExpression("the runtime's form of the expression is not known") from error


def _position(entry: int | bytes) -> tuple[int, int]:
    found = dict(_fields(_bytes(entry)))
    # Proto3 leaves out what is 0.
    return _int(found.get(1, 0)), _int(found.get(2, 0))


@dataclass(frozen=True, slots=True)
class _Reader:
    """`offsets` says by a node's number where it stands."""

    offsets: dict[int, int]
    instead: Mapping[str, Expr]

    def expression(self, message: bytes) -> Expr:
        found = dict(_fields(message))
        offset = self.offsets.get(_int(found.pop(2, 0)), 0)
        # "oneof expr_kind".
        ((kind, body),) = found.items()
        reader: Callable[[int, bytes], Expr] = {
            3: _const,
            4: self._name,
            5: self._select,
            6: self._apply,
            7: self._items,
            8: self._entries,
            9: self._loop,
        }[kind]
        return reader(offset, _bytes(body))

    def _name(self, offset: int, body: bytes) -> Expr:
        ((number, value),) = _fields(body)
        _expect(number, 1)
        name = _text(value)
        return self.instead.get(name) or Name(offset, name)

    def _select(self, offset: int, body: bytes) -> Expr:
        found = dict(_fields(body))
        operand = self.expression(_bytes(found.pop(1)))
        field, only_tests = _text(found.pop(2, b"")), bool(found.pop(3, 0))
        _expect_nothing_else(found)
        return Select(offset, operand, field, only_tests)

    def _apply(self, offset: int, body: bytes) -> Expr:
        target: list[Expr] = []
        arguments: list[Expr] = []
        function = ""
        for number, value in _fields(body):
            match number:
                case 1:
                    target.append(self.expression(_bytes(value)))
                case 2:
                    function = _text(value)
                case 3:
                    arguments.append(self.expression(_bytes(value)))
                case _:
                    raise ValueError("a call with an unknown field")
        return Apply(offset, function, (*target, *arguments), is_method=bool(target))

    def _items(self, offset: int, body: bytes) -> Expr:
        found = []
        for number, value in _fields(body):
            _expect(number, 1)
            found.append(self.expression(_bytes(value)))
        return Items(offset, tuple(found))

    def _entries(self, offset: int, body: bytes) -> Expr:
        found = []
        for number, value in _fields(body):
            # Field 1 would name a message type.
            _expect(number, 2)
            entry = dict(_fields(_bytes(value)))
            entry.pop(1, None)
            pair = self.expression(_bytes(entry.pop(3))), self.expression(_bytes(entry.pop(4)))
            _expect_nothing_else(entry)
            found.append(pair)
        return Entries(offset, tuple(found))

    def _loop(self, offset: int, body: bytes) -> Expr:
        found = dict(_fields(body))
        variable, accumulator = _text(found.pop(1)), _text(found.pop(3))
        over, start, condition, step, result = (self.expression(_bytes(found.pop(n))) for n in (2, 4, 5, 6, 7))
        _expect_nothing_else(found)
        return Loop(offset, variable, over, accumulator, start, condition, step, result)


def _const(offset: int, body: bytes) -> Expr:
    ((number, value),) = _fields(body)
    return Const(offset, _LITERALS[number](value), is_unsigned=number == _UNSIGNED)


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """The fields of a message with their numbers: varints as they are, everything else as bytes."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        number, kind = key >> 3, key & 7
        if kind == _VARINT:
            value, at = _varint(message, at)
            yield number, value
            continue
        if kind == _DELIMITED:
            size, at = _varint(message, at)
        elif kind == _FIXED_64:
            size = 8
        else:
            raise ValueError("a field written in an unknown way")
        if at + size > len(message):
            raise ValueError("a field longer than its message")
        yield number, message[at : at + size]
        at += size


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = 0
    for step in range(_MAX_VARINT_BYTES):
        value |= (message[at + step] & 0x7F) << (7 * step)
        if message[at + step] < 0x80:
            return value, at + step + 1
    raise ValueError("a number that does not end")


def _int(value: int | bytes) -> int:
    if isinstance(value, int):
        return value
    raise ValueError("no number")


def _bytes(value: int | bytes) -> bytes:
    if isinstance(value, bytes):
        return value
    raise ValueError("no bytes")


def _signed(value: int | bytes) -> int:
    unsigned = _int(value)
    return unsigned - 2 * _SIGN if unsigned & _SIGN else unsigned


def _double(value: int | bytes) -> float:
    return float(struct.unpack("<d", _bytes(value))[0])


def _text(value: int | bytes) -> str:
    return _bytes(value).decode()


def _expect(number: int, expected: int) -> None:
    if number != expected:
        raise ValueError("an unknown field")


def _expect_nothing_else(rest: dict[int, int | bytes]) -> None:
    if rest:
        raise ValueError("an unknown field")


_UNSIGNED: Final = 4
# "oneof constant_kind".
_LITERALS: Final[Mapping[int, Callable[[int | bytes], Literal]]] = {
    1: lambda _: None,
    2: bool,
    3: _signed,
    _UNSIGNED: _int,
    5: _double,
    6: _text,
    7: _bytes,
}
