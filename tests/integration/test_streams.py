"""Answers that come as a stream of events: passed on one by one, cancelled, cut off, refused, and held back."""

import socket
import struct
import tracemalloc
from pathlib import Path

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from support.event_stream import Message, event_stream
from support.raw_agent import RawConnection, modern
from support.tool_faults import OK, SECOND, Scene, first, scene
from support.upstream import Asked, Reply, Script, said

PASSED = ("accept=ok", "authenticate=ok", "read=ok", "identify=ok", "decide=ok", "inspect=ok", "mint=ok", "record=ok")
KIB, MIB = 1024, 1024 * 1024


def call() -> bytes:
    """A call that asks to be told of its progress."""
    return modern("tools/call", {"name": "get_invoice", "arguments": {}, "_meta": {"progressToken": "p"}})


def progress(number: int, message: str = "") -> Message:
    params = {"progressToken": "p", "progress": number, "message": message}
    return {"jsonrpc": "2.0", "method": "notifications/progress", "params": params}


async def assert_goes_on(at: Scene, agent: RawConnection, fault: Script) -> None:
    """The agent's connection serves the next call; one to the tool server that was left in a mess does not."""
    assert (await agent.ask(SECOND)).message["result"] == OK
    assert at.upstream.connections == (1 if fault is end_without_answer else 2)


def failure_of(message: Message) -> tuple[int, str]:
    assert message["id"] == 1
    return message["error"]["code"], message["error"]["data"]["reason"]


async def test_passes_each_event_on_before_the_tool_server_has_sent_the_next(tmp_path: Path) -> None:
    received = [trio.Event(), trio.Event()]

    async def step_by_step(asked: Asked, reply: Reply) -> None:
        await reply.start_events()
        for number, event in enumerate(received):
            await reply.event(progress(number))
            # Nothing more is said until the agent has this event.
            await event.wait()
        await reply.event(said(asked, OK))
        await reply.end_events()

    async with scene(tmp_path, first(step_by_step)) as at, at.agent() as agent:
        await agent.say(call())
        with trio.fail_after(10):
            stream = await event_stream(agent)
            for number, event in enumerate(received):
                assert await stream.next() == progress(number)
                event.set()
            assert [message["result"] for message in await stream.rest()] == [OK]
            # Both connections serve the next call.
            assert (await agent.ask(SECOND)).message["result"] == OK
        assert at.upstream.connections == 1


async def test_passes_signs_of_life_on(tmp_path: Path) -> None:
    async def with_comment(asked: Asked, reply: Reply) -> None:
        await reply.start_events()
        await reply.event(progress(1))
        await reply.raw(b"10\r\n: still at work\n\r\n")
        await reply.event(said(asked, OK))
        await reply.end_events()

    async with scene(tmp_path, with_comment) as at, at.agent() as agent:
        await agent.say(call())
        stream = await event_stream(agent)
        assert len(await stream.rest()) == 2
        assert stream.comments == 1


# An agent that goes away.


async def until_gone(_asked: Asked, reply: Reply) -> None:
    await reply.until_hung_up()


async def until_gone_in_a_stream(_asked: Asked, reply: Reply) -> None:
    await reply.start_events()
    await reply.event(progress(1))
    await reply.until_hung_up()


@pytest.mark.parametrize("script", [until_gone, until_gone_in_a_stream])
async def test_an_agent_that_goes_away_cancels_the_call_at_the_tool_server(tmp_path: Path, script: Script) -> None:
    hung_up = trio.Event()

    async def play(asked: Asked, reply: Reply) -> None:
        await script(asked, reply)
        hung_up.set()

    async with scene(tmp_path, play) as at:
        async with at.agent() as agent:
            await agent.say(call())
            await at.upstream.requests_when(1)
            if script is until_gone_in_a_stream:
                assert await (await event_stream(agent)).next() == progress(1)
            assert not hung_up.is_set()
        with trio.fail_after(10):
            await hung_up.wait()
        assert await at.path() == (*PASSED, "forward=failed:client_gone", "respond=failed:client_gone")


@pytest.mark.parametrize("abrupt", [False, True])
async def test_an_agent_that_hangs_up_once_it_has_its_answer_was_answered(tmp_path: Path, abrupt: bool) -> None:
    async def answer_and_wait(asked: Asked, reply: Reply) -> None:
        await reply.start_events()
        await reply.event(said(asked, OK))
        await reply.until_hung_up()

    async with scene(tmp_path, answer_and_wait) as at:
        async with at.agent() as agent:
            await agent.say(call())
            answer = await (await event_stream(agent)).next()
            assert answer is not None
            assert answer["result"] == OK
            if abrupt:
                # RST in place of FIN.
                agent.tcp.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        assert await at.path() == (*PASSED, "forward=ok", "screen=ok", "respond=ok")


# A tool server that does not keep to the rules.


async def end_without_answer(_asked: Asked, reply: Reply) -> None:
    await reply.end_events()


async def hang_up(_asked: Asked, reply: Reply) -> None:
    await reply.close()


async def hang_up_inside_an_event(_asked: Asked, reply: Reply) -> None:
    await reply.raw(b"ff\r\nevent: message\ndata: {")
    await reply.close()


async def ask_the_agent(_asked: Asked, reply: Reply) -> None:
    await reply.event({"jsonrpc": "2.0", "id": 1, "method": "sampling/createMessage", "params": {}})


