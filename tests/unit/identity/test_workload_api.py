import importlib
import time
from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import given
from hypothesis import strategies as st

from callgate.dev.authority import DevAuthority
from callgate.identity.spiffe_id import TrustDomain
from callgate.identity.workload_api import (
    FETCH_X509_BUNDLES,
    FETCH_X509_SVID,
    SERVICE,
    X509SVID,
    Malformed,
    MessageLimits,
    Update,
    X509SVIDResponse,
    read_x509_message,
)

ACME, PARTNER = TrustDomain("acme.test"), TrustDomain("partner.test")
NOW = time.time()
ACME_CA = DevAuthority(ACME, now=NOW)
PARTNER_CA = DevAuthority(PARTNER, now=NOW)
LIMITS = MessageLimits()


def svid_entry(path: str = "/gate", hint: str = "", authority: DevAuthority = ACME_CA) -> X509SVID:
    chain, key = authority.issue(path, now=NOW, ttl_s=60)
    spiffe_id = f"spiffe://{authority.trust_domain}{path}"
    return X509SVID(spiffe_id=spiffe_id, x509_svid=chain, x509_svid_key=key, bundle=authority.bundle_der, hint=hint)


def message(*svids: X509SVID, **federated: bytes) -> X509SVIDResponse:
    bundles = {f"spiffe://{name}.test": der for name, der in federated.items()}
    return X509SVIDResponse(svids=svids or [svid_entry()], federated_bundles=bundles)


def read(response: X509SVIDResponse, limits: MessageLimits = LIMITS) -> Update | Malformed:
    return read_x509_message(response.SerializeToString(), limits)


def taken(response: X509SVIDResponse) -> Update:
    found = read(response)
    assert isinstance(found, Update), found
    return found


def why_discarded(response: X509SVIDResponse, limits: MessageLimits = LIMITS) -> str:
    found = read(response, limits)
    assert isinstance(found, Malformed)
    return found.detail


def test_private_messages_of_the_spiffe_package_are_still_where_we_import_them() -> None:
    # Field numbers and names of workload.proto in the standard.  If this fails, a release of `spiffe` moved or changed
    # what it does not promise to keep: see docs/adr/0003.
    private = importlib.import_module("spiffe._proto.workload_pb2").DESCRIPTOR
    fields = {
        name: {field.name: field.number for field in private.message_types_by_name[name].fields}
        for name in ("X509SVIDRequest", "X509SVIDResponse", "X509SVID", "X509BundlesResponse")
    }
    assert fields == {
        "X509SVIDRequest": {},
        "X509SVIDResponse": {"svids": 1, "crl": 2, "federated_bundles": 3},
        "X509SVID": {"spiffe_id": 1, "x509_svid": 2, "x509_svid_key": 3, "bundle": 4, "hint": 5},
        "X509BundlesResponse": {"crl": 1, "bundles": 2},
    }
    methods = {method.name for method in private.services_by_name[SERVICE].methods}
    assert {FETCH_X509_SVID, FETCH_X509_BUNDLES} <= methods


def test_reads_svid_own_bundle_and_federated_bundles() -> None:
    entry = svid_entry(hint="internal")
    update = taken(message(entry, partner=PARTNER_CA.bundle_der))
    svid = update.context.svid
    assert (str(svid.id), svid.chain, svid.hint) == ("spiffe://acme.test/gate", (entry.x509_svid,), "internal")
    assert set(update.context.bundles) == {ACME, PARTNER}
    assert all(len(bundle.authorities) == 1 for bundle in update.context.bundles.values())
    assert update.warnings == ()


def test_own_bundle_is_filed_under_the_trust_domain_of_its_svid() -> None:
    update = taken(message(svid_entry(), svid_entry("/partner-side", authority=PARTNER_CA)))
    assert [str(svid.id) for svid in update.context.svids] == [
        "spiffe://acme.test/gate",
        "spiffe://partner.test/partner-side",
    ]
    assert update.context.bundles[PARTNER].trust_domain == PARTNER


def test_bundles_cannot_be_changed_by_their_readers() -> None:
    bundles = taken(message()).context.bundles
    with pytest.raises(TypeError):
        bundles[PARTNER] = bundles[ACME]  # type: ignore[index]


def test_empty_federated_bundle_is_legal_and_trusts_nobody_of_that_domain() -> None:
    update = taken(message(partner=b""))
    assert update.context.bundles[PARTNER].authorities == ()
    assert len(update.context.bundles[ACME].authorities) == 1
    assert update.warnings == ()


@pytest.mark.parametrize("spoiled", [b"garbage", PARTNER_CA.bundle_der[:-1], PARTNER_CA.bundle_der + b"\0"])
def test_unreadable_federated_bundle_takes_trust_from_that_domain_alone(spoiled: bytes) -> None:
    update = taken(message(partner=spoiled))
    assert update.context.bundles[PARTNER].authorities == ()
    assert len(update.context.bundles[ACME].authorities) == 1
    assert len(update.warnings) == 1
    assert "nobody of partner.test is trusted" in update.warnings[0]


def test_oversized_federated_bundle_takes_trust_from_that_domain_alone() -> None:
    limits = MessageLimits(max_bundle_bytes=len(ACME_CA.bundle_der))
    update = read(message(partner=PARTNER_CA.bundle_der * 2), limits)
    assert isinstance(update, Update)
    assert update.context.bundles[PARTNER].authorities == ()
    assert "nobody of partner.test is trusted" in update.warnings[0]


