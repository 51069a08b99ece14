"""Decisions of an audit log once more, under another policy: what would change.

Each recorded request is rebuilt as far as its record tells and decided under both policies; nothing is guessed
(`weigh`, `difference`).  What workloads had done by then is what they really did: a call that the new policy would have
denied still counts in their history, because it took place.  Limits are the gate's doing while it runs and not asked
again: what one of them refused was allowed by the policy.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Final, TypeAlias

from callgate.policy.compile import Policy
from callgate.policy.difference import Difference, difference
from callgate.policy.recall import Recall, Sources
from callgate.policy.recorded import RecordedCall, Ruling, applied_of, ruling_of
from callgate.policy.templates import ScopeTemplate
from callgate.policy.verdict import Verdict, recorded_verdict
from callgate.wire.json_strict import JsonObject
from callgate.wire.members import text_of

# Kinds of calls whose comparison is kept ready; callers can make up tools, and then it begins anew.
_MAX_KEPT: Final = 65_536
_MAX_SCOPES: Final = 4_096

_Key: TypeAlias = tuple[object, ...]


@dataclass(frozen=True, slots=True)
class Replayed:
    """What was found of one recorded request.

    `is_readable`: the record says who called what, and when.  `difference`: None where nothing changes, and for a
    request about which no policy was asked.
    """

    ruling: Ruling
    is_readable: bool = True
    difference: Difference | None = None


_NOT_ASKED: Final = Replayed(Ruling.NOT_ASKED)


class Replay:
    """One log, record by record in its order, from its beginning where `asks_past` says so.

    `old`: None compares with what was really decided.
    """

    def __init__(self, old: Policy | None, new: Policy, sources: Sources | None = None) -> None:
        given = [policy for policy in (old, new) if policy is not None]
        self._recall = Recall(given, sources or Sources())
        self._old = self._recall.scale(old) if old is not None else None
        self._new = self._recall.scale(new)
        self._kept: dict[_Key, Replayed] = {}

    @property
    def asks_past(self) -> bool:
        """Whether what was before the first decision that is compared matters, too."""
        return self._recall.asks_past

    def see(self, record: JsonObject, *, compare: bool = True) -> Replayed | None:
        """The next record.  None for one that is no request, and where `compare` is False."""
        ruling = ruling_of(record)
        if ruling is None:
            self._recall.event(record)
            return None
        if ruling is Ruling.NOT_ASKED:
            return _NOT_ASKED if compare else None
        if not compare and not self.asks_past:
            return None
        key = self._key(record, ruling)
        kept = self._kept.get(key)
        if kept is not None and not self.asks_past:
            return kept
        found = self._recall.call(record)
        if found is None:
            return Replayed(ruling, is_readable=False) if compare else None
        replayed = (kept or self._compared(found, ruling, key)) if compare else None
        self._recall.remember(found, ruling)
        return replayed

    def _compared(self, found: RecordedCall, ruling: Ruling, key: _Key) -> Replayed:
        new = self._new.weigh(found)
        old = self._old.weigh(found) if self._old is not None else self._as_recorded(found, ruling)
        filled = _Filled(found)
        replayed = Replayed(ruling, difference=difference(old, new, lambda: self._recall.clues(found), filled))
        if new.is_fixed and (isinstance(old, Verdict) or old.is_fixed) and not filled.was_asked:
            if len(self._kept) >= _MAX_KEPT:
                self._kept.clear()
            self._kept[key] = replayed
        return replayed

    def _key(self, record: JsonObject, ruling: Ruling) -> _Key:
        """What alone tells the difference, wherever neither policy asks for more than workload and tool."""
        said = (ruling, *(text_of(record, name) for name in ("caller", "server", "method", "tool")))
        if self._old is not None:
            return said
        return (*said, text_of(record, "policy"), text_of(record, "reason"), applied_of(record))

    def _as_recorded(self, found: RecordedCall, ruling: Ruling) -> Verdict:
        return recorded_verdict(found, ruling, text_of(found.record, "reason"), self._recall.policy_of(found.policy))


class _Filled:
    """The scopes that templates are for one call; `was_asked`: some of them mattered."""

    def __init__(self, found: RecordedCall) -> None:
        self._found = found
        self.was_asked = False

    def __call__(self, text: str) -> str | None:
        """The scope; None where it is not known."""
        self.was_asked = True
        scope = _scope(text)
        return None if self._found.hides(scope) else scope.fill(self._found.call)


@lru_cache(maxsize=_MAX_SCOPES)
def _scope(text: str) -> ScopeTemplate:
    return ScopeTemplate.parse(text)
