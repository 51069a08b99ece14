"""A PKI for tests: authorities that issue SVIDs, and whatever an authority never should.

    acme = Authority.root("acme.test", now=now)
    good = acme.issue(workload("spiffe://acme.test/ns/a/sa/b", now=now))
    bad = acme.issue(LEAF_FAULTS["two_uris"](workload("spiffe://acme.test/x", now=now)))
    context = good.client_context(tmp_path, trusted=[acme])

A `Profile` says what goes into a certificate; `dataclasses.replace` changes one, and `LEAF_FAULTS` names the usual
changes for the worse.  Time is a parameter everywhere: Unix seconds.
"""

import ssl
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey
Extension = tuple[x509.ExtensionType, bool]

BOTH_ENDS = (ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH)
NO_NAME = x509.Name([])
UNKNOWN_EXTENSION = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.32473.1"), b"\x05\x00")
HOUR_S = 3600.0
DAY_S = 24 * HOUR_S


def name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def p256() -> Key:
    return ec.generate_private_key(ec.SECP256R1())


@dataclass(frozen=True, slots=True)
class Profile:
    """What goes into a certificate.  None leaves an extension out; `more` are further extensions and whether critical."""

    subject: x509.Name
    not_before: float
    not_after: float
    key: Key = field(default_factory=p256)
    uris: tuple[str, ...] = ()
    dns_names: tuple[str, ...] = ()
    names_critical: bool = False
    ca: bool | None = None
    path_length: int | None = None
    key_usage: frozenset[str] | None = None
    key_usage_critical: bool = True
    purposes: tuple[x509.ObjectIdentifier, ...] | None = None
    purposes_critical: bool = False
    more: tuple[Extension, ...] = ()

    def extensions(self) -> list[Extension]:
        found = list(self.more)
        names = [*map(x509.UniformResourceIdentifier, self.uris), *map(x509.DNSName, self.dns_names)]
        if names:
            found.append((x509.SubjectAlternativeName(names), self.names_critical))
        if self.ca is not None:
            found.append((x509.BasicConstraints(self.ca, self.path_length), True))
        if self.key_usage is not None:
            found.append((_key_usage(self.key_usage), self.key_usage_critical))
        if self.purposes is not None:
            found.append((x509.ExtendedKeyUsage(self.purposes), self.purposes_critical))
        return found


def _key_usage(bits: frozenset[str]) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature="digital_signature" in bits,
        content_commitment=False,
        key_encipherment="key_encipherment" in bits,
        data_encipherment=False,
        key_agreement="key_agreement" in bits,
        key_cert_sign="key_cert_sign" in bits,
        crl_sign="crl_sign" in bits,
        encipher_only=False,
        decipher_only=False,
    )


def workload(spiffe_id: str, *, now: float, dns_names: tuple[str, ...] = ()) -> Profile:
    """A flawless leaf, shaped as SPIRE's: valid for an hour, backdated ten seconds."""
    return Profile(
        subject=name("workload"),
        not_before=now - 10,
        not_after=now + HOUR_S,
        uris=(spiffe_id,),
        dns_names=dns_names,
        ca=False,
        key_usage=frozenset({"digital_signature", "key_encipherment", "key_agreement"}),
        purposes=BOTH_ENDS,
    )


def signer(common_name: str, trust_domain: str, *, now: float) -> Profile:
    """A flawless signing certificate of a trust domain, valid for a day."""
    return Profile(
        subject=name(common_name),
        not_before=now - HOUR_S,
        not_after=now + DAY_S,
        uris=(f"spiffe://{trust_domain}",),
        ca=True,
        key_usage=frozenset({"key_cert_sign", "crl_sign"}),
    )


