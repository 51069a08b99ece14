"""Entries as OCSF events.

The rules below are those of the schema's own files at version 1.5.0 (https://schema.ocsf.io/1.5.0), written down by
hand: of base_event, api_activity, the profiles security_control and trace, and the objects that are used.
"""

from ipaddress import ip_address

import orjson
import pytest

from callgate.audit.entries import Entry, join
from callgate.audit.ocsf import api_activity
from callgate.wire.json_strict import JsonObject, JsonValue
from support.audit_logs import BEGAN_NS, CALLER, POLICY_DIGEST, MadeLog

# Each object's attributes and their types; a `!` is required.  `[x]` is an array.
SCHEMA: dict[str, dict[str, str]] = {
    "api_activity": {
        "activity_id": "activity_id!", "activity_name": "str", "category_uid": "int!", "category_name": "str",
        "class_uid": "int!", "class_name": "str", "type_uid": "int!", "type_name": "str", "severity_id": "severity_id!",
        "severity": "str", "time": "ms!", "message": "str", "status_id": "status_id", "status": "str",
        "status_code": "str", "status_detail": "str", "action_id": "action_id", "action": "str",
        "disposition_id": "disposition_id", "disposition": "str", "authorizations": "[authorization]",
        "policy": "policy", "actor": "actor!", "api": "api!", "http_response": "http_response",
        "src_endpoint": "network_endpoint!", "dst_endpoint": "network_endpoint", "trace": "trace",
        "metadata": "metadata!", "unmapped": "any",
    },
    "authorization": {"decision": "str", "policy": "policy"},
    "policy": {"name": "str", "uid": "str", "desc": "str", "is_applied": "bool", "version": "str"},
    "actor": {"app_uid": "str", "app_name": "str", "session": "session", "user": "user", "idp": "idp"},
    "session": {"uid": "str", "uid_alt": "str", "issuer": "str"},
    "user": {"uid": "str", "name": "str", "type_id": "user_type_id", "type": "str", "groups": "[group]"},
    "group": {"name": "str", "uid": "str"},
    "idp": {"uid": "str", "name": "str", "issuer": "str"},
    "api": {
        "operation": "str!", "group": "group", "service": "service", "version": "str", "request": "request",
        "response": "response",
    },
    "service": {"name": "str", "uid": "str", "version": "str"},
    "request": {"uid": "str!"},
    "response": {"code": "int", "error": "str", "error_message": "str", "message": "str"},
    "http_response": {"code": "int!"},
    "network_endpoint": {"ip": "ip", "port": "port", "name": "str", "svc_name": "str"},
    "trace": {"uid": "str!", "span": "span"},
    "span": {"uid": "str!", "start_time": "ms!", "end_time": "ms!", "duration": "int"},
    "metadata": {
        "version": "str!", "product": "product!", "profiles": "[str]", "uid": "str", "correlation_uid": "str",
        "sequence": "int", "log_name": "str", "log_provider": "str", "original_time": "str",
    },
    "product": {"name": "str", "uid": "str", "vendor_name": "str", "version": "str"},
}  # fmt: skip
AT_LEAST_ONE = {
    "actor": {"process", "user", "session", "app_name", "app_uid"},
    "user": {"account", "name", "uid"},
    "policy": {"name", "uid"},
    "idp": {"name", "uid"},
    "service": {"name", "uid"},
    "product": {"name", "uid"},
    "network_endpoint": {"ip", "name", "svc_name"},
}
# Each value and its caption, which the sibling without `_id` has to repeat; of 99 it has the source's own word.
ENUMS: dict[str, dict[int, str | None]] = {
    "activity_id": {0: "Unknown", 1: "Create", 2: "Read", 3: "Update", 4: "Delete", 99: None},
    "severity_id": {0: "Unknown", 1: "Informational", 2: "Low", 3: "Medium", 4: "High", 5: "Critical", 6: "Fatal"},
    "status_id": {0: "Unknown", 1: "Success", 2: "Failure", 99: None},
    "action_id": {0: "Unknown", 1: "Allowed", 2: "Denied", 99: None},
    "disposition_id": {0: "Unknown", 1: "Allowed", 2: "Blocked", 25: "Rejected", 26: "Unauthorized", 27: "Error"},
    "user_type_id": {0: "Unknown", 1: "User", 2: "Admin", 3: "System", 99: None},
}
SIBLING = {"activity_id": "activity_name", "user_type_id": "type"}


def problems(value: JsonValue, kind: str, where: str) -> list[str]:
    if kind.startswith("["):
        assert isinstance(value, list)
        return [found for each in value for found in problems(each, kind[1:-1], where)]
    if kind in SCHEMA:
        return object_problems(value, kind, where)
    match kind:
        case "str":
            right = isinstance(value, str) and value != ""
        case "bool":
            right = isinstance(value, bool)
        case "ip":
            right = isinstance(value, str) and str(ip_address(value)) == value
        case "port":
            right = isinstance(value, int) and 0 <= value <= 65_535
        case "ms":
            # Milliseconds since 1970: between 2020 and 2100.
            right = isinstance(value, int) and 1_577_836_800_000 < value < 4_102_444_800_000
        case "any":
            right = isinstance(value, dict)
        case _:
            right = isinstance(value, int) and not isinstance(value, bool)
    return [] if right else [f"{where}: {value!r} is no {kind}"]


