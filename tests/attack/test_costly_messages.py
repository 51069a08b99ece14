"""Bodies within the limits that are made to cost time: none keeps the others waiting for long."""

import json
import time
from pathlib import Path

import pytest

from callgate.wire.json_strict import JsonLimits, canonical, loads
from callgate.wire.mcp import Request, read_request
from support.mcp_corpus import base_request
from support.raw_agent import LEGACY, open_session, request, transport_headers
from support.siege import siege

# Of processor time, for a megabyte: many times what it takes, and a fraction of what such a body once took.
MOST_S = 0.3
MEGABYTE = 1_000_000
# Normalised, it is eighteen characters.
LONG = "\ufdfa"
CALL = base_request("legacy_call").body.decode()


def with_member(at: str, members: dict[str, object]) -> bytes:
    """The base call with further members in front of `at`."""
    text = json.dumps(members, ensure_ascii=False)[1:-1]
    return CALL.replace(at, f"{text},{at}", 1).encode()


def many(name: str, size: int) -> dict[str, object]:
    return {f"{name}{at}": at for at in range(size)}


ENVELOPE, PARAMS, META, ARGUMENTS = '"jsonrpc"', '"name"', '"progressToken"', '"id":"INV-1"'
COSTLY = {
    "a long name in the envelope": with_member(ENVELOPE, {LONG * (MEGABYTE // 3): 1}),
    "a long name in params": with_member(PARAMS, {LONG * (MEGABYTE // 3): 1}),
    "a long name in _meta": with_member(META, {LONG * (MEGABYTE // 3): 1}),
    "a long name that begins well": with_member(META, {"traceparent" + LONG * 300_000: 1}),
    "names of thirty in the envelope": with_member(ENVELOPE, many(LONG * 30, 9_000)),
    "names of thirty in params": with_member(PARAMS, many(LONG * 30, 9_000)),
    "names of thirty in _meta": with_member(META, many(LONG * 30, 9_000)),
    "short names in _meta": with_member(META, many("é", 50_000)),
    "names in the arguments": with_member(ARGUMENTS, many("é", 50_000)),
    "fractions": with_member(ARGUMENTS, {"x": [at + 0.5 for at in range(95_000)]}),
    "empty lists": with_member(ARGUMENTS, {"x": [[] for _ in range(47_000)]}),
    "backslashes": with_member(ARGUMENTS, {"x": "\\" * (MEGABYTE // 2)}),
    "quotes": with_member(ARGUMENTS, {"x": '"' * (MEGABYTE // 2)}),
    "a number of many digits": CALL.replace('"INV-1"', "0." + "1" * MEGABYTE).encode(),
    "long integers": CALL.replace('"INV-1"', f"[1e300{',999999999999999' * 60_000}]").encode(),
    "depth": CALL.replace('"INV-1"', "[" * 90_000 + "]" * 90_000).encode(),
}


@pytest.mark.parametrize("costly", COSTLY)
def test_reading_costs_little(costly: str) -> None:
    raw = base_request("legacy_call", body=COSTLY[costly].decode())
    begun = time.thread_time()

    found = read_request(raw, JsonLimits())
    if isinstance(found, Request):
        canonical(found.arguments)

    assert time.thread_time() - begun < MOST_S


def test_the_bodies_are_within_the_limits() -> None:
    """Without which the test above would show nothing."""
    assert all(len(body) < JsonLimits().max_bytes for body in COSTLY.values())
    read = [name for name, body in COSTLY.items() if isinstance(loads(body, JsonLimits()), dict)]
    assert set(COSTLY) - set(read) == {"depth"}


async def test_neighbour_is_served_while_costly_bodies_come_one_after_the_other(tmp_path: Path) -> None:
    async with siege(tmp_path) as scene:
        async with scene.connected() as connection:
            session = await open_session(connection)
        headers = transport_headers(MCP_Protocol_Version=LEGACY, Mcp_Session_Id=session)

        async def attack(body: bytes) -> None:
            async with scene.connected() as connection:
                assert (await connection.ask(request(body, headers))).status in {200, 400, 413}

        calls = scene.neighbour.calls
        await scene.for_each(COSTLY.values(), attack)

        assert scene.neighbour.calls >= calls + len(COSTLY) // 4
