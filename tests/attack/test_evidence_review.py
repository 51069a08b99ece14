"""What a review of the evidence log found, each as whoever would make use of it does it."""

import errno
import os
import stat
import time
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import orjson
import pytest
import trio

from callgate.audit.chain import MAX_LINE_BYTES, Chain, Kind, Moment
from callgate.audit.checkpoint import MAX_UNSIGNED
from callgate.audit.disk import Piece, SegmentWriter
from callgate.audit.findings import Code
from callgate.audit.log import Receipt
from callgate.audit.log_terms import LogEvent
from callgate.audit.merkle import Tree, leaf_hash
from callgate.audit.opening import CannotOpenLog, open_log
from callgate.audit.places import Places, segment_name
from callgate.audit.policies import keep
from callgate.audit.proof import BadProof, check
from callgate.audit.proving import prove
from callgate.audit.verify import Verdict, verify
from callgate.errors import Refusal
from support.audit_logs import MadeLog
from support.kept_log import KEY, LIMITS, Told, call, kept_log, outcome_of, put, refusal_fields, until, whole
from support.tampering import KEY as MADE_KEY
from support.tampering import TIME, LogFiles, made_log

FIRST = segment_name(0)
# A tool server that streams for as long as it may, with each object of it on record.
ENDLESS = ["ab" * 32] * 20_000


def verdict_on(files: LogFiles, folder: Path) -> Verdict:
    return verify(files.write(folder / "log-of-tests"), MADE_KEY.verifier)


def codes(verdict: Verdict) -> list[Code]:
    return [each.code for each in verdict.findings]


# A record that no reader takes.


async def test_a_call_with_more_objects_than_a_record_holds_leaves_a_log_that_verifies_and_opens_again(
    tmp_path: Path,
) -> None:
    async with kept_log(tmp_path) as log:
        receipt = await log.receipt(put(log, 0))
        assert isinstance(receipt, Receipt)
        answer = {"sha256": "cd" * 32, "bytes": 1, "events": 1, "objects": ENDLESS}
        log.outcome(receipt.seq, {**outcome_of(receipt.decision), "answer": answer})
        acknowledged = await call(log, 1)
    async with kept_log(tmp_path) as log:
        await call(log, 2)

    records = whole(tmp_path)
    outcome = next(record for record in records if record.get("intent") == receipt.seq)
    assert len(orjson.dumps(outcome)) <= MAX_LINE_BYTES
    assert outcome["decision"] == receipt.decision
    assert 0 < len(outcome["answer"]["objects"]) < len(ENDLESS)
    assert records[acknowledged]["kind"] == "intent"
    assert "recovery" not in [record["kind"] for record in records]


# Whoever may write to the folder.


async def test_a_lock_file_that_was_deleted_lets_no_second_gate_in(tmp_path: Path) -> None:
    async with kept_log(tmp_path) as log:
        (tmp_path / "lock").unlink()
        with pytest.raises(CannotOpenLog, match="another gate writes to the log"):
            open_log(tmp_path, KEY)
        await call(log, 0)
    whole(tmp_path)


@pytest.mark.parametrize("place", ["checkpoint", f"log/{FIRST}"])
def test_a_fifo_in_the_folder_does_not_keep_a_gate_from_saying_that_it_cannot_start(tmp_path: Path, place: str) -> None:
    (tmp_path / "log").mkdir()
    os.mkfifo(tmp_path / place)
    # A checkpoint of which nothing is there is as good as none.
    with nullcontext() if place == "checkpoint" else pytest.raises(CannotOpenLog):
        open_log(tmp_path, KEY).close()


@pytest.mark.parametrize("place", ["checkpoint", f"log/{FIRST}"])
def test_a_link_in_the_folder_is_not_followed(tmp_path: Path, place: str) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("no log\n")
    folder = tmp_path / "audit"
    (folder / "log").mkdir(parents=True)
    (folder / place).symlink_to(elsewhere)

    with pytest.raises(CannotOpenLog):
        open_log(folder, KEY)
    assert elsewhere.read_text() == "no log\n"


