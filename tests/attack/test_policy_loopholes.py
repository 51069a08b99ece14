"""What a second look at the decision path found: each test is a way round or through that was open once."""

import json
import random
import time
from contextlib import suppress
from pathlib import Path

import pytest
import trio

from callgate.errors import Reason, Refusal
from callgate.identity.spiffe_id import SpiffeId
from callgate.limits.breaker import DEFAULT_FAILURES
from callgate.policy.call import Call
from callgate.policy.compile import Policy, load_policy
from callgate.policy.decide import Decision, DecisionOutcome, Listing, decide, tool_is_visible
from callgate.policy.history import History
from callgate.policy_files import PolicyFiles
from callgate.trace import Stage
from callgate.users.user_token import verify_user_token
from callgate.wire.json_strict import JsonObject, canonical
from support.raw_agent import RawConnection, modern_call
from support.siege import siege
from support.upstream import RESULTS, Asked, Reply, answer_with, said
from support.user_tokens import LEAF, claims, issuers_with, user_key, user_token
from support.user_tokens import NOW as TOKENS_NOW

NOW = 1_800_000_000.0
CALLER = SpiffeId.parse("spiffe://acme.test/ns/a/sa/x")
ALL = 'server: s, workloads: ["spiffe://acme.test/**"]'
LOCKED_OUT = 'history.lockout(3, duration("1m"), duration("10m"))'


def policy_of(rules: str) -> Policy:
    policy = load_policy(f"version: 1\ntrust_domains: [acme.test]\n{rules}", "p.yaml")
    assert isinstance(policy, Policy), "\n".join(map(str, policy))
    return policy


def call_of(history: History, tool: str = "t", arguments: JsonObject | None = None, now: float = NOW) -> Call:
    return Call(
        caller=CALLER,
        server="s",
        method="tools/call",
        tool=tool,
        arguments=arguments or {},
        now=now,
        history=history.of(CALLER),
    )


def listing_of(history: History) -> Call:
    return Call(caller=CALLER, server="s", method="tools/list", now=NOW, history=history.of(CALLER))


# A rule that asks for denials and for something else, too: what it denies for something else is a denial like any other

ASKS_BOTH = {
    "a grant": f"grants: [{{id: g, {ALL}, tools: [t], when: 'args.n < 5 && !{LOCKED_OUT}'}}]",
    "a grant for users": f"grants: [{{id: g, {ALL}, tools: [t], users: {{any: true}}, when: '!{LOCKED_OUT}'}}]",
    "a grant with a scope": f"grants: [{{id: g, {ALL}, tools: [t], scopes: ['n:{{args.name}}'], when: '!{LOCKED_OUT}'}}]",
    "a denial": (
        f"grants: [{{id: g, {ALL}, tools: [t]}}]\n"
        f"denials: [{{id: d, server: s, tools: [t], when: 'args.n >= 5 || {LOCKED_OUT}'}}]"
    ),
    "a denial that fails": (
        f"grants: [{{id: g, {ALL}, tools: [t]}}]\n"
        f"denials: [{{id: d, server: s, tools: [t], when: '(args.m == 1 && args.n < 5) || {LOCKED_OUT}'}}]"
    ),
}


def tried(policy: Policy, history: History, arguments: JsonObject, now: float) -> Decision:
    call = call_of(history, arguments=arguments, now=now)
    decision = decide(policy, call)
    if decision.outcome is DecisionOutcome.DENY and decision.is_remembered:
        history.record_denial(CALLER, "s", "t", now)
    return decision


@pytest.mark.parametrize("rules", ASKS_BOTH.values(), ids=ASKS_BOTH)
def test_trying_arguments_until_one_passes_ends_in_the_lockout_of_the_same_rule(rules: str) -> None:
    policy, history = policy_of(rules), History()
    for number in range(3):
        assert tried(policy, history, {"n": 1 if "args.m" in rules else 9}, NOW + number).permit is None
    assert history.of(CALLER).lockout(3, 60, 600, NOW + 3)
    assert tried(policy, history, {"n": 1, "m": 0, "name": "a"}, NOW + 3).permit is None


