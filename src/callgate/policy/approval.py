"""What a grant obliges the gate to ask people for."""

from dataclasses import dataclass
from typing import Final, TypeAlias

# Steps into a call's arguments: names, and numbers of entries.
Steps: TypeAlias = tuple[str | int, ...]

# A person who is asked while at work answers within it; what nobody looked at by then is asked anew.
DEFAULT_STANDS_S: Final = 15 * 60
# Shorter than the 60 s after which common clients give a call up.
DEFAULT_WAITS_S: Final = 30


@dataclass(frozen=True, slots=True)
class Repeat:
    """What one approval may cover beyond one call: calls of the same tool whose arguments at `same` are equal.

    For `lasts_s` seconds at most, and for `calls` calls.  No `same`: whatever the arguments.
    """

    same: tuple[Steps, ...]
    lasts_s: int
    calls: int


@dataclass(frozen=True, slots=True)
class Approval:
    """`needed` people, each another, who are named or are in a group, agree to one call; `rule` is the grant's id.

    `stands_s`: how long the request can be decided on and used; `waits_s`: how long the call itself waits for that.
    `needs_reason`: whoever agrees has to say why.  `four_eyes`: a declared owner of the asking workload cannot agree.
    `sign_in_s`: how old a sign-in may be, None for any that counts at all.  All in seconds.  `only_held`: it is asked for
    only where screening holds what stands in the arguments (`screening.terms.Mode.HOLD`).
    """

    rule: str
    groups: frozenset[str]
    people: frozenset[str]
    needed: int = 1
    stands_s: int = DEFAULT_STANDS_S
    waits_s: int = DEFAULT_WAITS_S
    needs_reason: bool = False
    four_eyes: bool = False
    sign_in_s: int | None = None
    repeat: Repeat | None = None
    only_held: bool = False


@dataclass(frozen=True, slots=True)
class Owners:
    """Who answers for a workload: people by name, and groups."""

    people: frozenset[str] = frozenset()
    groups: frozenset[str] = frozenset()


def repeat_of(approvals: tuple[Approval, ...]) -> Repeat | None:
    """What may be covered where several grants ask: no more than each of them says; None where one says nothing."""
    repeats = [approval.repeat for approval in approvals]
    found = [repeat for repeat in repeats if repeat is not None]
    if not found or len(found) < len(repeats):
        return None
    same = tuple(sorted({steps for repeat in found for steps in repeat.same}, key=repr))
    return Repeat(same, min(repeat.lasts_s for repeat in found), min(repeat.calls for repeat in found))
