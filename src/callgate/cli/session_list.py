"""`callgate session list`: which sessions a log has."""

import time
from pathlib import Path

import click

from callgate.cli.log_filters import Filters, query_of
from callgate.cli.log_options import log_folder, log_options
from callgate.cli.session_json import session_json
from callgate.cli.session_log import MAX_SESSIONS, find_sessions, readable
from callgate.cli.session_text import as_table
from callgate.cli.shown_json import shown_json


@click.command("list")
@log_options
@click.option(
    "--agent", multiple=True, metavar="PATTERN", help="Workloads: spiffe://acme.test/ns/*/sa/agent, or a part."
)
@click.option("--user", metavar="SUBJECT", help="The user in whose name the agent called.")
@click.option("--server", multiple=True, metavar="NAME", help="A tool server.")
@click.option("--tool", multiple=True, metavar="PATTERN", help="A tool; * stands for any characters, ? for one.")
@click.option("--decision", "verdict", type=click.Choice(["allow", "deny", "hold"]), help="With a request decided so.")
@click.option("--reason", multiple=True, metavar="REASON", help="With a request refused or failed for it: no_grant, …")
@click.option("--status", multiple=True, metavar="STATUS", help="With a request that ended so: tool_error, unknown, …")
@click.option("--id", "decision", metavar="ID", help="The session of one decision; the beginning of its id is enough.")
@click.option("--trace-id", "trace", metavar="HEX", help="The session of a trace.")
@click.option("--jti", metavar="ID", help="The session of the call that a token was minted for.")
@click.option("--since", metavar="MOMENT|AGE", help="With a request from then on: 2026-12-31T18:00:00Z, or 2h, 7d ago.")
@click.option("--until", metavar="MOMENT|AGE", help="With a request before then.")
@click.option("--format", "form", type=click.Choice(["table", "json"]), default="table", show_default=True)
def list_sessions(*, log: Path | None, config: Path | None, form: str, **filters: str | tuple[str, ...] | None) -> None:
    """List the sessions that have a request for which every filter holds; the one that was active last comes last.

    The figures are of whole sessions.  `status` is the worst that happened in one: open (a call without an outcome),
    failed, denied, or well.  Exit status: 0 (perhaps with none), 1 a configuration that is not good, 2 a wrong command
    line or a log that cannot be read.
    """
    folder = log_folder(log, config)
    given = Filters(**{name: value for name, value in filters.items() if value is not None})  # type: ignore[arg-type]  # click's own types
    query = query_of(given, time.time())
    with readable():
        found, forgotten = find_sessions(folder, query.matches)
    if forgotten:
        click.echo(f"{forgotten:,} sessions before the last {MAX_SESSIONS:,} were not looked at", err=True)
    if form == "json":
        listed = {"version": 1, "sessions": [session_json(each) for each in found]}
        click.echo(shown_json(listed))
        return
    if not found:
        click.echo("no session has a request like that", err=True)
        return
    for line in as_table(found):
        click.echo(line)
