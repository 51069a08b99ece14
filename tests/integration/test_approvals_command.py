"""`callgate approvals` as a person at the gate's machine uses it."""

import os
import re
import socket
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import orjson
import pytest
import trio
from click.testing import CliRunner

from callgate.approvals.model import UNKNOWN_USER, Cover, Request, State
from callgate.cli import main
from callgate.cli.approvals_words import seen
from callgate.wire.json_strict import JsonValue
from support.approval_site import AGENT, REFUNDS, policy_numbered
from support.approval_socket import BY_HAND, AdminSocketSite, admin_socket, at_a_terminal

# What moves a cursor, hides a line or turns the reading direction, beside our own line feeds.
MOVES = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
HOSTILE = "x\x1b[2J\x1b]0;owned\x07\r\n\u202egnp.exe\u2028\x9b31m\x7f\u3164\u200b"


async def now(gate: AdminSocketSite, request: Request) -> Request:
    found = await gate.site.desk.opened(request.id, None)
    assert found is not None
    return found


async def test_lists_what_waits_and_no_arguments(tmp_path: Path) -> None:
    async with admin_socket(tmp_path) as gate:
        request = await gate.site.asked(BY_HAND, account="A-1", amount=900)
        result = await gate.run("list")
    assert result.exit_code == 0, result.output
    heading, line = result.stdout.splitlines()
    assert heading.split() == ["id", "state", "agent", "call", "asked"]
    assert line.startswith(request.id[:8])
    for told in (
        "waiting",
        "15 min 0 s left",
        AGENT.removeprefix("spiffe://"),
        "refund on ledger",
        "1970-01-12T13:46:40Z",
    ):
        assert told in line
    assert "A-1" not in result.output


async def test_says_so_where_nothing_waits(tmp_path: Path) -> None:
    async with admin_socket(tmp_path) as gate:
        result = await gate.run("list")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "nothing waits for an answer\n")


async def test_lists_as_json_and_what_has_ended_apart(tmp_path: Path) -> None:
    async with admin_socket(tmp_path) as gate:
        denied, waiting = [await gate.site.asked(BY_HAND, amount=amount) for amount in (900, 901)]
        await gate.run("deny", denied.id, "--reason", "no")
        found = {flags: await gate.run("list", "--format", "json", *flags) for flags in ((), ("--ended",))}
    listed = {flags: orjson.loads(result.stdout)["approvals"] for flags, result in found.items()}
    assert [(each["id"], each["state"]) for each in listed[()]] == [(waiting.id, "waiting")]
    assert [(each["id"], each["state"]) for each in listed[("--ended",)]] == [(denied.id, "denied")]


async def test_shows_all_that_a_person_decides_by(tmp_path: Path) -> None:
    async with admin_socket(tmp_path) as gate:
        request = await gate.site.asked(BY_HAND, account="A-1", amount=900, lines=["one", {"two": None}])
        result = await gate.run("show", request.id[:8])
        seen_by = (await now(gate, request)).seen
    assert result.exit_code == 0, result.output
    for told in (request.id, AGENT, "trust domain acme.test", "refund on ledger", "Pays back.", "destructiveHint true",
                 "refunds-over-500 asks", "group local", "up to 5 calls within 15 min 0 s", "/account"):  # fmt: skip
        assert told in result.stdout
    arguments = result.stdout.partition("  arguments\n")[2]
    assert orjson.loads(arguments) == {"account": "A-1", "amount": 900, "lines": ["one", {"two": None}]}
    # That somebody looked is known to others.
    assert len(seen_by) == 1


