import hashlib
import math
from collections.abc import Mapping
from dataclasses import replace

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from hypothesis import given, settings
from hypothesis import strategies as st

from callgate.errors import Reason, Refusal
from callgate.identity.certificate import MAX_CERTIFICATE_BYTES
from callgate.identity.spiffe_id import SpiffeId, TrustDomain
from callgate.identity.trust import (
    InvalidBundle,
    Peer,
    X509Bundle,
    X509Context,
    parse_bundle,
    still_trusted,
    verify_peer,
)
from callgate.identity.x509_svid import InvalidSvid, parse_x509_svid
from support.pki import (
    BOTH_ENDS,
    DAY_S,
    HOUR_S,
    LEAF_FAULTS,
    NO_NAME,
    UNKNOWN_EXTENSION,
    Authority,
    Profile,
    name,
    signer,
    workload,
)

NOW = 1_800_000_000.0
ACME = TrustDomain("acme.test")
PARTNER = TrustDomain("partner.test")
ROOT = Authority.root("acme.test", now=NOW)
PARTNER_ROOT = Authority.root("partner.test", now=NOW)
MIDDLE = ROOT.intermediate(signer("middle", "acme.test", now=NOW))
ID = SpiffeId.parse("spiffe://acme.test/ns/billing/sa/agent")
LEAF = workload(str(ID), now=NOW)
SIGNER = signer("signer", "acme.test", now=NOW)


def trust(*authorities: Authority, trust_domain: TrustDomain = ACME) -> Mapping[TrustDomain, X509Bundle]:
    der = b"".join(authority.der for authority in authorities)
    return {trust_domain: parse_bundle(trust_domain, der)}


TRUST = trust(ROOT)
BOTH = {**TRUST, **trust(PARTNER_ROOT, trust_domain=PARTNER)}


def peer(verdict: Peer | Refusal) -> Peer:
    assert isinstance(verdict, Peer), verdict
    return verdict


def reason(verdict: Peer | Refusal) -> Reason:
    assert isinstance(verdict, Refusal), verdict
    return verdict.reason


# Who is let in


def test_accepts_a_leaf_that_the_root_signed() -> None:
    issued = ROOT.issue(LEAF)

    found = peer(verify_peer(issued.chain, TRUST, NOW))

    assert found.id == ID
    assert found.chain == issued.chain
    assert found.leaf_sha256 == hashlib.sha256(issued.der).digest()
    assert (found.not_before, found.not_after) == (NOW - 10, NOW + HOUR_S)
    assert found.bundle is TRUST[ACME]


GOOD_LEAVES: dict[str, Profile] = {
    "no basic constraints": replace(LEAF, ca=None),
    "no extended key usage": replace(LEAF, purposes=None),
    "critical extended key usage": replace(LEAF, purposes_critical=True),
    "critical name beside a subject": replace(LEAF, names_critical=True),
    "empty subject and critical name": replace(LEAF, subject=NO_NAME, names_critical=True),
    "DNS names beside the ID": replace(LEAF, dns_names=("agent.acme.test", "*.acme.test")),
    "unknown extension, not critical": replace(LEAF, more=((UNKNOWN_EXTENSION, False),)),
    "RSA 2048": replace(LEAF, key=rsa.generate_private_key(65537, 2048)),
    "P-384": replace(LEAF, key=ec.generate_private_key(ec.SECP384R1())),
    "P-521": replace(LEAF, key=ec.generate_private_key(ec.SECP521R1())),
    "Ed25519": replace(LEAF, key=ed25519.Ed25519PrivateKey.generate()),
    "an ID of 2048 bytes": replace(LEAF, uris=(str(ID).ljust(2048, "x"),)),
}


@pytest.mark.parametrize("profile", GOOD_LEAVES.values(), ids=GOOD_LEAVES.keys())
def test_accepts_every_leaf_that_the_standard_allows(profile: Profile) -> None:
    assert str(peer(verify_peer(ROOT.issue(profile).chain, TRUST, NOW)).id) == profile.uris[0]


def test_accepts_a_subject_longer_than_x520_allows() -> None:
    dn_qualifier, common_name = bytes.fromhex("060355042e"), bytes.fromhex("0603550403")
    long_name = x509.Name([x509.NameAttribute(x509.NameOID.DN_QUALIFIER, "x" * 65)])
    leaf = ROOT.reissue(ROOT.issue(replace(LEAF, subject=long_name)).der, dn_qualifier, common_name)

    assert peer(verify_peer([leaf], TRUST, NOW)).id == ID


