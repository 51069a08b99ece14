"""The narrowest policy that covers what was used, and what nobody used."""

from collections.abc import Mapping
from dataclasses import dataclass

import pytest

from callgate.cli.words import days
from callgate.policy.compile import Policy, load_policy
from callgate.policy.difference import Change
from callgate.policy.replay import Replay
from callgate.policy.suggested_yaml import as_yaml
from callgate.policy.suggestion import Suggestion, suggestion, written
from callgate.policy.unused import GrantReport, Standing, grant_reports, log_reach
from callgate.policy.usage import Usage
from callgate.wire.json_strict import JsonObject
from support.recorded_calls import HEAD, Recorder, policy, user

A, B, C = (f"spiffe://acme.test/ns/billing/sa/{name}" for name in ("a", "b", "c"))
WIDE = """\
grants:
  - id: all
    workloads: ["spiffe://acme.test/**"]
    server: ledger
    tools: ["*"]
denials:
  - id: no-wiping
    server: ledger
    tools: [wipe]
"""
DAY_S = 24 * 3600


@dataclass(frozen=True)
class Made:
    """A suggestion, and the policy that it is as text."""

    found: Suggestion
    text: str
    policy: Policy


def used(recorder: Recorder, given: str | None = None) -> Usage:
    usage = Usage(policy(given) if given is not None else None, recorder.sources)
    for record in recorder.records():
        usage.see(record)
    return usage


def suggested(recorder: Recorder, given: str | None = None, *, fold: bool = False) -> Made:
    usage = used(recorder, given)
    texts = written([("policy.yaml", HEAD + given)]) if given is not None else None
    found = suggestion(usage, texts, fold=fold)
    text = as_yaml(found, ["What was used."])
    loaded = load_policy(text, "suggested.yaml")
    assert isinstance(loaded, Policy), (loaded, text)
    return Made(found, text, loaded)


def outcomes(recorder: Recorder, new: Policy) -> set[Change | None]:
    """What changes of calls of tools if `new` decides them."""
    replay = Replay(None, new, recorder.sources)
    found = [(record, replay.see(record)) for record in recorder.records()]
    calls = [each for record, each in found if each is not None and record.get("tool")]
    return {each.difference.change if each.difference else None for each in calls}


def pairs(found: Suggestion) -> list[tuple[tuple[str, ...], tuple[str, ...]]]:
    return [(grant.workloads, grant.tools) for grant in found.grants]


# Without a policy.


def test_each_workload_gets_the_very_tools_that_it_called() -> None:
    recorder = Recorder(policy(WIDE))
    recorder.call("read", caller=A)
    recorder.call("read", caller=A)
    recorder.call("write", caller=A)
    recorder.call("read", caller=B)
    recorder.call("wipe", caller=B)

    made = suggested(recorder)

    assert pairs(made.found) == [((A,), ("read", "write")), ((B,), ("read",))]
    assert [grant.id for grant in made.found.grants] == ["a-ledger", "b-ledger"]
    assert made.found.trust_domains == ("acme.test",)


def test_replayed_against_the_suggestion_the_log_allows_exactly_what_was_allowed() -> None:
    recorder = Recorder(policy(WIDE))
    for caller, tools in ((A, "read write"), (B, "read wipe"), (C, "wipe")):
        for tool in tools.split():
            recorder.call(tool, caller=caller)
            recorder.call(tool, caller=caller, server="mail")

    found = outcomes(recorder, suggested(recorder).policy)

    assert found <= {None, Change.TERMS, Change.REASON}


def test_it_says_how_often_and_when_last() -> None:
    recorder = Recorder(policy(WIDE))
    recorder.call("read", caller=A)
    recorder.wait(3600)
    recorder.call("read", caller=A)

    text = suggested(recorder).text

    assert "  # read: 2 calls by 1 workload, last 2026-01-07T13:00:00Z\n" in text


def test_a_tool_that_never_answered_is_left_out() -> None:
    recorder = Recorder(policy(WIDE))
    recorder.call("read", caller=A)
    recorder.log.call(caller=A, tool="made_up", status="rpc_error", grant="all", policy=recorder.policy.digest)
    recorder.log.call(caller=A, tool="broken", status="tool_error", grant="all", policy=recorder.policy.digest)
    recorder.log.call(caller=A, tool="open", orphan=True, grant="all", policy=recorder.policy.digest)

    made = suggested(recorder)

    assert pairs(made.found) == [((A,), ("read",))]
    assert [(left.subject[2], left.calls, left.why) for left in made.found.left_out] == [
        (tool, 1, "no call of it was answered") for tool in ("made_up", "broken", "open")
    ]