async def test_shows_what_cannot_be_seen_and_moves_no_cursor(tmp_path: Path) -> None:
    async with admin_socket(tmp_path) as gate:
        ask = gate.site.ask(
            BY_HAND, (await gate.site.asked(BY_HAND)).ask.owners, None, {HOSTILE: [HOSTILE], "p\u0430yee": "b"}
        )
        hostile = replace(
            ask,
            binding=replace(ask.binding, tool=HOSTILE, server=HOSTILE),
            purpose=HOSTILE,
            found=(HOSTILE,),
            why=(HOSTILE,),
            user=HOSTILE,
            definition=orjson.dumps({"name": "x", "description": HOSTILE}).decode(),
        )
        request = await gate.site.desk.ask(hostile)
        assert isinstance(request, Request)
        results = [
            await gate.run("show", request.id),
            await gate.run("list"),
            await gate.run("deny", request.id, "--reason", HOSTILE),
        ]
        results += [await gate.run(*more) for more in (("show", request.id), ("show", request.id, "--format", "json"))]
    for result in results:
        assert result.exit_code == 0, result.output
        assert not MOVES.search(result.output)
    assert "⟨U+202E⟩" in results[0].stdout
    # Letters to Unicode, and nothing to the eye.
    assert "⟨U+3164⟩" in results[0].stdout
    assert "cyrillic small letter a" in results[0].stdout


async def test_arguments_of_a_thousand_lines_are_shown_whole(tmp_path: Path) -> None:
    rows: list[JsonValue] = [f"row {number}" for number in range(1_000)]
    async with admin_socket(tmp_path) as gate:
        request = await gate.site.asked(BY_HAND, rows=rows, text="x" * 100_000)
        result = await gate.run("show", request.id)
    assert orjson.loads(result.stdout.partition("  arguments\n")[2]) == {"rows": rows, "text": "x" * 100_000}


async def test_approves_exactly_what_was_shown(tmp_path: Path) -> None:
    async with admin_socket(tmp_path) as gate:
        request = await gate.site.asked(BY_HAND, amount=900)
        result = await gate.run("approve", request.id[:8], "--yes", "--reason", "ticket 4711")
        after = await now(gate, request)
    assert (result.exit_code, result.stderr) == (0, "")
    assert '"amount": 900' in result.stdout
    assert result.stdout.endswith("approved\n")
    assert after.state is State.APPROVED
    assert [(vote.reason, vote.person.uid, vote.cover) for vote in after.votes] == [("ticket 4711", os.geteuid(), None)]


async def test_approves_more_calls_where_the_policy_lets_it(tmp_path: Path) -> None:
    async with admin_socket(tmp_path) as gate:
        request = await gate.site.asked(BY_HAND, account="A-1", amount=900)
        refused = await gate.run("approve", request.id, "--yes", "--repeat", "6/15m")
        taken = await gate.run("approve", request.id, "--yes", "--repeat", "5/15m")
        after = await now(gate, request)
    assert refused.exit_code == 3
    assert "does not let an approval cover that much" in refused.stderr
    assert taken.exit_code == 0, taken.output
    assert [vote.cover for vote in after.votes] == [Cover(5, 900)]


@pytest.mark.parametrize("repeat", ["5", "5/", "0/15m", "5/15", "5/0m", "-1/15m", "5/15d", "5/15m/2", "x"])
def test_refuses_a_repeat_that_is_none(repeat: str) -> None:
    result = CliRunner().invoke(
        main, ["approvals", "approve", "abcd", "--yes", f"--repeat={repeat}", "--socket", "none"]
    )
    assert result.exit_code == 2
    assert "5/15m" in result.stderr


async def test_approves_nothing_unasked_where_there_is_no_terminal(tmp_path: Path) -> None:
    async with admin_socket(tmp_path) as gate:
        request = await gate.site.asked(BY_HAND, amount=900)
        result = await gate.run("approve", request.id)
        after = await now(gate, request)
    assert result.exit_code == 2
    assert "--yes" in result.stderr
    assert (after.state, after.seen) == (State.WAITING, ())


