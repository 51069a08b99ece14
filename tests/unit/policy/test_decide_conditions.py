"""Decisions on arguments, users, time and shadow, against the rules of the reference read out one by one.

The expected outcome of each condition stands beside it as Python: True, False, or None where it cannot be evaluated.
"""

import json
import random
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callgate.errors import Reason
from callgate.identity.spiffe_id import SpiffeId
from callgate.identity.user import User
from callgate.policy.call import Call
from callgate.policy.compile import Policy, load_policy
from callgate.policy.decide import Decision, DecisionOutcome, decide, tool_is_visible
from callgate.wire.json_strict import JsonObject, JsonValue
from callgate.yaml_strict import YamlValue

# 2026-11-21T12:00:00Z, a Saturday.
NOW = 1_795_262_400.0
CALLER = SpiffeId.parse("spiffe://acme.test/a")
ISSUER = "https://idp.test"
Rule = dict[str, YamlValue]


def policy_of(text: str) -> Policy:
    policy = load_policy(text, "p.yaml")
    assert isinstance(policy, Policy), "\n".join(map(str, policy))
    return policy


def call_of(tool: str = "get", arguments: JsonObject | None = None, **more: object) -> Call:
    call = Call(caller=CALLER, server="s", method="tools/call", tool=tool, arguments=arguments or {}, now=NOW)
    return replace(call, **more)  # type: ignore[arg-type]


def argument(call: Call, name: str) -> JsonValue:
    assert call.arguments is not None
    return call.arguments[name]


def has(call: Call, name: str) -> bool:
    return call.arguments is not None and name in call.arguments


def less_than_five(call: Call) -> bool | None:
    if not has(call, "n"):
        return None
    n = argument(call, "n")
    return n < 5 if isinstance(n, int | float) and not isinstance(n, bool) else None


def is_x(call: Call) -> bool | None:
    return argument(call, "s") == "x" if has(call, "s") else None


def bare_n(call: Call) -> bool | None:
    n = argument(call, "n") if has(call, "n") else None
    return n if isinstance(n, bool) else None


def in_ops(call: Call) -> bool | None:
    return "ops" in call.user.groups if call.user else None


def divides(call: Call) -> bool | None:
    n = argument(call, "n") if has(call, "n") else None
    if isinstance(n, bool) or not isinstance(n, int) or n == 0:
        return None
    return 10 // n == 10


CONDITIONS: dict[str, Callable[[Call], bool | None]] = {
    "args.n < 5": less_than_five,
    'args.s == "x"': is_x,
    "args.n": bare_n,
    "10 / args.n == 10": divides,
    "has(args.n)": lambda call: has(call, "n"),
    'user.groups.exists(group, group == "ops")': in_ops,
    "user.present": lambda call: call.user is not None,
    'request.purpose == "audit"': lambda call: call.purpose == "audit",
    'tool.name.startsWith("get")': lambda call: (call.tool or "").startswith("get"),
    'caller.trust_domain == "acme.test"': lambda call: call.caller.trust_domain.name == "acme.test",
    'now < timestamp("2026-11-21T12:00:01Z")': lambda call: call.now < NOW + 1,
    "history.denials(duration('1m')) > 3": lambda _: None,
}
READS_CALL = ("args.", "request.")
MOMENTS = {"2026-11-21T11:59:59Z": NOW - 1, "2026-11-21T12:00:00Z": NOW, "2026-11-21T12:00:01Z": NOW + 1}
TOOLS = ["get", "get_all", "set"]

