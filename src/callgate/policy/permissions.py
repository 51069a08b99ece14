"""What a policy lets one workload do, without a call: each server, each grant, what it takes, and until when."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from callgate.identity.spiffe_id import SpiffeId
from callgate.policy.compile import Policy
from callgate.policy.coverage import shared_tools
from callgate.policy.rule import Rule
from callgate.policy.schedule import ScheduleState
from callgate.policy.screens import Screen


@dataclass(frozen=True, slots=True)
class Standing:
    """A rule about the workload, and how it stands now; `state` is None for a rule without a time of its own."""

    rule: Rule
    workload: str
    state: ScheduleState | None

    @property
    def is_active(self) -> bool:
        """Whether it is in force now."""
        return self.state is None or self.state.active


@dataclass(frozen=True, slots=True)
class Cut:
    """A denial that takes from a grant: these of the grant's tools, where they are also the denial's."""

    denial: Standing
    tools: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Permission:
    """A grant, and the denials that cut into it."""

    grant: Standing
    cuts: tuple[Cut, ...]


@dataclass(frozen=True, slots=True)
class ServerPermissions:
    """What a workload has on one server.

    `can_reach`: whether it may use the methods that a grant implies, now.  `expires` is the moment (Unix seconds) up to
    which all of this holds, None where nothing in it has a time of its own.
    """

    server: str
    permissions: tuple[Permission, ...]
    denials: tuple[Standing, ...]
    can_reach: bool
    expires: float | None
    screens: tuple[Screen, ...] = ()


def permissions_of(policy: Policy, caller: SpiffeId, now: float) -> tuple[ServerPermissions, ...]:
    """The effective permissions at `now`, Unix seconds, by server in the order of the policy.

    Servers of which no grant is about the workload are left out.
    """
    return tuple(found for server in policy.rules if (found := _on(policy, server, caller, now)).permissions)


def _on(policy: Policy, server: str, caller: SpiffeId, now: float) -> ServerPermissions:
    standing = tuple(_standing(policy.rules[server], caller, now))
    denials = tuple(each for each in standing if each.rule.kind == "denial")
    view = policy.view(caller, server, now)
    return ServerPermissions(
        server,
        tuple(Permission(each, tuple(_cuts(each, denials))) for each in standing if each.rule.kind == "grant"),
        denials,
        view.has_grants,
        view.expires,
        tuple(screen for screen in policy.screening.entries if screen.server == server),
    )


def _standing(rules: Iterable[Rule], caller: SpiffeId, now: float) -> Iterator[Standing]:
    for rule in rules:
        words = rule.workload_match(caller)
        if words is not None:
            yield Standing(rule, words, rule.schedule.state(now) if rule.schedule else None)


def _cuts(grant: Standing, denials: Iterable[Standing]) -> Iterator[Cut]:
    for denial in denials:
        tools = tuple(dict.fromkeys(_narrower(*pair) for pair in _pairs(grant.rule, denial.rule)))
        if tools:
            yield Cut(denial, tools)


def _pairs(grant: Rule, denial: Rule) -> Iterator[tuple[str, str]]:
    return ((mine.text, other.text) for mine, other in shared_tools(grant, denial))


def _narrower(mine: str, other: str) -> str:
    """Of a granted and a denied pattern that share a tool, the one that is a name; or both."""
    if mine == other or not _is_wild(mine):
        return mine
    return f"{mine} where {other}" if _is_wild(other) else other


def _is_wild(text: str) -> bool:
    return "*" in text or "?" in text
