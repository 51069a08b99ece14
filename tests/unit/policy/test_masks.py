"""What is masked of a call: what the policy says of the server, and what the grants that apply add and take away."""

import json
from itertools import permutations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callgate.identity.spiffe_id import SpiffeId
from callgate.policy.call import Call
from callgate.policy.compile import Policy, load_policies, load_policy
from callgate.policy.decide import decide
from callgate.policy.scenario import Suite, read_suite, try_out
from callgate.policy.screens import UNSCREENED, strictest
from callgate.screening.terms import ENTITIES, GROUPS, Handling, MaskRule, Mode, Schemas, Screening

CALLER = SpiffeId.parse("spiffe://acme.test/a")
NOW = 1_800_000_000.0


def policy_of(screening: list[dict[str, Any]], *grants: dict[str, Any], more: dict[str, Any] | None = None) -> Policy:
    """Grants of every tool of `crm` to everybody, with what is said beside that."""
    rules = [
        {"id": f"g{number}", "workloads": ["spiffe://acme.test/*"], "server": "crm", "tools": ["*"], **grant}
        for number, grant in enumerate(grants or ({},))
    ]
    whole = {"version": 1, "trust_domains": ["acme.test"], "screening": screening, "grants": rules, **(more or {})}
    found = load_policy(json.dumps({key: value for key, value in whole.items() if value}), "p.yaml")
    assert isinstance(found, Policy), found
    return found


def screening_of(policy: Policy, tool: str | None = "get", **asked: Any) -> Screening:  # noqa: ANN401  # a call's fields
    method = "tools/call" if tool else "tools/list"
    arguments = asked.pop("arguments", {}) if tool else None
    call = Call(caller=CALLER, server="crm", method=method, tool=tool, arguments=arguments, now=NOW, **asked)
    decision = decide(policy, call)
    assert decision.permit is not None, decision
    return decision.permit.screening


def modes(rules: tuple[MaskRule, ...]) -> dict[str, str]:
    return {rule.name: rule.mode for rule in rules}


def server(*mask: object, **more: object) -> dict[str, Any]:
    return {"server": "crm", **({"mask": list(mask)} if mask else {}), **more}


def test_a_policy_that_says_nothing_masks_nothing_and_keeps_the_defaults() -> None:
    found = screening_of(policy_of([]))

    assert found == UNSCREENED == Screening()
    assert (found.base64, found.definitions, found.schemas) == (Handling.SCREEN, Handling.STRIP, Schemas.KNOWN)


def test_a_name_alone_is_redacted() -> None:
    (rule,) = screening_of(policy_of([server("email")])).answers

    assert rule == MaskRule(Mode.REDACT, "email", entity="email")


@pytest.mark.parametrize("group", GROUPS)
def test_a_group_is_each_of_its_entities(group: str) -> None:
    found = screening_of(policy_of([server({"entity": group, "mode": "partial"})])).answers

    assert modes(found) == dict.fromkeys(GROUPS[group], "partial")


def test_masks_of_ones_own_are_called_by_their_names_and_a_key_by_itself() -> None:
    masks = [
        {"key": "date_of_birth", "mode": "drop"},
        {"pattern": "EMP-[0-9]{6}", "name": "employee"},
        {"pointer": "/customer/name", "name": "customer", "mode": "pseudonym"},
    ]

    assert screening_of(policy_of([server(*masks)])).answers == (
        MaskRule(Mode.DROP, "date_of_birth", key="date_of_birth"),
        MaskRule(Mode.REDACT, "employee", pattern="EMP-[0-9]{6}"),
        MaskRule(Mode.PSEUDONYM, "customer", pointer="/customer/name"),
    )


def test_entries_that_name_the_tool_add_up() -> None:
    policy = policy_of(
        [
            server("email"),
            server("phone", tools=["get*"]),
            server("iban", tools=["set"]),
            {**server("mac"), "server": "x"},
        ]
    )

    assert modes(screening_of(policy).answers) == {"email": "redact", "phone": "redact"}
    assert modes(screening_of(policy, "set").answers) == {"email": "redact", "iban": "redact"}


