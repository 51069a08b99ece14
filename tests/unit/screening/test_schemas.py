import gc
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callgate.screening import schemas
from callgate.screening.schema_patterns import states_of
from callgate.screening.schema_work import MAX_PATTERN_WORK
from callgate.screening.schemas import MAX_PROBLEMS, Shape, UnusableSchema, shape_of
from callgate.wire.json_strict import JsonValue

# What a call may wait for at the very most, on a machine that does much else: the bound that is stated is 20 ms.
PATIENCE_S = 0.25
PAYMENT: dict[str, Any] = {
    "type": "object",
    "properties": {
        "account": {"type": "string", "minLength": 2},
        "amount": {"type": "number", "minimum": 1},
        "mode": {"enum": ["fast", "slow"]},
        "note": {"anyOf": [{"type": "string"}, {"type": "null"}]},
        "lines": {"type": "array", "items": {"type": "object", "required": ["sku"]}, "maxItems": 3},
    },
    "required": ["account"],
    "additionalProperties": False,
}
# As zod writes `z.email()`.
EMAIL = r"^(?!\.)(?!.*\.\.)([A-Za-z0-9_'+\-\.]*)[A-Za-z0-9_+-]@([A-Za-z0-9][A-Za-z0-9\-]*\.)+[A-Za-z]{2,}$"


def shape(schema: JsonValue) -> Shape:
    found = shape_of(schema)
    assert isinstance(found, Shape), found
    return found


def why_not(schema: JsonValue) -> str:
    found = shape_of(schema)
    assert isinstance(found, UnusableSchema)
    return found.why


def test_finds_nothing_wrong_with_what_fits() -> None:
    assert shape(PAYMENT).problems({"account": "a1", "amount": 5, "note": None, "lines": [{"sku": 1}]}) == ()


@pytest.mark.parametrize(
    ("value", "problems"),
    [
        ({"account": "a1", "amount": "5"}, ["/amount: must be a number"]),
        ({"account": "a1", "amount": 0}, ["/amount: must be at least 1"]),
        ({"account": "a"}, ["/account: must have at least 2 characters"]),
        ({}, ["must have 'account'"]),
        (
            {"acount": "a1"},
            ["has 'acount', which is not known here; did you mean 'account'?", "must have 'account'"],
        ),
        ({"account": "a1", "mode": "warp"}, ["/mode: must be one of 'fast', 'slow'"]),
        ({"account": "a1", "note": 7}, ["/note: must be a string or null"]),
        ({"account": "a1", "lines": [{"sku": 1}, {}]}, ["/lines/1: must have 'sku'"]),
        ({"account": "a1", "lines": [{"sku": 1}] * 4}, ["/lines: must have at most 3 entries"]),
        ([], ["must be an object"]),
    ],
)
def test_says_what_is_wrong_so_that_a_model_can_correct_itself(value: JsonValue, problems: list[str]) -> None:
    assert list(shape(PAYMENT).problems(value)) == problems


@pytest.mark.parametrize(
    ("schema", "value", "problem"),
    [
        ({"const": "x"}, "y", "must be 'x'"),
        ({"multipleOf": 5}, 4, "must be a multiple of 5"),
        ({"pattern": "^a+$"}, "b", "must match the pattern ^a+$"),
        ({"uniqueItems": True}, [1, 1], "must not have two equal entries"),
        ({"contains": {"type": "string"}}, [1], "must have an entry of the kind that the schema asks for"),
        ({"not": {"type": "string"}}, "a", "is what the schema excludes"),
        ({"properties": {"no": False}}, {"no": 1}, "/no: must not be there"),
        ({"prefixItems": [{}], "items": False}, [1, 2], "/1: must not be there"),
        ({"propertyNames": {"maxLength": 3}}, {"long": 1}, "has a member whose name the schema does not allow"),
        ({"exclusiveMaximum": 3}, 3, "must be less than 3"),
        ({"minProperties": 1}, {}, "must have at least 1 members"),
        ({"unevaluatedProperties": False}, {"a": 1}, "has 'a', which is not known here"),
        (
            {"oneOf": [{"type": "number"}, {"minimum": 2}]},
            5,
            "fits several of the forms that the schema gives; exactly one must fit",
        ),
        (
            {"anyOf": [{"type": "object", "properties": {"a": {"type": "integer"}}}, {"type": "string"}]},
            {"a": "q"},
            "/a: must be an integer",
        ),
        ({"anyOf": [{"minimum": 5}, {"multipleOf": 2}]}, 1, "fits none of the forms that the schema gives"),
    ],
)
def test_has_words_for_each_thing_that_a_schema_can_ask(schema: JsonValue, value: JsonValue, problem: str) -> None:
    assert shape(schema).problems(value) == (problem,)


