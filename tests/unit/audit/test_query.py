"""Which entries a query wants."""

from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from callgate.audit.entries import Entry
from callgate.audit.query import (
    Agents,
    Bound,
    NoQuery,
    Query,
    read_id,
    read_kind,
    read_reason,
    read_status,
    read_tool,
)
from callgate.wire.json_strict import JsonValue

NOW = datetime(2026, 1, 7, 12, tzinfo=UTC).timestamp()
ENTRY = Entry(
    {
        "seq": 3,
        "kind": "intent",
        "time": "2026-01-07T11:50:00.000000005Z",
        "caller": "spiffe://acme.test/ns/billing/sa/agent",
        "server": "ledger",
        "method": "tools/call",
        "tool": "get_invoice",
        "session": "5e5e5e5e5e5e5e5e",
        "decision": "ab" * 16,
        "trace": "cd" * 16,
        "user": {"issuer": "https://login.acme.test", "subject": "alice"},
        "token": {"jti": "JTI-0001"},
        "reason": "",
    },
    {"status": "failed", "reason": "upstream_timeout"},
)
APPROVAL = Entry(
    {
        "seq": 5,
        "kind": "approval",
        "time": "2026-01-07T11:52:00.000000000Z",
        "happening": "approved",
        "approval": "ad" * 16,
        "asked_by": "ab" * 16,
        "caller": "spiffe://acme.test/ns/billing/sa/agent",
        "server": "ledger",
        "tool": "refund",
        "session": "5e5e5e5e5e5e5e5e",
        "reason": "no_grant",
    }
)
REFUSED = Entry({"seq": 4, "kind": "refusal", "time": "2026-01-07T11:51:00.000000000Z", "reason": "no_grant"})


@pytest.mark.parametrize(
    "query",
    [
        Query(),
        Query(agents=(Agents.parse("spiffe://acme.test/ns/*/sa/agent"),)),
        Query(agents=(Agents.parse("acme.test/ns/**"),)),
        Query(agents=(Agents.parse("billing"),)),
        Query(agents=(Agents.parse("spiffe://acme.test/ns/billing/"),)),
        Query(agents=(Agents.parse("nobody"), Agents.parse("sa/agent"))),
        Query(servers=frozenset({"ledger", "other"})),
        Query(tools=(read_tool("get_*"),)),
        Query(tools=(read_tool("get_invoice"),)),
        Query(methods=frozenset({"tools/call"})),
        Query(verdict="allow"),
        Query(reasons=frozenset({"upstream_timeout"})),
        Query(statuses=frozenset({"failed"})),
        Query(user="alice"),
        Query(session="5e5e"),
        Query(decision="abab"),
        Query(trace="cd" * 16),
        Query(jti="JTI-0001"),
        Query(since=Bound.parse("10m", NOW)),
        Query(since=Bound.parse("2026-01-07T11:50:00.000000005Z", NOW)),
        Query(until=Bound.parse("2026-01-07T12:50:01+01:00", NOW)),
        Query(kinds=frozenset({"intent"})),
    ],
)
def test_a_filter_that_holds_wants_the_entry(query: Query) -> None:
    assert query.matches(ENTRY)


@pytest.mark.parametrize(
    "query",
    [
        Query(agents=(Agents.parse("spiffe://acme.test/ns/*"),)),
        Query(agents=(Agents.parse("spiffe://partner.test/**"),)),
        Query(agents=(Agents.parse("payroll"),)),
        Query(servers=frozenset({"ledge"})),
        Query(tools=(read_tool("get"),)),
        Query(methods=frozenset({"tools"})),
        Query(verdict="deny"),
        Query(reasons=frozenset({"no_grant"})),
        Query(statuses=frozenset({"answered"})),
        Query(user="ali"),
        Query(session="e5e5"),
        Query(decision="baba"),
        Query(trace="ab" * 16),
        Query(jti="jti-0001"),
        Query(since=Bound.parse("9m", NOW)),
        Query(until=Bound.parse("10m", NOW)),
        Query(until=Bound.parse("2026-01-07T11:50:00Z", NOW)),
        Query(kinds=frozenset({"refusal"})),
        # All have to hold.
        Query(servers=frozenset({"ledger"}), verdict="deny"),
    ],
)
def test_a_filter_that_does_not_hold_leaves_the_entry_out(query: Query) -> None:
    assert not query.matches(ENTRY)


