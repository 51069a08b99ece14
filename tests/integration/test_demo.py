"""`callgate demo` as a person runs it."""

import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import httpx2
import pytest

CALLGATE = Path(sys.executable).with_name("callgate")
LIMIT_S = 60.0
# base64url of '{"', with which the header and the payload of every JWT begin.
TOKEN = "eyJ"


@pytest.fixture(scope="module")
def story() -> str:
    """What the demo printed, once it had ended well and in time."""
    started = time.monotonic()
    done = subprocess.run([str(CALLGATE), "demo"], capture_output=True, text=True, timeout=LIMIT_S, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert time.monotonic() - started < LIMIT_S
    return done.stdout


def assert_in_order(text: str, *wanted: str) -> None:
    """Each is there, after the one before it."""
    position = 0
    for each in wanted:
        found = text.find(each, position)
        assert found >= 0, f"no {each!r} after {text[max(position - 200, 0) : position]!r}"
        position = found + len(each)


def test_tells_of_an_allowed_call_and_a_denied_one_next_to_it_in_a_session_that_goes_on(story: str) -> None:
    assert_in_order(
        story,
        "spiffe://acme.test/ns/billing/sa/refund-agent",
        "tools/list",
        "list_invoices, get_invoice, refund\n",
        "get_invoice(number='INV-1001')",
        "Northwind, 1250 EUR, open",
        "allowed",
        "decide",
        "billing-reads-invoices applies",
        "inspect",
        "mint",
        "forward",
        "screen",
        "respond",
        "wipe_ledger()",
        "error -31403",
        "denied",
        "nobody-wipes-the-ledger applies",
        "not reached: inspect, mint, record, forward, screen",
        "refund(number='INV-1001', amount=20)",
        "refunded 20 EUR of INV-1001",
        "refund(number='INV-1001', amount=900)",
        "error -31403",
        "no-refund-above-500 applies",
        "its condition holds",
        "not reached: inspect, mint, record, forward, screen",
    )


def test_tells_of_a_call_that_a_person_approves_and_of_one_that_a_person_denies(story: str) -> None:
    assert_in_order(
        story,
        "Its call waits until a person has answered",
        "the API that the page and callgate approvals use",
        "a gate takes no answer from that user unless it is told to",
        "refund(number='INV-1001', amount=250)  →  held",
        "grant somebody-agrees-above-100 wants one of group local to agree",
        '"amount": 250',
        "approved by local:",
        "“refunded 250 EUR of INV-1001 to customer”",
        "allowed",
        "✓ approve",
        "somebody-agrees-above-100",
        "mint",
        "refund(number='INV-1001', amount=400)  →  held",
        '"amount": 400',
        "denied by local:",
        "error -31403",
        "approval_denied",
        "“that is more than the invoice says; ask accounting”",
        "✗ approve",
        "not reached: mint, record, forward, screen",
    )
    assert "refunded 400" not in story


def test_tells_of_a_second_workload_that_sees_other_tools(story: str) -> None:
    assert_in_order(
        story,
        "spiffe://acme.test/ns/ops/sa/auditor",
        "tools/list",
        "list_invoices, close_month\n",
        "closed 2026-10",
        "refund(",
        "error -31403",
        "no_grant",
        "default",
    )


def test_tells_of_a_caller_without_an_svid(story: str) -> None:
    assert_in_order(
        story, "without an SVID", "certificate required", "tls_no_certificate", "not reached: authenticate, read"
    )


def test_shows_the_tokens_claims_and_never_a_token_or_a_key(story: str) -> None:
    for claim in ("https://ledger.acme.test/mcp", "tool:get_invoice", "spiffe://acme.test/gate"):
        assert claim in story
    assert TOKEN not in story
    assert "PRIVATE KEY" not in story


def test_prints_no_colour_where_there_is_no_terminal(story: str) -> None:
    assert "\x1b" not in story


def answer_as_printed(said: str, verb: str, *more: str) -> subprocess.CompletedProcess[str]:
    """The person's command line as it is printed; a script says --yes, and its own reason."""
    printed = found(rf"^ +(uv run callgate approvals .* {verb} [0-9a-f]{{8}})", said)
    command = [*printed.replace("uv run callgate", str(CALLGATE)).split(), *more]
    return subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, check=False)


