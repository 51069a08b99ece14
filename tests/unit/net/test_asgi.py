"""ASGI over our own connections: what an application is told, and what becomes of its answer."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import h11
import pytest
import trio
import trio.testing

from callgate.addresses import Address
from callgate.errors import Refusal
from callgate.net.asgi import AsgiApp, AsgiMisuseError, Message, Receive, Scope, Send, serve_asgi
from callgate.net.connection import ClientLost, Connection, ConnectionLimits
from callgate.wire.http1 import HttpLimits, RawRequest
from callgate.wire.http1_server import ServerConnection
from support.stream_pairs import MUCH, Ends, plain_pair

START: dict[str, Any] = {"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]}
GET = b"GET /approvals/r/%C3%A4%2Fb?next=%2F&x=1 HTTP/1.1\r\nHost: gate\r\nX-One: 1\r\nX-Two: a\r\nX-Two: b\r\n\r\n"
POST = b"POST /p HTTP/1.1\r\nHost: gate\r\nContent-Length: 5\r\n\r\nhello"


@dataclass
class Served:
    """The client's end of a connection whose requests an application answers."""

    ends: Ends
    protocol: h11.Connection = field(default_factory=lambda: h11.Connection(h11.CLIENT))
    faults: list[BaseException] = field(default_factory=list)
    ended: trio.Event = field(default_factory=trio.Event)

    async def ask(self, raw: bytes) -> None:
        # h11 has to know that a request was sent.
        self.protocol.send(h11.Request(method=raw.split(b" ")[0], target="/", headers=[("host", "gate")]))
        self.protocol.send(h11.EndOfMessage())
        await self.ends.client.send_all(raw)

    async def event(self) -> Any:  # noqa: ANN401  # one of h11's
        while (event := self.protocol.next_event()) is h11.NEED_DATA:
            self.protocol.receive_data(await self.ends.client.receive_some())
        return event

    async def answer(self, raw: bytes) -> tuple[int, dict[str, str], bytes]:
        await self.ask(raw)
        head, body = await self.event(), b""
        while isinstance(event := await self.event(), h11.Data):
            body += event.data
        if self.protocol.our_state is h11.DONE and self.protocol.their_state is h11.DONE:
            self.protocol.start_next_cycle()
        return head.status_code, {name.decode(): value.decode() for name, value in head.headers}, body


@asynccontextmanager
async def served(app: AsgiApp, write_stall_s: float = 30.0) -> AsyncIterator[Served]:
    async with plain_pair() as ends, trio.open_nursery() as nursery:
        found = Served(ends)
        limits = ConnectionLimits(write_stall_s=write_stall_s)
        connection = Connection(ends.server, ServerConnection(HttpLimits(), None), limits)

        async def answer(request: RawRequest | Refusal) -> None:
            assert isinstance(request, RawRequest)
            try:
                await serve_asgi(
                    app,
                    request,
                    connection,
                    scheme="https",
                    client=Address("192.0.2.7", 4711),
                    extensions={"callgate.peer": "peer"},
                )
            except ClientLost as error:
                found.faults.append(error)
                raise

        async def run() -> None:
            try:
                await connection.run(answer)
            except* AsgiMisuseError as group:
                found.faults.extend(group.exceptions)
            except* ZeroDivisionError as group:
                found.faults.extend(group.exceptions)
            finally:
                found.ended.set()

        nursery.start_soon(run)
        yield found
        nursery.cancel_scope.cancel()


def says(*messages: Message) -> AsgiApp:
    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        for message in messages:
            await send(dict(message))

    return app


def body(content: bytes, *, more: bool = False) -> Message:
    return {"type": "http.response.body", "body": content, "more_body": more}


