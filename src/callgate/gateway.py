"""The path of one call: start reading here.

    accept → authenticate → read → identify → decide → inspect → mint → record → forward → screen → respond

`Gateway.answer` is that line as code.  Each stage is a function whose output type the next one takes
(`RawRequest → Request → Identified → Granted → Inspected → Outbound → Recorded → Reply`), so leaving one out does not
type-check; each leaves one `StageRecord`, and a refusal of any stage is answered in one place.  `accept` and the
handshake stand in `callgate.service`, `screen` in `callgate.relay`, where the answer comes in.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import trio

from callgate.errors import ANSWERS, Reason, Refusal, place_of
from callgate.evidence import Evidence
from callgate.identity.trust import Peer, X509Context, still_trusted
from callgate.identity.user import User
from callgate.inspection import inspect
from callgate.limits.admission import Slot
from callgate.net.connection import ClientLost, Connection
from callgate.parts import Granted, Identified, Inspected, Outbound, Parts, Recorded, Reply, Route
from callgate.policy.call import Call
from callgate.policy.compile import Policy
from callgate.policy.decide import Decision, DecisionOutcome, decide
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
    by_shadow_policy,
    by_shadow_rules,
    found_in_answer,
    found_in_arguments,
    token_claims,
    what_was_said,
)
from callgate.trace import AttributeValue, DecisionTrace, Finding, Outcome, Stage, StageRecord
from callgate.users.access_token import bearer_token
from callgate.wire import mcp
from callgate.wire.http1 import RawRequest
from callgate.wire.jsonrpc import RpcRequest
from callgate.wire.mcp import Request
from callgate.wire.session import NONCE_BYTES, Session
from callgate.wire.sse import encode_event

_LOG = logging.getLogger(__name__)
_ROUTE = "/{server}/mcp"
_ALLOWED: Mapping[str, object] = MappingProxyType({"decision": "allow"})


@dataclass(slots=True)
class Visit:
    """One accepted connection: what is known before its first request.

    `peer` is verified at the handshake, and verified again by the first request after the trust bundle changed.
    """

    accepted: StageRecord
    # The same for every request but the first, which alone carries what the handshake took.
    accepted_before: StageRecord
    peer: Peer | Refusal
    attributes: Mapping[str, AttributeValue]
    requests: int = 0


class Gateway:
    """Decides and forwards.  Holds nothing of any one call."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._evidence = Evidence(parts)
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
        if granted.slot is None:
            return await self._respond(Reply(202, (), b""), connection, path)
        try:
            inspected = await self._inspect(identified, granted, path)
            if isinstance(inspected, Refusal):
                return await self._refuse(inspected, request, connection, path)
            # From here on there are no arguments but those that may go in.
            request = inspected.identified.request
            outbound = self._mint(inspected, granted, granted.slot, path)
            if isinstance(outbound, Refusal):
                return await self._refuse(outbound, request, connection, path)
            recorded = await self._record(outbound, path)
            if isinstance(recorded, Refusal):
                return await self._refuse(recorded, request, connection, path)
            return await self._forward(recorded, connection, path)
        finally:
            granted.slot.release(failed=None, now=self._parts.clock.now())

    # Each stage: one question, one record.

    def _authenticate(self, visit: Visit, found: RawRequest | Refusal, path: DecisionTrace) -> Peer | Refusal:
        """Is the peer still who it was at the handshake, under the bundle of this moment?"""
        started = self._now_ns()
        identity = self._parts.identity()
        if isinstance(visit.peer, Peer):
            visit.peer = (
                Refusal(Reason.IDENTITY_UNAVAILABLE)
                if identity is None
                else still_trusted(visit.peer, identity.bundles, started / 1e9)
            )
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
        user = await self._user_of(peer, request, started / 1e9)
        found = user if isinstance(user, Refusal) else self._identified(peer, request, user)
        self._evidence.identified(path, peer, found)
        attributes: dict[str, AttributeValue] = {names.SERVER: request.server}
        if isinstance(user, User):
            attributes |= {names.USER_ISSUER: user.issuer, names.USER_SUBJECT: user.subject}
        if request.purpose:
            attributes[names.DECLARED_PURPOSE] = request.purpose
        self._note(path, Stage.IDENTIFY, started, found, attributes)
        return found

    async def _user_of(self, peer: Peer, request: Request, now: float) -> User | Refusal | None:
        """Whose token came along; a token that is no good is a refusal, and never nobody's."""
        if self._parts.verify_user is None:
            return None
        token = bearer_token(request.authorization)
        if token is None or isinstance(token, Refusal):
            return token
        return await self._parts.verify_user(token, peer.leaf_sha256, now)

    def _identified(self, peer: Peer, request: Request, user: User | None) -> Identified | Refusal:
        now = self._parts.clock.now()
        # The session first: whether there is such a server is not to be read off a handle that was made up.
        session = self._session_of(peer, request, now)
        if isinstance(session, Refusal):
            return session
        if request.server not in self._parts.routes:
            return Refusal(Reason.SERVER_UNKNOWN, told_as=Reason.NO_GRANT)
        call = Call(
            caller=peer.id,
            server=request.server,
            method=request.message.method,
            tool=request.tool,
            arguments=request.arguments,
            now=now,
            svid_not_before=peer.not_before,
            svid_not_after=peer.not_after,
            revision=request.revision,
            size_bytes=request.size_bytes,
            purpose=request.purpose,
            user=user,
            annotations=self._parts.annotations.of(request.server, request.tool),
            history=self._parts.history.of(peer.id),
        )
        return Identified(request, call, session)

    def _session_of(self, peer: Peer, request: Request, now: float) -> Session | Refusal | None:
        if request.session_handle is None:
            return None
        max_age_s = self._parts.limits.session_max_age_s
        return self._parts.sealer.open(request.session_handle, peer.id, request.server, now, max_age_s)

    async def _decide(self, identified: Identified, path: DecisionTrace) -> Granted | Refusal:
        """Which grants and denials apply, and is there room for what they allow?"""
        started = self._now_ns()
        call = identified.call
        policy = self._parts.policy()
        self._parts.under(policy)
        target = self._parts.routes[call.server].target
        decision = decide(policy, call, for_scoped_list=target.list_scopes == "granted")
        found = self._granted(policy, decision, identified)
        if decision.permit is not None and isinstance(found, Refusal) and found.reason is Reason.DRY_RUN:
            # What would be refused for its arguments is not told to be allowed.
            tried = await inspect(self._parts, policy, identified, decision.permit)
            found = tried if isinstance(tried, Refusal) else found
        self._remember(decision, found, call)
        if isinstance(found, Refusal):
            self._evidence.refused(path, call, policy, is_kept=may_be_kept(found))
        attributes = {
            names.POLICY_DIGEST: decision.policy_digest,
            **by_shadow_rules(decision),
            **self._shadow_policy_on(call),
        }
        self._note(path, Stage.DECIDE, started, found, attributes, decision.findings)
        return found

    def _granted(self, policy: Policy, decision: Decision, identified: Identified) -> Granted | Refusal:
        permit = decision.permit
        if permit is None:
            granted = any(finding.matched and finding.kind == "grant" for finding in decision.findings)
            # Whom no grant names is not told either that a denial does: that would say which tools there are.
            return Refusal(decision.reason or Reason.NO_GRANT, told_as=None if granted else Reason.NO_GRANT)
        if identified.request.is_dry_run:
            return Refusal(Reason.DRY_RUN, public=self._allowed(permit.call))
        if mcp.is_absorbed(identified.request):
            # It costs its sender nothing, and the gate a record.
            return self._parts.audit.room_for(str(permit.call.caller)) or Granted(policy, permit, None)
        slot = self._parts.admission.admit(permit.call, permit.limits, permit.call.now)
        return slot if isinstance(slot, Refusal) else Granted(policy, permit, slot)

    def _allowed(self, call: Call) -> Mapping[str, object]:
        """What a dry run is told; that of a legacy session also gets one, of which no tool server knows."""
        if call.method != "initialize":
            return _ALLOWED
        nonce = self._parts.secret_bytes(NONCE_BYTES)
        return {**_ALLOWED, "session": self._parts.sealer.seal(None, call.caller, call.server, nonce, call.now)}

    def _remember(self, decision: Decision, found: Granted | Refusal, call: Call) -> None:
        """For conditions on what was done before.  A call counts as soon as it is let through, however it ends."""
        if call.tool is None:
            return
        # A denial counts even where it was only asked for: nobody finds out for free which arguments pass.
        if isinstance(found, Granted):
            self._parts.history.record_call(call.caller, call.server, call.tool, call.now)
        elif decision.outcome is DecisionOutcome.DENY and decision.is_remembered:
            self._parts.history.record_denial(call.caller, call.server, call.tool, call.now)

    def _shadow_policy_on(self, call: Call) -> dict[str, AttributeValue]:
        """What a second policy would have decided; it is asked, and never obeyed."""
        policy = self._parts.shadow_policy()
        if policy is None:
            return {}
        try:
            return by_shadow_policy(decide(policy, call, for_scoped_list=False))
        except Exception as fault:  # noqa: BLE001  # what is only tried out must not fail a call
            _LOG.error("the policy in shadow failed: %s", place_of(fault))
            return {}

    async def _inspect(self, identified: Identified, granted: Granted, path: DecisionTrace) -> Inspected | Refusal:
        """May these arguments go to this tool, as it is now?"""
        started = self._now_ns()
        found = await inspect(self._parts, granted.policy, identified, granted.permit)
        if isinstance(found, Refusal):
            self._evidence.refused(path, granted.permit.call, granted.policy, is_kept=may_be_kept(found))
        self._note(path, Stage.INSPECT, started, found, found_in_arguments(found))
        return found

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
        if isinstance(found, Reply):
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
        status = refusal_status(refusal, request)
        headers = (JSON, *headers_of(status))
        as_result = is_tool_error(refusal, request)
        await self._evidence.refuse(path, request, status, None if as_result else answer.rpc_code)
        await connection.reply(status, headers, error_body(refusal, request, path))
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
