"""A session that was recorded in full: a made-up log with its content, encrypted to an auditor.

session = RecordedSession(tmp_path / "audit")
session.call("refund", {"amount": 5}, {"content": [...]})
session.write()
"""

import json
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from callgate.audit.age import KeyPair
from callgate.audit.chain import Kind
from callgate.audit.checkpoint import CheckpointKey
from callgate.audit.content import ContentStore
from callgate.wire.json_strict import canonical
from support.audit_logs import ORIGIN, MadeLog

MODERN, LEGACY = "2026-07-28", "2025-11-25"
SESSION = "5e" * 8
# What the gate puts into a message on its way to the tool server.
_TRACEPARENT = f"00-{'ab' * 16}-{'cd' * 8}-01"
_META = {
    "io.modelcontextprotocol/protocolVersion": MODERN,
    "io.modelcontextprotocol/clientCapabilities": {},
    "traceparent": _TRACEPARENT,
}


class RecordedSession:
    """Writes it; `key` is the auditor's file."""

    def __init__(self, folder: Path, revision: str = MODERN) -> None:
        folder.mkdir()
        auditor = KeyPair.generate()
        self.folder, self.revision, self.log = folder, revision, MadeLog()
        self.key = folder.parent / "auditor.key"
        self.key.touch(mode=0o600)
        self.key.write_text(auditor.identity + "\n")
        self._store = ContentStore(folder, [auditor.recipient])
        self.log.start()

    def call(self, tool: str, arguments: dict[str, Any], result: dict[str, Any], **more: Any) -> str:  # noqa: ANN401
        """A `tools/call` that was answered; returns the decision's id."""
        params = {"name": tool, "arguments": arguments}
        return self.ask("tools/call", params, [{"result": result}], tool=tool, args=_digest(arguments), **more)

    def ask(
        self,
        method: str,
        params: dict[str, Any],
        answer: Sequence[dict[str, Any]],
        *,
        tool: str | None = None,
        status: str = "answered",
        reason: str = "",
        began: str = "",
        is_kept: bool = True,
        **more: Any,  # noqa: ANN401
    ) -> str:
        """An allowed request and what passed back; `answer`'s messages without id, the last one is the answer."""
        number = len(self.log.records)
        meta = _META if self.revision == MODERN else {"traceparent": _TRACEPARENT}
        message: dict[str, Any] = {"jsonrpc": "2.0", "method": method, "params": {**params, "_meta": meta}}
        if not method.startswith("notifications/"):
            message["id"] = number
        said = [
            json.dumps({"jsonrpc": "2.0", **({"id": number} if each is answer[-1] else {}), **each}) for each in answer
        ]
        asked = self.log.request(number=number, tool=tool, method=method, revision=self.revision, **more)
        if is_kept:
            body = json.dumps(message)
            asked["request"] = {"sha256": _sha(body), "bytes": len(body), "object": self._put("request", [body])}
        place = self.log.add(Kind.INTENT, **asked, reason="", rules=[], path=["decide=ok"], record="full")
        passed = {
            "sha256": _sha("".join(f"{each}\n" for each in said)),
            "bytes": sum(map(len, said)),
            "events": len(said),
        }
        if is_kept and said:
            passed["objects"] = [self._put("answer", said)]
        ended = {"status": status, "reason": reason, "answer": passed} | ({"began": began} if began else {})
        self.log.add(
            Kind.OUTCOME, intent=place, decision=asked["decision"], trace=asked["trace"], took_us=1, path=[], **ended
        )
        return str(asked["decision"])

    def write(self) -> None:
        """All of it to the folder."""
        self.log.write(self.folder, CheckpointKey.generate(ORIGIN))

    def _put(self, kind: str, messages: Sequence[str]) -> str:
        kinds = ["event"] * (len(messages) - 1) + [kind]
        lines = (f'{{"at_us":0,"kind":"{k}","body":{m}}}\n' for k, m in zip(kinds, messages, strict=True))
        return self._store.put("".join(lines).encode())


def _digest(arguments: dict[str, Any]) -> str:
    return sha256(canonical(arguments)).hexdigest()


def _sha(text: str) -> str:
    return sha256(text.encode()).hexdigest()
