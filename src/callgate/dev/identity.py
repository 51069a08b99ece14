"""What a workload asks the Workload API for when it starts."""

import trio

from callgate.errors import GatewayError
from callgate.identity.source import X509Source
from callgate.identity.trust import X509Context

PATIENCE_S = 30.0


class NoIdentity(GatewayError):  # noqa: N818  # says what there is not
    """The Workload API gave no SVID; the message says why."""


async def workload_identity(endpoint: str | None) -> X509Context:
    """The SVID and trust bundles of this moment; None stands for SPIFFE_ENDPOINT_SOCKET.  Raises NoIdentity."""
    source = X509Source(endpoint)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(source.run)
        with trio.move_on_after(PATIENCE_S):
            await source.wait_ready()
        found, problem = source.current, source.problem
        nursery.cancel_scope.cancel()
    if found is None:
        raise NoIdentity(problem or f"no SVID within {PATIENCE_S:g} s")
    return found
