"""Proofs of inclusion, against pymerkle's and by trying to forge them."""

import json
from base64 import b64encode
from pathlib import Path

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymerkle import InmemoryTree  # type: ignore[import-untyped]  # it has no types

from callgate.audit.lines import UnusableInput
from callgate.audit.merkle import Tree, leaf_hash, root_from_inclusion
from callgate.audit.places import Places, segment_name
from callgate.audit.proof import (
    MAX_PROOF_BYTES,
    BadProof,
    Proof,
    Range,
    check,
    inclusion_ranges,
    peak_ranges,
)
from callgate.audit.proving import prove
from support.tampering import KEY, OTHER_KEY, LogFiles, made_log

SIZE = 70
RECORDS = [str(number).encode() for number in range(SIZE)]
# Another implementation of RFC 6962; it counts leaves from 1.
INDEPENDENT = InmemoryTree.init_from_entries(RECORDS)


def root(first: int, last: int) -> bytes:
    tree = Tree()
    for record in RECORDS[first:last]:
        tree.append(leaf_hash(record))
    return tree.root()


def hashes(ranges: list[Range]) -> tuple[bytes, ...]:
    return tuple(root(*each) for each in ranges)


def independent_path(proof: object) -> list[str]:
    return list(proof.serialize()["path"])  # type: ignore[attr-defined]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return LogFiles.of(made_log(40), segment_records=17, every=5).write(tmp_path / "audit")


def record_of(log: Path, number: int) -> bytes:
    lines = [line for path in sorted(Path(Places(log).log).iterdir()) for line in path.read_bytes().splitlines()]
    return lines[number]


@pytest.mark.parametrize("size", range(1, SIZE + 1))
def test_the_root_is_the_one_that_another_implementation_finds(size: int) -> None:
    assert root(0, size) == INDEPENDENT.get_root(size)


@pytest.mark.parametrize("size", range(1, SIZE + 1))
def test_inclusion_is_proved_by_the_hashes_that_another_implementation_gives(size: int) -> None:
    for index in range(size):
        path = hashes(inclusion_ranges(index, size))
        # Its path begins with the leaf itself.
        assert [each.hex() for each in path] == independent_path(INDEPENDENT.prove_inclusion(index + 1, size))[1:]
        assert root_from_inclusion(leaf_hash(RECORDS[index]), index, size, path) == root(0, size)


@pytest.mark.parametrize("size", range(SIZE))
def test_peaks_cover_all_leaves_from_left_to_right(size: int) -> None:
    tree = Tree()
    for record in RECORDS[:size]:
        tree.append(leaf_hash(record))

    assert hashes(list(peak_ranges(size))) == tree.peaks


def test_every_record_of_a_log_has_a_proof_that_verifies_without_the_log(log: Path) -> None:
    for number in range(50):
        proof, under = prove(log, KEY.verifier, number)
        read = Proof.parse(str(proof))

        assert isinstance(read, Proof)
        assert check(read, KEY.verifier) == under
        assert read.record == record_of(log, number)
        assert orjson.loads(read.record)["seq"] == number


def test_a_proof_has_the_form_of_c2sp_tlog_proof(log: Path) -> None:
    proof, _ = prove(log, KEY.verifier, 7)
    first, extra, index, *path = str(proof).split("\n\n")[0].split("\n")

    assert first == "c2sp.org/tlog-proof@v1"
    assert extra == "extra " + b64encode(record_of(log, 7)).decode()
    assert index == "index 7"
    assert len(path) == 4
    assert str(proof).endswith(proof.note)


def test_a_proof_is_made_under_the_first_checkpoint_after_the_record(log: Path) -> None:
    # One each five records.
    assert [prove(log, KEY.verifier, number)[1].size for number in (0, 4, 5, 16, 17)] == [5, 5, 10, 20, 20]