def object_problems(value: JsonValue, kind: str, where: str) -> list[str]:
    assert isinstance(value, dict), where
    schema = SCHEMA[kind]
    found = [f"{where}.{name} is missing" for name, each in schema.items() if each.endswith("!") and name not in value]
    if kind in AT_LEAST_ONE and not AT_LEAST_ONE[kind] & value.keys():
        found.append(f"{where} has none of {AT_LEAST_ONE[kind]}")
    for name, each in value.items():
        if name not in schema:
            found.append(f"{where}.{name} is not in the schema")
            continue
        attribute = schema[name].removesuffix("!")
        found += problems(each, attribute, f"{where}.{name}")
        if attribute in ENUMS:
            assert isinstance(each, int)
            caption = ENUMS[attribute].get(each, "?")
            said = value.get(SIBLING.get(attribute, name.removesuffix("_id")))
            if caption != said and not (caption is None and said):
                found.append(f"{where}.{name}: {each} is called {caption}, not {said}")
    return found


def check(event: JsonObject) -> None:
    assert problems(event, "api_activity", "event") == []
    assert event["category_uid"] == 6
    assert event["class_uid"] == 6003
    # "The event/finding type ID. It identifies the event's semantics and structure.  The value is calculated by the
    # logging system as: class_uid * 100 + activity_id."
    assert event["type_uid"] == 600_300 + int(str(event["activity_id"]))
    metadata = event["metadata"]
    assert isinstance(metadata, dict)
    assert metadata["version"] == "1.5.0"
    assert metadata["profiles"] == ["security_control", "trace"]


def entries_of(log: MadeLog) -> list[Entry]:
    return list(join(orjson.loads(line) for lines in log.lines() for line in lines))


def only(log: MadeLog) -> JsonObject:
    (entry,) = entries_of(log)
    event = api_activity(entry)
    check(event)
    return event


def part(event: JsonObject, *names: str) -> JsonValue:
    found: JsonValue = event
    for name in names:
        assert isinstance(found, dict)
        found = found[name]
    return found


def test_an_answered_call_is_an_allowed_success() -> None:
    log = MadeLog()
    user: JsonValue = {"issuer": "https://login.acme.test", "subject": "alice", "groups": ["clerks"]}
    decision = log.call(tool="refund", user=user)
    event = only(log)
    assert (event["activity_id"], event["activity_name"]) == (99, "tools/call")
    assert event["type_name"] == "API Activity: Other"
    assert (event["status"], event["severity"], event["action"], event["disposition"]) == (
        "Success", "Informational", "Allowed", "Allowed",
    )  # fmt: skip
    assert part(event, "api", "operation") == "refund"
    assert part(event, "api", "service", "name") == "ledger"
    assert part(event, "api", "request", "uid") == decision
    assert part(event, "actor", "app_uid") == CALLER
    assert part(event, "actor", "user", "uid") == "alice"
    assert part(event, "actor", "idp", "uid") == "https://login.acme.test"
    assert part(event, "src_endpoint") == {"ip": "127.0.0.1", "port": 50000}
    assert part(event, "policy", "uid") == POLICY_DIGEST
    assert part(event, "authorizations") == [
        {"decision": "allowed", "policy": {"name": "billing-reads-invoices", "desc": "tool matches refund"}}
    ]


def test_times_are_milliseconds() -> None:
    log = MadeLog()
    log.call()
    event = only(log)
    began_ms = (BEGAN_NS + 50_000_000) // 1_000_000
    assert event["time"] == began_ms
    span = part(event, "trace", "span")
    assert isinstance(span, dict)
    assert (span["start_time"], span["end_time"], span["duration"]) == (began_ms, began_ms + 1, 1)


def test_a_denied_call_is_unauthorized() -> None:
    log = MadeLog()
    log.refusal(tool="wipe_ledger")
    event = only(log)
    assert (event["action"], event["disposition"], event["status"]) == ("Denied", "Unauthorized", "Failure")
    assert event["status_code"] == "denied"
    assert part(event, "authorizations") == [
        {"decision": "denied", "policy": {"name": "no-wiping", "desc": "tool matches wipe_ledger"}}
    ]
    assert part(event, "http_response", "code") == 200
    assert part(event, "api", "response") == {"code": -31403, "error": "denied"}


def test_a_peer_without_identity_is_an_unidentified_actor() -> None:
    log = MadeLog()
    log.handshake_refusal(address="[2001:db8::7]:4711")
    event = only(log)
    assert (event["activity_id"], event["disposition"]) == (0, "Blocked")
    assert part(event, "actor") == {"app_name": "unidentified"}
    assert part(event, "src_endpoint") == {"ip": "2001:db8::7", "port": 4711}
    assert "dst_endpoint" not in event


@pytest.mark.parametrize(
    ("status", "status_id"),
    [
        ("answered", 1), ("tool_error", 2), ("rpc_error", 2), ("failed", 2), ("not_forwarded", 2), ("cancelled", 99),
        ("unknown", 0),
    ],
)  # fmt: skip
def test_each_end_of_a_call_has_its_status(status: str, status_id: int) -> None:
    log = MadeLog()
    log.call(status=status)
    assert only(log)["status_id"] == status_id


def test_what_is_read_and_known_to_be_is_a_read_activity() -> None:
    log = MadeLog()
    log.call(tool=None)
    event = only(log)
    assert (event["activity_id"], event["type_name"]) == (2, "API Activity: Read")
    assert part(event, "api", "operation") == "tools/list"


def test_a_record_that_says_nothing_makes_an_event_that_is_still_right() -> None:
    record: JsonObject = {"seq": 1, "kind": "refusal", "time": "2026-01-07T12:00:00.000000000Z"}
    check(api_activity(Entry(record)))
    check(api_activity(Entry({**record, "address": "unix:4", "rules": [1, {}], "answered": {"http": "x"}, "user": []})))


def test_the_token_stands_in_unmapped_by_its_id_and_digest() -> None:
    log = MadeLog()
    decision = log.call()
    token = part(only(log), "unmapped", "callgate", "token")
    assert isinstance(token, dict)
    assert token["jti"] == decision[:22]
