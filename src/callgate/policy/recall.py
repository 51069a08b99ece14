"""What is known of the requests of a log, record by record: beside the records, policies that were in force, content
that was kept, and what workloads had done by then.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from callgate.policy.clues import Clue, clues_in
from callgate.policy.compile import Policy
from callgate.policy.past import Past
from callgate.policy.recorded import RecordedCall, Ruling, caller_of, recorded_call
from callgate.policy.remember import asks_past, remember_call, remember_event
from callgate.policy.weigh import Scale
from callgate.wire.json_strict import JsonObject

# Policies that were in force whose scales are kept: a gate has one for days or weeks.
_MAX_SCALES: Final = 64


def _nothing(_: object) -> None:
    """Of nothing is known more than the record tells."""


@dataclass(frozen=True, slots=True)
class Sources:
    """What there is to know beside the records.

    `policy`: the policy of that digest, which was in force; None where its text is not to be had.  `arguments`: what was
    recorded of a call's arguments in full; None where that is not to be had.
    """

    policy: Callable[[str], Policy | None] = _nothing
    arguments: Callable[[JsonObject], JsonObject | None] = _nothing


class Recall:
    """For one log, read in its order.

    `asks_past`: one of the policies that are `given` asks what was done before, so that all of the log matters, from its
    beginning.
    """

    def __init__(self, given: Sequence[Policy], sources: Sources) -> None:
        self._given = {policy.digest: policy for policy in given}
        self._sources = sources
        self._past = Past()
        self.asks_past = any(map(asks_past, given))
        self._deciding = lru_cache(maxsize=_MAX_SCALES)(self._scale_of)

    def scale(self, policy: Policy) -> Scale:
        """What weighs the calls of this log under a policy that was given."""
        return Scale(policy, self._past)

    def event(self, record: JsonObject) -> None:
        """The next record, which is no request."""
        if self.asks_past:
            remember_event(self._past, record)

    def call(self, record: JsonObject) -> RecordedCall | None:
        """The next record, a request on which a policy decided; None where it does not say who called what, and when."""
        caller = caller_of(record)
        history = self._past.of(caller) if self.asks_past and caller is not None else None
        found = recorded_call(record, self._sources.arguments(record), history)
        if found is not None and self.asks_past:
            self._past.reach(found.call.now)
        return found

    def remember(self, found: RecordedCall, ruling: Ruling) -> None:
        """Only after the call was weighed: for the call itself, what was there before is what counts."""
        only_asked = ruling is Ruling.ALLOWED and found.record.get("dry_run")
        if self.asks_past and not only_asked:
            remember_call(self._past, self.policy_of, found, ruling)

    def policy_of(self, digest: str) -> Policy | None:
        """The policy of that digest, if its text is known."""
        return self._given.get(digest) or self._sources.policy(digest)

    def clues(self, found: RecordedCall) -> Sequence[Clue]:
        """What the record tells of what is not in it, by which rules of the policy that decided applied."""
        scale = self._deciding(found.policy)
        return clues_in(scale.weigh(found), found) if scale is not None else ()

    def _scale_of(self, digest: str) -> Scale | None:
        # With the rules in shadow: a record lists these, too.
        policy = self.policy_of(digest)
        return Scale(policy, self._past, with_shadow=True) if policy is not None else None
