"""What is said of finds: what they are called, what becomes of them, how many there were and how many there may be."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from callgate.screening.terms import Mode

# Strictest last.  `hold` masks nothing and is looked for by itself; whoever asks for it beside others gets the worst.
_STRICTNESS: Final = {
    mode: rank for rank, mode in enumerate((Mode.PARTIAL, Mode.PSEUDONYM, Mode.REDACT, Mode.DROP, Mode.HOLD, Mode.DENY))
}
# Of all texts of one message, with the names that they stand under, and those too that stand in others as JSON or base64.
# An answer has 4 MiB at the most, so that everything may stand in it twice; a detector takes some 5 ms for 1 MiB.
MAX_CHARACTERS: Final = 10 * 1024 * 1024
# Texts, numbers and names of members.  An answer has 100 000 values at the most (`JsonLimits.max_values`).
MAX_TEXTS: Final = 200_000
# Values that are masked, texts that are read as JSON or by lines, names that are looked for in these, and texts that lie.
# A page of a customer table has a few thousand; each costs some microseconds.
MAX_FINDS: Final = 20_000


class Unscreenable(ValueError):  # noqa: N818  # says what the message is
    """A message cannot be looked through; the text says why, and holds nothing of it."""


class TooMuch(Unscreenable):
    """There is more than is looked at in one message; the text says of what."""


@dataclass(slots=True)
class Budget:
    """What one message may still cost."""

    characters: int = MAX_CHARACTERS
    texts: int = MAX_TEXTS
    finds: int = MAX_FINDS

    def gather(self, texts: int, characters: int) -> None:
        """Take that many more texts of so many characters together.  Raises TooMuch."""
        self.texts -= texts
        self.characters -= characters
        if self.texts < 0 or self.characters < 0:
            raise TooMuch("too many texts" if self.texts < 0 else "too many characters")

    def find(self, count: int = 1) -> None:
        """Take so many finds more.  Raises TooMuch."""
        self.finds -= count
        if self.finds < 0:
            raise TooMuch("too many finds")


@dataclass(frozen=True, slots=True)
class Masked:
    """What a find is called, and what becomes of it."""

    name: str
    mode: Mode


@dataclass(slots=True)
class Tally:
    """What one call came to: names and numbers, and never a value.

    `counts`: what was masked, by name.  `deceptive`: what text deceived with.  `denied`: the names of what the message
    was refused for; `held`: of what a person has to agree to.
    """

    counts: dict[str, int] = field(default_factory=dict)
    deceptive: dict[str, int] = field(default_factory=dict)
    denied: list[str] = field(default_factory=list)
    held: list[str] = field(default_factory=list)

    def masked(self, name: str) -> None:
        """Count one value."""
        self.counts[name] = self.counts.get(name, 0) + 1

    def deceived(self, found: Mapping[str, int]) -> None:
        """Count what one text deceived with."""
        for name, count in found.items():
            self.deceptive[name] = self.deceptive.get(name, 0) + count

    def deny(self, name: str) -> None:
        """Note what the message is refused for."""
        if name not in self.denied:
            self.denied.append(name)


def strictest(several: Iterable[Masked]) -> Masked:
    """The one whose mode leaves least; the first of equals."""
    return max(several, key=lambda each: _STRICTNESS[each.mode])


@dataclass(frozen=True, slots=True)
class Span:
    """A piece of a text, and what becomes of it."""

    start: int
    end: int
    masked: Masked


def merged(spans: Iterable[Span]) -> list[Span]:
    """In order, not overlapping: of several that share a character one is left, over all of them, the strictest."""
    apart: list[Span] = []
    for span in sorted(spans, key=lambda each: (each.start, -each.end)):
        if span.end <= span.start:
            continue
        if apart and span.start < apart[-1].end:
            last = apart.pop()
            span = Span(last.start, max(last.end, span.end), strictest((last.masked, span.masked)))  # noqa: PLW2901
        apart.append(span)
    return apart
