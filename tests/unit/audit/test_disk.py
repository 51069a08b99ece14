"""The end of the log on disk, under writes that fail in every way, at any moment."""

import errno
import os
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from callgate.audit.disk import Gap, Piece, SegmentWriter, add_line, replace_file
from callgate.audit.places import segment_name
from support.failing_disk import FailingDisk

FIRST, SECOND = segment_name(0), segment_name(7)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> FailingDisk:
    return FailingDisk(monkeypatch)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "log"
    path.mkdir()
    return path


def test_pieces_go_to_their_segments_one_after_the_other(folder: Path) -> None:
    writer = SegmentWriter(folder)
    writer.append((Piece(FIRST, 0, b"a\n"), Piece(FIRST, 2, b"b\n"), Piece(SECOND, 0, b"c\n")))
    writer.append((Piece(SECOND, 2, b"d\n"),))
    assert (folder / FIRST).read_bytes() == b"a\nb\n"
    assert (folder / SECOND).read_bytes() == b"c\nd\n"


def test_a_segment_is_for_its_owner_alone(folder: Path) -> None:
    SegmentWriter(folder).append((Piece(FIRST, 0, b"a\n"),))
    assert stat.S_IMODE((folder / FIRST).stat().st_mode) == 0o600


def test_what_stands_after_the_end_is_cut_off_by_the_first_write(folder: Path) -> None:
    (folder / FIRST).write_bytes(b"a\ntorn")
    SegmentWriter(folder, FIRST, 2).append((Piece(FIRST, 2, b"b\n"),))
    assert (folder / FIRST).read_bytes() == b"a\nb\n"


def test_what_is_durable_already_is_not_written_again(folder: Path, disk: FailingDisk) -> None:
    writer = SegmentWriter(folder)
    group = (Piece(FIRST, 0, b"a\n"), Piece(SECOND, 0, b"b\n"))
    writer.append(group)
    before = disk.syncs
    writer.append(group)
    assert disk.syncs == before


def test_records_that_are_missing_before_the_next_ones_are_a_fault(folder: Path) -> None:
    writer = SegmentWriter(folder)
    writer.append((Piece(FIRST, 0, b"a\n"),))
    for piece in (Piece(FIRST, 3, b"c\n"), Piece(SECOND, 1, b"c\n")):
        with pytest.raises(Gap):
            writer.append((piece,))


@pytest.mark.parametrize("spoil", [Path.unlink, lambda path: path.write_bytes(b"a")])
def test_a_segment_that_lost_what_it_held_is_not_filled_with_zeros(
    folder: Path, disk: FailingDisk, spoil: Callable[[Path], object]
) -> None:
    writer = SegmentWriter(folder)
    writer.append((Piece(FIRST, 0, b"aaaaaaa\n"),))
    disk.tear(1, errno.EIO)
    group = (Piece(FIRST, 8, b"b\n"),)
    with pytest.raises(OSError, match="Input/output"):
        writer.append(group)
    spoil(folder / FIRST)
    left = {path.name: path.read_bytes() for path in folder.iterdir()}
    for _ in range(2):
        with pytest.raises(OSError, match=r"No such file|No data available"):
            writer.append(group)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == left


def test_a_link_in_the_place_of_a_segment_is_not_followed(folder: Path, tmp_path: Path) -> None:
    (folder / FIRST).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic"):
        SegmentWriter(folder).append((Piece(FIRST, 0, b"a\n"),))
    assert not (tmp_path / "elsewhere").exists()


def test_a_deleted_segment_is_noticed_by_looking(folder: Path) -> None:
    writer = SegmentWriter(folder)
    writer.look()
    writer.append((Piece(FIRST, 0, b"a\n"),))
    writer.look()
    (folder / FIRST).unlink()
    with pytest.raises(FileNotFoundError):
        writer.look()


# Whatever fails, and however often.


