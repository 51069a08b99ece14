"""Tells operators which tools are not what was approved: once each, however often they are asked for."""

import logging
from collections.abc import Iterable
from typing import Final

from callgate.screening.pins import Drift

_LOG: Final = logging.getLogger(__name__)
# Of one server.  One that makes up tools must not fill the log: of more than these each trace tells.
MAX_TOLD: Final = 64


class DriftLog:
    """What was told of each server.  One for a gate; servers are the gate's own."""

    def __init__(self) -> None:
        self._told: dict[str, set[str]] = {}

    def tell(self, server: str, drifts: Iterable[Drift]) -> None:
        """Log those that were not told yet; nothing of what the tool server wrote is among the words."""
        told = self._told.setdefault(server, set())
        for words in (each.words for each in drifts):
            if words in told or len(told) > MAX_TOLD:
                continue
            told.add(words)
            if len(told) > MAX_TOLD:
                _LOG.warning("tools of %s: more than %d differ from what was approved", server, MAX_TOLD)
            else:
                _LOG.warning("tools of %s: %s; it is hidden, and calls of it are refused", server, words)

    def forget(self, server: str) -> None:
        """Other definitions are approved now: what differs from them is told anew."""
        self._told.pop(server, None)