@pytest.mark.parametrize(
    ("typed", "code", "state"), [("y\n", 0, State.APPROVED), ("n\n", 3, State.WAITING), ("\n", 3, State.WAITING)]
)
async def test_asks_at_a_terminal_whether_it_is_exactly_that(
    tmp_path: Path, typed: str, code: int, state: State
) -> None:
    async with admin_socket(tmp_path) as gate:
        request = await gate.site.asked(BY_HAND, amount=900)
        with at_a_terminal(["approvals", "approve", request.id[:8], "--socket", str(gate.path)]) as terminal:
            assert '"amount": 900' in await terminal.until("approve exactly this? [y/N]")
            assert (await now(gate, request)).state is State.WAITING
            terminal.types(typed)
            found = await terminal.ends()
        assert found[0] == code, found
        assert (await now(gate, request)).state is state


async def test_a_long_request_is_named_again_beside_the_question(tmp_path: Path) -> None:
    async with admin_socket(tmp_path) as gate:
        request = await gate.site.asked(BY_HAND, rows=list(range(100)))
        with at_a_terminal(["approvals", "approve", request.id, "--socket", str(gate.path)]) as terminal:
            said = await terminal.until("approve exactly this? [y/N]")
    assert f"refund on ledger  for {AGENT}, with 104 lines of arguments" in said.splitlines()[-2]


async def test_two_approvers_are_two_people(tmp_path: Path) -> None:
    async with admin_socket(tmp_path) as gate:
        request = await gate.site.asked((replace(BY_HAND[0], needed=2),), amount=900)
        first, again = [await gate.run("approve", request.id, "--yes") for _ in range(2)]
    assert (first.exit_code, first.stdout.splitlines()[-1]) == (0, "you agreed; 1 more to agree")
    assert again.exit_code == 3
    assert "answered this request before" in again.stderr


async def test_denies_with_a_reason_that_the_agent_is_told(tmp_path: Path) -> None:
    async with admin_socket(tmp_path) as gate:
        request = await gate.site.asked(BY_HAND, amount=900)
        without = await gate.run("deny", request.id)
        result = await gate.run("deny", request.id[:4], "--reason", "not this week")
        after = await now(gate, request)
    assert without.exit_code == 2
    assert (result.exit_code, result.stdout.splitlines()[-1]) == (0, "denied")
    assert after.denial is not None
    assert after.denial.reason == "not this week"


async def test_refuses_a_reason_that_is_too_long_before_it_is_sent(tmp_path: Path) -> None:
    async with admin_socket(tmp_path) as gate:
        request = await gate.site.asked(BY_HAND, amount=900)
        result = await gate.run("deny", request.id, "--reason", "x" * 501)
    assert (result.exit_code, "at most 500 characters" in result.stderr) == (2, True)


async def end_by_denial(gate: AdminSocketSite, request: Request) -> None:
    await gate.run("deny", request.id, "--reason", "no")


async def end_by_time(gate: AdminSocketSite, request: Request) -> None:
    gate.site.clock.forward(request.ask.stands_s + 1)


async def end_by_policy(gate: AdminSocketSite, _request: Request) -> None:
    gate.site.policies[0] = policy_numbered(1)


@pytest.mark.parametrize(
    ("end", "told"),
    [(end_by_denial, "decided before"), (end_by_time, "expired"), (end_by_policy, "policy has changed")],
    ids=["denied", "expired", "policy"],
)
async def test_an_answer_that_comes_too_late_is_told_so(
    tmp_path: Path, end: Callable[[AdminSocketSite, Request], Awaitable[None]], told: str
) -> None:
    async with admin_socket(tmp_path) as gate:
        request = await gate.site.asked(BY_HAND, amount=900)
        await end(gate, request)
        result = await gate.run("approve", request.id, "--yes")
        assert result.exit_code == 3
        assert told in result.stderr
        assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize("uid", [os.geteuid(), UNKNOWN_USER], ids=["own", "unknown"])
async def test_the_user_that_may_run_the_agent_approves_nothing(tmp_path: Path, uid: int) -> None:
    async with admin_socket(tmp_path) as gate:
        request = await gate.site.asked(BY_HAND, uid=uid, amount=900)
        results = [await gate.run("approve", request.id, "--yes"), await gate.run("deny", request.id, "--reason", "x")]
        after = await now(gate, request)
    assert [result.exit_code for result in results] == [3, 3]
    assert all("you are the user that runs the asking agent" in result.stderr for result in results)
    assert (after.state, after.votes) == (State.WAITING, ())


