"""Which session a request belongs to, where the protocol has none."""

from callgate.audit.activity import GAP_S, MAX_ACTIVE, Activity, session_id
from callgate.identity.spiffe_id import SpiffeId
from callgate.identity.user import User

AGENT, OTHER = SpiffeId.parse("spiffe://acme.test/agent"), SpiffeId.parse("spiffe://acme.test/other")


def user(subject: str, issuer: str = "https://id.acme.test") -> User:
    return User(issuer, subject)


def test_requests_without_a_long_pause_are_one_session() -> None:
    activity = Activity(b"seed")
    now = 1_000_000.0
    first = activity.session_of(AGENT, None, now)
    for _ in range(10):
        now += GAP_S
        assert activity.session_of(AGENT, None, now) == first


def test_after_a_long_pause_a_new_one_begins() -> None:
    activity = Activity(b"seed")
    first = activity.session_of(AGENT, None, 0.0)
    assert activity.session_of(AGENT, None, GAP_S + 1) != first


def test_workloads_and_users_have_sessions_of_their_own() -> None:
    activity = Activity(b"seed")
    asked = [
        (AGENT, None),
        (OTHER, None),
        (AGENT, user("ann")),
        (AGENT, user("bob")),
        (AGENT, user("ann", "https://id.partner.test")),
    ]
    sessions = [activity.session_of(caller, who, 0.0) for caller, who in asked]
    assert len(set(sessions)) == len(asked)
    assert [activity.session_of(caller, who, 1.0) for caller, who in asked] == sessions


def test_a_clock_that_is_set_back_ends_no_session() -> None:
    activity = Activity(b"seed")
    first = activity.session_of(AGENT, None, 10_000.0)
    assert activity.session_of(AGENT, None, 10.0) == first
    assert activity.session_of(AGENT, None, 10_000.0 + GAP_S) == first


def test_two_gates_never_name_two_sessions_alike() -> None:
    assert Activity(b"one").session_of(AGENT, None, 0.0) != Activity(b"two").session_of(AGENT, None, 0.0)


def test_of_more_than_can_be_kept_the_quietest_begins_anew() -> None:
    activity = Activity(b"seed")
    first = activity.session_of(AGENT, None, 0.0)
    quiet = activity.session_of(OTHER, None, 0.0)
    for number in range(MAX_ACTIVE - 1):
        activity.session_of(SpiffeId.parse(f"spiffe://acme.test/{number}"), None, 1.0)
        assert number % 1000 or activity.session_of(AGENT, None, 1.0) == first
    assert activity.session_of(AGENT, None, 2.0) == first
    assert activity.session_of(OTHER, None, 2.0) != quiet


def test_a_name_is_sixteen_hex_digits_and_does_not_show_what_it_names() -> None:
    name = session_id(b"nonce")
    assert len(bytes.fromhex(name)) == 8
    assert b"nonce".hex()[:8] not in name