async def test_what_is_cut_off_goes_into_a_file_that_nobody_else_reads_and_through_no_link(tmp_path: Path) -> None:
    async with kept_log(tmp_path) as log:
        await call(log, 0)
    path = Path(Places(tmp_path).log) / FIRST
    path.write_bytes(path.read_bytes() + b'{"v":1,"torn')
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("not ours")
    opened = open_log(tmp_path, KEY)
    opened.close()
    (kept,) = (tmp_path / "cut").iterdir()
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600

    kept.unlink()
    kept.symlink_to(elsewhere)
    open_log(tmp_path, KEY).close()
    assert elsewhere.read_text() == "not ours"
    assert kept.read_bytes() == b'{"v":1,"torn'


def test_a_policys_text_is_not_written_through_a_link(tmp_path: Path) -> None:
    (said,) = keep(tmp_path / "first", [("policy.yaml", "version: 1\n")])
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("not ours")
    policies = Path(Places(tmp_path / "second").policies)
    policies.mkdir(parents=True)
    (policies / f"{said['sha256']}.new").symlink_to(elsewhere)

    with pytest.raises(OSError, match="symbolic link"):
        keep(tmp_path / "second", [("policy.yaml", "version: 1\n")])
    assert elsewhere.read_text() == "not ours"


async def test_no_checkpoint_is_signed_while_the_segment_is_not_where_it_belongs(tmp_path: Path) -> None:
    path, away = Path(Places(tmp_path).log) / FIRST, tmp_path / "away"
    told, limits = Told(), replace(LIMITS, checkpoint_records=1)
    async with kept_log(tmp_path, limits, told=told) as log:
        await call(log, 0)
        path.rename(away)
        refused = await log.receipt(put(log, 1))
        assert isinstance(refused, Refusal)
        assert refused.detail == "ENOENT"
        size = log.checkpoint_size
        # Time for several tries.
        await trio.sleep(10 * LIMITS.retry_s)
        assert (log.available, log.checkpoint_size) == (False, size)
        away.rename(path)
        await until(lambda: log.available)
        await call(log, 2)
    assert [event for event, _ in told.events] == [LogEvent.OPENED, LogEvent.UNAVAILABLE, LogEvent.AVAILABLE]
    whole(tmp_path)


async def test_no_call_goes_out_and_nothing_is_signed_once_the_segment_is_another_file(tmp_path: Path) -> None:
    path, copy = Path(Places(tmp_path).log) / FIRST, tmp_path / "copy"
    async with kept_log(tmp_path, replace(LIMITS, checkpoint_records=1)) as log:
        await call(log, 0)
        size = log.checkpoint_size
        copy.write_bytes(path.read_bytes())
        # As `sed -i` does.
        copy.replace(path)
        assert isinstance(await log.receipt(put(log, 1)), Refusal)
        await trio.sleep(10 * LIMITS.retry_s)
        assert (log.available, log.checkpoint_size) == (False, size)
    open_log(tmp_path, KEY).close()


def test_a_close_that_fails_leaves_the_next_file_with_that_number_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer, close = SegmentWriter(tmp_path), os.close
    writer.append((Piece(segment_name(0), 0, b"a\n"),))

    def failing(fd: int) -> None:
        close(fd)
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patched:
        patched.setattr(os, "close", failing)
        writer.close()
    others = os.open(tmp_path / "others", os.O_RDWR | os.O_CREAT)
    writer.close()
    os.fstat(others)
    os.close(others)
    writer.append((Piece(segment_name(0), 2, b"b\n"), Piece(segment_name(2), 0, b"c\n")))
    writer.close()
    assert [(tmp_path / segment_name(number)).read_bytes() for number in (0, 2)] == [b"a\nb\n", b"c\n"]


async def test_a_gate_does_not_take_over_and_sign_what_somebody_wrote_behind_its_last_checkpoint(
    tmp_path: Path,
) -> None:
    async with kept_log(tmp_path) as log:
        await call(log, 0)
    add_forged(tmp_path, Kind.CLOCK, {"step_us": 1}, MAX_UNSIGNED + 1)

    with pytest.raises(CannotOpenLog, match=f"{MAX_UNSIGNED + 1} records follow the last checkpoint"):
        open_log(tmp_path, KEY)


async def test_a_gate_does_not_take_over_a_request_that_somebody_added_after_the_signed_end(tmp_path: Path) -> None:
    async with kept_log(tmp_path) as log:
        await call(log, 0)
    add_forged(tmp_path, Kind.REFUSAL, refusal_fields(0), 1)

    with pytest.raises(CannotOpenLog, match="tells of a request after the gate had ended"):
        open_log(tmp_path, KEY)


