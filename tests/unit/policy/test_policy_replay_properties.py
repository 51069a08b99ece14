"""Whatever the policies and the calls: nothing is told of a replay that was not so, and nothing of no change at all."""

from dataclasses import dataclass, replace

from hypothesis import given, settings
from hypothesis import strategies as st

from callgate.identity.user import User
from callgate.policy.decide import Decision, DecisionOutcome, decide
from callgate.policy.difference import Change, Difference
from callgate.policy.recall import Sources
from callgate.policy.replay import Replay
from callgate.wire.json_strict import JsonObject
from support.recorded_calls import Recorder, policy, user

WORKLOADS = ["spiffe://acme.test/ns/a/sa/x", "spiffe://acme.test/ns/a/sa/y", "spiffe://acme.test/ns/b/sa/x"]
PATTERNS = [*WORKLOADS, "spiffe://acme.test/ns/a/sa/*", "spiffe://acme.test/**"]
TOOLS = ["read", "write", "wipe"]
CONDITIONS = [
    "args.n < 5",
    "args.n < 5 && caller.path[1] == 'a'",
    "args.n < 5 || request.purpose == 'p'",
    "!has(args.n)",
    "tool.annotations.readOnlyHint",
    "user.claims.level > 2",
    "user.subject == 'ada'",
    "request.hour == 12",
    "history.calls('read', duration('1m')) > 0",
    "history.denials(duration('1m')) > 1",
    "history.denials(duration('1m')) > 0 || args.n == 3",
    "'t' in tool.tags && args.n > 1",
    "history.used('t', duration('1m'))",
]


@dataclass(frozen=True)
class Drawn:
    """A policy, rule by rule; `text` has them in the order given."""

    grants: tuple[str, ...]
    denials: tuple[str, ...]
    tags: tuple[str, ...]

    def text(self) -> str:
        return "".join(
            f"{key}:\n" + "".join(f"  - {rule}\n" for rule in rules) if rules else ""
            for key, rules in (("tools", self.tags), ("grants", self.grants), ("denials", self.denials))
        )


@st.composite
def rules(draw: st.DrawFn, kind: str, number: int) -> str:
    said = {
        "id": f"{kind}{number}",
        "workloads": f"[{draw(st.sampled_from(PATTERNS))}]",
        "server": "ledger",
        "tools": draw(st.sampled_from(["[read]", "[write]", "[read, write]", "['*']"])),
    }
    if draw(st.booleans()):
        said["when"] = f'"{draw(st.sampled_from(CONDITIONS))}"'
    if draw(st.integers(0, 4)) == 0:
        said["users"] = draw(st.sampled_from(["{any: true}", "{groups: [g]}", "{subjects: [ada]}"]))
    if draw(st.integers(0, 5)) == 0:
        said["between"] = "{hours: '12:00-13:00'}"
    if draw(st.integers(0, 5)) == 0:
        said["shadow"] = "true"
    if kind == "grant":
        said |= draw(
            st.sampled_from(
                [
                    {},
                    {"scopes": "[s]"},
                    {"scopes": '["s:{args.n}"]'},
                    {"ttl": "9s"},
                    {"limit": "{calls: 3, per: 1m}"},
                    {"approval": "{groups: [g]}"},
                    {"approval": "{groups: [g], asks: on_hold}"},
                ]
            )
        )
    return "{" + ", ".join(f"{key}: {value}" for key, value in said.items()) + "}"


@st.composite
def policies(draw: st.DrawFn) -> Drawn:
    grants = [draw(rules("grant", n)) for n in range(draw(st.integers(0, 3)))]
    denials = [draw(rules("denial", n)) for n in range(draw(st.integers(0, 2)))]
    tags = ["{server: ledger, tools: [read], tags: [t]}"] if draw(st.booleans()) else []
    return Drawn(tuple(grants), tuple(denials), tuple(tags))


@dataclass(frozen=True)
class Asked:
    caller: str
    tool: str | None
    args: JsonObject
    user: User | None
    read_only: bool | None
    purpose: str
    limited_by: str
    wait_s: int


