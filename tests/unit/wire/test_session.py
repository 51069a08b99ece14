import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callgate.errors import Reason, Refusal
from callgate.identity.spiffe_id import SpiffeId
from callgate.wire.session import MAX_HANDLE_CHARS, Session, SessionSealer, is_session_id

KEY, NONCE, NOW, HOUR = bytes(range(32)), bytes(range(12)), 1_790_000_000.25, 3600.0
ALICE = SpiffeId.parse("spiffe://acme.test/ns/billing/sa/alice")
MALLORY = SpiffeId.parse("spiffe://acme.test/ns/billing/sa/mallory")
SEALER = SessionSealer(KEY)
UNKNOWN = Refusal(Reason.SESSION_UNKNOWN)
HANDLE = SEALER.seal("upstream-1", ALICE, "ledger", NONCE, NOW)


def test_opens_what_it_sealed_for_the_same_caller_and_server() -> None:
    assert SEALER.open(HANDLE, ALICE, "ledger", NOW + 1, HOUR) == Session("upstream-1", NOW, NONCE)


def test_a_server_without_sessions_is_not_one_with_an_empty_id() -> None:
    handle = SEALER.seal(None, ALICE, "ledger", NONCE, NOW)
    assert SEALER.open(handle, ALICE, "ledger", NOW, HOUR) == Session(None, NOW, NONCE)


def test_in_another_workloads_hands_there_is_no_such_session() -> None:
    assert SEALER.open(HANDLE, MALLORY, "ledger", NOW, HOUR) == UNKNOWN


def test_at_another_server_there_is_no_such_session() -> None:
    assert SEALER.open(HANDLE, ALICE, "crm", NOW, HOUR) == UNKNOWN


def test_in_another_trust_domain_there_is_no_such_session() -> None:
    namesake = SpiffeId.parse("spiffe://acme.test.evil.test/ns/billing/sa/alice")
    assert SEALER.open(HANDLE, namesake, "ledger", NOW, HOUR) == UNKNOWN


def test_under_another_key_there_is_no_such_session() -> None:
    assert SessionSealer(bytes(32)).open(HANDLE, ALICE, "ledger", NOW, HOUR) == UNKNOWN


def test_caller_and_server_cannot_be_split_differently() -> None:
    longer = SpiffeId.parse("spiffe://acme.test/ab")
    shorter = SpiffeId.parse("spiffe://acme.test/a")
    handle = SEALER.seal("x", longer, "c", NONCE, NOW)
    assert SEALER.open(handle, shorter, "bc", NOW, HOUR) == UNKNOWN


def test_lives_for_exactly_the_maximal_age() -> None:
    assert isinstance(SEALER.open(HANDLE, ALICE, "ledger", NOW + HOUR, HOUR), Session)
    assert SEALER.open(HANDLE, ALICE, "ledger", NOW + HOUR + 0.001, HOUR) == UNKNOWN


def test_a_session_of_the_future_is_none() -> None:
    assert isinstance(SEALER.open(HANDLE, ALICE, "ledger", NOW - 60, HOUR), Session)
    assert SEALER.open(HANDLE, ALICE, "ledger", NOW - 61, HOUR) == UNKNOWN


@pytest.mark.parametrize("bit", range(8))
def test_any_flipped_bit_makes_it_unknown(bit: int) -> None:
    sealed = base64.urlsafe_b64decode(HANDLE + "=" * (-len(HANDLE) % 4))
    for at in range(len(sealed)):
        damaged = bytearray(sealed)
        damaged[at] ^= 1 << bit
        handle = base64.urlsafe_b64encode(damaged).rstrip(b"=").decode()
        assert SEALER.open(handle, ALICE, "ledger", NOW, HOUR) == UNKNOWN


def test_any_other_character_makes_it_unknown() -> None:
    # The last character of a base64 text has spare bits: two spellings of one handle would be two handles.
    for at in range(len(HANDLE)):
        for new in "Aa-_=9 \n\0é":
            if HANDLE[at] != new:
                changed = HANDLE[:at] + new + HANDLE[at + 1 :]
                assert SEALER.open(changed, ALICE, "ledger", NOW, HOUR) == UNKNOWN


@pytest.mark.parametrize(
    "handle",
    [
        "",
        "A",
        "=",
        HANDLE + "=",
        HANDLE + "A",
        " " + HANDLE,
        HANDLE + "\n",
        HANDLE[:-1],
        HANDLE[:16],
        "é" * 16,
        "-" * 5000,
    ],
)
def test_what_is_no_handle_is_unknown(handle: str) -> None:
    assert SEALER.open(handle, ALICE, "ledger", NOW, HOUR) == UNKNOWN


@given(st.text(max_size=200))
def test_any_text_is_unknown(handle: str) -> None:
    assert SEALER.open(handle, ALICE, "ledger", NOW, HOUR) == UNKNOWN


@given(
    st.none() | st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=1024),
    st.binary(min_size=12, max_size=12),
    st.sampled_from(["ledger", "a", "l3dg-er"]),
)
def test_every_handle_opens_and_fits_a_header(upstream_id: str | None, nonce: bytes, server: str) -> None:
    handle = SEALER.seal(upstream_id, ALICE, server, nonce, NOW)
    assert SEALER.open(handle, ALICE, server, NOW, HOUR) == Session(upstream_id, NOW, nonce)
    assert is_session_id(handle) or len(handle) > 1024
    assert len(handle) <= MAX_HANDLE_CHARS


def test_says_nothing_of_what_it_seals() -> None:
    content = base64.urlsafe_b64decode(HANDLE + "=" * (-len(HANDLE) % 4))
    assert b"upstream-1" not in content
    assert b"acme.test" not in content


@pytest.mark.parametrize("upstream_id", ["", "a b", "a\n", "é", "x" * 1025, "\x7f"])
def test_seals_no_id_that_a_header_could_not_carry(upstream_id: str) -> None:
    assert not is_session_id(upstream_id)
    with pytest.raises(ValueError, match="session id"):
        SEALER.seal(upstream_id, ALICE, "ledger", NONCE, NOW)


@pytest.mark.parametrize("nonce", [b"", bytes(11), bytes(13)])
def test_seals_with_a_nonce_of_96_bits_only(nonce: bytes) -> None:
    with pytest.raises(ValueError, match="nonce"):
        SEALER.seal("x", ALICE, "ledger", nonce, NOW)


@pytest.mark.parametrize("key", [b"", bytes(16), bytes(31), bytes(33)])
def test_has_a_key_of_256_bits_only(key: bytes) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        SessionSealer(key)
