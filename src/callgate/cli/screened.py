"""What screening makes of an answer, of a call's arguments and of a text, without a gate."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from callgate.errors import Refusal
from callgate.identity.spiffe_id import SpiffeId
from callgate.policy.call import Call
from callgate.policy.compile import Policy
from callgate.policy.condition import Truth
from callgate.policy.pack_condition import PackCondition
from callgate.policy.rule import Rule
from callgate.screening.deceptive import TooDeceptive, find_deceptive, strip_deceptive
from callgate.screening.mask import Tally
from callgate.screening.messages import screen_arguments, screen_message
from callgate.screening.pack_terms import UNCLEAR
from callgate.screening.packs import broken_rules
from callgate.screening.terms import Screening
from callgate.wire.json_strict import JsonLimits, JsonObject, JsonValue, loads
from callgate.wire.jsonrpc import RpcResult, encode, read_server_message

# As much as a gate takes of an answer: 4 MiB.
MAX_BYTES: Final = 4 * 1024 * 1024
_LIMITS: Final = JsonLimits(max_bytes=MAX_BYTES, safe_integers=False)
# A gate has a key of its own, and of it one for each workload.  This one is nobody's.
_KEY: Final = bytes(32)
# Members by which the result of a request is known.
_OF_RESULTS: Final = ("content", "structuredContent", "tools")


@dataclass(frozen=True, slots=True)
class Broken:
    """A rule of a pack that the call breaks: the policy's rule, the pack, and its rule with a sentence."""

    rule: str
    pack: str
    code: str
    sentence: str
    shadow: bool


@dataclass(frozen=True, slots=True)
class Screened:
    """What came of it.

    `output`: what would be passed on; None where nothing would.  `refusal`: why not.  `broken`: rules of packs, for
    which the call itself is denied.
    """

    output: JsonValue = None
    tally: Tally = field(default_factory=Tally)
    broken: tuple[Broken, ...] = ()
    refusal: Refusal | None = None

    @property
    def is_refused(self) -> bool:
        """Whether the agent would be told no."""
        return self.refusal is not None or any(not each.shadow for each in self.broken)

    @property
    def is_clean(self) -> bool:
        """Whether nothing was found."""
        found = self.tally
        return not (self.is_refused or found.counts or found.deceptive or found.held or self.broken)


@dataclass(frozen=True, slots=True)
class Asked:
    """Whose rules: a policy's, for a tool of a server, and a workload's grants where it is known."""

    policy: Policy
    server: str
    tool: str | None
    workload: SpiffeId | None

    def screening(self) -> Screening:
        """What the policy says of the server, and every grant that names workload and tool, whatever else it asks."""
        grants = [
            rule for rule in self._rules() if rule.kind == "grant" and not rule.shadow and self._is_named_by(rule)
        ]
        return self.policy.screening.of_call(self.server, self.tool, tuple(rule.id for rule in grants), grants)

    def broken(self, arguments: JsonObject, nobody: SpiffeId, now: float) -> Iterator[Broken]:
        """The rules of packs that a call with these arguments breaks."""
        if self.tool is None:
            return
        call = Call(
            caller=self.workload or nobody,
            server=self.server,
            method="tools/call",
            tool=self.tool,
            arguments=arguments,
            now=now,
        )
        for rule in self._rules():
            asked = rule.condition
            if isinstance(asked, PackCondition) and self._is_about(rule):
                for code in self._codes(asked, call):
                    yield Broken(rule.id, asked.pack.reference, code, asked.pack.rules.get(code, ""), rule.shadow)

    def _rules(self) -> Sequence[Rule]:
        return self.policy.rules.get(self.server, ())

    def _is_named_by(self, grant: Rule) -> bool:
        return self.workload is not None and grant.workload_match(self.workload) is not None and self._is_tool_of(grant)

    def _is_about(self, denial: Rule) -> bool:
        is_caller = self.workload is None or denial.workload_match(self.workload) is not None
        return is_caller and self._is_tool_of(denial)

    def _is_tool_of(self, rule: Rule) -> bool:
        return self.tool is not None and rule.tool_match(self.tool) is not None

    def _codes(self, asked: PackCondition, call: Call) -> Sequence[str]:
        """For what call and pack come to.  A condition that asks for what is not known here has failed, and so applies."""
        if asked.evaluate(call, self.policy.tags).truth is Truth.FAILS_TO_HOLD:
            return ()
        declared = self.policy.tags.declared(call.server, call.tool or "")
        broken = broken_rules(asked.pack, call.tool or "", call.arguments or {}, declared)
        return [code for code in broken if code not in asked.rules] or (UNCLEAR,)


