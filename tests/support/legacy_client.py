# mypy: ignore-errors
# It is written against mcp 1.x and httpx, which this environment does not hold.
"""An agent of the 1.x line of the `mcp` package: the legacy handshake, sessions and httpx.

It is no part of the test process, whose environment holds mcp 2.x.  It is run as a script of its own:

    $UV run --isolated --no-project --with mcp==1.30.0 python tests/support/legacy_client.py URL
        [--cert SVID.pem --key KEY.pem --ca BUNDLE.pem] [--header NAME:VALUE] [--call TOOL=JSON_ARGUMENTS ...]

It initializes, lists the tools, plays each --call in order and lists once more, and prints one line of JSON:

    {"protocol": "2025-11-25", "tools": [...], "calls": [{"tool", "text", "is_error", "progress"} | {"tool", "code",
    "message", "data"}], "tools_after": [...]}

or {"failed": "..."} and exit code 1 where no session came about.
"""

import argparse
import asyncio
import json
import ssl
import sys
from typing import Any

import httpx
from mcp import ClientSession, McpError
from mcp.client.streamable_http import streamable_http_client

TIMEOUT_S = 20.0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("--cert")
    parser.add_argument("--key")
    parser.add_argument("--ca")
    parser.add_argument("--header", action="append", default=[])
    parser.add_argument("--call", action="append", default=[])
    return parser.parse_args()


def http_client(given: argparse.Namespace) -> httpx.AsyncClient:
    headers = dict(header.split(":", 1) for header in given.header)
    verify: ssl.SSLContext | bool = True
    if given.ca:
        verify = ssl.create_default_context(cafile=given.ca)
        if given.cert:
            verify.load_cert_chain(given.cert, given.key)
    return httpx.AsyncClient(verify=verify, headers=headers, timeout=TIMEOUT_S, trust_env=False)


async def call(session: ClientSession, asked: str) -> dict[str, Any]:
    tool, _, text = asked.partition("=")
    progress: list[float] = []

    async def note(done: float, _total: float | None, _message: str | None) -> None:
        progress.append(done)

    try:
        result = await session.call_tool(tool, json.loads(text or "{}"), progress_callback=note)
    except McpError as error:
        return {"tool": tool, "code": error.error.code, "message": error.error.message, "data": error.error.data}
    said = "\n".join(part.text for part in result.content if part.type == "text")
    return {"tool": tool, "text": said, "is_error": bool(result.isError), "progress": progress}


async def tools(session: ClientSession) -> list[str]:
    return [tool.name for tool in (await session.list_tools()).tools]


async def play(given: argparse.Namespace) -> dict[str, Any]:
    async with (
        http_client(given) as http,
        streamable_http_client(given.url, http_client=http) as (read, write, _),
        ClientSession(read, write) as session,
    ):
        opened = await session.initialize()
        first = await tools(session)
        calls = [await call(session, asked) for asked in given.call]
        return {"protocol": opened.protocolVersion, "tools": first, "calls": calls, "tools_after": await tools(session)}


def causes(error: BaseException) -> list[str]:
    if isinstance(error, BaseExceptionGroup):
        return [cause for inner in error.exceptions for cause in causes(inner)]
    return [f"{type(error).__name__}: {error}"]


def main() -> int:
    try:
        print(json.dumps(asyncio.run(asyncio.wait_for(play(arguments()), TIMEOUT_S))))
    except BaseException as error:  # noqa: BLE001  # whatever ended the session is the result
        print(json.dumps({"failed": "; ".join(causes(error))}))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