def test_a_tool_pattern_wants_no_entry_without_a_tool() -> None:
    assert not Query(tools=(read_tool("*"),)).matches(REFUSED)


def test_an_agent_pattern_wants_no_peer_that_was_not_identified() -> None:
    assert not Query(agents=(Agents.parse("spiffe://acme.test/**"),)).matches(REFUSED)


def test_the_gates_own_records_are_part_of_nothing_that_asks_for_more_than_time_and_kind() -> None:
    stop = Entry({"seq": 5, "kind": "stop", "time": "2026-01-07T11:52:00.000000000Z"})
    kinds = frozenset({"stop", "intent"})
    assert Query(kinds=kinds).matches(stop)
    assert not Query(kinds=kinds, servers=frozenset({"ledger"})).matches(stop)
    assert not Query(kinds=kinds, since=Bound.parse("5m", NOW)).matches(stop)
    assert not Query().matches(stop)


@pytest.mark.parametrize(
    ("read", "text", "words"),
    [
        (read_reason, "no_grnat", "did you mean 'no_grant'?"),
        (read_status, "awnsered", "did you mean 'answered'?"),
        (read_status, "zzz", "one of answered, tool_error"),
        (read_kind, "outcome", "is no kind of record that is listed"),
        (read_tool, "a b", "must be 1 to 128 letters"),
        (read_id, "abc", "at least the first 4 characters"),
        (read_id, "ab\x1b[31m", "must be an id"),
        (Agents.parse, "spiffe://acme.test/b*", "a wildcard is a whole segment"),
        (Agents.parse, "", "must name a workload"),
    ],
)
def test_a_filter_that_cannot_be_meant_is_refused_with_a_reason(
    read: Callable[[str], object], text: str, words: str
) -> None:
    with pytest.raises(NoQuery) as refused:
        read(text)
    assert words in str(refused.value)


@pytest.mark.parametrize(
    "text",
    [
        "yesterday",
        "2026-01-07",
        "2026-01-07T12:00:00",
        "12h30m",
        "-5m",
        "5",
        "2026-13-01T00:00:00Z",
        "99999w",
        "0001-01-01T00:00:00Z",
    ],
)
def test_a_moment_without_its_offset_is_refused(text: str) -> None:
    with pytest.raises(NoQuery, match="must be a moment with its offset"):
        Bound.parse(text, NOW)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("90s", "2026-01-07T11:58:30.000000000Z"),
        ("15m", "2026-01-07T11:45:00.000000000Z"),
        ("2h", "2026-01-07T10:00:00.000000000Z"),
        ("7d", "2025-12-31T12:00:00.000000000Z"),
        ("1w", "2025-12-31T12:00:00.000000000Z"),
        ("2026-01-07T13:00:00+02:00", "2026-01-07T11:00:00.000000000Z"),
        ("2026-01-07t11:00:00.25z", "2026-01-07T11:00:00.250000000Z"),
    ],
)
def test_a_moment_is_compared_as_records_write_it(text: str, moment: str) -> None:
    assert Bound.parse(text, NOW).text == moment


def summary(counts: list[JsonValue] | None = None) -> Entry:
    found: list[JsonValue] = [
        {"stage": "accept", "reason": "tls_no_certificate", "count": 12_000},
        {"stage": "decide", "reason": "no_grant", "caller": "spiffe://acme.test/ns/billing/sa/agent", "count": 3},
    ]
    time = "2026-01-07T11:55:00.000000000Z"
    return Entry({"seq": 9, "kind": "summary", "time": time, "counts": found if counts is None else counts})


