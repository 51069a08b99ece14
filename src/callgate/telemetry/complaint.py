"""One log line about what does not reach the collector, instead of one for each attempt."""

import logging
import time

from callgate.telemetry.visible import without_credentials

COMPLAINT_MAX_CHARS = 300
COMPLAINT_EVERY_S = 60.0

_LOG = logging.getLogger(__name__)


class Complaint:
    """At most one log line in `every_s` seconds."""

    def __init__(self, what: str, every_s: float = COMPLAINT_EVERY_S) -> None:
        self._what = what
        self._every_s = every_s
        self._said_at: float | None = None

    def say(self, why: str, lost: str = "") -> None:
        """`why`: in the words of a library or of the collector; `lost`: how much is gone, for people."""
        now = time.monotonic()
        if self._said_at is not None and now - self._said_at < self._every_s:
            return
        self._said_at = now
        shown = without_credentials(why, COMPLAINT_MAX_CHARS) or "no reason given"
        _LOG.warning("%s do not reach the collector%s: %s", self._what, lost, shown)