async def test_tells_the_application_what_was_asked_as_asgi_has_it() -> None:
    seen: list[Scope] = []

    async def app(scope: Scope, _receive: Receive, send: Send) -> None:
        seen.append(scope)
        await send(START)
        await send(body(b"done"))

    async with served(app) as client:
        assert (await client.answer(GET))[0] == 200
    (scope,) = seen
    assert scope["type"] == "http"
    assert scope["asgi"]["version"] == "3.0"
    assert (scope["method"], scope["scheme"], scope["http_version"]) == ("GET", "https", "1.1")
    assert (scope["path"], scope["raw_path"]) == ("/approvals/r/ä/b", b"/approvals/r/%C3%A4%2Fb")
    assert (scope["query_string"], scope["root_path"]) == (b"next=%2F&x=1", "")
    assert [pair for pair in scope["headers"] if pair[0].startswith(b"x-")] == [
        (b"x-one", b"1"),
        (b"x-two", b"a"),
        (b"x-two", b"b"),
    ]
    assert (scope["client"], scope["server"]) == (("192.0.2.7", 4711), None)
    assert scope["extensions"] == {"callgate.peer": "peer"}


async def test_a_path_that_is_not_utf_8_matches_none() -> None:
    seen: list[str] = []

    async def app(scope: Scope, _receive: Receive, send: Send) -> None:
        seen.append(scope["path"])
        await send(START)
        await send(body(b""))

    async with served(app) as client:
        await client.answer(b"GET /%ff HTTP/1.1\r\nHost: gate\r\n\r\n")
    assert seen == ["/\N{REPLACEMENT CHARACTER}"]


async def test_gives_the_whole_body_once_and_serves_the_next_request_on_the_same_connection() -> None:
    async def app(_scope: Scope, receive: Receive, send: Send) -> None:
        message = await receive()
        assert message["type"] == "http.request"
        assert not message["more_body"]
        await send(START)
        await send(body(message["body"] + b"!"))
        assert (await receive())["type"] == "http.disconnect"

    async with served(app) as client:
        for _ in range(2):
            status, headers, content = await client.answer(POST)
            assert (status, content) == (200, b"hello!")
            assert headers["content-length"] == "6"


async def test_streams_what_comes_in_pieces_and_says_itself_how_it_is_framed() -> None:
    framed = START | {"headers": [(b"content-length", b"99"), (b"connection", b"close"), (b"x-own", b"1")]}
    app = says(framed, body(b"one ", more=True), body(b"", more=True), body(b"two", more=True), body(b""))
    async with served(app) as client:
        status, headers, content = await client.answer(GET)
        assert (status, content, headers["x-own"]) == (200, b"one two", "1")
        assert headers["transfer-encoding"] == "chunked"
        assert not {"content-length", "connection"} & set(headers)
        assert (await client.answer(GET))[2] == b"one two"


async def test_a_piece_is_sent_when_it_is_said_and_not_when_the_answer_is_whole() -> None:
    go_on = trio.Event()

    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send(START)
        await send(body(b"first", more=True))
        await go_on.wait()
        await send(body(b"last"))

    async with served(app) as client:
        await client.ask(GET)
        assert isinstance(await client.event(), h11.Response)
        assert (await client.event()).data == b"first"
        go_on.set()
        assert (await client.event()).data == b"last"


@pytest.mark.parametrize("status", [204, 304])
async def test_an_answer_without_content_has_none(status: int) -> None:
    async with served(says(START | {"status": status}, body(b""))) as client:
        found, headers, content = await client.answer(GET)
    assert (found, content) == (status, b"")
    assert not {"content-length", "transfer-encoding"} & set(headers)


async def fails(_scope: Scope, _receive: Receive, _send: Send) -> None:
    raise ZeroDivisionError("with a secret in its words")


async def fails_with_a_head(_scope: Scope, _receive: Receive, send: Send) -> None:
    await send(START)
    raise ZeroDivisionError("with a secret in its words")


