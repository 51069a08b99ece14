"""What the list of approvals says: a storm as a storm, names as they must be seen, times in words."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import pytest

from callgate.approvals.model import Cover, Moment, Request, State, Verdict, Vote
from callgate.approvals.site.views import (
    MAX_DENIED_AT_ONCE,
    STORM_REQUESTS,
    STORM_WITHIN_S,
    Group,
    deniable,
    lasting,
    listing,
    said,
    when,
    who,
)
from callgate.approvals.site.visible import Allowance, Pieces
from support.hostile_requests import LEAD, NOW, request

CALLER: Final = "spiffe://acme.test/ns/billing/sa/agent"


def text_of(pieces: Pieces) -> str:
    return "".join(piece.text for piece in pieces)


def asking(count: int, every_s: float, caller: str = CALLER, tool: str = "refund") -> list[Request]:
    """So many requests of one workload, one after the other."""
    return [_asking(number, every_s * number, caller, tool) for number in range(count)]


def _asking(number: int, after_s: float, caller: str, tool: str) -> Request:
    plain = replace(request("x"), id=f"{number:032x}", votes=())
    bound = replace(plain.ask.binding, caller=caller, tool=tool)
    asked = Moment(NOW.wall + after_s, NOW.boot, NOW.since_boot + after_s)
    return replace(plain, ask=replace(plain.ask, binding=bound), asked=asked)


def groups(requests: Sequence[Request]) -> Sequence[Group]:
    return listing(requests, [], lambda _: 60.0).groups


def test_a_storm_is_one_group_with_its_count_and_its_tools() -> None:
    requests = [*asking(30, 2.0), *asking(7, 2.0, tool="exec")]

    (group,) = groups(requests)

    assert group.is_storm
    assert group.count == 37
    assert [(text_of(tool), count) for _, tool, count in group.tools] == [("refund", 30), ("exec", 7)]


@pytest.mark.parametrize(
    ("count", "every_s", "storms"),
    [
        (STORM_REQUESTS, STORM_WITHIN_S / (STORM_REQUESTS - 1), True),
        (STORM_REQUESTS, STORM_WITHIN_S / (STORM_REQUESTS - 1) + 1, False),
        (STORM_REQUESTS - 1, 0.0, False),
    ],
)
def test_so_many_in_so_short_a_time_are_a_storm(count: int, every_s: float, storms: bool) -> None:
    (group,) = groups(asking(count, every_s))

    assert group.is_storm is storms


def test_two_workloads_are_two_groups_and_no_storm_together() -> None:
    half = STORM_REQUESTS // 2 + 1

    found = groups([*asking(half, 1.0), *asking(half, 1.0, caller="spiffe://acme.test/other")])

    assert [(group.count, group.is_storm) for group in found] == [(half, False), (half, False)]


def test_a_form_denies_no_more_than_fit_in_it() -> None:
    (group,) = groups(asking(200, 0.5))

    assert (group.count, len(group.rows)) == (200, MAX_DENIED_AT_ONCE)


def test_what_waits_what_is_approved_and_what_ended_are_apart() -> None:
    waiting = asking(1, 0.0)
    approved = replace(waiting[0], state=State.APPROVED)
    denied = replace(waiting[0], state=State.DENIED, ended=NOW)

    found = listing([*waiting, approved], [denied], lambda _: 60.0)

    assert (found.open_count, len(found.approved), [row.state for row in found.ended]) == (1, 1, ["Denied"])


def test_only_what_the_person_may_deny_is_denied_with_the_rest() -> None:
    theirs, other = asking(2, 0.0)
    approvals = tuple(replace(each, groups=frozenset({"x"}), people=frozenset()) for each in other.ask.approvals)

    rows = deniable([theirs, replace(other, ask=replace(other.ask, approvals=approvals))], LEAD)

    assert [row.id for row in rows] == [theirs.id]


def test_the_trust_domain_stands_apart() -> None:
    found = who("spiffe://acme.test/ns/evil.test", Allowance(0))

    assert (text_of(found.domain), text_of(found.path)) == ("acme.test", "/ns/evil.test")


def test_a_trust_domain_that_passes_for_another_says_so() -> None:
    assert [piece.kind for piece in who("spiffe://\u0430cme.test/x", Allowance(0, words=1)).domain] == [
        "forged",
        "text",
    ]


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (-5, "0 s"), (0.9, "0 s"), (59.9, "59 s"), (60, "1 min"), (843, "14 min 3 s"), (3_600, "1 h"), (3_605, "1 h"),
        (90_061, "1 d 1 h"), (604_800, "7 d"),
    ],
)  # fmt: skip
def test_time_left_is_said_in_two_units(seconds: float, words: str) -> None:
    assert lasting(seconds) == words


def test_a_moment_is_said_for_machines_and_for_people() -> None:
    assert (when(1_795_309_200.0).iso, when(1_795_309_200.0).words) == (
        "2026-11-22T01:00:00Z", "2026-11-22 01:00:00 UTC",
    )  # fmt: skip


@pytest.mark.parametrize("at", [-1.0, 1e18])
def test_a_moment_that_no_calendar_has_is_still_one(at: float) -> None:
    assert when(at).words.endswith(" UTC")


def test_an_answer_says_what_it_covers() -> None:
    vote = Vote(LEAD, Verdict.APPROVE, " ", NOW.wall, Cover(3, 600))

    found = said(vote, Allowance(100))

    assert (found.verdict, found.cover, found.reason) == ("approved", "up to 3 calls in 10 min", None)
