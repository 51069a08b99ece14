"""`--tools SERVER=FILE|URL`: where the tool lists that a policy is checked against come from."""

from collections.abc import Collection, Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click
import trio

from callgate.addresses import Url
from callgate.cli.running import run
from callgate.policy.annotations import MAX_TOOLS
from callgate.policy.model import check_server_name
from callgate.tool_lists import MAX_TOOL_LIST_BYTES, NotAToolList, ToolList, read_tool_list, tools_of
from callgate.yaml_model import did_you_mean

if TYPE_CHECKING:
    from mcp.types import Tool

_OPTION = "--tools"
# All pages together: a server that is alive answers in milliseconds, and a check in CI must end.
_ASKING_TIMEOUT_S = 30.0


def read_tool_lists(given: Iterable[str], servers: Collection[str] | None) -> dict[str, ToolList]:
    """The lists by server.  `servers` are those of callgate.yaml, None without one.

    Raises click.BadParameter for what cannot be read: nothing was checked then, and no finding tells of it.
    """
    lists: dict[str, ToolList] = {}
    for text in given:
        server, equals, source = text.partition("=")
        if not equals or not source:
            raise _unusable("must be SERVER=FILE or SERVER=URL")
        if server in lists:
            raise _unusable(f"names server '{server}' twice")
        _check_server(server, servers)
        try:
            lists[server] = _asked(source) if source.startswith(("http://", "https://")) else _read(Path(source))
        except NotAToolList as problem:
            raise _unusable(f"{source} {problem}") from None
    return lists


def _unusable(message: str) -> click.BadParameter:
    return click.BadParameter(message, param_hint=_OPTION)


def _check_server(server: str, servers: Collection[str] | None) -> None:
    try:
        check_server_name(server)
    except ValueError as error:
        raise _unusable(f"server '{server}' {error}") from None
    if servers is not None and server not in servers:
        raise _unusable(f"server '{server}' is not configured{did_you_mean(server, servers)}")


def _read(path: Path) -> ToolList:
    try:
        with path.open("rb") as file:
            # One byte more than may be: enough to be refused as too large.
            found = file.read(MAX_TOOL_LIST_BYTES + 1)
    except (OSError, ValueError) as error:
        raise NotAToolList(f"cannot be read: {getattr(error, 'strerror', None) or error}") from error
    return read_tool_list(found)


def _asked(url: str) -> ToolList:
    """What a running server says without being shown credentials."""
    try:
        parsed = Url.parse(url)
    except ValueError as error:
        raise NotAToolList(str(error)) from error
    if parsed.scheme == "http" and not parsed.is_loopback:
        raise NotAToolList("must start with https://; http is for this machine alone")
    try:
        listed = run(partial(_ask, url))
    except ImportError:
        raise NotAToolList("is a URL: to ask a server takes the MCP client, pip install 'callgate[demo]'") from None
    except click.ClickException as fault:
        raise NotAToolList(f"cannot be asked: {fault.message}") from fault
    return tools_of([tool.model_dump(mode="json", by_alias=True) for tool in listed])


async def _ask(url: str) -> "list[Tool]":
    # The official client comes with the extra `demo`.
    from mcp import MCPError  # noqa: PLC0415

    from callgate.dev.agent import CannotReachGate, open_agent  # noqa: PLC0415

    found: list[Tool] = []
    try:
        with trio.fail_after(_ASKING_TIMEOUT_S):
            async with open_agent(url, None) as client:
                page = await client.list_tools()
                found += page.tools
                while page.next_cursor is not None and len(found) <= MAX_TOOLS:
                    page = await client.list_tools(cursor=page.next_cursor)
                    found += page.tools
    except MCPError as error:
        raise CannotReachGate(error.message) from error
    except trio.TooSlowError:
        raise CannotReachGate(f"no answer within {_ASKING_TIMEOUT_S:g} s") from None
    return found
