"""A tool server that breaks off, talks nonsense, says too much, or points elsewhere.

Whatever it does: the agent is told in one JSON-RPC error with a stable reason, the call is not sent again, the agent's
connection goes on, and a connection to the tool server that left any doubt is never used again.
"""

from pathlib import Path

import pytest

from support.tool_faults import FIRST, OK, assert_failed, first, ok, saying, scene
from support.upstream import Asked, Reply, Script, said, scripted_server

WHOLE = b'{"jsonrpc":"2.0","id":1,"result":{"content":[],"resultType":"complete"}}'
JSON_TYPE = b"Content-Type: application/json\r\n"
LENGTH = b"Content-Length: %d" % len(WHOLE)
CHUNKED = b"Transfer-Encoding: chunked"
CHUNK = b"%x\r\n%s\r\n" % (len(WHOLE), WHOLE)

BREAKING_OFF = {
    "closes before the head": saying(then="close"),
    "resets before the head": saying(then="reset"),
    "closes inside the head": saying(b"HTTP/1.1 200 OK\r\nContent-Ty", then="close"),
    "closes after the head": saying(ok(LENGTH), then="close"),
    "closes inside the body": saying(ok(LENGTH, body=WHOLE[:-1]), then="close"),
    "closes inside a chunk": saying(ok(CHUNKED, body=CHUNK[:-5]), then="close"),
    "closes before the last chunk": saying(ok(CHUNKED, body=CHUNK), then="close"),
    "closes inside the last chunk": saying(ok(CHUNKED, body=CHUNK + b"0\r\n"), then="close"),
    "resets after the head": saying(ok(LENGTH), then="reset"),
    "resets inside the body": saying(ok(LENGTH, body=WHOLE[:-1]), then="reset"),
}
NONSENSE = {
    "garbage": b"\x15\x03\x01\x00\x02\x02\x28 no HTTP at all\r\n\r\n",
    "JSON alone": WHOLE + b"\r\n\r\n",
    "an older version": b"HTTP/1.0 200 OK\r\n" + JSON_TYPE + LENGTH + b"\r\n\r\n" + WHOLE,
    "a newer version": b"HTTP/2.0 200 OK\r\n" + JSON_TYPE + LENGTH + b"\r\n\r\n" + WHOLE,
    "no status": b"HTTP/1.1 OK\r\n" + JSON_TYPE + LENGTH + b"\r\n\r\n" + WHOLE,
    "length and chunks": ok(LENGTH, CHUNKED, body=CHUNK + b"0\r\n\r\n"),
    "chunks and length": ok(CHUNKED, b"Content-Length: 0", body=CHUNK + b"0\r\n\r\n"),
    "two lengths": ok(LENGTH, b"Content-Length: 1", body=WHOLE),
    "the same length twice": ok(LENGTH, LENGTH, body=WHOLE),
    "a list of lengths": ok(LENGTH + b", %d" % len(WHOLE), body=WHOLE),
    "a length with a sign": ok(b"Content-Length: +%d" % len(WHOLE), body=WHOLE),
    "neither length nor chunks": ok(body=WHOLE),
    "another transfer coding": ok(b"Transfer-Encoding: gzip, chunked", body=CHUNK + b"0\r\n\r\n"),
    "a content coding": ok(LENGTH, b"Content-Encoding: gzip", body=WHOLE),
    "a chunk size with a sign": ok(CHUNKED, body=b"+" + CHUNK + b"0\r\n\r\n"),
    "a chunk longer than it says": ok(CHUNKED, body=b"1\r\n" + WHOLE + b"\r\n0\r\n\r\n"),
    "trailers": ok(CHUNKED, body=CHUNK + b"0\r\nContent-Type: text/html\r\n\r\n"),
    "a folded line": ok(LENGTH, b"X-A: b\r\n c", body=WHOLE),
    "a bare line feed": ok(LENGTH, b"X-A: b\nX-C: d", body=WHOLE),
    "space before the colon": ok(b"Content-Length : %d" % len(WHOLE), body=WHOLE),
    "interim answers without end": b"HTTP/1.1 100 Continue\r\n\r\n" * 100 + ok(LENGTH, body=WHOLE),
    "another protocol": b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n",
    "an unknown interim answer": b"HTTP/1.1 199 Miscellaneous\r\n\r\n" + ok(LENGTH, body=WHOLE),
    "a body where none may be": b"HTTP/1.1 204 No Content\r\n" + LENGTH + b"\r\n\r\n" + WHOLE,
}
TOO_LARGE = {
    "one header": ok(b"X-A: " + b"a" * 65536, LENGTH, body=WHOLE),
    "a header without end": b"HTTP/1.1 200 OK\r\nX-A: " + b"a" * 100_000,
    "many headers": ok(*[b"X-%d: a" % number for number in range(10_000)], LENGTH, body=WHOLE),
    "a length": ok(b"Content-Length: 4097", body=b" " * 4097),
    "a length beyond belief": ok(b"Content-Length: 99999999999999", body=WHOLE),
    "chunks": ok(CHUNKED, body=b"1000\r\n" + b" " * 4096 + b"\r\n1\r\n \r\n0\r\n\r\n"),
}


