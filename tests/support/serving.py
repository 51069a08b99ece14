"""Small real servers on loopback for tests: an ASGI app, a JSON document, the demo's ledger as its own process."""

import asyncio
import json
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import uvicorn
from starlette.types import ASGIApp

END_S = 10


@contextmanager
def app_served(app: ASGIApp, **tls: object) -> Iterator[int]:
    """Serve an ASGI app on a thread and yield its port.  `tls`: uvicorn's ssl_* settings."""
    # The socket listens from here on: whoever connects before uvicorn is up waits in its queue.
    listener = socket.create_server(("127.0.0.1", 0))
    port = int(listener.getsockname()[1])
    config = uvicorn.Config(app, log_config=None, access_log=False, timeout_graceful_shutdown=1, **tls)  # type: ignore[arg-type]
    server = uvicorn.Server(config)
    thread = threading.Thread(target=lambda: asyncio.run(server.serve([listener])))
    thread.start()
    try:
        yield port
    finally:
        server.should_exit = True
        thread.join(END_S)


@contextmanager
def document_served(document: Mapping[str, object]) -> Iterator[str]:
    """Serve one JSON document at every path and yield a URL of it."""
    body = json.dumps(document).encode()

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base class's name
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/.well-known/jwks.json"
    finally:
        server.shutdown()
        thread.join(END_S)
        server.server_close()


@dataclass(frozen=True, slots=True)
class LedgerProcess:
    """A running `python -m callgate.dev.ledger`."""

    child: subprocess.Popen[str]
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/mcp"

    def end(self) -> tuple[int, str, str]:
        """SIGTERM; the exit code, and what it still said on standard output and standard error."""
        self.child.send_signal(signal.SIGTERM)
        output, errors = self.child.communicate(timeout=END_S)
        return self.child.returncode, output, errors


# The ledger, unchanged, on a machine whose clock is ahead.
_AHEAD = """
import runpy, time
true_time = time.time
time.time = lambda: true_time() + {ahead_s}
runpy.run_module("callgate.dev.ledger", run_name="__main__", alter_sys=True)
"""


@contextmanager
def ledger_served(
    issuer: str, jwks_uri: str, audience: str, *, clock_ahead_s: float | None = None
) -> Iterator[LedgerProcess]:
    """Start the ledger, wait for its ready line, end it by its process id."""
    options = ["--port", "0", "--issuer", issuer, "--jwks-uri", jwks_uri, "--audience", audience]
    program = ["-m", "callgate.dev.ledger"] if clock_ahead_s is None else ["-c", _AHEAD.format(ahead_s=clock_ahead_s)]
    command = [sys.executable, *program, *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
        try:
            assert child.stdout is not None
            word, _, port = child.stdout.readline().partition(" ")
            assert word == "ready", child.communicate(timeout=END_S)
            yield LedgerProcess(child, int(port))
        finally:
            child.kill()