def test_lets_whoever_watches_approve_and_deny_at_a_second_terminal() -> None:
    with running("--ask-me") as demo:
        assert demo.stdout is not None
        said = said_until("/approvals/enter", demo.stdout)
        assert re.search(r"http://127\.0\.0\.1:\d+/approvals/enter\?token=\S+$", said.strip())
        # The other way round than the script: it is for the person to say.
        denied = answer_as_printed(said, "deny", "--reason", "not today")
        assert denied.returncode == 0, denied.stderr
        said = said_until("/approvals/enter", demo.stdout)
        assert_in_order(said, "amount=250", "error -31403", "approval_denied", "not today", "amount=400", "held")
        approved = answer_as_printed(said, "approve", "--yes")
        assert approved.returncode == 0, approved.stderr
        rest, errors = demo.communicate(timeout=LIMIT_S)
    assert (demo.returncode, errors) == (0, "")
    assert_in_order(rest, "refunded 400 EUR of INV-1001", "✓ approve", "records, whole")


@contextmanager
def kept_running() -> Iterator[tuple[subprocess.Popen[str], str]]:
    """`callgate demo --keep`, and what it had said when everything was up."""
    with running("--keep") as demo:
        assert demo.stdout is not None
        yield demo, said_until("Each call's decision path is printed here as it happens.", demo.stdout)


@contextmanager
def running(flag: str) -> Iterator[subprocess.Popen[str]]:
    command = [str(CALLGATE), "demo", flag]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as demo:
        try:
            yield demo
        finally:
            # A signal that it can act on: the tool server is a process of its own, and the demo ends it.
            demo.terminate()


def said_until(last: str, output: IO[str]) -> str:
    said = ""
    for line in output:
        said += line
        if last in line:
            return said
    pytest.fail(f"it ended after {said}")


def run_as_printed(said: str, *, instead_of: tuple[str, str] = ("", "")) -> subprocess.CompletedProcess[str]:
    """The agent's command line as it is printed, but for the environment that uv would make first."""
    printed = found(r"an agent\s+(SPIFFE_ENDPOINT_SOCKET=(?:.*\\\n)*.*)", said)
    command = printed.replace("uv run callgate", str(CALLGATE)).replace(*instead_of)
    return subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=LIMIT_S, check=False)


def test_kept_running_it_can_be_called_as_it_says_and_ends_cleanly_on_ctrl_c() -> None:
    with kept_running() as (demo, said):
        directory = Path(found(r"(\S+)/callgate\.yaml", said))
        assert (directory / "policy.yaml").is_file()
        ready = httpx2.get(found(r"curl (http://\S+/readyz)", said), trust_env=False).json()
        assert ready == {"ready": True, "missing": []}
        allowed = run_as_printed(said)
        assert allowed.returncode == 0, allowed.stderr
        assert "INV-1001: Northwind, 1250 EUR, open" in allowed.stdout
        denied = run_as_printed(said, instead_of=("get_invoice", "wipe_ledger"))
        assert denied.returncode == 3
        assert "-31403" in denied.stdout + denied.stderr
        demo.send_signal(signal.SIGINT)
        rest, errors = demo.communicate(timeout=LIMIT_S)
        assert (demo.returncode, errors) == (0, "")
        # Both decisions were told as they came.
        assert_in_order(rest, "allowed  tools/call get_invoice", "denied  tools/call wipe_ledger")
        assert TOKEN not in said + rest
        assert not directory.exists()


def found(pattern: str, text: str) -> str:
    match = re.search(pattern, text, re.MULTILINE)
    assert match is not None, text
    return match[1]
