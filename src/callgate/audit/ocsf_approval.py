"""What a person was asked and said, as an event of the Open Cybersecurity Schema Framework: Entity Management, 3004.

Of version 1.5.0, https://schema.ocsf.io/1.5.0/classes/entity_management: "Entity Management events report activity by a
managed client, a micro service, or a user at a management console."  A request for approval is such an entity, and the
people who answer are such users.  API Activity is for the calls themselves: an answer is none of the agent's doing, and
User Access Management gives a user privileges, where here one call of a workload is let through once.

The profile `security_control` has the words for the answer: "8 Approved: A request or submission was approved … distinct
from 1 'Allowed'", and "25 Rejected".  Pure.
"""

from collections.abc import Mapping
from typing import Final

from callgate.audit.entries import Entry
from callgate.audit.ocsf import (
    OCSF_VERSION,
    PRODUCT,
    milliseconds,
    policy_of,
    unmapped_of,
    without_empty,
)
from callgate.wire.json_strict import JsonObject
from callgate.wire.members import number_of, text_of

_CATEGORY: Final = 3
_CLASS: Final = 3004
_ENTITY_TYPE: Final = "Approval request"
# `activity_id`.  10 and 11 are "typically regarded as a transient change": what is approved lets calls through for a
# while, and what is denied, over or void lets none through any more.
_CREATE: Final = (1, "Create")
_READ: Final = (2, "Read")
_UPDATE: Final = (3, "Update")
_ACTIVATE: Final = (10, "Activate")
_DEACTIVATE: Final = (11, "Deactivate")
_ACTIVITIES: Final[Mapping[str, tuple[int, str]]] = {
    "asked": _CREATE,
    "seen": _READ,
    "agreed": _UPDATE,
    "approved": _ACTIVATE,
    "denied": _DEACTIVATE,
    "used": _UPDATE,
    "expired": _DEACTIVATE,
    "void": _DEACTIVATE,
}
_UNKNOWN: Final = (0, "Unknown")
# `action_id` and `disposition_id`.  3 "Observed: neither explicitly allowed nor denied", 17 "Logged".
_APPROVED: Final = ((1, "Allowed"), (8, "Approved"))
_REJECTED: Final = ((2, "Denied"), (25, "Rejected"))
_OBSERVED: Final = ((3, "Observed"), (17, "Logged"))
_ANSWERS: Final = {"approve": _APPROVED, "deny": _REJECTED}
# What has a place of its own in the event.
_MAPPED: Final = frozenset(
    {"v", "seq", "time", "kind", "happening", "approval", "policy", "reason", "by", "trace", "session"}
)


def entity_management(entry: Entry) -> JsonObject:
    """The event for one `approval` record.  Times are Unix milliseconds, as OCSF has them."""
    activity_id, activity = _ACTIVITIES.get(_happening(entry), _UNKNOWN)
    (action_id, action), (disposition_id, disposition) = _ANSWERS.get(text_of(entry.record, "verdict"), _OBSERVED)
    found: JsonObject = {
        "activity_id": activity_id,
        "activity_name": activity,
        "category_uid": _CATEGORY,
        "category_name": "Identity & Access Management",
        "class_uid": _CLASS,
        "class_name": "Entity Management",
        "type_uid": _CLASS * 100 + activity_id,
        "type_name": f"Entity Management: {activity}",
        "severity_id": 1,
        "severity": "Informational",
        "time": milliseconds(entry.time_ns),
        "message": _message(entry),
        "status_id": 1,
        "status": "Success",
        "status_code": _happening(entry),
        "action_id": action_id,
        "action": action,
        "disposition_id": disposition_id,
        "disposition": disposition,
        "policy": policy_of(entry),
        "comment": text_of(entry.record, "reason"),
        "actor": _actor(entry),
        "entity": _entity(entry),
        "trace": {"uid": entry.trace} if entry.trace else {},
        "metadata": _metadata(entry),
        "unmapped": {"callgate": unmapped_of(entry.record, _MAPPED)},
    }
    return without_empty(found)


def _happening(entry: Entry) -> str:
    return text_of(entry.record, "happening")


def _message(entry: Entry) -> str:
    name = text_of(entry.part("by"), "name")
    by = f" by {name}" if name else ""
    return f"{entry.caller}: approval of {entry.tool} on {entry.server}: {_happening(entry)}{by}"


def _actor(entry: Entry) -> JsonObject:
    """The person; where there is none the workload that asked or used it, or else the gate itself."""
    by = entry.part("by")
    name, subject, issuer = (text_of(by, field) for field in ("name", "subject", "issuer"))
    if name:
        uid = number_of(by, "uid")
        known = subject or (str(uid) if uid >= 0 else "")
        user: JsonObject = {"name": name, "uid": known, "type_id": 1, "type": "User"}
        return {"user": user, "idp": {"uid": issuer, "issuer": issuer}}
    if entry.decision:
        return {"app_uid": entry.caller, "session": {"uid": entry.session}}
    return {"app_name": "callgate"}


def _entity(entry: Entry) -> JsonObject:
    # "If the type of entity is not in the `type_id` list, … `type_id` should be 'Other' and the `type` attribute should
    # label the entity type."
    return {
        "uid": entry.approval,
        "name": f"{entry.tool} on {entry.server}",
        "type_id": 99,
        "type": _ENTITY_TYPE,
    }


def _metadata(entry: Entry) -> JsonObject:
    return {
        "version": OCSF_VERSION,
        "product": PRODUCT,
        "profiles": ["security_control", "trace"],
        "uid": f"{entry.approval}-{entry.seq}",
        "correlation_uid": entry.trace,
        "sequence": entry.seq,
        "log_name": "audit",
        "log_provider": "callgate",
        "original_time": entry.time_text,
    }
