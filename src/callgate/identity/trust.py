"""Whether a peer is who its certificate says, under the trust bundle of its own trust domain and no other.

SPIFFE_Federation.md, section 4.2: "Bundle contents from different trust domains MUST NOT be merged into a single,
larger bundle. Doing so would enable one trust domain to forge identities belonging to another".  TLS has all bundles
in one store and is a filter before this; what counts is decided here.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.verification import Criticality, ExtensionPolicy, PolicyBuilder, Store

from callgate.errors import GatewayError, Reason, Refusal
from callgate.identity.certificate import (
    MAX_CHAIN_CERTIFICATES,
    MAX_DETAIL_CHARACTERS,
    Certificate,
    InvalidDer,
    may_anchor,
    may_sign,
    read_certificate,
    split_der,
)
from callgate.identity.spiffe_id import SpiffeId, TrustDomain
from callgate.identity.x509_svid import InvalidSvid, X509Svid, leaf_id

# The rules for extensions are our own (`leaf_id`, `may_sign`, `may_anchor`) and are applied to every certificate before
# a path is looked for: the Web PKI's refuse what SPIFFE allows, such as a critical extended key usage.  Even so, path
# validation refuses critical extensions that it does not know.
_ABOVE_LEAF: Final = ExtensionPolicy.permit_all().require_present(x509.BasicConstraints, Criticality.AGNOSTIC, None)
_LEAF: Final = ExtensionPolicy.permit_all().require_present(x509.SubjectAlternativeName, Criticality.AGNOSTIC, None)


class InvalidBundle(GatewayError):  # noqa: N818  # says what the input is
    """A trust bundle cannot be read."""


@dataclass(frozen=True, slots=True)
class X509Bundle:
    """The X.509 authorities of one trust domain, as `parse_bundle` makes it.

    `digest` changes whenever an authority comes or goes.  `anchors`: those authorities that may end a path, self-signed
    or not.  `policy`: path validation towards them, prepared once a bundle; None where there are none.
    """

    trust_domain: TrustDomain
    authorities: tuple[x509.Certificate, ...] = field(repr=False)
    digest: bytes
    anchors: tuple[Certificate, ...] = field(init=False, repr=False, compare=False)
    policy: PolicyBuilder | None = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        read = (read_certificate(authority.public_bytes(Encoding.DER)) for authority in self.authorities)
        anchors = tuple(anchor for anchor in read if not isinstance(anchor, Refusal) and may_anchor(anchor))
        object.__setattr__(self, "anchors", anchors)
        object.__setattr__(self, "policy", _policy(anchors) if anchors else None)


def _policy(anchors: Sequence[Certificate]) -> PolicyBuilder:
    store = Store([anchor.parsed for anchor in anchors])
    return (
        PolicyBuilder()
        .store(store)
        .max_chain_depth(MAX_CHAIN_CERTIFICATES - 1)
        .extension_policies(ca_policy=_ABOVE_LEAF, ee_policy=_LEAF)
    )


def parse_bundle(trust_domain: TrustDomain, der: bytes) -> X509Bundle:
    """Read concatenated DER, which may be empty: SPIRE sends that for a trust domain without X.509 keys.

    Raises InvalidBundle.  A caller does well to take that as an empty bundle where it is a federated trust domain's:
    what another organisation publishes should not keep us from our own update.
    """
    try:
        authorities = tuple(x509.load_der_x509_certificate(part) for part in split_der(der))
    except (InvalidDer, ValueError, x509.InvalidVersion) as error:
        raise InvalidBundle(f"the bundle of {trust_domain} cannot be read: {error}") from error
    digests = sorted(authority.fingerprint(SHA256()) for authority in authorities)
    return X509Bundle(trust_domain, authorities, hashlib.sha256(b"".join(digests)).digest())


@dataclass(frozen=True, slots=True)
class X509Context:
    """All that one message of the Workload API says: who we are, and whom we may believe."""

    svids: tuple[X509Svid, ...]
    bundles: Mapping[TrustDomain, X509Bundle]

    def __post_init__(self) -> None:
        if not self.svids:
            raise InvalidSvid("there is no SVID")

    @property
    def svid(self) -> X509Svid:
        """The default, which is "the first in the `svids` list" (SPIFFE_Workload_API.md, section 8)."""
        return self.svids[0]

    def svid_with_hint(self, hint: str) -> X509Svid | None:
        """The SVID with that hint.  Of several "the first message in the list SHOULD be selected" (section 5.2.1)."""
        return next((svid for svid in self.svids if svid.hint == hint), None)


@dataclass(frozen=True, slots=True)
class Peer:
    """A workload that has proved who it is.

    `chain`: DER as it was sent, leaf first.  `not_before`, `not_after`: Unix seconds, the tightest along the path that
    was validated, its anchor included.  `bundle`: what it was validated under.
    """

    id: SpiffeId
    chain: tuple[bytes, ...] = field(repr=False)
    leaf_sha256: bytes
    not_before: float
    not_after: float
    bundle: X509Bundle


def verify_peer(chain: Sequence[bytes], bundles: Mapping[TrustDomain, X509Bundle], now: float) -> Peer | Refusal:
    """Decide who sent this chain (DER, leaf first, then in any order), at `now` (Unix seconds).

    Never raises, whatever the chain is.  Proof that the peer has the leaf's key is TLS's part.
    """
    certificates = _read_chain(chain)
    if isinstance(certificates, Refusal):
        return certificates
    leaf, *others = certificates
    spiffe_id = leaf_id(leaf)
    if isinstance(spiffe_id, Refusal):
        return spiffe_id
    bundle = _bundle_of(spiffe_id.trust_domain, bundles)
    if isinstance(bundle, Refusal):
        return bundle
    validity = _validity(leaf, others, bundle, now)
    if isinstance(validity, Refusal):
        return validity
    leaf_sha256 = hashlib.sha256(chain[0]).digest()
    return Peer(spiffe_id, tuple(chain), leaf_sha256, not_before=validity[0], not_after=validity[1], bundle=bundle)


def _read_chain(chain: Sequence[bytes]) -> list[Certificate] | Refusal:
    if not chain:
        return Refusal(Reason.TLS_NO_CERTIFICATE, "an empty chain")
    if len(chain) > MAX_CHAIN_CERTIFICATES:
        return Refusal(Reason.SVID_CHAIN_TOO_LONG, f"{len(chain)} certificates")
    certificates = []
    for der in chain:
        certificate = read_certificate(der)
        if isinstance(certificate, Refusal):
            return certificate
        certificates.append(certificate)
    return certificates


def _bundle_of(trust_domain: TrustDomain, bundles: Mapping[TrustDomain, X509Bundle]) -> X509Bundle | Refusal:
    bundle = bundles.get(trust_domain)
    if bundle is None or bundle.trust_domain != trust_domain:
        return Refusal(Reason.TRUST_DOMAIN_UNKNOWN, f"no bundle for {trust_domain}"[:MAX_DETAIL_CHARACTERS])
    # SPIFFE_Trust_Domain_and_Bundle.md, section 4.1.3, on bundles that "yield no usable keys": "workloads MUST treat all
    # SVIDs from the trust domain as invalid and untrusted".
    if bundle.policy is None:
        return Refusal(Reason.TRUST_BUNDLE_EMPTY, f"no usable authority in the bundle of {trust_domain}")
    return bundle


def _validity(
    leaf: Certificate, others: Sequence[Certificate], bundle: X509Bundle, now: float
) -> tuple[float, float] | Refusal:
    """From when to when every certificate is valid on a path that is valid now."""
    refusal = _outside(leaf.not_before, leaf.not_after, now)
    if refusal is not None:
        return refusal
    signers = [certificate for certificate in others if may_sign(certificate)]
    path = _path(leaf, signers, bundle, now)
    if isinstance(path, str):
        return _clock_refusal(leaf, signers, bundle, now) or Refusal(Reason.SVID_UNTRUSTED, path)
    not_before = max(certificate.not_valid_before_utc.timestamp() for certificate in path)
    not_after = min(certificate.not_valid_after_utc.timestamp() for certificate in path)
    # Path validation counts in whole seconds, we do not.
    return _outside(not_before, not_after, now) or (not_before, not_after)


def _outside(not_before: float, not_after: float, now: float) -> Refusal | None:
    # Written so that a time which is no number is outside.
    if not now <= not_after:
        return Refusal(Reason.SVID_EXPIRED, f"not valid after {not_after:.0f}")
    if not not_before <= now:
        return Refusal(Reason.SVID_NOT_YET_VALID, f"not valid before {not_before:.0f}")
    return None


def _path(
    leaf: Certificate, signers: Sequence[Certificate], bundle: X509Bundle, at: float
) -> list[x509.Certificate] | str:
    """A path that is valid at that moment, from the leaf to an anchor of the bundle, or why there is none."""
    if bundle.policy is None:
        return "no anchor"
    verifier = bundle.policy.time(datetime.fromtimestamp(at, UTC)).build_client_verifier()
    try:
        return verifier.verify(leaf.parsed, [signer.parsed for signer in signers]).chain
    except Exception as error:  # noqa: BLE001  # as in read_certificate: the certificates are the caller's
        return f"{type(error).__name__}: {error}"[:MAX_DETAIL_CHARACTERS]


def _clock_refusal(leaf: Certificate, signers: Sequence[Certificate], bundle: X509Bundle, now: float) -> Refusal | None:
    """Where a path is valid at another moment, the clock alone is why there is none now."""
    above = (*signers, *bundle.anchors)
    if all(_outside(signer.not_before, signer.not_after, now) is None for signer in above):
        return None
    sent = (leaf, *signers)
    for at in (max(each.not_before for each in sent), min(each.not_after for each in sent)):
        if not isinstance(_path(leaf, signers, bundle, at), str):
            reason = Reason.SVID_EXPIRED if at < now else Reason.SVID_NOT_YET_VALID
            return Refusal(reason, "a certificate above the leaf")
    return None


def still_trusted(peer: Peer, bundles: Mapping[TrustDomain, X509Bundle], now: float) -> Peer | Refusal:
    """Ask again, before each request, whether this peer is who it was.

    As long as its validity lasts and its trust domain's bundle stays the same, that costs a look-up and is the same
    `Peer`.  Otherwise the chain is verified again, and a `Peer` under the new bundle or a refusal comes back.
    """
    bundle = bundles.get(peer.id.trust_domain)
    if bundle is not None and bundle.digest == peer.bundle.digest and peer.not_before <= now <= peer.not_after:
        return peer
    return verify_peer(peer.chain, bundles, now)
