"""The JSON Schemas say what the reading says, as far as a schema can."""

import ast
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from pydantic import TypeAdapter, ValidationError

from callgate import config, config_audit, config_values
from callgate.cli import main
from callgate.policy import mask_entries, model, moments
from callgate.policy.model import POLICY_LIMITS, PolicyFile, cross_check
from callgate.policy.scenario import ScenarioFile
from callgate.policy.situation import DeniedEvent, Event, Workload
from callgate.schemas import FORMATS, SCHEMAS, keys_of, read_words, schema_of, schema_text
from callgate.yaml_model import LongSeconds, Seconds, read_model
from callgate.yaml_strict import Document, YamlValue, load

ROOT = Path(__file__).parents[2]
VALIDATORS = {name: Draft202012Validator(schema_of(form)) for name, form in FORMATS.items()}
_BLOCK = re.compile(r"^```yaml\n(.*?)^```$", re.DOTALL | re.MULTILINE)

CONFIG = """\
listen: 0.0.0.0:8443
workload_api: unix:///run/spire/agent.sock
svid_hint: gate
issuer: https://gate.acme.test
policy: [policy.yaml, teams]
authorities: ["gate.acme.test:8443", "[::1]"]
allowed_origins: [https://console.acme.test]
admin: {listen: "[::1]:8444", tls: {certificate: a.pem, key: k.pem}}
servers:
  ledger:
    url: https://ledger.acme.test:8443/mcp
    identity: spiffe://acme.test/tools/ledger
    token: {audience: "urn:acme:ledger", ttl: 20s, typ: JWT, list_scopes: granted}
    timeouts: {connect: 1s, first_byte: 2m, total: 1h}
    record: none
users:
  audience: https://gate.acme.test
  issuers: [{issuer: https://id.acme.test/realm, jwks_uri: "https://id.acme.test/keys?v=1", algorithms: [ES256]}]
approvals:
  folder: /var/lib/callgate/approvals
  url: https://gate.acme.test:8444
  keep: 7d
  max_waiting: 5
  max_waiting_per_workload: 2
  cool_down: 0s
  socket: {path: /run/callgate.sock, users: [ada], agents_share_user: true}
  sign_in: {issuer: https://idp.acme.test/realm, client_id: callgate, client_secret_file: s, scopes: [openid], name_claim: sub, groups_claim: roles, ca_file: ca.pem, idle: 5m, longest: 8h}
  webhooks: [{name: ops, url: https://hooks.acme.test/callgate, secret_file: w, events: [asked, void], ca_file: ca.pem}]
  slack: {channel: C0123, token_file: t, signing_secret_file: x, people: {U0123: {name: alice@acme.test, groups: [leads]}}, approve_in_slack: true, api: "http://127.0.0.1:9/api"}
telemetry: {otlp: "http://127.0.0.1:4318", service_name: gate}
audit:
  folder: /var/lib/callgate/audit
  key: /etc/callgate/audit.pem
  origin: gate-1.acme.test/audit
  record: full
  recipients: [age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p, auditors.txt]
  checkpoint_to: [/mnt/other/checkpoint, https://witness.acme.test/callgate]
  segment_bytes: 1048576
  segment_age: 8h
  keep_content: 30d
  keep_content_bytes: 1073741824
  refusals_per_second: 10
limits: {drain_s: 0.5, max_connections: 5}
"""
POLICY = """\
version: 1
trust_domains: [acme.test]
tools:
  - {server: ledger, tools: ["get_*"], tags: [reads_private]}
  - {server: db, tools: [query], sql: {query: postgres, /batch/0: mysql}, shell: {"/options/command": bash, cmd: argv}}
screening:
  - server: crm
    tools: ["*"]
    mask: [email, {entity: card, mode: partial}, {key: date_of_birth, mode: drop}, {pattern: 'EMP-[0-9]{6}', name: employee}]
    mask_arguments: [{entity: secret, mode: deny}, {pointer: "/rows/*/name~0x", name: customer, mode: pseudonym}]
    base64: screen
    text: {definitions: strip, results: pass}
    schemas: required
owners:
  - {workloads: ["spiffe://acme.test/**"], people: [bob@acme.test], groups: [billing]}
packs:
  - {id: c, pack: destructive-sql@1, server: db, except: {rules: [unclear], tools: [migrate], workloads: [spiffe://acme.test/m]}}
  - {pack: secrets@1, server: db, tools: [query], workloads: [spiffe://acme.test/m], when: args.x == 1, shadow: false}
grants:
  - id: a
    description: Words.
    workloads: ["spiffe://acme.test/**", spiffe://acme.test/*/x]
    server: ledger
    tools: [get, "list_?"]
    users: {issuers: [https://id.acme.test], subjects: [ann], groups: [staff]}
    when: args.amount < 500
    from: 2026-06-01T08:00:00+02:00
    for: 8h
    until: 2026-07-01T00:00:00Z
    between: {days: [mon, fri], hours: 22:00-06:00, zone: Europe/Berlin}
    shadow: true
    scopes: [ledger.read, "ledger.account:{args.account.id}:{caller.path[0]}"]
    ttl: 10s
    limit: {calls: 5, per: 1m}
    record: full
    mask: [personal, {key: Notes, name: notes}]
    unmask: [phone, national_id, employee]
    mask_arguments: [ipv4, {entity: iban, mode: hold}]
    approval:
      {groups: [leads], people: [carol, 'local:ada'], needed: 2, stands: 7d, waits: 0s, reason: required, four_eyes: true,
       sign_in: 5m, repeat: {same: [account, /customer/id], for: 15m, calls: 3}, asks: on_hold}
denials:
  - {id: b, server: ledger, tools: ["*"], users: {any: true}, between: {days: [sat]}}
"""
TESTS = """\
policy: policy.yaml
tests:
  - name: one
    who: spiffe://acme.test/a
    user: {issuer: https://id.acme.test, subject: ann, groups: [staff], claims: {level: null}}
    at: 2026-06-01T08:00:00Z
    svid_age: 5m
    history: [{call: ledger/get, ago: 5m}, {denied: true, ago: 1h}, {denied: ledger/get, ago: 10s}]
    call: {server: ledger, tool: get, args: {account: {id: 7}, none: null}, purpose: month-end, size: 7}
    expect: {decision: deny, reason: no_grant, rules: [b], scopes: [x], ttl: 10s, visible: false, shadow: allow}
  - {name: many, call: {server: ledger, tool: get}, cases: [{who: spiffe://acme.test/a, expect: {decision: hold, approvals: [a], mask_arguments: {card: hold}}}]}
"""
WHOLE = {"config": CONFIG, "policy": POLICY, "policy-test": TESTS}
SHAPES = {"config": "listen", "policy": "version", "policy-test": "tests"}


