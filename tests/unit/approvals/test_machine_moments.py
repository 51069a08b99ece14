import time
from pathlib import Path

import pytest

from callgate.approvals import moments
from callgate.approvals.moments import NoBootId, moment


def test_a_moment_is_of_the_clock_that_was_given_and_of_this_start_of_the_machine() -> None:
    found = moment(lambda: 1_790_000_000_500_000_000)
    assert found.wall == 1_790_000_000.5
    assert found.boot == Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    # proc(5), /proc/uptime: "the uptime of the system, including time spent in suspend".
    assert found.since_boot == pytest.approx(float(Path("/proc/uptime").read_text().split()[0]), abs=1.0)


def test_the_machines_own_clock_unless_another_is_given() -> None:
    assert moment().wall == pytest.approx(time.time(), abs=1.0)


def test_a_clock_that_goes_back_leaves_the_time_since_the_start_alone() -> None:
    first, second = moment(lambda: 10**18), moment(lambda: 0)
    assert second.wall < first.wall
    assert second.since_boot >= first.since_boot


@pytest.mark.parametrize("content", [None, b"", b"\xff\n"], ids=["missing", "empty", "no text"])
def test_without_a_boot_id_there_is_no_moment(
    content: bytes | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "boot_id"
    if content is not None:
        path.write_bytes(content)
    monkeypatch.setattr(moments, "_BOOT_ID", path)
    moments._boot_id.cache_clear()
    try:
        with pytest.raises(NoBootId):
            moment()
    finally:
        moments._boot_id.cache_clear()
