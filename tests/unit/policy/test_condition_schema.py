"""With the schema of a tool's arguments, a condition that is at odds with it is told, and no other."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callgate.policy.condition import Condition, compile_condition
from callgate.wire.json_strict import JsonObject, JsonValue

SCHEMA: JsonObject = {
    "type": "object",
    "properties": {
        "amount": {"type": "integer"},
        "price": {"type": "number"},
        "currency": {"enum": ["EUR", "USD"]},
        "kind": {"type": "string", "const": "refund"},
        "urgent": {"type": "boolean"},
        "note": {"type": ["string", "null"]},
        "account": {"$ref": "#/$defs/Account"},
        "tags": {"type": "array", "items": {"type": "string"}},
        "lines": {"type": "array", "items": {"$ref": "#/$defs/Line"}},
        "labels": {"type": "object", "properties": {"a": {}}, "additionalProperties": {"type": "string"}},
        "anything": {},
        "either": {"anyOf": [{"type": "string"}, {"type": "integer"}]},
    },
    "$defs": {
        "Account": {"type": "object", "properties": {"id": {"type": "string"}, "parent": {"$ref": "#/$defs/Account"}}},
        "Line": {"type": "object", "properties": {"sum": {"type": "number"}}},
        "Loop": {"$ref": "#/$defs/Loop"},
    },
}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("args.amout < 500", "the tool has no argument 'amout'; did you mean 'amount'?"),
        ("has(args.foo)", "the tool has no argument 'foo'"),
        ('"foo" in args', "the tool has no argument 'foo'"),
        ('args["foo"] == 1', "the tool has no argument 'foo'"),
        ('args.account.di == "x"', "args.account has no 'di'"),
        ('args.account.parent.parnt.id == "x"', "args.account.parent has no 'parnt'; did you mean 'parent'?"),
        ("args.lines[0].summ > 1", "args.lines[0] has no 'summ'; did you mean 'sum'?"),
        ('args.amount == "500"', "args.amount is a number, and is compared with text"),
        ('"500" != args.amount', "args.amount is a number, and is compared with text"),
        ("args.urgent > 1", "args.urgent is true or false, and is compared with a number"),
        ("args.account.id < 1.5", "args.account.id is text, and is compared with a number"),
        ("args.amount == user.subject", "args.amount is a number, and is compared with text"),
        ("args.tags == args.urgent", "args.tags is a list, and is compared with true or false"),
        ("args.tags.size() == args.account.id", "args.account.id is text, and is compared with a number"),
        ("args.note == 3", "args.note is null or text, and is compared with a number"),
        ('args.amount.startsWith("5")', "args.amount is a number; 'startsWith' takes text"),
        ("args.amount && true", "args.amount is a number; '&&' takes true or false"),
        ('"x" in args.price', "args.price is a number; 'in' takes a list"),
        ('args.currency == "eur"', "args.currency is never 'eur'"),
        ('args.currency != "EURO"', "args.currency is never 'EURO'; did you mean 'EUR'?"),
        ('args.kind == "payment"', "args.kind is never 'payment'"),
    ],
)
def test_a_condition_at_odds_with_the_schema_is_told(text: str, message: str) -> None:
    found = compile_condition(text, SCHEMA)
    assert isinstance(found, tuple), "it compiles"
    assert [problem.message for problem in found] == [message]
    assert isinstance(compile_condition(text), Condition), "without a schema it is a condition"


@pytest.mark.parametrize(
    "text",
    [
        "args.amount == 5.0 && args.amount < 499.5 && args.price == 5 && args.price >= 1u",
        'args.currency == "EUR" || args.currency in ["USD"]',
        'args.note == null || args.note == "x"',
        "args.amount != null",
        'args.account.parent.parent.parent.id.startsWith("x")',
        'has(args.account.parent) && "amount" in args && args.size() < 5',
        'args.tags.all(t, t.startsWith("x")) && args.tags[0] == "x" && "x" in args.tags',
        "args.lines.all(line, line.sum < 5 && line.anything == 1) && args.lines[0].sum > 1",
        'args.labels.b == "x"',
        'args.anything.at.all == 1 || args.anything == "x"',
        'args.either == 1 || args.either == "x" || args.either.x',
        "args.urgent && !args.urgent && (args.urgent ? true : false)",
        "args.tags.map(args_, 1) == []",
    ],
)
def test_a_condition_that_the_schema_allows_is_a_condition(text: str) -> None:
    found = compile_condition(text, SCHEMA)
    assert isinstance(found, Condition), found


@pytest.mark.parametrize(
    "schema",
    [
        {},
        {"type": "object"},
        {"properties": {"x": {}}, "additionalProperties": True},
        {"properties": {"x": {}}, "patternProperties": {"^a": {}}},
        {"properties": {"x": {}}, "anyOf": [{"properties": {"amount": {}}}]},
        {"$ref": "https://elsewhere.test/schema"},
        {"$ref": "#/$defs/Loop", "$defs": {"Loop": {"$ref": "#/$defs/Loop"}}},
        {"properties": ["amount"]},
        {"properties": {"amount": 3}},
        {"properties": {"amount": {"type": ["integer", 3]}}},
        {"properties": {"amount": {"enum": "x"}}},
    ],
)
def test_a_schema_that_does_not_say_allows(schema: JsonObject) -> None:
    assert isinstance(compile_condition("args.amount == 1", schema), Condition)


json_values: st.SearchStrategy[JsonValue] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=5)
    | st.sampled_from(["string", "#/$defs/a", "object"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["type", "properties", "$ref", "$defs", "a", "b", "items", "enum", "const"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)


@given(json_values)
def test_whatever_a_tool_server_calls_a_schema_is_looked_at_without_harm(schema: JsonValue) -> None:
    if isinstance(schema, dict):
        compile_condition('args.a.b[0].a == "x" && has(args.b) && args.a < 3', schema)
