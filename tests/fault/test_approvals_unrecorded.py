"""What cannot be put on record does not count: no answer of a person, and no call that somebody agreed to."""

import errno
from pathlib import Path

import pytest
import trio

from support.approval_roads import LEADS, MONTH, WaitingCall, session, waiting_call
from support.described_tools import called
from support.failing_disk import FailingDisk

PATIENCE_S = 30.0
# AUDIT_UNAVAILABLE, as every reason of the kind.
UNAVAILABLE = -31503
OTHER = {"number": "INV-8", "amount": 1}


async def until_the_log_takes_records(at: WaitingCall) -> None:
    with trio.fail_after(PATIENCE_S):
        while (await at.ask("close_month", MONTH))["error"]["code"] == UNAVAILABLE:  # noqa: ASYNC110  # asked by HTTP
            await trio.sleep(0.05)


async def test_an_answer_that_the_log_does_not_take_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with waiting_call(tmp_path) as at:
        alice = session(await at.signs_in("alice@acme.test", LEADS))
        disk = FailingDisk(monkeypatch)
        disk.fail(errno.ENOSPC)
        with trio.fail_after(PATIENCE_S):
            assert await at.says(alice) == (503, "approvals_unavailable")
            assert await at.says(alice, "deny") == (503, "approvals_unavailable")
        disk.mend()
        await until_the_log_takes_records(at)
        await at.untouched()


async def test_an_approved_call_that_the_log_does_not_take_is_not_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with waiting_call(tmp_path) as at:
        await at.ask(arguments=OTHER)
        (waiting,) = [each for each in await at.local.waiting(2) if each["id"] != at.request["id"]]
        alice = session(await at.signs_in("alice@acme.test", LEADS))
        said = {"binding": waiting["binding"], "verdict": "approve", "reason": "", "cover": None}
        assert (await at.posts(alice, f"/api/v1/approvals/{waiting['id']}/decision", said)).status_code == 200
        disk = FailingDisk(monkeypatch)
        disk.fail(errno.ENOSPC)
        with trio.fail_after(PATIENCE_S):
            refused = await at.ask(arguments=OTHER)
        disk.mend()
        assert refused["error"]["code"] == UNAVAILABLE, refused
        assert called(at.at) == []
        await until_the_log_takes_records(at)
