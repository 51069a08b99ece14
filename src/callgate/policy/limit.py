"""What a grant obliges the gate to count."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limit:
    """No more than `calls` calls of one tool by one workload in any `per_s` seconds; `rule` is the grant's id."""

    rule: str
    calls: int
    per_s: int
