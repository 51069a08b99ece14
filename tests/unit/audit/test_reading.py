"""Reading a log from its files: from either end, while it grows, and where it is damaged."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest

from callgate.audit.chain import MAX_LINE_BYTES
from callgate.audit.checkpoint import CheckpointKey
from callgate.audit.entries import MAX_WAITING
from callgate.audit.places import segment_name
from callgate.audit.reading import (
    UnreadableLog,
    find_entries,
    find_entry,
    follow,
    has_torn_end,
    read_entries,
    read_last,
    read_records,
    size_of,
    start_of,
)
from support.audit_logs import BEGAN_NS, ORIGIN, MadeLog

T = TypeVar("T")
KEY = CheckpointKey.generate(ORIGIN)


def some_calls(count: int) -> MadeLog:
    """Calls and refusals in turns, and a call that has not ended."""
    log = MadeLog()
    log.start()
    for number in range(count):
        if number % 3 == 2:
            log.refusal(tool=f"tool_{number}")
        else:
            log.call(tool=f"tool_{number}")
    log.call(orphan=True)
    return log


def written(folder: Path, log: MadeLog, segment_records: int = 1_000_000) -> Path:
    log.write(folder, KEY, segment_records=segment_records)
    return folder


def files(folder: Path) -> list[Path]:
    return sorted((folder / "log").iterdir())


def seqs(folder: Path, start: int = 0) -> list[object]:
    return [record["seq"] for record in read_records(folder, start=start)]


def until_fault(reading: Iterator[T]) -> tuple[list[T], str]:
    """What came, and what was said where no more could be read."""
    found: list[T] = []
    try:
        for each in reading:
            found.append(each)  # noqa: PERF402  # it raises
    except UnreadableLog as error:
        return found, str(error)
    raise AssertionError("all of it could be read")


def give_up() -> bool:
    return False


@pytest.mark.parametrize("segment_records", [2, 7, 1000])
def test_records_come_in_order_over_all_files_from_any_start(tmp_path: Path, segment_records: int) -> None:
    folder = written(tmp_path / "audit", some_calls(20), segment_records)
    count = len(seqs(folder))
    for start in range(count + 2):
        assert seqs(folder, start) == list(range(start, count))


@pytest.mark.parametrize("segment_records", [2, 7, 1000])
def test_the_same_entries_come_from_either_end(tmp_path: Path, segment_records: int) -> None:
    folder = written(tmp_path / "audit", some_calls(30), segment_records)
    forwards = list(read_entries(folder))
    assert len(forwards) == 31
    assert list(read_last(folder))[::-1] == forwards


def test_lines_that_span_blocks_are_read_from_either_end(tmp_path: Path) -> None:
    log = MadeLog()
    for length in (10, 300_000, 262_144, 700_000, 5):
        log.refusal(detail_of_the_test="x" * length)
    folder = written(tmp_path / "audit", log)
    assert [len(str(entry.record["detail_of_the_test"])) for entry in read_last(folder)] == [
        5,
        700_000,
        262_144,
        300_000,
        10,
    ]
    assert list(read_last(folder))[::-1] == list(read_entries(folder))


def test_an_outcome_that_came_much_later_still_stands_with_its_intent(tmp_path: Path) -> None:
    log = MadeLog()
    long_calls = [_open_call(log) for _ in range(2)]
    for _ in range(MAX_WAITING + 10):
        log.refusal()
    for place in long_calls:
        log.outcome(place, status="cancelled")
    folder = written(tmp_path / "audit", log, 1000)
    entries = list(read_entries(folder))
    assert [entry.status for entry in entries[:3]] == ["cancelled", "cancelled", "refused"]
    assert len(entries) == MAX_WAITING + 12


def _open_call(log: MadeLog) -> int:
    log.call(orphan=True)
    return len(log.records) - 1


def test_a_line_without_an_end_is_no_record_yet(tmp_path: Path) -> None:
    folder = written(tmp_path / "audit", some_calls(4))
    whole = files(folder)[-1].read_bytes()
    before = seqs(folder)
    files(folder)[-1].write_bytes(whole[:-1])
    assert seqs(folder) == before[:-1]
    assert size_of(folder) == len(before) - 1
    assert next(iter(read_last(folder))).status != "open"
    assert has_torn_end(folder)


def test_a_whole_log_has_no_torn_end(tmp_path: Path) -> None:
    folder = written(tmp_path / "audit", some_calls(4), 3)
    assert not has_torn_end(folder)
    assert size_of(folder) == len(seqs(folder))


def test_a_log_without_files_is_empty(tmp_path: Path) -> None:
    (tmp_path / "log").mkdir()
    assert seqs(tmp_path) == []
    assert size_of(tmp_path) == 0
    assert list(read_last(tmp_path)) == []
    assert not has_torn_end(tmp_path)


def test_a_folder_without_a_log_is_no_empty_log(tmp_path: Path) -> None:
    with pytest.raises(UnreadableLog, match="there is no log to read in"):
        seqs(tmp_path)


def _not_json(lines: list[bytes]) -> list[bytes]:
    return [*lines[:3], b"{nonsense\n", *lines[4:]]


def _no_object(lines: list[bytes]) -> list[bytes]:
    return [*lines[:3], b"[]\n", *lines[4:]]


def _dropped(lines: list[bytes]) -> list[bytes]:
    return [*lines[:3], *lines[4:]]


def _doubled(lines: list[bytes]) -> list[bytes]:
    return [*lines[:3], lines[2], *lines[3:]]


@pytest.mark.parametrize("damage", [_not_json, _no_object, _dropped, _doubled])
def test_damage_is_named_and_what_comes_before_is_given_out(
    tmp_path: Path, damage: Callable[[list[bytes]], list[bytes]]
) -> None:
    folder = written(tmp_path / "audit", some_calls(6))
    (file,) = files(folder)
    file.write_bytes(b"".join(damage(file.read_bytes().splitlines(keepends=True))))
    read, fault = until_fault(read_records(folder))
    assert "there is no record 3 where it should be" in fault
    assert [record["seq"] for record in read] == [0, 1, 2]
    with pytest.raises(UnreadableLog):
        list(read_last(folder))


def test_entries_that_wait_for_an_outcome_are_given_out_before_damage_is_told(tmp_path: Path) -> None:
    folder = written(tmp_path / "audit", some_calls(6))
    (file,) = files(folder)
    file.write_bytes(b"".join(file.read_bytes().splitlines(keepends=True)[:3]) + b"nonsense\n")
    found, fault = until_fault(read_entries(folder))
    assert "no record 3" in fault
    assert [(entry.tool, entry.status) for entry in found] == [("tool_0", "open")]


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    folder = written(tmp_path / "audit", some_calls(10), 5)
    files(folder)[1].unlink()
    with pytest.raises(UnreadableLog, match="the records 5 to 9 are missing"):
        seqs(folder)
    with pytest.raises(UnreadableLog, match="there is no record 9"):
        list(read_last(folder))
    with pytest.raises(UnreadableLog, match="the records 5 to 9 are missing"):
        list(follow(folder, give_up))


def test_old_files_may_have_been_moved_away(tmp_path: Path) -> None:
    folder = written(tmp_path / "audit", some_calls(10), 5)
    count = len(seqs(folder))
    files(folder)[0].unlink()
    assert seqs(folder) == list(range(5, count))
    assert seqs(folder, 2) == list(range(5, count))


def test_a_line_that_breaks_off_amid_the_log_is_damage(tmp_path: Path) -> None:
    folder = written(tmp_path / "audit", some_calls(10), 5)
    files(folder)[0].write_bytes(files(folder)[0].read_bytes() + b'{"v":1,')
    with pytest.raises(UnreadableLog, match="breaks off"):
        seqs(folder)


def test_a_line_without_end_takes_no_more_memory_than_a_record(tmp_path: Path) -> None:
    folder = written(tmp_path / "audit", some_calls(3))
    files(folder)[0].write_bytes(b"x" * (20 * MAX_LINE_BYTES))
    for reading in (read_records, read_last):
        with pytest.raises(UnreadableLog, match="a line is longer than a record can be"):
            list(reading(folder))


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    folder = written(tmp_path / "audit", some_calls(3))
    (file,) = files(folder)
    file.unlink()
    file.mkdir()
    with pytest.raises(UnreadableLog, match="cannot be read: Is a directory"):
        seqs(folder)


class Writer:
    """Writes the lines of a log as a gate does: file after file, each line in two parts."""

    def __init__(self, folder: Path, segments: list[list[bytes]]) -> None:
        self._folder = folder / "log"
        self._folder.mkdir(parents=True)
        self._segments = segments
        self.done = threading.Event()

    def run(self) -> None:
        first = 0
        for lines in self._segments:
            with (self._folder / segment_name(first)).open("wb", buffering=0) as file:
                for line in lines:
                    file.write(line[:40])
                    file.write(line[40:])
            first += len(lines)
        self.done.set()


def test_following_gives_each_record_once_across_files_while_they_are_written(tmp_path: Path) -> None:
    segments = some_calls(600).lines(50)
    writer = Writer(tmp_path, segments)
    count = sum(map(len, segments))
    thread = threading.Thread(target=writer.run)

    def pause() -> bool:
        # Until all is written: whatever there is then comes before the next pause.
        if writer.done.is_set():
            return False
        writer.done.wait(0.001)
        return True

    thread.start()
    found = [record["seq"] for record in follow(tmp_path, pause)]
    thread.join()
    # What was written between the last reading and `done` is there for a second look.
    found += [record["seq"] for record in follow(tmp_path, give_up, start=len(found))]
    assert found == list(range(count))


def steps(*actions: Callable[[], object]) -> Callable[[], bool]:
    """A pause that does the next of these, and ends the following after them."""
    left: Iterator[Callable[[], object]] = iter(actions)

    def pause() -> bool:
        action = next(left, None)
        if action is None:
            return False
        action()
        return True

    return pause


def test_following_waits_for_the_end_of_a_torn_line(tmp_path: Path) -> None:
    ((*lines, last),) = some_calls(3).lines()
    file = tmp_path / "log" / segment_name(0)
    file.parent.mkdir()
    file.write_bytes(b"".join(lines) + last[:100])

    def complete() -> None:
        with file.open("ab") as more:
            more.write(last[100:])

    found = follow(tmp_path, steps(complete))
    assert [record["seq"] for record in found] == list(range(len(lines) + 1))


def test_following_reads_what_recovery_puts_in_the_place_of_a_torn_line(tmp_path: Path) -> None:
    ((*lines, last),) = some_calls(3).lines()
    file = tmp_path / "log" / segment_name(0)
    file.parent.mkdir()
    file.write_bytes(b"".join(lines) + b'{"v":1,"torn' + b"x" * 5000)

    def recover() -> None:
        file.write_bytes(b"".join([*lines, last]))

    found = follow(tmp_path, steps(recover))
    assert [record["seq"] for record in found] == list(range(len(lines) + 1))


def test_following_waits_for_the_first_file(tmp_path: Path) -> None:
    (tmp_path / "log").mkdir()
    (lines,) = some_calls(3).lines()
    file = tmp_path / "log" / segment_name(0)
    found = follow(tmp_path, steps(lambda: None, lambda: file.write_bytes(b"".join(lines))))
    assert [record["seq"] for record in found] == list(range(len(lines)))


def test_following_starts_where_it_is_told(tmp_path: Path) -> None:
    folder = written(tmp_path / "audit", some_calls(10), 4)
    count = len(seqs(folder))
    for start in (0, 3, 4, 9, count):
        assert [record["seq"] for record in follow(folder, give_up, start=start)] == list(range(start, count))


def test_an_entry_is_found_by_each_of_its_ids_and_with_its_outcome(tmp_path: Path) -> None:
    folder = written(tmp_path / "audit", some_calls(20), 4)
    for entry in read_entries(folder):
        assert find_entry(folder, decision=entry.decision) == entry
        assert find_entry(folder, trace=entry.trace) == entry
        assert find_entry(folder, seq=entry.seq) == entry
        if entry.jti:
            assert find_entry(folder, jti=entry.jti) == entry
        if entry.outcome is not None:
            number = entry.outcome["seq"]
            assert isinstance(number, int)
            assert find_entry(folder, seq=number) == entry


def test_nothing_is_found_by_an_id_that_is_not_there(tmp_path: Path) -> None:
    folder = written(tmp_path / "audit", some_calls(5))
    assert find_entry(folder, decision="00" * 16) is None
    assert find_entry(folder, trace="00" * 16) is None
    assert find_entry(folder, jti="nope") is None
    assert find_entry(folder, seq=0) is None
    assert find_entry(folder, seq=10**9) is None


def test_the_beginning_of_an_id_is_not_taken_for_the_id(tmp_path: Path) -> None:
    folder = written(tmp_path / "audit", some_calls(5))
    entry = next(read_entries(folder))
    assert find_entry(folder, decision=entry.decision[:8]) is None
    assert find_entries(folder, "decision", entry.decision[:8]) == [entry]


def test_all_requests_of_one_trace_are_found(tmp_path: Path) -> None:
    log = MadeLog()
    decisions = [log.call(trace="ab" * 16), log.refusal(trace="ab" * 16)]
    log.call()
    folder = written(tmp_path / "audit", log)
    assert [entry.decision for entry in find_entries(folder, "trace", "ab" * 16)] == decisions
    latest = find_entry(folder, trace="ab" * 16)
    assert latest is not None
    assert latest.decision == decisions[-1]


def test_an_id_within_a_text_that_a_caller_wrote_finds_nothing(tmp_path: Path) -> None:
    log = MadeLog()
    log.refusal(purpose=f'"decision":"{"ab" * 16}"')
    folder = written(tmp_path / "audit", log)
    assert find_entry(folder, decision="ab" * 16) is None


def test_files_that_are_too_old_are_passed_over(tmp_path: Path) -> None:
    log = MadeLog(step_ns=600 * 10**9)
    for _ in range(40):
        log.refusal()
    folder = written(tmp_path / "audit", log, 5)
    began_s = BEGAN_NS / 1e9
    assert start_of(folder, began_s) == 0
    start = start_of(folder, began_s + 6 * 3600)
    assert start > 0
    skipped = [entry for entry in read_entries(folder) if entry.seq < start]
    assert skipped
    assert all(entry.time.timestamp() < began_s + 6 * 3600 for entry in skipped)


def test_no_file_is_passed_over_behind_one_that_is_older_than_the_one_before(tmp_path: Path) -> None:
    log = MadeLog(step_ns=600 * 10**9)
    for number in range(40):
        # Where the second file begins.
        if number == 24:
            log.now_ns -= 365 * 86_400 * 10**9
        log.refusal()
    folder = written(tmp_path / "audit", log, 25)
    since_s = BEGAN_NS / 1e9 + 13_000
    assert any(entry.time.timestamp() >= since_s for entry in read_entries(folder))
    assert start_of(folder, since_s) == 0


def test_from_the_end_a_file_with_nothing_but_a_torn_line_holds_nothing(tmp_path: Path) -> None:
    (*lines,) = some_calls(3).lines(4)
    (tmp_path / "log").mkdir()
    (tmp_path / "log" / segment_name(0)).write_bytes(b"".join(lines[0]))
    (tmp_path / "log" / segment_name(4)).write_bytes(lines[1][0][:-1])
    assert [entry.seq for entry in read_last(tmp_path)] == [2]
    assert size_of(tmp_path) == 4
