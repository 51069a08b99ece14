"""Policies are in UTC, wherever the gate runs."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from callgate.identity.spiffe_id import SpiffeId
from callgate.policy.call import Call
from callgate.policy.condition import Condition, Truth, compile_condition
from callgate.policy.moments import written
from callgate.policy.tags import ToolTags

MOMENT = datetime(2026, 11, 21, 23, 30, 59, tzinfo=UTC).timestamp()


@pytest.fixture(params=["Asia/Tokyo", "America/Los_Angeles"])
def elsewhere(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as patched:
        patched.setenv("TZ", request.param)
        time.tzset()
        yield
    time.tzset()


@pytest.mark.usefixtures("elsewhere")
def test_a_moment_is_written_in_utc() -> None:
    assert written(MOMENT) == "2026-11-21T23:30:59Z"
    assert written(MOMENT + 0.9) == "2026-11-21T23:30:59Z"


@pytest.mark.usefixtures("elsewhere")
def test_a_condition_sees_the_time_in_utc() -> None:
    text = 'request.hour == 23 && request.minute == 30 && request.weekday == "sat" && now.getHours() == 23'
    condition = compile_condition(text)
    call = Call(caller=SpiffeId.parse("spiffe://acme.test/a"), server="s", method="tools/call", tool="get", now=MOMENT)

    assert isinstance(condition, Condition)
    assert condition.evaluate(call, ToolTags()).truth is Truth.HOLDS
