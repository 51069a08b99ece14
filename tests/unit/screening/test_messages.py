import base64
import json
import time
from collections.abc import Callable

import pytest

from callgate.errors import Reason, Refusal
from callgate.screening.mask import MAX_FINDS, Tally
from callgate.screening.masks import Masks, masks_of
from callgate.screening.messages import screen_arguments, screen_message
from callgate.screening.terms import ENTITIES, Found, Handling, MaskRule, Mode, Screening
from callgate.wire.json_strict import JsonObject, JsonValue
from callgate.wire.jsonrpc import RpcFailure, RpcNotification, RpcRequest, RpcResult, ServerMessage, encode

KEY = b"k" * 32
EMAIL = "ada.lindqvist@kestrel-quarry.com"
CARD = "4033530085275872"


def entity(name: str, mode: Mode = Mode.REDACT) -> MaskRule:
    return MaskRule(mode, name, entity=name)


def key(name: str, mode: Mode = Mode.REDACT, called: str = "own") -> MaskRule:
    return MaskRule(mode, called, key=name)


def pointer(place: str, mode: Mode = Mode.REDACT) -> MaskRule:
    return MaskRule(mode, "placed", pointer=place)


def screened(
    said: ServerMessage, *rules: MaskRule, method: str = "tools/call", tally: Tally | None = None, **screening: Handling
) -> ServerMessage | Refusal:
    asked = Screening(answers=rules, **screening)  # type: ignore[arg-type]
    return screen_message(said, method, asked, KEY, tally if tally is not None else Tally())


def result(
    body: JsonObject, *rules: MaskRule, method: str = "tools/call", tally: Tally | None = None, **screening: Handling
) -> JsonObject:
    shown = screened(RpcResult(1, body), *rules, method=method, tally=tally, **screening)
    assert isinstance(shown, RpcResult), shown
    return shown.result


def reason(found: object) -> Reason:
    assert isinstance(found, Refusal), found
    return found.reason


def text(words: str) -> JsonObject:
    return {"content": [{"type": "text", "text": words}]}


def text_of(body: JsonObject) -> str:
    content = body["content"]
    assert isinstance(content, list)
    assert isinstance(content[0], dict)
    return str(content[0]["text"])


# What is clean


def test_a_clean_message_stays_the_same_object() -> None:
    said = RpcResult(1, {"content": [{"type": "text", "text": "plain"}], "structuredContent": {"a": [1, "b", None]}})
    assert screened(said, entity("email"), entity("card"), key("dob"), pointer("/x")) is said


def test_a_message_stays_the_same_object_where_nothing_is_looked_for() -> None:
    said = RpcResult(1, text(EMAIL))
    tally = Tally()
    assert screened(said, tally=tally) is said
    assert tally == Tally()


def test_clean_arguments_stay_the_same_object() -> None:
    arguments: JsonObject = {"a": "b"}
    assert screen_arguments(arguments, Screening(arguments=(entity("email"),)), KEY, Tally()) is arguments


# Texts, names and numbers


def test_what_is_found_is_replaced_and_counted_by_its_name() -> None:
    tally = Tally()
    shown = result(text(f"from {EMAIL} and {EMAIL}, card {CARD}"), entity("email"), entity("card"), tally=tally)
    assert text_of(shown) == "from [email] and [email], card [card]"
    assert tally.counts == {"email": 2, "card": 1}


def test_an_author_names_what_is_counted() -> None:
    tally = Tally()
    shown = result(text(CARD), MaskRule(Mode.REDACT, "payment", entity="card"), tally=tally)
    assert (text_of(shown), tally.counts) == ("[payment]", {"payment": 1})


def test_own_patterns_are_looked_for_in_each_text_alone() -> None:
    rule = MaskRule(Mode.REDACT, "employee", pattern="^EMP-[0-9]{6}$")
    shown = result({"structuredContent": {"who": "EMP-123456", "said": "EMP-123456 left"}}, rule)
    assert shown == {"structuredContent": {"who": "[employee]", "said": "EMP-123456 left"}}


