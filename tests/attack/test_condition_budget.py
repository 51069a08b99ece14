"""Conditions and arguments made to run long, allocate much or recurse are stopped before they do.

For each operation there is an expression that does little else, and arguments that grow until the bound refuses them:
what just passes must take some 10 ms.  The machine may be busy, so that ten times as much is let through here; without
the bound, most of these take seconds or minutes.
"""

import subprocess
import sys
from collections.abc import Callable
from random import Random
from time import perf_counter, thread_time

import pytest

from callgate.identity.spiffe_id import SpiffeId
from callgate.policy.call import Call
from callgate.policy.compile import Policy, load_policy
from callgate.policy.condition import Condition, Truth, Verdict, compile_condition
from callgate.policy.decide import Decision, decide
from callgate.policy.tags import ToolTags
from callgate.wire.json_strict import JsonObject

MAX_S = 0.1
# As large as the body of a request can be.
MAX_BYTES = 1 << 20
CALLER = SpiffeId.parse("spiffe://acme.test/ns/a/sa/b")
NOISE = "".join(Random(7).choices("ab", k=MAX_BYTES))  # noqa: S311  # the same in each run

Grow = Callable[[int], JsonObject]


def evaluated(condition: Condition, arguments: JsonObject) -> Verdict:
    call = Call(caller=CALLER, server="s", method="tools/call", tool="t", arguments=arguments, now=1_800_000_000.0)
    return condition.evaluate(call, ToolTags())


def compiled(text: str) -> Condition:
    condition = compile_condition(text)
    assert isinstance(condition, Condition), condition
    return condition


def seconds(condition: Condition, arguments: JsonObject) -> float:
    """The best of several: a busy machine makes some of them slow, a bad bound makes all of them slow."""
    times = []
    for _ in range(5):
        begin = perf_counter()
        evaluated(condition, arguments)
        times.append(perf_counter() - begin)
    return min(times)


def is_within(condition: Condition, arguments: JsonObject) -> bool:
    why = evaluated(condition, arguments).why
    return "the limit is" not in why and "more than" not in why


def largest_within(condition: Condition, grow: Grow, at_most: int) -> int:
    passes, refused = 1, at_most + 1
    while refused - passes > 1 + passes // 50:
        middle = (passes + refused) // 2
        if is_within(condition, grow(middle)):
            passes = middle
        else:
            refused = middle
    return passes


def texts(count: int) -> JsonObject:
    return {"l": [f"/srv/{number:06}" for number in range(count)]}


def numbered(count: int) -> JsonObject:
    return {"d": {f"k{number}": {"n": number} for number in range(count)}}


def nested(count: int) -> JsonObject:
    return {"l": [[{"a": [number, number]} for number in range(4)] for _ in range(count)]}


