"""`callgate session`: what one agent did, from its first call to its last."""

import importlib

import click

# Loaded when asked for, as callgate's own: to list sessions takes no MCP client.
_COMMANDS = {
    "list": "callgate.cli.session_list:list_sessions",
    "show": "callgate.cli.session_show:show",
    "export": "callgate.cli.session_export:export",
    "play": "callgate.cli.session_play:play_session",
    "replay": "callgate.cli.session_replay:replay",
}


class _Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  # click's signature
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in _COMMANDS:
            return None
        module, _, name = _COMMANDS[cmd_name].partition(":")
        command = getattr(importlib.import_module(module), name)
        assert isinstance(command, click.Command)  # noqa: S101  # a slip in the table above
        return command


@click.group("session", cls=_Commands)
def session() -> None:
    """Look at what one agent did: list sessions, show one, export one as a page, play one again.

    A session is a legacy MCP session, or else one workload's (and user's) requests without a pause of 30 minutes.
    """
