from collections.abc import Mapping
from textwrap import dedent

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callgate.policy.compile import Policy, load_policies
from callgate.policy.lint import Surroundings, lint
from callgate.policy.lint_conditions import MAX_SCHEMA_COMPARISONS
from callgate.policy.remarks import CHECKS, Level, Remark
from callgate.wire.json_strict import JsonObject

# 2026-01-07T12:00:00Z
NOW = 1_767_787_200.0
AGENT = "spiffe://acme.test/ns/billing/sa/agent"
BILLING = "spiffe://acme.test/ns/billing/**"
EVERYBODY = "spiffe://acme.test/**"
ISSUER = "https://login.acme.test"


def grant(rule_id: str, tools: str, workloads: str = EVERYBODY, more: str = "") -> str:
    return f"  - {{id: {rule_id}, workloads: ['{workloads}'], server: ledger, tools: {tools}{more and ', '}{more}}}\n"


def denial(rule_id: str, tools: str, more: str = "") -> str:
    return f"  - {{id: {rule_id}, server: ledger, tools: {tools}{more and ', '}{more}}}\n"


def policy_of(grants: str = "", denials: str = "", tags: str = "") -> str:
    head = "version: 1\ntrust_domains: [acme.test]\n"
    return head + "".join(
        f"{key}:\n{of}" for key, of in (("tools", tags), ("grants", grants), ("denials", denials)) if of
    )


def linted(
    text: str, tools: Mapping[str, JsonObject] | None = None, issuers: frozenset[str] | None = None
) -> tuple[Remark, ...]:
    files = [("policy.yaml", text)]
    policy = load_policies(files)
    assert isinstance(policy, Policy), policy
    return lint(policy, files, Surroundings(NOW, {"ledger": tools} if tools is not None else {}, issuers))


def codes(text: str, tools: Mapping[str, JsonObject] | None = None, issuers: frozenset[str] | None = None) -> list[str]:
    return [remark.check.code for remark in linted(text, tools, issuers)]


def levels(text: str, tools: Mapping[str, JsonObject] | None = None) -> dict[str, Level]:
    return {remark.check.code: remark.level for remark in linted(text, tools)}


def taking(properties: JsonObject, **more: bool) -> JsonObject:
    return {"type": "object", "properties": properties, **more}


def test_has_nothing_to_say_of_a_good_policy() -> None:
    text = policy_of(
        grant("readers", "[get, list]") + grant("payers", "[pay]", AGENT, "when: 'args.amount < 500'"),
        denial("house", "[pay]", "when: 'args.account == \"house\"'"),
    )

    assert codes(text) == []


def test_tells_the_place_of_the_very_pattern() -> None:
    text = policy_of(grant("readers", "[get, wipe_all]"), denial("wipers", "['wipe_*']"))

    (remark,) = linted(text)

    line = text.splitlines()[remark.line - 1]
    assert remark.check.code == "CG203"
    assert line[remark.column - 1 :].startswith("wipe_all")
    assert (remark.file, remark.rule) == ("policy.yaml", "readers")


def test_puts_remarks_in_the_order_of_the_files() -> None:
    first = policy_of(grant("b-one", "[a, a]"))
    second = policy_of(grant("a-two", "[b, b]"))
    files = [("b.yaml", first), ("a.yaml", second)]
    policy = load_policies(files)
    assert isinstance(policy, Policy)

    assert [remark.file for remark in lint(policy, files, Surroundings(NOW))] == ["b.yaml", "a.yaml"]


def test_every_check_has_a_hint_and_a_place_in_the_documentation() -> None:
    for code, check in CHECKS.items():
        assert check.code == code
        assert check.summary.endswith(".")
        assert check.hint.endswith(".")
        assert check.anchor == f"docs/reference/policy.md#{code.lower()}"
    assert len({check.name for check in CHECKS.values()}) == len(CHECKS)


# Rules and one another


