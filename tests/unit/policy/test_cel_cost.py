"""The bound on what an expression costs: no way of writing something makes it cheaper than it is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callgate.policy.cel_cost import bound
from callgate.policy.cel_extent import NOTHING, SCALAR, SMALL, VALUE_BYTES, Extent, Ruler, around, is_small, joined
from callgate.policy.cel_regex import Pattern, read_pattern
from callgate.policy.expression import Expression, read_expression
from callgate.wire.json_strict import JsonValue

BIG = Extent(((0, 1_000_000),))
TEXTS = Extent(((1_000, 30_000), (0, 30)))


def steps(text: str, **arguments: Extent) -> int:
    expression = read_expression(text)
    assert isinstance(expression, Expression), expression
    found = bound(expression.tree, {f"args.{name}": extent for name, extent in arguments.items()}, SCALAR)
    assert type(found) is int
    return found


@pytest.mark.parametrize(
    ("wrapped", "plain"),
    [
        ("[args.a] == [args.b]", "args.a == args.b"),
        ("[1, args.a] == [1, args.b]", "args.a == args.b"),
        ("[args.a, args.b] == [args.b, args.a]", "args.a == args.b && args.a == args.b"),
        ("{'k': args.a} == {'k': args.b}", "args.a == args.b"),
        ("{'k': args.a, 'l': args.b} == {'k': args.b, 'l': args.a}", "args.a == args.b && args.a == args.b"),
        ("{args.a: 1} == {args.b: 1}", "args.a == args.b"),
        ("dyn(args.a) == dyn(args.b)", "args.a == args.b"),
        ("(true ? args.a : 'x') == (true ? 'x' : args.b) || true", "args.a == args.b"),
        ("args.a in [args.b]", "args.a == args.b"),
        ("args.a in [1, args.b]", "args.a == args.b"),
        ("args.a.trim() == args.b.trim()", "args.a == args.b"),
        ("args.a.lowerAscii() == args.b.lowerAscii()", "args.a == args.b"),
        ("string(args.a) == string(args.b)", "args.a == args.b"),
        ("args.a.split(',') == args.b.split(',')", "args.a == args.b"),
        ("args.a.split(',')[0] == args.b", "args.a == args.b"),
        ("args.a + args.b == args.b + args.a", "args.a == args.b && args.a == args.b"),
        ("[args.a].exists(x, x == args.b)", "args.a == args.b"),
        ("[args.a].map(x, x) == [args.b]", "args.a == args.b"),
        ("{'k': args.a}.k == args.b", "args.a == args.b"),
    ],
)
def test_no_wrapping_makes_two_large_texts_cheaper_to_compare(wrapped: str, plain: str) -> None:
    assert steps(wrapped, a=BIG, b=BIG) >= steps(plain, a=BIG, b=BIG) > 10_000


@pytest.mark.parametrize(
    "text",
    [
        "{args.a: 1}",
        "args.a.split(',')",
        "args.a.trim()",
        "string(args.a)",
        "size(args.a)",
        "args.a.contains('x')",
        "args.a < args.a",
    ],
)
def test_what_looks_at_each_byte_costs_more_the_more_there_are(text: str) -> None:
    assert steps(f"dyn({text}) == 1", a=BIG) - steps(f"dyn({text}) == 1", a=SCALAR) > 1_000_000 // 100


def test_parts_of_a_text_are_as_dear_to_compare_as_the_text() -> None:
    parted = "args.a.split(',')[0] == 'x' && args.b.split(',')[0] == 'x'"
    compared = "args.a.split(',') == args.b.split(',')"

    assert steps(compared, a=BIG, b=BIG) > steps(parted, a=BIG, b=BIG) + 1_000_000 // 10


def test_a_map_that_is_built_costs_something_for_each_entry() -> None:
    entries = ", ".join(f"'k{number}': 1" for number in range(50))

    assert steps(f"size({{{entries}}}) == 1") > steps("size({'k': 1}) == 1") + 49 * 4


def test_a_list_that_a_loop_makes_costs_its_square() -> None:
    # A new list is made for each entry: 1 + 2 + … + 1 000.
    assert steps("args.a.map(x, x) == []", a=TEXTS) > 1_000 * 1_000 // 2


def test_what_a_loop_does_counts_for_each_entry() -> None:
    once = steps("args.b == args.c", b=BIG, c=BIG)

    assert steps("args.a.exists(x, args.b == args.c)", a=TEXTS, b=BIG, c=BIG) > 1_000 * once


def test_a_search_in_a_list_counts_each_entry() -> None:
    assert steps("args.b in args.a", a=TEXTS, b=BIG) > 1_000 * 30 // 10


EXPRESSIONS = (
    "[args.a, args.b] == [args.b]",
    "{args.a: args.b} == {args.b: args.a}",
    "args.a.map(x, x + args.b) == args.b",
    "args.a.split(args.b) == args.b.split(args.a)",
    "args.a in args.b || args.a[args.b] == args.a",
    "args.a + args.b == args.a && args.a.contains(args.b)",
    "args.a.trim().lowerAscii() < string(args.b)",
    "args.a.exists(x, x.matches('a+'))",
    "size(args.a) == size(args.b) ? args.a == args.b : args.a > args.b",
)
LEVELS = st.lists(st.tuples(st.integers(0, 100), st.integers(16, 10_000)), min_size=1, max_size=4)
EXTENTS = LEVELS.map(lambda levels: Extent(tuple(levels)))


@given(st.sampled_from(EXPRESSIONS), EXTENTS, EXTENTS, EXTENTS, EXTENTS)
def test_a_bound_never_falls_where_more_is_read(
    text: str, a: Extent, b: Extent, more_a: Extent, more_b: Extent
) -> None:
    assert steps(text, a=a, b=b) <= steps(text, a=joined(a, more_a), b=joined(b, more_b))


VALUES: st.SearchStrategy[JsonValue] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.text(st.characters(exclude_characters="\0"), max_size=40),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.sampled_from(["a", "bc", "ä"]), inner, max_size=3),
    max_leaves=20,
)


def parts_of(value: JsonValue) -> list[JsonValue]:
    if isinstance(value, list):
        return value
    return [*value, *value.values()] if isinstance(value, dict) else []


def size_of(value: JsonValue) -> int:
    if isinstance(value, str):
        return VALUE_BYTES + (len(value) if value.isascii() else 4 * len(value))
    return VALUE_BYTES + sum(map(size_of, parts_of(value)))


def entries_of(value: JsonValue) -> int:
    return len(value) if isinstance(value, list | dict) else 0


def levels_of(values: list[JsonValue]) -> list[tuple[int, int]]:
    if not values:
        return []
    level = max(map(entries_of, values)), max(map(size_of, values))
    return [level, *levels_of([part for value in values for part in parts_of(value)])]


@given(VALUES)
def test_an_extent_has_the_largest_of_each_level(value: JsonValue) -> None:
    ruler = Ruler(100_000)

    assert ruler.measure(value) == Extent(tuple(levels_of([value])))
    assert type(ruler.steps) is int


@pytest.mark.parametrize(
    "value",
    [[[1] * 20, [1] * 100], [[1] * 100, [1] * 20], [["x" * 1_000], [None] * 50], [{"a": [1] * 30}, {"a": [1] * 90}]],
)
def test_an_extent_has_the_longest_list_of_each_level_wherever_it_stands(value: JsonValue) -> None:
    assert Ruler(100_000).measure(value) == Extent(tuple(levels_of([value])))


@given(VALUES)
def test_what_is_plainly_small_is_measured_as_small(value: JsonValue) -> None:
    measured = Ruler(100_000).measure(value)

    assert isinstance(measured, Extent)
    assert not is_small(value) or measured.within(SMALL)


@given(EXTENTS, EXTENTS)
def test_what_joins_two_bounds_both_and_is_in_no_way_larger_than_both(one: Extent, other: Extent) -> None:
    both = joined(one, other)

    assert one.within(both)
    assert other.within(both)
    assert both == joined(other, one)
    assert len(both.levels) == max(len(one.levels), len(other.levels))
    for place in (0, 1):
        found = [
            max(extent.levels[depth][place] for extent in (one, other) if depth < len(extent.levels))
            for depth in range(len(both.levels))
        ]
        assert [level[place] for level in both.levels] == found


@pytest.mark.parametrize(
    "extent",
    [
        Extent(((5, 99),)),
        Extent(((4, 101),)),
        Extent(((5, 101),)),
        Extent(((1, 1), (0, 21))),
        Extent(((1, 1), (1, 1), (0, 0))),
    ],
)
def test_a_bound_that_is_too_low_anywhere_is_none(extent: Extent) -> None:
    assert not extent.within(Extent(((4, 100), (2, 20))))


def test_a_bound_that_is_reached_is_still_one() -> None:
    limit = Extent(((4, 100), (2, 20)))

    assert limit.within(limit)
    assert NOTHING.within(limit)
    assert around(4, 100 - VALUE_BYTES, Extent(((2, 20),))).within(limit)


def instructions(pattern: str) -> int:
    read = read_pattern(pattern)
    assert isinstance(read, Pattern), read
    return read.instructions


@pytest.mark.parametrize(
    ("larger", "smaller"),
    [
        # All characters but one are as many ranges as all characters.
        ("[^a]", "."),
        ("[^ab]", "[ab]"),
        (r"[\D]", r"\D"),
        (r"[x\W]", "."),
        ("[ä]", "."),
        ("[[:^alpha:]]", "."),
        (r"[\pL]", r"\pL"),
        ("(?i)[a-z]", "[a-z]"),
        ("(?i)abc", "abc"),
        ("(?i)ä", "ä"),
        ("ä", "a"),
        ("a{7}", "aaaaaaa"),
        ("a{3,7}", "aaaaaaa"),
        ("(ab){4}", "abababab"),
        ("(?:(ab){3}c){2}", "abababcabababc"),
        ("a*", "a"),
        ("(a|b)c", "abc"),
    ],
)
def test_no_way_of_writing_a_pattern_makes_it_smaller(larger: str, smaller: str) -> None:
    assert instructions(larger) >= instructions(smaller)


@pytest.mark.parametrize(
    ("pattern", "least"),
    [
        # What RE2's program needs at the least: one instruction for each byte, and all again for each repetition.
        ("abc", 3),
        ("(a|b)", 2),
        ("a{900}", 900),
        ("(ab){300}", 600),
        ("(?:(?:abc){10}){20}", 600),
        ("[a-z]{100}", 100),
        (r"\d{200}", 200),
        (r"\D{20}", 40),
        (".{50}", 100),
        ("ä{100}", 200),
        (r"\pL", 100),
    ],
)
def test_a_pattern_has_at_least_the_instructions_that_it_needs(pattern: str, least: int) -> None:
    assert instructions(pattern) >= least


@pytest.mark.parametrize(
    "pattern",
    ["a{2001}", "(a{50}){50}", "((a{15}){15}){15}", r"\pL{2}", r"(?i)\pL", r"(?i)[\pL]", "(?i)[^ä]\\pL", ".{200}"],
)
def test_a_pattern_that_is_too_large_is_none(pattern: str) -> None:
    assert isinstance(read_pattern(pattern), str)


def test_whole_numbers_of_64_bits_are_taken_in_and_no_others() -> None:
    for number in (-(2**63), 2**63 - 1):
        assert Ruler(100).measure(number) == SCALAR
        assert is_small(number)
    for number in (-(2**63) - 1, 2**63):
        assert Ruler(100).measure(number) == "has a whole number of more than 64 bits"
        assert not is_small(number)