CALLS = st.builds(
    Asked,
    caller=st.sampled_from(WORKLOADS),
    tool=st.sampled_from([*TOOLS, None]),
    args=st.sampled_from([{}, {"n": 3}, {"n": 30}, {"N": 3, "n": 3}, {"n": "x"}]),
    user=st.sampled_from([None, user("ada", "g"), user("ada", claims={"level": 3}), user("eve", claims={"level": 1})]),
    read_only=st.sampled_from([None, True, False]),
    purpose=st.sampled_from(["", "p"]),
    limited_by=st.sampled_from(["", "", "", "rate_limited"]),
    wait_s=st.sampled_from([0, 10, 70, 3600]),
)


def recorded(drawn: Drawn, calls: list[Asked]) -> Recorder:
    recorder = Recorder(policy(drawn.text()))
    recorder.log.start()
    for asked in calls:
        recorder.wait(asked.wait_s)
        recorder.call(
            asked.tool,
            asked.args,
            caller=asked.caller,
            method="tools/call" if asked.tool else "tools/list",
            user=asked.user,
            annotations=None if asked.read_only is None else {"readOnlyHint": asked.read_only},
            purpose=asked.purpose,
            limited_by=asked.limited_by,
        )
    return recorder


def differences(recorder: Recorder, old: str | None, new: str, sources: Sources) -> list[Difference | None]:
    replay = Replay(policy(old) if old is not None else None, policy(new), sources)
    found = [replay.see(record) for record in recorder.records()]
    assert all(each.is_readable for each in found if each is not None)
    return [each.difference for each in found if each is not None]


SOME = st.lists(CALLS, min_size=1, max_size=8)


@settings(deadline=None)
@given(policies(), SOME)
def test_a_policy_differs_in_nothing_from_itself_and_from_what_it_decided(drawn: Drawn, calls: list[Asked]) -> None:
    recorder, text = recorded(drawn, calls), drawn.text()
    for sources in (recorder.sources, recorder.with_content):
        assert set(differences(recorder, text, text, sources)) == {None}
        assert set(differences(recorder, None, text, sources)) == {None}
    # Without knowing which text was in force, too; but on which terms it allowed is then not known.
    assert set(differences(recorder, text, text + "# other text\n", Sources())) == {None}
    found = [each for each in differences(recorder, None, text + "# other text\n", Sources()) if each is not None]
    assert all(each.change is Change.UNKNOWN and "" in each.may for each in found)


@settings(deadline=None)
@given(policies(), policies(), SOME)
def test_the_order_of_rules_never_matters(one: Drawn, other: Drawn, calls: list[Asked]) -> None:
    recorder = recorded(one, calls)
    turned = Drawn(other.grants[::-1], other.denials[::-1], other.tags[::-1])

    assert set(differences(recorder, other.text(), turned.text(), recorder.sources)) == {None}
    for old in (None, one.text()):
        straight = differences(recorder, old, other.text(), recorder.sources)
        assert straight == differences(recorder, old, turned.text(), recorder.sources)


def real_change(old: Decision, new: Decision, *, implied: bool) -> str:
    """What really changes, from the decisions on the very call."""
    if old.outcome is not new.outcome:
        return Change.DENIED if new.outcome is DecisionOutcome.DENY else Change.ALLOWED
    if old.permit is None or new.permit is None:
        return "" if old.reason == new.reason else Change.REASON
    if old.permit.is_held is not new.permit.is_held:
        return Change.HELD if new.permit.is_held else Change.FREED
    terms = [
        (
            sorted(p.grants),
            sorted(p.scopes),
            p.ttl_s,
            sorted({(limit.calls, limit.per_s) for limit in p.limits}),
            {replace(approval, rule="") for approval in p.approvals},
            p.record,
        )
        for p in (old.permit, new.permit)
    ]
    return "" if implied or terms[0] == terms[1] else Change.TERMS


@settings(deadline=None)
@given(policies(), policies(), SOME)
def test_what_is_told_is_so_and_what_is_so_is_not_ruled_out(one: Drawn, other: Drawn, calls: list[Asked]) -> None:
    recorder = recorded(one, calls)
    new = policy(other.text())
    real = [
        real_change(decide(recorder.policy, call), decide(new, call), implied=call.tool is None)
        for call in recorder.with_their_past()
    ]
    for old in (None, one.text()):
        for sources in (recorder.sources, recorder.with_content, Sources()):
            found = differences(recorder, old, other.text(), sources)
            assert len(found) == len(real)
            for told, really in zip(found, real, strict=True):
                if told is None:
                    assert really == ""
                elif told.change is Change.UNKNOWN:
                    assert really in told.may or not told.may
                else:
                    assert really == told.change
