"""Which denials count as such: not those that only say again that there were some."""

import pytest

from callgate.identity.spiffe_id import SpiffeId
from callgate.policy.call import Call
from callgate.policy.compile import Policy, load_policy
from callgate.policy.decide import Decision, DecisionOutcome, decide, tool_is_visible
from callgate.policy.history import History

NOW = 1_795_262_400.0
CALLER = SpiffeId.parse("spiffe://acme.test/a")
HEAD = "version: 1\ntrust_domains: [acme.test]\n"
WHO = "workloads: ['spiffe://acme.test/**'], server: s, tools: ['*']"
OPEN = f"grants:\n  - {{id: g, {WHO}}}\n"
LOCKOUT = """when: 'history.lockout(3, duration("1m"), duration("10m"))'"""


def decided(rules: str, *, n: int = 1, denied: int = 3) -> Decision:
    history = History()
    for number in range(denied):
        history.record_denial(CALLER, "s", "get", NOW - 10 + number)
    call = Call(
        caller=CALLER,
        server="s",
        method="tools/call",
        tool="get",
        arguments={"n": n},
        now=NOW,
        history=history.of(CALLER),
    )
    policy = load_policy(HEAD + rules, "p.yaml")
    assert isinstance(policy, Policy), policy
    return decide(policy, call)


def denials(*whens: str) -> str:
    return (
        OPEN + "denials:\n" + "".join(f"  - {{id: d{i}, server: s, tools: ['*'], {w}}}\n" for i, w in enumerate(whens))
    )


def grants(*whens: str) -> str:
    return "grants:\n" + "".join(f"  - {{id: g{i}, {WHO}, {when}}}\n" for i, when in enumerate(whens))


FEW = """when: 'history.denials(duration("1m")) < 3'"""
FEW_AND_ONE = """when: 'history.denials(duration("1m")) < 3 && args.n == 1'"""
MANY_OR_TWO = """when: 'history.denials(duration("1m")) > 2 || args.n == 2'"""


@pytest.mark.parametrize(
    "rules",
    [
        denials(LOCKOUT),
        denials(LOCKOUT, MANY_OR_TWO),
        grants(FEW),
        grants(FEW_AND_ONE),
        grants("when: args.n == 2", FEW),
    ],
)
def test_a_call_that_is_denied_for_earlier_denials_alone_is_not_remembered(rules: str) -> None:
    assert decided(rules, denied=0).outcome is DecisionOutcome.ALLOW
    decision = decided(rules)

    assert decision.outcome is DecisionOutcome.DENY
    assert not decision.is_remembered


@pytest.mark.parametrize(
    ("rules", "n"),
    [
        (denials(LOCKOUT, "when: args.n == 2"), 2),
        (denials(MANY_OR_TWO), 2),
        (denials(LOCKOUT, MANY_OR_TWO), 2),
        (grants(FEW_AND_ONE), 2),
        (grants("when: args.n == 1"), 2),
    ],
)
def test_a_call_that_would_have_been_denied_anyway_is_remembered(rules: str, n: int) -> None:
    for denied in (0, 3):
        decision = decided(rules, n=n, denied=denied)
        assert decision.outcome is DecisionOutcome.DENY
        assert decision.is_remembered


def test_rules_in_shadow_neither_deny_nor_decide_what_is_remembered() -> None:
    assert decided(denials(f"shadow: true, {LOCKOUT}")).outcome is DecisionOutcome.ALLOW
    assert decided(grants("when: args.n == 2") + f"  - {{id: s, {WHO}, shadow: true, {FEW}}}\n").is_remembered
    assert not decided(denials(LOCKOUT, "shadow: true, when: args.n == 1")).is_remembered


@pytest.mark.parametrize(("tags", "is_shown"), [("[sends_out]", False), ("[other]", True)])
def test_a_list_judges_denials_and_grants_by_the_tags_of_each_tool(tags: str, is_shown: bool) -> None:
    tagged = f"tools:\n  - {{server: s, tools: [get], tags: {tags}}}\n"
    denial = denials("""when: '"sends_out" in tool.tags'""") + tagged
    grant = grants("""when: '!("sends_out" in tool.tags)'""") + tagged
    listing = Call(caller=CALLER, server="s", method="tools/list", tool=None, arguments=None, now=NOW)
    for rules in (denial, grant):
        policy = load_policy(HEAD + rules, "p.yaml")
        assert isinstance(policy, Policy), policy
        assert tool_is_visible(policy, listing, "get") is is_shown


def test_a_grant_whose_scope_cannot_be_written_says_which() -> None:
    decision = decided(grants("scopes: ['account:{args.id}']"))

    assert decision.findings[0].why == "scope account:{args.id} cannot be written from this call"


def test_what_denies_where_nothing_applies_is_found_as_a_rule_that_does() -> None:
    last = decided(grants("when: args.n == 2")).findings[-1]

    assert (last.rule, last.kind) == ("default-deny", "default")
    assert last.matched is True


def test_what_would_have_been_decided_is_judged_by_the_tags_of_the_tool_too() -> None:
    tagged = "tools:\n  - {server: s, tools: [get], tags: [sends_out]}\n"
    lockout = """history.lockout(3, duration("1m"), duration("10m"))"""
    denial = denials(f"""when: '{lockout} && "sends_out" in tool.tags'""") + tagged
    grant = grants(f"""when: '!{lockout} && "sends_out" in tool.tags'""") + tagged
    for rules in (denial, grant):
        assert decided(rules, denied=0).outcome is DecisionOutcome.ALLOW
        assert not decided(rules).is_remembered
    assert decided(denials(f"""when: '{lockout} || "sends_out" in tool.tags'""") + tagged).is_remembered