def test_finds_a_grant_of_which_a_denial_leaves_nothing() -> None:
    assert codes(policy_of(grant("a", "[wipe_a, wipe_b]"), denial("d", "['wipe_*']"))) == ["CG203"]
    both = denial("d", "[wipe_a]") + denial("e", "[wipe_b]")
    assert codes(policy_of(grant("a", "[wipe_a, wipe_b]"), both)) == ["CG203"]


@pytest.mark.parametrize(
    "more", ["when: 'args.a == 1'", "users: {any: true}", "between: {hours: 08:00-18:00}", "shadow: true"]
)
def test_a_denial_with_conditions_kills_no_grant(more: str) -> None:
    assert "CG203" not in codes(policy_of(grant("a", "[wipe]"), denial("d", "[wipe]", more)))


def test_a_denial_for_some_workloads_kills_no_grant_for_more() -> None:
    some = denial("d", "[wipe]", f"workloads: ['{BILLING}']")

    assert codes(policy_of(grant("a", "[wipe]", EVERYBODY), some)) == []
    assert codes(policy_of(grant("a", "[wipe]", AGENT), some)) == ["CG203"]


def test_finds_a_grant_that_adds_nothing() -> None:
    assert codes(policy_of(grant("a", "['get_*']") + grant("b", "[get_x]", AGENT))) == ["CG204"]


def test_tells_of_one_of_two_grants_that_say_the_same() -> None:
    (remark,) = linted(policy_of(grant("a", "[get]") + grant("b", "[get]")))

    assert (remark.check.code, remark.rule) == ("CG204", "b")


@pytest.mark.parametrize(
    "more", ["scopes: [x]", "ttl: 10s", "limit: {calls: 1, per: 1m}", "record: full", "record: none"]
)
def test_a_grant_that_obliges_to_more_is_not_redundant(more: str) -> None:
    assert codes(policy_of(grant("a", "['get_*']") + grant("b", "[get_x]", AGENT, more))) == []


@pytest.mark.parametrize(
    ("more", "key"),
    [
        ("when: 'args.amount < 500'", "when"),
        ("users: {groups: [finance]}", "users"),
        ("until: '2027-01-01T00:00:00Z'", "until"),
        ("between: {hours: 08:00-18:00}", "between"),
        ("from: '2026-01-01T00:00:00Z'", "from"),
    ],
)
def test_finds_conditions_that_another_grant_takes_away(more: str, key: str) -> None:
    text = policy_of(grant("all", "['*']") + grant("limited", "[pay]", AGENT, more))

    (remark,) = linted(text)

    assert (remark.check.code, remark.level, remark.rule) == ("CG211", Level.ERROR, "limited")
    assert f"'{key}' of grant 'limited' limits nothing: 'all'" in remark.message
    assert text.splitlines()[remark.line - 1][: remark.column - 1].rstrip(" '").endswith(f"{key}:")


def test_a_grant_that_keeps_no_more_on_record_is_redundant() -> None:
    wide = grant("a", "['get_*']", more="record: full")

    assert codes(policy_of(wide + grant("b", "[get_x]", AGENT, "record: digest"))) == ["CG204"]


def test_a_condition_may_be_about_the_record_alone() -> None:
    text = policy_of(grant("all", "['*']") + grant("more", "[pay]", AGENT, "when: 'args.a == 1', record: full"))

    (remark,) = linted(text)
    assert (remark.check.code, remark.level) == ("CG211", Level.WARNING)
    assert remark.message.endswith("'all' gives the same without it, with other scopes, another ttl or another record")


def test_a_condition_may_be_about_the_scopes_alone() -> None:
    text = policy_of(grant("all", "['*']") + grant("more", "[pay]", AGENT, "when: 'args.a == 1', scopes: [x]"))

    assert levels(text) == {"CG211": Level.WARNING}


def test_a_condition_on_a_limit_is_not_bypassed() -> None:
    more = "when: 'args.amount > 1000', limit: {calls: 5, per: 1h}"

    assert codes(policy_of(grant("all", "['*']") + grant("large", "[pay]", AGENT, more))) == []


