"""A request that was decided before, as far as its record in the audit log tells.

A record tells who called what, for whom and when.  Of the arguments it holds a digest, of the user's claims and the
tool's annotations nothing: what a policy asks of those is not known afterwards, unless the arguments were recorded in
full.  Whoever reads a log must take it as it is: a field that is missing or of another type reads as if nothing were
there.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import cache, lru_cache
from hashlib import sha256
from typing import Final

from callgate.errors import Reason
from callgate.identity.spiffe_id import InvalidSpiffeId, SpiffeId
from callgate.identity.user import User
from callgate.policy.call import Call
from callgate.policy.history import WorkloadHistory
from callgate.policy.model import DEFAULT_DENY
from callgate.policy.templates import ScopeTemplate
from callgate.trace import Stage
from callgate.wire.json_strict import JsonObject
from callgate.wire.members import number_of, text_of

# Refused while the call ran, by what others did before it, and not by a rule.
LIMITS: Final = frozenset({Reason.RATE_LIMITED, Reason.TOO_MANY_CALLS, Reason.UPSTREAM_BREAKER_OPEN})
# Allowed by policy, and refused for what the arguments or the tool are; a dry run is told so where it is decided.
OF_INSPECTION: Final = frozenset(
    {
        Reason.ARGUMENTS_INVALID,
        Reason.ARGUMENTS_DENIED,
        Reason.TOOL_DRIFT,
        Reason.SCHEMA_UNKNOWN,
        Reason.SCHEMA_UNUSABLE,
        Reason.DEFINITIONS_UNAVAILABLE,
        Reason.SCREENING_FAILED,
    }
)
# Allowed by policy, which also says that a person has to agree; a dry run is told so where it is decided.
OF_APPROVAL: Final = frozenset(
    {
        Reason.APPROVAL_REQUIRED,
        Reason.APPROVAL_DENIED,
        Reason.TOO_MANY_APPROVALS,
        Reason.APPROVALS_UNAVAILABLE,
    }
)
BY_POLICY: Final = frozenset({Reason.DENIED, Reason.NO_GRANT})
AFTER_POLICY: Final = frozenset(Stage) - {
    Stage.ACCEPT, Stage.AUTHENTICATE, Stage.READ, Stage.IDENTIFY, Stage.DECIDE,
}  # fmt: skip
_DECIDED: Final = f"{Stage.DECIDE}=ok"
# What the record of a list that the gate asked for itself names as its rule, of kind "default" as no policy's rules are.
OWN_LISTING: Final = "own-listing"
# Of a user's groups, a record has so many.
MAX_RECORDED_GROUPS: Final = 64
# The digest of `{}`: of arguments that are not there, all is known.
_NO_ARGUMENTS: Final = sha256(b"{}").hexdigest()
# Callers of one log whose IDs are kept ready, and seconds whose text is.
_MAX_IDS: Final = 4_096
_MAX_SECONDS: Final = 64


class Ruling(StrEnum):
    """What the policy said to a recorded request."""

    ALLOWED = "allowed"
    DENIED = "denied"
    # Allowed, and refused by a limit.
    LIMITED = "limited"
    # Allowed, and refused because nobody had agreed, or somebody had not.
    HELD = "held"
    # Refused before the policy was asked.
    NOT_ASKED = "not_asked"


@dataclass(frozen=True, slots=True)
class Applied:
    """Which rules applied, as the record says.  `is_complete`: no others did."""

    rules: frozenset[str]
    grants: tuple[str, ...]
    denials: tuple[str, ...]
    is_complete: bool


@dataclass(frozen=True, slots=True)
class RecordedCall:
    """A call once more.

    `unknown`: the variables of conditions (`callgate.policy.cel_names`) that had a value then, and have none in `call`.
    """

    call: Call
    unknown: frozenset[str]
    applied: Applied
    record: JsonObject

    def hides(self, scope: ScopeTemplate) -> bool:
        """Whether a scope is made from what is not known."""
        return "args" in self.unknown and "{args." in scope.text

    @property
    def policy(self) -> str:
        """The digest of the policy that decided."""
        return text_of(self.record, "policy")


def is_own_listing(record: JsonObject) -> bool:
    """Whether it is the gate that asked which tools there are, and nobody for whom there is a policy."""
    rules = list_of(record.get("rules"))
    return any(
        isinstance(each, dict) and each.get("rule") == OWN_LISTING and each.get("kind") == "default" for each in rules
    )


def ruling_of(record: JsonObject) -> Ruling | None:
    """What the policy said; None for a record that is no request of a workload's."""
    kind, reason, stage = (text_of(record, name) for name in ("kind", "reason", "stage"))
    if kind not in {"intent", "absorbed", "refusal"} or is_own_listing(record):
        return None
    if kind == "intent" or (kind == "absorbed" and reason == ""):
        return Ruling.ALLOWED
    if stage == Stage.APPROVE or reason in OF_APPROVAL:
        # Such a call counts among those that were made once people have agreed, and not before.
        return Ruling.LIMITED if reason in LIMITS else Ruling.HELD
    was_let_on = _DECIDED in list_of(record.get("path")) or stage in AFTER_POLICY
    if was_let_on or reason == Reason.DRY_RUN or reason in OF_INSPECTION:
        return Ruling.ALLOWED
    if stage == Stage.DECIDE and reason in LIMITS:
        return Ruling.LIMITED
    return Ruling.DENIED if stage == Stage.DECIDE and reason in BY_POLICY else Ruling.NOT_ASKED


