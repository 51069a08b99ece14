"""What verifying tells of a log, case by case; test_tampering.py has whatever else may be done to one."""

import json
import os
from collections.abc import Sequence
from pathlib import Path

import orjson
import pytest

from callgate.audit.chain import Kind
from callgate.audit.checkpoint import MAX_UNSIGNED, CheckpointKey
from callgate.audit.findings import MAX_FINDINGS, Code
from callgate.audit.history import MAX_RIVALS
from callgate.audit.lines import PlainFile, UnusableInput
from callgate.audit.ordering import MAX_STRETCHES
from callgate.audit.places import Places, segment_name
from callgate.audit.verify import Verdict, verify
from support.audit_logs import ORIGIN, MadeLog
from support.tampering import KEY, OTHER_KEY, TIME, LogFiles, made_log


def files_of(calls: int = 20, *, segment_records: int = 10, every: int = 4) -> LogFiles:
    return LogFiles.of(made_log(calls), segment_records=segment_records, every=every)


def verdict_on(files: LogFiles, tmp_path: Path, kept: Sequence[str] = ()) -> Verdict:
    folder = files.write(tmp_path / "audit")
    paths = []
    for number, text in enumerate(kept):
        paths.append(tmp_path / f"kept-{number}")
        paths[-1].write_text(text)
    return verify(folder, KEY.verifier, paths)


def told(verdict: Verdict) -> list[tuple[Code, int, int]]:
    return [(each.code, each.first, each.last) for each in verdict.findings]


def remarks(verdict: Verdict) -> list[Code]:
    return [each.code for each in verdict.remarks]


def append(folder: Path, octets: bytes) -> Path:
    """To the last file."""
    path = max(Path(Places(folder).log).iterdir())
    with path.open("ab") as file:
        file.write(octets)
    return path


def test_a_whole_log_is_told_with_what_was_checked(tmp_path: Path) -> None:
    verdict = verdict_on(files := files_of(), tmp_path)

    assert verdict.is_whole
    assert verdict.records == verdict.covered.size == files.size
    assert verdict.segments == len(files.segments)
    assert verdict.first_time == "2026-01-07T12:00:00.050000000Z"
    assert verdict.last_time == orjson.loads(files.lines[-1])["time"]
    # The last one stands in two places.
    assert verdict.covered.checked == len([note for notes in files.notes.values() for note in notes]) + 1
    assert verdict.covered.checked_kept == verdict.covered.kept == 0


def test_the_gates_own_writer_makes_logs_that_are_whole(tmp_path: Path) -> None:
    made_log(50).write(tmp_path / "audit", KEY, segment_records=13)

    assert verify(tmp_path / "audit", KEY.verifier).is_whole


def test_progress_is_told_up_to_the_end(tmp_path: Path) -> None:
    said: list[tuple[int, int]] = []
    folder = files_of(4000, segment_records=6000, every=9999).write(tmp_path / "audit")
    verify(folder, KEY.verifier, progress=lambda done, size: said.append((done, size)))
    size = sum(path.stat().st_size for path in Path(Places(folder).log).iterdir())

    assert said[-1] == (size, size)
    assert 0 < said[0][0] < size


def test_records_after_the_last_checkpoint_are_counted_and_nothing_is_wrong(tmp_path: Path) -> None:
    files = files_of()
    files.sign([8, files.size - 3])
    verdict = verdict_on(files, tmp_path)

    assert verdict.is_whole
    assert [(each.code, each.text) for each in verdict.remarks] == [(Code.OPEN_END, "not yet under a checkpoint: 3")]
    assert verdict.covered.size == files.size - 3


def test_more_records_after_the_last_checkpoint_than_a_gate_leaves_are_a_finding(tmp_path: Path) -> None:
    files = LogFiles.of(made_log(2 * MAX_UNSIGNED), segment_records=9**9, every=9**9)
    files.sign([files.size - MAX_UNSIGNED - 1])

    assert told(verdict_on(files, tmp_path)) == [(Code.UNSIGNED, files.size - MAX_UNSIGNED - 1, files.size - 1)]


def test_a_log_without_any_checkpoint_is_not_whole(tmp_path: Path) -> None:
    files = files_of()
    files.notes = {}

    assert told(verdict_on(files, tmp_path)) == [(Code.UNSIGNED, -1, -1)]


