"""What a policy says of tools: tags for conditions on a workload's history to ask, and which arguments are programs."""

from dataclasses import dataclass, field
from typing import Final

from callgate.policy.patterns import ToolPattern
from callgate.screening.pack_terms import NOTHING_DECLARED, ArgumentPath, Declared, ShellForm

# (server, tool) pairs whose tags are kept ready.  Callers can make up names: when it is full, it begins anew, lest the
# names that they made up be the only ones that are ready, and every question about history cost milliseconds.
_MAX_KEPT: Final = 4_096


@dataclass(frozen=True, slots=True)
class TagEntry:
    """These tools of this server bear these tags."""

    server: str
    tools: tuple[ToolPattern, ...]
    tags: frozenset[str]


@dataclass(frozen=True, slots=True)
class Declaration:
    """These arguments of these tools are SQL, with their dialects, or shell, with their forms."""

    server: str
    tools: tuple[ToolPattern, ...]
    sql: tuple[tuple[ArgumentPath, str], ...] = ()
    shell: tuple[tuple[ArgumentPath, ShellForm], ...] = ()


@dataclass(frozen=True, slots=True)
class ToolTags:
    """All that a policy says of tools, whatever the order."""

    entries: tuple[TagEntry, ...] = ()
    declarations: tuple[Declaration, ...] = ()
    _kept: dict[tuple[str, str], frozenset[str]] = field(default_factory=dict, repr=False, compare=False)
    _kept_declared: dict[tuple[str, str], Declared] = field(default_factory=dict, repr=False, compare=False)

    def of(self, server: str, tool: str) -> frozenset[str]:
        """The tags of one tool: those of every entry that names it."""
        found = self._kept.get((server, tool))
        if found is None:
            found = frozenset(
                tag
                for entry in self.entries
                if entry.server == server and any(pattern.matches(tool) for pattern in entry.tools)
                for tag in entry.tags
            )
            if len(self._kept) >= _MAX_KEPT:
                self._kept.clear()
            self._kept[server, tool] = found
        return found

    def declared(self, server: str, tool: str) -> Declared:
        """Which arguments of one tool are programs, by every entry that names it; each reading of one counts."""
        if not self.declarations:
            return NOTHING_DECLARED
        found = self._kept_declared.get((server, tool))
        if found is None:
            naming = [
                each
                for each in self.declarations
                if each.server == server and any(pattern.matches(tool) for pattern in each.tools)
            ]
            found = Declared(
                tuple(dict.fromkeys(argument for each in naming for argument in each.sql)),
                tuple(dict.fromkeys(argument for each in naming for argument in each.shell)),
            )
            if len(self._kept_declared) >= _MAX_KEPT:
                self._kept_declared.clear()
            self._kept_declared[server, tool] = found
        return found

    @property
    def all(self) -> frozenset[str]:
        """Every tag that is given to a tool."""
        return frozenset(tag for entry in self.entries for tag in entry.tags)
