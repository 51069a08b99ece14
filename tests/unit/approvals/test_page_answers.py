"""What a posted form says: what the pages send, and nothing else."""

from typing import Final

import pytest

from callgate.approvals.model import Cover, Verdict
from callgate.approvals.site.answers import answer_of, chosen_of
from callgate.approvals.site.views import MAX_DENIED_AT_ONCE

BINDING: Final = "ab" * 32
ID: Final = "0" * 32
APPROVE: Final = {"binding": BINDING, "verdict": "approve", "reason": "seen", "csrf": "x"}
REPEAT: Final = APPROVE | {"cover": "repeat", "cover_calls": "3", "cover_minutes": "10"}


def test_an_approval_is_for_this_call_alone_unless_it_says_otherwise() -> None:
    for fields in (APPROVE, APPROVE | {"cover": "once", "cover_calls": "5", "cover_minutes": "5"}):
        answer = answer_of(fields, 900)
        assert answer is not None
        assert (answer.verdict, answer.cover, answer.typed.reason) == (Verdict.APPROVE, None, "seen")


def test_an_approval_may_cover_more() -> None:
    answer = answer_of(REPEAT, 900)

    assert answer is not None
    assert answer.cover == Cover(3, 600)


def test_a_limit_below_a_minute_is_kept() -> None:
    answer = answer_of(REPEAT | {"cover_minutes": "1"}, 30)

    assert answer is not None
    assert answer.cover == Cover(3, 30)


def test_what_is_more_than_the_policy_allows_is_left_to_it_to_refuse() -> None:
    answer = answer_of(REPEAT | {"cover_calls": "999999", "cover_minutes": "999999"}, 900)

    assert answer is not None
    assert answer.cover == Cover(999_999, 59_999_940)


def test_a_denial_covers_nothing() -> None:
    answer = answer_of(REPEAT | {"verdict": "deny"}, 900)

    assert answer is not None
    assert answer.cover is None


@pytest.mark.parametrize(
    "change",
    [
        {"binding": ""}, {"binding": BINDING.upper()}, {"binding": BINDING + "0"}, {"verdict": "APPROVE"}, {"verdict": ""},
        {"cover": "always"}, {"cover_calls": ""}, {"cover_calls": "-1"}, {"cover_calls": "1e3"}, {"cover_calls": "1" * 7},
        {"cover_minutes": " 5"}, {"cover_minutes": "\u0665"}, {"cover_calls": "0x1"},
    ],
)  # fmt: skip
def test_what_the_page_does_not_send_is_no_answer(change: dict[str, str]) -> None:
    assert answer_of(REPEAT | change, 900) is None


@pytest.mark.parametrize("missing", ["binding", "verdict"])
def test_what_is_left_out_is_no_answer(missing: str) -> None:
    assert answer_of({name: value for name, value in APPROVE.items() if name != missing}, 900) is None


def test_those_that_are_to_be_denied_come_with_their_bindings() -> None:
    assert chosen_of({"chosen": f"{ID}.{BINDING}"}) == {ID: BINDING}


@pytest.mark.parametrize(
    "chosen",
    ["", " ", ID, f"{ID}.{BINDING} ", f"{ID}.{BINDING[1:]}", " ".join([f"{ID}.{BINDING}"] * (MAX_DENIED_AT_ONCE + 1))],
)
def test_a_choice_that_the_page_does_not_offer_is_none(chosen: str) -> None:
    assert chosen_of({"chosen": chosen}) is None