@pytest.mark.parametrize(("uid", "told"), [(os.geteuid(), True), (os.geteuid() + 1, False)], ids=["own", "another"])
async def test_who_cannot_answer_is_told_so_by_show_already(tmp_path: Path, uid: int, told: bool) -> None:
    async with admin_socket(tmp_path) as gate:
        request = await gate.site.asked(BY_HAND, uid=uid, amount=900)
        result = await gate.run("show", request.id)
    assert ("cannot answer it: the asking agent runs as you" in result.stdout) is told


async def test_a_user_whom_the_configuration_does_not_name_is_told_so(tmp_path: Path) -> None:
    async with admin_socket(tmp_path, uids=frozenset({os.geteuid() + 1})) as gate:
        results = [await gate.run("list"), await gate.run("link")]
    assert [result.exit_code for result in results] == [3, 3]
    assert all("approvals.socket.users" in result.stderr for result in results)


async def test_what_the_policy_gives_to_others_is_not_shown(tmp_path: Path) -> None:
    async with admin_socket(tmp_path) as gate:
        request = await gate.site.asked((REFUNDS,), amount=900)
        listed, shown = await gate.run("list"), await gate.run("show", request.id)
    assert listed.stdout == ""
    assert (shown.exit_code, "900" in shown.output) == (3, False)
    assert "does not name you as an approver" in shown.stderr


@pytest.mark.parametrize("id_", ["", "abc", "ABCD", "zzzz", "0" * 33, "../x", "\x1b[2J", "ffff", "f" * 32])
async def test_an_id_that_names_nothing_is_a_wrong_command_line(tmp_path: Path, id_: str) -> None:
    async with admin_socket(tmp_path) as gate:
        await gate.site.asked(BY_HAND, amount=900)
        result = await gate.run("show", id_)
    assert result.exit_code == 2
    assert result.stderr
    assert not MOVES.search(result.stderr)


async def test_a_beginning_that_several_ids_have_names_none_of_them(tmp_path: Path) -> None:
    async with admin_socket(tmp_path) as gate:
        for amount in (900, 901):
            await gate.site.asked(BY_HAND, amount=amount)
        result = await gate.run("deny", "0000", "--reason", "no")
        states = [each.state for each in await gate.site.desk.listed(is_open=True)]
    assert (result.exit_code, "2 requests begin with 0000" in result.stderr) == (2, True)
    assert states == [State.WAITING] * 2


def run_at(path: Path) -> "tuple[int, str]":
    result = CliRunner().invoke(main, ["approvals", "list", "--socket", str(path)])
    return result.exit_code, result.stderr


def test_says_in_a_sentence_that_no_gate_is_there(tmp_path: Path) -> None:
    code, said = run_at(tmp_path / "none.sock")
    assert (code, said.count("\n")) == (1, 1)
    assert "is the gate running" in said


def test_says_in_a_sentence_that_the_gate_has_stopped(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as left_behind:
        left_behind.bind(str(tmp_path / "admin.sock"))
    code, said = run_at(tmp_path / "admin.sock")
    assert (code, said.count("\n")) == (1, 1)
    assert "the gate is not running" in said


def test_says_in_a_sentence_that_a_path_is_too_long_for_a_socket(tmp_path: Path) -> None:
    code, said = run_at(tmp_path / ("x" * 200))
    assert (code, said.count("\n")) == (1, 1)


async def test_says_in_a_sentence_that_something_else_answers_there(tmp_path: Path) -> None:
    async def speak(stream: trio.SocketStream) -> None:
        if not await stream.receive_some():
            return
        await stream.send_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n[]")

    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(tmp_path / "other.sock"))
        sock.listen()
        listener = trio.SocketListener(trio.socket.from_stdlib_socket(sock))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.serve_listeners, speak, [listener])
            code, said = await trio.to_thread.run_sync(run_at, tmp_path / "other.sock")
            nursery.cancel_scope.cancel()
    assert (code, said.count("\n")) == (1, 1)
    assert "no gate of this version" in said


