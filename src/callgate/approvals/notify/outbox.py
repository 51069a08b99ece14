"""Notices between `tell` and their delivery, in a store that several processes share.  Blocking, a step at a time.

A process claims a notice by setting it due for later than it can take to send it: if the process dies meanwhile,
another one sends it again then, with the same id.  A clock that is set back delays notices as far as it was set back.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from callgate.approvals.happened import Happening
from callgate.approvals.model import State
from callgate.approvals.notify.notices import subject_of
from callgate.approvals.store import Notice, Store, StoreFault
from callgate.identity.source import jittered_s


@dataclass(frozen=True, slots=True)
class NoticeLimits:
    """How notices are delivered; all in seconds but what is a number of notices.

    `retries_s`: Standard Webhooks 1.0, "Example retry schedule", 76 hours in all; each is shortened by up to a half at
    random ("add some level of random jitter").  `claim_s`: longer than any delivery takes.  `poll_s`: how late a notice
    of another process, or a retry, may be.  `look_at`: how many are read at once, 1 ms of the store's time.
    `postpone_s`: how long those that have no room give way to those of other targets.  `tell_s`: how long the caller of
    `tell` waits for the disk; `unkept`: how many wait in memory for one that does not answer, 1 KiB each.
    `pause_most_s`: the longest Retry-After that is believed; who wants no more says 410.
    """

    retries_s: tuple[float, ...] = (5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400)
    claim_s: float = 60.0
    poll_s: float = 1.0
    look_at: int = 64
    postpone_s: float = 1.0
    tell_s: float = 0.5
    unkept: int = 2_000
    pause_most_s: float = 3_600.0


DEFAULT_NOTICE_LIMITS: Final = NoticeLimits()


@dataclass(frozen=True, slots=True)
class Claimed:
    """What this process is to send now, and what was dropped, by target: nobody wants to know it any more.

    `is_more`: behind those that were read there may be some that could go now.
    """

    notices: tuple[Notice, ...]
    dropped: tuple[str, ...]
    is_more: bool


def claim(store: Store, now: float, room: Mapping[str, int], limits: NoticeLimits) -> Claimed:
    """Take as many due notices of each target as it has `room` for.  A target that is not in `room` is no more."""
    due = store.notices_due(now, limits.look_at)
    left, taken, dropped, held = dict(room), [], [], []
    for notice in due:
        if notice.target not in left or _is_pointless(store, notice, left[notice.target]):
            store.drop_notice(notice.id)
            dropped.append(notice.target)
        elif left[notice.target] > 0:
            left[notice.target] -= 1
            store.keep_notice(replace(notice, due=now + limits.claim_s))
            taken.append(notice)
        else:
            held.append(notice)
    is_more = len(due) >= limits.look_at and any(left.values())
    if is_more:
        _postpone(store, held, now + limits.postpone_s)
    return Claimed(tuple(taken), tuple(dropped), is_more)


def _postpone(store: Store, notices: Sequence[Notice], due: float) -> None:
    """Let others come to the front: a target that is slow holds up itself alone."""
    for notice in notices:
        store.keep_notice(replace(notice, due=due))


def retry_of(notice: Notice, now: float, pause_s: float, limits: NoticeLimits) -> Notice | None:
    """The notice as it is to be tried again; None where it was tried often enough."""
    if notice.tries >= len(limits.retries_s):
        return None
    wait_s = max(jittered_s(limits.retries_s[notice.tries]), min(pause_s, limits.pause_most_s))
    return replace(notice, due=now + wait_s, tries=notice.tries + 1)


def _is_pointless(store: Store, notice: Notice, room: int) -> bool:
    """Whether it asks for what has come to its end, or was not made here; not looked up where it cannot go anyway."""
    subject = subject_of(notice)
    if subject is None:
        return True
    if subject.happening is not Happening.ASKED or room <= 0:
        return False
    try:
        request = store.load(subject.request)
    except StoreFault:
        # One request that cannot be read must not hold up the notices of all others.
        return True
    return request is None or request.state is not State.WAITING