def test_an_empty_log_is_whole(tmp_path: Path) -> None:
    verdict = verdict_on(LogFiles({}, {}), tmp_path)

    assert verdict.is_whole
    assert verdict.records == 0


def test_a_log_that_was_emptied_is_found_by_the_checkpoints_beside_it(tmp_path: Path) -> None:
    files = files_of()
    size = files.size
    files.segments = {}

    assert told(verdict_on(files, tmp_path)) == [(Code.CUT_OFF, 0, size - 1)]


@pytest.mark.parametrize("seq", [0, 1, 6, 8, 10**9])
def test_a_record_whose_number_alone_was_edited_is_told_by_the_number_it_had(tmp_path: Path, seq: int) -> None:
    files = files_of()
    files.edit(7, seq=seq)

    assert told(verdict_on(files, tmp_path)) == [(Code.EDITED, 7, 7)]


def test_more_copies_of_a_record_than_are_compared_are_each_told(tmp_path: Path) -> None:
    files = files_of()
    files.segments[0][6:6] = [files.lines[5].replace(b"acme", b"evil")] * (MAX_RIVALS + 2)
    verdict = verdict_on(files, tmp_path)

    assert told(verdict) == [(Code.INSERTED, 5, 5)] * (MAX_RIVALS + 2)
    assert verdict.covered.size == files.size - MAX_RIVALS - 2


def test_a_copy_after_the_last_record_is_told_apart_by_the_checkpoint(tmp_path: Path) -> None:
    files = files_of()
    lines = files.segments[max(files.segments)]
    lines.insert(len(lines) - 1, lines[-1].replace(b"acme", b"evil"))
    verdict = verdict_on(files, tmp_path)

    assert [(each.code, each.line) for each in verdict.findings] == [(Code.INSERTED, len(lines) - 1)]
    assert verdict.covered.size == files.size - 1


def test_more_gaps_than_are_put_together_with_what_stands_elsewhere_are_all_counted(tmp_path: Path) -> None:
    files = files_of(2 * MAX_STRETCHES, segment_records=9**9, every=9**9)
    size = files.size
    del files.segments[0][1:-1:2]
    verdict = verdict_on(files, tmp_path)

    assert {each.code for each in verdict.findings} == {Code.MISSING}
    assert len(verdict.findings) + verdict.more == size - files.size > MAX_STRETCHES
    # Each of them is known by the hash that the next one names.
    assert verdict.covered.size == size


def test_lines_at_the_end_that_are_no_records_are_told(tmp_path: Path) -> None:
    files = files_of()
    size = files.size
    files.segments[max(files.segments)] += [b"{}", b"[]"]
    verdict = verdict_on(files, tmp_path)

    assert [(each.code, each.first, each.last) for each in verdict.findings] == [(Code.UNREADABLE, size, size + 1)]
    assert verdict.covered.size == size


def test_a_log_that_never_ends_a_call_is_followed_in_bounded_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("callgate.audit.headers.MAX_OPEN", 5)
    made = MadeLog()
    made.start()
    for _ in range(30):
        made.call(orphan=True)

    # The lists in the heads are longer than any gate's.
    codes = {each.code for each in verdict_on(LogFiles.of(made, segment_records=10, every=5), tmp_path).findings}
    assert codes == {Code.HEADER}


class TestMissingFiles:
    def test_a_file_in_the_middle(self, tmp_path: Path) -> None:
        files = files_of()
        del files.segments[10]
        verdict = verdict_on(files, tmp_path)

        assert told(verdict) == [(Code.MISSING, 10, 19)]
        assert verdict.findings[0].text == "records 10 to 19 are missing, and 1 whole file with them"
        # The head of the next one says what the tree was: all after it is proved.
        assert verdict.covered.size == files.size + 10
        assert remarks(verdict) == [Code.UNCHECKED]

    def test_the_first_file(self, tmp_path: Path) -> None:
        files = files_of()
        del files.segments[0]

        assert told(verdict_on(files, tmp_path)) == [(Code.MISSING, 0, 9)]

    def test_the_last_file(self, tmp_path: Path) -> None:
        files = files_of()
        size = files.size
        del files.segments[max(files.segments)]

        assert told(verdict_on(files, tmp_path)) == [(Code.CUT_OFF, files.size, size - 1)]

    def test_a_file_that_was_renamed(self, tmp_path: Path) -> None:
        files = files_of()
        files.segments[15] = files.segments.pop(10)
        (finding,) = verdict_on(files, tmp_path).findings

        assert (finding.code, finding.first) == (Code.HEADER, 10)
        assert "is not the one that its file is named after" in finding.text


