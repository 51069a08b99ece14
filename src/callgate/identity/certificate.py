"""X.509 certificates as bytes from outside: read wholly or refused, and what makes one fit to sign others.

Nothing in here knows whom we trust, or what time it is.
"""

from dataclasses import dataclass
from typing import Final, TypeVar

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes

from callgate.errors import GatewayError, Reason, Refusal
from callgate.identity.spiffe_id import InvalidSpiffeId, SpiffeId

# SPIRE's are below 2 KiB; an ID may take 2 KiB alone, an RSA key of 8192 bits and its signature 2 KiB more.
MAX_CERTIFICATE_BYTES: Final = 16 * 1024
# A leaf and seven above it; SPIRE under an upstream authority makes three.
MAX_CHAIN_CERTIFICATES: Final = 8
# What NIST SP 800-57 still allows, and what OpenSSL's security level 2 takes.
MIN_RSA_BITS: Final = 2048
# Checking a signature costs with the square of this, and it is the caller who chooses it.
MAX_RSA_BITS: Final = 8192
# No operator needs more of what a caller wrote.
MAX_DETAIL_CHARACTERS: Final = 200

_CURVES: Final = (ec.SECP256R1, ec.SECP384R1, ec.SECP521R1)
# X.690, section 8.9: the tag of a SEQUENCE.
_SEQUENCE: Final = 0x30
_Extension = TypeVar("_Extension", bound=x509.ExtensionType)


