"""`callgate explain --decision` and `--trace-id`: decisions that the log tells of."""

import json
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from callgate.audit.age import KeyPair
from callgate.audit.chain import Kind
from callgate.audit.checkpoint import CheckpointKey
from callgate.audit.content import ContentStore
from callgate.audit.policies import keep
from callgate.cli import main
from callgate.identity.spiffe_id import SpiffeId
from callgate.policy.call import Call
from callgate.policy.compile import Policy, load_policies
from callgate.policy.decide import decide
from callgate.policy.history import History
from callgate.wire.json_strict import JsonObject, canonical
from support.audit_logs import BEGAN_NS, CALLER, ORIGIN, MadeLog

READER = "spiffe://acme.test/ns/billing/sa/reader"
POLICY = """\
version: 1
trust_domains: [acme.test]
grants:
  - id: reads
    workloads: [spiffe://acme.test/ns/billing/sa/*]
    server: ledger
    tools: [get_invoice]
    scopes: [ledger.read]
  - id: refunds
    workloads: [spiffe://acme.test/ns/billing/sa/agent]
    server: ledger
    tools: [refund]
    when: args.amount < 500
    scopes: ["ledger.account:{args.account}"]
denials:
  - id: none-after-denials
    server: ledger
    tools: [refund]
    when: history.denials(duration("1m")) >= 2
  - id: not-at-night
    server: ledger
    tools: [refund]
    when: request.hour >= 22
"""
REFUND: JsonObject = {"amount": 499, "account": "A-1"}
SECRET = "kept-from-those-without-the-key"


class Told:
    """A log of decisions that the real policy made."""

    def __init__(self, folder: Path) -> None:
        policy = load_policies((("conf/policy.yaml", POLICY),))
        assert isinstance(policy, Policy)
        self.folder, self.policy, self.log = folder, policy, MadeLog()
        auditor = KeyPair.generate()
        (folder / "auditor.key").write_text(f"{auditor.identity}\n")
        (folder / "auditor.key").chmod(0o600)
        self.store = ContentStore(folder, [auditor.recipient])
        self.log.start()

    def keep_policy(self) -> None:
        files = keep(self.folder, (("conf/policy.yaml", POLICY),))
        self.log.add(Kind.POLICY, digest=self.policy.digest, files=files)

    def refund(self, arguments: JsonObject, *, full: bool = False, rules: object = None, **more: object) -> str:
        """A call as the gate decides it; returns the id of the decision."""
        number = len(self.log.records)
        call = Call(
            caller=SpiffeId.parse(CALLER),
            server="ledger",
            method="tools/call",
            tool="refund",
            arguments=arguments,
            now=(self.log.now_ns + self.log.step_ns) / 1e9,
            svid_not_before=BEGAN_NS / 1e9 - 300,
            svid_not_after=BEGAN_NS / 1e9 + 36_000,
            history=History().of(SpiffeId.parse(CALLER)),
        )
        decision = decide(self.policy, call)
        asked = self.log.request(number=number, tool="refund", **more)  # type: ignore[arg-type]
        asked |= {
            "args": sha256(canonical(arguments)).hexdigest(),
            "policy": self.policy.digest,
            "rules": [asdict(finding) for finding in decision.findings] if rules is None else rules,
        }
        if full:
            asked["request"] = self.recorded(arguments)
        if decision.permit is None:
            path = ["accept=ok", f"decide=refused:{decision.reason}"]
            self.log.add(Kind.REFUSAL, **asked, stage="decide", reason=decision.reason, detail="", path=path)
        else:
            token = {"jti": "j" * 22, "sha256": "ab" * 32, "aud": "https://ledger.acme.test/mcp", "exp": 1_767_787_300}
            place = self.log.add(
                Kind.INTENT, **asked, reason="", path=["decide=ok", "inspect=ok", "mint=ok"], token=token
            )
            self.log.outcome(place)
        return str(asked["decision"])

    def recorded(self, arguments: JsonObject) -> JsonObject:
        message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call"}
        body = json.dumps(message | {"params": {"name": "refund", "arguments": arguments}})
        line = f'{{"at_us":0,"kind":"request","body":{body}}}\n'
        return {
            "sha256": sha256(body.encode()).hexdigest(),
            "bytes": len(body),
            "object": self.store.put(line.encode()),
        }

    def written(self) -> None:
        self.log.write(self.folder, CheckpointKey.generate(ORIGIN), segment_records=4)

    def run(self, *arguments: str) -> Result:
        return CliRunner().invoke(main, ["explain", "--log", str(self.folder), *arguments])

    def found(self, *arguments: str) -> Any:  # noqa: ANN401  # JSON
        result = self.run(*arguments, "--format", "json")
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)


