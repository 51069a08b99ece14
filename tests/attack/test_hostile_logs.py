"""A log folder that an attacker has filled: the auditor's commands end, in bounded memory, and say what is wrong."""

import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from callgate.audit.chain import MAX_LINE_BYTES
from callgate.audit.findings import MAX_FINDINGS, Code
from callgate.audit.lines import UnusableInput
from callgate.audit.places import Places, segment_name
from callgate.audit.proving import prove
from callgate.audit.segments import UnreadableLog
from callgate.audit.verify import Verdict, verify
from support.tampering import KEY, LogFiles, made_log

FIRST = segment_name(0)
HEAD = b'{"v":1,"seq":%d,"prev":"%s","time":"x","kind":"intent","x":%s}'


@pytest.fixture
def files() -> LogFiles:
    return LogFiles.of(made_log(20), segment_records=10, every=4)


def log(folder: Path) -> Path:
    return Path(Places(folder).log)


def checkpoints(folder: Path) -> Path:
    return Path(Places(folder).checkpoints)


def codes(verdict: Verdict) -> set[Code]:
    return {each.code for each in verdict.findings}


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"\xff\xfe\x00",
        b"\x00" * 100,
        b"null",
        b"[]",
        b"1e999",
        b'"seq"',
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'{"seq":1}',
        b'{"seq":true,"prev":"' + b"0" * 64 + b'"}',
        b'{"seq":1.0,"prev":"' + b"0" * 64 + b'"}',
        b'{"seq":-1,"prev":"' + b"0" * 64 + b'"}',
        b'{"seq":' + b"9" * 400 + b',"prev":"' + b"0" * 64 + b'"}',
        b'{"seq":3,"prev":"' + b"g" * 64 + b'"}',
        b'{"seq":3,"prev":"' + b"A" * 64 + b'"}',
        b'{"seq":3,"prev":["' + b"0" * 64 + b'"]}',
        b'{"seq":3,"seq":4}',
        b"x" * (MAX_LINE_BYTES + 1),
        b"x" * (5 * MAX_LINE_BYTES),
    ],
)
def test_a_line_that_is_no_record_is_told_and_all_others_are_proved(
    files: LogFiles, tmp_path: Path, line: bytes
) -> None:
    files.change(3, line)
    verdict = verify(files.write(tmp_path / "audit"), KEY.verifier)

    assert [(each.code, each.first, each.last) for each in verdict.findings] == [(Code.UNREADABLE, 3, 3)]
    assert verdict.findings[0].line == 4
    assert verdict.covered.size == files.size


@pytest.mark.parametrize("nested", [b"[" * 900 + b"]" * 900, b'"' + b"x" * 900_000 + b'"', b"9" * 300])
def test_a_record_of_any_content_takes_its_place(files: LogFiles, tmp_path: Path, nested: bytes) -> None:
    files.change(3, HEAD % (3, files.lines[3][17:81], nested))
    verdict = verify(files.write(tmp_path / "audit"), KEY.verifier)

    assert {(each.code, each.first) for each in verdict.findings} <= {(Code.EDITED, 3), (Code.UNREADABLE, 3)}
    assert verdict.findings


@pytest.mark.parametrize("seq", [10**9, 2**63 - 1, 2**64 - 1])
def test_a_number_beyond_all_sense_costs_nothing(files: LogFiles, tmp_path: Path, seq: int) -> None:
    files.segments[max(files.segments)].append(HEAD % (seq, b"0" * 64, b"0"))
    verdict = verify(files.write(tmp_path / "audit"), KEY.verifier)

    assert codes(verdict) <= {Code.MISSING, Code.UNREADABLE}
    assert not verdict.is_whole
    assert verdict.covered.size == files.size - 1


class TestOtherThingsThanFiles:
    @pytest.mark.parametrize("place", ["segment", "checkpoints", "checkpoint"])
    @pytest.mark.parametrize(
        "what", ["folder", "fifo", "link", "link to /dev/zero", "link to nothing", "link to itself"]
    )
    def test_are_not_read_and_told(self, files: LogFiles, tmp_path: Path, place: str, what: str) -> None:
        folder = files.write(tmp_path / "audit")
        path = {
            "segment": log(folder) / segment_name(10),
            "checkpoints": checkpoints(folder) / segment_name(10),
            "checkpoint": Path(Places(folder).checkpoint),
        }[place]
        elsewhere = tmp_path / "elsewhere"
        path.rename(elsewhere)
        if what == "folder":
            path.mkdir()
        elif what == "fifo":
            os.mkfifo(path)
        else:
            targets: dict[str, str | Path] = {
                "link": elsewhere,
                "link to /dev/zero": "/dev/zero",
                "link to nothing": "/nothing",
            }
            path.symlink_to(targets.get(what, path.name))
        verdict = verify(folder, KEY.verifier)

        assert [each.file for each in verdict.findings if each.code is Code.NOT_A_FILE] == [str(path)]
        assert (Code.MISSING in codes(verdict)) == (place == "segment")

    def test_a_fifo_as_a_kept_checkpoint_does_not_hang(self, files: LogFiles, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "kept")

        with pytest.raises(UnusableInput):
            verify(files.write(tmp_path / "audit"), KEY.verifier, [tmp_path / "kept"])

    def test_no_proof_is_made_from_them(self, files: LogFiles, tmp_path: Path) -> None:
        folder = files.write(tmp_path / "audit")
        (log(folder) / segment_name(10)).unlink()
        os.mkfifo(log(folder) / segment_name(10))

        with pytest.raises((UnusableInput, UnreadableLog)):
            prove(folder, KEY.verifier, 12)


