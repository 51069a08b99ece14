"""Tests of a policy as its authors write them, beside it: given a caller, a history and a call, expect a decision.

    policy: policy.yaml
    tests:
      - name: refunds under 500 pass
        who: spiffe://acme.test/ns/billing/sa/refund-agent
        call: {server: ledger, tool: refund}
        cases:
          - {args: {amount: 499}, expect: {decision: allow, scopes: [ledger.refund]}}
          - {args: {amount: 500}, expect: {decision: deny, reason: no_grant}}

What a case says stands in the place of what the test says.  Everything that is given in `expect` is compared, and what
is not given is not.  Pure: it reads text and is given the policy.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema, model_validator

from callgate.errors import Reason
from callgate.identity.spiffe_id import SpiffeId
from callgate.policy.call import Call
from callgate.policy.compile import Policy
from callgate.policy.decide import Permit, tool_is_visible
from callgate.policy.explain import Explanation, explain
from callgate.policy.mask_entries import MAX_MASKS, ArgumentModeText, ModeText, names_of
from callgate.policy.model import MAX_PATTERNS_IN_RULE, LimitEntry, Name, RuleId, Unmasked
from callgate.policy.moments import Moment
from callgate.policy.record_level import RecordLevel
from callgate.policy.situation import (
    DEFAULT_AT,
    MAX_EVENTS,
    CallEntry,
    EventEntry,
    FreeObject,
    PurposeText,
    Situation,
    ToolText,
    UserEntry,
    Workload,
    as_list,
    call_of,
    read_free,
)
from callgate.screening.terms import MaskRule
from callgate.yaml_model import Items, Seconds, StrictModel, did_you_mean
from callgate.yaml_strict import Document, Problem, YamlPath, shown

MAX_TESTS: Final = 1_000
# Of one file, its cases counted one by one; a run of them takes a second.
MAX_SCENARIOS: Final = 10_000
MAX_POLICY_FILES: Final = 100


def _reason(text: str) -> str:
    if text not in set(Reason):
        raise ValueError(f"is no reason of a decision: '{shown(text)}'{did_you_mean(text, list(Reason))}")
    return text


def _one_or_more(value: object) -> object:
    return [value] if isinstance(value, str) else value


_REASONS: Final = WithJsonSchema({"type": "string", "enum": [str(reason) for reason in Reason]})
Outcome = Literal["allow", "deny"]
# `hold`: allowed, once people have agreed.
Decided = Literal["allow", "hold", "deny"]
PolicyPath = Annotated[str, Field(min_length=1, max_length=4_096)]
# By what is masked, or a group: how it is; `none`: it is not.
ExpectedMasks = dict[Unmasked, ModeText | Literal["none"]]
ExpectedArgumentMasks = dict[Unmasked, ArgumentModeText | Literal["none"]]


class ExpectEntry(StrictModel):
    """What should come of it.

    `decision` is `hold` where people have to agree first, whatever the arguments hold, and `approvals` are the ids of the
    grants that ask them, also where only what is held in the arguments makes them ask.  `rules` are the ids of the grants that allow the call or of the denials that deny it, in any order; `scopes` are
    those that the grants write into the token, and `limits` those that the call counts for; whether they have room is
    the running gate's to tell.  `record` is how much goes on record by the grants.  `mask` and `mask_arguments` are what
    is masked in answers and in arguments; what they do not name is not compared.  `visible` is whether a `tools/list` in
    the same situation shows the tool.  `shadow` is what would be decided if rules in shadow were enforced.
    """

    decision: Decided | None = None
    reason: Annotated[str, AfterValidator(_reason), _REASONS] | None = None
    scopes: Items[Name] | None = Field(default=None, max_length=MAX_PATTERNS_IN_RULE)
    rules: Items[RuleId] | None = Field(default=None, max_length=MAX_PATTERNS_IN_RULE)
    ttl_s: Seconds | None = Field(default=None, alias="ttl")
    limits: Items[LimitEntry] = Field(default=(), max_length=MAX_PATTERNS_IN_RULE)
    approvals: Items[RuleId] | None = Field(default=None, max_length=MAX_PATTERNS_IN_RULE)
    record: RecordLevel | None = None
    mask: ExpectedMasks | None = Field(default=None, min_length=1, max_length=MAX_MASKS)
    mask_arguments: ExpectedArgumentMasks | None = Field(default=None, min_length=1, max_length=MAX_MASKS)
    visible: bool | None = None
    shadow: Outcome | None = None

    @model_validator(mode="after")
    def _something(self) -> Self:
        if not self.model_fields_set:
            raise ValueError("must say what to expect, such as {decision: allow}")
        return self


class CaseEntry(StrictModel):
    """One of several calls that differ in little."""

    name: Name | None = None
    who: Workload | None = None
    user: UserEntry | None = None
    at: Moment | None = None
    history: Items[EventEntry] | None = Field(default=None, max_length=MAX_EVENTS)
    tool: ToolText | None = None
    args: FreeObject | None = None
    purpose: PurposeText | None = None
    annotations: FreeObject | None = None
    expect: ExpectEntry | None = None


class ScenarioEntry(Situation):
    """One test.  Without `cases` it is one call; with them, one for each."""

    name: Name
    call: CallEntry
    expect: ExpectEntry | None = None
    cases: Items[CaseEntry] = Field(default=(), max_length=MAX_SCENARIOS)

    @model_validator(mode="after")
    def _complete(self) -> Self:
        for key, given in (("who", self.who), ("expect", self.expect)):
            if given is None and not (self.cases and all(getattr(case, key) is not None for case in self.cases)):
                raise ValueError(f"needs '{key}', or one in each of its cases")
        if self.call.method != "tools/call" and any(case.tool or case.args is not None for case in self.cases):
            raise ValueError("has cases with a tool or args, which only the method tools/call has")
        return self


class ScenarioFile(StrictModel):
    """The whole file.  `policy` is a file, a folder or several, relative to this file's own folder."""

    policy: Annotated[Items[PolicyPath], BeforeValidator(_one_or_more, json_schema_input_type=str | list[str])] = Field(
        min_length=1, max_length=MAX_POLICY_FILES
    )
    tests: Items[ScenarioEntry] = Field(min_length=1, max_length=MAX_TESTS)


