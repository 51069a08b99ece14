"""Which gate the commands of `callgate approvals` ask: `--socket`, or what callgate.yaml says."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from callgate.approvals.client import AdminSocket, NoAnswer, NoSuchRequest, NotTaken
from callgate.cli.log_options import CONFIG, read_config
from callgate.telemetry.visible import visible

F = TypeVar("F", bound=Callable[..., Any])

SOCKET_VARIABLE: Final = "CALLGATE_APPROVALS_SOCKET"
# What a script can tell apart; no answer is 1, a wrong command line 2 (click's).
NO_REQUEST: Final = 2
NOT_TAKEN: Final = 3
_MAX_PATH: Final = 1000


@dataclass(frozen=True, slots=True)
class Place:
    """What the command line says of where the gate is."""

    socket: Path | None = None
    config: Path | None = None

    def __or__(self, other: "Place") -> "Place":
        """This one, or where it says nothing the other."""
        return self if self.socket is not None or self.config is not None else other


def place_options(command: F) -> F:
    """Add --socket and --config to a command, which takes them as `socket` and `config`."""
    config = click.option(
        "-c",
        "--config",
        "config",
        type=click.Path(path_type=Path, dir_okay=False),
        help=f"The gate's configuration, which says where its socket is.  callgate.yaml, or else ${SOCKET_VARIABLE}.",
    )
    socket = click.option(
        "--socket",
        "socket",
        metavar="PATH",
        type=click.Path(path_type=Path, dir_okay=False),
        help="The gate's admin socket instead: no configuration is read.",
    )
    return socket(config(command))


def gate_at(socket: Path | None, config: Path | None) -> AdminSocket:
    """The gate that the command line means.  Raises UsageError, and FileProblems for a configuration that is not good."""
    place = Place(socket, config) | click.get_current_context().ensure_object(Place)
    if place.socket is not None and place.config is not None:
        raise click.UsageError("--socket and --config exclude each other")
    if place.socket is not None:
        return AdminSocket(place.socket)
    if place.config is None and not CONFIG.exists():
        if variable := os.environ.get(SOCKET_VARIABLE):
            return AdminSocket(Path(variable))
        raise click.UsageError(
            f"there is no {CONFIG} here; name one by --config, or the gate's socket by --socket or ${SOCKET_VARIABLE}"
        )
    return _configured(place.config or CONFIG)


def _configured(path: Path) -> AdminSocket:
    approvals = read_config(path).approvals
    shown = visible(str(path), _MAX_PATH)
    if approvals is None:
        raise click.UsageError(f"{shown} has no approvals: this gate asks nobody")
    if approvals.socket_path is None:
        raise click.UsageError(f"{shown} says approvals.socket: off; people answer on the page alone")
    return AdminSocket(path.parent / approvals.socket_path)


class _NoRequest(click.ClickException):
    """There is nothing of that name: as a wrong command line."""

    exit_code = NO_REQUEST


class _NotTaken(click.ClickException):
    """The gate refuses."""

    exit_code = NOT_TAKEN


@contextmanager
def asking() -> Iterator[None]:
    """What the gate refuses, or that there is none, as one sentence on stderr and an exit code."""
    try:
        yield
    except NoAnswer as fault:
        raise click.ClickException(str(fault)) from None
    except NoSuchRequest as fault:
        raise _NoRequest(str(fault)) from None
    except NotTaken as fault:
        raise _NotTaken(str(fault)) from None