def test_a_tool_of_which_calls_were_refused_too_says_so() -> None:
    rules = WIDE.replace("tools: [wipe]", "tools: [wipe]\n    when: args.all == true")
    recorder = Recorder(policy(rules))
    recorder.call("wipe", {"all": False}, caller=A)
    recorder.call("wipe", {"all": True}, caller=A)

    (grant,) = suggested(recorder).found.grants

    assert any("wipe: 1 call of it was refused" in note for note in grant.notes)


def test_scopes_are_those_of_the_tokens_without_the_gates_own() -> None:
    recorder = Recorder(policy(WIDE))
    for tool, scope in (("read", "tool:read ledger.read"), ("write", "tool:write"), ("read", "ledger.read tool:read")):
        token = {"jti": "x", "scope": scope}
        recorder.log.call(caller=A, tool=tool, grant="all", policy=recorder.policy.digest)
        place = next(n for n in range(len(recorder.log.records) - 1, -1, -1) if recorder.log.records[n][0] == "intent")
        kind, fields, when = recorder.log.records[place]
        recorder.log.records[place] = (kind, {**fields, "token": token}, when)

    made = suggested(recorder)

    assert {(grant.tools, tuple(grant.terms.get("scopes", ()))) for grant in made.found.grants} == {  # type: ignore[arg-type]
        (("read",), ("ledger.read",)),
        (("write",), ()),
    }


def test_what_is_not_a_workload_or_a_tool_is_no_part_of_it() -> None:
    recorder = Recorder(policy(WIDE))
    recorder.call("read", caller=A)
    usage = Usage(None, recorder.sources)
    for record in recorder.records():
        usage.see(record)
        usage.see(record | {"caller": "x: [y"})
        usage.see(record | {"tool": "a\n- b"})
        usage.see(record | {"server": ["ledger"]})

    assert list(usage.uses) == [(A, "ledger", "read")]


# Folded.


def test_workloads_of_a_folder_are_folded_only_where_asked() -> None:
    recorder = Recorder(policy(WIDE))
    for caller in (A, B):
        recorder.call("read", caller=caller)
    recorder.call("read", caller="spiffe://acme.test/ns/ops/sa/lone")

    folded = suggested(recorder, fold=True).found

    assert pairs(folded) == [
        (("spiffe://acme.test/ns/billing/sa/*",), ("read",)),
        (("spiffe://acme.test/ns/ops/sa/lone",), ("read",)),
    ]
    assert [grant.id for grant in folded.grants] == ["billing-sa-ledger", "lone-ledger"]
    assert any("any other workload" in note for note in folded.grants[0].notes)
    assert len(suggested(recorder).found.grants) == 3


def test_a_folder_is_not_folded_where_that_would_let_through_what_was_refused() -> None:
    rules = WIDE.replace("tools: [wipe]", f"tools: [wipe]\n    workloads: [{C}]")
    recorder = Recorder(policy(rules))
    for caller in (A, B):
        recorder.call("wipe", caller=caller)
    recorder.call("wipe", caller=C)

    made = suggested(recorder, fold=True)

    assert [grant.workloads for grant in made.found.grants] == [(A,), (B,)]
    assert outcomes(recorder, made.policy) <= {None, Change.TERMS, Change.REASON}


# With a policy.

RULES = """\
tools:
  - {server: ledger, tools: [read], tags: [private]}
grants:
  - id: all
    description: "Everything: it's wide."
    workloads: ["spiffe://acme.test/**"]
    server: ledger
    tools: ["*"]
    scopes: ["ledger.all", "ledger:{request.purpose}"]
    when: 'args.amount < 500 || request.purpose == "x"'
    ttl: 10s
    limit: {calls: 5, per: 1m}
    between: {hours: "08:00-20:00", days: [mon, tue, wed]}
  - id: for-ada
    workloads: ["spiffe://acme.test/ns/billing/sa/*"]
    server: ledger
    tools: [read, write, never]
    users: {subjects: [ada]}
  - id: tried-out
    workloads: ["spiffe://acme.test/**"]
    server: ledger
    tools: [read]
    shadow: true
denials:
  - id: no-wiping
    server: ledger
    tools: ["wipe*"]
    when: history.used("private", duration("1h"))
"""


def busy() -> Recorder:
    recorder = Recorder(policy(RULES))
    recorder.log.start()
    recorder.call("wipe", {"amount": 3}, caller=A, purpose="p")
    for amount in (3, 5000):
        for caller in (A, B):
            recorder.call("read", {"amount": amount}, caller=caller, purpose="p")
            recorder.call("write", {"amount": amount}, caller=caller, user=user("ada"))
            recorder.call("write", {"amount": amount}, caller=caller, user=user("eve"))
    recorder.call("wipe", {"amount": 3}, caller=A, purpose="p")
    recorder.call("read", {"amount": 5000}, caller=C, purpose="x")
    recorder.call(None, method="tools/list", caller=C)
    return recorder


