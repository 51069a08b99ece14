"""Where a log ends, whatever the process that wrote it was doing, and what must not be gone on with."""

import json
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest

from callgate.audit.checkpoint import CheckpointKey
from callgate.audit.merkle import Tree, leaf_hash
from callgate.audit.opening import CannotOpenLog, Opened, open_log
from callgate.audit.places import Places, segment_name
from support.audit_logs import ORIGIN, MadeLog
from support.crashes import records_in
from support.kept_log import KEY, kept_log, kinds, verdict_on, whole

CALLS = 6


def made(calls: int = CALLS, *, orphans: int = 0) -> MadeLog:
    log = MadeLog()
    log.start()
    for _ in range(calls):
        log.call()
    for _ in range(orphans):
        log.call(orphan=True)
    return log


def lay(folder: Path, log: MadeLog, *, signed: int | None = None, segment_records: int = 1_000_000) -> list[bytes]:
    """Write its files, with a checkpoint over the first `signed` records; all lines."""
    places = Places(folder)
    Path(places.log).mkdir(parents=True)
    segments = log.lines(segment_records)
    first = 0
    for lines in segments:
        (Path(places.log) / segment_name(first)).write_bytes(b"".join(lines))
        first += len(lines)
    every = [line for lines in segments for line in lines]
    if signed is not None:
        Path(places.checkpoint).write_text(note_over(every[:signed]))
    return every


def note_over(lines: list[bytes], key: CheckpointKey = KEY) -> str:
    tree = Tree()
    for line in lines:
        tree.append(leaf_hash(line[:-1]))
    return key.sign(tree.size, tree.root())


def opened(folder: Path, key: CheckpointKey = KEY) -> Opened:
    """What is found; the folder is let go of again."""
    found = open_log(folder, key)
    found.close()
    return found


def last_file(folder: Path) -> Path:
    return max((folder / "log").iterdir())