def test_tells_eight_problems_and_no_more() -> None:
    wanted: JsonValue = {"required": [f"k{number}" for number in range(50)]}

    assert len(shape(wanted).problems({})) == MAX_PROBLEMS


@pytest.mark.parametrize("secret", ["4111 1111 1111 1111", "anna@acme.test", "4111111111111111", "0049301234567"])
def test_tells_no_value_and_no_name_that_could_be_one(secret: str) -> None:
    schema: JsonValue = {"properties": {"a": {"enum": ["b"]}}, "additionalProperties": {"type": "integer"}}

    told = " ".join(shape(schema).problems({"a": secret, secret: secret}))

    assert secret not in told
    assert told == "/a: must be one of 'b' /*: must be an integer"


def test_tells_no_unknown_name_at_all_unless_it_is_the_readers_own() -> None:
    problems = shape({"properties": {"account": {}}, "additionalProperties": False}).problems({"acount": 1}, echo=False)

    assert problems == ("has a member that is not known here; did you mean 'account'?",)


def test_shows_text_of_the_schema_in_one_line_that_can_be_read() -> None:
    told = shape({"enum": ["a\nb", "\x1b[31mred", "x" * 500, "\u202egnp"]}).problems("z")[0]

    assert told.isprintable()
    assert len(told) <= 300


def test_takes_a_number_without_a_fraction_for_an_integer() -> None:
    """JSON Schema 2020-12, 6.1.1: "any number with a zero fractional part"."""
    assert shape({"type": "integer"}).problems(1.0) == ()
    assert shape({"type": "integer"}).problems(1.5) == ("must be an integer",)


def test_counts_fractions_as_people_do() -> None:
    assert shape({"multipleOf": 0.01}).problems(4.35) == ()


def test_takes_a_schema_without_a_draft_for_2020_12() -> None:
    """MCP 2025-11-25 and 2026-07-28, basic: "defaults to JSON Schema 2020-12"."""
    assert shape({"prefixItems": [{"type": "string"}]}).problems([1]) == ("/0: must be a string",)


@pytest.mark.parametrize(
    ("draft", "schema", "value", "fits"),
    [
        ("http://json-schema.org/draft-07/schema#", {"prefixItems": [{"type": "string"}]}, [1], True),
        ("http://json-schema.org/draft-07/schema#", {"items": [{"type": "string"}]}, [1], False),
        ("http://json-schema.org/draft-04/schema#", {"exclusiveMinimum": True, "minimum": 1}, 1, False),
        ("https://json-schema.org/draft/2019-09/schema", {"items": [{"type": "string"}]}, [1], False),
        ("https://json-schema.org/draft/2020-12/schema", {"prefixItems": [{"type": "string"}]}, [1], False),
    ],
)
def test_reads_a_schema_in_the_draft_that_it_names(
    draft: str, schema: dict[str, Any], value: JsonValue, fits: bool
) -> None:
    assert shape({"$schema": draft, **schema}).fits(value) is fits


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "nonsense"},
        {"properties": 5},
        {"minimum": "1"},
        {"pattern": "("},
        {"$schema": "http://json-schema.org/draft-03/schema#"},
        {"$schema": "https://acme.test/my-dialect"},
        {"$schema": 7},
        {"$ref": "#/$defs/nowhere"},
        {"$ref": 5},
        [],
        "string",
        None,
        5,
    ],
)
def test_does_not_use_what_is_no_schema(schema: JsonValue) -> None:
    assert "cannot be used" in why_not(schema)


REMOTE = [
    "http://127.0.0.1:1/schema",
    "https://json-schema.org/draft/2020-12/schema",
    "file:///etc/hostname",
    "urn:uuid:1",
    "other.json",
    "//host/schema",
    "json-schema:///other",
    "data:application/json,{}",
    "ftp://127.0.0.1/schema",
    "../x",
    "#nowhere",
]