def _lower() -> Authority:
    return MIDDLE.intermediate(signer("lower", "acme.test", now=NOW))


GOOD_PATHS: dict[str, tuple[Authority, Authority]] = {
    # who issues the leaf, and the anchor
    "one intermediate": (MIDDLE, ROOT),
    "two intermediates": (_lower(), ROOT),
    # X509-SVID.md, section 6.1: "the certificate SHOULD be self-signed".
    "an anchor that is not self-signed": (MIDDLE, MIDDLE),
    "an anchor in the middle of what was sent": (_lower(), MIDDLE),
    "intermediate of another trust domain": (ROOT.intermediate(signer("x", "upstream.test", now=NOW)), ROOT),
    "intermediate without a name": (ROOT.intermediate(replace(SIGNER, uris=())), ROOT),
    "intermediate with a foreign URI": (ROOT.intermediate(replace(SIGNER, uris=("https://ca.test/x",))), ROOT),
    "intermediate for servers alone": (
        ROOT.intermediate(replace(SIGNER, purposes=(BOTH_ENDS[0],))),
        ROOT,
    ),
    "intermediate for acme.test's DNS names": (
        ROOT.intermediate(replace(SIGNER, more=((x509.NameConstraints([x509.DNSName("acme.test")], None), True),))),
        ROOT,
    ),
}


@pytest.mark.parametrize(("issuer", "anchor"), GOOD_PATHS.values(), ids=GOOD_PATHS.keys())
def test_accepts_every_path_that_the_standard_allows(issuer: Authority, anchor: Authority) -> None:
    assert peer(verify_peer(issuer.issue(LEAF).chain, trust(anchor), NOW)).id == ID


GOOD_ROOTS: dict[str, Authority] = {
    "without key usage": Authority.self_signed(replace(SIGNER, key_usage=None)),
    "without an ID": Authority.self_signed(replace(SIGNER, uris=())),
    "with path length 0": Authority.self_signed(replace(SIGNER, path_length=0)),
    "with an RSA key": Authority.self_signed(replace(SIGNER, key=rsa.generate_private_key(65537, 2048))),
}


@pytest.mark.parametrize("root", GOOD_ROOTS.values(), ids=GOOD_ROOTS.keys())
def test_accepts_a_leaf_of_a_root(root: Authority) -> None:
    assert peer(verify_peer(root.issue(LEAF).chain, trust(root), NOW)).id == ID


def test_refuses_signatures_that_path_validation_does_not_know() -> None:
    # Which is Ed25519's, in the versions of `cryptography` so far: a limit of ours, not of the standard's.
    root = Authority.self_signed(replace(SIGNER, key=ed25519.Ed25519PrivateKey.generate()))

    assert reason(verify_peer(root.issue(LEAF).chain, trust(root), NOW)) is Reason.SVID_UNTRUSTED


def test_finds_the_path_in_whatever_order_the_chain_was_sent() -> None:
    leaf, *above = _lower().issue(LEAF).chain

    assert peer(verify_peer([leaf, *reversed(above), ROOT.der], TRUST, NOW)).id == ID


def test_finds_the_path_beside_certificates_that_lead_nowhere() -> None:
    leaf, *above = MIDDLE.issue(LEAF).chain
    namesake = Authority.self_signed(replace(signer("middle", "acme.test", now=NOW)))
    stranger = PARTNER_ROOT.issue(workload("spiffe://partner.test/x", now=NOW))

    assert peer(verify_peer([leaf, namesake.der, stranger.der, *above], TRUST, NOW)).id == ID


# Who is not