def test_a_name_of_a_member_is_renamed_and_never_given_twice() -> None:
    shown = result({"structuredContent": {EMAIL: 1, "x" + EMAIL: 2, "[email]": 3}}, entity("email"))
    assert shown == {"structuredContent": {"[email]-2": 1, "[email]-3": 2, "[email]": 3}}


@pytest.mark.parametrize("number", [int(CARD), float(CARD), -int(CARD)])
@pytest.mark.parametrize(("mode", "left"), [(Mode.REDACT, 0), (Mode.PARTIAL, 5872)])
def test_a_number_stays_a_number_of_its_kind(number: float, mode: Mode, left: int) -> None:
    shown = result({"structuredContent": {"n": number}}, entity("card", mode))
    masked = shown["structuredContent"]["n"]  # type: ignore[index,call-overload]
    assert masked == left
    assert type(masked) is type(number)


def test_a_number_becomes_another_of_as_many_digits_for_one_workload() -> None:
    def other(number: int, workload: bytes) -> int:
        said = RpcResult(1, {"structuredContent": {"n": number}})
        rules = Screening(answers=(entity("card", Mode.PSEUDONYM),))
        shown = screen_message(said, "tools/call", rules, workload, Tally())
        assert isinstance(shown, RpcResult)
        return shown.result["structuredContent"]["n"]  # type: ignore[index,call-overload,return-value]

    one = other(int(CARD), KEY)
    assert one == other(int(CARD), KEY)
    assert one != other(int(CARD), b"l" * 32)
    assert len(str(one)) == len(CARD)
    assert one != int(CARD)
    assert one < 2**53


def test_a_number_is_told_by_the_names_around_it() -> None:
    content: JsonObject = {"phone": {"number": 4155550132}, "ssns": ["402317765"], "total": 4155550132}
    shown = result({"structuredContent": content}, entity("phone"), entity("us_ssn"))
    assert shown == {"structuredContent": {"phone": {"number": 0}, "ssns": ["[us_ssn]"], "total": 4155550132}}


def test_a_number_is_not_told_by_what_stands_in_another_member() -> None:
    content: JsonObject = {"phone": "none", "x": "4155550132", "y": [4155550132]}
    said = RpcResult(1, {"structuredContent": content, "content": [{"type": "text", "text": "phone"}]})
    assert screened(said, entity("phone")) is said


def test_a_column_is_told_by_the_head_of_its_own_table() -> None:
    table: JsonObject = {"type": "text", "text": "name,phone\nAda,4155550132\n"}
    plain: JsonObject = {"type": "text", "text": "name,total\nAda,4155550132\n"}
    shown = result({"content": [plain, table, plain]}, entity("phone"))
    assert shown == {"content": [plain, {"type": "text", "text": "name,phone\nAda,[phone]\n"}, plain]}


def test_dropped_values_go_with_what_they_are_the_value_of() -> None:
    body: JsonObject = {
        "content": [{"type": "text", "text": EMAIL}, {"type": "text", "text": "rest"}],
        "structuredContent": {"who": EMAIL, "all": [EMAIL, "b"], "n": 1},
        "_meta": {"who": EMAIL},
    }
    assert result(body, entity("email", Mode.DROP)) == {
        "content": [{"type": "text", "text": "rest"}],
        "structuredContent": {"all": ["b"], "n": 1},
        "_meta": {},
    }


def test_what_the_protocol_wants_is_left_empty_where_it_is_dropped() -> None:
    body: JsonObject = {
        "messages": [{"role": "user", "content": {"type": "text", "text": EMAIL}}],
        "description": EMAIL,
    }
    shown = result(body, entity("email", Mode.DROP), method="prompts/get")
    assert shown == {"messages": [{"role": "user", "content": {"type": "text", "text": ""}}]}


@pytest.mark.parametrize("mode", [Mode.DENY, Mode.HOLD])
def test_a_denied_find_refuses_the_message_and_names_no_value(mode: Mode) -> None:
    tally = Tally()
    refused = screened(RpcResult(1, text(EMAIL)), entity("email", mode), tally=tally)
    assert refused == Refusal(Reason.ANSWER_DENIED, "email")
    assert tally.denied == ["email"]


