"""`callgate dev call`: be an agent for one call."""

from functools import partial
from typing import TYPE_CHECKING

import click
import orjson

from callgate.cli.running import run
from callgate.identity.spiffe_id import InvalidSpiffeId, SpiffeId

if TYPE_CHECKING:
    from callgate.dev.agent import StepResult

# What a shell script can tell apart: allowed is 0, any fault is 1, a wrong command line 2 (click's).
_DENIED, _TOOL_FAILED = 3, 4


@click.command("call")
@click.argument("url")
@click.argument("tool", required=False)
@click.argument("arguments", default="{}")
@click.option("--gate", "gate_id", required=True, metavar="SPIFFE_ID", help="Who the gate must prove to be.")
@click.option(
    "--workload-api",
    envvar="SPIFFE_ENDPOINT_SOCKET",
    show_envvar=True,
    help="Where this agent's SVID comes from, as in unix:///run/spire/agent.sock.",
)
def call(url: str, tool: str | None, arguments: str, gate_id: str, workload_api: str | None) -> None:
    """Call one tool as an agent with an SVID; without TOOL, list the tools.

    ARGUMENTS is a JSON object.  Exit status: 0 allowed, 3 denied, 4 the tool itself failed, 1 no answer.

    \b
      callgate dev call --gate spiffe://acme.test/gate https://localhost:8443/ledger/mcp \\
          get_invoice '{"number": "INV-1001"}'
    """  # noqa: D301  # click's \b
    try:
        gate = SpiffeId.parse(gate_id)
        given = orjson.loads(arguments)
    except InvalidSpiffeId as error:
        raise click.BadParameter(str(error), param_hint="--gate") from None
    except orjson.JSONDecodeError as error:
        raise click.BadParameter(f"not JSON: {error}", param_hint="ARGUMENTS") from None
    if not isinstance(given, dict):
        raise click.BadParameter("must be a JSON object", param_hint="ARGUMENTS")
    raise SystemExit(run(partial(_call, url, tool, given, gate, workload_api)))


async def _call(url: str, tool: str | None, arguments: dict[str, object], gate: SpiffeId, endpoint: str | None) -> int:
    # The official client comes with the extra `demo`.
    from mcp import MCPError  # noqa: PLC0415

    from callgate.dev import agent as client  # noqa: PLC0415
    from callgate.dev.identity import workload_identity  # noqa: PLC0415

    identity = await workload_identity(endpoint)
    found: client.StepResult
    try:
        async with client.open_agent(url, client.agent_context(identity, gate)) as agent:
            found = await client.run_step(agent, client.CallTool(tool, arguments) if tool else client.ListTools())
    except MCPError as refused:
        # Not even the session was let in.
        found = client.denied(refused)
    return _told(found)


def _told(found: "StepResult") -> int:
    from callgate.dev.agent import Allowed, Denied, Listed  # noqa: PLC0415

    match found:
        case Listed(tools):
            click.echo("\n".join(tools))
        case Allowed(text, tool_failed):
            click.echo(text)
            return _TOOL_FAILED if tool_failed else 0
        case Denied(code, message, reason, decision_id, trace_id):
            click.echo(f"denied: {code} {message} ({reason})  decision {decision_id}  trace {trace_id}", err=True)
            return _DENIED
    return 0
