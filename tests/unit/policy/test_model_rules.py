"""What the keys of a rule must be to each other, and the bounds of single ones."""

import pytest

from callgate.policy.model import POLICY_LIMITS, PolicyFile, cross_check
from callgate.yaml_model import read_model

HEAD = "version: 1\ntrust_domains: [acme.test]\n"
# Its keys stand in line 4, and what is asked about in line 5.
GRANT = HEAD + "grants:\n- {{id: a, workloads: [spiffe://acme.test/a], server: s, tools: [t],\n   {}}}\n"
DENIAL = HEAD + "denials:\n- {{id: a, server: s, tools: [t],\n   {}}}\n"


def problems(text: str, servers: frozenset[str] | None = None) -> list[str]:
    found = read_model(text, "p.yaml", PolicyFile, lambda document: cross_check(document, servers), POLICY_LIMITS)
    return [] if isinstance(found, PolicyFile) else [str(problem) for problem in found]


@pytest.mark.parametrize("rule", [GRANT, DENIAL])
@pytest.mark.parametrize(
    "keys",
    [
        "from: 2026-06-01T08:00:00Z, for: 8h",
        "from: 2026-06-01T08:00:00Z, until: 2026-06-01T08:00:01Z",
        "from: 2026-06-01T08:00:00+02:00, until: 2026-06-01T07:00:00Z, for: 8784h",
        "from: 2999-12-31t23:59:59z",
        "until: 2000-01-01T00:00:00-23:59",
        "between: {days: [mon]}",
        "between: {hours: 22:00-06:00, zone: America/Argentina/Buenos_Aires}",
        "users: {any: true}",
        "users: {issuers: [https://id.acme.test], subjects: [ann], groups: [staff]}",
        "shadow: true",
    ],
)
def test_accepts_a_rule_with_times_and_users(rule: str, keys: str) -> None:
    assert problems(rule.format(keys)) == []


@pytest.mark.parametrize("rule", [GRANT, DENIAL])
@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        ("for: 8h", "5:9: for needs 'from', the moment that it counts from"),
        ("until: 2026-06-01T08:00:00Z, for: 8h", "5:38: for needs 'from', the moment that it counts from"),
        (
            "from: 2026-06-01T08:00:00Z, until: 2026-06-01T08:00:00Z",
            "5:39: until must be later than 'from', which is 2026-06-01T08:00:00Z",
        ),
        # The same moment in another place.
        (
            "from: 2026-06-01T08:00:00Z, until: 2026-06-01T09:59:59+02:00",
            "5:39: until must be later than 'from', which is 2026-06-01T08:00:00Z",
        ),
        ("between: {}", "5:13: between must have 'days', 'hours' or both"),
        ("between: {zone: Europe/Berlin}", "5:13: between must have 'days', 'hours' or both"),
        ("users: {}", "5:11: users must have 'any', or some of 'issuers', 'subjects' and 'groups'"),
        ("users: {any: true, groups: [a]}", "5:17: any must stand alone: the other keys of 'users' ask for more"),
        ("users: {any: false}", "5:17: any must be true; where no user is needed, leave 'users' out"),
        ("users: {any: 1}", "5:17: any must be true; where no user is needed, leave 'users' out"),
        ("users: {groups: []}", "5:20: groups must not be an empty list"),
        ("from: 2026-06-01T08:00:00Z, for: 8785h", "5:37: for must be at most 8784h"),
        ("from: 2026-06-01T08:00:00Z, for: 0s", "5:37: for must be a duration such as '10s', '5m' or '8h'"),
    ],
)
def test_refuses_a_rule_whose_keys_do_not_go_together(rule: str, keys: str, problem: str) -> None:
    found = problems(rule.format(keys))

    assert len(found) == 1, found
    assert found[0].startswith(f"p.yaml:{problem}")