@pytest.mark.parametrize(
    "name", ["x", "0.jsonl", f"{FIRST}.bak", f".{FIRST}.swp", "-1.jsonl", "\u0660" * 16 + ".jsonl", "\x1b[31m\n\udcff"]
)
def test_a_name_that_is_no_segments_is_told_and_harms_nothing(files: LogFiles, tmp_path: Path, name: str) -> None:
    folder = files.write(tmp_path / "audit")
    (log(folder) / name).write_bytes(b"\0" * 100)
    (checkpoints(folder) / name).mkdir()
    verdict = verify(folder, KEY.verifier)

    assert verdict.is_whole
    (remark,) = verdict.remarks
    assert remark.code is Code.OTHER_FILE
    assert remark.text.isprintable()


@settings(max_examples=60, deadline=None)
@given(
    octets=st.binary(max_size=300),
    where=st.sampled_from(["log", "checkpoints", "checkpoint", "kept"]),
    in_front=st.booleans(),
)
def test_no_bytes_in_any_file_make_it_fail(
    octets: bytes, where: str, in_front: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = LogFiles.of(made_log(5), segment_records=8, every=3).write(tmp_path_factory.mktemp("log") / "audit")
    (folder / "kept").write_bytes(Path(Places(folder).checkpoint).read_bytes())
    path = {"log": log(folder) / FIRST, "checkpoints": checkpoints(folder) / FIRST}.get(where, folder / where)
    was = path.read_bytes()
    path.write_bytes(octets + was if in_front else was + octets)

    verdict = verify(folder, KEY.verifier, [folder / "kept"])

    assert where != "log" or in_front is False or not octets or not verdict.is_whole
    # All that is under the checkpoints is still proved, unless the head itself is gone.
    assert verdict.covered.checked > 0 or where == "log"


@settings(max_examples=60, deadline=None)
@given(octets=st.binary(max_size=2000))
def test_no_bytes_as_a_whole_file_make_it_fail(octets: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = LogFiles.of(made_log(5), segment_records=8, every=3).write(tmp_path_factory.mktemp("log") / "audit")
    (log(folder) / FIRST).write_bytes(octets + b"\n")

    assert not verify(folder, KEY.verifier).is_whole
    with pytest.raises((UnusableInput, UnreadableLog)):
        prove(folder, KEY.verifier, 3)


def test_a_hundred_thousand_strays_are_told_in_bounded_space(files: LogFiles, tmp_path: Path) -> None:
    lines = [HEAD % (number * 2, b"0" * 64, b"0") for number in range(50_000, 0, -1)]
    files.segments[max(files.segments)] += lines * 2
    verdict = verify(files.write(tmp_path / "audit"), KEY.verifier)

    assert len(verdict.findings) == MAX_FINDINGS
    assert verdict.more > 1000


@pytest.mark.parametrize("place", ["log", "checkpoints", "kept"])
def test_one_line_of_half_a_gigabyte_is_not_held_in_memory(files: LogFiles, tmp_path: Path, place: str) -> None:
    folder = files.write(tmp_path / "audit")
    (folder / "kept").write_bytes(Path(Places(folder).checkpoint).read_bytes())
    path = {"log": log(folder) / FIRST, "checkpoints": checkpoints(folder) / FIRST, "kept": folder / "kept"}[place]
    # No block of it is ever written to the disk.
    os.truncate(path, 512 * 1024 * 1024)
    program = (
        "import resource, sys\n"
        "from pathlib import Path\n"
        "from callgate.audit.checkpoint import VerifierKey\n"
        "from callgate.audit.verify import verify\n"
        "resource.setrlimit(resource.RLIMIT_DATA, (200 * 2**20, 200 * 2**20))\n"
        "folder = Path(sys.argv[1])\n"
        "verify(folder, VerifierKey.parse(sys.argv[2]), [folder / 'kept'])\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program, str(folder), KEY.vkey], check=False, capture_output=True, text=True, timeout=60
    )

    assert ran.returncode == 0, ran.stderr
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss > 0


def test_a_log_in_which_no_two_neighbours_fit_takes_no_longer_for_each_record_than_any_other(
    files: LogFiles, tmp_path: Path
) -> None:
    count = 30_000
    lines = (HEAD % (seq, f"{seq:064x}".encode(), b"0") for seq in range(count))
    folder = files.write(tmp_path / "audit")
    for path in [*log(folder).iterdir()]:
        path.unlink()
    (log(folder) / FIRST).write_bytes(b"".join(line + b"\n" for line in lines))
    began = time.process_time()
    verdict = verify(folder, KEY.verifier)

    # It was 20 s where each record cost as much as all findings before it.
    assert time.process_time() - began < 8
    assert len(verdict.findings) == MAX_FINDINGS
    assert len(verdict.findings) + verdict.more > count