@pytest.mark.parametrize("more", ["when: 'args.b == 2'", "users: {any: true}", "scopes: ['a.{args.id}']"])
def test_a_wider_grant_with_conditions_of_its_own_bypasses_nothing(more: str) -> None:
    wide = grant("all", "['*']", EVERYBODY, more)

    assert codes(policy_of(wide + grant("limited", "[pay]", AGENT, "when: 'args.a == 1'"))) == []


def test_a_grant_in_shadow_bypasses_nothing() -> None:
    wide = grant("all", "['*']", EVERYBODY, "shadow: true")

    assert codes(policy_of(wide + grant("limited", "[pay]", AGENT, "when: 'args.a == 1'"))) == []


def test_finds_a_denial_of_what_nobody_is_given() -> None:
    assert codes(policy_of(grant("a", "[get]"), denial("d", "[wipe]"))) == ["CG205"]
    elsewhere = denial("d", "[get]", f"workloads: ['{BILLING}']")
    assert codes(policy_of(grant("a", "[get]", "spiffe://acme.test/ns/audit/*"), elsewhere)) == ["CG205"]
    assert codes(policy_of("", denial("d", "[get]"))) == ["CG205"]


def test_finds_a_wildcard_that_leaves_others_what_a_denial_takes_from_some() -> None:
    some = denial("d", "[wipe]", f"workloads: ['{BILLING}']")
    text = policy_of(grant("a", "['*']"), some)

    (remark,) = linted(text)

    assert (remark.check.code, remark.level, remark.rule) == ("CG206", Level.WARNING, "a")
    assert levels(policy_of(grant("a", "['*']"), denial("d", "[pay]", "when: 'args.a == 1'"))) == {"CG206": Level.NOTE}


def test_a_tool_that_is_granted_by_name_is_meant() -> None:
    some = denial("d", "[wipe]", f"workloads: ['{BILLING}']")

    assert codes(policy_of(grant("a", "[get, wipe]"), some)) == []
    assert codes(policy_of(grant("a", "['*']"), denial("d", "[wipe]"))) == []


def test_says_when_there_are_too_many_rules_to_compare() -> None:
    assert codes(policy_of("".join(grant(f"g{index}", f"['t{index:03}*']") for index in range(600)))) == ["CG299"]


# Time


def test_finds_rules_that_have_ended() -> None:
    assert codes(policy_of(grant("a", "[x]", AGENT, "until: '2026-01-07T12:00:00Z'"))) == ["CG207"]
    assert codes(policy_of(grant("a", "[x]", AGENT, "until: '2026-01-07T12:00:01Z'"))) == []
    assert codes(policy_of(grant("a", "[x]", AGENT, "from: '2026-01-07T03:00:00Z', for: 8h"))) == ["CG207"]


def test_finds_rules_whose_hours_do_not_come() -> None:
    # 2026-02-07 is a Saturday.
    weekend = "from: '2026-02-07T00:00:00Z', until: '2026-02-08T00:00:00Z', between: {{days: [{}]}}"

    assert codes(policy_of(grant("a", "[x]", AGENT, weekend.format("mon")))) == ["CG208"]
    assert codes(policy_of(grant("a", "[x]", AGENT, weekend.format("sat")))) == []


# Patterns


def test_finds_patterns_that_say_nothing_new() -> None:
    text = policy_of(
        dedent(f"""\
          - id: a
            server: ledger
            workloads: ["{AGENT}", "{BILLING}"]
            tools: [get_a, "get_*", list, list]
        """)
    )

    found = linted(text)

    assert [remark.check.code for remark in found] == ["CG213"] * 3
    assert [remark.message.split("'")[1] for remark in found] == [AGENT, "get_a", "list"]


# Tools


def test_finds_tools_that_the_server_does_not_have() -> None:
    tools: dict[str, JsonObject] = {"refund": {}, "list": {}}

    (remark,) = linted(policy_of(grant("a", "[refnud, list]")), tools)

    assert (remark.check.code, remark.level) == ("CG101", Level.WARNING)
    assert remark.message == "server 'ledger' has no tool 'refnud'; did you mean 'refund'?"
    assert codes(policy_of(grant("a", "['re*']")), tools) == []
    assert levels(policy_of(grant("a", "['x*']")), tools) == {"CG101": Level.NOTE}