@pytest.mark.parametrize(
    ("one", "other", "counts"),
    [
        ("partial", "pseudonym", "pseudonym"),
        ("pseudonym", "redact", "redact"),
        ("redact", "drop", "drop"),
        ("drop", "deny", "deny"),
        ("partial", "deny", "deny"),
        ("partial", "partial", "partial"),
    ],
)
def test_of_several_modes_the_strictest_counts_whoever_says_it(one: str, other: str, counts: str) -> None:
    masks = [{"entity": "card", "mode": one}, {"entity": "card", "mode": other}]
    for first, second in permutations(masks):
        for policy in (
            policy_of([server(first, second)]),
            policy_of([server(first), server(second, tools=["get"])]),
            policy_of([server(first)], {"mask": [second]}),
            policy_of([], {"mask": [first]}, {"mask": [second]}),
        ):
            (rule,) = screening_of(policy).answers
            assert rule.mode == counts


def test_what_goes_by_one_name_has_one_mode_whatever_it_is_found_by() -> None:
    own = {"pattern": "@corp", "name": "email", "mode": "deny"}

    assert [rule.mode for rule in screening_of(policy_of([server("email", own)])).answers] == [Mode.DENY, Mode.DENY]


def test_a_grant_adds_to_what_the_server_masks() -> None:
    found = screening_of(policy_of([server("email")], {"mask": ["phone"], "mask_arguments": ["card"]}))

    assert modes(found.answers) == {"email": "redact", "phone": "redact"}
    assert modes(found.arguments) == {"card": "redact"}


def test_a_grant_masks_where_no_server_does() -> None:
    assert modes(screening_of(policy_of([], {"mask": ["phone"]})).answers) == {"phone": "redact"}


def test_a_single_grant_unmasks_by_name_and_by_group() -> None:
    policy = policy_of([server("all", {"key": "note"})], {"unmask": ["national_id", "email", "note"]})

    masked = modes(screening_of(policy).answers)
    assert masked.keys() == {*ENTITIES} - {*GROUPS["national_id"], "email"}


def test_what_one_grant_unmasks_stays_masked_where_another_one_that_applies_does_not_say_so() -> None:
    policy = policy_of([server("email", "phone")], {"unmask": ["email", "phone"]}, {"unmask": ["phone"]})

    assert modes(screening_of(policy).answers) == {"email": "redact"}


def test_a_grant_that_does_not_apply_has_no_part_in_it() -> None:
    policy = policy_of([server("email")], {"unmask": ["email"]}, {"when": "args.a == 1", "mask": ["phone"]})

    assert screening_of(policy).answers == ()
    assert modes(screening_of(policy, arguments={"a": 1}).answers) == {"email": "redact", "phone": "redact"}


def test_a_grant_in_shadow_neither_masks_nor_keeps_from_unmasking() -> None:
    policy = policy_of([server("email")], {"unmask": ["email"]}, {"shadow": True, "mask": ["phone"]})

    assert screening_of(policy).answers == ()


def test_unmasking_takes_nothing_from_what_grants_mask_or_from_arguments() -> None:
    policy = policy_of(
        [server("email", mask_arguments=["email"])],
        {"unmask": ["email"], "mask": [{"entity": "email", "mode": "partial"}]},
    )

    found = screening_of(policy)
    assert modes(found.answers) == {"email": "partial"}
    assert modes(found.arguments) == {"email": "redact"}


def test_for_other_methods_what_is_said_of_every_tool_counts_and_no_grant_does() -> None:
    policy = policy_of(
        [server("email", base64="deny"), server("phone", tools=["get"])], {"mask": ["iban"], "unmask": ["email"]}
    )

    found = screening_of(policy, None)
    assert (modes(found.answers), found.base64) == ({"email": "redact"}, Handling.DENY)


@pytest.mark.parametrize(
    ("said", "counts"),
    [
        (["pass"], "pass"),
        (["pass", "screen"], "screen"),
        (["screen", "deny", "pass"], "deny"),
        ([], "screen"),
    ],
)
def test_the_strictest_that_is_said_of_base64_counts_and_what_is_not_said_does_not(
    said: list[str], counts: str
) -> None:
    entries = [server(base64=each) for each in said]

    assert screening_of(policy_of([server("email"), *entries])).base64 == counts


def test_the_strictest_that_is_said_of_text_and_schemas_counts() -> None:
    found = screening_of(
        policy_of(
            [
                server(text={"definitions": "pass"}, schemas="off"),
                server(text={"definitions": "deny", "results": "pass"}),
                server(schemas="required", tools=["get"]),
            ]
        )
    )

    assert (found.definitions, found.results) == (Handling.DENY, Handling.PASS)
    assert found.schemas is Schemas.REQUIRED


