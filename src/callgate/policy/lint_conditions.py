"""What a rule's condition comes to: never, always, or about what is not there; and scopes about what is not there."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from callgate.policy import remarks
from callgate.policy.asked import Asked, asked_of
from callgate.policy.cel_schema import schema_faults
from callgate.policy.cel_tree import Const, Expr, walk
from callgate.policy.compile import Policy
from callgate.policy.condition import Condition, Truth
from callgate.policy.coverage import tools_overlap
from callgate.policy.expression import Expression, read_expression
from callgate.policy.formula import Translation, argument_of, translated
from callgate.policy.patterns import ToolPattern
from callgate.policy.places import Places
from callgate.policy.remarks import Check, Level, Remark
from callgate.policy.rule import Rule
from callgate.policy.satisfy import Domain, Literally, outcomes
from callgate.policy.schemas import KnownArguments
from callgate.wire.json_strict import JsonObject
from callgate.yaml_model import did_you_mean

# Of the tools that a wildcard names, for comparing a condition with each tool's schema.
_MAX_TOOLS_COMPARED: Final = 200
# Conditions times the tools of their rules, 1 ms each.
MAX_SCHEMA_COMPARISONS: Final = 5_000
_TOOLS_NAMED: Final = 3
_SCOPE_ARGUMENT: Final = re.compile(r"\{args\.([A-Za-z_][A-Za-z0-9_-]*)[.}]")
_ABSENT: Final = Domain(frozenset({"absent"}))
_WHEN: Final = ("when",)

_Lists = Mapping[str, Mapping[str, JsonObject]]


@dataclass(frozen=True, slots=True)
class _Known:
    """What is known of one condition, whichever rules have it."""

    tree: Expr
    formula: Translation
    asked: Asked
    # By server and tool: whether it can only fail there, and why it cannot hold for arguments of the schema.
    by_tool: dict[tuple[str, str], tuple[bool, str]]


@dataclass(slots=True)
class _Conditions:
    """Each condition, worked out once, and what all rules have in common.

    `left`: how many times a condition may still be held against a tool's schema.
    """

    policy: Policy
    places: Places
    left: int = MAX_SCHEMA_COMPARISONS
    _known: dict[str, _Known] = field(default_factory=dict)

    def of(self, condition: Condition) -> _Known:
        found = self._known.get(condition.text)
        if found is None:
            read = read_expression(condition.text)
            # It was read once already; if that could fail, nothing would be said of it.
            tree = read.tree if isinstance(read, Expression) else Const(0, None)
            found = self._known[condition.text] = _Known(tree, translated(tree), asked_of(tree), {})
        return found

    def remark(self, check: Check, rule: Rule, message: str, level: Level | None = None) -> Remark:
        return self.places.remark(check, rule, _WHEN, message, level)


def lint_conditions(policy: Policy, places: Places, lists: _Lists) -> Iterator[Remark]:
    """The remarks on the conditions of all rules."""
    conditions = _Conditions(policy, places)
    schemas = {name: {tool: KnownArguments.of(schema) for tool, schema in of.items()} for name, of in lists.items()}
    for rules in policy.rules.values():
        for rule in rules:
            tools = _named_tools(rule, schemas.get(rule.server, {}))
            yield from _scopes(rule, tools, places)
            cel = rule.condition.cel if rule.condition is not None else None
            if cel is not None:
                known = conditions.of(cel)
                yield from _constant(rule, known, conditions)
                yield from _asked(rule, known.asked, conditions)
                yield from _compared(rule, cel, tools, conditions)


def _scopes(rule: Rule, tools: Mapping[str, KnownArguments], places: Places) -> Iterator[Remark]:
    """Scopes that take from the call what no call has: without its scopes a grant does not apply."""
    for index, scope in enumerate(rule.scopes):
        for name in _SCOPE_ARGUMENT.findall(scope.text):
            if tools and all(of.lacks(name) for of in tools.values()):
                check, _, words, level = _unknown_argument(rule, name, tools)
                yield places.remark(check, rule, ("scopes", index), words, level)


def _constant(rule: Rule, known: _Known, conditions: _Conditions) -> Iterator[Remark]:
    """Conditions that come out in one way only: whatever the rule, or given who and what the rule is about."""
    found = known.formula
    ways = outcomes(found.formula, _domains(found, {}))
    where = ""
    if not _is_settled(ways):
        ways = outcomes(found.formula, _domains(found, _facts(rule)))
        where = " for what this rule is about"
    if Truth.HOLDS not in ways:
        fails = ", it only fails" if ways == {Truth.FAILED} else ""
        level = Level.ERROR if rule.kind == "denial" else Level.WARNING
        yield conditions.remark(
            remarks.NEVER, rule, f"the condition of '{rule.id}' can never hold{where}{fails}", level
        )
    elif Truth.FAILS_TO_HOLD not in ways:
        unless = ", unless it fails" if Truth.FAILED in ways else ""
        level = Level.NOTE if where else Level.ERROR if rule.kind == "grant" else Level.WARNING
        yield conditions.remark(
            remarks.ALWAYS, rule, f"the condition of '{rule.id}' always holds{where}{unless}", level
        )


def _is_settled(ways: frozenset[Truth]) -> bool:
    return not {Truth.HOLDS, Truth.FAILS_TO_HOLD} <= ways


def _domains(
    found: Translation, facts: Mapping[str, Domain], missing: Callable[[str], bool] = lambda _: False
) -> dict[str, Domain]:
    """What each subject may be; arguments for which `missing` says so are not there."""
    return {
        name: _ABSENT if any(map(missing, subject.needs)) else facts.get(name, subject.domain)
        for name, subject in found.subjects.items()
    }


def _facts(rule: Rule) -> dict[str, Domain]:
    """What is known of a call when the condition is asked: the rule is about its workload, tool and user."""
    facts = {"tool.server": _these(rule.server), "request.method": _these("tools/call")}
    if not rule.wild_tools:
        facts["tool.name"] = _these(*rule.exact_tools)
    if rule.workloads:
        facts["caller.trust_domain"] = _these(*{pattern.trust_domain for pattern in rule.workloads})
        if not any("*" in pattern.text for pattern in rule.workloads):
            facts["caller.id"] = _these(*(pattern.text for pattern in rule.workloads))
    # A denial with users is asked of calls without one, too.
    if rule.users is not None and rule.kind == "grant":
        facts["user.present"] = Domain(values=(Literally("bool", value=True),))
        if rule.users.issuers is not None:
            facts["user.issuer"] = _these(*rule.users.issuers)
        if rule.users.subjects is not None:
            facts["user.subject"] = _these(*rule.users.subjects)
    return facts


def _these(*texts: str) -> Domain:
    return Domain(values=tuple(Literally("text", text) for text in texts))


def _asked(rule: Rule, asked: Asked, conditions: _Conditions) -> Iterator[Remark]:
    """Questions whose answer is always no."""
    tags = conditions.policy.tags.all
    for tag in sorted(asked.tags - tags):
        words = f"no tool bears the tag '{tag}' that the condition of '{rule.id}' asks for{did_you_mean(tag, tags)}"
        yield conditions.remark(remarks.UNKNOWN_TAG, rule, words)
    for text in sorted(asked.counted):
        if not _is_granted(text, rule.server, conditions.policy):
            words = f"no grant gives the tool '{text}' whose calls the condition of '{rule.id}' counts"
            level = Level.ERROR if rule.kind == "denial" else Level.WARNING
            yield conditions.remark(remarks.UNCOUNTED_TOOL, rule, words, level)


def _is_granted(text: str, server: str, policy: Policy) -> bool:
    name, slash, tool = text.partition("/")
    name, tool = (name, tool) if slash else (server, text)
    pattern = ToolPattern.parse(tool)
    grants = (rule for rule in policy.rules.get(name, ()) if rule.kind == "grant")
    return any(tools_overlap(pattern, each) for grant in grants for each in grant.tools)


def _named_tools(rule: Rule, listed: Mapping[str, KnownArguments]) -> dict[str, KnownArguments]:
    named = [name for name in listed if rule.tool_match(name) is not None]
    return {name: listed[name] for name in named[:_MAX_TOOLS_COMPARED]}


def _compared(
    rule: Rule, condition: Condition, tools: Mapping[str, KnownArguments], conditions: _Conditions
) -> Iterator[Remark]:
    """The condition held against the schemas of the tools that the rule names."""
    names = condition.arguments or frozenset()
    unknown = [name for name in sorted(names) if tools and all(of.lacks(name) for of in tools.values())]
    for name in unknown:
        yield conditions.remark(*_unknown_argument(rule, name, tools))
    if unknown:
        return
    known = conditions.of(condition)
    new = [tool for tool in tools if (rule.server, tool) not in known.by_tool]
    conditions.left -= len(new)
    if conditions.left < 0:
        words = f"the condition of '{rule.id}' was not held against the schemas of its {len(tools)} tools"
        yield conditions.remark(remarks.UNCOMPARED, rule, words)
        return
    found = {tool: _of_tool((rule.server, tool), of, known) for tool, of in tools.items()}
    failing = [tool for tool, (only_fails, _) in found.items() if only_fails]
    # A denial by a pack is of calls that break a rule of it, whatever else it asks.
    if failing and rule.condition is condition:
        yield conditions.remark(*_failing(rule, failing))
    for tool, (only_fails, words) in found.items():
        if words and not only_fails:
            yield conditions.remark(remarks.ARGUMENT_TYPE, rule, f"for tool '{tool}': {words}")


def _unknown_argument(rule: Rule, name: str, tools: Mapping[str, KnownArguments]) -> tuple[Check, Rule, str, Level]:
    near = did_you_mean(name, {argument for of in tools.values() for argument in of.properties})
    words = f"argument '{name}' is not in the schema of {_listed(list(tools))}{near}"
    # Where more may be given than the schema names, the condition may hold after all.
    level = Level.ERROR if all(of.is_closed for of in tools.values()) else Level.WARNING
    return remarks.UNKNOWN_ARGUMENT, rule, words, level


def _failing(rule: Rule, tools: list[str]) -> tuple[Check, Rule, str, Level]:
    why = "an argument that its condition reads is not there"
    if rule.kind == "denial":
        return remarks.DENIES_ALL, rule, f"'{rule.id}' denies every call of {_listed(tools)}: {why}", Level.WARNING
    return remarks.UNKNOWN_ARGUMENT, rule, f"'{rule.id}' gives no call of {_listed(tools)}: {why}", Level.NOTE


def _of_tool(name: tuple[str, str], of: KnownArguments, known: _Known) -> tuple[bool, str]:
    """Whether the condition can only fail for calls of that tool, and why it cannot hold for them, "" where it may."""
    found = known.by_tool.get(name)
    if found is None:
        formula = known.formula
        only_fails = outcomes(formula.formula, _domains(formula, {}, of.lacks)) == {Truth.FAILED}
        lacks_some = any(of.lacks(argument) for node in walk(known.tree) if (argument := argument_of(node)) is not None)
        # What asks about an argument of some tools alone may be meant for those alone.
        found = known.by_tool[name] = only_fails, "" if lacks_some else _contradiction(of, known)
    return found


def _contradiction(of: KnownArguments, known: _Known) -> str:
    for _, message in schema_faults(known.tree, of.schema):
        return message
    found = known.formula
    if Truth.HOLDS not in outcomes(found.formula, _domains(found, {})):
        # It holds for no arguments at all, which is told of already.
        return ""
    if Truth.HOLDS not in outcomes(found.formula, _domains(found, of.domains)):
        return "the condition holds for no arguments that the schema takes"
    return ""


def _listed(tools: list[str]) -> str:
    more = len(tools) - _TOOLS_NAMED
    named = ", ".join(f"'{tool}'" for tool in tools[:_TOOLS_NAMED])
    return f"tool{'' if len(tools) == 1 else 's'} {named}{f' and {more} more' if more > 0 else ''}"
