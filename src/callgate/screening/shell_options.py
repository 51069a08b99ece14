"""Options of commands, as getopt_long(3) reads them, from short specifications.

A specification names options, each as `name`, `name:` (takes a value) or `name?` (takes one only joined to it), and
after `=` what the option does: `o:=write_to compress-program:=planted_code`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final

from callgate.screening.shell_rules import SHELL_RULES
from callgate.screening.shell_terms import ANY_ONE, BRACKET, FOUND, HOLE, INPUT, NAMES, PLAIN, SPLIT, STAR

# Beside the codes of SHELL_RULES: what is no reason to call something destructive, and `write_to`, which depends on
# the file that is the option's value.
LABELS: Final = frozenset({"write", "network", "privileged"})
EFFECTS: Final = LABELS | {"write_to"} | frozenset(SHELL_RULES)
# Arguments that begin with these may be any number of options, or one.
_MAY_BE_OPTIONS: Final = (SPLIT, INPUT, STAR, ANY_ONE, BRACKET)
_UNKNOWN: Final = frozenset((FOUND, HOLE, SPLIT, PLAIN, NAMES, INPUT, STAR, ANY_ONE, BRACKET))


@dataclass(frozen=True, slots=True)
class Options:
    """`effects`: by option.  `risky`: whether some option is destructive, so that unknown options count."""

    valued: frozenset[str]
    joined: frozenset[str]
    names: frozenset[str]
    effects: Mapping[str, tuple[str, ...]]
    risky: bool


@dataclass(slots=True)
class Given:
    """What a command was given.

    `said`: options with their values, in order.  `effects`: what they do, with the value each.  `unsure`: some argument
    that cannot be told may be any option.
    """

    said: list[tuple[str, str]]
    effects: list[tuple[str, str]]
    operands: list[str]
    unsure: bool = False

    def has(self, *names: str) -> bool:
        """Whether one of the options was given."""
        return any(name in names for name, _ in self.said)

    def value(self, *names: str) -> str | None:
        """The value of the last of these options; None without one."""
        return next((value for name, value in reversed(self.said) if name in names), None)

    def values(self, *names: str) -> list[str]:
        """The values of all of these options."""
        return [value for name, value in self.said if name in names]


@cache  # of specifications, which stand in tables
def options_of(specification: str) -> Options:
    """Read a specification; ValueError where it names an effect that there is not."""
    valued: set[str] = set()
    joined: set[str] = set()
    names: set[str] = set()
    effects: dict[str, tuple[str, ...]] = {}
    for token in specification.split():
        name, _, said = token.partition("=")
        (valued if name.endswith(":") else joined if name.endswith("?") else names).add(name.rstrip(":?"))
        if said:
            effects[name.rstrip(":?")] = effects_of(said)
    risky = any(effect in SHELL_RULES for found in effects.values() for effect in found)
    return Options(frozenset(valued), frozenset(joined), frozenset(valued | joined | names), effects, risky)


def effects_of(said: str) -> tuple[str, ...]:
    """Effects joined by `+`; ValueError for one that there is not."""
    found = tuple(said.split("+"))
    if not EFFECTS.issuperset(found):
        raise ValueError(said)
    return found


def read_options(options: Options, arguments: Sequence[str], *, permutes: bool = True) -> Given:
    """Take arguments apart.  Without `permutes` options end at the first operand, as POSIX has it."""
    given = Given([], [], [])
    position = 0
    while position < len(arguments):
        argument = arguments[position]
        position += 1
        if argument == "--":
            given.operands += arguments[position:]
            break
        if argument[:1] != "-" or argument == "-":
            given.unsure = given.unsure or argument.startswith(_MAY_BE_OPTIONS)
            given.operands.append(argument)
            if not permutes:
                given.operands += arguments[position:]
                break
            continue
        waits = _long(options, argument, given) if _is_long(options, argument) else _short(options, argument, given)
        if waits:
            value = arguments[position] if position < len(arguments) else ""
            position += 1
            for name in waits:
                _give(options, given, name, value)
    return given


def _is_long(options: Options, argument: str) -> bool:
    """Two dashes, or a known name of several letters after one, as with find, java and openssl."""
    return argument.startswith("--") or (len(argument) > 2 and argument[1:].partition("=")[0] in options.names)


def _short(options: Options, argument: str, given: Given) -> list[str]:
    """Read letters after a dash; the one that waits for the next argument as its value, if one does."""
    for place, letter in enumerate(argument[1:], 2):
        if letter in options.valued and place == len(argument):
            return [letter]
        if letter in options.valued or letter in options.joined:
            _give(options, given, letter, argument[place:])
            return []
        given.unsure = given.unsure or letter in _UNKNOWN
        _give(options, given, letter, "")
    return []


def _long(options: Options, argument: str, given: Given) -> list[str]:
    """`--name`, `--name=value`, or an abbreviation, which stands for all that it could be."""
    name, equals, value = argument.lstrip("-").partition("=")
    given.unsure = given.unsure or not _UNKNOWN.isdisjoint(name)
    exact = name in options.names
    names = [name] if exact else [full for full in options.names if len(full) > 1 and full.startswith(name)]
    waits = [full for full in names if full in options.valued and not equals]
    for full in names or [name]:
        if full not in waits:
            _give(options, given, full, value)
    return waits


def _give(options: Options, given: Given, name: str, value: str) -> None:
    given.said.append((name, value))
    given.effects += [(effect, value) for effect in options.effects.get(name, ())]
