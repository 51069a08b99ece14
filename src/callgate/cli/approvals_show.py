"""`callgate approvals list` and `show`: what waits for a person."""

from pathlib import Path

import click

from callgate.cli.approvals_place import asking, gate_at, place_options
from callgate.cli.approvals_text import as_lines, as_table
from callgate.cli.shown_json import shown_json


@click.command("list")
@place_options
@click.option("--ended", is_flag=True, help="Those that were decided or ran out, the latest first.")
@click.option("--format", "form", type=click.Choice(["table", "json"]), default="table", show_default=True)
def list_requests(*, socket: Path | None, config: Path | None, form: str, ended: bool = False) -> None:
    """List what waits for an answer, the oldest first.

    Exit status: 0 listed (perhaps none), 1 no gate answers, or a configuration that is not good, 2 a wrong command line,
    3 the gate refuses.
    """
    with asking():
        found = gate_at(socket, config).listed("ended" if ended else "open")
    if form == "json":
        click.echo(shown_json({"version": 1, "approvals": found}))
        return
    if not found:
        click.echo("nothing has ended" if ended else "nothing waits for an answer", err=True)
        return
    for line in as_table(found):
        click.echo(line)


@click.command("show")
@click.argument("request_id", metavar="ID")
@place_options
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
def show(request_id: str, *, socket: Path | None, config: Path | None, form: str) -> None:
    """Show all that there is to know before one answers request ID; the beginning of the id is enough.

    Who asks, what exactly would be called and why it needs a person.  What cannot be seen is written out, as ⟨U+202E⟩.
    That you have looked goes on record.  Exit status: 0 shown, 1 no gate answers, or a configuration that is not good,
    2 a wrong command line or no such request, 3 the gate refuses.
    """
    with asking():
        found = gate_at(socket, config).request(request_id)
    if form == "json":
        click.echo(shown_json(found))
        return
    for line in as_lines(found):
        click.echo(line)