def read_input(text: str) -> JsonValue:
    """JSON where it is an object or a list in the one reading that the gate takes; else the text itself."""
    if not text.lstrip().startswith(("{", "[")):
        return text
    found = loads(text.encode(), _LIMITS)
    return text if isinstance(found, Refusal) else found


def screen_answer(value: JsonValue, screening: Screening) -> Screened:
    """An answer: a message of a tool server, the result in one, structured content, or plain text."""
    tally = Tally()
    if isinstance(value, dict) and "jsonrpc" in value:
        return _screen_said(value, screening, tally)
    shown = _screened_result(_as_result(value), screening, tally)
    if isinstance(shown, Refusal):
        return Screened(tally=tally, refusal=shown)
    return Screened(shown if _is_result(value) else _inner(shown, value), tally)


def screen_call(arguments: JsonObject, screening: Screening, broken: tuple[Broken, ...]) -> Screened:
    """The arguments of a call."""
    tally = Tally()
    shown = screen_arguments(arguments, screening, _KEY, tally)
    if isinstance(shown, Refusal):
        return Screened(tally=tally, broken=broken, refusal=shown)
    return Screened(None if any(not each.shadow for each in broken) else shown, tally, broken)


def screen_text(text: str) -> Screened:
    """A text that may lie, and nothing else looked for."""
    tally = Tally()
    tally.deceived(find_deceptive(text))
    try:
        return Screened(strip_deceptive(text), tally)
    except TooDeceptive:
        # Nothing would be left that could be trusted.
        return Screened("", tally)


def _screen_said(value: JsonObject, screening: Screening, tally: Tally) -> Screened:
    said = read_server_message(value)
    shown = said if isinstance(said, Refusal) else screen_message(said, _method_of(value), screening, _KEY, tally)
    if isinstance(shown, Refusal):
        return Screened(tally=tally, refusal=shown)
    output = loads(encode(shown), _LIMITS)
    return Screened(tally=tally, refusal=output) if isinstance(output, Refusal) else Screened(output, tally)


def _screened_result(result: JsonObject, screening: Screening, tally: Tally) -> JsonObject | Refusal:
    shown = screen_message(RpcResult(1, result), _method_of({"result": result}), screening, _KEY, tally)
    if isinstance(shown, Refusal):
        return shown
    return shown.result if isinstance(shown, RpcResult) else {}


def _method_of(message: JsonObject) -> str:
    """What was asked, as far as an answer to it tells."""
    result = message.get("result")
    return "tools/list" if isinstance(result, dict) and isinstance(result.get("tools"), list) else "tools/call"


def _is_result(value: JsonValue) -> bool:
    return isinstance(value, dict) and any(isinstance(value.get(name), dict | list) for name in _OF_RESULTS)


def _as_result(value: JsonValue) -> JsonObject:
    if isinstance(value, dict) and _is_result(value):
        return value
    if isinstance(value, str):
        return {"content": [{"type": "text", "text": value}]}
    return {"content": [], "structuredContent": value}


def _inner(result: JsonObject, value: JsonValue) -> JsonValue:
    """What became of what `_as_result` wrapped; of a text that was dropped, nothing."""
    if not isinstance(value, str):
        return result.get("structuredContent")
    content = result.get("content")
    first = content[0] if isinstance(content, list) and content else None
    return first.get("text", "") if isinstance(first, dict) else ""


def codes_with_sentences(codes: Sequence[str], rules: Mapping[str, str]) -> JsonValue:
    """Each code of `why` with what it means."""
    return [{"code": code, "sentence": rules.get(code, "")} for code in codes]
