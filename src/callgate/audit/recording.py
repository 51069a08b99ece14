"""What passed the gate in one call, counted, hashed, and kept until it is put away.

What is kept goes out as the plaintext of content objects: JSON Lines, each line one message as it passed,

    {"at_us":1500,"kind":"answer","body":{"jsonrpc":"2.0","id":1,"result":{}}}

`at_us`: microseconds since the call began.  `body` stands there byte for byte, so that whoever can read the objects can
work out the digests of the record again.  Pure.
"""

from collections.abc import Sequence
from enum import StrEnum
from hashlib import sha256
from typing import Final

from callgate.policy.record_level import RecordLevel

# How much plaintext one call may have pending before it is put away.  A stream of any length takes no more memory than
# this and its longest message, and an object is still read back in a few milliseconds.
SPILL_BYTES: Final = 1024 * 1024


class MessageKind(StrEnum):
    """What a message was in its call."""

    REQUEST = "request"
    # A notification, or a request of the tool server's.
    EVENT = "event"
    ANSWER = "answer"
    # A JSON-RPC error in place of the answer.
    ERROR = "error"


class Recording:
    """The messages that came back in one call.

    `level`: none counts messages and bytes, digest hashes them as well, full also keeps them until `take`.
    `started_ns`: when the call began, of the same clock as each `now_ns`.
    """

    __slots__ = (
        "_bytes",
        "_digest",
        "_events",
        "_last",
        "_level",
        "_pending",
        "_pending_bytes",
        "_started_ns",
        "_taken",
    )

    def __init__(self, level: RecordLevel, started_ns: int) -> None:
        self._level = level
        self._started_ns = started_ns
        self._digest = sha256()
        self._bytes = 0
        self._events = 0
        # Counted and hashed only when it is known that it passed.
        self._last: bytes | None = None
        self._pending: list[bytes] = []
        self._pending_bytes = 0
        self._taken: list[bytes] = []

    @property
    def is_due(self) -> bool:
        """Whether the caller must put away what is pending before it lets more pass."""
        return self._pending_bytes >= SPILL_BYTES

    def event(self, message: bytes, now_ns: int, kind: MessageKind = MessageKind.EVENT) -> None:
        """One message as it passes to the agent: JSON in one line."""
        self._settle()
        self._last = message
        if self._level == "full":
            self._keep(_line((now_ns - self._started_ns) // 1000, kind, message))

    def take(self) -> bytes | None:
        """The plaintext of the next object; None when nothing is pending."""
        if not self._pending:
            return None
        self._taken, self._pending = self._pending, []
        self._pending_bytes = 0
        return b"".join(self._taken)

    def withhold(self) -> None:
        """What was taken could not be put away, and so its last message does not pass; the others wait to be taken."""
        self._last = None
        for line in self._taken[:-1]:
            self._keep(line)
        self._taken = []

    def summary(self, objects: Sequence[str]) -> dict[str, object]:
        """The outcome's `answer`.  `objects`: the hashes of what was put away, in order."""
        self._settle()
        digest = {} if self._level == "none" else {"sha256": self._digest.hexdigest()}
        kept = {"objects": list(objects)} if objects else {}
        return {**digest, "bytes": self._bytes, "events": self._events, **kept}

    def _settle(self) -> None:
        message, self._last = self._last, None
        if message is None:
            return
        self._bytes += len(message)
        self._events += 1
        if self._level != "none":
            self._digest.update(message)
            self._digest.update(b"\n")

    def _keep(self, line: bytes) -> None:
        self._pending.append(line)
        self._pending_bytes += len(line)


def _line(at_us: int, kind: MessageKind, message: bytes) -> bytes:
    """Raises ValueError for a message of several lines: it could pass for messages that were never sent."""
    if b"\n" in message:
        raise ValueError("a message on record is JSON in one line")
    # A clock that was set back tells nothing; the order of the lines does.
    return b'{"at_us":%d,"kind":"%s","body":%s}\n' % (max(at_us, 0), kind.encode(), message)


def request_line(message: bytes) -> bytes:
    """The plaintext of a request's own object."""
    return _line(0, MessageKind.REQUEST, message)
