"""Marked personal data in every place where MCP allows a text or a number."""

import base64
import json
from collections.abc import Callable
from contextlib import suppress
from itertools import cycle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callgate.errors import Reason, Refusal
from callgate.screening.mask import Tally
from callgate.screening.mcp_places import KNOWN_NAMES
from callgate.screening.messages import screen_message
from callgate.screening.terms import Handling, MaskRule, Mode, Screening
from callgate.wire.json_strict import JsonValue
from callgate.wire.jsonrpc import RpcFailure, RpcNotification, ServerMessage, encode
from support.said_messages import Path, all_messages, at, body_of, objects, places, planted, with_body

KEY = b"k" * 32
# By what is looked for, as a text and as a number where there is one.
CANARIES: dict[str, str] = {
    "email": "ada.lindqvist@kestrel-quarry.com",
    "phone": "+46 70-174 06 05",
    "card": "4033 5300 8527 5872",
    "iban": "FR57 3884 0586 23B9 8EQZ 9SEO G15",
    "us_ssn": "219-46-5028",
    "ipv4": "198.51.100.23",
    "ipv6": "2001:db8:85a3::8a2e:370:7334",
    "mac": "00:16:3e:5a:7b:9c",
    "secret": "ghp_FAKEJPDOukGKlcSn2q8zCgz8rIZ67aNv5IUS",
    "employee": "EMP-904233",
}
NUMBERS: dict[str, int] = {"card": 4033530085275872, "employee": 9042337715}
MODES = [Mode.REDACT, Mode.PARTIAL, Mode.PSEUDONYM, Mode.DROP]
MESSAGES = list(all_messages())
WAYS: dict[str, Callable[[str], str]] = {
    "alone": lambda value: value,
    "in words": lambda value: f"see {value}, please",
    "in json": lambda value: json.dumps({"a": [1, {"b": value}]}),
    "in json in json": lambda value: json.dumps([json.dumps({"a": value})]),
    "in lines of json": lambda value: f'{{"a":1}}\n{json.dumps({"a": value})}\n',
    "in escapes": lambda value: '{"a":"' + "".join(f"\\u{ord(sign):04x}" for sign in value) + '"}',
    "in rows": lambda value: f"id\tvalue\n1\t{value}\n",
    "in quotes": lambda value: f'"{value}"',
}


def rules(name: str, mode: Mode) -> tuple[MaskRule, ...]:
    if name == "employee":
        return (MaskRule(mode, name, pattern="EMP-[0-9]{6}"), MaskRule(mode, name, pattern="^9042337715$"))
    return (MaskRule(mode, name, entity=name),)


def screened(method: str, said: ServerMessage, name: str, mode: Mode, **more: Handling) -> ServerMessage | Refusal:
    return screen_message(said, method, Screening(answers=rules(name, mode), **more), KEY, Tally())  # type: ignore[arg-type]


def essence(value: str) -> str:
    return "".join(filter(str.isalnum, value)).casefold()


def survives(value: str, shown: ServerMessage) -> bool:
    """Whether the value is anywhere in what is sent, whatever stands between its letters and however it is escaped."""

    def texts(part: JsonValue) -> list[str]:
        if isinstance(part, dict):
            return [text for name, each in part.items() for text in (name, *texts(each))]
        if isinstance(part, list):
            return [text for each in part for text in texts(each)]
        if not isinstance(part, str):
            return [str(part)]
        return [part, *decoded(part)]

    def decoded(text: str) -> list[str]:
        found: list[str] = []
        with suppress(ValueError):
            found += texts(base64.b64decode(text, validate=True).decode()) if text else []
        for line in (text, *text.splitlines()):
            try:
                found += texts(json.loads(line)) if line.lstrip()[:1] in ("{", "[", '"') else []
            except ValueError:
                continue
        return found

    everything = texts(json.loads(encode(shown)))
    return any(essence(value) in essence(text) for text in everything)


def is_free(path: Path, said: ServerMessage) -> bool:
    """Whether nobody but the tool server says what stands there."""
    return not (path == ("progressToken",) and isinstance(said, RpcNotification))


PLACES = [(i, path) for i, (_, said) in enumerate(MESSAGES) for path in places(body_of(said)) if is_free(path, said)]
OBJECTS = [(i, path) for i, (_, said) in enumerate(MESSAGES) for path in objects(body_of(said))]
IN_BASE64 = [(i, path) for i, path in PLACES if at(body_of(MESSAGES[i][1]), path) == "AAEC/w=="]


