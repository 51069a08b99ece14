"""`callgate approvals`: what waits for a person, and the person's answer, at the gate's own machine."""

from pathlib import Path

import click

from callgate.cli.approvals_place import Place, place_options
from callgate.cli.lazy_group import LazyGroup

_COMMANDS = {
    "list": "callgate.cli.approvals_show:list_requests",
    "show": "callgate.cli.approvals_show:show",
    "approve": "callgate.cli.approvals_decide:approve",
    "deny": "callgate.cli.approvals_decide:deny",
    "link": "callgate.cli.approvals_link:link",
    "watch": "callgate.cli.approvals_watch:watch",
}


@click.group("approvals", cls=LazyGroup, table=_COMMANDS, invoke_without_command=True)
@place_options
@click.option("--watch", "watches", is_flag=True, help="The same as callgate approvals watch.")
@click.option("--format", "form", type=click.Choice(["table", "json"]), default="table", show_default=True)
@click.pass_context
def approvals(ctx: click.Context, *, socket: Path | None, config: Path | None, watches: bool, form: str) -> None:
    """See what agents wait for, and approve or deny it; without a command: list what waits.

    Asks the running gate by its admin socket, on the same machine.  The kernel tells the gate which user you are:
    approvals.socket.users in callgate.yaml says who may answer (the gate's own user, unless it names others).
    """
    if ctx.invoked_subcommand is None:
        name = "watch" if watches else "list"
        command = approvals.get_command(ctx, name)
        assert command is not None  # noqa: S101  # in the table
        ctx.invoke(command, socket=socket, config=config, form="text" if (watches and form == "table") else form)
        return
    if watches or ctx.get_parameter_source("form") is not click.core.ParameterSource.DEFAULT:
        raise click.UsageError("--watch and --format stand alone or behind the command")
    ctx.obj = Place(socket, config)