def test_a_policys_grants_are_narrowed_to_who_used_them_for_what() -> None:
    made = suggested(busy(), RULES).found

    assert [(grant.id, grant.workloads, grant.tools) for grant in made.grants] == [
        ("all", (A,), ("read", "wipe")),
        ("all-2", (B, C), ("read",)),
        ("for-ada", (A, B), ("write",)),
    ]


def test_grants_that_let_one_call_through_and_not_the_next_are_told_apart() -> None:
    rules = "".join(
        f"  - {{id: for-{name}, workloads: ['spiffe://acme.test/**'], server: ledger, tools: [read], users: {{subjects: [{name}]}}}}\n"
        for name in ("ada", "eve", "bob")
    )
    recorder = Recorder(policy("grants:\n" + rules))
    for name in ("ada", "eve"):
        recorder.call("read", caller=A, user=user(name))

    made = suggested(recorder, "grants:\n" + rules).found

    assert [grant.id for grant in made.grants] == ["for-ada", "for-eve"]


def test_all_else_of_a_grant_stays() -> None:
    grant = suggested(busy(), RULES).found.grants[0]

    assert set(grant.terms) == {"description", "scopes", "when", "ttl", "limit", "between"}
    assert grant.terms["when"] == 'args.amount < 500 || request.purpose == "x"'


def test_tags_denials_and_grants_in_shadow_stay_as_they_are() -> None:
    made = suggested(busy(), RULES)

    assert made.policy.tags == policy(RULES).tags
    assert {rule.id for rule in made.policy.rules["ledger"] if rule.shadow or rule.kind == "denial"} == {
        "tried-out",
        "no-wiping",
    }


@pytest.mark.parametrize("fold", [False, True])
def test_replayed_against_a_narrowed_policy_the_log_allows_exactly_what_was_allowed(fold: bool) -> None:
    recorder = busy()

    # Not even the conditions leave anything open: the record tells how each came out.
    assert outcomes(recorder, suggested(recorder, RULES, fold=fold).policy) <= {None, Change.TERMS}


def test_folding_keeps_the_patterns_of_the_policy() -> None:
    made = suggested(busy(), RULES, fold=True).found

    assert [(grant.id, grant.workloads, grant.tools) for grant in made.grants] == [
        ("all", ("spiffe://acme.test/**",), ("read", "wipe")),
        ("for-ada", ("spiffe://acme.test/ns/billing/sa/*",), ("write",)),
    ]


def test_nothing_is_suggested_that_the_policy_given_does_not_allow() -> None:
    recorder = Recorder(policy(WIDE))
    recorder.call("read", caller=A)
    recorder.call("write", caller=A)

    made = suggested(recorder, WIDE.replace('tools: ["*"]', "tools: [read]")).found

    assert pairs(made) == [((A,), ("read",))]
    assert [(left.subject, left.why) for left in made.left_out] == [
        ((A, "ledger", "write"), "the policy given does not allow it")
    ]


def test_a_policy_of_which_nothing_was_used_keeps_its_denials() -> None:
    recorder = Recorder(policy(WIDE))
    recorder.call("wipe", caller=A)

    made = suggested(recorder, WIDE)

    assert made.found.grants == ()
    assert [rule.id for rule in made.policy.rules["ledger"]] == ["no-wiping"]


@pytest.mark.parametrize(
    "value",
    [
        "plain",
        "10s",
        "yes",
        "true",
        "null",
        "5",
        "1.5",
        "a: b",
        "x #y",
        "- z",
        "*",
        "get_*",
        "spiffe://a/**",
        'q"\\',
        "ä",
        "",
    ],
)
def test_text_is_read_back_as_it_was(value: str) -> None:
    rules = f"""\
grants:
  - id: one
    description: {value!r}
    workloads: ["spiffe://acme.test/**"]
    server: ledger
    tools: [read]
""".replace("'q\"\\\\\\\\'", "'q\"\\\\'")
    recorder = Recorder(policy(rules))
    recorder.call("read", caller=A)
    before = written([("policy.yaml", HEAD + rules)]).grants["one"]["description"]

    made = suggested(recorder, rules)

    assert written([("suggested.yaml", made.text)]).grants["one"]["description"] == before


def test_long_lists_are_split_into_rules_that_a_policy_can_have() -> None:
    recorder = Recorder(policy(WIDE))
    for number in range(1_100):
        recorder.call(f"tool_{number:04}", caller=A)

    made = suggested(recorder)

    assert [len(grant.tools) for grant in made.found.grants] == [1_000, 100]
    assert outcomes(recorder, made.policy) == {Change.TERMS}


