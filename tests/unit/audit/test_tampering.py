"""Whatever is done to a random log by who does not have its key is found, and told of at the right record."""

import copy
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from callgate.audit.findings import Code, Finding
from callgate.audit.verify import Verdict, verify
from support.tampering import KEY, LogFiles, made_log

_EXAMPLES = settings(max_examples=60, deadline=None)


@st.composite
def logs(draw: st.DrawFn, calls: int = 12) -> LogFiles:
    """Logs with files and checkpoints of any length; the last checkpoint is over all records."""
    made = made_log(draw(st.integers(2, calls)))
    return LogFiles.of(made, segment_records=draw(st.integers(3, 30)), every=draw(st.integers(1, 12)))


@contextmanager
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        yield Path(name) / "audit"


def verdict_on(files: LogFiles, kept: str = "") -> Verdict:
    with folder() as path:
        files.write(path)
        (path / "kept").write_text(kept)
        return verify(path, KEY.verifier, [path / "kept"] if kept else [])


def told(verdict: Verdict) -> set[int]:
    """The numbers of all records that something was found wrong with."""
    return {number for each in verdict.findings for number in range(each.first, each.last + 1)}


def codes(verdict: Verdict) -> set[Code]:
    return {each.code for each in verdict.findings}


def place(finding: Finding) -> tuple[str, int]:
    return Path(finding.file).name, finding.line


@_EXAMPLES
@given(logs())
def test_a_log_that_nobody_changed_is_whole(files: LogFiles) -> None:
    verdict = verdict_on(files)

    assert verdict.is_whole
    assert not verdict.remarks
    assert verdict.records == verdict.covered.size == files.size


@_EXAMPLES
@given(logs(), st.data())
def test_one_edited_record_is_one_finding_in_its_place(files: LogFiles, data: st.DataObject) -> None:
    number = data.draw(st.integers(0, files.size - 2), label="record")
    field = data.draw(st.sampled_from(list(orjson.loads(files.lines[number]))), label="field")
    value: object = data.draw(
        st.sampled_from([0, 1, -1, 10**6, "", "x", "0" * 64, "f" * 64, None, [], {}]), label="value"
    )
    before = files.lines[number]
    files.edit(number, **{field: value})
    if files.lines[number] == before:
        return

    verdict = verdict_on(files)

    (finding,) = verdict.findings
    assert finding.code in {Code.EDITED, Code.UNREADABLE}
    assert (finding.first, finding.last) == (number, number)
    assert place(finding) == files.place(number)
    # And all others are still proved.
    assert verdict.covered.size == files.size


@_EXAMPLES
@given(logs(), st.data())
def test_any_other_byte_in_any_place_is_found_in_its_record(files: LogFiles, data: st.DataObject) -> None:
    number = data.draw(st.integers(0, files.size - 1), label="record")
    line = bytearray(files.lines[number])
    index = data.draw(st.integers(0, len(line) - 1), label="byte")
    line[index] ^= data.draw(st.integers(1, 255), label="change")
    files.change(number, bytes(line))

    verdict = verdict_on(files)

    assert not verdict.is_whole
    assert number in told(verdict)


@_EXAMPLES
@given(logs(), st.data())
def test_records_that_were_edited_together_are_all_told(files: LogFiles, data: st.DataObject) -> None:
    numbers = data.draw(st.sets(st.integers(0, files.size - 2), min_size=1, max_size=8), label="records")
    for number in numbers:
        files.edit(number, caller="spiffe://acme.test/someone-else")

    verdict = verdict_on(files)

    assert codes(verdict) == {Code.EDITED}
    assert told(verdict) == numbers


@_EXAMPLES
@given(logs(), st.data())
def test_a_dropped_record_is_told_as_missing(files: LogFiles, data: st.DataObject) -> None:
    number = data.draw(st.integers(0, files.size - 2), label="record")
    lines, index = files.at(number)
    del lines[index]

    verdict = verdict_on(files)

    assert {(each.code, each.first, each.last) for each in verdict.findings} == {(Code.MISSING, number, number)}


@_EXAMPLES
@given(logs(), st.data())
def test_a_dropped_stretch_is_told_as_missing_from_its_first_record_to_its_last(
    files: LogFiles, data: st.DataObject
) -> None:
    first = data.draw(st.integers(0, files.size - 2), label="first")
    last = data.draw(st.integers(first, files.size - 2), label="last")
    untouched = copy.deepcopy(files)
    for number in range(last, first - 1, -1):
        lines, index = untouched.at(number)
        files.segments[next(key for key, each in untouched.segments.items() if each is lines)].pop(index)
    files.segments = {key: lines for key, lines in files.segments.items() if lines}

    verdict = verdict_on(files)

    assert codes(verdict) == {Code.MISSING}
    assert told(verdict) == set(range(first, last + 1))


