"""Hostile texts: each is answered within the bound, and what is not looked at is destructive."""

from time import thread_time

import pytest

from callgate.screening import shell
from callgate.screening.shell import MAX_REMEMBERED, SHELL_RULES, read_argv, read_shell
from callgate.screening.shell_terms import MAX_ARGUMENTS, MAX_COMMANDS, MAX_TEXT_CHARACTERS

# Of the CPU: 20 ms is promised on a core of its own, and tests run beside others.
MAX_SECONDS = 0.05
MIB = 1 << 20
FULL = MAX_TEXT_CHARACTERS

HOSTILE = {
    "brackets": "[" * FULL,
    "parentheses": "(" * FULL,
    "substitutions": "$(" * (FULL // 2),
    "substitutions in quotes": '"$(' * (FULL // 3),
    "quotes": '"' * FULL,
    "quoted pieces": "'a'" * (FULL // 3),
    "backquotes": "`" * FULL,
    "backslashes": "\\" * FULL,
    "braces": "{" * FULL,
    "alternatives": "{a,b}" * (FULL // 5),
    "nested alternatives": "echo " + "{a," * 30 + "b" + "}" * 30,
    "doubling alternatives": "echo " + "{a,b}" * 12,
    "many words of alternatives": "echo " + "{a,b}{c,d}{e,f}{g,h} " * 200,
    "a long sequence": "echo {1..999999999}",
    "expansions": "${" * (FULL // 2),
    "nested defaults": 'echo "' + "${a:-" * 1000 + "}" * 1000 + '"',
    "variables": "$a" * (FULL // 2),
    "arithmetic": "$((" * (FULL // 3),
    "here-documents": "cat " + "<<A " * (FULL // 5),
    "a here-document's lines": "cat <<A\n" + "x\n" * (FULL // 4),
    "a here-document's joined lines": "cat <<A\n" + "\\\n" * (FULL // 4),
    "commands": "a;" * (FULL // 2),
    "and": "a&&" * (FULL // 4) + "a",
    "pipes": "ls|" * (FULL // 4) + "ls",
    "not": "! " * (FULL // 2),
    "conditions": "if " * (FULL // 3),
    "cases": "case x in " * (FULL // 10),
    "functions": "f(){ " * (FULL // 5),
    "loops in loops": "for a in 1 2 3 4 5 6 7 8; do " * 12 + "ls" + "; done" * 12,
    "process substitutions": "<(" * (FULL // 2),
    "a test": "[[ " + "a " * (FULL // 3) + "]]",
    "an array": "a=(" + "x " * (FULL // 3) + ")",
    "assignments": "a=1 " * (FULL // 4),
    "redirections": "ls " + ">a " * (FULL // 4),
    "blanks": " " * FULL,
    "line ends": "\n" * FULL,
    "comments": "#\n" * (FULL // 2),
    "a long word": "a" * FULL,
    "a long path": "ls > " + "a/../" * (FULL // 6),
    "escapes": "$'" + "\\x41" * (FULL // 5) + "'",
    "options": "tar " + "--x " * (MAX_ARGUMENTS - 1),
    "sudo of sudo": "sudo " * 500 + "ls",
    "xargs of xargs": "xargs " * 500,
    "eval of eval": "eval " * 500 + "ls",
    "a sed program": "sed '" + "s/a/b/;" * (FULL // 8) + "'",
    "an awk program": "awk '" + "{print}" * (FULL // 8) + "'",
    "an awk program of names": "awk '" + "a " * 2_000 + "'",
    "SQL": "psql -c '" + "(" * (FULL - 20) + "'",
    "settings of git": "git " + "-c a.b=c " * 250,
}


def quickest(form: str, text: str) -> float:
    """CPU seconds of the quickest of three readings, none of which was remembered."""
    found = []
    for _ in range(3):
        shell._REMEMBERED.clear()
        begin = thread_time()
        reading = read_shell(text) if form == "bash" else read_argv(["bash", "-c", text])
        found.append(thread_time() - begin)
        assert set(reading.why) <= SHELL_RULES.keys()
    return min(found)


@pytest.mark.parametrize("form", ["bash", "argv"])
@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_text_is_answered_within_the_bound(name: str, form: str) -> None:
    assert quickest(form, HOSTILE[name]) < MAX_SECONDS


def test_a_typical_statement_is_read_well_within_a_millisecond() -> None:
    text = "cd /srv/app && find . -name '*.log' -mtime +7 | while read -r f; do grep -c error \"$f\"; done > out.txt"
    assert quickest("bash", text) < 0.001


@pytest.mark.parametrize("piece", ["[", "(", "$(", '"', "'", "`", "\\", "{", "{a,b}", "<<A ", "1", "@", "\n", "a;"])
def test_a_mebibyte_is_too_long_to_be_looked_at(piece: str) -> None:
    begin = thread_time()
    assert read_shell(piece * (MIB // len(piece))).why == ("too_long",)
    assert read_argv([piece] * MIB).why == ("too_long",)
    assert thread_time() - begin < MAX_SECONDS


def test_text_up_to_the_bound_is_read_and_text_beyond_it_is_refused() -> None:
    assert not read_shell("ls " + "a" * (MAX_TEXT_CHARACTERS - 3)).destructive
    assert read_shell("ls " + "a" * (MAX_TEXT_CHARACTERS - 2)).why == ("too_long",)


def test_more_commands_than_are_looked_at_are_refused() -> None:
    assert not read_shell("ls;" * (MAX_COMMANDS - 1)).destructive
    assert read_shell("ls;" * (MAX_COMMANDS + 1)).destructive


def test_more_arguments_than_are_looked_at_are_refused() -> None:
    assert not read_argv(["ls", *["a"] * (MAX_ARGUMENTS - 1)]).destructive
    assert read_argv(["ls", *["a"] * MAX_ARGUMENTS]).why == ("too_long",)


def test_nesting_within_the_bound_is_read_and_nesting_beyond_it_is_refused() -> None:
    def nested(depth: int) -> str:
        return "echo " + "$(echo " * depth + "x" + ")" * depth

    assert not read_shell(nested(8)).destructive
    assert "too_deep" in read_shell(nested(400)).why


@pytest.mark.parametrize(
    ("begin", "end"), [("$(", ")"), ("(", ")"), ("{ ", ";}"), ("`", "`"), ('"$(', ')"'), ("${a:-", "}")]
)
def test_no_nesting_of_any_depth_breaks_the_parser(begin: str, end: str) -> None:
    for depth in (10, 100, 1_000, 10_000):
        assert read_shell("echo " + begin * depth + "ls" + end * depth) is not None


def test_what_is_remembered_is_bounded() -> None:
    for number in range(MAX_REMEMBERED + 100):
        read_shell(f"echo {number}")
    assert len(shell._REMEMBERED) <= MAX_REMEMBERED


def test_a_text_and_a_list_of_the_same_words_are_not_taken_for_each_other() -> None:
    assert read_shell("echo x > /etc/passwd").destructive
    assert not read_argv(["echo", "x", ">", "/etc/passwd"]).destructive
    assert read_argv(["echo x"]).destructive
    assert not read_argv(["echo", "x"]).destructive


@pytest.mark.parametrize("escape", ["\\ud800", "\\Uffffffff", "\\U00110000", "\\xff", "\\c", "\\x", "\\0", "\\400"])
def test_an_escape_that_is_no_character_is_answered(escape: str) -> None:
    for text in (
        f"echo $'a{escape}b'",
        f"$'{escape}'",
        f"psql -c $'SELECT {escape}'",
        f"sed $'{escape}' x",
        f"sh -c $'ls {escape}'",
    ):
        assert set(read_shell(text).why) <= SHELL_RULES.keys()
