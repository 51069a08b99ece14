"""What becomes of a condition that the runtime itself stops."""

from callgate.identity.spiffe_id import SpiffeId
from callgate.policy.call import Call
from callgate.policy.condition import Condition, Truth, Verdict, compile_condition
from callgate.policy.tags import ToolTags


def verdict(text: str, length: int) -> Verdict:
    condition = compile_condition(text)
    assert isinstance(condition, Condition)
    caller = SpiffeId.parse("spiffe://acme.test/a")
    arguments = {"a": [True] * length}
    call = Call(caller=caller, server="s", method="tools/call", tool="get", arguments=arguments, now=0.0)  # type: ignore[arg-type]
    return condition.evaluate(call, ToolTags())


def test_loops_within_loops_end_after_ten_thousand_rounds_and_say_so() -> None:
    text = "args.a.all(x, args.a.all(y, y))"

    assert verdict(text, 90) == Verdict(Truth.HOLDS)
    assert verdict(text, 105) == Verdict(Truth.FAILED, "budget exceeded: more than 10000 rounds of its loops")
