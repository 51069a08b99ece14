from pathlib import Path

import pytest

from callgate.audit.chain import Kind
from callgate.audit.checkpoint import CheckpointKey
from callgate.audit.lookup import MAX_FOUND, approvals_in, ids_beginning, is_id, policy_record
from support.audit_logs import ORIGIN, MadeLog


def written(log: MadeLog, folder: Path) -> Path:
    log.write(folder, CheckpointKey.generate(ORIGIN), segment_records=3)
    return folder


@pytest.mark.parametrize("text", ["abcd", "0" * 32, "deadbeef"])
def test_takes_an_id_and_the_beginning_of_one(text: str) -> None:
    assert is_id(text)


@pytest.mark.parametrize("text", ["abc", "0" * 33, "ABCD", "abcg", "", "ab cd", "abcd\n", "../.."])
def test_takes_nothing_else(text: str) -> None:
    assert not is_id(text)


def test_finds_each_id_once_in_its_order_over_all_files(tmp_path: Path) -> None:
    log = MadeLog()
    for end in ("3", "1", "2"):
        log.call(decision=f"beef{end}", trace="feed1")
    log.refusal(decision="beef0", trace="feed2")
    log.call(decision="0beef", trace="0feed")
    folder = written(log, tmp_path)

    assert ids_beginning(folder, "decision", "beef") == ["beef3", "beef1", "beef2", "beef0"]
    assert ids_beginning(folder, "trace", "feed") == ["feed1", "feed2"]
    assert ids_beginning(folder, "decision", "dead") == []


def test_finds_what_people_said_in_a_session_also_after_its_last_request(tmp_path: Path) -> None:
    log = MadeLog()
    log.approval("asked", approval="aa" * 16)
    log.approval("asked", session="77" * 8)
    log.refusal(tool="refund", reason="approval_required", purpose='"kind":"approval"')
    log.approval("asked", approval="bb" * 16)
    log.approval("denied", approval="aa" * 16, by="alice@acme.test")

    found = approvals_in(written(log, tmp_path), "5e" * 8, 0)

    said = {name: [each.record["happening"] for each in records] for name, records in found.items()}
    assert said == {"aa" * 16: ["asked", "denied"], "bb" * 16: ["asked"]}


def test_an_id_that_is_given_whole_is_that_one_even_where_others_begin_with_it(tmp_path: Path) -> None:
    log = MadeLog()
    log.call(decision="beef00")
    log.call(decision="beef")
    folder = written(log, tmp_path)

    assert ids_beginning(folder, "decision", "beef") == ["beef"]


def test_what_a_caller_wrote_is_no_id(tmp_path: Path) -> None:
    log = MadeLog()
    log.call(purpose='"decision":"beef1"', rpc="beef2")
    folder = written(log, tmp_path)

    assert ids_beginning(folder, "decision", "beef") == []


def test_of_very_many_ids_enough_to_choose_from_are_named(tmp_path: Path) -> None:
    log = MadeLog()
    for number in range(2 * MAX_FOUND):
        log.call(decision=f"beef{number:02}")

    assert len(ids_beginning(written(log, tmp_path), "decision", "beef")) == MAX_FOUND


def test_the_policy_of_a_record_is_the_last_one_of_its_digest_before_it(tmp_path: Path) -> None:
    log = MadeLog()
    for digest, name in (("sha256:a", "1"), ("sha256:b", "2"), ("sha256:a", "3"), ("sha256:a", "4")):
        log.add(Kind.POLICY, digest=digest, files=[{"name": name, "sha256": "00" * 32}])
    # Segment records stand at 0 and 3.
    folder = written(log, tmp_path)

    def named(digest: str, before: int) -> object:
        found = policy_record(folder, digest, before)
        return found["files"][0]["name"] if found else None  # type: ignore[index,call-overload]

    assert named("sha256:a", 2) == "1"
    assert named("sha256:a", 5) == "3"
    assert named("sha256:a", 100) == "4"
    assert named("sha256:b", 2) is None
    assert named("sha256:b", 3) == "2"
    assert named("sha256:c", 100) is None