@pytest.mark.parametrize("rules", [ASKS_BOTH["a grant"], ASKS_BOTH["a denial"]])
def test_being_shut_out_by_a_rule_that_asks_for_more_does_not_make_the_time_longer(rules: str) -> None:
    policy, history = policy_of(rules), History()
    outcomes = [tried(policy, history, {"n": 9}, NOW + later).permit for later in (0, 1, 2)]
    # What would have been allowed but for earlier denials is none that counts.
    outcomes += [tried(policy, history, {"n": 1}, NOW + later).permit for later in (3, 300, 601)]
    assert outcomes == [None] * 6
    assert tried(policy, history, {"n": 1}, NOW + 602.5).permit is not None


# Lists


def many_grants(condition: str) -> Policy:
    tools = ", ".join(f"t{number}" for number in range(100))
    return policy_of(
        "grants:\n"
        + "".join(f"  - {{id: g{n}, {ALL}, tools: [{tools}], scopes: [a.b], {condition % n}}}\n" for n in range(60))
    )


@pytest.mark.parametrize("condition", ["when: '\"team-%d\" in user.groups'", "users: {groups: [team-%d]}"])
def test_list_asked_for_without_a_users_token_holds_up_nobody(condition: str) -> None:
    policy, listing = many_grants(condition), listing_of(History())
    started = time.perf_counter()
    permit = decide(policy, listing).permit
    shown = Listing(policy, listing)
    assert not any(shown.shows(f"t{number}", None) for number in range(100))
    # It took 5.5 s when each grant asked for each tool anew.
    assert time.perf_counter() - started < 1
    assert permit is not None
    assert (permit.scopes, permit.listable) == ((), ())


def test_what_a_rule_says_of_one_tool_is_not_taken_for_what_it_says_of_another() -> None:
    policy = policy_of(
        f"grants:\n  - {{id: g, {ALL}, tools: ['*'], when: 'tool.name.startsWith(\"a\")'}}\n"
        f"  - {{id: h, {ALL}, tools: ['*'], when: 'tool.annotations.readOnlyHint'}}\n"
        f"  - {{id: i, {ALL}, tools: ['x.*'], scopes: ['s:{{tool.name}}']}}\n"
        "denials: [{id: d, server: s, tools: ['*'], when: 'tool.name == \"ab\"'}]"
    )
    call = listing_of(History())
    listing = Listing(policy, call)
    hint: JsonObject = {"readOnlyHint": True}
    asked: list[tuple[str, JsonObject | None]] = [("aa", None), ("ab", hint), ("b", None), ("c", hint), ("x.y", None)]
    shown = [listing.shows(tool, annotations) for tool, annotations in asked]
    assert shown == [True, False, False, True, False]
    assert [tool_is_visible(policy, call, tool) for tool in ("aa", "ab", "b")] == [True, False, False]


@pytest.mark.parametrize(
    ("denial", "scopes"),
    [
        (f"tools: ['*'], when: '{LOCKED_OUT}'", ()),
        ("tools: [get, '*']", ()),
        ("tools: ['*'], shadow: true", ("ledger.admin",)),
        ("tools: ['*'], when: 'tool.name == \"x\"'", ("ledger.admin",)),
        ("tools: ['*'], when: 'args.n > 5'", ("ledger.admin",)),
        ("tools: ['g*']", ("ledger.admin",)),
    ],
)
def test_token_for_a_list_has_no_scope_of_a_grant_that_a_denial_takes_away_whole(
    denial: str, scopes: tuple[str, ...]
) -> None:
    history = History()
    for _ in range(3):
        history.record_denial(CALLER, "s", "t", NOW)
    policy = policy_of(
        f"grants: [{{id: g, {ALL}, tools: ['*'], scopes: [ledger.admin]}}]\ndenials: [{{id: d, server: s, {denial}}}]"
    )
    permit = decide(policy, listing_of(history)).permit
    assert permit is not None
    assert permit.scopes == scopes


# What takes time


