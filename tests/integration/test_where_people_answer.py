"""A gate says at its start where people answer, so that nobody has to look for it."""

from pathlib import Path

from support.serve_process import START_S, ServeProcess, serving

_NOBODY = "unix:///nobody/listens.sock"
_DOWN = "http://127.0.0.1:9"
_SIGN_IN = f"sign_in: {{issuer: '{_DOWN}', client_id: callgate}}"


async def test_names_the_page_and_the_socket(tmp_path: Path) -> None:
    async with serving(tmp_path, _NOBODY, _DOWN, "approvals: {}\n") as gate:
        _, admin = await gate.ports()
        said = await gate.line("people answer at")
        assert said == f"people answer at http://127.0.0.1:{admin}/approvals, and at {tmp_path}/approvals/admin.sock"
        await stopped(gate)


async def test_names_no_socket_where_there_is_none_and_the_url_as_people_know_it(tmp_path: Path) -> None:
    more = f"approvals: {{url: 'https://gate.acme.test', socket: off, {_SIGN_IN}}}\n"
    async with serving(tmp_path, _NOBODY, _DOWN, more) as gate:
        assert await gate.line("people answer at") == "people answer at https://gate.acme.test/approvals"
        await stopped(gate)


async def test_names_nothing_where_nobody_is_asked(tmp_path: Path) -> None:
    async with serving(tmp_path, _NOBODY, _DOWN) as gate:
        await gate.line("not ready")
        assert not [message for message in gate.messages if "people" in message]
        await stopped(gate)


async def stopped(gate: ServeProcess) -> None:
    gate.process.terminate()
    assert await gate.end(START_S) == 0
