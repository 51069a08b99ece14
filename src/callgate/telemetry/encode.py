"""Traces as the bytes of an OTLP `ExportTraceServiceRequest`, straight from their shapes.

The SDK's way there, objects and then protobuf messages, takes ten times as long.  Written here is what
opentelemetry-proto 1.x defines in `trace.proto`, `common.proto` and `resource.proto`, fields in the order of their
numbers, as a protobuf library writes them.  Pure but for its caches, which are bounded.
"""

import struct
from collections.abc import Sequence
from typing import TypeVar

from opentelemetry.sdk.resources import Resource

from callgate.telemetry import names
from callgate.telemetry.pending import WaitingSpan
from callgate.telemetry.project import FINDING_EVENT, Kind, SpanShape, bounded, event_of, shapes_of
from callgate.telemetry.remote import state_text
from callgate.telemetry.spans import SCOPE_NAME
from callgate.trace import AttributeValue, DecisionTrace, Finding, TraceParent

K = TypeVar("K")
V = TypeVar("V")

# What comes again is kept encoded: this many, none longer than this (some 4 MiB in all).  A caller who invents
# names makes us begin anew, and no more.
CACHE_MAX_ENTRIES = 1024
CACHE_MAX_BYTES = 512
# Never the same twice.
_UNIQUE = frozenset(
    {names.DECISION_ID, names.CLAIM_JTI, names.CLAIM_TXN, names.JSONRPC_REQUEST_ID, names.AUDIT_SEQUENCE}
    | {names.APPROVAL_ID, names.APPROVAL_EXPIRES}
)

# Protobuf's encoding: a tag is the field's number and its wire type.
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
# `SpanFlags`: bit 8, that it is known whether the parent (or what is linked to) is remote, and bit 9, that it is.
_LOCAL, _REMOTE = 0x100, 0x300

_double = struct.Struct("<d").pack
_fixed64 = struct.Struct("<Q").pack
_times = struct.Struct("<BQBQ").pack


def _varint(number: int) -> bytes:
    """`number` >= 0, seven bits a byte, the lowest first."""
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def _tag(field: int, wire_type: int) -> bytes:
    return _varint(field << 3 | wire_type)


# Most lengths, made beforehand.
_LENGTHS = tuple(_varint(length) for length in range(2048))


def _length(length: int) -> bytes:
    return _LENGTHS[length] if length < 2048 else _varint(length)


def _field(tag: bytes, content: bytes) -> bytes:
    length = len(content)
    # As `_length` has it; a call less, some thirty times for each trace.
    return tag + (_LENGTHS[length] if length < 2048 else _varint(length)) + content


_ONE, _TWO, _THREE, _FIVE = (_tag(number, _BYTES) for number in (1, 2, 3, 5))
_SPAN_ATTRIBUTE, _SPAN_EVENT, _SPAN_LINK, _SPAN_STATUS = (_tag(number, _BYTES) for number in (9, 11, 13, 15))
_SPAN_TRACE_ID, _SPAN_ID = _tag(1, _BYTES) + b"\x10", _tag(2, _BYTES) + b"\x08"
_SPAN_PARENT_ID = _tag(4, _BYTES) + b"\x08"
_STARTED, _ENDED = _tag(7, _FIXED64)[0], _tag(8, _FIXED64)[0]
_KINDS = {kind: _tag(6, _VARINT) + _varint(kind) for kind in Kind}
_FLAGS = {flags: _tag(16, _FIXED32) + struct.pack("<I", flags) for flags in (_LOCAL, _REMOTE)}
_LINK_FLAGS = _tag(6, _FIXED32) + struct.pack("<I", _REMOTE)
_STATUS_ERROR = _tag(3, _VARINT) + b"\x02"
_UNSET_STATUS = _field(_SPAN_STATUS, b"")
_EVENT_TIME = _tag(1, _FIXED64)
_EVENT_NAME = _field(_TWO, FINDING_EVENT.encode())
_TRUE, _FALSE = _tag(2, _VARINT) + b"\x01", _tag(2, _VARINT) + b"\x00"
_INT, _DOUBLE, _ARRAY = _tag(3, _VARINT), _tag(4, _FIXED64), _tag(5, _BYTES)


def any_value(value: object) -> bytes:
    """The content of an `AnyValue`; an integer is one of 64 bits, text has no surrogates."""
    if isinstance(value, str):
        return _field(_ONE, value.encode())
    if isinstance(value, bool):
        return _TRUE if value else _FALSE
    if isinstance(value, int):
        # "int64: … negative numbers … always ten bytes long": as their two's complement of 64 bits.
        return _INT + _varint(value & 0xFFFF_FFFF_FFFF_FFFF)
    if isinstance(value, float):
        return _DOUBLE + _double(value)
    if isinstance(value, tuple | list):
        return _field(_ARRAY, b"".join([_field(_ONE, any_value(item)) for item in value]))
    raise TypeError(f"no attribute is a {type(value).__name__}")


_KEYS = {name: _field(_ONE, name.encode()) for name in names.ALLOWED}


def key_value(key: str, value: object) -> bytes:
    """The content of a `KeyValue`."""
    return (_KEYS.get(key) or _field(_ONE, key.encode())) + _field(_TWO, any_value(value))


