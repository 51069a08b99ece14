"""callgate: a zero-trust gate for AI agents' tool calls."""
