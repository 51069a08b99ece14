"""`callgate serve`: run a gate."""

import logging
import resource
import signal
import uuid
from contextlib import suppress
from functools import partial
from importlib.metadata import version
from pathlib import Path

import click
import trio

from callgate.cli.files import read_config
from callgate.cli.interpreter import settle
from callgate.cli.running import run
from callgate.config import Config
from callgate.policy.compile import Policy
from callgate.service import Addresses, Service
from callgate.telemetry.export import Telemetry
from callgate.telemetry.logs import set_up_logging
from callgate.telemetry.otlp import Service as Sender

_LOG = logging.getLogger("callgate")


@click.command()
@click.option(
    "-c",
    "--config",
    "path",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("callgate.yaml"),
    show_default=True,
    help="Where things are; names the policy file.",
)
@click.option(
    "--log-level", type=click.Choice(["debug", "info", "warning", "error"]), default="info", show_default=True
)
def serve(path: Path, log_level: str) -> None:
    """Run the gate until SIGTERM or SIGINT; then finish what is under way and exit 0."""
    set_up_logging(level=logging.getLevelNamesMapping()[log_level.upper()])
    config, policy = read_config(path)
    _take_the_files_allowed()
    settle()
    run(partial(run_gate, config, policy))


def _take_the_files_allowed() -> None:
    """A connection is a file, and the soft limit is often 1024: fewer than the connections that `limits` allows."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


async def run_gate(config: Config, policy: Policy) -> None:
    """Run one gate with telemetry and signals, as `callgate serve` does."""
    sender = Sender(config.telemetry.service_name, version("callgate"), uuid.uuid4().hex)
    telemetry = Telemetry.from_settings(config.telemetry.otlp, sender, svid_not_after=lambda: service.svid_expires)
    service = Service(config, policy, telemetry.record)
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_stop_on_signal, service)
            addresses: Addresses = await nursery.start(service_until_stopped, service, nursery.cancel_scope)
            _LOG.info("listening for agents on %s, for metadata and health on %s", addresses.agents, addresses.admin)
            nursery.start_soon(_report_readiness, service)
    finally:
        with trio.CancelScope(shield=True):
            # A limiter of its own: threads that hang elsewhere must not hold up the end.
            await trio.to_thread.run_sync(telemetry.close, limiter=trio.CapacityLimiter(1))
    _LOG.info("stopped")


async def service_until_stopped(
    service: Service, everything: trio.CancelScope, *, task_status: trio.TaskStatus[Addresses]
) -> None:
    """Run the service; when it has stopped, nothing else of the program has a reason to go on."""
    await service.run(task_status=task_status)
    everything.cancel()


async def _report_readiness(service: Service) -> None:
    for reason in service.readiness().missing:
        _LOG.warning("not ready: %s", reason)
    await service.wait_ready()
    identity = service.identity
    if identity is not None:
        _LOG.info("ready as %s", identity.svid.id)


async def _stop_on_signal(service: Service) -> None:
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async for number in signals:
            _LOG.info("%s: no new connections; finishing what is under way", signal.Signals(number).name)
            service.stop()
