"""An entry as an event of the Open Cybersecurity Schema Framework: API Activity, class 6003, of version 1.5.0.

https://schema.ocsf.io/1.5.0/classes/api_activity, with the profiles `security_control` (what the gate decided) and
`trace`.  What the schema has no place for stands in `unmapped`, under the names of the record.  Pure.
"""

from collections.abc import Collection
from importlib.metadata import version
from ipaddress import ip_address
from typing import Final

from callgate.audit.entries import Entry, Status
from callgate.audit.story import status_of
from callgate.wire.json_strict import JsonObject, JsonValue
from callgate.wire.members import number_of, objects_of, text_of, texts_of

OCSF_VERSION: Final = "1.5.0"
_CATEGORY: Final = 6
_CLASS: Final = 6003
PRODUCT: Final[JsonObject] = {"name": "callgate", "vendor_name": "callgate", "version": version("callgate")}

# `activity_id`: 0 Unknown, 1 Create, 2 Read, 3 Update, 4 Delete, 99 Other.  What a tool does only its server knows.
_UNKNOWN: Final = 0
_READ: Final = 2
_OTHER: Final = 99
_READING: Final = frozenset(
    {
        "completion/complete",
        "prompts/get",
        "prompts/list",
        "resources/list",
        "resources/read",
        "resources/templates/list",
        "server/discover",
        "tools/list",
    }
)
# `severity_id`: "1 Informational: No action required", "2 Low: The user decides if action is needed".
_SEVERITIES: Final = {1: "Informational", 2: "Low"}
# `status_id`: "Use 0 (Unknown) when the outcome cannot be determined, and 99 (Other) with a populated status string
# when the source value does not map cleanly."
_STATUSES: Final = {
    Status.ANSWERED: (1, "Success"),
    Status.ABSORBED: (1, "Success"),
    Status.UNKNOWN: (0, "Unknown"),
    Status.OPEN: (0, "Unknown"),
    Status.CANCELLED: (99, "cancelled"),
}
_FAILURE: Final = (2, "Failure")
# A call that is held is neither allowed nor denied: `action_id` 99 is for what is not mapped, under the source's own
# word, and `disposition_id` 14 "An operation was delayed".
_HELD: Final = (99, "hold")
_DELAYED: Final = (14, "Delayed")
_ACTIONS: Final = {"allow": (1, "Allowed"), "deny": (2, "Denied"), "hold": _HELD}
# `disposition_id`.  26: "denied due to an authorization check that failed".  25: "A request or submission was rejected.
# For example, when a form was improperly filled out".  2: "Denied access or blocked the action".
_ALLOWED: Final = (1, "Allowed")
_BLOCKED: Final = (2, "Blocked")
_DISPOSITIONS: Final = {"decide": (26, "Unauthorized"), "read": (25, "Rejected")}
_REFUSED: Final = {"deny": "denied", "hold": "held"}
# What has a place of its own in the event.
MAPPED: Final = frozenset(
    {"v", "seq", "time", "kind", "decision", "trace", "span", "session", "mcp_session", "address", "caller", "server"}
    | {"method", "tool", "revision", "user", "policy", "reason", "http", "intent", "detail"}
)


def api_activity(entry: Entry) -> JsonObject:
    """The event for one request.  Times are Unix milliseconds, as OCSF has them."""
    activity_id, activity = _activity(entry)
    severity_id = 1 if _status(entry)[0] == 1 else 2
    disposition_id, disposition = _disposition(entry)
    found: JsonObject = {
        "activity_id": activity_id,
        "activity_name": activity,
        "category_uid": _CATEGORY,
        "category_name": "Application Activity",
        "class_uid": _CLASS,
        "class_name": "API Activity",
        "type_uid": _CLASS * 100 + activity_id,
        "type_name": f"API Activity: {'Other' if activity_id == _OTHER else activity}",
        "severity_id": severity_id,
        "severity": _SEVERITIES[severity_id],
        "time": milliseconds(entry.time_ns),
        "message": _message(entry),
        "status_id": _status(entry)[0],
        "status": _status(entry)[1],
        "status_code": entry.reason or entry.status,
        "status_detail": text_of(entry.record, "detail"),
        "action_id": _ACTIONS[entry.verdict][0],
        "action": _ACTIONS[entry.verdict][1],
        "disposition_id": disposition_id,
        "disposition": disposition,
        "authorizations": _authorizations(entry),
        "policy": policy_of(entry),
        "actor": _actor(entry),
        "api": _api(entry),
        "http_response": _http_response(entry),
        "src_endpoint": _source(entry.address),
        "dst_endpoint": {"svc_name": entry.server} if entry.server else {},
        "trace": _trace(entry),
        "metadata": _metadata(entry),
        "unmapped": _unmapped(entry),
    }
    return without_empty(found)


def _activity(entry: Entry) -> tuple[int, str]:
    if not entry.method:
        return _UNKNOWN, "Unknown"
    return (_READ, "Read") if entry.method in _READING else (_OTHER, entry.method)


def _status(entry: Entry) -> tuple[int, str]:
    return _STATUSES.get(status_of(entry), _FAILURE)


