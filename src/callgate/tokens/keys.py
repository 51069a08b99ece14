"""The key that signs tokens: ECDSA on P-256, made in memory, named by its thumbprint.

ES256 because every verifier in use takes it and it is the cheapest to sign.  Pure: the private key comes in as a
parameter, and no text form of a `SigningKey` holds any of it.
"""

from binascii import b2a_base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from types import MappingProxyType

import orjson
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

from callgate.errors import GatewayError

ALGORITHM = "ES256"
# "at+jwt" is RFC 9068's; "JWT" is for verifiers that refuse any other type (Spring Security's default).
TOKEN_TYPES = ("at+jwt", "JWT")

_ECDSA = ec.ECDSA(SHA256())
_COORDINATE_BYTES = 32
_URL_SAFE = bytes.maketrans(b"+/", b"-_")


class UnusableKey(GatewayError):  # noqa: N818  # says what the input is
    """A private key that ES256 cannot use."""


def base64url(octets: bytes) -> str:
    """Base64 with the URL-safe alphabet and no padding (RFC 7515, section 2)."""
    return b2a_base64(octets, newline=False).rstrip(b"=").translate(_URL_SAFE).decode("ascii")


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class SigningKey:
    """A P-256 private key, its name, and what depends on it alone.

    `kid` is the RFC 7638 thumbprint of the public key.  Raises UnusableKey for any other curve.
    """

    private_key: ec.EllipticCurvePrivateKey
    kid: str = field(init=False)
    _coordinates: tuple[str, str] = field(init=False)
    _header_segments: Mapping[str, bytes] = field(init=False)

    def __post_init__(self) -> None:
        if not isinstance(self.private_key.curve, ec.SECP256R1):
            raise UnusableKey(f"ES256 needs a key on P-256, not on {self.private_key.curve.name}")
        object.__setattr__(self, "_coordinates", _coordinates(self.private_key.public_key()))
        object.__setattr__(self, "kid", _thumbprint(*self._coordinates))
        segments = {typ: _header_segment(typ, self.kid) for typ in TOKEN_TYPES}
        object.__setattr__(self, "_header_segments", MappingProxyType(segments))

    def __repr__(self) -> str:
        return f"SigningKey(kid={self.kid!r})"

    @property
    def jwk(self) -> dict[str, str]:
        """The public key as a JSON Web Key (RFC 7517), a new dict each time."""
        x, y = self._coordinates
        return {"kty": "EC", "crv": "P-256", "x": x, "y": y, "use": "sig", "alg": ALGORITHM, "kid": self.kid}

    def header_segment(self, typ: str) -> bytes:
        """The first segment of every token of this key, with its dot.  Raises KeyError if not one of TOKEN_TYPES."""
        return self._header_segments[typ]

    def sign(self, signing_input: bytes) -> bytes:
        """The 64 bytes R || S.

        RFC 7518, section 3.4: "Turn R and S into octet sequences in big-endian order, with each array being be 32
        octets long."
        """
        r, s = decode_dss_signature(self.private_key.sign(signing_input, _ECDSA))
        return r.to_bytes(_COORDINATE_BYTES, "big") + s.to_bytes(_COORDINATE_BYTES, "big")


def _coordinates(public_key: ec.EllipticCurvePublicKey) -> tuple[str, str]:
    numbers = public_key.public_numbers()
    # RFC 7518, section 6.2.1.2: "The length of this octet string MUST be the full size of a coordinate".
    x, y = (n.to_bytes(_COORDINATE_BYTES, "big") for n in (numbers.x, numbers.y))
    return base64url(x), base64url(y)


def _thumbprint(x: str, y: str) -> str:
    # RFC 7638, section 3: the required members alone, "ordered lexicographically", "no whitespace".
    required = {"crv": "P-256", "kty": "EC", "x": x, "y": y}
    return base64url(sha256(orjson.dumps(required, option=orjson.OPT_SORT_KEYS)).digest())


def _header_segment(typ: str, kid: str) -> bytes:
    header = orjson.dumps({"alg": ALGORITHM, "typ": typ, "kid": kid})
    return base64url(header).encode("ascii") + b"."
