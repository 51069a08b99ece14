"""What calls are screened by: what a policy says of servers, and what the grants that apply say of a call."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, TypeVar

from callgate.policy.patterns import ToolPattern
from callgate.policy.rule import Rule
from callgate.screening.terms import Handling, MaskRule, Mode, Schemas, Screening

# Combinations of a tool and the grants that allow a call of it, kept ready.  Callers can make up tools where a grant
# names `*`: when it is full, it begins anew.  Some MiB at the very most.
_MAX_KEPT: Final = 1_024

_MODES: Final = (Mode.PARTIAL, Mode.PSEUDONYM, Mode.REDACT, Mode.DROP, Mode.HOLD, Mode.DENY)
_HANDLINGS: Final = (Handling.PASS, Handling.SCREEN, Handling.STRIP, Handling.DENY)
_SCHEMAS: Final = (Schemas.OFF, Schemas.KNOWN, Schemas.REQUIRED)

UNSCREENED: Final = Screening()

T = TypeVar("T", Handling, Schemas)


@dataclass(frozen=True, slots=True)
class Screen:
    """One entry of a policy's screening; None where it does not say."""

    server: str
    tools: tuple[ToolPattern, ...]
    answers: tuple[MaskRule, ...] = ()
    arguments: tuple[MaskRule, ...] = ()
    base64: Handling | None = None
    definitions: Handling | None = None
    results: Handling | None = None
    schemas: Schemas | None = None

    def names(self, tool: str | None) -> bool:
        """Whether it is about the tool; for None, about every tool."""
        return any(pattern.text == "*" if tool is None else pattern.matches(tool) for pattern in self.tools)


@dataclass(frozen=True, slots=True)
class Screens:
    """All of a policy's screening.  Immutable; `_kept` only remembers what follows from the rest.

    `is_idle`: neither a server nor a grant says anything of it.
    """

    entries: tuple[Screen, ...] = ()
    is_idle: bool = True
    _kept: dict[tuple[str, str | None, tuple[str, ...]], Screening] = field(
        default_factory=dict, repr=False, compare=False
    )

    def of(self, server: str, tool: str | None) -> Screening:
        """What the policy says of a server's tool, whoever calls; for None, of the server's every tool."""
        naming = [entry for entry in self.entries if entry.server == server and entry.names(tool)]
        masked, held = apart(rule for entry in naming for rule in entry.arguments)
        return Screening(
            strictest(rule for entry in naming for rule in entry.answers),
            masked,
            held,
            _last(_HANDLINGS, [entry.base64 for entry in naming], UNSCREENED.base64),
            _last(_HANDLINGS, [entry.definitions for entry in naming], UNSCREENED.definitions),
            _last(_HANDLINGS, [entry.results for entry in naming], UNSCREENED.results),
            _last(_SCHEMAS, [entry.schemas for entry in naming], UNSCREENED.schemas),
        )

    def of_call(self, server: str, tool: str | None, ids: tuple[str, ...], grants: Sequence[Rule]) -> Screening:
        """What a call is screened by that these grants allow; `ids` are theirs."""
        if self.is_idle:
            return UNSCREENED
        found = self._kept.get((server, tool, ids))
        if found is None:
            unmasked = frozenset.intersection(*(frozenset(grant.unmask) for grant in grants)) if grants else frozenset()
            found = screened(
                self.of(server, tool),
                (rule for grant in grants for rule in grant.mask),
                unmasked,
                (rule for grant in grants for rule in grant.mask_arguments),
            )
            if len(self._kept) >= _MAX_KEPT:
                self._kept.clear()
            self._kept[server, tool, ids] = found
        return found


def screened(
    of_server: Screening, mask: Iterable[MaskRule], unmask: Collection[str], mask_arguments: Iterable[MaskRule]
) -> Screening:
    """What a server's own screening becomes by what grants say: less of what they unmask, and all that they mask."""
    kept = (rule for rule in of_server.answers if rule.name not in unmask)
    masked, held = apart((*of_server.arguments, *of_server.held, *mask_arguments))
    return replace(of_server, answers=strictest([*kept, *mask]), arguments=masked, held=held)


def apart(rules: Iterable[MaskRule]) -> tuple[tuple[MaskRule, ...], tuple[MaskRule, ...]]:
    """What is masked in arguments, and what is held: a person who agrees takes no mask away, and no mask asks anybody."""
    found = list(rules)
    masked = strictest(rule for rule in found if rule.mode is not Mode.HOLD)
    return masked, strictest(rule for rule in found if rule.mode is Mode.HOLD)


def strictest(rules: Iterable[MaskRule]) -> tuple[MaskRule, ...]:
    """Each of them once.  What goes by one name has one mode, the strictest that is asked for."""
    found = list(rules)
    modes: dict[str, Mode] = {}
    for rule in found:
        modes[rule.name] = max(rule.mode, modes.get(rule.name, rule.mode), key=_MODES.index)
    return tuple(dict.fromkeys(replace(rule, mode=modes[rule.name]) for rule in found))


def _last(ascending: Sequence[T], said: Iterable[T | None], otherwise: T) -> T:
    return max((each for each in said if each is not None), key=ascending.index, default=otherwise)
