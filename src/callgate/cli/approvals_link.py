"""`callgate approvals link`: from the terminal to the page, signed in."""

import webbrowser
from pathlib import Path

import click

from callgate.approvals.client import NoAnswer
from callgate.cli.approvals_place import asking, gate_at, place_options
from callgate.cli.approvals_words import for_s, number, text


@click.command("link")
@place_options
@click.option("--open", "opens", is_flag=True, help="Open it in this machine's browser.")
def link(*, socket: Path | None, config: Path | None, opens: bool) -> None:
    """Print an address that opens the page, signed in as you: good once, and for a short time.

    Whoever has it is you: send it to nobody.  Exit status: 0 printed, 1 no gate answers, or a configuration that is not
    good, or no browser opens, 2 a wrong command line, 3 the gate refuses.
    """
    with asking():
        found = gate_at(socket, config).link()
        url = text(found, "url")
        if not url.startswith(("https://", "http://")) or not url.isprintable():
            raise NoAnswer("the gate's answer holds no address")
    click.echo(url)
    click.echo(f"good once, within {for_s(number(found, 'expires_in_s'))}; whoever opens it is you", err=True)
    if opens and not webbrowser.open(url):
        raise click.ClickException("no browser could be opened; open the address by hand")
