from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callgate.screening.definitions import (
    MAX_DEFINITION_BYTES,
    MAX_SERVER_BYTES,
    MAX_TOOLS,
    Definition,
    Definitions,
    definition_of,
)
from callgate.screening.schemas import Shape, UnusableSchema
from callgate.wire.json_strict import JsonValue

SERVER = "ledger"


def tool(name: str = "refund", **more: JsonValue) -> dict[str, Any]:
    schema = {"type": "object", "properties": {"amount": {"type": "number"}}}
    return {"name": name, "description": "Pays back.", "inputSchema": schema, **more}


def of(entry: JsonValue) -> Definition:
    found = definition_of(entry)
    assert found is not None
    return found


def test_the_digest_is_over_the_whole_definition_in_canonical_form() -> None:
    canonical = b'{"inputSchema":{"type":"object"},"name":"a","title":"T"}'

    found = of({"title": "T", "name": "a", "inputSchema": {"type": "object"}})

    assert found.digest == f"sha256:{sha256(canonical).hexdigest()}"
    assert found.body == {"title": "T", "name": "a", "inputSchema": {"type": "object"}}


@pytest.mark.parametrize(
    "more",
    [
        {"description": "Pays back!"},
        {"title": "Refund"},
        {"annotations": {"readOnlyHint": True}},
        {"_meta": {"x": 1}},
        {"outputSchema": {"type": "object"}},
        {"somethingNew": None},
        {"inputSchema": {"type": "object"}},
    ],
)
def test_whatever_changes_changes_the_digest(more: dict[str, Any]) -> None:
    assert of(tool(**more)).digest != of(tool()).digest


def test_the_order_of_members_changes_nothing() -> None:
    assert of(dict(reversed(tool().items()))) == of(tool())


def test_a_bound_beyond_what_a_double_holds_is_told_apart_all_the_same() -> None:
    one = of(tool(inputSchema={"type": "object", "maximum": 2**63 - 1}))
    other = of(tool(inputSchema={"type": "object", "maximum": 2**63 - 2}))

    assert one.unusable == other.unusable == ""
    assert one.digest == other.digest
    assert one != other
    assert one.body["inputSchema"] == {"type": "object", "maximum": 2**63 - 1}


@pytest.mark.parametrize("entry", [None, 5, [], {}, {"name": 5}, {"name": ""}, {"name": "a b"}, {"name": "x" * 129}])
def test_what_no_call_can_name_is_no_definition(entry: JsonValue) -> None:
    assert definition_of(entry) is None


@pytest.mark.parametrize(
    "schema", [None, True, [], "object", {}, {"type": "string"}, {"type": ["object"]}, {"properties": {}}]
)
def test_arguments_are_held_against_the_schema_of_an_object_or_not_at_all(schema: JsonValue) -> None:
    """2025-11-25 and 2026-07-28, Tool, `inputSchema`: `type: "object"` at the root."""
    found = of({"name": "a", "inputSchema": schema})

    assert isinstance(found.input_shape, UnusableSchema)


def test_a_definition_without_a_schema_is_known_and_cannot_be_called() -> None:
    found = of({"name": "a"})

    assert isinstance(found.input_shape, UnusableSchema)
    assert "inputSchema" in found.input_shape.why


def test_a_schema_that_does_not_compile_cannot_be_used() -> None:
    found = of(tool(inputSchema={"type": "object", "$ref": "http://127.0.0.1/x"}, outputSchema={"type": "nonsense"}))

    assert isinstance(found.input_shape, UnusableSchema)
    assert isinstance(found.output_shape, UnusableSchema)


def test_knows_what_goes_in_and_what_comes_out() -> None:
    found = of(tool(outputSchema={"type": "array"}))

    assert isinstance(found.input_shape, Shape)
    assert found.input_shape.problems({"amount": "1"}) == ("/amount: must be a number",)
    assert isinstance(found.output_shape, Shape)
    assert found.output_shape.problems({}) == ("must be an array",)
    assert of(tool()).output_shape is None
    assert of(tool(outputSchema=None)).output_shape is None


def test_a_definition_that_is_too_large_is_known_and_cannot_be_called() -> None:
    found = of(tool(description="x" * MAX_DEFINITION_BYTES))

    assert "larger" in found.unusable
    assert len(found.text) < 100


