"""SVIDs as files, named as `spire-agent api fetch x509 -write` names them."""

import ssl
import time
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_der_private_key

from callgate.dev.authority import DevAuthority

LIFETIME_S = 600


def write_svid(folder: Path, authority: DevAuthority, path: str, dns_names: tuple[str, ...] = ()) -> None:
    """Write `svid.0.pem`, `svid.0.key` and `bundle.0.pem` of a new SVID into a folder, which is made."""
    folder.mkdir()
    chain, key = authority.issue(path, now=time.time(), ttl_s=LIFETIME_S, dns_names=dns_names)
    pkcs8 = load_der_private_key(key, None).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (folder / "svid.0.pem").write_bytes(_pem(chain))
    (folder / "svid.0.key").write_bytes(pkcs8)
    (folder / "bundle.0.pem").write_bytes(_pem(authority.bundle_der))


def uvicorn_tls(folder: Path) -> dict[str, object]:
    """uvicorn's settings for these files: it shows the SVID and wants a client certificate of the bundle."""
    return {
        "ssl_certfile": str(folder / "svid.0.pem"),
        "ssl_keyfile": str(folder / "svid.0.key"),
        "ssl_ca_certs": str(folder / "bundle.0.pem"),
        "ssl_cert_reqs": ssl.CERT_REQUIRED,
    }


def _pem(der: bytes) -> bytes:
    return x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM)