def moment_of(record: JsonObject, name: str = "time") -> float | None:
    """When it was recorded, in Unix seconds: right after the decision; or another moment that it names."""
    said = text_of(record, name)
    second = _second(said[:19])
    # RFC 3339 in UTC with nine decimals.
    decimals = said[20:29]
    return None if second is None else second + (int(decimals) / 1e9 if decimals.isdecimal() else 0.0)


def recorded_call(
    record: JsonObject, arguments: JsonObject | None, history: WorkloadHistory | None = None
) -> RecordedCall | None:
    """The call that was decided on; None where the record does not say who called what, and when.

    `arguments`: what was recorded of them in full; None where that is not to be had.
    """
    caller, now = caller_of(record), moment_of(record)
    server, method = text_of(record, "server"), text_of(record, "method")
    if caller is None or now is None or not server or not method:
        return None
    user, (not_before, not_after) = _user(record.get("user")), _bounds(record.get("svid"))
    is_call = method == "tools/call"
    if record.get("masked_arguments"):
        # What is on record is what was left of the arguments that the policy saw.
        arguments = None
    elif arguments is None and record.get("args") == _NO_ARGUMENTS:
        arguments = {}
    call = Call(
        caller=caller,
        server=server,
        method=method,
        tool=text_of(record, "tool") or None,
        arguments=arguments if is_call else None,
        now=now,
        svid_not_before=not_before,
        svid_not_after=not_after,
        revision=text_of(record, "revision"),
        size_bytes=number_of(record, "size", 0),
        purpose=text_of(record, "purpose"),
        user=user,
        history=history,
    )
    return RecordedCall(call, _unknown(user, arguments, is_call=is_call), applied_of(record), record)


def caller_of(record: JsonObject) -> SpiffeId | None:
    """The workload; None where the record names none."""
    said = record.get("caller")
    return _spiffe_id(said) if isinstance(said, str) else None


def applied_of(record: JsonObject) -> Applied:
    """The rules that the record lists; those that applied stand first."""
    found = [
        each for each in list_of(record.get("rules")) if isinstance(each, dict) and each.get("rule") != DEFAULT_DENY
    ]
    matched = [(str(each.get("rule")), each.get("kind")) for each in found if each.get("matched") is True]
    return Applied(
        frozenset(rule for rule, _ in matched),
        tuple(rule for rule, kind in matched if kind == "grant"),
        tuple(rule for rule, kind in matched if kind == "denial"),
        "more_rules" not in record or len(matched) < len(found),
    )


def _unknown(user: User | None, arguments: JsonObject | None, *, is_call: bool) -> frozenset[str]:
    has_more_groups = user is not None and len(user.groups) >= MAX_RECORDED_GROUPS
    return _unknown_of(is_call and arguments is None, user is not None, has_more_groups)


@cache
def _unknown_of(*is_unknown: bool) -> frozenset[str]:
    named = zip(("args", "user.claims", "user.groups"), is_unknown, strict=True)
    return frozenset({"tool.annotations", *(name for name, unknown in named if unknown)})


@lru_cache(maxsize=_MAX_IDS)
def _spiffe_id(text: str) -> SpiffeId | None:
    try:
        return SpiffeId.parse(text)
    except InvalidSpiffeId:
        return None


@lru_cache(maxsize=_MAX_SECONDS)
def _second(text: str) -> int | None:
    try:
        return int(datetime.fromisoformat(f"{text}+00:00").timestamp())
    except ValueError:
        return None


def _user(said: object) -> User | None:
    if not isinstance(said, dict):
        return None
    groups = tuple(group for group in list_of(said.get("groups")) if isinstance(group, str))
    return User(text_of(said, "issuer"), text_of(said, "subject"), groups)


def _bounds(said: object) -> tuple[float, float]:
    match said:
        case [int(not_before), int(not_after)]:
            return float(not_before), float(not_after)
        case _:
            return 0.0, 0.0


def list_of(said: object) -> list[object]:
    """The list that this is; none for anything else."""
    return said if isinstance(said, list) else []