FAULTS: dict[str, Reason] = {
    "no_san": Reason.SVID_NO_URI,
    "dns_name_only": Reason.SVID_NO_URI,
    "two_uris": Reason.SVID_SEVERAL_URIS,
    "same_uri_twice": Reason.SVID_SEVERAL_URIS,
    "second_uri_not_spiffe": Reason.SVID_SEVERAL_URIS,
    "https_uri": Reason.SVID_ID_INVALID,
    "misspelt_scheme": Reason.SVID_ID_INVALID,
    "upper_case_scheme": Reason.SVID_ID_INVALID,
    "upper_case_trust_domain": Reason.SVID_ID_INVALID,
    "port_in_id": Reason.SVID_ID_INVALID,
    "user_in_id": Reason.SVID_ID_INVALID,
    "query_in_id": Reason.SVID_ID_INVALID,
    "newline_in_id": Reason.SVID_ID_INVALID,
    "nul_in_id": Reason.SVID_ID_INVALID,
    "id_too_long": Reason.SVID_ID_INVALID,
    "root_path": Reason.SVID_ROOT_PATH,
    "ca": Reason.SVID_IS_CA,
    "no_key_usage": Reason.SVID_KEY_USAGE,
    "key_usage_not_critical": Reason.SVID_KEY_USAGE,
    "no_digital_signature": Reason.SVID_KEY_USAGE,
    "key_cert_sign": Reason.SVID_KEY_USAGE,
    "crl_sign": Reason.SVID_KEY_USAGE,
    "server_auth_only": Reason.SVID_EXTENDED_KEY_USAGE,
    "client_auth_only": Reason.SVID_EXTENDED_KEY_USAGE,
    "any_purpose_only": Reason.SVID_EXTENDED_KEY_USAGE,
    "empty_subject": Reason.SVID_SUBJECT,
    "unknown_critical_extension": Reason.SVID_CRITICAL_EXTENSION,
    "name_constraints_in_leaf": Reason.SVID_CRITICAL_EXTENSION,
    "rsa_1024": Reason.SVID_WEAK_KEY,
    "p192": Reason.SVID_WEAK_KEY,
    "secp256k1": Reason.SVID_WEAK_KEY,
    "ed448": Reason.SVID_WEAK_KEY,
    "expired": Reason.SVID_EXPIRED,
    "not_yet_valid": Reason.SVID_NOT_YET_VALID,
}


@pytest.mark.parametrize("fault", LEAF_FAULTS)
def test_refuses_a_leaf_with_a_fault_for_its_reason(fault: str) -> None:
    issued = ROOT.issue(LEAF_FAULTS[fault](LEAF))

    assert reason(verify_peer(issued.chain, TRUST, NOW)) is FAULTS[fault]


SIGNER_FAULTS: dict[str, Profile] = {
    "not a CA": replace(SIGNER, ca=False),
    "no basic constraints": replace(SIGNER, ca=None),
    "no keyCertSign": replace(SIGNER, key_usage=frozenset({"crl_sign"})),
    "ID with a path": replace(SIGNER, uris=("spiffe://acme.test/ca",)),
    "second ID with a path": replace(SIGNER, uris=("spiffe://acme.test", "spiffe://acme.test/ca")),
    "invalid ID": replace(SIGNER, uris=("SPIFFE://acme.test/ca",)),
    "RSA 1024": replace(SIGNER, key=rsa.generate_private_key(65537, 1024)),  # noqa: S505  # weak on purpose
    "P-192": replace(SIGNER, key=ec.generate_private_key(ec.SECP192R1())),
    "secp256k1": replace(SIGNER, key=ec.generate_private_key(ec.SECP256K1())),
    # X509-SVID.md, section 4.2, and RFC 5280, section 4.2.1.10: what cannot be processed is refused, permitted or not.
    "constrained to URIs": replace(
        SIGNER, more=((x509.NameConstraints([x509.UniformResourceIdentifier("acme.test")], None), True),)
    ),
    "constrained to other URIs, not critical": replace(
        SIGNER, more=((x509.NameConstraints(None, [x509.UniformResourceIdentifier("partner.test")]), False),)
    ),
    "constrained to subjects": replace(
        SIGNER, more=((x509.NameConstraints([x509.DirectoryName(name("workload"))], None), True),)
    ),
    "constrained to mail addresses": replace(
        SIGNER, more=((x509.NameConstraints([x509.RFC822Name("acme.test")], None), True),)
    ),
}
PATH_FAULTS: dict[str, Profile] = {
    **SIGNER_FAULTS,
    "no key usage": replace(SIGNER, key_usage=None),
    "unknown critical extension": replace(SIGNER, more=((UNKNOWN_EXTENSION, True),)),
    "empty subject": replace(SIGNER, subject=NO_NAME, names_critical=True),
}


@pytest.mark.parametrize("profile", PATH_FAULTS.values(), ids=PATH_FAULTS.keys())
def test_refuses_an_intermediate_that_may_not_sign(profile: Profile) -> None:
    issued = ROOT.intermediate(profile).issue(LEAF)

    assert reason(verify_peer(issued.chain, TRUST, NOW)) is Reason.SVID_UNTRUSTED


