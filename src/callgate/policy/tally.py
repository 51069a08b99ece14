"""What changes in a whole log, by workload, server and tool: how often, first and last, with examples."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from callgate.policy.difference import Change, Difference
from callgate.policy.recorded import Ruling
from callgate.policy.replay import Replayed
from callgate.wire.json_strict import JsonObject
from callgate.wire.members import text_of

# More than anyone reads.  Callers can make up tools, and each would be a group of its own: 10 MB or so.
MAX_GROUPS: Final = 10_000
# Decisions of a group that are named, the first ones.
MAX_EXAMPLES: Final = 3

# Caller, server, method and tool.
Subject: TypeAlias = tuple[str, str, str, str]


@dataclass(slots=True)
class Group:
    """Decisions in which the same changes for the same workload and tool.

    `first` and `last` are when, as the log writes it; `examples` are decision ids.
    """

    subject: Subject
    difference: Difference
    first: str
    last: str = ""
    count: int = 0
    examples: list[str] = field(default_factory=list)

    def add(self, record: JsonObject) -> None:
        """One more."""
        self.count += 1
        self.last = text_of(record, "time")
        if len(self.examples) < MAX_EXAMPLES:
            self.examples.append(text_of(record, "decision"))


@dataclass(slots=True)
class Tally:
    """All that was found in a log.

    `compared`: decisions of a policy.  `not_asked` and `limits`: refused before any policy was asked, and refused by a
    limit after it had allowed them; by reason.  `unsaid`: refusals by policy that have no record of their own.
    `unreadable`: records that do not say who called what.  `uncounted`: decisions of groups beyond MAX_GROUPS, which are
    in `changes` all the same.
    """

    compared: int = 0
    changes: Counter[Change] = field(default_factory=Counter)
    not_asked: Counter[str] = field(default_factory=Counter)
    limits: Counter[str] = field(default_factory=Counter)
    unsaid: int = 0
    unreadable: int = 0
    uncounted: int = 0
    since: str = ""
    until: str = ""
    _groups: dict[tuple[Subject, Difference], Group] = field(default_factory=dict)

    @property
    def groups(self) -> list[Group]:
        """The most frequent of each change first."""
        order = list(Change)
        return sorted(self._groups.values(), key=lambda group: (order.index(group.difference.change), -group.count))

    @property
    def unchanged(self) -> int:
        """Decisions that stay as they are, for certain."""
        return self.compared - self.changes.total()

    def add(self, record: JsonObject, found: Replayed) -> None:
        """Count one request."""
        self.until = text_of(record, "time")
        self.since = self.since or self.until
        if found.ruling is Ruling.NOT_ASKED:
            self.not_asked[_reason(record)] += 1
            return
        if not found.is_readable:
            self.unreadable += 1
            return
        self.compared += 1
        if found.ruling is Ruling.LIMITED:
            self.limits[_reason(record)] += 1
        if found.difference is not None:
            self._add_change(record, found.difference)

    def _add_change(self, record: JsonObject, difference: Difference) -> None:
        self.changes[difference.change] += 1
        subject = (
            text_of(record, "caller"),
            text_of(record, "server"),
            text_of(record, "method"),
            text_of(record, "tool"),
        )
        group = self._groups.get((subject, difference))
        if group is None:
            if len(self._groups) >= MAX_GROUPS:
                self.uncounted += 1
                return
            group = self._groups[subject, difference] = Group(subject, difference, text_of(record, "time"))
        group.add(record)


def _reason(record: JsonObject) -> str:
    return text_of(record, "reason")
