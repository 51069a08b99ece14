"""`callgate session`: what one agent did, from its first call to its last."""

import click

from callgate.cli.lazy_group import LazyGroup

# Loaded when asked for, as callgate's own: to list sessions takes no MCP client.
_COMMANDS = {
    "list": "callgate.cli.session_list:list_sessions",
    "show": "callgate.cli.session_show:show",
    "export": "callgate.cli.session_export:export",
    "play": "callgate.cli.session_play:play_session",
    "replay": "callgate.cli.session_replay:replay",
}


@click.group("session", cls=LazyGroup, table=_COMMANDS)
def session() -> None:
    """Look at what one agent did: list sessions, show one, export one as a page, play one again.

    A session is a legacy MCP session, or else one workload's (and user's) requests without a pause of 30 minutes.
    """
