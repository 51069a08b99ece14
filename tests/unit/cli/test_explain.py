import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from callgate.cli import main
from callgate.cli.branches import Mark, Node, draw, mermaid
from callgate.yaml_strict import DEFAULT_LIMITS

AGENT = "spiffe://acme.test/ns/billing/sa/agent"
READER = "spiffe://acme.test/ns/billing/sa/reader"
AT = "2026-11-21T10:00:00Z"
AUDITOR = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"
CONFIG = """\
listen: 127.0.0.1:8443
issuer: https://gate.acme.test
policy: policy.yaml
servers:
  ledger: {url: https://ledger.acme.test/mcp, token: {audience: https://ledger.acme.test/mcp, ttl: 30s}}
  mail: {url: https://mail.acme.test/mcp}
audit: {folder: audit}
"""
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
    scopes: [ledger.refund]
    ttl: 10s
    limit: {calls: 10, per: 5m}
    until: 2026-12-31T00:00:00Z
denials:
  - id: none-after-denials
    server: ledger
    tools: [refund]
    when: history.denials(duration("1m")) >= 2
  - id: not-for-guests
    workloads: [spiffe://acme.test/ns/billing/sa/reader]
    server: ledger
    tools: [get_invoice]
    users: {groups: [guests]}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "callgate.yaml").write_text(CONFIG)
    (tmp_path / "policy.yaml").write_text(POLICY)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments: str, stdin: str | None = None) -> Result:
    return CliRunner().invoke(main, ["explain", *arguments], input=stdin)


def asked(*arguments: str, who: str = AGENT, tool: str = "refund", args: str = '{"amount": 5}') -> tuple[str, ...]:
    return ("--who", who, "--server", "ledger", "--tool", tool, "--args", args, "--at", AT, *arguments)


def found(*arguments: str, stdin: str | None = None) -> Any:  # noqa: ANN401  # JSON
    result = run(*arguments, "--format", "json", stdin=stdin)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


@pytest.mark.usefixtures("folder")
def test_draws_the_whole_path_of_an_allowed_call() -> None:
    result = run(*asked())

    assert result.exit_code == 0
    assert result.stderr == ""
    digest = json.loads(run(*asked("--format", "json")).stdout)["policy"]
    lines = result.stdout.splitlines()
    assert lines[:24] == [
        "✓ allowed  tools/call refund on ledger",
        "  grant refunds",
        f"  {AGENT}  at {AT}",
        "├─ ● grant refunds applies  policy.yaml:9",
        f"│  ├─ ✓ workload matches {AGENT}",
        "│  ├─ ✓ tool matches refund",
        "│  ├─ ✓ time: until 2026-12-31T00:00:00Z",
        "│  ├─ ✓ condition: args.amount < 500  holds",
        "│  │  └─ args.amount = 5",
        "│  └─ ✓ scopes: ledger.refund",
        "├─ ○ denial none-after-denials does not apply  policy.yaml:19",
        "│  ├─ ✓ any workload",
        "│  ├─ ✓ tool matches refund",
        '│  └─ ✗ condition: history.denials(duration("1m")) >= 2  does not hold',
        '│     └─ history.denials(duration("1m")) = 0',
        "├─ ○ grant reads does not apply  policy.yaml:4: tool is not get_invoice",
        f"├─ ○ denial not-for-guests does not apply  policy.yaml:23: workload is not {READER}",
        "├─ · counts for the limit of refunds: 10 calls in 5m",
        "├─ · a grant ends 2026-12-31T00:00:00Z",
        "├─ · on record: digest, as the configuration says of ledger",
        "└─ ✓ token for this call alone",
        "   ├─ iss                    https://gate.acme.test",
        "   ├─ aud                    https://ledger.acme.test/mcp",
        f"   ├─ sub                    {AGENT}",
    ]
    assert "   ├─ scope                  mcp:tools.call tool:refund ledger.refund" in lines
    assert digest in lines[-1]


@pytest.mark.usefixtures("folder")
def test_tells_the_cause_of_a_denial_and_what_the_condition_saw() -> None:
    result = run(*asked(args='{"amount": 500}'))

    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[0] == "✗ denied  tools/call refund on ledger"
    assert "  no_grant: none of this workload's grants that name this tool applies to this call" in lines
    at = lines.index("│  ├─ ✗ condition: args.amount < 500  does not hold")
    assert lines[at + 1] == "│  │  └─ args.amount = 500"
    assert "token" not in result.stdout


