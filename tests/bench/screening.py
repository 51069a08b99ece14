"""What screening costs: a part of `just bench`, and by itself `python tests/bench/screening.py`."""

import gc
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from callgate.screening.definitions import Definitions
from callgate.screening.mask import Tally
from callgate.screening.messages import screen_message
from callgate.screening.schemas import Shape
from callgate.screening.terms import ENTITIES, MaskRule, Mode, Screening
from callgate.wire.json_strict import JsonObject
from callgate.wire.jsonrpc import RpcResult
from support.screen_times import timings

PROSE = "The invoice of the third quarter was paid in two parts; the ledger has both of them, and the month is closed. "
TOOLS = 1_000


def cpu_us(work: Callable[[], object], times: int) -> float:
    """The least of five rounds."""
    rounds = []
    for _ in range(5):
        started = time.process_time_ns()
        for _ in range(times):
            work()
        rounds.append((time.process_time_ns() - started) / times / 1e3)
    return min(rounds)


def whole_answer(size: int) -> Callable[[], object]:
    """A `tools/call` result of one text block, clean, with everything masked."""
    rules = tuple(MaskRule(Mode.REDACT, entity, entity=entity) for entity in ENTITIES)
    screening, key, tally = Screening(answers=rules), bytes(32), Tally()
    text = (PROSE * (size // len(PROSE) + 1))[:size]
    said = RpcResult(1, {"content": [{"type": "text", "text": text}], "isError": False})
    return lambda: screen_message(said, "tools/call", screening, key, tally)


def tool(number: int) -> JsonObject:
    """Some 4 KiB of definition."""
    properties: JsonObject = {
        f"argument_{index}": {"type": "string", "maxLength": 100, "description": PROSE} for index in range(24)
    }
    return {"name": f"tool_{number}", "description": PROSE, "inputSchema": {"type": "object", "properties": properties}}


def resident_bytes() -> int:
    """What the process holds of the machine's memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def report_schemas() -> None:
    gc.collect()
    before, started = resident_bytes(), time.process_time()
    definitions = Definitions()
    definitions.learn("ledger", [tool(number) for number in range(TOOLS)])
    for name in definitions.names("ledger"):
        definition = definitions.of("ledger", name)
        assert definition is not None
        assert isinstance(definition.input_shape, Shape)
    took, held = time.process_time() - started, resident_bytes() - before
    print(f"  {TOOLS} tools' definitions and schemas    {held / 2**20:.1f} MiB, compiled in {took * 1e3:.0f} ms")


def main() -> None:
    print("\nWhat screening costs, CPU µs, the least of several rounds")
    for size in (4, 64):
        print(f"  a clean answer of {size} KiB, whole{'':<20}{cpu_us(whole_answer(size * 1024), 2_000 // size):>10.1f}")
    for each in timings():
        print(f"  {each.detector:<26}{each.what:<46}{each.micros:>12,.1f}")
    report_schemas()


if __name__ == "__main__":
    main()