def test_made_up_tool_names_do_not_keep_the_tags_of_real_ones_from_being_ready() -> None:
    entries = "".join(
        f"  - {{server: s, tools: [{', '.join(f'x{n}_{m}' for m in range(10))}, 'w{n}_*'], tags: [a{n}]}}\n"
        for n in range(20)
    )
    policy = policy_of(
        f"tools:\n{entries}grants: [{{id: g, {ALL}, tools: ['*'], when: '!history.used(\"a0\", duration(\"1h\"))'}}]"
    )
    for number in range(5_000):
        policy.tags.of("s", f"made_{number}")
    history = History()
    for number in range(250):
        history.record_call(CALLER, "s", f"real_{number}", NOW)
    started = time.perf_counter()
    outcomes = {decide(policy, call_of(history)).outcome for _ in range(50)}
    assert outcomes == {DecisionOutcome.ALLOW}
    # It took 12 ms for each of them.
    assert time.perf_counter() - started < 0.3


@pytest.mark.parametrize("odd", ["1.0", "1e300", "1e17", "1e-5"])
def test_number_that_is_written_in_another_way_does_not_make_a_long_text_cost_a_fifth_of_a_second(odd: str) -> None:
    value = json.loads(f'{{"n": {odd}}}') | {"text": '"' * 500_000, "\U0001f600": 1}
    started = time.perf_counter()
    canonical(value)
    assert time.perf_counter() - started < 0.1


# A tool server in Go or .NET takes a name whatever its case, and of several the last one

TWO_READINGS = [
    '{"amount": 80, "Amount": 90000}',
    '{"AMOUNT": 90000, "amount": 80}',
    '{"amount": 80, "amount\\u0000": 90000}',
    '{"amount": 80, "Account": {"id": "house"}}',
    '{"amount": 80, "account": {"id": "x", "ID": "house"}}',
    '{"amount": 80, "account": {"ID": "house"}}',
    '{"amount": 80, "lin\\u212as": ["house"]}',
]


@pytest.mark.parametrize("arguments", TWO_READINGS)
def test_argument_in_another_spelling_beside_the_one_that_a_rule_reads_is_denied(arguments: str) -> None:
    grant = f"grants: [{{id: g, {ALL}, tools: [t], when: 'args.amount < 500'}}]"
    by_grant = policy_of(grant)
    by_denial = policy_of(
        f"{grant}\ndenials: [{{id: d, server: s, tools: [t], when: '(has(args.account) && has(args.account.id) && "
        'args.account.id == "house") || ("links" in args && "house" in args.links)\'}]'
    )
    call = call_of(History(), arguments=json.loads(arguments))
    outcomes = [decide(policy, call).outcome for policy in (by_grant, by_denial)]
    assert DecisionOutcome.DENY in outcomes
    assert decide(by_denial, call_of(History(), arguments={"amount": 80, "account": {"id": "y"}})).permit is not None


def test_scope_is_not_written_from_an_argument_that_has_another_spelling() -> None:
    policy = policy_of(f"grants: [{{id: g, {ALL}, tools: [t], scopes: ['account:{{args.account}}']}}]")
    assert decide(policy, call_of(History(), arguments={"account": "mine", "Account": "house"})).permit is None
    assert decide(policy, call_of(History(), arguments={"account": "mine", "other": "house"})).permit is not None


def test_looking_for_other_spellings_among_very_many_names_costs_little() -> None:
    policy = policy_of(
        "grants:\n" + "".join(f"  - {{id: g{n}, {ALL}, tools: [t], when: args.a{n} == 1}}\n" for n in range(60))
    )
    call = call_of(History(), arguments={f"k{n}": 1 for n in range(19_000)})
    decide(policy, call)
    started = time.perf_counter()
    assert decide(policy, call).permit is None
    assert time.perf_counter() - started < 0.1


# Users' tokens


@pytest.mark.parametrize("subject", [" spiffe://acme.test/a", "\uff33PIFFE://acme.test/a", "\u017fpiffe://acme.test/a"])
def test_subject_that_becomes_a_spiffe_id_when_it_is_trimmed_or_folded_is_refused(subject: str) -> None:
    token = user_token(claims(sub=subject))
    found = verify_user_token(token, issuers_with(user_key("P-256")), LEAF, TOKENS_NOW)
    assert isinstance(found, Refusal)
    assert found.reason is Reason.USER_TOKEN_MALFORMED


def test_token_that_says_that_there_are_groups_and_not_which_is_not_one_without_groups() -> None:
    token = user_token(claims(hasgroups=True))
    found = verify_user_token(token, issuers_with(user_key("P-256")), LEAF, TOKENS_NOW)
    assert isinstance(found, Refusal)
    assert found.detail == "'groups' is not in the token but has to be fetched elsewhere"