@_EXAMPLES
@given(logs(), st.data())
def test_two_swapped_records_are_both_told_as_moved(files: LogFiles, data: st.DataObject) -> None:
    one = data.draw(st.integers(0, files.size - 2), label="one")
    other = data.draw(st.integers(one + 1, files.size - 1), label="other")
    lines = files.lines
    files.change(one, lines[other])
    files.change(other, lines[one])

    verdict = verdict_on(files)

    assert codes(verdict) == {Code.MOVED}
    # Of three in reverse, any two may be the ones that moved.
    assert {one, other} == told(verdict) or (other - one == 2 and told(verdict) <= {one, one + 1, other})


@_EXAMPLES
@given(logs(), st.data())
def test_a_moved_record_is_told_as_moved(files: LogFiles, data: st.DataObject) -> None:
    number = data.draw(st.integers(0, files.size - 2), label="record")
    to = data.draw(st.integers(0, files.size - 2).filter(lambda to: abs(to - number) > 1), label="to")
    lines, index = files.at(number)
    line = lines.pop(index)
    lines, index = files.at(to)
    lines.insert(min(index, len(lines)), line)

    verdict = verdict_on(files)

    assert codes(verdict) == {Code.MOVED}
    assert number in told(verdict)


@_EXAMPLES
@given(logs(), st.data())
def test_a_record_that_was_put_in_is_told_where_it_stands(files: LogFiles, data: st.DataObject) -> None:
    copied = data.draw(st.integers(0, files.size - 1), label="copied")
    at = data.draw(st.integers(0, files.size - 1), label="at")
    said = orjson.loads(files.lines[copied])
    changes = data.draw(
        st.fixed_dictionaries({}, optional={"seq": st.integers(0, files.size), "time": st.just("never")}),
        label="changes",
    )
    name, line = files.place(at)
    lines, index = files.at(at)
    lines.insert(index, orjson.dumps({**said, **changes}))

    verdict = verdict_on(files)

    assert codes(verdict) == {Code.INSERTED}
    (finding,) = verdict.findings
    assert place(finding) in {(name, line), (name, line + 1)}


@_EXAMPLES
@given(logs(), st.data())
def test_a_tail_that_was_made_anew_does_not_fit_the_checkpoints(files: LogFiles, data: st.DataObject) -> None:
    number = data.draw(st.integers(0, files.size - 1), label="record")
    files.rewrite(number, caller="spiffe://acme.test/someone-else")

    verdict = verdict_on(files)

    assert codes(verdict) == {Code.REWRITTEN}
    assert number in told(verdict)
    assert verdict.covered.size <= number


@_EXAMPLES
@given(logs(), st.data())
def test_an_end_that_was_cut_off_with_its_checkpoints_is_found_by_one_that_was_kept(
    files: LogFiles, data: st.DataObject
) -> None:
    size = data.draw(st.integers(1, files.size - 1), label="left")
    kept = files.notes[max(files.notes)][-1]
    was = files.size
    left = files.lines[:size]
    files.segments = {first: left[first : first + len(each)] for first, each in files.segments.items() if first < size}
    files.sign([size])

    verdict = verdict_on(files, kept)

    assert verdict_on(files).is_whole
    assert [(each.code, each.first, each.last) for each in verdict.findings] == [(Code.CUT_OFF, size, was - 1)]


@_EXAMPLES
@given(logs(), st.data())
def test_whatever_is_done_together_is_found(files: LogFiles, data: st.DataObject) -> None:
    before = files.lines
    for _ in range(data.draw(st.integers(1, 6), label="times")):
        lines = data.draw(st.sampled_from(sorted(files.segments.items())), label="file")[1]
        index = data.draw(st.integers(0, max(len(lines) - 1, 0)), label="line")
        junk = data.draw(
            st.sampled_from([b"", b"\0\0", b"{}", b"[]", b'{"seq":3,"prev":""}', b"\xff" * 9]), label="junk"
        )
        match data.draw(st.integers(0, 4), label="what"):
            case 0 if lines:
                del lines[index]
            case 1:
                lines.insert(index, junk)
            case 2:
                lines.insert(index, data.draw(st.sampled_from(before), label="copied"))
            case 3 if lines:
                lines[index] = lines[index].replace(b"acme", b"evil")
            case 4 if lines:
                lines.append(lines.pop(index))
    if files.lines == before:
        return

    assert not verdict_on(files).is_whole
