"""What is asked for: one request, and all that a policy may know of it."""

from dataclasses import dataclass

from callgate.identity.spiffe_id import SpiffeId
from callgate.identity.user import User
from callgate.policy.history import WorkloadHistory
from callgate.wire.json_strict import JsonObject


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request.

    `tool` and `arguments` are there for `tools/call` alone; arguments that were left out are {}.  `now` is the moment
    of the decision, and `svid_not_before` and `svid_not_after` bound the caller's SVID, in Unix seconds.  `revision`
    is the MCP revision, `size_bytes` that of the request's body.  `purpose` is what the agent declared, which proves
    nothing; "" where it declared none.  `user` is None where the request came with no user's token.  `annotations` are
    the tool's own as its server last listed it, None while no list was seen.  `history` is what this workload did
    before; without it, a condition that asks for it fails.
    """

    caller: SpiffeId
    server: str
    method: str
    tool: str | None = None
    arguments: JsonObject | None = None
    now: float
    svid_not_before: float = 0.0
    svid_not_after: float = 0.0
    revision: str = ""
    size_bytes: int = 0
    purpose: str = ""
    user: User | None = None
    annotations: JsonObject | None = None
    history: WorkloadHistory | None = None
