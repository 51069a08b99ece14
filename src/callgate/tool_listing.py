"""What the gate asks tool servers on its own account: which tools they have, and how they describe them.

Arguments are held against schemas and tools against what was approved, so that the gate has to know the list, and may
not leave it to agents to ask for it.  Each question is decided, minted for, put on record and traced like any call; the
caller is the gate itself.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import trio

from callgate.errors import Reason, Refusal
from callgate.evidence import Evidence
from callgate.parts import Parts
from callgate.screening.pins import Drift
from callgate.tool_question import Question
from callgate.wire.json_strict import JsonValue
from callgate.wire.list_walk import ListWalk
from callgate.wire.methods import Era

# How old a list may be that calls are held against.  A server that says that its list changed is asked at once.
MAX_AGE_S: Final = 60.0
# All pages; a server that is alive answers in milliseconds, and a call waits for it.
LISTING_S: Final = 10.0
# A server that gives no list is not asked for it by every call.
FAILED_S: Final = 2.0
# A list that changes while it is asked for is asked for once more.
_ATTEMPTS: Final = 2


@dataclass(frozen=True, slots=True)
class _Failed:
    """Why there was no list, and until when that counts, by trio's clock."""

    why: Refusal
    until: float


class ToolListing:
    """Keeps `parts.definitions` fresh.  One for a gate."""

    def __init__(self, parts: Parts, evidence: Evidence, max_age_s: float = MAX_AGE_S) -> None:
        self._parts = parts
        self._evidence = evidence
        self._max_age_s = max_age_s
        self._asking: dict[str, trio.Event] = {}
        self._failed: dict[str, _Failed] = {}
        # Which revision each server was found to speak.
        self._eras: dict[str, Era] = {}

    async def listed(self, server: str) -> Refusal | None:
        """See to it that what is known of the server's tools is whole and fresh; DEFINITIONS_UNAVAILABLE otherwise.

        Of several that ask at the same time one does the asking, and the others wait for what comes of it.  Where that
        one is cancelled, another goes on.
        """
        while not self._parts.definitions.has_whole_list(server, trio.current_time(), self._max_age_s):
            failed = self._failed.get(server)
            if failed is not None and trio.current_time() < failed.until:
                return failed.why
            if (asking := self._asking.get(server)) is not None:
                await asking.wait()
                continue
            await self._ask_alone(server)
        return None

    async def _ask_alone(self, server: str) -> None:
        done = self._asking[server] = trio.Event()
        try:
            found = await self._ask(server)
        finally:
            del self._asking[server]
            done.set()
        self._failed.pop(server, None)
        if found is not None:
            detail = f"{found.reason}: {found.detail}" if found.detail else str(found.reason)
            why = Refusal(Reason.DEFINITIONS_UNAVAILABLE, detail)
            self._failed[server] = _Failed(why, trio.current_time() + FAILED_S)

    async def _ask(self, server: str) -> Refusal | None:
        definitions = self._parts.definitions
        for _ in range(_ATTEMPTS):
            started, changes = trio.current_time(), definitions.changes(server)
            walk = ListWalk(server, self._eras.get(server))
            found: Refusal | None = Refusal(Reason.UPSTREAM_TIMEOUT, f"no list within {LISTING_S:g} s")
            with trio.move_on_after(LISTING_S):
                found = await self._walk(walk)
            if found is not None:
                # It may speak another revision by now.
                self._eras.pop(server, None)
                return found
            if definitions.changes(server) == changes:
                return self._learned(server, walk, started)
        return Refusal(Reason.UPSTREAM_MESSAGE, "its list changes all the time")

    def _learned(self, server: str, walk: ListWalk, started: float) -> Refusal | None:
        if walk.era is not None:
            self._eras[server] = walk.era
        definitions = self._parts.definitions
        definitions.learn_all(server, walk.tools, started)
        self._tell_drift(server, walk.tools)
        self._parts.annotations.learn(server, walk.tools)
        if definitions.has_whole_list(server, started, self._max_age_s):
            return None
        return Refusal(Reason.UPSTREAM_TOO_LARGE, "the definitions are too large to be kept")

    def _tell_drift(self, server: str, tools: Iterable[JsonValue]) -> None:
        lock = self._parts.routes[server].lock()
        if lock is None:
            return
        known = self._parts.definitions
        gone = [lock.judge(name, None) for name in lock.definitions if known.of(server, name) is None]
        judged = (*map(lock.judge_body, tools), *gone)
        self._parts.drifts.tell(server, [each for each in judged if isinstance(each, Drift)])

    async def _walk(self, walk: ListWalk) -> Refusal | None:
        while (request := walk.next()) is not None:
            answered = await Question(self._parts, self._evidence, request, walk.session_id).asked()
            if isinstance(answered, Refusal):
                refusal = walk.take(answered)
            else:
                refusal = walk.take(answered.said, answered.session_id, answered.size)
            if refusal is not None:
                return refusal
        return None
