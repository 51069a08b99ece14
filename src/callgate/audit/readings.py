"""One way to read a log in which two neighbours do not fit, until a checkpoint tells which of them is true.  Pure."""

from collections import Counter
from dataclasses import dataclass, field

from callgate.audit.findings import MAX_FINDINGS, Code, Finding, Findings
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
    # Those beyond MAX_FINDINGS, as numbers: where nothing fits, each record forks this.
    more: Counter[Code] = field(default_factory=Counter)

    def note(self, finding: Finding) -> None:
        """One more that is wrong if this is the true one."""
        if len(self.findings) < MAX_FINDINGS:
            self.findings.append(finding)
        else:
            self.more[finding.code] += 1

    def tell(self, findings: Findings) -> None:
        """This is the true one: what is wrong in it is told, and told once."""
        for finding in self.findings:
            findings.add(finding)
        findings.counts.update(self.more)
        self.findings, self.more = [], Counter()

    def fork(self, *findings: Finding, doubt: int = -1) -> "Reading":
        """The same so far, in a tree of its own, with more that is wrong if it is the true one."""
        tree = Tree(self.tree.size, self.tree.peaks) if self.tree else None
        forked = Reading(tree, self.since, self.replaces, doubt, [*self.findings], Counter(self.more))
        for finding in findings:
            forked.note(finding)
        return forked
