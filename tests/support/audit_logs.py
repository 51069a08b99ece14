"""Logs of made-up calls, written as the gate writes them, for tests of those who read them.

log = MadeLog()
log.start()
log.call(tool="refund", status="answered")
log.refusal(tool="wipe_ledger", reason="denied")
log.write(folder, key, segment_records=100)
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Final

from callgate.audit.chain import Chain, Kind, Moment
from callgate.audit.checkpoint import CheckpointKey
from callgate.audit.places import Places, segment_name

ORIGIN: Final = "gate.acme.test/audit"
# 2026-01-07T12:00:00Z
BEGAN_NS: Final = 1_767_787_200_000_000_000
CALLER: Final = "spiffe://acme.test/ns/billing/sa/agent"
POLICY_DIGEST: Final = "sha256:" + sha256(b"policy").hexdigest()


def _hash(*parts: object) -> str:
    return sha256("/".join(map(str, parts)).encode()).hexdigest()


@dataclass
class MadeLog:
    """Records in order; each call moves the clocks on by `step_ns`.  `records`: (kind, fields, when)."""

    step_ns: int = 50_000_000
    now_ns: int = BEGAN_NS
    records: list[tuple[Kind, Mapping[str, object], Moment]] = field(default_factory=list)

    def add(self, kind: Kind, **fields: object) -> int:
        """One record; returns its place in `records` (segment records not counted)."""
        self.now_ns += self.step_ns
        self.records.append((kind, fields, Moment(self.now_ns, (self.now_ns - BEGAN_NS) // 1000)))
        return len(self.records) - 1

    def start(self) -> int:
        return self.add(
            Kind.START,
            version="0.1.0",
            instance="ab" * 8,
            issuer="https://gate.acme.test",
            key=f"{ORIGIN}+12345678+{'A' * 44}",
            policy=POLICY_DIGEST,
        )

    def request(
        self,
        *,
        number: int | None = None,
        caller: str = CALLER,
        server: str = "ledger",
        tool: str | None = "get_invoice",
        session: str = "5e" * 8,
        **more: object,
    ) -> dict[str, object]:
        """What intents and refusals have in common."""
        number = len(self.records) if number is None else number
        said: dict[str, object] = {
            "decision": _hash("decision", number)[:32],
            "trace": _hash("trace", number)[:32],
            "span": _hash("span", number)[:16],
            "session": session,
            "address": "127.0.0.1:50000",
            "caller": caller,
            "leaf": _hash("leaf", caller),
            "svid": [BEGAN_NS // 10**9 - 300, BEGAN_NS // 10**9 + 36_000],
            "server": server,
            "method": "tools/call" if tool else "tools/list",
            **({"tool": tool, "args": _hash("args", number)} if tool else {}),
            "revision": "2026-07-28",
            "size": 300,
            "rpc": str(number),
            "policy": POLICY_DIGEST,
        }
        return said | more

    def call(
        self, *, status: str = "answered", grant: str = "billing-reads-invoices", orphan: bool = False, **said: object
    ) -> str:
        """An allowed call: its intent, and its outcome unless it is an orphan.  Returns the decision's id."""
        request = self.request(**said)  # type: ignore[arg-type]  # what a test says of a request
        decision = str(request["decision"])
        rule = {"rule": grant, "kind": "grant", "matched": True, "why": f"tool matches {request.get('tool')}"}
        token = {
            "jti": decision[:22],
            "sha256": _hash("token", decision),
            "aud": "https://ledger.acme.test/mcp",
            "exp": self.now_ns // 10**9 + 20,
            "scope": f"tool:{request.get('tool')}",
        }
        path = [f"{stage}=ok" for stage in ("accept", "authenticate", "read", "identify", "decide", "inspect", "mint")]
        intent = {**request, "reason": "", "rules": [rule], "path": path, "token": token, "record": "digest"}
        place = self.add(Kind.INTENT, **intent)
        if not orphan:
            self.outcome(place, status=status)
        return decision

    def outcome(self, place: int, *, status: str = "answered", **more: object) -> None:
        """How the call whose intent is at that place ended.  Its `intent` is set when the log is written."""
        intent = self.records[place][1]
        answer = {"sha256": _hash("answer", intent["decision"]), "bytes": 120, "events": 1}
        self.add(
            Kind.OUTCOME,
            intent=place,
            decision=intent["decision"],
            trace=intent["trace"],
            status=status,
            reason="",
            took_us=1500,
            answer=answer,
            http=200,
            path=["record=ok", "forward=ok", "screen=ok", "respond=ok"],
            **more,
        )

    def refusal(self, *, reason: str = "denied", stage: str = "decide", rule: str = "no-wiping", **said: object) -> str:
        """A refused request.  Returns the decision's id."""
        request = self.request(**said)  # type: ignore[arg-type]  # what a test says of a request
        found = {"rule": rule, "kind": "denial", "matched": True, "why": f"tool matches {request.get('tool')}"}
        path = ["accept=ok", "authenticate=ok", "read=ok", "identify=ok", f"decide=refused:{reason}"]
        answered = {"http": 200, "rpc": -31403}
        self.add(
            Kind.REFUSAL, **request, stage=stage, reason=reason, rules=[found], path=path, detail="", answered=answered
        )
        return str(request["decision"])

    def approval(self, happening: str, *, approval: str = "ad" * 16, by: str = "", **said: object) -> None:
        """What happened to a request for a person's approval.  `by`: who, signed in by OpenID Connect."""
        person = {"name": by, "means": "oidc", "issuer": "https://idp.acme.test", "subject": "1", "signed_in": 1}
        fields: dict[str, object] = {
            "happening": happening,
            "approval": approval,
            "binding": _hash("binding", approval),
            "caller": CALLER,
            "server": "ledger",
            "tool": "refund",
            "args": _hash("args", approval),
            "policy": POLICY_DIGEST,
            "rules": ["refunds-over-500"],
            "session": "5e" * 8,
            "expires": BEGAN_NS // 10**9 + 900,
            **({"by": person} if by else {}),
        }
        self.add(Kind.APPROVAL, **(fields | said))

    def handshake_refusal(self, *, reason: str = "tls_no_certificate", address: str = "203.0.113.9:4711") -> None:
        """A peer that was turned away before it could say anything."""
        self.add(
            Kind.REFUSAL,
            decision=_hash("decision", len(self.records))[:32],
            trace=_hash("trace", len(self.records))[:32],
            span=_hash("span", len(self.records))[:16],
            address=address,
            stage="accept",
            reason=reason,
            detail="",
            path=[f"accept=refused:{reason}"],
        )

    def lines(self, segment_records: int = 1_000_000) -> list[list[bytes]]:
        """The lines of each segment, with their line feeds."""
        return [lines for lines, _ in self._segmented(Chain(), segment_records)]

    def write(self, folder: Path, key: CheckpointKey, *, segment_records: int = 1_000_000) -> str:
        """Write segments and their checkpoints; returns the last checkpoint."""
        places = Places(folder)
        Path(places.log).mkdir(parents=True)
        Path(places.checkpoints).mkdir()
        first, note = 0, ""
        for lines, (size, root) in self._segmented(Chain(), segment_records):
            name = segment_name(first)
            Path(places.log / name).write_bytes(b"".join(lines))
            note = key.sign(size, root)
            kept = {"time": "2026-01-07T12:00:00.000000000Z", "note": note}
            Path(places.checkpoints / name).write_text(json.dumps(kept) + "\n")
            first += len(lines)
        Path(places.checkpoint).write_text(note)
        return note

    def _segmented(self, chain: Chain, segment_records: int) -> list[tuple[list[bytes], tuple[int, bytes]]]:
        found: list[tuple[list[bytes], tuple[int, bytes]]] = []
        lines: list[bytes] = []
        seqs: dict[int, int] = {}
        open_intents: dict[int, str] = {}
        for place, (kind, fields, when) in enumerate(self.records):
            if not lines:
                lines.append(chain.extend(Kind.SEGMENT, self._head(chain, len(found), open_intents), when))
            seqs[place] = chain.size
            if kind is Kind.INTENT:
                open_intents[chain.size] = str(fields["decision"])
            if kind is Kind.OUTCOME:
                place_of_intent = fields["intent"]
                assert isinstance(place_of_intent, int)
                fields = {**fields, "intent": seqs[place_of_intent]}  # noqa: PLW2901  # the number it got meanwhile
                open_intents.pop(seqs[place_of_intent], None)
            lines.append(chain.extend(kind, fields, when))
            if len(lines) >= segment_records:
                found.append((lines, (chain.size, chain.tree.root())))
                lines = []
        if lines:
            found.append((lines, (chain.size, chain.tree.root())))
        return found

    def _head(self, chain: Chain, number: int, open_intents: Mapping[int, str]) -> dict[str, object]:
        return {
            "origin": ORIGIN,
            "segment": number,
            "peaks": [peak.hex() for peak in chain.tree.peaks],
            "open": [[seq, decision] for seq, decision in open_intents.items()],
        }