@pytest.mark.parametrize("reference", REMOTE)
@pytest.mark.parametrize(
    "schema",
    [
        lambda uri: {"$ref": uri},
        lambda uri: {"$dynamicRef": uri},
        lambda uri: {"$recursiveRef": uri, "$schema": "https://json-schema.org/draft/2019-09/schema"},
        lambda uri: {"properties": {"a": {"$ref": uri}}},
        lambda uri: {"$id": "http://127.0.0.1:1/base/", "$ref": uri},
        lambda uri: {"$defs": {"a": {"$ref": uri}}},
        lambda uri: {"$schema": uri + "-of-ours"},
    ],
    ids=["ref", "dynamic", "recursive", "nested", "with-id", "unused", "dialect"],
)
def test_fetches_no_other_document(
    schema: Callable[[str], JsonValue], reference: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def answer(uri: str) -> JsonValue:
        asked.append(uri)
        return {}

    monkeypatch.setattr(schemas, "_retrieve", answer)

    assert isinstance(shape_of(schema(reference)), UnusableSchema)
    assert asked == []


def test_reads_no_file_that_a_schema_names(tmp_path: Path) -> None:
    (tmp_path / "anything.json").write_text("{}")

    assert "another document" in why_not({"$ref": f"file://{tmp_path}/anything.json"})


@pytest.mark.parametrize(
    ("schema", "good", "bad"),
    [
        ({"$defs": {"a": {"type": "integer"}}, "properties": {"x": {"$ref": "#/$defs/a"}}}, {"x": 1}, {"x": "1"}),
        ({"$defs": {"a/b~c d": {"type": "integer"}}, "$ref": "#/$defs/a~1b~0c%20d"}, 1, "1"),
        ({"$defs": {"a": {"$anchor": "here", "type": "integer"}}, "$ref": "#here"}, 1, "1"),
        ({"$defs": {"a": {"$id": "Node", "type": "integer"}}, "items": {"$ref": "Node"}}, [1], ["1"]),
        (
            {"$id": "Tree", "type": "object", "properties": {"kids": {"items": {"$ref": "#"}}}},
            {"kids": [{}]},
            {"kids": [1]},
        ),
        ({"components": {"schemas": {"A": {"type": "integer"}}}, "$ref": "#/components/schemas/A"}, 1, "1"),
        ({"$id": "https://acme.test/tool", "$defs": {"a": {"type": "integer"}}, "$ref": "#/$defs/a"}, 1, "1"),
    ],
)
def test_follows_references_within_the_document(schema: JsonValue, good: JsonValue, bad: JsonValue) -> None:
    assert shape(schema).fits(good)
    assert not shape(schema).fits(bad)


def test_takes_a_pattern_that_looks_around() -> None:
    email = shape({"type": "object", "properties": {"to": {"pattern": EMAIL}}})

    assert email.problems({"to": "first.last+tag@sub.acme-corp.test", "body": "x" * 500_000}) == ()
    assert email.problems({"to": "first..last@acme.test"})[0].startswith("/to: must match the pattern")


# --- what is hostile ---


def nested(keyword: str, depth: int) -> JsonValue:
    schema: JsonValue = {"type": "integer"}
    for _ in range(depth):
        schema = {keyword: [schema]}
    return schema


def web(depth: int, keyword: str = "allOf") -> JsonValue:
    """2^depth looks at one value."""
    defs: dict[str, Any] = {
        f"a{n}": {keyword: [{"$ref": f"#/$defs/a{n + 1}"}, {"$ref": f"#/$defs/a{n + 1}"}]} for n in range(depth)
    }
    return {"$defs": {**defs, f"a{depth}": {"type": "integer"}}, "$ref": "#/$defs/a0"}


def chain(length: int) -> JsonValue:
    defs: dict[str, Any] = {f"a{n}": {"$ref": f"#/$defs/a{n + 1}"} for n in range(length)}
    return {"$defs": {**defs, f"a{length}": {"type": "integer"}}, "$ref": "#/$defs/a0"}


def deep(depth: int) -> JsonValue:
    value: JsonValue = 1
    for _ in range(depth):
        value = {"a": value}
    return value


TWICE: JsonValue = {"allOf": [{"properties": {"a": {"$ref": "#"}}}, {"properties": {"a": {"$ref": "#"}}}]}
LEFT_OVER: JsonValue = {
    "$defs": {"n": {"anyOf": [{"properties": {"a": {"$ref": "#/$defs/n"}}}], "unevaluatedProperties": False}},
    "$ref": "#/$defs/n",
}
HOSTILE_SCHEMAS: dict[str, JsonValue] = {
    "refers to itself": {"$ref": "#"},
    "refers to itself by way of allOf": {"allOf": [{"$ref": "#"}]},
    "a circle": {"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"},
    "a long chain": chain(2_000),
    "a longer chain": chain(50_000),
    "a web": web(18),
    "a web of anyOf": web(60, "anyOf"),
    "a web of oneOf": web(200, "oneOf"),
    "deep": nested("allOf", 60),
    "too deep": nested("allOf", 240),
    "deeper than the stack": nested("allOf", 5_000),
    "many values": {"enum": list(range(200_000))},
    "many objects": {"enum": [{"a": n} for n in range(5_000)]},
    "many fractions": {"enum": [n + 0.5 for n in range(5_000)]},
    "many members": {"properties": {f"k{n}": {} for n in range(2_900)}},
    "many more members": {"properties": {f"k{n}": {} for n in range(50_000)}},
    "many branches": {"anyOf": [{"properties": {"a": {"const": n}}} for n in range(900)]},
    "members that lead to members": {
        "$defs": {f"d{n}": {"properties": {f"k{m}": {"$ref": f"#/$defs/d{m}"} for m in range(50)}} for n in range(50)},
        "$ref": "#/$defs/d0",
    },
    "counted thrice": {"pattern": "(((a{1,100}){1,100}){1,100}){1,100}"},
    "counted to a million": {"pattern": "a{1,999999999}"},
    "a large class": {"pattern": r"[\p{L}\p{N}]{1,255}"},
    "many patterns": {"allOf": [{"pattern": f"^[a-z]{{1,60}}{n}"} for n in range(190)]},
    "a long pattern": {"pattern": "a" * 100_000},
    "brackets in a pattern": {"pattern": "(" * 50_000},
    "classes in a pattern": {"pattern": "[" * 50_000},
    "large": {"description": "x" * 300_000},
}


@pytest.mark.parametrize("name", HOSTILE_SCHEMAS)
def test_is_done_with_a_hostile_schema_in_no_time(name: str) -> None:
    schema = HOSTILE_SCHEMAS[name]
    started = time.perf_counter()

    found = shape_of(schema)
    if isinstance(found, Shape):
        found.problems({"a": [1.5, "x" * 1_000]})

    assert time.perf_counter() - started < PATIENCE_S


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        (TWICE, deep(40)),
        (LEFT_OVER, deep(40)),
        ({"items": {"type": "integer"}}, ["x"] * 90_000),
        ({"items": {"anyOf": [{"type": "integer"}, {"type": "null"}]}}, ["x"] * 90_000),
        ({"anyOf": [{"items": {"type": "integer"}}, {"items": {"type": "null"}}]}, ["x"] * 90_000),
        ({"uniqueItems": True}, list(range(100_000))),
        ({"uniqueItems": True}, [{"a": n, "b": [n]} for n in range(30_000)]),
        ({"contains": {"type": "string"}}, [1] * 100_000),
        ({"additionalProperties": False}, {f"k{n}": 1 for n in range(50_000)}),
        ({"items": {"multipleOf": 1e-300}}, [1e300] * 20_000),
        ({"multipleOf": 1e-308}, 1.7e308),
        ({"items": {"enum": [n + 0.5 for n in range(1_000)]}}, [0.25] * 1_000),
        ({"items": {"not": {"enum": [{"a": n} for n in range(1_000)]}}}, [{"a": -1}] * 1_000),
        ({"pattern": "^(a+)+$"}, "a" * 1_000_000 + "b"),
        ({"pattern": "^(?=a)(a|aa)+c$"}, "a" * 100_000),
        ({"pattern": "((?![ab]*a[ab]{200}c).)*d"}, "abb" * 30_000),
        ({"pattern": "(a*)(a*)(a*)\\1\\2\\3b"}, "a" * 5_000),
        ({"pattern": "[ab]*a[ab]{1000}c"}, "ab" * 500_000),
        ({"items": {"pattern": "[ab]*a[ab]{200}c"}}, ["ab" * 500] * 1_000),
        ({"patternProperties": {"[ab]*a[ab]{200}c": True}}, {"ab" * 50 + str(n): 1 for n in range(5_000)}),
        ({"items": {"oneOf": [{"const": n} for n in range(500)]}}, [250] * 5_000),
        ({"items": {"allOf": [{"properties": {"a": {}}}] * 200}}, [{"a": 1}] * 5_000),
    ],
)
def test_is_done_with_a_hostile_value_in_no_time(schema: JsonValue, value: JsonValue) -> None:
    held = shape(schema)
    started = time.perf_counter()

    held.problems(value)

    assert time.perf_counter() - started < PATIENCE_S


