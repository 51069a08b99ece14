"""How much work a pattern of a JSON Schema can be: a bound, read off its text.

The states of a nondeterministic automaton bound what a linear-time engine does for one character of the text; counted
repetitions multiply them, and classes of Unicode have many.  Linear in the pattern.
"""

import re
from typing import Final

# States by what stands there.  UTF-8 makes several of any class that reaches beyond ASCII.
_ANY_STATES: Final = 12
_NEGATED_STATES: Final = 32
_UNICODE_STATES: Final = 400
_WIDE_CHARACTER_STATES: Final = 4
# What no pattern that is taken comes near; counting on would make numbers of a million digits.
_MAX_STATES: Final = 1 << 40
_COUNTED: Final = re.compile(r"\{(\d{1,9})(?:(,)(\d{0,9}))?\}")
_PROPERTY: Final = re.compile(r"\\[pP](?:\{[^}]{0,64}\}|.)", re.DOTALL)


def states_of(pattern: str) -> int:
    """An upper bound of the states, saturating."""
    counting = _Counting(pattern)
    while counting.at < len(pattern):
        counting.step()
    return min(_MAX_STATES, sum(counting.sums))


class _Counting:
    """Where the reading stands: the sums of the groups that are open, and what the last atom had."""

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        self.at = 0
        self.sums = [1]
        self.last = 0

    def step(self) -> None:
        """Read one atom or operator."""
        char = self.pattern[self.at]
        if char == "\\":
            self._escape()
        elif char == "[":
            self._class()
        elif char == "{" and (counted := _COUNTED.match(self.pattern, self.at)):
            self._repeat(counted)
        else:
            self.at += 1
            self._plain(char)

    def _plain(self, char: str) -> None:
        if char == "(":
            self.sums.append(1)
        elif char == ")" and len(self.sums) > 1:
            self._atom(self.sums.pop())
        elif char == ".":
            self._atom(_ANY_STATES)
        elif char not in "*+?|^$":
            self._atom(1 if char.isascii() else _WIDE_CHARACTER_STATES)

    def _atom(self, states: int) -> None:
        self.last = min(states, _MAX_STATES)
        self.sums[-1] = min(self.sums[-1] + self.last, _MAX_STATES)

    def _escape(self) -> None:
        if unicode := _PROPERTY.match(self.pattern, self.at):
            self.at = unicode.end()
            self._atom(_UNICODE_STATES)
            return
        self._atom(_NEGATED_STATES if self.pattern[self.at + 1 : self.at + 2] in {"s", "S", "D", "W", "w", "d"} else 1)
        self.at += 2

    def _class(self) -> None:
        begin, depth = self.at, 0
        while self.at < len(self.pattern):
            char = self.pattern[self.at]
            self.at += 2 if char == "\\" else 1
            depth += (char == "[") - (char == "]")
            # A bracket right at the beginning stands for itself in some dialects: a class that is read too long has too
            # many states, never too few.
            if depth == 0 and char == "]":
                break
        self._atom(_class_states(self.pattern[begin : self.at]))

    def _repeat(self, counted: re.Match[str]) -> None:
        self.at = counted.end()
        times = max(int(counted[1]) + (counted[2] is not None), int(counted[3] or 0))
        more = self.last * max(0, times - 1)
        self.sums[-1] = min(self.sums[-1] + more, _MAX_STATES)
        self.last = min(self.last + more, _MAX_STATES)


def _class_states(text: str) -> int:
    unicode = len(_PROPERTY.findall(text)) * _UNICODE_STATES
    wide = 0 if text.isascii() else len(text) * _WIDE_CHARACTER_STATES
    negated = _NEGATED_STATES if text.startswith("[^") or re.search(r"\\[sSDW]", text) else 1
    return unicode + wide + negated