@pytest.mark.parametrize(
    "moment",
    [
        "2026-06-01T08:00:00",
        "2026-06-01",
        "2026-06-01 08:00:00Z",
        "2026-06-31T08:00:00Z",
        "2026-06-01T24:00:01Z",
        "2026-06-01T08:00:60Z",
        "2026-06-01T08:00:00.5Z",
        "2026-06-01T08:00:00+24:00",
        "1999-12-31T23:59:59Z",
        "3000-01-01T00:00:00Z",
        "20260601T080000Z",
        "1780300800",
        "[]",
    ],
)
def test_refuses_a_moment_that_is_none(moment: str) -> None:
    assert problems(GRANT.format(f"until: {moment}")) == [
        "p.yaml:5:11: until must be a moment with its offset, such as 2026-12-31T18:00:00Z or 2026-12-31T18:00:00+01:00"
    ]


@pytest.mark.parametrize("hours", ["8:00-18:00", "08:00", "08:00-08:00", "24:00-08:00", "08:00-25:00", "08:60-09:00"])
def test_refuses_hours_that_are_none(hours: str) -> None:
    assert problems(GRANT.format(f"between: {{hours: '{hours}'}}")) == [
        "p.yaml:5:21: hours must be hours such as '08:00-18:00', or '22:00-06:00' over midnight"
    ]


@pytest.mark.parametrize(
    "zone",
    [
        "Europe/Berlim",
        "europe/berlin",
        "Europe",
        "Europe/",
        "",
        "../Europe/Berlin",
        "/etc/localtime",
        "localtime",
        "posixrules",
        "right/UTC",
        "posix/Europe/Berlin",
        "EST",
        "+01:00",
    ],
)
def test_refuses_a_time_zone_that_is_none_or_is_another_on_each_machine(zone: str) -> None:
    assert problems(GRANT.format(f"between: {{days: [mon], zone: '{zone}'}}")) == [
        "p.yaml:5:33: zone must be a time zone such as Europe/Berlin or UTC"
    ]


def test_refuses_a_day_that_is_none() -> None:
    assert problems(GRANT.format("between: {days: [monday]}")) == [
        "p.yaml:5:21: days[0] must be 'mon', 'tue', 'wed', 'thu', 'fri', 'sat' or 'sun'"
    ]


@pytest.mark.parametrize(
    ("limit", "problem"),
    [
        ("{calls: 1, per: 25h}", "5:27: per must be at most 24h"),
        ("{calls: 0, per: 1h}", "5:19: calls must be at least 1"),
        ("{calls: 1001, per: 1h}", "5:19: calls must be at most 1000"),
        ("{calls: 1}", "5:4: key 'per' is missing in limit"),
    ],
)
def test_refuses_a_limit_that_nobody_could_count(limit: str, problem: str) -> None:
    assert problems(GRANT.format(f"limit: {limit}")) == [f"p.yaml:{problem}"]


def test_accepts_the_widest_limit() -> None:
    assert problems(GRANT.format("limit: {calls: 1000, per: 24h}")) == []


@pytest.mark.parametrize("value", ["[]", "x", "1", "[{}]"])
@pytest.mark.parametrize("key", ["from", "until", "for", "between", "users"])
def test_a_key_of_another_shape_is_told_of_and_breaks_nothing(key: str, value: str) -> None:
    assert problems(GRANT.format(f"{key}: {value}"))


def test_refuses_tags_for_a_server_that_is_not_configured() -> None:
    text = HEAD + "tools: [{server: ledgr, tools: [t], tags: [reads_private]}]\n"

    assert problems(text, frozenset({"ledger"})) == [
        "p.yaml:3:18: server 'ledgr' is not configured; did you mean 'ledger'?"
    ]
    assert problems(text) == []


@pytest.mark.parametrize(
    ("scope", "problem"),
    [
        ("'ledger.{args.account}'", ""),
        ("'ledger.{arg.account}'", "has the placeholder '{arg.account}', which does not exist; did you mean 'args.acc"),
        ("'{args.account}'", "must begin with text of its own, not with a placeholder"),
        ("'ledger.{'", "has a brace that belongs to no placeholder; one is written '{args.account}'"),
    ],
)
def test_a_bad_template_is_told_when_the_file_is_read(scope: str, problem: str) -> None:
    found = problems(GRANT.format(f"scopes: [{scope}]"))

    assert len(found) == bool(problem)
    assert all(told.startswith(f"p.yaml:5:13: scopes[0] {problem}") for told in found)
