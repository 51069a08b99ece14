"""What `callgate audit` found, as text for people and as JSON."""

import json
from collections.abc import Iterator

import click
import orjson

from callgate.audit.checkpoint import Checkpoint, VerifierKey
from callgate.audit.findings import Finding, records
from callgate.audit.proof import Proof
from callgate.audit.verify import Verdict
from callgate.cli.words import counted
from callgate.telemetry.visible import visible

_PLACE_CHARS = 400


def as_text(verdict: Verdict, key: VerifierKey, took_s: float) -> str:
    """The findings, one a line; then what there is, what is proved, and what is not."""
    lines = [_line(finding, "red") for finding in verdict.findings]
    if verdict.more:
        lines.append(f"and {verdict.more} more, which are not shown")
    lines += [_line(remark, "yellow") for remark in verdict.remarks]
    if lines:
        lines.append("")
    speed = f"{verdict.records / took_s:,.0f} a second" if took_s > 0 else ""
    lines.append(f"{_whole(verdict)}: {visible(key.origin, _PLACE_CHARS)}")
    lines.append(f"  {counted(verdict.records, 'record')} in {counted(verdict.segments, 'file')}, {_span(verdict)}")
    lines.append(f"  read in {took_s:.1f} s, {speed}")
    lines += [f"  proved: {text}" for text in _proved(verdict)]
    lines += [f"  not proved: {text}" for text in _not_proved(verdict)]
    return "\n".join(lines)


def as_json(verdict: Verdict, key: VerifierKey) -> str:
    """One object.  Names of files may hold what is no Unicode text: it is escaped."""
    covered = verdict.covered
    found = {
        "version": 1,
        "whole": verdict.is_whole,
        "origin": key.origin,
        "records": verdict.records,
        "segments": verdict.segments,
        "since": verdict.first_time,
        "until": verdict.last_time,
        "confirmed": {"records": covered.size, "by_kept": covered.kept},
        "checkpoints": {
            "checked": covered.checked,
            "kept_checked": covered.checked_kept,
            "unchecked": covered.unchecked,
        },
        "findings": [_entry(finding) for finding in verdict.findings],
        "more_findings": verdict.more,
        "remarks": [_entry(remark) for remark in verdict.remarks],
        "proved": list(_proved(verdict)),
        "not_proved": list(_not_proved(verdict)),
    }
    return json.dumps(found, indent=2)


def proof_words(proof: Proof, checkpoint: Checkpoint) -> str:
    """What is proved, and the record."""
    record = orjson.loads(proof.record)
    # ASCII alone: a record holds what callers sent.
    shown = json.dumps(record, indent=2).replace("\x7f", "\\u007f")
    origin = visible(checkpoint.origin, _PLACE_CHARS)
    return (
        f"proved: this is record {proof.index} of {origin}, one of the first {checkpoint.size} "
        f"(tree head {checkpoint.root.hex()})\n{shown}"
    )


def _line(finding: Finding, colour: str) -> str:
    place = f"{finding.file}:{finding.line}" if finding.line else finding.file
    code = click.style(finding.code, fg=colour, bold=True)
    return f"{visible(place, _PLACE_CHARS)}: {code}: {finding.text}" if place else f"{code}: {finding.text}"


def _whole(verdict: Verdict) -> str:
    if verdict.is_whole:
        return click.style("whole", fg="green", bold=True)
    number = len(verdict.findings) + verdict.more
    return click.style(f"NOT WHOLE, {counted(number, 'finding')}", fg="red", bold=True)


def _span(verdict: Verdict) -> str:
    if not verdict.first_time or not verdict.last_time:
        return "of an unknown time"
    return f"from {verdict.first_time} to {verdict.last_time} by the gate's clock"


def _proved(verdict: Verdict) -> Iterator[str]:
    covered = verdict.covered
    if not covered.size:
        return
    but = "" if verdict.is_whole else ", but for what is found above"
    these = "record 0 is what" if covered.size == 1 else f"records 0 to {covered.size - 1} are what"
    yield f"{these} the holder of the key signed{but} ({counted(covered.checked, 'checkpoint')} checked)"
    if covered.kept:
        yield (
            f"{counted(covered.kept, 'record')} or more were there when the checkpoints given by --checkpoint were made "
            f"({covered.checked_kept} checked)"
        )


def _not_proved(verdict: Verdict) -> Iterator[str]:
    covered = verdict.covered
    if verdict.size > covered.size:
        yield f"what comes after the last checkpoint that fits: {records(covered.size, verdict.size - 1)}"
    if not covered.kept:
        yield (
            "that nothing is cut off at the end: whoever can write to the folder can cut its checkpoints off with it; "
            "--checkpoint takes those that were kept elsewhere"
        )
    elif verdict.size > covered.kept:
        yield f"that nothing after record {covered.kept - 1} was cut off and made anew by whoever holds the key"
    yield "that the gate recorded what is true: its clock, and whoever held its key, are believed"


def _entry(finding: Finding) -> dict[str, object]:
    entry: dict[str, object] = {"code": finding.code.value, "message": finding.text}
    if finding.first >= 0:
        entry |= {"first": finding.first, "last": finding.last}
    if finding.file:
        entry |= {"file": finding.file, "line": finding.line}
    return entry