@dataclass(frozen=True, slots=True)
class Issued:
    """A leaf, its key, and the intermediates above it, lowest first."""

    certificate: x509.Certificate
    key: Key
    above: tuple[x509.Certificate, ...] = ()

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(Encoding.DER)

    @property
    def chain(self) -> tuple[bytes, ...]:
        """DER, leaf first, without the root."""
        return (self.der, *(certificate.public_bytes(Encoding.DER) for certificate in self.above))

    @property
    def chain_der(self) -> bytes:
        """The chain as the Workload API sends it."""
        return b"".join(self.chain)

    @property
    def chain_pem(self) -> bytes:
        return _pem(self.certificate, *self.above)

    @property
    def key_der(self) -> bytes:
        return self.key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())

    @property
    def key_pem(self) -> bytes:
        return self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    def client_context(self, directory: Path, trusted: "Sequence[Authority]" = ()) -> ssl.SSLContext:
        """A TLS client that shows this certificate, and believes servers of `trusted` (any server, where empty).

        OpenSSL's rules for its own key are off, so that a weak one gets as far as the server.
        """
        file = directory / f"{self.certificate.fingerprint(hashes.SHA256()).hex()}.pem"
        file.write_bytes(self.chain_pem + self.key_pem)
        context = anonymous_client_context(trusted)
        context.set_ciphers("DEFAULT:@SECLEVEL=0")
        context.load_cert_chain(file)
        return context


def anonymous_client_context(trusted: "Sequence[Authority]" = ()) -> ssl.SSLContext:
    """A TLS client without a certificate, which believes servers of `trusted` (any server, where empty)."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_REQUIRED if trusted else ssl.CERT_NONE
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    for authority in trusted:
        context.load_verify_locations(cadata=_pem(authority.certificate).decode())
    return context


def _pem(*certificates: x509.Certificate) -> bytes:
    return b"".join(certificate.public_bytes(Encoding.PEM) for certificate in certificates)


@dataclass(frozen=True, slots=True)
class Authority:
    """A signing certificate with its key.  `above`: what a leaf of it has to send along, lowest first."""

    certificate: x509.Certificate
    key: Key
    above: tuple[x509.Certificate, ...] = ()

    @classmethod
    def root(cls, trust_domain: str, *, now: float) -> Self:
        return cls.self_signed(signer(f"root of {trust_domain}", trust_domain, now=now))

    @classmethod
    def self_signed(cls, profile: Profile) -> Self:
        return cls(_sign(profile, profile.subject, profile.key), profile.key)

    def intermediate(self, profile: Profile) -> "Authority":
        """Sign a certificate that signs others in its turn."""
        certificate = _sign(profile, self.certificate.subject, self.key)
        return Authority(certificate, profile.key, (certificate, *self.above))

    def issue(self, profile: Profile) -> Issued:
        """Sign what the profile says, good or bad."""
        return Issued(_sign(profile, self.certificate.subject, self.key), profile.key, self.above)

    @property
    def der(self) -> bytes:
        """The certificate; also a bundle of this one authority, as the Workload API sends it."""
        return self.certificate.public_bytes(Encoding.DER)

    def reissue(self, der: bytes, old: bytes, new: bytes) -> bytes:
        """Sign a certificate again after replacing bytes by as many others: for what no builder would build.

        The bytes must occur in it.
        """
        signed = x509.load_der_x509_certificate(der).tbs_certificate_bytes
        assert old in signed
        assert len(old) == len(new)
        return self.seal(signed.replace(old, new))

    def seal(self, signed: bytes) -> bytes:
        """A certificate around what should be a TBSCertificate, by this authority's key, which must be P-256."""
        assert isinstance(self.key, ec.EllipticCurvePrivateKey)
        ecdsa_with_sha256 = bytes.fromhex("300a06082a8648ce3d040302")
        signature = self.key.sign(signed, ec.ECDSA(hashes.SHA256()))
        return _element(0x30, signed + ecdsa_with_sha256 + _element(0x03, b"\0" + signature))


