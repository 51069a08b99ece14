"""What a policy may say of approvals and owners, and what a permit then obliges to."""

import json
from typing import Any

import pytest

from callgate.identity.spiffe_id import SpiffeId
from callgate.policy.approval import DEFAULT_STANDS_S, DEFAULT_WAITS_S, Approval, Owners, Repeat
from callgate.policy.call import Call
from callgate.policy.compile import Policy, load_policies, load_policy
from callgate.policy.decide import DecisionOutcome, Permit, decide

HEAD = "version: 1\ntrust_domains: [acme.test]\n"
GRANT = (
    HEAD + 'grants:\n  - id: g\n    workloads: ["spiffe://acme.test/*"]\n    server: ledger\n    tools: [pay]\n    {}\n'
)
OWNED = HEAD + "owners:\n  - {}\n"
CALLER = SpiffeId.parse("spiffe://acme.test/a")


def problems(text: str, *, has_approvals: bool = True) -> list[str]:
    found = load_policies((("p.yaml", text),), has_approvals=has_approvals)
    return [] if isinstance(found, Policy) else [str(problem) for problem in found]


def policy_of(*grants: dict[str, Any], owners: list[dict[str, Any]] | None = None) -> Policy:
    rules = [
        {"id": f"g{number}", "workloads": ["spiffe://acme.test/**"], "server": "ledger", "tools": ["pay"], **grant}
        for number, grant in enumerate(grants)
    ]
    whole = {"version": 1, "trust_domains": ["acme.test"], "grants": rules, "owners": owners or []}
    found = load_policy(json.dumps({key: value for key, value in whole.items() if value}), "p.yaml")
    assert isinstance(found, Policy), found
    return found


def permit_of(policy: Policy, **arguments: Any) -> Permit:  # noqa: ANN401  # a call's arguments
    call = Call(caller=CALLER, server="ledger", method="tools/call", tool="pay", arguments=arguments, now=1.8e9)
    decision = decide(policy, call)
    assert decision.outcome is DecisionOutcome.ALLOW
    assert decision.permit is not None
    return decision.permit


@pytest.mark.parametrize(
    ("approval", "words"),
    [
        ("{}", "approval must have 'groups' or 'people': somebody has to be asked"),
        ("{needed: 1}", "approval must have 'groups' or 'people': somebody has to be asked"),
        ("{groups: []}", "groups must not be an empty list"),
        ("{people: []}", "people must not be an empty list"),
        ("{groups: leads}", "groups must be a list, not the text 'leads'"),
        ("{groups: [' leads']}", "groups[0] must be one line of printable characters, without spaces around them"),
        ('{groups: ["a\\tb"]}', "groups[0] must be one line of printable characters"),
        (
            "{people: ['spiffe://acme.test/a']}",
            "people[0] must be people: 'spiffe://…' is a workload, and an agent can",
        ),
        (
            "{people: ['SPIFFE://acme.test/a']}",
            "people[0] must be people: 'spiffe://…' is a workload, and an agent can",
        ),
        ("{groups: [leads], needed: 0}", "needed must be at least 1"),
        ("{groups: [leads], needed: 11}", "needed must be at most 10"),
        ("{people: [ann], needed: 2}", "approval needs 2 who agree and names 1, so that it could never be given"),
        ("{people: [ann, ann], needed: 2}", "approval needs 2 who agree and names 1"),
        ("{groups: [leads], stands: 59s}", "stands must be from 1m to 7d"),
        ("{groups: [leads], stands: 8d}", "stands must be from 1m to 7d"),
        ("{groups: [leads], stands: 15}", "stands must be a duration"),
        ("{groups: [leads], waits: 11m}", "waits must be at most 10m"),
        ("{groups: [leads], waits: 0}", "waits must be a duration"),
        ("{groups: [leads], waits: 2m, stands: 1m}", "approval must not let a call wait ('waits') for longer than"),
        ("{groups: [leads], reason: always}", "reason must be 'optional' or 'required'"),
        ("{groups: [leads], four_eyes: yes}", "four_eyes must be true or false"),
        ("{groups: [leads], sign_in: 30s}", "sign_in must be from 1m to 24h"),
        ("{groups: [leads], sign_in: 25h}", "sign_in must be from 1m to 24h"),
        ("{groups: [leads], repeat: {for: 15m}}", "key 'calls' is missing in repeat"),
        ("{groups: [leads], repeat: {calls: 5}}", "key 'for' is missing in repeat"),
        ("{groups: [leads], repeat: {for: 25h, calls: 5}}", "for must be at most 24h"),
        ("{groups: [leads], repeat: {for: 15m, calls: 0}}", "calls must be at least 1"),
        ("{groups: [leads], repeat: {for: 15m, calls: 5, same: [/a~2]}}", "same[0] must be a JSON pointer"),
        ("{groups: [leads], asks: sometimes}", "asks must be 'always' or 'on_hold'"),
        ("{by: [leads], within: 10m}", "unknown key 'by'"),
    ],
)
def test_refuses_an_approval_that_cannot_be_met(approval: str, words: str) -> None:
    found = problems(GRANT.format(f"approval: {approval}"))

    assert words in " | ".join(found), found


