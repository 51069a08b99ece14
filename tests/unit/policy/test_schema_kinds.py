"""What type each form of an expression has, where it is compared with an argument whose type is known."""

import pytest

from callgate.policy.condition import Condition, compile_condition
from callgate.wire.json_strict import JsonObject

SCHEMA: JsonObject = {
    "properties": {
        "n": {"type": "integer"},
        "texts": {"type": "array", "items": {"type": "string"}},
        "b": {"type": "boolean"},
    }
}


@pytest.mark.parametrize(
    ("other", "kind"),
    [
        ("{'a': 1}", "an object"),
        ("[1]", "a list"),
        ("args.texts.map(t, t)", "a list"),
        ("args.texts.filter(t, t == 'x')", "a list"),
        ("args.texts.exists(t, t == 'x')", "true or false"),
        ("args.texts.all(t, t == 'x')", "true or false"),
        ("args.texts[0]", "text"),
        ("(1 < 2)", "true or false"),
        ("'x'", "text"),
        ("false", "true or false"),
        ("user.present", "true or false"),
        ("user.subject", "text"),
        ("user.groups", "a list"),
        ("user.claims", "an object"),
        ("caller.svid_age", "a duration"),
        ("now", "a moment"),
    ],
)
def test_a_number_is_compared_with_no_other_type(other: str, kind: str) -> None:
    found = compile_condition(f"args.n == {other}", SCHEMA)

    assert isinstance(found, tuple)
    assert found[0].message == f"args.n is a number, and is compared with {kind}"


@pytest.mark.parametrize(
    "other", ["1", "1.5", "args.n", "request.hour", "args.texts.size()", "null", "args.texts[0].x"]
)
def test_what_may_be_a_number_is_compared_with_one(other: str) -> None:
    assert isinstance(compile_condition(f"args.n == {other}", SCHEMA), Condition)


@pytest.mark.parametrize(
    "more",
    [
        {"additionalProperties": True},
        {"additionalProperties": {"type": "string"}},
        {"patternProperties": {"^o": {}}},
        {"anyOf": [{}]},
        {"oneOf": [{}]},
        {"allOf": [{}]},
        {"if": {}},
        {"dependentSchemas": {}},
        {"$dynamicRef": "#x"},
    ],
)
def test_a_schema_that_is_open_may_have_another_argument(more: JsonObject) -> None:
    schema: JsonObject = {"properties": {"n": {}}}

    assert isinstance(compile_condition("args.other == 1", schema), tuple)
    assert isinstance(compile_condition("args.other == 1", {**schema, **more}), Condition)


@pytest.mark.parametrize(
    "text", ["args.n && true", "true && args.n", "false || args.n", "user.present || (true && args.n)"]
)
def test_no_operand_of_and_and_or_is_a_number(text: str) -> None:
    found = compile_condition(text, SCHEMA)

    assert isinstance(found, tuple)
    assert found[0].message.startswith("args.n is a number; '")
    assert found[0].message.endswith("' takes true or false")