def test_denied_arguments_are_refused_for_a_reason_of_their_own() -> None:
    asked = Screening(arguments=(entity("email", Mode.DENY),))
    assert reason(screen_arguments({"to": EMAIL}, asked, KEY, Tally())) is Reason.ARGUMENTS_DENIED


def test_arguments_are_masked_by_their_own_rules() -> None:
    asked = Screening(answers=(entity("card"),), arguments=(entity("email"), pointer("/who/name", Mode.DROP)))
    arguments: JsonObject = {"to": [EMAIL], "card": CARD, "who": {"name": "Ada", "age": 3}}
    assert screen_arguments(arguments, asked, KEY, Tally()) == {"to": ["[email]"], "card": CARD, "who": {"age": 3}}


def test_of_several_modes_the_strictest_counts() -> None:
    rules = (entity("email", Mode.PARTIAL), entity("email", Mode.REDACT), entity("email", Mode.PSEUDONYM))
    assert text_of(result(text(EMAIL), *rules)) == "[email]"
    both = (key("who", Mode.PARTIAL), pointer("/who", Mode.DROP))
    assert result({"structuredContent": {"who": "Ada"}}, *both) == {"structuredContent": {}}


# Names of members and places


@pytest.mark.parametrize("name", ["date_of_birth", "DateOfBirth", "date-of-birth", "Date of Birth", "DATEOFBIRTH"])
def test_names_are_compared_without_case_and_dividers(name: str) -> None:
    assert result({"structuredContent": {name: "x"}}, key("date_Of-birth")) == {"structuredContent": {name: "[own]"}}


@pytest.mark.parametrize(
    ("value", "masked"),
    [
        ("Ada", "[own]"),
        ("", ""),
        (3, 0),
        (1.5, 0.0),
        (None, None),
        (True, False),
        (["a"], "[own]"),
        ({"a": 1}, "[own]"),
    ],
)
def test_a_value_is_masked_whole_by_the_name_of_its_member(value: JsonValue, masked: JsonValue) -> None:
    shown = result({"structuredContent": {"who": value}}, key("who"))
    assert shown == {"structuredContent": {"who": masked}}


def test_a_date_of_birth_is_masked_by_its_name_whatever_it_is() -> None:
    body: JsonObject = {"structuredContent": {"dob": 19900101, "birthDate": {"y": 1990}}}
    assert result(body, entity("birth_date")) == {"structuredContent": {"dob": 0, "birthDate": "[birth_date]"}}


def test_names_that_the_protocol_gives_are_no_names_of_values() -> None:
    body: JsonObject = {"content": [{"type": "text", "text": "a", "name": "b"}], "structuredContent": {"name": "c"}}
    rules = (key("name"), key("text"), key("content"), key("type"))
    assert result(body, *rules) == {**body, "structuredContent": {"name": "[own]"}}


def test_a_schema_still_says_what_it_said_of_a_name_that_is_masked() -> None:
    schema: JsonObject = {
        "type": "object",
        "properties": {
            "dob": {"type": "string", "format": "date", "default": "1990-01-01", "examples": ["1991-01-01"]}
        },
        "required": ["dob"],
    }
    body: JsonObject = {"tools": [{"name": "a", "inputSchema": schema}]}
    shown = result(body, key("dob"), method="tools/list")
    masked = {"type": "string", "format": "date", "default": "[own]", "examples": "[own]"}
    assert shown == {"tools": [{"name": "a", "inputSchema": {**schema, "properties": {"dob": masked}}}]}


