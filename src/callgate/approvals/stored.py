"""How requests and sessions are written down, and read again: one reading, or none.

The types themselves say what is read: each field has to be there, with a value of its type, and nothing else may be.
What a gate of another version wrote is read only where it means the same.  Pure.
"""

from collections.abc import Callable, Hashable
from dataclasses import fields, is_dataclass, replace
from enum import StrEnum
from functools import cache
from types import NoneType, UnionType
from typing import Final, TypeAlias, TypeVar, cast, get_args, get_origin, get_type_hints

import orjson

from callgate.approvals.model import Request
from callgate.approvals.store import Session, StoreFault
from callgate.wire.json_strict import JsonObject

_T = TypeVar("_T")
_Read: TypeAlias = Callable[[object], object]
_PLAIN: Final = frozenset({str, int, bool, NoneType})


class Unreadable(StoreFault):
    """What stands there is not what was written."""


def request_parts(request: Request) -> tuple[bytes, bytes]:
    """A request as bytes, and apart from it what never changes and can be long: its arguments and definition.

    Raises StoreFault for what has no such form: text that is not Unicode.
    """
    shown = [request.ask.arguments, request.ask.definition]
    return written(without_shown(request)), written(shown)


def without_shown(request: Request) -> Request:
    """The same without arguments and definition."""
    return replace(request, ask=replace(request.ask, arguments={}, definition=""))


def request_of(part: bytes) -> Request:
    """The request of the first of `request_parts`, without arguments and definition.  Raises Unreadable."""
    return _read(Request, part)


def with_shown(request: Request, shown: bytes) -> Request:
    """The same with the arguments and the definition that are the second of them.  Raises Unreadable."""
    found = _loaded(shown)
    if not (isinstance(found, list) and len(found) == 2 and isinstance(found[0], dict) and isinstance(found[1], str)):
        raise Unreadable("not arguments and a definition")
    arguments: JsonObject = found[0]
    return replace(request, ask=replace(request.ask, arguments=arguments, definition=found[1]))


def session_bytes(session: Session) -> bytes:
    """A session as bytes.  Raises StoreFault for text that is not Unicode."""
    return written(session)


def session_of(data: bytes) -> Session:
    """The session that `session_bytes` wrote.  Raises Unreadable."""
    return _read(Session, data)


def written(value: object) -> bytes:
    """Any of these values as JSON.  Raises StoreFault for text that is not Unicode."""
    try:
        return orjson.dumps(value, default=_of_set)
    except orjson.JSONEncodeError:
        # Without its message, which could hold what it is about.
        raise StoreFault("this cannot be written down") from None


def _of_set(value: object) -> list[str]:
    if isinstance(value, frozenset):
        return sorted(value)
    raise TypeError(type(value).__name__)


def _read(kind: type[_T], data: bytes) -> _T:
    return cast("_T", _reader(cast("Hashable", kind))(_loaded(data)))


def _loaded(data: bytes) -> object:
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise Unreadable(f"not JSON, at byte {error.pos}") from None


@cache
def _reader(kind: Hashable) -> _Read:
    """What reads a value of that type from JSON.  Each raises Unreadable."""
    origin, of = get_origin(kind), get_args(kind)
    if isinstance(kind, type) and is_dataclass(kind):
        return _fields_reader(kind)
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        return _enum_reader(kind)
    if origin is UnionType:
        return _union_reader(tuple(map(_reader, of)))
    if origin in {tuple, frozenset}:
        return _list_reader(origin, of)
    if origin is dict:
        return _plain_reader(dict)
    return _float if kind is float else _plain_reader(kind)


def _fields_reader(kind: type) -> _Read:
    hints = get_type_hints(kind)
    readers = {each.name: _reader(hints[each.name]) for each in fields(kind)}

    def read(value: object) -> object:
        if not isinstance(value, dict) or value.keys() != readers.keys():
            raise Unreadable(f"not the fields of {kind.__name__}")
        return kind(**{name: read_one(value[name]) for name, read_one in readers.items()})

    return read


def _enum_reader(kind: type[StrEnum]) -> _Read:
    members = {str(each): each for each in kind}

    def read(value: object) -> object:
        if not isinstance(value, str) or value not in members:
            raise Unreadable(f"not a {kind.__name__}")
        return members[value]

    return read


def _union_reader(readers: tuple[_Read, ...]) -> _Read:
    def read(value: object) -> object:
        for read_one in readers[:-1]:
            try:
                return read_one(value)
            except Unreadable:
                continue
        return readers[-1](value)

    return read


def _list_reader(kind: type, of: tuple[object, ...]) -> _Read:
    """Of `tuple[X, ...]` and `frozenset[X]`, and of `tuple[X, Y]`, which has one value of each."""
    is_long = kind is frozenset or of[-1] is Ellipsis
    readers = tuple(map(_reader, of[:1] if is_long else of))

    def read(value: object) -> object:
        if not isinstance(value, list) or not (is_long or len(value) == len(readers)):
            raise Unreadable("not a list of that length")
        each = readers * len(value) if is_long else readers
        return kind(read_one(one) for read_one, one in zip(each, value, strict=True))

    return read


def _plain_reader(kind: object) -> _Read:
    if kind not in _PLAIN and kind is not dict:
        raise TypeError(f"no way to read {kind}")

    def read(value: object) -> object:
        # Not isinstance: a bool is an int.
        if type(value) is not kind:
            raise Unreadable("a value of another type")
        return value

    return read


def _float(value: object) -> float:
    if type(value) is not float and type(value) is not int:
        raise Unreadable("not a number")
    return float(value)
