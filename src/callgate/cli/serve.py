"""`callgate serve`: run a gate."""

import logging
import resource
import signal
import uuid
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from importlib.metadata import version
from pathlib import Path

import click
import trio

from callgate.cli.files import GateFiles, open_files
from callgate.cli.interpreter import settle
from callgate.cli.running import run
from callgate.policy_source import PolicySource
from callgate.service import Addresses, Service
from callgate.telemetry.export import Telemetry
from callgate.telemetry.log_events import checkpoint_events
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
    """Run the gate until SIGTERM or SIGINT; then finish what is under way and exit 0.

    A changed policy file is in force within a second; SIGHUP has the files read at once, and says in the log what came
    of it.
    """
    set_up_logging(level=logging.getLevelNamesMapping()[log_level.upper()])
    files = open_files(path)
    _take_the_files_allowed()
    settle()
    run(partial(run_gate, files))


def _take_the_files_allowed() -> None:
    """A connection is a file, and the soft limit is often 1024: fewer than the connections that `limits` allows."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


async def run_gate(files: GateFiles) -> None:
    """Run one gate with telemetry and signals, as `callgate serve` does."""
    settings = files.config.telemetry
    sender = Sender(settings.service_name, version("callgate"), uuid.uuid4().hex)
    telemetry = Telemetry.from_settings(
        settings.otlp,
        sender,
        svid_not_after=lambda: service.svid_expires,
        policies=files.policies,
        audit=lambda: service.log,
    )
    service = Service(
        files.config,
        files.policy,
        telemetry.record,
        shadow=files.shadow,
        folder=files.folder,
        events=checkpoint_events(settings.otlp, sender.resource(), files.config.audit.origin),
        approvals=telemetry.approvals,
    )
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_stop_on_signal, service)
            nursery.start_soon(_reload_on_signal, tuple(files.policies.values()))
            addresses: Addresses = await nursery.start(service_until_stopped, service, nursery.cancel_scope)
            _LOG.info("listening for agents on %s, for metadata and health on %s", addresses.agents, addresses.admin)
            _say_where_people_answer(files, addresses)
            nursery.start_soon(_report_readiness, service)
    finally:
        with trio.CancelScope(shield=True):
            # A limiter of its own: threads that hang elsewhere must not hold up the end.
            await trio.to_thread.run_sync(telemetry.close, limiter=trio.CapacityLimiter(1))
    _LOG.info("stopped")


def _say_where_people_answer(files: GateFiles, addresses: Addresses) -> None:
    approvals = files.config.approvals
    if approvals is None:
        return
    socket = f", and at {files.folder / approvals.socket_path}" if approvals.socket_path else ""
    _LOG.info("people answer at %s/approvals%s", files.config.approvals_url(addresses.admin.port), socket)


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


async def _reload_on_signal(policies: Sequence[PolicySource]) -> None:
    with trio.open_signal_receiver(signal.SIGHUP) as signals:
        async for _ in signals:
            _LOG.info("SIGHUP: reading the policy")
            for policy in policies:
                policy.reload_now()


async def _stop_on_signal(service: Service) -> None:
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async for number in signals:
            _LOG.info("%s: no new connections; finishing what is under way", signal.Signals(number).name)
            service.stop()
