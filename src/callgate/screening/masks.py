"""The rules of one call, made ready: which detectors, which names of members, which places."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from types import MappingProxyType
from typing import Final, Protocol

from callgate.screening.key_text import KeyWords, normalised
from callgate.screening.mask import Masked, strictest
from callgate.screening.personal import BIRTH_DATE_KEYS, detector_of
from callgate.screening.terms import Found, MaskRule

# Sets of rules that are kept ready: one for each server and combination of grants that is in use.
MAX_REMEMBERED: Final = 256
_BIRTH_DATE: Final = "birth_date"
_ANCHOR: Final = re.compile(r"[\^$]|\\[Az]")


class Finder(Protocol):
    """Whatever finds things in a text: see `personal.Detector`."""

    def find(self, text: str, /) -> tuple[Found, ...]:
        """What was found, in order, not overlapping; offsets in code points."""


@dataclass(frozen=True, slots=True)
class Pointer:
    """A place in arguments or `structuredContent`; the step `*` is any one."""

    steps: tuple[str, ...]
    masked: Masked


@dataclass(frozen=True, slots=True)
class Masks:
    """What is looked for, and what becomes of it.

    `modes`: by the names of finds.  `keys`: by normalised names of members.  `words`: finds those that a rule names in
    texts; `birth_words`: those that tell a date of birth, in texts that are JSON (elsewhere its detector sees them).
    `in_texts`: pointers into JSON that stands in a text.  `are_anchored`: some pattern asks where a text begins or ends.
    """

    entities: Finder | None = None
    patterns: Finder | None = None
    modes: Mapping[str, Masked] = field(default_factory=dict)
    keys: Mapping[str, Masked] = field(default_factory=dict)
    words: KeyWords | None = None
    birth_words: KeyWords | None = None
    pointers: tuple[Pointer, ...] = ()
    in_texts: tuple[Pointer, ...] = ()
    are_anchored: bool = False

    def __bool__(self) -> bool:
        return bool(self.modes or self.keys or self.pointers)


_READY: Final[dict[int, tuple[tuple[MaskRule, ...], Masks]]] = {}


def masks_of(rules: tuple[MaskRule, ...]) -> Masks:
    """The rules made ready, once; where several are about one thing, the strictest counts.

    Raises whatever the detector raises for a pattern that is none; a policy with one does not come here.
    """
    known = _READY.get(id(rules))
    # By identity: to hash some thirty rules takes longer than to look through most messages.  Who is kept lives, and
    # nobody else has its identity.
    if known is not None and known[0] is rules:
        return known[1]
    if len(_READY) >= MAX_REMEMBERED:
        _READY.clear()
    made = _made(rules)
    _READY[id(rules)] = (rules, made)
    return made


@lru_cache(maxsize=MAX_REMEMBERED)
def _made(rules: tuple[MaskRule, ...]) -> Masks:
    entities = frozenset(rule.entity for rule in rules if rule.entity)
    patterns = tuple(dict.fromkeys((rule.name, rule.pattern) for rule in rules if rule.pattern))
    named = _by_name((normalised(rule.key), _masked(rule)) for rule in rules if rule.key)
    born = _by_name(
        (normalised(key), _masked(rule)) for rule in rules if rule.entity == _BIRTH_DATE for key in BIRTH_DATE_KEYS
    )
    found = _by_name((rule.entity or rule.name, _masked(rule)) for rule in rules if rule.entity or rule.pattern)
    pointers = tuple(Pointer(_steps(rule.pointer), _masked(rule)) for rule in rules if rule.pointer)
    return Masks(
        entities=detector_of(entities) if entities else None,
        patterns=detector_of(frozenset(), patterns) if patterns else None,
        modes=MappingProxyType(found),
        keys=MappingProxyType(_by_name((*born.items(), *named.items()))),
        words=KeyWords(frozenset(named)) if named else None,
        birth_words=KeyWords(frozenset(born)) if born else None,
        pointers=pointers,
        in_texts=tuple(dict.fromkeys(each for pointer in pointers for each in _unwrapped(pointer))),
        are_anchored=any(_ANCHOR.search(pattern.replace("[^", "")) for _, pattern in patterns),
    )


def _masked(rule: MaskRule) -> Masked:
    return Masked(rule.name, rule.mode)


def _by_name(named: Iterable[tuple[str, Masked]]) -> dict[str, Masked]:
    found: dict[str, Masked] = {}
    for name, masked in named:
        found[name] = strictest((found[name], masked)) if name in found else masked
    return found


def _unwrapped(pointer: Pointer) -> Iterable[Pointer]:
    """The place, and where it is in what a tool meant to say.

    Results that are no object are put into one with the member `result`, as `structuredContent` wants it, and stand in
    the text as they are, or an entry in each text.
    """
    yield pointer
    if pointer.steps[:1] in {("result",), ("*",)}:
        yield Pointer(pointer.steps[1:], pointer.masked)
        if (entry := pointer.steps[1:2]) and (entry[0] == "*" or entry[0].isdigit()):
            yield Pointer(pointer.steps[2:], pointer.masked)


def _steps(pointer: str) -> tuple[str, ...]:
    """RFC 6901, section 4: "~1" is "/", and then "~0" is "~"."""
    return tuple(step.replace("~1", "/").replace("~0", "~") for step in pointer.split("/")[1:])
