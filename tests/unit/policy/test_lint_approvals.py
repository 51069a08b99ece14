"""Approvals that nobody can give, that nobody is asked for, or that come where they were not looked for: told."""

from time import process_time

import pytest

from callgate.policy.compile import Policy, load_policies
from callgate.policy.lint import Surroundings, lint
from callgate.policy.lint_approvals import lint_approvals
from callgate.policy.places import Places
from callgate.policy.remarks import Level, Remark

NOW = 1_767_787_200.0
HEAD = "version: 1\ntrust_domains: [acme.test]\n"
OWNERS = "owners:\n  - {workloads: ['spiffe://acme.test/**'], people: [bob], groups: [billing]}\n"
LEADS = "approval: {groups: [leads]}"


def remarks(text: str) -> list[Remark]:
    files = [("policy.yaml", HEAD + text)]
    policy = load_policies(files)
    assert isinstance(policy, Policy), policy
    return list(lint(policy, files, Surroundings(NOW)))


def codes(text: str) -> list[str]:
    return [each.check.code for each in remarks(text)]


def grants(*entries: str) -> str:
    return "grants:\n" + "".join(entries)


def grant(name: str, *more: str, tools: str = "[pay]", workloads: str = "spiffe://acme.test/a") -> str:
    parts = [f"id: {name}", f"workloads: ['{workloads}']", "server: ledger", f"tools: {tools}", *more]
    return f"  - {{{', '.join(parts)}}}\n"


# Owners


def test_four_eyes_for_a_workload_that_nobody_owns_is_told_of() -> None:
    text = grants(grant("g", "approval: {groups: [leads], four_eyes: true}"))

    (found,) = remarks(text)
    assert (found.check.code, found.rule, found.level) == ("CG220", "g", Level.WARNING)
    assert "spiffe://acme.test/a" in found.message
    assert codes(OWNERS + text) == []
    # Nobody is kept out, and nobody asked for that.
    assert codes(grants(grant("g", LEADS))) == []


def test_owners_of_workloads_that_no_grant_names_are_told_of_where_they_stand() -> None:
    text = "owners:\n  - {workloads: ['spiffe://acme.test/a'], people: [bob]}\n"
    text += "  - {workloads: ['spiffe://acme.test/b/*'], people: [eve]}\n" + grants(grant("g"))

    (found,) = remarks(text)
    assert (found.check.code, found.line) == ("CG221", 5)
    assert "spiffe://acme.test/b/*" in found.message


@pytest.mark.parametrize(
    "approvers",
    [
        "people: [bob]",
        "groups: [billing]",
        "people: [bob], groups: [billing]",
        # One of two is left, and two are needed.
        "people: [bob, ann], needed: 2",
        "people: [bob, ann], groups: [billing], needed: 2",
    ],
)
def test_an_approval_that_only_owners_could_give_is_an_error(approvers: str) -> None:
    (found,) = remarks(OWNERS + grants(grant("g", f"approval: {{{approvers}, four_eyes: true}}")))

    assert (found.check.code, found.level, found.rule) == ("CG222", Level.ERROR, "g")


@pytest.mark.parametrize("approvers", ["people: [ann]", "groups: [billing, leads]", "people: [bob, ann]"])
def test_an_approval_that_somebody_else_can_give_is_none(approvers: str) -> None:
    assert codes(OWNERS + grants(grant("g", f"approval: {{{approvers}, four_eyes: true}}"))) == []


def test_who_owns_only_some_of_the_workloads_may_agree_for_the_others() -> None:
    owners = "owners:\n  - {workloads: ['spiffe://acme.test/a'], people: [bob]}\n"
    text = grants(grant("g", "approval: {people: [bob], four_eyes: true}", workloads="spiffe://acme.test/*"))

    assert codes(owners + text) == []


def test_without_four_eyes_owners_may_agree() -> None:
    assert codes(OWNERS + grants(grant("g", "approval: {people: [bob]}"))) == []


# This machine's own people


def test_local_as_one_of_several_is_told_of() -> None:
    (found,) = remarks(grants(grant("g", "approval: {groups: [local, leads], needed: 2}")))

    assert (found.check.code, found.rule) == ("CG223", "g")
    assert codes(grants(grant("g", "approval: {groups: [local, leads]}"))) == []


@pytest.mark.parametrize("who", ["groups: [local]", "people: ['local:ada']", "groups: [local], people: ['local:ada']"])
def test_a_fresh_sign_in_of_those_who_never_sign_in_is_told_of(who: str) -> None:
    (found,) = remarks(grants(grant("g", f"approval: {{{who}, sign_in: 5m}}")))

    assert found.check.code == "CG224"
    assert codes(grants(grant("g", f"approval: {{{who}}}"))) == []


def test_a_fresh_sign_in_of_some_who_sign_in_is_not() -> None:
    assert codes(grants(grant("g", "approval: {people: ['local:ada', carol], sign_in: 5m}"))) == []