@pytest.mark.parametrize("profile", SIGNER_FAULTS.values(), ids=SIGNER_FAULTS.keys())
def test_a_bundle_of_authorities_that_may_not_sign_is_empty(profile: Profile) -> None:
    root = Authority.self_signed(profile)

    assert reason(verify_peer(root.issue(LEAF).chain, trust(root), NOW)) is Reason.TRUST_BUNDLE_EMPTY


@pytest.mark.parametrize("profile", SIGNER_FAULTS.values(), ids=SIGNER_FAULTS.keys())
def test_an_authority_that_may_not_sign_anchors_nothing_beside_a_good_one(profile: Profile) -> None:
    bad = Authority.self_signed(profile)

    assert reason(verify_peer(bad.issue(LEAF).chain, trust(bad, ROOT), NOW)) is Reason.SVID_UNTRUSTED
    assert peer(verify_peer(ROOT.issue(LEAF).chain, trust(bad, ROOT), NOW)).id == ID


def test_refuses_a_path_longer_than_an_authority_allows() -> None:
    root = Authority.self_signed(replace(SIGNER, path_length=0))
    middle = root.intermediate(signer("middle", "acme.test", now=NOW))

    assert reason(verify_peer(middle.issue(LEAF).chain, trust(root), NOW)) is Reason.SVID_UNTRUSTED


def test_refuses_a_dns_name_outside_its_issuers_constraints() -> None:
    constraints = x509.NameConstraints([x509.DNSName("acme.test")], None)
    middle = ROOT.intermediate(replace(SIGNER, more=((constraints, True),)))

    inside = middle.issue(replace(LEAF, dns_names=("agent.acme.test",)))
    outside = middle.issue(replace(LEAF, dns_names=("agent.partner.test",)))

    assert peer(verify_peer(inside.chain, TRUST, NOW)).id == ID
    assert reason(verify_peer(outside.chain, TRUST, NOW)) is Reason.SVID_UNTRUSTED


def test_refuses_a_leaf_whose_intermediate_was_not_sent() -> None:
    assert reason(verify_peer(MIDDLE.issue(LEAF).chain[:1], TRUST, NOW)) is Reason.SVID_UNTRUSTED


def test_refuses_a_leaf_that_another_leaf_signed() -> None:
    lender = ROOT.intermediate(workload("spiffe://acme.test/lender", now=NOW))

    assert reason(verify_peer(lender.issue(LEAF).chain, TRUST, NOW)) is Reason.SVID_UNTRUSTED


def test_refuses_a_self_signed_leaf() -> None:
    leaf = Authority.self_signed(LEAF)

    assert reason(verify_peer([leaf.der], TRUST, NOW)) is Reason.SVID_UNTRUSTED


def test_a_leaf_in_the_bundle_vouches_for_nobody_and_not_for_itself() -> None:
    leaf = ROOT.issue(LEAF)
    as_authority = Authority(leaf.certificate, leaf.key)

    assert reason(verify_peer(leaf.chain, trust(as_authority), NOW)) is Reason.TRUST_BUNDLE_EMPTY
    assert reason(verify_peer(leaf.chain, trust(as_authority, PARTNER_ROOT), NOW)) is Reason.SVID_UNTRUSTED


def test_a_root_is_not_a_workload() -> None:
    assert reason(verify_peer([ROOT.der], TRUST, NOW)) is Reason.SVID_ROOT_PATH
    named = Authority.self_signed(replace(SIGNER, uris=(str(ID),)))
    assert reason(verify_peer([named.der], trust(named), NOW)) is Reason.SVID_IS_CA


def test_refuses_a_root_of_the_same_name() -> None:
    impostor = Authority.root("acme.test", now=NOW)

    assert reason(verify_peer(impostor.issue(LEAF).chain, TRUST, NOW)) is Reason.SVID_UNTRUSTED
    assert reason(verify_peer([*impostor.issue(LEAF).chain, impostor.der], TRUST, NOW)) is Reason.SVID_UNTRUSTED


# Whose bundle


def test_refuses_a_federated_authority_that_speaks_for_another_trust_domain() -> None:
    forged = PARTNER_ROOT.issue(LEAF)
    middle = PARTNER_ROOT.intermediate(signer("root of acme.test", "acme.test", now=NOW))

    for chain in (forged.chain, [*forged.chain, PARTNER_ROOT.der], middle.issue(LEAF).chain):
        assert reason(verify_peer(chain, BOTH, NOW)) is Reason.SVID_UNTRUSTED


