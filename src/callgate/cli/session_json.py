"""Sessions and their steps as JSON, in the log's own words and units: Unix seconds, microseconds, bytes."""

from collections.abc import Iterable, Iterator

from callgate.audit.sessions import Overview
from callgate.audit.story import Step, Tone
from callgate.cli.session_content import Content
from callgate.cli.shown_json import json_line, shown_json
from callgate.policy.moments import written
from callgate.wire.json_strict import JsonObject

_NS_IN_S = 1_000_000_000


def session_json(session: Overview) -> JsonObject:
    """The figures of a session."""
    return {
        "session": session.id,
        "agents": [*session.callers],
        "users": [*session.users],
        "servers": [*session.servers],
        "first": written(session.first_ns / _NS_IN_S),
        "last": written(session.last_ns / _NS_IN_S),
        "requests": session.requests,
        "denied": session.count(Tone.DENIED),
        "failed": session.count(Tone.FAILED),
        "open": session.count(Tone.OPEN),
        "held": session.count(Tone.HELD),
        "statuses": {str(status): count for status, count in session.statuses.items()},
        "status": session.status,
        "kept_in_full": session.kept_in_full,
        "first_seq": session.first_seq,
        "last_seq": session.last_seq,
    }


def step_json(step: Step, content: Content) -> JsonObject:
    """One request: what it comes to, and its records as they stand in the log (`outcome`: null while there is none)."""
    return {
        "number": step.number,
        "offset_us": step.offset_us,
        "status": step.status,
        "verdict": step.entry.verdict,
        "reason": step.entry.reason,
        "took_us": step.took_us,
        "path": [{"stage": each.stage, "outcome": each.outcome, "reason": each.reason} for each in step.path],
        "record": step.entry.record,
        "outcome": step.entry.outcome,
        "approval": [each.record for each in step.approval],
        "content": [{"at_us": each.at_us, "kind": each.kind, "body": each.body} for each in content.passed],
        "content_note": content.note,
    }


def story_json(session: Overview, earlier: int, steps: Iterable[JsonObject]) -> Iterator[bytes]:
    """One object, written piece by piece: a session may have more steps than memory holds.

    `earlier`: how many steps before these are not shown.
    """
    head = {"version": 1, "session": session_json(session), "earlier": earlier}
    yield shown_json(head).removesuffix("\n}").encode() + b',\n  "steps": ['
    for number, step in enumerate(steps):
        yield (b",\n" if number else b"\n") + json_line(step).encode()
    yield b"\n  ]\n}\n"
