"""What a policy says of masks, of arguments that are programs and of packs, and that comes to nothing or too much."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Final, TypeAlias

from callgate.policy import remarks
from callgate.policy.cel_reading import ReadingQuestion
from callgate.policy.cel_schema import schema_faults
from callgate.policy.cel_tree import Apply, Const, Expr, Name, Reading, Select
from callgate.policy.compile import Policy
from callgate.policy.condition import Condition
from callgate.policy.coverage import tools_overlap
from callgate.policy.file_faults import Entry, entries_of
from callgate.policy.lint_pairs import gives_as_freely
from callgate.policy.mask_entries import steps_of
from callgate.policy.pack_condition import PackCondition
from callgate.policy.patterns import ToolPattern
from callgate.policy.places import Places
from callgate.policy.reading import languages_of
from callgate.policy.remarks import Level, Remark
from callgate.policy.rule import Rule
from callgate.screening.pack_terms import UNDECLARED
from callgate.screening.packs import broken_rules
from callgate.wire.json_strict import JsonObject
from callgate.yaml_model import did_you_mean
from callgate.yaml_strict import Document

# Pairs of grants that are compared for what they unmask: some seconds where all of them have wildcards.
_MAX_COMPARISONS: Final = 20_000
# Tools that one entry or rule is held against.
_MAX_TOOLS: Final = 200
_TOOLS_NAMED: Final = 3

_Lists: TypeAlias = Mapping[str, Mapping[str, JsonObject]]


def lint_screening(policy: Policy, places: Places, lists: _Lists) -> Iterator[Remark]:
    """The remarks on screening, declarations and packs."""
    for document in places.documents:
        for entry in entries_of(document.value, "screening"):
            yield from _idle(policy, document, entry)
        for entry in entries_of(document.value, "tools"):
            yield from _idle(policy, document, entry)
            yield from _declared(document, entry, lists)
    left = _MAX_COMPARISONS
    for rules in policy.rules.values():
        grants = [rule for rule in rules if rule.kind == "grant" and not rule.shadow]
        for rule in rules:
            yield from _undeclared(rule, policy, places, lists)
            if rule.unmask:
                yield from _unmasks_nothing(rule, policy, places)
                yield from _never_unmasks(rule, grants[:left], places)
                left = max(0, left - len(grants))


def _idle(policy: Policy, document: Document, found: Entry) -> Iterator[Remark]:
    """What is said of a server that no rule is about."""
    path, entry = found
    server = str(entry.get("server"))
    if server not in policy.rules:
        words = f"no rule is about the server '{server}'{did_you_mean(server, policy.rules)}"
        line, column = document.position_of((*path, "server"))
        yield Remark(remarks.IDLE_ENTRY, remarks.IDLE_ENTRY.level, document.file, line, column, words)


def _declared(document: Document, found: Entry, lists: _Lists) -> Iterator[Remark]:
    """Arguments that are declared, and that no tool has that is meant."""
    path, entry = found
    patterns = [ToolPattern.parse(text) for text in _texts(entry.get("tools"))]
    listed = lists.get(str(entry.get("server")), {})
    named = [name for name in listed if any(pattern.matches(name) for pattern in patterns)][:_MAX_TOOLS]
    for key in ("sql", "shell"):
        declared = entry.get(key)
        for place in declared if isinstance(declared, dict) else ():
            faults = [_fault(key, place, listed[name]) for name in named]
            if faults and all(faults):
                words = f"for {_listed(named)}: {faults[0]}"
                line, column = document.key_position_of((*path, key, place))
                yield Remark(
                    remarks.DECLARED_ARGUMENT, remarks.DECLARED_ARGUMENT.level, document.file, line, column, words
                )


def _fault(key: str, place: str, schema: JsonObject) -> str:
    node = Reading(0, "", key, _operand(place), is_list=False)
    return next((message for _, message in schema_faults(node, schema)), "")


def _operand(place: str) -> Expr:
    node: Expr = Name(0, "args")
    for step in steps_of(place):
        if isinstance(step, str):
            node = Select(0, node, step, only_tests=False)
        else:
            node = Apply(0, "_[_]", (node, Const(0, step)), is_method=False)
    return node


def _undeclared(rule: Rule, policy: Policy, places: Places, lists: _Lists) -> Iterator[Remark]:
    """Tools of which the policy does not say what a rule's condition, or its pack, has to know."""
    condition = rule.condition
    if isinstance(condition, PackCondition) and UNDECLARED not in condition.rules:
        lacking = [tool for tool in _tools_of(rule, policy, lists) if _is_undeclared(condition, tool, rule, policy)]
        if lacking:
            words = (
                f"'{rule.id}' denies every call of {_listed(lacking)}: 'tools' declares no argument of it that "
                f"{condition.pack.reference} looks at"
            )
            yield places.remark(remarks.UNDECLARED, rule, ("pack",), words)
    cel = condition.cel if condition is not None else None
    for reading in cel.readings if isinstance(cel, Condition) else ():
        yield from _without_language(rule, reading, policy, places)


