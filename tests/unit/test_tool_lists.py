import json

import pytest

from callgate.policy.annotations import MAX_TOOLS
from callgate.tool_lists import MAX_TOOL_LIST_BYTES, NotAToolList, read_tool_list

SCHEMA = {"type": "object", "properties": {"id": {"type": "integer", "maximum": 2**60}}}
TOOLS = {"tools": [{"name": "get", "inputSchema": SCHEMA}, {"name": "list"}]}


def read(value: object) -> object:
    return read_tool_list(json.dumps(value).encode())


@pytest.mark.parametrize("value", [TOOLS, {"jsonrpc": "2.0", "id": 1, "result": TOOLS}])
def test_reads_a_list_and_the_whole_answer_with_one(value: object) -> None:
    assert read(value) == {"get": SCHEMA, "list": {}}


def test_leaves_out_names_that_no_call_may_have() -> None:
    assert read({"tools": [{"name": "two words"}, {"name": "get"}]}) == {"get": {}}


def test_takes_a_schema_that_is_none_for_one_that_says_nothing() -> None:
    assert read({"tools": [{"name": "get", "inputSchema": "any"}]}) == {"get": {}}


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ([], "has no list 'tools'"),
        ({}, "has no list 'tools'"),
        ({"error": {"code": -32601}}, "has no list 'tools'"),
        ({"tools": {}}, "has no list 'tools'"),
        ({"tools": [{"name": "a"}, {"title": "b"}]}, r"has no name in tools\[1\]"),
        ({"tools": ["a"]}, r"has no name in tools\[0\]"),
        ({"tools": [{"name": "a"}] * (MAX_TOOLS + 1)}, "has 2001 tools; the limit is 2000"),
    ],
)
def test_says_why_a_file_is_no_tool_list(value: object, words: str) -> None:
    with pytest.raises(NotAToolList, match=words):
        read(value)


@pytest.mark.parametrize("data", [b"", b"{", b'{"tools": [], "tools": []}', b"\xff", b" " * (MAX_TOOL_LIST_BYTES + 1)])
def test_reads_no_more_than_json_in_one_reading(data: bytes) -> None:
    with pytest.raises(NotAToolList, match="is not JSON that can be taken"):
        read_tool_list(data)
