"""Somebody who can write to the folder of recorded content, and what that gets them."""

import os
from pathlib import Path

import pytest

from callgate.audit.content import ContentStore, UnreadableContent, Why, read
from callgate.audit.retention import Keep
from callgate.audit.sweep import sweep
from support.auditors import Auditor, files_below, object_file

DIGEST = "ab" * 32
NOTHING_KEPT = Keep(age_s=0, size=0)
NOW_S = 2e9


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    """The folder of another log, with an object that anyone would take for one."""
    folder = tmp_path / "victim"
    file = object_file(folder, DIGEST)
    file.parent.mkdir(parents=True)
    file.write_bytes(b"evidence")
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "audit"
    folder.mkdir()
    return folder


def sweep_all(folder: Path) -> None:
    for _ in sweep(folder, NOTHING_KEPT, NOW_S):
        pass


def test_retention_deletes_nothing_behind_a_link_in_place_of_the_content_folder(folder: Path, victim: Path) -> None:
    (folder / "content").symlink_to(victim / "content")
    with pytest.raises(NotADirectoryError):
        sweep_all(folder)
    assert object_file(victim, DIGEST).exists()


def test_retention_deletes_nothing_behind_a_link_in_place_of_a_folder_of_objects(folder: Path, victim: Path) -> None:
    (folder / "content").mkdir()
    (folder / "content" / "ab").symlink_to(victim / "content" / "ab")
    sweep_all(folder)
    assert object_file(victim, DIGEST).exists()


def test_retention_leaves_a_link_in_place_of_an_object_and_what_it_points_to(folder: Path, victim: Path) -> None:
    link = object_file(folder, DIGEST)
    link.parent.mkdir(parents=True)
    link.symlink_to(object_file(victim, DIGEST))
    sweep_all(folder)
    assert link.is_symlink()
    assert object_file(victim, DIGEST).exists()


def test_retention_deletes_nothing_through_a_link_that_was_put_there_once_an_object_was_told(
    folder: Path, victim: Path
) -> None:
    own = object_file(folder, DIGEST)
    own.parent.mkdir(parents=True)
    own.write_bytes(b"of no use")
    steps = sweep(folder, NOTHING_KEPT, NOW_S)
    next(step for step in steps if step is not None)
    own.unlink()
    own.parent.rmdir()
    own.parent.symlink_to(victim / "content" / "ab")
    with pytest.raises(NotADirectoryError):
        next(steps)
    assert object_file(victim, DIGEST).exists()


def test_nothing_is_written_through_a_link_in_place_of_the_content_folder(folder: Path, victim: Path) -> None:
    (folder / "content").symlink_to(victim / "content")
    with pytest.raises(NotADirectoryError):
        Auditor().store(folder)
    assert files_below(victim) == [object_file(victim, DIGEST)]


def test_nothing_is_written_through_a_link_in_place_of_a_folder_of_objects(folder: Path, victim: Path) -> None:
    store = Auditor().store(folder)
    for number in range(256):
        (folder / "content" / f"{number:02x}").symlink_to(victim)
    with pytest.raises(NotADirectoryError):
        store.put(b"content")
    assert files_below(victim) == [object_file(victim, DIGEST)]
    assert files_below(folder) == []


def test_clearing_up_after_a_crash_takes_a_link_and_not_what_it_points_to(folder: Path, victim: Path) -> None:
    (folder / "content").mkdir()
    (folder / "content" / "x.new").symlink_to(object_file(victim, DIGEST))
    Auditor().store(folder)
    assert object_file(victim, DIGEST).exists()
    assert list((folder / "content").iterdir()) == []


def test_a_link_in_place_of_an_object_is_not_read(folder: Path) -> None:
    auditor = Auditor()
    digest = auditor.store(folder).put(b"content")
    moved = folder / "elsewhere"
    object_file(folder, digest).rename(moved)
    object_file(folder, digest).symlink_to(moved)
    with pytest.raises(UnreadableContent) as told:
        read(folder, digest, auditor.identities)
    assert told.value.why is Why.CHANGED


def test_a_pipe_in_place_of_an_object_keeps_no_auditor_waiting(folder: Path) -> None:
    auditor = Auditor()
    digest = auditor.store(folder).put(b"content")
    object_file(folder, digest).unlink()
    os.mkfifo(object_file(folder, digest))
    with pytest.raises(UnreadableContent) as told:
        read(folder, digest, auditor.identities)
    assert told.value.why is Why.CHANGED


def test_a_folder_in_place_of_an_object_is_told_as_changed(folder: Path) -> None:
    auditor = Auditor()
    digest = auditor.store(folder).put(b"content")
    object_file(folder, digest).unlink()
    object_file(folder, digest).mkdir()
    with pytest.raises(UnreadableContent) as told:
        read(folder, digest, auditor.identities)
    assert told.value.why is Why.CHANGED


def test_content_that_somebody_else_encrypted_to_the_auditor_is_not_taken_for_the_recorded_one(folder: Path) -> None:
    auditor = Auditor()
    digest = auditor.store(folder).put(b"refund of 500")
    forged = ContentStore(folder, [auditor.recipient]).put(b"refund of 5")
    object_file(folder, digest).write_bytes(object_file(folder, forged).read_bytes())
    with pytest.raises(UnreadableContent) as told:
        read(folder, digest, auditor.identities)
    assert told.value.why is Why.CHANGED
