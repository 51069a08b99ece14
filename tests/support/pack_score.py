"""How well the rule packs do on their corpora: must-block and must-pass."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from callgate.screening.packs import PACKS, Declared, Pack, broken_rules
from support.screen_score import Score, read_corpus


@dataclass(frozen=True, slots=True)
class PackCase:
    """A call, and whether a pack must block it."""

    id: str
    tool: str
    arguments: dict[str, Any]  # `Any`: JSON
    declared: Declared
    blocks: bool
    rules: frozenset[str]
    is_ambiguous: bool


def pack_cases(pack: Pack) -> tuple[PackCase, ...]:
    """The cases of `tests/corpus/screening/packs/<name>.jsonl`."""
    return tuple(map(_read, read_corpus(f"packs/{pack.name}")))


def broken_in(case: PackCase, pack: Pack) -> tuple[str, ...]:
    """What the call breaks."""
    return broken_rules(pack, case.tool, case.arguments, case.declared)


def score() -> Mapping[str, Score]:
    """By pack: how many of the calls that must be blocked are, and how many are that must pass."""
    return MappingProxyType({pack.reference: score_of(pack) for pack in PACKS.values()})


def score_of(pack: Pack) -> Score:
    """The same of one pack."""
    told = {case.id: (case.blocks, bool(broken_in(case, pack))) for case in pack_cases(pack) if not case.is_ambiguous}
    missed = tuple(name for name, (expected, found) in told.items() if expected != found)
    expected = sum(blocks for blocks, _ in told.values())
    found = sum(blocks and is_blocked for blocks, is_blocked in told.values())
    return Score(expected, found, sum(is_blocked for _, is_blocked in told.values()) - found, missed)


def _read(row: dict[str, Any]) -> PackCase:
    declared = Declared(
        sql=tuple((_steps(path), dialect) for path, dialect in row["declared"].get("sql", {}).items()),
        shell=tuple((_steps(path), form) for path, form in row["declared"].get("shell", {}).items()),
    )
    return PackCase(
        row["id"], row["tool"], row["arguments"], declared, row["expect"] == "block", frozenset(row["rules"]),
        row["ambiguous"],
    )  # fmt: skip


def _steps(path: str) -> tuple[str | int, ...]:
    """As a policy has it: a name, or a JSON pointer."""
    return tuple(path[1:].split("/")) if path.startswith("/") else (path,)