@pytest.mark.parametrize(
    ("place", "left"),
    [
        ("/a/0", {"a": ["[placed]", {"b": "y"}], "~/": 1}),
        ("/a/1/b", {"a": ["x", {"b": "[placed]"}], "~/": 1}),
        ("/a/*", {"a": ["[placed]", "[placed]"], "~/": 1}),
        ("/*/1/b", {"a": ["x", {"b": "[placed]"}], "~/": 1}),
        ("/~0~1", {"a": ["x", {"b": "y"}], "~/": 0}),
        ("/a/01", {"a": ["x", {"b": "y"}], "~/": 1}),
        ("/a/-", {"a": ["x", {"b": "y"}], "~/": 1}),
    ],
)
def test_pointers_begin_at_the_structured_content(place: str, left: JsonValue) -> None:
    body: JsonObject = {"a": ["x", {"b": "y"}], "~/": 1}
    assert result({"structuredContent": body, "a": ["z"]}, pointer(place)) == {"structuredContent": left, "a": ["z"]}


def test_what_a_text_mirrors_is_masked_in_the_text_too() -> None:
    content: JsonObject = {"customer": {"name": "Ada"}}
    body: JsonObject = {"structuredContent": content, **text(json.dumps(content))}
    shown = result(body, pointer("/customer/name"))
    assert json.loads(text_of(shown)) == shown["structuredContent"] == {"customer": {"name": "[placed]"}}


def test_a_wrapped_result_is_masked_in_the_text_that_is_not_wrapped() -> None:
    body: JsonObject = {"structuredContent": {"result": [{"name": "Ada"}]}, **text('[{"name": "Ada"}]')}
    shown = result(body, pointer("/result/*/name"))
    assert text_of(shown) == '[{"name":"[placed]"}]'


# Texts that hold more


@pytest.mark.parametrize(
    "said",
    [
        '{"dob": "1990-01-01"}',
        ' [{"a": {"d\\u006fb": "1990-01-01"}}]',
        '{"in": "{\\"dob\\": \\"1990-01-01\\"}"}',
        '{"dob": "1990-01-01"}\n{"dob": "1990-01-01"}\n',
        '{"dob": "1990-01-01", "broken',
        "dob=1990-01-01 level=info",
        "?dob=1990-01-01&x=1",
        "Dob: 1990-01-01\nName: x",
        "<dob>1990-01-01</dob>",
        "name,dob,x\nada,1990-01-01,1\n",
        '"x";"Dob"\n"a;b";"1990-01-01"\n',
        "| name | dob |\n|---|---|\n| ada | 1990-01-01 |\n",
        "user:\n  dob:\n    - 1990-01-01\n  x: 1",
        "User(dob='1990-01-01', x=1)",
        '{\\"dob\\": \\"1990-01-01\\", \\"x\\": ',
        "**Dob:** 1990-01-01",
    ],
)
def test_values_under_a_name_are_masked_in_texts(said: str) -> None:
    shown = text_of(result(text(said), key("dob")))
    assert "1990" not in shown
    assert "own" in shown


@pytest.mark.parametrize("said", ["the dobs of 1990-01-01", "adobe: 1990-01-01", "a_dob: 1990-01-01", "dob 1990-01-01"])
def test_a_name_within_another_word_is_none(said: str) -> None:
    assert text_of(result(text(said), key("dob"))) == said


def test_a_text_of_json_stays_as_it_was_written_where_it_is_clean() -> None:
    said = RpcResult(1, text('{ "a" :  "b\\n",\n "dobx": 1}'))
    assert screened(said, key("dob"), entity("email"), pointer("/x")) is said


def test_json_within_json_is_masked_down_to_a_limit_and_refused_below() -> None:
    def nested(levels: int) -> RpcResult:
        inner = json.dumps({"who": EMAIL})
        for _ in range(levels):
            inner = json.dumps({"inner": inner})
        return RpcResult(1, text(inner))

    shown = screened(nested(3), entity("email"))
    assert isinstance(shown, RpcResult)
    assert EMAIL not in encode(shown).decode()
    assert reason(screened(nested(4), entity("email"))) is Reason.ANSWER_UNSCREENABLE


# Base64


def image(content: bytes, media_type: str | None = None) -> JsonObject:
    block: JsonObject = {"type": "image", "data": base64.b64encode(content).decode()}
    return {"content": [block if media_type is None else {**block, "mimeType": media_type}]}


