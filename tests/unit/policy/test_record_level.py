"""How much of a call goes on record: of the grants that apply, the one that keeps most."""

from itertools import permutations, product

import pytest

from callgate.identity.spiffe_id import SpiffeId
from callgate.policy.call import Call
from callgate.policy.compile import Policy, load_policies, load_policy
from callgate.policy.decide import IMPLIED_METHODS, Permit, decide
from callgate.policy.record_level import RecordLevel, strongest

CALLER = SpiffeId.parse("spiffe://acme.test/a")
WHO = "workloads: ['spiffe://acme.test/**'], server: s, tools: ['*']"
HEAD = "version: 1\ntrust_domains: [acme.test]\ngrants:\n"
LEVELS: tuple[RecordLevel, ...] = ("none", "digest", "full")


def permit_of(*rules: str, method: str = "tools/call") -> Permit:
    text = HEAD + "".join(f"  - {{id: g{number}, {WHO}{rule}}}\n" for number, rule in enumerate(rules))
    policy = load_policy(text, "p.yaml")
    assert isinstance(policy, Policy), policy
    tool = "get" if method == "tools/call" else None
    permit = decide(policy, Call(caller=CALLER, server="s", method=method, tool=tool, now=1_795_262_400.0)).permit
    assert permit is not None
    return permit


def asking(level: RecordLevel | None) -> str:
    return "" if level is None else f", record: {level}"


@pytest.mark.parametrize("level", [*LEVELS, None])
def test_a_permit_says_what_its_grant_says(level: RecordLevel | None) -> None:
    assert permit_of(asking(level)).record == level


@pytest.mark.parametrize(("most", "lesser"), [("full", "digest"), ("full", "none"), ("digest", "none")])
def test_the_grant_that_keeps_most_counts_whatever_the_order(most: RecordLevel, lesser: RecordLevel) -> None:
    for order in permutations((most, lesser, None)):
        assert permit_of(*map(asking, order)).record == most


def test_a_grant_that_does_not_say_has_no_part_in_it() -> None:
    assert permit_of("", ", record: none").record == "none"


@pytest.mark.parametrize(
    "rest", ["when: 'false'", "shadow: true", "until: '2020-01-01T00:00:00Z'", "users: {any: true}"]
)
def test_a_grant_that_does_not_apply_has_no_part_in_it(rest: str) -> None:
    assert permit_of("", f", record: full, {rest}").record is None


@pytest.mark.parametrize("method", sorted(IMPLIED_METHODS))
def test_methods_that_are_no_tools_are_left_to_the_servers_default(method: str) -> None:
    assert permit_of(", record: full", method=method).record is None


def test_the_strongest_is_the_last_of_none_digest_and_full() -> None:
    assert strongest(()) is None
    for pair in product(LEVELS, repeat=2):
        assert strongest(pair) == LEVELS[max(map(LEVELS.index, pair))]


def test_full_is_refused_in_every_file_of_a_policy_where_nobody_could_read_it() -> None:
    files = [
        ("a.yaml", f"{HEAD}  - {{id: a, {WHO}, record: full}}\n"),
        ("b.yaml", f"{HEAD}  - {{id: b, {WHO}, shadow: true, record: full}}\n  - {{id: c, {WHO}, record: digest}}\n"),
    ]

    found = load_policies(files, has_auditors=False)

    assert isinstance(found, tuple)
    assert [(problem.file, problem.line) for problem in found] == [("a.yaml", 4), ("b.yaml", 4)]
    assert {problem.message for problem in found} == {
        "record: full needs somebody who can read it, and audit.recipients of callgate.yaml names nobody"
    }
    assert isinstance(load_policies(files), Policy)