async def assert_discarded(directory: Path, script: Script, reason: str, more: str = "") -> None:
    async with scene(directory, first(script), more=more) as at, at.agent() as agent:
        await assert_failed(at, agent, reason)
        assert at.upstream.connections == 2


@pytest.mark.parametrize("how", BREAKING_OFF)
async def test_breaks_off(tmp_path: Path, how: str) -> None:
    await assert_discarded(tmp_path, BREAKING_OFF[how], "upstream_closed")


@pytest.mark.parametrize("what", NONSENSE)
async def test_talks_nonsense(tmp_path: Path, what: str) -> None:
    await assert_discarded(tmp_path, saying(NONSENSE[what]), "upstream_malformed")


@pytest.mark.parametrize("what", TOO_LARGE)
async def test_says_more_than_may_be(tmp_path: Path, what: str) -> None:
    limits = "limits: {max_answer_bytes: 4096}"
    await assert_discarded(tmp_path, saying(TOO_LARGE[what]), "upstream_too_large", limits)


async def test_a_few_interim_answers_are_nothing_to_complain_of(tmp_path: Path) -> None:
    interim = b"HTTP/1.1 100 Continue\r\n\r\n" + b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
    async with scene(tmp_path, saying(interim + ok(LENGTH, body=WHOLE))) as at, at.agent() as agent:
        assert (await agent.ask(FIRST)).message["result"] == {"content": [], "resultType": "complete"}


# Whole and well-formed, and no answer all the same.


def status(code: int, *headers: tuple[str, str]) -> Script:
    async def play(asked: Asked, reply: Reply) -> None:
        await reply.json(said(asked, OK), code, headers)

    return play


def body(content: bytes, content_type: bytes = b"application/json") -> Script:
    return saying(
        b"HTTP/1.1 200 OK\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n" % (content_type, len(content)) + content
    )


UNWANTED = {
    "401": (status(401, ("WWW-Authenticate", "Bearer")), "upstream_refused_token"),
    "403": (status(403), "upstream_refused_token"),
    **{str(code): (status(code), "upstream_status") for code in (201, 202, 402, 405, 410, 429, 500, 502, 503, 599)},
    "404 with a result": (status(404), "upstream_status"),
    "204": (saying(b"HTTP/1.1 204 No Content\r\n\r\n"), "upstream_status"),
    "HTML": (body(b"<h1>It works!</h1>", b"text/html"), "upstream_message"),
    "no JSON": (body(b"{'id': 1}"), "upstream_message"),
    "a batch": (body(b"[" + WHOLE + b"]"), "upstream_message"),
    "a repeated key": (body(WHOLE.replace(b'"id":1', b'"id":1,"id":1')), "upstream_message"),
    "another id": (body(WHOLE.replace(b'"id":1', b'"id":7')), "upstream_message"),
    "an id of another type": (body(WHOLE.replace(b'"id":1', b'"id":"1"')), "upstream_message"),
    "a request": (body(b'{"jsonrpc":"2.0","id":1,"method":"roots/list","params":{}}'), "upstream_message"),
    "too deep": (
        body(b'{"jsonrpc":"2.0","id":1,"result":{"a":' + b"[" * 999 + b"]" * 999 + b"}}"),
        "upstream_too_large",
    ),
}


@pytest.mark.parametrize("what", UNWANTED)
async def test_answers_what_cannot_be_passed_on(tmp_path: Path, what: str) -> None:
    script, reason = UNWANTED[what]
    async with scene(tmp_path, first(script)) as at, at.agent() as agent:
        await assert_failed(at, agent, reason)


@pytest.mark.parametrize("code", [300, 301, 302, 303, 304, 307, 308])
async def test_points_elsewhere_and_is_not_followed(tmp_path: Path, code: int) -> None:
    async with scripted_server() as elsewhere:
        head = b"HTTP/1.1 %d Elsewhere\r\nLocation: %s\r\n" % (code, elsewhere.url.encode())
        script = saying(head + (b"\r\n" if code == 304 else b"Content-Length: 0\r\n\r\n"))
        async with scene(tmp_path, first(script)) as at, at.agent() as agent:
            await assert_failed(at, agent, "upstream_redirect")
        assert elsewhere.connections == 0
