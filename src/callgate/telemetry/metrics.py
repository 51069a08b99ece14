"""What operators count, made from the same `DecisionTrace`s.

No attribute holds a SPIFFE ID, a `jti` or an argument, and what a caller chooses freely is folded into `_OTHER` until
policy has let it through, so that nobody can fill a metrics store from outside.  `ATTRIBUTE_SETS_MAX` stands behind
that.
"""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Protocol

from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Gauge,
    Metric,
    MetricsData,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from callgate.errors import ANSWERS, Reason
from callgate.telemetry import names
from callgate.telemetry.aggregate import CounterSums, HistogramBuckets, Instrument, Period, Values
from callgate.telemetry.approval_metrics import ApprovalMetrics
from callgate.telemetry.audit_metrics import AuditMetrics, AuditOnDisk
from callgate.telemetry.outcome import ended_badly, error_type, reason_of, stated_error
from callgate.trace import AttributeValue, DecisionTrace, Outcome, Stage, StageRecord

DECISIONS = Instrument(
    "callgate.decisions", "{decision}", "Requests and connections, by decision", (names.DECISION, names.REASON)
)
OPERATION_DURATION = Instrument(
    "mcp.server.operation.duration",
    "s",
    "An MCP request as the agent saw it",
    (names.MCP_METHOD_NAME, names.MCP_PROTOCOL_VERSION, names.GEN_AI_TOOL_NAME, names.ERROR_TYPE),
)
AUTHORIZATION_DURATION = Instrument("callgate.authorization.duration", "s", "Deciding on one call", (names.DECISION,))
MINT_DURATION = Instrument("callgate.token.mint.duration", "s", "Minting one token", (names.ERROR_TYPE,))
HANDSHAKE_DURATION = Instrument(
    "callgate.tls.handshake.duration", "s", "A TLS handshake with an agent", (names.ERROR_TYPE,)
)
SVID_EXPIRES_IN = Instrument("callgate.svid.expires_in", "s", "Until the gate's own SVID expires")
POLICY_RELOADS = Instrument(
    "callgate.policy.reloads",
    "{reload}",
    "Changes of the policy's files, by what came of them",
    (names.POLICY_ROLE, names.POLICY_OUTCOME),
)
POLICY_STALE = Instrument("callgate.policy.stale", "s", "For how long the files have said what is not in force")
DROPPED = Instrument("callgate.telemetry.dropped", "{trace}", "Traces that reached no collector", (names.ERROR_TYPE,))

SHADOW_DECISIONS = Instrument(
    "callgate.shadow.decisions",
    "{request}",
    "What would have been decided, had what is in shadow been enforced",
    (names.SHADOW_SOURCE, names.DECISION, names.SHADOW_DECISION),
)
SCREENED = Instrument(
    "callgate.screening.found",
    "{value}",
    "Values that were masked, and characters that deceive, by what they are and where they stood",
    (names.MASKED_WHERE, names.MASKED_NAME),
)

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
_SCOPE = InstrumentationScope("callgate")
# To name a member of an enumeration takes 0.1 µs, and this is done for each call.
_OK, _ACCEPT, _IDENTIFY, _DECIDE, _MINT = (Outcome.OK, Stage.ACCEPT, Stage.IDENTIFY, Stage.DECIDE, Stage.MINT)
_COUNTED = {
    names.MASKED: "answer",
    names.DECEPTIVE: "answer",
    names.MASKED_ARGUMENTS: "arguments",
}


@dataclass(slots=True)
class Drops:
    """Traces that did not reach a collector, by cause; counted by the queue, told of by a metric."""

    queue_full: int = 0
    encode_failed: int = 0
    export_failed: int = 0
    closed: int = 0

    @property
    def total(self) -> int:
        """All of them."""
        return self.queue_full + self.encode_failed + self.export_failed + self.closed


@dataclass(slots=True)
class Reloads:
    """Changes of a policy's files that were read: put in force, or refused; counted by their source."""

    ok: int = 0
    refused: int = 0


