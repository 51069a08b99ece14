"""`callgate dev call`: be an agent for one call."""

from dataclasses import dataclass, field
from functools import partial
from typing import IO, TYPE_CHECKING

import click
import orjson

from callgate.cli.running import run
from callgate.identity.spiffe_id import InvalidSpiffeId, SpiffeId
from callgate.telemetry.visible import visible

if TYPE_CHECKING:
    from callgate.dev.agent import StepResult

# What a shell script can tell apart: allowed is 0, any fault is 1, a wrong command line 2 (click's).
_DENIED, _TOOL_FAILED = 3, 4
# A person's reason has at most 500.
_SAID_CHARACTERS = 1000


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
@click.option(
    "--user-token",
    "token_file",
    type=click.File("r"),
    metavar="FILE",
    help="A user's access token, on whose behalf the call is made; - reads it from stdin.",
)
@click.option("--purpose", default="", help="What the call is for: declared, not proved.")
def call(  # one for each option
    url: str,
    tool: str | None,
    arguments: str,
    gate_id: str,
    workload_api: str | None,
    token_file: IO[str] | None,
    purpose: str,
) -> None:
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
    headers = {"authorization": f"Bearer {token_file.read().strip()}"} if token_file else {}
    raise SystemExit(run(partial(_call, _Asked(url, tool, given, purpose, headers), gate, workload_api)))


@dataclass(frozen=True, slots=True)
class _Asked:
    """What is asked for; `headers` hold a user's token, a secret."""

    url: str
    tool: str | None
    arguments: dict[str, object]
    purpose: str
    headers: dict[str, str] = field(repr=False)


async def _call(asked: _Asked, gate: SpiffeId, endpoint: str | None) -> int:
    # The official client comes with the extra `demo`.
    from mcp import MCPError  # noqa: PLC0415

    from callgate.dev import agent as client  # noqa: PLC0415
    from callgate.dev.identity import workload_identity  # noqa: PLC0415

    identity = await workload_identity(endpoint)
    found: client.StepResult
    try:
        async with client.open_agent(asked.url, client.agent_context(identity, gate), headers=asked.headers) as agent:
            step = client.CallTool(asked.tool, asked.arguments, asked.purpose) if asked.tool else client.ListTools()
            found = await client.run_step(agent, step)
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
        case Denied(code, message, reason, decision_id, trace_id, approval, said):
            why = f": {visible(said, _SAID_CHARACTERS)}" if said else ""
            request = f"  approval {visible(approval, _SAID_CHARACTERS)}" if approval else ""
            click.echo(
                f"denied: {code} {message} ({reason}){why}{request}  decision {decision_id}  trace {trace_id}", err=True
            )
            return _DENIED
    return 0
