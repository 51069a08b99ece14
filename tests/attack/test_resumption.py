"""A resumed TLS session would skip the client's certificate, and with it the end of its SVID: there is none."""

from pathlib import Path

from callgate.net.tls_context import agent_facing_context
from support.gate import context_of, running_gate
from support.raw_agent import modern_call
from support.tls_agent import CLOSED, dialled
from support.upstream import scripted_server

CALL = modern_call("get_invoice")


async def test_client_that_saved_its_session_has_to_show_its_certificate_again(tmp_path: Path) -> None:
    async with scripted_server() as upstream, running_gate(tmp_path, upstream.url) as gate:
        context = await context_of(gate.api, "billing")
        async with dialled(gate, context) as agent:
            assert (await agent.ask(CALL)).status == 200
            saved = agent.tls.session
            assert saved is not None
            assert not saved.has_ticket
        async with dialled(gate, context, session=saved) as agent:
            assert (await agent.ask(CALL)).status == 200
            assert not agent.tls.session_reused


async def test_session_that_was_resumed_all_the_same_is_refused(tmp_path: Path) -> None:
    """The second line of defence: this gate is made to hand out tickets, which it never does."""
    async with scripted_server() as upstream, running_gate(tmp_path, upstream.url) as gate:
        identity = gate.service.identity
        assert identity is not None
        with_tickets = agent_facing_context(identity)
        with_tickets.num_tickets = 2
        gate.service._tls = (identity, with_tickets)
        context = await context_of(gate.api, "billing")
        async with dialled(gate, context) as agent:
            assert (await agent.ask(CALL)).status == 200
            saved = agent.tls.session
            assert saved is not None
            assert saved.has_ticket
        async with dialled(gate, context, session=saved) as agent:
            await agent.stream.do_handshake()
            assert agent.tls.session_reused, "the attack of this test did not come about"
            assert await agent.farewell() == CLOSED
        traces = await gate.traces_when(2)
        assert traces[1].path == ("accept=refused:tls_session_resumed",)
        assert len(upstream.requests) == 1