async def answer_another(_asked: Asked, reply: Reply) -> None:
    await reply.event({"jsonrpc": "2.0", "id": 2, "result": OK})


async def no_json(_asked: Asked, reply: Reply) -> None:
    await reply.raw(b"e\r\ndata: {oops}\n\n\r\n")


async def too_large(_asked: Asked, reply: Reply) -> None:
    await reply.event(progress(2, "x" * 5 * KIB))


async def too_large_line_without_end(_asked: Asked, reply: Reply) -> None:
    await reply.raw(b"1400\r\ndata: " + b"x" * (5 * KIB - 6) + b"\r\n")


FAULTS: dict[Script, str] = {
    end_without_answer: "upstream_closed",
    hang_up: "upstream_closed",
    hang_up_inside_an_event: "upstream_closed",
    ask_the_agent: "upstream_message",
    answer_another: "upstream_message",
    no_json: "upstream_message",
    too_large: "upstream_too_large",
    too_large_line_without_end: "upstream_too_large",
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_fault_in_a_stream_that_has_begun_is_its_last_event(tmp_path: Path, fault: Script) -> None:
    async def script(asked: Asked, reply: Reply) -> None:
        await reply.start_events()
        await reply.event(progress(1))
        await fault(asked, reply)

    async with scene(tmp_path, first(script), more="limits: {max_event_bytes: 4096}") as at:
        async with at.agent() as agent:
            await agent.say(call())
            passed_on, failed = await (await event_stream(agent)).rest()
            assert passed_on == progress(1)
            assert failure_of(failed) == (-31502, FAULTS[fault])
            await assert_goes_on(at, agent, fault)
        assert await at.path(2) == (*PASSED, f"forward=failed:{FAULTS[fault]}", "respond=ok")


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_fault_in_a_stream_of_which_nothing_was_passed_on_is_a_plain_answer(
    tmp_path: Path, fault: Script
) -> None:
    async def script(asked: Asked, reply: Reply) -> None:
        await reply.start_events()
        await fault(asked, reply)

    async with scene(tmp_path, first(script), more="limits: {max_event_bytes: 4096}") as at:
        async with at.agent() as agent:
            answer = await agent.ask(call())
            assert (answer.status, *failure_of(answer.message)) == (200, -31502, FAULTS[fault])
            await assert_goes_on(at, agent, fault)
        assert await at.path(2) == (*PASSED, f"forward=failed:{FAULTS[fault]}", "respond=ok")


# An agent that reads slowly, or not at all.

EVENTS, EVENT_BYTES = 1024, 32 * KIB
# Of these 32 MiB, what is under way in the kernel's buffers of two connections (some 4 MiB), and in the gate's memory.
UNDER_WAY_BYTES, GATE_BYTES = 24 * MIB, 2 * MIB


class Flood:
    """A script that says more than anybody can hold; `sent` is how many events went out."""

    def __init__(self) -> None:
        self.sent = 0
        self.hung_up = trio.Event()

    async def __call__(self, asked: Asked, reply: Reply) -> None:
        try:
            await reply.start_events()
            for number in range(EVENTS):
                await reply.event(progress(number, "x" * EVENT_BYTES))
                self.sent += 1
            await reply.event(said(asked, OK))
            await reply.end_events()
        except trio.BrokenResourceError:
            self.hung_up.set()


async def test_an_agent_that_reads_nothing_holds_up_the_tool_server_and_costs_the_gate_no_memory(
    tmp_path: Path,
) -> None:
    flood = Flood()
    async with scene(tmp_path, flood) as at, at.agent() as agent:
        tracemalloc.start()
        try:
            await agent.say(call())
            # Nothing moves any more: the tool server waits for the gate, and the gate for the agent.
            await wait_all_tasks_blocked(0.1)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert flood.sent * EVENT_BYTES < UNDER_WAY_BYTES
        assert peak < GATE_BYTES
        with trio.fail_after(60):
            stream = await event_stream(agent)
            for number in range(EVENTS):
                message = await stream.next()
                assert message is not None
                assert message["params"]["progress"] == number
            assert [message["result"] for message in await stream.rest()] == [OK]
        assert await at.path() == (*PASSED, "forward=ok", "screen=ok", "respond=ok")


async def test_an_agent_that_reads_nothing_for_too_long_is_cut_off(tmp_path: Path) -> None:
    flood = Flood()
    async with scene(tmp_path, flood, more="limits: {write_stall_s: 0.2}") as at, at.agent() as agent:
        await agent.say(call())
        with trio.fail_after(10):
            await flood.hung_up.wait()
        path = (*PASSED, "forward=failed:client_stalled", "respond=failed:client_stalled")
        assert await at.path() == path


async def test_a_call_whose_time_is_over_while_the_agent_does_not_read_ends_the_connection(tmp_path: Path) -> None:
    flood = Flood()
    async with scene(tmp_path, flood, server={"timeouts": "{total: 1s}"}) as at, at.agent() as agent:
        await agent.say(call())
        with trio.fail_after(10):
            await flood.hung_up.wait()
        # Part of an event is lost: an error after it would be read as the rest of it.
        path = (*PASSED, "forward=failed:upstream_timeout", "respond=failed:client_stalled")
        assert await at.path() == path
        stream = await event_stream(agent)
        with pytest.raises(AssertionError, match="cut off"):
            await stream.rest()
