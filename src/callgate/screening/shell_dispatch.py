"""Which reading a command gets: by its name, once that is known."""

import re
from collections.abc import Sequence
from typing import Final

from callgate.screening.shell_facts import FACTS
from callgate.screening.shell_operands import apply_fact
from callgate.screening.shell_paths import is_program_folder, tail_of
from callgate.screening.shell_readers import READERS
from callgate.screening.shell_scope import forget
from callgate.screening.shell_state import State, is_exact
from callgate.screening.shell_terms import BRACKET
from callgate.screening.shell_wrappers import WRAPPERS, run_wrapped

# A command whose name cannot be told, in the list of commands.
UNTOLD: Final = "?"
_NAME: Final = re.compile(r"[A-Za-z0-9._+\-\[:@]{1,64}")
# python3.11, gcc-12, mkfs.ext4, iptables-legacy: a name with what tells its version or its kind.
_VERSIONED: Final = re.compile(
    r"(python|pypy|perl|ruby|php|lua|luajit|node|tclsh|wish|pip|gcc|g\+\+|clang|java|javac|psql|vim|nvim|gawk|guile|bash|ksh)-?[0-9][0-9.]*"
)
_KINDS: Final = re.compile(r"(mkfs|fsck|mount|umount|vim|nc|awk)\.[a-z0-9]+|(ip6?tables)-(?:legacy|nft)|(iptables)6")


def execute(state: State, fields: Sequence[str], given: str | None) -> None:
    """Note what a command does.  `given`: what it reads, see State."""
    state.budget.spend_run()
    # A bracket that nothing closes is itself.
    path = "[" if fields[0] == BRACKET else fields[0]
    name = tail_of(path)
    known = _known_name(name)
    state.commands.append(name if _NAME.fullmatch(name) else UNTOLD)
    if name in state.functions and path == name:
        if name in state.within:
            state.note("recursion")
        forget(state, set(state.functions[name]))
        if not known:
            return
    if not _is_told(state, path, name):
        return
    if known:
        _read(state, known, fields[1:], given)
    else:
        state.note("unknown_command")


def _is_told(state: State, path: str, name: str) -> bool:
    """Whether it is known which program runs; notes why not."""
    if not name.isascii():
        state.note("lookalike")
    elif not is_exact(name) or not name:
        state.note("unresolved_command")
    elif not _NAME.fullmatch(name):
        state.note("unknown_command")
    else:
        if not is_exact(path):
            state.note("unresolved_command")
        elif not is_program_folder(path):
            state.note("unknown_script")
        return True
    return False


def _known_name(name: str) -> str:
    """The name that stands in the tables, "" if there is none."""
    if name in READERS or name in WRAPPERS or name in FACTS:
        return name
    found = _VERSIONED.fullmatch(name)
    kind = _KINDS.fullmatch(name)
    plain = found.group(1) if found else next(filter(None, kind.groups()), "") if kind else ""
    return plain if plain in READERS or plain in WRAPPERS or plain in FACTS else ""


def _read(state: State, name: str, arguments: Sequence[str], given: str | None) -> None:
    for argument in arguments:
        if argument[:1] > "\x7f" and _DASH_LIKE.match(argument):
            state.note("lookalike")
    reader = READERS.get(name)
    if (
        (name not in WRAPPERS or reader)
        and len(arguments) == 1
        and arguments[0] in {"--help", "--version"}
        and name not in _PRIVILEGED
    ):
        return
    if reader:
        reader(state, name, arguments, given)
    elif name in WRAPPERS:
        run_wrapped(state, name, arguments, given)
    else:
        apply_fact(state, FACTS[name], arguments)


_PRIVILEGED: Final = frozenset({"sudo", "su", "runuser", "eval", "sg", "newgrp"})
# Dashes and minus signs that are no hyphen, before a letter: an option that is none (Unicode 17, general category Pd).
_DASH_LIKE: Final = re.compile("[\u2010-\u2015\u2212\ufe58\ufe63\uff0d\u2e3a\u2e3b]{1,2}[A-Za-z]")