EXTRAS: dict[str, st.SearchStrategy[YamlValue]] = {
    "when": st.sampled_from(sorted(CONDITIONS)),
    "users": st.sampled_from([{"any": True}, {"groups": ["ops"]}, {"issuers": ["https://other.test"]}]),
    "from": st.sampled_from(sorted(MOMENTS)),
    "until": st.sampled_from(["2026-11-21T12:00:00Z", "2026-11-21T12:00:02Z"]),
    "shadow": st.just(True),
}
BASE: dict[str, st.SearchStrategy[YamlValue]] = {
    "server": st.just("s"),
    "tools": st.lists(st.sampled_from([*TOOLS, "get*", "*"]), min_size=1, max_size=2),
}
GRANTS: st.SearchStrategy[Rule] = st.fixed_dictionaries(
    {**BASE, "workloads": st.just(["spiffe://acme.test/**"])}, optional=EXTRAS
)
DENIALS: st.SearchStrategy[Rule] = st.fixed_dictionaries(BASE, optional=EXTRAS)
USERS = st.none() | st.builds(
    User, st.just(ISSUER), st.just("ann"), st.sampled_from([(), ("ops",), ("dev", "ops"), ("dev",)])
)
ARGUMENTS: st.SearchStrategy[dict[str, JsonValue]] = st.fixed_dictionaries(
    {},
    optional={
        "n": st.sampled_from([0, 1, 4, 5, 4.5, 10**30, -(2**63), "4", True, False, None, [], {}]),
        "s": st.sampled_from(["x", "y", "", 1, None, ["x"]]),
        "other": st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists, max_leaves=5),
    },
)
CALLS = st.builds(
    call_of,
    st.sampled_from(TOOLS),
    ARGUMENTS,
    user=USERS,
    purpose=st.sampled_from(["", "audit", "other"]),
    now=st.sampled_from([NOW - 1, NOW, NOW + 0.5, NOW + 1]),
)


def has_no_empty_time(rule: Rule) -> bool:
    return not ("from" in rule and "until" in rule and MOMENTS[str(rule["from"])] >= until_of(rule))


def until_of(rule: Rule) -> float:
    return NOW if str(rule["until"]) == "2026-11-21T12:00:00Z" else NOW + 2


def numbered(rules: list[Rule], prefix: str) -> list[Rule]:
    return [{"id": f"{prefix}{number}", **rule} for number, rule in enumerate(rules) if has_no_empty_time(rule)]


RULES = st.tuples(
    st.lists(GRANTS, max_size=4).map(lambda rules: numbered(rules, "g")),
    st.lists(DENIALS, max_size=3).map(lambda rules: numbered(rules, "d")),
)


def written(grants: list[Rule], denials: list[Rule]) -> Policy:
    file = {"version": 1, "trust_domains": ["acme.test"], "grants": grants, "denials": denials}
    return policy_of(json.dumps(file))


def names(rule: Rule, tool: str | None) -> bool:
    tools = rule["tools"]
    assert isinstance(tools, list)
    return "*" in tools or tool in tools or ("get*" in tools and (tool or "").startswith("get"))


def in_time(rule: Rule, now: float) -> bool:
    return MOMENTS.get(str(rule.get("from")), 0) <= now and ("until" not in rule or now < until_of(rule))


def user_fits(rule: Rule, user: User | None, *, unknown: bool) -> bool:
    users = rule.get("users")
    if users is None:
        return True
    if user is None:
        return unknown
    assert isinstance(users, dict)
    return "any" in users or ("groups" in users and "ops" in user.groups)


def evaluated(text: str, call: Call) -> bool | None:
    n = argument(call, "n") if has(call, "n") else None
    if "args.n" in text and isinstance(n, int) and not -(2**63) <= n < 2**63:
        # A whole number that CEL has no type for is no number to it, and so nothing can be said.
        return None
    return CONDITIONS[text](call)


def applies(rule: Rule, call: Call) -> bool:
    is_denial = str(rule["id"]).startswith("d")
    if not (names(rule, call.tool) and in_time(rule, call.now) and user_fits(rule, call.user, unknown=is_denial)):
        return False
    held = evaluated(str(rule["when"]), call) if "when" in rule else True
    return is_denial if held is None else held


def reference(grants: list[Rule], denials: list[Rule], call: Call) -> Reason | None:
    """The outcome by the rules of the reference; rules in shadow have been left out by the caller."""
    if any(applies(rule, call) for rule in denials):
        return Reason.DENIED
    return None if any(applies(rule, call) for rule in grants) else Reason.NO_GRANT


def enforced(rules: list[Rule]) -> list[Rule]:
    return [rule for rule in rules if not rule.get("shadow")]


