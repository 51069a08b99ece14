"""X.509-SVIDs: the rules for a leaf, and an SVID of our own with its key.

The sections quoted are those of X509-SVID.md.  Nothing is said of trust: who signed is the concern of `trust`.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import load_der_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID

from callgate.errors import GatewayError, Reason, Refusal
from callgate.identity.certificate import (
    MAX_CHAIN_CERTIFICATES,
    MAX_DETAIL_CHARACTERS,
    Certificate,
    InvalidDer,
    key_is_weak,
    may_sign,
    read_certificate,
    split_der,
    uses,
)
from callgate.identity.spiffe_id import InvalidSpiffeId, SpiffeId

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey

# SPIFFE_Workload_API.md, section 8: "SHOULD NOT support values of more than 1024 bytes in length".
MAX_HINT_BYTES: Final = 1024
_BOTH_ENDS: Final = frozenset({ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH})
_PROCESSED_IN_LEAF: Final = frozenset(
    {
        ExtensionOID.SUBJECT_ALTERNATIVE_NAME,
        ExtensionOID.BASIC_CONSTRAINTS,
        ExtensionOID.KEY_USAGE,
        ExtensionOID.EXTENDED_KEY_USAGE,
        ExtensionOID.AUTHORITY_KEY_IDENTIFIER,
        ExtensionOID.SUBJECT_KEY_IDENTIFIER,
    }
)


class InvalidSvid(GatewayError):  # noqa: N818  # says what the input is
    """An SVID that the Workload API handed us cannot be used."""


# Each rule: does it hold for this leaf, and what is wrong if not.
_LeafRule = tuple[Callable[[Certificate], bool], Reason, str]
_LEAF_RULES: Final[tuple[_LeafRule, ...]] = (
    # Section 4.1: "leaf certificates MUST set the `cA` field to `false`"; absent is false.
    (lambda leaf: not leaf.is_ca, Reason.SVID_IS_CA, "cA is true"),
    # Section 4.3: "The key usage extension MUST be set on all SVIDs, and MUST be marked critical."
    (lambda leaf: leaf.key_usage is not None, Reason.SVID_KEY_USAGE, "no key usage"),
    (lambda leaf: ExtensionOID.KEY_USAGE in leaf.critical, Reason.SVID_KEY_USAGE, "key usage is not critical"),
    # Section 4.3: "Leaf SVIDs MUST set `digitalSignature`" and "MUST NOT set `keyCertSign` or `cRLSign`".
    (lambda leaf: uses(leaf, "digital_signature"), Reason.SVID_KEY_USAGE, "digitalSignature is not set"),
    (lambda leaf: not uses(leaf, "key_cert_sign"), Reason.SVID_KEY_USAGE, "keyCertSign is set"),
    (lambda leaf: not uses(leaf, "crl_sign"), Reason.SVID_KEY_USAGE, "cRLSign is set"),
    # Section 4.4: "When included, fields `id-kp-serverAuth` and `id-kp-clientAuth` MUST be set."
    (
        lambda leaf: leaf.extended_key_usage is None or leaf.extended_key_usage >= _BOTH_ENDS,
        Reason.SVID_EXTENDED_KEY_USAGE,
        "extended key usage without serverAuth and clientAuth",
    ),
    # Section 3.1: "the URI SAN extension MUST be marked as critical if Subject is omitted".
    (
        lambda leaf: not leaf.subject_is_empty or ExtensionOID.SUBJECT_ALTERNATIVE_NAME in leaf.critical,
        Reason.SVID_SUBJECT,
        "empty subject, and the alternative name is not critical",
    ),
    # RFC 5280, section 4.2: "MUST reject the certificate if it encounters a critical extension that it does not
    # recognize or a critical extension that contains information that it cannot process."
    (lambda leaf: leaf.critical <= _PROCESSED_IN_LEAF, Reason.SVID_CRITICAL_EXTENSION, "unknown critical extension"),
    (lambda leaf: not key_is_weak(leaf.key), Reason.SVID_WEAK_KEY, "key too weak, too large or of no accepted kind"),
)


def leaf_id(leaf: Certificate) -> SpiffeId | Refusal:
    """The SPIFFE ID of a certificate that keeps every rule for a leaf SVID, or the first rule that it breaks."""
    spiffe_id = _only_id(leaf.uris)
    if isinstance(spiffe_id, Refusal):
        return spiffe_id
    broken = next((rule for rule in _LEAF_RULES if not rule[0](leaf)), None)
    return spiffe_id if broken is None else Refusal(broken[1], broken[2])


def _only_id(uris: tuple[str, ...]) -> SpiffeId | Refusal:
    # Section 2: "Validators encountering an SVID containing more than one URI SAN MUST reject the SVID."
    if len(uris) != 1:
        reason = Reason.SVID_SEVERAL_URIS if uris else Reason.SVID_NO_URI
        return Refusal(reason, f"{len(uris)} URIs")
    try:
        spiffe_id = SpiffeId.parse(uris[0])
    except InvalidSpiffeId as error:
        return Refusal(Reason.SVID_ID_INVALID, f"{error.code}: {uris[0]!r}"[:MAX_DETAIL_CHARACTERS])
    # Section 3.1: "Leaf certificate SPIFFE IDs MUST have a non-root path component."
    return spiffe_id if spiffe_id.path else Refusal(Reason.SVID_ROOT_PATH, str(spiffe_id)[:MAX_DETAIL_CHARACTERS])


@dataclass(frozen=True, slots=True)
class X509Svid:
    """An SVID of our own.

    `chain`: DER, leaf first, each signed by the next.  `not_before` is the latest and `not_after` the earliest of the
    chain, in Unix seconds.  `hint`: what the operator says that it is for, or "".
    """

    id: SpiffeId
    chain: tuple[bytes, ...] = field(repr=False)
    key: PrivateKey = field(repr=False)
    not_before: float
    not_after: float
    hint: str = ""

    @property
    def leaf_sha256(self) -> bytes:
        """The SHA-256 digest of the leaf's DER."""
        return hashlib.sha256(self.chain[0]).digest()