def test_a_folder_without_a_log_becomes_one(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "audit"
    found = opened(folder)
    assert (found.end.chain.size, found.end.segment, found.cut) == (0, "", None)
    assert folder.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("signed", [None, 1, 7, 14])
@pytest.mark.parametrize("segment_records", [1_000, 5, 7])
def test_the_end_is_found_from_any_checkpoint_and_without_one(
    tmp_path: Path, signed: int | None, segment_records: int
) -> None:
    log = made(orphans=2)
    lines = lay(tmp_path, log, signed=signed, segment_records=segment_records)
    end = opened(tmp_path).end
    assert end.chain.size == len(lines)
    assert end.chain.prev == leaf_hash(lines[-1][:-1]).hex()
    assert end.segment == last_file(tmp_path).name
    assert end.segment_bytes == last_file(tmp_path).stat().st_size
    assert end.segments == len(list((tmp_path / "log").iterdir()))
    intents = [json.loads(line) for line in lines if json.loads(line)["kind"] == "intent"]
    assert end.open_intents == {each["seq"]: each["decision"] for each in intents[-2:]}
    tree = Tree()
    for line in lines:
        tree.append(leaf_hash(line[:-1]))
    assert end.chain.tree.root() == tree.root()


# Records that are not whole.


def test_wherever_the_last_record_is_cut_the_log_ends_before_it(tmp_path: Path) -> None:
    lines = made().lines()[0]
    for cut in range(1, len(lines[-1])):
        folder = tmp_path / str(cut)
        (folder / "log").mkdir(parents=True)
        rest = lines[-1][:cut]
        (folder / "log" / segment_name(0)).write_bytes(b"".join(lines[:-1]) + rest)
        found = opened(folder)
        assert found.end.chain.size == len(lines) - 1
        assert found.cut is not None
        assert (found.cut.size, found.cut.sha256) == (cut, sha256(rest).hexdigest())
        assert (folder / "cut" / f"{found.cut.sha256}.bin").read_bytes() == rest


@pytest.mark.parametrize(
    "rest",
    [
        b"garbage\n",
        b"\xff\xfe\x00\n" * 1000,
        b"[]\n",
        b"{}\n",
        b'{"seq":13}\n',
        b"\0" * 50 + b"x",
        b"x" * 3_000_000,
        b"\n",
    ],
    ids=range(8),
)
async def test_what_is_no_record_is_cut_off_kept_and_on_record(tmp_path: Path, rest: bytes) -> None:
    lines = lay(tmp_path, made(), signed=5)
    with last_file(tmp_path).open("ab") as file:
        file.write(rest)
    async with kept_log(tmp_path):
        pass
    records = whole(tmp_path)
    assert kinds(records)[len(lines) :] == ["recovery", "start", "stop"]
    recovery = records[len(lines)]
    assert (recovery["cut_bytes"], recovery["cut_sha256"]) == (len(rest), sha256(rest).hexdigest())
    assert (tmp_path / "cut" / f"{recovery['cut_sha256']}.bin").read_bytes() == rest


async def test_space_that_was_never_written_to_is_no_loss(tmp_path: Path) -> None:
    lines = lay(tmp_path, made(), signed=5)
    with last_file(tmp_path).open("ab") as file:
        file.write(b"\0" * 4096)
    async with kept_log(tmp_path):
        pass
    assert kinds(whole(tmp_path))[len(lines) :] == ["start", "stop"]


def test_a_record_that_is_a_copy_of_another_is_cut_off(tmp_path: Path) -> None:
    lines = lay(tmp_path, made())
    with last_file(tmp_path).open("ab") as file:
        file.write(lines[-2])
    found = opened(tmp_path)
    assert found.end.chain.size == len(lines)
    assert found.cut is not None


def test_an_intent_without_a_time_that_can_be_read_is_no_record_and_no_open_call(tmp_path: Path) -> None:
    lines = lay(tmp_path, made(orphans=1))
    spoiled = lines[-1].replace(b'"time":"2026', b'"time":"20x6')
    last_file(tmp_path).write_bytes(b"".join(lines[:-1]) + spoiled)
    found = opened(tmp_path)
    assert found.end.chain.size == len(lines) - 1
    assert found.end.open_intents == {}


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"{",
        b"\0" * 300,
        b'{"kind":"segment"}\n',
        b"garbage\n",
        b'{"kind":"segment","segment":3,"seq":16,"prev":"0"}\n',
    ],
    ids=range(6),
)
async def test_a_segment_that_was_only_just_begun_is_as_if_it_was_not(tmp_path: Path, head: bytes) -> None:
    lines = lay(tmp_path, made(), signed=5, segment_records=6)
    assert len(lines) == 16
    (tmp_path / "log" / segment_name(len(lines))).write_bytes(head)
    found = opened(tmp_path)
    assert found.end.chain.size == len(lines)
    assert found.end.segment == last_file(tmp_path).name
    async with kept_log(tmp_path):
        pass
    whole(tmp_path)
    # And again, after more files.
    async with kept_log(tmp_path):
        pass
    whole(tmp_path)


async def test_a_first_segment_that_was_only_just_begun_is_as_if_it_was_not(tmp_path: Path) -> None:
    for head in (b"", b"{"):
        (tmp_path / "log").mkdir(exist_ok=True)
        (tmp_path / "log" / segment_name(0)).write_bytes(head)
        found = opened(tmp_path)
        assert (found.end.chain.size, found.end.segment, found.end.segments) == (0, "", 0)
    async with kept_log(tmp_path):
        pass
    assert kinds(whole(tmp_path)) == ["segment", "start", "stop"]


def test_a_process_that_is_killed_before_it_wrote_what_it_cut_off_leaves_that_to_the_next(tmp_path: Path) -> None:
    lay(tmp_path, made(), signed=5)
    with last_file(tmp_path).open("ab") as file:
        file.write(b"torn")
    first, second = opened(tmp_path), opened(tmp_path)
    assert first.cut == second.cut
    assert first.cut is not None


# Logs that were changed.


def edit(line: bytes) -> bytes:
    return line.replace(b'"ledger"', b'"lodger"') if b'"ledger"' in line else line.replace(b'"v":1', b'"v":2')


@pytest.mark.parametrize("number", range(12))
@pytest.mark.parametrize("segment_records", [1_000, 5])
def test_a_record_that_was_edited_under_a_checkpoint_is_not_gone_on_with(
    tmp_path: Path, number: int, segment_records: int
) -> None:
    lines = lay(tmp_path, made(), signed=12, segment_records=segment_records)
    # What is in files before the one that the checkpoint falls into, `callgate audit verify` finds.
    held = (12 - 1) // segment_records * segment_records
    path = max(each for each in (tmp_path / "log").iterdir() if int(each.stem) <= number)
    path.write_bytes(path.read_bytes().replace(lines[number], edit(lines[number])))
    before = {each: each.read_bytes() for each in (tmp_path / "log").iterdir()}
    if number < held:
        assert not verdict_on(tmp_path).is_whole
        return
    with pytest.raises(CannotOpenLog, match=r"not as the gate left it: .* `callgate audit verify` tells more"):
        opened(tmp_path)
    assert {each: each.read_bytes() for each in (tmp_path / "log").iterdir()} == before


