"""What `callgate check` found, as text for people, as JSON, and as SARIF 2.1.0 for code scanning."""

from collections import Counter
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import PurePath
from urllib.parse import quote

import click
import orjson

from callgate.policy.remarks import CHECKS, REFUSED, Check, Level, Remark

_COLOURS = {Level.ERROR: "red", Level.WARNING: "yellow", Level.NOTE: "blue"}
_SARIF_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"


def as_text(remarks: Sequence[Remark], *, notes: bool) -> Iterator[str]:
    """A line for each remark, with its hint below it, and a summary.  Without `notes`, notes are only counted.

    Editors find `file:line:column:` at the start of a line.
    """
    shown = [remark for remark in remarks if notes or remark.level is not Level.NOTE]
    for remark in shown:
        yield _line(remark)
        if remark.check is not REFUSED:
            yield f"    {remark.check.hint} See {remark.check.anchor}"
    if shown:
        yield _summary(remarks, hidden=len(remarks) - len(shown))


def as_json(remarks: Sequence[Remark]) -> bytes:
    """One object, `findings` in the order of the files; `line` and `column` are 0 where the whole file is meant."""
    found = {"version": 1, "findings": [_entry(remark) for remark in remarks], "counts": _counts(remarks)}
    return orjson.dumps(found, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def as_sarif(remarks: Sequence[Remark]) -> bytes:
    """SARIF 2.1.0 (OASIS, 27 March 2020) with what code scanning asks for."""
    driver = {"name": "callgate", "version": version("callgate"), "rules": [_rule(c) for c in CHECKS.values()]}
    run = {
        "tool": {"driver": driver},
        # Section 3.14.17: columns count characters as Python does.
        "columnKind": "unicodeCodePoints",
        "results": [_result(remark) for remark in remarks],
    }
    log = {"$schema": _SARIF_SCHEMA, "version": "2.1.0", "runs": [run]}
    return orjson.dumps(log, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def _line(remark: Remark) -> str:
    place = f":{remark.line}:{remark.column}" if remark.line else ""
    level = click.style(remark.level, fg=_COLOURS[remark.level], bold=True)
    return f"{remark.file}{place}: {level} {remark.check.code} {remark.message}"


def _summary(remarks: Sequence[Remark], hidden: int) -> str:
    counted = [f"{n} {level}{'' if n == 1 else 's'}" for level, n in _counts(remarks).items() if n]
    return f"{', '.join(counted)}{' (--notes shows them)' if hidden else ''}"


def _counts(remarks: Sequence[Remark]) -> dict[str, int]:
    counter = Counter(remark.level for remark in remarks)
    return {level.value: counter[level] for level in Level}


def _entry(remark: Remark) -> dict[str, object]:
    return {
        "code": remark.check.code,
        "name": remark.check.name,
        "level": remark.level,
        "file": remark.file,
        "line": remark.line,
        "column": remark.column,
        "rule": remark.rule,
        "message": remark.message,
        "hint": remark.check.hint,
        "documentation": remark.check.anchor,
    }


def _rule(check: Check) -> dict[str, object]:
    return {
        "id": check.code,
        "name": check.name,
        "shortDescription": {"text": check.name.replace("-", " ")},
        "fullDescription": {"text": check.summary},
        "help": {"text": f"{check.hint} See {check.anchor}"},
        "defaultConfiguration": {"level": check.level},
    }


def _result(remark: Remark) -> dict[str, object]:
    # Section 3.30.5: startLine counts from 1; a remark on the whole file stands at its beginning.
    region = {"startLine": max(1, remark.line), "startColumn": max(1, remark.column)}
    location = {"artifactLocation": {"uri": _uri(remark.file)}, "region": region}
    return {
        "ruleId": remark.check.code,
        "ruleIndex": list(CHECKS).index(remark.check.code),
        "level": remark.level,
        "message": {"text": f"{remark.message}. {remark.check.hint}"},
        "locations": [{"physicalLocation": location}],
    }


def _uri(file: str) -> str:
    """Section 3.4.3: a relative reference, or an absolute URI where the path is absolute."""
    path = PurePath(file)
    return path.as_uri() if path.is_absolute() else quote(path.as_posix())