@pytest.fixture
def told(tmp_path: Path) -> Told:
    return Told(tmp_path)


def test_draws_a_call_of_then_with_the_policy_of_then_and_what_is_not_known(told: Told) -> None:
    told.keep_policy()
    decision = told.refund(REFUND)
    told.written()

    result = told.run("--decision", decision)

    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    entry = told.found("--decision", decision)
    assert lines[:21] == [
        "✓ allowed  tools/call refund on ledger",
        "  grant refunds",
        f"  {CALLER}  at 2026-01-07T12:00:00.150000000Z",
        f"  decision {decision}  trace {entry['trace_id']}  session {'5e' * 8}  record 3",
        "├─ ✓ the way through the gate",
        "│  ├─ ✓ decide",
        "│  ├─ ✓ inspect",
        "│  ├─ ✓ mint",
        "│  ├─ ✓ record",
        "│  ├─ ✓ forward",
        "│  ├─ ✓ screen",
        "│  └─ ✓ respond",
        f"├─ · asked with arguments of SHA-256 {entry['call']['args_sha256']}, 300 bytes, MCP 2026-07-28",
        "├─ ● grant refunds applied, as recorded  conf/policy.yaml:9",
        f"│  ├─ ✓ workload matches {CALLER}",
        "│  ├─ ✓ tool matches refund",
        "│  ├─ ? condition: args.amount < 500",
        "│  │  └─ args.amount is not known",
        "│  ├─ ? scopes: ledger.account:{args.account}",
        "│  │  └─ args.account is not known",
        f"│  └─ · as recorded: tool matches refund; workload matches {CALLER}; its condition holds",
    ]
    assert f"├─ · rules by the policy {told.policy.digest}, as kept in the log" in lines
    assert "├─ ✓ the call was answered, after 1.5 ms, HTTP 200, 120 bytes" in lines
    assert lines[-1] == "└─ · the arguments are known by their digest alone: their content was not recorded"


def test_answers_each_question_that_does_not_hang_on_what_is_not_recorded(told: Told) -> None:
    told.keep_policy()
    decision = told.refund(REFUND)
    told.written()

    rules = {rule["id"]: rule for rule in told.found("--decision", decision)["rules"]}

    # Known by the record: the hour.  Not known: what the workload did before, and what it asked for.
    assert rules["not-at-night"]["applies"] is False
    hour = rules["not-at-night"]["answers"][-1]
    assert (hour["yes"], hour["truth"], hour["seen"]) == (False, "does_not_hold", {"request.hour": 12})
    assert rules["none-after-denials"]["applies"] is None
    assert rules["none-after-denials"]["answers"][-1]["unknown"] == ['history.denials(duration("1m"))']
    assert rules["none-after-denials"]["recorded"]["applied"] is False
    assert rules["refunds"]["applies"] is None
    assert rules["reads"]["applies"] is False


def test_arguments_are_shown_and_conditions_answered_to_who_holds_the_key(told: Told) -> None:
    told.keep_policy()
    decision = told.refund({**REFUND, "note": SECRET}, full=True)
    told.written()

    found = told.found("--decision", decision, "--identity", str(told.folder / "auditor.key"))

    assert found["call"]["args"] == {**REFUND, "note": SECRET}
    refunds = next(rule for rule in found["rules"] if rule["id"] == "refunds")
    assert refunds["applies"] is True
    assert refunds["answers"][2] == {
        "question": "condition",
        "yes": True,
        "why": "args.amount < 500  holds",
        "truth": "holds",
        "seen": {"args.amount": 499},
    }
    assert refunds["answers"][3]["why"] == "ledger.account:A-1"
    tree = told.run("--decision", decision, "--identity", str(told.folder / "auditor.key")).stdout
    assert SECRET in tree


def test_without_the_key_it_says_that_one_is_needed_and_shows_nothing(told: Told) -> None:
    told.keep_policy()
    decision = told.refund({**REFUND, "note": SECRET}, full=True)
    told.written()

    result = told.run("--decision", decision)

    assert SECRET not in result.output
    assert "--identity FILE shows them" in result.stdout
    assert told.found("--decision", decision)["call"]["args"] is None


def test_another_key_opens_nothing_and_the_rest_is_explained_all_the_same(told: Told) -> None:
    told.keep_policy()
    decision = told.refund(REFUND, full=True)
    told.written()
    (told.folder / "other.key").write_text(f"{KeyPair.generate().identity}\n")
    (told.folder / "other.key").chmod(0o600)

    found = told.found("--decision", decision, "--identity", str(told.folder / "other.key"))

    assert any("encrypted to other keys" in note for note in found["notes"])
    assert found["call"]["args"] is None
    assert next(rule for rule in found["rules"] if rule["id"] == "refunds")["applies"] is None