@pytest.mark.parametrize(
    "app",
    [
        pytest.param(fails, id="at once"),
        pytest.param(fails_with_a_head, id="after a head that was not sent"),
        pytest.param(says(), id="without a word"),
        pytest.param(says(START), id="head alone"),
        pytest.param(says(body(b"secret")), id="body without head"),
        pytest.param(says(START, START), id="two heads"),
        pytest.param(says(START | {"headers": [(b"x-y", b"a\r\nset-cookie: b")]}, body(b"")), id="split header"),
        pytest.param(says({"type": "http.response.push"}), id="unknown"),
    ],
)
async def test_a_fault_of_the_application_is_a_500_that_tells_nothing(
    app: AsgiApp, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        async with served(app) as client:
            status, headers, content = await client.answer(GET)
            assert (status, content) == (500, b"Something went wrong inside the gate.\n")
            assert headers["x-content-type-options"] == "nosniff"
            assert (await client.answer(GET))[0] == 500
    assert "secret" not in caplog.text
    assert "Traceback" not in caplog.text


async def test_a_fault_after_the_answer_is_whole_is_logged_and_the_connection_goes_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send(START)
        await send(body(b"done"))
        raise ZeroDivisionError

    async with served(app) as client:
        assert [(await client.answer(GET))[2] for _ in range(2)] == [b"done", b"done"]
    assert caplog.text.count("ZeroDivisionError") == 2


async def test_a_stream_that_fails_is_cut_so_that_nobody_takes_a_part_for_the_whole() -> None:
    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send(START)
        await send(body(b"part", more=True))
        raise ZeroDivisionError

    async with served(app) as client:
        await client.ask(GET)
        assert isinstance(await client.event(), h11.Response)
        assert (await client.event()).data == b"part"
        with pytest.raises(h11.RemoteProtocolError):
            await client.event()
        await client.ended.wait()
        assert isinstance(client.faults[0], ZeroDivisionError)


async def test_an_application_finishes_what_it_began_although_the_client_has_gone() -> None:
    begun, go_on, finished = trio.Event(), trio.Event(), trio.Event()

    async def app(_scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        begun.set()
        await go_on.wait()
        await send(START)
        await send(body(b"done"))
        finished.set()

    async with served(app) as client:
        await client.ask(POST)
        await begun.wait()
        client.ends.client.close_now()
        await trio.testing.wait_all_tasks_blocked(0.01)
        go_on.set()
        await finished.wait()


async def test_tells_an_application_that_listens_when_the_client_goes() -> None:
    told: list[str] = []

    async def app(_scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send(START)
        await send(body(b"part", more=True))
        told.append((await receive())["type"])
        # What is said now goes nowhere, and is no fault.
        await send(body(b"more", more=True))
        await send(body(b""))

    async with served(app) as client:
        await client.ask(POST)
        assert isinstance(await client.event(), h11.Response)
        client.ends.client.close_now()
        await client.ended.wait()
    assert told == ["http.disconnect"]
    assert [str(fault) for fault in client.faults] == ["client_gone"]


async def test_an_application_that_ends_because_the_client_has_gone_did_no_wrong(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def app(_scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send(START)
        await send(body(b"part", more=True))
        await receive()

    async with served(app) as client:
        await client.ask(POST)
        assert isinstance(await client.event(), h11.Response)
        client.ends.client.close_now()
        await client.ended.wait()
    assert [str(fault) for fault in client.faults] == ["client_gone"]
    assert not caplog.records


async def test_two_tasks_of_an_application_may_listen_at_once() -> None:
    told: list[str] = []

    async def app(_scope: Scope, receive: Receive, send: Send) -> None:
        async def listen() -> None:
            told.append((await receive())["type"])

        await receive()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(listen)
            nursery.start_soon(listen)
            await send(START)
            await send(body(b"done"))

    async with served(app) as client:
        assert (await client.answer(POST))[2] == b"done"
        assert (await client.answer(POST))[2] == b"done"
        await trio.testing.wait_all_tasks_blocked(0.01)
    assert told == ["http.disconnect"] * 4


async def test_a_client_that_takes_nothing_is_given_up_and_the_application_learns_of_it(
    autojump_clock: trio.testing.MockClock,
) -> None:
    told: list[str] = []

    async def app(_scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send(START)
        await send(body(MUCH, more=True))
        told.append((await receive())["type"])

    async with served(app, write_stall_s=7.0) as client:
        await client.ask(POST)
        await client.ended.wait()
    assert told == ["http.disconnect"]
    assert [str(fault) for fault in client.faults] == ["client_stalled"]
    assert autojump_clock.current_time() >= 7.0