class TestHeads:
    @pytest.mark.parametrize(
        ("fields", "words"),
        [
            ({"origin": "gate.evil.test/audit"}, "names another log than the key does"),
            ({"segment": 7}, "does not number its file as the next one"),
            ({"segment": True}, "does not number its file as the next one"),
            ({"open": [[3, "00" * 16]]}, "lists other calls under way than the records before it"),
            ({"open": [[3]]}, "does not list the calls that are under way"),
            ({"open": [["3", "00" * 16]]}, "does not list the calls that are under way"),
            ({"open": {}}, "does not list the calls that are under way"),
            ({"peaks": []}, "does not say what the tree is over the records before it"),
            ({"peaks": ["00" * 32, "11" * 32]}, "says that the tree over the records before it is another than it is"),
        ],
    )
    def test_a_head_that_says_what_is_not_so_is_found_although_the_key_signed_it(
        self, tmp_path: Path, fields: dict[str, object], words: str
    ) -> None:
        files = files_of()
        files.rewrite(10, **fields)
        files.sign([8, 12, files.size])
        verdict = verdict_on(files, tmp_path)

        assert [(each.code, each.first, words in each.text) for each in verdict.findings] == [(Code.HEADER, 10, True)]
        assert verdict.covered.size == files.size

    def test_a_head_within_a_file_is_found(self, tmp_path: Path) -> None:
        files = files_of()
        files.segments[0] += files.segments.pop(10)
        files.sign([files.size])
        verdict = verdict_on(files, tmp_path)

        assert [(each.code, each.first) for each in verdict.findings] == [(Code.HEADER, 10)]

    def test_a_file_that_does_not_begin_with_a_head_is_found(self, tmp_path: Path) -> None:
        files = files_of()
        files.segments[5] = files.segments[0][5:]
        del files.segments[0][5:]

        assert told(verdict_on(files, tmp_path)) == [(Code.HEADER, 5, 5)]

    def test_the_head_of_the_log_of_another_gate_is_found(self, tmp_path: Path) -> None:
        files = files_of(5, segment_records=100)
        files.rewrite(0, origin="other.acme.test/audit")
        files.sign([files.size])

        assert told(verdict_on(files, tmp_path)) == [(Code.HEADER, 0, 0)]


class TestFormat:
    @pytest.mark.parametrize(
        ("fields", "words"),
        [
            ({"v": 2}, "is not of format 1"),
            ({"v": True}, "is not of format 1"),
            ({"kind": "gossip"}, "is of a kind that is not known here"),
            ({"time": 5}, "does not say when it was written"),
        ],
    )
    def test_a_record_of_a_format_that_is_not_known_is_found_although_the_key_signed_it(
        self, tmp_path: Path, fields: dict[str, object], words: str
    ) -> None:
        files = files_of()
        files.rewrite(3, **fields)
        files.sign([files.size])
        verdict = verdict_on(files, tmp_path)

        assert (Code.FORMAT, 3, 3) in told(verdict)
        assert any(words in each.text for each in verdict.findings)

    def test_a_first_record_that_names_one_before_it_is_found(self, tmp_path: Path) -> None:
        files = files_of()
        files.rewrite(0, prev="1" * 64)
        files.sign([files.size])

        assert told(verdict_on(files, tmp_path)) == [(Code.FORMAT, 0, 0)]