def test_arguments_that_are_not_those_of_the_decision_answer_no_condition(told: Told) -> None:
    told.keep_policy()
    decision = told.refund(REFUND, full=True)
    place = next(i for i, (kind, _, _) in enumerate(told.log.records) if kind is Kind.INTENT)
    kind, fields, when = told.log.records[place]
    told.log.records[place] = (kind, {**fields, "request": told.recorded({"amount": 1, "account": "A-1"})}, when)
    told.written()

    found = told.found("--decision", decision, "--identity", str(told.folder / "auditor.key"))

    assert found["call"]["args"] is None
    assert any("their digest is another" in note for note in found["notes"])


def test_a_denial_is_as_well_told_and_a_script_can_tell_it_apart(told: Told) -> None:
    told.keep_policy()
    decision = told.refund({"amount": 500, "account": "A-1"})
    told.written()

    result = told.run("--decision", decision, "--exit-code")

    assert result.exit_code == 3
    lines = result.stdout.splitlines()
    assert lines[0] == "✗ denied  tools/call refund on ledger"
    assert lines[1] == "  no_grant: none of this workload's grants that name this tool applies to this call"
    assert "│  └─ ✗ decide  refused: no_grant" in lines


def test_a_few_characters_are_enough_where_only_one_decision_begins_so(told: Told) -> None:
    told.keep_policy()
    first, second = told.refund(REFUND), told.refund(REFUND)
    told.written()
    assert first[:6] != second[:6]

    assert told.found("--decision", first[:6])["decision_id"] == first
    assert told.found("--decision", second[:6].upper())["decision_id"] == second


def test_characters_with_which_several_decisions_begin_are_no_name(told: Told) -> None:
    told.keep_policy()
    for end in ("1" * 26, "2" * 26):
        told.refund(REFUND, decision=f"abcdef{end}")
    told.written()

    result = told.run("--decision", "abcdef")

    assert result.exit_code == 2
    assert f"could be any of abcdef{'1' * 26}, abcdef{'2' * 26}; write more of it" in result.output
    assert told.found("--decision", "abcdef1")["decision_id"] == f"abcdef{'1' * 26}"


def test_what_is_not_in_the_log_is_told_with_how_far_the_log_reaches(told: Told) -> None:
    told.keep_policy()
    told.refund(REFUND)
    told.written()

    result = told.run("--decision", "0000beef")

    assert result.exit_code == 2
    assert "has no decision 0000beef" in result.output
    assert "from 2026-01-07T12:00:00.050000000Z to 2026-01-07T12:00:00.150000000Z" in result.output


@pytest.mark.parametrize("given", ["abc", "not-an-id", "g" * 8, "a" * 33, "../../etc"])
def test_what_is_no_id_is_a_wrong_command_line(told: Told, given: str) -> None:
    told.keep_policy()
    told.written()

    result = told.run("--decision", given)

    assert result.exit_code == 2
    assert "hexadecimal digits" in result.output


def test_a_trace_of_one_decision_is_as_good_a_name(told: Told) -> None:
    told.keep_policy()
    decision = told.refund(REFUND)
    told.written()
    trace = told.found("--decision", decision)["trace_id"]

    assert told.found("--trace-id", trace)["decision_id"] == decision
    assert told.found("--trace-id", trace[:8])["decision_id"] == decision


def test_a_trace_of_several_decisions_names_them(told: Told) -> None:
    told.keep_policy()
    decisions = [told.refund(REFUND, trace="ab" * 16), told.refund({"amount": 700}, trace="ab" * 16)]
    told.written()

    result = told.run("--trace-id", "ab" * 16)

    assert result.exit_code == 2
    assert "the trace holds 2 decisions; name one by --decision" in result.output
    for decision, verdict in zip(decisions, ("allow", "deny"), strict=True):
        assert any(decision in line and line.endswith(f": {verdict}") for line in result.output.splitlines())


def test_without_the_text_of_the_policy_what_was_recorded_of_the_rules_is_told(told: Told) -> None:
    decision = told.refund(REFUND)
    told.written()

    found = told.found("--decision", decision)
    tree = told.run("--decision", decision).stdout

    assert found["rules"] is None
    assert any("so that its text is not known; --policy can give it" in note for note in found["notes"])
    assert f"● grant refunds applied: tool matches refund; workload matches {CALLER}; its condition holds" in tree