def test_what_is_not_said_has_defaults() -> None:
    (approval,) = permit_of(policy_of({"approval": {"groups": ["leads"]}})).approvals

    assert approval == Approval("g0", frozenset({"leads"}), frozenset())
    assert (approval.stands_s, approval.waits_s) == (DEFAULT_STANDS_S, DEFAULT_WAITS_S)


def test_all_that_is_said_is_in_the_permit() -> None:
    said = {
        "groups": ["leads"],
        "people": ["carol", "local:ada"],
        "needed": 2,
        "stands": "7d",
        "waits": "0s",
        "reason": "required",
        "four_eyes": True,
        "sign_in": "5m",
        "repeat": {"same": ["account", "/customer/id", "/rows/0", "account"], "for": "15m", "calls": 5},
        "asks": "on_hold",
    }

    (approval,) = permit_of(policy_of({"approval": said})).approvals

    repeat = Repeat((("account",), ("customer", "id"), ("rows", 0)), 900, 5)
    people = frozenset({"carol", "local:ada"})
    expected = Approval("g0", frozenset({"leads"}), people, 2, 604_800, 0, True, True, 300, repeat, only_held=True)
    assert approval == expected


def test_approvals_of_all_grants_that_apply_add_up_in_the_order_of_the_file() -> None:
    policy = policy_of(
        {"approval": {"groups": ["first"]}},
        {},
        {"approval": {"groups": ["unmet"]}, "when": "args.amount > 500"},
        {"approval": {"groups": ["shadow"]}, "shadow": True},
        {"approval": {"groups": ["last"]}},
        {"approval": {"groups": ["others"]}, "workloads": ["spiffe://acme.test/other"]},
    )

    assert [each.rule for each in permit_of(policy, amount=5).approvals] == ["g0", "g4"]
    assert [each.rule for each in permit_of(policy, amount=501).approvals] == ["g0", "g2", "g4"]


def test_a_grant_that_asks_nobody_never_takes_an_approval_away() -> None:
    asks, free = {"approval": {"groups": ["leads"]}}, {"scopes": ["ledger.pay"]}

    for grants in ((asks, free), (free, asks)):
        permit = permit_of(policy_of(*grants))
        assert len(permit.approvals) == 1
        assert permit.is_held


def test_what_is_asked_for_only_where_something_is_held_holds_no_other_call() -> None:
    permit = permit_of(policy_of({"approval": {"groups": ["leads"], "asks": "on_hold"}}))

    assert len(permit.approvals) == 1
    assert not permit.is_held


def test_only_calls_of_tools_are_asked_for() -> None:
    call = Call(caller=CALLER, server="ledger", method="tools/list", tool=None, arguments=None, now=1.8e9)

    permit = decide(policy_of({"approval": {"groups": ["leads"]}}), call).permit

    assert permit is not None
    assert permit.approvals == ()


# Where people are asked


def test_an_approval_where_nobody_could_be_asked_is_a_mistake_in_every_grant() -> None:
    two = GRANT.format("approval: {groups: [leads]}") + "  - {id: h, workloads: ['spiffe://acme.test/*'], server: x, "
    text = two + "tools: [a], shadow: true, approval: {groups: [leads]}}\n"

    assert problems(text, has_approvals=False) == [
        f"p.yaml:{place}: approval needs a place where people are asked; add 'approvals: {{folder: approvals}}' to "
        "callgate.yaml"
        for place in ("8:15", "9:97")
    ]
    assert problems(text) == []
    assert problems(GRANT.format("ttl: 10s"), has_approvals=False) == []


# Owners


@pytest.mark.parametrize(
    ("owner", "words"),
    [
        ("{workloads: ['spiffe://acme.test/*']}", "must have 'groups' or 'people': an owner is somebody"),
        ("{people: [bob]}", "key 'workloads' is missing in owners[0]"),
        ("{workloads: ['spiffe://acme.test/*'], people: ['spiffe://acme.test/a']}", "an agent can never approve"),
        (
            "{workloads: ['spiffe://other.test/*'], people: [bob]}",
            "is in trust domain 'other.test', which trust_domains",
        ),
        ("{workloads: [], people: [bob]}", "workloads must not be an empty list"),
        ("{workloads: ['spiffe://acme.test/*'], owners: [bob]}", "unknown key 'owners'"),
    ],
)
def test_refuses_owners_that_are_none(owner: str, words: str) -> None:
    assert words in " | ".join(problems(OWNED.format(owner)))


def test_several_entries_that_name_a_workload_add_up_also_over_files() -> None:
    first = OWNED.format("{workloads: ['spiffe://acme.test/ns/*'], people: [bob], groups: [billing]}")
    more = "  - {workloads: ['spiffe://acme.test/ns/a'], people: [eve]}\n"
    second = OWNED.format("{workloads: ['spiffe://acme.test/**'], groups: [platform]}")
    policy = load_policies((("1.yaml", first + more), ("2.yaml", second)))
    assert isinstance(policy, Policy)

    owners = policy.owners_of(SpiffeId.parse("spiffe://acme.test/ns/a"))
    assert owners == Owners(frozenset({"bob", "eve"}), frozenset({"billing", "platform"}))
    assert policy.owners_of(SpiffeId.parse("spiffe://acme.test/b")) == Owners(frozenset(), frozenset({"platform"}))


def test_a_workload_that_no_entry_names_has_no_owner() -> None:
    assert policy_of({}).owners_of(CALLER) == Owners()
