"""One way to read a log in which two neighbours do not fit, until a checkpoint tells which of them is true.  Pure."""

from dataclasses import dataclass, field

from callgate.audit.findings import Finding
from callgate.audit.merkle import Tree


@dataclass(slots=True)
class Reading:
    """What the log may have been.

    `tree`: None from where records are missing to the head of the next file.  `since`: the size at which that tree was
    taken from a head; `replaces`: although there was another.  `doubt`: the number of a record that this takes for
    edited and that nothing has spoken for yet.
    """

    tree: Tree | None
    since: int = 0
    replaces: bool = False
    doubt: int = -1
    findings: list[Finding] = field(default_factory=list)

    def fork(self, *findings: Finding, doubt: int = -1) -> "Reading":
        """The same so far, in a tree of its own, with more that is wrong if it is the true one."""
        tree = Tree(self.tree.size, self.tree.peaks) if self.tree else None
        return Reading(tree, self.since, self.replaces, doubt, [*self.findings, *findings])
