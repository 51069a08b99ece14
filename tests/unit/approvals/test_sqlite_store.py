"""The store on a real file; a second store on the same file stands for another process."""

import os
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from callgate.approvals import sqlite_short_lived, sqlite_store
from callgate.approvals.model import Cover, Moment, Request, asked_again, settled, used_once, voted
from callgate.approvals.sqlite_file import MAX_VALUE_BYTES
from callgate.approvals.sqlite_short_lived import SESSION_S
from callgate.approvals.sqlite_store import MAX_OF_KEY, SqliteStore
from callgate.approvals.store import Notice, Secret, Session, Store, StoreFault, TooMany
from callgate.approvals.stored import without_shown
from callgate.approvals.together import Failed
from support.approval_strategies import requests
from support.approval_values import (
    NOW,
    POLICY,
    after,
    ask_of,
    person_of,
    request_of,
    vote_of,
    with_repeat,
)

KEY = bytes(range(32))
CAP, CAP_OF_WORKLOAD = 100, 20
OTHER_AGENT = "spiffe://acme.test/ns/support/sa/helper"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "approvals" / "approvals.db"


@pytest.fixture
def store(path: Path) -> Iterator[SqliteStore]:
    store = SqliteStore(path, KEY)
    yield store
    store.close()


@pytest.fixture
def other(store: SqliteStore, path: Path) -> Iterator[SqliteStore]:
    del store
    other = SqliteStore(path, KEY)
    yield other
    other.close()


def added(store: Store, request: Request) -> Request:
    found = store.add(request, CAP, CAP_OF_WORKLOAD)
    assert found == request, found
    return request


def saved(store: Store, request: Request | None) -> Request:
    assert request is not None
    assert store.save(request)
    return request


def approved(store: Store, request: Request) -> Request:
    found = voted(request, vote_of(), NOW, POLICY)
    assert isinstance(found, Request)
    return saved(store, found)


def ended(store: Store, number: int, at: Moment) -> Request:
    return saved(store, settled(added(store, request_of(number)), at, POLICY))


# Requests.


def test_a_request_is_there_for_every_process_as_it_was_asked(store: SqliteStore, other: SqliteStore) -> None:
    request = added(store, request_of())
    assert store.load(request.id) == other.load(request.id) == request
    assert other.found([request.key]) == (request,)
    assert other.listed(is_open=True, limit=10) == (without_shown(request),)
    assert (store.waiting(), other.waiting()) == (1, 1)
    assert store.load("f" * 32) is None


