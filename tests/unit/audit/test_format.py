"""The published format of records says what is written, and nothing less strict."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import orjson
import pytest
from jsonschema import Draft202012Validator

from callgate.audit.chain import Chain, Kind, Moment
from callgate.audit.entries import Status
from callgate.audit.format import KINDS, fields_of, record_schema, rows_of
from callgate.errors import Reason
from callgate.wire.json_strict import JsonObject
from support.audit_logs import MadeLog
from support.record_format import faults_of

HASH = "ab" * 32
ID = "cd" * 16
USER = {"issuer": "https://id.acme.test", "subject": "ann", "groups": ["finance"]}
SHADOW = {"decision": "deny", "reason": "denied", "rules": ["soon"]}
COUNTS: list[object] = [
    {"stage": "accept", "reason": "tls_no_certificate", "count": 7},
    {"stage": "decide", "reason": "no_grant", "caller": "spiffe://acme.test/a", "count": 1},
]
SPAN: dict[str, object] = {
    "since": "2026-01-07T12:00:00.000000000Z",
    "until": "2026-01-07T12:00:05.000000001Z",
    "counts": COUNTS,
}
# Format 1: what programs of others may rely on to be there, kind by kind.
_ASKED = "decision trace span session mcp_session address caller leaf svid server method tool revision args size rpc"
_ASKED += " user purpose dry_run policy reason rules more_rules shadow path definition masked_arguments approval"
FORMAT_1 = {
    Kind.SEGMENT: "origin segment peaks open",
    Kind.START: "version instance issuer key policy",
    Kind.STOP: "",
    Kind.POLICY: "digest files",
    Kind.INTENT: f"{_ASKED} token record request",
    Kind.OUTCOME: (
        "intent decision trace status reason took_us answer http hidden masked deceptive drifted began path closed_by"
    ),
    Kind.REFUSAL: f"{_ASKED} stage detail answered record request",
    Kind.ABSORBED: _ASKED,
    Kind.SUMMARY: "since until counts",
    Kind.OUTAGE: "since until error counts",
    Kind.RECOVERY: "cut_bytes cut_sha256 orphans",
    Kind.CLOCK: "step_us",
    Kind.RETENTION: "deleted why",
    Kind.APPROVAL: (
        "happening approval binding caller server tool args definition policy user rules session asked_by decision trace"
        " by verdict reason cover calls used expires"
    ),
}
WRITTEN_ONCE: dict[Kind, dict[str, object]] = {
    Kind.START: {
        "version": "0.1.0",
        "instance": "ab" * 8,
        "issuer": "https://gate.acme.test",
        "key": "gate.acme.test/audit+12345678+AQ==",
        "policy": f"sha256:{HASH}",
    },
    Kind.STOP: {},
    Kind.POLICY: {"digest": f"sha256:{HASH}", "files": [{"name": "policy.yaml", "sha256": HASH}]},
    Kind.SUMMARY: SPAN,
    Kind.OUTAGE: {**SPAN, "error": "ENOSPC"},
    Kind.RECOVERY: {"orphans": 2, "cut_bytes": 17, "cut_sha256": HASH},
    Kind.CLOCK: {"step_us": -3_600_000_000},
    Kind.RETENTION: {"deleted": [HASH], "why": "age"},
    Kind.APPROVAL: {
        "happening": "approved",
        "approval": ID,
        "binding": HASH,
        "caller": "spiffe://acme.test/a",
        "server": "ledger",
        "tool": "refund",
        "args": HASH,
        "definition": f"sha256:{HASH}",
        "policy": f"sha256:{HASH}",
        "user": {"issuer": "https://id.acme.test", "subject": "ann"},
        "rules": ["refunds-over-500"],
        "session": "5e" * 8,
        "asked_by": ID,
        "decision": ID,
        "trace": ID,
        "by": {
            "name": "alice@acme.test",
            "means": "oidc",
            "issuer": "https://idp.acme.test",
            "subject": "248289761001",
            "uid": 1000,
            "signed_in": 1_767_787_000,
        },
        "verdict": "approve",
        "reason": "as agreed",
        "cover": {"calls": 5, "seconds": 900},
        "calls": 5,
        "used": 0,
        "expires": 1_767_788_000,
    },
}


def made() -> MadeLog:
    """Every kind of record, and every field somewhere."""
    log = MadeLog()
    for kind, fields in WRITTEN_ONCE.items():
        log.add(kind, **fields)
    full: dict[str, Any] = {"record": "full", "request": {"sha256": HASH, "bytes": 300, "object": HASH}}
    more: dict[str, Any] = {
        "user": USER,
        "purpose": "month-end",
        "dry_run": True,
        "shadow": SHADOW,
        "more_rules": 3,
        "mcp_session": "5e" * 8,
        "definition": f"sha256:{HASH}",
        "masked_arguments": ["card=1"],
        "approval": {"id": ID, "by": ["alice@acme.test"], "use": 1},
    }
    log.call(**more)
    log.call(tool=None, status="cancelled")
    place = log.add(Kind.INTENT, **{**intent_of(log), **full})
    screened = {"masked": ["email=3"], "deceptive": ["bidi=1"], "drifted": ["refund is unknown"]}
    answer = {"bytes": 5, "events": 2, "sha256": HASH, "objects": [HASH, HASH]}
    said = {"decision": ID, "trace": ID, "status": "rpc_error", "reason": "", "took_us": 1, "path": ["forward=ok"]}
    log.add(Kind.OUTCOME, intent=place, **said, answer=answer, http=200, hidden=3, began="5e" * 8, **screened)
    place = log.add(Kind.INTENT, **intent_of(log))
    log.add(Kind.OUTCOME, intent=place, decision=ID, status="unknown", closed_by="recovery")
    log.refusal(**more, **full)
    log.handshake_refusal()
    absorbed = {name: value for name, value in intent_of(log).items() if name not in {"token", "record"}}
    log.add(Kind.ABSORBED, **absorbed)
    return log


def intent_of(log: MadeLog) -> dict[str, object]:
    found = next(fields for kind, fields, _ in log.records if kind is Kind.INTENT)
    return {**found, "decision": ID}


def records() -> list[JsonObject]:
    return [orjson.loads(line) for lines in made().lines(segment_records=5) for line in lines]


RECORDS = records()
OF_KIND = {str(record["kind"]): record for record in RECORDS}


def nodes(schema: object) -> Iterator[Mapping[str, Any]]:
    if isinstance(schema, dict):
        yield schema
    for inner in schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list) else ():
        yield from nodes(inner)


def test_the_schema_is_one_of_2020_12() -> None:
    schema = record_schema()

    Draft202012Validator.check_schema(schema)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["$id"] == "audit-record.schema.json"


def test_every_kind_of_record_has_a_format() -> None:
    assert set(KINDS) == set(Kind)


@pytest.mark.parametrize("kind", Kind)
def test_format_1_has_these_fields_and_no_others(kind: Kind) -> None:
    common = ["v", "seq", "prev", "time", "mono_us", "kind"]
    told = [field.name for field in fields_of(kind)]

    assert told[: len(common)] == common
    assert sorted(told[len(common) :]) == sorted(FORMAT_1[kind].split())


@pytest.mark.parametrize("kind", Kind)
def test_takes_records_of_every_kind_as_they_are_written(kind: Kind) -> None:
    of_kind = [record for record in RECORDS if record["kind"] == kind]

    assert of_kind
    assert faults_of(of_kind) == []
    whole = Draft202012Validator(record_schema())
    assert all(whole.is_valid(record) for record in of_kind)


@pytest.mark.parametrize("kind", Kind)
def test_every_field_of_the_format_is_in_some_record_here(kind: Kind) -> None:
    written = {name for record in RECORDS if record["kind"] == kind for name in record}
    same_as_intents = {
        "mcp_session",
        "user",
        "purpose",
        "dry_run",
        "more_rules",
        "shadow",
        "args",
        "tool",
        "rpc",
        "approval",
    }
    known = {field.name for field in fields_of(kind)}

    assert known - written <= (same_as_intents if kind is Kind.ABSORBED else set())


def test_every_object_is_closed_and_every_field_of_it_explained() -> None:
    objects = [node for node in nodes(record_schema()) if isinstance(node.get("properties"), dict)]

    assert len(objects) > len(Kind)
    assert all(node["additionalProperties"] is False for node in objects)
    told = [told for node in objects for told in node["properties"].values()]
    assert all(str(each.get("description", "")).endswith((".", "…")) for each in told)


def test_every_list_says_what_it_holds() -> None:
    lists = [node for node in nodes(record_schema()) if node.get("type") == "array"]

    assert lists
    assert all("items" in node for node in lists)


@pytest.mark.parametrize("kind", Kind)
def test_refuses_a_record_with_a_field_that_nobody_knows(kind: Kind) -> None:
    record = OF_KIND[kind]

    assert faults_of([{**record, "x": 1}]) != []


@pytest.mark.parametrize("kind", Kind)
def test_refuses_a_record_that_lacks_a_field_of_its_kind(kind: Kind) -> None:
    record = OF_KIND[kind]
    missed = [field.name for field in fields_of(kind) if field.always and field.name != "kind"]

    assert missed
    for name in missed:
        assert faults_of([{key: value for key, value in record.items() if key != name}]) != [], name


@pytest.mark.parametrize("name", ["trace", "reason", "took_us", "path"])
def test_only_an_outcome_that_recovery_wrote_may_say_so_little(name: str) -> None:
    outcomes = [record for record in RECORDS if record["kind"] == "outcome"]
    closed = [record for record in outcomes if "closed_by" in record]
    others = [record for record in outcomes if "closed_by" not in record]

    assert closed
    assert faults_of(closed) == []
    for record in others:
        assert faults_of([{key: value for key, value in record.items() if key != name}]) != []


@pytest.mark.parametrize(
    ("kind", "changed"),
    [
        ("intent", {"v": 2}),
        ("intent", {"seq": -1}),
        ("intent", {"prev": HASH.upper()}),
        ("intent", {"time": "2026-01-07T12:00:00Z"}),
        ("intent", {"time": "2026-01-07T12:00:00.000000000+00:00"}),
        ("intent", {"mono_us": 0.5}),
        ("intent", {"reason": "denied"}),
        ("intent", {"record": "all"}),
        ("intent", {"svid": [1]}),
        ("intent", {"svid": [1, 2, 3]}),
        ("intent", {"caller": "acme"}),
        ("intent", {"address": "None:None"}),
        ("intent", {"path": ["decide=allow"]}),
        ("intent", {"token": {"jti": "x"}}),
        ("intent", {"user": {**USER, "token": "eyJ"}}),
        ("intent", {"args": {"amount": 5}}),
        ("intent", {"rpc": 5}),
        ("outcome", {"status": "open"}),
        ("outcome", {"answer": {"bytes": 1}}),
        ("outcome", {"took_us": -1}),
        ("refusal", {"reason": ""}),
        ("refusal", {"reason": "because"}),
        ("refusal", {"stage": "think"}),
        ("refusal", {"answered": {"rpc": -31403}}),
        ("segment", {"open": [[1]]}),
        ("segment", {"peaks": ["x"]}),
        ("summary", {"counts": [{"stage": "accept", "reason": "denied", "count": 0}]}),
        ("retention", {"why": "boredom"}),
        ("clock", {"step_us": "1"}),
        ("approval", {"happening": "asked nicely"}),
        ("approval", {"approval": "1"}),
        ("approval", {"by": "alice@acme.test"}),
        ("approval", {"by": {"name": "alice@acme.test", "means": "a chat button"}}),
        ("approval", {"verdict": "perhaps"}),
        ("approval", {"args": {"amount": 5}}),
        ("approval", {"cover": {"calls": 0, "seconds": 1}}),
        ("intent", {"approval": {"by": ["alice@acme.test"]}}),
    ],
)
def test_refuses_a_value_that_the_field_cannot_have(kind: str, changed: dict[str, object]) -> None:
    record = OF_KIND[kind]

    assert faults_of([record]) == []
    assert faults_of([{**record, **changed}]) != []  # type: ignore[dict-item]  # what a test breaks


def test_knows_every_reason_and_every_status() -> None:
    schema = json.dumps(record_schema())

    assert all(f'"{reason}"' in schema for reason in Reason)
    not_of_outcomes = {Status.REFUSED, Status.ABSORBED, Status.OPEN}
    for status in set(Status) - not_of_outcomes:
        assert faults_of([{**OF_KIND["outcome"], "status": status}]) == []


def test_takes_what_the_chain_writes_of_any_moment() -> None:
    for at in (Moment(0, 0), Moment(4_102_444_799_999_999_999, 2**53)):
        assert faults_of([orjson.loads(Chain().extend(Kind.STOP, {}, at))]) == []


def test_tables_have_every_field_with_those_inside_it() -> None:
    rows = {path: form for path, form, _ in rows_of(Kind.INTENT)}

    assert rows["token.sha256"] == "SHA-256 in hex"
    assert rows["rules[].why"] == "text"
    assert rows["user"] == "object, or left out"
    assert "seq" not in rows
    assert list(rows_of(Kind.STOP)) == []
    assert {path: form for path, form, _ in rows_of(Kind.OUTCOME)}["took_us"] == "number"
