"""What the keys of one rule must be to each other.  Asked of a rule of any shape, because its file may be refused."""

from collections.abc import Callable, Iterator
from typing import Final, TypeAlias

from callgate.policy.moments import parse_moment
from callgate.yaml_strict import YamlPath, YamlValue, shown

RuleEntry: TypeAlias = dict[str, YamlValue]
Fault: TypeAlias = tuple[YamlPath, str]


def faults_of(rule: RuleEntry) -> Iterator[Fault]:
    """Each mistake: where it stands within the rule, and the words for it."""
    for check in _CHECKS:
        yield from check(rule)


def _duration_without_beginning(rule: RuleEntry) -> Iterator[Fault]:
    if "for" in rule and "from" not in rule:
        yield ("for",), "for needs 'from', the moment that it counts from"


def _ends_before_it_begins(rule: RuleEntry) -> Iterator[Fault]:
    starts, until = _moment(rule.get("from")), _moment(rule.get("until"))
    if starts is not None and until is not None and starts >= until:
        yield ("until",), f"until must be later than 'from', which is {shown(str(rule['from']))}"


def _window_of_nothing(rule: RuleEntry) -> Iterator[Fault]:
    between = rule.get("between")
    if isinstance(between, dict) and not {"days", "hours"} & between.keys():
        yield ("between",), "between must have 'days', 'hours' or both"


def _users_of_nothing(rule: RuleEntry) -> Iterator[Fault]:
    users = rule.get("users")
    if users == {}:
        yield ("users",), "users must have 'any', or some of 'issuers', 'subjects' and 'groups'"
    elif isinstance(users, dict) and "any" in users and len(users) > 1:
        yield ("users", "any"), "any must stand alone: the other keys of 'users' ask for more than any user"


def _moment(value: YamlValue) -> float | None:
    try:
        return parse_moment(value)
    except ValueError:
        return None


_CHECKS: Final[tuple[Callable[[RuleEntry], Iterator[Fault]], ...]] = (
    _duration_without_beginning,
    _ends_before_it_begins,
    _window_of_nothing,
    _users_of_nothing,
)
