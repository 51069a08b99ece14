"""An issuer's published keys: a JWK Set (RFC 7517) read with suspicion.

RFC 7517, section 5: "Implementations SHOULD ignore JWKs within a JWK Set that use "kty" (key type) values that are not
understood by them, that are missing required members, or for which values are out of the supported ranges."  So one
bad key does not spoil the others, and a set without any good one is no set.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from joserfc.errors import JoseError
from joserfc.jwk import Key, import_key

from callgate.users.base64url import decode
from callgate.users.unusable import Unusable
from callgate.wire.json_strict import JsonLimits, JsonObject, JsonValue, loads

# A hundred RSA keys with a certificate each would be more; issuers publish two to ten keys.
MAX_KEY_SET_BYTES: Final = 64 * 1024
MAX_KEYS: Final = 100
# Keys of one name, or all keys that fit where a token names none: each is one signature to check (70 us for ES256).
MAX_CANDIDATES: Final = 4
MAX_KID_CHARACTERS: Final = 255
# RFC 7518, section 3.3: "A key of size 2048 bits or larger MUST be used".  Above 8192 a check takes milliseconds.
MIN_RSA_BITS: Final = 2048
MAX_RSA_BITS: Final = 8192
# FIPS 186-5, appendix A.1.1: 2^16 < e; everybody uses 65537, and a long one makes each check slow.
MIN_RSA_EXPONENT: Final = 65537
MAX_RSA_EXPONENT: Final = 2**32 - 1

_LIMITS: Final = JsonLimits(max_bytes=MAX_KEY_SET_BYTES, max_depth=8, safe_integers=False, max_values=5_000)
# RFC 7518, section 6.2.1.2: "The length of this octet string MUST be the full size of a coordinate for the curve".
_COORDINATE_BYTES: Final = MappingProxyType({"P-256": 32, "P-384": 48, "P-521": 66})
_ED25519_BYTES: Final = 32
# RFC 7518, sections 6.2.2 and 6.3.2, and RFC 8037, section 2; "k" is a shared secret.
_PRIVATE: Final = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})

# Which kind of key each algorithm needs (RFC 7518 section 3.1, RFC 8037 section 3.1, RFC 9864 section 2.2).  There is
# no "none" here and nothing symmetric, so that a public key can never be taken for an HMAC secret (RFC 8725, 2.1).
KEY_KINDS: Final[Mapping[str, str]] = MappingProxyType(
    dict.fromkeys(("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"), "RSA")
    | {"ES256": "P-256", "ES384": "P-384", "ES512": "P-521", "EdDSA": "Ed25519", "Ed25519": "Ed25519"}
)


@dataclass(frozen=True, slots=True)
class VerificationKey:
    """One public key.

    `kind` is a value of KEY_KINDS.  `alg` is the one algorithm that it is for, "" where its issuer does not say.
    """

    kid: str
    kind: str
    alg: str
    key: Key

    def fits(self, alg: str) -> bool:
        """RFC 8725, section 3.1: "each key MUST be used with exactly one algorithm", where the issuer names it."""
        return KEY_KINDS[alg] == self.kind and self.alg in {"", alg}


@dataclass(frozen=True, slots=True)
class KeySet:
    """The keys of one issuer that can be used, in its order; `skipped` counts the others."""

    keys: tuple[VerificationKey, ...]
    skipped: int = 0

    def knows(self, kid: str) -> bool:
        """Whether there is any key to try for a token that names this one; "" is a token that names none."""
        return any(kid in {"", key.kid} for key in self.keys)

    def candidates(self, kid: str, alg: str) -> tuple[VerificationKey, ...]:
        """The keys to try, at most MAX_CANDIDATES.

        Names are not always unique (RFC 7517, section 4.5), and RFC 7515 does not ask a token to name a key.
        """
        found = (key for key in self.keys if kid in {"", key.kid} and key.fits(alg))
        return tuple(key for key, _ in zip(found, range(MAX_CANDIDATES), strict=False))


def read_key_set(octets: bytes) -> KeySet | Unusable:
    """Read a JWK Set, or say in words what is wrong with it.  Never raises.

    A set that is empty is one: its issuer takes back all that it signed.  One in which nothing can be used is none.
    """
    value = loads(octets, _LIMITS)
    entries = value.get("keys") if isinstance(value, dict) else None
    if not isinstance(entries, list):
        return Unusable("not a JWK Set")
    if len(entries) > MAX_KEYS:
        return Unusable(f"{len(entries)} keys; the limit is {MAX_KEYS}")
    keys = tuple(key for entry in entries if (key := _read_key(entry)) is not None)
    if entries and not keys:
        return Unusable(f"none of its {len(entries)} keys can be used")
    return KeySet(keys, len(entries) - len(keys))


def _read_key(entry: JsonValue) -> VerificationKey | None:
    if not isinstance(entry, dict) or not _is_for_signatures(entry):
        return None
    kid, alg = entry.get("kid", ""), entry.get("alg", "")
    if not isinstance(kid, str) or len(kid) > MAX_KID_CHARACTERS or not isinstance(alg, str):
        return None
    read = _READERS.get(str(entry.get("kty")))
    try:
        key = read(entry) if read is not None else None
    except (JoseError, ValueError):
        # A point that is not on its curve, for one.
        return None
    if key is None or (alg and KEY_KINDS.get(alg) != key[0]):
        return None
    return VerificationKey(kid, key[0], alg, key[1])


def _is_for_signatures(entry: JsonObject) -> bool:
    operations = entry.get("key_ops", ["verify"])
    # A private key that was published is everybody's.
    return (
        entry.get("use", "sig") == "sig"
        and isinstance(operations, list)
        and "verify" in operations
        and not _PRIVATE & entry.keys()
    )


def _read_rsa(entry: JsonObject) -> tuple[str, Key] | None:
    modulus, exponent = _octets(entry, "n"), _octets(entry, "e")
    if not MIN_RSA_BITS <= _integer(modulus).bit_length() <= MAX_RSA_BITS:
        return None
    if not MIN_RSA_EXPONENT <= _integer(exponent) <= MAX_RSA_EXPONENT or not exponent[-1] & 1:
        return None
    return "RSA", _imported({"kty": "RSA", "n": entry["n"], "e": entry["e"]})


def _read_ec(entry: JsonObject) -> tuple[str, Key] | None:
    curve = str(entry.get("crv"))
    size = _COORDINATE_BYTES.get(curve)
    if size is None or not size == len(_octets(entry, "x")) == len(_octets(entry, "y")):
        return None
    return curve, _imported({"kty": "EC", "crv": curve, "x": entry["x"], "y": entry["y"]})


def _read_okp(entry: JsonObject) -> tuple[str, Key] | None:
    if entry.get("crv") != "Ed25519" or len(_octets(entry, "x")) != _ED25519_BYTES:
        return None
    return "Ed25519", _imported({"kty": "OKP", "crv": "Ed25519", "x": entry["x"]})


_READERS: Final = MappingProxyType({"RSA": _read_rsa, "EC": _read_ec, "OKP": _read_okp})


def _imported(members: JsonObject) -> Key:
    """The key in joserfc's form, of nothing but members that were looked at; made now, so that a bad one fails now."""
    key = import_key({name: str(value) for name, value in members.items()})
    key.get_op_key("verify")
    return key


def _octets(entry: JsonObject, name: str) -> bytes:
    text = entry.get(name)
    return (decode(text) if isinstance(text, str) else None) or b""


def _integer(octets: bytes) -> int:
    return int.from_bytes(octets, "big")