class TraceEncoder:
    """Encodes traces of one gate: one resource and one scope a request.

    `spans_of` is for one thread, `request` for any.
    """

    def __init__(self, resource: Resource) -> None:
        attributes = b"".join([_field(_ONE, key_value(key, value)) for key, value in resource.attributes.items()])
        self._resource = _field(_ONE, attributes)
        self._schema = _field(_THREE, resource.schema_url.encode()) if resource.schema_url else b""
        self._scope = _field(_ONE, _field(_ONE, SCOPE_NAME.encode()))
        self._texts: dict[tuple[str, AttributeValue], bytes] = {}
        # With their type, because to a dictionary 1 and True are the same key.
        self._integers: dict[tuple[str, AttributeValue, type], bytes] = {}
        self._findings: dict[Finding, tuple[bytes, bytes]] = {}

    def request(self, traces: Sequence[bytes]) -> bytes:
        """An `ExportTraceServiceRequest` of what `spans_of` gave for each trace."""
        # Put together in one go: a batch has some hundred kilobytes.
        scope_spans = _TWO + _length(len(self._scope) + sum(map(len, traces)))
        size = len(self._resource) + len(scope_spans) + len(self._scope) + sum(map(len, traces)) + len(self._schema)
        return b"".join([_ONE, _length(size), self._resource, scope_spans, self._scope, *traces, self._schema])

    def spans_of(self, trace: DecisionTrace) -> bytes:
        """The spans of one trace, each as a field of `ScopeSpans`.

        Raises OverflowError or struct.error where an id or a time of the trace has too many bits.
        """
        ids = _SPAN_TRACE_ID + trace.trace_id.to_bytes(16) + _SPAN_ID
        state = _state(trace.parent) if trace.parent else b""
        server, *children = shapes_of(trace)
        head = ids + server.span_id.to_bytes(8) + state
        if trace.parent:
            head += _SPAN_PARENT_ID + trace.parent.span_id.to_bytes(8)
        first = self._span(server, head, _link(trace.link), _REMOTE if trace.parent else _LOCAL)
        below = state + _SPAN_PARENT_ID + trace.server_span_id.to_bytes(8)
        rest = [self._span(shape, ids + shape.span_id.to_bytes(8) + below, b"", _LOCAL) for shape in children]
        return b"".join([first, *rest])

    def waiting(self, waiting: WaitingSpan) -> bytes:
        """The span that tells of a call which waits, as a field of `ScopeSpans`."""
        head = _SPAN_TRACE_ID + waiting.trace_id.to_bytes(16) + _SPAN_ID + waiting.shape.span_id.to_bytes(8)
        state = _state(waiting.joined) if waiting.joined else b""
        return self._span(waiting.shape, head + state + _SPAN_PARENT_ID + waiting.parent_id.to_bytes(8), b"", _LOCAL)

    def _span(self, shape: SpanShape, head: bytes, link: bytes, flags: int) -> bytes:
        kind, name, _, started_ns, ended_ns, attributes, findings, message = shape
        times = _times(_STARTED, started_ns, _ENDED, ended_ns)
        parts = [head, _field(_FIVE, name.encode()), _KINDS[kind], times]
        known = self._texts.get
        parts += [known(item) or self._attribute(item) for item in attributes.items()]
        at = _fixed64(ended_ns)
        for finding in findings:
            before, after = self._findings.get(finding) or self._event(finding)
            parts += (before, at, after)
        status = _error(message) if names.ERROR_TYPE in attributes else _UNSET_STATUS
        parts += (link, status, _FLAGS[flags])
        return _field(_TWO, b"".join(parts))

    def _attribute(self, item: tuple[str, AttributeValue]) -> bytes:
        """What is not among the texts that are known already."""
        key, value = item
        kind = type(value)
        if (kind is int or kind is bool) and (known := self._integers.get((key, value, kind))):
            return known
        encoded = _field(_SPAN_ATTRIBUTE, key_value(key, bounded(value)))
        # It is never shorter than what it was made of, unless that was cut: then it is too long to be kept, too.
        if len(encoded) > CACHE_MAX_BYTES or key in _UNIQUE:
            return encoded
        if kind is int or kind is bool:
            _keep(self._integers, (key, value, kind), encoded)
        elif isinstance(value, (str, tuple)):
            _keep(self._texts, item, encoded)
        return encoded

    def _event(self, finding: Finding) -> tuple[bytes, bytes]:
        """What stands before and after the time of the event."""
        attributes = [_field(_THREE, key_value(key, value)) for key, value in event_of(finding).items()]
        after = _EVENT_NAME + b"".join(attributes)
        before = _SPAN_EVENT + _length(len(_EVENT_TIME) + 8 + len(after)) + _EVENT_TIME
        if len(finding.rule) + len(finding.kind) + len(finding.why) < CACHE_MAX_BYTES:
            _keep(self._findings, finding, (before, after))
        return before, after


def _keep(cache: dict[K, V], key: K, encoded: V) -> None:
    if len(cache) >= CACHE_MAX_ENTRIES:
        cache.clear()
    cache[key] = encoded


def _state(parent: TraceParent) -> bytes:
    text = state_text(parent)
    return _field(_THREE, text.encode()) if text else b""


def _link(linked: TraceParent | None) -> bytes:
    if linked is None:
        return b""
    ids = _SPAN_TRACE_ID + linked.trace_id.to_bytes(16) + _SPAN_ID + linked.span_id.to_bytes(8)
    return _field(_SPAN_LINK, ids + _LINK_FLAGS)


def _error(message: str) -> bytes:
    """MCP: "Span status SHOULD be set to ERROR when `error.type` attribute is present"; otherwise it stays unset."""
    return _field(_SPAN_STATUS, (_field(_TWO, message.encode()) if message else b"") + _STATUS_ERROR)