@pytest.mark.parametrize("method_and_said", MESSAGES, ids=lambda each: type(each[1]).__name__)
def test_a_message_without_a_canary_stays_the_same_object(method_and_said: tuple[str, ServerMessage]) -> None:
    method, said = method_and_said
    asked = tuple(rule for name in CANARIES for rule in rules(name, Mode.REDACT))
    tally = Tally()
    assert screen_message(said, method, Screening(answers=asked), KEY, tally) is said
    assert tally == Tally()


# Each mode once in every place; the property below goes over all of them together.
TOGETHER = [*zip(("email", "card", "iban", "secret"), MODES, strict=True), ("employee", Mode.REDACT)]


@pytest.mark.parametrize(("name", "mode"), TOGETHER)
def test_no_text_survives_in_any_place(name: str, mode: Mode) -> None:
    for index, path in PLACES:
        method, said = MESSAGES[index]
        if isinstance(at(body_of(said), path), str):
            shown = screened(method, with_body(said, planted(body_of(said), path, CANARIES[name])), name, mode)
            assert_gone(shown, CANARIES[name], is_base64=(index, path) in IN_BASE64)


def assert_gone(shown: ServerMessage | Refusal, value: str, *, is_base64: bool) -> None:
    if isinstance(shown, Refusal):
        assert is_base64
        assert shown.reason is Reason.ANSWER_UNSCREENABLE
        assert value not in str(shown)
    else:
        assert not survives(value, shown)


@given(
    place=st.sampled_from(PLACES),
    name=st.sampled_from(sorted(CANARIES)),
    mode=st.sampled_from(MODES),
    way=st.sampled_from(sorted(WAYS)),
)
def test_no_text_survives_whatever_it_is_and_stands_in(
    place: tuple[int, Path], name: str, mode: Mode, way: str
) -> None:
    method, said = MESSAGES[place[0]]
    value = WAYS[way](CANARIES[name])
    if place in IN_BASE64:
        value = base64.b64encode(value.encode()).decode()
    shown = screened(method, with_body(said, planted(body_of(said), place[1], value)), name, mode)
    assert not isinstance(shown, Refusal)
    assert not survives(CANARIES[name], shown)


@pytest.mark.parametrize(("name", "mode"), [*(("card", mode) for mode in MODES), ("employee", Mode.REDACT)])
def test_no_number_survives_in_any_place_and_each_stays_a_number(name: str, mode: Mode) -> None:
    number = NUMBERS[name]
    for (index, path), value in zip(PLACES, cycle((number, float(number), -number)), strict=False):
        method, said = MESSAGES[index]
        if isinstance(said, RpcFailure) and path == ("message",):
            # A number there is no message of JSON-RPC's.
            continue
        shown = screened(method, with_body(said, planted(body_of(said), path, value)), name, mode)
        assert not isinstance(shown, Refusal)
        assert not survives(str(number), shown)


VALUES: list[JsonValue] = ["words", 1, {"a": "b"}, ["c"], None]


@pytest.mark.parametrize(("name", "mode"), TOGETHER)
def test_no_name_of_a_member_survives_in_any_object(name: str, mode: Mode) -> None:
    for (index, path), value in zip(OBJECTS, cycle(VALUES), strict=False):
        method, said = MESSAGES[index]
        if isinstance(said, RpcFailure) and not path:
            # The members of an error are read one by one; others are left behind.
            continue
        body = planted(body_of(said), (*path, f"of {CANARIES[name]}"), value)
        shown = screened(method, with_body(said, body), name, mode)
        assert not isinstance(shown, Refusal)
        assert not survives(CANARIES[name], shown)


@given(
    place=st.sampled_from(PLACES), name=st.sampled_from(["email", "secret", "iban"]), mode=st.sampled_from(MODES[:3])
)
def test_everything_else_is_as_it_was(place: tuple[int, Path], name: str, mode: Mode) -> None:
    index, path = place
    method, said = MESSAGES[index]
    if place in IN_BASE64:
        # Refused, or masked in base64.
        return
    original = body_of(said)
    shown = screened(method, with_body(said, planted(original, path, CANARIES[name])), name, mode)
    assert not isinstance(shown, Refusal)
    if path[-1] == "name" and "tools" in path:
        # The tool is hidden.
        return
    left = body_of(shown)
    assert planted(left, path, at(original, path)) == original


def test_a_name_of_the_protocols_is_never_masked() -> None:
    rule = MaskRule(Mode.REDACT, "word", pattern="[a-zA-Z_]+")
    for method, said in MESSAGES:
        shown = screen_message(said, method, Screening(answers=(rule,)), KEY, Tally())
        if not isinstance(shown, Refusal):
            known = set(body_of(said)) & KNOWN_NAMES
            assert known <= set(body_of(shown))
