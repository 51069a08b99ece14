"""The tables of docs/reference/screening.md, made from the code and from what its corpora measure."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from callgate.screening.packs import PACKS
from callgate.screening.shell import SHELL_RULES
from callgate.screening.sql import SQL_RULES
from support.screen_score import Score
from support.screen_scores import accuracies

PAGE: Final = Path(__file__).parents[2] / "docs" / "reference" / "screening.md"
_END: Final = "<!-- measured end -->"


def marked(page: str, name: str) -> str:
    """What the page has between the markers of that table, white space around it aside."""
    return page.partition(_mark(name))[2].partition(_END)[0].strip()


def with_table(page: str, name: str, table: str) -> str:
    """The page with that table; ValueError where it has no place for it."""
    head, mark, rest = page.partition(_mark(name))
    _, end, tail = rest.partition(_END)
    if not end:
        raise ValueError(f"{PAGE.name} has no place for the table {name}")
    return f"{head}{mark}\n{table}\n{end}{tail}"


def _mark(name: str) -> str:
    return f"<!-- measured: {name} -->\n"


def accuracy_table() -> str:
    """Every detector on its corpus; of packs and dialects, which are many, the cases that came out wrong are a figure."""
    head = "| Detector | Finds | To be found | Found | Found wrongly | Precision | Recall |\n|---|---|---|---|---|---|---|\n"
    return head + "".join(
        _row(f"{each.detector} ({each.cases} cases)", name, score)
        for each in accuracies()
        for name, score in each.scores.items()
    )


def _row(detector: str, name: str, score: Score) -> str:
    figures = f"{score.expected} | {score.found} | {score.wrong} | {score.precision:.3f} | {score.recall:.3f}"
    return f"| {detector} | `{name}` | {figures} |\n"


def packs_table() -> str:
    """Every pack; their rules have a page of their own."""
    rows = [f"| `{pack.reference}` | {pack.summary} |\n" for pack in PACKS.values()]
    return "| Pack | Denies |\n|---|---|\n" + "".join(rows)


def _rules_table(rules: Mapping[str, str]) -> str:
    rows = [f"| `{code}` | {_sentence(said)} |\n" for code, said in rules.items()]
    return "| Code | |\n|---|---|\n" + "".join(rows)


def _sentence(said: str) -> str:
    return f"{said[0].upper()}{said[1:].rstrip('.')}.".replace("|", "&#124;")


# Those that are the same at each run.
TABLES: Final[Mapping[str, Callable[[], str]]] = {
    "sql-rules": lambda: _rules_table(SQL_RULES),
    "shell-rules": lambda: _rules_table(SHELL_RULES),
    "packs": packs_table,
    "accuracy": accuracy_table,
}