class Writing(RuleBasedStateMachine):
    """Groups of lines are written, as the log does it: each until the disk takes it, and then the next one."""

    @initialize()
    def begin(self) -> None:
        self.directory = TemporaryDirectory()
        self.folder = Path(self.directory.name) / "log"
        self.folder.mkdir()
        self.patch = pytest.MonkeyPatch()
        self.disk = FailingDisk(self.patch)
        self.writer = SegmentWriter(self.folder)
        # What the log holds, by segment: all that was ever put in, and how much of it was acknowledged.
        self.put: dict[str, bytes] = {}
        self.known: dict[str, int] = {}
        self.records = 0
        self.segment = ""
        self.waiting: list[Piece] = []

    @rule(count=st.integers(1, 5), size=st.integers(1, 9000))
    def put_records(self, count: int, size: int) -> None:
        if not self.segment:
            self.begin_segment()
        for _ in range(count):
            line = str(self.records % 10).encode() * size + b"\n"
            self.waiting.append(Piece(self.segment, len(self.put[self.segment]), line))
            self.put[self.segment] += line
            self.records += 1

    @rule()
    def begin_segment(self) -> None:
        self.segment = segment_name(self.records)
        self.put.setdefault(self.segment, b"")

    @rule(room=st.integers(0, 20_000))
    def fill_the_disk(self, room: int) -> None:
        self.disk.fill_up(room)

    @rule(count=st.integers(0, 20_000), number=st.sampled_from([errno.EIO, errno.EROFS]))
    def tear_a_write(self, count: int, number: int) -> None:
        self.disk.tear(count, number)

    @rule()
    def lose_what_is_not_durable(self) -> None:
        self.disk.lose()

    @rule()
    def fail_syncs(self) -> None:
        self.disk.fail_syncs(errno.EIO)

    @rule()
    def mend(self) -> None:
        self.disk.mend()

    @rule()
    def write(self) -> None:
        group = tuple(self.waiting)
        with suppress(OSError):
            self.writer.append(group)
            self.acknowledge(group)

    def acknowledge(self, group: tuple[Piece, ...]) -> None:
        for piece in group:
            self.known[piece.segment] = piece.offset + len(piece.lines)
        self.waiting.clear()

    @rule()
    def kill_and_begin_anew(self) -> None:
        """The next process knows what was acknowledged, and puts what was not into it as its own."""
        self.disk.mend()
        self.writer.close()
        last = max(self.known, default="")
        self.writer = SegmentWriter(self.folder, last, self.known.get(last, 0))

    @invariant()
    def what_was_acknowledged_is_there(self) -> None:
        for segment, size in getattr(self, "known", {}).items():
            assert (self.folder / segment).read_bytes()[:size] == self.put[segment][:size]

    @invariant()
    def once_the_disk_is_well_nothing_else_is_there(self) -> None:
        if getattr(self, "waiting", None):
            return
        for segment, size in getattr(self, "known", {}).items():
            assert (self.folder / segment).stat().st_size == size

    def teardown(self) -> None:
        if hasattr(self, "patch"):
            self.disk.mend()
            group = tuple(self.waiting)
            self.writer.append(group)
            self.acknowledge(group)
            self.what_was_acknowledged_is_there()
            assert {path.name: path.read_bytes() for path in self.folder.iterdir()} == {
                segment: lines for segment, lines in self.put.items() if lines
            }
            self.writer.close()
            self.patch.undo()
            self.directory.cleanup()


Writing.TestCase.settings = settings(max_examples=80, stateful_step_count=30, deadline=None)
TestWriting = Writing.TestCase


# The files beside it.


def test_a_line_is_added_to_a_file(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    for line in (b"a\n", b"b\n"):
        add_line(path, line)
    assert path.read_bytes() == b"a\nb\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("rest", [b"x", b"torn" * 40_000, b"\0" * 100])
@pytest.mark.parametrize("before", [b"", b"a\n", b"a\n" * 60_000])
def test_part_of_a_line_is_taken_off_before_the_next_one(tmp_path: Path, before: bytes, rest: bytes) -> None:
    path = tmp_path / "lines"
    path.write_bytes(before + rest[: 60 * 1024])
    add_line(path, b"next\n")
    assert path.read_bytes() == before + b"next\n"


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "checkpoint"
    replace_file(path, b"old")
    write = os.write
    taken: list[int] = []

    def full_after_two_bytes(fd: int, content: memoryview) -> int:
        if taken:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        taken.append(write(fd, content[:2]))
        return taken[0]

    monkeypatch.setattr(os, "write", full_after_two_bytes)
    with pytest.raises(OSError, match="No space"):
        replace_file(path, b"newer")
    assert path.read_bytes() == b"old"
    monkeypatch.undo()
    replace_file(path, b"newer")
    assert path.read_bytes() == b"newer"
    assert [each.name for each in tmp_path.iterdir()] == ["checkpoint"]