@given(RULES, CALLS)
def test_decides_as_the_reference_does(rules: tuple[list[Rule], list[Rule]], call: Call) -> None:
    grants, denials = map(enforced, rules)

    assert decide(written(*rules), call).reason == reference(grants, denials, call)


@given(RULES, CALLS)
def test_every_finding_says_whether_its_rule_applies(rules: tuple[list[Rule], list[Rule]], call: Call) -> None:
    found = {f.rule: f.matched for f in decide(written(*rules), call).findings if f.kind != "default"}

    assert found == {rule["id"]: applies(rule, call) for rule in [*rules[0], *rules[1]]}


@given(RULES, CALLS)
def test_rules_in_shadow_change_nothing_and_say_what_they_would_have_done(
    rules: tuple[list[Rule], list[Rule]], call: Call
) -> None:
    decision = decide(written(*rules), call)
    without = decide(written(*map(enforced, rules)), call)

    assert (decision.outcome, decision.reason) == (without.outcome, without.reason)
    if decision.permit is not None and without.permit is not None:
        assert decision.permit.grants == without.permit.grants
    naming = [r for r in [*rules[0], *rules[1]] if r.get("shadow") and names(r, call.tool) and in_time(r, call.now)]
    assert (decision.shadow is not None) == bool(naming)
    if decision.shadow is not None:
        assert decision.shadow.reason == reference(*rules, call)
        assert set(decision.shadow.rules) == {rule["id"] for rule in naming if applies(rule, call)}


@given(RULES, DENIALS, CALLS)
def test_adding_a_denial_never_allows(rules: tuple[list[Rule], list[Rule]], denial: Rule, call: Call) -> None:
    grants, denials = rules
    added = [{"id": "d-added", **denial}] if has_no_empty_time(denial) else []
    if decide(written(grants, denials), call).outcome is DecisionOutcome.DENY:
        assert decide(written(grants, [*denials, *added]), call).outcome is DecisionOutcome.DENY


@given(RULES, CALLS, st.randoms(use_true_random=False))
def test_order_never_matters(rules: tuple[list[Rule], list[Rule]], call: Call, chance: random.Random) -> None:
    grants, denials = rules
    before = decide(written(grants, denials), call)
    after = decide(written(chance.sample(grants, len(grants)), chance.sample(denials, len(denials))), call)

    assert (before.outcome, before.reason) == (after.outcome, after.reason)
    assert set(before.findings) == set(after.findings)


@given(RULES, CALLS)
def test_what_is_allowed_is_listed_and_what_is_hidden_is_denied(
    rules: tuple[list[Rule], list[Rule]], call: Call
) -> None:
    policy = written(*rules)
    listing = replace(call, method="tools/list", tool=None, arguments=None, purpose="")
    assert call.tool is not None
    visible = tool_is_visible(policy, listing, call.tool)

    if decide(policy, call).outcome is DecisionOutcome.ALLOW:
        assert visible
    conditions = [str(rule["when"]) for each in rules for rule in each if "when" in rule]
    if not any(text.startswith(READS_CALL) or "(args." in text or "/ args." in text for text in conditions):
        # Nothing that only the call can tell: the list and the call say the same.
        assert visible == (decide(policy, call).outcome is DecisionOutcome.ALLOW)


def decided(rule: str, call: Call, *, grant: str = "tools: ['*']") -> Decision:
    return decide(
        policy_of(
            "version: 1\ntrust_domains: [acme.test]\n"
            f"grants:\n  - {{id: g, workloads: ['spiffe://acme.test/**'], server: s, {grant}}}\n"
            f"denials:\n  - {{id: d, server: s, tools: [set], {rule}}}\n"
        ),
        call,
    )


def test_condition_that_cannot_be_evaluated_says_what_was_missing() -> None:
    decision = decided("when: args.account == 'house'", call_of("set"))

    assert decision.reason is Reason.DENIED
    assert decision.findings[0].why.endswith("condition failed: no argument 'account'")