# What nobody used.

THREE = """\
grants:
  - id: used
    workloads: ["spiffe://acme.test/**"]
    server: ledger
    tools: [read, never, "get_*"]
  - id: once
    workloads: ["spiffe://acme.test/**"]
    server: ledger
    tools: [write]
  - id: not-once
    workloads: ["spiffe://acme.test/**"]
    server: ledger
    tools: [wipe]
"""


def reports(recorder: Recorder, given: str, unused_days: int) -> Mapping[str, GrantReport]:
    return {each.grant: each for each in grant_reports(used(recorder, given), unused_days * DAY_S)}


def of_forty_days(rules: str = THREE) -> Recorder:
    recorder = Recorder(policy(rules))
    recorder.call("write", caller=A)
    recorder.wait(40 * DAY_S)
    recorder.call("read", caller=A)
    recorder.call("get_b", caller=A)
    recorder.call("get_a", caller=A)
    return recorder


def test_a_grant_that_nobody_used_for_so_long_is_unused() -> None:
    found = reports(of_forty_days(), THREE, 30)

    assert {name: each.standing for name, each in found.items()} == {
        "used": Standing.USED,
        "once": Standing.UNUSED,
        "not-once": Standing.UNUSED,
    }
    assert (found["once"].calls, found["once"].last[:10]) == (1, "2026-01-07")
    assert found["not-once"].calls == 0


def test_nothing_is_called_unused_for_longer_than_the_log_reaches_back() -> None:
    found = reports(of_forty_days(), THREE, 50)

    assert found["not-once"].standing is Standing.NOT_YET
    assert found["once"].standing is Standing.USED
    assert found["not-once"].seen_s == pytest.approx(40 * DAY_S, abs=1)


def test_a_grant_that_came_into_force_lately_is_not_unused_for_longer() -> None:
    recorder = of_forty_days()
    recorder.switch(policy(THREE + "  - {id: new, workloads: ['spiffe://acme.test/**'], server: ledger, tools: [x]}\n"))
    recorder.call("read", caller=A)
    recorder.wait(3 * DAY_S)
    recorder.call("read", caller=A)
    given = THREE + "  - {id: new, workloads: ['spiffe://acme.test/**'], server: ledger, tools: [x]}\n"

    found = reports(recorder, given, 30)

    assert found["new"].standing is Standing.NOT_YET
    assert found["new"].seen_s == pytest.approx(3 * DAY_S, abs=1)
    assert found["not-once"].standing is Standing.UNUSED


def test_of_a_grant_that_was_never_in_force_the_log_tells_nothing() -> None:
    given = THREE + "  - {id: new, workloads: ['spiffe://acme.test/**'], server: ledger, tools: [x]}\n"

    found = reports(of_forty_days(), given, 30)["new"]

    assert found.standing is Standing.NOT_IN_FORCE
    assert found.unused_tools == ()


def test_a_record_tells_that_a_grant_was_used_though_its_text_has_changed() -> None:
    given = THREE.replace("tools: [write]", "tools: [other]")

    found = reports(of_forty_days(), given, 50)["once"]

    assert (found.calls, found.standing) == (1, Standing.USED)


def test_tools_that_are_named_and_never_called_and_what_wildcards_could_be() -> None:
    found = reports(of_forty_days(), THREE, 30)["used"]

    assert found.unused_tools == ("never",)
    assert found.wildcards == (("get_*", ("get_a", "get_b")),)


def test_without_a_policy_there_is_nothing_to_report() -> None:
    usage = used(of_forty_days())

    assert grant_reports(usage, 1) == ()
    assert log_reach(usage) == pytest.approx(40 * DAY_S, abs=1)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (30 * DAY_S, "30 days"),
        (30 * DAY_S - 1, "29.9 days"),
        (DAY_S, "1 day"),
        (DAY_S - 1, "23 hours"),
        (3600, "1 hour"),
        (3599, "59 minutes"),
        (0, "0 minutes"),
    ],
)
def test_times_are_rounded_down(seconds: float, text: str) -> None:
    assert days(seconds) == text


@pytest.mark.parametrize("odd", [{"token": 5}, {"token": {"scope": 5}}, {"seq": "x"}, {"rules": 5}, {"policy": {}}])
def test_usage_reads_a_log_that_was_tampered_with(odd: JsonObject) -> None:
    recorder = of_forty_days()
    usage = Usage(policy(THREE), recorder.sources)
    for record in recorder.records():
        usage.see(record | odd)

    assert usage.uses
