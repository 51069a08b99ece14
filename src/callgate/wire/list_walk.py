"""Asking a tool server for the whole list of its tools, message by message, in whichever revision it speaks.

A synchronous brain: `next` says what to send, `take` what came of it.  The modern revision is tried first, because a
server that does not speak it says so at once; then the legacy one, which needs a session.  Pure.
"""

from enum import Enum, auto
from importlib.metadata import version
from typing import Final

from callgate.errors import Reason, Refusal
from callgate.wire.era import META_CAPABILITIES, META_CLIENT, META_VERSION
from callgate.wire.json_strict import JsonObject, JsonValue
from callgate.wire.jsonrpc import RpcFailure, RpcNotification, RpcRequest, RpcResult
from callgate.wire.mcp import Request
from callgate.wire.methods import LEGACY_REVISION, MODERN_REVISION, Era

# The longest lists in use have some hundreds, in pages of fifty or more.
MAX_LISTED_TOOLS: Final = 2_000
MAX_PAGES: Final = 100
# All pages together, as they came.
MAX_LIST_BYTES: Final = 4 * 1024 * 1024
_MAX_CURSOR_CHARACTERS: Final = 4_096
# What a server of the other revision answers with.  One that cannot be reached is asked nothing more.
_OTHER_REVISION: Final = frozenset({Reason.UPSTREAM_STATUS, Reason.UPSTREAM_MESSAGE})
# JSON-RPC 2.0, section 5.1: "The error codes from and including -32768 to -32000 are reserved".
_RESERVED_CODES: Final = range(-32768, -31999)


class _Step(Enum):
    LIST = auto()
    INITIALIZE = auto()
    INITIALIZED = auto()
    DONE = auto()


class ListWalk:
    """One listing.  `tools`: what has come so far.  `session_id`: the server's own, of a legacy session.

    `era`: what the server is known to speak; None where that is not known yet.
    """

    def __init__(self, server: str, era: Era | None = None) -> None:
        self.era = era
        self.tools: list[JsonValue] = []
        self.session_id: str | None = None
        self._server = server
        self._step = _Step.INITIALIZE if era is Era.LEGACY else _Step.LIST
        self._cursor: str | None = None
        self._seen: set[str] = set()
        self._id = 0
        self._bytes = 0

    def next(self) -> Request | None:
        """What to send now; None once the list is whole."""
        if self._step is _Step.DONE:
            return None
        if self._step is _Step.INITIALIZED:
            return self._asking(RpcNotification("notifications/initialized"))
        self._id += 1
        if self._step is _Step.INITIALIZE:
            said: JsonObject = {"protocolVersion": LEGACY_REVISION, "capabilities": {}, "clientInfo": _client()}
            return self._asking(RpcRequest(self._id, "initialize", said))
        params: JsonObject = {} if self._cursor is None else {"cursor": self._cursor}
        if self.era is not Era.LEGACY:
            params["_meta"] = {META_VERSION: MODERN_REVISION, META_CLIENT: _client(), META_CAPABILITIES: {}}
        return self._asking(RpcRequest(self._id, "tools/list", params))

    def take(
        self, said: RpcResult | RpcFailure | Refusal | None, session_id: str | None = None, size: int = 0
    ) -> Refusal | None:
        """What came of it: None for a notification that was taken.  A refusal is the end.  `size`: in bytes."""
        if self.era is None and self._is_first and _is_of_other_revision(said):
            self.era, self._step = Era.LEGACY, _Step.INITIALIZE
            return None
        if isinstance(said, Refusal):
            return said
        if isinstance(said, RpcFailure):
            # A code that is none of the protocol's may be any number that the tool server likes.
            code = said.code if said.code in _RESERVED_CODES else "of its own"
            return Refusal(Reason.UPSTREAM_MESSAGE, f"error {code}")
        self._bytes += size
        match self._step:
            case _Step.INITIALIZE:
                return self._begun(said, session_id)
            case _Step.INITIALIZED:
                self._step = _Step.LIST
                return None
            case _:
                return self._listed(said)

    @property
    def _is_first(self) -> bool:
        return self._step is _Step.LIST and not self._seen and not self.tools

    def _asking(self, message: RpcRequest | RpcNotification) -> Request:
        is_legacy = self.era is Era.LEGACY
        revision = LEGACY_REVISION if is_legacy else MODERN_REVISION
        return Request(self._server, Era.LEGACY if is_legacy else Era.MODERN, revision, message)

    def _begun(self, said: RpcResult | None, session_id: str | None) -> Refusal | None:
        if said is None or said.result.get("protocolVersion") != LEGACY_REVISION:
            return Refusal(
                Reason.UPSTREAM_MESSAGE, f"the tool server speaks neither {MODERN_REVISION} nor {LEGACY_REVISION}"
            )
        self.session_id = session_id
        self._step = _Step.INITIALIZED
        return None

    def _listed(self, said: RpcResult | None) -> Refusal | None:
        tools = said.result.get("tools") if said is not None else None
        if said is None or not isinstance(tools, list) or said.result.get("resultType", "complete") != "complete":
            return Refusal(Reason.UPSTREAM_MESSAGE, "the answer to tools/list has no tools")
        self.tools += tools
        if len(self.tools) > MAX_LISTED_TOOLS or self._bytes > MAX_LIST_BYTES:
            return Refusal(Reason.UPSTREAM_TOO_LARGE, "the list of tools is too long")
        if self.era is None:
            self.era = Era.MODERN
        return self._turned(said.result.get("nextCursor"))

    def _turned(self, cursor: JsonValue) -> Refusal | None:
        """To the next page, if there is one."""
        if cursor is None:
            self._step = _Step.DONE
            return None
        if not isinstance(cursor, str) or len(cursor) > _MAX_CURSOR_CHARACTERS:
            return Refusal(Reason.UPSTREAM_MESSAGE, "the cursor is no text, or too long")
        if cursor in self._seen or len(self._seen) + 1 >= MAX_PAGES:
            return Refusal(Reason.UPSTREAM_TOO_LARGE, "the list of tools has no end")
        self._seen.add(cursor)
        self._cursor = cursor
        return None


def _client() -> JsonObject:
    return {"name": "callgate", "version": version("callgate")}


def _is_of_other_revision(said: RpcResult | RpcFailure | Refusal | None) -> bool:
    return isinstance(said, RpcFailure) or (isinstance(said, Refusal) and said.reason in _OTHER_REVISION)