def _sign(profile: Profile, issuer: x509.Name, issuer_key: Key) -> x509.Certificate:
    builder = (
        x509.CertificateBuilder()
        .subject_name(profile.subject)
        .issuer_name(issuer)
        .public_key(profile.key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(datetime.fromtimestamp(profile.not_before, UTC))
        .not_valid_after(datetime.fromtimestamp(profile.not_after, UTC))
    )
    for extension, critical in profile.extensions():
        builder = builder.add_extension(extension, critical)
    hashless = isinstance(issuer_key, ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey)
    return builder.sign(issuer_key, None if hashless else hashes.SHA256())


def _element(tag: int, content: bytes) -> bytes:
    size = len(content)
    size_bytes = size.to_bytes((size.bit_length() + 7) // 8, "big")
    length = bytes([size]) if size < 0x80 else bytes([0x80 | len(size_bytes)]) + size_bytes
    return bytes([tag]) + length + content


def _without(profile: Profile, bit: str) -> Profile:
    return replace(profile, key_usage=(profile.key_usage or frozenset()) - {bit})


def _with(profile: Profile, bit: str) -> Profile:
    return replace(profile, key_usage=(profile.key_usage or frozenset()) | {bit})


def _another_id(profile: Profile, uri: str) -> Profile:
    return replace(profile, uris=(uri,))


_NAME_CONSTRAINTS = x509.NameConstraints([x509.DNSName("acme.test")], None)

LEAF_FAULTS: Mapping[str, Callable[[Profile], Profile]] = {
    "no_san": lambda leaf: replace(leaf, uris=(), dns_names=()),
    "dns_name_only": lambda leaf: replace(leaf, uris=(), dns_names=("workload.acme.test",)),
    "two_uris": lambda leaf: replace(leaf, uris=(*leaf.uris, f"{leaf.uris[0]}/another")),
    "same_uri_twice": lambda leaf: replace(leaf, uris=leaf.uris * 2),
    "second_uri_not_spiffe": lambda leaf: replace(leaf, uris=(*leaf.uris, "https://acme.test/")),
    "https_uri": lambda leaf: _another_id(leaf, leaf.uris[0].replace("spiffe:", "https:")),
    "misspelt_scheme": lambda leaf: _another_id(leaf, leaf.uris[0].replace("spiffe:", "sparfe:")),
    "upper_case_scheme": lambda leaf: _another_id(leaf, leaf.uris[0].replace("spiffe:", "SPIFFE:")),
    "upper_case_trust_domain": lambda leaf: _another_id(leaf, leaf.uris[0].replace("acme", "ACME")),
    "port_in_id": lambda leaf: _another_id(leaf, leaf.uris[0].replace(".test/", ".test:443/")),
    "user_in_id": lambda leaf: _another_id(leaf, leaf.uris[0].replace("://", "://root@")),
    "query_in_id": lambda leaf: _another_id(leaf, leaf.uris[0] + "?admin"),
    "newline_in_id": lambda leaf: _another_id(leaf, leaf.uris[0] + "\n"),
    "nul_in_id": lambda leaf: _another_id(leaf, leaf.uris[0] + "\0.evil.test"),
    "id_too_long": lambda leaf: _another_id(leaf, leaf.uris[0].ljust(2049, "x")),
    "root_path": lambda leaf: _another_id(leaf, leaf.uris[0][: leaf.uris[0].index("/", len("spiffe://"))]),
    "ca": lambda leaf: replace(leaf, ca=True),
    "no_key_usage": lambda leaf: replace(leaf, key_usage=None),
    "key_usage_not_critical": lambda leaf: replace(leaf, key_usage_critical=False),
    "no_digital_signature": lambda leaf: _without(leaf, "digital_signature"),
    "key_cert_sign": lambda leaf: _with(leaf, "key_cert_sign"),
    "crl_sign": lambda leaf: _with(leaf, "crl_sign"),
    "server_auth_only": lambda leaf: replace(leaf, purposes=BOTH_ENDS[:1]),
    "client_auth_only": lambda leaf: replace(leaf, purposes=BOTH_ENDS[1:]),
    "any_purpose_only": lambda leaf: replace(leaf, purposes=(ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE,)),
    "empty_subject": lambda leaf: replace(leaf, subject=NO_NAME),
    "unknown_critical_extension": lambda leaf: replace(leaf, more=((UNKNOWN_EXTENSION, True),)),
    "name_constraints_in_leaf": lambda leaf: replace(leaf, more=((_NAME_CONSTRAINTS, True),)),
    "rsa_1024": lambda leaf: replace(leaf, key=rsa.generate_private_key(65537, 1024)),  # noqa: S505  # weak on purpose
    "p192": lambda leaf: replace(leaf, key=ec.generate_private_key(ec.SECP192R1())),
    "secp256k1": lambda leaf: replace(leaf, key=ec.generate_private_key(ec.SECP256K1())),
    "ed448": lambda leaf: replace(leaf, key=ed448.Ed448PrivateKey.generate()),
    # Over ten seconds ago, and beginning when the good one ends.
    "expired": lambda leaf: replace(leaf, not_before=leaf.not_before - HOUR_S, not_after=leaf.not_before),
    "not_yet_valid": lambda leaf: replace(leaf, not_before=leaf.not_after, not_after=leaf.not_after + HOUR_S),
}
