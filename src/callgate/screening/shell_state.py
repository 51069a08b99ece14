"""What is known while a shell's text is read: what was found, and what the variables hold."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from callgate.screening.shell_options import LABELS
from callgate.screening.shell_paths import MAX_PATH_CHARACTERS, is_connection, is_device, is_log, is_sensitive, is_sink
from callgate.screening.shell_terms import (
    ANY_ONE,
    BRACKET,
    CONTROL,
    FOUND,
    HOLE,
    INPUT,
    MAX_ARGUMENTS,
    NAMES,
    PLAIN,
    SPLIT,
    STAR,
    Block,
    Budget,
    NotShell,
)

# What a field has in it when its text is not exact.
INEXACT: Final = frozenset((HOLE, SPLIT, STAR, ANY_ONE, BRACKET, PLAIN, CONTROL, NAMES, INPUT, FOUND))

_CHANGES_ITSELF: Final = re.compile(
    r"_|PWD|OLDPWD|RANDOM|SRANDOM|SECONDS|LINENO|REPLY|OPTARG|OPTIND|IFS|UID|EUID|PPID|GROUPS|HISTCMD|FUNCNAME|DIRSTACK"
    r"|COPROC|MAPFILE|PIPESTATUS|(?:BASH|COMP|EPOCH|READLINE).*"
)
_UNTIL_INEXACT: Final = re.compile(f"[^{''.join(INEXACT)}]+")


def is_exact(field_: str) -> bool:
    """Whether the text of an argument is known to the letter."""
    return INEXACT.isdisjoint(field_)


def _is_place_known(path: str) -> bool:
    """Whether it can be told where a file is, at least the first folder: what is in variables may be any path."""
    if len(path) > MAX_PATH_CHARACTERS:
        return False
    if is_exact(path):
        return True
    known = _UNTIL_INEXACT.match(path)
    prefix = known.group() if known else ""
    if not prefix:
        return path[:1] in {PLAIN, NAMES, STAR, ANY_ONE, BRACKET}
    return not prefix.startswith(("/", "~", "..")) or "/" in prefix[1:].removeprefix("./").removeprefix("/")


@dataclass(slots=True)
class State:
    """One reading.  `execute` runs a command's fields; `interpret` reads a shell's text, `substitute` a substitution.

    What a command reads is called `given`: None for whatever the shell itself has, HOLE where it is not known.
    `known`: what variables hold for certain.  `functions`: those that the text defines, with what they may set.
    """

    budget: Budget
    execute: "Callable[[State, Sequence[str], str | None], None]"
    interpret: "Callable[[State, str], None]"
    substitute: "Callable[[State, Block], None]"
    commands: list[str] = field(default_factory=list)
    labels: set[str] = field(default_factory=set)
    why: dict[str, None] = field(default_factory=dict)
    known: dict[str, str] = field(default_factory=dict)
    functions: dict[str, frozenset[str]] = field(default_factory=dict)
    # Functions whose bodies are being read.
    within: list[str] = field(default_factory=list)
    # Variables that are not followed: they cannot be set again, or stand for others.
    unfollowed: set[str] = field(default_factory=set)
    follows: bool = True
    # Whether the text went to a folder in which every file is the system's.
    in_sensitive_folder: bool = False
    # Whether text with a command in it stands somewhere, and whether anything evaluates text.
    holds_commands: bool = False
    evaluates: bool = False

    def note(self, *effects: str) -> None:
        """Something that is done: a label, or a code of SHELL_RULES, which is destructive."""
        for effect in effects:
            if effect in LABELS:
                self.labels.add(effect)
            else:
                self.why[effect] = None

    def remember(self, name: str, value: str) -> None:
        """A variable holds this for certain, unless the shell itself changes it (bash manual, 5.2)."""
        if self.follows and name not in self.unfollowed and not _CHANGES_ITSELF.fullmatch(name):
            self.known[name] = value

    def follow_no_more(self, *names: str, whole: bool = True) -> None:
        """From here on assignments to these variables, or to any, do not tell what they hold."""
        self.follows = self.follows and not whole
        self.unfollowed.update(names)
        self.known = {name: value for name, value in self.known.items() if self.follows and name not in names}

    def run(self, fields: Sequence[str], given: str | None = None) -> None:
        """Run a command within a command."""
        if not fields:
            return
        if len(fields) > MAX_ARGUMENTS:
            raise NotShell("too_long")
        self.budget.deeper()
        self.execute(self, fields, given)
        self.budget.depth -= 1

    def script(self, text: str) -> None:
        """Run a shell's text within a command, in a shell of its own."""
        if not is_exact(text) or not text.strip():
            self.note("unresolved_code" if text.strip() else "empty")
            return
        self.budget.deeper()
        known, functions, self.known, self.functions = self.known, self.functions, {}, {}
        self.interpret(self, text)
        self.known, self.functions = known, functions
        self.budget.depth -= 1

    def evaluate(self, text: str) -> None:
        """Run a shell's text in this shell: what it sets is not followed."""
        if not is_exact(text):
            self.note("unresolved_code")
            return
        self.budget.deeper()
        self.known = {}
        self.interpret(self, text)
        self.known = {}
        self.budget.depth -= 1

    def write_to(self, path: str, *, appends: bool = False) -> None:
        """A file is created, changed or overwritten."""
        if is_sink(path):
            return
        if is_connection(path):
            self.note("network")
            return
        self.labels.add("write")
        if not _is_place_known(path):
            self.note("unresolved_target")
        elif is_device(path):
            self.note("device")
        elif is_sensitive(path) or (self.in_sensitive_folder and not path.startswith("/")):
            self.note("system_file")
        elif not appends and is_log(path):
            self.note("tracks")

    def give(self, text: str | None) -> None:
        """A shell reads its commands from its input."""
        if text is None or not is_exact(text):
            self.note("unresolved_code")
        else:
            self.script(text)