@pytest.mark.usefixtures("folder")
def test_tells_what_was_missing_where_a_condition_failed() -> None:
    result = run(*asked(args="{}"))

    assert "args.amount is not there" in result.stdout
    assert "a grant does not apply then" in result.stdout


@pytest.mark.usefixtures("folder")
def test_exits_with_3_for_a_denied_call_when_told_to() -> None:
    assert run(*asked("--exit-code")).exit_code == 0
    assert run(*asked("--exit-code", args='{"amount": 500}')).exit_code == 3


@pytest.mark.usefixtures("folder")
def test_the_tokens_claims_have_words_where_only_a_call_tells() -> None:
    token = found(*asked("--user", '{"issuer": "https://idp.test", "subject": "alice"}'))["token"]

    assert token["aud"] == "https://ledger.acme.test/mcp"
    assert token["scope"] == "mcp:tools.call tool:refund ledger.refund"
    assert (token["jti"], token["txn"]) == ("(16 random bytes)", "(the decision's id)")
    assert "(the gate's own SPIFFE ID)" in json.dumps(token["act"])
    assert "gate.invalid" not in json.dumps(token)
    assert token["authorization_details"][0]["tool"] == "refund"


@pytest.mark.usefixtures("folder")
def test_json_has_every_rule_with_its_answers() -> None:
    told = found(*asked())

    assert (told["decision"], told["reason"], told["why"]) == ("allow", None, "grant refunds")
    assert told["call"] == {
        "who": AGENT,
        "user": None,
        "server": "ledger",
        "method": "tools/call",
        "tool": "refund",
        "at": AT,
    }
    rules = {rule["id"]: rule for rule in told["rules"]}
    assert rules.keys() == {"reads", "refunds", "none-after-denials", "not-for-guests"}
    assert (rules["refunds"]["file"], rules["refunds"]["line"]) == ("policy.yaml", 9)
    condition = rules["refunds"]["answers"][-2]
    assert (condition["question"], condition["truth"], condition["seen"]) == ("condition", "holds", {"args.amount": 5})
    assert told["record"] == "digest"
    assert told["limits"] == [{"rule": "refunds", "calls": 10, "per": "5m"}]
    assert told["not_after"] == "2026-12-31T00:00:00Z"


def test_tells_how_much_goes_on_record_and_who_asks_for_it(folder: Path) -> None:
    (folder / "callgate.yaml").write_text(CONFIG.replace("{folder: audit}", f"{{recipients: [{AUDITOR}]}}"))
    (folder / "policy.yaml").write_text(POLICY.replace("    ttl: 10s\n", "    ttl: 10s\n    record: full\n"))

    assert "├─ · on record: full, as grant refunds asks" in run(*asked()).stdout.splitlines()
    assert found(*asked())["record"] == "full"
    assert found(*asked(args='{"amount": 500}'))["record"] is None
    assert found(*asked(tool="get_invoice"))["record"] == "digest"


def test_without_a_configuration_only_a_grant_tells_how_much_goes_on_record(folder: Path) -> None:
    policy = folder / "policy.yaml"
    told = run("--policy", str(policy), *asked()).stdout
    assert "on record" not in told

    policy.write_text(POLICY.replace("    ttl: 10s\n", "    record: none\n"))
    assert "on record: none, as grant refunds asks" in run("--policy", str(policy), *asked()).stdout


@pytest.mark.usefixtures("folder")
def test_history_makes_the_difference_that_it_makes_to_the_gate() -> None:
    once = "[{denied: ledger/refund, ago: 10s}]"
    twice = "[{denied: true, ago: 59s}, {denied: ledger/refund, ago: 10s}]"
    long_ago = "[{denied: true, ago: 61s}, {denied: ledger/refund, ago: 10s}]"

    assert [found(*asked("--history", events))["decision"] for events in (once, twice, long_ago)] == [
        "allow",
        "deny",
        "allow",
    ]
    assert found(*asked("--history", twice))["why"] == "denial none-after-denials"


