"""Every request for approval that the types allow, for Hypothesis."""

from typing import Final

from hypothesis import strategies as st

from callgate.approvals.model import (
    Ask,
    Before,
    Binding,
    Cover,
    Deadline,
    Means,
    Moment,
    Person,
    Request,
    State,
    Verdict,
    Vote,
)
from callgate.policy.approval import Approval, Owners, Repeat

_TEXTS: Final = st.text(max_size=8)
_NUMBERS: Final = st.floats(allow_nan=False, allow_infinity=False)
_COUNTS: Final = st.integers(0, 2**53 - 1)
_NAMES: Final = st.frozensets(_TEXTS, max_size=3)
_JSON: Final = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | _NUMBERS | _TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXTS, inner, max_size=3),
    max_leaves=8,
)


def _several(strategy: st.SearchStrategy[object]) -> st.SearchStrategy[object]:
    return st.lists(strategy, max_size=3).map(tuple)


moments: Final = st.builds(Moment, _NUMBERS, _TEXTS, _NUMBERS)
_people: Final = st.builds(
    Person, _TEXTS, _NAMES, st.sampled_from(Means), _NUMBERS, _TEXTS, _TEXTS, st.none() | _COUNTS
)
_steps: Final = _several(_TEXTS | _COUNTS)
_repeats: Final = st.builds(Repeat, _several(_steps), _COUNTS, _COUNTS)
_approvals: Final = st.builds(
    Approval,
    _TEXTS,
    _NAMES,
    _NAMES,
    _COUNTS,
    _COUNTS,
    _COUNTS,
    st.booleans(),
    st.booleans(),
    st.none() | _COUNTS,
    st.none() | _repeats,
    st.booleans(),
)
_bindings: Final = st.builds(Binding, *[_TEXTS] * 6, st.tuples(_TEXTS, _TEXTS))
_asks: Final = st.builds(
    Ask,
    _bindings,
    st.dictionaries(_TEXTS, _JSON, max_size=3),
    _several(_approvals),
    st.builds(Owners, _NAMES, _NAMES),
    _TEXTS,
    _several(_TEXTS),
    _several(_TEXTS),
    _several(st.builds(Before, _NUMBERS, *[_TEXTS] * 4)),
    *[_TEXTS] * 5,
    st.tuples(_NUMBERS, _NUMBERS),
    st.none() | _COUNTS,
)
_votes: Final = st.builds(
    Vote, _people, st.sampled_from(Verdict), _TEXTS, _NUMBERS, st.none() | st.builds(Cover, _COUNTS, _COUNTS)
)
# Every request that the types allow, whether or not the model would make it.
requests: Final = st.builds(
    Request,
    _TEXTS,
    _asks,
    moments,
    _TEXTS,
    st.builds(Deadline, moments, _NUMBERS),
    st.sampled_from(State),
    _several(_votes),
    _COUNTS,
    _COUNTS,
    _several(_TEXTS),
    st.none() | moments,
    _COUNTS,
    _COUNTS,
)