# Files


@pytest.mark.parametrize("name", [b"b.yaml\n00  c.yaml", b"\xff.yaml"])
def test_folder_with_a_policy_whose_name_cannot_be_printed_is_refused_whole(tmp_path: Path, name: bytes) -> None:
    text = "version: 1\ntrust_domains: [acme.test]\n"
    (tmp_path / "a.yaml").write_text(text)
    (tmp_path / name.decode(errors="surrogateescape")).write_text(text)
    found = PolicyFiles((tmp_path,)).load()
    assert not isinstance(found, Policy)
    assert "whose name cannot be printed" in found[0].message


# Places at a tool server: whatever becomes of a call, its place is given back

WIDE = ", ".join(f"'w:{number:02d}{'x' * 110}'" for number in range(32))
CHAOS = f"""\
version: 1
trust_domains: [acme.test]
grants:
  - {{id: n, server: ledger, tools: [list_invoices], workloads: ["spiffe://acme.test/ns/ops/**"]}}
  - {{id: g, server: ledger, tools: [refund, wide], workloads: ["spiffe://acme.test/ns/billing/**"]}}
  - {{id: w1, server: ledger, tools: [wide], workloads: ["spiffe://acme.test/ns/billing/**"], scopes: [{WIDE}]}}
  - {{id: w2, server: ledger, tools: [wide], workloads: ["spiffe://acme.test/ns/billing/**"],
     scopes: [{WIDE.replace("w:", "v:")}]}}
"""


async def misbehave(asked: Asked, reply: Reply) -> None:
    kind = asked.message["params"]["arguments"]["kind"]
    result = said(asked, RESULTS["tools/call"])
    match kind:
        case "hold":
            await trio.sleep_forever()
        case "reset":
            await reply.reset()
        case "half":
            await reply.raw(b"HTTP/1.1 200 OK\r\ncontent-le")
            await reply.close()
        case "stream":
            await reply.events({"jsonrpc": "2.0", "method": "notifications/message", "params": {}}, result)
        case "endless":
            await reply.start_events()
            while True:
                await reply.event({"jsonrpc": "2.0", "method": "notifications/message", "params": {"data": "x" * 4000}})
        case "cut":
            await reply.start_events()
            await reply.event({"jsonrpc": "2.0", "method": "notifications/message", "params": {}})
            await reply.close()
        case _:
            await answer_with()(asked, reply)


async def ask_until_it_leaves(connection: RawConnection, chance: random.Random) -> None:
    for _ in range(3):
        kind = chance.choice(["hold", "half", "stream", "endless", "cut", "reset", "well", "well"])
        tool = "wide" if chance.random() < 0.2 else "refund"
        with trio.move_on_after(chance.choice([0.001, 0.01, 0.1, 0.3])) as patience:
            await connection.ask(modern_call(tool, {"kind": kind}))
        if patience.cancelled_caught:
            return


async def test_no_place_is_lost_whatever_becomes_of_calls(tmp_path: Path) -> None:
    chance = random.Random(7)  # noqa: S311  # no secret

    async def attack(_: int) -> None:
        async with scene.connected() as connection:
            with suppress(trio.BrokenResourceError, ConnectionError, AssertionError):
                await ask_until_it_leaves(connection, chance)

    server = {"breaker": f"{{failures: {1000 * DEFAULT_FAILURES}}}", "max_concurrent": "40"}
    async with siege(tmp_path, misbehave, policy=CHAOS, server=server) as scene:
        place = scene.gate.service._gateway._parts.admission._servers["ledger"]
        await scene.for_each(range(60), attack)
        with trio.fail_after(20):
            while place.in_flight > 1:  # noqa: ASYNC110  # the neighbour's own
                await trio.sleep(0.01)
        reasons = {trace.reason for trace in scene.traces_of_attackers()}
        assert {Reason.MINT_FAILED, Reason.CLIENT_GONE, Reason.UPSTREAM_CLOSED} <= reasons
        assert any(record.stage is Stage.RESPOND for trace in scene.traces_of_attackers() for record in trace.records)