class TestTheEnd:
    @pytest.mark.parametrize("rest", [b'{"v":1,"seq":', b"\0" * 5000, b"\0" * 3_000_000, b"\xff", b"{}"])
    def test_a_last_line_without_an_end_is_told_and_is_no_part_of_the_log(self, tmp_path: Path, rest: bytes) -> None:
        files = files_of()
        folder = files.write(tmp_path / "audit")
        path = append(folder, rest)
        verdict = verify(folder, KEY.verifier)

        assert verdict.is_whole
        assert [(each.code, Path(each.file)) for each in verdict.remarks] == [(Code.TORN, path)]
        assert verdict.records == files.size

    def test_a_record_that_is_cut_in_two_is_missing_where_a_checkpoint_is_over_it(self, tmp_path: Path) -> None:
        files = files_of()
        folder = files.write(tmp_path / "audit")
        path = max(Path(Places(folder).log).iterdir())
        path.write_bytes(path.read_bytes()[:-20])
        verdict = verify(folder, KEY.verifier)

        assert told(verdict) == [(Code.CUT_OFF, files.size - 1, files.size - 1)]
        assert remarks(verdict) == [Code.TORN]

    def test_a_file_that_was_begun_and_holds_nothing_is_told(self, tmp_path: Path) -> None:
        folder = (files := files_of()).write(tmp_path / "audit")
        (Path(Places(folder).log) / segment_name(files.size)).touch()
        verdict = verify(folder, KEY.verifier)

        assert verdict.is_whole
        assert remarks(verdict) == [Code.TORN]

    def test_a_line_feed_that_is_missing_in_the_middle_of_the_log_is_found(self, tmp_path: Path) -> None:
        folder = files_of().write(tmp_path / "audit")
        path = Path(Places(folder).log) / segment_name(0)
        path.write_bytes(path.read_bytes().removesuffix(b"\n"))

        assert [each.code for each in verify(folder, KEY.verifier).findings] == [Code.FORMAT]

    def test_an_empty_file_in_the_middle_of_the_log_is_found(self, tmp_path: Path) -> None:
        folder = files_of().write(tmp_path / "audit")
        (Path(Places(folder).log) / segment_name(10)).write_bytes(b"")

        assert told(verify(folder, KEY.verifier)) == [(Code.MISSING, 10, 19), (Code.NO_RECORDS, -1, -1)]


