"""Deleting content: what is told before it goes, and what is never touched."""

import os
from pathlib import Path

import pytest

from callgate.audit.retention import Keep
from callgate.audit.sweep import GROUP, Doomed, sweep
from support.auditors import files_below, object_file

NOW_S = 1_767_787_200.5
HOUR_S = 3600
KEEP = Keep(age_s=24 * HOUR_S, size=10**6)


def stored(folder: Path, number: int, age_s: int = 0, size: int = 100) -> str:
    digest = f"{number % 256:02x}{number:062x}"
    file = object_file(folder, digest)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(b"x" * size)
    os.utime(file, (NOW_S, NOW_S - age_s))
    return digest


def swept(folder: Path, keep: Keep = KEEP) -> list[Doomed]:
    return [step for step in sweep(folder, keep, NOW_S) if step is not None]


@pytest.fixture
def aged(tmp_path: Path) -> tuple[Path, str, str]:
    """A folder with an object that is too old and one that is not."""
    return tmp_path, stored(tmp_path, 1, 25 * HOUR_S), stored(tmp_path, 2, 23 * HOUR_S)


def test_an_object_that_is_too_old_is_told_and_deleted(aged: tuple[Path, str, str]) -> None:
    folder, old, young = aged
    assert swept(folder) == [Doomed("age", (old,))]
    assert files_below(folder) == [object_file(folder, young)]


def test_objects_beyond_the_size_are_told_and_deleted_oldest_first(tmp_path: Path) -> None:
    digests = [stored(tmp_path, number, number * HOUR_S, 300_000) for number in range(6)]
    (doomed,) = swept(tmp_path)
    assert doomed.why == "size"
    assert set(doomed.digests) == set(digests[3:])
    assert files_below(tmp_path) == sorted(object_file(tmp_path, digest) for digest in digests[:3])


def test_an_object_is_still_there_when_it_is_told_and_gone_with_the_next_step(aged: tuple[Path, str, str]) -> None:
    folder, old, _ = aged
    steps = sweep(folder, KEEP, NOW_S)
    doomed = next(step for step in steps if step is not None)
    assert object_file(folder, old).exists()
    assert old in doomed.digests
    assert list(steps) == []
    assert not object_file(folder, old).exists()


def test_nothing_is_deleted_where_the_record_could_not_be_written(aged: tuple[Path, str, str]) -> None:
    folder, old, _ = aged
    steps = sweep(folder, KEEP, NOW_S)
    next(step for step in steps if step is not None)
    steps.close()  # type: ignore[attr-defined]  # a generator: as when the loop over it ends by an exception
    assert object_file(folder, old).exists()


def test_all_that_goes_is_told_once_in_groups(tmp_path: Path) -> None:
    digests = {stored(tmp_path, number, 25 * HOUR_S, 1) for number in range(2 * GROUP + 10)}
    groups = swept(tmp_path)
    assert [len(group.digests) for group in groups] == [GROUP, GROUP, 10]
    assert {digest for group in groups for digest in group.digests} == digests
    assert files_below(tmp_path) == []


def test_a_second_sweep_finds_nothing(aged: tuple[Path, str, str]) -> None:
    swept(aged[0])
    assert swept(aged[0]) == []


def test_a_sweep_that_was_left_off_is_completed_by_the_next(tmp_path: Path) -> None:
    digests = {stored(tmp_path, number, 25 * HOUR_S, 1) for number in range(GROUP + 5)}
    steps = sweep(tmp_path, KEEP, NOW_S)
    told = [next(step for step in steps if step is not None)]
    next(steps)
    del steps
    told += swept(tmp_path)
    assert {digest for doomed in told for digest in doomed.digests} == digests
    assert files_below(tmp_path) == []


def test_a_step_looks_at_few_entries(tmp_path: Path) -> None:
    for number in range(1000):
        stored(tmp_path, number * 256)
    assert len(list(sweep(tmp_path, KEEP, NOW_S))) >= 4


def test_a_log_without_content_has_nothing_to_sweep(tmp_path: Path) -> None:
    assert swept(tmp_path) == []


@pytest.mark.parametrize("with_its_folder", [False, True])
def test_an_object_that_somebody_else_deleted_meanwhile_keeps_none_of_the_others(
    tmp_path: Path, with_its_folder: bool
) -> None:
    digests = [stored(tmp_path, number, 25 * HOUR_S) for number in range(3)]
    for step in sweep(tmp_path, KEEP, NOW_S):
        if step is not None:
            assert set(step.digests) == set(digests)
            other = object_file(tmp_path, step.digests[0])
            other.unlink()
            if with_its_folder:
                other.parent.rmdir()
    assert files_below(tmp_path) == []


def test_nothing_but_objects_is_ever_deleted(tmp_path: Path) -> None:
    content = tmp_path / "content"
    digest = "ab" * 32
    others = [
        tmp_path / "log" / "0000000000000000.jsonl",
        tmp_path / "key.pem",
        content / f"{'0' * 32}.new",
        content / f"{digest}.age",
        content / "ab" / digest,
        content / "ab" / f"{digest}.age.txt",
        content / "ab" / f"{digest[:-1]}.age",
        content / "ab" / f"{digest.upper()}.age",
        content / "ab" / f"{digest}.age\n",
        content / "cd" / f"{digest}.age",
        content / "abc" / f"{digest}.age",
        content / "a" / f"{digest}.age",
        content / "AB" / f"{digest}.age",
        content / "ab" / "ab" / f"{digest}.age",
        content / "ef",
    ]
    for path in others:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * 100)
        os.utime(path, (0, 0))
    (content / "12" / f"12{digest[2:]}.age").mkdir(parents=True)
    assert swept(tmp_path, Keep(age_s=0, size=0)) == []
    assert files_below(tmp_path) == sorted(others)
    assert (content / "12" / f"12{digest[2:]}.age").is_dir()
