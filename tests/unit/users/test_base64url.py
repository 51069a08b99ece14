from base64 import urlsafe_b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callgate.users.base64url import decode


@given(st.binary(max_size=80))
def test_reads_what_any_encoder_without_padding_writes(octets: bytes) -> None:
    assert decode(urlsafe_b64encode(octets).rstrip(b"=").decode()) == octets


@given(st.text(alphabet="ABCDwxyz0189-_", max_size=12))
def test_no_two_texts_spell_the_same_octets(text: str) -> None:
    octets = decode(text)
    assert octets is None or urlsafe_b64encode(octets).rstrip(b"=").decode() == text


@pytest.mark.parametrize("text", ["A", "AA==", "AAA=", "AA\n", " AA", "A+8A", "A/8A", "AÄ", "AB", "AAB", "AAAAA"])
def test_takes_no_padding_no_other_alphabet_and_no_bits_left_over(text: str) -> None:
    assert decode(text) is None
