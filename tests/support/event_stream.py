"""The agent's end of a stream: one event after the other, as each arrives.

await connection.say(modern_call("close_month"))
stream = await event_stream(connection)
first = await stream.next()
"""

import json
from typing import Any

from support.raw_agent import RawConnection

Message = dict[str, Any]


class EventStream:
    """The events of one answer; its head has been read."""

    def __init__(self, connection: RawConnection) -> None:
        self._connection = connection
        self._text = b""
        self.comments = 0

    async def next(self) -> Message | None:
        """The message of the next event; None at the end of the stream.  Fails on anything between the events."""
        while b"\n\n" not in self._text:
            chunk = await self._chunk()
            if not chunk:
                assert not self._text, f"half an event: {self._text!r}"
                return None
            self._text += chunk
        event, self._text = self._text.split(b"\n\n", 1)
        if event == b":":
            self.comments += 1
            return await self.next()
        first, second = event.split(b"\n")
        assert first == b"event: message"
        assert second.startswith(b"data: ")
        message: Message = json.loads(second.removeprefix(b"data: "))
        return message

    async def rest(self) -> list[Message]:
        """All messages up to the end."""
        messages = []
        while (message := await self.next()) is not None:
            messages.append(message)
        return messages

    async def _chunk(self) -> bytes:
        size = int(await self._connection._line(), 16)
        content = await self._connection._exactly(size)
        assert await self._connection._line() == b""
        return content


async def event_stream(connection: RawConnection) -> EventStream:
    """Read the head of an answer, which must be the beginning of a stream."""
    assert await connection._line() == b"HTTP/1.1 200 "
    headers = {}
    while line := await connection._line():
        name, _, value = line.decode("latin-1").partition(": ")
        headers[name.lower()] = value
    assert headers["content-type"] == "text/event-stream"
    assert headers["transfer-encoding"] == "chunked"
    return EventStream(connection)
