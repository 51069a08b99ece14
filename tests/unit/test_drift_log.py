"""What operators are told of tools that are not what was approved: each once, and not without end."""

import logging

import pytest

from callgate.drift_log import MAX_TOLD, DriftLog
from callgate.screening.pins import CHANGED, UNKNOWN, Drift

CHANGE = Drift("refund", CHANGED, ("description: changed (3 → 9 characters)",))


@pytest.fixture(autouse=True)
def _everything(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)


def test_each_is_told_once_with_what_changed(caplog: pytest.LogCaptureFixture) -> None:
    log = DriftLog()
    for _ in range(3):
        log.tell("ledger", [CHANGE, Drift("send", UNKNOWN)])

    assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING"]
    assert "ledger: refund changed: description: changed (3 → 9 characters)" in caplog.text
    assert "ledger: send is unknown" in caplog.text


def test_another_change_and_another_server_are_told_again(caplog: pytest.LogCaptureFixture) -> None:
    log = DriftLog()
    log.tell("ledger", [CHANGE])
    log.tell("mail", [CHANGE])
    log.tell("ledger", [Drift("refund", CHANGED, ("title: added",))])

    assert len(caplog.records) == 3


def test_after_an_approval_all_is_told_anew(caplog: pytest.LogCaptureFixture) -> None:
    log = DriftLog()
    log.tell("ledger", [CHANGE])
    log.forget("ledger")
    log.tell("ledger", [CHANGE])

    assert len(caplog.records) == 2


def test_a_server_that_makes_up_tools_does_not_fill_the_log(caplog: pytest.LogCaptureFixture) -> None:
    log = DriftLog()
    for number in range(5_000):
        log.tell("ledger", [Drift(f"tool_{number}", UNKNOWN)])

    assert len(caplog.records) == MAX_TOLD + 1
    assert caplog.records[-1].getMessage() == f"tools of ledger: more than {MAX_TOLD} differ from what was approved"