def test_accepts_each_trust_domains_own_under_both_bundles() -> None:
    theirs = workload("spiffe://partner.test/x", now=NOW)

    assert peer(verify_peer(ROOT.issue(LEAF).chain, BOTH, NOW)).bundle is BOTH[ACME]
    assert peer(verify_peer(PARTNER_ROOT.issue(theirs).chain, BOTH, NOW)).bundle is BOTH[PARTNER]


def test_refuses_a_trust_domain_without_a_bundle() -> None:
    chain = ROOT.issue(LEAF).chain

    for bundles in ({}, trust(PARTNER_ROOT, trust_domain=PARTNER)):
        assert reason(verify_peer(chain, bundles, NOW)) is Reason.TRUST_DOMAIN_UNKNOWN


def test_refuses_a_leaf_when_its_trust_domains_bundle_holds_anothers_roots() -> None:
    assert reason(verify_peer(ROOT.issue(LEAF).chain, trust(PARTNER_ROOT), NOW)) is Reason.SVID_UNTRUSTED


def test_refuses_a_bundle_that_is_filed_under_another_trust_domain() -> None:
    filed = {ACME: parse_bundle(PARTNER, ROOT.der)}

    assert reason(verify_peer(ROOT.issue(LEAF).chain, filed, NOW)) is Reason.TRUST_DOMAIN_UNKNOWN


def test_refuses_everyone_of_a_trust_domain_with_an_empty_bundle() -> None:
    empty = {ACME: parse_bundle(ACME, b"")}

    assert empty[ACME].authorities == ()
    assert reason(verify_peer(ROOT.issue(LEAF).chain, empty, NOW)) is Reason.TRUST_BUNDLE_EMPTY


def test_an_id_in_a_subdomain_is_another_trust_domain() -> None:
    issued = ROOT.issue(workload("spiffe://sub.acme.test/x", now=NOW))

    assert reason(verify_peer(issued.chain, TRUST, NOW)) is Reason.TRUST_DOMAIN_UNKNOWN


# When


def test_a_leaf_is_valid_from_its_first_moment_to_its_last() -> None:
    chain = ROOT.issue(LEAF).chain
    first, last = NOW - 10, NOW + HOUR_S

    assert peer(verify_peer(chain, TRUST, first)).id == ID
    assert peer(verify_peer(chain, TRUST, last)).id == ID
    assert reason(verify_peer(chain, TRUST, first - 0.5)) is Reason.SVID_NOT_YET_VALID
    assert reason(verify_peer(chain, TRUST, last + 0.5)) is Reason.SVID_EXPIRED


def test_a_time_that_is_no_number_is_never_inside() -> None:
    chain = ROOT.issue(LEAF).chain

    for never in (math.nan, math.inf, -math.inf):
        assert reason(verify_peer(chain, TRUST, never)) in {Reason.SVID_EXPIRED, Reason.SVID_NOT_YET_VALID}


SHORT = replace(SIGNER, not_before=NOW - 5, not_after=NOW + 60)
SHORT_ROOT = Authority.self_signed(SHORT)
SHORT_PATHS = {"root": (SHORT_ROOT, SHORT_ROOT), "intermediate": (ROOT.intermediate(SHORT), ROOT)}


@pytest.mark.parametrize(("issuer", "anchor"), SHORT_PATHS.values(), ids=SHORT_PATHS.keys())
def test_a_peer_lasts_as_long_as_the_shortest_of_its_path(issuer: Authority, anchor: Authority) -> None:
    found = peer(verify_peer(issuer.issue(LEAF).chain, trust(anchor), NOW))

    assert (found.not_before, found.not_after) == (NOW - 5, NOW + 60)


@pytest.mark.parametrize(("issuer", "anchor"), SHORT_PATHS.values(), ids=SHORT_PATHS.keys())
@pytest.mark.parametrize("beyond_s", [0.5, 1, HOUR_S - 61])
def test_refuses_a_leaf_once_its_issuer_has_expired(issuer: Authority, anchor: Authority, beyond_s: float) -> None:
    chain, bundles = issuer.issue(replace(LEAF, not_before=NOW - 5)).chain, trust(anchor)

    assert peer(verify_peer(chain, bundles, NOW + 60)).id == ID
    assert reason(verify_peer(chain, bundles, NOW + 60 + beyond_s)) is Reason.SVID_EXPIRED