def value_of(text: str) -> YamlValue:
    document = load(text, "x.yaml", POLICY_LIMITS)
    assert isinstance(document, Document), document
    return document.value


def is_read(name: str, text: str) -> bool:
    """Whether the file is accepted by itself: no other file is looked at."""
    if name == "policy":
        found = read_model(text, "x.yaml", PolicyFile, lambda document: cross_check(document, None), POLICY_LIMITS)
        return isinstance(found, PolicyFile)
    if name == "config":
        return isinstance(config.load_config(text, "x.yaml"), config.Config)
    try:
        ScenarioFile.model_validate(value_of(text))
    except ValidationError:
        return False
    return True


def errors(name: str, text: str) -> list[str]:
    return [error.message for error in VALIDATORS[name].iter_errors(value_of(text))]


def format_of(text: str) -> str | None:
    document = load(text, "x.yaml", POLICY_LIMITS)
    keys = document.value if isinstance(document, Document) and isinstance(document.value, dict) else {}
    return next((name for name, key in SHAPES.items() if key in keys), None)


def texts() -> Iterator[tuple[str, str, str]]:
    """Every example file, every YAML block of the documentation and every text in the tests that is a whole file."""
    for path in sorted(ROOT.glob("examples/**/*.yaml")):
        yield from _as_one(path, path.read_text())
    for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/**/*.md")]:
        for block in _BLOCK.findall(path.read_text()):
            yield from _as_one(path, block)
    for path in sorted(ROOT.glob("tests/**/*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and "\n" in node.value:
                yield from _as_one(path, node.value)


def _as_one(path: Path, text: str) -> Iterator[tuple[str, str, str]]:
    name = format_of(text)
    if name is not None:
        yield name, str(path.relative_to(ROOT)), text


@pytest.mark.parametrize("name", FORMATS)
def test_schema_is_one_of_2020_12(name: str) -> None:
    schema = schema_of(FORMATS[name])

    Draft202012Validator.check_schema(schema)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["$id"] == FORMATS[name].filename


def nodes(schema: object) -> Iterator[Mapping[str, Any]]:
    if isinstance(schema, dict):
        yield schema
    for inner in schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list) else ():
        yield from nodes(inner)


@pytest.mark.parametrize("name", FORMATS)
def test_every_object_of_ours_is_closed_and_every_key_of_it_explained(name: str) -> None:
    objects = [node for node in nodes(schema_of(FORMATS[name])) if isinstance(node.get("properties"), dict)]

    assert objects
    assert all(node["additionalProperties"] is False for node in objects)
    assert [key for node in objects for key, told in node["properties"].items() if not told.get("description")] == []


@pytest.mark.parametrize("name", FORMATS)
def test_words_are_of_keys_that_exist(name: str) -> None:
    words = read_words()[FORMATS[name].words]

    assert set(words) - {key.path for key in keys_of(FORMATS[name].model)} == set()


@pytest.mark.parametrize("name", FORMATS)
def test_patterns_keep_to_what_editors_understand_too(name: str) -> None:
    """ECMA-262 has no possessive quantifiers, no atomic or Python's named groups, and no \\A and \\Z."""
    schema = schema_of(FORMATS[name])
    patterns = [node["pattern"] for node in nodes(schema) if isinstance(node.get("pattern"), str)]
    patterns += [pattern for node in nodes(schema) for pattern in node.get("patternProperties", {})]

    assert patterns
    for pattern in patterns:
        assert pattern.startswith("^")
        assert pattern.endswith("$")
        assert not re.search(r"[+*?}]\+|\(\?(?:>|P|<|#|[a-zA-Z-]+:)|\\[AZ]", pattern), pattern


@pytest.mark.parametrize("name", FORMATS)
def test_schema_has_no_null_and_nothing_of_python(name: str) -> None:
    text = schema_text(name)

    assert "null" not in text
    assert "Entry" not in json.dumps([node.get("title") for node in nodes(json.loads(text))])


@pytest.mark.parametrize("name", FORMATS)
def test_takes_a_file_with_everything_in_it(name: str) -> None:
    assert is_read(name, WHOLE[name])
    assert errors(name, WHOLE[name]) == []


def test_takes_every_file_that_is_read_anywhere_in_this_repository() -> None:
    looked_at = dict.fromkeys(FORMATS, 0)
    for name, place, text in texts():
        if is_read(name, text):
            looked_at[name] += 1
            assert errors(name, text) == [], place
        else:
            assert not place.startswith("examples/"), place

    assert all(looked_at.values()), looked_at


@pytest.mark.parametrize("path", sorted(ROOT.glob("examples/**/*.yaml")), ids=str)
def test_each_example_names_its_schema_for_editors(path: Path) -> None:
    first = path.read_text().partition("\n")[0]
    named = first.removeprefix("# yaml-language-server: $schema=")

    assert named != first
    schema = json.loads((path.parent / named).read_text())
    assert Draft202012Validator(schema).is_valid(value_of(path.read_text()))


@pytest.mark.parametrize("name", SCHEMAS)
def test_published_schemas_are_those_of_the_code(name: str) -> None:
    assert (ROOT / "docs" / "reference" / SCHEMAS[name]).read_text() == schema_text(name)


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("config", "listen: 0.0.0.0:8443\n", ""),
        ("config", "listen: 0.0.0.0:8443", "listen: 8443"),
        ("config", "listen: 0.0.0.0:8443", "listen: gate"),
        ("config", "svid_hint: gate", "svid_hin: gate"),
        ("config", "issuer: https://gate.acme.test\n", "issuer: https://gate.acme.test/\n"),
        ("config", "issuer: https://gate.acme.test\n", "issuer: gate.acme.test\n"),
        ("config", "  ledger:\n", "  Ledger:\n"),
        ("config", "ttl: 20s", "ttl: 20"),
        ("config", "ttl: 20s", "ttl: 20 s"),
        ("config", "typ: JWT", "typ: jwt"),
        ("config", 'audience: "urn:acme:ledger"', "audience: ledger"),
        ("config", "identity: spiffe://acme.test/tools/ledger", "identity: spiffe://acme.test"),
        ("config", "algorithms: [ES256]", "algorithms: [HS256]"),
        ("config", "drain_s: 0.5", "drain_s: 0"),
        ("config", "drain_s: 0.5", "drain_s: 1s"),
        ("config", "audit:\n", "audit:\n  foldr: x\n"),
        ("config", "record: full", "record: all"),
        ("config", "origin: gate-1", "origin: gate+1"),
        ("config", "recipients: [age1", "recipients: age1"),
        ("config", "segment_age: 8h", "segment_age: 8d"),
        ("config", "keep_content: 30d", "keep_content: 30"),
        ("config", "max_connections: 5", "max_connections: 5.5"),
        ("config", "max_connections: 5", "max_connections: null"),
        ("config", "unix:///run/spire/agent.sock", "/run/spire/agent.sock"),
        ("policy", "version: 1", "version: 2"),
        ("policy", "version: 1", "version: '1'"),
        ("policy", "    when:", "    wen:"),
        ("policy", "id: a", "id: default-deny"),
        ("policy", "id: a", "id: a b"),
        ("policy", "    server: ledger\n", ""),
        ("policy", "tools: [get,", 'tools: ["get invoice",'),
        ("policy", "[acme.test]", "acme.test"),
        ("policy", "[acme.test]", "[Acme.test]"),
        ("policy", "spiffe://acme.test/*/x", "spiffe://acme.test/a*"),
        ("policy", "spiffe://acme.test/*/x", "spiffe://acme.test"),
        ("policy", "ttl: 10s", "ttl: 010s"),
        ("policy", "ttl: 10s", "ttl: 1d"),
        ("policy", "ttl: 10s", "ttl: null"),
        ("policy", "calls: 5", "calls: 0"),
        ("policy", "calls: 5", "calls: 1001"),
        ("policy", "    from: 2026-06-01T08:00:00+02:00\n", ""),
        ("policy", "from: 2026-06-01T08:00:00+02:00", "from: 2026-06-01T08:00:00"),
        ("policy", "hours: 22:00-06:00", "hours: 22-6"),
        ("policy", "zone: Europe/Berlin", "zone: EST"),
        ("policy", "days: [mon, fri]", "days: [monday]"),
        ("policy", "{days: [sat]}", "{zone: UTC}"),
        ("policy", "{any: true}", "{}"),
        ("policy", "{any: true}", "{any: false}"),
        ("policy", "{any: true}", "{any: true, groups: [a]}"),
        ("policy", "[ledger.read,", "['tool:get',"),
        ("policy", "[ledger.read,", "['{args.x}',"),
        ("policy", "[ledger.read,", "['a:{arg.x}',"),
        ("policy", "[ledger.read,", "['a b',"),
        ("policy", "shadow: true", "shadow: 'true'"),
        ("policy", "groups: [leads], people", "peeple"),
        ("policy", "people: [carol, 'local:ada'], needed: 2", "people: ['spiffe://acme.test/a'], needed: 2"),
        ("policy", "needed: 2", "needed: 11"),
        ("policy", "waits: 0s", "waits: 0m"),
        ("policy", "asks: on_hold", "asks: never"),
        ("policy", "reason: required", "reason: true"),
        ("policy", "people: [bob@acme.test], groups: [billing]", "peeple: [bob]"),
        ("policy", "mask: [personal,", "mask: [personnel,"),
        ("policy", "mask: [personal,", "mask: [5,"),
        ("policy", "{key: Notes, name: notes}", "{key: Notes, pattern: x, name: notes}"),
        ("policy", "{key: Notes, name: notes}", "{name: notes}"),
        ("policy", "{key: Notes, name: notes}", "{key: Notes, name: a b}"),
        ("policy", "{entity: card, mode: partial}", "{entity: card, mode: hold}"),
        ("policy", "{entity: iban, mode: hold}", "{entity: iban, mode: wait}"),
        ("policy", "{entity: card, mode: partial}", "{entity: card, mode: hash}"),
        ("policy", "{entity: card, mode: partial}", "{entity: crad, mode: partial}"),
        ("policy", 'pointer: "/rows/*/name~0x"', "pointer: rows"),
        ("policy", 'pointer: "/rows/*/name~0x"', "pointer: /a~2"),
        ("policy", "unmask: [phone,", "unmask: [a b,"),
        ("policy", "base64: screen", "base64: strip"),
        ("policy", "results: pass", "results: screen"),
        ("policy", "{definitions: strip, results: pass}", "{}"),
        ("policy", "schemas: required", "schemas: maybe"),
        ("policy", "query: postgres", "query: postgre"),
        ("policy", "cmd: argv", "cmd: zsh"),
        ("policy", "sql: {query: postgres, /batch/0: mysql}, ", "sql: {}, "),
        ("policy", "/batch/0: mysql", "/batch/~: mysql"),
        ("policy", "pack: destructive-sql@1", "pack: destructive-sql"),
        ("policy", "pack: secrets@1, server: db, ", "server: db, "),
        ("policy", "{rules: [unclear], tools: [migrate], workloads: [spiffe://acme.test/m]}", "{}"),
        ("policy", "record: full", "record: all"),
        ("policy", "tags: [reads_private]", "tags: [Private]"),
        ("policy-test", "policy: policy.yaml\n", ""),
        ("policy-test", "reason: no_grant", "reason: no_grants"),
        ("policy-test", "decision: deny", "decision: held"),
        ("policy-test", "call: ledger/get", "call: get"),
        ("policy-test", "ago: 5m", "ago: 5"),
        ("policy-test", "denied: true", "denied: false"),
        ("policy-test", "  - name: one\n", "  - nme: one\n"),
    ],
)
def test_refuses_what_the_reading_refuses(name: str, old: str, new: str) -> None:
    assert WHOLE[name].count(old) == 1, old
    text = WHOLE[name].replace(old, new)

    assert errors(name, text)
    assert not is_read(name, text)


