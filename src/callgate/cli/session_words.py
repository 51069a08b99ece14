"""A session's facts in words, as the terminal, the page and the player say them.

Everything that comes from the log goes through `told`: an agent chose its tools' names, a tool server its errors.
"""

import re
from collections.abc import Iterator
from typing import Final

from callgate.audit.entries import Status
from callgate.audit.sessions import Overview
from callgate.audit.story import Step, Token, Tone, Traffic
from callgate.cli.words import counted, duration, moment_s, size, told
from callgate.telemetry.outcome import refusal_message

_NS_IN_S: Final = 1_000_000_000
# What MCP lets a method or a tool be called.  Any other name is quoted, so that it cannot pass for our own words.
_PLAIN_NAME: Final = re.compile(r"[A-Za-z0-9_./$-]{1,128}")

_ENDINGS: Final = {
    Status.ANSWERED: "answered",
    Status.TOOL_ERROR: "the tool reported an error",
    Status.RPC_ERROR: "answered with a JSON-RPC error",
    Status.FAILED: "failed",
    Status.WITHHELD: "answered, and the answer was not passed on",
    Status.CANCELLED: "cancelled",
    Status.UNKNOWN: "outcome unknown",
    Status.NOT_FORWARDED: "not forwarded",
    Status.REFUSED: "denied",
    Status.ABSORBED: "noted by the gate, not forwarded",
    Status.OPEN: "no outcome yet",
}
SIGNS: Final = {Tone.WELL: "✓", Tone.DENIED: "✗", Tone.FAILED: "!", Tone.OPEN: "…", Tone.HELD: "‖"}
VERDICTS: Final = {
    Tone.WELL: "allowed",
    Tone.DENIED: "denied",
    Tone.FAILED: "allowed, but failed",
    Tone.OPEN: "allowed, no outcome yet",
    Tone.HELD: "held",
}
# How the figures of a session name them.
COUNTED: Final = {
    Tone.WELL: "went well",
    Tone.HELD: "held for a person",
    Tone.DENIED: "denied",
    Tone.FAILED: "failed",
    Tone.OPEN: "without an outcome",
}


def quoted(name: str) -> str:
    """The name of a method, tool or server; in quotes unless it is a plain one."""
    shown = told(name)
    if _PLAIN_NAME.fullmatch(shown):
        return shown
    return '"' + shown.replace('"', r"\x22") + '"'


def call_words(step: Step) -> str:
    """`tools/call get_invoice on ledger`."""
    entry = step.entry
    what = " ".join(quoted(name) for name in (entry.method, entry.tool) if name) or "a request that was not read"
    return f"{what} on {quoted(entry.server)}" if entry.server else what


def ending_words(step: Step) -> str:
    """`answered in 1.5 ms`, `failed in 3.00 s: upstream_timeout`, `no_grant: Denied by policy`."""
    reason = told(step.entry.reason)
    if step.status is Status.REFUSED:
        return ": ".join(filter(None, (reason, refusal_message(step.entry.reason)))) or "denied"
    took = f" in {duration(step.took_us)}" if step.took_us is not None else ""
    return f"{_ENDINGS[step.status]}{took}{f': {reason}' if reason else ''}"


def token_words(token: Token, asked_ns: int) -> str:
    """What the token opened and how long it was good for."""
    scope = f", scope {told(token.scope)}" if token.scope else ""
    until = f", until {token_end(token, asked_ns)}" if token.expires is not None else ""
    return f"{told(token.jti)} for {told(token.audience)}{scope}{until}"


def token_end(token: Token, asked_ns: int) -> str:
    """`12:00:20Z (20 s after the call)`; "" where the log does not say."""
    if token.expires is None:
        return ""
    return f"{moment_s(token.expires)} ({token.expires - asked_ns // _NS_IN_S} s after the call)"


def traffic_words(traffic: Traffic, step: Step) -> str:
    """`request 300 B, answer 120 B in 1 event, HTTP 200`."""
    return ", ".join(_traffic(traffic, step))


def _traffic(traffic: Traffic, step: Step) -> Iterator[str]:
    if traffic.request_bytes is not None:
        yield f"request {size(traffic.request_bytes)}"
    if traffic.answer_bytes is not None:
        yield f"answer {size(traffic.answer_bytes)} in {counted(traffic.events or 0, 'message')}"
    answered = step.entry.part("answered")
    for name, code in (("HTTP", (step.entry.outcome or answered).get("http")), ("JSON-RPC", answered.get("rpc"))):
        if isinstance(code, int):
            yield f"{name} {code}"


def session_words(session: Overview) -> str:
    """`14 requests: 9 went well, 3 denied, 2 failed`."""
    parts = [f"{session.count(tone):,} {COUNTED[tone]}" for tone in reversed(Tone) if session.count(tone)]
    return f"{counted(session.requests, 'request')}: {', '.join(parts)}"


def names(found: dict[str, None]) -> str:
    """Several names in one line."""
    return ", ".join(map(told, found))