def test_a_number_beyond_64_bits_has_no_form_to_be_approved_in() -> None:
    found = of(tool(inputSchema={"type": "object", "maximum": 10**400}))

    assert "canonical" in found.unusable


def test_learns_page_by_page() -> None:
    known = Definitions()
    known.learn(SERVER, [tool("a")])
    known.learn(SERVER, [tool("b")])

    assert known.names(SERVER) == ("a", "b")
    assert known.of(SERVER, "a") == of(tool("a"))
    assert known.of(SERVER, "c") is None
    assert known.of("other", "a") is None
    assert known.of(SERVER, None) is None


def test_what_a_tool_says_now_counts() -> None:
    known = Definitions()
    known.learn(SERVER, [tool()])
    known.learn(SERVER, [tool(description="Pays twice.")])

    assert known.of(SERVER, "refund") == of(tool(description="Pays twice."))


def test_of_two_tools_of_one_name_neither_can_be_called() -> None:
    known = Definitions()
    known.learn(SERVER, [tool(), tool(description="Pays somebody else.")])

    found = known.of(SERVER, "refund")
    assert found is not None
    assert isinstance(found.input_shape, UnusableSchema)
    assert "two tools" in found.unusable


def test_a_whole_list_takes_the_place_of_what_was_known() -> None:
    known = Definitions()
    known.learn(SERVER, [tool("gone")])
    known.learn_all(SERVER, [tool("a")], now=100.0)

    assert known.names(SERVER) == ("a",)
    assert known.has_whole_list(SERVER, now=160.0, max_age_s=60.0)
    assert not known.has_whole_list(SERVER, now=160.1, max_age_s=60.0)
    assert not known.has_whole_list("other", now=100.0, max_age_s=60.0)


def test_a_page_that_an_agent_was_shown_is_no_whole_list() -> None:
    known = Definitions()
    known.learn(SERVER, [tool("a")])

    assert not known.has_whole_list(SERVER, now=0.0, max_age_s=60.0)


def test_a_server_that_says_that_its_list_changed_is_asked_again() -> None:
    known = Definitions()
    known.learn_all(SERVER, [tool("a")], now=100.0)
    before = known.changes(SERVER)
    known.stale(SERVER)

    assert not known.has_whole_list(SERVER, now=100.0, max_age_s=60.0)
    assert known.changes(SERVER) != before
    assert known.names(SERVER) == ("a",)


def test_keeps_no_more_tools_than_it_says() -> None:
    known = Definitions()
    known.learn_all(SERVER, [tool(f"t{number}") for number in range(MAX_TOOLS + 1)], now=0.0)

    assert len(known.names(SERVER)) == MAX_TOOLS
    assert not known.has_whole_list(SERVER, now=0.0, max_age_s=60.0)


def test_keeps_no_more_bytes_than_it_says() -> None:
    known = Definitions()
    large: list[JsonValue] = [tool(f"t{number}", description="x" * 400_000) for number in range(30)]
    known.learn_all(SERVER, large, now=0.0)

    kept = [known.of(SERVER, name) for name in known.names(SERVER)]
    assert sum(len(each.text) for each in kept if each) <= MAX_SERVER_BYTES
    assert not known.has_whole_list(SERVER, now=0.0, max_age_s=60.0)
    known.learn_all(SERVER, [tool("a")], now=0.0)
    assert known.has_whole_list(SERVER, now=0.0, max_age_s=60.0)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["name", "inputSchema", "type", "a"]), inner, max_size=3)
    ),
    max_leaves=10,
)


@given(VALUES)
def test_any_list_can_be_learned(tools: JsonValue) -> None:
    known = Definitions()
    known.learn(SERVER, tools)
    known.learn_all(SERVER, [tools, tools], now=0.0)

    for name in known.names(SERVER):
        found = known.of(SERVER, name)
        assert found is not None
        assert isinstance(found.input_shape, Shape | UnusableSchema)


def test_a_definition_that_is_nested_without_end_is_known_and_cannot_be_called() -> None:
    value: JsonValue = 2**63
    for _ in range(20_000):
        value = [value]

    assert "canonical" in of({"name": "a", "inputSchema": value}).unusable
