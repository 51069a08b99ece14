"""What a shell command, or an argument list that is run without a shell, would do.

A text is taken apart as bash does it (`shell_syntax`, `shell_words`), what can be told of its variables is put in
(`shell_fields`), and each command is looked up by its name (`shell_dispatch`).  Whatever cannot be told before it runs
counts as destructive, and so does a command that is not known.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from callgate.screening.shell_rules import SHELL_RULES
from callgate.screening.shell_state import State
from callgate.screening.shell_terms import MAX_ARGUMENTS, MAX_TEXT_CHARACTERS, Budget, NotShell
from callgate.screening.shell_walk import interpret, new_state

__all__ = ["SHELL_RULES", "ShellReading", "read_argv", "read_shell"]

# Readings that are kept, by the digest of what was read: an agent says the same things again and again.
MAX_REMEMBERED: Final = 1_024
# Of names and codes in one reading that is kept; together with MAX_REMEMBERED at most some 8 MiB.
MAX_REMEMBERED_WORDS: Final = 64

# Control characters other than tab and line end; the carriage return is one: what stands before it is not seen.
_CONTROLS: Final = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\u2028\u2029\ue000-\uf8ff\ufff0-\uffff\U000e0000-\U0010ffff]"
)
# Characters that turn the direction of what follows (Unicode 17, UAX 9; "Trojan Source", CVE-2021-42574).
_BIDI: Final = re.compile("[\u202a-\u202e\u2066-\u2069\u061c]")
# Blanks that bash takes for letters, and what is not seen at all.
_UNSEEN: Final = re.compile(
    "[\u00a0\u00ad\u034f\u115f\u1160\u1680\u17b4\u17b5\u180b-\u180f\u2000-\u200f\u202f\u205f-\u206f\u3000\u3164\ufe00-\ufe0e\ufeff\uffa0]"
)
_QUOTED: Final = re.compile(r"'[^']*'|\"(?:[^\"\\]|\\.)*+\"", re.DOTALL)
_ARGV_CONTROLS: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff\U000f0000-\U0010ffff]")


@dataclass(frozen=True, slots=True)
class ShellReading:
    """What would be run, and what that may do.

    `commands`: base names, in order, of all levels; `?` for one that cannot be told.  `writes`: something is created or
    changed.  `network`: something is fetched or sent.  `privileged`: it runs as another user, in a container or a pod,
    with the host's folders or rights.  `destructive`: something is deleted, stopped, overwritten, opened for good, or
    cannot be told.  `why`: codes of SHELL_RULES, empty unless destructive.
    """

    commands: tuple[str, ...]
    writes: bool
    network: bool
    privileged: bool
    destructive: bool
    why: tuple[str, ...]


def read_shell(text: str) -> ShellReading:
    """What the text does when bash runs it.

    Total and bounded: MAX_TEXT_CHARACTERS, MAX_DEPTH, MAX_COMMANDS and MAX_PIECES; beyond them it is destructive.
    """
    if len(text) > MAX_TEXT_CHARACTERS:
        return _refused("too_long")
    key = sha256(b"bash\0" + text.encode("utf-8", "surrogatepass")).digest()
    return _REMEMBERED.get(key) or _keep(key, _read_text(text))


def read_argv(argv: Sequence[str]) -> ShellReading:
    """What an argument list does when it is run without a shell: nothing in it is expanded.

    Total and bounded as `read_shell`, and by MAX_ARGUMENTS.
    """
    if len(argv) > MAX_ARGUMENTS or sum(map(len, argv)) > MAX_TEXT_CHARACTERS:
        return _refused("too_long")
    key = sha256(b"argv\0" + "\0".join(argv).encode("utf-8", "surrogatepass") + len(argv).to_bytes(4)).digest()
    return _REMEMBERED.get(key) or _keep(key, _read_words(argv))


_REMEMBERED: Final[dict[bytes, ShellReading]] = {}


def _keep(key: bytes, reading: ShellReading) -> ShellReading:
    if len(reading.commands) <= MAX_REMEMBERED_WORDS:
        if len(_REMEMBERED) >= MAX_REMEMBERED:
            del _REMEMBERED[next(iter(_REMEMBERED))]
        _REMEMBERED[key] = reading
    return reading


def _read_text(text: str) -> ShellReading:
    if not text.strip():
        return _refused("empty")
    if _CONTROLS.search(text) or _BIDI.search(text):
        return _refused("control_character")
    if not text.isascii() and _UNSEEN.search(text) and _UNSEEN.search(_QUOTED.sub("''", text)):
        return _refused("lookalike")
    state = new_state(Budget())
    try:
        interpret(state, text)
    except NotShell as refusal:
        state.note(refusal.code)
    except RecursionError:
        state.note("too_deep")
    if state.holds_commands and state.evaluates:
        state.note("evaluated_text")
    return _told(state) if state.commands or state.labels or state.why else _nothing(state, text)


def _nothing(state: State, text: str) -> ShellReading:
    """Assignments and tests alone are no command, and harmless; comments alone are nothing at all."""
    if all(line.lstrip().startswith("#") or not line.strip() for line in text.split("\n")):
        state.note("empty")
    return _told(state)


def _read_words(argv: Sequence[str]) -> ShellReading:
    if not argv or not argv[0]:
        return _refused("empty")
    if any(_ARGV_CONTROLS.search(word) for word in argv):
        return _refused("control_character")
    state = new_state(Budget())
    try:
        state.run(list(argv))
    except NotShell as refusal:
        state.note(refusal.code)
    except RecursionError:
        state.note("too_deep")
    return _told(state)


def _told(state: State) -> ShellReading:
    labels, why = state.labels, tuple(state.why)
    return ShellReading(
        tuple(state.commands), "write" in labels, "network" in labels, "privileged" in labels, bool(why), why
    )


def _refused(code: str) -> ShellReading:
    return ShellReading((), writes=False, network=False, privileged=False, destructive=True, why=(code,))
