"""`callgate policy diff`: a log on disk under another policy."""

import json
import resource
import time
from pathlib import Path
from typing import Any

import pyrage  # type: ignore[import-untyped]
import pytest
from click.testing import CliRunner, Result

from callgate.audit.chain import Kind
from callgate.audit.checkpoint import CheckpointKey
from callgate.audit.content import ContentStore
from callgate.audit.policies import keep
from callgate.cli import main
from callgate.wire.json_strict import JsonObject, dumps
from support.audit_logs import ORIGIN
from support.long_logs import OTHER_POLICY, POLICY, write_long_log
from support.recorded_calls import HEAD, Recorder, policy

READS = """\
grants:
  - id: reads
    workloads: [spiffe://acme.test/ns/billing/sa/*]
    server: ledger
    tools: [get_invoice]
  - id: refunds
    workloads: [spiffe://acme.test/ns/billing/sa/*]
    server: ledger
    tools: [refund]
    when: args.amount < 500
"""


class Place:
    """A folder with a log, and policies beside it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = folder / "audit"

    def policy(self, name: str, rules: str) -> str:
        path = self.folder / name
        path.write_text(rules if rules.startswith("version") else HEAD + rules)
        return str(path)

    def write(self, recorder: Recorder) -> None:
        recorder.log.write(self.log, CheckpointKey.generate(ORIGIN))

    def recorder(self, rules: str = READS, *, is_kept: bool = True) -> Recorder:
        recorder = Recorder(policy(rules))
        recorder.log.start()
        if is_kept:
            files = keep(self.log, [("policy.yaml", HEAD + rules)])
            recorder.log.add(Kind.POLICY, digest=recorder.policy.digest, files=files)
        return recorder

    def diff(self, *arguments: str) -> Result:
        return CliRunner().invoke(main, ["policy", "diff", *arguments, "--log", str(self.log)])

    def found(self, *arguments: str) -> dict[str, Any]:
        result = self.diff(*arguments, "--format", "json")
        assert result.exit_code in {0, 1, 2}, result.output
        read: dict[str, Any] = json.loads(result.stdout)
        return read


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def some(place: Place) -> Recorder:
    """Allowed, allowed, denied, refused before any decision, refused by a limit."""
    recorder = place.recorder()
    recorder.call("get_invoice")
    recorder.call("refund", {"amount": 5})
    recorder.call("wipe")
    recorder.log.handshake_refusal()
    recorder.call("get_invoice", limited_by="rate_limited")
    place.write(recorder)
    return recorder


def test_the_same_policy_changes_nothing_and_exits_with_0(place: Place) -> None:
    some(place)
    same = place.policy("same.yaml", READS)
    for old in ("-", "recorded", same):
        result = place.diff(old, same)

        assert result.exit_code == 0
        assert "4  no change" in result.stdout


def test_a_change_exits_with_1_and_names_who_what_and_why(place: Place) -> None:
    recorder = some(place)
    new = place.policy("new.yaml", READS.replace("[get_invoice]", "[get_order]"))

    result = place.diff("-", new)

    assert result.exit_code == 1
    assert "2  allow -> deny" in result.stdout
    assert "old: allowed by reads" in result.stdout
    assert "new: denied (no_grant): no grant applies" in result.stdout
    assert "spiffe://acme.test/ns/billing/sa/agent  get_invoice on ledger" in result.stdout
    first = next(record for record in recorder.records() if record["kind"] == "intent")
    assert str(first["decision"]) in result.stdout


def test_what_is_not_about_policy_and_what_a_limit_did_is_said(place: Place) -> None:
    some(place)

    out = place.diff("-", place.policy("same.yaml", READS)).stdout

    assert "1 request not about policy: refused before it was asked" in out
    assert "1 request refused by a limit (rate_limited) count as allowed: limits are not asked again" in out


def test_json_has_all_of_it(place: Place) -> None:
    some(place)
    new = place.policy("new.yaml", READS.replace("[get_invoice]", "[get_invoice]\n    ttl: 9s"))

    found = place.found("-", new)

    assert found["decisions"] == 4
    assert found["unchanged"] == 2
    assert found["not_about_policy"] == {"tls_no_certificate": 1}
    assert found["limited"] == {"rate_limited": 1}
    assert found["changes"] == {
        "allow_to_deny": 0,
        "deny_to_allow": 0,
        "allow_to_hold": 0,
        "hold_to_allow": 0,
        "other_terms": 2,
        "other_reason": 0,
        "cannot_be_told": 0,
    }
    (group,) = found["groups"]
    assert (group["change"], group["count"], group["different"]) == ("other_terms", 2, ["ttl"])
    assert group["caller"] == "spiffe://acme.test/ns/billing/sa/agent"
    assert (group["server"], group["method"], group["tool"]) == ("ledger", "tools/call", "get_invoice")
    assert len(group["examples"]) == 2
    assert group["first"] < group["last"]
    assert group["old"]["terms"]["ttl_s"] is None
    assert group["new"]["terms"]["ttl_s"] == 9


def test_what_cannot_be_told_exits_with_2_and_says_what_it_would_take(place: Place) -> None:
    some(place)
    new = place.policy("new.yaml", READS.replace("< 500", "< 400"))

    result = place.diff("-", new)

    assert result.exit_code == 2
    assert "1  cannot be told" in result.stdout
    assert "may be: no change, or allow -> deny" in result.stdout
    assert "hangs on: args.amount < 400" in result.stdout
    assert "needs the arguments, which `record: full` keeps and --identity reads" in result.stdout


@pytest.mark.parametrize(("amount", "change"), [(5, None), (450, "allow_to_deny")])
def test_an_auditors_key_tells_what_hangs_on_arguments(place: Place, amount: int, change: str | None) -> None:
    recorder = place.recorder()
    recorder.call("refund", {"amount": amount})
    identity = with_content(place, recorder, {"amount": amount})
    new = place.policy("new.yaml", READS.replace("< 500", "< 400"))

    found = place.found("-", new, "--identity", identity)

    assert [group["change"] for group in found["groups"]] == ([change] if change else [])


def test_arguments_that_are_not_those_that_were_decided_on_are_not_believed(place: Place) -> None:
    recorder = place.recorder()
    recorder.call("refund", {"amount": 450})
    identity = with_content(place, recorder, {"amount": 5})

    found = place.found("-", place.policy("new.yaml", READS.replace("< 500", "< 400")), "--identity", identity)

    assert [group["change"] for group in found["groups"]] == ["cannot_be_told"]


def with_content(place: Place, recorder: Recorder, arguments: JsonObject) -> str:
    """Put the last call's content beside the log, and write it; returns the auditor's key file."""
    key = pyrage.x25519.Identity.generate()
    identity = place.folder / "auditor.key"
    identity.write_text(str(key))
    identity.chmod(0o600)
    message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "refund", "arguments": arguments}}
    store = ContentStore(place.log, [str(key.to_public())])
    digest = store.put(b'{"at_us":0,"kind":"request","body":%s}\n' % dumps(message))
    number = next(n for n, (kind, _, _) in enumerate(recorder.log.records) if kind is Kind.INTENT)
    kind, fields, when = recorder.log.records[number]
    recorder.log.records[number] = (kind, {**fields, "record": "full", "request": {"object": digest}}, when)
    place.write(recorder)
    return str(identity)


def test_a_policy_whose_text_was_not_kept_is_named(place: Place) -> None:
    recorder = place.recorder(is_kept=False)
    recorder.call("get_invoice")
    place.write(recorder)

    result = place.diff("-", place.policy("new.yaml", READS + "# other text\n"))

    assert result.exit_code == 2
    assert f"the policy {recorder.policy.digest} is in no record" in result.stdout


def test_filters_choose_what_is_compared_and_the_past_counts_all_the_same(place: Place) -> None:
    recorder = place.recorder()
    recorder.call("get_invoice")
    recorder.wait(600)
    recorder.call("refund", {"amount": 5})
    recorder.call("refund", {"amount": 5}, caller="spiffe://acme.test/ns/billing/sa/other")
    place.write(recorder)
    asks = 'denials:\n  - {id: look, server: ledger, tools: [refund], when: \'history.calls("get_invoice", duration("1h")) == 0\'}\n'
    new = place.policy("new.yaml", READS + asks)

    since = place.found("-", new, "--since", "2026-01-07T12:05:00Z")
    other = place.found("-", new, "--agent", "spiffe://acme.test/ns/billing/sa/other")
    refunds = place.found("-", new, "--tool", "refund", "--decision", "allow")
    ended = place.found("-", new, "--status", "answered")

    assert (since["decisions"], since["changes"]["allow_to_deny"]) == (2, 1)
    assert (other["decisions"], other["changes"]["allow_to_deny"]) == (1, 1)
    assert refunds["decisions"] == 2
    assert (ended["decisions"], ended["changes"]["allow_to_deny"]) == (3, 1)


def test_since_without_history_does_not_need_what_was_before(place: Place) -> None:
    recorder = place.recorder()
    recorder.call("get_invoice")
    recorder.wait(3 * 3600)
    recorder.call("get_invoice")
    recorder.log.write(place.log, CheckpointKey.generate(ORIGIN), segment_records=4)
    new = place.policy("new.yaml", READS.replace("[get_invoice]", "[get_order]"))

    found = place.found("-", new, "--since", "2026-01-07T14:00:00Z")
    before = place.found("-", new, "--until", "2026-01-07T14:00:00Z")

    assert (found["decisions"], found["changes"]["allow_to_deny"]) == (1, 1)
    assert (before["decisions"], before["changes"]["allow_to_deny"]) == (1, 1)


def test_refusals_that_were_only_counted_are_said(place: Place) -> None:
    recorder = place.recorder()
    recorder.call("get_invoice")
    counts = [
        {"stage": "decide", "reason": "denied", "count": 7},
        {"stage": "read", "reason": "http_version", "count": 9},
    ]
    recorder.log.add(Kind.SUMMARY, since="", until="2026-01-07T12:00:01.000000000Z", counts=counts)
    place.write(recorder)

    assert "7 refusals only counted by the gate" in place.diff("-", place.policy("same.yaml", READS)).stdout


def test_what_an_attacker_wrote_cannot_move_the_cursor(place: Place) -> None:
    recorder = place.recorder()
    odd = {"method": "tools/\x1b[2Jlist\n✓ no change", "server": "led\u202eger", "policy": recorder.policy.digest}
    request = recorder.log.request(tool=None) | odd
    recorder.log.add(Kind.ABSORBED, **request, reason="", path=["decide=ok"])
    place.write(recorder)

    result = place.diff("-", place.policy("new.yaml", READS))

    assert result.exit_code == 1
    assert "\x1b" not in result.stdout
    assert "\u202e" not in result.stdout
    assert "\n✓" not in result.stdout


@pytest.mark.parametrize("what", ["no policy", "bad policy", "no log", "bad filter", "broken log", "no key"])
def test_what_cannot_be_done_exits_with_2(place: Place, what: str) -> None:
    some(place)
    good = place.policy("good.yaml", READS)
    if what == "broken log":
        (segment,) = (place.log / "log").iterdir()
        segment.write_bytes(segment.read_bytes().replace(b'"seq":2', b'"seq":9', 1))
    arguments = {
        "no policy": ["-", str(place.folder / "none.yaml")],
        "bad policy": [place.policy("bad.yaml", "grants: 5\n"), good],
        "no log": ["-", good, "--log", str(place.folder / "none")],
        "bad filter": ["-", good, "--since", "yesterday"],
        "broken log": ["-", good],
        "no key": ["-", good, "--identity", str(place.folder / "none.key")],
    }[what]
    result = CliRunner().invoke(main, ["policy", "diff", "--log", str(place.log), *arguments])

    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr


def test_the_log_is_the_one_that_callgate_yaml_names(place: Place) -> None:
    some(place)
    new = place.policy("new.yaml", READS)
    config = place.folder / "callgate.yaml"
    config.write_text(
        "listen: 127.0.0.1:0\nissuer: https://gate.acme.test\npolicy: new.yaml\n"
        "servers: {ledger: {url: http://127.0.0.1:1/mcp, token: {audience: 'https://ledger.acme.test/mcp'}}}\n"
        "audit: {folder: audit}\n"
    )

    result = CliRunner().invoke(main, ["policy", "diff", "-", new, "--config", str(config)])

    assert (result.exit_code, "4  no change" in result.stdout) == (0, True), result.output


# What it costs; tests/bench/policy_diff.py prints it for a million.

DECISIONS = 20_000
# A third of what it takes to decide a million within three minutes would be 16 000 a second; a busy machine has less.
LEAST_RATE = 1_000
MOST_GROWTH_MIB = 100


def test_many_decisions_are_compared_quickly_and_in_little_memory(place: Place) -> None:
    write_long_log(place.log, DECISIONS)
    old, new = place.policy("old.yaml", POLICY), place.policy("new.yaml", OTHER_POLICY)
    before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()

    result = place.diff(old, new)

    took = time.process_time() - began
    grown_mib = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert result.exit_code == 1
    assert f"{DECISIONS:,} decisions" in result.stdout
    assert DECISIONS / took > LEAST_RATE
    assert grown_mib < MOST_GROWTH_MIB
