"""An agent that calls one tool through callgate.  It holds an SVID and no secret.

    pip install "mcp>=2.3"
    spire-agent api fetch x509 -write .
    python agent.py https://localhost:8443/orders/mcp spiffe://acme.test/gate get_order '{"number": "A-17"}'

SVIDs live for minutes: an agent that runs longer builds a new context from each one it is given.
"""

import asyncio
import json
import ssl
import sys

import httpx2
from mcp import Client, MCPError
from mcp.client.streamable_http import streamable_http_client


def context_to(gate: str) -> ssl.SSLContext:
    """Mutual TLS with the files that `spire-agent api fetch x509 -write .` leaves."""
    context = ssl.create_default_context(cafile="bundle.0.pem")  # the gate's trust domain, and no other authority
    context.load_cert_chain("svid.0.pem", "svid.0.key")
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False  # the gate is known by its SPIFFE ID, whatever host it runs on:

    class TlsToGate(ssl.SSLObject):
        def do_handshake(self) -> None:
            super().do_handshake()
            names = (self.getpeercert() or {}).get("subjectAltName", ())
            if [name[1] for name in names if name[0] == "URI"] != [gate]:
                raise ssl.SSLCertVerificationError(ssl.SSL_ERROR_SSL, f"the server is not {gate}")

    context.sslobject_class = TlsToGate
    return context


async def main(url: str, gate: str, tool: str, arguments: str) -> None:
    async with (
        httpx2.AsyncClient(verify=context_to(gate), trust_env=False, timeout=30) as http,
        Client(streamable_http_client(url, http_client=http)) as agent,
    ):
        print("tools:", ", ".join(each.name for each in (await agent.list_tools()).tools))
        try:
            result = await agent.call_tool(tool, json.loads(arguments))
            print("allowed:", *(part.text for part in result.content if part.type == "text"))
        except MCPError as denial:
            # The session lives on: a denial is an answer.  `data` has the reason, the decision's id and its trace.
            print("denied:", denial.code, denial.message, denial.data)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
