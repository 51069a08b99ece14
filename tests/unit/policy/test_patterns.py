import re
from itertools import pairwise
from time import perf_counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callgate.identity.spiffe_id import SpiffeId
from callgate.policy.patterns import PatternError, ToolPattern, WorkloadPattern


def matches(pattern: str, workload: str) -> bool:
    return WorkloadPattern.parse(pattern).matches(SpiffeId.parse(workload))


@pytest.mark.parametrize(
    ("pattern", "workload"),
    [
        ("spiffe://acme.test/ns/billing", "spiffe://acme.test/ns/billing"),
        ("spiffe://acme.test/ns/billing/sa/*", "spiffe://acme.test/ns/billing/sa/refund-agent"),
        ("spiffe://acme.test/*", "spiffe://acme.test/a"),
        ("spiffe://acme.test/*/x/*", "spiffe://acme.test/a/x/b"),
        ("spiffe://acme.test/**", "spiffe://acme.test/a"),
        ("spiffe://acme.test/**", "spiffe://acme.test/a/b/c/d"),
        ("spiffe://acme.test/ns/**", "spiffe://acme.test/ns"),
        ("spiffe://acme.test/ns/**", "spiffe://acme.test/ns/a/b"),
        ("spiffe://acme.test/**/sa", "spiffe://acme.test/sa"),
        ("spiffe://acme.test/**/sa", "spiffe://acme.test/x/sa/y/sa"),
        ("spiffe://acme.test/**/a/**", "spiffe://acme.test/ab/a/c"),
        ("spiffe://acme.test/**/a/*/**/b", "spiffe://acme.test/a/a/x/b/b"),
        ("spiffe://acme.test/**/*", "spiffe://acme.test/a"),
        ("spiffe://acme.test/a.b", "spiffe://acme.test/a.b"),
    ],
)
def test_pattern_matches_workload(pattern: str, workload: str) -> None:
    assert matches(pattern, workload)


@pytest.mark.parametrize(
    ("pattern", "workload"),
    [
        # A wildcard never reaches across the trust domain, nor does a trust domain match itself.
        ("spiffe://acme.test/**", "spiffe://acme.test"),
        ("spiffe://acme.test/*", "spiffe://acme.test"),
        ("spiffe://acme.test/**", "spiffe://partner.test/a"),
        ("spiffe://acme.test/**", "spiffe://acme.test.evil/a"),
        ("spiffe://acme.test/**", "spiffe://xacme.test/a"),
        ("spiffe://acme.test/**", "spiffe://acmextest/a"),
        ("spiffe://acme.test/a", "spiffe://partner.test/a"),
        # One star is exactly one segment.
        ("spiffe://acme.test/ns/*", "spiffe://acme.test/ns"),
        ("spiffe://acme.test/ns/*", "spiffe://acme.test/ns/a/b"),
        ("spiffe://acme.test/*/*", "spiffe://acme.test/a"),
        ("spiffe://acme.test/**/*", "spiffe://acme.test"),
        # Segments are compared whole and byte by byte.
        ("spiffe://acme.test/ns/a", "spiffe://acme.test/ns/ab"),
        ("spiffe://acme.test/ns/a", "spiffe://acme.test/ns/a/b"),
        ("spiffe://acme.test/ns/a", "spiffe://acme.test/ns/A"),
        ("spiffe://acme.test/ns/**", "spiffe://acme.test/nsx/a"),
        ("spiffe://acme.test/**/a/**", "spiffe://acme.test/ab/ca"),
        ("spiffe://acme.test/**/sa", "spiffe://acme.test/xsa"),
        ("spiffe://acme.test/a.b/*", "spiffe://acme.test/axb/c"),
    ],
)
def test_pattern_does_not_match_workload(pattern: str, workload: str) -> None:
    assert not matches(pattern, workload)


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        ("acme.test/a", "must start with 'spiffe://'"),
        ("SPIFFE://acme.test/a", "must start with 'spiffe://'"),
        ("*", "must start with 'spiffe://'"),
        ("spiffe:///a", "names no trust domain"),
        ("spiffe://", "names no trust domain"),
        ("spiffe://*/a", "no wildcard stands there"),
        ("spiffe://**/a", "no wildcard stands there"),
        ("spiffe://*.acme.test/a", "no wildcard stands there"),
        ("spiffe://Acme.test/a", "has a trust domain with other characters"),
        ("spiffe://acme.test:443/a", "has a trust domain with other characters"),
        (
            "spiffe://acme.test",
            "names a trust domain and no workload; all of its workloads are 'spiffe://acme.test/**'",
        ),
        ("spiffe://acme.test/", "ends with '/'"),
        ("spiffe://acme.test/**/", "ends with '/'"),
        ("spiffe://acme.test//a", "has an empty path segment"),
        ("spiffe://acme.test/a/../b", "has a path segment '.' or '..'"),
        ("spiffe://acme.test/./*", "has a path segment '.' or '..'"),
        ("spiffe://acme.test/refund-*", "has '*' inside the segment 'refund-*'; a wildcard is a whole segment"),
        ("spiffe://acme.test/***", "has '*' inside the segment '***'"),
        ("spiffe://acme.test/a**", "has '*' inside the segment 'a**'"),
        ("spiffe://acme.test/**/**", "has '**' twice in a row"),
        ("spiffe://acme.test/a?", "has a path segment with other characters"),
        ("spiffe://acme.test/[a-z]", "has a path segment with other characters"),
        ("spiffe://acme.test/a%2fb", "has a path segment with other characters"),
        ("spiffe://acme.test/a\n", "has a path segment with other characters"),
        ("spiffe://acme.test/" + "a" * 2048, "is longer than 2048 characters"),
        ("spiffe://" + "a" * 256 + "/b", "has a trust domain of more than 255 characters"),
    ],
)
def test_refuses_malformed_workload_pattern(pattern: str, words: str) -> None:
    with pytest.raises(PatternError, match=re.escape(words)):
        WorkloadPattern.parse(pattern)