class TestCheckpoints:
    def test_a_checkpoint_of_another_key_proves_nothing_and_is_told(self, tmp_path: Path) -> None:
        files = files_of()
        files.sign([files.size], OTHER_KEY)
        verdict = verdict_on(files, tmp_path)

        assert [each.code for each in verdict.findings] == [Code.CHECKPOINT_BAD, Code.CHECKPOINT_BAD, Code.UNSIGNED]
        assert "no signature of this key" in verdict.findings[0].text

    def test_many_checkpoints_of_another_key_in_one_file_are_one_finding(self, tmp_path: Path) -> None:
        files = files_of(segment_records=1000)
        files.sign(range(1, files.size), OTHER_KEY)
        verdict = verdict_on(files, tmp_path)

        assert [each.code for each in verdict.findings].count(Code.CHECKPOINT_BAD) == 2
        assert f"({files.size - 1} in all)" in str(verdict.findings)

    def test_a_forged_checkpoint_is_told_with_its_line(self, tmp_path: Path) -> None:
        files = files_of()
        files.notes[0][1] = files.notes[0][1].replace("\n8\n", "\n9\n")
        (finding,) = verdict_on(files, tmp_path).findings

        assert (finding.code, Path(finding.file).name, finding.line) == (Code.CHECKPOINT_BAD, segment_name(0), 2)
        assert "does not fit the text" in finding.text

    def test_checkpoints_that_go_backwards_are_told(self, tmp_path: Path) -> None:
        files = files_of()
        files.notes[0].reverse()
        (finding,) = verdict_on(files, tmp_path).findings

        assert (finding.code, Path(finding.file).name, finding.line) == (Code.CHECKPOINT_BACKWARDS, segment_name(0), 2)

    @pytest.mark.parametrize("rest", ['{"time":"2026-', "\0\0\0\0", '{"time":1}', "[]", '{"time":"2026-\n', "\0\n"])
    def test_a_line_that_a_power_failure_left_is_no_finding(self, tmp_path: Path, rest: str) -> None:
        files = files_of()
        folder = files.write(tmp_path / "audit")
        path = Path(Places(folder).checkpoints) / segment_name(0)
        path.write_text(path.read_text() + rest)
        Path(Places(folder).checkpoint).write_text("")
        verdict = verify(folder, KEY.verifier)

        assert verdict.is_whole
        assert verdict.covered.size == files.size
        assert set(remarks(verdict)) <= {Code.CHECKPOINT_TORN}

    def test_two_checkpoints_of_one_size_that_differ_are_two_histories(self, tmp_path: Path) -> None:
        files = files_of()
        verdict = verdict_on(files, tmp_path, [KEY.sign(8, bytes(32))])

        assert told(verdict) == [(Code.FORKED, 7, 7)]
        assert Path(verdict.findings[0].file).name == "kept-0"
        assert verdict.covered.size == files.size

    def test_a_checkpoint_of_another_history_between_two_that_fit_is_told(self, tmp_path: Path) -> None:
        verdict = verdict_on(files := files_of(), tmp_path, [KEY.sign(9, bytes(32))])

        assert told(verdict) == [(Code.FORKED, 8, 8)]
        assert verdict.covered.size == files.size

    def test_a_tail_that_was_made_anew_is_told_from_the_last_checkpoint_that_fits(self, tmp_path: Path) -> None:
        files = files_of()
        files.rewrite(13, caller="spiffe://acme.test/else")
        verdict = verdict_on(files, tmp_path)

        assert told(verdict) == [(Code.REWRITTEN, 12, 15)]
        assert verdict.covered.size == 12

    def test_a_tail_that_was_made_anew_and_whose_checkpoints_are_gone_is_found_by_one_that_was_kept(
        self, tmp_path: Path
    ) -> None:
        files = files_of()
        kept = files.notes[max(files.notes)][-1]
        files.rewrite(13, caller="spiffe://acme.test/else")
        files.sign([12])

        assert told(verdict_on(files, tmp_path, [kept])) == [(Code.REWRITTEN, 12, files.size - 1)]

    def test_a_stretch_that_was_made_anew_before_a_head_that_was_not_is_told(self, tmp_path: Path) -> None:
        files, untouched = files_of(), files_of()
        files.rewrite(5, caller="spiffe://acme.test/else")
        files.segments = {**untouched.segments, 0: files.segments[0]}
        verdict = verdict_on(files, tmp_path)

        # Between two checkpoints; from the head of the next file on all is proved again.
        assert told(verdict) == [(Code.REWRITTEN, 4, 7)]
        assert verdict.covered.size == files.size

    def test_a_last_record_that_was_edited_does_not_fit_its_checkpoint(self, tmp_path: Path) -> None:
        files = files_of()
        files.sign([*range(1, files.size + 1)])
        files.edit(files.size - 1, time=TIME)

        assert told(verdict_on(files, tmp_path)) == [(Code.REWRITTEN, files.size - 1, files.size - 1)]


class TestKeptCheckpoints:
    def notes(self, files: LogFiles) -> list[str]:
        return [note for notes in files.notes.values() for note in notes]

    def lines(self, files: LogFiles) -> str:
        return "".join(json.dumps({"time": TIME, "note": note}) + "\n" for note in self.notes(files))

    def test_a_note_alone(self, tmp_path: Path) -> None:
        verdict = verdict_on(files := files_of(), tmp_path, [self.notes(files)[1]])

        assert verdict.is_whole
        assert (verdict.covered.kept, verdict.covered.checked_kept) == (8, 1)

    @pytest.mark.parametrize("between", ["", "\n", "\n\n\n"])
    def test_several_notes_in_any_order(self, tmp_path: Path, between: str) -> None:
        files = files_of()
        notes = self.notes(files)
        verdict = verdict_on(files, tmp_path, [between.join(reversed(notes))])

        assert verdict.is_whole
        assert (verdict.covered.kept, verdict.covered.checked_kept) == (files.size, len(notes))

    def test_lines_as_the_gate_writes_them(self, tmp_path: Path) -> None:
        files = files_of()
        verdict = verdict_on(files, tmp_path, [self.lines(files), self.lines(files) + '{"time":"20'])

        assert verdict.is_whole
        assert (verdict.covered.kept, verdict.covered.checked_kept) == (files.size, 2 * len(self.notes(files)))

    def test_one_that_was_kept_is_enough_without_any_beside_the_log(self, tmp_path: Path) -> None:
        files = files_of()
        kept = self.notes(files)[-1]
        files.notes = {}
        verdict = verdict_on(files, tmp_path, [kept])

        assert verdict.is_whole
        assert verdict.covered.size == verdict.covered.kept == files.size

    def test_one_that_is_damaged_is_a_finding(self, tmp_path: Path) -> None:
        files = files_of()

        assert [each.code for each in verdict_on(files, tmp_path, ["nonsense\n"]).findings] == [Code.CHECKPOINT_BAD]

    @pytest.mark.parametrize("text", ["", "\n", "\0\0"])
    def test_a_file_without_any_cannot_be_used(self, tmp_path: Path, text: str) -> None:
        with pytest.raises(UnusableInput, match="holds no checkpoint"):
            verdict_on(files_of(), tmp_path, [text])

    def test_a_file_that_is_not_there_cannot_be_used(self, tmp_path: Path) -> None:
        folder = files_of().write(tmp_path / "audit")

        with pytest.raises(UnusableInput, match="No such file"):
            verify(folder, KEY.verifier, [tmp_path / "nothing"])

    def test_a_link_to_one_is_followed(self, tmp_path: Path) -> None:
        files = files_of()
        folder = files.write(tmp_path / "audit")
        (tmp_path / "link").symlink_to(Places(folder).checkpoint)

        assert verify(folder, KEY.verifier, [tmp_path / "link"]).covered.kept == files.size


