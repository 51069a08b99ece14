"""bash's own commands that run text, change what runs, or evaluate their arguments (bash manual, 4.1 and 4.2)."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

from callgate.screening.shell_options import options_of, read_options
from callgate.screening.shell_paths import is_device, is_sensitive
from callgate.screening.shell_state import State, is_exact
from callgate.screening.shell_terms import HOLE, SPLIT
from callgate.screening.shell_variables import assigned, unset

_READ: Final = options_of("a: d: i: n: N: p: t: u: e r s")
_MAPFILE: Final = options_of("d: n: O: s: t u: C: c:")
_COMPGEN: Final = options_of("A: C: F: G: P: S: W: X: o: V: a b c d e f g j k s u v")
_TRAP: Final = options_of("l p P")
_WAIT: Final = options_of("p: n f")
_JOBS: Final = options_of("l n p r s x")
_PRINTF: Final = options_of("v:")
# Marks of text that bash runs when it evaluates it.
SUBSTITUTIONS: Final = ("$(", "`")


def evaluated(state: State, _: str, arguments: Sequence[str], __: str | None) -> None:
    """`eval` joins its arguments by blanks and runs them."""
    words = arguments[1:] if arguments[:1] == ["--"] else arguments
    state.evaluate(" ".join(words))


def sourced(state: State, _: str, __: Sequence[str], ___: str | None) -> None:
    """`.` and `source` run a file."""
    state.note("unknown_script")


def trapped(state: State, _: str, arguments: Sequence[str], __: str | None) -> None:
    """`trap TEXT SIGNAL…` runs the text later; with `-`, a number or nothing else it takes a trap away."""
    read = read_options(_TRAP, arguments, permutes=False)
    words = read.operands
    if len(words) > 1 and words[0] not in {"", "-"} and not words[0].isdigit() and not read.said:
        state.evaluate(words[0])
        # It runs between other commands, and may set what they use.
        state.follow_no_more()


def aliased(state: State, _: str, arguments: Sequence[str], __: str | None) -> None:
    """`alias NAME=TEXT`: the text is read where NAME stands, with whatever stands behind it."""
    for argument in arguments:
        name, equals, text = argument.partition("=")
        if not equals:
            continue
        if not is_exact(argument):
            state.note("unresolved_code")
        elif text.endswith((" ", "\t", "\\")) or not text.strip() or "#" in text:
            state.note("unresolved_command")
        else:
            state.evaluate(f'{text} "$@"')
            state.functions[name] = frozenset({"*"})


def unset_variable(state: State, _: str, arguments: Sequence[str], __: str | None) -> None:
    """`unset NAME…`; a subscript in a name is evaluated."""
    state.evaluates = True
    for argument in arguments:
        unset(state, argument)
        state.functions.pop(argument, None)


def set_parameters(state: State, _: str, arguments: Sequence[str], __: str | None) -> None:
    """`set`: `+o history` covers tracks, and with history expansion words are not what they look like (9.3)."""
    if any(word.startswith("-") and "H" in word for word in arguments) or "histexpand" in arguments:
        state.note("evaluated_text")
    for flag, value in pairwise(arguments):
        if flag == "+o" and value in {"history", "histexpand"}:
            state.note("tracks")


def read_variables(state: State, _: str, arguments: Sequence[str], __: str | None) -> None:
    """`read NAME…`: the names hold what nobody knows, and their subscripts are evaluated."""
    read = read_options(_READ, arguments)
    for name in [*read.operands, *read.values("a")]:
        _overwritten(state, name)


def _overwritten(state: State, name: str) -> None:
    plain = name.partition("[")[0]
    if plain != name or not is_exact(name):
        state.evaluates = True
    assigned(state, plain or HOLE, HOLE)
    state.known.pop(plain, None)
    if plain == "IFS":
        state.follow_no_more()


def mapped_file(state: State, _: str, arguments: Sequence[str], __: str | None) -> None:
    """`mapfile -C TEXT` runs the text for some lines."""
    read = read_options(_MAPFILE, arguments)
    for text in read.values("C"):
        state.evaluate(text)
    for name in read.operands or ["MAPFILE"]:
        _overwritten(state, name)


def completions(state: State, _: str, arguments: Sequence[str], __: str | None) -> None:
    """`compgen -C TEXT` and `-F FUNCTION` run them; -W expands its words."""
    read = read_options(_COMPGEN, arguments)
    if read.has("C", "F") or any(mark in " ".join(read.values("W")) for mark in (*SUBSTITUTIONS, "${", HOLE)):
        state.note("unresolved_code")


def printed(state: State, _: str, arguments: Sequence[str], __: str | None) -> None:
    """`printf -v NAME` sets a variable; a subscript in the name is evaluated."""
    read = read_options(_PRINTF, arguments, permutes=False)
    for name in read.values("v"):
        _overwritten(state, name)


def tested(state: State, _: str, arguments: Sequence[str], __: str | None) -> None:
    """`test -v NAME` evaluates a subscript in the name; nothing else of `test` runs anything."""
    state.evaluates = state.evaluates or "-v" in arguments or SPLIT in "".join(arguments)


def waited(state: State, _: str, arguments: Sequence[str], __: str | None) -> None:
    """`wait -p NAME` sets a variable; a subscript in the name is evaluated."""
    for name in read_options(_WAIT, arguments, permutes=False).values("p"):
        _overwritten(state, name)


def jobs_listed(state: State, _: str, arguments: Sequence[str], given: str | None) -> None:
    """`jobs -x COMMAND` runs it (7.2)."""
    read = read_options(_JOBS, arguments, permutes=False)
    if read.unsure:
        state.note("unresolved_option")
    if read.has("x"):
        state.run(read.operands, given)


def arithmetic(state: State, _: str, __: Sequence[str], ___: str | None) -> None:
    """`let` evaluates its arguments."""
    state.evaluates = True


def changed_folder(state: State, _: str, arguments: Sequence[str], __: str | None) -> None:
    """`cd` and `pushd`: files named from there on may be the system's."""
    for argument in arguments:
        if argument in {"/", "~"}:
            state.in_sensitive_folder = argument == "/"
        elif not argument.startswith("-"):
            state.in_sensitive_folder = is_sensitive(argument) or is_device(argument)


