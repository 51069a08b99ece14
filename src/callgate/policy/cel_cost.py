"""A bound on what an expression costs, found from its tree and the extents of what it reads, before it is evaluated.

The runtime stops after 10 000 iterations of loops, and stops nothing else: one `map` over a thousand entries that
doubles a text of 1 MB takes 4 s and 2 GB.  So each operation has a bound here, as the estimates of cel-go have
(`checker.Cost`), with the sizes that are really there.

A step is 100 ns or, where memory is what counts, 64 bytes; the figures are rounded up from measurements of
cel-expr-python 0.1.3 on a core of 2 GHz, and tests/attack/test_condition_budget.py measures the worst of each again.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

from callgate.policy.cel_extent import NOTHING, SCALAR, VALUE_BYTES, Extent, around, joined, text_extent
from callgate.policy.cel_names import CONVERSIONS, GETTERS, HISTORY_FUNCTIONS
from callgate.policy.cel_paths import path_of
from callgate.policy.cel_regex import Pattern, read_pattern
from callgate.policy.cel_tree import Apply, Const, Entries, Expr, Items, Loop, Name, Reading, Select

# 10 ms, or 6.4 MB.
MAX_STEPS: Final = 100_000

# A text of that many bytes is what a number, a moment or a time becomes.
_WRITTEN_BYTES: Final = VALUE_BYTES + 64
# The answer to a question about history is looked up in Python.
_HISTORY_STEPS: Final = 80
# To enter a loop's body once.
_ITERATION_STEPS: Final = 2

# How much it costs, and what comes out.
Cost: TypeAlias = tuple[int, Extent]


def bound(tree: Expr, extents: Mapping[str, Extent], otherwise: Extent) -> int:
    """How many steps `tree` takes at the most.

    `extents` says by a variable's name, or a path such as `args.amount`, how large what stands there is; what it does
    not name is within `otherwise`.
    """
    estimate = _Estimate(extents, otherwise)
    estimate.value(tree, {})
    return estimate.steps


@dataclass(slots=True)
class _Estimate:
    extents: Mapping[str, Extent]
    otherwise: Extent
    steps: int = 0

    def value(self, node: Expr, local: Mapping[str, Extent]) -> Extent:
        """The extent of what `node` is; its steps are counted."""
        self.steps += 1
        match node:
            case Const():
                found = _const(node)
            case Name():
                found = local.get(node.name) or self.extents.get(node.name, self.otherwise)
            case Reading():
                # It has been read, and what its operand is does not count.
                found = self.extents.get(node.name, self.otherwise)
            case Select():
                found = self._select(node, local)
            case Apply():
                found = self._apply(node, local)
            case Items():
                found = self._items(node, local)
            case Entries():
                found = self._entries(node, local)
            case _:
                found = self._loop(node, local)
        return found

    def _select(self, node: Select, local: Mapping[str, Extent]) -> Extent:
        self.steps += 1
        known = self._known(node, local)
        if known is not None:
            return known
        found = self.value(node.operand, local).inner
        return SCALAR if node.only_tests else found

    def _known(self, node: Expr, local: Mapping[str, Extent]) -> Extent | None:
        """The extent of what stands directly in a variable: its neighbours do not count."""
        path = path_of(node, frozenset(local))
        return self.extents.get(path.text) if path is not None and len(path.steps) == 1 else None

    def _apply(self, node: Apply, local: Mapping[str, Extent]) -> Extent:
        known = self._known(node, local)
        if known is not None:
            return known
        operands = [self.value(operand, local) for operand in node.operands]
        if node.function == "matches":
            steps, result = _matches(operands[0], node.operands[1])
        else:
            steps, result = _FUNCTIONS[node.function](*operands)
        self.steps += steps
        return result

    def _items(self, node: Items, local: Mapping[str, Extent]) -> Extent:
        inner, total = NOTHING, 0
        for item in node.items:
            extent = self.value(item, local)
            inner, total = joined(inner, extent), total + extent.bytes
        return around(len(node.items), total, inner)

    def _entries(self, node: Entries, local: Mapping[str, Extent]) -> Extent:
        inner, total = NOTHING, 0
        for key, value in node.entries:
            extents = self.value(key, local), self.value(value, local)
            self.steps += 4 + extents[0].bytes // 64
            inner = joined(joined(inner, extents[0]), extents[1])
            total += extents[0].bytes + extents[1].bytes
        return around(len(node.entries), total, inner)

    def _loop(self, node: Loop, local: Mapping[str, Extent]) -> Extent:
        over, start = self.value(node.over, local), self.value(node.start, local)
        times, before = over.entries, self.steps
        inside = {**local, node.variable: over.inner, node.accumulator: start}
        self.value(node.condition, inside)
        after_one = self.value(node.step, inside)
        self.steps = before + times * (self.steps - before + _ITERATION_STEPS)
        end = after_one
        if isinstance(node.start, Items):
            # The runtime makes a new list for each entry: 40 ns and some bytes for each that it has by then.
            self.steps += times * times // 2
            end = around(times, times * after_one.bytes, after_one.inner)
        return self.value(node.result, {**inside, node.accumulator: end})


def _const(node: Const) -> Extent:
    if isinstance(node.value, str):
        return text_extent(node.value)
    return Extent(((0, VALUE_BYTES + len(node.value)),)) if isinstance(node.value, bytes) else SCALAR


def _scalar(*_: Extent) -> Cost:
    return 0, SCALAR


def _equal(one: Extent, other: Extent) -> Cost:
    return min(one.bytes, other.bytes) // 10, SCALAR


def _ordered(one: Extent, other: Extent) -> Cost:
    return min(one.bytes, other.bytes) // 64, SCALAR


def _contained(one: Extent, container: Extent) -> Cost:
    of_one = 1 + min(one.bytes, container.inner.bytes) // 10
    return one.bytes // 64 + container.entries * of_one, SCALAR


def _indexed(container: Extent, key: Extent) -> Cost:
    return key.bytes // 64, container.inner


def _added(one: Extent, other: Extent) -> Cost:
    entries, total = one.entries + other.entries, one.bytes + other.bytes
    inner = joined(one.inner, other.inner)
    return entries // 2 + total // 64, Extent(((entries, total), *inner.levels))


def _chosen(_: Extent, one: Extent, other: Extent) -> Cost:
    return 0, joined(one, other)


def _sized(value: Extent) -> Cost:
    # Characters of a text are counted one by one.
    return value.bytes // 50, SCALAR


def _found(text: Extent, part: Extent) -> Cost:
    """A search that begins anew at each character, in text that nearly matches everywhere."""
    return text.bytes // 8 + text.bytes * part.bytes // 3_000, SCALAR


def _split(text: Extent, separator: Extent, *_: Extent) -> Cost:
    steps = text.bytes * 2 + text.bytes * separator.bytes // 4_000
    return steps, Extent(((text.bytes, text.bytes * (1 + VALUE_BYTES)), (0, text.bytes)))


def _lowered(text: Extent) -> Cost:
    return text.bytes // 50, text


def _trimmed(text: Extent) -> Cost:
    return text.bytes // 10, text


def _converted(value: Extent, *_: Extent) -> Cost:
    # A duration may be many, one after another: 28 ns a byte.
    return 20 + value.bytes // 3, Extent(((0, max(value.bytes, _WRITTEN_BYTES)),))


def _dated(*_: Extent) -> Cost:
    return 10, SCALAR


def _same(value: Extent) -> Cost:
    return 0, value


def _asked(*_: Extent) -> Cost:
    return _HISTORY_STEPS, SCALAR


def _matches(text: Extent, pattern: Expr) -> Cost:
    """The pattern is compiled again each time.  One that is not written out may be any."""
    read = read_pattern(pattern.value) if isinstance(pattern, Const) and isinstance(pattern.value, str) else None
    return (read.steps(text.bytes) if isinstance(read, Pattern) else MAX_STEPS + 1), SCALAR


_FUNCTIONS: Final[Mapping[str, Callable[..., Cost]]] = {
    **dict.fromkeys(("_&&_", "_||_", "!_", "@not_strictly_false", "_-_", "-_", "_*_", "_/_", "_%_"), _scalar),
    **dict.fromkeys(GETTERS, _dated),
    **dict.fromkeys(CONVERSIONS, _converted),
    **dict.fromkeys(HISTORY_FUNCTIONS, _asked),
    **dict.fromkeys(("_==_", "_!=_"), _equal),
    **dict.fromkeys(("_<_", "_<=_", "_>_", "_>=_", "startsWith", "endsWith"), _ordered),
    **dict.fromkeys(("lowerAscii", "upperAscii"), _lowered),
    "@in": _contained,
    "_[_]": _indexed,
    "_+_": _added,
    "_?_:_": _chosen,
    "size": _sized,
    "contains": _found,
    "split": _split,
    "trim": _trimmed,
    "dyn": _same,
}