def test_history_and_arguments_come_from_files_too(folder: Path) -> None:
    (folder / "events.yaml").write_text("- {denied: true, ago: 59s}\n- {denied: true, ago: 10s}\n")
    (folder / "args.json").write_text('{"amount": 5}')

    told = found(
        *("--who", AGENT, "--server", "ledger", "--tool", "refund", "--at", AT),
        *("--args-file", "args.json", "--history", "events.yaml"),
    )
    assert told["why"] == "denial none-after-denials"


@pytest.mark.usefixtures("folder")
def test_users_make_the_difference_that_they_make_to_the_gate() -> None:
    guest = ("--user", '{"issuer": "i", "subject": "s", "groups": ["guests"]}')
    member = ("--user", '{"issuer": "i", "subject": "s", "groups": ["members"]}')

    assert found(*asked(*guest, who=READER, tool="get_invoice"))["decision"] == "deny"
    assert found(*asked(*member, who=READER, tool="get_invoice"))["decision"] == "allow"
    assert found(*asked(who=READER, tool="get_invoice"))["decision"] == "deny"


@pytest.mark.usefixtures("folder")
def test_a_call_comes_from_one_file_and_flags_replace_its_parts() -> None:
    call = json.dumps(
        {"who": AGENT, "at": AT, "call": {"server": "ledger", "tool": "refund", "args": {"amount": 5, "note": None}}}
    )

    assert found("--call", "-", stdin=call)["decision"] == "allow"
    assert found("--call", "-", "--args", '{"amount": 500}', stdin=call)["decision"] == "deny"
    assert found("--call", "-", "--tool", "get_invoice", stdin=call)["why"] == "grant reads"
    assert found("--call", "-", "--who", READER, stdin=call)["decision"] == "deny"
    assert found("--call", "-", "--at", "2027-01-01T00:00:00Z", stdin=call)["decision"] == "deny"


@pytest.mark.usefixtures("folder")
def test_the_same_answer_without_a_configuration_but_for_the_token() -> None:
    told = found("--policy", "policy.yaml", *asked())

    assert told["why"] == "grant refunds"
    assert told["token"] is None
    assert any("--config" in note for note in told["notes"])


@pytest.mark.usefixtures("folder")
def test_draws_a_flowchart() -> None:
    lines = run(*asked("--format", "mermaid")).stdout.splitlines()

    assert lines[0] == "flowchart LR"
    assert lines[1].startswith('  n0["✓ allowed  tools#47;call refund on ledger<br/>grant refunds<br/>')
    assert "  n0 --> n1" in lines
    assert any("args.amount #60; 500" in line for line in lines)


def test_sums_up_rules_about_others_unless_told_to_show_all(folder: Path) -> None:
    more = "".join(
        f"  - {{id: other-{n}, workloads: ['spiffe://acme.test/o/{n}'], server: ledger, tools: [x]}}\n"
        for n in range(20)
    )
    (folder / "policy.yaml").write_text(POLICY + more)

    told = run(*asked()).stdout
    # One is of the policy itself.
    assert told.count("workload is not") == 5
    assert "16 more rules are about other workloads; --all shows them" in told
    everything = run(*asked("--all")).stdout
    assert everything.count("workload is not") == 21
    assert "--all" not in everything


def test_tells_what_a_shadow_policy_would_do(folder: Path) -> None:
    (folder / "next.yaml").write_text("version: 1\ntrust_domains: [acme.test]\n")
    (folder / "callgate.yaml").write_text(CONFIG + "shadow_policy: next.yaml\n")

    told = found(*asked())
    assert told["decision"] == "allow"
    assert told["notes"] == ["under the shadow policy: deny, no grant on this server names this workload"]


def test_tells_of_rules_in_shadow_and_what_they_would_change(folder: Path) -> None:
    (folder / "policy.yaml").write_text(POLICY + "  - {id: soon, server: ledger, tools: [refund], shadow: true}\n")

    told = found(*asked())
    assert told["decision"] == "allow"
    assert told["shadow"] == {"decision": "deny", "reason": "denied", "rules": ["soon"]}
    assert "denial soon applies (in shadow: not enforced)" in run(*asked()).stdout


@pytest.mark.usefixtures("folder")
def test_says_that_the_gate_does_not_serve_a_method_at_all() -> None:
    told = found("--who", AGENT, "--server", "ledger", "--method", "resources/list")

    assert told["decision"] == "deny"
    assert told["notes"] == ["the gate does not serve resources/list: it refuses it (method_not_served)"]


