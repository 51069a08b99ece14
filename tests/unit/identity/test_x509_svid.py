import hashlib
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat
from hypothesis import given
from hypothesis import strategies as st

from callgate.identity.certificate import InvalidDer, key_is_weak, split_der
from callgate.identity.x509_svid import MAX_HINT_BYTES, InvalidSvid, X509Svid, parse_x509_svid
from support.pki import HOUR_S, LEAF_FAULTS, NO_NAME, Authority, Issued, Key, Profile, signer, workload

NOW = 1_800_000_000.0
ID = "spiffe://acme.test/gate"
ROOT = Authority.root("acme.test", now=NOW)
MIDDLE = ROOT.intermediate(signer("middle", "acme.test", now=NOW))
LEAF = workload(ID, now=NOW)


def parse(issued: Issued, spiffe_id: str = ID) -> X509Svid:
    return parse_x509_svid(spiffe_id, issued.chain_der, issued.key_der, "")


def test_reads_an_svid_of_one_certificate() -> None:
    issued = ROOT.issue(LEAF)

    svid = parse_x509_svid(ID, issued.chain_der, issued.key_der, "internal")

    assert str(svid.id) == ID
    assert svid.chain == (issued.der,)
    assert svid.key.public_key() == issued.key.public_key()
    assert (svid.not_before, svid.not_after) == (NOW - 10, NOW + HOUR_S)
    assert svid.hint == "internal"
    assert svid.leaf_sha256 == hashlib.sha256(issued.der).digest()


def test_reads_an_svid_with_its_intermediates_in_order() -> None:
    issued = MIDDLE.intermediate(signer("lower", "acme.test", now=NOW)).issue(LEAF)

    svid = parse(issued)

    assert len(svid.chain) == 3
    assert svid.chain == issued.chain


def test_an_svid_lasts_as_long_as_the_shortest_of_its_chain() -> None:
    short = replace(signer("short", "acme.test", now=NOW), not_before=NOW - 5, not_after=NOW + 60)

    svid = parse(ROOT.intermediate(short).issue(LEAF))

    assert (svid.not_before, svid.not_after) == (NOW - 5, NOW + 60)


STRONG_KEYS: dict[str, Key] = {
    "rsa_2048": rsa.generate_private_key(65537, 2048),
    "p256": ec.generate_private_key(ec.SECP256R1()),
    "p384": ec.generate_private_key(ec.SECP384R1()),
    "p521": ec.generate_private_key(ec.SECP521R1()),
    "ed25519": ed25519.Ed25519PrivateKey.generate(),
}


@pytest.mark.parametrize("key", STRONG_KEYS.values(), ids=STRONG_KEYS.keys())
def test_takes_every_kind_of_strong_key(key: Key) -> None:
    assert parse(ROOT.issue(replace(LEAF, key=key))).key.public_key() == key.public_key()


@pytest.mark.parametrize(("bits", "weak"), [(2047, True), (2048, False), (8192, False), (8193, True)])
def test_rsa_keys_are_neither_too_small_nor_too_large(bits: int, weak: bool) -> None:
    modulus = (1 << (bits - 1)) | 1

    assert key_is_weak(rsa.RSAPublicNumbers(65537, modulus).public_key()) is weak


GOOD_LEAVES: dict[str, Profile] = {
    "no basic constraints": replace(LEAF, ca=None),
    "no extended key usage": replace(LEAF, purposes=None),
    "critical extended key usage": replace(LEAF, purposes_critical=True),
    "critical name": replace(LEAF, names_critical=True),
    "empty subject and critical name": replace(LEAF, subject=NO_NAME, names_critical=True),
    "DNS names beside the ID": replace(LEAF, dns_names=("gate.acme.test", "gate")),
    "digitalSignature alone": replace(LEAF, key_usage=frozenset({"digital_signature"})),
}


@pytest.mark.parametrize("profile", GOOD_LEAVES.values(), ids=GOOD_LEAVES.keys())
def test_takes_every_leaf_that_the_standard_allows(profile: Profile) -> None:
    assert str(parse(ROOT.issue(profile)).id) == ID


CLOCK_FAULTS = {"expired", "not_yet_valid"}


@pytest.mark.parametrize("fault", sorted(LEAF_FAULTS.keys() - CLOCK_FAULTS))
def test_refuses_a_leaf_with_a_fault(fault: str) -> None:
    with pytest.raises(InvalidSvid, match="the leaf is no SVID: svid_"):
        parse(ROOT.issue(LEAF_FAULTS[fault](LEAF)))


@pytest.mark.parametrize("fault", sorted(CLOCK_FAULTS))
def test_reads_an_svid_without_asking_what_time_it_is(fault: str) -> None:
    assert str(parse(ROOT.issue(LEAF_FAULTS[fault](LEAF))).id) == ID