class PolicyOnDisk(Protocol):
    """What metrics ask of a policy that follows its files; `stale_since` as in `PolicySource`, from any thread."""

    reloads: Reloads

    @property
    def stale_since(self) -> float | None: ...  # noqa: D102  # said above


NO_POLICIES: Mapping[str, PolicyOnDisk] = MappingProxyType({})


class Metrics:
    """The instruments.  `count` and `collect` may be called from different threads.

    `svid_not_after`: when the gate's own SVID expires, Unix seconds, or None while it has none.  It is asked by
    `collect`, as are `policies`, by their role (`enforced`, `shadow`), and `audit`, the evidence log or None while there
    is none.  `temporality` is that of all sums and histograms.
    """

    def __init__(
        self,
        resource: Resource,
        svid_not_after: Callable[[], float | None] = lambda: None,
        temporality: AggregationTemporality = AggregationTemporality.CUMULATIVE,
        policies: Mapping[str, PolicyOnDisk] = NO_POLICIES,
        audit: Callable[[], AuditOnDisk | None] = lambda: None,
    ) -> None:
        self.drops = Drops()
        self._resource = resource
        self._svid_not_after = svid_not_after
        self._temporality = temporality
        self._started_ns = time.time_ns()
        self._lock = threading.Lock()
        self._decisions = CounterSums(DECISIONS)
        self._operation = HistogramBuckets(OPERATION_DURATION, OPERATION_BOUNDARIES_S)
        self._authorization = HistogramBuckets(AUTHORIZATION_DURATION, SHORT_BOUNDARIES_S)
        self._mint = HistogramBuckets(MINT_DURATION, SHORT_BOUNDARIES_S)
        self._handshake = HistogramBuckets(HANDSHAKE_DURATION, HANDSHAKE_BOUNDARIES_S)
        self._dropped = CounterSums(DROPPED)
        self._shadow = CounterSums(SHADOW_DECISIONS)
        self._screened = CounterSums(SCREENED)
        self._told = Drops()
        self._policies = policies
        self._reloads = CounterSums(POLICY_RELOADS)
        self._told_reloads: Counter[Values] = Counter()
        self._audit = AuditMetrics(audit)
        self.approvals = ApprovalMetrics()

    def count(self, trace: DecisionTrace) -> None:
        """Take one finished trace into account."""
        bad = ended_badly(trace)
        decision = decision_values(trace.decision, bad)
        operation = operation_values(trace, bad)
        with self._lock:
            self._decisions.add(1, decision)
            if operation:
                self._operation.record(max(trace.ended_ns - trace.started_ns, 0) / 1e9, operation)
            for record in trace.records:
                stage = record.stage
                if stage is _DECIDE:
                    self._authorization.record(_seconds(record), decision[:1])
                    self._count_shadow(record)
                elif stage is _MINT:
                    self._mint.record(_seconds(record), _stage_error(record))
                elif stage is _ACCEPT and names.TLS_HANDSHAKE_DURATION in record.attributes:
                    self._count_handshake(record)
                elif not _COUNTED.keys().isdisjoint(record.attributes):
                    self._count_screened(record)

    def _count_screened(self, record: StageRecord) -> None:
        """What was found by screening: the names are detectors' and a policy's, and nobody else's."""
        for name, where in _COUNTED.items():
            counted = record.attributes.get(name, ())
            for entry in counted if isinstance(counted, tuple) else ():
                found, _, count = entry.rpartition("=")
                self._screened.add(int(count), (where, found))

    def _count_shadow(self, record: StageRecord) -> None:
        """What rules in shadow, and a policy in shadow, would have decided, beside what was decided."""
        done = "allow" if record.outcome is _OK else "deny"
        for source, name in (("rules", names.SHADOW_DECISION), ("policy", names.SHADOW_POLICY_DECISION)):
            would = record.attributes.get(name)
            if would is not None:
                self._shadow.add(1, (source, done, str(would)))

    def _count_handshake(self, accept: StageRecord) -> None:
        took = accept.attributes[names.TLS_HANDSHAKE_DURATION]
        if isinstance(took, int | float):
            self._handshake.record(took, _stage_error(accept))

    def collect(self) -> MetricsData:
        """Everything up to now, in the form that the SDK's exporters take."""
        self._count_drops()
        self._count_reloads()
        sums = (self._decisions, self._shadow, self._screened, self._dropped, self._reloads)
        histograms = (self._operation, self._authorization, self._mint, self._handshake)
        with self._lock:
            # Copies and no more: a call may be waiting to be counted.
            period = Period(self._started_ns, time.time_ns(), self._temporality)
            taken = [instrument.take(period) for instrument in (*sums, *histograms)]
        if period.begins_anew:
            self._started_ns = period.ended_ns
        metrics = [metric() for metric in taken]
        metrics += self._svid_expires_in(period.ended_ns)
        metrics += self._policy_stale(period.ended_ns)
        metrics += self._audit.collect(period)
        metrics += self.approvals.collect(period)
        filled = [metric for metric in metrics if metric.data.data_points]
        return MetricsData(
            [ResourceMetrics(self._resource, [ScopeMetrics(_SCOPE, filled, "")], self._resource.schema_url)]
        )

    def _count_drops(self) -> None:
        for cause in ("queue_full", "encode_failed", "export_failed", "closed"):
            now = getattr(self.drops, cause)
            self._dropped.add(now - getattr(self._told, cause), (cause,))
            setattr(self._told, cause, now)

    def _count_reloads(self) -> None:
        for role, policy in self._policies.items():
            for outcome in ("ok", "refused"):
                now, values = getattr(policy.reloads, outcome), (role, outcome)
                self._reloads.add(now - self._told_reloads[values], values)
                self._told_reloads[values] = now

    def _policy_stale(self, now_ns: int) -> Iterator[Metric]:
        since = {role: policy.stale_since for role, policy in self._policies.items()}
        points = [
            NumberDataPoint({names.POLICY_ROLE: role}, 0, now_ns, max(now_ns / 1e9 - when, 0.0) if when else 0.0)
            for role, when in since.items()
        ]
        if points:
            name, unit, description, _ = POLICY_STALE
            yield Metric(name, description, unit, Gauge(points))

    def _svid_expires_in(self, now_ns: int) -> Iterator[Metric]:
        not_after = self._svid_not_after()
        if not_after is not None:
            point = NumberDataPoint({}, 0, now_ns, not_after - now_ns / 1e9)
            name, unit, description, _ = SVID_EXPIRES_IN
            yield Metric(name, description, unit, Gauge([point]))


