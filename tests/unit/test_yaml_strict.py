import json

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from callgate import yaml_strict
from callgate.yaml_strict import Document, Problem, YamlLimits, YamlValue, decode, load, scan


@pytest.fixture(params=["libyaml", "python"], autouse=True)
def parser(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both parsers that PyYAML may come with have to read alike."""
    loaders = {"libyaml": yaml.CSafeLoader, "python": yaml.SafeLoader}
    monkeypatch.setattr(yaml_strict, "_LOADER", loaders[request.param])


def read(text: str) -> YamlValue:
    document = load(text, "f.yaml")
    assert isinstance(document, Document), document
    return document.value


def problems(text: str, limits: YamlLimits = yaml_strict.DEFAULT_LIMITS) -> list[str]:
    found = load(text, "f.yaml", limits)
    assert not isinstance(found, Document), found.value
    return [str(problem) for problem in found]


def only_problem(text: str) -> str:
    found = problems(text)
    assert len(found) == 1, found
    return found[0]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("true", True),
        ("false", False),
        ("null", None),
        ("~", None),
        ("0", 0),
        ("-17", -17),
        ("1.5", 1.5),
        ("-1e3", -1000.0),
        ("2E-2", 0.02),
        (str(2**53 - 1), 2**53 - 1),
        ("''", ""),
        ("'5'", "5"),
        ('"true"', "true"),
        ('"a\\tb\\u00e9"', "a\tbé"),
        ("|\n  a\n  b\n", "a\nb\n"),
    ],
)
def test_reads_scalars_as_json_means_them(text: str, value: YamlValue) -> None:
    found = read(f"key: {text}")

    assert found == {"key": value}
    assert isinstance(found, dict)
    assert type(found["key"]) is type(value)


@pytest.mark.parametrize(
    "text",
    [
        *["no", "No", "NO", "yes", "on", "off", "y", "n", "True", "TRUE", "False", "Null", "NULL"],
        *["017", "0o17", "0x1f", "0b1", "1_000", "1:30", "190:20:30", "2026-11-21", "2026-11-21T12:00:00Z"],
        *["+1", "01", "1.", ".5", ".inf", "-.inf", ".nan", "NaN", "1e", "0.1.2", "10s", "=", "<<x"],
    ],
)
def test_leaves_as_text_what_only_some_yaml_versions_take_for_something_else(text: str) -> None:
    assert read(f"key: {text}") == {"key": text}


def test_reads_keys_as_text_where_old_yaml_reads_a_truth_value() -> None:
    assert read("on: 1\nno: 2\ny: 3") == {"on": 1, "no": 2, "y": 3}


@pytest.mark.parametrize("number", [str(2**53), str(-(2**53)), "1e400", "9" * 5000, "1.8e308"])
def test_refuses_number_that_is_not_the_same_everywhere(number: str) -> None:
    assert "too large to mean the same everywhere" in only_problem(f"key: {number}")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a: 1\nb: 2\na: 3", "f.yaml:3:1: key 'a' stands here twice; the first is in line 1"),
        ('a: 1\n"a": 3', "f.yaml:2:1: key 'a' stands here twice; the first is in line 1"),
        ("x: {b: 1, c: 2, b: 3}", "f.yaml:1:17: key 'b' stands here twice; the first is in line 1"),
        ("a: &x 1", "f.yaml:1:4: the anchor '&x' is not accepted"),
        ("a: *x", "f.yaml:1:4: the alias '*x' is not accepted; quote it, if it is a pattern"),
        ("a: [*]", "f.yaml:1:6: is not YAML: did not find expected alphabetic or numeric character; "),
        ("a: !!str 1", "f.yaml:1:4: YAML tags ('!') are not accepted; put quotes around text"),
        ("a: !!python/name:os.system", "f.yaml:1:4: YAML tags ('!') are not accepted; put quotes around text"),
        ("a: ! x", "f.yaml:1:4: YAML tags ('!') are not accepted; put quotes around text"),
        ("!t {}", "f.yaml:1:1: YAML tags ('!') are not accepted; put quotes around text"),
        ("<<: {a: 1}", "f.yaml:1:1: merge keys ('<<') are not accepted; write the keys out"),
        ("1: a", "f.yaml:1:1: a key must be text; put quotes around it"),
        ("true: a", "f.yaml:1:1: a key must be text; put quotes around it"),
        ("~: a", "f.yaml:1:1: a key must be text; put quotes around it"),
        ("? [a]\n: 1", "f.yaml:1:3: a key must be text; put quotes around it"),
        ("a: 1\n---\nb: 2", "f.yaml:2:1: a second YAML document starts here; a file holds one"),
        ("", "f.yaml:1:1: is empty"),
        ("# nothing\n", "f.yaml:1:1: is empty"),
        ("%YAML 1.1\n---\na: 1", "f.yaml:1:1: YAML directives are not accepted"),
        ("a:\n\t- b", "f.yaml:2:1: tabs are not accepted; use spaces"),
        ("\ufeffa: 1", "f.yaml:1:1: the character U+FEFF is not accepted: it does not show"),
        ("é: 1 # \u202e", "f.yaml:1:8: the character U+202E is not accepted: it does not show"),
        ("a: 1\r\nb: x\u200by", "f.yaml:2:5: the character U+200B is not accepted: it does not show"),
        ("a: 1\rb: 2", "f.yaml:1:5: the character U+000D is not accepted: it does not show"),
        ("a: \x00", "f.yaml:1:4: the character U+0000 is not accepted: it does not show"),
        ("a: \ud800", "f.yaml:1:4: the character U+D800 is not accepted: it does not show"),
        ("a: \U000e0041", "f.yaml:1:4: the character U+E0041 is not accepted: it does not show"),
        ('a: "\\u202e"', "f.yaml:1:4: an escape in this text stands for a character that is not allowed"),
        ('a: "\\0"', "f.yaml:1:4: an escape in this text stands for a character that is not allowed"),
        ("a: {b: 1", "f.yaml:"),
        ("a: b: c", "f.yaml:1:5: is not YAML: mapping values are not allowed "),
        ("😀: 1\n😀: 1", "f.yaml:2:1: key '😀' stands here twice; the first is in line 1"),
        ("{😀😀: 1, b: *x}", "f.yaml:1:12: the alias '*x' is not accepted; quote it, if it is a pattern"),
    ],
)
def test_refuses_with_place_and_words(text: str, problem: str, request: pytest.FixtureRequest) -> None:
    found = only_problem(text)

    if "[*]" in text and request.node.callspec.params["parser"] == "python":
        # The one sentence that PyYAML's two parsers word differently.
        problem = problem[: len("f.yaml:1:6: is not YAML: ")]
    assert found.startswith(problem)


def test_says_that_a_star_needs_quotes() -> None:
    assert only_problem("tools: [*]").endswith("; text that starts with '*' or '&' needs quotes")


def test_refuses_lone_surrogate_written_as_an_escape() -> None:
    assert problems('a: "\\ud800"')


def test_tells_of_all_faults_at_once() -> None:
    text = "a: &x 1\na: *x\n1: !!str 2\nb:\n  - {c: 1, c: 2}\n"

    lines = [found.split(":")[1] for found in problems(text)]

    assert lines == ["1", "2", "2", "3", "3", "5"]


def test_first_of_two_values_stands_while_more_faults_are_looked_for() -> None:
    document, found = scan("a: 1\na: 2", "f.yaml")

    assert document is not None
    assert document.value == {"a": 1}
    assert len(found) == 1


def test_takes_nesting_to_the_limit_and_no_deeper() -> None:
    assert isinstance(load("[" * 5 + "]" * 5, "f.yaml", YamlLimits(max_depth=5)), Document)
    assert problems("[" * 6 + "]" * 6, YamlLimits(max_depth=5)) == ["f.yaml:1:6: is nested more than 5 levels deep"]


@pytest.mark.parametrize("bomb", ["[" * 200_000, "{a: " * 100_000, "- " * 200_000, "? " * 200_000])
def test_stops_at_the_depth_limit_of_a_nesting_bomb(bomb: str) -> None:
    assert "is nested more than 32 levels deep" in only_problem(bomb)


def test_takes_text_to_the_size_limit_in_bytes_and_no_larger() -> None:
    limits = YamlLimits(max_bytes=8)

    assert isinstance(load("a: éé", "f.yaml", limits), Document)
    assert isinstance(load("a: ééb", "f.yaml", limits), Document)
    assert problems("a: ééé", limits) == ["f.yaml: is larger than 8 bytes"]


def test_default_size_limit_is_one_mebibyte() -> None:
    assert isinstance(load("a: " + "b" * (2**20 - 3), "f.yaml"), Document)
    assert problems("a: " + "b" * (2**20 - 2)) == ["f.yaml: is larger than 1048576 bytes"]


POSITIONED = """\
first: 1
grants:
  - id: one
    tools: [a, "b"]
  -
    id: two
empty:
"""


@pytest.mark.parametrize(
    ("path", "key", "value"),
    [
        (("first",), (1, 1), (1, 8)),
        (("grants",), (2, 1), (3, 3)),
        (("grants", 0), (3, 5), (3, 5)),
        (("grants", 0, "id"), (3, 5), (3, 9)),
        (("grants", 0, "tools"), (4, 5), (4, 12)),
        (("grants", 0, "tools", 1), (4, 16), (4, 16)),
        (("grants", 1, "id"), (6, 5), (6, 9)),
        ((), (1, 1), (1, 1)),
        (("grants", 1, "ttl"), (6, 5), (6, 5)),
        (("grants", 7, "id"), (2, 1), (2, 1)),
        (("first", "x", 0), (1, 1), (1, 1)),
        (("grants", 0, "tools", -1), (4, 5), (4, 5)),
    ],
)
def test_knows_where_each_part_stands(
    path: tuple[str | int, ...], key: tuple[int, int], value: tuple[int, int]
) -> None:
    document = load(POSITIONED, "f.yaml")

    assert isinstance(document, Document)
    assert document.key_position_of(path) == key
    assert document.position_of(path) == value


def test_decodes_utf8_alone_and_says_where_it_is_not() -> None:
    assert decode("a: é".encode(), "f.yaml") == "a: é"
    assert decode(b"a: 1\n\xc3\xa9b\xff", "f.yaml") == Problem("f.yaml", 2, 3, "is not UTF-8 here")
    assert decode(b"\xed\xa0\x80", "f.yaml") == Problem("f.yaml", 1, 1, "is not UTF-8 here")


def test_problem_is_printed_as_editors_read_it() -> None:
    assert str(Problem("policy.yaml", 12, 5, "message")) == "policy.yaml:12:5: message"
    assert str(Problem("policy.yaml", 0, 0, "cannot be read")) == "policy.yaml: cannot be read"


def test_words_quote_a_file_in_one_short_line() -> None:
    assert yaml_strict.shown("a\nb\tc\r") == "a\\nb\\tc\\r"
    assert len(yaml_strict.shown("x" * 500)) == 60


FRAGMENTS = st.sampled_from(
    [
        *["a", "b: ", "- ", "\n", "\n  ", " ", "[", "]", "{", "}", ",", ":", "? ", "|\n", ">\n", "'", '"', " # x", "1"],
        *[
            "0o7",
            "true",
            "~",
            "é",
            "😀",
            "*x",
            "&x ",
            "!!str ",
            "---\n",
            "...\n",
            "<<",
            "\\",
            "\\u0041",
            "-",
            "x y",
            "@",
        ],
    ]
)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.floats(-1e15, 1e15)
    | st.text(st.characters(min_codepoint=32, max_codepoint=126)),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abcxyz", min_size=1), inner, max_size=4),
    max_leaves=12,
)


class TestBothParsers:
    @pytest.fixture(autouse=True)
    def parser(self) -> None:
        """These set the parser themselves."""

    @given(st.lists(FRAGMENTS, max_size=14).map("".join))
    def test_agree_on_every_value_that_both_accept(self, text: str) -> None:
        values = []
        for loader in (yaml.CSafeLoader, yaml.SafeLoader):
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(yaml_strict, "_LOADER", loader)
                found = load(text, "f.yaml")
            if isinstance(found, Document):
                values.append(repr(found.value))
            else:
                assert all(0 <= problem.line <= text.count("\n") + 2 for problem in found)
        assert len(set(values)) <= 1

    @given(JSON)
    def test_reads_json_as_json(self, value: YamlValue) -> None:
        document = load(json.dumps({"value": value}), "f.yaml")

        assert isinstance(document, Document), document
        assert document.value == {"value": value}
