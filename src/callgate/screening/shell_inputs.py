"""Files that a command empties before it reads them: `sort f > f`, `cat f | sort > f`, `sort f | tee f` (bash manual, 3.6)."""

from collections.abc import Sequence
from typing import Final

from callgate.screening.shell_fields import as_written, fields_of, text_of
from callgate.screening.shell_paths import is_sink, plain_path
from callgate.screening.shell_state import State, is_exact
from callgate.screening.shell_terms import Command, Node

# Their words are said, or made, and not read.
_READ_NOTHING: Final = frozenset(
    {"echo", "printf", "touch", "mkdir", "rm", "test", "[", "date", "seq", "exec", "command", "sponge", "git", "env"}
)
# Their first operand is a pattern or a program.
_PATTERN_FIRST: Final = frozenset(
    {
        "grep",
        "egrep",
        "fgrep",
        "zgrep",
        "rg",
        "ag",
        "ack",
        "sed",
        "gsed",
        "awk",
        "gawk",
        "mawk",
        "nawk",
        "jq",
        "yq",
        "tr",
    }
)
_EMPTIES: Final = frozenset({">", ">|", "&>"})


def empties_its_input(state: State, nodes: Sequence[Node]) -> bool:
    """Whether one of the commands of a pipeline, or of one alone, empties a file that it or one before it reads."""
    read: set[str] = set()
    for node in nodes:
        if not isinstance(node, Command):
            continue
        fields = [as_written(field) for word in node.words for field in fields_of(word, state.known, state.budget)]
        given = [text_of(redirect.target, state.known) for redirect in node.redirects if redirect.op == "<"]
        emptied = {
            text_of(redirect.target, state.known)
            for redirect in node.redirects
            if redirect.op in _EMPTIES and redirect.fd in {"", "1"}
        }
        if fields[:1] == ["tee"] and not {"-a", "--append"} & set(fields):
            emptied |= set(fields[1:])
            read |= _plain(given)
        else:
            read |= _plain([*_read_by(fields), *given])
        if read & _plain(emptied):
            return True
    return False


def _read_by(fields: Sequence[str]) -> Sequence[str]:
    name = fields[0] if fields else "echo"
    operands = [field for field in fields[1:] if not field.startswith("-")]
    return () if name in _READ_NOTHING else operands[1:] if name in _PATTERN_FIRST else operands


def _plain(paths: Sequence[str] | set[str]) -> set[str]:
    return {plain_path(path) for path in paths if path and is_exact(path) and not is_sink(path)}
