"""A certificate authority for development: SVIDs shaped like SPIRE's, from a key in memory.

It attests nobody and guards nothing.  `now` is Unix seconds, as everywhere.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from callgate.errors import GatewayError
from callgate.identity.spiffe_id import SpiffeId, TrustDomain

# SPIRE's NotBeforeCushion: peers whose clock is a little behind still take a new SVID.
BACKDATED_S = 10
DAY_S = 24 * 60 * 60


@dataclass(frozen=True, slots=True)
class _Root:
    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    @property
    def not_after(self) -> float:
        return self.certificate.not_valid_after_utc.timestamp()


class DevAuthority:
    """The development CA of one trust domain.  Not thread-safe."""

    def __init__(self, trust_domain: TrustDomain, *, now: float, lifetime_s: float = DAY_S) -> None:
        """`lifetime_s`: how long each root lives; SPIRE's default is a day."""
        self.trust_domain = trust_domain
        self._lifetime_s = lifetime_s
        self._roots: tuple[_Root, ...] = (_new_root(trust_domain, now, lifetime_s),)

    @property
    def bundle_der(self) -> bytes:
        """All roots, the signing one first: concatenated DER, as the Workload API wants it."""
        return b"".join(root.certificate.public_bytes(Encoding.DER) for root in self._roots)

    @property
    def not_after(self) -> float:
        """When the signing root expires."""
        return self._roots[0].not_after

    def rotate(self, *, now: float) -> None:
        """Sign with a new root from here on; the old ones stay in the bundle for the SVIDs that they signed."""
        living = tuple(root for root in self._roots if root.not_after > now)
        self._roots = (_new_root(self.trust_domain, now, self._lifetime_s), *living)

    def drop_old_roots(self) -> None:
        """Leave the signing root alone in the bundle: SVIDs of the others are no longer to be trusted."""
        self._roots = self._roots[:1]

    def issue(self, path: str, *, now: float, ttl_s: float, dns_names: tuple[str, ...] = ()) -> tuple[bytes, bytes]:
        """A new SVID for `path`: the chain (here one certificate) and its key, DER and PKCS#8.

        Valid from `BACKDATED_S` before now to `ttl_s` after, or to the end of the signing root.
        """
        spiffe_id = SpiffeId(self.trust_domain, path)
        if not path:
            raise GatewayError(f"{spiffe_id} is the ID of a trust domain, and not of a workload")
        root = self._roots[0]
        key = ec.generate_private_key(ec.SECP256R1())
        builder = _certificate(_name("workload"), key.public_key(), now, min(now + ttl_s, root.not_after))
        builder = _leaf_extensions(builder, spiffe_id, dns_names, root)
        certificate = builder.issuer_name(root.certificate.subject).sign(root.key, SHA256())
        pkcs8 = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
        return certificate.public_bytes(Encoding.DER), pkcs8


def _new_root(trust_domain: TrustDomain, now: float, lifetime_s: float) -> _Root:
    key = ec.generate_private_key(ec.SECP256R1())
    name = _name(f"{trust_domain} authority"[:64])
    builder = (
        _certificate(name, key.public_key(), now, now + lifetime_s)
        .issuer_name(name)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
        .add_extension(_uri(SpiffeId(trust_domain, ""), ()), critical=False)
    )
    return _Root(key, builder.sign(key, SHA256()))


def _leaf_extensions(
    builder: x509.CertificateBuilder, spiffe_id: SpiffeId, dns_names: tuple[str, ...], root: _Root
) -> x509.CertificateBuilder:
    issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(root.key.public_key())
    both_ends = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
    return (
        builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(signs_certificates=False), critical=True)
        .add_extension(both_ends, critical=False)
        .add_extension(issuer, critical=False)
        .add_extension(_uri(spiffe_id, dns_names), critical=False)
    )


def _certificate(
    subject: x509.Name, public_key: ec.EllipticCurvePublicKey, now: float, not_after: float
) -> x509.CertificateBuilder:
    # Certificates count whole seconds: rounded down, so that none outlives what was asked for.
    return (
        x509.CertificateBuilder()
        .serial_number(x509.random_serial_number())
        .subject_name(subject)
        .public_key(public_key)
        .not_valid_before(datetime.fromtimestamp(int(now), UTC) - timedelta(seconds=BACKDATED_S))
        .not_valid_after(datetime.fromtimestamp(int(not_after), UTC))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
    )


def _name(common_name: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.COUNTRY_NAME, "US"),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "callgate development"),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )


def _uri(spiffe_id: SpiffeId, dns_names: tuple[str, ...]) -> x509.SubjectAlternativeName:
    uri = x509.UniformResourceIdentifier(str(spiffe_id))
    return x509.SubjectAlternativeName([uri, *(x509.DNSName(name) for name in dns_names)])


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    """SPIRE's: digitalSignature, keyEncipherment and keyAgreement for a leaf; keyCertSign and cRLSign for a CA."""
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_encipherment=not signs_certificates,
        key_agreement=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        data_encipherment=False,
        encipher_only=False,
        decipher_only=False,
    )
