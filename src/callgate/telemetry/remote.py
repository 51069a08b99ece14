"""A caller's W3C trace context, as the SDK wants it and as OTLP writes it."""

import re

from opentelemetry.trace import SpanContext, TraceFlags, TraceState

from callgate.trace import TraceParent

# W3C Trace Context level 1, section 3.3.1.3: `key` (simple, or tenant@system) and `value`.
_KEY = r"(?:[a-z][a-z0-9_\-*/]{0,255}|[a-z0-9][a-z0-9_\-*/]{0,240}@[a-z][a-z0-9_\-*/]{0,13})"
_VALUE = r"[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e]"
_MEMBER = re.compile(rf"({_KEY})=({_VALUE})")
_MAX_MEMBERS = 32

NO_STATE = TraceState()


def remote_span(parent: TraceParent | None) -> SpanContext | None:
    """The caller's span, for a parent or a link; None where the caller named none."""
    if parent is None:
        return None
    flags = TraceFlags(TraceFlags.SAMPLED if parent.sampled else TraceFlags.DEFAULT)
    return SpanContext(parent.trace_id, parent.span_id, is_remote=True, trace_flags=flags, trace_state=state_of(parent))


def state_of(parent: TraceParent | None) -> TraceState:
    """The caller's tracestate; empty where it is not well-formed."""
    members = _members(parent)
    return TraceState(members) if members else NO_STATE


def state_text(parent: TraceParent | None) -> str:
    """The same as one text, without the spaces that may stand around a comma."""
    return ",".join([f"{key}={value}" for key, value in _members(parent)])


def _members(parent: TraceParent | None) -> list[tuple[str, str]]:
    """Nothing where one of them is not well-formed, which section 3.3.1 allows.

    Checked here, because the SDK's own check writes a log line for each thing that a caller got wrong.
    """
    if parent is None or not parent.state:
        return []
    members = [stripped for member in parent.state.split(",") if (stripped := member.strip(" \t"))]
    found = [match for member in members if (match := _MEMBER.fullmatch(member))]
    keys = {match[1] for match in found}
    if len(found) != len(members) or len(keys) != len(found) or len(found) > _MAX_MEMBERS:
        return []
    return [(match[1], match[2]) for match in found]
