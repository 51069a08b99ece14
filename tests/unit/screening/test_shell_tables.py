"""The tables of facts: each line can be read, and says what the rules know."""

import pytest

from callgate.screening.shell_facts import FACTS, fact_of
from callgate.screening.shell_git import COMMANDS
from callgate.screening.shell_options import EFFECTS, options_of, read_options
from callgate.screening.shell_readers import READERS
from callgate.screening.shell_tools import TOOLS
from callgate.screening.shell_wrappers import WRAPPERS


def test_every_effect_of_every_table_is_known() -> None:
    facts = [*FACTS.values(), *COMMANDS.values(), *(fact for tool in TOOLS.values() for fact in tool.verbs.values())]
    for fact in facts:
        assert {*fact.effects, *(effect for found in fact.options.effects.values() for effect in found)} <= EFFECTS
    for wrapper in WRAPPERS.values():
        assert {*wrapper.effects, *wrapper.alone} <= EFFECTS


def test_no_command_stands_in_two_tables_that_say_different_things() -> None:
    assert not FACTS.keys() & READERS.keys()
    assert not FACTS.keys() & WRAPPERS.keys()


def test_an_effect_that_there_is_not_is_an_error() -> None:
    with pytest.raises(ValueError, match="frobnicate"):
        fact_of("frobnicate ; ;")
    with pytest.raises(ValueError, match="frobnicate"):
        options_of("x=frobnicate")


OPTIONS = options_of("o:=write_to output:=write_to n: v i? in-place?=write delete=delete")


@pytest.mark.parametrize(
    ("words", "said", "operands"),
    [
        (["-o", "x", "y"], [("o", "x")], ["y"]),
        (["-ox", "y"], [("o", "x")], ["y"]),
        (["-vo", "x", "y"], [("v", ""), ("o", "x")], ["y"]),
        (["-ibak", "y"], [("i", "bak")], ["y"]),
        (["-i", "y"], [("i", "")], ["y"]),
        (["--output", "x", "y"], [("output", "x")], ["y"]),
        (["--output=x", "y"], [("output", "x")], ["y"]),
        (["--out", "x", "y"], [("output", "x")], ["y"]),
        (["--del"], [("delete", "")], []),
        (["y", "-v"], [("v", "")], ["y"]),
        (["--", "-v"], [], ["-v"]),
        (["-", "y"], [], ["-", "y"]),
        (["-n"], [("n", "")], []),
    ],
)
def test_options_are_read_as_getopt_long_reads_them(
    words: list[str], said: list[tuple[str, str]], operands: list[str]
) -> None:
    given = read_options(OPTIONS, words)
    assert given.said == said
    assert given.operands == operands


def test_without_permutation_options_end_at_the_first_operand() -> None:
    assert read_options(OPTIONS, ["-v", "rm", "-o", "x"], permutes=False).operands == ["rm", "-o", "x"]
