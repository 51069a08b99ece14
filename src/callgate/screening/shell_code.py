"""Programs in other languages that stand in a command: sed's and awk's are read, the others are not."""

import re
from collections.abc import Sequence
from typing import Final

from callgate.screening.shell_languages import awk_files, sed_files
from callgate.screening.shell_options import options_of, read_options
from callgate.screening.shell_state import State, is_exact
from callgate.screening.shell_wrappers import note_options

_SHELL: Final = options_of(
    "c o: O: i l s r n v x e u f h p m a b k t B C E P T D login norc noprofile posix restricted verbose version help init-file:=unknown_script "
    "rcfile:=unknown_script noediting dump-strings dump-po-strings debugger rpm-requires pretty-print wordexp"
)
_SED: Final = options_of(
    "e: f: expression: file: i? in-place? n quiet silent E r regexp-extended s separate z null-data u unbuffered posix sandbox "
    "l: line-length: debug follow-symlinks b binary"
)
# gawk(1), mawk(1): what is not listed there takes no value and does nothing but tell.
_AWK: Final = options_of(
    "F: v: f: field-separator: assign: file: e: source: i:=unknown_script include:=unknown_script l:=planted_code load:=planted_code "
    "E:=unknown_script exec:=unknown_script o?=write_to p?=write_to d?=write_to D?=interpreter_code debug?=interpreter_code "
    "dump-variables?=write_to profile?=write_to pretty-print?=write_to W: b c C g h I k L? M n N O P r s S t V re-interval posix traditional version help"
)
# mawk(1), -W: the others name files, `exec` one with a program.
_PLAIN_AWK: Final = frozenset(
    {"version", "interactive", "posix", "posix_space", "traditional", "help", "usage", "dump"}
)
# Programs of sed that leave nothing of a file.
_EMPTIES: Final = re.compile(r"[ \t\n;]*(?:1[ \t]*,[ \t]*\$)?[ \t]*d[ \t\n;]*")
_DC_CODE: Final = "!"
# What they run is in a container or in another machine.
_HOLDS_OTHERS: Final = frozenset({"lxc", "lxc-attach", "lxc-execute", "incus", "systemd-nspawn"})
_OPENERS: Final = frozenset({"xdg-open", "open", "gnome-open", "kde-open", "mimeopen", "see", "edit", "run-mailcap"})
_VERSIONS: Final = frozenset(
    {"--version", "-V", "--help", "-h", "-version", "-v", "version", "help", "-help", "-?", "--usage"}
)


def shell(state: State, name: str, arguments: Sequence[str], given: str | None) -> None:
    """Another shell: for a text (`-c`), for its input, or for a script."""
    flags, rest = _shell_flags(arguments)
    read = read_options(_SHELL, flags)
    note_options(state, read)
    if read.has("version", "help") and not read.has("c"):
        return
    if read.unsure or name in {"fish", "csh", "tcsh", "rc", "es", "elvish", "nu", "xonsh"}:
        state.note("unresolved_code")
    if read.has("c"):
        state.script(rest[0] if rest else "")
    elif read.has("n") and not read.has("i"):
        return
    elif rest and not read.has("s"):
        state.note("unknown_script")
    else:
        state.give(given)


def _shell_flags(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Options up to the first operand; `-o` and `-O`, alone or last of several letters, take one argument each."""
    flags: list[str] = []
    position = 0
    while position < len(arguments):
        argument = arguments[position]
        if argument in {"--", "-"}:
            return flags, list(arguments[position + 1 :])
        if argument[:1] not in {"-", "+"} or len(argument) < 2:
            break
        position += 1
        if argument.startswith("+"):
            position += argument[-1:] in "oO"
            continue
        flags.append(argument)
        if argument in {"--rcfile", "--init-file"} or (not argument.startswith("--") and argument[-1] in "oO"):
            flags += arguments[position : position + 1]
            position += 1
    return flags, list(arguments[position:])


def interpreter(state: State, name: str, arguments: Sequence[str], __: str | None) -> None:
    """Another language: code in the arguments, in a script or in the input."""
    if arguments and all(argument in _VERSIONS for argument in arguments):
        return
    if name in _HOLDS_OTHERS:
        state.note("privileged")
    if name == "autossh" or (name in _OPENERS and any("://" in argument for argument in arguments)):
        state.note("network")
    code = any(argument.startswith("-") for argument in arguments) or not arguments
    state.note("interpreter_code" if code else "unknown_script")


def python(state: State, name: str, arguments: Sequence[str], given: str | None) -> None:
    """Python, with the few modules of its library that only read."""
    module = arguments[1] if len(arguments) > 1 and arguments[0] == "-m" else ""
    rest = arguments[2:]
    if module in {"pip", "pip3"}:
        state.run(["pip", *rest], given)
    elif module == "http.server":
        state.note("network", "disclosure")
    elif module == "venv":
        state.note("write")
    elif module == "json.tool":
        operands = [word for word in rest if not word.startswith("-")]
        for path in operands[1:2]:
            state.write_to(path)
    elif module not in {"calendar", "this", "platform", "sysconfig", "site", "tabnanny", "tokenize", "dis", "ast"}:
        interpreter(state, name, arguments, given)


def desk_calculator(state: State, _: str, arguments: Sequence[str], given: str | None) -> None:
    """`dc` runs what stands after a `!` (dc(1))."""
    text = " ".join(arguments) + (given or "!")
    if not is_exact(text) or _DC_CODE in text or any(word.startswith(("-f", "--f")) for word in arguments):
        state.note("interpreter_code")


def stream_editor(state: State, _: str, arguments: Sequence[str], __: str | None) -> None:
    """`sed`: its programs are read; -i changes the files."""
    read = read_options(_SED, arguments)
    programs, operands = read.values("e", "expression"), read.operands
    if read.has("f", "file"):
        state.note("unknown_script")
    elif not programs:
        programs, operands = operands[:1], operands[1:]
    if read.unsure:
        state.note("unresolved_option")
    _note_program(state, sed_files("\n".join(programs)))
    if read.has("i", "in-place"):
        state.note("write", *(["overwrite"] if _EMPTIES.fullmatch("\n".join(programs)) else []))
        for path in operands:
            state.write_to(path)


def pattern_language(state: State, _: str, arguments: Sequence[str], __: str | None) -> None:
    """`awk`: its program is read."""
    read = read_options(_AWK, arguments, permutes=False)
    note_options(state, read)
    if read.unsure:
        state.note("unresolved_option")
    if read.has("f", "file"):
        state.note("unknown_script")
    if not _PLAIN_AWK.issuperset(read.values("W")):
        state.note("unknown_script")
    programs = read.values("e", "source")
    if not programs and not read.has("f", "file"):
        programs = read.operands[:1]
    _note_program(state, awk_files("\n".join(programs)))


def _note_program(state: State, files: Sequence[str] | None) -> None:
    if files is None:
        state.note("interpreter_code")
    else:
        for path in files:
            state.write_to(path)
