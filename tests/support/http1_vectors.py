"""The vectors of tests/corpus/http1, and how a connection's whole life under one of them is written down.

In the files each character of "bytes" is one byte; a list is a concatenation, {"repeat", "times"} a repetition.
"""

import json
import random
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from callgate.errors import Refusal
from callgate.wire.http1 import HttpLimits, RawRequest, ResponseHead
from callgate.wire.http1_client import ResponseReader
from callgate.wire.http1_server import ServerConnection

CORPUS = Path(__file__).parent.parent / "corpus" / "http1"
Pieces = str | dict[str, Any] | list[Any]
AUTHORITIES = frozenset({"gate.acme.test", "gate.acme.test:8443", "[::1]:8443"})


def vectors(name: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads((CORPUS / f"{name}.json").read_text())
    return rows


def raw(pieces: Pieces) -> bytes:
    if isinstance(pieces, str):
        return pieces.encode("latin-1")
    if isinstance(pieces, dict):
        return raw(pieces["repeat"]) * int(pieces["times"])
    return b"".join(raw(piece) for piece in pieces)


def splits(data: bytes) -> Iterator[list[bytes]]:
    """The whole, byte by byte, and at random places (the same ones in every run)."""
    yield [data]
    if len(data) <= 40_000:
        yield [data[i : i + 1] for i in range(len(data))]
    chance = random.Random(len(data))  # noqa: S311
    for largest in (3, 17, 1400, 16_384) if len(data) <= 40_000 else (1400, 16_384):
        yield list(pieces_of(data, chance, largest))


def pieces_of(data: bytes, chance: random.Random, largest: int) -> Iterator[bytes]:
    position = 0
    while position < len(data):
        size = chance.randint(1, largest)
        yield data[position : position + size]
        position += size


def serve(pieces: Iterable[bytes], limits: HttpLimits | None = None) -> list[RawRequest | Refusal | str]:
    """What a connection makes of `pieces` and then the end: requests (each answered), a refusal, how it ended."""
    connection = ServerConnection(limits or HttpLimits(), AUTHORITIES)
    outcomes: list[RawRequest | Refusal | str] = []
    for piece in pieces:
        connection.receive(piece)
        outcomes += answer_all(connection)
    connection.receive(b"")
    before = len(outcomes)
    outcomes += answer_all(connection)
    if len(outcomes) > before and isinstance(outcomes[-1], Refusal):
        outcomes.insert(len(outcomes) - 1, "end of stream")
    return [*outcomes, "closed cleanly" if connection.closed_cleanly else connection.phase.value]


def answer_all(connection: ServerConnection) -> list[RawRequest | Refusal | str]:
    outcomes: list[RawRequest | Refusal | str] = []
    while (outcome := connection.next_request()) is not None:
        outcomes.append(outcome)
        answer = connection.respond(400 if isinstance(outcome, Refusal) else 200, [])
        if connection.must_close != (b"\r\nconnection: close\r\n" in answer.lower()):
            outcomes.append("must_close and the answer disagree")
        connection.finish()
    return outcomes


def read_answer(pieces: Iterable[bytes]) -> list[object]:
    """What the reader makes of `pieces` and then the end: a head, the body, a refusal, whether it may be reused."""
    reader = ResponseReader()
    body, outcomes, heads = b"", [], 0
    reusable = False
    for piece in (*pieces, b""):
        if not piece:
            reusable = reader.reusable
        reader.receive(piece)
        head = reader.head()
        if isinstance(head, ResponseHead) and not heads:
            heads = 1
            outcomes.append(head)
        while isinstance(part := reader.body(), bytes) and part:
            body += part
        refusal = head if isinstance(head, Refusal) else part
        if isinstance(refusal, Refusal):
            return [*outcomes, body, refusal, "end of stream" if not piece else "before the end"]
    return [*outcomes, body, reader.done, reusable]