def test_what_would_take_too_long_does_not_fit() -> None:
    assert shape(TWICE).problems(deep(40)) == ("is too large or too deep to be held against the tool's schema",)
    assert not shape(TWICE).fits(deep(40))
    assert shape(TWICE).problems(deep(5)) == ()


def test_says_so_where_a_value_is_too_large_to_be_told_about() -> None:
    problems = shape({"items": {"type": "integer"}}).problems(["x"] * 50_000)

    assert problems == ("does not fit the tool's schema; it is too large to say where",)


def test_takes_a_large_answer_of_a_simple_schema() -> None:
    rows: JsonValue = {"items": {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}}

    assert shape(rows).problems([{"a": n} for n in range(30_000)]) == ()


@pytest.mark.parametrize(
    "schema",
    [
        {"not": {"pattern": "(?=a)b"}},
        {"if": {"pattern": "(?=a)b"}, "then": False},
        {"not": {"$ref": "#/$defs/p"}, "$defs": {"p": {"pattern": "(?=a)b"}}},
        {"patternProperties": {"(?=a)b": False}},
        {"contains": {"pattern": "(?=a)b"}, "maxContains": 1},
    ],
)
def test_gives_up_on_no_pattern_where_that_would_let_something_through(schema: JsonValue) -> None:
    assert "looks around" in why_not(schema)


