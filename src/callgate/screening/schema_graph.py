"""A JSON Schema as a graph: which subschemas look at the same value, and which at its children.

Of every draft at once: what one draft reads and another does not is read here, so that the work that is counted on this
graph (`schema_work`) is never less than a validator's.  References are followed within the document alone.  Pure.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final, TypeAlias
from urllib.parse import unquote

from callgate.screening.schema_patterns import states_of
from callgate.screening.schema_weights import content_states_of, weight_of
from callgate.wire.json_strict import JsonObject, JsonValue

# Subschemas of one schema; what models are given has some tens, whole resource definitions have some hundreds.
MAX_SUBSCHEMAS: Final = 3_000
# States of all patterns together: some 2 MiB, and 40 ms to prepare.
MAX_PATTERN_STATES: Final = 30_000
# Of a pattern that needs backtracking, which is bounded by `schema_work.BACKTRACK_LIMIT`.
MAX_BACKTRACKING_STATES: Final = 2_000
# Different ones of one schema; each takes some 50 µs to look at.
MAX_PATTERNS: Final = 200

_HERE: Final = frozenset({"not", "if", "then", "else"})
_HERE_LISTS: Final = frozenset({"allOf", "anyOf", "oneOf"})
_HERE_BY_NAME: Final = frozenset({"dependentSchemas", "dependencies"})
_EACH_CHILD: Final = frozenset(
    {
        "additionalItems", "additionalProperties", "contains", "items", "propertyNames", "unevaluatedItems",
        "unevaluatedProperties",
    }
)  # fmt: skip
_UNEVALUATED: Final = frozenset({"unevaluatedProperties", "unevaluatedItems"})
_REFERENCES: Final = frozenset({"$ref", "$dynamicRef", "$recursiveRef"})
_DEFINITIONS: Final = frozenset({"$defs", "definitions"})
# Values, in which nothing is a schema whatever it looks like.
_VALUES: Final = frozenset({"enum", "const", "default", "examples", "example"})
# Where a pattern that is given up on would let through what it should not.
_NEGATING: Final = frozenset({"not", "if"})
# The dialects that are known without being looked up.
_DIALECT: Final = re.compile(r"https?://json-schema\.org/(?:draft-0[467]|draft/20(?:19-09|20-12))/schema#?")
# RFC 6901 and JSON Schema 2020-12, 8.2: what can be told apart without resolving URIs.
_POINTER: Final = re.compile(r"#(?:/.*)?", re.DOTALL)
_PLAIN_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,127}")
_INDEX: Final = re.compile(r"0|[1-9][0-9]{0,5}")
# A subschema with its one keyword.
_REFERENCE_WEIGHT: Final = 2
_MAX_ALIASES: Final = 64

# The name of a member, or the place in an array.
Label: TypeAlias = str | int


class UnusableSchemaError(ValueError):
    """The schema cannot be worked with; the message says why, without anything that the schema says."""


@dataclass(slots=True)
class Node:
    """One subschema.

    `here`: subschemas of the same value, of which those in `negated` must not fit, or decide what does.  `named`: of one
    child.  `each`: of every child.  `weight`: what it is to look at one value.  `states`: of its pattern, and
    `backtracks` whether that is one for a backtracking engine.
    """

    weight: int = 1
    states: int = 0
    backtracks: bool = False
    has_unevaluated: bool = False
    here: list[int] = field(default_factory=list)
    negated: list[int] = field(default_factory=list)
    named: dict[Label, list[int]] = field(default_factory=dict)
    each: list[int] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Graph:
    """The subschemas, the root first; every name of a member that the schema knows; its patterns and their states."""

    nodes: list[Node]
    names: frozenset[str]
    patterns: int
    pattern_states: int


@dataclass(slots=True)
class _Reference:
    """Where a reference stands, and in which resource."""

    place: int
    keyword: str
    said: str
    resource: int


def graph_of(schema: JsonValue, backtracks: Callable[[str], bool]) -> Graph:
    """The graph of a schema.  Raises UnusableSchemaError.

    `backtracks` says of a pattern whether it needs backtracking; asked for those alone that are not too large.
    """
    patterns = _Patterns(backtracks)
    reading = _Reading(patterns)
    reading.visit(schema, 0)
    reading.resolve()
    return Graph(reading.nodes, frozenset(reading.names), len(patterns.known), patterns.states)


class _Patterns:
    """What was found out of each pattern: its states, and whether it needs backtracking."""

    def __init__(self, backtracks: Callable[[str], bool]) -> None:
        self.known: dict[str, tuple[int, bool]] = {}
        self.states = 0
        self._backtracks = backtracks

    def look(self, said: JsonValue) -> tuple[int, bool]:
        if not isinstance(said, str):
            return 0, False
        if said not in self.known:
            states = states_of(said)
            self.states += states
            if self.states > MAX_PATTERN_STATES or len(self.known) >= MAX_PATTERNS:
                raise UnusableSchemaError("its patterns are too large, or too many")
            backtracks = self._backtracks(said)
            if backtracks and states > MAX_BACKTRACKING_STATES:
                raise UnusableSchemaError("a pattern that looks around is too large")
            self.known[said] = (states, backtracks)
        return self.known[said]

    def look_at_name(self, said: str) -> int:
        states, backtracks = self.look(said)
        if backtracks:
            # Given up on, it would leave the member to nobody.
            raise UnusableSchemaError("a pattern that looks around stands in 'patternProperties'")
        return states


class _Targets:
    """What references can lead to: a resource's root, its anchors, and resources by name."""

    def __init__(self) -> None:
        self.places: dict[int, int] = {}
        self.roots: list[JsonObject] = []
        self._anchors: dict[tuple[int, str], int] = {}
        self._dynamic: dict[str, list[int]] = {}
        self._resources: dict[str, int] = {}
        self._is_draft_4 = False

    def resource_of(self, schema: JsonObject, place: int, resource: int) -> int:
        """The resource that a subschema stands in: its own where it has an `$id`."""
        own = schema.get("$id", schema.get("id") if self._is_draft_4 else None)
        if place == 0:
            self.roots.append(schema)
            self._is_draft_4 = "draft-04" in str(schema.get("$schema"))
            if isinstance(own, str):
                # What relative references from within are resolved against.
                self._resources[own.removesuffix("#").rpartition("/")[2]] = 0
        elif isinstance(own, str):
            resource = self._embedded(own, schema, place, resource)
        for keyword in ("$anchor", "$dynamicAnchor"):
            if isinstance(anchor := schema.get(keyword), str):
                self._anchor(anchor, place, resource)
        return resource

    def _embedded(self, own: str, schema: JsonObject, place: int, resource: int) -> int:
        if own.startswith("#"):
            # Drafts up to 7: an anchor.
            self._anchor(own[1:], place, resource)
            return resource
        # Names alone: of what is resolved as a URI there would be a second reading.
        if not _PLAIN_NAME.fullmatch(own) or own in self._resources:
            raise UnusableSchemaError("a subschema has an $id that is no plain name, or that another has")
        self.roots.append(schema)
        self._resources[own] = place
        return len(self.roots) - 1

    def _anchor(self, name: str, place: int, resource: int) -> None:
        if (resource, name) in self._anchors:
            raise UnusableSchemaError("two subschemas have the same anchor")
        self._anchors[(resource, name)] = place
        self._dynamic.setdefault(name, []).append(place)

    def of(self, reference: _Reference) -> Iterator[int]:
        """All that a reference might lead to."""
        yield self._target(reference.said, reference.resource)
        if reference.keyword == "$dynamicRef":
            # 2020-12, 8.2.3.2: the outermost of that name is meant; any of them might be.
            yield from self._dynamic.get(reference.said.removeprefix("#"), [])
        elif reference.keyword == "$recursiveRef":
            yield from (self.places[id(root)] for root in self.roots)

    def _target(self, said: str, resource: int) -> int:
        if _POINTER.fullmatch(said):
            return self._pointed(said[1:], self.roots[resource])
        if said.startswith("#") and (resource, said[1:]) in self._anchors:
            return self._anchors[(resource, said[1:])]
        if said in self._resources:
            return self._resources[said]
        raise UnusableSchemaError("it refers to another document, or to what is not in it")

    def _pointed(self, pointer: str, root: JsonObject) -> int:
        found: JsonValue = root
        for step in pointer.split("/")[1:]:
            found = _child(found, unquote(step).replace("~1", "/").replace("~0", "~"))
        if id(found) not in self.places:
            raise UnusableSchemaError("it refers to a place that holds no schema")
        return self.places[id(found)]