@settings(deadline=None, max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(request=requests)
def test_every_request_that_the_types_allow_comes_back_as_it_was(other: SqliteStore, request: Request) -> None:
    other._run("DELETE FROM requests")
    other._known.clear()
    if other.add(request, 2**31, 2**31) == request:
        assert other.load(request.id) == request
        other._known.clear()
        assert other.load(request.id) == request


def test_the_same_call_asked_for_twice_is_one_request(store: SqliteStore, other: SqliteStore) -> None:
    request = added(store, request_of(1, ask_of()))
    assert other.add(request_of(2, ask_of()), CAP, CAP_OF_WORKLOAD) == request
    assert store.waiting() == 1


def test_the_same_call_is_a_new_request_once_the_first_has_ended(store: SqliteStore) -> None:
    saved(store, settled(added(store, request_of(1, ask_of())), after(900), POLICY))
    again = added(store, request_of(2, ask_of()))
    assert store.listed(is_open=True, limit=10) == (without_shown(again),)


def test_no_more_wait_than_may_altogether_and_of_one_workload(store: SqliteStore) -> None:
    for number in range(3):
        assert isinstance(store.add(request_of(number), 4, 3), Request)
    assert store.add(request_of(3), 4, 3) == TooMany(by_workload=True)
    others = [request_of(number, ask_of(arguments={"n": number}, caller=OTHER_AGENT)) for number in (4, 5)]
    assert store.add(others[0], 4, 3) == others[0]
    assert store.add(others[1], 4, 3) == TooMany(by_workload=False)
    assert store.waiting() == 4


def test_at_the_cap_a_call_that_waits_already_is_still_found(store: SqliteStore) -> None:
    request = request_of(1, ask_of())
    assert store.add(request, 1, 1) == request
    assert store.add(request_of(2, ask_of()), 1, 1) == request


def test_what_is_approved_no_longer_counts_as_waiting(store: SqliteStore) -> None:
    approved(store, added(store, request_of(1)))
    assert store.waiting() == 0
    assert store.add(request_of(2), 1, 1) == request_of(2)


def test_of_two_changes_to_one_request_the_second_is_refused(store: SqliteStore, other: SqliteStore) -> None:
    request = approved(store, added(store, request_of()))
    mine, theirs = store.load(request.id), other.load(request.id)
    assert mine is not None
    assert theirs is not None
    used = used_once(mine, NOW, POLICY)
    also_used = used_once(theirs, NOW, POLICY)
    assert used is not None
    assert also_used is not None
    assert store.save(used)
    assert not other.save(also_used)
    assert store.load(request.id) == other.load(request.id) == used


def test_a_change_to_what_is_not_there_is_refused(store: SqliteStore) -> None:
    assert not store.save(replace(request_of(), revision=1))
    assert store.load(request_of().id) is None


def test_a_change_of_what_a_list_told_keeps_the_arguments(store: SqliteStore) -> None:
    request = added(store, request_of())
    saved(store, asked_again(store.listed(is_open=True, limit=1)[0]))
    assert store.load(request.id) == asked_again(request)


def test_an_approval_that_covers_more_is_found_by_what_it_covers(store: SqliteStore) -> None:
    request = added(store, request_of(ask=ask_of(with_repeat())))
    wide = voted(request, vote_of(cover=Cover(3, 600)), NOW, POLICY)
    assert isinstance(wide, Request)
    saved(store, wide)
    assert store.found([request.key]) == ()
    assert store.found([request.key, wide.key]) == (wide,)


def test_found_are_the_newest_first_and_those_that_ended_without_arguments(store: SqliteStore) -> None:
    first = saved(store, settled(added(store, request_of(1, ask_of())), after(900), POLICY))
    second = added(store, request_of(2, ask_of()))
    assert store.found([first.key]) == (second, without_shown(first))
    assert store.found([]) == ()


def test_a_key_that_many_had_gives_the_newest_of_them(store: SqliteStore) -> None:
    for number in range(MAX_OF_KEY + 5):
        saved(store, settled(added(store, request_of(number, ask_of())), after(900), POLICY))
    found = store.found([request_of(0, ask_of()).key])
    assert [int(request.id, 16) for request in found] == list(range(MAX_OF_KEY + 4, 4, -1))


def test_lists_are_of_the_open_ones_oldest_first_and_of_the_others_newest_first(store: SqliteStore) -> None:
    for number in (3, 1, 2):
        added(store, request_of(number))
    last = ended(store, 5, after(920))
    first = ended(store, 4, after(910))
    assert [int(request.id, 16) for request in store.listed(is_open=True, limit=10)] == [3, 1, 2]
    assert [int(request.id, 16) for request in store.listed(is_open=True, limit=2)] == [3, 1]
    assert store.listed(is_open=False, limit=10) == (without_shown(last), without_shown(first))


def test_the_version_is_another_one_after_each_change_by_whatever_process(
    store: SqliteStore, other: SqliteStore
) -> None:
    versions = [store.version()]

    def changed() -> None:
        versions.append(store.version())
        assert other.version() == versions[-1]

    request = added(other, request_of())
    changed()
    request = approved(store, request)
    changed()
    saved(other, used_once(request, NOW, POLICY))
    changed()
    assert store.forget(NOW.wall + 1, after(1)) == 1
    changed()
    assert len(set(versions)) == len(versions)


def test_the_version_stays_for_what_is_no_change_of_requests(store: SqliteStore) -> None:
    added(store, request_of())
    version = store.version()
    store.keep_session(Session("a", person_of(), "c", NOW, NOW))
    store.put_notices([Notice("n", "ops", b"", NOW.wall)])
    store.keep_secret(Secret("d", "link", b"", NOW, 60))
    assert not store.save(request_of())
    store.forget(0.0, NOW)
    store.began(NOW)
    assert store.version() == version


def test_what_is_longer_than_anything_may_be_is_not_kept(store: SqliteStore) -> None:
    long = request_of(ask=replace(ask_of(), definition="x" * (MAX_VALUE_BYTES + 1)))
    with pytest.raises(StoreFault, match="too big"):
        store.add(long, CAP, CAP_OF_WORKLOAD)
    assert (store.waiting(), store.load(long.id)) == (0, None)


def test_what_ended_before_is_forgotten_and_what_is_open_is_not(store: SqliteStore) -> None:
    ended(store, 1, after(1000))
    kept = ended(store, 2, after(2000))
    open_one = added(store, request_of(3))
    assert store.forget(after(2000).wall, after(90_000)) == 1
    assert store.load(request_of(1).id) is None
    assert store.load(kept.id) == kept
    assert store.load(open_one.id) == open_one
    assert store._number("SELECT count(*) FROM shown") == 2


def test_what_ended_by_a_clock_that_was_wrong_is_not_kept_until_it_is_right(store: SqliteStore) -> None:
    wrong = ended(store, 1, after(50 * 365 * 86_400))
    kept = ended(store, 2, after(7200))
    assert store.forget(NOW.wall - 86_400, NOW) == 1
    assert store.load(wrong.id) is None
    assert store.load(kept.id) == kept


def test_a_sweep_takes_no_more_than_it_may_at_once(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(5):
        ended(store, number, after(1000))
    monkeypatch.setattr(sqlite_store, "_OLD", sqlite_store._OLD.replace("LIMIT 2000", "LIMIT 3"))
    assert [store.forget(after(2000).wall, after(3000)) for _ in range(3)] == [3, 2, 0]


@pytest.mark.parametrize("id_", ["", "\0", "\ud800", "x" * 100_000, "' OR 1=1 --"])
def test_an_id_that_nobody_gave_out_finds_nothing(store: SqliteStore, id_: str) -> None:
    added(store, request_of())
    try:
        assert store.load(id_) is None
        assert store.found([id_]) == ()
        assert store.session(id_) is None
    except StoreFault as fault:
        assert str(fault) == "the approvals store: this is no value for it"  # noqa: PT017  # either is fine


# Clocks.


def test_a_first_use_and_one_after_the_last_are_well(store: SqliteStore, other: SqliteStore) -> None:
    assert store.began(NOW)
    assert other.began(after(60, boot="boot-2"))


@pytest.mark.parametrize(("back_s", "is_well"), [(0.0, True), (4.9, True), (5.1, False), (86_400.0, False)], ids=str)
def test_a_clock_set_back_while_the_machine_was_off_is_noticed(
    store: SqliteStore, back_s: float, *, is_well: bool
) -> None:
    store.began(NOW)
    assert store.began(Moment(NOW.wall - back_s, "boot-2", 10.0)) is is_well


def test_it_is_said_once_and_the_new_time_counts_from_then_on(store: SqliteStore) -> None:
    store.began(NOW)
    back = Moment(NOW.wall - 3600, "boot-2", 10.0)
    assert not store.began(back)
    assert store.began(replace(back, boot="boot-3", wall=back.wall + 1))


def test_a_clock_set_back_while_the_machine_runs_is_remembered_until_it_starts_again(store: SqliteStore) -> None:
    store.began(NOW)
    store.forget(0.0, after(600))
    # In the same start of the machine the other clock tells how old everything is.
    assert store.began(after(700, wall=-100))
    store.forget(0.0, after(800, wall=0))
    assert not store.began(Moment(NOW.wall + 100, "boot-2", 10.0))


def test_the_last_use_is_the_last_sweep(store: SqliteStore) -> None:
    store.began(NOW)
    store.forget(0.0, after(600))
    assert not store.began(Moment(NOW.wall + 300, "boot-2", 10.0))


# Sessions, secrets, messages.


def test_a_session_is_kept_changed_and_dropped_for_all_processes(store: SqliteStore, other: SqliteStore) -> None:
    session = Session("a" * 64, person_of(), "csrf", NOW, NOW)
    store.keep_session(session)
    assert other.session(session.digest) == session
    later = replace(session, last=after(60))
    other.keep_session(later)
    assert store.session(session.digest) == later
    store.drop_session(session.digest)
    assert other.session(session.digest) is None


def test_a_session_that_was_signed_out_does_not_come_back_with_a_request_that_was_under_way(store: SqliteStore) -> None:
    session = Session("a" * 64, person_of(), "csrf", NOW, NOW)
    store.keep_session(session)
    store.drop_session(session.digest)
    store.keep_session(replace(session, last=after(1)))
    assert store.session(session.digest) is None


def test_more_sessions_than_may_be_end_the_oldest(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_short_lived, "MAX_SESSIONS", 2)
    for digest in ("a", "b", "c"):
        store.keep_session(Session(digest, person_of(), "csrf", NOW, NOW))
    assert [store.session(digest) is None for digest in ("a", "b", "c")] == [True, False, False]


def test_more_messages_than_may_be_give_up_the_oldest(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_short_lived, "MAX_NOTICES", 2)
    store.put_notices([Notice(id_, "ops", b"", 0.0) for id_ in ("a", "b", "c")])
    assert [notice.id for notice in store.notices_due(1.0, 9)] == ["b", "c"]


@pytest.mark.parametrize("now", [after(SESSION_S + 1), after(-10)], ids=["a day later", "the clock was set back"])
def test_sessions_that_are_over_are_forgotten(store: SqliteStore, now: Moment) -> None:
    store.keep_session(Session("a", person_of(), "csrf", NOW, NOW))
    store.forget(0.0, after(60))
    assert store.session("a") is not None
    store.forget(0.0, now)
    assert store.session("a") is None


def test_a_secret_is_good_once_whoever_comes_first(store: SqliteStore, other: SqliteStore) -> None:
    store.keep_secret(Secret("d", "link", b"who", NOW, 60))
    assert other.take_secret("d", "sign-in", after(1)) is None
    assert other.take_secret("d", "link", after(1)) == b"who"
    assert store.take_secret("d", "link", after(1)) is None


@pytest.mark.parametrize("now", [after(60), after(60, wall=0), after(-6)], ids=["over", "set back", "before"])
def test_a_secret_that_is_over_is_worth_nothing_and_gone(store: SqliteStore, now: Moment) -> None:
    store.keep_secret(Secret("d", "link", b"who", NOW, 60))
    assert store.take_secret("d", "link", now) is None
    assert store.take_secret("d", "link", after(1)) is None


def test_secrets_that_are_over_are_forgotten(store: SqliteStore) -> None:
    store.keep_secret(Secret("d", "link", b"who", NOW, 60))
    store.keep_secret(Secret("e", "link", b"who", NOW, 600))
    store.forget(0.0, after(61))
    assert store._number("SELECT count(*) FROM secrets") == 1


def test_a_flood_of_sign_ins_takes_no_more_room_than_it_may_and_no_link(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_short_lived, "MAX_SECRETS_OF_KIND", 20)
    store.keep_secret(Secret("mine", "link", b"who", NOW, 600))
    for number in range(23):
        store.keep_secret(Secret(str(number), "sign-in", b"", NOW, 600))
    assert store._number("SELECT count(*) FROM secrets") == 21
    assert store.take_secret("2", "sign-in", NOW) is None
    assert store.take_secret("3", "sign-in", NOW) == b""
    assert store.take_secret("mine", "link", NOW) == b"who"


def test_messages_wait_until_they_are_due_and_are_delivered_once(store: SqliteStore, other: SqliteStore) -> None:
    first, second = (Notice(name, "ops", name.encode(), NOW.wall + at) for name, at in (("a", 2), ("b", 1)))
    store.put_notices([first, second])
    store.put_notices([replace(first, body=b"again")])
    assert other.notices_due(NOW.wall, 10) == ()
    assert other.notices_due(NOW.wall + 2, 10) == (second, first)
    assert other.notices_due(NOW.wall + 2, 1) == (second,)
    other.keep_notice(replace(second, due=NOW.wall + 60, tries=1))
    assert store.notices_due(NOW.wall + 2, 10) == (first,)
    store.drop_notice("a")
    store.keep_notice(replace(first, tries=5))
    assert store.notices_due(NOW.wall + 60, 10) == (replace(second, due=NOW.wall + 60, tries=1),)


# Several steps at once.


def test_what_one_step_raises_undoes_that_step_alone(store: SqliteStore, other: SqliteStore) -> None:
    def broken(store: Store) -> None:
        added(store, request_of(2))
        raise ValueError("no")

    steps: list[Callable[[Store], object]] = [
        lambda store: added(store, request_of(1)),
        broken,
        lambda store: added(store, request_of(3)),
    ]
    first, second, third = store.together(steps)
    assert (first, third) == (request_of(1), request_of(3))
    assert isinstance(second, Failed)
    assert isinstance(second.fault, ValueError)
    assert [int(request.id, 16) for request in other.listed(is_open=True, limit=9)] == [1, 3]


def test_a_method_that_fails_within_a_step_leaves_nothing_of_itself(store: SqliteStore) -> None:
    def step(store: Store) -> str:
        added(store, request_of(1))
        with pytest.raises(StoreFault):
            store.put_notices([Notice("fine", "ops", b"", 0.0), replace(Notice("bad", "ops", b"", 0.0), target=None)])  # type: ignore[arg-type]
        return "went on"

    assert store.together([step]) == ["went on"]
    assert store.waiting() == 1
    assert store.notices_due(1.0, 9) == ()


# What is on disk.


def test_nothing_that_people_are_shown_is_on_disk_in_clear(store: SqliteStore, path: Path) -> None:
    ask = replace(
        ask_of(arguments={"note": "canary-argument"}),
        definition="canary-definition",
        why=("canary-why",),
        found=("canary-found",),
        user="canary-user",
        purpose="canary-purpose",
    )
    request = added(store, request_of(1, ask))
    vote = vote_of(
        replace(person_of("canary-name"), groups=frozenset({"payments-leads", "canary-group"})), reason="canary-reason"
    )
    found = voted(request, vote, NOW, POLICY)
    assert isinstance(found, Request)
    saved(store, found)
    store.keep_session(Session("a", vote.person, "canary-csrf", NOW, NOW))
    store.keep_secret(Secret("d", "link", b"canary-secret", NOW, 60))
    store.put_notices([Notice("n", "ops", b"canary-notice", NOW.wall)])
    assert {each.name for each in path.parent.iterdir()} >= {path.name, f"{path.name}-wal"}
    for file in path.parent.iterdir():
        assert b"canary" not in file.read_bytes(), file.name
    store.close()
    assert b"canary" not in path.read_bytes()
    assert b"refunds" not in path.read_bytes()


def test_no_digest_by_which_arguments_could_be_guessed_is_on_disk_in_clear(store: SqliteStore, path: Path) -> None:
    request = added(store, request_of(1))
    assert store.found([request.key]) == (request,)
    written = b"".join(file.read_bytes() for file in path.parent.iterdir())
    assert request.id.encode() in written
    for digest in (request.key, request.ask.binding.arguments):
        assert digest.encode() not in written


def test_sqlite_syncs_each_transaction_and_wipes_what_is_deleted(store: SqliteStore) -> None:
    # https://www.sqlite.org/pragma.html: FULL is 2.
    pragmas = [store._run(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "synchronous", "secure_delete")]
    assert pragmas == ["wal", 2, 1]


def test_the_files_are_for_the_gates_user_alone(store: SqliteStore, path: Path) -> None:
    added(store, request_of())
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert {file.stat().st_mode & 0o777 for file in path.parent.iterdir()} == {0o600}


def _tampered(path: Path, *statements: str) -> None:
    database = sqlite3.connect(path)
    for statement in statements:
        database.execute(statement)
    database.commit()
    database.close()


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE requests SET state = 'approved'",
        "UPDATE requests SET key = 'other'",
        "UPDATE requests SET caller = 'other'",
        "UPDATE requests SET asked = asked + 1",
        "UPDATE requests SET ended = 1.0",
        "UPDATE requests SET revision = revision + 1",
        "UPDATE requests SET body = (SELECT body FROM requests WHERE id LIKE '%2')",
        "UPDATE requests SET body = x'00'",
        "UPDATE requests SET body = zeroblob(100)",
        "UPDATE requests SET state = CAST(x'ff' AS TEXT)",
        "UPDATE shown SET body = (SELECT body FROM shown WHERE id LIKE '%2') WHERE id LIKE '%1'",
        "DELETE FROM shown WHERE id LIKE '%1'",
    ],
)
def test_a_row_that_somebody_changed_is_not_there_and_is_counted_and_others_are(
    store: SqliteStore, other: SqliteStore, path: Path, statement: str
) -> None:
    first, second = added(store, request_of(1)), added(store, request_of(2))
    where = "" if "WHERE id LIKE '%1'" in statement else " WHERE id LIKE '%1'"
    _tampered(path, statement + where)
    for each in (store, other):
        assert each.load(first.id) is None
        assert first not in each.found([first.key, "other"])
        assert each.unreadable == 1
        assert each.load(second.id) == second


