"""A workload: follows the Workload API as the gate does, and prints every state that it comes to, a JSON object a line."""

import json
import time
from collections.abc import Iterable

import trio
from cryptography import x509

from callgate.errors import Refusal
from callgate.identity.source import X509Source
from callgate.identity.trust import X509Context, verify_peer


def key_id(certificate: x509.Certificate) -> str:
    """SPIRE calls an X.509 authority by its subject key identifier."""
    return certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest.hex()


def issuer_key_id(leaf: bytes) -> str | None:
    extensions = x509.load_der_x509_certificate(leaf).extensions
    issuer = extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
    return issuer.hex() if issuer else None


def state(context: X509Context, authorities: Iterable[x509.Certificate]) -> dict[str, object]:
    svid = context.svid
    verified = verify_peer(svid.chain, context.bundles, time.time())
    return {
        "id": str(svid.id),
        "leaf": svid.leaf_sha256.hex(),
        "not_after": svid.not_after,
        "issuer": issuer_key_id(svid.chain[0]),
        "authorities": [key_id(authority) for authority in authorities],
        # Our own rules for peers, on what SPIRE really issues.
        "refused": verified.detail if isinstance(verified, Refusal) else None,
    }


async def main() -> None:
    source = X509Source()
    async with trio.open_nursery() as nursery:
        await nursery.start(source.run)
        while True:
            current = source.current
            if current is None:
                report: dict[str, object] = {"id": None, "problem": source.problem}
            else:
                report = state(current, current.bundles[current.svid.id.trust_domain].authorities)
            print(json.dumps(report), flush=True)
            await source.changed(current)


trio.run(main)