def test_counted_refusals_are_told_as_far_as_they_may_be_wanted() -> None:
    assert Query().counted(summary()) == Counter(tls_no_certificate=12_000, no_grant=3)
    assert Query(agents=(Agents.parse("billing"),)).counted(summary()) == Counter(no_grant=3)
    assert Query(reasons=frozenset({"denied"})).counted(summary()) == Counter()
    assert Query(verdict="allow").counted(summary()) == Counter()
    assert Query(since=Bound.parse("1m", NOW)).counted(summary()) == Counter()
    assert Query(trace="cd" * 16).counted(summary()) == Counter()


def test_counts_that_are_none_count_nothing() -> None:
    assert Query().counted(summary(counts=[{"reason": "no_grant", "count": -5}, "x", {"count": "7"}])).total() == 0


WITH_APPROVALS = frozenset({"intent", "refusal", "approval"})


@pytest.mark.parametrize(
    "query",
    [
        Query(kinds=WITH_APPROVALS),
        Query(kinds=WITH_APPROVALS, approval="adad"),
        Query(kinds=WITH_APPROVALS, agents=(Agents.parse("billing"),), servers=frozenset({"ledger"})),
        Query(kinds=WITH_APPROVALS, tools=(read_tool("re*"),)),
        Query(kinds=WITH_APPROVALS, session="5e5e"),
        # The call that asked.
        Query(kinds=WITH_APPROVALS, decision="abab"),
    ],
)
def test_what_a_person_said_is_wanted_beside_the_calls_that_it_is_about(query: Query) -> None:
    assert query.matches(APPROVAL)


@pytest.mark.parametrize(
    "query",
    [
        Query(),
        Query(kinds=WITH_APPROVALS, approval="aeae"),
        Query(kinds=WITH_APPROVALS, agents=(Agents.parse("nobody"),)),
        Query(kinds=WITH_APPROVALS, tools=(read_tool("get_*"),)),
        Query(kinds=WITH_APPROVALS, session="7777"),
        Query(kinds=WITH_APPROVALS, decision="cdcd"),
        Query(kinds=WITH_APPROVALS, until=Bound.parse("2026-01-07T11:50:00Z", NOW)),
        # It is no decision, and a person's words are no reason of the gate's.
        Query(kinds=WITH_APPROVALS, verdict="allow"),
        Query(kinds=WITH_APPROVALS, reasons=frozenset({"no_grant"})),
        Query(kinds=WITH_APPROVALS, statuses=frozenset({"answered"})),
        Query(kinds=WITH_APPROVALS, methods=frozenset({"tools/call"})),
        Query(kinds=WITH_APPROVALS, jti="JTI-"),
    ],
)
def test_what_a_person_said_is_no_part_of_another_question(query: Query) -> None:
    assert not query.matches(APPROVAL)


def test_a_held_call_is_neither_among_the_allowed_nor_among_the_denied() -> None:
    held = Entry({"kind": "refusal", "time": "2026-01-07T11:51:00.000000000Z", "reason": "approval_required"})
    assert [Query(verdict=verdict).matches(held) for verdict in ("allow", "deny", "hold")] == [False, False, True]
    assert not Query(verdict="hold").matches(REFUSED)


def test_what_was_only_counted_is_held_where_its_reason_says_so() -> None:
    counts = [{"reason": "approval_required", "count": 2}, {"reason": "no_grant", "count": 3}]
    summary = Entry({"kind": "summary", "time": "2026-01-07T11:51:00.000000000Z", "counts": counts})  # type: ignore[dict-item]
    assert Query(verdict="hold").counted(summary) == Counter(approval_required=2)
    assert Query(verdict="deny").counted(summary) == Counter(no_grant=3)
    assert Query(approval="adad").counted(summary) == Counter()