@pytest.mark.parametrize(("issuer", "anchor"), SHORT_PATHS.values(), ids=SHORT_PATHS.keys())
@pytest.mark.parametrize("before_s", [0.5, 1, 4])
def test_refuses_a_leaf_before_its_issuer_begins(issuer: Authority, anchor: Authority, before_s: float) -> None:
    chain, bundles = issuer.issue(replace(LEAF, not_after=NOW + 60)).chain, trust(anchor)

    assert peer(verify_peer(chain, bundles, NOW - 5)).id == ID
    assert reason(verify_peer(chain, bundles, NOW - 5 - before_s)) is Reason.SVID_NOT_YET_VALID


def test_a_certificate_that_was_sent_but_is_not_on_the_path_shortens_nothing() -> None:
    stranger = PARTNER_ROOT.intermediate(replace(SHORT, subject=name("stranger")))

    found = peer(verify_peer([*ROOT.issue(LEAF).chain, stranger.der], TRUST, NOW))

    assert found.not_after == NOW + HOUR_S


def test_an_expired_authority_does_not_hide_that_a_leaf_is_not_trusted() -> None:
    old = Authority.self_signed(replace(SIGNER, subject=name("old"), not_after=NOW - 60))

    assert reason(verify_peer(PARTNER_ROOT.issue(LEAF).chain, trust(old, ROOT), NOW)) is Reason.SVID_UNTRUSTED


# Bundles


def test_a_bundle_holds_what_was_sent() -> None:
    bundle = parse_bundle(ACME, ROOT.der + PARTNER_ROOT.der)

    assert bundle.trust_domain == ACME
    assert bundle.authorities == (ROOT.certificate, PARTNER_ROOT.certificate)


def test_the_digest_of_a_bundle_changes_with_every_authority_and_not_with_their_order() -> None:
    renewed = Authority.root("acme.test", now=NOW)
    ders = [b"", ROOT.der, renewed.der, ROOT.der + renewed.der, ROOT.der + PARTNER_ROOT.der]

    digests = {parse_bundle(ACME, der).digest for der in ders}

    assert len(digests) == len(ders)
    assert parse_bundle(ACME, renewed.der + ROOT.der).digest == parse_bundle(ACME, ROOT.der + renewed.der).digest


def test_refuses_a_bundle_that_cannot_be_read() -> None:
    unreadable = (
        b"x",
        b"\x30\x00",
        ROOT.der[:-1],
        ROOT.der + b"\0",
        ROOT.issue(LEAF).chain_pem,
        ROOT.der * 2 + b"\x30",
    )

    for der in unreadable:
        with pytest.raises(InvalidBundle, match=r"acme\.test"):
            parse_bundle(ACME, der)


def test_an_old_and_a_new_root_are_both_believed_while_both_are_in_the_bundle() -> None:
    renewed = Authority.root("acme.test", now=NOW)
    bundles = trust(ROOT, renewed)

    for authority in (ROOT, renewed):
        assert peer(verify_peer(authority.issue(LEAF).chain, bundles, NOW)).id == ID


# Asking again


def test_asking_again_under_the_same_bundle_verifies_nothing() -> None:
    found = peer(verify_peer(ROOT.issue(LEAF).chain, TRUST, NOW))
    same_again = trust(ROOT)

    assert still_trusted(found, TRUST, NOW + 1) is found
    assert still_trusted(found, same_again, NOW + 1) is found
    unverifiable = replace(found, chain=(b"",))
    assert still_trusted(unverifiable, same_again, NOW + 1) is unverifiable


def test_asking_again_under_a_bundle_that_still_has_the_root_renews_the_peer() -> None:
    found = peer(verify_peer(ROOT.issue(LEAF).chain, TRUST, NOW))
    rotated = trust(Authority.root("acme.test", now=NOW), ROOT)

    renewed = peer(still_trusted(found, rotated, NOW + 1))

    assert renewed.bundle is rotated[ACME]
    assert replace(renewed, bundle=found.bundle) == found
    assert still_trusted(renewed, rotated, NOW + 2) is renewed