CONFIG = """\
listen: 127.0.0.1:0
workload_api: unix:///run/spire/agent.sock
issuer: https://gate.acme.test
policy: policy.yaml
audit: {{folder: audit}}
admin: {{listen: "127.0.0.1:9000"}}
servers: {{ledger: {{url: "http://127.0.0.1:1/mcp"}}}}
{approvals}
"""


def run_with(folder: Path, approvals: str, monkeypatch: pytest.MonkeyPatch, *more: str) -> "tuple[int, str]":
    (folder / "callgate.yaml").write_text(CONFIG.format(approvals=approvals))
    monkeypatch.chdir(folder)
    result = CliRunner().invoke(main, ["approvals", *more])
    return result.exit_code, result.stderr


@pytest.mark.parametrize(
    ("approvals", "path"),
    [
        ("approvals: {}", "approvals/admin.sock"),
        ("approvals: {folder: state}", "state/admin.sock"),
        ("approvals: {socket: {path: run/gate.sock}}", "run/gate.sock"),
    ],
)
@pytest.mark.parametrize("more", [(), ("list",), ("-c", "callgate.yaml"), ("list", "-c", "callgate.yaml")])
def test_finds_the_socket_by_the_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, approvals: str, path: str, more: tuple[str, ...]
) -> None:
    assert run_with(tmp_path, approvals, monkeypatch, *more) == (
        1,
        f"Error: there is no socket {path}: is the gate running, and does its configuration have approvals?\n",
    )


@pytest.mark.parametrize(
    ("approvals", "told"),
    [
        ("", "has no approvals"),
        ("approvals: {socket: off, sign_in: {issuer: 'https://idp.acme.test', client_id: c}}", "off"),
    ],
)
def test_says_why_a_configuration_leads_to_no_socket(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, approvals: str, told: str
) -> None:
    code, said = run_with(tmp_path, approvals, monkeypatch, "list")
    assert (code, told in said) == (2, True)


def test_takes_the_variable_where_there_is_no_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    without = CliRunner().invoke(main, ["approvals", "list"])
    monkeypatch.setenv("CALLGATE_APPROVALS_SOCKET", str(tmp_path / "by-variable.sock"))
    found = CliRunner().invoke(main, ["approvals", "list"])
    assert (without.exit_code, "CALLGATE_APPROVALS_SOCKET" in without.stderr) == (2, True)
    assert (found.exit_code, "by-variable.sock" in found.stderr) == (1, True)


async def test_prints_a_link_on_stdout_alone(tmp_path: Path) -> None:
    async with admin_socket(tmp_path) as gate:
        result = await gate.run("link")
    assert result.exit_code == 0, result.output
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/approvals/enter\S+\n", result.stdout)
    assert "good once" in result.stderr


async def test_opens_the_link_in_a_browser_where_asked_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # A browser of ours, as webbrowser(3) of Python takes it: it writes down what it is given.
    script = tmp_path / "browser"
    script.write_text(f'#!/bin/sh\necho "$1" > {tmp_path}/opened\n')
    script.chmod(0o755)
    monkeypatch.setenv("BROWSER", f"{script} %s")
    async with admin_socket(tmp_path) as gate:
        with at_a_terminal(["approvals", "link", "--open", "--socket", str(gate.path)]) as terminal:
            code, said = await terminal.ends()
    assert code == 0, said
    assert (tmp_path / "opened").read_text().strip() in said


def test_the_signs_for_what_cannot_be_seen_are_those_of_the_page() -> None:
    assert seen("a\u202eb\u200b") == "a⟨U+202E⟩b⟨U+200B⟩"
    assert seen("plain text") == "plain text"
