"""Content objects: encrypted, named by their hash, durable, and read only if they are what was recorded."""

import os
import stat
import tracemalloc
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from callgate.audit.age import encrypt
from callgate.audit.content import ContentStore, UnreadableContent, Why, read
from callgate.audit.recipients import load_recipients
from support.auditors import Auditor, files_below, object_file

SECRET = b"sk_live_planted_51HxQ"


@pytest.fixture(scope="module")
def auditor() -> Auditor:
    return Auditor()


def why_unreadable(folder: Path, digest: str, auditor: Auditor) -> Why:
    with pytest.raises(UnreadableContent) as told:
        read(folder, digest, auditor.identities)
    assert digest in str(told.value)
    return told.value.why


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25, deadline=None)
@given(plaintext=st.binary(max_size=200))
def test_what_was_put_is_read_back(tmp_path: Path, auditor: Auditor, plaintext: bytes) -> None:
    digest = auditor.store(tmp_path).put(plaintext)
    assert read(tmp_path, digest, auditor.identities) == plaintext


def test_an_object_of_many_chunks_is_read_back(tmp_path: Path, auditor: Auditor) -> None:
    plaintext = os.urandom(3 * 1024 * 1024 + 17)
    assert read(tmp_path, auditor.store(tmp_path).put(plaintext), auditor.identities) == plaintext


def test_each_recipient_can_read_alone(tmp_path: Path) -> None:
    first, second = Auditor(), Auditor()
    digest = ContentStore(tmp_path, [first.recipient, second.recipient]).put(SECRET)
    assert read(tmp_path, digest, first.identities) == SECRET
    assert read(tmp_path, digest, second.identities) == SECRET


def test_an_object_is_named_by_the_hash_of_its_file(tmp_path: Path, auditor: Auditor) -> None:
    digest = auditor.store(tmp_path).put(SECRET)
    assert files_below(tmp_path) == [object_file(tmp_path, digest)]
    assert sha256(object_file(tmp_path, digest).read_bytes()).hexdigest() == digest


def test_the_same_content_twice_does_not_show_that_it_is_the_same(tmp_path: Path, auditor: Auditor) -> None:
    store = auditor.store(tmp_path)
    assert store.put(SECRET) != store.put(SECRET)


def test_threads_put_at_once(tmp_path: Path, auditor: Auditor) -> None:
    store = auditor.store(tmp_path)
    plaintexts = [b"%d" % number for number in range(64)]
    with ThreadPoolExecutor(8) as threads:
        digests = list(threads.map(store.put, plaintexts))
    assert [read(tmp_path, digest, auditor.identities) for digest in digests] == plaintexts


def test_a_large_object_is_encrypted_in_pieces_between_which_other_threads_run(auditor: Auditor) -> None:
    # C2SP age, "Payload": chunks of 64 KiB, each with a tag of 16 bytes.
    pieces = encrypt(bytes(2**20), load_recipients([auditor.recipient])).pieces
    assert max(map(len, pieces)) <= 64 * 1024 + 16
    assert len(pieces) > 16


def test_only_its_owner_can_open_what_is_written(tmp_path: Path, auditor: Auditor) -> None:
    before = os.umask(0)
    try:
        digest = auditor.store(tmp_path / "audit").put(SECRET)
    finally:
        os.umask(before)
    file = object_file(tmp_path / "audit", digest)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert {stat.S_IMODE(folder.stat().st_mode) for folder in (file.parent, file.parent.parent)} == {0o700}