# Grants beside one another


def test_a_grant_that_a_wider_one_takes_the_freedom_from_is_told_of() -> None:
    text = grants(grant("all", LEADS, tools="['*']"), grant("free", "ttl: 5s", tools="[get]"))

    (found,) = remarks(text)
    assert (found.check.code, found.rule, found.level) == ("CG225", "free", Level.WARNING)
    assert "'all'" in found.message


def test_a_way_round_an_approval_that_is_none_is_a_note_and_no_bypass() -> None:
    (found,) = remarks(grants(grant("asks", LEADS, "when: 'args.amount > 500'"), grant("free")))

    assert (found.check.code, found.rule, found.level) == ("CG225", "asks", Level.NOTE)


def test_grants_that_both_ask_are_none() -> None:
    assert "CG225" not in codes(grants(grant("a", LEADS, tools="['*']"), grant("b", "approval: {groups: [ops]}")))


def test_a_grant_in_shadow_asks_nobody() -> None:
    assert "CG225" not in codes(grants(grant("all", LEADS, "shadow: true", tools="['*']"), grant("free")))


def test_a_grant_that_asks_is_not_redundant_beside_one_that_does_not() -> None:
    both = remarks(grants(grant("a", LEADS), grant("b")))
    assert [each.rule for each in both if each.check.code == "CG204"] == ["b"]
    other = codes(grants(grant("a", LEADS), grant("b", "approval: {groups: [ops]}")))
    assert "CG204" not in other
    assert "CG204" in codes(grants(grant("a", LEADS), grant("b", LEADS)))


def test_a_condition_that_the_same_approval_without_it_makes_idle_is_still_a_bypass() -> None:
    found = codes(grants(grant("a", LEADS, "when: 'args.amount > 500'"), grant("b", LEADS)))

    assert "CG211" in found


# What is held


HOLD = "mask_arguments: [{entity: card, mode: hold}]"


def test_what_a_grant_holds_and_no_grant_asks_for_is_told_of() -> None:
    (found,) = remarks(grants(grant("g", HOLD)))

    assert (found.check.code, found.rule) == ("CG226", "g")
    assert codes(grants(grant("g", HOLD, LEADS))) == []
    # Another that may apply to the same call asks.
    assert codes(
        grants(grant("g", HOLD), grant("h", "approval: {groups: [leads], asks: on_hold}", tools="['p*']"))
    ) != ["CG226"]
    assert "CG226" in codes(grants(grant("g", HOLD), grant("h", LEADS, tools="[get]")))
    assert "CG226" in codes(grants(grant("g", HOLD), grant("h", LEADS, workloads="spiffe://acme.test/b")))


def test_what_a_server_holds_and_no_grant_asks_for_is_told_of_where_it_stands() -> None:
    screening = f"screening:\n  - server: ledger\n    tools: ['p*']\n    {HOLD}\n"

    (found,) = remarks(screening + grants(grant("g")))
    assert (found.check.code, found.line, found.rule) == ("CG226", 6, "")
    assert codes(screening + grants(grant("g", LEADS))) == []
    assert "CG226" in codes(screening + grants(grant("g", LEADS, tools="[get]")))
    assert "CG226" in codes(screening + grants(grant("g", LEADS, "shadow: true")))


def test_other_modes_hold_nothing() -> None:
    assert codes(grants(grant("g", "mask_arguments: [{entity: card, mode: deny}, email]"))) == []


def test_an_approval_of_what_is_held_where_nothing_is_is_told_of() -> None:
    text = grants(grant("g", "approval: {groups: [leads], asks: on_hold}"))

    (found,) = remarks(text)
    assert (found.check.code, found.rule) == ("CG224", "g")
    assert codes(f"screening:\n  - server: ledger\n    {HOLD}\n" + text) == []
    assert codes(grants(grant("g", "approval: {groups: [leads], asks: on_hold}", HOLD))) == []


def test_a_policy_of_a_thousand_grants_and_hundreds_of_owners_is_linted_in_seconds() -> None:
    many = [
        grant(f"g{n}", "approval: {groups: [leads], four_eyes: true}", HOLD, workloads=f"spiffe://acme.test/*/a{n}/**")
        for n in range(1_000)
    ]
    owners = "owners:\n" + "".join(
        f"  - {{workloads: ['spiffe://acme.test/**/b{n}/*'], people: [bob]}}\n" for n in range(300)
    )

    files = [("policy.yaml", HEAD + owners + grants(*many))]
    policy = load_policies(files)
    assert isinstance(policy, Policy)
    places = Places.of(files)

    started = process_time()
    found = list(lint_approvals(policy, places))
    assert process_time() - started < 10
    # Those that were compared own something, and are asked.
    assert {each.check.code for each in found} <= {"CG221"}