@pytest.mark.usefixtures("folder")
def test_names_a_tool_that_may_have_been_meant() -> None:
    assert found(*asked(tool="refnd"))["notes"] == ["no rule names the tool 'refnd'; did you mean 'refund'?"]
    assert found(*asked(tool="something_else"))["notes"] == []


def test_without_a_configuration_says_how_to_name_a_policy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    result = run("--who", AGENT)
    assert result.exit_code == 2
    assert "there is no callgate.yaml here; name one by --config, or a policy by --policy" in result.stderr


@pytest.mark.usefixtures("folder")
def test_refuses_arguments_that_the_gate_would_refuse() -> None:
    # RFC 7493, section 2.2: beyond 2**53 an integer is not the same number everywhere.
    result = run(*asked(tool="get_invoice", args='{"n": 9007199254740993}'))

    assert result.exit_code == 2
    assert "--args: is not acceptable JSON (json_number" in result.stderr


@pytest.mark.usefixtures("folder")
def test_prints_the_permissions_of_a_workload() -> None:
    result = run("--who", AGENT, "--at", AT)

    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        AGENT,
        f"  at {AT}, and until 2026-12-31T00:00:00Z",
        "└─ ✓ ledger",
        "   ├─ ● grant reads  policy.yaml:4: get_invoice",
        "   │  ├─ workload matches spiffe://acme.test/ns/billing/sa/*",
        "   │  └─ scopes ledger.read",
        "   └─ ● grant refunds  policy.yaml:9: refund",
        f"      ├─ workload matches {AGENT}",
        "      ├─ scopes ledger.refund",
        "      ├─ when args.amount < 500",
        "      ├─ 10 calls in 5m",
        "      ├─ token for 10s",
        "      ├─ ✓ until 2026-12-31T00:00:00Z",
        '      └─ ○ but denial none-after-denials  policy.yaml:19 when history.denials(duration("1m")) >= 2: refund',
    ]


def test_the_permissions_of_a_workload_tell_how_much_goes_on_record(folder: Path) -> None:
    (folder / "policy.yaml").write_text(POLICY.replace("    ttl: 10s\n", "    record: digest\n"))

    assert "      ├─ record: digest" in run("--who", AGENT, "--at", AT).stdout.splitlines()
    (server,) = found("--who", AGENT, "--at", AT)["servers"]
    assert [grant["record"] for grant in server["grants"]] == [None, "digest"]


def test_marks_a_denial_that_takes_every_call_of_a_granted_tool(folder: Path) -> None:
    (folder / "policy.yaml").write_text(POLICY + "  - {id: closed, server: ledger, tools: [get_*]}\n")

    told = run("--who", READER, "--at", AT).stdout
    assert "✗ but denial closed  policy.yaml:28: get_invoice" in told
    # This one takes the calls of some users, and which those are only a call tells.
    assert "○ but denial not-for-guests  policy.yaml:23 for a user in group guests: get_invoice" in told


@pytest.mark.usefixtures("folder")
def test_permissions_as_json() -> None:
    told = found("--who", READER, "--at", AT)

    assert told["expires"] is None
    (ledger,) = told["servers"]
    (grant,) = ledger["grants"]
    assert (grant["id"], grant["tools"], grant["scopes"]) == ("reads", ["get_invoice"], ["ledger.read"])
    (denial,) = grant["denials"]
    assert (denial["id"], denial["tools"], denial["users"]) == (
        "not-for-guests",
        ["get_invoice"],
        "a user in group guests",
    )