def test_a_hundred_findings_are_told_and_the_others_counted(tmp_path: Path) -> None:
    files = files_of(300, segment_records=10_000, every=10)
    for number in range(1, 300):
        files.edit(number, time=TIME)
    verdict = verdict_on(files, tmp_path)

    assert len(verdict.findings) == MAX_FINDINGS
    assert verdict.more == 299 - MAX_FINDINGS


def test_calls_under_way_are_followed_over_the_files(tmp_path: Path) -> None:
    made = MadeLog()
    made.start()
    for _ in range(6):
        made.call(orphan=True)
    intents = [place for place, (kind, _, _) in enumerate(made.records) if kind is Kind.INTENT]
    for place in reversed(intents):
        made.outcome(place)

    assert verdict_on(LogFiles.of(made, segment_records=3, every=100), tmp_path).is_whole


def test_what_is_added_while_it_is_read_is_left_out(tmp_path: Path) -> None:
    files = files_of(3000, segment_records=9**9, every=9**9)
    folder = files.write(tmp_path / "audit")
    grown = iter([True])

    def grow(_done: int, _size: int) -> None:
        if next(grown, False):
            append(folder, b'{"half of a rec')

    verdict = verify(folder, KEY.verifier, progress=grow)

    assert verdict.is_whole
    assert not verdict.remarks


def test_without_a_folder_of_records_there_is_nothing_to_verify(tmp_path: Path) -> None:
    with pytest.raises(UnusableInput, match="there is no log to read"):
        verify(tmp_path, KEY.verifier)


def test_checkpoints_that_are_no_folder_cannot_be_used(tmp_path: Path) -> None:
    folder = files_of().write(tmp_path / "audit")
    Path(Places(folder).checkpoints).rename(tmp_path / "elsewhere")
    Path(Places(folder).checkpoints).touch()

    with pytest.raises(UnusableInput, match="Not a directory"):
        verify(folder, KEY.verifier)


def test_a_file_that_went_away_or_cannot_be_read_is_told_by_its_name(tmp_path: Path) -> None:
    with pytest.raises(UnusableInput, match=r"gone cannot be read: No such file"):
        list(PlainFile(tmp_path / "gone", 10).lines(100))
    with pytest.raises(UnusableInput, match=r"mem cannot be read: Input/output error"):
        list(PlainFile(Path("/proc/self/mem"), 10).lines(100))


def test_a_file_that_became_a_fifo_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")

    with pytest.raises(UnusableInput, match="is no plain file"):
        list(PlainFile(tmp_path / "fifo", 10).lines(100))


def test_a_key_for_another_name_verifies_nothing(tmp_path: Path) -> None:
    folder = files_of().write(tmp_path / "audit")
    other = CheckpointKey.load(KEY.pem(), f"{ORIGIN}/2").verifier

    codes = {each.code for each in verify(folder, other).findings}

    assert codes == {Code.HEADER, Code.CHECKPOINT_BAD, Code.UNSIGNED}
