"""Who answers for which workloads, ready to be asked."""

from collections.abc import Iterable
from dataclasses import dataclass

from callgate.identity.spiffe_id import SpiffeId
from callgate.policy.approval import Owners
from callgate.policy.patterns import WorkloadPattern


@dataclass(frozen=True, slots=True)
class Owned:
    """One entry of a policy's `owners`; `line` is where it begins in `file`, counted from 1."""

    workloads: tuple[WorkloadPattern, ...]
    owners: Owners
    file: str
    line: int

    def names(self, caller: SpiffeId) -> bool:
        """Whether it is about this workload."""
        return any(pattern.matches(caller) for pattern in self.workloads)


def owners_of(entries: Iterable[Owned], caller: SpiffeId) -> Owners:
    """All who answer for a workload; several entries add up."""
    naming = [entry.owners for entry in entries if entry.names(caller)]
    people = frozenset(name for owners in naming for name in owners.people)
    return Owners(people, frozenset(name for owners in naming for name in owners.groups))
