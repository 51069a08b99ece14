import time

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from callgate.dev.authority import BACKDATED_S, DevAuthority
from callgate.errors import GatewayError, Reason, Refusal
from callgate.identity.spiffe_id import TrustDomain
from callgate.identity.trust import Peer, parse_bundle, verify_peer
from callgate.identity.x509_svid import parse_x509_svid

ACME = TrustDomain("acme.test")
NOW = float(int(time.time()))


def issued(authority: DevAuthority, ttl_s: float = 60, dns_names: tuple[str, ...] = ()) -> x509.Certificate:
    chain, _ = authority.issue("/gate", now=NOW, ttl_s=ttl_s, dns_names=dns_names)
    return x509.load_der_x509_certificate(chain)


def judged(authority: DevAuthority, chain: bytes, now: float = NOW) -> Peer | Refusal:
    return verify_peer([chain], {ACME: parse_bundle(ACME, authority.bundle_der)}, now)


def usages(certificate: x509.Certificate) -> set[str]:
    usage = certificate.extensions.get_extension_for_class(x509.KeyUsage)
    assert usage.critical
    bits = ("digital_signature", "key_encipherment", "key_agreement", "key_cert_sign", "crl_sign", "data_encipherment")
    return {bit for bit in bits if getattr(usage.value, bit)}


def test_svid_is_accepted_by_our_own_verification() -> None:
    authority = DevAuthority(ACME, now=NOW)
    chain, key = authority.issue("/ns/billing/sa/bot", now=NOW, ttl_s=60)
    peer = judged(authority, chain)
    assert isinstance(peer, Peer)
    assert str(peer.id) == "spiffe://acme.test/ns/billing/sa/bot"
    assert parse_x509_svid(str(peer.id), chain, key, "").id == peer.id


def test_svid_has_the_extensions_that_spire_gives() -> None:
    leaf = issued(DevAuthority(ACME, now=NOW), dns_names=("localhost",))
    assert usages(leaf) == {"digital_signature", "key_encipherment", "key_agreement"}
    purposes = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage)
    assert set(purposes.value) == {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH}
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.UniformResourceIdentifier) == ["spiffe://acme.test/gate"]
    assert names.get_values_for_type(x509.DNSName) == ["localhost"]
    basic = leaf.extensions.get_extension_for_class(x509.BasicConstraints)
    assert (basic.critical, basic.value.ca) == (True, False)
    key = leaf.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    assert key.curve.name == "secp256r1"


def test_leaf_names_the_key_of_its_authority() -> None:
    authority = DevAuthority(ACME, now=NOW)
    leaf, root = issued(authority), x509.load_der_x509_certificate(authority.bundle_der)
    issuer = leaf.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
    assert issuer == root.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest


def test_root_has_the_extensions_that_spire_gives() -> None:
    root = x509.load_der_x509_certificate(DevAuthority(ACME, now=NOW).bundle_der)
    assert usages(root) == {"key_cert_sign", "crl_sign"}
    basic = root.extensions.get_extension_for_class(x509.BasicConstraints)
    assert (basic.critical, basic.value.ca) == (True, True)
    names = root.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.UniformResourceIdentifier) == ["spiffe://acme.test"]


def test_svid_is_backdated_and_ends_when_asked() -> None:
    leaf = issued(DevAuthority(ACME, now=NOW), ttl_s=60)
    assert leaf.not_valid_before_utc.timestamp() == NOW - BACKDATED_S
    assert leaf.not_valid_after_utc.timestamp() == NOW + 60


def test_svid_never_outlives_its_authority() -> None:
    authority = DevAuthority(ACME, now=NOW, lifetime_s=30)
    assert issued(authority, ttl_s=3600).not_valid_after_utc.timestamp() == authority.not_after == NOW + 30


def test_old_svid_is_trusted_beside_the_new_root_and_refused_once_the_old_root_is_dropped() -> None:
    authority = DevAuthority(ACME, now=NOW)
    old, _ = authority.issue("/gate", now=NOW, ttl_s=60)
    authority.rotate(now=NOW)
    new, _ = authority.issue("/gate", now=NOW, ttl_s=60)
    assert isinstance(judged(authority, old), Peer)
    assert isinstance(judged(authority, new), Peer)
    authority.drop_old_roots()
    refused = judged(authority, old)
    assert isinstance(refused, Refusal)
    assert refused.reason is Reason.SVID_UNTRUSTED
    assert isinstance(judged(authority, new), Peer)


def test_rotation_forgets_roots_that_have_expired() -> None:
    authority = DevAuthority(ACME, now=NOW, lifetime_s=30)
    authority.rotate(now=NOW + 20)
    assert len(parse_bundle(ACME, authority.bundle_der).authorities) == 2
    authority.rotate(now=NOW + 40)
    assert len(parse_bundle(ACME, authority.bundle_der).authorities) == 2


def test_issues_no_svid_for_the_trust_domain_itself() -> None:
    with pytest.raises(GatewayError, match=r"spiffe://acme\.test is the ID of a trust domain"):
        DevAuthority(ACME, now=NOW).issue("", now=NOW, ttl_s=60)


def test_long_trust_domain_name_is_no_obstacle() -> None:
    long = TrustDomain("a" * 255)
    authority = DevAuthority(long, now=NOW)
    chain, _ = authority.issue("/gate", now=NOW, ttl_s=60)
    assert isinstance(verify_peer([chain], {long: parse_bundle(long, authority.bundle_der)}, NOW), Peer)
