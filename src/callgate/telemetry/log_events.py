"""What the evidence log says of itself, as OpenTelemetry events: a collector that keeps log records keeps its head, too.

    callgate.audit.checkpoint    INFO     the body is the checkpoint, a C2SP signed note, to the letter
    callgate.audit.outage        ERROR    calls are refused, because they cannot be recorded
    callgate.audit.recovered     INFO     they are recorded again

An event is a log record with an event name (OpenTelemetry, Logs Data Model, "Field: EventName").
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, InstrumentationScope, KeyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord, ResourceLogs, ScopeLogs, SeverityNumber
from opentelemetry.proto.resource.v1.resource_pb2 import Resource as ResourceMessage
from opentelemetry.sdk.resources import Resource

from callgate.telemetry import names
from callgate.telemetry.encode import key_value
from callgate.telemetry.otlp import target_of
from callgate.telemetry.otlp_http import OtlpClient, Receipt
from callgate.telemetry.spans import SCOPE_NAME
from callgate.telemetry.visible import without_credentials
from callgate.trace import AttributeValue

CHECKPOINT_EVENT = "callgate.audit.checkpoint"
OUTAGE_EVENT = "callgate.audit.outage"
RECOVERED_EVENT = "callgate.audit.recovered"
# An error is one short word (ENOSPC, slow); what is longer was not meant for a collector.
ERROR_MAX_CHARS = 64


class Severity(IntEnum):
    """Of OTLP's `SeverityNumber`: "10-12 INFO … 17-20 ERROR", each by its smallest."""

    INFO = SeverityNumber.SEVERITY_NUMBER_INFO
    ERROR = SeverityNumber.SEVERITY_NUMBER_ERROR


@dataclass(frozen=True, slots=True)
class LogEvent:
    """One event; `at_ns`: when it happened, Unix nanoseconds; `attributes` are of `names.ALLOWED`."""

    name: str
    body: str
    at_ns: int
    severity: Severity = Severity.INFO
    attributes: Mapping[str, AttributeValue] = field(default_factory=dict)


def checkpoint_event(note: str, size: int, at_ns: int) -> LogEvent:
    """A checkpoint over `size` records: `note` whole and unchanged, because it is signed."""
    return LogEvent(CHECKPOINT_EVENT, note, at_ns, attributes={names.AUDIT_SIZE: size})


def outage_event(error: str, at_ns: int) -> LogEvent:
    """Since then no record becomes durable; `error`: one short word."""
    word = without_credentials(error, ERROR_MAX_CHARS)
    body = f"calls are refused, because they cannot be recorded: {word}"
    return LogEvent(OUTAGE_EVENT, body, at_ns, Severity.ERROR, {names.ERROR_TYPE: word})


def recovered_event(since_ns: int, at_ns: int) -> LogEvent:
    """The outage that began then is over."""
    lasted_s = max(at_ns - since_ns, 0) / 1e9
    body = f"calls are recorded again, after {lasted_s:.1f} s"
    return LogEvent(RECOVERED_EVENT, body, at_ns, attributes={names.AUDIT_OUTAGE_DURATION: lasted_s})


class CheckpointEvents:
    """Sends events of one log to one collector.  `send` is for one thread at a time; `shutdown` may come from another."""

    def __init__(self, client: OtlpClient, resource: Resource, origin: str) -> None:
        """`origin` names the log, as in its checkpoints."""
        self._client = client
        self._resource = ResourceMessage(attributes=_attributes(resource.attributes))
        self._schema = resource.schema_url
        self._origin = origin

    def send(self, events: Sequence[LogEvent]) -> Receipt:
        """In one request.  Blocks until they are taken or given up: retries until the target's timeout is over."""
        return self._client.send(self.request(events, time.time_ns()).SerializeToString())

    def shutdown(self) -> None:
        """The last call; it makes a `send` that is under way fail.  Blocks for 0.2 s at most."""
        self._client.shutdown()

    def request(self, events: Sequence[LogEvent], observed_ns: int) -> ExportLogsServiceRequest:
        """What is sent; `observed_ns`: when."""
        scope_logs = ScopeLogs(
            scope=InstrumentationScope(name=SCOPE_NAME),
            log_records=[self._record(event, observed_ns) for event in events],
        )
        logs = ResourceLogs(resource=self._resource, scope_logs=[scope_logs], schema_url=self._schema)
        return ExportLogsServiceRequest(resource_logs=[logs])

    def _record(self, event: LogEvent, observed_ns: int) -> LogRecord:
        return LogRecord(
            time_unix_nano=event.at_ns,
            observed_time_unix_nano=observed_ns,
            severity_number=event.severity.value,
            severity_text=event.severity.name,
            event_name=event.name,
            body=AnyValue(string_value=event.body),
            attributes=_attributes({names.AUDIT_ORIGIN: self._origin, **event.attributes}),
        )


def checkpoint_events(url: str | None, resource: Resource, origin: str) -> CheckpointEvents | None:
    """To the collector at `url`, such as `http://127.0.0.1:4318`; None looks at the environment alone.

    None where no log records are to be sent.  Raises CannotExport where the environment asks for what cannot be done.
    """
    target = target_of(url, "logs")
    return CheckpointEvents(OtlpClient(target), resource, origin) if target else None


def _attributes(found: Mapping[str, object]) -> list[KeyValue]:
    return [KeyValue.FromString(key_value(name, value)) for name, value in found.items()]
