"""How far a command is: one line on a terminal that is written over, and gone in the end."""

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Final, TypeVar

import click

T = TypeVar("T")

# Often enough to be seen to move.
_EVERY_S: Final = 0.5
# After how many items the clock is asked.
_LOOKED: Final = 1_000


class Progress:
    """The line.  Nothing is written where standard error is no terminal, or where it is not `wanted`."""

    def __init__(self, *, wanted: bool = True) -> None:
        self.is_shown = wanted and sys.stderr.isatty()
        self._said_at = time.monotonic()

    def tell(self, words: Callable[[], str]) -> None:
        """Write it anew, if it is time to: only then are the words asked for."""
        if self.is_shown and (now := time.monotonic()) - self._said_at >= _EVERY_S:
            self._said_at = now
            click.echo(f"\r{words()}\x1b[K", err=True, nl=False)

    def clear(self) -> None:
        """Take it away."""
        if self.is_shown:
            click.echo("\r\x1b[K", err=True, nl=False)


def watched(items: Iterable[T], words: Callable[[int, T], str], *, wanted: bool = True) -> Iterator[T]:
    """The same items; `words` for how many have come, and the last of them."""
    progress = Progress(wanted=wanted)
    if not progress.is_shown:
        yield from items
        return
    try:
        for number, item in enumerate(items, 1):
            yield item
            if not number % _LOOKED:
                progress.tell(partial(words, number, item))
    finally:
        progress.clear()
