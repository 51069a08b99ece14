"""TLS contexts, made anew for each identity update and never changed afterwards.

OpenSSL's store is only the pre-filter: it holds the authorities of every trust domain together and would let one of
them vouch for another's workloads.  `callgate.identity.trust.verify_peer` is what decides (docs/adr/0004).
"""

import logging
import os
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from callgate.identity.trust import X509Bundle, X509Context
from callgate.identity.x509_svid import X509Svid

_LOG = logging.getLogger(__name__)


def agent_facing_context(identity: X509Context) -> ssl.SSLContext:
    """The listener's context: TLS 1.3, a client certificate from any authority we know, no session tickets.

    A resumed session would skip the client's certificate (RFC 8446 section 4.6.1), so no ticket is ever given out.
    """
    context = _context(ssl.PROTOCOL_TLS_SERVER)
    context.verify_mode = ssl.CERT_REQUIRED
    context.num_tickets = 0
    _load_svid(context, identity.svid)
    for bundle in identity.bundles.values():
        _trust(context, bundle)
    return context


def public_context(identity: X509Context) -> ssl.SSLContext:
    """For the admin listener: our SVID, and no client certificate asked for."""
    context = _context(ssl.PROTOCOL_TLS_SERVER)
    context.num_tickets = 0
    _load_svid(context, identity.svid)
    return context


def files_context(certificate: Path, key: Path) -> ssl.SSLContext:
    """For the admin listener: a certificate that browsers trust, PEM, and no client certificate asked for.

    Raises OSError, ssl.SSLError among them, where the files cannot be used.
    """
    context = _context(ssl.PROTOCOL_TLS_SERVER)
    context.num_tickets = 0
    # Never ask at a terminal: a key that is encrypted is one that cannot be used.
    context.load_cert_chain(certificate, key, password="")
    return context


def workload_context(identity: X509Context, bundle: X509Bundle) -> ssl.SSLContext:
    """For a tool server with a SPIFFE ID: our SVID, and its own trust domain's authorities alone.

    SPIFFE IDs take the place of host names (X509-SVID section 5.1), hence no host name check.
    """
    context = _context(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    _load_svid(context, identity.svid)
    _trust(context, bundle)
    return context


def web_context() -> ssl.SSLContext:
    """For a tool server known by its host name: the system's authorities, host name checked."""
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    return context


def _context(protocol: int) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_3
    # SPIFFE trust bundles may hold intermediate authorities (X509-SVID section 6.1 says only SHOULD be self-signed).
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.set_alpn_protocols(["http/1.1"])
    return context


def _trust(context: ssl.SSLContext, bundle: X509Bundle) -> None:
    for authority in bundle.authorities:
        try:
            context.load_verify_locations(cadata=authority.public_bytes(Encoding.DER))
        except ssl.SSLError as error:
            # OpenSSL reads less than we do.  What another organisation publishes must not end our own service: only
            # the workloads of this one authority stay unknown.
            _LOG.warning("an authority of %s is left out: %s", bundle.trust_domain, error.reason or error)


def _load_svid(context: ssl.SSLContext, svid: X509Svid) -> None:
    chain = b"".join(x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM) for der in svid.chain)
    key = svid.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    with _in_memory(chain) as chain_path, _in_memory(key) as key_path:
        context.load_cert_chain(chain_path, key_path)


@contextmanager
def _in_memory(content: bytes) -> Iterator[str]:
    """A path that `ssl` can read once and that no disk ever sees: `ssl` takes files alone (cpython#129216)."""
    reader, writer = os.pipe()
    try:
        try:
            # A pipe holds 64 KiB, and a chain is bounded far below it; a full pipe must fail rather than block.
            os.set_blocking(writer, False)
            if os.write(writer, content) != len(content):
                raise ssl.SSLError("certificate chain does not fit a pipe")
        finally:
            os.close(writer)
        yield f"/dev/fd/{reader}"
    finally:
        os.close(reader)
