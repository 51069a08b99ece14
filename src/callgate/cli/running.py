"""Running trio from a command, so that what goes wrong is told in a sentence."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

import click
import trio

from callgate.errors import GatewayError, leaves

T = TypeVar("T")
# What a person can do something about; anything else is a fault of ours and keeps its traceback.
_TOLD = (GatewayError, OSError, ImportError)


def run(main: Callable[[], Awaitable[T]]) -> T:
    """`trio.run`, with faults of the surroundings as `click.ClickException`."""
    try:
        return trio.run(main)
    except _TOLD as fault:
        raise click.ClickException(str(fault)) from None
    except BaseExceptionGroup as group:
        faults = list(leaves(group))
        if not all(isinstance(fault, _TOLD) for fault in faults):
            raise
        raise click.ClickException("; ".join(map(str, faults))) from None