SEGMENTS = st.lists(st.sampled_from(["a", "b", "ab"]), min_size=1, max_size=6)
PATTERN_SEGMENTS = st.lists(st.sampled_from(["a", "b", "ab", "*", "**"]), min_size=1, max_size=6).filter(
    lambda segments: ("**", "**") not in list(pairwise(segments))
)


def segments_match(pattern: list[str], path: list[str]) -> bool:
    """What the issue says, word by word: `*` one segment, `**` any number."""
    if not pattern:
        return not path
    first, *rest = pattern
    if first == "**":
        return any(segments_match(rest, path[skipped:]) for skipped in range(len(path) + 1))
    return bool(path) and first in {"*", path[0]} and segments_match(rest, path[1:])


@given(PATTERN_SEGMENTS, SEGMENTS)
def test_workload_pattern_means_what_its_definition_says(pattern: list[str], path: list[str]) -> None:
    found = matches("/".join(["spiffe://acme.test", *pattern]), "/".join(["spiffe://acme.test", *path]))

    assert found == segments_match(pattern, path)


def glob_matches(pattern: str, name: str) -> bool:
    if not pattern:
        return not name
    if pattern[0] == "*":
        return any(glob_matches(pattern[1:], name[skipped:]) for skipped in range(len(name) + 1))
    return bool(name) and pattern[0] in {"?", name[0]} and glob_matches(pattern[1:], name[1:])


@given(st.text("ab.*?", min_size=1, max_size=8), st.text("ab.-", min_size=1, max_size=8))
def test_tool_pattern_means_what_its_definition_says(pattern: str, name: str) -> None:
    assert ToolPattern.parse(pattern).matches(name) == glob_matches(pattern, name)


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("get_invoice", ["get_invoice"]),
        ("get_*", ["get_", "get_invoice", "get_a.b-c"]),
        ("*", ["a", "delete_everything"]),
        ("v?.read", ["v1.read", "vv.read"]),
        ("*_a_*", ["x_a_y", "_a_", "_a_a_"]),
        ("*", ["_"]),
    ],
)
def test_tool_pattern_matches(pattern: str, names: list[str]) -> None:
    assert all(ToolPattern.parse(pattern).matches(name) for name in names)


@pytest.mark.parametrize(
    ("pattern", "name"),
    [
        ("get", "get_"),
        ("get_*", "xget_a"),
        ("get_*", "GET_a"),
        ("a.c", "abc"),
        ("v?", "v"),
        ("?", "ab"),
        ("a*b", "ab\n"),
    ],
)
def test_tool_pattern_does_not_match(pattern: str, name: str) -> None:
    assert not ToolPattern.parse(pattern).matches(name)


@pytest.mark.parametrize("pattern", ["", "a b", "a/b", "[ab]", "a\n", "é", "tool:x", "a" * 129, "{a,b}", "!a"])
def test_refuses_malformed_tool_pattern(pattern: str) -> None:
    with pytest.raises(PatternError, match="must be 1 to 128 letters"):
        ToolPattern.parse(pattern)


def test_exact_tool_pattern_is_told_from_a_wildcard() -> None:
    assert ToolPattern.parse("get_invoice").is_exact
    assert not ToolPattern.parse("get_*").is_exact
    assert not ToolPattern.parse("v?").is_exact


def test_many_wildcards_cost_no_more_than_linear_time() -> None:
    """A backtracking matcher takes longer than the universe for either of these."""
    tool, name = ToolPattern.parse("*a" * 60 + "*b"), "a" * 128
    workload = WorkloadPattern.parse("spiffe://acme.test" + "/**/a" * 300 + "/b")
    caller = SpiffeId.parse("spiffe://acme.test" + "/a" * 900)

    started = perf_counter()
    assert not tool.matches(name)
    assert not workload.matches(caller)
    assert perf_counter() - started < 2
