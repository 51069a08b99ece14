"""How much work it is to hold a value against a schema: counted before it is done.

Validators have no budget, and a schema of 1 KiB can ask for 2^64 looks at one value.  The unit is one keyword and one
value, 10 to 25 ns; of patterns one state and one character, 6 ns at the worst.  Pure.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

import orjson

from callgate.screening.schema_graph import Graph, Label, Node, UnusableSchemaError
from callgate.wire.json_strict import JsonValue

# 25 ns each at the worst: 20 ms.
MAX_WORK: Final = 800_000
# 6 ns each: 12 ms.
MAX_PATTERN_WORK: Final = 2_000_000
# Looks at one value, by all subschemas that look at it; in-place branches of real schemas are some tens.
MAX_LOOKS: Final = 10_000
# Subschemas that one leads to without a step down, one behind the other.
MAX_CHAIN: Final = 64
# How often a backtracking engine may turn back for one text.
BACKTRACK_LIMIT: Final = 500
# Steps of counting one by one, each some 0.5 µs.
MAX_COUNTED: Final = 16_000
# Entries of all closures together, and what is spent on a bound that holds for every value: some 10 ms each.
_MAX_ENTRIES: Final = 30_000
_MAX_STEPS: Final = 20_000
# JSON that was let in is no deeper.
_MAX_DEPTH: Final = 64
# What is left over is found by looking at all that is not, with some bookkeeping.
_UNEVALUATED_WEIGHT: Final = 6
_TOO_MANY: Final = "its branches are too many to be followed"

# Subschemas by their place, and how often each looks at the same value.
_Looks: TypeAlias = Mapping[int, int]


@dataclass(frozen=True, slots=True)
class Work:
    """What holding a value against a schema costs at most, in units; `patterns` are those of patterns."""

    looks: int
    patterns: int

    @property
    def is_bearable(self) -> bool:
        """Whether it is done within some 20 ms."""
        return self.looks <= MAX_WORK and self.patterns <= MAX_PATTERN_WORK

    def joined(self, other: "Work") -> "Work":
        """The larger of each."""
        return Work(max(self.looks, other.looks), max(self.patterns, other.patterns))

    def times(self, times: int, other: "Work") -> "Work":
        """This, and so many times the other."""
        return Work(self.looks + times * other.looks, self.patterns + times * other.patterns)


_NONE: Final = Work(0, 0)


@dataclass(frozen=True, slots=True)
class _Entry:
    """A subschema with all that look at the same value with it: what that costs, and what looks at the children."""

    work: Work
    each: _Looks
    named: Mapping[Label, _Looks]


@dataclass(frozen=True, slots=True)
class _Place:
    """A value with what looks at it, and how long its own name is."""

    value: JsonValue
    name_length: int
    looks: _Looks

    @property
    def length(self) -> int:
        return 1 + self.name_length + (len(self.value) if isinstance(self.value, str) else 0)


@dataclass(frozen=True, slots=True)
class WorkBound:
    """The bound of one schema; the root is at place 0.

    `most`: what any one value costs in any value; None where that cannot be said of all values.
    """

    entries: Mapping[int, _Entry]
    most: Work | None

    def of(self, value: JsonValue) -> Work | None:
        """What `value` costs at most; None for one that is too large to count.  ValueError for what is no JSON."""
        if self.most is not None:
            text = orjson.dumps(value)
            values = 1 + text.count(b",") + text.count(b"[") + text.count(b"{")
            quick = Work(values * self.most.looks, len(text) * self.most.patterns)
            if quick.is_bearable:
                return quick
        return self.counted(value)

    def counted(self, value: JsonValue) -> Work | None:
        """The same, value by value."""
        looks = patterns = 0
        steps_left = MAX_COUNTED
        level = [_Place(value, 0, {0: 1})]
        while level:
            below: list[_Place] = []
            for each in level:
                for place, times in each.looks.items():
                    work = self.entries[place].work
                    looks += times * work.looks
                    patterns += times * work.patterns * each.length
                if isinstance(each.value, dict | list):
                    steps_left -= len(each.value) * (1 + len(each.looks))
                    if steps_left < 0:
                        return None
                    below += self._children(each)
            level = below
        return Work(looks, patterns)

    def _children(self, parent: _Place) -> Iterator[_Place]:
        value = parent.value
        for label, child in value.items() if isinstance(value, dict) else enumerate(_list(value)):
            found: dict[int, int] = {}
            for place, times in parent.looks.items():
                entry = self.entries[place]
                _add(found, times, entry.each)
                _add(found, times, entry.named.get(label, {}))
            yield _Place(child, len(label) if isinstance(label, str) else 0, found)


def work_bound(graph: Graph) -> WorkBound:
    """The bound of a schema.  Raises UnusableSchemaError for one that never ends, or is a web of branches."""
    _refuse_negated_backtracking(graph.nodes)
    preparing = _Preparing(graph.nodes)
    preparing.prepare()
    return WorkBound(preparing.entries, _most_of_any(preparing.entries))


class _Preparing:
    """Works out what looks at the same value, and keeps what counting needs: in memory, schemas are many."""

    def __init__(self, nodes: list[Node]) -> None:
        self.entries: dict[int, _Entry] = {}
        self._nodes = nodes
        self._closures: dict[int, _Looks] = {}
        self._left = _MAX_ENTRIES
        # What has no children is one entry for all that cost the same.
        self._leaves: dict[Work, int] = {}

    def prepare(self) -> None:
        """All that the root leads to."""
        open_places = [0]
        while open_places:
            place = open_places.pop()
            if place in self.entries:
                continue
            self.entries[place] = entry = self._entry(place)
            open_places += entry.each
            for looks in entry.named.values():
                open_places += looks

    def _entry(self, place: int) -> _Entry:
        closure = self._closure(place, 0)
        each: dict[int, int] = {}
        named: dict[Label, dict[int, int]] = {}
        for other, times in closure.items():
            node = self._nodes[other]
            self._spend(len(node.named))
            for child in node.each:
                _add(each, times, {self._leaf(child): 1})
            for label, children in node.named.items():
                for child in children:
                    _add(named.setdefault(label, {}), times, {self._leaf(child): 1})
        return _Entry(self._work(closure), each, named)

    def _leaf(self, place: int) -> int:
        """The place that stands for this one: another without children that costs the same, if there is one."""
        node = self._nodes[place]
        if node.here or node.each or node.named or place == 0:
            return place
        return self._leaves.setdefault(self._work({place: 1}), place)

    def _work(self, closure: _Looks) -> Work:
        looks = patterns = 0
        weight = 1
        for place, times in closure.items():
            node = self._nodes[place]
            looks += times * node.weight
            patterns += times * node.states * (BACKTRACK_LIMIT if node.backtracks else 1)
            weight = _UNEVALUATED_WEIGHT if node.has_unevaluated else weight
        return Work(looks * weight, patterns)

    def _closure(self, place: int, depth: int) -> _Looks:
        """All that look at the same value, and how often."""
        known = self._closures.get(place)
        if known is not None:
            return known
        if depth > MAX_CHAIN:
            raise UnusableSchemaError("its references go in a circle, or through too many others")
        node = self._nodes[place]
        found = {place: 1}
        # What is left over is found by looking at the rest once more.
        again = 2 if node.has_unevaluated else 1
        for other in node.here:
            _add(found, again, self._closure(other, depth + 1))
        self._spend(len(found))
        if sum(found.values()) > MAX_LOOKS:
            raise UnusableSchemaError(_TOO_MANY)
        self._closures[place] = found
        return found

    def _spend(self, entries: int) -> None:
        self._left -= entries
        if self._left < 0:
            raise UnusableSchemaError(_TOO_MANY)


def _refuse_negated_backtracking(nodes: list[Node]) -> None:
    """A pattern that is given up on counts as one that does not fit, which must not let anything through."""
    if not any(node.backtracks for node in nodes):
        return
    reached: set[int] = set()
    open_places = [place for node in nodes for place in node.negated]
    while open_places:
        place = open_places.pop()
        if place in reached:
            continue
        reached.add(place)
        node = nodes[place]
        if node.backtracks:
            raise UnusableSchemaError("a pattern that looks around stands where something must not be")
        open_places += node.here + node.each
        for children in node.named.values():
            open_places += children


def _most_of_any(entries: Mapping[int, _Entry]) -> Work | None:
    """Level by level: what looks at one value so far down costs, at the most."""
    steps = sum(1 + len(entry.each) + 2 * len(entry.named) for entry in entries.values())
    levels = min(_MAX_DEPTH, _MAX_STEPS // steps)
    below = {place: entry.work for place, entry in entries.items()}
    most = below[0]
    for _ in range(levels):
        below = {place: _one_down(entry, below) for place, entry in entries.items()}
        most = most.joined(below[0])
        if not any(work.looks for work in below.values()):
            return most
        if not most.is_bearable:
            return None
    return most if levels == _MAX_DEPTH else None


def _one_down(entry: _Entry, below: Mapping[int, Work]) -> Work:
    each = _sum(_NONE, entry.each, below)
    most = each
    for looks in entry.named.values():
        most = most.joined(_sum(each, looks, below))
    return most


def _sum(start: Work, looks: _Looks, below: Mapping[int, Work]) -> Work:
    for place, times in looks.items():
        start = start.times(times, below[place])
    return start


def _add(found: dict[int, int], times: int, more: _Looks) -> None:
    for place, count in more.items():
        found[place] = found.get(place, 0) + times * count


def _list(value: JsonValue) -> list[JsonValue]:
    return value if isinstance(value, list) else []