@pytest.mark.usefixtures("folder")
def test_says_that_a_workload_may_do_nothing() -> None:
    result = run("--who", "spiffe://partner.test/x")

    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        "✗ spiffe://partner.test/x may do nothing: no grant names it",
        "└─ · the policy does not list the trust domain partner.test: no grant can name this workload",
    ]


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        ((), 2, "--who is missing"),
        (("--who", AGENT, "--tool", "refund"), 2, "--server is missing"),
        (("--who", AGENT, "--server", "ledger"), 2, "needs a tool, because its method is tools/call"),
        (("--who", AGENT, "--server", "legder", "--tool", "x"), 2, "not configured; did you mean 'ledger'?"),
        (("--who", "acme"), 2, "--who: must be a SPIFFE ID"),
        (("--who", AGENT, "--at", "today"), 2, "--at: must be a moment with its offset"),
        (asked("--args-file", "x"), 2, "exclude each other"),
        (("-c", "callgate.yaml", "--policy", "policy.yaml", "--who", AGENT), 2, "exclude each other"),
        (asked(args="{"), 2, "--args: is not acceptable JSON (json_malformed"),
        (asked(args='{"a": 1, "a": 2}'), 2, "--args: is not acceptable JSON (json_duplicate_key"),
        (asked(args="[]"), 2, "--args: must be a JSON object"),
        (asked("--user", '{"issuer": "i", "subjct": "s"}'), 2, "--user:1:17: unknown key 'subjct'; did you mean 'subj"),
        (asked("--history", "[{call: x, ago: 1s}]"), 2, "--history:1:9: call must be a server and a tool of it"),
        (asked("--history", "no.yaml"), 1, "no.yaml: cannot be read: No such file or directory"),
        (asked("--svid-age", "soon"), 2, "--svid-age:1:1: svid_age must be a duration"),
        (
            ("--who", AGENT, "--history", "[]", "--svid-age", "5m"),
            2,
            "--history, --svid-age: only a call is decided by",
        ),
        (("--who", AGENT, "--user", '{"issuer": "i", "subject": "s"}'), 2, "--user: only a call is decided by that"),
        (("--who", AGENT, "--call", "no.json"), 1, "no.json: cannot be read: No such file or directory"),
        (("--who", AGENT, "--policy", "no.yaml"), 1, "no.yaml: cannot be read: No such file or directory"),
        (("--who", AGENT, "-c", "no.yaml"), 1, "no.yaml: cannot be read: No such file or directory"),
    ],
)
def test_tells_in_a_sentence_what_is_wrong(arguments: tuple[str, ...], status: int, words: str) -> None:
    result = run(*arguments)

    assert result.exit_code == status
    assert words in result.stderr.replace("\n", " ")
    assert result.stdout == ""
    assert result.exception is None or isinstance(result.exception, SystemExit)


@pytest.mark.usefixtures("folder")
def test_refuses_input_that_is_too_large() -> None:
    result = run("--call", "-", stdin=" " * (DEFAULT_LIMITS.max_bytes + 1))

    assert result.exit_code == 1
    assert "is larger than" in result.stderr


@pytest.mark.usefixtures("folder")
def test_nothing_that_is_printed_moves_the_cursor() -> None:
    result = run(*asked(tool="re\x1b[2Jfund\n"))

    assert result.exit_code == 0
    assert "\x1b" not in result.stdout
    assert "re\\x1b[2Jfund\\n" in result.stdout


TREE = Node(Mark.YES, "root", (Node(Mark.NO, "a", (Node(Mark.NONE, "b"),)), Node(Mark.NOTE, "c", lines=("more",))))


def test_draws_branches_and_their_lines() -> None:
    assert draw(TREE, colour=False).splitlines() == [
        "✓ root",
        "├─ ✗ a",
        "│  └─ b",
        "└─ · c",
        "   more",
    ]


def test_colours_the_marks_alone_and_only_when_told_to() -> None:
    assert draw(TREE, colour=True).splitlines()[1] == "├─ \x1b[31m✗\x1b[0m a"


def test_a_flowchart_has_one_node_for_each_line_of_the_tree() -> None:
    lines = mermaid(TREE).splitlines()

    assert lines[1:8] == [
        '  n0["✓ root"]:::yes',
        '  n1["✗ a"]:::no',
        "  n0 --> n1",
        '  n2["b"]:::none',
        "  n1 --> n2",
        '  n3["· c<br/>more"]:::note',
        "  n0 --> n3",
    ]


@pytest.mark.parametrize("hostile", ['"]', "#quot;", "<script>", "a\nb", "`x`", "click n0 href", "%%{init}%%"])
def test_no_text_ends_a_label_of_the_flowchart(hostile: str) -> None:
    label = mermaid(Node(Mark.NONE, hostile)).splitlines()[1]

    inner = label.removeprefix('  n0["').removesuffix('"]:::none')
    assert not set(inner.replace("#", "", inner.count("#"))) & set('"<>[]{}`%&\\/')
