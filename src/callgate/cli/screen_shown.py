"""What screening found, for a terminal, a pipe and a program."""

import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Final

import click

from callgate.cli.screened import Broken, Screened, codes_with_sentences
from callgate.cli.shown_json import shown_json
from callgate.screening.shell import SHELL_RULES, ShellReading
from callgate.screening.sql import SQL_RULES, SqlReading
from callgate.telemetry.visible import visible
from callgate.wire.json_strict import JsonObject, JsonValue

CLEAN: Final = 0
FOUND: Final = 1
# As `callgate explain --exit-code` and `callgate dev call` say it.
REFUSED: Final = 3
_VERDICTS: Final = {CLEAN: "clean", FOUND: "found", REFUSED: "refused"}
_NAME_MAX_CHARS: Final = 200


def show_screened(found: Screened, form: str) -> int:
    """Print it: as JSON on stdout, or the output on stdout and what was found on stderr.  The exit status."""
    status = REFUSED if found.is_refused else CLEAN if found.is_clean else FOUND
    if form == "json":
        click.echo(shown_json(_screened_json(found, status)))
        return status
    if found.output is not None:
        click.echo(_output(found.output), nl=not isinstance(found.output, str) or sys.stdout.isatty())
    for line in _told(found):
        click.echo(line, err=True)
    return status


def show_reading(reading: SqlReading | ShellReading, form: str) -> int:
    """Print how a statement was read, on stdout.  The exit status."""
    rules = SQL_RULES if isinstance(reading, SqlReading) else SHELL_RULES
    status = FOUND if reading.destructive else CLEAN
    if form == "json":
        why = codes_with_sentences(reading.why, rules)
        click.echo(shown_json({"version": 1, "verdict": _VERDICTS[status], "reading": {**asdict(reading), "why": why}}))
        return status
    for line in _reading(reading, rules):
        click.echo(line)
    return status


def _output(output: JsonValue) -> str:
    """Text goes into a pipe as it is; nothing that moves a cursor goes to a terminal."""
    if not isinstance(output, str):
        return shown_json(output)
    if not sys.stdout.isatty():
        return output
    return "\n".join(visible(line.replace("\t", "    "), len(line) * 8 + 1) for line in output.split("\n"))


def _told(found: Screened) -> Iterator[str]:
    if found.tally.counts:
        yield f"masked: {_counts(found.tally.counts)}"
    if found.tally.held:
        held = ", ".join(visible(name, _NAME_MAX_CHARS) for name in sorted(found.tally.held))
        yield f"held for a person to agree: {held}"
    if found.tally.deceptive:
        yield f"deceptive: {_counts(found.tally.deceptive)}"
    for each in found.broken:
        what = "would be denied in shadow" if each.shadow else "denied"
        yield f"{what} by {each.rule}: {each.pack} {each.code}: {each.sentence}"
    if found.refusal is not None:
        detail = f": {visible(found.refusal.detail, _NAME_MAX_CHARS)}" if found.refusal.detail else ""
        yield f"refused: {found.refusal.reason}{detail}"
    if found.is_clean:
        yield "nothing found"


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{visible(name, _NAME_MAX_CHARS)} {count}" for name, count in sorted(counts.items()))


def _screened_json(found: Screened, status: int) -> JsonObject:
    refusal = found.refusal
    return {
        "version": 1,
        "verdict": _VERDICTS[status],
        "output": found.output,
        "masked": dict(found.tally.counts),
        "held": [*sorted(found.tally.held)],
        "deceptive": dict(found.tally.deceptive),
        "broken": [_broken_json(each) for each in found.broken],
        "refused": None if refusal is None else {"reason": refusal.reason.value, "detail": refusal.detail},
    }


def _broken_json(each: Broken) -> JsonValue:
    return dict(asdict(each))


def _reading(reading: SqlReading | ShellReading, rules: Mapping[str, str]) -> Iterator[str]:
    yield f"destructive: {', '.join(reading.why)}" if reading.destructive else "not destructive"
    yield from (f"  {code}: {rules.get(code, '')}" for code in reading.why)
    for name, value in asdict(reading).items():
        if name not in {"why", "destructive"}:
            yield f"{name.replace('_', ' ')}: {_value(value)}"


def _value(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    names = [visible(str(each), _NAME_MAX_CHARS) for each in value] if isinstance(value, tuple) else []
    return ", ".join(names) or "none"
