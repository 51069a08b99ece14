"""Retry-After, RFC 9110, section 10.2.3."""

from dataclasses import replace

import pytest

from callgate.approvals.notify.outbox import NoticeLimits, retry_of
from callgate.approvals.notify.posting import Answer
from callgate.approvals.store import Notice

# The RFC's own example: "Fri, 31 Dec 1999 23:59:59 GMT".
LAST_SECOND = 946_684_799.0
NOTICE = Notice("msg_1", "ops", b"{}", 1000.0)


@pytest.mark.parametrize(
    ("text", "pause_s"),
    [
        ("120", 120.0),
        ("0", 0.0),
        ("Fri, 31 Dec 1999 23:59:59 GMT", 60.0),
        ("Fri, 31 Dec 1999 00:00:00 GMT", 0.0),
        ("", 0.0),
        ("-5", 0.0),
        ("1e9", 0.0),
        ("soon", 0.0),
        ("١٢", 0.0),
        ("9" * 5000, 999_999_999.0),
        ("Fri, 99 Dec 99999 23:59:59 GMT", 0.0),
    ],
)
def test_reads_seconds_and_dates_and_nothing_else(text: str, pause_s: float) -> None:
    assert Answer(503, text).pause_s(LAST_SECOND - 60) == pause_s


def test_a_receiver_cannot_ask_for_more_than_an_hour() -> None:
    again = retry_of(NOTICE, 1000.0, 999_999_999.0, NoticeLimits())
    assert again is not None
    assert again.due == 1000.0 + 3600
    assert again.tries == 1


@pytest.mark.parametrize("tries", range(9))
def test_each_retry_comes_within_half_and_all_of_what_the_schedule_says(tries: int) -> None:
    limits = NoticeLimits()
    again = retry_of(replace(NOTICE, tries=tries), 1000.0, 0.0, limits)
    assert again is not None
    assert limits.retries_s[tries] / 2 <= again.due - 1000.0 <= limits.retries_s[tries]


def test_the_tenth_failure_is_the_last() -> None:
    assert retry_of(replace(NOTICE, tries=9), 1000.0, 0.0, NoticeLimits()) is None
