"""A recorded session sent through a gate again, request by request and in their order."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from callgate.audit.age import Identity
from callgate.audit.chain import Kind
from callgate.audit.entries import Entry
from callgate.audit.passed import Passed, Unread, read_passed
from callgate.audit.recording import MessageKind
from callgate.audit.replay import (
    Comparison,
    Said,
    body_of,
    compare,
    handshake,
    headers_of,
    needs_session,
    probe,
    said_of,
)
from callgate.audit.story import Step
from callgate.cli.session_replay_client import CannotReplay, GateAnswer, GateClient
from callgate.policy.model import check_server_name
from callgate.wire.json_strict import JsonObject, JsonValue
from callgate.wire.members import text_of
from callgate.wire.methods import LEGACY_REVISION, MODERN_REVISION, SERVED_REVISIONS

# The id of our own `initialize`, where the recorded one cannot be had.
_HANDSHAKE_ID: Final = "callgate-replay"
_FORWARDED: Final = "this gate knows no dry runs: it forwarded {what} to the tool server; nothing more is sent"


@dataclass(frozen=True, slots=True)
class Recorded:
    """What was kept of one request: the message, and those of its answer.  `why` there is no message, or ""."""

    message: JsonObject | None
    answer: tuple[JsonValue, ...] | None
    why: str = ""


@dataclass(frozen=True, slots=True)
class Replayed:
    """One request: what was said now and what is not as it was; or why it was not sent."""

    step: Step
    said: Said | None = None
    comparison: Comparison = field(default_factory=Comparison)
    not_sent: str = ""


def recorded_of(folder: Path, entry: Entry, identities: Sequence[Identity]) -> Recorded:
    """What was kept of one request, as far as the keys open it.  Blocks."""
    if entry.kind == Kind.ABSORBED:
        return Recorded(None, None, "it ended at the gate")
    if not text_of(entry.part("request"), "object"):
        return Recorded(None, None, _why_not_kept(entry))
    passed = list(read_passed(folder, entry, identities))
    message = _request(passed)
    if not isinstance(message, dict):
        unread = next((each.words for each in passed if isinstance(each, Unread)), "what was recorded is no message")
        return Recorded(None, None, unread)
    answer = tuple(each.body for each in passed[1:] if isinstance(each, Passed))
    # An answer of which a part is missing is compared by its digest alone.
    return Recorded(message, answer if len(answer) == len(passed) - 1 else None)


class Replay:
    """Sends recorded requests.  `user`: a value for Authorization, a secret; None for none.

    With `dry_run` the gate only decides, and nothing is sent before it has shown that it knows what that is.
    """

    def __init__(self, client: GateClient, *, dry_run: bool, user: str | None) -> None:
        self._client = client
        self._dry_run = dry_run
        self._user = user
        # By server; "" where a session was asked for and there is none.
        self._handles: dict[str, str] = {}
        self._knows_dry_run = not dry_run
        self._silent: dict[str, str] = {}

    async def send(self, step: Step, recorded: Recorded) -> Replayed:
        """Send one request, and wait for its answer.  Raises CannotReplay where there is none, or none of a gate's."""
        entry, message = step.entry, recorded.message
        if message is None:
            return Replayed(step, not_sent=recorded.why)
        why = _unsendable(entry) or await self._unready(entry)
        if why:
            return Replayed(step, not_sent=why)
        said = await self._say(
            entry.server, message, text_of(entry.record, "revision"), text_of(entry.record, "purpose")
        )
        return Replayed(step, said, compare(entry, recorded.answer, said))

    async def _unready(self, entry: Entry) -> str:
        """Make sure that the gate knows dry runs and that there is a session; why the request cannot be sent, or ""."""
        if not self._knows_dry_run:
            if entry.server not in self._silent:
                self._silent[entry.server] = await self._probe(entry.server)
            if why := self._silent[entry.server]:
                return why
        if not needs_session(entry):
            return ""
        if entry.server not in self._handles:
            await self._open_session(entry.server)
        return "" if self._handles[entry.server] else "it belongs to a session, and the gate did not open another"

    async def _probe(self, server: str) -> str:
        said = await self._say(server, probe(), MODERN_REVISION)
        self._knows_dry_run = said.is_dry_run
        if said.is_dry_run:
            return ""
        return f"the gate refuses this workload on {server} altogether ({said.reason}), so that it does not show whether it knows dry runs"

    async def _open_session(self, server: str) -> None:
        request, initialized = handshake(_HANDSHAKE_ID)
        self._handles[server] = ""
        await self._say(server, request, LEGACY_REVISION)
        if self._handles[server] and not self._dry_run:
            await self._say(server, initialized, LEGACY_REVISION)

    async def _say(self, server: str, message: JsonObject, revision: str, purpose: str = "") -> Said:
        handle = self._handles.get(server) or None
        headers = headers_of(message, revision, handle, self._user)
        answer = await self._client.ask(server, headers, body_of(message, dry_run=self._dry_run, purpose=purpose))
        said = self._read(message, answer)
        if message.get("method") == "initialize":
            self._handles[server] = said.handle or answer.handle or ""
        return said

    def _read(self, message: JsonObject, answer: GateAnswer) -> Said:
        what = text_of(message, "method")
        said = said_of(answer.status, answer.messages)
        if isinstance(said, str):
            raise CannotReplay(f"what answered {what} is no gate: {said}")
        if self._dry_run and said.decision == "allow" and not said.is_dry_run:
            raise CannotReplay(_FORWARDED.format(what=what))
        return said


def _why_not_kept(entry: Entry) -> str:
    if entry.kind == Kind.REFUSAL:
        return "of a request that was refused, what it said is not kept"
    return "its content was not recorded in full"


def _request(passed: Sequence[Passed | Unread]) -> JsonValue:
    first = passed[0] if passed else None
    return first.body if isinstance(first, Passed) and first.kind is MessageKind.REQUEST else None


def _unsendable(entry: Entry) -> str:
    """The log may have been edited: what is no name is not put into a request."""
    try:
        check_server_name(entry.server)
    except ValueError:
        return "its record names no server"
    return "" if text_of(entry.record, "revision") in SERVED_REVISIONS else "its record names no revision of MCP"
