"""Simple commands: expansions, assignments, redirections, and then the command itself (bash manual, 3.7.1)."""

import re
from collections.abc import Sequence
from typing import Final

from callgate.screening.shell_builtins import SUBSTITUTIONS
from callgate.screening.shell_fields import as_written, fields_of, text_of
from callgate.screening.shell_inputs import empties_its_input
from callgate.screening.shell_scope import ASSIGNS, forget, names_in_arithmetic
from callgate.screening.shell_state import State, is_exact
from callgate.screening.shell_terms import (
    BRACKET,
    FOUND,
    HOLE,
    SPLIT,
    Assignment,
    Block,
    Command,
    Hole,
    Node,
    Redirect,
    Word,
)
from callgate.screening.shell_variables import assigned

_WRITES: Final = frozenset({">", ">>", ">|", "&>", "&>>", "<>", ">&"})
_TEXTS: Final = frozenset({"<<", "<<-", "<<<"})
_SEEN: Final = frozenset({"/dev/null", "/dev/stderr", "/dev/stdout"})
# With these `find` says more than names (find(1), "ACTIONS").
_SAYS_MORE: Final = frozenset({"-printf", "-exec", "-execdir", "-ok", "-okdir", "-files0-from", "-ls"})
# Commands that say nothing, or one line end.
_SAYS_NOTHING: Final = (
    ["cat", "/dev/null"],
    ["echo"],
    ["echo", ""],
    ["echo", "-n"],
    ["echo", "-n", ""],
    ["printf", ""],
    ["printf", "%s", ""],
)
# Neither evaluates anything: all entries, or one by its number.
_PLAIN_SUBSCRIPT: Final = re.compile(r"\[(?:[@*]|[0-9]+)\]")
# Of `declare` and its kin, those that evaluate a subscript in a name; `export` and `readonly` take none.
_SUBSCRIPTS: Final = frozenset({"declare", "typeset", "local"})
# Attributes by which an assignment stores something else than what stands there.
_CHANGES_VALUES: Final = frozenset("inlucr")


def look(state: State, word: Word) -> None:
    """Run what stands in a word's expansions, and see whether its text looks like a command to be run later."""
    if word.holes:
        _run_holes(state, word.holes)
    if not word.bare and any(mark in word.text for mark in SUBSTITUTIONS):
        state.holds_commands = True


def _run_holes(state: State, holes: Sequence[Hole]) -> None:
    for hole in holes:
        if hole.body is not None:
            state.substitute(state, hole.body)
        if hole.kind == "arithmetic":
            state.evaluates = True
            forget(state, names_in_arithmetic(Block("arithmetic", words=(Word(hole.detail),))))
        elif hole.kind == "expansion":
            _expand(state, hole)
        _run_holes(state, hole.inner)


def _expand(state: State, hole: Hole) -> None:
    """`${x=…}` sets, `${!x}`, offsets and subscripts evaluate, `${x@P}` runs what is in x (3.5.3)."""
    detail = hole.detail
    if detail.startswith(("=", ":=")):
        assigned(state, hole.name, HOLE)
        forget(state, {hole.name})
    entry = detail.lstrip("#")
    if entry[:1] == "[" and not _PLAIN_SUBSCRIPT.match(entry):
        state.evaluates = True
    if detail.startswith("!") or BRACKET in detail or (detail[:1] == ":" and detail[1:2] not in "-=?+"):
        state.evaluates = True
    if "@P" in detail:
        state.note("evaluated_text")


def run_command(state: State, command: Command, given: str | None) -> None:
    """Note what a simple command does; `given` is what it reads."""
    for word in command.words:
        look(state, word)
    if command.redirects:
        given = redirected(state, command.redirects, given)
    fields = _fields(state, command.words)
    declares = bool(fields) and fields[0] in ASSIGNS
    for assignment in command.assignments:
        _assign(state, assignment, keeps=not fields or declares)
    if declares:
        _declare(state, command, fields)
    elif fields:
        state.run(fields, given)
    elif command.words:
        state.note("unresolved_command")
    if _empties(command, fields) or (command.redirects and empties_its_input(state, (command,))):
        state.note("overwrite")


def _fields(state: State, words: Sequence[Word]) -> list[str]:
    """The fields of a command, with what is known put in."""
    return [field for word in words for field in fields_of(word, state.known, state.budget)]


def _assign(state: State, assignment: Assignment, *, keeps: bool) -> None:
    for word in assignment.values:
        look(state, word)
    exact = len(assignment.values) == 1 and not assignment.partial
    value = as_written(text_of(assignment.values[0], state.known)) if exact else HOLE
    assigned(state, assignment.name, value)
    if assignment.partial:
        state.evaluates = True
    if keeps:
        forget(state, {assignment.name})
        if exact:
            state.remember(assignment.name, value)
        if assignment.name == "IFS":
            state.follow_no_more()


