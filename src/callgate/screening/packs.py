"""Rule packs: what a policy forbids by one name, whatever the tool.

A pack says which of its rules one call breaks.  It is a belt: the grant is what controls.  Whatever cannot be looked at
wholly breaks the rule `unclear`.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final, TypeAlias

from callgate.screening.pack_destructive import (
    DESTRUCTIVE_SHELL,
    DESTRUCTIVE_SQL,
    look_for_destructive_shell,
    look_for_destructive_sql,
)
from callgate.screening.pack_exfiltration import EXFILTRATION, look_for_exfiltration
from callgate.screening.pack_privileged import PRIVILEGED_EXEC, look_for_privileged
from callgate.screening.pack_schema import SCHEMA_CHANGE, look_for_schema_change
from callgate.screening.pack_secrets import SECRETS, look_for_secrets
from callgate.screening.pack_terms import NOTHING_DECLARED, UNCLEAR, Declared, Pack
from callgate.wire.json_strict import JsonObject

__all__ = ["NOTHING_DECLARED", "PACKS", "Declared", "Pack", "broken_rules", "pack_problem", "packs_table"]

_Look: TypeAlias = Callable[[str, JsonObject, Declared], set[str]]
_LOOKS: Final[tuple[tuple[Pack, _Look], ...]] = (
    (DESTRUCTIVE_SQL, look_for_destructive_sql),
    (DESTRUCTIVE_SHELL, look_for_destructive_shell),
    (PRIVILEGED_EXEC, look_for_privileged),
    (SCHEMA_CHANGE, look_for_schema_change),
    (SECRETS, look_for_secrets),
    (EXFILTRATION, look_for_exfiltration),
)
# By reference: `destructive-sql@1`.
PACKS: Final[Mapping[str, Pack]] = MappingProxyType({pack.reference: pack for pack, _ in _LOOKS})
_LOOK_OF: Final[Mapping[str, _Look]] = MappingProxyType({pack.reference: look for pack, look in _LOOKS})


def pack_problem(reference: str) -> str:
    """Why a policy cannot switch on what it names by `reference`: one clause, "" if it can."""
    if reference in PACKS:
        return ""
    name, _, version = reference.partition("@")
    known = [pack.reference for pack in PACKS.values() if pack.name == name]
    if not known:
        return f"is no pack; there are {', '.join(PACKS)}"
    if not version:
        return f"lacks its version: {known[-1]}"
    return f"has a version that is not in this release, which has {', '.join(known)}"


def broken_rules(pack: Pack, tool: str, arguments: JsonObject, declared: Declared) -> tuple[str, ...]:
    """The codes of the rules that a call of `tool` breaks, in the order of `pack.rules`; empty if it breaks none.

    Never raises.  1 MiB of arguments takes up to 20 ms and a few MiB, 4 KiB some 0.1 ms (beside what the readings of
    declared SQL and shell take, which are remembered).  Tells codes alone, never values.
    """
    broken = _LOOK_OF[pack.reference](tool, arguments, declared)
    # A code that this version of the pack does not list is a reading's, and newer than the list.
    told = broken & pack.rules.keys() | ({UNCLEAR} if broken - pack.rules.keys() else set())
    return tuple(code for code in pack.rules if code in told)


def packs_table() -> str:
    """Every pack with its rules, as Markdown for the reference."""
    return "\n".join(f"## {pack.reference}\n\n{pack.summary}.\n\n{_rules_of(pack)}" for pack in PACKS.values())


def _rules_of(pack: Pack) -> str:
    rows = "".join(f"| `{code}` | {means} |\n" for code, means in pack.rules.items())
    return f"| Rule | Broken by |\n|---|---|\n{rows}"