def test_a_peer_is_refused_once_its_root_has_left_the_bundle() -> None:
    found = peer(verify_peer(ROOT.issue(LEAF).chain, TRUST, NOW))

    assert reason(still_trusted(found, trust(PARTNER_ROOT), NOW)) is Reason.SVID_UNTRUSTED
    assert reason(still_trusted(found, {ACME: parse_bundle(ACME, b"")}, NOW)) is Reason.TRUST_BUNDLE_EMPTY
    assert reason(still_trusted(found, {}, NOW)) is Reason.TRUST_DOMAIN_UNKNOWN
    assert reason(still_trusted(found, {PARTNER: TRUST[ACME]}, NOW)) is Reason.TRUST_DOMAIN_UNKNOWN


def test_a_peer_is_refused_once_its_validity_is_over() -> None:
    found = peer(verify_peer(ROOT.issue(LEAF).chain, TRUST, NOW))

    assert still_trusted(found, TRUST, NOW + HOUR_S) is found
    assert reason(still_trusted(found, TRUST, NOW + HOUR_S + 0.001)) is Reason.SVID_EXPIRED
    assert reason(still_trusted(found, TRUST, NOW - 11)) is Reason.SVID_NOT_YET_VALID
    assert reason(still_trusted(found, TRUST, math.nan)) is Reason.SVID_EXPIRED


def test_a_peer_outlives_one_anchor_where_another_still_holds() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    old = Authority.self_signed(replace(SIGNER, key=key, not_after=NOW + 60))
    renewed = Authority.self_signed(replace(SIGNER, key=key, not_after=NOW + DAY_S))
    bundles = trust(old, renewed)
    found = peer(verify_peer(old.issue(LEAF).chain, bundles, NOW))

    assert peer(still_trusted(found, bundles, NOW + 61)).not_after == NOW + HOUR_S


# What the Workload API says


def _context(*hints: str) -> X509Context:
    issued = [ROOT.issue(workload(f"spiffe://acme.test/{number}", now=NOW)) for number, _ in enumerate(hints)]
    svids = (
        parse_x509_svid(f"spiffe://acme.test/{number}", each.chain_der, each.key_der, hint)
        for number, (each, hint) in enumerate(zip(issued, hints, strict=True))
    )
    return X509Context(tuple(svids), TRUST)


def test_the_first_svid_is_the_default_and_the_first_of_a_hint_is_chosen() -> None:
    context = _context("", "internal", "external", "internal")

    assert context.svid is context.svids[0]
    assert context.svid_with_hint("internal") is context.svids[1]
    assert context.svid_with_hint("external") is context.svids[2]
    assert context.svid_with_hint("public") is None


def test_there_is_no_context_without_an_svid() -> None:
    with pytest.raises(InvalidSvid):
        X509Context((), TRUST)


# Hostile bytes


def test_refuses_an_empty_chain() -> None:
    assert reason(verify_peer([], TRUST, NOW)) is Reason.TLS_NO_CERTIFICATE


def test_accepts_eight_certificates_and_not_nine() -> None:
    authority = ROOT
    for depth in range(7):
        authority = authority.intermediate(signer(f"depth {depth}", "acme.test", now=NOW))
    chain = authority.issue(LEAF).chain

    assert len(chain) == 8
    assert peer(verify_peer(chain, TRUST, NOW)).id == ID
    assert reason(verify_peer([*chain, ROOT.der], TRUST, NOW)) is Reason.SVID_CHAIN_TOO_LONG


def test_refuses_a_certificate_of_more_than_16_kib() -> None:
    padding = x509.UnrecognizedExtension(UNKNOWN_EXTENSION.oid, bytes(MAX_CERTIFICATE_BYTES))
    large = ROOT.issue(replace(LEAF, more=((padding, False),)))

    assert reason(verify_peer(large.chain, TRUST, NOW)) is Reason.SVID_MALFORMED
    assert reason(verify_peer([*ROOT.issue(LEAF).chain, large.der], TRUST, NOW)) is Reason.SVID_MALFORMED


def test_refuses_bytes_that_are_no_certificate() -> None:
    good = ROOT.issue(LEAF)

    for bad in (
        b"",
        b"\x30\x00",
        b"\x27" + good.der[1:],
        good.der[:-1],
        good.der + b"\0",
        good.chain_pem,
        good.key_der,
    ):
        assert reason(verify_peer([bad], TRUST, NOW)) is Reason.SVID_MALFORMED
        assert reason(verify_peer([good.der, bad], TRUST, NOW)) is Reason.SVID_MALFORMED