async def test_a_gate_does_not_take_over_an_approval_that_somebody_added_after_the_signed_end(tmp_path: Path) -> None:
    async with kept_log(tmp_path) as log:
        await call(log, 0)
    add_forged(tmp_path, Kind.APPROVAL, {"happening": "approved", "approval": "ad" * 16}, 1)

    with pytest.raises(CannotOpenLog, match="tells of a request after the gate had ended"):
        open_log(tmp_path, KEY)


def add_forged(folder: Path, kind: Kind, fields: Mapping[str, object], count: int) -> None:
    """Add records to a log as somebody can who has its folder, and not its key."""
    path, chain = Path(Places(folder).log) / FIRST, Chain()
    for line in path.read_bytes().splitlines():
        chain.take(leaf_hash(line))
    at = Moment(time.time_ns(), 0)
    path.write_bytes(path.read_bytes() + b"".join(chain.extend(kind, fields, at) for _ in range(count)))


# Whoever put the log back to an earlier state for a while.


def test_checkpoints_that_were_kept_for_long_and_went_back_once_are_a_finding(tmp_path: Path) -> None:
    files = LogFiles.of(made_log(10), segment_records=1000, every=5)
    folder = files.write(tmp_path / "audit")
    root = Tree()
    for line in files.lines:
        root.append(leaf_hash(line))
    line = orjson.dumps({"time": TIME, "note": MADE_KEY.sign(files.size, root.root())}) + b"\n"
    # What the log was meanwhile: signed, fewer records, and other ones.
    other = orjson.dumps({"time": TIME, "note": MADE_KEY.sign(files.size - 1, b"x" * 32)}) + b"\n"
    kept = tmp_path / "kept"
    kept.write_bytes(line * 10_001 + other)

    assert codes(verify(folder, MADE_KEY.verifier, [kept])) == [Code.CHECKPOINT_BACKWARDS]


# Whoever has the key, and wants two people to read two things.


def relink(files: LogFiles, number: int) -> None:
    """Have the records after that one name the ones before them, and sign it all."""
    for later in range(number + 1, files.size):
        files.edit(later, prev=leaf_hash(files.lines[later - 1]).hex())
    files.sign([files.size])


def doubled(line: bytes) -> bytes:
    """The same record for a parser that takes the last of two members of one name; others take the first."""
    return line.replace(b'"kind":', b'"kind":"stop","kind":', 1)


@pytest.mark.parametrize(
    "change",
    [doubled, lambda line: line.replace(b":", b": ", 1), lambda line: line.replace(b'"intent"', b'"inten\\u0074"', 1)],
    ids=["a name twice", "a blank", "an escape"],
)
def test_a_signed_record_that_can_be_read_in_two_ways_is_found_and_not_proved(tmp_path: Path, change: object) -> None:
    assert callable(change)
    files = LogFiles.of(made_log(3), segment_records=1000, every=1000)
    number = next(at for at, line in enumerate(files.lines) if b'"kind":"intent"' in line)
    files.change(number, change(files.lines[number]))
    relink(files, number)

    assert [(each.code, each.first) for each in verdict_on(files, tmp_path).findings] == [(Code.FORMAT, number)]
    proof, _ = prove(tmp_path / "log-of-tests", MADE_KEY.verifier, number + 1)
    assert not isinstance(check(proof, MADE_KEY.verifier), BadProof)
    with pytest.raises(Exception, match="not what the checkpoint"):
        prove(tmp_path / "log-of-tests", MADE_KEY.verifier, number)


@pytest.mark.parametrize("again", [True, False])
def test_a_signed_log_in_which_a_call_ends_twice_or_as_another_is_found(tmp_path: Path, *, again: bool) -> None:
    log = MadeLog()
    log.start()
    log.call(orphan=True)
    place = len(log.records) - 1
    log.outcome(place)
    log.call()
    if again:
        log.outcome(place)
    files = LogFiles.of(log, segment_records=1000, every=1000)
    number = max(at for at, line in enumerate(files.lines) if b'"kind":"outcome"' in line)
    if not again:
        files.rewrite(number, decision="0" * 32)
        files.sign([files.size])

    assert [(each.code, each.first) for each in verdict_on(files, tmp_path).findings] == [(Code.FORMAT, number)]