def test_a_denial_of_a_tool_that_is_not_there_protects_nothing() -> None:
    text = policy_of(grant("a", "['*']"), denial("d", "[refnud]"))

    assert levels(text, {"refund": {}})["CG101"] is Level.ERROR


def test_says_nothing_of_tools_whose_list_is_not_known() -> None:
    assert codes(policy_of(grant("a", "[refnud]"))) == []


# Arguments


def test_finds_arguments_that_are_not_in_the_schema() -> None:
    text = policy_of(grant("a", "[refund]", AGENT, "when: 'args.ammount < 500'"))
    properties: JsonObject = {"amount": {"type": "integer"}}

    (remark,) = linted(text, {"refund": taking(properties)})

    assert (remark.check.code, remark.level) == ("CG102", Level.WARNING)
    assert remark.message == "argument 'ammount' is not in the schema of tool 'refund'; did you mean 'amount'?"
    closed = taking(properties, additionalProperties=False)
    assert levels(text, {"refund": closed}) == {"CG102": Level.ERROR}


@pytest.mark.parametrize(
    "schema",
    [
        {},
        {"type": "object"},
        {"properties": {}, "additionalProperties": True},
        {"properties": {}, "additionalProperties": {"type": "string"}},
        {"properties": {}, "patternProperties": {"^a": {}}},
        {"properties": {}, "$ref": "#/$defs/all"},
        {"properties": {}, "anyOf": [{"properties": {"ammount": {}}}]},
    ],
)
def test_claims_nothing_where_the_schema_may_take_the_argument(schema: JsonObject) -> None:
    assert codes(policy_of(grant("a", "[refund]", AGENT, "when: 'args.ammount < 500'")), {"refund": schema}) == []


def test_finds_scopes_from_arguments_that_are_not_in_the_schema() -> None:
    text = policy_of(grant("a", "[refund]", AGENT, "scopes: ['ledger.read', 'ledger.account:{args.acount}']"))

    (remark,) = linted(text, {"refund": taking({"account": {}})})

    assert remark.check.code == "CG102"
    assert "argument 'acount'" in remark.message
    assert text.splitlines()[remark.line - 1][remark.column - 1 :].startswith("'ledger.account")


def test_finds_what_a_denial_denies_because_a_tool_has_no_such_argument() -> None:
    tools = {"pay": taking({"account": {}}), "list": taking({}), "get": taking({})}
    house = "when: 'args.account == \"house\"'"

    found = linted(policy_of(grant("a", "[pay, list, get]"), denial("d", "['*']", house)), tools)

    assert [(remark.check.code, remark.level) for remark in found] == [("CG215", Level.WARNING)]
    assert found[0].message.startswith("'d' denies every call of tools 'list', 'get'")


def test_says_when_there_are_too_many_conditions_for_so_many_tools() -> None:
    tools = {f"t{index}": taking({"a": {"type": "integer"}}) for index in range(100)}
    one_too_many = MAX_SCHEMA_COMPARISONS // len(tools) + 1
    grants = (grant(f"g{n}", "['*']", f"spiffe://acme.test/{n}", f"when: 'args.a == {n}'") for n in range(one_too_many))

    (remark,) = linted(policy_of("".join(grants)), tools)

    assert (remark.check.code, remark.rule) == ("CG299", f"g{one_too_many - 1}")


def test_a_condition_that_asks_whether_the_argument_is_there_denies_no_more() -> None:
    tools = {"pay": taking({"account": {}}), "list": taking({})}
    house = "when: 'has(args.account) && args.account == \"house\"'"

    assert codes(policy_of(grant("a", "[pay, list]"), denial("d", "['*']", house)), tools) == []


