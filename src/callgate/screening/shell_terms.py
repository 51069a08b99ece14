"""The words of the shell's readings: what a text is taken apart into, and the bounds that hold throughout."""

from dataclasses import dataclass, field
from typing import Final, TypeAlias

from callgate.errors import GatewayError

# Longer commands are scripts; bash itself takes 128 KiB in one argument (execve(2), MAX_ARG_STRLEN).
MAX_TEXT_CHARACTERS: Final = 65_536
# Of substitutions, groups, functions, `sh -c` within `sh -c` and wrappers within wrappers, all counted together.
MAX_DEPTH: Final = 24
# Of commands in one text, at all levels: what is longer is a program, and its reading would hold up the event loop.
MAX_COMMANDS: Final = 150
MAX_RUNS: Final = 2 * MAX_COMMANDS
# Of words, pieces of words and expansions that one text is taken apart into, at all levels.
MAX_PIECES: Final = 1_000
# Of one command: what it is given is looked through several times, at each level of wrappers once.
MAX_ARGUMENTS: Final = 512
# Of words that one word becomes by brace expansion: `{1..99}` is fine, `{a,b}{a,b}…` doubles each time.
MAX_FIELDS: Final = 256

# A field is what the command would get as one argument.  Characters below stand in it for what has no fixed text; none
# of them can be in a text itself, because control characters are refused before.
HOLE: Final = "\x00"  # text that is not known, in one argument
SPLIT: Final = "\x01"  # text that is not known, in any number of arguments
STAR: Final = "\x02"
ANY_ONE: Final = "\x03"
BRACKET: Final = "\x04"
PLAIN: Final = "\x05"  # not known, but in one argument and no option: a number, or one of the words of a loop
BRACE_OPEN: Final = "\x06"
BRACE_CLOSE: Final = "\x07"
COMMA: Final = "\x08"
CONTROL: Final = "\x0e"  # a control character or a byte above ASCII from $'…': known to be no letter
NAMES: Final = "\x0f"  # names of files in a folder that is known not to be the system's
INPUT: Final = "\x10"  # a word that xargs and its kin take from their input
FOUND: Final = "\x11"  # the same from `find`, whose names begin with a starting point and are no options
GLOBS: Final = STAR + ANY_ONE + BRACKET
# The n-th expansion of a word, in quotes and outside.  Both planes are for private use (Unicode 17, section 23.5).
QUOTED_HOLES: Final = 0xF0000
OPEN_HOLES: Final = 0x100000
# The `detail` of `$name`: braces are expanded before it, and may add letters to its name (3.5.1).
UNBRACED: Final = "$"


class NotShell(GatewayError):  # noqa: N818  # it says what the text is, and is caught as such
    """The text is no shell that can be read; `code` is one of SHELL_RULES."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


@dataclass(slots=True)
class Budget:
    """What is left for one text, at all of its levels; NotShell when it is spent."""

    pieces: int = MAX_PIECES
    commands: int = MAX_COMMANDS
    runs: int = MAX_RUNS
    depth: int = 0

    def spend(self, pieces: int = 1) -> None:
        """One word or piece of a word, or some."""
        self.pieces -= pieces
        if self.pieces < 0:
            raise NotShell("too_long")

    def spend_command(self) -> None:
        """One command that is read."""
        self.commands -= 1
        if self.commands < 0:
            raise NotShell("too_long")

    def spend_run(self) -> None:
        """One command that is looked up: those in wrappers and in loops count each time."""
        self.runs -= 1
        if self.runs < 0:
            raise NotShell("too_long")

    def deeper(self) -> None:
        """Begin a level; `depth` is taken back by whoever began it."""
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise NotShell("too_deep")


@dataclass(frozen=True, slots=True)
class Hole:
    """One expansion.  `kind`: variable, expansion (`${x…}`), command, process or arithmetic.

    `name`: of the variable.  `detail`: what follows the name in braces, or the text of the arithmetic.  `body`: the
    commands of a substitution.  `inner`: expansions within.
    """

    kind: str
    name: str = ""
    detail: str = ""
    body: "Block | None" = None
    inner: "tuple[Hole, ...]" = ()


@dataclass(frozen=True, slots=True)
class Word:
    """One word as written, with quotes taken off.

    `text` has private-use characters for `holes`, and the characters above for what is not quoted.  `quoted`: something
    in it was, so that it is an argument even when empty.  `bare`: neither quotes, backslashes nor expansions.
    """

    text: str
    holes: tuple[Hole, ...] = ()
    quoted: bool = False
    bare: bool = True


@dataclass(slots=True)
class Redirect:
    """`fd` as written ("" if not); `target` is the file, the here-string, or the body of the here-document."""

    op: str
    fd: str
    target: Word


@dataclass(frozen=True, slots=True)
class Assignment:
    """`values`: one, or those of an array; `subscript`: whether it sets only one entry, or adds to what is there."""

    name: str
    values: tuple[Word, ...]
    partial: bool = False


@dataclass(frozen=True, slots=True)
class Command:
    """A simple command."""

    assignments: tuple[Assignment, ...]
    words: tuple[Word, ...]
    redirects: tuple[Redirect, ...]


@dataclass(frozen=True, slots=True)
class Block:
    """Anything that holds commands.

    `kind`: sequence, background, group, subshell, pipeline, chain (`&&` alone), choice (with `||`), if, loop, for, case, function, test,
    arithmetic.  `name`: of the function, or of the loop's variable.  `words`: of the loop, the case or the test.
    """

    kind: str
    nodes: "tuple[Node, ...]" = ()
    name: str = ""
    words: tuple[Word, ...] = ()
    redirects: tuple[Redirect, ...] = field(default=())


Node: TypeAlias = Command | Block