def _cut_end(folder: Path) -> None:
    path = last_file(folder)
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))


def _delete_last_file(folder: Path) -> None:
    last_file(folder).unlink()


def _delete_all(folder: Path) -> None:
    for path in (folder / "log").iterdir():
        path.unlink()


def _tear_middle_file(folder: Path) -> None:
    path = sorted((folder / "log").iterdir())[-2]
    path.write_bytes(path.read_bytes()[:-5])


def _empty_middle_file(folder: Path) -> None:
    sorted((folder / "log").iterdir())[-2].write_bytes(b"")


def _remove_line(folder: Path) -> None:
    path = last_file(folder)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([lines[0], *lines[2:]]))


@pytest.mark.parametrize(
    "change", [_cut_end, _delete_last_file, _delete_all, _tear_middle_file, _empty_middle_file, _remove_line]
)
def test_a_log_that_lacks_what_a_checkpoint_tells_of_is_not_gone_on_with(
    tmp_path: Path, change: Callable[[Path], None]
) -> None:
    every = lay(tmp_path, made(8), segment_records=7)
    # It falls into the middle file for what is done to that one.
    signed = 13 if change in {_tear_middle_file, _empty_middle_file} else len(every)
    Path(Places(tmp_path).checkpoint).write_text(note_over(every[:signed]))
    opened(tmp_path)
    change(tmp_path)
    with pytest.raises(CannotOpenLog, match="not as the gate left it"):
        opened(tmp_path)


def test_a_checkpoint_of_another_key_is_told_in_words(tmp_path: Path) -> None:
    lines = lay(tmp_path, made())
    Path(Places(tmp_path).checkpoint).write_text(note_over(lines, CheckpointKey.generate(ORIGIN)))
    with pytest.raises(CannotOpenLog, match="is it the right key and origin"):
        opened(tmp_path)


@pytest.mark.parametrize("left", ["", "\0" * 300, "\n"])
def test_a_checkpoint_that_a_power_failure_left_empty_is_as_if_there_was_none(tmp_path: Path, left: str) -> None:
    lines = lay(tmp_path, made())
    Path(Places(tmp_path).checkpoint).write_text(left)
    assert opened(tmp_path).end.chain.size == len(lines)


# Folders that cannot be used.


def test_a_folder_of_another_gate_is_refused_and_left_alone(tmp_path: Path) -> None:
    lay(tmp_path, made())
    with last_file(tmp_path).open("ab") as file:
        file.write(b"half a rec")
    held = open_log(tmp_path, KEY)
    with pytest.raises(CannotOpenLog, match=f"another gate writes to the log in {tmp_path}"):
        open_log(tmp_path, KEY)
    held.close()
    opened(tmp_path)


def test_a_lock_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(CannotOpenLog, match="symbolic link"):
        opened(tmp_path)
    assert not (tmp_path / "elsewhere").exists()


def test_a_file_where_the_folder_should_be_is_told_in_words(tmp_path: Path) -> None:
    (tmp_path / "audit").write_text("")
    with pytest.raises(CannotOpenLog, match=r"cannot open the log in .*audit: (File exists|Not a directory)"):
        opened(tmp_path / "audit")


def test_what_is_not_a_segment_by_its_name_is_left_alone(tmp_path: Path) -> None:
    lines = lay(tmp_path, made())
    for name in ("notes.txt", "1.jsonl", "0000000000000000.jsonl.gz", "x000000000000000.jsonl"):
        (tmp_path / "log" / name).write_text("theirs")
    assert opened(tmp_path).end.chain.size == len(lines)


def test_after_a_refusal_nothing_is_held(tmp_path: Path) -> None:
    lines = lay(tmp_path, made())
    Path(Places(tmp_path).checkpoint).write_text(note_over([*lines, lines[-1]]))
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(3):
        with pytest.raises(CannotOpenLog):
            opened(tmp_path)
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    Path(Places(tmp_path).checkpoint).unlink()
    opened(tmp_path)
    assert len(records_in(tmp_path)) == len(lines)
