"""What a recording counts, hashes and keeps."""

import json
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callgate.audit.recording import SPILL_BYTES, MessageKind, Recording, request_line
from callgate.policy.record_level import RecordLevel
from callgate.wire.json_strict import dumps

STARTED_NS = 1_000_000_000
ANSWER = b'{"jsonrpc":"2.0","id":1,"result":{}}'
PROGRESS = b'{"jsonrpc":"2.0","method":"notifications/progress"}'

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def full() -> Recording:
    return Recording("full", STARTED_NS)


def bodies(plaintext: bytes) -> list[bytes]:
    """The body of each line, byte for byte."""
    return [line.split(b',"body":', 1)[1][:-1] for line in plaintext.splitlines()]


def test_at_level_none_messages_and_bytes_are_counted_and_not_hashed() -> None:
    recording = Recording("none", STARTED_NS)
    recording.event(PROGRESS, STARTED_NS)
    recording.event(ANSWER, STARTED_NS)
    assert recording.summary([]) == {"bytes": len(PROGRESS) + len(ANSWER), "events": 2}
    assert recording.take() is None


def test_at_level_digest_messages_are_hashed_and_not_kept() -> None:
    recording = Recording("digest", STARTED_NS)
    recording.event(PROGRESS, STARTED_NS)
    recording.event(ANSWER, STARTED_NS)
    digest = sha256(PROGRESS + b"\n" + ANSWER + b"\n").hexdigest()
    assert recording.summary([]) == {"sha256": digest, "bytes": len(PROGRESS) + len(ANSWER), "events": 2}
    assert recording.take() is None


def test_at_level_full_each_message_is_a_line_with_its_time_and_kind() -> None:
    recording = full()
    recording.event(PROGRESS, STARTED_NS + 1_500_999)
    recording.event(ANSWER, STARTED_NS + 2_000_000, MessageKind.ANSWER)
    taken = recording.take()
    assert taken is not None
    assert [json.loads(line) for line in taken.splitlines()] == [
        {"at_us": 1500, "kind": "event", "body": json.loads(PROGRESS)},
        {"at_us": 2000, "kind": "answer", "body": json.loads(ANSWER)},
    ]
    assert taken.endswith(b"\n")


def test_an_answer_of_no_messages_has_the_digest_of_nothing() -> None:
    assert full().summary([]) == {"sha256": sha256(b"").hexdigest(), "bytes": 0, "events": 0}


def test_the_requests_plaintext_is_one_line_at_the_beginning() -> None:
    line = request_line(b'{"method":"tools/call"}')
    assert json.loads(line) == {"at_us": 0, "kind": "request", "body": {"method": "tools/call"}}


def test_what_was_taken_is_not_taken_again() -> None:
    recording = full()
    recording.event(ANSWER, STARTED_NS)
    assert recording.take()
    assert recording.take() is None


def test_a_recording_is_due_at_one_mebibyte_pending_and_not_before() -> None:
    recording = full()
    recording.event(b'"' + b"x" * (SPILL_BYTES // 2) + b'"', STARTED_NS)
    assert not recording.is_due
    recording.event(b'"' + b"x" * (SPILL_BYTES // 2) + b'"', STARTED_NS)
    assert recording.is_due
    recording.take()
    assert not recording.is_due


@pytest.mark.parametrize("level", ["none", "digest", "full"])
def test_a_message_that_was_withheld_did_not_pass(level: RecordLevel) -> None:
    recording, passed = Recording(level, STARTED_NS), Recording(level, STARTED_NS)
    for each in (recording, passed):
        each.event(PROGRESS, STARTED_NS)
    recording.event(ANSWER, STARTED_NS)
    recording.withhold()
    assert recording.summary([]) == passed.summary([])
    assert recording.summary([])["events"] == 1


def test_objects_are_named_in_the_summary() -> None:
    assert full().summary(["ab" * 32, "cd" * 32])["objects"] == ["ab" * 32, "cd" * 32]


def test_a_clock_that_was_set_back_gives_no_negative_times() -> None:
    recording = full()
    recording.event(ANSWER, STARTED_NS - 5_000_000)
    assert json.loads(recording.take() or b"")["at_us"] == 0


def test_a_message_of_several_lines_cannot_pass_for_several_messages() -> None:
    forged = b'{}}\n{"at_us":1,"kind":"answer","body":{}'
    with pytest.raises(ValueError, match="one line"):
        full().event(forged, STARTED_NS)
    with pytest.raises(ValueError, match="one line"):
        request_line(forged)


@given(st.lists(json_values, max_size=8), st.sets(st.integers(0, 7)))
def test_the_digest_can_be_worked_out_from_what_was_kept_however_it_was_split(
    values: list[object], taken_after: set[int]
) -> None:
    recording, objects = full(), []
    for number, value in enumerate(values):
        recording.event(dumps(value), STARTED_NS + number)
        if number in taken_after:
            objects.append(recording.take() or b"")
    objects.append(recording.take() or b"")
    passed = [body for plaintext in objects for body in bodies(plaintext)]
    assert [json.loads(body) for body in passed] == values
    digest = sha256(b"".join(body + b"\n" for body in passed)).hexdigest()
    assert recording.summary([])["sha256"] == digest
    assert recording.summary([])["bytes"] == sum(map(len, passed))
