"""TLS handshakes under way: bounded in number and time, and the newest goes before the oldest.

Whoever has not shown a certificate yet costs nothing to be: connections that only stand there must not keep agents
out.  When there are too many handshakes the oldest gives way, because an honest one takes milliseconds.
"""

import trio

from callgate.errors import Reason, Refusal
from callgate.net.tls_stream import TlsStream

# What is left to a handshake once the gate is stopping.
HURRY_S = 1.0


class Handshakes:
    """`most`: how many at a time.  `patience_s`: how long each may take."""

    def __init__(self, most: int, patience_s: float) -> None:
        self._most = most
        self._patience_s = patience_s
        # In the order of their beginning.
        self._under_way: dict[trio.CancelScope, None] = {}

    async def shake(self, stream: TlsStream) -> Refusal | None:
        """Shake hands on an accepted connection.  A refused one is closed, and has been told why where TLS can."""
        scope = trio.CancelScope(deadline=trio.current_time() + self._patience_s)
        refusal: Refusal | None = None
        try:
            self._begin(scope)
            with scope:
                refusal = await stream.handshake()
                if refusal is not None:
                    await stream.aclose()
        finally:
            given_way = scope not in self._under_way
            self._under_way.pop(scope, None)
        if not scope.cancelled_caught:
            return refusal
        stream.close_now()
        detail = "gave way to newer ones" if given_way else f"not done within {self._patience_s:g} s"
        return Refusal(Reason.TLS_HANDSHAKE_TIMEOUT, detail)

    def hurry(self) -> None:
        """The gate is stopping: what is under way has `HURRY_S` left."""
        for scope in self._under_way:
            scope.deadline = min(scope.deadline, trio.current_time() + HURRY_S)

    def _begin(self, scope: trio.CancelScope) -> None:
        self._under_way[scope] = None
        if len(self._under_way) > self._most:
            oldest = next(iter(self._under_way))
            del self._under_way[oldest]
            oldest.cancel()