def test_a_request_that_cannot_be_read_is_asked_for_anew(store: SqliteStore, path: Path) -> None:
    first = added(store, request_of(1, ask_of()))
    _tampered(path, "UPDATE requests SET state = 'approved'")
    again = request_of(2, ask_of())
    assert store.add(again, CAP, CAP_OF_WORKLOAD) == again
    assert store.found([first.key]) == (again,)


def test_a_row_that_cannot_be_read_is_forgotten_when_all_of_its_age_has_ended(store: SqliteStore, path: Path) -> None:
    added(store, request_of(1))
    _tampered(path, "UPDATE requests SET body = x'00'")
    assert store.listed(is_open=True, limit=9) == ()
    month = after(31 * 86_400)
    assert store.forget(month.wall - 2 * 86_400, month) == 0
    assert store.listed(is_open=True, limit=9) == ()
    assert (store.unreadable, store.waiting()) == (1, 1)
    assert store.forget(month.wall, month) == 1
    assert (store.unreadable, store.waiting()) == (0, 0)


def test_sessions_secrets_and_messages_that_somebody_changed_are_not_there(store: SqliteStore, path: Path) -> None:
    session = Session("a", person_of(), "csrf", NOW, NOW)
    store.keep_session(session)
    store.keep_secret(Secret("d", "link", b"who", NOW, 60))
    store.put_notices([Notice("n", "ops", b"", 0.0)])
    _tampered(
        path,
        "UPDATE sessions SET digest = 'b'",
        "UPDATE secrets SET lasts_s = 1e9",
        "UPDATE notices SET target = 'elsewhere'",
    )
    assert store.session("b") is None
    assert store.take_secret("d", "link", after(61)) is None
    assert store.notices_due(1.0, 9) == ()
    assert store._number("SELECT count(*) FROM notices") == 0


