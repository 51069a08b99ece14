"""What a rule is about is known when its condition is asked, and a condition that contradicts it is told of."""

import pytest

from callgate.policy.compile import Policy, load_policies
from callgate.policy.lint import Surroundings, lint
from callgate.policy.remarks import Level, Remark
from callgate.yaml_strict import Problem

NOW = 1_767_787_200.0
HEAD = "version: 1\ntrust_domains: [acme.test, partner.test]\n"
NEVER, ALWAYS = "can never hold for what this rule is about", "always holds for what this rule is about"


def said(rules: str) -> list[str]:
    files = [("policy.yaml", HEAD + rules)]
    policy = load_policies(files)
    assert isinstance(policy, Policy), policy
    return [remark.message for remark in lint(policy, files, Surroundings(NOW)) if "condition of" in remark.message]


def granted(when: str, more: str = "tools: [get]") -> list[str]:
    return said(f"grants:\n  - {{id: g, workloads: ['spiffe://acme.test/a'], server: s, {more}, when: '{when}'}}\n")


USERS = 'tools: ["*"], users: {issuers: ["https://a.test", "https://b.test"], subjects: [ann]}'


@pytest.mark.parametrize(
    ("when", "more"),
    [
        ('tool.server == "other"', 'tools: ["*"]'),
        ('request.method == "tools/list"', 'tools: ["*"]'),
        ('tool.name == "set"', "tools: [get, list]"),
        ('caller.trust_domain == "partner.test"', 'tools: ["*"]'),
        ('caller.id == "spiffe://acme.test/b"', 'tools: ["*"]'),
        ('user.issuer == "https://c.test"', USERS),
        ('user.subject == "bob"', USERS),
        ("!user.present", USERS),
    ],
)
def test_tells_of_a_condition_that_its_own_rule_contradicts(when: str, more: str) -> None:
    assert granted(when, more) == [f"the condition of 'g' {NEVER}"]


@pytest.mark.parametrize(
    ("when", "more"),
    [
        ('tool.server == "s"', 'tools: ["*"]'),
        ('request.method == "tools/call"', 'tools: ["*"]'),
        ('tool.name == "get"', "tools: [get]"),
        ('caller.trust_domain == "acme.test"', 'tools: ["*"]'),
        ('caller.id == "spiffe://acme.test/a"', 'tools: ["*"]'),
        ('user.issuer == "https://a.test" || user.issuer == "https://b.test"', USERS),
        ('user.subject == "ann"', USERS),
        ("user.present", USERS),
    ],
)
def test_tells_of_a_condition_that_says_its_own_rule_again(when: str, more: str) -> None:
    (message,) = granted(when, more)

    assert message.startswith(f"the condition of 'g' {ALWAYS}")


@pytest.mark.parametrize(
    ("when", "more"),
    [
        ('tool.name == "set"', 'tools: ["*"]'),
        ('tool.name == "get"', "tools: [get, set]"),
        ('user.issuer == "https://a.test"', USERS),
        ('user.issuer == "https://c.test"', 'tools: ["*"], users: {groups: [a]}'),
        ('user.subject == "bob"', 'tools: ["*"], users: {any: true}'),
    ],
)
def test_says_nothing_where_the_rule_leaves_it_open(when: str, more: str) -> None:
    assert granted(when, more) == []


def test_a_denial_with_users_is_asked_of_calls_without_one() -> None:
    denial = "denials:\n  - {id: d, server: s, tools: [get], users: {subjects: [ann]}, when: '!user.present'}\n"

    assert said("grants:\n  - {id: g, workloads: ['spiffe://acme.test/a'], server: s, tools: [get]}\n" + denial) == []


def test_a_workload_pattern_leaves_the_id_open() -> None:
    rule = """{id: g, workloads: ['spiffe://acme.test/*'], server: s, tools: [get], when: 'caller.id == "x"'}"""

    assert said(f"grants:\n  - {rule}\n") == []


