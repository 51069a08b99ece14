"""Made-up sessions whose content was kept in full, on top of `MadeLog`.

told = ToldSession(folder)
told.call("refund", {"amount": 5}, ((900, MessageKind.EVENT, {...}), (1500, MessageKind.ANSWER, {...})))
told.write()
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from callgate.audit.age import KeyPair
from callgate.audit.chain import Kind
from callgate.audit.checkpoint import CheckpointKey
from callgate.audit.content import ContentStore
from callgate.audit.recording import MessageKind, Recording, request_line
from support.audit_logs import ORIGIN, MadeLog

SESSION: Final = "5e" * 8
Message = tuple[int, MessageKind, object]
ANSWER: Final[Message] = (1500, MessageKind.ANSWER, {"jsonrpc": "2.0", "id": 1, "result": {"content": []}})


@dataclass
class ToldSession:
    """A log in `folder` with one session of which some calls are kept in full; `auditor` can read them."""

    folder: Path
    log: MadeLog = field(default_factory=MadeLog)
    auditor: KeyPair = field(default_factory=KeyPair.generate)
    key: CheckpointKey = field(default_factory=lambda: CheckpointKey.generate(ORIGIN))

    def __post_init__(self) -> None:
        self.store = ContentStore(self.folder, [self.auditor.recipient])
        self.log.start()

    @property
    def identity(self) -> Path:
        """The auditor's key file."""
        path = self.folder / "auditor.txt"
        if not path.exists():
            path.write_text(f"{self.auditor.identity}\n")
            path.chmod(0o600)
        return path

    def call(
        self, tool: str, arguments: object, answers: Sequence[Message] = (ANSWER,), *, status: str = "answered"
    ) -> None:
        """An allowed call of which everything that passed was kept."""
        recording = Recording("full", 0)
        asked = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": tool, "arguments": arguments}}
        kept = self.store.put(request_line(json.dumps(asked).encode()))
        for at_us, kind, body in answers:
            recording.event(json.dumps(body).encode(), at_us * 1000, kind)
        plaintext = recording.take()
        objects = [self.store.put(plaintext)] if plaintext else []
        self._records(tool, kept, recording.summary(objects), answers[-1][0] if answers else 0, status)

    def _records(self, tool: str, kept: str, answer: dict[str, object], took_us: int, status: str) -> None:
        request = self.log.request(tool=tool, session=SESSION)
        rule = {"rule": "billing", "kind": "grant", "matched": True, "why": f"tool matches {tool}"}
        said = {"record": "full", "request": {"sha256": "cd" * 32, "bytes": 300, "object": kept}, "reason": ""}
        path = [f"{stage}=ok" for stage in ("accept", "authenticate", "read", "identify", "decide", "inspect", "mint")]
        place = self.log.add(Kind.INTENT, **request, **said, rules=[rule], path=path)
        self.log.now_ns += took_us * 1000
        ended = {"status": status, "reason": "", "took_us": took_us, "answer": answer, "http": 200}
        ids = {"decision": request["decision"], "trace": request["trace"]}
        self.log.add(
            Kind.OUTCOME, intent=place, **ids, **ended, path=["record=ok", "forward=ok", "screen=ok", "respond=ok"]
        )

    def write(self) -> Path:
        """Write the log; returns its folder."""
        self.log.write(self.folder, self.key)
        return self.folder