def test_findings_never_hold_an_argument() -> None:
    secret = "canary-4711"
    for when in ("args.n < 5", "args.map[args.n] == 1", "int(args.n) == 1", "args.n.matches('a')"):
        decision = decided(f'when: "{when}"', call_of("set", {"n": secret, "map": {"a": 1}}))
        assert secret not in repr(decision.findings)


def test_denial_of_a_group_is_not_avoided_by_leaving_the_token_out() -> None:
    rule = "users: {groups: [contractors]}"
    staff, contractor = User(ISSUER, "ann", ("staff",)), User(ISSUER, "bob", ("contractors",))

    assert decided(rule, call_of("set", user=contractor)).reason is Reason.DENIED
    assert decided(rule, call_of("set")).reason is Reason.DENIED
    assert decided(rule, call_of("set", user=staff)).reason is None


def test_grant_for_users_needs_one() -> None:
    grant = "tools: [get], users: {any: true}"

    assert decided("when: 'false'", call_of("get"), grant=grant).reason is Reason.NO_GRANT
    assert decided("when: 'false'", call_of("get", user=User(ISSUER, "ann")), grant=grant).reason is None


@pytest.mark.parametrize(("ago_s", "reason"), [(1.0, None), (0.0, Reason.NO_GRANT), (-1.0, Reason.NO_GRANT)])
def test_grant_ends_at_its_moment_for_a_workload_that_is_known_already(ago_s: float, reason: Reason | None) -> None:
    policy = policy_of(
        "version: 1\ntrust_domains: [acme.test]\ngrants:\n"
        "  - {id: g, workloads: ['spiffe://acme.test/**'], server: s, tools: [get], until: 2026-11-21T12:00:00Z}\n"
    )
    assert decide(policy, call_of(now=NOW - 3600)).reason is None

    assert decide(policy, call_of(now=NOW - ago_s)).reason == reason


def test_permit_ends_when_the_first_of_its_grants_does() -> None:
    policy = policy_of(
        "version: 1\ntrust_domains: [acme.test]\ngrants:\n"
        "  - {id: a, workloads: ['spiffe://acme.test/**'], server: s, tools: [get], until: 2026-11-21T12:00:08Z}\n"
        "  - {id: b, workloads: ['spiffe://acme.test/**'], server: s, tools: [get], until: 2026-11-21T12:00:06Z}\n"
        "  - {id: c, workloads: ['spiffe://acme.test/**'], server: s, tools: [get]}\n"
    )
    permit = decide(policy, call_of()).permit

    assert permit is not None
    assert permit.not_after == NOW + 6


def test_obligations_of_all_grants_that_apply_add_up() -> None:
    policy = policy_of(
        "version: 1\ntrust_domains: [acme.test]\ngrants:\n"
        "  - {id: a, workloads: ['spiffe://acme.test/**'], server: s, tools: [get], scopes: [one],"
        " limit: {calls: 5, per: 1m}}\n"
        "  - {id: b, workloads: ['spiffe://acme.test/**'], server: s, tools: ['*'], scopes: ['two:{args.s}'], ttl: 7s,"
        " limit: {calls: 9, per: 1h}}\n"
        "  - {id: c, workloads: ['spiffe://acme.test/**'], server: s, tools: [get], when: args.n > 5, ttl: 6s}\n"
    )
    permit = decide(policy, call_of("get", {"s": "x", "n": 1})).permit

    assert permit is not None
    assert permit.scopes == ("one", "two:x")
    assert permit.ttl_s == 7
    assert [(limit.rule, limit.calls, limit.per_s) for limit in permit.limits] == [("a", 5, 60), ("b", 9, 3600)]


@pytest.mark.parametrize("value", ["a b", "x:y", "", 7.5, True, None, "é", "a" * 65, "../x", "a.b"])
def test_grant_whose_scope_cannot_be_written_from_the_call_does_not_apply(value: JsonValue) -> None:
    grant = "tools: [get], scopes: ['account:{args.id}']"

    decision = decided("when: 'false'", call_of("get", {"id": value}), grant=grant)

    assert decision.reason is Reason.NO_GRANT
