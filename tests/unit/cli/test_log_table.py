"""The table of `callgate log` on terminals of different widths."""

import unicodedata

import pytest
from click import unstyle

from callgate.audit.entries import Entry
from callgate.cli.log_table import AsTable

DENIED = Entry(
    {
        "seq": 1,
        "kind": "refusal",
        "time": "2026-01-07T12:00:00.000000000Z",
        "caller": "spiffe://acme.test/ns/billing/sa/refund-agent",
        "server": "ledger",
        "tool": "refund",
        "reason": "too_many_connections_of_workload",
        "decision": "0123456789abcdef",
    }
)


def allowed(status: str, took_us: int) -> Entry:
    record = {**DENIED.record, "kind": "intent", "reason": ""}
    return Entry(record, {"status": status, "took_us": took_us})


@pytest.mark.parametrize("columns", [80, 100, 120, 200])
@pytest.mark.parametrize(
    "tool", ["refund", "t" * 128, "\u91d1\u984d" * 40, "e\u0301" * 60], ids=["short", "long", "wide", "combining"]
)
def test_a_row_is_no_wider_than_the_terminal(columns: int, tool: str) -> None:
    table = AsTable(columns, colour=True, utc=True)
    for line in (
        table.head(),
        table.line(Entry({**DENIED.record, "tool": tool})),
        table.line(allowed("answered", 10**9)),
    ):
        text = unstyle(line).rstrip("\n")
        cells = sum(2 if unicodedata.east_asian_width(c) in "WF" else not unicodedata.combining(c) for c in text)
        assert cells <= columns
        assert "\n" not in text


def test_of_an_agent_that_does_not_fit_the_end_stays() -> None:
    assert "…" in AsTable(80, colour=False).line(DENIED)
    assert "refund-agent " in AsTable(120, colour=False).line(DENIED)


def test_without_a_terminal_nothing_is_cut_and_nothing_coloured() -> None:
    line = AsTable(None, colour=False, utc=True).line(Entry({**DENIED.record, "tool": "t" * 128}))
    assert "t" * 128 in line
    assert "deny too_many_connections_of_workload" in line
    assert "\x1b" not in line


def test_colours_tell_denials_from_failures_from_answers() -> None:
    table = AsTable(120, colour=True)
    assert "\x1b[31m" in table.line(DENIED)
    assert "\x1b[33m" in table.line(allowed("tool_error", 10))
    assert "\x1b[32m" in table.line(allowed("answered", 10))


@pytest.mark.parametrize(
    ("took_us", "text"),
    [(30, " 30 µs "), (1500, " 1.5 ms "), (9_990_000, " 9.99 s "), (3_599_000_000, "  59 min  ")],
)
def test_times_are_told_in_units_that_fit(took_us: int, text: str) -> None:
    assert text in AsTable(120, colour=False).line(allowed("answered", took_us))


def test_a_user_stands_before_the_agent_that_called_for_them() -> None:
    entry = Entry({**DENIED.record, "user": {"subject": "alice"}})
    assert "alice via acme.test/ns/billing/sa/refund-agent" in AsTable(None, colour=False).line(entry)


@pytest.mark.parametrize("time", ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "2026-01-07T12:00:00", "soon", ""])
def test_a_moment_that_no_log_is_from_is_no_fault(time: str) -> None:
    assert "1970" in AsTable(None, colour=False, utc=True).line(Entry({**DENIED.record, "time": time}))
    assert "refund" in AsTable(None, colour=False).line(Entry({**DENIED.record, "time": time}))