@dataclass(frozen=True, slots=True)
class Scenario:
    """One call and what to expect of it; `line` is where it stands in its file, counted from 1."""

    name: str
    line: int
    call: Call
    expect: ExpectEntry


@dataclass(frozen=True, slots=True)
class Suite:
    """One test file."""

    file: str
    policy: tuple[str, ...]
    scenarios: tuple[Scenario, ...]


@dataclass(frozen=True, slots=True)
class Mismatch:
    """One expectation that was not met, in words."""

    what: str
    expected: str
    got: str


@dataclass(frozen=True, slots=True)
class Trial:
    """What came of one scenario."""

    scenario: Scenario
    explanation: Explanation
    mismatches: tuple[Mismatch, ...]

    @property
    def passed(self) -> bool:
        """Whether all was as expected."""
        return not self.mismatches


def read_suite(text: str, filename: str) -> Suite | tuple[Problem, ...]:
    """Read a test file, or say all that is wrong with it."""
    found = read_free(text, filename, ScenarioFile)
    if isinstance(found, tuple):
        return found
    scenarios = tuple(_scenarios(found.value, found.document))
    if len(scenarios) > MAX_SCENARIOS:
        return (found.document.problem(("tests",), f"tests hold {len(scenarios)} cases; the limit is {MAX_SCENARIOS}"),)
    return tuple(_names_used_twice(filename, scenarios)) or Suite(filename, found.value.policy, scenarios)


def try_out(policy: Policy, scenario: Scenario) -> Trial:
    """Decide on the scenario's call, and compare."""
    explanation = explain(policy, scenario.call)
    return Trial(scenario, explanation, tuple(_mismatches(policy, scenario, explanation)))


def _scenarios(file: ScenarioFile, document: Document) -> Iterator[Scenario]:
    for index, entry in enumerate(file.tests):
        path: YamlPath = ("tests", index)
        if not entry.cases:
            yield _scenario(entry, CaseEntry(), entry.name, document.position_of(path)[0])
        for number, case in enumerate(entry.cases):
            line = document.position_of((*path, "cases", number))[0]
            yield _scenario(entry, case, f"{entry.name}: {case.name or number + 1}", line)


def _scenario(entry: ScenarioEntry, case: CaseEntry, name: str, line: int) -> Scenario:
    said = {key: value for key in ("user", "at", "history") if (value := getattr(case, key)) is not None}
    situation = entry.model_copy(update=said)
    asks = ("tool", "args", "purpose", "annotations")
    asked = entry.call.model_copy(update={key: value for key in asks if (value := getattr(case, key)) is not None})
    who, expect = case.who or entry.who, case.expect or entry.expect
    assert isinstance(who, SpiffeId)  # noqa: S101  # or else the file was refused
    assert expect is not None  # noqa: S101  # or else the file was refused
    at = situation.at if situation.at is not None else DEFAULT_AT
    return Scenario(name, line, call_of(situation, who, asked, at), expect)


def _names_used_twice(filename: str, scenarios: Iterable[Scenario]) -> Iterator[Problem]:
    """A report tells tests apart by their names, and so does `-k`."""
    first: dict[str, Scenario] = {}
    for scenario in scenarios:
        before = first.setdefault(scenario.name, scenario)
        if before is not scenario:
            words = f"the name '{shown(scenario.name)}' is used twice; the first is in line {before.line}"
            yield Problem(filename, scenario.line, 1, words)


