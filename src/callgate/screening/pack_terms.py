"""What a rule pack is, and what it is told of a tool's arguments."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal, TypeAlias

# Steps from the root of `arguments`: names of members and places in lists.
ArgumentPath: TypeAlias = tuple[str | int, ...]
ShellForm: TypeAlias = Literal["bash", "argv"]

# Of every pack: what could not be looked at wholly counts as broken.
UNCLEAR: Final = "unclear"
# Of packs that look only at what the policy declares.
UNDECLARED: Final = "undeclared"
UNCLEAR_MEANS: Final = "the arguments cannot be looked at wholly: too much, too deep, of a type that was not declared"
UNDECLARED_MEANS: Final = "the policy declares no argument of this tool that the pack could look at"


@dataclass(frozen=True, slots=True)
class Pack:
    """Rules that a policy switches on by name and version.

    `rules`: stable codes, each with one sentence on what breaks it.
    """

    name: str
    version: int
    summary: str
    rules: Mapping[str, str]

    @property
    def reference(self) -> str:
        """How policies name it: `destructive-sql@1`."""
        return f"{self.name}@{self.version}"


@dataclass(frozen=True, slots=True)
class Declared:
    """Which arguments of a tool the policy says are SQL, with their dialect, and which are shell, with their form."""

    sql: tuple[tuple[ArgumentPath, str], ...] = ()
    shell: tuple[tuple[ArgumentPath, ShellForm], ...] = ()


NOTHING_DECLARED: Final = Declared()


def rules_with(own: Mapping[str, str], *, declared: bool) -> Mapping[str, str]:
    """A pack's own rules, and those that it has in common with others."""
    shared = {UNDECLARED: UNDECLARED_MEANS} if declared else {}
    return MappingProxyType({**own, **shared, UNCLEAR: UNCLEAR_MEANS})


def table_of(text: str) -> frozenset[str]:
    """The words of a table that is written as text."""
    return frozenset(text.split())