@pytest.mark.parametrize(
    "media_type", ["text/plain", "application/json; charset=utf-8", "image/svg+xml", None, "image/png"]
)
def test_text_in_base64_is_masked_whatever_it_says_it_is(media_type: str | None) -> None:
    shown = result(image(f'{{"who": "{EMAIL}"}}'.encode(), media_type), entity("email"))
    assert base64.b64decode(shown["content"][0]["data"]) == b'{"who":"[email]"}'  # type: ignore[index,call-overload,arg-type]


def test_a_picture_stays_the_same_object() -> None:
    said = RpcResult(1, image(b"\x89PNG\r\n\x1a\n\0\0", "image/png"))
    assert screened(said, entity("email")) is said


@pytest.mark.parametrize("data", ["!!!!", "YQ", "YQ==\n", "YQ==YQ==", "YQ=", "é", EMAIL])
def test_what_is_not_base64_is_refused(data: str) -> None:
    block: JsonObject = {"type": "image", "data": data, "mimeType": "image/png"}
    assert reason(screened(RpcResult(1, {"content": [block]}), entity("email"))) is Reason.ANSWER_UNSCREENABLE


@pytest.mark.parametrize("content", [b"\xff\xfea\0b\0", "é".encode("latin-1"), "ab".encode("utf-16-le")])
def test_text_that_is_not_utf_8_is_refused(content: bytes) -> None:
    said = RpcResult(1, image(content, "text/plain; charset=utf-16"))
    assert reason(screened(said, entity("email"))) is Reason.ANSWER_UNSCREENABLE


def test_base64_passes_or_is_denied_where_the_policy_says_so() -> None:
    said = RpcResult(1, image(EMAIL.encode(), "text/plain"))
    assert screened(said, entity("email"), base64=Handling.PASS) is said
    assert screened(said, base64=Handling.DENY) == Refusal(Reason.ANSWER_DENIED, "base64")


def test_data_elsewhere_is_text() -> None:
    body: JsonObject = {"structuredContent": {"type": "image", "data": EMAIL, "blob": EMAIL}}
    shown = result(body, entity("email"), base64=Handling.PASS)
    assert shown == {"structuredContent": {"type": "image", "data": "[email]", "blob": "[email]"}}


def test_a_dropped_find_in_base64_takes_its_block_along() -> None:
    assert result(image(EMAIL.encode()), entity("email", Mode.DROP)) == {"content": []}


# Definitions, errors and what is said meanwhile


def test_a_tool_whose_name_is_masked_is_hidden() -> None:
    tools: list[JsonValue] = [{"name": f"mail_{EMAIL}", "inputSchema": {}}, {"name": "b", "inputSchema": {}}]
    assert result({"tools": tools}, entity("email"), method="tools/list") == {"tools": tools[1:]}


@pytest.mark.parametrize(
    ("code", "shown"),
    [(4155550132, -32603), (-219465028, -32603), (-32602, -32602), (-32000, -32000), (-31403, -31403), (404, 404)],
)
def test_a_code_that_nobody_gave_becomes_another(code: int, shown: int) -> None:
    said = RpcFailure(1, code, "no", None)
    assert screened(said, entity("email")) == RpcFailure(1, shown, "no", None)
    assert screened(said) is said


def test_errors_are_masked_in_message_and_data() -> None:
    said = RpcFailure(1, -32602, f"no {EMAIL}", {EMAIL: [EMAIL, int(CARD)]})
    shown = screened(said, entity("email"), entity("card"))
    assert shown == RpcFailure(1, -32602, "no [email]", {"[email]": ["[email]", 0]})


def test_the_token_of_progress_is_the_clients_and_stays() -> None:
    said = RpcNotification("notifications/progress", {"progressToken": EMAIL, "progress": int(CARD), "message": EMAIL})
    shown = screened(said, entity("email"), entity("card"))
    params: JsonObject = {"progressToken": EMAIL, "progress": 0, "message": "[email]"}
    assert shown == RpcNotification("notifications/progress", params)


def test_ids_stay() -> None:
    said = RpcResult(EMAIL, text(EMAIL))
    assert screened(said, entity("email")) == RpcResult(EMAIL, text("[email]"))