@pytest.mark.parametrize(
    ("condition", "schema"),
    [
        ("args.a == 'x'", {"type": "integer"}),
        ("args.a == 'EURO'", {"enum": ["EUR", "USD"]}),
        ("args.a > 10", {"type": "integer", "maximum": 10}),
        ("args.a > 3 && args.a < 4", {"type": "integer"}),
        ("args.a < 1", {"type": "number", "minimum": 1}),
        ("args.a in [5, 6]", {"const": 4}),
    ],
)
def test_finds_conditions_at_odds_with_the_schema(condition: str, schema: JsonObject) -> None:
    text = policy_of(grant("a", "[pay]", AGENT, f'when: "{condition}"'))

    assert levels(text, {"pay": taking({"a": schema})}) == {"CG103": Level.ERROR}


@pytest.mark.parametrize(
    ("condition", "schema"),
    [
        ("args.a == 5", {"type": ["integer", "null"]}),
        ("args.a > 3 && args.a < 4", {"type": "number"}),
        ("args.a == 'EUR'", {"enum": ["EUR", "USD"]}),
        ("args.a == 1", {"enum": [1.0]}),
        ("args.a == 5", {"anyOf": [{"type": "integer"}, {"type": "null"}]}),
        ("!has(args.a)", {"type": "integer"}),
        ("args.a == 'x'", True),
        ("args.a == 'x'", {"type": "made-up"}),
    ],
)
def test_says_nothing_of_conditions_that_the_schema_allows(condition: str, schema: JsonObject) -> None:
    text = policy_of(grant("a", "[pay]", AGENT, f'when: "{condition}"'))

    assert codes(text, {"pay": taking({"a": schema})}) == []


# Conditions


def test_finds_conditions_that_never_hold() -> None:
    never = "when: 'args.a < 1 && args.a > 2'"

    assert levels(policy_of(grant("a", "[pay]", AGENT, never))) == {"CG201": Level.WARNING}
    assert levels(policy_of(grant("a", "[pay]"), denial("d", "[pay]", never))) == {"CG201": Level.ERROR}


def test_finds_conditions_that_always_hold() -> None:
    always = "when: 'args.a != 1 || args.a != 2'"

    (remark,) = linted(policy_of(grant("a", "[pay]", AGENT, always)))

    assert (remark.check.code, remark.level) == ("CG202", Level.ERROR)
    assert remark.message == "the condition of 'a' always holds, unless it fails"
    assert levels(policy_of(grant("a", "[pay]"), denial("d", "[pay]", always))) == {"CG202": Level.WARNING}


@pytest.mark.parametrize(
    "condition",
    [
        "caller.trust_domain == 'partner.test'",
        "caller.id == 'spiffe://acme.test/ns/billing/sa/agnet'",
        "tool.name == 'refund'",
        "tool.server == 'mail'",
        "request.method == 'tools/list'",
    ],
)
def test_finds_conditions_that_never_hold_for_what_the_rule_is_about(condition: str) -> None:
    (remark,) = linted(policy_of(grant("a", "[pay]", AGENT, f'when: "{condition}"')))

    assert remark.check.code == "CG201"
    assert remark.message.endswith("can never hold for what this rule is about")


def test_what_the_rule_says_already_is_worth_a_note() -> None:
    text = policy_of(grant("a", "[pay]", AGENT, "users: {issuers: ['https://i.test']}, when: 'user.present'"))

    assert levels(text) == {"CG202": Level.NOTE}


def test_a_denial_with_users_is_asked_without_one_too() -> None:
    users = "users: {any: true}, when: 'user.present'"

    assert codes(policy_of(grant("a", "[pay]"), denial("d", "[pay]", users))) == []


def test_finds_tags_that_no_tool_bears() -> None:
    tags = "  - {server: ledger, tools: [web], tags: [reads_untrusted]}\n"
    asks = 'when: \'history.used("{}", duration("1h")) && "{}" in tool.tags\''

    def text(tag: str) -> str:
        return policy_of(grant("a", "[pay]"), denial("d", "[pay]", asks.format(tag, tag)), tags)

    (remark,) = linted(text("reads_untrsted"))

    assert (remark.check.code, remark.level) == ("CG210", Level.ERROR)
    assert "did you mean 'reads_untrusted'?" in remark.message
    assert codes(text("reads_untrusted")) == []


