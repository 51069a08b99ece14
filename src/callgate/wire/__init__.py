"""What is said: one strict reading of HTTP, JSON, JSON-RPC and MCP."""
