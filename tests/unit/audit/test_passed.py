"""Reading back what passed in one request."""

from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

import pytest

from callgate.audit.content import Why
from callgate.audit.entries import Entry
from callgate.audit.passed import Passed, Unread, content_of, deletions, read_passed
from callgate.audit.recording import MessageKind, Recording, request_line
from callgate.wire.json_strict import JsonObject, JsonValue
from support.auditors import Auditor, object_file

REQUEST: JsonObject = {"method": "tools/call", "params": {"name": "refund"}}
EVENT: JsonObject = {"method": "notifications/progress"}
ANSWER: JsonObject = {"result": {"content": []}}


@pytest.fixture
def auditor() -> Auditor:
    return Auditor()


def entry_of(request: str, answer: Sequence[str]) -> Entry:
    kept: list[JsonValue] = list(answer)
    return Entry({"kind": "intent", "request": {"object": request}}, {"kind": "outcome", "answer": {"objects": kept}})


def recorded(folder: Path, auditor: Auditor) -> Entry:
    """A call of which everything was kept: the request, an event and the answer in an object each."""
    store, recording = auditor.store(folder), Recording("full", 0)
    request = store.put(request_line(b'{"method":"tools/call","params":{"name":"refund"}}'))
    recording.event(b'{"method":"notifications/progress"}', 2_000)
    first = store.put(recording.take() or b"")
    recording.event(b'{"result":{"content":[]}}', 5_000, MessageKind.ANSWER)
    second = store.put(recording.take() or b"")
    return entry_of(request, [first, second])


def test_what_passed_comes_back_in_order_with_its_times(tmp_path: Path, auditor: Auditor) -> None:
    found = list(read_passed(tmp_path, recorded(tmp_path, auditor), auditor.identities))
    assert found == [
        Passed(0, MessageKind.REQUEST, REQUEST),
        Passed(2, MessageKind.EVENT, EVENT),
        Passed(5, MessageKind.ANSWER, ANSWER),
    ]


def test_where_one_object_is_gone_the_others_are_still_told(tmp_path: Path, auditor: Auditor) -> None:
    entry = recorded(tmp_path, auditor)
    gone = content_of(entry)[1]
    object_file(tmp_path, gone).unlink()
    found = list(read_passed(tmp_path, entry, auditor.identities))
    assert found == [
        Passed(0, MessageKind.REQUEST, REQUEST),
        Unread(Why.MISSING, gone),
        Passed(5, MessageKind.ANSWER, ANSWER),
    ]


def test_an_object_that_retention_deleted_is_told_apart_from_one_that_is_missing(
    tmp_path: Path, auditor: Auditor
) -> None:
    entry = recorded(tmp_path, auditor)
    request, first, second = content_of(entry)
    object_file(tmp_path, first).unlink()
    object_file(tmp_path, second).unlink()
    records: list[JsonObject] = [
        {"kind": "retention", "deleted": [first, "ab" * 32], "why": "age"},
        {"kind": "intent", "deleted": [second]},
    ]
    deleted = deletions(records, {request, first, second})
    assert deleted == {first}
    found = list(read_passed(tmp_path, entry, auditor.identities, deleted))
    assert found[1:] == [Unread(Why.DELETED, first), Unread(Why.MISSING, second)]


def test_an_object_that_is_still_there_is_shown_although_a_record_says_that_it_was_deleted(
    tmp_path: Path, auditor: Auditor
) -> None:
    entry = recorded(tmp_path, auditor)
    found = list(read_passed(tmp_path, entry, auditor.identities, content_of(entry)))
    assert all(isinstance(each, Passed) for each in found)


def test_without_the_right_key_each_object_says_so(tmp_path: Path, auditor: Auditor) -> None:
    found = list(read_passed(tmp_path, recorded(tmp_path, auditor), Auditor().identities))
    assert [each.why for each in found if isinstance(each, Unread)] == [Why.NO_KEY] * 3


def test_a_changed_object_is_told_as_changed(tmp_path: Path, auditor: Auditor) -> None:
    entry = recorded(tmp_path, auditor)
    object_file(tmp_path, content_of(entry)[0]).write_bytes(b"something else")
    first = next(read_passed(tmp_path, entry, auditor.identities))
    assert first == Unread(Why.CHANGED, content_of(entry)[0])
    assert content_of(entry)[0] in first.words


def test_a_changed_object_is_not_told_as_deleted_whatever_a_record_says(tmp_path: Path, auditor: Auditor) -> None:
    entry = recorded(tmp_path, auditor)
    object_file(tmp_path, content_of(entry)[0]).write_bytes(b"something else")
    first = next(read_passed(tmp_path, entry, auditor.identities, content_of(entry)))
    assert first == Unread(Why.CHANGED, content_of(entry)[0])


@pytest.mark.parametrize(
    "plaintext",
    [
        b"",
        b"\n",
        b"not a line\n",
        b'{"at_us":1,"kind":"gossip","body":{}}\n',
        b'{"at_us":1,"kind":"event","body":{}\n',
        b'{"at_us":-1,"kind":"event","body":{}}\n',
        b'{"at_us":1,"kind":"event","body":{}}\n{"at_us":2,"kind":"event"}\n',
        b'{"at_us":1,"kind":"event","body":{}}\n\n',
        # Deeper than any message that the gate lets pass, and than can be shown.
        b'{"at_us":1,"kind":"event","body":' + b"[" * 300 + b"]" * 300 + b"}\n",
    ],
)
def test_an_object_that_holds_anything_but_lines_of_a_recording_is_told_as_malformed(
    tmp_path: Path, auditor: Auditor, plaintext: bytes
) -> None:
    digest = auditor.store(tmp_path).put(plaintext)
    assert list(read_passed(tmp_path, entry_of(digest, []), auditor.identities)) == [Unread(Why.MALFORMED, digest)]


@pytest.mark.parametrize(
    ("record", "outcome"),
    [
        ({"kind": "refusal"}, None),
        ({"kind": "intent", "request": {"sha256": sha256().hexdigest()}}, {"answer": {"bytes": 1, "events": 1}}),
        ({"kind": "intent", "request": "?"}, {"answer": ["?"]}),
        ({"kind": "intent", "request": {"object": 5}}, {"answer": {"objects": "abc"}}),
        ({"kind": "intent"}, {"answer": {"objects": [None, {}]}}),
    ],
)
def test_an_entry_without_objects_has_nothing_to_read(
    tmp_path: Path, record: JsonObject, outcome: JsonObject | None
) -> None:
    assert list(read_passed(tmp_path, Entry(record, outcome), ())) == []
