"""A decision path as a tree, for people.

    ✗ denied  tools/call refund on ledger  2.1 ms
      no_grant: no grant of this workload names the tool
      spiffe://acme.test/ns/billing/sa/agent
    ├─ ✓ accept         1.9 ms  from 127.0.0.1  TLS 1.3
    …
    ├─ ✗ decide          30 µs  no_grant  policy sha256:5b1c
    │  ├─ ○ grant refunds does not apply: workload is not spiffe://acme.test/ns/ops/**
    │  └─ ● default applies: no grant applies, and what is not granted is denied
    ├─ · not reached: mint, forward
    └─ ✓ respond         30 µs  HTTP 200  JSON-RPC -31403
       trace 4bf92f3577b34da6a3ce929d0e0e4736  decision 01J-decision

Everything in a trace may have been written by an attacker, so every text goes through `visible`: nothing that is
printed can move the cursor, hide a line, or pretend to be another branch.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from callgate.telemetry import names
from callgate.telemetry.outcome import ended_badly, reason_of
from callgate.telemetry.project import findings_of, span_name
from callgate.telemetry.visible import visible, without_credentials
from callgate.trace import AttributeValue, DecisionTrace, Finding, Outcome, Stage, StageRecord

_SHOWN_MAX_CHARS = 200
_NAME_COLUMN = max(map(len, Stage))

_MARKS = {Outcome.OK: "✓", Outcome.REFUSED: "✗", Outcome.FAILED: "!"}
_GREEN, _RED, _YELLOW, _DIM, _BOLD, _RESET = "\x1b[32m", "\x1b[31m", "\x1b[33m", "\x1b[2m", "\x1b[1m", "\x1b[0m"
_COLOURS = {Outcome.OK: _GREEN, Outcome.REFUSED: _RED, Outcome.FAILED: _YELLOW}

# What a person wants to see of a stage, beside how it went.
_SHOWN: Mapping[Stage, tuple[tuple[str, str], ...]] = {
    Stage.ACCEPT: (
        (names.CLIENT_ADDRESS, "from {}"),
        (names.TLS_PROTOCOL_VERSION, "TLS {}"),
        (names.TLS_ALERT, "alert {}"),
    ),
    Stage.AUTHENTICATE: ((names.TLS_CLIENT_NOT_AFTER, "SVID until {}"),),
    Stage.READ: (
        (names.HTTP_REQUEST_METHOD, "{}"),
        (names.HTTP_ROUTE, "{}"),
        (names.HTTP_REQUEST_BODY_SIZE, "{} bytes"),
    ),
    Stage.IDENTIFY: ((names.MCP_PROTOCOL_VERSION, "MCP {}"),),
    Stage.DECIDE: ((names.POLICY_DIGEST, "policy {}"),),
    Stage.INSPECT: ((names.MASKED_ARGUMENTS, "masked {}"),),
    Stage.APPROVE: (
        (names.APPROVAL_ID, "approval {}"),
        (names.APPROVAL_STATE, "{}"),
        (names.APPROVAL_WAITED, "after {} s"),
    ),
    Stage.MINT: ((names.CLAIM_AUD, "a token for {} and this call alone"),),
    Stage.RECORD: (
        (names.AUDIT_SEQUENCE, "record {}"),
        (names.AUDIT_ORIGIN, "of {}"),
    ),
    Stage.FORWARD: (
        (names.SERVER_ADDRESS, "to {}"),
        (names.SERVER_SPIFFE_ID, "{}"),
        (names.HTTP_RESPONSE_STATUS_CODE, "HTTP {}"),
        (names.ERROR_TYPE, "error {}"),
        (names.TOOLS_HIDDEN, "{} tools hidden"),
    ),
    Stage.SCREEN: (
        (names.MASKED, "masked {}"),
        (names.DECEPTIVE, "deceptive {}"),
        (names.TOOLS_DRIFTED, "drifted {}"),
    ),
    Stage.RESPOND: (
        (names.HTTP_RESPONSE_STATUS_CODE, "HTTP {}"),
        (names.RPC_RESPONSE_STATUS_CODE, "JSON-RPC {}"),
        (names.STREAM_EVENTS, "{} events"),
        (names.AUDIT_SEQUENCE, "record {}"),
    ),
}
# What MCP lets a method or a tool be called.  Any other name is quoted, so that it cannot pass for our own words.
_PLAIN_NAME = re.compile(r"[A-Za-z0-9_./$-]{1,128}")
_TIMES = frozenset({names.CLAIM_IAT, names.CLAIM_EXP})


@dataclass(frozen=True, slots=True)
class _Branch:
    """One line, and the lines that hang from it."""

    text: str
    twigs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Paint:
    colour: bool

    def __call__(self, text: str, code: str) -> str:
        return f"{code}{text}{_RESET}" if self.colour and text else text


def render(trace: DecisionTrace, *, colour: bool) -> str:
    """The path of one call as text of several lines, without a newline at its end.

    Shows the claims of the token where the MINT record has them (`callgate.token.*`); a trace never holds the token.
    """
    paint = _Paint(colour)
    return "\n".join((*_head(trace, paint), *_branches(trace, paint), _foot(trace, paint)))


def _head(trace: DecisionTrace, paint: _Paint) -> Iterator[str]:
    seen = _all_attributes(trace)
    where = f" on {_shown(seen[names.SERVER])}" if names.SERVER in seen else ""
    took = _duration(trace.started_ns, trace.ended_ns or max((r.ended_ns for r in trace.records), default=0))
    yield f"{_verdict(trace, paint)}  {paint(_title(trace, seen), _BOLD)}{where}  {paint(took, _DIM)}"
    if bad := ended_badly(trace):
        detail = f": {without_credentials(bad.detail, _SHOWN_MAX_CHARS)}" if bad.detail else ""
        yield f"  {paint(visible(reason_of(bad), _SHOWN_MAX_CHARS), _RED)}{detail}"
    who = seen.get(names.WORKLOAD_SPIFFE_ID)
    yield f"  {_shown(who)}" if who else paint("  a caller without a verified identity", _DIM)


def _title(trace: DecisionTrace, seen: Mapping[str, AttributeValue]) -> str:
    method, tool = str(seen.get(names.MCP_METHOD_NAME, "")), str(seen.get(names.GEN_AI_TOOL_NAME, ""))
    if method:
        return f"{_quoted(method)} {_quoted(tool)}" if tool else _quoted(method)
    return span_name(seen, trace.records[-1].stage if trace.records else Stage.ACCEPT)


def _quoted(name: str) -> str:
    if _PLAIN_NAME.fullmatch(name):
        return name
    return '"' + visible(name, _SHOWN_MAX_CHARS).replace('"', r"\x22") + '"'


def _verdict(trace: DecisionTrace, paint: _Paint) -> str:
    if trace.decision == "hold":
        return paint("‖ held", _YELLOW)
    if trace.decision != "allow":
        return paint("✗ denied", _RED)
    # Allowed, and yet the call did not end well: the tool server's doing, or the caller went away.
    return paint("! allowed, but failed", _YELLOW) if ended_badly(trace) else paint("✓ allowed", _GREEN)


def _branches(trace: DecisionTrace, paint: _Paint) -> Iterator[str]:
    branches = [_branch_of(record, paint) for record in trace.records]
    if missed := _not_reached(trace):
        bad = ended_badly(trace)
        place = trace.records.index(bad) + 1 if bad else len(branches)
        branches.insert(place, _Branch(paint(f"· not reached: {', '.join(missed)}", _DIM)))
    for index, branch in enumerate(branches):
        last = index == len(branches) - 1
        yield f"{'└─' if last else '├─'} {branch.text}"
        yield from _hang(branch.twigs, "   " if last else "│  ")


def _not_reached(trace: DecisionTrace) -> list[Stage]:
    """The stages that a refusal kept the call from; what a call does not need (`ping` no token) is not missed."""
    seen = {record.stage for record in trace.records}
    # Whether a person would have been asked is not known before.
    order = [stage for stage in Stage if stage is not Stage.APPROVE or stage in seen]
    last = ended_badly(trace) or (trace.records[-1] if trace.records else None)
    beyond = order[order.index(last.stage) + 1 :] if last else order
    return [stage for stage in beyond if stage not in seen]


def _hang(twigs: Sequence[str], margin: str) -> Iterator[str]:
    for index, twig in enumerate(twigs):
        yield f"{margin}{'└─' if index == len(twigs) - 1 else '├─'} {twig}"


def _branch_of(record: StageRecord, paint: _Paint) -> _Branch:
    mark = paint(_MARKS[record.outcome], _COLOURS[record.outcome])
    took = paint(f"{_duration(record.started_ns, record.ended_ns):>8}", _DIM)
    notes = "  ".join(_notes(record))
    if record.outcome is not Outcome.OK:
        notes = f"{paint(visible(reason_of(record), _SHOWN_MAX_CHARS), _COLOURS[record.outcome])}  {notes}".rstrip()
    text = f"{mark} {record.stage:<{_NAME_COLUMN}} {took}  {notes}".rstrip()
    return _Branch(text, (*(_twig(finding, paint) for finding in findings_of(record)), *_claims(record, paint)))


def _notes(record: StageRecord) -> Iterator[str]:
    for name, form in _SHOWN[record.stage]:
        if name in record.attributes:
            yield form.format(_shown(record.attributes[name]))


def _twig(finding: Finding, paint: _Paint) -> str:
    mark = paint("●", _BOLD) if finding.matched else paint("○", _DIM)
    name = f"{visible(finding.kind, _SHOWN_MAX_CHARS)} {visible(finding.rule, _SHOWN_MAX_CHARS)}"
    if finding.kind == finding.rule:
        name = visible(finding.rule, _SHOWN_MAX_CHARS)
    verdict = "applies" if finding.matched else "does not apply"
    return f"{mark} {name} {paint(verdict, _DIM)}: {without_credentials(finding.why, _SHOWN_MAX_CHARS)}"


def _claims(record: StageRecord, paint: _Paint) -> Iterator[str]:
    for name, value in record.attributes.items():
        if record.stage is Stage.MINT and name.startswith(names.CLAIM_PREFIX) and name in names.ALLOWED:
            yield f"{paint(f'{name.removeprefix(names.CLAIM_PREFIX):<9}', _DIM)} {_claim(name, value, record)}"


def _claim(name: str, value: AttributeValue, record: StageRecord) -> str:
    if name == names.CLAIM_BOUND:
        return "to the gate's certificate (cnf)" if value else "to no certificate: this leg is not mutual TLS"
    if name not in _TIMES or not isinstance(value, int):
        return _shown(value)
    seconds = value - record.ended_ns // 1_000_000_000
    when = f"{datetime.fromtimestamp(value, UTC):%H:%M:%SZ}" if 0 <= value < 1 << 35 else str(value)
    return f"{when} ({'in ' if seconds >= 0 else ''}{abs(seconds)} s{'' if seconds >= 0 else ' ago'})"


def _foot(trace: DecisionTrace, paint: _Paint) -> str:
    return paint(f"   trace {trace.trace_id:032x}  decision {visible(trace.decision_id, _SHOWN_MAX_CHARS)}", _DIM)


def _all_attributes(trace: DecisionTrace) -> dict[str, AttributeValue]:
    seen: dict[str, AttributeValue] = {}
    for record in trace.records:
        seen |= record.attributes
    return seen


def _shown(value: AttributeValue) -> str:
    return without_credentials(" ".join(value) if isinstance(value, tuple) else str(value), _SHOWN_MAX_CHARS)


def _duration(started_ns: int, ended_ns: int) -> str:
    micros = max(ended_ns - started_ns, 0) / 1000
    if micros < 1000:
        return f"{micros:.0f} µs"
    return f"{micros / 1000:.1f} ms" if micros < 1_000_000 else f"{micros / 1_000_000:.2f} s"
