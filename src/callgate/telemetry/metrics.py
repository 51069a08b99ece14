"""What operators count, made from the same `DecisionTrace`s, on the telemetry thread.

No attribute holds a SPIFFE ID, a `jti` or an argument, and what a caller chooses freely is folded into `_OTHER` until
policy has let it through, so that nobody can fill a metrics store from outside.  The SDK's own limit of 2000 attribute
sets an instrument stands behind that.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from opentelemetry.metrics import CallbackOptions, Histogram, Observation
from opentelemetry.sdk.metrics import AlwaysOffExemplarFilter, MeterProvider
from opentelemetry.sdk.metrics.export import MetricReader
from opentelemetry.sdk.resources import Resource

from callgate.errors import ANSWERS, Reason
from callgate.telemetry import names
from callgate.telemetry.outcome import ended_badly, error_type, reason_of, stated_error
from callgate.trace import AttributeValue, DecisionTrace, Outcome, Stage, StageRecord

DECISIONS = "callgate.decisions"
OPERATION_DURATION = "mcp.server.operation.duration"
AUTHORIZATION_DURATION = "callgate.authorization.duration"
MINT_DURATION = "callgate.token.mint.duration"
HANDSHAKE_DURATION = "callgate.tls.handshake.duration"
SVID_EXPIRES_IN = "callgate.svid.expires_in"
DROPPED = "callgate.telemetry.dropped"

# The boundaries that the MCP conventions give for `mcp.server.operation.duration`, in seconds.
OPERATION_BOUNDARIES_S = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)
# A decision takes some ten microseconds, a signature some fifty, a handshake a millisecond and up.
SHORT_BOUNDARIES_S = (1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 2e-2, 5e-2, 0.1)
HANDSHAKE_BOUNDARIES_S = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)

_OTHER = "_OTHER"
_TOOL_ERROR = "tool_error"
# JSON-RPC 2.0, section 5.1: the codes that a tool server is expected to answer with.
_STANDARD_CODES = ("-32700", "-32600", "-32601", "-32602", "-32603")
_KNOWN_REASONS = frozenset(str(reason) for reason in Reason)
_KNOWN_ERRORS = _KNOWN_REASONS | {str(answer.rpc_code) for answer in ANSWERS.values()} | {*_STANDARD_CODES, _TOOL_ERROR}

MetricAttributes = dict[str, str]


@dataclass(slots=True)
class Drops:
    """Traces that did not reach a collector, by cause; counted by the queue, told of by a metric."""

    queue_full: int = 0
    export_failed: int = 0
    closed: int = 0

    @property
    def total(self) -> int:
        """All of them."""
        return self.queue_full + self.export_failed + self.closed


class Metrics:
    """The instruments, on a meter provider of their own.

    `svid_not_after`: when the gate's own SVID expires, Unix seconds, or None while it has none.  It is asked on the
    reader's thread, once for each export.
    """

    def __init__(
        self,
        reader: MetricReader,
        resource: Resource,
        svid_not_after: Callable[[], float | None] = lambda: None,
    ) -> None:
        self._provider = MeterProvider([reader], resource, AlwaysOffExemplarFilter(), shutdown_on_exit=False)
        self.drops = Drops()
        self._svid_not_after = svid_not_after
        meter = self._provider.get_meter("callgate")
        self._decisions = meter.create_counter(DECISIONS, "{decision}", "Requests and connections, by decision")
        self._operation = self._histogram(
            OPERATION_DURATION, "An MCP request as the agent saw it", OPERATION_BOUNDARIES_S
        )
        self._authorization = self._histogram(AUTHORIZATION_DURATION, "Deciding on one call", SHORT_BOUNDARIES_S)
        self._mint = self._histogram(MINT_DURATION, "Minting one token", SHORT_BOUNDARIES_S)
        self._handshake = self._histogram(HANDSHAKE_DURATION, "A TLS handshake with an agent", HANDSHAKE_BOUNDARIES_S)
        meter.create_observable_gauge(SVID_EXPIRES_IN, [self._observe_svid], "s", "Until the gate's own SVID expires")
        meter.create_observable_counter(DROPPED, [self._observe_drops], "{trace}", "Traces that reached no collector")

    def _histogram(self, name: str, description: str, boundaries_s: tuple[float, ...]) -> Histogram:
        meter = self._provider.get_meter("callgate")
        return meter.create_histogram(name, "s", description, explicit_bucket_boundaries_advisory=boundaries_s)

    def count(self, trace: DecisionTrace) -> None:
        """Take one finished trace into account."""
        self._decisions.add(1, decision_attributes(trace))
        records = {record.stage: record for record in trace.records}
        if operation := operation_attributes(trace, records):
            self._operation.record(max(trace.ended_ns - trace.started_ns, 0) / 1e9, operation)
        if decide := records.get(Stage.DECIDE):
            self._authorization.record(_seconds(decide), {names.DECISION: trace.decision})
        if mint := records.get(Stage.MINT):
            self._mint.record(_seconds(mint), _stage_error(mint))
        if accept := records.get(Stage.ACCEPT):
            took = accept.attributes.get(names.TLS_HANDSHAKE_DURATION)
            if isinstance(took, int | float):
                self._handshake.record(took, _stage_error(accept))

    def close(self, timeout_s: float) -> None:
        """Export once more, then stop; takes at most `timeout_s`."""
        self._provider.shutdown(timeout_millis=timeout_s * 1000)

    def _observe_svid(self, _: CallbackOptions) -> Iterable[Observation]:
        not_after = self._svid_not_after()
        return [] if not_after is None else [Observation(not_after - time.time())]

    def _observe_drops(self, _: CallbackOptions) -> Iterator[Observation]:
        yield Observation(self.drops.queue_full, {names.ERROR_TYPE: "queue_full"})
        yield Observation(self.drops.export_failed, {names.ERROR_TYPE: "export_failed"})
        yield Observation(self.drops.closed, {names.ERROR_TYPE: "closed"})


def decision_attributes(trace: DecisionTrace) -> MetricAttributes:
    """Allow or deny, and why; the reason is of the table in `errors` or `_OTHER`."""
    attributes = {names.DECISION: trace.decision}
    if bad := ended_badly(trace):
        reason = reason_of(bad)
        attributes[names.REASON] = str(reason) if reason in _KNOWN_REASONS else _OTHER
    return attributes


def operation_attributes(trace: DecisionTrace, records: Mapping[Stage, StageRecord]) -> MetricAttributes:
    """Of `mcp.server.operation.duration`; empty where no MCP message was read."""
    seen: dict[str, AttributeValue] = {}
    for record in trace.records:
        seen |= record.attributes
    if names.MCP_METHOD_NAME not in seen:
        return {}
    identified = Stage.IDENTIFY in records and records[Stage.IDENTIFY].outcome is Outcome.OK
    # Until `identify` has passed, the method is whatever somebody wrote; until `decide` has, so is the tool.
    attributes = {names.MCP_METHOD_NAME: str(seen[names.MCP_METHOD_NAME]) if identified else _OTHER}
    if identified and names.MCP_PROTOCOL_VERSION in seen:
        attributes[names.MCP_PROTOCOL_VERSION] = str(seen[names.MCP_PROTOCOL_VERSION])
    if trace.decision == "allow" and names.GEN_AI_TOOL_NAME in seen:
        attributes[names.GEN_AI_TOOL_NAME] = str(seen[names.GEN_AI_TOOL_NAME])
    if error := error_type(trace, seen):
        attributes[names.ERROR_TYPE] = _known(error)
    return attributes


def _stage_error(record: StageRecord) -> MetricAttributes:
    if record.outcome is not Outcome.OK:
        return {names.ERROR_TYPE: _known(reason_of(record))}
    return {names.ERROR_TYPE: _known(error)} if (error := stated_error(record.attributes)) else {}


def _known(error: str) -> str:
    """Conventions: `_OTHER` is "a fallback error value to be used when the instrumentation doesn't define" one."""
    return error if error in _KNOWN_ERRORS else _OTHER


def _seconds(record: StageRecord) -> float:
    return max(record.ended_ns - record.started_ns, 0) / 1e9
