"""The path of one call: start reading here.

    accept → authenticate → read → identify → decide → inspect → (approve) → mint → record → forward → screen → respond

`Gateway.answer` is that line as code.  Each stage is a function whose output type the next one takes
(`RawRequest → Request → Identified → Granted → Inspected → Outbound → Recorded → Reply`), so leaving one out does not
type-check; each leaves one `StageRecord`, and a refusal of any stage is answered in one place.  `accept` and the
handshake stand in `callgate.service`, `screen` in `callgate.relay`, where the answer comes in.  `approve` leaves a
record only where a person has to agree.
"""

import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial

import trio

from callgate.approvals.model import Before
from callgate.approving import Agreed, Approving, Held, asked_of, let_through
from callgate.deciding import Deciding, refused_by
from callgate.errors import ANSWERS, Reason, Refusal, place_of
from callgate.evidence import Evidence
from callgate.identification import Identification
from callgate.identity.trust import Peer, X509Context
from callgate.identity.user import User
from callgate.inspection import inspect
from callgate.limits.admission import Slot
from callgate.net.connection import ClientLost, Connection
from callgate.parts import Granted, Identified, Inspected, Outbound, Parts, Recorded, Reply, Route
from callgate.policy.decide import decide
from callgate.refusals import (
    error_body,
    headers_of,
    is_of_screening,
    is_servers_fault,
    is_tool_error,
    may_be_kept,
    may_be_own_doing,
    refusal_status,
)
from callgate.relay import JSON, Relay
from callgate.telemetry import names
from callgate.tokens.claims import CannotMint, Issuer, Stamp
from callgate.tokens.mint import MintedToken, mint
from callgate.told import (
    by_shadow_rules,
    found_in_answer,
    found_in_arguments,
    token_claims,
    what_was_said,
)
from callgate.trace import AttributeValue, DecisionTrace, Finding, Outcome, Stage, StageRecord
from callgate.wire import mcp
from callgate.wire.http1 import RawRequest
from callgate.wire.jsonrpc import RpcRequest
from callgate.wire.mcp import Request
from callgate.wire.sse import encode_event

_LOG = logging.getLogger(__name__)
_ROUTE = "/{server}/mcp"


@dataclass(slots=True)
class Visit:
    """One accepted connection: what is known before its first request.

    `peer` is verified at the handshake, and verified again by the first request after the trust bundle changed.  `uid`:
    which user of this machine asks, if the kernel can tell.
    """

    accepted: StageRecord
    # The same for every request but the first, which alone carries what the handshake took.
    accepted_before: StageRecord
    peer: Peer | Refusal
    attributes: Mapping[str, AttributeValue]
    uid: int | None = None
    requests: int = 0


