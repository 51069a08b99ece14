"""What came of a replay, as lines for people and as JSON."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import click

from callgate.audit.differences import Difference, Nothing, Side
from callgate.audit.replay import Changed
from callgate.audit.sessions import Overview
from callgate.cli.session_replaying import Replayed
from callgate.cli.session_words import call_words, names
from callgate.cli.words import counted, moment, told
from callgate.identity.spiffe_id import SpiffeId
from callgate.telemetry.visible import visible
from callgate.wire.json_strict import JsonObject, dumps

# Of one value of an answer; who needs all of it has --format json.
_VALUE_CHARS: Final = 120


@dataclass(slots=True)
class Summary:
    """How many requests went as they did then."""

    same: int = 0
    differ: int = 0
    not_sent: int = 0

    def add(self, found: Replayed) -> None:
        """Count one more."""
        self.not_sent += bool(found.not_sent)
        self.differ += not found.not_sent and not found.comparison.is_same
        self.same += not found.not_sent and found.comparison.is_same

    @property
    def exit_code(self) -> int:
        """0 all that was sent is as it was, 1 something differs, 2 nothing was sent."""
        return 1 if self.differ else 0 if self.same else 2

    def words(self) -> str:
        """`14 requests: 9 as recorded, 2 differ, 3 not sent`."""
        total = self.same + self.differ + self.not_sent
        return f"{counted(total, 'request')}: {self.same} as recorded, {self.differ} differ, {self.not_sent} not sent"


def heading(session: Overview, base: str, caller: SpiffeId, *, dry_run: bool, has_user: bool) -> Iterator[str]:
    """What is about to be done, and what of it is not as it was."""
    what = "a dry run: decisions alone, nothing is forwarded" if dry_run else "the calls are made"
    yield f"session {told(session.id)} of {moment(session.first_ns)}, by {base}: {what}"
    recorded = names(session.callers)
    yield f"  as {caller}" + ("" if recorded == str(caller) else f"; recorded was {recorded or 'a caller without one'}")
    if session.users and not has_user:
        yield f"  on no user's behalf; recorded was {names(session.users)}, and --user-token gives a token"


def as_lines(found: Replayed) -> Iterator[str]:
    """A line for the request, and one for each thing that differs."""
    words = f"{found.step.number}  {call_words(found.step)}"
    if found.not_sent:
        yield f"· {words}  not sent: {visible(found.not_sent, 200)}"
        return
    if found.comparison.is_same:
        yield click.style("✓", fg="green") + f" {words}  {_now(found)}"
        return
    yield click.style("✗", fg="red") + f" {words}"
    for changed in found.comparison.changed:
        if changed.what != "answer" or not found.comparison.content:
            yield f"    {changed.what}: {told(changed.before)} → {told(changed.after)}"
    for place in found.comparison.content:
        yield f"    {visible(place.path, _VALUE_CHARS)}: {_value(place.before)} → {_value(place.after)}"


def as_json(found: Replayed) -> JsonObject:
    """The same; values that are not there are left out."""
    entry, said = found.step.entry, found.said
    return {
        "number": found.step.number,
        "decision_id": entry.decision,
        "method": entry.method,
        "tool": entry.tool or None,
        "server": entry.server,
        "not_sent": found.not_sent or None,
        "same": found.comparison.is_same if not found.not_sent else None,
        "decision": said.decision if said else None,
        "reason": said.reason if said else None,
        "changed": [_changed_json(changed) for changed in found.comparison.changed],
        "answer": [_place_json(place) for place in found.comparison.content],
    }


def summary_json(session: Overview, base: str, summary: Summary, *, dry_run: bool) -> JsonObject:
    """The last line."""
    counts: JsonObject = {"same": summary.same, "differ": summary.differ, "not_sent": summary.not_sent}
    return {"session": session.id, "to": base, "dry_run": dry_run, **counts}


def _now(found: Replayed) -> str:
    said = found.said
    if said is None:
        return ""
    return f"{said.decision} ({told(said.reason)})" if said.reason else said.decision


def _value(value: Side) -> str:
    return "(nothing)" if isinstance(value, Nothing) else visible(dumps(value).decode(), _VALUE_CHARS)


def _changed_json(changed: Changed) -> JsonObject:
    return {"what": changed.what, "before": changed.before, "after": changed.after}


def _place_json(place: Difference) -> JsonObject:
    sides: dict[str, Side] = {"before": place.before, "after": place.after}
    return {"path": place.path} | {name: side for name, side in sides.items() if not isinstance(side, Nothing)}
