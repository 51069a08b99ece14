"""What time it is, by two clocks."""

import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Final

from callgate.approvals.model import Moment
from callgate.errors import GatewayError

# proc(5): "/proc/sys/kernel/random/boot_id ... a random string that is generated once, at boot".
_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")


class NoBootId(GatewayError):  # noqa: N818  # says what is missing
    """This machine does not tell when it started, so a clock that is set back could not be told from one that is not."""


def moment(now_ns: Callable[[], int] = time.time_ns) -> Moment:
    """This moment.  `now_ns`: the clock on the wall, in nanoseconds of Unix time.  Raises NoBootId."""
    # clock_gettime(2): CLOCK_BOOTTIME is a "nonsettable system-wide clock" that "also includes any time that the system
    # is suspended": a laptop that sleeps does not keep an approval fresh.
    return Moment(now_ns() / 1e9, _boot_id(), time.clock_gettime(time.CLOCK_BOOTTIME))


@cache
def _boot_id() -> str:
    try:
        found = _BOOT_ID.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise NoBootId(f"cannot read {_BOOT_ID}: {error}") from error
    if not found:
        raise NoBootId(f"{_BOOT_ID} is empty")
    return found
