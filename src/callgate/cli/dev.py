"""`callgate dev`: what stands in for infrastructure on a developer's machine."""

import shlex
import signal
from pathlib import Path

import click
import trio
from pydantic import TypeAdapter, ValidationError

from callgate.cli.dev_call import call
from callgate.dev.workload_api import DevWorkloadApi
from callgate.errors import GatewayError
from callgate.yaml_model import Seconds

_WARNING = """\
FOR DEVELOPMENT ONLY: whoever can open one of these sockets is given its identity, with no attestation, from an
authority whose keys are in this process.  In production, run SPIRE."""


_Pairs = tuple[tuple[str, str], ...]


def _seconds(_ctx: click.Context, _param: click.Parameter, value: str) -> int:
    """A duration as the configuration file writes it."""
    try:
        seconds: int = TypeAdapter(Seconds).validate_python(value)
    except ValidationError:
        raise click.BadParameter(f"{value!r} is no duration; write for instance 30s, 5m or 1h") from None
    return seconds


def _pairs(_ctx: click.Context, _param: click.Parameter, values: tuple[str, ...]) -> _Pairs:
    return tuple(_pair(value) for value in values)


def _pair(value: str) -> tuple[str, str]:
    name, equals, rest = value.partition("=")
    if not (name and equals and rest):
        raise click.BadParameter(f"{value!r} is not NAME=VALUE, such as gate=spiffe://acme.test/gate")
    return name, rest


@click.group()
def dev() -> None:
    """Stand-ins for infrastructure, for development."""


dev.add_command(call)


@dev.command("workload-api")
@click.option(
    "--directory",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="Where the sockets go, one a workload: <directory>/<name>.sock.  Made if missing; must be yours alone.",
)
@click.option(
    "--workload",
    "workloads",
    callback=_pairs,
    metavar="NAME=SPIFFE_ID",
    multiple=True,
    required=True,
    help="A workload and its identity.  Repeat it; every trust domain federates with every other.",
)
@click.option(
    "--dns",
    "dns_names",
    callback=_pairs,
    metavar="NAME=DNS_NAME",
    multiple=True,
    help="A DNS name to put into a workload's SVID as well.  Repeat it.",
)
@click.option(
    "--ttl",
    callback=_seconds,
    metavar="DURATION",
    default="5m",
    show_default=True,
    help="How long an SVID lives; renewed at half.",
)
def workload_api(directory: Path, workloads: _Pairs, dns_names: _Pairs, ttl: int) -> None:
    """Serve the SPIFFE Workload API to programs on this machine, until SIGINT or SIGTERM.

    FOR DEVELOPMENT ONLY.  Any SPIFFE client can use it:

    \b
      callgate dev workload-api --directory ./run --workload gate=spiffe://acme.test/gate
      SPIFFE_ENDPOINT_SOCKET=unix://$PWD/run/gate.sock callgate serve
    """  # noqa: D301  # click's \b
    identities = dict(workloads)
    if len(identities) < len(workloads):
        raise click.UsageError("two --workload options have the same name; each workload has one identity")
    names_of = {name: [dns_name for other, dns_name in dns_names if other == name] for name, _ in dns_names}
    try:
        api = DevWorkloadApi(directory, identities, ttl_s=ttl, dns_names=names_of)
        trio.run(_serve_until_signal, api)
    except GatewayError as error:
        raise click.ClickException(str(error)) from None


async def _serve_until_signal(api: DevWorkloadApi) -> None:
    # Caught before the first socket exists, so that no signal leaves one behind.
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals, api:
        click.secho(_WARNING, fg="yellow", bold=True, err=True)
        for name, spiffe_id in api.workloads.items():
            click.echo(f"# {name} is {spiffe_id}")
            click.echo(f"export SPIFFE_ENDPOINT_SOCKET={shlex.quote(api.endpoint(name))}")
        async for _ in signals:
            break
    click.echo("stopped, and the sockets are removed", err=True)