def parse_x509_svid(spiffe_id: str, chain_der: bytes, key_der: bytes, hint: str) -> X509Svid:
    """Read an `X509SVID` message of the Workload API: concatenated DER, leaf first, and an unencrypted PKCS #8 key.

    Raises InvalidSvid where the parts do not belong together or break a rule.  Validity is not looked at: an SVID
    that has not begun, or is over, is read like any other.
    """
    chain = _own_chain(chain_der)
    found = leaf_id(chain[0])
    if isinstance(found, Refusal):
        raise InvalidSvid(f"the leaf is no SVID: {found.reason}: {found.detail}")
    # SPIFFE_Workload_API.md, section 5.1, `spiffe_id`: "The SPIFFE ID of the SVID in this entry".
    if str(found) != spiffe_id:
        raise InvalidSvid(f"the message says {spiffe_id[:MAX_DETAIL_CHARACTERS]!r}, the certificate {str(found)!r}")
    if len(hint.encode()) > MAX_HINT_BYTES:
        raise InvalidSvid(f"the hint takes more than {MAX_HINT_BYTES} bytes")
    return X509Svid(
        id=found,
        chain=split_der(chain_der),
        key=_own_key(key_der, chain[0]),
        not_before=max(certificate.not_before for certificate in chain),
        not_after=min(certificate.not_after for certificate in chain),
        hint=hint,
    )


def _own_chain(chain_der: bytes) -> tuple[Certificate, ...]:
    try:
        ders = split_der(chain_der)
    except InvalidDer as error:
        raise InvalidSvid(f"the chain is not DER: {error}") from error
    if not 1 <= len(ders) <= MAX_CHAIN_CERTIFICATES:
        raise InvalidSvid(f"the chain has {len(ders)} certificates")
    chain = tuple(_own_certificate(der) for der in ders)
    if not all(may_sign(certificate) for certificate in chain[1:]):
        raise InvalidSvid("a certificate above the leaf may not sign")
    for lower, upper in pairwise(chain):
        _check_order(lower, upper)
    return chain


def _own_certificate(der: bytes) -> Certificate:
    certificate = read_certificate(der)
    if isinstance(certificate, Refusal):
        raise InvalidSvid(f"a certificate cannot be read: {certificate.detail}")
    return certificate


def _check_order(lower: Certificate, upper: Certificate) -> None:
    try:
        lower.parsed.verify_directly_issued_by(upper.parsed)
    except (ValueError, TypeError, InvalidSignature) as error:
        raise InvalidSvid("the chain is out of order: a certificate is not signed by the next") from error


def _own_key(key_der: bytes, leaf: Certificate) -> PrivateKey:
    try:
        key = load_der_private_key(key_der, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise InvalidSvid("the private key cannot be read") from error
    if not isinstance(key, PrivateKey) or key.public_key() != leaf.key:
        raise InvalidSvid("the private key is not the certificate's")
    return key