def test_the_policy_of_then_can_be_given(told: Told) -> None:
    decision = told.refund(REFUND)
    told.written()
    (told.folder / "policy.yaml").write_text(POLICY)

    found = told.found("--decision", decision, "--policy", str(told.folder / "policy.yaml"))

    assert found["policy_from"] == "given by --policy"
    assert [rule["id"] for rule in found["rules"]] == ["reads", "refunds", "none-after-denials", "not-at-night"]


def test_another_policy_than_that_of_then_explains_nothing(told: Told) -> None:
    decision = told.refund(REFUND)
    told.written()
    (told.folder / "policy.yaml").write_text(POLICY.replace("500", "600"))

    result = told.run("--decision", decision, "--policy", str(told.folder / "policy.yaml"))

    assert result.exit_code == 1
    assert told.policy.digest in result.output
    assert "callgate policy diff" in result.output


def test_a_kept_text_that_was_changed_explains_nothing(told: Told) -> None:
    told.keep_policy()
    decision = told.refund(REFUND)
    told.written()
    (kept,) = (told.folder / "policies").iterdir()
    kept.write_text(POLICY.replace("500", "600"))

    found = told.found("--decision", decision)

    assert found["rules"] is None
    assert any("has been changed since" in note for note in found["notes"])


def test_only_a_policy_that_was_in_force_before_it_is_taken(told: Told) -> None:
    decision = told.refund(REFUND)
    told.keep_policy()
    told.written()

    assert told.found("--decision", decision)["rules"] is None


def test_a_record_that_the_policy_of_then_cannot_have_led_to_is_pointed_out(told: Told) -> None:
    told.keep_policy()
    rules = [{"rule": "reads", "kind": "grant", "matched": True, "why": "tool matches get_invoice"}]
    decision = told.refund(REFUND, rules=rules)
    told.written()

    assert (
        "the record says that reads applied, and by this policy it does not"
        in told.found("--decision", decision)["notes"]
    )


def test_a_connection_that_was_turned_away_has_its_record_and_no_rules(told: Told) -> None:
    told.keep_policy()
    told.log.handshake_refusal()
    told.written()
    decision = str(told.log.records[-1][1]["decision"])

    found = told.found("--decision", decision)

    assert (found["decision"], found["reason"], found["rules"]) == ("deny", "tls_no_certificate", None)
    assert found["notes"] == ["the policy was not asked: accept comes before it"]
    lines = told.run("--decision", decision).stdout.splitlines()
    assert lines[0] == "✗ denied  a connection from 203.0.113.9:4711"


def test_what_an_attacker_left_in_the_log_cannot_draw_on_the_terminal(told: Told) -> None:
    told.keep_policy()
    decision = told.refund(REFUND, purpose="a\x1b[2J\r\n└─ ✓ allowed\u202e", address="\x1b]0;x\x07")
    told.written()

    for form in ("tree", "mermaid"):
        shown = told.run("--decision", decision, "--format", form).stdout
        assert "\x1b" not in shown
        assert "\u202e" not in shown
        assert not any(line.startswith("└─ ✓ allowed") for line in shown.splitlines())


def test_the_configuration_names_the_log(told: Told, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    told.keep_policy()
    decision = told.refund(REFUND)
    told.written()
    monkeypatch.chdir(tmp_path)
    (tmp_path / "policy.yaml").write_text(POLICY)
    (tmp_path / "callgate.yaml").write_text(
        "listen: 127.0.0.1:8443\nissuer: https://gate.acme.test\npolicy: policy.yaml\naudit: {folder: .}\n"
        "servers: {ledger: {url: https://ledger.acme.test/mcp}}\n"
    )

    for more in ((), ("--config", "callgate.yaml")):
        result = CliRunner().invoke(main, ["explain", "--decision", decision, *more])
        assert result.exit_code == 0, result.output
        assert result.stdout.startswith("✓ allowed")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--decision", "abcd", "--trace-id", "abcd"), "--decision and --trace-id exclude each other"),
        (("--decision", "abcd", "--who", CALLER), "--who: what was asked is in the record"),
        (("--decision", "abcd", "--svid-age", "5m"), "--svid-age: what was asked is in the record"),
        (("--who", CALLER), "--log and --identity are about a decision"),
    ],
)
def test_flags_that_make_no_question_are_a_wrong_command_line(
    told: Told, arguments: tuple[str, ...], words: str
) -> None:
    told.keep_policy()
    told.written()

    result = told.run(*arguments)

    assert result.exit_code == 2
    assert words in result.output


def test_no_log_is_told_in_a_sentence(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["explain", "--log", str(tmp_path), "--decision", "abcd"])

    assert result.exit_code == 2
    assert "there is no log to read" in result.output
