"""What somebody who clicked is told."""

import pytest

from callgate.approvals.model import VoteRefusal
from callgate.approvals.notify.slack_said import said_of_answer


@pytest.mark.parametrize("refusal", VoteRefusal)
def test_every_refusal_has_its_sentence(refusal: VoteRefusal) -> None:
    assert said_of_answer(refusal).endswith((".", "again."))
    assert refusal.value not in said_of_answer(refusal)
