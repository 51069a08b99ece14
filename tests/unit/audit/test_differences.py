import pytest

from callgate.audit.differences import MAX_DIFFERENCES, NOTHING, Difference, Side, differences
from callgate.wire.json_strict import JsonValue


@pytest.mark.parametrize(
    ("before", "after", "found"),
    [
        ({"a": 1}, {"a": 1}, []),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}, []),
        ({"a": 1}, {"a": 1.0}, []),
        ({"a": 1}, {"a": True}, [("$.a", 1, True)]),
        ({"a": None}, {}, [("$.a", None, NOTHING)]),
        ({}, {"a": None}, [("$.a", NOTHING, None)]),
        ({"a": [1, 2]}, {"a": [1, 3, 4]}, [("$.a[1]", 2, 3), ("$.a[2]", NOTHING, 4)]),
        ({"a": {"b": [{"c": "x"}]}}, {"a": {"b": [{"c": "y"}]}}, [("$.a.b[0].c", "x", "y")]),
        ({"a b": 1, "it's": 1}, {"a b": 2, "it's": 2}, [("$['a b']", 1, 2), ("$['it\\'s']", 1, 2)]),
        ([], {}, [("$", [], {})]),
        ("x", "y", [("$", "x", "y")]),
    ],
)
def test_names_each_place_by_its_path(before: JsonValue, after: JsonValue, found: list[tuple[str, Side, Side]]) -> None:
    assert list(differences(before, after)) == [Difference(*each) for each in found]


def test_no_more_places_are_named_than_a_person_reads() -> None:
    assert len(differences(list(range(1000)), [])) == MAX_DIFFERENCES


def test_a_value_that_is_nested_as_deep_as_can_be_is_compared() -> None:
    before: JsonValue = 1
    after: JsonValue = 2
    for _ in range(400):
        before, after = [before], [after]

    (place,) = differences(before, after)

    assert place.path.startswith("$[0][0]")
