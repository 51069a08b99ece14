"""Calls that were really decided, and the log that a gate would have of them.

recorder = Recorder(POLICY)
recorder.call("refund", {"amount": 5})
replay = Replay(None, policy(NEW), recorder.sources)
found = [replay.see(record) for record in recorder.records()]
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from hashlib import sha256
from types import MappingProxyType

import orjson

from callgate.audit.chain import Kind
from callgate.identity.spiffe_id import SpiffeId
from callgate.identity.user import User
from callgate.policy.call import Call
from callgate.policy.compile import Policy, load_policy
from callgate.policy.decide import Decision, DecisionOutcome, decide
from callgate.policy.history import History
from callgate.policy.recall import Sources
from callgate.wire.json_strict import JsonObject, canonical
from support.audit_logs import BEGAN_NS, CALLER, MadeLog

MAX_RULES = 16
HEAD = "version: 1\ntrust_domains: [acme.test]\n"


def policy(text: str) -> Policy:
    """A policy of one file; its head may be left out."""
    found = load_policy(text if text.startswith("version:") else HEAD + text, "policy.yaml")
    assert isinstance(found, Policy), found
    return found


@dataclass
class Recorder:
    """Decides calls under a policy, as a gate does, and keeps what the gate would have on record of each.

    Like the gate's records, these hold no arguments, claims and annotations.
    """

    policy: Policy
    log: MadeLog = field(default_factory=MadeLog)
    history: History = field(default_factory=History)
    known_policies: dict[str, Policy] = field(default_factory=dict)
    arguments: dict[str, JsonObject] = field(default_factory=dict)
    calls: list[tuple[Call, Decision, bool]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.known_policies[self.policy.digest] = self.policy

    @property
    def sources(self) -> Sources:
        """The texts of the policies that were in force; no content."""
        return Sources(policy=self.known_policies.get)

    @property
    def with_content(self) -> Sources:
        """The same, and all arguments."""
        return Sources(policy=self.known_policies.get, arguments=lambda r: self.arguments.get(str(r.get("decision"))))

    def wait(self, seconds: float) -> None:
        self.log.now_ns += int(seconds * 1e9)

    def switch(self, other: Policy) -> None:
        """Another policy comes into force."""
        self.policy = self.known_policies[other.digest] = other

    def call(
        self,
        tool: str | None,
        args: JsonObject | None = None,
        *,
        caller: str = CALLER,
        server: str = "ledger",
        method: str = "tools/call",
        user: User | None = None,
        annotations: JsonObject | None = None,
        purpose: str = "",
        limited_by: str = "",
    ) -> Decision:
        """Decide on one call now, and put it on record.  `limited_by`: a limit refuses it, if policy does not."""
        now = (self.log.now_ns + self.log.step_ns) / 1e9
        call = Call(
            caller=SpiffeId.parse(caller),
            server=server,
            method=method,
            tool=tool,
            arguments=(args or {}) if tool else None,
            now=now,
            svid_not_before=BEGAN_NS // 10**9 - 300,
            svid_not_after=BEGAN_NS // 10**9 + 36_000,
            revision="2026-07-28",
            size_bytes=300,
            purpose=purpose,
            user=user,
            annotations=annotations,
            history=self.history.of(SpiffeId.parse(caller)),
        )
        decision = decide(self.policy, call)
        self.calls.append((call, decision, bool(limited_by)))
        self._remember(self.history, call, decision, limited=bool(limited_by))
        self._put(call, decision, limited_by)
        return decision

    def records(self) -> list[JsonObject]:
        """As they would be read."""
        return [orjson.loads(line) for lines in self.log.lines() for line in lines]

    def with_their_past(self) -> Iterator[Call]:
        """The calls once more, each with all that was known of it at the time."""
        history = History()
        for call, decision, limited in self.calls:
            yield replace(call, history=history.of(call.caller))
            self._remember(history, call, decision, limited=limited)

    def _remember(self, history: History, call: Call, decision: Decision, *, limited: bool) -> None:
        if call.tool is None:
            return
        if decision.outcome is DecisionOutcome.ALLOW and not limited:
            history.record_call(call.caller, call.server, call.tool, call.now)
        elif decision.outcome is DecisionOutcome.DENY and decision.is_remembered:
            history.record_denial(call.caller, call.server, call.tool, call.now)

    def _put(self, call: Call, decision: Decision, limited_by: str) -> None:
        said: dict[str, object] = {"policy": decision.policy_digest, "method": call.method}
        if call.user is not None:
            user = call.user
            said["user"] = {"issuer": user.issuer, "subject": user.subject, "groups": list(user.groups)}
        if call.purpose:
            said["purpose"] = call.purpose
        if call.tool:
            said["args"] = sha256(canonical(call.arguments or {})).hexdigest()
        if decision.permit is not None and decision.permit.is_held:
            said["approval"] = {"id": "a" * 32}
        request = self.log.request(caller=str(call.caller), server=call.server, tool=call.tool, **said)  # type: ignore[arg-type]  # what is said of a request
        self.arguments[str(request["decision"])] = dict(call.arguments or {})
        if decision.outcome is DecisionOutcome.ALLOW and not limited_by:
            findings = [finding for finding in decision.findings if finding.matched]
            place = self.log.add(Kind.INTENT, **request, reason="", path=["decide=ok"], **_listed(findings))
            self.log.outcome(place)
            return
        reason = limited_by if decision.outcome is DecisionOutcome.ALLOW else str(decision.reason)
        path = ["accept=ok", f"decide=refused:{reason}"]
        self.log.add(
            Kind.REFUSAL, **request, stage="decide", reason=reason, path=path, detail="", **_listed(decision.findings)
        )


def _listed(findings: Iterable[object]) -> Mapping[str, object]:
    found = list(findings)
    more = {"more_rules": len(found) - MAX_RULES} if len(found) > MAX_RULES else {}
    return {"rules": found[:MAX_RULES], **more}


def user(subject: str = "ada", *groups: str, claims: Mapping[str, object] | None = None) -> User:
    return User("https://login.test", subject, groups, MappingProxyType(dict(claims or {})))
