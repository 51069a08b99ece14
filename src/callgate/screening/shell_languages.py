"""The programs of sed and awk, as far as to tell which files they write and whether they run commands.

What is not wholly understood counts as running commands.
"""

import re
from typing import Final

from callgate.screening.shell_state import is_exact
from callgate.screening.shell_terms import HOLE

# Longer ones are programs; whoever needs one has a file for it, which is not looked at either.
MAX_PROGRAM_CHARACTERS: Final = 4_096

_SED_SKIP: Final = re.compile(r"[ \t\n;]+")
_SED_ADDRESS: Final = re.compile(
    r"(?:[0-9]+(?:~[0-9]+)?|\$|/(?:[^/\\\n]|\\.)*+/[IM]*)(?:[ \t]*,[ \t]*(?:[+~]?[0-9]+|\$|/(?:[^/\\\n]|\\.)*+/[IM]*))?",
    re.DOTALL,
)
_SED_NEGATED: Final = re.compile(r"[ \t]*!*[ \t]*")
_SED_LINE: Final = re.compile(r"[^\n]*")
_SED_TEXT: Final = re.compile(r"(?:[^\\\n]|\\.)*+", re.DOTALL)
_SED_LABEL: Final = re.compile(r"[^\n;}]*")
_SED_NUMBER: Final = re.compile(r"[ \t]*[0-9]*")
# What stands behind the other commands (GNU sed manual, 3.8); `e` and what is not here run commands or are not known.
_SED_BEHIND: Final = {
    **dict.fromkeys("{}=dDgGhHnNpPxzF", re.compile("")),
    **dict.fromkeys("#rR", _SED_LINE),
    **dict.fromkeys("aic", _SED_TEXT),
    **dict.fromkeys(":btTv", _SED_LABEL),
    **dict.fromkeys("qQlL", _SED_NUMBER),
}
_SED_FLAGS: Final = re.compile(r"[gpiIMm0-9]*")
_AWK_TOKEN: Final = re.compile(
    r"[ \t\r\n\\]+|#[^\n]*|\"(?:[^\"\\\n]|\\.)*+\"|[A-Za-z_][A-Za-z0-9_]*|[0-9.]+|>>|\|\||\|&|&&|[<>=!]=|.", re.DOTALL
)
_AWK_REGEX: Final = re.compile(r"/(?:[^/\\\n\[]|\\.|\[\^?\]?[^\]\n]*\])*+/", re.DOTALL)
_AWK_WORDS_BEFORE_REGEX: Final = frozenset({"return", "print", "printf", "in", "case", "else", "do", "getline"})
# Their own manuals: system(), and gawk's ways to load code and to call functions by a name in a variable.
_AWK_RUNS: Final = frozenset({"system", "@", "|", "|&"})


def sed_files(program: str) -> list[str] | None:
    """The files that a sed program writes; None where it runs commands or is not understood."""
    if not is_exact(program) or len(program) > MAX_PROGRAM_CHARACTERS:
        return None
    files: list[str] = []
    position = 0
    while position < len(program):
        end = _sed_command(program, _after(_SED_SKIP, program, position), files)
        if end is None:
            return None
        position = end
    return files


def _after(pattern: re.Pattern[str], text: str, position: int) -> int:
    found = pattern.match(text, position)
    return found.end() if found else position


def _sed_command(program: str, position: int, files: list[str]) -> int | None:
    """Read one command with its address; where it ends, or None if it runs something or is not understood."""
    if position >= len(program):
        return position
    position = _after(_SED_NEGATED, program, _after(_SED_ADDRESS, program, position))
    name = program[position : position + 1]
    position += 1
    if name in {"w", "W"}:
        return _sed_file(program, position, files)
    if name in {"s", "y"}:
        return _sed_parts(program, name, position, files)
    behind = _SED_BEHIND.get(name)
    return _after(behind, program, position) if behind else None


def _sed_file(program: str, position: int, files: list[str]) -> int:
    end = _after(_SED_LINE, program, position)
    files.append(program[position:end].strip())
    return end


def _sed_parts(program: str, name: str, position: int, files: list[str]) -> int | None:
    """`s/regex/replacement/flags` and `y/from/to/`; the flag `e` runs what comes out."""
    mark = program[position : position + 1]
    position += 1
    if not mark or mark in "\\\n":
        return None
    for _ in range(2):
        while position < len(program) and program[position] != mark:
            position += 2 if program[position] == "\\" else 1
        position += 1
        if position > len(program):
            return None
    if name == "y":
        return position
    position = _after(_SED_FLAGS, program, position)
    following = program[position : position + 1]
    if following == "w":
        return _sed_file(program, position + 1, files)
    return position if following in {"", " ", "\t", "\n", ";", "}", "#"} else None


def awk_files(program: str) -> list[str] | None:
    """The files that an awk program writes, HOLE for one that cannot be told; None where it may run commands."""
    if not is_exact(program) or len(program) > MAX_PROGRAM_CHARACTERS:
        return None
    tokens = _awk_tokens(program)
    if not _AWK_RUNS.isdisjoint(tokens):
        return None
    files: list[str] = []
    depth, printing = 0, -1
    for place, token in enumerate(tokens):
        depth += (token in {"(", "[", "{"}) - (token in {")", "]", "}"})
        if token in {"print", "printf"}:
            printing = depth
        elif token in {";", "\n", "}"} or depth < printing:
            printing = -1
        elif token in {">", ">>"} and depth == printing:
            files.append(_awk_file(tokens, place + 1))
    return files


def _awk_file(tokens: list[str], place: int) -> str:
    """A file named by one string, and by nothing else."""
    name = tokens[place] if place < len(tokens) else ""
    following = tokens[place + 1] if place + 1 < len(tokens) else ";"
    return name[1:-1] if name.startswith('"') and "\\" not in name and following in {";", "\n", "}"} else HOLE


def _awk_tokens(program: str) -> list[str]:
    """What the program is made of, without blanks, comments and the text of regular expressions."""
    tokens: list[str] = []
    position = 0
    while position < len(program):
        if program[position] == "/" and _regex_may_begin(tokens):
            found = _AWK_REGEX.match(program, position)
        else:
            found = _AWK_TOKEN.match(program, position)
        if not found:
            return ["@"]
        position = found.end()
        text = found.group()
        if "\n" in text and not text.strip("\\ \t\r\n"):
            tokens.append("\n" if "\\" not in text else " ")
        elif not text.startswith((" ", "\t", "#", "\\")):
            tokens.append(text)
    return tokens


def _regex_may_begin(tokens: list[str]) -> bool:
    """After an operand a `/` divides (POSIX, awk, "Grammar"); a word that is no operand begins one."""
    last = tokens[-1] if tokens else ""
    if last in _AWK_WORDS_BEFORE_REGEX:
        return True
    return not (last[:1].isalnum() or last[-1:] in {"_", ")", "]", "$", '"', "."} or last[:1] == "_")
