"""What is kept of tools' annotations for conditions to ask."""

import pytest

from callgate.policy.annotations import MAX_TOOLS, Annotations
from callgate.wire.json_strict import JsonObject, JsonValue


def learned(*pages: JsonValue) -> Annotations:
    annotations = Annotations()
    for page in pages:
        annotations.learn("ledger", page)
    return annotations


def test_a_tool_is_unknown_until_a_list_names_it() -> None:
    annotations = learned([{"name": "get"}])

    assert annotations.of("ledger", "get") == {}
    assert annotations.of("ledger", "set") is None
    assert annotations.of("mail", "get") is None
    assert annotations.of("ledger", None) is None


def test_keeps_the_hints_of_the_protocol_with_the_types_that_they_have_there() -> None:
    hints: JsonObject = {
        "title": "Refund",
        "readOnlyHint": False,
        "destructiveHint": True,
        "idempotentHint": False,
        "openWorldHint": True,
    }

    assert learned([{"name": "get", "annotations": {**hints, "other": True}}]).of("ledger", "get") == hints


@pytest.mark.parametrize(
    "said", [{"title": 5}, {"readOnlyHint": "false"}, {"readOnlyHint": 1}, [], "readOnlyHint", None]
)
def test_takes_nothing_for_a_hint_that_is_none(said: JsonValue) -> None:
    assert learned([{"name": "get", "annotations": said}]).of("ledger", "get") == {}


def test_what_a_tool_says_later_replaces_what_it_said() -> None:
    before: JsonObject = {"readOnlyHint": True, "title": "Get"}
    after: JsonObject = {"readOnlyHint": False}
    annotations = learned([{"name": "get", "annotations": before}], [{"name": "get", "annotations": after}])

    assert annotations.of("ledger", "get") == {"readOnlyHint": False}


def test_a_second_page_keeps_the_first() -> None:
    annotations = learned([{"name": "a", "annotations": {"title": "A"}}], [{"name": "b"}])

    assert annotations.of("ledger", "a") == {"title": "A"}


@pytest.mark.parametrize("broken", [5, "x", None, {"title": "no name"}, {"name": 5}, {"name": "two words"}])
def test_reads_on_after_what_is_no_tool(broken: JsonValue) -> None:
    assert learned([broken, {"name": "get"}]).of("ledger", "get") == {}


@pytest.mark.parametrize("tools", [None, {}, "get", {"name": "get"}])
def test_takes_nothing_from_what_is_no_list(tools: JsonValue) -> None:
    assert learned(tools).of("ledger", "get") is None


def test_forgets_the_tool_that_was_named_longest_ago_and_no_other() -> None:
    annotations = learned([{"name": f"t{n}"} for n in range(MAX_TOOLS)], [{"name": "t0"}, {"name": "new"}])

    assert [annotations.of("ledger", tool) for tool in ("t0", "t1", "t2", "new")] == [{}, None, {}, {}]


def test_a_title_is_cut_where_it_would_be_too_much_to_keep() -> None:
    found = learned([{"name": "get", "annotations": {"title": "x" * 10_000}}]).of("ledger", "get")

    assert found == {"title": "x" * 256}
