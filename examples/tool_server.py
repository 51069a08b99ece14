"""A tool server behind callgate: it checks the gate's token with FastMCP's own verifier and nothing else.

    pip install "fastmcp>=4.1"
    ISSUER=https://gate.acme.test JWKS_URI=https://gate.acme.test/.well-known/jwks.json \
    AUDIENCE=https://orders.acme.test/mcp python tool_server.py
"""

import os

from fastmcp import FastMCP
from fastmcp.server.auth import require_scopes
from fastmcp.server.auth.providers.jwt import JWTVerifier

server = FastMCP(
    "orders",
    auth=JWTVerifier(
        issuer=os.environ["ISSUER"],
        jwks_uri=os.environ["JWKS_URI"],
        audience=os.environ["AUDIENCE"],  # exactly what `token.audience` says in callgate.yaml
        algorithm="ES256",  # without this line FastMCP expects RS256 and refuses every token
    ),
)


# Each tool asks for the scope `tool:<its name>`: a token made for one tool opens no other.
@server.tool(auth=require_scopes("tool:get_order"))
def get_order(number: str) -> str:
    """One order."""
    return f"order {number}: 3 crates, shipped"


# A grant's `scopes` stand beside it, so a tool can ask for those as well.
@server.tool(auth=require_scopes("tool:cancel_order", "orders.write"))
def cancel_order(number: str) -> str:
    """Cancel one order."""
    return f"order {number} is cancelled"


if __name__ == "__main__":
    server.run(transport="http", host="127.0.0.1", port=int(os.environ.get("PORT", "9000")))