def test_tells_the_place_of_the_workload_or_tool_that_is_said_again() -> None:
    text = HEAD + (
        "grants:\n  - id: g\n    server: s\n    workloads:\n      - spiffe://acme.test/a\n      - spiffe://acme.test/*\n"
        "    tools:\n      - 'get*'\n      - get_one\n"
    )
    files = [("policy.yaml", text)]
    policy = load_policies(files)
    assert isinstance(policy, Policy), policy
    places = [(remark.line, remark.message.partition(" is ")[0]) for remark in lint(policy, files, Surroundings(NOW))]

    lines = text.splitlines()
    workload, tool = lines.index("      - spiffe://acme.test/a") + 1, lines.index("      - get_one") + 1
    assert places == [(workload, "'spiffe://acme.test/a'"), (tool, "'get_one'")]


def test_tells_of_an_unknown_tool_after_a_known_one() -> None:
    files = [
        (
            "policy.yaml",
            HEAD + "grants:\n  - {id: g, workloads: ['spiffe://acme.test/a'], server: s, tools: [get, sett]}\n",
        )
    ]
    policy = load_policies(files)
    assert isinstance(policy, Policy), policy
    (remark,) = lint(policy, files, Surroundings(NOW, {"s": {"get": {}, "set": {}}}))

    assert "'sett'" in remark.message


def test_a_remark_on_a_refused_file_has_the_place_of_the_problem() -> None:
    remark = Remark.of_problem(Problem("p.yaml", 3, 7, "no such server"))

    assert (remark.level, remark.file, remark.line, remark.column) == (Level.ERROR, "p.yaml", 3, 7)
    assert (remark.message, remark.rule) == ("no such server", "")


def test_a_condition_that_another_grant_makes_vain_is_an_error() -> None:
    policy_text = (
        HEAD + "grants:\n"
        "  - {id: a, workloads: ['spiffe://acme.test/a'], server: s, tools: [get]}\n"
        "  - {id: b, workloads: ['spiffe://acme.test/a'], server: s, tools: [get], when: args.n < 5}\n"
    )
    files = [("policy.yaml", policy_text)]
    policy = load_policies(files)
    assert isinstance(policy, Policy), policy
    (remark,) = lint(policy, files, Surroundings(NOW))

    assert (remark.rule, remark.level) == ("b", Level.ERROR)


def test_of_two_grants_only_the_one_that_adds_nothing_is_told_of_wherever_it_stands() -> None:
    wide = "  - {id: wide, workloads: ['spiffe://acme.test/a'], server: s, tools: [get, set]}\n"
    narrow = "  - {id: narrow, workloads: ['spiffe://acme.test/a'], server: s, tools: [get]}\n"
    for grants in (wide + narrow, narrow + wide):
        files = [("policy.yaml", HEAD + "grants:\n" + grants)]
        policy = load_policies(files)
        assert isinstance(policy, Policy), policy
        assert [remark.rule for remark in lint(policy, files, Surroundings(NOW))] == ["narrow"]


def test_of_a_denial_the_tool_that_the_wildcard_gives_is_told() -> None:
    rules = (
        "grants:\n  - {id: g, workloads: ['spiffe://acme.test/a'], server: s, tools: ['get_*']}\n"
        "denials:\n  - {id: d, server: s, tools: [wipe, get_x], users: {any: true}}\n"
    )
    files = [("policy.yaml", HEAD + rules)]
    policy = load_policies(files)
    assert isinstance(policy, Policy), policy
    found = [remark.message for remark in lint(policy, files, Surroundings(NOW)) if remark.check.code == "CG206"]

    assert len(found) == 1
    assert "gives 'get_x' by its wildcard 'get_*'" in found[0]


@pytest.mark.parametrize("when", ["args.n == null", "args.n != null", "args.n == true", "args.n > 5 && args.n < 6"])
def test_an_argument_of_which_nothing_is_known_may_be_anything(when: str) -> None:
    assert granted(when) == []
