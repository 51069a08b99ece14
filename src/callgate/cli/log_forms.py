"""Entries of a log as JSON, CSV and OCSF: a line for each.

A log holds what attackers sent, and its lines end up in terminals and spreadsheets: no control character, none that
turns the reading direction, and no formula leaves here.
"""

import csv
import io
import re
from dataclasses import dataclass
from typing import Final, Protocol, Self

from callgate.audit.chain import Kind
from callgate.audit.entries import REQUESTS, Entry
from callgate.audit.ocsf import api_activity
from callgate.audit.ocsf_approval import entity_management
from callgate.cli.shown_json import json_line
from callgate.telemetry.visible import visible
from callgate.wire.json_strict import JsonObject
from callgate.wire.members import text_of

_TRACE_ID: Final = re.compile(r"[0-9a-f]{32}")
# What a spreadsheet takes for the beginning of a formula (OWASP, "CSV Injection").
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")
# More than any field of a record is long.
_MAX_CELL: Final = 8192
_COLUMNS: Final = (
    *("seq", "time", "kind", "caller", "user", "address", "server", "method", "tool", "verdict", "reason", "stage"),
    *("status", "took_us", "session", "decision", "trace", "jti", "approval", "happening", "by"),
)


class Form(Protocol):
    """How entries are written."""

    def head(self) -> str:
        """What stands above them, with its line end."""

    def line(self, entry: Entry) -> str:
        """One entry, with its line end; "" for one that this form has no place for."""


@dataclass(frozen=True, slots=True)
class TraceLinks:
    """Where the tracing backend shows a trace.  `template` holds `{trace_id}`."""

    template: str

    @classmethod
    def parse(cls, template: str) -> Self:
        """Raises ValueError."""
        if "{trace_id}" not in template or not template.startswith(("http://", "https://")):
            raise ValueError(
                "must be the address of a trace with {trace_id} in it, such as https://jaeger.test/trace/{trace_id}"
            )
        if not template.isprintable():
            raise ValueError("must be printable characters")
        return cls(template)

    def of(self, entry: Entry) -> str:
        """The address of the entry's trace; "" where it has none."""
        return self.template.replace("{trace_id}", entry.trace) if _TRACE_ID.fullmatch(entry.trace) else ""


@dataclass(frozen=True, slots=True)
class AsJson:
    """The record with its outcome, and what follows from both; `link` where there is a trace to show."""

    links: TraceLinks | None = None

    def head(self) -> str:
        """Nothing: each line speaks for itself."""
        return ""

    def line(self, entry: Entry) -> str:
        """One object."""
        found: JsonObject = dict(entry.record)
        if entry.kind in REQUESTS:
            found |= {"verdict": entry.verdict, "status": entry.status, "outcome": entry.outcome}
            if self.links is not None and (link := self.links.of(entry)):
                found["link"] = link
        return safe_json(found)


class AsOcsf:
    """API Activity events, and for what people said Entity Management events; what is neither is none."""

    def head(self) -> str:
        """Nothing: each line speaks for itself."""
        return ""

    def line(self, entry: Entry) -> str:
        """One event."""
        if entry.kind == Kind.APPROVAL:
            return safe_json(entity_management(entry))
        return safe_json(api_activity(entry)) if entry.kind in REQUESTS else ""


@dataclass(frozen=True, slots=True)
class AsCsv:
    """RFC 4180 with a header; an apostrophe goes before what a spreadsheet would compute."""

    links: TraceLinks | None = None

    def head(self) -> str:
        """The names of the columns."""
        return _csv_line([*_COLUMNS, "link"] if self.links is not None else list(_COLUMNS))

    def line(self, entry: Entry) -> str:
        """One row."""
        is_request = entry.kind in REQUESTS
        took = "" if entry.took_us is None else str(entry.took_us)
        cells = [str(entry.seq), entry.time_text, entry.kind, entry.caller, entry.user, entry.address, entry.server]
        cells += [entry.method, entry.tool, entry.verdict if is_request else "", entry.reason, entry.stage]
        cells += [entry.status, took, entry.session, entry.decision, entry.trace, entry.jti]
        cells += [entry.approval, text_of(entry.record, "happening"), _by(entry)]
        if self.links is not None:
            cells.append(self.links.of(entry))
        return _csv_line([_cell(text) for text in cells])


def safe_json(value: JsonObject) -> str:
    """One line; what a terminal would not show as a character of its own is escaped."""
    return json_line(value) + "\n"


def _by(entry: Entry) -> str:
    """Who agreed to a call, or whom a record about an approval names."""
    return ", ".join(entry.approvers) or text_of(entry.part("by"), "name")


def _cell(text: str) -> str:
    guarded = f"'{text}" if text.startswith(_FORMULA) else text
    return visible(guarded, _MAX_CELL)


def _csv_line(cells: list[str]) -> str:
    """RFC 4180, section 2: "Each record is located on a separate line, delimited by a line break (CRLF)"."""
    line = io.StringIO()
    csv.writer(line, lineterminator="\r\n").writerow(cells)
    return line.getvalue()
