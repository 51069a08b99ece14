"""A recorded request sent once more: what to say to the gate, what its answer comes to, and what differs.

What was recorded is the message as it went to the tool server.  What the gate had put into it is taken out, what the
gate had kept back is put in, and the headers are made anew.  Pure.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final, Literal, TypeAlias

import orjson

from callgate.audit.differences import Difference, differences
from callgate.audit.entries import Entry, Status, Verdict
from callgate.errors import RPC_UPSTREAM, Reason
from callgate.wire.era import META_CAPABILITIES, META_VERSION
from callgate.wire.headers import encode_value
from callgate.wire.json_strict import JsonObject, JsonValue, dumps
from callgate.wire.members import text_of
from callgate.wire.methods import LEGACY_REVISION, METHODS, MODERN_REVISION, NAME_MEMBERS
from callgate.wire.params import META_DRY_RUN, META_PURPOSE, META_REFUSAL

# The gate's own span stood there; the replay is a trace of its own.
_OF_THE_GATE: Final = ("traceparent", "tracestate")
# Whom no grant names is told so, whatever the reason (`errors.Refusal.told_as`).
_TOLD_AS_NO_GRANT: Final = frozenset({Reason.DENIED, Reason.SERVER_UNKNOWN, Reason.NO_GRANT})
# Of answers that came, and were not passed on.
_WITHHELD: Final = frozenset(
    {Reason.ANSWER_DENIED, Reason.ANSWER_UNSCREENABLE, Reason.ANSWER_INVALID, Reason.TEXT_DECEPTIVE}
)
# The tool server's doing as well, before anything was forwarded.
_INSPECTED: Final = frozenset({Reason.SCHEMA_UNUSABLE, Reason.DEFINITIONS_UNAVAILABLE})
_ANSWERED: Final = frozenset({Status.ANSWERED, Status.TOOL_ERROR, Status.RPC_ERROR})

Headers: TypeAlias = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Said:
    """What the gate answered: the decision, why not, how it ended, and each message in its bytes, the answer last.

    `status` is a `Status`.  In a dry run an allowed call has the status `not_forwarded`, and an allowed `initialize` a
    `handle` for further requests of the session, although no tool server knows of it.
    """

    decision: Verdict
    reason: str
    status: str
    messages: tuple[bytes, ...] = ()
    is_dry_run: bool = False
    handle: str = ""


@dataclass(frozen=True, slots=True)
class Changed:
    """One thing that is not as it was."""

    what: Literal["decision", "reason", "status", "answer"]
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Comparison:
    """What differs; nothing where both are empty.  `content` has the places within the answer, where both are known."""

    changed: tuple[Changed, ...] = ()
    content: tuple[Difference, ...] = ()

    @property
    def is_same(self) -> bool:
        """Whether nothing changed."""
        return not self.changed


def body_of(message: JsonObject, *, dry_run: bool, purpose: str = "") -> bytes:
    """The message as the agent sent it, but for the gate's own doing; with `dry_run` the gate decides and stops there."""
    params = message.get("params")
    params = params if isinstance(params, dict) else {}
    meta = params.get("_meta")
    said: JsonObject = {k: v for k, v in meta.items() if k not in _OF_THE_GATE} if isinstance(meta, dict) else {}
    if purpose:
        said[META_PURPOSE] = purpose
    said.pop(META_DRY_RUN, None)
    if dry_run:
        said[META_DRY_RUN] = True
    return dumps({**message, "params": {**params, "_meta": said}})


def headers_of(message: JsonObject, revision: str, handle: str | None, authorization: str | None) -> Headers:
    """All headers but those that frame the message.

    `handle`: that of the legacy session which stands for the recorded one.  `Mcp-Param-*` is not recorded: which
    arguments a tool wants to have there is in its schema.
    """
    method = text_of(message, "method")
    found = [("content-type", "application/json"), ("accept", "application/json, text/event-stream")]
    if method != "initialize":
        found.append(("mcp-protocol-version", revision))
    if revision == MODERN_REVISION:
        found.append(("mcp-method", method))
        found += (("mcp-name", encode_value(name)) for name in _named(method, message))
    elif handle is not None:
        found.append(("mcp-session-id", handle))
    if authorization is not None:
        found.append(("authorization", authorization))
    return tuple(found)


def needs_session(entry: Entry) -> bool:
    """Whether the request is of a legacy session that has to be there first."""
    return text_of(entry.record, "revision") == LEGACY_REVISION and entry.method != "initialize"


def probe() -> JsonObject:
    """What tells whether a gate knows dry runs, and does no harm where it does not: a question about the server."""
    meta: JsonObject = {META_VERSION: MODERN_REVISION, META_CAPABILITIES: {}}
    return {"jsonrpc": "2.0", "id": "dry-run", "method": "server/discover", "params": {"_meta": meta}}


def handshake(rpc_id: str) -> tuple[JsonObject, JsonObject]:
    """How a session begins where its own `initialize` was not recorded: the request, and what follows its answer."""
    params: JsonObject = {
        "protocolVersion": LEGACY_REVISION,
        "capabilities": {},
        "clientInfo": {"name": "callgate session replay", "version": "1"},
    }
    request: JsonObject = {"jsonrpc": "2.0", "id": rpc_id, "method": "initialize", "params": params}
    return request, {"jsonrpc": "2.0", "method": "notifications/initialized"}


