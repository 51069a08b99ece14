"""The options of each command as tables, read from click."""

from collections.abc import Mapping
from functools import partial
from typing import Final

import click

from callgate.cli import main as callgate

# A page names them `cli-check`, and `cli-dev-call` for a command of a group.
PREFIX: Final = "cli-"


def commands(group: click.Group = callgate, before: str = "") -> Mapping[str, click.Command]:
    """Every command that is no group, by its words."""
    found: dict[str, click.Command] = {}
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            found |= commands(command, f"{before}{name} ")
        elif command is not None:
            found[f"{before}{name}"] = command
    return found


def option_rows(words: str) -> list[tuple[str, str, str]]:
    """What a command takes: how it is written, its default, and its meaning.  Raises KeyError."""
    command = commands()[words]
    context = click.Context(command)
    rows = [_row(option, context) for option in command.params if isinstance(option, click.Option)]
    return [row for row in rows if not row[0].startswith("`--help")]


def _row(option: click.Option, context: click.Context) -> tuple[str, str, str]:
    names = ", ".join(f"`{name}`" for name in option.opts)
    takes = "" if option.is_flag else f" {_form(option, context)}"
    default = option.to_info_dict()["default"]
    is_shown = option.show_default and not option.is_flag
    required = "required" if option.required else ""
    return f"{names}{takes}", f"`{default}`" if is_shown else required, _meaning(option)


def _form(option: click.Option, context: click.Context) -> str:
    if isinstance(option.type, click.Choice):
        return ", ".join(f"`{choice}`" for choice in option.type.choices)
    return f"`{option.make_metavar(context)}`"


def _meaning(option: click.Option) -> str:
    said = " ".join((option.help or "").replace("[default: now]", "Now, unless given.").split())
    again = " May be given more than once." if option.multiple and "epeat" not in said else ""
    variable = f" `{option.envvar}` says the same." if option.envvar else ""
    return f"{said}{again}{variable}"


def makers() -> Mapping[str, "partial[list[tuple[str, str, str]]]"]:
    """The rows of each command's table, by the name that a page gives it."""
    return {f"{PREFIX}{words.replace(' ', '-')}": partial(option_rows, words) for words in commands()}