class Gateway:
    """Decides and forwards.  Holds nothing of any one call."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._evidence = Evidence(parts)
        self._identification = Identification(parts)
        self._deciding = Deciding(parts)
        self._now_ns = parts.clock.now_ns

    async def answer(self, visit: Visit, found: RawRequest | Refusal, connection: Connection) -> None:
        """Serve one request of `connection`; raises `ClientLost` where nobody is left to answer.

        Leaves exactly one trace, whatever happens.
        """
        visit.requests += 1
        path = self.begin(visit.accepted if visit.requests == 1 else visit.accepted_before)
        try:
            await self._conduct(visit, found, connection, path)
        except ClientLost as lost:
            self._note(path, Stage.RESPOND, self._now_ns(), Refusal(lost.reason))
            raise
        except trio.Cancelled:
            self._note(path, Stage.RESPOND, self._now_ns(), Refusal(Reason.GATE_SHUTTING_DOWN))
            raise
        except Exception as fault:  # noqa: BLE001  # the border of one call: no other caller may be disturbed
            # The type and the place alone: a message could hold what the caller sent.
            _LOG.error("a call failed inside the gate: %s", place_of(fault))
            if connection.streaming:
                raise ClientLost(Reason.INTERNAL) from None
            await self._refuse(Refusal(Reason.INTERNAL, place_of(fault)), None, connection, path)
        finally:
            self.finish(path)

    def begin(self, accepted: StageRecord, started_ns: int | None = None) -> DecisionTrace:
        """A new trace, with the connection's acceptance as its first step; it starts now unless said otherwise."""
        bits = self._parts.chance.getrandbits
        path = DecisionTrace(
            decision_id=self._parts.secret_bytes(16).hex(),
            trace_id=bits(128) or 1,
            server_span_id=bits(64) or 1,
            authorize_span_id=bits(64) or 1,
            mint_span_id=bits(64) or 1,
            client_span_id=bits(64) or 1,
            started_ns=self._now_ns() if started_ns is None else started_ns,
        )
        path.add(accepted)
        return path

    def finish(self, path: DecisionTrace) -> None:
        """Put the end of it on record, and hand the trace over to whoever looks at traces."""
        path.ended_ns = self._now_ns()
        self._evidence.close(path)
        self._parts.record(path)
        _remember_path(self._parts, path)

    def leave(self, visit: Visit) -> None:
        """The connection is over: a peer that was refused and never asked for anything leaves a trace all the same."""
        if visit.requests or isinstance(visit.peer, Peer):
            return
        path = self.begin(visit.accepted)
        self._note(path, Stage.AUTHENTICATE, self._now_ns(), visit.peer)
        self.finish(path)

    async def _conduct(  # noqa: PLR0911  # the path of a call: one way out for each stage
        self, visit: Visit, found: RawRequest | Refusal, connection: Connection, path: DecisionTrace
    ) -> None:
        peer = self._authenticate(visit, found, path)
        if isinstance(peer, Refusal):
            return await self._refuse(peer, None, connection, path)
        request = self._read(found, path)
        if isinstance(request, Refusal):
            return await self._refuse(request, None, connection, path)
        identified = await self._identify(peer, request, path)
        if isinstance(identified, Refusal):
            return await self._refuse(identified, request, connection, path)
        granted = await self._decide(identified, path)
        if isinstance(granted, Refusal):
            return await self._refuse(granted, request, connection, path)
        if mcp.is_absorbed(request):
            return await self._respond(Reply(202, (), b""), connection, path)
        try:
            inspected = await self._inspect(identified, granted, path)
            if isinstance(inspected, Refusal):
                return await self._refuse(inspected, request, connection, path)
            # From here on there are no arguments but those that may go in.
            request = inspected.identified.request
            again = partial(self._again, visit, identified.request)
            agreed = await self._approve(Held(granted, inspected), again, visit, connection, path)
            if isinstance(agreed, Refusal):
                return await self._refuse(agreed, request, connection, path)
            return await self._deliver(agreed, connection, path)
        finally:
            if granted.slot is not None:
                granted.slot.release(failed=None, now=self._parts.clock.now())

    async def _deliver(self, agreed: Agreed, connection: Connection, path: DecisionTrace) -> None:
        """The call goes to its tool server, with a token of its own."""
        request = agreed.inspected.identified.request
        try:
            outbound = self._mint(agreed.inspected, agreed.granted, agreed.slot, path)
            if isinstance(outbound, Refusal):
                return await self._refuse(outbound, request, connection, path)
            recorded = await self._record(outbound, path)
            if isinstance(recorded, Refusal):
                return await self._refuse(recorded, request, connection, path)
            return await self._forward(recorded, connection, path)
        finally:
            agreed.slot.release(failed=None, now=self._parts.clock.now())

    # Each stage: one question, one record.

    def _authenticate(self, visit: Visit, found: RawRequest | Refusal, path: DecisionTrace) -> Peer | Refusal:
        """Is the peer still who it was at the handshake, under the bundle of this moment?"""
        started = self._now_ns()
        if isinstance(visit.peer, Peer):
            visit.peer = self._identification.trusted(visit.peer, started / 1e9)
        attributes = visit.attributes
        if isinstance(visit.peer, Refusal) and isinstance(found, RawRequest):
            attributes = {**attributes, names.HTTP_REQUEST_METHOD: found.method, names.HTTP_ROUTE: _ROUTE}
        self._note(path, Stage.AUTHENTICATE, started, visit.peer, attributes)
        return visit.peer

    def _read(self, found: RawRequest | Refusal, path: DecisionTrace) -> Request | Refusal:
        """Is this one well-formed HTTP request with one well-formed MCP message, in exactly one reading?"""
        started = self._now_ns()
        if isinstance(found, Refusal):
            self._note(path, Stage.READ, started, found)
            return found
        request = self._refuse_origin(found) or mcp.read_request(found, self._parts.limits.request)
        attributes: dict[str, AttributeValue] = {
            names.HTTP_REQUEST_METHOD: found.method,
            names.HTTP_ROUTE: _ROUTE,
            names.HTTP_REQUEST_BODY_SIZE: len(found.body),
        }
        if isinstance(request, Request):
            attributes |= what_was_said(request)
        self._note(path, Stage.READ, started, request, attributes)
        return request

    def _refuse_origin(self, found: RawRequest) -> Refusal | None:
        """Streamable HTTP: "Servers MUST validate the Origin header"; an agent that is no browser sends none."""
        origin = found.headers.one("origin")
        allowed = origin is None or origin in self._parts.limits.allowed_origins
        return None if allowed else Refusal(Reason.HTTP_ORIGIN, (origin or "")[:100])

    async def _identify(self, peer: Peer, request: Request, path: DecisionTrace) -> Identified | Refusal:
        """Which server, method, tool, arguments; on whose behalf; does the session belong to the one who names it?"""
        started = self._now_ns()
        if request.trace is not None:
            identity = self._parts.identity()
            ours = identity is not None and identity.svid.id.trust_domain == peer.id.trust_domain
            path.join(request.trace, trusted=ours)
        user = await self._identification.user_of(peer, request, started / 1e9)
        found = user if isinstance(user, Refusal) else self._identification.identified(peer, request, user)
        self._evidence.identified(path, peer, found)
        attributes: dict[str, AttributeValue] = {names.SERVER: request.server}
        if isinstance(user, User):
            attributes |= {names.USER_ISSUER: user.issuer, names.USER_SUBJECT: user.subject}
        if request.purpose:
            attributes[names.DECLARED_PURPOSE] = request.purpose
        self._note(path, Stage.IDENTIFY, started, found, attributes)
        return found

    async def _decide(self, identified: Identified, path: DecisionTrace) -> Granted | Refusal:
        """Which grants and denials apply, and is there room for what they allow?"""
        started = self._now_ns()
        call = identified.call
        policy = self._parts.policy()
        self._parts.under(policy)
        target = self._parts.routes[call.server].target
        decision = decide(policy, call, for_scoped_list=target.list_scopes == "granted")
        found = await self._deciding.granted(policy, decision, identified)
        if isinstance(found, Refusal):
            self._evidence.refused(path, call, policy, is_kept=may_be_kept(found))
        attributes = {
            names.POLICY_DIGEST: decision.policy_digest,
            **by_shadow_rules(decision),
            **self._deciding.shadow_policy_on(call),
        }
        self._note(path, Stage.DECIDE, started, found, attributes, decision.findings)
        return found

    async def _inspect(self, identified: Identified, granted: Granted, path: DecisionTrace) -> Inspected | Refusal:
        """May these arguments go to this tool, as it is now?"""
        started = self._now_ns()
        found = await inspect(self._parts, granted.policy, identified, granted.permit)
        if isinstance(found, Refusal):
            self._evidence.refused(path, granted.permit.call, granted.policy, is_kept=may_be_kept(found))
        self._note(path, Stage.INSPECT, started, found, found_in_arguments(found))
        return found

    async def _approve(
        self,
        held: Held,
        again: Callable[[], Awaitable[Held | Refusal]],
        visit: Visit,
        connection: Connection,
        path: DecisionTrace,
    ) -> Agreed | Refusal:
        """Does a person have to agree, and has one?"""
        if held.granted.slot is not None:
            return Agreed(held.granted, held.inspected, held.granted.slot)
        if not asked_of(held.inspected):
            return let_through(self._parts, held)
        started = self._now_ns()
        approving = Approving(self._parts, connection, path, visit.uid, again)
        # What stands where nothing else is found: the gate itself is being stopped.
        found: object = Refusal(Reason.GATE_SHUTTING_DOWN)
        try:
            found = agreed = await approving.approved(held)
        except ClientLost as lost:
            found = Refusal(lost.reason)
            raise
        except Exception as fault:
            found = Refusal(Reason.INTERNAL, place_of(fault))
            raise
        finally:
            self._note(path, Stage.APPROVE, started, found, approving.attributes, tuple(approving.findings))
        if isinstance(agreed, Refusal):
            call = held.inspected.permit.call
            self._evidence.refused(path, call, held.granted.policy, is_kept=may_be_kept(agreed))
        return agreed

    async def _again(self, visit: Visit, request: Request) -> Held | Refusal:
        """Everything that was asked about a call, asked once more: who, on whose behalf, may it, may it as it is now?"""
        identified = await self._identified_again(visit, request)
        if isinstance(identified, Refusal):
            return identified
        policy = self._parts.policy()
        self._parts.under(policy)
        decision = decide(policy, identified.call, for_scoped_list=False)
        if decision.permit is None:
            refused = refused_by(decision)
            self._deciding.remember(decision, refused, identified.call)
            return refused
        inspected = await inspect(self._parts, policy, identified, decision.permit)
        return inspected if isinstance(inspected, Refusal) else Held(Granted(policy, decision.permit, None), inspected)

    async def _identified_again(self, visit: Visit, request: Request) -> Identified | Refusal:
        now = self._now_ns() / 1e9
        if isinstance(visit.peer, Peer):
            visit.peer = self._identification.trusted(visit.peer, now)
        if isinstance(visit.peer, Refusal):
            return visit.peer
        user = await self._identification.user_of(visit.peer, request, now)
        return user if isinstance(user, Refusal) else self._identification.identified(visit.peer, request, user)

    def _mint(self, inspected: Inspected, granted: Granted, slot: Slot, path: DecisionTrace) -> Outbound | Refusal:
        """Which credential does this one call carry?"""
        started = self._now_ns()
        identity = self._parts.identity()
        permit = inspected.permit
        found = self._minted(inspected, identity, path) if identity else Refusal(Reason.IDENTITY_UNAVAILABLE)
        if isinstance(found, Refusal):
            self._evidence.refused(path, permit.call, granted.policy)
            self._note(path, Stage.MINT, started, found)
            return found
        token, binding = found
        self._note(path, Stage.MINT, started, token, token_claims(token))
        return Outbound(inspected, token, binding, granted.policy, slot)

    def _minted(
        self, inspected: Inspected, identity: X509Context, path: DecisionTrace
    ) -> tuple[MintedToken, X509Context | None] | Refusal:
        permit = inspected.permit
        route = self._parts.routes[permit.call.server]
        binding = route.upstream.binding()
        message = inspected.identified.request.message
        stamp = Stamp(
            now=self._now_ns() / 1e9,
            jti=self._parts.secret_bytes(16),
            decision_id=path.decision_id,
            request_id=message.id if isinstance(message, RpcRequest) else None,
            client_leaf_sha256=binding.svid.leaf_sha256 if binding else None,
        )
        issuer = Issuer(self._parts.issuer_url, identity.svid.id, self._parts.key)
        try:
            token = mint(permit, issuer, route.target, stamp)
        except CannotMint as fault:
            return Refusal(Reason.MINT_FAILED, str(fault))
        return token, binding

    async def _record(self, outbound: Outbound, path: DecisionTrace) -> Recorded | Refusal:
        """Is the intent on disk?  No record, no call."""
        started = self._now_ns()
        recorded = await self._evidence.record(outbound, path, started)
        self._note(path, Stage.RECORD, started, recorded, self._evidence.told(path))
        return recorded

    async def _forward(self, recorded: Recorded, connection: Connection, path: DecisionTrace) -> None:
        """Send what was decided on, and pass back what the agent may see of the answer."""
        started = self._now_ns()
        outbound = recorded.outbound
        route = self._parts.routes[outbound.permit.call.server]
        relay = Relay(self._parts, recorded, self._evidence, connection, path)
        # What stands where nothing else is found: the gate itself is being stopped.
        found: Reply | Refusal | None = Refusal(Reason.GATE_SHUTTING_DOWN)
        try:
            found = await self._exchanged(relay, route, connection)
        except ClientLost as lost:
            found = Refusal(lost.reason)
            raise
        except Exception:
            found = Refusal(Reason.INTERNAL)
            raise
        finally:
            self._note_exchange(path, started, found, relay)
            await self._evidence.end(recorded, path)
            own_doing = may_be_own_doing(found)
            outbound.slot.release(failed=is_servers_fault(found), now=self._parts.clock.now(), own_doing=own_doing)
        if isinstance(found, Reply) and connection.streaming:
            # The agent has been told that it is being waited for: the answer is the stream's last event.
            await connection.stream_out(encode_event(found.body))
            await self._end_stream(None, outbound.identified.request, connection, path)
        elif isinstance(found, Reply):
            await self._respond(found, connection, path)
        elif relay.streaming:
            await self._end_stream(found, outbound.identified.request, connection, path)
        else:
            await self._refuse(found or Refusal(Reason.INTERNAL), outbound.identified.request, connection, path)

    def _note_exchange(self, path: DecisionTrace, started_ns: int, found: Reply | Refusal | None, relay: Relay) -> None:
        """How the exchange went, and what of the answer the agent may see."""
        told = found_in_answer(relay.screen)
        if isinstance(found, Refusal) and not is_of_screening(found):
            self._note(path, Stage.FORWARD, started_ns, found, {**relay.attributes, **told})
            return
        self._note(path, Stage.FORWARD, started_ns, None, relay.attributes)
        self._note(path, Stage.SCREEN, self._now_ns() - relay.screen.took_ns, found, told)

    async def _exchanged(self, relay: Relay, route: Route, connection: Connection) -> Reply | Refusal | None:
        if not connection.gone:
            with connection.call(route.total_s) as scope:
                found = await relay.exchange(route, scope)
            if not scope.cancelled_caught:
                return found
            if relay.answered:
                # Time ran out while waiting for the stream's end: an error now would be a second answer.
                return None
        if connection.gone:
            raise ClientLost(Reason.CLIENT_GONE)
        return Refusal(Reason.UPSTREAM_TIMEOUT)

    async def _respond(self, reply: Reply, connection: Connection, path: DecisionTrace) -> None:
        started = self._now_ns()
        await connection.reply(reply.status, reply.headers, reply.body)
        self._note(path, Stage.RESPOND, started, None, {names.HTTP_RESPONSE_STATUS_CODE: reply.status})

    async def _end_stream(
        self, failed: Refusal | None, request: Request, connection: Connection, path: DecisionTrace
    ) -> None:
        """End a stream that was begun; one that failed ends with the error as its last event."""
        started = self._now_ns()
        if failed is not None:
            await connection.stream_out(encode_event(error_body(failed, request, path)))
        try:
            await connection.end_stream()
        except ClientLost as lost:
            # Clients hang up on a stream once they have its answer (the official one does); they lack nothing then.
            if failed is not None or lost.reason is not Reason.CLIENT_GONE:
                raise
        self._note(path, Stage.RESPOND, started, None, {names.HTTP_RESPONSE_STATUS_CODE: 200})

    async def _refuse(
        self, refusal: Refusal, request: Request | None, connection: Connection, path: DecisionTrace
    ) -> None:
        """The one place that says no."""
        started = self._now_ns()
        answer = ANSWERS[refusal.reason]
        if answer.closes:
            connection.http.close_after_response()
        # A stream has begun with a status already.
        status = 200 if connection.streaming else refusal_status(refusal, request)
        headers = (JSON, *headers_of(status))
        as_result = is_tool_error(refusal, request)
        await self._evidence.refuse(path, request, status, None if as_result else answer.rpc_code)
        body = error_body(refusal, request, path)
        if connection.streaming:
            await connection.stream_out(encode_event(body))
            await connection.end_stream()
        else:
            await connection.reply(status, headers, body)
        attributes: dict[str, AttributeValue] = {
            names.HTTP_RESPONSE_STATUS_CODE: status,
            **({} if as_result else {names.RPC_RESPONSE_STATUS_CODE: str(answer.rpc_code)}),
            **self._evidence.told(path),
        }
        self._note(path, Stage.RESPOND, started, None, attributes)

    def _note(
        self,
        path: DecisionTrace,
        stage: Stage,
        started_ns: int,
        found: object,
        attributes: Mapping[str, AttributeValue] | None = None,
        findings: tuple[Finding, ...] = (),
    ) -> None:
        outcome, reason, detail = Outcome.OK, "", ""
        if isinstance(found, Refusal):
            theirs = stage in {Stage.FORWARD, Stage.RESPOND}
            outcome = Outcome.FAILED if theirs else Outcome.REFUSED
            reason, detail = found.reason, found.detail
        path.add(
            StageRecord(stage, outcome, started_ns, self._now_ns(), reason, detail, attributes or {}, findings),
        )


def _remember_path(parts: Parts, path: DecisionTrace) -> None:
    """For the people who are asked about a later call of the same session."""
    session, tool = path.evidence.get("session"), path.attribute(names.GEN_AI_TOOL_NAME)
    if parts.desk is not None and tool and isinstance(session, str):
        server = str(path.attribute(names.SERVER))
        parts.past.note(session, Before(path.started_ns / 1e9, server, str(tool), path.decision, path.reason))
