"""A trace viewer for the demo: Arize Phoenix, in an environment of its own (docs/adr/0007)."""

import os
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import orjson
import trio

from callgate.errors import GatewayError
from callgate.trace import DecisionTrace

VERSION = "20.26.1"
PROJECT = "callgate-demo"
START_S = 120.0
# Phoenix takes spans in from a queue: a trace is there some moments after it was sent.
ARRIVAL_S = 30.0


class NoViewer(GatewayError):  # noqa: N818  # says what there is not
    """The viewer could not be installed or started."""


@dataclass(frozen=True, slots=True)
class Viewer:
    """A running Phoenix on loopback."""

    url: str

    def address_of(self, trace: DecisionTrace) -> str:
        """Where a person looks at that trace."""
        return f"{self.url}/redirects/traces/{trace.trace_id:032x}"

    async def wait_for(self, trace: DecisionTrace) -> None:
        """Until the trace can be looked at.  Raises NoViewer after `ARRIVAL_S`."""
        query = f"{self.url}/v1/projects/{PROJECT}/spans?trace_id={trace.trace_id:032x}"
        with trio.move_on_after(ARRIVAL_S):
            while not await trio.to_thread.run_sync(_has_spans, query):  # noqa: ASYNC110  # another process
                await trio.sleep(0.3)
            return
        raise NoViewer(f"the viewer did not take the trace within {ARRIVAL_S:g} s")


def environment() -> Path:
    """Where the viewer is installed, once for all demos of this user."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "callgate" / f"phoenix-{VERSION}"


async def install(say: Callable[[str], None]) -> Path:
    """The viewer's command, installed first where it is not there yet.  Raises NoViewer."""
    directory = environment()
    command = directory / "bin" / "phoenix"
    done = directory / "installed"
    if done.exists():
        return command
    say(f"  … installing Arize Phoenix {VERSION} into {directory} (once; some 600 MB)")
    uv = os.environ.get("UV") or shutil.which("uv")
    package = f"arize-phoenix=={VERSION}"
    if uv:
        await _run([uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(directory)])
        await _run([uv, "pip", "install", "--quiet", "--python", str(directory / "bin" / "python"), package])
    else:
        await _run([sys.executable, "-m", "venv", "--clear", str(directory)])
        await _run([str(directory / "bin" / "python"), "-m", "pip", "install", "--quiet", package])
    done.touch()
    return command


@asynccontextmanager
async def viewer(directory: Path, ports: tuple[int, int], say: Callable[[str], None]) -> AsyncIterator[Viewer]:
    """Run the viewer with its data in `directory`; `ports`: for its page with OTLP over HTTP, and for gRPC."""
    command = await install(say)
    url = f"http://127.0.0.1:{ports[0]}"
    settings = os.environ | {
        "PHOENIX_WORKING_DIR": str(directory),
        "PHOENIX_HOST": "127.0.0.1",
        "PHOENIX_PORT": str(ports[0]),
        "PHOENIX_GRPC_PORT": str(ports[1]),
        "PHOENIX_TELEMETRY_ENABLED": "false",
        "PHOENIX_ALLOW_EXTERNAL_RESOURCES": "false",
    }
    log = directory / "phoenix.log"
    with log.open("wb") as output:
        run = partial(
            trio.run_process,
            [str(command), "serve"],
            env=settings,
            stdout=output,
            stderr=subprocess.STDOUT,
            check=False,
        )
        async with trio.open_nursery() as nursery:
            process: trio.Process = await nursery.start(run)
            try:
                say("  … starting the trace viewer")
                await _wait_until_up(f"{url}/healthz", process, log)
                yield Viewer(url)
            finally:
                with suppress(ProcessLookupError):
                    process.terminate()


async def _wait_until_up(url: str, process: trio.Process, log: Path) -> None:
    with trio.move_on_after(START_S):
        while process.poll() is None:
            if await trio.to_thread.run_sync(_answers, url):
                return
            await trio.sleep(0.3)
    raise NoViewer(f"the trace viewer did not start; it said: {_tail(log)}")


async def _run(command: list[str]) -> None:
    done = await trio.run_process(command, capture_stdout=True, capture_stderr=True, check=False)
    if done.returncode:
        raise NoViewer(f"{' '.join(command)} failed: {done.stderr.decode(errors='replace').strip()[-500:]}")


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:  # noqa: S310  # our own loopback address
            return bool(answer.status == 200)
    except (OSError, urllib.error.URLError):
        return False


def _has_spans(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:  # noqa: S310  # our own loopback address
            return bool(orjson.loads(answer.read()).get("data"))
    except (OSError, urllib.error.URLError, orjson.JSONDecodeError):
        return False


def _tail(log: Path) -> str:
    return log.read_text(errors="replace").strip()[-500:]
