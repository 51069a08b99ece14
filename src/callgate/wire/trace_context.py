"""W3C Trace Context (level 1) as MCP carries it in `params._meta` (2026-07-28, basic, "OpenTelemetry trace context")."""

import re
from typing import Final

from callgate.trace import TraceParent
from callgate.wire.json_strict import JsonObject, JsonValue

# 3.2.2: version-format of version 00: trace-id "-" parent-id "-" trace-flags, lower-case hex.  3.2.2.1: "ff" is invalid.
_TRACEPARENT: Final = re.compile(r"(?!ff)([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-[!-~]*)?")
_TRACEPARENT_CHARS: Final = 256
# 3.3.1.1: list-member = key "=" value, separated by commas with white space around; 32 members at most.
_KEY: Final = r"[a-z0-9][a-z0-9_\-*/@]{0,255}"
_VALUE: Final = r"[ -+\--<>-~]{0,255}[!-+\--<>-~]"
_MEMBER: Final = re.compile(rf"{_KEY}={_VALUE}")
_STATE_MEMBERS: Final = 32
# 3.3.1.5: "Vendors SHOULD propagate at least 512 characters of a combined header."  No more is taken.
_STATE_CHARS: Final = 512


def read_trace_context(meta: JsonObject) -> TraceParent | None:
    """The caller's span.

    None where there is none, or an unreadable one: 3.2.2: "If parsing fails, the vendor creates a new traceparent".
    """
    text = meta.get("traceparent")
    match = _TRACEPARENT.fullmatch(text) if type(text) is str and len(text) <= _TRACEPARENT_CHARS else None
    if match is None or (match[1] == "00" and match[5]):
        return None
    trace_id, span_id = int(match[2], 16), int(match[3], 16)
    # 3.2.2.3 and 3.2.2.4: all zeroes are invalid.
    if not trace_id or not span_id:
        return None
    return TraceParent(
        trace_id, span_id, sampled=bool(int(match[4], 16) & 1), state=_read_state(meta.get("tracestate"))
    )


def write_traceparent(trace_id: int, span_id: int) -> str:
    """A traceparent of version 00 whose span is recorded."""
    return f"00-{trace_id:032x}-{span_id:016x}-01"


def _read_state(text: JsonValue) -> str:
    """A valid tracestate, or "": 3.3.1: "failure to parse tracestate MUST NOT affect the parsing of traceparent"."""
    if type(text) is not str or len(text) > _STATE_CHARS:
        return ""
    members = [member.strip(" \t") for member in text.split(",")]
    members = [member for member in members if member]
    valid = len(members) <= _STATE_MEMBERS and all(map(_MEMBER.fullmatch, members))
    return ",".join(members) if valid else ""