def said_of(http_status: int, messages: Sequence[bytes]) -> Said | str:
    """What an answer comes to; or, in words, that it is none that a gate gives.

    `messages`: the body, or each event's data; none for a notification that was taken.
    """
    if not messages:
        if http_status == 202:
            return Said("allow", "", Status.ANSWERED)
        return f"HTTP {http_status} without a message"
    answer = _message(messages[-1])
    error, result = answer.get("error"), answer.get("result")
    if isinstance(error, dict):
        return _said_of_error(error, tuple(messages))
    if not isinstance(result, dict):
        return f"HTTP {http_status} with something that is no JSON-RPC answer"
    if reason := _refused_in(result):
        return _refused(reason)
    status = Status.TOOL_ERROR if result.get("isError") is True else Status.ANSWERED
    return Said("allow", "", status, tuple(messages))


def compare(entry: Entry, recorded: Sequence[JsonValue] | None, said: Said) -> Comparison:
    """What is not as it was.  `recorded`: the messages of the answer, where they were kept and can be read."""
    if said.is_dry_run or said.decision != "allow" or entry.verdict != "allow":
        return Comparison(tuple(_decided(entry, said)))
    changed = [*_decided(entry, said), *_ended(entry, said)]
    if changed or said.status not in _ANSWERED:
        return Comparison(tuple(changed))
    before, after = text_of(entry.answer, "sha256"), digest_of(said.messages)
    if not before or before == after:
        return Comparison()
    now = [_loaded(message) for message in said.messages]
    content = () if recorded is None else _content(recorded, now)
    if recorded is not None and not content:
        # The same values, written otherwise.
        return Comparison()
    return Comparison((Changed("answer", f"sha256 {before}", f"sha256 {after}"),), content)


def digest_of(messages: Sequence[bytes]) -> str:
    """As an outcome has it: over all messages that passed, each followed by a line feed."""
    return sha256(b"".join(message + b"\n" for message in messages)).hexdigest()


def _named(method: str, message: JsonObject) -> Iterator[str]:
    """What `Mcp-Name` mirrors."""
    row, params = METHODS.get(method), message.get("params")
    member = NAME_MEMBERS.get(row.subject) if row is not None else None
    name = params.get(member) if member is not None and isinstance(params, dict) else None
    if isinstance(name, str):
        yield name


def _refused_in(result: JsonObject) -> str:
    """Why the gate refused, where it says so by a result; "" for a tool server's."""
    meta = result.get("_meta")
    told = meta.get(META_REFUSAL) if isinstance(meta, dict) else None
    return text_of(told, "reason") if isinstance(told, dict) else ""


def _said_of_error(error: JsonObject, messages: tuple[bytes, ...]) -> Said:
    told = error.get("data")
    told = told if isinstance(told, dict) else {}
    reason = text_of(told, "reason")
    if not (reason and text_of(told, "decision_id")):
        return Said("allow", "", Status.RPC_ERROR, messages)
    if reason == Reason.DRY_RUN:
        return Said("allow", "", Status.NOT_FORWARDED, is_dry_run=True, handle=text_of(told, "session"))
    if reason in _WITHHELD:
        return Said("allow", reason, Status.WITHHELD)
    if error.get("code") == RPC_UPSTREAM and reason not in _INSPECTED:
        # The gate let it through, and the tool server failed.
        return Said("allow", reason, Status.FAILED)
    return _refused(reason)


def _refused(reason: str) -> Said:
    return Said("hold" if reason == Reason.APPROVAL_REQUIRED else "deny", reason, Status.REFUSED)


def _decided(entry: Entry, said: Said) -> Iterator[Changed]:
    if entry.verdict != said.decision:
        yield Changed("decision", _verdict(entry.verdict, entry.reason), _verdict(said.decision, said.reason))
    elif entry.verdict != "allow" and not _is_same_reason(entry.reason, said.reason):
        yield Changed("reason", entry.reason, said.reason)


def _verdict(decision: str, reason: str) -> str:
    return f"{decision} ({reason})" if decision != "allow" and reason else decision


def _is_same_reason(recorded: str, told: str) -> bool:
    return recorded == told or (told == Reason.NO_GRANT and recorded in _TOLD_AS_NO_GRANT)


def _ended(entry: Entry, said: Said) -> Iterator[Changed]:
    if entry.status != said.status:
        yield Changed("status", entry.status, said.status)
    elif said.status == Status.FAILED and entry.reason != said.reason:
        yield Changed("reason", entry.reason, said.reason)


def _content(before: Sequence[JsonValue], after: Sequence[JsonValue]) -> tuple[Difference, ...]:
    """The answers against each other, and what came before them by its number."""
    events = differences(list(before[:-1]), list(after[:-1]))
    found = differences(before[-1] if before else None, after[-1] if after else None)
    return (*(Difference(f"event {d.path[1:]}", d.before, d.after) for d in events), *found)


def _message(data: bytes) -> JsonObject:
    found = _loaded(data)
    return found if isinstance(found, dict) else {}


def _loaded(data: bytes) -> JsonValue:
    try:
        found: JsonValue = orjson.loads(data)
    except orjson.JSONDecodeError:
        return None
    return found