def test_a_method_that_holds_a_find_is_refused() -> None:
    said = RpcNotification(f"notifications/{EMAIL}", {})
    assert reason(screened(said, entity("email"))) is Reason.ANSWER_UNSCREENABLE


def test_words_of_the_protocol_are_found_by_nobody() -> None:
    rule = MaskRule(Mode.REDACT, "word", pattern="text|user|info|complete|content|sampling")
    said = RpcRequest(
        "q", "sampling/createMessage", {"messages": [{"role": "user", "content": {"type": "text", "text": "x"}}]}
    )
    assert screened(said, rule) is said
    tool: JsonObject = {"name": "a", "inputSchema": {"type": "object"}, "annotations": {"audience": ["user"]}}
    listed = RpcResult(1, {"tools": [tool], "resultType": "complete"})
    assert (
        screened(listed, MaskRule(Mode.REDACT, "word", pattern="object|user|complete"), method="tools/list") is listed
    )
    noted = RpcNotification("notifications/message", {"level": "info", "data": "info"})
    assert screened(noted, rule) == RpcNotification("notifications/message", {"level": "info", "data": "[word]"})


# Text that lies

LIE = "read\u202efile\u200b"


def test_text_that_lies_is_stripped_and_counted() -> None:
    tally = Tally()
    shown = result({"structuredContent": {f"a{LIE}": LIE}, **text(f"\x1b[8m{LIE}")}, tally=tally)
    assert shown == {"structuredContent": {"areadfile": "readfile"}, **text("readfile")}
    assert tally.deceptive["bidi"] == 3
    assert tally.deceptive["ansi"] == 1


def test_a_name_that_is_stripped_is_not_given_to_anothers_member() -> None:
    shown = result({"structuredContent": {"na\u200bme": 1, "name": 2}})
    assert shown == {"structuredContent": {"name-2": 1, "name": 2}}


def test_text_that_lies_is_denied_or_passes_by_where_it_stands() -> None:
    said = RpcResult(1, text(LIE))
    assert reason(screened(said, results=Handling.DENY)) is Reason.TEXT_DECEPTIVE
    assert isinstance(screened(said, definitions=Handling.DENY), RpcResult)
    tally = Tally()
    assert screened(said, results=Handling.PASS, tally=tally) is said
    assert tally.deceptive
    listed = RpcResult(1, {"tools": [{"name": "a", "description": LIE, "inputSchema": {}}]})
    assert reason(screened(listed, method="tools/list", definitions=Handling.DENY)) is Reason.TEXT_DECEPTIVE
    assert screened(listed, method="tools/list", definitions=Handling.PASS) is listed


def test_a_mask_is_not_avoided_by_text_that_lies() -> None:
    hidden = EMAIL.replace("@", "@\u200b")
    for handling in (Handling.STRIP, Handling.PASS):
        shown = result(
            {"structuredContent": {"d\u200bob": "x"}, **text(hidden)}, entity("email"), key("dob"), results=handling
        )
        assert text_of(shown) == "[email]"
        assert list(shown["structuredContent"].values()) == ["[own]"]  # type: ignore[union-attr]


def test_a_tool_with_a_name_that_lies_is_hidden() -> None:
    def tools(*names: str) -> JsonObject:
        return {"tools": [{"name": name, "inputSchema": {}} for name in names]}

    tally = Tally()
    shown = result(tools("pay", "pa\u200by", "read_file", "read-file"), method="tools/list", tally=tally)
    assert shown == tools("pay", "read_file")
    assert tally.deceptive["zero_width"] == 1
    assert tally.deceptive["lookalike"] >= 1
    denied = screened(RpcResult(1, tools("l0g", "log")), method="tools/list", definitions=Handling.DENY)
    assert reason(denied) is Reason.TEXT_DECEPTIVE


# Output schemas


def holding(check: Callable[[JsonValue], bool], body: JsonObject, *rules: MaskRule) -> ServerMessage | Refusal:
    return screen_message(RpcResult(1, body), "tools/call", Screening(answers=rules), KEY, Tally(), check)


