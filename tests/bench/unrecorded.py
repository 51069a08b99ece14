"""A gate that puts nothing on record: what the log costs is measured against it."""

from typing import Literal

from callgate.audit import log
from callgate.audit.recording import Recording
from callgate.errors import Refusal
from callgate.evidence import Evidence, message_of
from callgate.identity.trust import Peer
from callgate.parts import Identified, Outbound, Recorded
from callgate.service import Service
from callgate.trace import AttributeValue, DecisionTrace
from callgate.wire.jsonrpc import ServerMessage, encode

_LEVEL: Literal["none"] = "none"


class _Unrecorded(Evidence):
    def identified(self, path: DecisionTrace, peer: Peer, found: Identified | Refusal) -> None:
        pass

    async def record(self, outbound: Outbound, path: DecisionTrace, now_ns: int) -> Recorded | Refusal:
        receipt = log.Receipt(log._SEAL, 0, path.decision_id)
        return Recorded(outbound, receipt, encode(message_of(outbound, path)), Recording(_LEVEL, now_ns))

    def close(self, path: DecisionTrace) -> None:
        pass

    def told(self, path: DecisionTrace) -> dict[str, AttributeValue]:
        return {}

    async def passing(self, recorded: Recorded, said: ServerMessage, message: bytes) -> Refusal | None:
        return None

    async def end(self, recorded: Recorded, path: DecisionTrace) -> None:
        pass


def take_the_record_away(service: Service) -> None:
    gateway = service._gateway
    gateway._evidence = _Unrecorded(gateway._parts)