class _Reading:
    """One walk through a schema.  It is no deeper than JSON that was let in (`wire.json_strict`)."""

    def __init__(self, patterns: _Patterns) -> None:
        self.nodes: list[Node] = []
        self.names: set[str] = set()
        self._patterns = patterns
        self._targets = _Targets()
        self._references: list[_Reference] = []

    def visit(self, schema: JsonValue, resource: int) -> int:
        """Take in one subschema and all below it; its place."""
        if not isinstance(schema, dict):
            return self._added(Node())
        node = Node(weight_of(schema), content_states_of(schema))
        place = self._added(node)
        if isinstance(dialect := schema.get("$schema"), str) and not _DIALECT.fullmatch(dialect):
            raise UnusableSchemaError("its $schema is no dialect that is known")
        self._targets.places[id(schema)] = place
        resource = self._targets.resource_of(schema, place, resource)
        for keyword, said in schema.items():
            if keyword in _REFERENCES:
                self._references.append(_reference(place, keyword, said, resource))
            elif keyword not in _VALUES:
                self._read(node, keyword, said, resource)
        if "maxContains" in schema:
            node.negated += node.each
        return place

    def _added(self, node: Node) -> int:
        if len(self.nodes) >= MAX_SUBSCHEMAS:
            raise UnusableSchemaError(f"it has more than {MAX_SUBSCHEMAS} subschemas")
        self.nodes.append(node)
        return len(self.nodes) - 1

    def _read(self, node: Node, keyword: str, said: JsonValue, resource: int) -> None:
        if keyword in _HERE or keyword in _HERE_LISTS or keyword in _HERE_BY_NAME:
            found = [self.visit(each, resource) for each in _subschemas(keyword, said)]
            node.here += found
            node.negated += found if keyword in _NEGATING else []
        elif keyword == "prefixItems" or (keyword == "items" and isinstance(said, list)):
            for index, each in enumerate(_list(said)):
                node.named.setdefault(index, []).append(self.visit(each, resource))
        elif keyword in _EACH_CHILD:
            node.each.append(self.visit(said, resource))
            node.has_unevaluated = node.has_unevaluated or keyword in _UNEVALUATED
        elif isinstance(said, dict):
            self._read_object(node, keyword, said, resource)
        elif isinstance(said, list):
            self._read_list(keyword, said, resource)
        elif keyword == "pattern":
            states, node.backtracks = self._patterns.look(said)
            node.states += states
        elif keyword == "uniqueItems" and said is True:
            node.each.append(self._compared())

    def _read_object(self, node: Node, keyword: str, said: JsonObject, resource: int) -> None:
        if keyword == "properties":
            self.names |= said.keys()
            for name, each in said.items():
                node.named.setdefault(name, []).append(self.visit(each, resource))
        elif keyword == "patternProperties":
            for pattern, each in said.items():
                node.each.append(self.visit(each, resource))
                # Names are counted with their values.
                node.each.append(self._added(Node(states=self._patterns.look_at_name(pattern))))
        elif keyword in _DEFINITIONS:
            for each in said.values():
                self.visit(each, resource)
        else:
            # Whatever other place a reference may lead to, as in `#/components/schemas/A`.
            self.visit(said, resource)

    def _read_list(self, keyword: str, said: list[JsonValue], resource: int) -> None:
        if keyword == "required":
            self.names |= {name for name in said if isinstance(name, str)}
        for each in said:
            if isinstance(each, dict):
                self.visit(each, resource)

    def _compared(self) -> int:
        """What is compared with its neighbours is looked at to its leaves."""
        place = self._added(Node(weight=4))
        self.nodes[place].each.append(place)
        return place

    def resolve(self) -> None:
        """Let each reference lead to its subschema."""
        for reference in self._references:
            self.nodes[reference.place].here += self._targets.of(reference)
        for node in self.nodes:
            node.here = [self._beyond(place) for place in node.here]
            node.each = [self._beyond(place) for place in node.each]
            node.named = {name: [self._beyond(place) for place in places] for name, places in node.named.items()}

    def _beyond(self, place: int) -> int:
        """What is only a reference stands for what it leads to; a circle of them is found where they are followed."""
        for _ in range(_MAX_ALIASES):
            node = self.nodes[place]
            if len(node.here) != 1 or node.each or node.named or node.states or node.weight > _REFERENCE_WEIGHT:
                return place
            place = node.here[0]
        return place


def _reference(place: int, keyword: str, said: JsonValue, resource: int) -> _Reference:
    if not isinstance(said, str):
        raise UnusableSchemaError("a reference is no text")
    return _Reference(place, keyword, said, resource)


def _subschemas(keyword: str, said: JsonValue) -> list[JsonValue]:
    if keyword in _HERE:
        return [said]
    if keyword in _HERE_LISTS:
        return _list(said)
    # `dependencies` of drafts up to 7 also has lists of names.
    return [each for each in said.values() if not isinstance(each, list)] if isinstance(said, dict) else []


def _child(value: JsonValue, step: str) -> JsonValue:
    if isinstance(value, dict) and step in value:
        return value[step]
    if isinstance(value, list) and _INDEX.fullmatch(step) and int(step) < len(value):
        return value[int(step)]
    raise UnusableSchemaError("it refers to what is not in it")


def _list(said: JsonValue) -> list[JsonValue]:
    return said if isinstance(said, list) else []
