"""Words and variables: what they become is what bash makes of them, or is not known."""

import pytest

from callgate.screening.shell import read_shell
from callgate.screening.shell_fields import MAX_BRACE_MARKS, fields_of
from callgate.screening.shell_syntax import read_program
from callgate.screening.shell_terms import HOLE, PLAIN, SPLIT, Budget, Command, NotShell


def fields(text: str, **known: str) -> list[str]:
    command = read_program(f"x {text}", Budget()).nodes[0]
    assert isinstance(command, Command)
    return [field for word in command.words[1:] for field in fields_of(word, known, Budget())]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a b", ["a", "b"]),
        ("a\\ b", ["a b"]),
        ("'a b'\"c d\"e", ["a bc de"]),
        ("'' \"\"", ["", ""]),
        ('"a\\"b\\$c\\d"', ['a"b$c\\d']),
        ("$'a\\tb\\x41\\101\\u0042\\''", ["a\tbAAB'"]),
        ("$'ab\\0cd'e", ["abe"]),
        ('$"a"', ["a"]),
        ("a\\\nb", ["ab"]),
        ("{a,b}c{1,2}", ["ac1", "ac2", "bc1", "bc2"]),
        ("{a,{b,c}}", ["a", "b", "c"]),
        ("{1..3} {c..a}", ["1", "2", "3", "c", "b", "a"]),
        ("{a} {} {a,b", ["{a}", "{}", "{a,b"]),
        ("'{a,b}' \"{a,b}\" \\{a,b}", ["{a,b}", "{a,b}", "{a,b}"]),
        ("a#b", ["a#b"]),
        ("$", ["$"]),
    ],
)
def test_a_word_without_expansions_is_what_bash_makes_of_it(text: str, expected: list[str]) -> None:
    assert fields(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$a", ["p", "q"]),
        ('"$a"', ["p q"]),
        ("x${a}y", ["xp", "qy"]),
        ("$e", []),
        ('"$e"', [""]),
        ("$e''", [""]),
        ("$u", [SPLIT]),
        ('"$u"', [HOLE]),
        ('"$@"', [SPLIT]),
        ('"${l[@]}"', [SPLIT]),
        ("$#", [PLAIN]),
        ("$((1+1))", [PLAIN]),
        ("${a:-b}", [SPLIT]),
        ("$(ls)", [SPLIT]),
        ('-n"$u"', [f"-n{HOLE}"]),
    ],
)
def test_a_variable_is_put_in_where_it_is_known_and_leaves_a_hole_where_it_is_not(
    text: str, expected: list[str]
) -> None:
    assert fields(text, a="p q", e="") == expected


@pytest.mark.parametrize("text", ["$a{b,c}", "{$a,b}c", "{b,$a}", "$a$/x", "$'\\x{72}m'", "$\\\n(rm)", "$a\\\nb"])
def test_what_bash_reads_in_a_way_of_its_own_is_not_guessed(text: str) -> None:
    with pytest.raises(NotShell):
        fields(text, a="ls")


def test_more_braces_than_are_looked_at_are_refused() -> None:
    with pytest.raises(NotShell):
        fields("{a,b}" * MAX_BRACE_MARKS)


@pytest.mark.parametrize(
    "text",
    [
        "a=ls; if a=rm; then $a x; fi",
        "true && a=rm || a=ls && $a x",
        "a=ls; for i in 1 2; do $a x; a=rm; done",
        "f() { a=rm; }; a=ls; f; $a x",
        "trap 'a=rm' DEBUG; a=ls; $a x",
        "declare -n r=a; a=ls; r=rm; $a x",
        "declare -l a; a=-DELETE; find . $a",
        "readonly a=rm\na=ls\n$a x",
        "a=ls; eval a=rm; $a x",
        "a=ls; read -r a <<< rm; $a x",
        "a=ls; printf -v a rm; $a x",
        "IFS=x; a=rmx-rf; $a",
    ],
)
def test_a_variable_that_may_hold_something_else_is_not_followed(text: str) -> None:
    assert read_shell(text).destructive


@pytest.mark.parametrize(
    "text", ["a=ls; $a -l", "a=ls && $a", "d=src; find $d -name x", "(a=ls; $a)", "a=ls; b=$a; $b"]
)
def test_a_variable_that_holds_one_thing_is_followed(text: str) -> None:
    reading = read_shell(text)
    assert not reading.destructive
    assert reading.commands[-1] in {"ls", "find"}
