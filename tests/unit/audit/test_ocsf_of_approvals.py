"""What people said, as OCSF events.

The rules are those of the schema's own files at version 1.5.0 (https://schema.ocsf.io/1.5.0/classes/entity_management),
written down by hand: of base_event, iam, entity_management, the profiles security_control and trace, and the objects
managed_entity, actor and user.
"""

import orjson
import pytest

from callgate.audit.entries import Entry, join
from callgate.audit.ocsf import api_activity
from callgate.audit.ocsf_approval import entity_management
from callgate.wire.json_strict import JsonObject
from support.audit_logs import CALLER, POLICY_DIGEST, MadeLog

REQUIRED = {
    *("activity_id", "category_uid", "class_uid", "type_uid", "severity_id", "time", "metadata", "entity"),
}
KNOWN = REQUIRED | {
    *("activity_name", "category_name", "class_name", "type_name", "severity", "message", "status_id", "status"),
    *("status_code", "action_id", "action", "disposition_id", "disposition", "policy", "comment", "actor", "trace"),
    "unmapped",
}
ACTIVITIES = {1: "Create", 2: "Read", 3: "Update", 10: "Activate", 11: "Deactivate"}


def event_of(happening: str, **said: object) -> JsonObject:
    log = MadeLog()
    log.approval(happening, **said)  # type: ignore[arg-type]  # what a test says of it
    (entry,) = join((orjson.loads(line) for lines in log.lines() for line in lines), others=frozenset({"approval"}))
    event = entity_management(entry)
    assert event.keys() >= REQUIRED
    assert event.keys() <= KNOWN
    assert (event["category_uid"], event["class_uid"]) == (3, 3004)
    assert event["type_uid"] == 300_400 + int(str(event["activity_id"]))
    assert event["activity_name"] == ACTIVITIES[int(str(event["activity_id"]))]
    return event


def test_a_decision_by_a_person_names_who_decided_on_what_and_why() -> None:
    event = event_of("approved", by="alice@acme.test", verdict="approve", reason="as agreed")

    assert event["actor"] == {
        "user": {"name": "alice@acme.test", "uid": "1", "type_id": 1, "type": "User"},
        "idp": {"uid": "https://idp.acme.test", "issuer": "https://idp.acme.test"},
    }
    # "Other' and the `type` attribute should label the entity type."
    assert event["entity"] == {
        "uid": "ad" * 16,
        "name": "refund on ledger",
        "type_id": 99,
        "type": "Approval request",
    }
    # "The user provided comment about why the entity was changed."
    assert event["comment"] == "as agreed"
    assert event["policy"] == {"uid": POLICY_DIGEST, "name": "callgate policy", "is_applied": True}
    assert "approved by alice@acme.test" in str(event["message"])


@pytest.mark.parametrize(
    ("happening", "said", "activity", "action", "disposition"),
    [
        ("asked", {"decision": "dd" * 16}, "Create", "Observed", "Logged"),
        ("seen", {"by": "alice@acme.test"}, "Read", "Observed", "Logged"),
        ("agreed", {"by": "alice@acme.test", "verdict": "approve"}, "Update", "Allowed", "Approved"),
        ("approved", {"by": "alice@acme.test", "verdict": "approve"}, "Activate", "Allowed", "Approved"),
        ("denied", {"by": "alice@acme.test", "verdict": "deny"}, "Deactivate", "Denied", "Rejected"),
        ("used", {"decision": "dd" * 16}, "Update", "Observed", "Logged"),
        ("expired", {}, "Deactivate", "Observed", "Logged"),
        ("void", {}, "Deactivate", "Observed", "Logged"),
    ],
)
def test_each_happening_has_its_activity_and_its_disposition(
    happening: str, said: dict[str, object], activity: str, action: str, disposition: str
) -> None:
    event = event_of(happening, **said)
    assert (event["activity_name"], event["action"], event["disposition"]) == (activity, action, disposition)


def test_what_no_person_did_is_the_workloads_or_the_gates_own() -> None:
    assert event_of("asked", decision="dd" * 16)["actor"] == {"app_uid": CALLER, "session": {"uid": "5e" * 8}}
    assert event_of("expired")["actor"] == {"app_name": "callgate"}


def test_a_user_of_the_machine_is_told_by_its_number() -> None:
    log = MadeLog()
    log.approval("denied", verdict="deny")
    record = {**log.records[0][1], "kind": "approval", "by": {"name": "local:ada", "means": "socket", "uid": 1000}}
    event = entity_management(Entry(orjson.loads(orjson.dumps(record))))
    assert event["actor"] == {"user": {"name": "local:ada", "uid": "1000", "type_id": 1, "type": "User"}}


def test_a_held_call_is_delayed_and_not_denied() -> None:
    log = MadeLog()
    log.refusal(tool="refund", reason="approval_required", stage="approve", approval={"id": "ad" * 16})
    (entry,) = join(orjson.loads(line) for lines in log.lines() for line in lines)
    event = api_activity(entry)
    # "The action is not mapped. See the `action` attribute, which contains a data source specific value."
    assert (event["action_id"], event["action"]) == (99, "hold")
    assert (event["disposition_id"], event["disposition"]) == (14, "Delayed")
    assert "held (approval_required)" in str(event["message"])
