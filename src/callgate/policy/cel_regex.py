"""A bound on what a regular expression costs in RE2.

RE2 takes time linear in the text, but how much for each character grows with the program that it makes of the pattern:
up to 20 ns for each instruction while each character leads to a state that it has not been in, which
`(a|b)*a(a|b){100}` on random text does.  And the runtime compiles the pattern anew each time, 0.3 us for each
instruction.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

# 2 ms to compile, for each evaluation.
MAX_INSTRUCTIONS: Final = 2_000

# Of the instructions for one character of any script: its ranges of UTF-8.
_ANY_CHARACTER: Final = 20
_SCRIPT: Final = 1_500
_TOKEN: Final = re.compile(
    r"""
    (?P<group>\((?:\?(?:P?<[A-Za-z0-9_]+>|(?P<flags>[imsU-]*):?))?)
    | (?P<end>\))
    | (?P<repeat>\{(?P<least>[0-9]{1,5})(?P<comma>,(?P<most>[0-9]{0,5}))?\})
    | (?P<star>[*+?])
    | (?P<set>\[(?P<no>\^?)\]?(?:\[:\^?[a-z]+:\]|\\.|[^\]\\])*\])
    | (?P<script>\\[pP](?:\{\^?[A-Za-z_]*\}|.))
    | (?P<unknown>\\[QEC])
    | (?P<class>\\[DSW])
    | (?P<escape>\\.)
    | (?P<any>\.)
    | (?P<literal>.)
    """,
    re.VERBOSE | re.DOTALL,
)
# Words and alternatives of words: RE2 needs no more states for them than they have characters, and 8 ns a character.
_WORDS: Final = re.compile(
    r"(?:\(\?i\))?[A-Za-z0-9 _@:=/|,;<>\"'%&!#-]+|(?:\(\?i\))?\([A-Za-z0-9 _@:=/|,;<>\"'%&!#-]+\)"
)


@dataclass(frozen=True, slots=True)
class Pattern:
    """`instructions` are at least as many as RE2's program has; `is_words`: there is nothing in it but words."""

    instructions: int
    is_words: bool

    def steps(self, text_bytes: int) -> int:
        """What it costs at most to search a text, in the steps of cel_cost."""
        of_100_bytes = 10 if self.is_words else 20 * self.instructions
        return 10 * self.instructions + text_bytes * of_100_bytes // 100


@lru_cache(maxsize=1_024)
def read_pattern(text: str) -> Pattern | str:
    """What a pattern costs; a text with what is wrong where that cannot be told, or is too much.

    It may be no pattern at all: that is RE2's to tell.
    """
    folds = any("i" in (token["flags"] or "").partition("-")[0] for token in _tokens(text))
    groups: list[list[int]] = [[]]
    for token in _tokens(text):
        if token["unknown"]:
            return f"has {token[0]}, which is not available here"
        _take(token, groups, folds=folds)
    instructions = sum(map(sum, groups)) + 10
    if instructions > MAX_INSTRUCTIONS:
        why = "; what may be repeated {n} times counts n times" if "{" in text else ""
        return f"is too large: {instructions} instructions, the limit is {MAX_INSTRUCTIONS}{why}"
    return Pattern(instructions, _WORDS.fullmatch(text) is not None)


def _tokens(text: str) -> Iterator[re.Match[str]]:
    return _TOKEN.finditer(text)


def _take(token: re.Match[str], groups: list[list[int]], *, folds: bool) -> None:
    """Add one token to the innermost of the `groups` that are open."""
    innermost = groups[-1]
    match token.lastgroup:
        case "group":
            groups.append([1])
        case "end":
            if len(groups) > 1:
                total = sum(groups.pop())
                groups[-1].append(total + 1)
        case "repeat" | "star":
            if innermost:
                innermost[-1] = (innermost[-1] + 1) * _times(token) + 2
        case _:
            innermost.append(_instructions(token, folds=folds))


def _times(token: re.Match[str]) -> int:
    return 1 if token["star"] else max(int(token["least"]), int(token["most"] or 0), 1)


def _instructions(token: re.Match[str], *, folds: bool) -> int:
    text = token[0]
    if token["script"]:
        return _SCRIPT * (2 if folds else 1)
    if token["set"]:
        return _of_set(text, folds=folds) + (_ANY_CHARACTER if token["no"] else 0)
    if token["class"]:
        return 2 * _ANY_CHARACTER
    if token["any"]:
        return _ANY_CHARACTER
    if token["escape"]:
        return 5
    return len(text.encode(errors="replace")) * (4 if folds else 1)


def _of_set(text: str, *, folds: bool) -> int:
    if "\\p" in text or "\\P" in text:
        return _SCRIPT * (2 if folds else 1)
    if text.isascii() and "\\" not in text and "[:" not in text:
        # A range and a branch for each character that is written, and as many again for the other case.
        return len(text) * (4 if folds else 2)
    return _SCRIPT if folds else _ANY_CHARACTER * len(text)