# Opening.


def opened(path: Path, key: bytes = KEY) -> str:
    with pytest.raises(StoreFault) as caught:
        SqliteStore(path, key)
    return str(caught.value)


def test_what_was_kept_is_there_after_a_restart(store: SqliteStore, path: Path) -> None:
    request = added(store, request_of())
    store.close()
    again = SqliteStore(path, KEY)
    assert again.load(request.id) == request
    again.close()


def test_another_gates_store_is_not_opened(store: SqliteStore, path: Path) -> None:
    store.close()
    assert "another key" in opened(path, bytes(32))


def test_a_newer_gates_store_is_not_opened_and_not_changed(store: SqliteStore, path: Path) -> None:
    store.close()
    _tampered(path, "PRAGMA user_version = 2")
    content = path.read_bytes()
    assert "newer callgate (version 2" in opened(path)
    assert path.read_bytes() == content


def test_a_file_that_others_can_read_is_not_opened(store: SqliteStore, path: Path) -> None:
    store.close()
    path.chmod(0o640)
    assert f"chmod 600 {path}" in opened(path)
    path.chmod(0o600)
    path.parent.chmod(0o750)
    assert f"chmod 700 {path.parent}" in opened(path)


def test_a_link_a_folder_and_a_pipe_are_not_opened(tmp_path: Path, store: SqliteStore, path: Path) -> None:
    store.close()
    place = tmp_path / "other"
    place.mkdir(mode=0o700)
    (place / "link.db").symlink_to(path)
    (place / "folder.db").mkdir(mode=0o700)
    os.mkfifo(place / "pipe.db", 0o600)
    for name in ("link.db", "folder.db", "pipe.db"):
        assert "is no plain file" in opened(place / name)


