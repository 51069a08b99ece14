"""The commands, one module each."""

import click

from callgate.cli.lazy_group import LazyGroup

# Loaded when asked for: gRPC and the MCP client take a noticeable while, and `callgate --help` needs neither.
_COMMANDS = {
    "serve": "callgate.cli.serve:serve",
    "check": "callgate.cli.check:check",
    "explain": "callgate.cli.explain:explain_call",
    "test": "callgate.cli.test:test",
    "screen": "callgate.cli.screen:screen",
    "log": "callgate.cli.log:log_command",
    "session": "callgate.cli.session:session",
    "approvals": "callgate.cli.approvals:approvals",
    "policy": "callgate.cli.policy:policy",
    "pin": "callgate.cli.pin:pin",
    "audit": "callgate.cli.audit:audit",
    "schema": "callgate.cli.schema:schema",
    "demo": "callgate.cli.demo:demo",
    "dev": "callgate.cli.dev:dev",
}


@click.command(
    cls=LazyGroup, table=_COMMANDS, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110}
)
@click.version_option(package_name="callgate")
def main() -> None:
    """A zero-trust gate for AI agents' tool calls.

    Agents come with the X.509-SVID that SPIRE gave them, every call is decided on its own, and an allowed call leaves
    with a token that is good for that call alone.
    """
