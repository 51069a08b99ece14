"""The options that say which entries of a log are wanted."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import click

from callgate.audit.chain import Kind
from callgate.audit.entries import REQUESTS, Verdict
from callgate.audit.query import (
    KINDS,
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

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")

# With --all: everything but where files begin.
_ALL: Final = frozenset(KINDS) - {Kind.SEGMENT.value}
# What workloads asked for, and what people said to it.
_USUAL: Final = REQUESTS | {Kind.APPROVAL.value}
_VERDICTS: Final[Mapping[str, Verdict]] = {"allow": "allow", "deny": "deny", "hold": "hold"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """The filters as they were given."""

    agent: tuple[str, ...] = ()
    server: tuple[str, ...] = ()
    tool: tuple[str, ...] = ()
    method: tuple[str, ...] = ()
    verdict: str | None = None
    reason: tuple[str, ...] = ()
    status: tuple[str, ...] = ()
    user: str | None = None
    session: str | None = None
    decision: str | None = None
    trace: str | None = None
    jti: str | None = None
    approval: str | None = None
    since: str | None = None
    until: str | None = None
    kind: tuple[str, ...] = ()
    all_kinds: bool = False


def filter_options(command: F) -> F:
    """Add the filters to a command, which takes them as the fields of `Filters`."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


_OPTIONS: Final = (
    click.option("--agent", multiple=True, metavar="PATTERN", help="Workloads: spiffe://acme.test/ns/*/sa/agent, or a part of an ID."),
    click.option("--server", multiple=True, metavar="NAME", help="A tool server."),
    click.option("--tool", multiple=True, metavar="PATTERN", help="A tool; * stands for any characters, ? for one."),
    click.option("--method", multiple=True, metavar="METHOD", help="An MCP method, such as tools/call."),
    click.option("--decision", "verdict", type=click.Choice(["allow", "deny", "hold"]), help="How it was decided; hold: a person has to agree first."),
    click.option("--reason", multiple=True, metavar="REASON", help="Why it was refused, or why it failed: no_grant, ..."),
    click.option("--status", multiple=True, metavar="STATUS", help="How it ended: answered, tool_error, refused, ..."),
    click.option("--user", metavar="SUBJECT", help="The user in whose name the agent called."),
    click.option("--session", metavar="ID", help="A session; the beginning of its id is enough."),
    click.option("--id", "decision", metavar="ID", help="One decision; the beginning of its id is enough."),
    click.option("--trace-id", "trace", metavar="HEX", help="What a trace of the tracing backend was about."),
    click.option("--jti", metavar="ID", help="The call that a token was minted for."),
    click.option("--approval", metavar="ID", help="A request for approval: the calls, and what people said."),
    click.option("--since", metavar="MOMENT|AGE", help="From then on: 2026-12-31T18:00:00Z, or 15m, 2h, 7d ago."),
    click.option("--until", metavar="MOMENT|AGE", help="Before then."),
    click.option("--kind", multiple=True, metavar="KIND", help="Kinds of records: intent, refusal, approval, start, outage, ..."),
    click.option("--all", "all_kinds", is_flag=True, help="The gate's own doings, too: starts, stops, outages, ..."),
)  # fmt: skip


def query_of(filters: Filters, now: float) -> Query:
    """Raises BadParameter.  `now`: Unix seconds, for ages."""
    return Query(
        agents=_each(filters.agent, Agents.parse, "--agent"),
        servers=frozenset(filters.server),
        tools=_each(filters.tool, read_tool, "--tool"),
        methods=frozenset(filters.method),
        verdict=_VERDICTS.get(filters.verdict or ""),
        reasons=frozenset(_each(filters.reason, read_reason, "--reason")),
        statuses=frozenset(_each(filters.status, read_status, "--status")),
        user=filters.user or "",
        since=_bound(filters.since, now, "--since"),
        until=_bound(filters.until, now, "--until"),
        kinds=_kinds(filters),
        **_ids(filters),
    )


def _ids(filters: Filters) -> Mapping[str, str]:
    given = {
        "decision": (filters.decision, "--id"),
        "trace": (filters.trace, "--trace-id"),
        "session": (filters.session, "--session"),
        "jti": (filters.jti, "--jti"),
        "approval": (filters.approval, "--approval"),
    }
    return {name: _one(text, read_id, option) for name, (text, option) in given.items() if text is not None}


def _kinds(filters: Filters) -> frozenset[str]:
    if filters.kind:
        return frozenset(_each(filters.kind, read_kind, "--kind"))
    return _ALL if filters.all_kinds else _USUAL


def _bound(text: str | None, now: float, option: str) -> Bound | None:
    return None if text is None else _one(text, lambda given: Bound.parse(given, now), option)


def _each(texts: tuple[str, ...], read: Callable[[str], T], option: str) -> tuple[T, ...]:
    return tuple(_one(text, read, option) for text in texts)


def _one(text: str, read: Callable[[str], T], option: str) -> T:
    try:
        return read(text)
    except NoQuery as error:
        raise click.BadParameter(str(error), param_hint=option) from None
