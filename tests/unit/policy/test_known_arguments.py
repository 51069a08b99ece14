"""What a tool's schema says its arguments may be, for the linter."""

from fractions import Fraction

import pytest

from callgate.policy.satisfy import ANYTHING, Domain, Kind, Literally
from callgate.policy.schemas import KnownArguments
from callgate.wire.json_strict import JsonObject, JsonValue


def domain_of(schema: JsonValue, *, needed: bool = True) -> Domain:
    known = KnownArguments.of({"properties": {"n": schema}, "required": ["n"] if needed else []})
    return known.domains["args.n"]


@pytest.mark.parametrize(
    ("said", "kinds"),
    [
        ("string", {"text"}),
        ("integer", {"number"}),
        ("number", {"number"}),
        ("boolean", {"bool"}),
        ("null", {"null"}),
        ("array", {"other"}),
        ("object", {"other"}),
        (["string", "null"], {"text", "null"}),
    ],
)
def test_an_argument_is_of_the_types_that_its_schema_names(said: JsonValue, kinds: set[Kind]) -> None:
    found = domain_of({"type": said})

    assert found.kinds == kinds
    assert found.whole == (said == "integer")


@pytest.mark.parametrize("schema", [{}, {"type": "unheard-of"}, {"type": ["string", "unheard-of"]}, {"type": 5}])
def test_a_type_that_is_not_known_may_be_any_but_absent(schema: JsonObject) -> None:
    assert domain_of(schema).kinds == ANYTHING.kinds - {"absent"}


@pytest.mark.parametrize("schema", [True, None, "string"])
def test_of_what_is_no_schema_nothing_is_said(schema: JsonValue) -> None:
    assert domain_of(schema) == ANYTHING


def test_an_argument_that_is_not_required_may_be_absent() -> None:
    assert domain_of({"type": "string"}, needed=False).kinds == {"text", "absent"}
    assert domain_of({"const": "x"}, needed=False).values == (Literally("text", "x"), Literally("absent"))


def test_bounds_of_a_number_are_the_schemas() -> None:
    found = domain_of({"type": "integer", "minimum": 1, "maximum": 2.5})

    assert (found.least, found.most) == (Fraction(1), Fraction(5, 2))


@pytest.mark.parametrize("limit", [True, "1", None, float("inf"), float("nan"), []])
def test_a_bound_that_is_no_number_bounds_nothing(limit: JsonValue) -> None:
    found = domain_of({"type": "number", "minimum": limit, "maximum": limit})

    assert (found.least, found.most) == (None, None)


def test_written_values_are_taken_as_they_are() -> None:
    found = domain_of({"enum": [None, True, "x", 1, 1.5, [], {}]})

    assert found.values == (
        Literally("null"),
        Literally("bool", value=True),
        Literally("text", "x"),
        Literally("number", Fraction(1)),
        Literally("number", Fraction(3, 2)),
        Literally("other"),
        Literally("other"),
    )
    assert domain_of({"const": None}).values == (Literally("null"),)


def test_a_hundred_values_are_looked_at_and_no_more() -> None:
    assert domain_of({"enum": [*map(str, range(100))]}).values == tuple(Literally("text", str(n)) for n in range(100))
    assert domain_of({"type": "string", "enum": [*map(str, range(101))]}) == Domain(frozenset({"text"}))


@pytest.mark.parametrize(
    ("more", "lacks"),
    [
        ({}, True),
        ({"additionalProperties": False}, True),
        ({"additionalProperties": True}, False),
        ({"additionalProperties": {"type": "string"}}, False),
        ({"$ref": "#/$defs/a"}, False),
        ({"$dynamicRef": "#a"}, False),
        ({"allOf": [{}]}, False),
        ({"anyOf": [{}]}, False),
        ({"oneOf": [{}]}, False),
        ({"if": {}, "then": {}}, False),
        ({"else": {}}, False),
        ({"dependentSchemas": {}}, False),
        ({"patternProperties": {"^a": {}}}, False),
    ],
)
def test_an_argument_is_lacking_only_where_the_schema_names_all(more: JsonObject, lacks: bool) -> None:
    known = KnownArguments.of({"properties": {"n": {}}, **more})

    assert known.lacks("other") is lacks
    assert not known.lacks("n")
    assert known.is_closed is (more.get("additionalProperties") is False)


@pytest.mark.parametrize("schema", [{}, {"properties": ["n"]}, {"properties": "n", "required": "n"}])
def test_a_schema_without_properties_lacks_nothing(schema: JsonObject) -> None:
    known = KnownArguments.of(schema)

    assert (dict(known.properties), dict(known.domains)) == ({}, {})
    assert not known.lacks("n")
    assert KnownArguments.of({**schema, "additionalProperties": False}).lacks("n")