def is_long_text(value: JsonValue) -> bool:
    return isinstance(value, dict) and isinstance(value.get("who"), str) and len(str(value["who"])) == len(EMAIL)


def test_a_result_that_fits_no_schema_is_refused_masked_or_not() -> None:
    assert reason(holding(lambda _: False, {"structuredContent": {}})) is Reason.ANSWER_INVALID
    assert reason(holding(lambda _: True, text("none"))) is Reason.ANSWER_INVALID


def test_a_tools_own_error_is_not_held_against_the_schema() -> None:
    body: JsonObject = {**text("failed"), "isError": True}
    assert isinstance(holding(lambda _: False, body), RpcResult)


@pytest.mark.parametrize("mode", [Mode.REDACT, Mode.PARTIAL, Mode.PSEUDONYM, Mode.DROP])
def test_masked_content_has_the_shape_that_the_schema_wants(mode: Mode) -> None:
    shown = holding(is_long_text, {"structuredContent": {"who": EMAIL}, **text(EMAIL)}, entity("email", mode))
    assert isinstance(shown, RpcResult)
    assert is_long_text(shown.result["structuredContent"])
    assert EMAIL not in encode(shown).decode()


def test_numbers_and_objects_have_the_shape_that_the_schema_wants() -> None:
    def is_wanted(value: JsonValue) -> bool:
        assert isinstance(value, dict)
        customer, number = value["customer"], value["n"]
        return isinstance(customer, dict) and "name" in customer and isinstance(number, int) and number >= 10**15

    body: JsonObject = {"structuredContent": {"customer": {"name": "Ada", "tags": ["x"]}, "n": int(CARD)}}
    shown = holding(is_wanted, body, key("customer"), entity("card"))
    assert isinstance(shown, RpcResult)
    assert shown.result["structuredContent"] == {"customer": {"name": "Xxx", "tags": ["x"]}, "n": 10**15}


def test_content_that_cannot_be_masked_within_its_schema_is_refused() -> None:
    def is_the_one(value: JsonValue) -> bool:
        return value == {"who": EMAIL}

    assert (
        reason(holding(is_the_one, {"structuredContent": {"who": EMAIL}}, entity("email")))
        is Reason.ANSWER_UNSCREENABLE
    )


def test_masks_of_a_shape_count_once() -> None:
    tally = Tally()
    said = RpcResult(1, {"structuredContent": {"who": EMAIL}})
    screen_message(said, "tools/call", Screening(answers=(entity("email"),)), KEY, tally, is_long_text)
    assert tally.counts == {"email": 1}


# Shut when it fails


class Broken:
    def __init__(self, error: Exception) -> None:
        self._error = error

    def find(self, _: str, /) -> tuple[Found, ...]:
        raise self._error


@pytest.mark.parametrize("error", [RuntimeError(EMAIL), RecursionError(EMAIL), MemoryError(EMAIL), KeyError(EMAIL)])
@pytest.mark.parametrize("part", ["entities", "patterns"])
def test_a_detector_that_raises_refuses_and_tells_nothing(error: Exception, part: str) -> None:
    masks = Masks(**{part: Broken(error)}, modes=masks_of((entity("email"),)).modes)  # type: ignore[arg-type]
    for said in (RpcResult(1, text(EMAIL)), RpcFailure(1, 1, EMAIL, None), RpcNotification("x", {"a": EMAIL})):
        refused = screen_message(said, "tools/call", Screening(), KEY, Tally(), masks=masks)
        assert reason(refused) is Reason.SCREENING_FAILED
        assert EMAIL not in str(refused)
    assert reason(screen_arguments({"a": EMAIL}, Screening(), KEY, Tally(), masks)) is Reason.SCREENING_FAILED


def test_a_find_that_nobody_asked_for_refuses() -> None:
    class Strange:
        def find(self, text: str, /) -> tuple[Found, ...]:
            return (Found("strange", 0, len(text)),)

    masks = Masks(entities=Strange(), modes=masks_of((entity("email"),)).modes)
    refused = screen_message(RpcResult(1, text("a")), "tools/call", Screening(), KEY, Tally(), masks=masks)
    assert reason(refused) is Reason.SCREENING_FAILED