@pytest.mark.parametrize("other", ["spiffe://acme.test/gat", "spiffe://acme.test/Gate", "spiffe://acme.test/gate/", ""])
def test_refuses_an_id_that_is_not_the_certificates(other: str) -> None:
    with pytest.raises(InvalidSvid, match="the message says"):
        parse(ROOT.issue(LEAF), other)


@pytest.mark.parametrize("key", STRONG_KEYS.values(), ids=STRONG_KEYS.keys())
def test_refuses_another_certificates_key(key: Key) -> None:
    with pytest.raises(InvalidSvid, match="not the certificate's"):
        parse(replace(ROOT.issue(LEAF), key=key))


def test_refuses_a_key_that_cannot_be_read() -> None:
    issued = ROOT.issue(LEAF)
    encrypted = issued.key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret"))

    for key in (b"", b"not a key", issued.key_der[:-1], issued.key_pem, encrypted, issued.der):
        with pytest.raises(InvalidSvid, match="private key"):
            parse_x509_svid(ID, issued.chain_der, key, "")


def test_refuses_a_chain_that_cannot_be_read() -> None:
    issued = MIDDLE.issue(LEAF)
    chain = issued.chain_der
    empty_sequence = b"\x30\x00"

    for broken in (b"", b"not DER", chain[:-1], chain + b"\0", chain + empty_sequence, b"\n" + chain, issued.chain_pem):
        with pytest.raises(InvalidSvid):
            parse_x509_svid(ID, broken, issued.key_der, "")


BAD_SIGNERS: dict[str, Profile] = {
    "not a CA": replace(signer("bad", "acme.test", now=NOW), ca=False),
    "no basic constraints": replace(signer("bad", "acme.test", now=NOW), ca=None),
    "no keyCertSign": replace(signer("bad", "acme.test", now=NOW), key_usage=frozenset({"crl_sign"})),
    "no key usage": replace(signer("bad", "acme.test", now=NOW), key_usage=None),
    "ID with a path": replace(signer("bad", "acme.test", now=NOW), uris=("spiffe://acme.test/ca",)),
}


@pytest.mark.parametrize("profile", BAD_SIGNERS.values(), ids=BAD_SIGNERS.keys())
def test_refuses_an_intermediate_that_may_not_sign(profile: Profile) -> None:
    with pytest.raises(InvalidSvid, match="may not sign"):
        parse(ROOT.intermediate(profile).issue(LEAF))


def test_refuses_a_chain_that_is_out_of_order() -> None:
    lower = MIDDLE.intermediate(signer("lower", "acme.test", now=NOW))
    issued = lower.issue(LEAF)

    for above in (issued.above[::-1], issued.above[1:], (*issued.above, lower.certificate)):
        with pytest.raises(InvalidSvid, match="out of order"):
            parse(replace(issued, above=above))


def test_refuses_a_chain_of_more_than_eight() -> None:
    issued = MIDDLE.issue(LEAF)

    with pytest.raises(InvalidSvid, match="9 certificates"):
        parse(replace(issued, above=issued.above * 8))


def test_refuses_a_hint_of_more_than_1024_bytes() -> None:
    issued = ROOT.issue(LEAF)

    longest = "é" * (MAX_HINT_BYTES // 2)
    assert parse_x509_svid(ID, issued.chain_der, issued.key_der, longest).hint == longest
    with pytest.raises(InvalidSvid, match="hint"):
        parse_x509_svid(ID, issued.chain_der, issued.key_der, longest + "x")


def test_an_svid_shows_neither_key_nor_chain() -> None:
    issued = ROOT.issue(LEAF)

    shown = repr(parse(issued))

    assert "key" not in shown
    assert "chain" not in shown


@given(st.lists(st.binary(max_size=300), max_size=5))
def test_parts_what_was_put_together(contents: list[bytes]) -> None:
    parts = tuple(b"\x30" + _length(len(content)) + content for content in contents)

    assert split_der(b"".join(parts)) == parts


def _length(size: int) -> bytes:
    if size < 0x80:
        return bytes([size])
    return b"\x81" + bytes([size]) if size < 0x100 else b"\x82" + size.to_bytes(2, "big")


@given(st.binary(max_size=40))
def test_parting_garbage_loses_no_byte_or_fails(garbage: bytes) -> None:
    try:
        parts = split_der(garbage)
    except InvalidDer:
        return
    assert b"".join(parts) == garbage


@pytest.mark.parametrize(
    "der",
    [
        b"\x31\x00",
        b"\x30",
        b"\x30\x01",
        b"\x30\x80\x00\x00",
        b"\x30\x81\x05hello",
        b"\x30\x82\x00\x80" + bytes(0x80),
        b"\x30\x85\x00\x00\x00\x00\x80" + bytes(0x80),
        b"\x30\x84\xff\xff\xff\xff",
        b"\x30\xff",
        b"\x30\x00\x00",
    ],
    ids=lambda der: der.hex()[:16],
)
def test_refuses_a_length_that_is_not_der(der: bytes) -> None:
    with pytest.raises(InvalidDer):
        split_der(der)
