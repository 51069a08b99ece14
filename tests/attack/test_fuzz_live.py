"""A valid request with bytes changed at random, over mutual TLS to a running gate: an answer or the end, never a fault."""

from collections.abc import Callable
from pathlib import Path

import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import wait_all_tasks_blocked

from callgate.errors import Reason
from support.raw_agent import INITIALIZE, legacy, modern, modern_call
from support.siege import PATIENCE_S, Siege, siege

SEEDS = (
    modern_call("get_invoice", {"number": "INV-1", "list": [1, 2.5, None, True]}),
    modern("tools/list", {"cursor": "abc"}),
    legacy("initialize", INITIALIZE),
    legacy("tools/call", {"name": "get_invoice"}, session="c2Vzc2lvbg"),
    modern_call("get_invoice").replace(b"\r\n\r\n", b"\r\nTransfer-Encoding: chunked\r\n\r\n", 1),
)
# What parsers of HTTP, JSON and MCP trip over.
TELLING = st.sampled_from(
    [bytes([byte]) for byte in b'\r\n\0 \t:;,0_\x0b\x7f\x85\xff"\\{}[]/%=?-+.eE']
    + [
        b"\r\n",
        b"\r\n\r\n",
        b"\n\n",
        b"Content-Length: 1\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Host: evil.test\r\n",
    ]
    + [b"0\r\n\r\n", b"HTTP/1.1", b"\\u0000", b"\\ud800", b'"method":"tools/list",', b"=?base64?", b"\xef\xbb\xbf"]
)
PLACES = st.floats(0, 1, exclude_max=True)
EDITS = st.lists(st.tuples(PLACES, st.integers(0, 4), TELLING | st.binary(max_size=4)), min_size=1, max_size=5)
CASES = st.tuples(st.sampled_from(SEEDS), EDITS, PLACES)
Case = tuple[bytes, list[tuple[float, int, bytes]], float]
ALLOWED = {"get_invoice", None}


def mutated(seed: bytes, edits: list[tuple[float, int, bytes]]) -> bytes:
    for where, removed, inserted in edits:
        at = int(where * len(seed))
        seed = seed[:at] + inserted + seed[at + removed :]
    return seed


async def attack(scene: Siege, case: Case) -> None:
    """Say it in two parts, then nothing more: each answer is well-formed, one alone is a refusal, and then it ends."""
    seed, edits, split = case
    content = mutated(seed, edits)
    with trio.fail_after(PATIENCE_S):
        async with scene.connected() as connection:
            await connection.say(content[: int(split * len(content))])
            await connection.say(content[int(split * len(content)) :])
            # Now it is answered, or the gate waits for more; then it is told that there is none.
            await wait_all_tasks_blocked(0.005)
            await connection.half_close()
            answers = await connection.until_closed()
            traces = scene.traces_of(connection)
    assert sum(answer.closes for answer in answers) <= 1
    assert all(answer.status in range(200, 500) for answer in answers)
    # A request that was cut off by our hanging up has nobody to be answered to.
    assert len(answers) <= len(traces) <= len(answers) + 1
    assert Reason.INTERNAL not in {trace.reason for trace in traces}


def check_all(one: Callable[[Case], None], examples: int) -> None:
    # Derandomised and without a database: the same in every run, and nothing is written.
    settings(max_examples=examples, derandomize=True, database=None, deadline=None)(given(CASES)(one))()


async def test_mutated_requests_are_answered_or_cut_off_and_never_a_fault(tmp_path: Path) -> None:
    async with siege(tmp_path) as scene:

        def one(case: Case) -> None:
            trio.from_thread.run(attack, scene, case)

        await trio.to_thread.run_sync(check_all, one, 100)

        methods = {asked.message["method"] for asked in scene.reached()}
        assert methods <= {"initialize", "tools/list", "tools/call"}
        assert {asked.message["params"].get("name") for asked in scene.reached()} <= ALLOWED
