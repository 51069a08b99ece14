"""One message that the gate sends a tool server on its own account: decided, minted for, put on record and traced like
any call.  The caller is the gate itself.
"""

from collections.abc import Mapping
from typing import Final

import trio

from callgate.errors import Reason, Refusal
from callgate.evidence import Evidence
from callgate.identity.trust import X509Context, verify_peer
from callgate.net.asking import Answered, AskLimits, ask
from callgate.parts import Identified, Inspected, Outbound, Parts, Recorded
from callgate.policy.call import Call
from callgate.policy.decide import Permit, permit_own_listing
from callgate.policy.recorded import OWN_LISTING
from callgate.screening.mask import Tally
from callgate.telemetry import names
from callgate.tokens.claims import CannotMint, Issuer, Stamp
from callgate.tokens.mint import MintedToken, mint
from callgate.told import token_claims, what_was_said
from callgate.trace import AttributeValue, DecisionTrace, Finding, Outcome, Stage, StageRecord
from callgate.wire.jsonrpc import RpcRequest, encode
from callgate.wire.mcp import Request, upstream_headers

# Where such a question comes from: this machine, and no connection.
_ADDRESS: Final[Mapping[str, AttributeValue]] = {names.CLIENT_ADDRESS: "127.0.0.1", names.CLIENT_PORT: 0}
_FINDING: Final = Finding(OWN_LISTING, "default", matched=True, why="the gate itself asks which tools there are")


