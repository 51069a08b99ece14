"""Whether a pattern names all that another one names, or anything of it; and the same of rules.

Both kinds of pattern are read as steps: a letter of a tool's name or a segment of a path, any one of them, or any run
of them.  What is claimed is true: where an answer would take too long, none is given (`covers` is False).
"""

from collections.abc import Iterable, Iterator, Sequence
from enum import Enum
from functools import lru_cache
from typing import Final, TypeAlias

from callgate.policy.patterns import ToolPattern, WorkloadPattern
from callgate.policy.rule import Rule

# A pattern of n steps has at most 2^n sets of states; patterns that people write need as many as they have steps.
_MAX_STATES: Final = 2_000
# Pairs of patterns whose answers are kept: those of some hundred rules with some patterns each.
_MAX_KEPT: Final = 65_536


class _Any(Enum):
    """What stands for more than one thing."""

    ONE = "one"
    MANY = "many"


_Step: TypeAlias = str | _Any
# A letter or segment that neither pattern spells out.
_OTHER: Final = ""
_TOOL_WILDCARDS: Final = {"?": _Any.ONE, "*": _Any.MANY}
_WORKLOAD_WILDCARDS: Final = {"*": _Any.ONE, "**": _Any.MANY}


def tool_covers(wide: ToolPattern, narrow: ToolPattern) -> bool:
    """Whether every tool that `narrow` names is named by `wide`."""
    if narrow.is_exact or wide.is_exact:
        return wide.matches(narrow.text) if narrow.is_exact else False
    return _tool_covers(wide.text, narrow.text)


def tools_overlap(one: ToolPattern, other: ToolPattern) -> bool:
    """Whether some tool is named by both."""
    if one.is_exact:
        return other.matches(one.text)
    return one.matches(other.text) if other.is_exact else _tools_overlap(one.text, other.text)


def workload_covers(wide: WorkloadPattern, narrow: WorkloadPattern) -> bool:
    """Whether every workload that `narrow` names is named by `wide`."""
    return wide.trust_domain == narrow.trust_domain and _workload_covers(wide.text, narrow.text)


def workloads_overlap(one: WorkloadPattern, other: WorkloadPattern) -> bool:
    """Whether some workload is named by both."""
    return one.trust_domain == other.trust_domain and _workloads_overlap(one.text, other.text)


def names_all_workloads(wide: Rule, narrow: Rule) -> bool:
    """Whether every workload that `narrow` is about is one that `wide` is about, too."""
    if not wide.workloads or not narrow.workloads:
        return not wide.workloads
    return all(any(workload_covers(w, n) for w in wide.workloads) for n in narrow.workloads)


def names_all_tools(wide: Rule, narrow: Rule) -> bool:
    """Whether every tool that `narrow` names is one that `wide` names, too."""
    return all(
        tool.text in wide.exact_tools or any(tool_covers(w, tool) for w in wide.wild_tools) for tool in narrow.tools
    )


def share_a_workload(one: Rule, other: Rule) -> bool:
    """Whether some workload is one that both rules are about."""
    if not one.workloads or not other.workloads:
        return True
    return any(workloads_overlap(a, b) for a in one.workloads for b in other.workloads)


def shared_tools(one: Rule, other: Rule) -> Iterator[tuple[ToolPattern, ToolPattern]]:
    """The pairs of patterns of two rules that name a tool in common."""
    for tool in one.tools:
        if tool.is_exact and tool.text in other.exact_tools:
            yield tool, tool
        rest: Iterable[ToolPattern] = other.wild_tools if tool.is_exact else other.tools
        yield from ((tool, each) for each in rest if tools_overlap(tool, each))


@lru_cache(_MAX_KEPT)
def _tool_covers(wide: str, narrow: str) -> bool:
    return _covers(_tool_steps(wide), _tool_steps(narrow))


@lru_cache(_MAX_KEPT)
def _tools_overlap(one: str, other: str) -> bool:
    return _overlap(_tool_steps(one), _tool_steps(other))


@lru_cache(_MAX_KEPT)
def _workload_covers(wide: str, narrow: str) -> bool:
    return _covers(_workload_steps(wide), _workload_steps(narrow))


@lru_cache(_MAX_KEPT)
def _workloads_overlap(one: str, other: str) -> bool:
    return _overlap(_workload_steps(one), _workload_steps(other))


def _tool_steps(text: str) -> tuple[_Step, ...]:
    return tuple(_TOOL_WILDCARDS.get(letter, letter) for letter in text)


def _workload_steps(text: str) -> tuple[_Step, ...]:
    _, _, _, *segments = text.split("/")
    return tuple(_WORKLOAD_WILDCARDS.get(segment, segment) for segment in segments)


def _covers(wide: Sequence[_Step], narrow: Sequence[_Step]) -> bool:
    """Walk `narrow` with every place of `wide` that the same letters may have led to."""
    alphabet = {step for step in wide if isinstance(step, str)} | {_OTHER}
    seen: set[tuple[int, frozenset[int]]] = set()
    rest = [(0, _closed(wide, {0}))]
    while rest:
        here = rest.pop()
        if here in seen:
            continue
        seen.add(here)
        at, places = here
        if len(seen) > _MAX_STATES or (at == len(narrow) and len(wide) not in places):
            return False
        rest += _moves(wide, narrow, at, places, alphabet)
    return True


def _moves(
    wide: Sequence[_Step], narrow: Sequence[_Step], at: int, places: frozenset[int], alphabet: set[str]
) -> Iterator[tuple[int, frozenset[int]]]:
    if at == len(narrow):
        return
    step = narrow[at]
    if step is _Any.MANY:
        yield at + 1, places
    after = at if step is _Any.MANY else at + 1
    for letter in [step] if isinstance(step, str) else alphabet:
        yield after, _closed(wide, {found for place in places for found in _after(wide, place, letter)})


def _after(steps: Sequence[_Step], place: int, letter: str) -> Iterator[int]:
    if place < len(steps):
        step = steps[place]
        if step is _Any.MANY:
            yield place
        elif step is _Any.ONE or step == letter:
            yield place + 1


def _closed(steps: Sequence[_Step], places: set[int]) -> frozenset[int]:
    """The places, and those behind a run that may be empty."""
    rest = list(places)
    while rest:
        place = rest.pop()
        if place < len(steps) and steps[place] is _Any.MANY and place + 1 not in places:
            places.add(place + 1)
            rest.append(place + 1)
    return frozenset(places)


def _overlap(one: Sequence[_Step], other: Sequence[_Step]) -> bool:
    seen: set[tuple[int, int]] = set()
    rest = [(0, 0)]
    while rest:
        here = rest.pop()
        if here == (len(one), len(other)):
            return True
        if here not in seen:
            seen.add(here)
            rest += _steps_together(one, other, *here)
    return False


def _steps_together(one: Sequence[_Step], other: Sequence[_Step], i: int, j: int) -> Iterator[tuple[int, int]]:
    """Where both can be after the next letter, or after an empty run."""
    a = one[i] if i < len(one) else None
    b = other[j] if j < len(other) else None
    if a is _Any.MANY:
        yield i + 1, j
    if b is _Any.MANY:
        yield i, j + 1
    if a is None or b is None or (isinstance(a, str) and isinstance(b, str) and a != b):
        return
    yield (i if a is _Any.MANY else i + 1), (j if b is _Any.MANY else j + 1)
