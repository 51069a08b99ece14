"""Texts that were made to take long."""

import random
import string
import time
from contextlib import suppress

import pytest

from callgate.screening.personal import TooLong, detector_of
from callgate.screening.terms import ENTITIES

# Seconds of processor time for 1 MiB of the nastiest; 0.1 to 0.4 measured, and machines differ.
MOST_SECONDS = 3.0
MEBIBYTE = 1024 * 1024
DETECTOR = detector_of(frozenset(ENTITIES), ())
UNITS = [
    "@", "a@", "a@b.", "a@b.co ", "4", "1-", "+", "+1 ", "+11111111111111", "-", "eyJ", "eyJ-", "eyJabcdefgh.", "-----BEGIN ",
    "-----BEGIN PRIVATE KEY-----", "a\u200b", "4\u200b", "\u200b", "%41", "%41a", "%25", "\\", "\\u0041", "\\n", "&#64;", "&", "[", "[at]", "(", "<b>",
    "<!--a", "1.1.1.1 ", "1.", ":", "a:", "::", "4111 ", "phone ", "phone 1234567 ", "call 4155550132 ", "dob 1985-03-12 ", "password=",
    "password=aB3$efgh ", "://", "://a:b@c ", "://a:", "ghp_", "server=a;", "DE89 ", "DE89 3704 0044 0532 0130 00 ", '"', '"a"@', " at a dot", "\uff14",
    "\u0664", "=40", "=\n", "a=\n", "4\n", " ", "00:16:3e:5a:7b:9c ", "219-46-5028 ", "219-46-", "bsn 123456789 ", "\ud800", "token=", "bearer ",
    "PuTTY-User-Key-File-2: ", "abc8Q~", ".aaaaaa.", "41111111-1111-4111-8111-111111111111 ", "2024-05-01 10:00:00 ", "AKIA", "name,phone\n1,", "+a", "{", "e\u0301",
]  # fmt: skip


@pytest.mark.parametrize("unit", UNITS)
def test_a_mebibyte_of_one_thing_takes_bounded_time(unit: str) -> None:
    look_through(unit * (MEBIBYTE // len(unit)))


@pytest.mark.parametrize(
    "alphabet",
    [
        string.printable,
        string.digits + " .-/+()",
        string.hexdigits + ":.-",
        string.ascii_letters + string.digits + "+/=",
        "aé漢\u200b٣\uff204@.",
    ],
)
def test_a_mebibyte_at_random_takes_bounded_time(alphabet: str) -> None:
    look_through("".join(random.Random(20240501).choices(alphabet, k=MEBIBYTE)))  # noqa: S311  # the same each time


def look_through(text: str) -> None:
    start = time.process_time()
    with suppress(TooLong):
        DETECTOR.find(text)
    assert time.process_time() - start < MOST_SECONDS


@pytest.mark.parametrize("unit", ["a@kestrel-quarry.com ", "phone 1234567 ", "%41a"])
def test_more_than_is_looked_at_is_no_pass(unit: str) -> None:
    with pytest.raises(TooLong):
        DETECTOR.find(unit * 60_000)


def test_a_card_behind_much_that_looks_like_one_is_found() -> None:
    text = "1234 " * 2_000 + "x 4792 0223 0801 2549"
    assert [find.name for find in DETECTOR.find(text)] == ["card"]
