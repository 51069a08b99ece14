"""One request of a session as a step of its story: what was asked for, how it was decided, and what became of it.

What an entry says is taken as it comes: a field that is missing, or of another type than the format's, is told as one
that says nothing.  Pure.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from callgate.audit.entries import Entry, Status, Verdict
from callgate.audit.passed import content_of
from callgate.trace import Finding, Outcome
from callgate.wire.json_strict import JsonObject
from callgate.wire.members import number_of, objects_of, text_of


class Tone(StrEnum):
    """The ways to end that a reader tells apart at a glance, the one that matters most first."""

    OPEN = "open"
    FAILED = "failed"
    DENIED = "denied"
    # Refused until a person agrees.
    HELD = "held"
    WELL = "well"


_STATUSES: Final = frozenset(Status)
_TONES: Final[Mapping[Status, Tone]] = {
    Status.ANSWERED: Tone.WELL,
    Status.ABSORBED: Tone.WELL,
    Status.OPEN: Tone.OPEN,
}
_REFUSED: Final[Mapping[Verdict, Tone]] = {"allow": Tone.WELL, "deny": Tone.DENIED, "hold": Tone.HELD}


def status_of(entry: Entry) -> Status:
    """How a request ended; UNKNOWN for a status that the format does not have."""
    return Status(entry.status) if entry.status in _STATUSES else Status.UNKNOWN


def tone_of(entry: Entry) -> Tone:
    """How a request ended, at a glance.

    An error of a tool is a failure: the gate let the call through, and it did not end well.  A dry run of what would be
    allowed went well.
    """
    status = status_of(entry)
    if status is Status.REFUSED:
        return _REFUSED[entry.verdict]
    return _TONES.get(status, Tone.FAILED)


@dataclass(frozen=True, slots=True)
class PathStep:
    """One stage of a decision path: `decide=refused:no_grant`.  `reason` is "" where the stage ended OK."""

    stage: str
    outcome: str
    reason: str

    @property
    def is_ok(self) -> bool:
        """Whether the call went on from here."""
        return self.outcome == Outcome.OK


@dataclass(frozen=True, slots=True)
class Token:
    """What the log knows of the token that a call left with; never the token.  `expires`: Unix seconds."""

    jti: str
    audience: str
    scope: str
    expires: int | None


@dataclass(frozen=True, slots=True)
class Traffic:
    """What passed, in numbers, and the content objects (SHA-256, hex) that hold it where it was kept in full."""

    level: str
    request_bytes: int | None
    answer_bytes: int | None
    events: int | None
    objects: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Step:
    """One request of a session.  `number` counts from 1; `offset_us` is from the session's first request.

    `approval`: the records of the request for approval that it is about, in order.
    """

    number: int
    offset_us: int
    entry: Entry
    path: tuple[PathStep, ...]
    rules: tuple[Finding, ...]
    token: Token | None
    took_us: int | None
    traffic: Traffic
    approval: tuple[Entry, ...] = ()

    @property
    def tone(self) -> Tone:
        """How it ended, at a glance."""
        return tone_of(self.entry)

    @property
    def status(self) -> Status:
        """How it ended."""
        return status_of(self.entry)

    @property
    def more_rules(self) -> int:
        """How many rules were looked at beside those that the record names."""
        return max(0, number_of(self.entry.record, "more_rules", 0))


def step_of(entry: Entry, number: int, began_ns: int, approval: tuple[Entry, ...] = ()) -> Step:
    """One request as a step.  `began_ns`: when the session did; `approval` as in `Step`."""
    return Step(
        number=number,
        # Not negative: of a clock that was set back a record of its own tells.
        offset_us=max(entry.time_ns - began_ns, 0) // 1000,
        entry=entry,
        path=tuple(map(_path_step, entry.path)),
        rules=findings_of(entry),
        token=_token(entry.part("token")),
        took_us=entry.took_us,
        traffic=traffic_of(entry),
        approval=approval,
    )


def findings_of(entry: Entry) -> tuple[Finding, ...]:
    """The rules that were looked at, as recorded."""
    return tuple(map(_finding, objects_of(entry.record, "rules")))


def began_by(entry: Entry) -> str:
    """The session that an `initialize` began, or ""."""
    return text_of(entry.outcome, "began") if entry.outcome else ""


def traffic_of(entry: Entry) -> Traffic:
    """What is known of what passed."""
    return Traffic(
        level=text_of(entry.record, "record") or "none",
        request_bytes=_count(entry.record, "size"),
        answer_bytes=_count(entry.answer, "bytes"),
        events=_count(entry.answer, "events"),
        objects=content_of(entry),
    )


def _path_step(step: str) -> PathStep:
    stage, _, rest = step.partition("=")
    outcome, _, reason = rest.partition(":")
    return PathStep(stage, outcome, reason)


def _finding(rule: JsonObject) -> Finding:
    return Finding(text_of(rule, "rule"), text_of(rule, "kind"), rule.get("matched") is True, text_of(rule, "why"))


def _token(token: JsonObject) -> Token | None:
    if not token:
        return None
    return Token(text_of(token, "jti"), text_of(token, "aud"), text_of(token, "scope"), _count(token, "exp"))


def _count(record: JsonObject, name: str) -> int | None:
    """A number that is not negative."""
    found = number_of(record, name, -1)
    return found if found >= 0 else None