def test_an_object_has_its_name_once_it_is_durable_and_is_told_of_once_its_name_is(
    tmp_path: Path, auditor: Auditor, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []

    def watched(what: str, real: Callable[..., None]) -> Callable[..., None]:
        def call(first: int | str, *rest: str, **options: int) -> None:
            real(first, *rest, **options)
            path = Path(f"/proc/self/fd/{first}").readlink() if isinstance(first, int) else Path(first)
            steps.append(f"{what} {path.suffix or path.name}")

        return call

    store = auditor.store(tmp_path)
    for name in ("fsync", "fdatasync", "rename"):
        monkeypatch.setattr(os, name, watched(name, getattr(os, name)))
    digest = store.put(SECRET)
    assert steps == ["fdatasync .new", "fsync content", "rename .new", f"fsync {digest[:2]}"]


def test_an_unfinished_file_is_encrypted_and_closed_to_others_like_a_finished_one(
    tmp_path: Path, auditor: Auditor, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[bool, int]] = []
    real = os.fdatasync

    def look(descriptor: int) -> None:
        real(descriptor)
        found = files_below(tmp_path)
        seen.extend((SECRET in path.read_bytes(), stat.S_IMODE(path.stat().st_mode)) for path in found)

    store = auditor.store(tmp_path)
    monkeypatch.setattr(os, "fdatasync", look)
    store.put(SECRET * 1000)
    assert seen == [(False, 0o600)]


def test_what_was_put_is_nowhere_in_the_folder_in_the_clear(tmp_path: Path, auditor: Auditor) -> None:
    store = auditor.store(tmp_path)
    for size in (1, 1000, 100_000):
        store.put(SECRET * size)
    found = files_below(tmp_path)
    assert len(found) == 3
    assert not any(SECRET in path.read_bytes() for path in found)


def test_what_a_crash_left_unfinished_is_cleared_away_at_the_start(tmp_path: Path, auditor: Auditor) -> None:
    digest = auditor.store(tmp_path).put(SECRET)
    left = tmp_path / "content" / f"{'0' * 32}.new"
    left.write_bytes(b"age-encryption.org/v1\n")
    auditor.store(tmp_path)
    assert files_below(tmp_path) == [object_file(tmp_path, digest)]


def test_a_folder_of_objects_that_was_taken_away_costs_one_failure(tmp_path: Path, auditor: Auditor) -> None:
    store = auditor.store(tmp_path)
    # As after a long time in which each of them was written to.
    store._settled.update(f"{number:02x}" for number in range(256))
    with pytest.raises(FileNotFoundError):
        store.put(SECRET)
    assert files_below(tmp_path) == []
    assert read(tmp_path, store.put(SECRET), auditor.identities) == SECRET


def test_a_missing_object_is_told_as_missing(tmp_path: Path, auditor: Auditor) -> None:
    digest = auditor.store(tmp_path).put(SECRET)
    object_file(tmp_path, digest).unlink()
    assert why_unreadable(tmp_path, digest, auditor) is Why.MISSING


@pytest.mark.parametrize("digest", ["", "../../etc/passwd", "ab" * 31, "AB" * 32, "ab" * 32 + "\n", "a/" * 32])
def test_a_name_that_is_no_hash_names_no_file(tmp_path: Path, auditor: Auditor, digest: str) -> None:
    assert why_unreadable(tmp_path, digest, auditor) is Why.MISSING


def test_a_name_that_leads_out_of_the_content_folder_is_not_followed(tmp_path: Path, auditor: Auditor) -> None:
    auditor.store(tmp_path / "audit")
    (tmp_path / "outside.age").write_bytes(b"")
    assert why_unreadable(tmp_path / "audit", "../outside", auditor) is Why.MISSING


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50, deadline=None)
@given(place=st.integers(0, 10_000), bit=st.integers(0, 7))
def test_one_changed_bit_is_told_as_changed(tmp_path: Path, auditor: Auditor, place: int, bit: int) -> None:
    digest = auditor.store(tmp_path).put(SECRET)
    file = bytearray(object_file(tmp_path, digest).read_bytes())
    file[place % len(file)] ^= 1 << bit
    object_file(tmp_path, digest).write_bytes(file)
    assert why_unreadable(tmp_path, digest, auditor) is Why.CHANGED


@pytest.mark.parametrize("kept", [0, 1, 100, -1])
def test_a_truncated_object_is_told_as_changed(tmp_path: Path, auditor: Auditor, kept: int) -> None:
    digest = auditor.store(tmp_path).put(SECRET)
    file = object_file(tmp_path, digest)
    file.write_bytes(file.read_bytes()[:kept])
    assert why_unreadable(tmp_path, digest, auditor) is Why.CHANGED


def test_another_object_of_the_same_store_in_its_place_is_told_as_changed(tmp_path: Path, auditor: Auditor) -> None:
    store = auditor.store(tmp_path)
    digest, other = store.put(SECRET), store.put(b"nothing of the kind")
    object_file(tmp_path, other).rename(object_file(tmp_path, digest))
    assert why_unreadable(tmp_path, digest, auditor) is Why.CHANGED


def test_a_larger_file_than_any_object_is_told_as_changed_without_being_read(tmp_path: Path, auditor: Auditor) -> None:
    digest = auditor.store(tmp_path).put(SECRET)
    os.truncate(object_file(tmp_path, digest), 2**40)
    tracemalloc.start()
    try:
        assert why_unreadable(tmp_path, digest, auditor) is Why.CHANGED
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 1024**2


def test_somebody_elses_key_is_told_as_no_key(tmp_path: Path, auditor: Auditor) -> None:
    digest = auditor.store(tmp_path).put(SECRET)
    assert why_unreadable(tmp_path, digest, Auditor()) is Why.NO_KEY


@pytest.mark.parametrize("cut", [False, True])
def test_a_recorded_file_that_is_not_age_is_told_as_malformed(tmp_path: Path, auditor: Auditor, cut: bool) -> None:
    whole = b"".join(encrypt(SECRET, load_recipients([auditor.recipient])).pieces)
    file = whole[:-5] if cut else b"not of that format"
    digest = sha256(file).hexdigest()
    object_file(tmp_path, digest).parent.mkdir(parents=True)
    object_file(tmp_path, digest).write_bytes(file)
    assert why_unreadable(tmp_path, digest, auditor) is Why.MALFORMED