TYPES: dict[str, tuple[Any, list[str]]] = {
    "duration": (Seconds, ["10s", "5m", "8h", "9999999h"]),
    "long duration": (LongSeconds, ["90d", "12h", "9999999d"]),
    "moment": (moments.Moment, ["2026-12-31T18:00:00Z", "2026-12-31t18:00:00+01:00"]),
    "hours": (moments.Hours, ["08:00-18:00", "22:00-24:00"]),
    "zone": (moments.Zone, ["UTC", "Europe/Berlin", "America/Argentina/Buenos_Aires", "Etc/GMT+1"]),
    "rule id": (model.RuleId, ["a", "Billing.reads_1-x", "default-deny", "more-rules", "a" * 63]),
    "server": (model.ServerName, ["ledger", "l-1", "a" * 63]),
    "trust domain": (model.TrustDomainName, ["acme.test", "a_b-c", "a" * 255]),
    "workload pattern": (model.Workload, ["spiffe://acme.test/**", "spiffe://acme.test/*/a/**", "spiffe://a/b"]),
    "tool pattern": (model.Tool, ["get", "list_*", "a?.b-c"]),
    "scope": (model.Scope, ["ledger.read", "a:{args.x.y}:{caller.path[1]}", "tool:x", "mcp.x", "a:{tool.name}"]),
    "mask's name": (mask_entries.MaskName, ["employee", "a" * 63, "all", "email"]),
    "unmasked": (model.Unmasked, ["email", "all", "employee-2"]),
    "pointer": (mask_entries.Pointer, ["/customer/name", "/rows/*/a~0b~1c", "/", "/a//b"]),
    "place": (mask_entries.Place, ["query", "/options/command", "a b", "~"]),
    "tag": (model.Tag, ["reads_private", "a" * 63]),
    "token seconds": (model.TokenSeconds, ["5s", "60s", "1m"]),
    "listen": (config_values.ListenAddress, ["0.0.0.0:8443", "[::]:0", "gate.acme.test:65535", "[::ffff:1.2.3.4]:1"]),
    "server url": (config_values.ServerUrl, ["https://ledger.acme.test:8443/mcp", "http://[::1]/", "https://a"]),
    "key url": (config_values.KeyUrl, ["https://id.acme.test/keys?v=1", "https://id.acme.test", "https://a?b=/c"]),
    "issuer": (config_values.Issuer, ["https://gate.acme.test", "http://127.0.0.1:8444"]),
    "origin": (config_values.Origin, ["https://console.acme.test", "http://localhost:3000"]),
    "collector": (config_values.Collector, ["http://127.0.0.1:4318", "https://otel.acme.test/v1"]),
    "audience": (config_values.Audience, ["https://ledger.acme.test/mcp", "urn:acme:ledger", "spiffe://a/b"]),
    "log's origin": (config_audit.LogOrigin, ["gate.acme.test/audit", "a", "a" * 255]),
    "recipient": (
        config_audit.Recipient,
        [
            "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p",
            "auditors.txt",
            "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOKBhKkJyHNbnKDEULtJjXkcpiiu9OBsSKTg8GVcPrSW ann",
        ],
    ),
    "checkpoint's place": (config_audit.CheckpointPlace, ["/mnt/other/checkpoint", "https://witness.acme.test/c"]),
    "authority": (config_values.Authority, ["gate.acme.test", "gate.acme.test:8443", "[::1]:1", "127.0.0.1"]),
    "workload api": (
        config_values.WorkloadApi,
        ["unix:///run/spire.sock", "unix:/run/x", "tcp://127.0.0.1:1", "tcp://[::1]:1"],
    ),
    "identity": (config_values.ServerIdentity, ["spiffe://acme.test/tools/ledger"]),
    "algorithm": (config_values.Algorithm, ["ES256", "RS256"]),
    "workload": (Workload, ["spiffe://acme.test/a"]),
    "event": (Event, ["ledger/get"]),
    "denied event": (DeniedEvent, ["ledger/get"]),
}


@st.composite
def near(draw: st.DrawFn, seeds: list[str]) -> str:
    """One of the seeds with a few characters put in, left out or exchanged."""
    text = draw(st.sampled_from(seeds))
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(text)))
        left_out = draw(st.integers(0, 1))
        text = text[:at] + draw(st.text("aZ09.-_:/*?{}[]+sTz \n\u00e9", max_size=2)) + text[at + left_out :]
    return text


@pytest.mark.parametrize("name", TYPES)
@settings(deadline=None)
@given(st.data())
def test_whatever_a_pattern_refuses_the_reading_refuses_too(name: str, data: st.DataObject) -> None:
    kind, seeds = TYPES[name]
    adapter = TypeAdapter[Any](kind)
    text = data.draw(near(seeds))
    try:
        adapter.validate_python(text)
    except ValidationError:
        return
    assert Draft202012Validator(adapter.json_schema()).is_valid(text)


@pytest.mark.parametrize(("arguments", "name"), [([], "policy"), *(([name], name) for name in SCHEMAS)])
def test_command_prints_the_schema(arguments: list[str], name: str) -> None:
    result = CliRunner().invoke(main, ["schema", *arguments])

    assert result.exit_code == 0
    assert result.stdout == schema_text(name)
