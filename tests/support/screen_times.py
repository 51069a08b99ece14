"""What each detector of screening costs: CPU time of this process alone, the least of several rounds."""

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import count
from typing import Final

from callgate.screening.deceptive import TooDeceptive, find_deceptive, strip_deceptive
from callgate.screening.personal import Detector, TooLong
from callgate.screening.shell import read_argv, read_shell
from callgate.screening.sql import read_sql
from callgate.screening.terms import ENTITIES

ROUNDS: Final = 7
# A round of fewer microseconds is mostly the clock's.
ROUND_US: Final = 2_000
SMALL_BYTES: Final = 4 * 1024
LARGE_BYTES: Final = 64 * 1024
# What is longer than a detector reads is soon refused: the worst is what just fits.
HOSTILE_SIZES: Final = tuple(1024 << doubled for doubled in range(2, 11))
CLEAN: Final = "The invoice was sent on Monday, and paid within a week; the customer said thanks (twice).\n"
CLEAN_CYRILLIC: Final = "\u0421\u0447\u0451\u0442 \u043e\u043f\u043b\u0430\u0447\u0435\u043d \u0432 \u0441\u0440\u043e\u043a, \u0441\u043f\u0430\u0441\u0438\u0431\u043e \u0437\u0430 \u0437\u0430\u043a\u0430\u0437 \u043d\u043e\u043c\u0435\u0440 \u0441\u043e\u0440\u043e\u043a.\n"
SQL: Final = (
    "SELECT c.name, sum(i.amount) FROM customers c JOIN invoices i ON i.customer = c.id WHERE c.id = {} GROUP BY 1"
)
SHELL: Final = "git log --oneline -n {} | grep -v merge > /tmp/changes.txt && wc -l /tmp/changes.txt"
ARGV: Final = ["git", "log", "--oneline", "-n"]
# What makes a pattern or a parser slow, again and again.
HOSTILE_UNITS: Final = (
    "[", "{\"a\":", "(", "@", "a@", "a@a.", "1", "1 ", "4111 1111 1111 111", "1.1.1.", "1:", "+1-", "-----BEGIN ", "eyJ",
    "DE89 3704 0044 0532 0130 ", "\\u0040", "%40", "=\n", "\u200b", "a\u200b", "\uff11", "\u0430a", "\u0645\u200c", "\x1b[", "\r",
)  # fmt: skip
HOSTILE_SQL: Final = ("(", "((1", "/*", "'", "$a$", "--\n", "SELECT ", "1+", "a.", "case when ", ";", "[", '"', "\\")
HOSTILE_SHELL: Final = ("(", "$(", "`", "'", '"', "a|", "a;", "<<a ", "{", "$((", "${a", "\\", "if ", "[[ ")


@dataclass(frozen=True, slots=True)
class Timing:
    """One figure, in microseconds."""

    detector: str
    what: str
    micros: float


def timings() -> Iterator[Timing]:
    """Every figure, in the order in which it is shown."""
    personal = Detector(frozenset(ENTITIES))
    yield from _of_texts("personal data and secrets", personal.find)
    yield from _of_texts("deceptive text", find_deceptive)
    yield Timing(
        "deceptive text", "4 KiB of Cyrillic", micros(partial(find_deceptive, _filled(CLEAN_CYRILLIC, SMALL_BYTES)))
    )
    yield from _of_statements("SQL", lambda text: read_sql(text, "postgres"), SQL)
    yield from _of_statements("shell", read_shell, SHELL)
    yield from _of_statements("argument list", lambda number: read_argv([*ARGV, number]), "{}")
    yield _worst("personal data and secrets", personal.find, HOSTILE_UNITS)
    yield _worst("deceptive text", find_deceptive, HOSTILE_UNITS)
    yield _worst("deceptive text, taken out", strip_deceptive, HOSTILE_UNITS)
    yield _worst("SQL", lambda text: read_sql(text, "postgres"), HOSTILE_SQL)
    yield _worst("shell", read_shell, HOSTILE_SHELL)


def micros(task: Callable[[], object]) -> float:
    """CPU microseconds of one run."""
    task()
    once = _round(task, 1)
    number = max(1, int(ROUND_US / max(once, 0.1)))
    return min(_round(task, number) for _ in range(ROUNDS))


def _round(task: Callable[[], object], number: int) -> float:
    started = time.thread_time_ns()
    for _ in range(number):
        task()
    return (time.thread_time_ns() - started) / number / 1_000


def _of_texts(detector: str, find: Callable[[str], object]) -> Iterator[Timing]:
    for size, words in ((SMALL_BYTES, "4 KiB, clean"), (LARGE_BYTES, "64 KiB, clean")):
        yield Timing(detector, words, micros(partial(find, _filled(CLEAN, size))))


def _of_statements(detector: str, read: Callable[[str], object], statement: str) -> Iterator[Timing]:
    numbers = count()
    yield Timing(detector, "a typical statement", micros(lambda: read(statement.format(next(numbers)))))
    yield Timing(detector, "the same again", micros(lambda: read(statement.format(0))))


def _worst(detector: str, find: Callable[[str], object], units: tuple[str, ...]) -> Timing:
    """Of everything that is hostile and not too long, once each: nothing of it comes twice."""
    tried = ((_once(find, _filled(unit, size)), size // 1024, unit) for unit in units for size in HOSTILE_SIZES)
    took, kib, unit = max(tried)
    return Timing(detector, f"the worst: {kib} KiB of {unit!a}", took)


def _once(find: Callable[[str], object], text: str) -> float:
    def task() -> None:
        with suppress(TooLong, TooDeceptive):
            find(text)

    return _round(task, 1)


def _filled(unit: str, size: int) -> str:
    return unit * (size // len(unit.encode()))
