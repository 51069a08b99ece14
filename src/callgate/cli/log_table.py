"""Entries of a log as a table that fits a terminal."""

import unicodedata
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC
from typing import Final

import click

from callgate.audit.chain import Kind
from callgate.audit.entries import REQUESTS, Entry, Status
from callgate.audit.query import COUNTING, Query
from callgate.cli.approval_words import happening_words
from callgate.cli.log_forms import TraceLinks
from callgate.cli.words import duration
from callgate.telemetry.visible import visible

# Without a terminal nothing is cut: whoever reads it has room, or a program.
_NO_LIMIT: Final = 4096
# As a date with its year takes room that names need more.
_WIDE: Final = 110
# Of an id: enough to name it to the next command.
_ID_CHARS: Final = 8
# `999.9 ms`
_TOOK: Final = 8
# What tells one row from the next.
_MIN_FLEXIBLE: Final = 10
_NOT_WORDS: Final = frozenset({"v", "seq", "prev", "time", "mono_us", "kind", "peaks", "counts"})
_GOOD: Final = frozenset({Status.ANSWERED.value, Status.ABSORBED.value, Status.OPEN.value})


@dataclass(frozen=True, slots=True)
class _Widths:
    time: int
    agent: int
    called: int
    outcome: int


def _widths(columns: int | None) -> _Widths:
    if columns is None:
        return _Widths(19, 40, 28, 24)
    time = 19 if columns >= _WIDE else 14
    # Two spaces between six columns.
    rest = max(3 * _MIN_FLEXIBLE, columns - time - _TOOK - _ID_CHARS - 10)
    outcome = min(36, rest * 32 // 100)
    called = (rest - outcome) // 2
    return _Widths(time, rest - outcome - called, called, outcome)


@dataclass(frozen=True, slots=True)
class AsTable:
    """`columns`: the width of the terminal; None: none, and nothing is cut."""

    columns: int | None
    colour: bool
    utc: bool = False
    links: TraceLinks | None = None
    _fits: _Widths = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_fits", _widths(self.columns))

    def head(self) -> str:
        """The names of the columns."""
        cells = ("TIME (UTC)" if self.utc else "TIME", "AGENT", "SERVER/TOOL", "DECISION", "TOOK", "ID")
        return self._styled(self._row(cells), bold=True) + "\n"

    def line(self, entry: Entry) -> str:
        """One row; below it the trace's address where there is one to show."""
        if entry.kind == Kind.APPROVAL:
            return self._approval(entry)
        if entry.kind not in REQUESTS:
            return self._event(entry)
        row = self._row(
            (
                self._time(entry),
                _agent(entry),
                _called(entry),
                _outcome(entry),
                _took(entry.took_us),
                entry.decision[:_ID_CHARS],
            ),
            _colour(entry),
        )
        link = self.links.of(entry) if self.links is not None else ""
        return f"{row}\n" + (self._styled(f"  {link}", dim=True) + "\n" if link else "")

    def _row(self, cells: tuple[str, str, str, str, str, str], colour: str | None = None) -> str:
        time, agent, called, outcome, took, name = cells
        fits = self._fits
        parts = (
            self._fit(time, fits.time),
            self._fit(agent, fits.agent, keep_end=True),
            self._fit(called, fits.called),
            self._styled(self._fit(outcome, fits.outcome), fg=colour) if colour else self._fit(outcome, fits.outcome),
            " " * max(0, _TOOK - len(took)) + took,
            visible(name, _NO_LIMIT),
        )
        return "  ".join(parts).rstrip()

    def _approval(self, entry: Entry) -> str:
        """What a person was asked or said, between the requests; it has no time of its own."""
        said = f"-- {happening_words(entry)}"
        cells = (self._time(entry), _agent(entry), _called(entry), said, "", entry.approval[:_ID_CHARS])
        return f"{self._row(cells, 'cyan')}\n"

    def _event(self, entry: Entry) -> str:
        """The gate's own doings, across the columns."""
        said = f"{self._fit(self._time(entry), self._fits.time)}  {_event_text(entry)}"
        room = self.columns if self.columns is not None else _NO_LIMIT
        return self._styled(visible(said, room), dim=True) + "\n"

    def _time(self, entry: Entry) -> str:
        moment = entry.time.astimezone(UTC if self.utc else None)
        return moment.strftime("%Y-%m-%d %H:%M:%S" if self._fits.time == 19 else "%m-%d %H:%M:%S")

    def _fit(self, text: str, width: int, *, keep_end: bool = False) -> str:
        """Made safe, cut where there is a terminal, and filled up to the width."""
        safe = visible(text, _NO_LIMIT)
        if self.columns is not None:
            safe = _cut(safe, width, keep_end=keep_end)
        return safe + " " * (width - _cells(safe))

    def _styled(self, text: str, *, fg: str | None = None, bold: bool = False, dim: bool = False) -> str:
        return click.style(text, fg=fg, bold=bold or None, dim=dim or None) if self.colour else text


def _agent(entry: Entry) -> str:
    agent = entry.caller.removeprefix("spiffe://") or entry.address or "?"
    return f"{entry.user} via {agent}" if entry.user else agent


def _called(entry: Entry) -> str:
    return "/".join(filter(None, (entry.server, entry.tool or entry.method))) or "-"


def _outcome(entry: Entry) -> str:
    if entry.verdict != "allow":
        return f"{entry.verdict} {entry.reason}"
    return f"allow {entry.status} {entry.reason}".rstrip()


def _colour(entry: Entry) -> str:
    if entry.verdict == "deny":
        return "red"
    if entry.verdict == "hold":
        return "cyan"
    return "green" if entry.status in _GOOD else "yellow"


def _took(us: int | None) -> str:
    """The greatest unit and its number: seconds matter little to what took minutes."""
    return " ".join(duration(us).split(" ")[:2]) if us is not None else ""


def _event_text(entry: Entry) -> str:
    """What a record about the gate says: its kind, and its fields as they are."""
    words = [f"-- {entry.kind}"]
    for name, value in entry.record.items():
        if name in _NOT_WORDS:
            continue
        words.append(f"{name}={len(value) if isinstance(value, list | dict) else value}")
    if entry.kind in COUNTING:
        words.append(counts_text(Query().counted(entry)))
    return " ".join(words)


def counts_text(counts: Counter[str]) -> str:
    """`12,004 refusals (tls_no_certificate 12,000, no_grant 4)`."""
    total = counts.total()
    listed = ", ".join(f"{visible(reason, 64) or '?'} {count:,}" for reason, count in counts.most_common(5))
    more = ", …" if len(counts) > 5 else ""
    return f"{total:,} refusal{'' if total == 1 else 's'}" + (f" ({listed}{more})" if listed else "")


def _cut(text: str, width: int, *, keep_end: bool) -> str:
    """An ellipsis stands for what does not fit; of a SPIFFE ID the end says more than the beginning."""
    if _cells(text) <= width:
        return text
    kept: list[str] = []
    room = width - 1
    for char in reversed(text) if keep_end else text:
        room -= _cells(char)
        if room < 0:
            break
        kept.append(char)
    return f"…{''.join(reversed(kept))}" if keep_end else f"{''.join(kept)}…"


def _cells(text: str) -> int:
    """How much room a terminal gives to it (Unicode Standard Annex #11)."""
    if text.isascii():
        return len(text)
    wide = sum(unicodedata.east_asian_width(char) in "WF" for char in text)
    return len(text) + wide - sum(unicodedata.combining(char) != 0 for char in text)
