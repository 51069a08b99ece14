"""Why a shell command counts as destructive: a code and one sentence for each reason."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

SHELL_RULES: Final[Mapping[str, str]] = MappingProxyType(
    {
        # what is done
        "delete": "Files, branches, records or other things are deleted.",
        "overwrite": "What is there is overwritten or emptied.",
        "device": "A disk, a partition or another device is written, formatted or taken away.",
        "system_file": "A file of the system, of the shell's start or of somebody's keys is changed.",
        "stop": "Programs, services, containers or machines are stopped.",
        "firewall": "Rules of a firewall or of the network are changed.",
        "kernel": "The kernel's settings or modules are changed.",
        "accounts": "Users, groups, passwords or rights of others are changed.",
        "permissions": "Modes or owners of files are changed beyond one plain file.",
        "schedule": "Something is planned to run later, or such plans are taken away.",
        "tracks": "The shell's history or a log is emptied or switched off.",
        "packages": "Software is installed or removed, which runs code that came with it.",
        "history": "The history of a repository is rewritten, or work in it is thrown away.",
        "remote_change": "Something at a provider, in a cluster or on other hosts is changed for good.",
        "sql": "A statement is handed to a database that deletes, changes its schema or cannot be read.",
        "disclosure": "A shell or a program is opened to others over the network.",
        # what cannot be told
        "unparsable": "It does not parse as bash, or bash could read it in two ways.",
        "empty": "There is no command in it.",
        "too_long": "It has more text, commands or words than are looked at.",
        "too_deep": "It is nested deeper than is looked at.",
        "control_character": "It has control characters, carriage returns, or characters that change what one sees.",
        "lookalike": "A command's name or an option has letters or marks that look like others.",
        "unresolved_command": "The command's name cannot be told before it runs.",
        "unknown_command": "The command is none of those whose doings are known.",
        "unknown_verb": "What the tool is asked to do is none of what is known of it, or cannot be told.",
        "unresolved_option": "Arguments that cannot be told may be options that delete or run code.",
        "unresolved_target": "Which file is written cannot be told before it runs.",
        "unresolved_code": "Shell code is run whose text cannot be told before it runs.",
        "interpreter_code": "Code in another language is run.",
        "unknown_script": "A script or a program is run whose content is not known.",
        "planted_code": "A setting, an option or a file makes a program run other code.",
        "environment": "A variable is set that changes which programs or which code run.",
        "evaluated_text": "Text with a command in it is evaluated as arithmetic or expanded again.",
        "recursion": "A function calls itself.",
    }
)