def test_where_no_folder_can_be_made_it_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert "cannot open" in opened(tmp_path / "file" / "approvals.db")


@pytest.mark.parametrize("content", [b"no database at all" * 100, b"SQLite format 3\0" + b"\xff" * 4080])
def test_a_file_that_is_no_database_is_a_fault(path: Path, content: bytes) -> None:
    path.parent.mkdir(mode=0o700)
    path.touch(mode=0o600)
    path.write_bytes(content)
    assert "approvals store" in opened(path)
    assert path.read_bytes() == content


def test_a_database_of_something_else_is_a_fault(path: Path) -> None:
    path.parent.mkdir(mode=0o700)
    path.touch(mode=0o600)
    _tampered(path, "CREATE TABLE requests (id)")
    assert "approvals store" in opened(path)
    _tampered(path, "PRAGMA user_version = 1")
    assert "approvals store" in opened(path)


def test_a_key_of_another_length_is_a_mistake(path: Path) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        SqliteStore(path, b"short")


def test_a_store_whose_file_was_taken_away_is_a_fault_until_it_is_back(store: SqliteStore, path: Path) -> None:
    request = added(store, request_of())
    moved = path.with_name("moved.db")
    path.rename(moved)
    with pytest.raises(StoreFault, match="cannot find"):
        store.load(request.id)
    path.touch(mode=0o600)
    with pytest.raises(StoreFault, match="another file"):
        store.load(request.id)
    moved.rename(path)
    assert store.load(request.id) == request
