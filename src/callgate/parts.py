"""What the gate is made of, and the values that pass between its stages."""

import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

import trio

from callgate.approvals.desk import Desk
from callgate.approvals.past import Past
from callgate.audit.activity import Activity
from callgate.audit.content import ContentStore
from callgate.audit.log import AuditLog, Receipt
from callgate.audit.recording import Recording
from callgate.drift_log import DriftLog
from callgate.errors import Refusal
from callgate.identity.trust import X509Context
from callgate.identity.user import User
from callgate.limits.admission import Admission, Slot
from callgate.net.upstream import Upstream
from callgate.policy.annotations import Annotations
from callgate.policy.call import Call
from callgate.policy.compile import Policy
from callgate.policy.decide import Permit
from callgate.policy.history import History
from callgate.policy.record_level import RecordLevel
from callgate.screening.definitions import Definition, Definitions
from callgate.screening.mask import Tally
from callgate.screening.pins import Lock
from callgate.tokens.claims import TokenTarget
from callgate.tokens.keys import SigningKey
from callgate.tokens.mint import MintedToken
from callgate.trace import DecisionTrace
from callgate.wire.json_strict import JsonLimits
from callgate.wire.mcp import Request
from callgate.wire.session import Session, SessionSealer

# What most messages are shorter than, and what takes some 20 ms to look through where it is made to take long (every
# character a find, or text that lies); what is longer is looked at beside the loop, where the others are served.
INLINE_BYTES: Final = 4 * 1024
# Verifies a user's token: (token, SHA-256 of the caller's leaf certificate, Unix seconds).
VerifyUser = Callable[[str, bytes, float], Awaitable[User | Refusal]]


@dataclass(frozen=True, slots=True)
class Clock:
    """Where time comes from: Unix nanoseconds."""

    now_ns: Callable[[], int]

    def now(self) -> float:
        """Unix seconds."""
        return self.now_ns() / 1e9


@dataclass(frozen=True, slots=True)
class Route:
    """One tool server as the gate reaches it, and how long a call to it may take, in seconds.

    `record`: how much of a call goes on record where no grant says.  `lock`: the tools that were approved; None where
    any may be called.
    """

    upstream: Upstream
    target: TokenTarget
    first_byte_s: float
    total_s: float
    record: RecordLevel
    lock: Callable[[], Lock | None]


@dataclass(frozen=True, slots=True)
class GateLimits:
    """Sizes in bytes of what is read, the age at which a legacy session ends, and the browser origins let in."""

    request: JsonLimits
    answer: JsonLimits
    max_event_bytes: int = 1024 * 1024
    session_max_age_s: float = 24 * 3600.0
    allowed_origins: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Parts:
    """What the gate is made of.

    `identity`, `policy` and `shadow_policy` are asked anew by every request.  `verify_user` is None where no issuers of
    users' tokens are configured: Authorization is then read by nobody.  `content` gives None where nobody could read what is
    recorded in full.  `under` is told which policy is about to decide.  `listed` sees to it that the definitions of a
    server's tools are known and fresh, and says why where it cannot.  `pseudonym_key`: 32 bytes, a secret.  `screeners`: how
    many threads look through what is long.  `desk` is None where nobody can be asked, `people_url` is where people answer,
    and `waiting` is told of each call that waits for them: its path, the approval's id, since when and until when in Unix
    nanoseconds.
    """

    issuer_url: str
    key: SigningKey
    routes: Mapping[str, Route]
    identity: Callable[[], X509Context | None]
    policy: Callable[[], Policy]
    shadow_policy: Callable[[], Policy | None]
    verify_user: VerifyUser | None
    history: History
    annotations: Annotations
    definitions: Definitions
    drifts: DriftLog
    listed: Callable[[str], Awaitable[Refusal | None]]
    pseudonym_key: bytes
    screeners: trio.CapacityLimiter
    desk: Desk | None
    people_url: Callable[[], str]
    past: Past
    waiting: Callable[[DecisionTrace, str, int, int], None]
    admission: Admission
    sealer: SessionSealer
    audit: AuditLog
    activity: Activity
    content: Callable[[], ContentStore | None]
    under: Callable[[Policy], None]
    record: Callable[[DecisionTrace], None]
    clock: Clock
    limits: GateLimits
    # Seeded from the system's entropy once; for span ids.  Identifiers that must not be guessed use `secret_bytes`.
    chance: random.Random
    secret_bytes: Callable[[int], bytes]


@dataclass(frozen=True, slots=True)
class Identified:
    """What a request asks for: the call to decide on, and the session it belongs to (legacy revisions only)."""

    request: Request
    call: Call
    session: Session | None


@dataclass(frozen=True, slots=True)
class Granted:
    """A permit, and the place at its tool server that the call holds until the exchange is over.

    `policy` is the one that decided: what of the answer depends on a policy goes by the same.  No `slot`: the message
    ends at the gate, or a person may have to agree first.
    """

    policy: Policy
    permit: Permit
    slot: Slot | None


@dataclass(frozen=True, slots=True)
class Inspected:
    """A call that may go in: as it was decided on, but for what was masked in its arguments.

    `definition`: what the tool was when its arguments were held against it; None where that is not known, or was not
    asked for.  `key`: what this workload's pseudonyms are made with.  `found`: what was found in the arguments.
    """

    identified: Identified
    permit: Permit
    definition: Definition | None
    key: bytes
    found: Tally


@dataclass(frozen=True, slots=True)
class Outbound:
    """What is sent to the tool server for one permit: our own serialisation of what was decided on."""

    inspected: Inspected
    token: MintedToken
    identity: X509Context | None
    policy: Policy
    slot: Slot

    @property
    def identified(self) -> Identified:
        """What is asked for, as it goes to the tool server."""
        return self.inspected.identified

    @property
    def permit(self) -> Permit:
        """What allows it."""
        return self.inspected.permit


@dataclass(frozen=True, slots=True)
class Recorded:
    """A call whose intent is durable: what unlocks forwarding, beside the permit.

    `body`: the message as it goes to the tool server.  `recording` takes what comes back, and `objects` are the hashes
    of what of it was put away.
    """

    outbound: Outbound
    receipt: Receipt
    body: bytes
    recording: Recording
    objects: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Reply:
    """A complete answer to the agent."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes
