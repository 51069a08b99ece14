import pytest

from callgate.identity.spiffe_id import SpiffeId
from callgate.policy.compile import Policy, load_policy
from callgate.policy.exercise import Exercise
from callgate.policy.model import MAX_WINDOW_S
from callgate.policy.moments import parse_moment
from callgate.policy.patterns import ToolPattern
from callgate.policy.scenario import MAX_SCENARIOS, Suite, Trial, read_suite, try_out
from callgate.policy.situation import MAX_EVENTS
from callgate.yaml_strict import DEFAULT_LIMITS

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
    scopes: [ledger.refund, ledger.write]
    ttl: 10s
denials:
  - id: no-refunds-tried-out
    server: ledger
    tools: [refund]
    shadow: true
"""
AGENT = SpiffeId.parse("spiffe://acme.test/ns/billing/sa/agent")
WHO = f"who: {AGENT}"


def policy_of(text: str) -> Policy:
    policy = load_policy(text, "policy.yaml")
    assert isinstance(policy, Policy), policy
    return policy


def suite_of(tests: str, policy: str = "policy.yaml") -> Suite:
    suite = read_suite(f"policy: {policy}\ntests:\n{tests}", "p.test.yaml")
    assert isinstance(suite, Suite), "\n".join(map(str, suite))
    return suite


def problems_of(text: str) -> list[str]:
    found = read_suite(text, "p.test.yaml")
    assert not isinstance(found, Suite)
    return list(map(str, found))


def trial_of(expect: str, *, amount: str = "5", tool: str = "refund") -> Trial:
    text = f"  - {{name: x, {WHO}, call: {{server: ledger, tool: {tool}, args: {{amount: {amount}}}}}, expect: {expect}}}\n"
    (scenario,) = suite_of(text).scenarios
    return try_out(policy_of(POLICY), scenario)


def mismatches_of(expect: str, *, amount: str = "5", tool: str = "refund") -> list[tuple[str, str, str]]:
    return [(m.what, m.expected, m.got) for m in trial_of(expect, amount=amount, tool=tool).mismatches]


@pytest.mark.parametrize(
    "expect",
    [
        "{decision: allow}",
        "{scopes: [ledger.write, ledger.refund]}",
        "{rules: [refunds]}",
        "{ttl: 10s}",
        "{visible: true}",
        "{shadow: deny}",
        "{decision: allow, scopes: [ledger.refund, ledger.write], rules: [refunds], ttl: 10s, visible: true, shadow: deny}",
    ],
)
def test_passes_where_all_is_as_expected(expect: str) -> None:
    assert trial_of(expect).passed


@pytest.mark.parametrize("expect", ["{decision: deny}", "{reason: no_grant}", "{rules: []}", "{visible: true}"])
def test_passes_where_a_denial_is_as_expected(expect: str) -> None:
    assert trial_of(expect, amount="500").passed


@pytest.mark.parametrize(
    ("expect", "found"),
    [
        ("{decision: deny}", ("decision", "deny", "allow (grant refunds)")),
        ("{reason: denied}", ("reason", "denied", "none, because the call is allowed")),
        ("{scopes: [ledger.refund]}", ("scopes", "[ledger.refund]", "[ledger.refund, ledger.write]")),
        ("{rules: [reads]}", ("rules", "[reads]", "[refunds]")),
        ("{ttl: 20s}", ("ttl", "20s", "10s")),
        ("{visible: false}", ("visible", "false", "true")),
        ("{shadow: allow}", ("shadow", "allow", "deny")),
    ],
)
def test_tells_what_was_expected_and_what_came(expect: str, found: tuple[str, str, str]) -> None:
    assert mismatches_of(expect) == [found]


def test_a_denied_call_has_no_token_to_expect_anything_of() -> None:
    found = mismatches_of("{decision: allow, scopes: [], ttl: 10s}", amount="500")

    no_token = "no token, because the call is denied"
    assert found == [
        ("decision", "allow", "deny (none of this workload's grants that name this tool applies to this call)"),
        ("scopes", "[]", no_token),
        ("ttl", "10s", no_token),
    ]


LIMITED = POLICY.replace("    ttl: 10s\n", "    limit: {calls: 5, per: 1h}\n")


def limits_of(expect: str, amount: int = 5) -> list[tuple[str, str]]:
    text = f"  - {{name: x, {WHO}, call: {{server: ledger, tool: refund, args: {{amount: {amount}}}}}, expect: {expect}}}\n"
    (scenario,) = suite_of(text).scenarios
    return [(m.expected, m.got) for m in try_out(policy_of(LIMITED), scenario).mismatches]


def test_the_limits_that_a_call_counts_for_can_be_expected() -> None:
    assert limits_of("{limits: [{calls: 5, per: 60m}]}") == []
    assert limits_of("{limits: []}") == [("[]", "[5 in 3600s]")]
    assert limits_of("{limits: [{calls: 6, per: 1h}]}") == [("[6 in 3600s]", "[5 in 3600s]")]
    assert limits_of("{limits: []}", amount=500) == [("[]", "none, because the call is denied")]


def test_a_case_may_ask_for_another_tool_with_another_purpose_and_annotations() -> None:
    suite = suite_of(
        f"""\
  - name: x
    {WHO}
    call: {{server: ledger, tool: refund, args: {{amount: 5}}, purpose: care}}
    expect: {{decision: allow}}
    cases:
      - {{tool: get_invoice}}
      - {{purpose: "", annotations: {{readOnlyHint: true}}}}
"""
    )
    first, second = (scenario.call for scenario in suite.scenarios)
    assert (first.tool, first.arguments, first.purpose, first.annotations) == (
        "get_invoice",
        {"amount": 5},
        "care",
        None,
    )
    assert (second.tool, second.purpose, second.annotations) == ("refund", "", {"readOnlyHint": True})


RECORDED = POLICY.replace("    ttl: 10s\n", "    record: full\n")


def records_of(policy: str, expect: str, amount: int = 5) -> list[tuple[str, str, str]]:
    text = f"  - {{name: x, {WHO}, call: {{server: ledger, tool: refund, args: {{amount: {amount}}}}}, expect: {expect}}}\n"
    (scenario,) = suite_of(text).scenarios
    return [(m.what, m.expected, m.got) for m in try_out(policy_of(policy), scenario).mismatches]


def test_how_much_goes_on_record_can_be_expected() -> None:
    no_default = "none given: no grant that applies says how much, and the configuration's default holds"

    assert records_of(RECORDED, "{record: full}") == []
    assert records_of(RECORDED, "{record: digest}") == [("record", "digest", "full")]
    assert records_of(RECORDED, "{record: full}", 500) == [("record", "full", "none, because the call is denied")]
    assert records_of(POLICY, "{record: none}") == [("record", "none", no_default)]


def test_says_that_no_grant_sets_a_ttl() -> None:
    ((what, expected, got),) = mismatches_of("{ttl: 20s}", tool="get_invoice")

    assert (what, expected) == ("ttl", "20s")
    assert got.startswith("none")


def test_says_that_no_rule_in_shadow_names_the_call() -> None:
    ((_, _, got),) = mismatches_of("{shadow: deny}", tool="get_invoice")

    assert got == "nothing: no rule in shadow names this call"


def test_suggests_the_rule_that_was_meant() -> None:
    ((_, _, got),) = mismatches_of("{rules: [refund]}")

    assert got == "[refunds]; the policy has no rule 'refund'; did you mean 'refunds'?"


def test_what_is_not_expected_is_not_compared() -> None:
    assert trial_of("{visible: true}").passed
    assert trial_of("{visible: true}", amount="500").passed


def test_a_tool_is_visible_by_its_annotations_as_it_is_in_a_list_of_the_gate() -> None:
    policy = policy_of(POLICY.replace("when: args.amount < 500", "when: tool.annotations.readOnlyHint == true"))
    suite = suite_of(
        f"""\
  - name: x
    {WHO}
    call: {{server: ledger, tool: refund}}
    cases:
      - {{annotations: {{readOnlyHint: true}}, expect: {{visible: true}}}}
      - {{annotations: {{readOnlyHint: false}}, expect: {{visible: false}}}}
      - {{expect: {{visible: false}}}}
"""
    )
    assert [try_out(policy, scenario).mismatches for scenario in suite.scenarios] == [(), (), ()]


def test_a_tool_without_a_grant_is_not_visible() -> None:
    assert trial_of("{visible: false}", tool="drop_table").passed


def test_null_is_an_argument() -> None:
    assert trial_of("{decision: deny}", amount="null").scenario.call.arguments == {"amount": None}


CASES = f"""\
  - name: refunds
    {WHO}
    call: {{server: ledger, tool: refund, args: {{amount: 1}}}}
    expect: {{decision: allow}}
    cases:
      - {{args: {{amount: 499}}}}
      - {{name: too much, args: {{amount: 500}}, expect: {{decision: deny}}}}
      - {{who: spiffe://acme.test/x, expect: {{reason: no_grant}}}}
      - {{at: 2027-01-01T00:00:00Z, user: {{issuer: i, subject: s}}}}
"""


def test_each_case_is_a_test_that_differs_in_what_it_says() -> None:
    first, second, third, fourth = suite_of(CASES).scenarios

    assert [s.name for s in (first, second, third, fourth)] == [
        "refunds: 1",
        "refunds: too much",
        "refunds: 3",
        "refunds: 4",
    ]
    assert [first.call.arguments, second.call.arguments, third.call.arguments] == [
        {"amount": 499},
        {"amount": 500},
        {"amount": 1},
    ]
    assert str(third.call.caller) == "spiffe://acme.test/x"
    assert (first.expect.decision, second.expect.decision, third.expect.decision) == ("allow", "deny", None)
    assert fourth.call.now == parse_moment("2027-01-01T00:00:00Z")
    assert fourth.call.user is not None
    assert first.call.user is None


def test_each_case_stands_in_its_own_line() -> None:
    assert [s.line for s in suite_of(CASES).scenarios] == [8, 9, 10, 11]


def test_takes_place_on_a_fixed_moment_unless_the_test_says_when() -> None:
    assert trial_of("{decision: allow}").scenario.call.now == parse_moment("2026-01-07T12:00:00Z")


def test_the_history_is_the_callers_and_as_long_ago_as_it_says() -> None:
    text = (
        f"  - name: x\n    {WHO}\n    call: {{server: ledger, tool: refund}}\n    expect: {{decision: deny}}\n"
        "    history: [{denied: ledger/refund, ago: 10s}, {call: web/fetch, ago: 5m}, {denied: true, ago: 2h}]\n"
    )
    (scenario,) = suite_of(text).scenarios
    history, now = scenario.call.history, scenario.call.now

    assert history is not None
    fetch = ToolPattern.parse("fetch")
    assert history.caller == AGENT
    assert (history.denials(60, now), history.denials(MAX_WINDOW_S, now)) == (1, 2)
    assert (history.calls("web", fetch, 299, now), history.calls("web", fetch, 301, now)) == (0, 1)


def test_a_test_without_history_has_an_empty_one_and_not_none() -> None:
    history = trial_of("{decision: allow}").scenario.call.history

    assert history is not None
    assert history.denials(MAX_WINDOW_S, 0) == 0


def test_everything_that_a_test_says_reaches_the_call() -> None:
    text = (
        f"  - name: x\n    {WHO}\n    expect: {{decision: deny}}\n    svid_age: 30m\n    svid_left: 10s\n"
        "    at: 2026-11-21T10:00:00Z\n"
        "    user: {issuer: i, subject: s, groups: [g], claims: {level: null, more: {a: [1]}}}\n"
        "    call: {server: ledger, tool: refund, purpose: refunds, revision: 2025-11-25, size: 77,\n"
        "           annotations: {readOnlyHint: true}}\n"
    )
    (scenario,) = suite_of(text).scenarios
    call, now = scenario.call, parse_moment("2026-11-21T10:00:00Z")

    assert (call.now, call.svid_not_before, call.svid_not_after) == (now, now - 1800, now + 10)
    assert (call.purpose, call.revision, call.size_bytes) == ("refunds", "2025-11-25", 77)
    assert (call.method, call.arguments, call.annotations) == ("tools/call", {}, {"readOnlyHint": True})
    assert call.user is not None
    assert (call.user.issuer, call.user.subject, call.user.groups) == ("i", "s", ("g",))
    assert dict(call.user.claims) == {"level": None, "more": {"a": [1]}}


def test_a_call_is_as_large_as_its_arguments_unless_the_test_says_otherwise() -> None:
    # As the gate writes them: `{"amount":5}`.
    assert trial_of("{decision: allow}").scenario.call.size_bytes == 12


def test_takes_one_policy_or_several() -> None:
    entry = f"  - {{name: x, {WHO}, call: {{server: s, tool: t}}, expect: {{decision: deny}}}}\n"

    assert suite_of(entry, "../policy.yaml").policy == ("../policy.yaml",)
    assert suite_of(entry, "[a.yaml, b]").policy == ("a.yaml", "b")


START = "policy: p.yaml\ntests:\n"
GOOD = f"{WHO}, call: {{server: s, tool: t}}, expect: {{decision: deny}}"


def bad(good: str, wrong: str) -> str:
    """A file with one test, in which `wrong` stands for `good`."""
    entry = f"  - {{name: x, {GOOD}}}\n"
    assert good in entry
    return START + entry.replace(good, wrong)


# Where the mistake stands is marked by `^`.
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("^tests: [{name: x, " + GOOD + "}]\n", "key 'policy' is missing"),
        ("policy: p.yaml\ntests: ^[]\n", "tests must not be an empty list"),
        (bad("name: x", "name: x, ^nam: y"), "unknown key 'nam'; did you mean 'name'?"),
        (bad("decision:", "^decison:"), "unknown key 'decison'; did you mean 'decision'?"),
        (
            bad("decision: deny", "reason: ^no_grants"),
            "reason is no reason of a decision: 'no_grants'; did you mean 'no_grant'?",
        ),
        (bad("decision: deny", "decision: ^refuse"), "decision must be 'allow', 'hold' or 'deny'"),
        (bad("{decision: deny}", "^{}"), "expect must say what to expect, such as {decision: allow}"),
        (bad("tool: t", "tool: t, ^srgs: {}"), "unknown key 'srgs'; did you mean 'args'?"),
        (bad("{server: s, tool: t}", "^{server: s}"), "call needs a tool, because its method is tools/call"),
        (
            bad("{server: s, tool: t}", "^{server: s, tool: t, method: tools/list}"),
            "call has a tool or args, which only the method tools/call has",
        ),
        (bad(str(AGENT), "^acme"), "who must be a SPIFFE ID, such as spiffe://acme.test/ns/billing/sa/agent"),
        (
            bad(str(AGENT), "^spiffe://acme.test"),
            "who must be a workload's SPIFFE ID; this one names a whole trust domain",
        ),
        (bad(f"{{name: x, {WHO}, ", "^{name: x, "), "tests[0] needs 'who', or one in each of its cases"),
        (
            bad(f"{{name: x, {GOOD}", f"^{{name: x, {WHO}, call: {{server: s, tool: t}}, cases: [{{args: {{}}}}]"),
            "tests[0] needs 'expect', or one in each of its cases",
        ),
        (
            bad("{name: x, ", "^{name: x, cases: [{args: {}}], ").replace("tool: t", "method: ping"),
            "tests[0] has cases with a tool or args, which only the method tools/call has",
        ),
        (bad("name: x", "name: x, history: [^{ago: 5m}]"), "history[0] must have 'call' or 'denied', and not both"),
        (
            bad("name: x", "name: x, history: [{call: ^fetch, ago: 5m}]"),
            "call must be a server and a tool of it, such as ledger/refund",
        ),
        (
            bad("name: x", "name: x, history: [{call: web/fetch, ago: ^5}]"),
            "ago must be a duration such as '10s', '5m' or '8h'",
        ),
        (bad("name: x", "name: x, user: ^"), "user is empty; give it a value or leave it out"),
        (bad("name: x", "name: x, at: ^2026-01-01"), "at must be a moment with its offset, such as"),
        (
            START + f"  - {{name: x, {GOOD}}}\n^  - {{name: x, {GOOD}}}\n",
            "the name 'x' is used twice; the first is in line 3",
        ),
    ],
)
def test_refuses_the_whole_file_for_one_mistake_and_says_where(text: str, message: str) -> None:
    before = text[: text.index("^")]
    line, column = before.count("\n") + 1, len(before) - before.rfind("\n")

    (problem,) = problems_of(text.replace("^", ""))
    assert problem.startswith(f"p.test.yaml:{line}:{column}: {message}")


def test_refuses_a_file_that_is_too_large() -> None:
    assert problems_of("#" * (DEFAULT_LIMITS.max_bytes + 1)) == [
        f"p.test.yaml: is larger than {DEFAULT_LIMITS.max_bytes} bytes"
    ]


def test_refuses_more_tests_than_can_be_run_in_a_while() -> None:
    cases = ", ".join(["{}"] * (MAX_SCENARIOS // 2 + 1))
    entry = f"{GOOD}, cases: [{cases}]"
    text = f"{START}  - {{name: a, {entry}}}\n  - {{name: b, {entry}}}\n"

    assert problems_of(text) == [f"p.test.yaml:3:3: tests hold {MAX_SCENARIOS + 2} cases; the limit is {MAX_SCENARIOS}"]


def test_refuses_more_history_than_a_workload_has_in_a_test() -> None:
    events = ", ".join(["{denied: true, ago: 1s}"] * (MAX_EVENTS + 1))

    (problem,) = problems_of(f"{START}  - {{name: x, {GOOD}, history: [{events}]}}\n")
    assert problem.endswith(f"history has {MAX_EVENTS + 1} entries; the limit is {MAX_EVENTS}")


def exercise_of(tests: str) -> Exercise:
    policy = policy_of(POLICY)
    exercise = Exercise.of(policy)
    for scenario in suite_of(tests).scenarios:
        exercise.add(try_out(policy, scenario).explanation)
    return exercise


def refund(amount: str) -> str:
    return f"  - {{name: a{amount}, {WHO}, call: {{server: ledger, tool: refund, args: {{amount: {amount}}}}}, expect: {{visible: true}}}}\n"


def test_a_rule_that_no_test_is_about_was_never_exercised() -> None:
    exercise = exercise_of(refund("5"))

    assert exercise.rules["reads"].missing == ("never exercised",)


def test_a_condition_has_to_be_seen_to_say_no() -> None:
    assert exercise_of(refund("5")).rules["refunds"].missing == ("its condition never said no",)
    assert exercise_of(refund("500")).rules["refunds"].missing == ("never applied",)
    assert exercise_of(refund("5") + refund("500")).rules["refunds"].missing == ()


def test_a_condition_that_fails_says_no_for_a_grant() -> None:
    found = exercise_of(refund("5") + refund("null")).rules["refunds"]

    assert (found.named, found.applied, found.held, found.did_not_hold, found.failed) == (2, 1, 1, 0, 1)
    assert found.missing == ()


def test_coverage_counts_a_rule_once_and_its_condition_once_more() -> None:
    # reads 1, refunds 2, the denial in shadow 1; refunds applied, and so did the denial.
    assert exercise_of(refund("5")).percent == pytest.approx(50)
    assert exercise_of(refund("5") + refund("500")).percent == pytest.approx(75)


def test_a_list_exercises_no_rule() -> None:
    lists = f"  - {{name: x, {WHO}, call: {{server: ledger, method: tools/list}}, expect: {{decision: allow}}}}\n"

    assert exercise_of(lists).percent == 0


def test_a_policy_without_rules_is_covered() -> None:
    empty = policy_of("version: 1\ntrust_domains: [acme.test]\n")

    assert Exercise.of(empty).percent == 100
