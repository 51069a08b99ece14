import pytest
from hypothesis import given
from hypothesis import strategies as st

from callgate.trace import TraceParent
from callgate.wire.json_strict import JsonValue
from callgate.wire.trace_context import read_trace_context, write_traceparent

# W3C Trace Context, level 1, 3.2.3: the example.
TRACE_ID, SPAN_ID = 0x4BF92F3577B34DA6A3CE929D0E0E4736, 0x00F067AA0BA902B7
EXAMPLE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def _state(text: JsonValue) -> str:
    found = read_trace_context({"traceparent": EXAMPLE, "tracestate": text})
    assert found is not None
    return found.state


def test_reads_the_standards_example() -> None:
    assert read_trace_context({"traceparent": EXAMPLE}) == TraceParent(TRACE_ID, SPAN_ID, sampled=True)


def test_writes_the_standards_example() -> None:
    assert write_traceparent(TRACE_ID, SPAN_ID) == EXAMPLE


@pytest.mark.parametrize(("flags", "sampled"), [("00", False), ("01", True), ("02", False), ("ff", True)])
def test_only_the_last_flag_says_sampled(flags: str, sampled: bool) -> None:
    found = read_trace_context({"traceparent": EXAMPLE[:-2] + flags})
    assert found is not None
    assert found.sampled is sampled


@pytest.mark.parametrize("text", ["cc" + EXAMPLE[2:], "01" + EXAMPLE[2:] + "-what-the-future-brings"])
def test_reads_what_it_knows_of_a_later_version(text: str) -> None:
    assert read_trace_context({"traceparent": text}) == TraceParent(TRACE_ID, SPAN_ID, sampled=True)


@pytest.mark.parametrize(
    "text",
    [
        *("", "x", EXAMPLE + "-00", EXAMPLE + "-", EXAMPLE + " ", " " + EXAMPLE, EXAMPLE + "\n", EXAMPLE[:-1]),
        *("ff" + EXAMPLE[2:], "0" + EXAMPLE[3:], EXAMPLE.upper(), "0x" + EXAMPLE[2:], EXAMPLE.replace("-", "_")),
        *(f"00-{'0' * 32}-00f067aa0ba902b7-01", f"00-{'1' * 32}-{'0' * 16}-01", "01" + EXAMPLE[2:] + ".x"),
        *(EXAMPLE.replace("4bf9", "4Bf9"), EXAMPLE.replace("4bf9", "4gf9"), "01" + EXAMPLE[2:] + "-" + "x" * 300),
        *(None, 1, True, [], {}, [EXAMPLE]),
    ],
)
def test_an_unreadable_traceparent_is_as_if_there_were_none(text: JsonValue) -> None:
    assert read_trace_context({"traceparent": text, "tracestate": "a=b"}) is None
    assert read_trace_context({}) is None


@pytest.mark.parametrize(
    ("text", "state"),
    [
        ("rojo=00f067aa0ba902b7,congo=t61rcWkgMzE", "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE"),
        ("a=b , c=d", "a=b,c=d"),
        ("a=b,,c=d", "a=b,c=d"),
        ("tenant@vendor=x", "tenant@vendor=x"),
        ("a=b;c", "a=b;c"),
        ("", ""),
    ],
)
def test_reads_a_tracestate(text: str, state: str) -> None:
    assert _state(text) == state


@pytest.mark.parametrize(
    "text",
    [
        *(
            "a",
            "a=",
            "=b",
            "A=b",
            "a=b=c",
            "a=b\n",
            "a=b\r\nx: y",
            "a=é",
            "a b=c",
            "a=" + "x" * 257,
            5,
            None,
            [],
        ),
        ",".join(f"k{n}=v" for n in range(33)),
        "a=" + "x" * 200 + ",b=" + "x" * 200 + ",c=" + "x" * 200,
    ],
)
def test_an_unreadable_tracestate_does_not_hurt_the_traceparent(text: JsonValue) -> None:
    assert _state(text) == ""


@given(st.integers(1, 2**128 - 1), st.integers(1, 2**64 - 1))
def test_reads_what_it_writes(trace_id: int, span_id: int) -> None:
    text = write_traceparent(trace_id, span_id)
    assert read_trace_context({"traceparent": text}) == TraceParent(trace_id, span_id, sampled=True)


@given(st.text(max_size=80), st.text(max_size=80))
def test_any_text_is_a_context_or_none(parent: str, state: str) -> None:
    assert read_trace_context({"traceparent": parent, "tracestate": state}) is None or "-" in parent
