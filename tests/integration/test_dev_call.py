"""`callgate dev call` on a user's behalf and for a declared purpose, against a live gate."""

import subprocess
import sys
from functools import partial
from pathlib import Path

import trio

from support.desk import Desk, desk_behind_gate
from support.gate import GATE

POLICY = """
version: 1
trust_domains: [acme.test]
grants:
  - id: clerks-look
    workloads: [spiffe://acme.test/ns/billing/sa/*]
    server: ledger
    tools: [get_invoice]
    users: {groups: [clerks]}
    when: request.purpose == "month end"
    scopes: [ledger.read]
"""


async def said(desk: Desk, *more: str, token: str = "") -> tuple[int, str]:
    command = [sys.executable, "-m", "callgate", "dev", "call", "--gate", GATE, "--workload-api"]
    command += [desk.gate.api.endpoint("billing"), *more, desk.gate.url(), "get_invoice", '{"number": "INV-1"}']
    run = partial(subprocess.run, command, input=token, capture_output=True, text=True, timeout=60, check=False)
    done = await trio.to_thread.run_sync(run)
    return done.returncode, done.stdout + done.stderr


async def test_calls_on_a_users_behalf_for_a_declared_purpose(tmp_path: Path) -> None:
    async with desk_behind_gate(tmp_path, POLICY) as desk:
        token = desk.user("alice", "clerks")
        (tmp_path / "token").write_text(token + "\n")

        allowed = await said(desk, "--user-token", str(tmp_path / "token"), "--purpose", "month end")
        piped = await said(desk, "--user-token", "-", "--purpose", "month end", token=token)
        nobody = await said(desk, "--purpose", "month end")
        aimless = await said(desk, "--user-token", str(tmp_path / "token"))
        forged = await said(desk, "--user-token", "-", token=token[:-8])

    assert allowed == piped
    assert allowed[0] == 0
    assert "INV-1" in allowed[1]
    for code, text in (nobody, aimless):
        assert code == 3
        assert "no_grant" in text
    assert forged[0] != 0
    assert "401" in forged[1] or "user_token" in forged[1]
    assert token not in "".join(text for _, text in (allowed, piped, nobody, aimless, forged))