def _is_undeclared(condition: PackCondition, tool: str, rule: Rule, policy: Policy) -> bool:
    if any(pattern.matches(tool) for pattern in condition.tools):
        return False
    return UNDECLARED in broken_rules(condition.pack, tool, {}, policy.tags.declared(rule.server, tool))


def _tools_of(rule: Rule, policy: Policy, lists: _Lists) -> list[str]:
    """The tools by name that a rule is about, as far as grants or the server's list name them."""
    granted = (tool for each in policy.rules[rule.server] if each.kind == "grant" for tool in each.exact_tools)
    known = dict.fromkeys(sorted({*rule.exact_tools, *granted, *lists.get(rule.server, ())}))
    return [tool for tool in known if rule.tool_match(tool) is not None][:_MAX_TOOLS]


def _without_language(rule: Rule, reading: ReadingQuestion, policy: Policy, places: Places) -> Iterator[Remark]:
    if reading.language:
        return
    lacking = [tool for tool in sorted(rule.exact_tools) if not languages_of(reading, rule.server, tool, policy.tags)]
    words = f"{reading.text} has no answer for {_listed(lacking)}"
    if not lacking and rule.wild_tools and not _is_declared_somewhere(rule, reading, policy):
        lacking, words = ["*"], f"{reading.text} has no answer for any tool of '{rule.id}'"
    if lacking:
        what = "SQL" if reading.function == "sql" else "shell"
        follows = "denies every call" if rule.kind == "denial" else "gives no call"
        told = f"{words}: 'tools' does not declare {reading.path.text} as {what}; where that matters, '{rule.id}' {follows}"
        yield places.remark(remarks.UNDECLARED, rule, ("when",), told)


def _is_declared_somewhere(rule: Rule, reading: ReadingQuestion, policy: Policy) -> bool:
    of_server = (each for each in policy.tags.declarations if each.server == rule.server)
    steps = [str(step) for step in reading.path.steps]
    return any(
        [str(step) for step in path] == steps
        for each in of_server
        if any(tools_overlap(tool, other) for tool in rule.tools for other in each.tools)
        for path, _ in (each.sql if reading.function == "sql" else each.shell)
    )


def _unmasks_nothing(rule: Rule, policy: Policy, places: Places) -> Iterator[Remark]:
    masked = {
        mask.name
        for entry in policy.screening.entries
        if entry.server == rule.server
        and any(tools_overlap(tool, other) for tool in rule.tools for other in entry.tools)
        for mask in entry.answers
    }
    if idle := [name for name in rule.unmask if name not in masked]:
        said = f"{', '.join(idle[:_TOOLS_NAMED])}{' and others' if len(idle) > _TOOLS_NAMED else ''}"
        level = Level.WARNING if len(idle) == len(rule.unmask) else Level.NOTE
        words = f"grant '{rule.id}' unmasks what nothing masks on '{rule.server}': {said}"
        yield places.remark(remarks.UNMASKS_NOTHING, rule, ("unmask",), words, level)


def _never_unmasks(rule: Rule, grants: Iterable[Rule], places: Places) -> Iterator[Remark]:
    for other in grants:
        if other is rule or not gives_as_freely(other, rule):
            continue
        if idle := [name for name in rule.unmask if name not in other.unmask]:
            words = f"'unmask' of grant '{rule.id}' comes to nothing for {idle[0]}: '{other.id}' allows the same calls"
            yield places.remark(remarks.NEVER_UNMASKS, rule, ("unmask",), words)
            return


def _texts(value: object) -> list[str]:
    return [text for text in value if isinstance(text, str)] if isinstance(value, list) else []


def _listed(tools: list[str]) -> str:
    more = len(tools) - _TOOLS_NAMED
    named = ", ".join(f"'{tool}'" for tool in tools[:_TOOLS_NAMED])
    return f"tool{'' if len(tools) == 1 else 's'} {named}{f' and {more} more' if more > 0 else ''}"