def test_revocation_lists_are_reported_because_they_are_not_honoured() -> None:
    response = message()
    response.crl.append(b"\x30\x00")
    assert "revocation" in taken(response).warnings[0]


@pytest.mark.parametrize("field", ["spiffe_id", "x509_svid", "x509_svid_key", "bundle"])
def test_discards_message_whose_mandatory_field_is_empty(field: str) -> None:
    entry = svid_entry()
    entry.ClearField(field)  # type: ignore[arg-type]
    assert why_discarded(message(entry)) == f"{field} is empty"


def test_discards_message_without_svids() -> None:
    assert why_discarded(X509SVIDResponse(federated_bundles={"spiffe://partner.test": b""})) == "svids is empty"


def test_discards_message_whose_second_svid_is_spoiled() -> None:
    spoiled = svid_entry("/other")
    spoiled.x509_svid_key = b""
    assert isinstance(read(message(svid_entry(), spoiled)), Malformed)


def other_key(entry: X509SVID) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    entry.x509_svid_key = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())


def other_id(entry: X509SVID) -> None:
    entry.spiffe_id = "spiffe://acme.test/admin"


def cut_chain(entry: X509SVID) -> None:
    entry.x509_svid = entry.x509_svid[:-1]


def pem_chain(entry: X509SVID) -> None:
    entry.x509_svid = b"-----BEGIN CERTIFICATE-----\n"


def cut_bundle(entry: X509SVID) -> None:
    entry.bundle = entry.bundle[:-1]


def authority_as_leaf(entry: X509SVID) -> None:
    entry.x509_svid = entry.bundle


def long_hint(entry: X509SVID) -> None:
    entry.hint = "h" * 1025


@pytest.mark.parametrize("spoil", [other_key, other_id, cut_chain, pem_chain, cut_bundle, authority_as_leaf, long_hint])
def test_discards_message_whose_svid_is_malformed(spoil: Callable[[X509SVID], None]) -> None:
    entry = svid_entry()
    spoil(entry)
    assert why_discarded(message(entry))


def test_takes_the_longest_hint_that_the_standard_supports() -> None:
    assert taken(message(svid_entry(hint="h" * 1024))).context.svid.hint == "h" * 1024


def test_first_svid_wins_where_two_have_the_same_hint() -> None:
    entries = [svid_entry("/a", "x"), svid_entry("/b", "x"), svid_entry("/c"), svid_entry("/d")]
    paths = [svid.id.path for svid in taken(message(*entries)).context.svids]
    assert paths == ["/a", "/c", "/d"]


def test_discards_message_with_two_different_bundles_for_one_trust_domain() -> None:
    imposter = DevAuthority(ACME, now=NOW)
    assert "two different bundles for acme.test" in why_discarded(message(acme=imposter.bundle_der))


def test_takes_message_that_repeats_the_same_bundle_for_one_trust_domain() -> None:
    assert set(taken(message(svid_entry(), svid_entry("/b"), acme=ACME_CA.bundle_der)).context.bundles) == {ACME}


@pytest.mark.parametrize("key", ["partner.test", "spiffe://partner.test/x", "spiffe://partner.test/", "spiffe://", ""])
def test_discards_message_whose_federated_bundle_is_not_keyed_by_a_trust_domain_id(key: str) -> None:
    response = message()
    response.federated_bundles[key] = PARTNER_CA.bundle_der
    assert isinstance(read(response), Malformed)


@pytest.mark.parametrize(
    "limits",
    [
        MessageLimits(max_svids=1),
        MessageLimits(max_federated_bundles=1),
        MessageLimits(max_bundle_bytes=len(ACME_CA.bundle_der) - 1),
    ],
)
def test_discards_message_beyond_a_limit(limits: MessageLimits) -> None:
    response = message(svid_entry("/a"), svid_entry("/b"), partner=b"", third=b"")
    assert isinstance(read(response), Update)
    assert "at most" in why_discarded(response, limits)


@pytest.mark.parametrize("raw", [b"\xff\xff", b"\x0a\x05abc", b"\x0a\x04\x0a\x02\xff\xfe"])
def test_discards_what_is_no_protobuf_message(raw: bytes) -> None:
    assert isinstance(read_x509_message(raw, LIMITS), Malformed)


def test_what_is_said_of_a_malformed_message_holds_no_key() -> None:
    entry = svid_entry()
    entry.x509_svid_key = b"\x30\x0bSECRET-KEY-"
    assert "SECRET" not in why_discarded(message(entry))


WHOLE = message(svid_entry(hint="internal"), partner=PARTNER_CA.bundle_der).SerializeToString()


# One of the things that a spoiled byte makes is a serial number that `cryptography` warns of.
@pytest.mark.filterwarnings("ignore::cryptography.utils.CryptographyDeprecationWarning")
@given(position=st.floats(0, 1, exclude_max=True), replacement=st.binary(min_size=0, max_size=3))
def test_no_spoiled_byte_makes_reading_raise(position: float, replacement: bytes) -> None:
    at = int(position * len(WHOLE))
    spoiled = WHOLE[:at] + replacement + WHOLE[at + 1 :]
    assert isinstance(read_x509_message(spoiled, LIMITS), Update | Malformed)