def of(text: str) -> Grow:
    return lambda length: {"s": (text * (length // len(text) + 1))[:length]}


ENTRIES = 100_000
LOOPS: list[tuple[str, Grow]] = [
    ('args.l.all(x, x != "")', texts),
    ("args.l.map(x, x).size() > 1", texts),
    ("args.l.filter(x, true).filter(x, true).filter(x, true).size() > 1", texts),
    ("args.l.all(x, args.l.exists(y, y == x))", texts),
    ("args.l.all(x, args.l.all(y, args.l.all(z, x + y != z)))", texts),
    ("args.l.all(x, args.l == args.l)", texts),
    ("args.l.map(x, args.l.map(y, [x, y])).size() > 0", texts),
    ("args.l.map(x, [x, x]).map(x, x + x).map(x, x + x).size() > 1", texts),
    ("args.l.all(x, (args.l + args.l + args.l).size() > 1)", texts),
    ('args.l.all(x, !x.matches("(a|b)*a(a|b){50}c"))', texts),
    ('args.l.all(x, string(now) + x != "" && now > timestamp("2020-01-01T00:00:00Z"))', texts),
    ('args.l.all(x, now.getHours("Europe/Berlin") >= 0)', texts),
    ("args.l.all(x, [x, x, x, x].all(y, {y: args.l}.size() == 1))", texts),
    ("args.l.all(x, x.all(y, y.a.all(z, z >= 0)))", nested),
    ("args.d.all(k, args.d[k].n >= 0)", numbered),
    ("args.d == args.d", numbered),
    ("args.size() > 0", lambda count: {str(number): {} for number in range(count)}),
    ("has(args.l)", lambda count: {"l": [[[]]] * count}),
]
LONG_TEXTS: list[tuple[str, Grow]] = [
    ("args.s.contains(args.t)", lambda length: {"s": "a" * length, "t": "a" * (length // 2) + "b"}),
    (f'args.s.contains("{"a" * 500}b")', of("a")),
    ('args.s.split("").size() > 1', of("é")),
    ('args.s.split("a").map(x, x).size() > 1', of("a")),
    ("args.s.split(args.t).size() > 1", lambda length: {"s": "a" * length, "t": "a" * (length // 2) + "b"}),
    ("args.s.size() > 1", of("é")),
    ('args.s.trim() != ""', of(" ")),
    ('args.s.lowerAscii() + args.s.upperAscii() + args.s + args.s != ""', of("aB")),
    ("[1, 2, 3, 4, 5, 6, 7, 8].map(i, args.s + args.s).size() > 1", of("a")),
    ("[args.s]" + ".map(x, x + x)" * 12 + ".size() == 1", of("a")),
    ('args.s.matches("(a|b)*a(a|b){100}c")', lambda length: {"s": NOISE[:length]}),
    ('args.s.matches("(a[ab]{12}|b[ab]{13}|[ab]a[ab]{14})c")', lambda length: {"s": NOISE[:length]}),
    ('args.s.matches("((a{1,5}){1,5}){1,5}c")', of("a")),
    ('args.s.matches("(?:a?){100}a{100}c")', of("a")),
    ('args.s.matches("(x+x+)+y")', of("x")),
    ('args.s.matches("[^a].{0,30}[^b]c")', lambda length: {"s": NOISE[:length]}),
    ('args.s.matches("[à-ſ漢-語]{9}z")', of("é漢")),
    ('args.s.matches("(?i)(password|secret|apikey|ks|ssk)")', of("passworK\u017fs")),
    ("double(args.s) > 1.0 || int(args.s) > 1", of("1")),
    ("duration(args.s) > duration('1s')", of("1h")),
    ("timestamp(args.s) > now", of("2")),
]


@pytest.mark.parametrize(("text", "grow"), LOOPS)
def test_what_the_bound_lets_through_over_many_entries_ends_in_time(text: str, grow: Grow) -> None:
    condition = compiled(text)
    assert not is_within(condition, grow(ENTRIES))
    largest = largest_within(condition, grow, ENTRIES)
    assert seconds(condition, grow(largest)) < MAX_S


@pytest.mark.parametrize(("text", "grow"), LONG_TEXTS)
def test_what_the_bound_lets_through_over_long_texts_ends_in_time(text: str, grow: Grow) -> None:
    condition = compiled(text)
    largest = largest_within(condition, grow, MAX_BYTES)
    assert seconds(condition, grow(largest)) < MAX_S


@pytest.mark.parametrize(("text", "grow"), [*LOOPS, *LONG_TEXTS])
def test_what_the_bound_refuses_is_refused_at_once_and_has_failed(text: str, grow: Grow) -> None:
    condition, arguments = compiled(text), grow(MAX_BYTES if (text, grow) in LONG_TEXTS else ENTRIES)
    verdict = evaluated(condition, arguments)
    assert verdict.truth is Truth.FAILED or is_within(condition, arguments)
    assert seconds(condition, arguments) < MAX_S


@pytest.mark.parametrize(
    ("text", "arguments"),
    [
        ('args.paths.all(x, x.startsWith("/srv/"))', {"paths": [f"/srv/{number}" for number in range(200)]}),
        (
            'args.paths.all(x, x.startsWith("/srv/") && !x.contains(".."))',
            {"paths": [f"/srv/{n}" for n in range(1_000)]},
        ),
        ('args.path.startsWith("/srv/")', {"path": "/srv/a", "content": "x" * 500_000}),
        ("args.content.size() < 600000", {"content": "x" * 500_000}),
        ('!args.content.contains("BEGIN PRIVATE KEY")', {"content": "x" * 500_000}),
        ('!args.content.lowerAscii().contains("password")', {"content": "PASSWOR" * 70_000}),
        ('!args.content.matches("(?i)(password|secret|api key)")', {"content": "PASSWOR" * 70_000}),
        ('args.path.matches("^/srv/[a-z0-9/._-]+$")', {"path": "/srv/" + "a" * 4_000}),
        ('args.to.all(a, a.matches("^[a-z0-9._%+-]+@acme[.]test$"))', {"to": [f"p{n}@acme.test" for n in range(50)]}),
        ("args.rows.all(row, row.amount < 500)", {"rows": [{"amount": n, "to": "x"} for n in range(400)]}),
        ("args.rows.size() <= 1000", {"rows": [[n, "x", None] for n in range(1_000)]}),
        ('args.to.map(a, a.split("@")[1]).all(d, d in ["acme.test"])', {"to": ["p@acme.test"] * 100}),
    ],
)
def test_conditions_that_people_write_stay_within_the_bound(text: str, arguments: JsonObject) -> None:
    assert evaluated(compiled(text), arguments) == Verdict(Truth.HOLDS)


def test_a_budget_exceeded_says_by_how_much() -> None:
    arguments: JsonObject = {"l": list(range(1_000)), "s": "a" * 500_000}
    verdict = evaluated(compiled("args.l.map(i, args.s + args.s).size() > 1"), arguments)
    assert verdict.truth is Truth.FAILED
    assert verdict.why.startswith("budget exceeded: up to ")
    assert verdict.why.endswith(" steps, the limit is 100000")


def test_the_runtime_s_own_limit_on_rounds_fails_the_condition() -> None:
    verdict = evaluated(compiled("args.l.all(x, args.l.all(y, true))"), {"l": [1] * 105})
    assert verdict == Verdict(Truth.FAILED, "budget exceeded: more than 10000 rounds of its loops")


MEMORY = """
import resource, sys
sys.path.insert(0, sys.argv[1])
from test_condition_budget import LONG_TEXTS, LOOPS, ENTRIES, MAX_BYTES, compiled, evaluated, largest_within
text, grow = (*LOOPS, *LONG_TEXTS)[int(sys.argv[2])]
condition, size = compiled(text), int(sys.argv[3])
arguments = grow(size)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
evaluated(condition, arguments)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
HEAVY = (
    "args.l.map(x, x).size() > 1",
    "args.l.map(x, args.l.map(y, [x, y])).size() > 0",
    "args.d == args.d",
    'args.s.split("").size() > 1',
    "[1, 2, 3, 4, 5, 6, 7, 8].map(i, args.s + args.s).size() > 1",
    'args.s.matches("(a|b)*a(a|b){100}c")',
)


@pytest.mark.parametrize("text", HEAVY)
def test_what_the_bound_lets_through_allocates_some_megabytes_at_most(text: str) -> None:
    index, (_, grow) = next((at, case) for at, case in enumerate((*LOOPS, *LONG_TEXTS)) if case[0] == text)
    largest = largest_within(compiled(text), grow, ENTRIES if index < len(LOOPS) else MAX_BYTES)
    here = __file__.rpartition("/")[0]
    run = subprocess.run(
        [sys.executable, "-c", MEMORY, here, str(index), str(largest)], capture_output=True, text=True, check=True
    )
    assert int(run.stdout) < 16 * 1024


def policy_with(conditions: int) -> Policy:
    rules = "".join(
        f"  - {{id: g{number}, workloads: ['spiffe://acme.test/**'], server: s, tools: [t],"
        f" when: 'args.items.exists(i, i == {number})'}}\n"
        for number in range(conditions)
    )
    policy = load_policy(f"version: 1\ntrust_domains: [acme.test]\ngrants:\n{rules}", "p.yaml")
    assert isinstance(policy, Policy), policy
    return policy


def test_many_conditions_share_what_one_decision_may_take() -> None:
    policy = policy_with(200)

    def decided(items: int) -> tuple[Decision, float]:
        arguments: JsonObject = {"items": list(range(items))}
        call = Call(caller=CALLER, server="s", method="tools/call", tool="t", arguments=arguments, now=1e9)
        started = thread_time()
        return decide(policy, call), thread_time() - started

    assert decided(20)[0].permit is not None
    decision, took_s = decided(5_000)
    # Each by itself is well within what one condition may take; all of them together would be two seconds.
    assert decided_alone(5_000)
    assert decision.permit is None
    assert all("budget" in f.why or "more steps" in f.why for f in decision.findings if f.kind == "grant")
    assert took_s < 0.4


def decided_alone(items: int) -> bool:
    arguments: JsonObject = {"items": list(range(items))}
    call = Call(caller=CALLER, server="s", method="tools/call", tool="t", arguments=arguments, now=1e9)
    return decide(policy_with(1), call).permit is not None
