"""What the gate puts on record of one call, and when: before it is forwarded, as it comes back, and at its end."""

from base64 import urlsafe_b64decode
from collections.abc import Sequence
from contextlib import suppress
from hashlib import sha256
from typing import Final

import trio

from callgate.audit.activity import session_id
from callgate.audit.chain import Kind
from callgate.audit.log import Receipt
from callgate.audit.record import (
    first_refused,
    intent_fields,
    outcome_fields,
    refusal_fields,
    request_fields,
)
from callgate.audit.recording import MessageKind, Recording, request_line
from callgate.audit.refused import RefusalKind
from callgate.errors import Reason, Refusal
from callgate.identity.trust import Peer
from callgate.parts import INLINE_BYTES, Identified, Outbound, Parts, Recorded
from callgate.policy.call import Call
from callgate.policy.compile import Policy
from callgate.policy.record_level import strongest
from callgate.policy.recorded import MAX_RECORDED_GROUPS
from callgate.policy.rule import Rule
from callgate.screening.mask import Tally
from callgate.screening.messages import screen_arguments
from callgate.telemetry import names
from callgate.tokens.claims import arguments_digest
from callgate.tokens.mint import MintedToken
from callgate.trace import AttributeValue, DecisionTrace
from callgate.wire import mcp
from callgate.wire.jsonrpc import RpcFailure, RpcResult, ServerMessage, encode
from callgate.wire.mcp import Request

# As long as the log waits for its own writes.
CONTENT_PATIENCE_S: Final = 2.0
# Content that is being encrypted and written at the same time; a disk that hangs takes no more threads than that.
_CONTENT_THREADS: Final = 8
# Of one call, some 10 GiB of answer; a record of as many hashes is 0.7 MiB long, of 1 MiB that readers take.
MAX_OBJECTS: Final = 10_000