@settings(deadline=None)
@given(data=st.data())
def test_no_other_proof_verifies(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = LogFiles.of(made_log(10), segment_records=100, every=9).write(tmp_path_factory.mktemp("log") / "audit")
    text = str(prove(folder, KEY.verifier, data.draw(st.integers(0, 10)))[0])
    index = data.draw(st.integers(0, len(text) - 1))
    other = text[:index] + data.draw(st.characters()) + text[index + data.draw(st.integers(0, 1)) :]
    if other == text:
        return
    proof = Proof.parse(other)

    assert isinstance(proof, BadProof) or isinstance(check(proof, KEY.verifier), BadProof)


def test_a_proof_is_none_under_another_key_or_with_another_record(log: Path) -> None:
    proof, _ = prove(log, KEY.verifier, 7)
    other = Proof(7, record_of(log, 8), proof.path, proof.note)
    elsewhere = Proof(6, proof.record, proof.path, proof.note)

    assert isinstance(check(proof, OTHER_KEY.verifier), BadProof)
    assert isinstance(check(other, KEY.verifier), BadProof)
    assert isinstance(check(elsewhere, KEY.verifier), BadProof)


def test_a_record_that_gives_itself_another_number_is_not_proved() -> None:
    files = LogFiles.of(made_log(5), segment_records=100, every=100)
    files.edit(3, seq=2)
    files.sign([files.size])
    proof, note = files.lines[3], files.notes[0][-1]
    tree = [leaf_hash(line) for line in files.lines]
    path = []
    for first, last in inclusion_ranges(3, files.size):
        part = Tree()
        for leaf in tree[first:last]:
            part.append(leaf)
        path.append(part.root())

    found = check(Proof(3, proof, tuple(path), note), KEY.verifier)

    assert isinstance(found, BadProof)
    assert "another number" in found.why


@pytest.mark.parametrize(
    "text",
    [
        "",
        "c2sp.org/tlog-proof@v2\nextra e30=\nindex 0\n\n",
        "c2sp.org/tlog-proof@v1\nindex 0\n\n",
        "c2sp.org/tlog-proof@v1\nextra e30=\nindex 00\n\n",
        "c2sp.org/tlog-proof@v1\nextra e30=\nindex -1\n\n",
        "c2sp.org/tlog-proof@v1\nextra e30=\nindex " + "9" * 5000 + "\n\n",
        "c2sp.org/tlog-proof@v1\nextra e31=\nindex 0\n\n",
        "c2sp.org/tlog-proof@v1\nextra e30=\nindex 0\nAAAA\n\n",
        "c2sp.org/tlog-proof@v1\nextra e30=\nindex 0\n" + "A" * 43 + "=\n" * 70 + "\n",
        "c2sp.org/tlog-proof@v1\r\nextra e30=\r\nindex 0\r\n\r\n",
        "x" * (MAX_PROOF_BYTES + 1),
    ],
)
def test_what_is_no_proof_is_refused(text: str) -> None:
    assert isinstance(Proof.parse(text), BadProof)


def test_a_record_that_is_not_there_has_no_proof(log: Path) -> None:
    with pytest.raises(UnusableInput, match="there is no record 5000"):
        prove(log, KEY.verifier, 5000)


def test_a_log_without_records_has_no_proof(tmp_path: Path) -> None:
    with pytest.raises(UnusableInput, match="there is no record 0"):
        prove(LogFiles({}, {}).write(tmp_path / "audit"), KEY.verifier, 0)


def test_a_record_that_was_cut_off_has_no_proof(log: Path) -> None:
    for path in Path(Places(log).log).iterdir():
        if path.name >= segment_name(34):
            path.unlink()

    with pytest.raises(UnusableInput, match="the log ends before record 40, and a checkpoint tells of 45"):
        prove(log, KEY.verifier, 40)


def test_a_record_that_is_not_yet_signed_has_no_proof(tmp_path: Path) -> None:
    files = LogFiles.of(made_log(10), segment_records=100, every=100)
    files.sign([5])

    with pytest.raises(UnusableInput, match="no checkpoint of this key covers record 5"):
        prove(files.write(tmp_path / "audit"), KEY.verifier, 5)


@pytest.mark.parametrize("edited", [20, 21])
def test_a_log_that_was_changed_proves_nothing(tmp_path: Path, edited: int) -> None:
    files = LogFiles.of(made_log(40), segment_records=17, every=5)
    files.edit(edited, mono_us=0)

    with pytest.raises(UnusableInput, match="is not what the checkpoint over 25 records signs"):
        prove(files.write(tmp_path / "audit"), KEY.verifier, 21)


def test_a_file_without_its_head_proves_nothing(tmp_path: Path) -> None:
    files = LogFiles.of(made_log(40), segment_records=17, every=5)
    files.segments[17].pop(0)

    with pytest.raises(UnusableInput, match=f"{segment_name(17)} does not begin with the head of a file"):
        prove(files.write(tmp_path / "audit"), KEY.verifier, 21)


def test_a_proof_reads_nothing_of_the_files_before_its_record(tmp_path: Path) -> None:
    folder = LogFiles.of(made_log(40), segment_records=17, every=5).write(tmp_path / "audit")
    for place in (Places(folder).log, Places(folder).checkpoints):
        (Path(place) / segment_name(0)).write_bytes(b"\xff")

    assert json.loads(prove(folder, KEY.verifier, 21)[0].record)["seq"] == 21
