import json
from pathlib import Path
from typing import TypedDict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callgate.identity.spiffe_id import InvalidSpiffeId, SpiffeId, TrustDomain


class Case(TypedDict, total=False):
    kind: str
    input: str
    valid: bool
    error: str
    trust_domain: str
    path: str


CORPUS = Path(__file__).parents[2] / "corpus" / "spiffe_ids.json"
CASES: list[Case] = json.loads(CORPUS.read_text())["cases"]


def cases(*kinds: str, valid: bool) -> list[Case]:
    found = [case for case in CASES if case["kind"] in kinds and case["valid"] is valid]
    assert found
    return found


@pytest.mark.parametrize("case", cases("spiffe_id", "leaf_id", valid=True), ids=lambda case: ascii(case["input"])[:60])
def test_reads_every_valid_id_of_the_corpus_byte_for_byte(case: Case) -> None:
    spiffe_id = SpiffeId.parse(case["input"])

    assert spiffe_id.trust_domain == TrustDomain(case["trust_domain"])
    assert spiffe_id.path == case["path"]
    assert str(spiffe_id) == case["input"]


@pytest.mark.parametrize("case", cases("spiffe_id", valid=False), ids=lambda case: ascii(case["input"])[:60])
def test_refuses_every_invalid_id_of_the_corpus_for_its_reason(case: Case) -> None:
    with pytest.raises(InvalidSpiffeId) as refused:
        SpiffeId.parse(case["input"])

    assert refused.value.code == case["error"]


@pytest.mark.parametrize("case", cases("trust_domain", valid=True), ids=lambda case: ascii(case["input"])[:60])
def test_reads_every_valid_trust_domain_of_the_corpus(case: Case) -> None:
    assert str(TrustDomain.parse(case["input"])) == case["trust_domain"]


@pytest.mark.parametrize("case", cases("trust_domain", valid=False), ids=lambda case: ascii(case["input"])[:60])
def test_refuses_every_invalid_trust_domain_of_the_corpus_for_its_reason(case: Case) -> None:
    with pytest.raises(InvalidSpiffeId) as refused:
        TrustDomain.parse(case["input"])

    assert refused.value.code == case["error"]


@pytest.mark.parametrize("case", cases("path", valid=True), ids=lambda case: ascii(case["input"]))
def test_takes_every_valid_path_of_the_corpus(case: Case) -> None:
    assert SpiffeId(TrustDomain("acme.test"), case["input"]).path == case["path"]


@pytest.mark.parametrize("case", cases("path", valid=False), ids=lambda case: ascii(case["input"]))
def test_refuses_every_invalid_path_of_the_corpus_for_its_reason(case: Case) -> None:
    with pytest.raises(InvalidSpiffeId) as refused:
        SpiffeId(TrustDomain("acme.test"), case["input"])

    assert refused.value.code == case["error"]


@pytest.mark.parametrize("case", cases("path_segment", valid=False), ids=lambda case: ascii(case["input"]))
def test_refuses_a_path_around_every_invalid_segment_of_the_corpus(case: Case) -> None:
    with pytest.raises(InvalidSpiffeId):
        SpiffeId(TrustDomain("acme.test"), f"/a/{case['input']}/b")


def test_takes_a_trust_domain_of_255_bytes_and_not_of_256() -> None:
    assert TrustDomain.parse("a" * 255).name == "a" * 255
    with pytest.raises(InvalidSpiffeId) as refused:
        TrustDomain.parse("a" * 256)
    assert refused.value.code == "td_too_long"


def test_counts_the_length_of_an_id_made_from_its_parts() -> None:
    trust_domain = TrustDomain("acme.test")
    longest = "/" + "p" * (2048 - len("spiffe://acme.test/"))

    assert len(str(SpiffeId(trust_domain, longest))) == 2048
    with pytest.raises(InvalidSpiffeId) as refused:
        SpiffeId(trust_domain, longest + "p")
    assert refused.value.code == "too_long"


@pytest.mark.parametrize("path", ["x", "x/y", " /x", "../x"])
def test_refuses_a_path_that_does_not_start_with_a_slash(path: str) -> None:
    with pytest.raises(InvalidSpiffeId):
        SpiffeId(TrustDomain("acme.test"), path)


def test_ids_are_equal_only_byte_for_byte() -> None:
    one = SpiffeId.parse("spiffe://acme.test/a")

    assert one == SpiffeId.parse("spiffe://acme.test/a")
    assert hash(one) == hash(SpiffeId.parse("spiffe://acme.test/a"))
    assert one not in {SpiffeId.parse("spiffe://acme.test/A"), SpiffeId.parse("spiffe://acme.test.x/a")}


URI_CHARACTERS = "spiffe:/acme.tsAZ09-_%?#@[]\n\0\u0660 "


@given(st.text(st.sampled_from(URI_CHARACTERS) | st.characters(), max_size=40), st.sampled_from(["", "spiffe://"]))
def test_whatever_is_read_is_written_back_unchanged(text: str, scheme: str) -> None:
    try:
        spiffe_id = SpiffeId.parse(scheme + text)
    except InvalidSpiffeId:
        return
    assert str(spiffe_id) == scheme + text
    assert SpiffeId(spiffe_id.trust_domain, spiffe_id.path) == spiffe_id
