import io
import json
import logging
from collections.abc import Iterator

import pytest

from callgate.telemetry import names
from callgate.telemetry.logs import set_up_logging

_LOG = logging.getLogger("callgate.test")
_CANARY = "canary-7f3a"


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _logging_as_it_was(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("NO_COLOR", raising=False)
    root, ours = logging.getLogger(), logging.getLogger("callgate")
    handlers, levels = root.handlers[:], (root.level, ours.level)
    yield
    root.handlers[:] = handlers
    root.setLevel(levels[0])
    ours.setLevel(levels[1])


def _fail(why: str) -> None:
    raise ValueError(why)


def test_off_a_terminal_each_line_is_one_json_object() -> None:
    stream = io.StringIO()
    set_up_logging(stream)
    _LOG.warning("policy %s was not taken over", "a.yaml", extra={names.REASON: "denied", names.SERVER_PORT: 8443})
    _LOG.info("started")
    first, second = (json.loads(line) for line in stream.getvalue().splitlines())
    assert first.pop("time").endswith("Z")
    assert first == {
        "level": "warning",
        "logger": "callgate.test",
        "message": "policy a.yaml was not taken over",
        "callgate.reason": "denied",
        "server.port": 8443,
    }
    assert second["message"] == "started"


def test_a_line_break_in_a_message_cannot_forge_a_line() -> None:
    for stream in (io.StringIO(), _Terminal()):
        set_up_logging(stream)
        _LOG.warning("no such tool: %s", 'x\n{"level":"info","message":"all is well"}\r\u2028\ud800')
        assert len(stream.getvalue().splitlines()) == 1


@pytest.mark.parametrize("stream", [io.StringIO(), _Terminal()])
def test_an_attribute_that_is_not_listed_is_not_written(stream: io.StringIO) -> None:
    set_up_logging(stream)
    _LOG.warning("refused", extra={"authorization": _CANARY, "gen_ai.tool.call.arguments": _CANARY})
    assert "refused" in stream.getvalue()
    assert _CANARY not in stream.getvalue()


@pytest.mark.parametrize("stream", [io.StringIO(), _Terminal()])
def test_a_credential_in_a_message_or_a_traceback_is_not_written(stream: io.StringIO) -> None:
    token = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJjYW5hcnkifQ.c2lnbmF0dXJl"
    set_up_logging(stream)
    try:
        _fail(f"bad token {token} and key -----BEGIN PRIVATE KEY-----\n{_CANARY}\n-----END PRIVATE KEY-----")
    except ValueError:
        _LOG.exception("with %s", token, extra={names.DETAIL: token})
    assert "ValueError" in stream.getvalue()
    assert token not in stream.getvalue()
    assert _CANARY not in stream.getvalue()


def test_a_traceback_is_in_the_json_line_and_its_control_characters_are_visible() -> None:
    stream = io.StringIO()
    set_up_logging(stream)
    try:
        _fail("first\nsecond\x1b[2J")
    except ValueError:
        _LOG.exception("failed")
    (line,) = stream.getvalue().splitlines()
    stack = json.loads(line)["stack"]
    assert "in _fail" in stack
    assert stack.endswith("ValueError: first\nsecond\\x1b[2J")


def test_on_a_terminal_a_line_is_readable_and_coloured() -> None:
    stream = _Terminal()
    set_up_logging(stream)
    _LOG.error("no identity", extra={names.REASON: "identity_unavailable"})
    line = stream.getvalue()
    assert "\x1b[31mERROR" in line
    assert "no identity" in line
    assert "callgate.reason=identity_unavailable" in line


def test_no_color_is_honoured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    stream = _Terminal()
    set_up_logging(stream)
    _LOG.error("no identity")
    assert "\x1b" not in stream.getvalue()


def test_other_libraries_speak_from_warning_on() -> None:
    stream = io.StringIO()
    set_up_logging(stream, level=logging.DEBUG)
    logging.getLogger("urllib3.connectionpool").info("Starting new HTTP connection")
    _LOG.debug("ours")
    assert [json.loads(line)["message"] for line in stream.getvalue().splitlines()] == ["ours"]


def test_a_value_of_any_kind_can_be_logged() -> None:
    stream = io.StringIO()
    set_up_logging(stream)
    extra = {names.REASON: object, names.SERVER_PORT: 1 << 80, names.DETAIL: ("a", 1), names.TLS_RESUMED: True}
    _LOG.info("odd", extra=extra)
    line = json.loads(stream.getvalue())
    assert (line["server.port"], line["callgate.detail"], line["tls.resumed"]) == (hex(1 << 80), "a, 1", True)


def test_standard_error_is_the_default(capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logging()
    _LOG.info("hello")
    assert json.loads(capsys.readouterr().err)["message"] == "hello"
