"""What the rules that applied tell of what is not on record: if a grant applied, its condition held."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import Final, TypeAlias

from callgate.policy.condition import Truth
from callgate.policy.recorded import RecordedCall
from callgate.policy.weigh import APPLYING, Hinge, Truths, Weights

# Five conditions that nothing is known of; more in one decision are rare, and it is then not told.
MAX_WAYS: Final = 243

# One way in which hinges may have come out.
Way: TypeAlias = Mapping[Hinge, Truth]


@dataclass(frozen=True, slots=True)
class Clue:
    """Whether a rule applied, as a record says: it does where each of its hinges comes to one of `holding`."""

    hinges: tuple[Hinge, ...]
    holding: Truths
    applied: bool

    def allows(self, way: Way) -> bool:
        """Whether it can have been that way; of a hinge that is not in it, anything may be."""
        known = [way[hinge] in self.holding for hinge in self.hinges if hinge in way]
        return all(known) if self.applied else not all(known) or len(known) < len(self.hinges)

    def narrow(self, hinge: Hinge, truths: Truths) -> Truths:
        """What a hinge may still have come to."""
        if self.applied:
            return truths & self.holding if hinge in self.hinges else truths
        # Of several hinges it is not known which one it was.
        return truths - self.holding if self.hinges == (hinge,) else truths


Clues: TypeAlias = Callable[[], Sequence[Clue]]


def clues_in(weights: Weights, found: RecordedCall) -> list[Clue]:
    """What a record tells.

    `weights` are those of the very policy that decided, rules in shadow among them: a record lists these, too.
    """
    applied = found.applied
    return [
        Clue(each.hinges, APPLYING[each.kind], each.id in applied.rules)
        for each in weights.rules
        if each.hinges and (applied.is_complete or each.id in applied.rules)
    ]


def ways(truths: Mapping[Hinge, Truths], clues: Clues) -> tuple[list[Way], list[Hinge]]:
    """Every way in which these hinges may have come out, and those of them that are not certain.

    No way at all where there would be more than MAX_WAYS.  `clues` are asked for only if there are hinges.  Clues that
    contradict what is known tell nothing: a record is written right after the decision, and an hour may end in between.
    """
    if not truths:
        return [{}], []
    told = clues()
    narrowed = {hinge: _narrowed(hinge, possible, told) for hinge, possible in truths.items()}
    is_open = [hinge for hinge, possible in narrowed.items() if len(possible) > 1]
    if prod(map(len, narrowed.values())) > MAX_WAYS:
        return [], is_open
    found: list[Way] = [dict(zip(narrowed, way, strict=True)) for way in product(*narrowed.values())]
    return [way for way in found if all(clue.allows(way) for clue in told)] or found, is_open


def _narrowed(hinge: Hinge, possible: Truths, clues: Sequence[Clue]) -> Truths:
    narrowed = possible
    for clue in clues:
        narrowed = clue.narrow(hinge, narrowed)
    return narrowed or possible