class InvalidDer(GatewayError):  # noqa: N818  # says what the input is
    """What should be concatenated DER is not."""


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate of which everything that will be asked has been read.

    `cryptography` reads parts of a certificate when they are asked for, and raises then; a `Certificate` no longer
    does.  `critical`: the extensions marked so.  `key`: None where the algorithm is unknown.  `key_usage` and
    `extended_key_usage`: None where the extension is absent.  `constrained`: the kinds of name that its name
    constraints speak of.  `not_before`, `not_after`: Unix seconds; it is valid at both, for RFC 5280, section
    4.1.2.5, says "inclusive".
    """

    parsed: x509.Certificate
    critical: frozenset[x509.ObjectIdentifier]
    uris: tuple[str, ...]
    is_ca: bool
    key: CertificatePublicKeyTypes | None
    key_usage: x509.KeyUsage | None
    extended_key_usage: frozenset[x509.ObjectIdentifier] | None
    constrained: frozenset[type[x509.GeneralName]]
    subject_is_empty: bool
    not_before: float
    not_after: float


def read_certificate(der: bytes) -> Certificate | Refusal:
    """Read one DER certificate, wholly; `SVID_MALFORMED` where that fails.  Never raises, whatever the bytes are."""
    if len(der) > MAX_CERTIFICATE_BYTES:
        return Refusal(Reason.SVID_MALFORMED, f"a certificate of {len(der)} bytes")
    try:
        return _read(x509.load_der_x509_certificate(der))
    except Exception as error:  # noqa: BLE001  # the bytes are the caller's, and what they can raise is nowhere listed
        return Refusal(Reason.SVID_MALFORMED, f"{type(error).__name__}: {error}"[:MAX_DETAIL_CHARACTERS])


def _read(certificate: x509.Certificate) -> Certificate:
    extensions = certificate.extensions
    names = _extension(extensions, x509.SubjectAlternativeName)
    basic = _extension(extensions, x509.BasicConstraints)
    purposes = _extension(extensions, x509.ExtendedKeyUsage)
    return Certificate(
        parsed=certificate,
        critical=frozenset(extension.oid for extension in extensions if extension.critical),
        uris=tuple(names.get_values_for_type(x509.UniformResourceIdentifier)) if names else (),
        is_ca=basic is not None and basic.ca,
        key=_key(certificate),
        key_usage=_extension(extensions, x509.KeyUsage),
        extended_key_usage=None if purposes is None else frozenset(purposes),
        constrained=_constrained(_extension(extensions, x509.NameConstraints)),
        subject_is_empty=_subject_is_empty(certificate.tbs_certificate_bytes),
        not_before=certificate.not_valid_before_utc.timestamp(),
        not_after=certificate.not_valid_after_utc.timestamp(),
    )


def _extension(extensions: x509.Extensions, kind: type[_Extension]) -> _Extension | None:
    return next((extension.value for extension in extensions if isinstance(extension.value, kind)), None)


def _key(certificate: x509.Certificate) -> CertificatePublicKeyTypes | None:
    try:
        return certificate.public_key()
    except UnsupportedAlgorithm:
        return None


def _subject_is_empty(signed: bytes) -> bool:
    # To read the name itself would warn on standard error of every value longer than X.520 recommends.
    # RFC 5280, section 4.1: version, serialNumber, signature, issuer, validity, subject.
    position, _ = _element(signed, 0)
    for _ in range(5):
        _, position = _element(signed, position)
    return signed[position : position + 2] == bytes([_SEQUENCE, 0])


def _constrained(constraints: x509.NameConstraints | None) -> frozenset[type[x509.GeneralName]]:
    if constraints is None:
        return frozenset()
    subtrees = (*(constraints.permitted_subtrees or ()), *(constraints.excluded_subtrees or ()))
    return frozenset(type(name) for name in subtrees)


def key_is_weak(key: CertificatePublicKeyTypes | None) -> bool:
    """RSA of 2048 to 8192 bits, P-256, P-384, P-521 and Ed25519 are strong enough; everything else is weak."""
    match key:
        case rsa.RSAPublicKey():
            return not MIN_RSA_BITS <= key.key_size <= MAX_RSA_BITS
        case ec.EllipticCurvePublicKey():
            return not isinstance(key.curve, _CURVES)
        case _:
            return not isinstance(key, ed25519.Ed25519PublicKey)


def uses(certificate: Certificate, bit: str) -> bool:
    """Whether there is a key usage and it has this bit, named as in x509.KeyUsage."""
    return certificate.key_usage is not None and bool(getattr(certificate.key_usage, bit))


def may_sign(certificate: Certificate) -> bool:
    """Whether a certificate between leaf and anchor keeps the rules for a signing certificate.

    X509-SVID.md, section 4.3: "SVID signing certificates MUST set `keyCertSign`."
    """
    return uses(certificate, "key_cert_sign") and may_anchor(certificate)


def may_anchor(certificate: Certificate) -> bool:
    """Whether a certificate of a trust bundle may be the end of a path.

    It need not be self-signed, and as RFC 5280 takes name and key alone from an anchor, it need not say what its key
    is for; but what it says counts.
    """
    return (
        certificate.is_ca
        and (certificate.key_usage is None or certificate.key_usage.key_cert_sign)
        and all(_is_authority_uri(uri) for uri in certificate.uris)
        # RFC 5280, section 4.2.1.10: "the application MUST either process the constraint or reject the certificate".
        # Path validation processes DNS names and addresses; not URIs, and not the names in a subject.
        and certificate.constrained <= {x509.DNSName, x509.IPAddress}
        and not key_is_weak(certificate.key)
    )


def _is_authority_uri(uri: str) -> bool:
    # X509-SVID.md, section 3.2: "the SPIFFE ID of a signing certificate MUST NOT have a path component".
    if not uri.lower().startswith("spiffe:"):
        return True
    try:
        return not SpiffeId.parse(uri).path
    except InvalidSpiffeId:
        return False


def split_der(concatenated: bytes) -> tuple[bytes, ...]:
    """Part ASN.1 sequences that follow one another, as the Workload API sends chains and bundles.  Raises InvalidDer."""
    parts, start = [], 0
    while start < len(concatenated):
        if concatenated[start] != _SEQUENCE:
            raise InvalidDer("no certificate where one should start")
        _, end = _element(concatenated, start)
        parts.append(concatenated[start:end])
        start = end
    return tuple(parts)


def _element(der: bytes, start: int) -> tuple[int, int]:
    """Where the content of the DER element at `start` begins, and where it ends."""
    first, *more = der[start + 1 : start + 6] or b"\xff"
    long = first & 0x7F if first >= 0x80 else 0
    size = int.from_bytes(more[:long], "big") if long else first
    # X.690, section 10.1: "the definite form of length encoding shall be used, encoded in the minimum number of octets".
    if first == 0x80 or long > 4 or (long and (size < 0x80 or not more[0])):
        raise InvalidDer("a length that is not DER")
    begin = start + 2 + long
    if begin + size > len(der):
        raise InvalidDer("cut short")
    return begin, begin + size