class Question:
    """One message of the gate's own, from its decision to its last record."""

    def __init__(self, parts: Parts, evidence: Evidence, request: Request, session_id: str | None) -> None:
        self._parts = parts
        self._evidence = evidence
        self._request = request
        self._session_id = session_id
        self._route = parts.routes[request.server]
        bits = parts.chance.getrandbits
        self._path = DecisionTrace(
            decision_id=parts.secret_bytes(16).hex(),
            trace_id=bits(128) or 1,
            server_span_id=bits(64) or 1,
            authorize_span_id=bits(64) or 1,
            mint_span_id=bits(64) or 1,
            client_span_id=bits(64) or 1,
            started_ns=parts.clock.now_ns(),
        )

    async def asked(self) -> Answered | Refusal:
        """What the server answers.  Leaves one trace and its records, whatever happens."""
        try:
            return await self._conducted()
        except trio.Cancelled:
            if all(record.outcome is Outcome.OK for record in self._path.records):
                self._note(Stage.RESPOND, self._cut_off())
            raise
        finally:
            self._path.ended_ns = self._parts.clock.now_ns()
            self._evidence.close(self._path)
            self._parts.record(self._path)

    async def _conducted(self) -> Answered | Refusal:
        self._note(Stage.ACCEPT, None, _ADDRESS)
        identity = self._parts.identity()
        if identity is None:
            none = Refusal(Reason.IDENTITY_UNAVAILABLE)
            self._note(Stage.AUTHENTICATE, none)
            return none
        identified = self._identified(identity)
        if isinstance(identified, Refusal):
            return identified
        policy = self._parts.policy()
        self._parts.under(policy)
        # What agents are shown is screened; of this, which is not, no more is kept than the digest.
        record = "digest" if self._route.record == "full" else self._route.record
        permit = permit_own_listing(policy, identified.call, self._known_tools(), record)
        self._note(Stage.DECIDE, None, {names.POLICY_DIGEST: permit.policy_digest}, (_FINDING,))
        self._note(Stage.INSPECT, None)
        # Whoever needs the list was let in, under every limit of this server.
        slot = self._parts.admission.beside(permit.call)
        try:
            inspected = Inspected(identified, permit, None, b"", Tally())
            token = self._minted(permit, identity)
            if isinstance(token, Refusal):
                return token
            return await self._sent(Outbound(inspected, token, self._route.upstream.binding(), policy, slot))
        finally:
            slot.release(failed=None, now=self._parts.clock.now())

    def _identified(self, identity: X509Context) -> Identified | Refusal:
        """The gate, as it would find itself."""
        svid, request = identity.svid, self._request
        now = self._parts.clock.now()
        peer = verify_peer(svid.chain, identity.bundles, now)
        if isinstance(peer, Refusal):
            self._note(Stage.AUTHENTICATE, peer)
            return peer
        leaf = peer.leaf_sha256.hex().upper()
        self._note(
            Stage.AUTHENTICATE, None, {names.WORKLOAD_SPIFFE_ID: str(peer.id), names.TLS_CLIENT_HASH_SHA256: leaf}
        )
        size = len(encode(request.message))
        self._note(Stage.READ, None, {names.HTTP_REQUEST_BODY_SIZE: size, **what_was_said(request)})
        call = Call(
            caller=peer.id,
            server=request.server,
            method=request.message.method,
            now=now,
            svid_not_before=peer.not_before,
            svid_not_after=peer.not_after,
            revision=request.revision,
            size_bytes=size,
        )
        identified = Identified(request, call, None)
        self._evidence.identified(self._path, peer, identified)
        self._note(Stage.IDENTIFY, None, {names.SERVER: request.server})
        return identified

    def _known_tools(self) -> tuple[str, ...]:
        lock = self._route.lock()
        known = self._parts.definitions.names(self._request.server)
        return (*(lock.definitions if lock is not None else ()), *known)

    def _minted(self, permit: Permit, identity: X509Context) -> MintedToken | Refusal:
        binding = self._route.upstream.binding()
        message = self._request.message
        stamp = Stamp(
            now=self._parts.clock.now(),
            jti=self._parts.secret_bytes(16),
            decision_id=self._path.decision_id,
            request_id=message.id if isinstance(message, RpcRequest) else None,
            client_leaf_sha256=binding.svid.leaf_sha256 if binding else None,
        )
        issuer = Issuer(self._parts.issuer_url, identity.svid.id, self._parts.key)
        try:
            token = mint(permit, issuer, self._route.target, stamp)
        except CannotMint as fault:
            found = Refusal(Reason.MINT_FAILED, str(fault))
            self._note(Stage.MINT, found)
            return found
        self._note(Stage.MINT, None, token_claims(token))
        return token

    async def _sent(self, outbound: Outbound) -> Answered | Refusal:
        recorded = await self._evidence.record(outbound, self._path, self._parts.clock.now_ns())
        self._note(Stage.RECORD, recorded, self._evidence.told(self._path))
        if isinstance(recorded, Refusal):
            return recorded
        # What stands where nothing else is found: the gate itself is being stopped.
        found: Answered | Refusal = Refusal(Reason.GATE_SHUTTING_DOWN)
        attributes: dict[str, AttributeValue] = {}
        try:
            found = await self._exchanged(recorded, attributes)
            if isinstance(found, Answered):
                found = await self._kept(recorded, found)
        except trio.Cancelled:
            found = self._cut_off()
            raise
        else:
            return found
        finally:
            self._note(Stage.FORWARD, found, attributes)
            if not isinstance(found, Refusal):
                self._note(Stage.SCREEN, None)
                self._note(Stage.RESPOND, None)
            with trio.CancelScope(shield=True):
                await self._evidence.end(recorded, self._path)

    async def _exchanged(self, recorded: Recorded, attributes: dict[str, AttributeValue]) -> Answered | Refusal:
        route = self._route
        host, port = route.upstream.address
        attributes |= {names.SERVER_ADDRESS: host, names.SERVER_PORT: port}
        exchange = await route.upstream.open(recorded.outbound.identity)
        if isinstance(exchange, Refusal):
            return exchange
        limits = AskLimits(self._parts.limits.answer, self._parts.limits.max_event_bytes)
        try:
            if exchange.peer is not None:
                attributes[names.SERVER_SPIFFE_ID] = str(exchange.peer.id)
            found = await ask(exchange, self._request, self._headers(recorded.outbound.token), recorded.body, limits)
        finally:
            exchange.release()
        if isinstance(found, Answered):
            attributes[names.HTTP_RESPONSE_STATUS_CODE] = found.status
        return found

    async def _kept(self, recorded: Recorded, found: Answered) -> Answered | Refusal:
        """What was learned goes on record as what an agent is told does."""
        if found.said is None:
            return found
        return await self._evidence.passing(recorded, found.said, encode(found.said)) or found

    def _cut_off(self) -> Refusal:
        """Why it was cancelled: whoever asks has no more time, or the gate is being stopped."""
        is_late = trio.current_effective_deadline() <= trio.current_time()
        return Refusal(Reason.UPSTREAM_TIMEOUT if is_late else Reason.GATE_SHUTTING_DOWN)

    def _headers(self, token: MintedToken) -> tuple[tuple[str, str], ...]:
        found = upstream_headers(
            self._request,
            trace_id=self._path.trace_id,
            span_id=self._path.client_span_id,
            session_id=self._session_id,
        )
        return (*found, ("authorization", f"Bearer {token.token}"))

    def _note(
        self,
        stage: Stage,
        found: object,
        attributes: Mapping[str, AttributeValue] | None = None,
        findings: tuple[Finding, ...] = (),
    ) -> None:
        outcome, reason, detail = Outcome.OK, "", ""
        if isinstance(found, Refusal):
            outcome = Outcome.FAILED if stage is Stage.FORWARD else Outcome.REFUSED
            reason, detail = found.reason, found.detail
        now = self._parts.clock.now_ns()
        self._path.add(StageRecord(stage, outcome, now, now, reason, detail, attributes or {}, findings))
