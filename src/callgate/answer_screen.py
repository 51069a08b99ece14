"""screen: what of the answer may the agent see?"""

from collections.abc import Callable
from math import inf
from time import perf_counter_ns
from typing import Final

import trio

from callgate.errors import Reason, Refusal, place_of
from callgate.parts import INLINE_BYTES, Inspected, Parts
from callgate.screening.mask import Tally
from callgate.screening.messages import screen_message
from callgate.screening.pins import Drift
from callgate.screening.schemas import Shape
from callgate.screening.terms import Schemas
from callgate.wire.json_strict import JsonObject, JsonValue
from callgate.wire.jsonrpc import RpcFailure, RpcResult, ServerMessage

# Of one list, in its trace and record.
_MAX_DRIFTED_TOLD: Final = 16


class AnswerScreen:
    """Lives for one call.

    `found` says what was masked and what deceives; `drifted` which tools of a list are not what was approved; `took_ns`
    how long it took.
    """

    def __init__(self, parts: Parts, inspected: Inspected) -> None:
        self._parts = parts
        self._inspected = inspected
        self._call = inspected.permit.call
        self._rules = inspected.permit.screening
        self._lock = parts.routes[self._call.server].lock()
        self.found = Tally()
        self.drifted: list[str] = []
        self.took_ns = 0

    async def passed(self, said: ServerMessage, size_bytes: int) -> ServerMessage | Refusal:
        """One message as the agent may see it; `size_bytes`: how long it was.  Never raises."""
        started = perf_counter_ns()
        is_answer = isinstance(said, RpcResult | RpcFailure)
        try:
            if is_answer and self._call.tool is not None and await self._has_changed():
                return Refusal(Reason.TOOL_DRIFT, "its definition changed while the call was under way")
            if size_bytes <= INLINE_BYTES:
                return self._passed(said)
            # Others are served meanwhile.
            return await trio.to_thread.run_sync(self._passed, said, limiter=self._parts.screeners)
        except Exception as fault:  # noqa: BLE001  # what cannot be screened is not passed on
            return Refusal(Reason.SCREENING_FAILED, place_of(fault))
        finally:
            self.took_ns += perf_counter_ns() - started

    def _passed(self, said: ServerMessage) -> ServerMessage | Refusal:
        holds = self._holds() if isinstance(said, RpcResult) else None
        return screen_message(said, self._call.method, self._rules, self._inspected.key, self.found, holds)

    async def _has_changed(self) -> bool:
        """Whether the tool is another than the one that was approved, or that the arguments were held against.

        Where its server said meanwhile that its list changed, it is asked what the tool is now.
        """
        definitions, server = self._parts.definitions, self._call.server
        must_know = self._lock is not None or self._rules.schemas is Schemas.REQUIRED
        is_old = must_know and not definitions.has_whole_list(server, trio.current_time(), inf)
        if is_old and await self._parts.listed(server) is not None:
            return True
        known = definitions.of(server, self._call.tool)
        if self._lock is not None and isinstance(self._lock.judge(self._call.tool or "", known), Drift):
            return True
        held_against = self._inspected.definition
        return held_against is not None and known != held_against

    def _holds(self) -> Callable[[JsonValue], bool] | None:
        """What the tool's output schema says of a structured result; None where it has none."""
        definition = None if self._rules.schemas is Schemas.OFF else self._inspected.definition
        shape = definition.output_shape if definition is not None else None
        return shape.fits if isinstance(shape, Shape) else None

    def approved(self, result: JsonObject) -> JsonObject:
        """The result of `tools/list` with the tools that were approved, as they were; all of them without a lock."""
        tools = result.get("tools")
        if self._lock is None or not isinstance(tools, list):
            return result
        judged = [self._lock.judge_body(tool) for tool in tools]
        drifts = [each for each in judged if isinstance(each, Drift)]
        self._parts.drifts.tell(self._call.server, drifts)
        self.drifted += [each.words for each in drifts[:_MAX_DRIFTED_TOLD]]
        return {**result, "tools": [each.body for each in judged if not isinstance(each, Drift)]}