def test_several_files_add_up_whatever_their_order() -> None:
    head = "version: 1\ntrust_domains: [acme.test]\n"
    one = head + "screening: [{server: crm, mask: [email]}]\n"
    other = head + (
        "screening: [{server: crm, mask: [{entity: email, mode: drop}]}]\n"
        'grants: [{id: g, workloads: ["spiffe://acme.test/*"], server: crm, tools: [get]}]\n'
    )
    for files in permutations([("1.yaml", one), ("2.yaml", other)]):
        policy = load_policies(files)
        assert isinstance(policy, Policy)
        assert modes(screening_of(policy).answers) == {"email": "drop"}


def test_what_was_worked_out_for_some_grants_is_not_taken_for_others() -> None:
    policy = policy_of([server("email")], {"unmask": ["email"]}, {"when": "args.a == 1"}, {"when": "args.b == 1"})

    for _ in range(2):
        assert screening_of(policy).answers == ()
        assert modes(screening_of(policy, arguments={"a": 1}).answers) == {"email": "redact"}
        assert screening_of(policy, "other").answers == ()


def test_names_that_callers_make_up_do_not_fill_the_memory() -> None:
    policy = policy_of([server("email")])
    for number in range(3_000):
        screening_of(policy, f"tool_{number}")

    assert len(policy.screening._kept) <= 1_024


RULES = st.builds(
    MaskRule, st.sampled_from(list(Mode)), st.sampled_from(["a", "b"]), st.just(""), st.sampled_from(["x", "y"])
)


@given(st.lists(RULES))
def test_strictest_loses_nothing_and_weakens_nothing(rules: list[MaskRule]) -> None:
    found = strictest(rules)
    order = ["partial", "pseudonym", "redact", "drop", "hold", "deny"]

    assert {(rule.name, rule.pattern) for rule in found} == {(rule.name, rule.pattern) for rule in rules}
    assert len({(rule.name, rule.pattern) for rule in found}) == len(found)
    for rule in rules:
        assert all(order.index(each.mode) >= order.index(rule.mode) for each in found if each.name == rule.name)
    assert set(strictest(reversed(rules))) == set(found)


EXPECTED = """\
policy: policy.yaml
tests:
  - name: one
    who: spiffe://acme.test/a
    call: {{server: crm, tool: {tool}, args: {{}}}}
    expect: {expect}
"""


@pytest.mark.parametrize(
    ("expect", "mismatches"),
    [
        ("{mask: {email: redact, card: partial, phone: none}}", []),
        ("{mask: {ip: redact}, mask_arguments: {secret: deny, email: none}}", []),
        ("{mask: {email: drop}}", [("mask of email", "drop", "redact")]),
        ("{mask: {email: none}}", [("mask of email", "none", "redact")]),
        (
            "{mask: {national_id: none, ip: partial}}",
            [("mask of ipv4", "partial", "redact"), ("mask of ipv6", "partial", "redact")],
        ),
        ("{mask_arguments: {secret: redact}}", [("mask_arguments of secret", "redact", "deny")]),
    ],
)
def test_a_test_can_expect_how_things_are_masked(expect: str, mismatches: list[tuple[str, str, str]]) -> None:
    policy = policy_of(
        [
            server(
                "email",
                "ip",
                {"entity": "card", "mode": "partial"},
                mask_arguments=[{"entity": "secret", "mode": "deny"}],
            )
        ]
    )
    suite = read_suite(EXPECTED.format(tool="get", expect=expect), "policy.test.yaml")
    assert isinstance(suite, Suite), suite

    found = try_out(policy, suite.scenarios[0]).mismatches
    assert [(each.what, each.expected, each.got) for each in found] == mismatches


def test_a_call_that_is_denied_is_masked_in_no_way() -> None:
    policy = policy_of([server("email")], {"tools": ["other"]})
    suite = read_suite(EXPECTED.format(tool="get", expect="{mask: {email: none}}"), "policy.test.yaml")
    assert isinstance(suite, Suite)

    (found,) = try_out(policy, suite.scenarios[0]).mismatches
    assert found.got == "none, because the call is denied"


@pytest.mark.parametrize("expect", ["{mask: {}}", "{mask: {email: hold}}", "{mask: [email]}", "{mask: {a b: drop}}"])
def test_an_expectation_that_no_policy_can_meet_is_a_mistake(expect: str) -> None:
    assert not isinstance(read_suite(EXPECTED.format(tool="get", expect=expect), "policy.test.yaml"), Suite)