def decision_values(decision: str, bad: StageRecord | None) -> Values:
    """Of `callgate.decisions`: allow or deny, and why; the reason is of the table in `errors` or `_OTHER`."""
    if bad is None:
        return (decision, "")
    reason = reason_of(bad)
    return (decision, str(reason) if reason in _KNOWN_REASONS else _OTHER)


def operation_values(trace: DecisionTrace, bad: StageRecord | None) -> Values:
    """Of `mcp.server.operation.duration`; empty where no MCP message was read."""
    seen: dict[str, AttributeValue] = {}
    passed = set()
    for record in trace.records:
        seen.update(record.attributes)
        if record.outcome is _OK:
            passed.add(record.stage)
    if names.MCP_METHOD_NAME not in seen:
        return ()
    # Until `identify` has passed, the method is whatever somebody wrote; until `decide` has, so is the tool.
    identified = _IDENTIFY in passed
    method = str(seen[names.MCP_METHOD_NAME]) if identified else _OTHER
    version = str(seen.get(names.MCP_PROTOCOL_VERSION, "")) if identified else ""
    tool = str(seen.get(names.GEN_AI_TOOL_NAME, "")) if _DECIDE in passed else ""
    return (method, version, tool, _known(error_type(trace, bad, seen)))


def _stage_error(record: StageRecord) -> Values:
    return (_known(reason_of(record) if record.outcome is not _OK else stated_error(record.attributes)),)


def _known(error: str) -> str:
    """Conventions: `_OTHER` is "a fallback error value to be used when the instrumentation doesn't define" one."""
    return error if not error or error in _KNOWN_ERRORS else _OTHER


def _seconds(record: StageRecord) -> float:
    return max(record.ended_ns - record.started_ns, 0) / 1e9
