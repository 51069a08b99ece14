"""approve: does a person have to agree, and has one?

The call waits, and its agent hears that it does.  Once somebody has agreed, everything is asked anew: an approval is for
what was looked at, and lets nothing through that has become another call since.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

import trio

from callgate.approvals.desk import Desk
from callgate.approvals.model import Ask, Binding, Request, State, Verdict, keys_of
from callgate.approvals.on_trace import attributes_of, findings_of
from callgate.approvals.store import StoreFault
from callgate.errors import Reason, Refusal
from callgate.limits.admission import Slot
from callgate.net.connection import ClientLost, Connection
from callgate.parts import Granted, Inspected, Parts
from callgate.policy.approval import Approval
from callgate.relay import EVENTS
from callgate.tokens.claims import arguments_digest
from callgate.trace import AttributeValue, DecisionTrace, Finding
from callgate.wire.json_strict import JsonObject, JsonValue
from callgate.wire.jsonrpc import RpcNotification, encode
from callgate.wire.sse import COMMENT, encode_event

# Clients on httpx that set nothing else give up an answer that is silent for 5 s.  Each call has a pace of its own between
# these, so that a thousand of them do not all speak at once.
_BEAT_LEAST_S: Final = 3.0
_BEAT_MOST_S: Final = 4.0
# How often one call is asked for anew, as when the policy changes again and again.
_MAX_ROUNDS: Final = 8
# A call that comes back sooner finds nothing new: people take longer.
_COME_BACK_MS: Final = 5_000
# "The progress value MUST increase with each notification" (MCP, basic/utilities/progress): the tool server's own begins
# at 0 or more, and whatever is above this goes on from here.
_PROGRESS: Final = 1e-6
_WAITING: Final = "waiting for a person to agree to this call"


@dataclass(frozen=True, slots=True)
class Held:
    """A call that was decided on and inspected."""

    granted: Granted
    inspected: Inspected


@dataclass(frozen=True, slots=True)
class Agreed:
    """A call to which everybody has agreed who must, and its place at the tool server."""

    granted: Granted
    inspected: Inspected
    slot: Slot


class Approving:
    """Lives for one call; `attributes` and `findings` say afterwards what came of it, for its trace."""

    def __init__(
        self,
        parts: Parts,
        connection: Connection,
        path: DecisionTrace,
        uid: int | None,
        again: Callable[[], Awaitable[Held | Refusal]],
    ) -> None:
        """`uid`: the user of this machine who asks, if any.  `again` asks everything about the call anew."""
        self._parts = parts
        self._connection = connection
        self._path = path
        self._uid = uid
        self._again = again
        self._beats = 0
        self._pace_s = parts.chance.uniform(_BEAT_LEAST_S, _BEAT_MOST_S)
        self._token: JsonValue = None
        self._waited_s = 0.0
        self.attributes: dict[str, AttributeValue] = {}
        self.findings: tuple[Finding, ...] = ()

    async def approved(self, held: Held) -> Agreed | Refusal:
        """The call with a place at its tool server, once those have agreed who must.

        Raises ClientLost where the agent goes away meanwhile; what it asked for stands.
        """
        desk = self._parts.desk
        if desk is None:
            return Refusal(Reason.APPROVALS_UNAVAILABLE, "callgate.yaml has no 'approvals'")
        self._token = held.inspected.identified.request.meta.get("progressToken")
        try:
            return await self._asked(desk, held)
        except StoreFault as fault:
            return Refusal(Reason.APPROVALS_UNAVAILABLE, str(fault))

    async def _asked(self, desk: Desk, held: Held) -> Agreed | Refusal:
        ends = trio.current_time() + min(each.waits_s for each in asked_of(held.inspected))
        for _ in range(_MAX_ROUNDS):
            ask = self._ask(held)
            request = ask if isinstance(ask, Refusal) else await desk.ask(ask)
            if isinstance(request, Refusal):
                return request
            if request.state is State.WAITING:
                request = await self._waited(desk, request, held, ends)
                # Whatever was asked before is asked again: somebody took a while to think.
                anew = await self._again()
                if isinstance(anew, Refusal):
                    return anew
                held = anew
            self._found(request)
            done = await self._done(desk, request, held)
            if done is not None:
                return done
        return Refusal(Reason.APPROVAL_REQUIRED, "what was agreed to is no longer what is asked for")

    async def _done(self, desk: Desk, request: Request, held: Held) -> Agreed | Refusal | None:
        """What came of it for this call; None where it has to be asked for anew."""
        if not asked_of(held.inspected):
            return let_through(self._parts, held)
        match request.state:
            case State.DENIED:
                return self._denied(request)
            case State.WAITING | State.EXPIRED:
                return self._not_yet(request)
            case State.APPROVED:
                return await self._used(desk, request, held)
            case State.USED | State.VOID:
                # Another call was faster, or what was asked for is no more.
                return None

    async def _used(self, desk: Desk, request: Request, held: Held) -> Agreed | Refusal | None:
        """The call with its place, the approval used; None where it is for another call, or somebody was faster."""
        ask = self._ask(held)
        if isinstance(ask, Refusal):
            return ask
        if request.key not in keys_of(ask.binding, ask.arguments, ask.approvals):
            return None
        if self._connection.gone:
            # Nobody would hear of it, and nothing is sent for nobody: the approval stays for the call's next try.
            raise ClientLost(Reason.CLIENT_GONE)
        placed = admitted(self._parts, held)
        if isinstance(placed, Refusal):
            return placed
        used = None
        try:
            used = await desk.use(request.id, self._path.decision_id, f"{self._path.trace_id:032x}")
        finally:
            if used is None:
                placed.slot.release(failed=None, now=self._parts.clock.now())
        if used is None:
            return None
        counted(self._parts, placed)
        by = [vote.person.name for vote in used.votes if vote.verdict is Verdict.APPROVE]
        self._path.evidence["approval"] = {"id": used.id, "by": by, "use": used.used}
        self._found(used, is_repeat=used.used > 1)
        return placed

    async def _waited(self, desk: Desk, request: Request, held: Held, ends: float) -> Request:
        """The request once somebody answered, or as it is when time is up; the agent hears that it is waited for."""
        call = held.inspected.permit.call
        # A certificate that has ended proves nothing any more, however long the call might wait.
        left_s = min(ends - trio.current_time(), call.svid_not_after - self._parts.clock.now())
        if left_s <= 0:
            return request
        started = self._parts.clock.now_ns()
        self._parts.waiting(self._path, request.id, started, int(request.deadline.ends * 1e9))
        try:
            with self._connection.call(left_s):
                await self._beat()
                return await desk.wait(request.id, self._beat, self._pace_s)
        finally:
            self._waited_s += max(0.0, (self._parts.clock.now_ns() - started) / 1e9)
            self._found(request)
        if self._connection.gone:
            raise ClientLost(Reason.CLIENT_GONE)
        # An answer that came at the last moment is one.
        return await desk.opened(request.id, None) or request

    async def _beat(self) -> None:
        """Tell the agent that the gate is at it: progress where it asked for that, and else what no client sees."""
        connection = self._connection
        if not connection.streaming:
            await connection.start_stream(200, EVENTS)
        self._beats += 1
        if self._token is None:
            await connection.stream_out(COMMENT)
            return
        params: JsonObject = {"progressToken": self._token, "progress": self._beats * _PROGRESS, "message": _WAITING}
        await connection.stream_out(encode_event(encode(RpcNotification("notifications/progress", params))))

    def _not_yet(self, request: Request) -> Refusal:
        """Nobody answered in time: who asked comes back."""
        told: dict[str, object] = {
            "approval": request.id,
            "approval_url": f"{self._parts.people_url()}/approvals/r/{request.id}",
            "expires_at": int(request.deadline.ends),
            "retry_after_ms": _COME_BACK_MS,
        }
        return Refusal(Reason.APPROVAL_REQUIRED, f"request {request.id}", public=told)

    def _denied(self, request: Request) -> Refusal:
        denial = request.denial
        said = denial.reason if denial is not None else ""
        return Refusal(Reason.APPROVAL_DENIED, f"request {request.id}", public={"approval": request.id, "said": said})

    def _found(self, request: Request, *, is_repeat: bool = False) -> None:
        """What the trace tells: names of people are in the log alone."""
        self._path.evidence.setdefault("approval", {"id": request.id})
        self.attributes = attributes_of(request, self._waited_s, is_repeat=is_repeat)
        self.findings = findings_of(request)

    def _ask(self, held: Held) -> Ask | Refusal:
        """What people are shown, and what their answer is for."""
        inspected, path = held.inspected, self._path
        call = inspected.permit.call
        try:
            arguments = arguments_digest(call).hex()
        except ValueError:
            return Refusal(Reason.ARGUMENTS_DENIED, "they have no canonical form that a person could agree to")
        definition = inspected.definition or self._parts.definitions.of(call.server, call.tool)
        user = (call.user.issuer, call.user.subject) if call.user else ("", "")
        session = str(path.evidence.get("session", ""))
        approvals = asked_of(inspected)
        return Ask(
            binding=Binding(
                caller=str(call.caller),
                server=call.server,
                tool=call.tool or "",
                arguments=arguments,
                definition=definition.digest if definition else "",
                policy=held.granted.policy.digest,
                user=user,
                scopes=inspected.permit.scopes,
            ),
            arguments=call.arguments or {},
            approvals=approvals,
            owners=held.granted.policy.owners_of(call.caller),
            definition=definition.text.decode() if definition else "",
            why=tuple(_why(approval) for approval in approvals),
            found=_said_of(inspected),
            before=self._parts.past.of(session),
            user=f"{user[1]} ({user[0]})" if call.user else "",
            purpose=call.purpose,
            session=session,
            decision=path.decision_id,
            trace=f"{path.trace_id:032x}",
            svid=(call.svid_not_before, call.svid_not_after),
            uid=self._uid,
            has_digests=(inspected.permit.record or self._parts.routes[call.server].record) != "none",
        )


def asked_of(inspected: Inspected) -> tuple[Approval, ...]:
    """Who has to agree to this call: what its grants say, and some of them only where something in it is held."""
    held = bool(inspected.found.held)
    return tuple(approval for approval in inspected.permit.approvals if held or not approval.only_held)


def let_through(parts: Parts, held: Held) -> Agreed | Refusal:
    """The call that nobody has to agree to, with a place at its tool server."""
    placed = admitted(parts, held)
    if isinstance(placed, Agreed):
        counted(parts, placed)
    return placed


def admitted(parts: Parts, held: Held) -> Agreed | Refusal:
    """The call with a place at its tool server."""
    permit = held.inspected.permit
    slot = parts.admission.admit(permit.call, permit.limits, parts.clock.now())
    return slot if isinstance(slot, Refusal) else Agreed(held.granted, held.inspected, slot)


def counted(parts: Parts, agreed: Agreed) -> None:
    """It is let through: from now on it is part of what the workload did."""
    call = agreed.inspected.permit.call
    if call.tool is not None:
        parts.history.record_call(call.caller, call.server, call.tool, call.now)


def _why(approval: Approval) -> str:
    """One sentence for people."""
    who = [*(f"group {group}" for group in sorted(approval.groups)), *sorted(approval.people)]
    people = "one" if approval.needed == 1 else str(approval.needed)
    when = ", because screening found what has to be looked at" if approval.only_held else ""
    return f"grant {approval.rule} wants {people} of {', '.join(who)} to agree{when}"


def _said_of(inspected: Inspected) -> tuple[str, ...]:
    tally = inspected.found
    masked = tuple(f"{name} was masked, {count} times" for name, count in sorted(tally.counts.items()))
    return (*(f"{name} stands in the arguments" for name in sorted(set(tally.held))), *masked)