def test_a_schema_that_raises_refuses() -> None:
    def fails(_: JsonValue) -> bool:
        raise ValueError(EMAIL)

    assert reason(holding(fails, {"structuredContent": {}})) is Reason.SCREENING_FAILED


# Bounds

# For the largest answer that the gate takes, on a machine that others use too.
MAX_S = 3.0


def quickly(said: ServerMessage, *rules: MaskRule) -> ServerMessage | Refusal:
    began = time.perf_counter()
    shown = screened(said, *rules)
    assert time.perf_counter() - began < MAX_S
    return shown


def test_more_finds_than_are_masked_are_refused() -> None:
    body: JsonObject = {"structuredContent": {"all": [EMAIL] * (MAX_FINDS + 1)}}
    assert reason(quickly(RpcResult(1, body), entity("email"))) is Reason.ANSWER_UNSCREENABLE


RULES = (entity("email"), entity("card"), entity("birth_date"), key("dob"), key("name"), pointer("/a/*"))
MIB = 1024 * 1024


@pytest.mark.parametrize(
    "said",
    [
        "[" * MIB,
        "[" * MIB + "]" * MIB,
        '{"a":' * (MIB // 5),
        "[" + "[]," * (MIB // 3) + "[]]",
        "@" * MIB,
        "4" * MIB,
        "dob" * (MIB // 3),
        "dob " * (MIB // 4),
        "dob:" * (MIB // 4),
        "dob,x\n" * (MIB // 6),
        "x dob,dob,\n" * (MIB // 11),
        "dob," * (MIB // 4),
        "dob:\n " * (MIB // 6),
        "dob={" * (MIB // 5),
        '"dob":"' * (MIB // 7),
        "<dob>" * (MIB // 5),
        "dob" + "-_ " * (MIB // 3),
        "d-_ " * (MIB // 4),
        '"' * MIB,
        '{"dob":1}\n' * (MIB // 10),
        "\\" * MIB,
        '{"a":"' + "\\u0040" * (MIB // 6) + '"}',
        "é dob: x\n" * (MIB // 10),
        "\u200b" * MIB,
    ],
)
def test_nothing_that_comes_in_takes_long(said: str) -> None:
    shown = quickly(RpcResult(1, text(said)), *RULES)
    assert isinstance(shown, RpcResult) or reason(shown) is Reason.ANSWER_UNSCREENABLE


def test_as_many_values_as_an_answer_may_have_take_no_long() -> None:
    rows: list[JsonValue] = [{"name": "a", "n": index, "x": [None, "é"]} for index in range(20_000)]
    shown = quickly(RpcResult(1, {"structuredContent": {"a": rows}}), *RULES[:4])
    assert isinstance(shown, RpcResult)


def test_what_stands_in_base64_counts_too() -> None:
    inner = base64.b64encode(b"a " * (3 * MIB // 2)).decode()
    block: JsonObject = {"type": "image", "data": inner}
    body: JsonObject = {"content": [block, block, block, block]}
    assert reason(quickly(RpcResult(1, body), *RULES)) is Reason.ANSWER_UNSCREENABLE


@pytest.mark.parametrize(("size", "most_us"), [(4 * 1024, 200), (64 * 1024, 3000)])
def test_clean_text_is_looked_through_soon(size: int, most_us: float) -> None:
    # Ten times what `just bench` holds it to: others use the machine that tests run on.
    words = ("The quick brown fox jumps over 12 lazy dogs of 2024. " * (size // 50))[:size]
    said = RpcResult(1, {"content": [{"type": "text", "text": words}], "isError": False})
    asked = Screening(answers=tuple(entity(name) for name in ENTITIES))
    took: list[float] = []
    for _ in range(50):
        began = time.perf_counter()
        shown = screen_message(said, "tools/call", asked, KEY, Tally())
        took.append(time.perf_counter() - began)
        assert shown is said
    assert min(took) < most_us / 1e6
