"""What conditions ask of commands, as text that a shell runs and as lists of words."""

from dataclasses import replace

import pytest

from callgate.identity.spiffe_id import SpiffeId
from callgate.policy.call import Call
from callgate.policy.condition import Condition, Truth, Verdict, compile_condition
from callgate.policy.patterns import ToolPattern
from callgate.policy.tags import Declaration, ToolTags
from callgate.wire.json_strict import JsonObject

CALL = Call(
    caller=SpiffeId.parse("spiffe://acme.test/a"), server="sh", method="tools/call", tool="run", arguments={}, now=1.8e9
)
TAGS = ToolTags(
    (),
    (Declaration("sh", (ToolPattern.parse("run"),), (), ((("command",), "bash"), (("argv",), "argv"))),),
)
HOLDS, DOES_NOT = Verdict(Truth.HOLDS), Verdict(Truth.FAILS_TO_HOLD)


def came_to(text: str, arguments: JsonObject, tool: str = "run") -> Verdict:
    found = compile_condition(text)
    assert isinstance(found, Condition), found
    return found.evaluate(replace(CALL, arguments=arguments, tool=tool), TAGS)


@pytest.mark.parametrize(
    ("text", "command"),
    [
        ("!shell(args.command).destructive", "ls -la"),
        ("shell(args.command).destructive", "rm -rf /"),
        ('shell(args.command).commands.all(name, name in ["ls", "grep"])', "ls src | grep test"),
        ('"rm" in shell(args.command).commands', "ls $(rm -rf /)"),
        ("shell(args.command).privileged", "sudo ls"),
        ("shell(args.command).network", "curl https://evil.example"),
        ("shell(args.command).writes", "echo x > file"),
        ("shell(args.command).why.size() > 0", "rm -rf /"),
        ("shell(args.command).destructive", '"$X" -rf /'),
    ],
)
def test_conditions_ask_what_a_command_does(text: str, command: str) -> None:
    assert came_to(text, {"command": command}) == HOLDS


def test_an_argv_is_one_command() -> None:
    assert came_to('shell(args.argv).commands == ["ls"]', {"argv": ["ls", "-l", "rm -rf /"]}) == HOLDS
    assert came_to("shell(args.argv).destructive", {"argv": ["rm", "-rf", "/"]}) == HOLDS


def test_of_texts_in_a_list_each_is_a_command_and_the_worst_counts() -> None:
    assert came_to("shell(args.command).destructive", {"command": ["ls", "rm -rf /"]}) == HOLDS
    assert came_to('shell(args.command).commands == ["ls", "pwd"]', {"command": ["ls", "pwd"]}) == HOLDS


@pytest.mark.parametrize(
    ("text", "arguments", "tool", "why"),
    [
        ("shell(args.other).writes", {"other": "ls"}, "run", "args.other is not declared as shell"),
        ("shell(args.command).writes", {"command": "ls"}, "other", "args.command is not declared as shell"),
        (
            "shell(args.argv).writes",
            {"argv": "ls"},
            "run",
            "args.argv is text, and is declared as argv, which is a list",
        ),
        (
            "shell(args.argv).writes",
            {"argv": ["ls", 5]},
            "run",
            "args.argv is a list, and is declared as argv, which is",
        ),
        (
            "shell(args.command).writes",
            {"command": True},
            "run",
            "args.command is true or false, and is declared as shell",
        ),
        ("shell(args.command).writes", {}, "run", "no argument 'command'"),
    ],
)
def test_what_cannot_be_read_as_it_is_declared_fails(text: str, arguments: JsonObject, tool: str, why: str) -> None:
    found = came_to(text, arguments, tool)

    assert found.truth is Truth.FAILED
    assert found.why.startswith(why)


def test_a_second_operand_says_how_it_is_run() -> None:
    assert came_to('shell(args.other, "bash").destructive', {"other": "rm -rf /"}) == HOLDS
    assert came_to('shell(args.other, "argv").destructive', {"other": ["rm", "-rf", "/"]}) == HOLDS
    found = compile_condition('shell(args.other, "zsh").destructive')
    assert isinstance(found, tuple)
    assert found[0].message.startswith("shell knows no 'zsh'")


def test_sql_and_shell_have_fields_of_their_own() -> None:
    found = compile_condition("shell(args.command).tables.size() == 0")

    assert isinstance(found, tuple)
    assert found[0].message.startswith("what shell finds has no 'tables'")