class Evidence:
    """Puts the calls of one gate on record.  Holds nothing of any one of them."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._log = parts.audit
        self._threads = trio.CapacityLimiter(_CONTENT_THREADS)

    def identified(self, path: DecisionTrace, peer: Peer, found: Identified | Refusal) -> None:
        """Who asks, and in which session."""
        said = path.evidence
        said["svid"] = (int(peer.not_before), int(peer.not_after))
        if isinstance(found, Refusal):
            return
        call, session, is_dry_run = found.call, found.session, found.request.is_dry_run
        if is_dry_run:
            said["dry_run"] = True
        if session is not None:
            said["session"] = said["mcp_session"] = session_id(session.nonce)
        else:
            said["session"] = self._parts.activity.session_of(call.caller, call.user, call.now, is_dry_run=is_dry_run)
        if call.user is not None:
            groups = list(call.user.groups[:MAX_RECORDED_GROUPS])
            said["user"] = {"issuer": call.user.issuer, "subject": call.user.subject, "groups": groups}

    def refused(self, path: DecisionTrace, call: Call, policy: Policy, *, is_kept: bool = True) -> None:
        """A call that policy or inspection refused: it is told of as one that was allowed.

        `is_kept`: False where the very arguments are what it was refused for.
        """
        if call.tool is None:
            return
        view = policy.view(call.caller, call.server, call.now)
        naming = [each.rule for each in view.on(call.tool).grants if not each.rule.shadow]
        # A tool that is not to be recorded is not when its call is refused, either.
        said = strongest(rule.record for rule in naming)
        path.evidence["record"] = level = said or self._parts.routes[call.server].record
        if not is_kept or _holds_what_is_masked(call, policy, naming):
            # A digest can be guessed where what it is of has few forms, as a card's number has.
            path.evidence["record"] = level = "none"
        if level == "full" and not view.has_grants:
            # Who may do nothing here gets no room for what it sends, either.
            path.evidence["record"] = "digest"
        if level == "none":
            return
        # What has no canonical form has no digest either.
        with suppress(ValueError):
            path.evidence["args"] = arguments_digest(call).hex()

    async def record(self, outbound: Outbound, path: DecisionTrace, now_ns: int) -> Recorded | Refusal:
        """Make the intent durable.  AUDIT_UNAVAILABLE, and then nothing may be forwarded."""
        level = outbound.permit.record or self._parts.routes[outbound.permit.call.server].record
        recording = Recording(level, now_ns)
        body = encode(message_of(outbound, path))
        path.evidence["record"] = level
        if level != "none":
            path.evidence["request"] = request = _digested(body)
            if level == "full":
                kept = await self._kept(request_line(body))
                if isinstance(kept, Refusal):
                    return kept
                request["object"] = kept
        receipt = await self._receipt(outbound, path)
        return receipt if isinstance(receipt, Refusal) else Recorded(outbound, receipt, body, recording)

    async def _receipt(self, outbound: Outbound, path: DecisionTrace) -> Receipt | Refusal:
        # What is not to be recorded is not told by a digest that can be guessed, either; the token's stands for it.
        if path.evidence["record"] != "none" and (digest := _arguments_in(outbound.token)) is not None:
            path.evidence["args"] = digest
        token_sha256 = sha256(outbound.token.token.encode("ascii")).hexdigest()
        intent = self._log.intent(intent_fields(path, token_sha256), path.decision_id)
        if isinstance(intent, Refusal):
            return intent
        path.intent = intent.seq
        return await self._log.receipt(intent)

    async def refuse(self, path: DecisionTrace, request: Request | None, http: int, rpc: int | None) -> None:
        """Make a refusal durable before it is told, unless there are too many of them.

        `rpc`: None where it is told as the result of a tool that failed.
        """
        if path.intent is not None or path.is_on_record:
            return
        if not self._log.has_room(_refusal_kind(path)):
            path.is_on_record = True
            return
        # Whoever goes away meanwhile leaves it to `close`.
        await self._keep_refused(path, request)
        path.is_on_record = True
        answered = {"http": http} if rpc is None else {"http": http, "rpc": rpc}
        refusal = self._log.refusal(refusal_fields(path, answered))
        path.refusal = refusal.seq
        await self._log.settled(refusal)

    async def _keep_refused(self, path: DecisionTrace, request: Request | None) -> None:
        """What was asked for and refused is kept where what is allowed would be; it is refused in any case."""
        route = self._parts.routes.get(request.server) if request else None
        if request is None or route is None or "session" not in path.evidence:
            return
        level = path.evidence.setdefault("record", route.record)
        if level == "none":
            return
        body = encode(request.message)
        path.evidence["request"] = said = _digested(body)
        if level == "full" and isinstance(kept := await self._kept(request_line(body)), str):
            said["object"] = kept

    def close(self, path: DecisionTrace) -> None:
        """The request is over: what is not on record yet is put there."""
        if path.intent is not None:
            self._log.outcome(path.intent, outcome_fields(path, path.ended_ns))
        elif path.is_on_record:
            return
        elif first_refused(path) is None:
            self._log.note(Kind.ABSORBED, request_fields(path))
        elif self._log.has_room(_refusal_kind(path)):
            self._log.refusal(refusal_fields(path, None))

    def told(self, path: DecisionTrace) -> dict[str, AttributeValue]:
        """Where the record is, for the trace."""
        seq = path.intent if path.intent is not None else path.refusal
        if seq is None:
            return {}
        told: dict[str, AttributeValue] = {names.AUDIT_SEQUENCE: seq, names.AUDIT_ORIGIN: self._log.origin}
        for name, field in ((names.AUDIT_SESSION, "session"), (names.AUDIT_RECORD, "record")):
            if isinstance(value := path.evidence.get(field), str):
                told[name] = value
        return told

    async def passing(self, recorded: Recorded, said: ServerMessage, message: bytes) -> Refusal | None:
        """One message on its way to the agent.  AUDIT_UNAVAILABLE where it cannot be kept, and must not pass."""
        recording = recorded.recording
        recording.event(message, self._parts.clock.now_ns(), _kind_of(said))
        if not recording.is_due and not isinstance(said, RpcResult | RpcFailure):
            return None
        refusal = await self._put_away(recorded)
        if refusal is not None:
            recording.withhold()
        return refusal

    async def _put_away(self, recorded: Recorded) -> Refusal | None:
        """What is pending, also for an agent that hangs up meanwhile: what passed is on record."""
        plaintext = recorded.recording.take()
        if plaintext is None:
            return None
        if len(recorded.objects) >= MAX_OBJECTS:
            return Refusal(Reason.AUDIT_UNAVAILABLE, "content: more objects than a record can name")
        with trio.CancelScope(shield=True):
            kept = await self._kept(plaintext)
        if isinstance(kept, Refusal):
            return kept
        recorded.objects.append(kept)
        return None

    async def end(self, recorded: Recorded, path: DecisionTrace) -> None:
        """No more of the answer comes: what passed before it broke off is put away, too, if that can be."""
        await self._put_away(recorded)
        path.answer |= {"answer": recorded.recording.summary(recorded.objects)}

    async def _kept(self, plaintext: bytes) -> str | Refusal:
        """Put content away; the hash of its object."""
        store = self._parts.content()
        if store is None:
            return Refusal(Reason.AUDIT_UNAVAILABLE, "nobody could read what is to be recorded in full")
        with trio.move_on_after(CONTENT_PATIENCE_S):
            try:
                return await trio.to_thread.run_sync(
                    store.put, plaintext, abandon_on_cancel=True, limiter=self._threads
                )
            except OSError as error:
                return Refusal(Reason.AUDIT_UNAVAILABLE, f"content: {error.strerror}")
        return Refusal(Reason.AUDIT_UNAVAILABLE, "content: slow")


def _holds_what_is_masked(call: Call, policy: Policy, naming: Sequence[Rule]) -> bool:
    """Whether the arguments hold what would not have gone to the tool either, had the call been allowed."""
    given = call.arguments or {}
    if call.size_bytes > INLINE_BYTES and not policy.screening.is_idle:
        # To look at it would keep others waiting, for a call that is refused.
        return True
    screening = policy.screening.of_call(call.server, call.tool, tuple(rule.id for rule in naming), naming)
    # What it would be masked by is of no matter: nothing of it is kept.
    return screen_arguments(given, screening, b"", Tally()) is not given


def _digested(body: bytes) -> dict[str, object]:
    return {"sha256": sha256(body).hexdigest(), "bytes": len(body)}


def message_of(outbound: Outbound, path: DecisionTrace) -> mcp.ClientMessage:
    """What is sent to the tool server: what was decided on, with our span as the parent."""
    request = outbound.identified.request
    return mcp.upstream_message(request, path.trace_id, path.client_span_id, trusted=path.parent is not None)


def _arguments_in(token: MintedToken) -> str | None:
    """The digest that the token is bound to, in hex; None where the call names no tool."""
    details = token.claims["authorization_details"]
    digest = details[0].get("args_s256") if isinstance(details, list) else None
    return urlsafe_b64decode(digest + "=").hex() if isinstance(digest, str) else None


def _kind_of(said: ServerMessage) -> MessageKind:
    if isinstance(said, RpcResult):
        return MessageKind.ANSWER
    return MessageKind.ERROR if isinstance(said, RpcFailure) else MessageKind.EVENT


def _refusal_kind(path: DecisionTrace) -> RefusalKind:
    refused = first_refused(path)
    caller = _caller_of(path)
    return RefusalKind(refused.stage, refused.reason, caller) if refused else RefusalKind("", "", caller)


def _caller_of(path: DecisionTrace) -> str:
    known = (record.attributes.get(names.WORKLOAD_SPIFFE_ID) for record in path.records)
    return next((str(found) for found in known if found is not None), "")