def killed(state: State, name: str, arguments: Sequence[str], __: str | None) -> None:
    """`kill` stops, but for signal 0, which only asks, and -l, which lists (kill(2), bash manual 4.1)."""
    asks = arguments[:1] == ["-0"] or arguments[:2] in (["-s", "0"], ["-n", "0"])
    lists = name == "kill" and arguments[:1] in (["-l"], ["-L"], ["--list"], ["--table"])
    if not asks and not lists:
        state.note("stop")


def crontab(state: State, _: str, arguments: Sequence[str], __: str | None) -> None:
    """`crontab -l` lists; anything else replaces or removes what is planned."""
    flags = [argument for argument in arguments if argument.startswith("-")]
    if not flags or any(flag not in {"-l", "-u"} for flag in flags) or "-l" not in flags:
        state.note("schedule")


def password(state: State, name: str, arguments: Sequence[str], __: str | None) -> None:
    """`passwd -S` and `chage -l` only tell; `passwd -l` locks."""
    tells = {"-S", "--status"} if name == "passwd" else {"-l", "--list"}
    if arguments[:1] and arguments[0] in tells and len(arguments) <= 2:
        return
    state.note("accounts")


def unaliased(state: State, _: str, __: Sequence[str], ___: str | None) -> None:
    """`unalias` takes names away, which then stand for something else."""
    state.functions = {}


def options_read(state: State, _: str, arguments: Sequence[str], __: str | None) -> None:
    """`getopts WORDS NAME`."""
    for name in [*arguments[1:2], "OPTARG"]:
        _overwritten(state, name)