def _extension_id(last: int) -> bytes:
    return bytes([0x06, 0x03, 0x55, 0x1D, last])


@pytest.mark.parametrize("twice", [17, 15, 19, 37], ids=["names", "key usage", "basic constraints", "purposes"])
def test_refuses_an_extension_that_occurs_twice(twice: int) -> None:
    of_the_kind = x509.ObjectIdentifier(f"2.5.29.{twice}")
    original = next(e for e in ROOT.issue(LEAF).certificate.extensions if e.oid == of_the_kind)
    spare = x509.UnrecognizedExtension(x509.ObjectIdentifier("2.5.29.99"), original.value.public_bytes())
    issued = ROOT.issue(replace(LEAF, more=((spare, original.critical),)))

    repeated = ROOT.reissue(issued.der, _extension_id(99), _extension_id(twice))

    assert reason(verify_peer([repeated], TRUST, NOW)) is Reason.SVID_MALFORMED


NONSENSE: dict[str, tuple[bytes, bytes]] = {
    "a URI that is not ASCII": (b"spiffe://acme", b"spiffe://acm\xe9"),
    "a month 13": (b"270115", b"271315"),
    "alternative names that are no names": (_extension_id(17) + b"\x04", _extension_id(17) + b"\x05"),
}


@pytest.mark.parametrize(("old", "new"), NONSENSE.values(), ids=NONSENSE.keys())
def test_refuses_signed_nonsense(old: bytes, new: bytes) -> None:
    nonsense = ROOT.reissue(ROOT.issue(LEAF).der, old, new)

    assert reason(verify_peer([nonsense], TRUST, NOW)) is Reason.SVID_MALFORMED


GOOD_CHAIN = MIDDLE.issue(LEAF).chain
SIGNED_PART = x509.load_der_x509_certificate(GOOD_CHAIN[0]).tbs_certificate_bytes
EDITS = st.lists(
    st.tuples(st.integers(0, 2000), st.integers(0, 2), st.binary(min_size=0, max_size=3)), min_size=1, max_size=4
)


def _edited(der: bytes, edits: list[tuple[int, int, bytes]]) -> bytes:
    """Each edit replaces so many bytes at a place by others."""
    for place, removed, inserted in edits:
        start = place % (len(der) + 1)
        der = der[:start] + inserted + der[start + removed :]
    return der


@settings(max_examples=500)
@given(EDITS, st.integers(0, 1))
def test_no_edited_certificate_is_believed_and_none_raises(edits: list[tuple[int, int, bytes]], which: int) -> None:
    chain = list(GOOD_CHAIN)
    chain[which] = _edited(chain[which], edits)

    verdict = verify_peer(chain, TRUST, NOW)

    assert isinstance(verdict, Refusal) or tuple(chain) == GOOD_CHAIN


@settings(max_examples=1000)
@given(EDITS)
@pytest.mark.filterwarnings("ignore::cryptography.utils.CryptographyDeprecationWarning")
def test_whatever_an_authority_signs_is_a_peer_of_its_trust_domain_or_refused(
    edits: list[tuple[int, int, bytes]],
) -> None:
    leaf = MIDDLE.seal(_edited(SIGNED_PART, edits))

    verdict = verify_peer([leaf, *GOOD_CHAIN[1:]], BOTH, NOW)

    match verdict:
        case Peer():
            assert verdict.id.trust_domain == ACME
            assert verdict.id.path
            assert verdict.not_before <= NOW <= verdict.not_after
        case Refusal():
            assert len(verdict.detail) <= 200


@given(st.lists(st.binary(max_size=80), min_size=1, max_size=4))
def test_garbage_is_malformed(chain: list[bytes]) -> None:
    assert reason(verify_peer(chain, TRUST, NOW)) is Reason.SVID_MALFORMED


@settings(max_examples=300)
@given(EDITS)
@pytest.mark.filterwarnings("ignore::cryptography.utils.CryptographyDeprecationWarning")
def test_an_edited_bundle_is_read_or_refused(edits: list[tuple[int, int, bytes]]) -> None:
    try:
        bundle = parse_bundle(ACME, _edited(ROOT.der + PARTNER_ROOT.der, edits))
    except InvalidBundle:
        return
    assert isinstance(verify_peer(GOOD_CHAIN, {ACME: bundle}, NOW), Peer | Refusal)
