"""What workloads had done by each moment of a log, so that conditions can be asked about it once more.

The history is kept as the gate kept it, from the records in their order.  A gate that starts begins with an empty one.
Where the log does not tell all (it begins in the middle, refusals were only counted, nobody can say whether a denial
counted), what reaches back to that moment is not known.
"""

from collections.abc import Iterable
from typing import Final

from callgate.identity.spiffe_id import SpiffeId
from callgate.policy.call import Call
from callgate.policy.cel_history import Question
from callgate.policy.history import NEVER, History, WorkloadHistory

# As many workloads as a history keeps: beyond that, what is unclear about one is unclear about all.
_MAX_UNCLEAR: Final = 10_000


class Past:
    """For one log, read from its beginning."""

    def __init__(self) -> None:
        self._history = History()
        self._is_begun = False
        # Up to this moment, nothing is known of anyone.
        self._dark_until = NEVER
        # The last moment at which a workload may have been denied without our knowing.
        self._unclear: dict[SpiffeId, float] = {}
        self._unclear_to_all = NEVER

    def of(self, caller: SpiffeId) -> WorkloadHistory:
        """What `caller` did, as far as that is known: see `tells`."""
        return self._history.of(caller)

    def tells(self, call: Call, questions: Iterable[Question]) -> bool:
        """Whether what `questions` ask of the caller's past is known."""
        return all(self._tells(call, question) for question in questions)

    def restart(self) -> None:
        """The gate started."""
        self.__init__()  # type: ignore[misc]  # as if there had been nothing before
        self._is_begun = True

    def reach(self, now: float) -> None:
        """A record of that moment; if it is the log's first, nothing is known of what was before."""
        if not self._is_begun:
            self._is_begun = True
            self._dark_until = now

    def call(self, call: Call) -> None:
        """A call was let through."""
        if call.tool is not None:
            self._history.record_call(call.caller, call.server, call.tool, call.now)

    def denial(self, call: Call, *, is_remembered: bool | None) -> None:
        """A request was denied.  `is_remembered`: whether that counts; None where it cannot be told."""
        if call.tool is None:
            return
        if is_remembered:
            self._history.record_denial(call.caller, call.server, call.tool, call.now)
        elif is_remembered is None:
            self.unclear(call.caller, call.now)

    def unclear(self, caller: SpiffeId | None, until: float) -> None:
        """There may have been denials of `caller`, or of anyone, up to that moment."""
        if caller is None or len(self._unclear) >= _MAX_UNCLEAR:
            self._unclear_to_all = max(self._unclear_to_all, until)
        else:
            self._unclear[caller] = max(self._unclear.get(caller, NEVER), until)

    def lose(self, until: float) -> None:
        """Up to that moment there may have been anything."""
        self._dark_until = max(self._dark_until, until)

    def _tells(self, call: Call, question: Question) -> bool:
        start = call.now - question.window.total_seconds()
        if start < self._dark_until:
            return False
        unclear = max(self._unclear_to_all, self._unclear.get(call.caller, NEVER))
        return not question.asks_denials or start >= unclear
