import pytest
from hypothesis import given
from hypothesis import strategies as st

from callgate.identity.spiffe_id import SpiffeId
from callgate.policy.coverage import tool_covers, tools_overlap, workload_covers, workloads_overlap
from callgate.policy.patterns import ToolPattern, WorkloadPattern

ID = "spiffe://acme.test"


def tool(text: str) -> ToolPattern:
    return ToolPattern.parse(text)


def workload(path: str) -> WorkloadPattern:
    return WorkloadPattern.parse(ID + path)


@pytest.mark.parametrize(
    ("wide", "narrow"),
    [
        ("get", "get"),
        ("*", "get"),
        ("*", "*"),
        ("get_*", "get_invoice"),
        ("get_*", "get_in*"),
        ("*_*", "get_*"),
        ("*", "a?c*"),
        ("?*", "*?"),
        ("*a*", "*a*a*"),
        ("a*c", "abbc"),
        ("a?", "ab"),
        ("**", "*"),
    ],
)
def test_a_tool_pattern_covers_a_narrower_one(wide: str, narrow: str) -> None:
    assert tool_covers(tool(wide), tool(narrow))


@pytest.mark.parametrize(
    ("wide", "narrow"),
    [
        ("get", "*"),
        ("get_*", "*"),
        ("get_*", "get*"),
        ("Get", "get"),
        ("a?", "a*"),
        ("a?", "a"),
        ("*a*a*", "*a*"),
        ("*ab", "*b"),
        ("??*", "?*"),
        ("a", "b"),
    ],
)
def test_a_tool_pattern_does_not_cover_what_it_does_not_name(wide: str, narrow: str) -> None:
    assert not tool_covers(tool(wide), tool(narrow))


@pytest.mark.parametrize(
    ("wide", "narrow", "covers"),
    [
        ("/**", "/ns/a", True),
        ("/**", "/ns/*/sa/*", True),
        ("/ns/*", "/ns/a", True),
        ("/ns/*", "/ns/**", False),
        ("/ns/**", "/ns/*", True),
        ("/ns/**", "/ns", True),
        ("/ns/**", "/n/a", False),
        ("/ns/**/sa/*", "/ns/a/b/sa/x", True),
        ("/ns/**/sa/*", "/ns/**/sa/x", True),
        ("/ns/*/sa/x", "/ns/**/sa/x", False),
        ("/a/b", "/a/b", True),
        ("/a/b", "/a/*", False),
    ],
)
def test_workload_patterns_cover_by_segments(wide: str, narrow: str, covers: bool) -> None:
    assert workload_covers(workload(wide), workload(narrow)) is covers


def test_no_workload_pattern_reaches_across_trust_domains() -> None:
    partner = WorkloadPattern.parse("spiffe://partner.test/**")

    assert not workload_covers(workload("/**"), partner)
    assert not workloads_overlap(workload("/**"), partner)


@pytest.mark.parametrize(
    ("one", "other", "overlap"),
    [
        ("get_*", "*_invoice", True),
        ("get_*", "delete_*", False),
        ("a*", "*b", True),
        ("a?", "?b", True),
        ("a?", "abc", False),
        ("*a", "*b", False),
        ("x", "x", True),
        ("x", "y", False),
        ("?", "??", False),
    ],
)
def test_patterns_overlap_where_a_tool_bears_both(one: str, other: str, overlap: bool) -> None:
    assert tools_overlap(tool(one), tool(other)) is overlap
    assert tools_overlap(tool(other), tool(one)) is overlap


def test_a_pattern_that_takes_too_long_to_compare_is_not_said_to_cover() -> None:
    # A set of places for each way to have placed the `a`: 2^60 of them.
    wide = "*a" + "?" * 60

    assert not tool_covers(tool(wide), tool("*a" + "?" * 60 + "*"))


TOOL_PATTERNS = st.text("ab*?", min_size=1, max_size=6)
TOOL_NAMES = st.text("abc", min_size=1, max_size=7)
PATHS = st.lists(st.sampled_from(["a", "b", "*", "**"]), min_size=1, max_size=5)
SEGMENTS = st.lists(st.sampled_from(["a", "b", "c"]), min_size=1, max_size=6)


@given(TOOL_PATTERNS, TOOL_PATTERNS, TOOL_NAMES)
def test_no_tool_contradicts_what_is_said_of_two_patterns(one: str, other: str, name: str) -> None:
    a, b = tool(one), tool(other)

    if b.matches(name) and tool_covers(a, b):
        assert a.matches(name)
    if a.matches(name) and b.matches(name):
        assert tools_overlap(a, b)


@given(PATHS, PATHS, SEGMENTS)
def test_no_workload_contradicts_what_is_said_of_two_patterns(
    one: list[str], other: list[str], name: list[str]
) -> None:
    texts = ["/".join(path) for path in (one, other)]
    if any("**/**" in text for text in texts):
        return
    a, b = (workload(f"/{text}") for text in texts)
    caller = SpiffeId.parse(f"{ID}/{'/'.join(name)}")

    if b.matches(caller) and workload_covers(a, b):
        assert a.matches(caller)
    if a.matches(caller) and b.matches(caller):
        assert workloads_overlap(a, b)


@given(TOOL_PATTERNS)
def test_every_pattern_covers_itself_and_less_than_everything_covers_it(text: str) -> None:
    assert tool_covers(tool(text), tool(text))
    assert tool_covers(tool("*"), tool(text))
    assert tools_overlap(tool(text), tool(text))