def _disposition(entry: Entry) -> tuple[int, str]:
    if entry.verdict == "hold":
        return _DELAYED
    return _ALLOWED if entry.verdict == "allow" else _DISPOSITIONS.get(entry.stage, _BLOCKED)


def _message(entry: Entry) -> str:
    said = "allowed" if entry.verdict == "allow" else f"{_REFUSED[entry.verdict]} ({entry.reason})"
    asked = " ".join(filter(None, (entry.method, entry.tool))) or "a connection"
    server = f" on {entry.server}" if entry.server else ""
    return f"{entry.caller or 'an unidentified peer'}: {asked}{server}: {said}, {entry.status}"


def _authorizations(entry: Entry) -> list[JsonValue]:
    """The rules that applied."""
    return [
        {
            "decision": "denied" if text_of(rule, "kind") == "denial" else "allowed",
            "policy": {"name": text_of(rule, "rule"), "desc": text_of(rule, "why")},
        }
        for rule in objects_of(entry.record, "rules")
        if rule.get("matched") is True and text_of(rule, "rule")
    ]


def policy_of(entry: Entry) -> JsonObject:
    """The policy that decided, or that asked for a person."""
    digest = text_of(entry.record, "policy")
    return {"uid": digest, "name": "callgate policy", "is_applied": True} if digest else {}


def _actor(entry: Entry) -> JsonObject:
    """At least one of process, user, session, app_name and app_uid."""
    user = entry.part("user")
    issuer, groups = text_of(user, "issuer"), texts_of(user, "groups")
    return {
        "app_uid": entry.caller,
        "app_name": "" if entry.caller else "unidentified",
        "session": {"uid": entry.session, "uid_alt": text_of(entry.record, "mcp_session")},
        "user": {"uid": entry.user, "type_id": 1, "type": "User", "groups": [{"name": group} for group in groups]}
        if entry.user
        else {},
        "idp": {"uid": issuer, "issuer": issuer},
    }


def _api(entry: Entry) -> JsonObject:
    answered = entry.part("answered")
    rpc = number_of(answered, "rpc", 0)
    return {
        # Required; what could not be read has none.
        "operation": entry.tool or entry.method or "unknown",
        "group": {"name": entry.method},
        "service": {"name": entry.server},
        "version": text_of(entry.record, "revision"),
        "request": {"uid": entry.decision},
        "response": {**({"code": rpc} if rpc else {}), "error": entry.reason},
    }


def _http_response(entry: Entry) -> JsonObject:
    """What the tool server answered with; for a request that was refused, what the gate did."""
    code = number_of(entry.outcome, "http", 0) if entry.outcome else number_of(entry.part("answered"), "http", 0)
    return {"code": code} if code > 0 else {}


def _source(address: str) -> JsonObject:
    """`host:port`, the host of an IPv6 address perhaps in brackets.  At least one of ip and name."""
    host, _, port = address.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    try:
        found: JsonObject = {"ip": str(ip_address(host))}
    except ValueError:
        return {"name": address or "unknown"}
    if port.isascii() and port.isdecimal() and int(port) < 65_536:
        found["port"] = int(port)
    return found


def _trace(entry: Entry) -> JsonObject:
    if not entry.trace:
        return {}
    span = text_of(entry.record, "span")
    if not span or entry.took_us is None:
        return {"uid": entry.trace}
    ended_ns = entry.time_ns + entry.took_us * 1000
    times: JsonObject = {
        "start_time": milliseconds(entry.time_ns),
        "end_time": milliseconds(ended_ns),
        "duration": entry.took_us // 1000,
    }
    return {"uid": entry.trace, "span": {"uid": span, **times}}


def _metadata(entry: Entry) -> JsonObject:
    return {
        "version": OCSF_VERSION,
        "product": PRODUCT,
        "profiles": ["security_control", "trace"],
        "uid": entry.decision,
        "correlation_uid": entry.trace,
        "sequence": entry.seq,
        "log_name": "audit",
        "log_provider": "callgate",
        "original_time": entry.time_text,
    }


def _unmapped(entry: Entry) -> JsonObject:
    """What is left: digests, the path of the decision, the token's id, what rules in shadow would have said."""
    rest = unmapped_of(entry.record)
    if entry.outcome is not None:
        rest["outcome"] = unmapped_of(entry.outcome)
    return {"callgate": rest}


def unmapped_of(record: JsonObject, mapped: Collection[str] = MAPPED) -> JsonObject:
    """What of a record has no place of its own in the event."""
    return {name: value for name, value in record.items() if name not in mapped}


def milliseconds(time_ns: int) -> int:
    """Of Unix nanoseconds, as OCSF has all times."""
    return time_ns // 1_000_000


def without_empty(value: JsonObject) -> JsonObject:
    """What says nothing is left out, at any depth: an empty text would be taken for a value."""
    found: JsonObject = {}
    for name, each in value.items():
        kept: JsonValue = without_empty(each) if isinstance(each, dict) and name != "unmapped" else each
        if kept not in ("", {}, []) and kept is not None:
            found[name] = kept
    return found