def test_finds_counts_of_calls_that_nobody_may_make() -> None:
    def text(tool: str) -> str:
        asks = f'when: \'history.calls("{tool}", duration("1h")) > 3\''
        return policy_of(grant("a", "[pay]"), denial("d", "[pay]", asks))

    assert levels(text("pya")) == {"CG212": Level.ERROR}
    assert levels(text("mail/pay")) == {"CG212": Level.ERROR}
    assert codes(text("pay")) == codes(text("p*")) == codes(text("ledger/pay")) == []


# Users


def test_finds_users_of_issuers_that_are_not_configured() -> None:
    text = policy_of(grant("a", "[pay]", AGENT, "users: {issuers: ['https://login.acme.tst']}"))

    (remark,) = linted(text, issuers=frozenset({ISSUER}))

    assert remark.check.code == "CG214"
    assert f"did you mean '{ISSUER}'?" in remark.message
    assert codes(text) == []


def test_finds_users_where_no_issuer_is_configured() -> None:
    assert codes(policy_of(grant("a", "[pay]", AGENT, "users: {any: true}")), issuers=frozenset()) == ["CG214"]


# Any policy

rule_parts = st.fixed_dictionaries(
    {
        "workloads": st.sampled_from([AGENT, BILLING, EVERYBODY, "spiffe://acme.test/*/billing/**"]),
        "tools": st.lists(st.sampled_from(["pay", "get_a", "get_*", "*", "?et*", "wipe"]), min_size=1, max_size=3),
        "more": st.lists(
            st.sampled_from(
                [
                    'when: "args.a < 1"',
                    'when: "args.a < 1 && args.a > 2 || has(args.b)"',
                    'when: "history.used(\\"x\\", duration(\\"1h\\")) || args.l.exists(i, i == user.subject)"',
                    "users: {any: true}",
                    f"users: {{issuers: ['{ISSUER}'], groups: [a]}}",
                    "until: '2026-01-07T12:00:00Z'",
                    "between: {days: [mon], hours: 22:00-06:00, zone: Europe/Berlin}",
                    "shadow: true",
                ]
            ),
            unique_by=lambda text: text.partition(":")[0],
            max_size=4,
        ),
    }
)
schemas = st.dictionaries(
    st.sampled_from(["pay", "get_a", "other"]),
    st.recursive(
        st.one_of(st.none(), st.booleans(), st.integers(-3, 3), st.sampled_from(["object", "string", "a", "#/$defs/a"])),
        lambda inner: st.one_of(
            st.lists(inner, max_size=3),
            st.dictionaries(
                st.sampled_from(["type", "properties", "a", "b", "l", "enum", "const", "required", "minimum", "$ref",
                                 "additionalProperties"]), inner, max_size=4),
        ),
        max_leaves=8,
    ).filter(lambda schema: isinstance(schema, dict)),
)  # fmt: skip


@given(st.lists(rule_parts, max_size=5), st.lists(rule_parts, max_size=4), schemas)
def test_says_something_or_nothing_of_any_policy_and_never_fails(
    grants: list[dict[str, object]], denials: list[dict[str, object]], tools: dict[str, JsonObject]
) -> None:
    def written(rules: list[dict[str, object]], kind: str) -> str:
        return "".join(
            f"  - {{id: {kind}{n}, server: ledger, workloads: ['{r['workloads']}'], tools: {r['tools']}"
            + "".join(f", {part}" for part in (r["more"] if isinstance(r["more"], list) else []))
            + "}\n"
            for n, r in enumerate(rules)
        )

    for remark in linted(policy_of(written(grants, "g"), written(denials, "d")), tools, frozenset()):
        assert remark.line > 0
        assert remark.column > 0
        assert "\n" not in remark.message