def _mismatches(policy: Policy, scenario: Scenario, explanation: Explanation) -> Iterator[Mismatch]:
    expect, decision = scenario.expect, explanation.decision
    if expect.decision is not None and expect.decision != explanation.outcome:
        yield Mismatch("decision", expect.decision, f"{explanation.outcome} ({explanation.sentence})")
    if expect.reason is not None and expect.reason != decision.reason:
        yield Mismatch("reason", expect.reason, decision.reason or "none, because the call is allowed")
    if expect.rules is not None and set(expect.rules) != set(explanation.deciding):
        yield Mismatch("rules", _listed(expect.rules), _listed(explanation.deciding) + _unknown(policy, expect.rules))
    yield from _token_mismatches(expect, explanation)
    if expect.visible is not None and expect.visible is not (shows := _is_visible(policy, scenario.call)):
        yield Mismatch("visible", str(expect.visible).lower(), str(shows).lower())
    if expect.shadow is not None and expect.shadow != (decision.shadow and decision.shadow.outcome):
        got = decision.shadow.outcome if decision.shadow else "nothing: no rule in shadow names this call"
        yield Mismatch("shadow", expect.shadow, got)


def _token_mismatches(expect: ExpectEntry, explanation: Explanation) -> Iterator[Mismatch]:
    permit = explanation.decision.permit
    if expect.scopes is not None and (permit is None or set(expect.scopes) != set(permit.scopes)):
        yield Mismatch("scopes", _listed(expect.scopes), _listed(permit.scopes) if permit else _NO_TOKEN)
    if expect.ttl_s is not None and (permit is None or expect.ttl_s != permit.ttl_s):
        got = _NO_TOKEN if permit is None else _NO_TTL if permit.ttl_s is None else f"{permit.ttl_s}s"
        yield Mismatch("ttl", f"{expect.ttl_s}s", got)
    if "limits" in expect.model_fields_set:
        wanted = _limits((limit.calls, limit.per_s) for limit in expect.limits)
        got = _limits((limit.calls, limit.per_s) for limit in permit.limits) if permit else _NO_PERMIT
        if wanted != got:
            yield Mismatch("limits", wanted, got)
    yield from _approval_mismatches(expect, permit)
    if expect.record is not None and (permit is None or expect.record != permit.record):
        yield Mismatch("record", expect.record, _NO_PERMIT if permit is None else permit.record or _NO_RECORD)
    screening = permit.screening if permit else None
    answers, arguments = (screening.answers, (*screening.arguments, *screening.held)) if screening else (None, None)
    yield from _mask_mismatches("mask", expect.mask, answers)
    yield from _mask_mismatches("mask_arguments", expect.mask_arguments, arguments)


def _approval_mismatches(expect: ExpectEntry, permit: Permit | None) -> Iterator[Mismatch]:
    if expect.approvals is None:
        return
    asking = [approval.rule for approval in permit.approvals] if permit else []
    if permit is None or set(expect.approvals) != set(asking):
        yield Mismatch("approvals", _listed(expect.approvals), _listed(asking) if permit else _NO_PERMIT)


def _mask_mismatches(
    what: str, expected: Mapping[str, str] | None, masked: Iterable[MaskRule] | None
) -> Iterator[Mismatch]:
    """`masked`: None for a call that is denied."""
    # What is held may be masked, too.
    modes: dict[str, list[str]] = {}
    for rule in masked or ():
        modes.setdefault(rule.name, []).append(rule.mode)
    for said, mode in (expected or {}).items():
        for name in sorted(names_of([said])):
            got = [_NO_PERMIT] if masked is None else modes.get(name, ["none"])
            if mode not in got:
                yield Mismatch(f"{what} of {name}", mode, " and ".join(got))


def _limits(limits: Iterable[tuple[int, int]]) -> str:
    return _listed(f"{calls} in {per_s}s" for calls, per_s in sorted(limits))


def _is_visible(policy: Policy, call: Call) -> bool:
    return call.tool is not None and tool_is_visible(policy, as_list(call), call.tool)


def _listed(words: Iterable[str]) -> str:
    return f"[{', '.join(words)}]"


def _unknown(policy: Policy, ids: Iterable[str]) -> str:
    known = [rule.id for rules in policy.rules.values() for rule in rules]
    missing = [name for name in ids if name not in known]
    return "".join(f"; the policy has no rule '{name}'{did_you_mean(name, known)}" for name in missing)


_NO_TOKEN: Final = "no token, because the call is denied"  # noqa: S105  # words
_NO_PERMIT: Final = "none, because the call is denied"
_NO_RECORD: Final = "none given: no grant that applies says how much, and the configuration's default holds"
_NO_TTL: Final = "none: no grant that applies says how long, and the configuration's default holds"