@given(st.text(alphabet="ab.[](){}*+?|\\^$0129,-pLsSwd", max_size=60))
def test_the_states_of_any_pattern_are_a_number(pattern: str) -> None:
    assert states_of(pattern) >= 1


@pytest.mark.parametrize(
    ("pattern", "least"),
    [("abc", 3), ("a{5}", 5), ("(ab){2,10}", 20), ("((a{3}){3}){3}", 27), (r"\p{L}{10}", 1_000), ("[^a]{100}", 1_000)],
)
def test_counts_no_fewer_states_than_there_are(pattern: str, least: int) -> None:
    assert states_of(pattern) >= least


SCALARS = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | st.text(max_size=20)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
KEYWORDS = st.sampled_from(
    ["type", "properties", "items", "allOf", "anyOf", "$ref", "pattern", "enum", "const", "required", "not", "$id", "$defs",
     "minimum", "uniqueItems", "additionalProperties", "dependentSchemas", "$anchor", "if", "then", "prefixItems", "contains"]
)  # fmt: skip
SCHEMAS = st.recursive(
    SCALARS | st.sampled_from(["object", "string", "#", "#/$defs/a", "#/properties/a"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(KEYWORDS | st.sampled_from(["a", "b"]), inner, max_size=4)
    ),
    max_leaves=15,
)


@given(SCHEMAS, VALUES)
def test_any_schema_and_any_value_get_an_answer(schema: JsonValue, value: JsonValue) -> None:
    found = shape_of(schema)
    if isinstance(found, UnusableSchema):
        assert found.why.isprintable()
        return
    problems = found.problems(value)
    assert (problems == ()) == found.fits(value)
    assert len(problems) <= MAX_PROBLEMS
    assert all(each.isprintable() and len(each) <= 300 for each in problems)


# --- memory ---


def tool_schema(number: int) -> JsonValue:
    """4 KiB of schema, no two alike."""
    named: dict[str, Any] = {
        f"p{n}_{number}": {"type": "string", "description": "What it is for, in a sentence or two. " * 3}
        for n in range(20)
    }
    return {"type": "object", "properties": named, "required": [f"p0_{number}"], "additionalProperties": False}


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def test_remembers_a_thousand_tools_schemas_in_bounded_memory() -> None:
    gc.collect()
    before = resident_bytes()

    kept = [shape_of(tool_schema(number)) for number in range(1_000)]

    gc.collect()
    assert all(isinstance(each, Shape) for each in kept)
    assert resident_bytes() - before < 160 * 1024 * 1024
    # They are remembered: the same schema is the same shape.
    assert shape_of(tool_schema(999)) is kept[999]


def test_forgets_what_was_not_asked_for_the_longest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schemas, "MAX_REMEMBERED", 2)
    first = shape_of({"const": "first"})
    shape_of({"const": "second"})
    shape_of({"const": "first"})
    shape_of({"const": "third"})

    assert shape_of({"const": "first"}) is first


def test_what_is_remembered_stays_within_its_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schemas, "MAX_REMEMBERED_BYTES", 1_000_000)

    for number in range(50):
        shape_of({"const": number, "description": "x" * 10_000})

    assert schemas._REMEMBERED.size <= 1_000_000


def test_a_pattern_is_bounded_by_its_own_text_alone() -> None:
    """A long text beside a short one with a costly pattern: only the short one counts for the pattern."""
    schema: JsonValue = {"properties": {"to": {"pattern": EMAIL}, "body": {"type": "string"}}}
    held = shape(schema)

    assert held.problems({"to": "a@acme.test", "body": "x" * MAX_PATTERN_WORK}) == ()
