"""`callgate demo`: watch an allowed call and a denied one next to it, and read both decision paths."""

import logging
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click
import trio
from opentelemetry.sdk.resources import Resource

from callgate.audit.checkpoint import VerifierKey
from callgate.audit.verify import verify
from callgate.cli.approvals_text import as_lines
from callgate.cli.running import run
from callgate.cli.tree import render
from callgate.telemetry.export import Telemetry
from callgate.telemetry.logs import set_up_logging
from callgate.telemetry.sinks import otlp_sink
from callgate.trace import DecisionTrace
from callgate.wire.json_strict import JsonObject

if TYPE_CHECKING:
    from callgate.dev.demo import Stage


_SHALLOW = "/tmp"  # noqa: S108  # a directory with a random name and mode 0700 is made in it


@click.command()
@click.option("--keep", is_flag=True, help="Leave everything running, and print how to call it.")
@click.option(
    "--ask-me", "asks_me", is_flag=True, help="Approve and deny yourself, at a second terminal or in a browser."
)
@click.option("--traces", is_flag=True, help="Also start a trace viewer (Arize Phoenix) and send the traces there.")
def demo(*, keep: bool, asks_me: bool, traces: bool) -> None:
    """Show the gate at work on embedded defaults: no configuration, no SPIRE, nothing set up beforehand.

    With --traces the first start installs the viewer into an environment of its own, which takes a while and
    some 600 MB; the next start finds it there.  It implies --keep.
    """
    set_up_logging(level=logging.WARNING)
    try:
        # Needs the extra `demo`.
        import callgate.dev.demo  # noqa: F401, PLC0415
    except ImportError as missing:
        raise click.ClickException(f"{missing}: the demo needs its extra, pip install 'callgate[demo]'") from None
    # A socket's path may have 107 bytes, and a temporary directory of one's own can be too deep for that.
    with tempfile.TemporaryDirectory(
        prefix="callgate-", dir=_SHALLOW if len(tempfile.gettempdir()) > 40 else None
    ) as name:
        play = partial(_play, Path(name), keep=keep or traces, asks_me=asks_me, traces=traces)
        run(partial(_until_signal, play))


async def _until_signal(play: Callable[[], Awaitable[None]]) -> None:
    """Play to the end, or until a signal; either way every process that was started is ended."""
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_cancel_on_signal, signals, nursery.cancel_scope)
            await play()
            nursery.cancel_scope.cancel()


async def _cancel_on_signal(signals: AsyncIterator[int], everything: trio.CancelScope) -> None:
    async for _ in signals:
        click.echo("\nstopping")
        everything.cancel()


async def _play(directory: Path, *, keep: bool, asks_me: bool, traces: bool) -> None:
    from callgate.dev import demo as story  # noqa: PLC0415  # needs the extra `demo`
    from callgate.dev.demo_people import Audience, Script  # noqa: PLC0415
    from callgate.dev.trace_viewer import PROJECT, viewer  # noqa: PLC0415

    colour = sys.stdout.isatty()
    answer = Audience(click.echo, _approvals_command(directory)) if asks_me else Script(click.echo, _show_request)
    telling = story.Telling(click.echo, lambda trace: click.echo(_indented(render(trace, colour=colour))), answer)
    async with AsyncExitStack() as running:
        telling.say("callgate demo\n")
        shown = None
        if traces:
            web, grpc = story.free_ports(2)
            shown = await running.enter_async_context(viewer(directory, (web, grpc), telling.say))
        telemetry = _telemetry(shown.url if shown else None, PROJECT)
        running.push_async_callback(trio.to_thread.run_sync, telemetry.close)
        told = trio.Event()

        def record(trace: DecisionTrace) -> None:
            telemetry.record(trace)
            if told.is_set():
                telling.show(trace)

        stage = await running.enter_async_context(story.set_up(directory, telling, record))
        allowed, denied = await story.tell_story(stage, telling)
        if shown is not None:
            telling.say("\nThe two decisions in the trace viewer:")
            for word, trace in (("allowed", allowed), ("denied", denied)):
                await shown.wait_for(trace)
                telling.say(f"  {word:<8} {shown.address_of(trace)}")
        await _tell_of_the_record(telling.say, stage)
        if keep:
            _tell_how_to_call(telling.say, stage)
            told.set()
            await trio.sleep_forever()
        telling.say("\nThe same, left running to play with: callgate demo --keep")
        if not asks_me:
            telling.say("The same, with you as the person who approves: callgate demo --ask-me")


async def _tell_of_the_record(say: Callable[[str], None], stage: "Stage") -> None:
    """Verify the log as an auditor would."""
    folder = stage.directory / stage.config.audit.folder
    key = VerifierKey.parse((folder / "key.pub").read_text(encoding="ascii"))
    verdict = await trio.to_thread.run_sync(verify, folder, key)
    mark, word = ("✓", "whole") if verdict.is_whole else ("✗", "not whole")
    say(
        f"\n5  All of it is on record, and nobody can quietly change it.\n\n   {mark} {verdict.records} records, {word}"
    )


def _telemetry(otlp_url: str | None, project: str) -> Telemetry:
    if otlp_url is None:
        return Telemetry()
    resource = Resource({"service.name": "callgate", "openinference.project.name": project})
    return Telemetry(otlp_sink(otlp_url, resource))


def _tell_how_to_call(say: Callable[[str], None], stage: "Stage") -> None:
    admin = f"http://{stage.addresses.admin}"
    say(f"""
Everything is still running; Ctrl-C ends it.
  configuration   {stage.directory}/callgate.yaml, {stage.directory}/policy.yaml
  ready?          curl {admin}/readyz
  keys            curl {admin}/.well-known/jwks.json
  an agent        SPIFFE_ENDPOINT_SOCKET={stage.api.endpoint("refund-agent")} \\
                    uv run callgate dev call --gate {stage.api.workloads["gate"]} \\
                    {stage.url} get_invoice '{{"number": "INV-1001"}}'
  another one     the same with {stage.api.endpoint("auditor")}
  one that waits  the same with refund '{{"number": "INV-1001", "amount": 250}}'
  approve it      {_approvals_command(stage.directory).format("--watch")}
                  {_approvals_command(stage.directory).format("approve ID")}
  who did what    uv run callgate log -c {stage.directory}/callgate.yaml
  the sessions    uv run callgate session list -c {stage.directory}/callgate.yaml
  one of them     uv run callgate session show ID -c {stage.directory}/callgate.yaml \\
                    --identity {stage.directory}/auditor.txt
  is it whole?    uv run callgate audit verify {stage.directory}/audit --key {stage.directory}/audit/key.pub
Each call's decision path is printed here as it happens.
""")


def _approvals_command(directory: Path) -> str:
    return f"uv run callgate approvals -c {directory}/callgate.yaml {{}}"


def _show_request(request: JsonObject) -> None:
    click.echo(_indented("\n".join(as_lines(request))))


def _indented(text: str) -> str:
    return "\n".join(f"     {line}" for line in text.splitlines())