def _declare(state: State, command: Command, fields: Sequence[str]) -> None:
    """`export`, `declare` and their kin: with some attributes variables hold something else than what is assigned."""
    state.commands.append(fields[0])
    flags = {letter for field in fields[1:] if field[:1] in {"-", "+"} for letter in field[1:]}
    state.evaluates = state.evaluates or bool(flags & set("iaA"))
    for field in fields[1:]:
        if field[:1] in {"-", "+"}:
            continue
        name, equals, value = field.partition("=")
        state.evaluates = state.evaluates or ("[" in field and fields[0] in _SUBSCRIPTS)
        if "n" in flags:
            _refer(state, value if equals else HOLE)
        if not is_exact(field):
            state.note("environment")
            state.evaluates = True
        elif equals:
            assigned(state, name, HOLE)
        forget(state, {name})
    for assignment in command.assignments if "n" in flags and fields[0] in _SUBSCRIPTS else ():
        _refer(state, as_written(text_of(assignment.values[0], state.known)) if assignment.values else HOLE)
    if fields[0] == "readonly" or (flags & _CHANGES_VALUES and fields[0] != "export"):
        names = [field.partition("=")[0] for field in fields[1:]]
        state.follow_no_more(*(each.name for each in command.assignments), *names, whole=bool(flags & set("nluci")))


def _refer(state: State, target: str) -> None:
    """`declare -n NAME=TARGET`: what is done to NAME is done to TARGET, whose subscript is evaluated."""
    state.evaluates = True
    assigned(state, target.partition("[")[0] if is_exact(target) else HOLE, HOLE)


def redirected(state: State, redirects: Sequence[Redirect], given: str | None) -> str | None:
    """Note what redirections write; what the command reads after them."""
    for redirect in redirects:
        look(state, redirect.target)
        if redirect.op in _TEXTS:
            text = as_written(text_of(redirect.target, state.known))
            given = text if redirect.fd in {"", "0"} else HOLE
            continue
        fields = fields_of(redirect.target, state.known, state.budget)
        path = fields[0] if len(fields) == 1 else SPLIT
        if redirect.op in {">&", "<&"} and (path.rstrip("-").isdigit() or path == "-"):
            given = HOLE if redirect.op == "<&" else given
        elif redirect.op in _WRITES:
            given = _written(state, redirect.op, path, given)
        else:
            if path.startswith(("/dev/tcp/", "/dev/udp/")):
                state.note("network")
            given = "" if path == "/dev/null" else HOLE
    return given


def _written(state: State, op: str, path: str, given: str | None) -> str | None:
    # For a redirection `-` is a file of that name, as it is not for most commands.
    state.write_to("./-" if path == "-" else path, appends=op in {">>", "&>>"})
    if op == ">|":
        state.note("overwrite")
    return HOLE if op == "<>" else given


def _empties(command: Command, fields: Sequence[str]) -> bool:
    """Whether a file is made empty: by `> FILE` alone, or by a command that says nothing."""
    opens = list(fields) == ["exec"]
    files = [
        redirect for redirect in command.redirects if redirect.op in {">", "&>"} and (opens or redirect.fd in {"", "1"})
    ]
    if all(text_of(redirect.target, {}) in _SEEN for redirect in files):
        return False
    return not fields or opens or fields[0] in {":", "true"} or list(fields) in _SAYS_NOTHING


def said_by(state: State, node: Node, given: str | None) -> str:
    """What a command of a pipeline says, where it says only what stands in its words; HOLE otherwise."""
    if not isinstance(node, Command) or any(redirect.op not in _TEXTS for redirect in node.redirects):
        return HOLE
    fields = [as_written(field) for field in _fields(state, node.words)]
    if fields[:1] == ["find"] and not _SAYS_MORE.intersection(fields) and not any(map(_may_dash, fields[1:])):
        return FOUND
    # Names and numbers there begin with a letter or a digit (Kubernetes, "Object Names and IDs"; docker-ps(1)).
    if (fields[:2] == ["kubectl", "get"] and fields[-1] == "name") or (
        fields[:2] == ["docker", "ps"] and "-q" in fields
    ):
        return FOUND
    if not fields or fields[0] in state.functions or not all(map(is_exact, fields)):
        return HOLE
    if fields == ["cat"]:
        texts = [redirect for redirect in node.redirects if redirect.fd in {"", "0"}]
        return as_written(text_of(texts[-1].target, state.known)) if texts else given if given is not None else HOLE
    return _words_said(fields)


def _may_dash(field: str) -> bool:
    return not is_exact(field[:1])


def _words_said(fields: Sequence[str]) -> str:
    name, *words = fields
    if any("\\" in word for word in words):
        return HOLE
    if name == "echo":
        words = words[1:] if words[:1] == ["-n"] else words
        return HOLE if words[:1] and words[0].startswith("-") else " ".join(words) + "\n"
    plain = name == "printf" and len(words) == 1 and "%" not in words[0] and not words[0].startswith("-")
    return words[0] if plain else HOLE
