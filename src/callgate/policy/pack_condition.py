"""A rule pack as what a denial asks of a call: does it break one of the pack's rules?"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from callgate.policy.call import Call
from callgate.policy.cel_cost import MAX_STEPS
from callgate.policy.cel_paths import Path
from callgate.policy.condition import Condition, Truth, Verdict
from callgate.policy.patterns import ToolPattern, WorkloadPattern
from callgate.policy.spelling import misspelt_at
from callgate.policy.tags import ToolTags
from callgate.screening.packs import Pack, broken_rules
from callgate.wire.json_strict import JsonValue

_HOLDS: Final = Verdict(Truth.HOLDS)


@dataclass(frozen=True, slots=True)
class PackCondition:
    """It holds where a call breaks a rule of the pack, and `when` holds, too.

    `rules`, `tools` and `workloads` are left out of it.  Nothing can be said of it without the call's arguments.
    """

    pack: Pack
    when: Condition | None = None
    rules: frozenset[str] = frozenset()
    tools: tuple[ToolPattern, ...] = ()
    workloads: tuple[WorkloadPattern, ...] = ()

    @property
    def text(self) -> str:
        """`breaks destructive-sql@1 except rules drop and tools migrate when args.x == 1`."""
        names = (
            ("rules", sorted(self.rules)),
            ("tools", [pattern.text for pattern in self.tools]),
            ("workloads", [pattern.text for pattern in self.workloads]),
        )
        said = " and ".join(f"{what} {', '.join(texts)}" for what, texts in names if texts)
        exceptions = f" except {said}" if said else ""
        return f"breaks {self.pack.reference}{exceptions}{f' when {self.when.text}' if self.when else ''}"

    @property
    def reads_call(self) -> bool:
        """It reads arguments."""
        return True

    @property
    def reads_tool(self) -> bool:
        """Which arguments of a tool are programs, the policy says."""
        return True

    @property
    def reads_history(self) -> bool:
        """`when` may."""
        return self.when is not None and self.when.reads_history

    @property
    def reads_denials(self) -> bool:
        """`when` may."""
        return self.when is not None and self.when.reads_denials

    @property
    def arguments(self) -> None:
        """All of them."""
        return None

    @property
    def paths(self) -> tuple[str, ...]:
        """The arguments, and what `when` reads."""
        return ("args", *(path for path in (self.when.paths if self.when else ()) if path != "args"))

    @property
    def cel(self) -> Condition | None:
        """The rest of it is no CEL."""
        return self.when

    def evaluate(self, call: Call, tags: ToolTags, max_steps: int = MAX_STEPS) -> Verdict:
        """Whether it holds, with the codes of the rules that are broken.  Total, as `Condition.evaluate` is."""
        asked = self.when.evaluate(call, tags, max_steps) if self.when is not None else _HOLDS
        if asked.truth is Truth.FAILS_TO_HOLD:
            return asked
        broken = self.of_pack(call, tags)
        said = Verdict(asked.truth, f"{asked.why}; {broken.why}") if asked.truth is Truth.FAILED else broken
        return broken if broken.truth is Truth.FAILS_TO_HOLD else said

    def of_pack(self, call: Call, tags: ToolTags) -> Verdict:
        """What the pack alone comes to: it fails where a tool might read other arguments than the pack looks at."""
        if self._leaves_out(call):
            return Verdict(Truth.FAILS_TO_HOLD, f"{self.pack.reference} leaves this call out")
        arguments, tool = call.arguments or {}, call.tool or ""
        declared = tags.declared(call.server, tool)
        for path, _ in (*declared.sql, *declared.shell):
            number = misspelt_at(arguments, path)
            if number is not None:
                owner = Path("args", path[:number], 0).text
                return Verdict(Truth.FAILED, f"{owner} has another spelling of '{path[number]}', or too many names")
        broken = broken_rules(self.pack, tool, arguments, declared)
        codes = [code for code in broken if code not in self.rules]
        if not codes:
            return Verdict(Truth.FAILS_TO_HOLD, f"breaks no rule of {self.pack.reference}")
        return Verdict(Truth.HOLDS, f"{self.pack.reference}: {', '.join(codes)}")

    def _leaves_out(self, call: Call) -> bool:
        if call.tool is not None and any(pattern.matches(call.tool) for pattern in self.tools):
            return True
        return any(pattern.matches(call.caller) for pattern in self.workloads)

    def seen(self, call: Call, tags: ToolTags) -> Mapping[str, JsonValue]:
        """What each of `paths` is in `call`."""
        found: dict[str, JsonValue] = {"args": call.arguments} if call.arguments is not None else {}
        return {**found, **(self.when.seen(call, tags) if self.when is not None else {})}
