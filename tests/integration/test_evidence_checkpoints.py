"""Checkpoints leave the machine, wherever they are wanted: signed, true of the log, and up to its very end."""

import json
import signal
import threading
from base64 import b64decode
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from shutil import copytree

import pytest
import trio
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from callgate.dev.workload_api import DevWorkloadApi
from support.collector import Collector
from support.gate import WORKLOADS, context_of
from support.on_record import callgate, on_record, records_in, until
from support.raw_agent import RawAgent, modern_call
from support.serve_process import serving
from support.upstream import scripted_server

ORIGIN = "gate.acme.test/audit"


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", "OTEL_SDK_DISABLED"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@dataclass
class Keeper:
    """Somebody who keeps what is sent: `said` are (path, content type, body) of each request."""

    port: int
    said: list[tuple[str, str, str]] = field(default_factory=list)

    @property
    def notes(self) -> list[str]:
        return [body for _, _, body in self.said]


@contextmanager
def keeper() -> Iterator[Keeper]:
    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            found.said.append((self.path, self.headers["Content-Type"], body))
            self.send_response(204)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base class's name
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    found = Keeper(server.server_port)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield found
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def lines_of(folder: Path) -> list[bytes]:
    return b"".join(path.read_bytes() for path in sorted((folder / "log").iterdir())).splitlines()


def root_of(leaves: Sequence[bytes]) -> bytes:
    """RFC 6962, section 2.1, as it stands there."""
    if len(leaves) == 1:
        return sha256(b"\0" + leaves[0]).digest()
    split = 1 << (len(leaves) - 1).bit_length() - 1
    return sha256(b"\1" + root_of(leaves[:split]) + root_of(leaves[split:])).digest()


def size_in(note: str, vkey: str, lines: Sequence[bytes]) -> int:
    """How many records a checkpoint vouches for.  Fails unless key and log agree with it; by the C2SP formats alone."""
    name, key_id, key = vkey.split("+", 2)
    text, _, signatures = note.partition("\n\n")
    (signature,) = signatures.splitlines()
    dash, signer, blob = signature.split(" ")
    assert (dash, signer) == ("—", name)
    signed = b64decode(blob)
    public = b64decode(key)
    assert (signed[:4].hex(), public[:1]) == (key_id, b"\1")
    Ed25519PublicKey.from_public_bytes(public[1:]).verify(signed[4:], f"{text}\n".encode())
    origin, size, root = text.split("\n")
    assert (origin, name) == (ORIGIN, ORIGIN)
    assert b64decode(root) == root_of(lines[: int(size)])
    return int(size)


def vkey_of(folder: Path) -> str:
    return (folder / "key.pub").read_text().strip()


def notes_in(path: Path) -> list[str]:
    return [json.loads(line)["note"] for line in path.read_text().splitlines()]


async def test_a_second_path_and_a_url_have_checkpoints_that_verify_and_the_last_one_is_over_all(
    tmp_path: Path,
) -> None:
    other = tmp_path / "elsewhere.jsonl"
    with keeper() as witness:
        places = f"checkpoint_to: ['{other}', 'http://127.0.0.1:{witness.port}/callgate/gate-1']"
        async with on_record(tmp_path, audit=f"folder: audit, {places}") as at, at.agent() as agent:
            for tool in ("get_invoice", "wipe_ledger"):
                await agent.ask(modern_call(tool))
            # They go out while the gate runs.
            await until(lambda: other.exists() and bool(witness.said))
            await agent.ask(modern_call("refund"))
    lines, vkey = lines_of(at.folder), vkey_of(at.folder)
    for notes in (notes_in(other), witness.notes, [(at.folder / "checkpoint").read_text()]):
        sizes = [size_in(note, vkey, lines) for note in notes]
        assert sizes == sorted(sizes)
        # The gate's stop is the last record, and vouched for outside.
        assert sizes[-1] == len(lines)
    assert json.loads(lines[-1])["kind"] == "stop"
    assert {(path, kind) for path, kind, _ in witness.said} == {("/callgate/gate-1", "text/plain; charset=utf-8")}


async def test_a_checkpoint_is_made_within_a_second_or_so_of_a_record_and_none_while_nothing_happens(
    tmp_path: Path,
) -> None:
    async with on_record(tmp_path) as at, at.agent() as agent:
        await agent.ask(modern_call("get_invoice"))
        await at.calls(1)
        path = at.folder / "checkpoint"
        await until(lambda: path.exists() and int(path.read_text().split("\n")[1]) == len(lines_of(at.folder)))
        before = path.read_text(), sum(len(notes_in(file)) for file in (at.folder / "checkpoints").iterdir())
        # Longer than the second after which one would be due.
        await trio.sleep(1.5)
        after = path.read_text(), sum(len(notes_in(file)) for file in (at.folder / "checkpoints").iterdir())
    assert after == before


async def test_a_copy_of_the_log_whose_end_was_cut_off_is_found_by_a_checkpoint_that_was_kept(tmp_path: Path) -> None:
    other = tmp_path / "kept.jsonl"
    async with on_record(tmp_path, audit=f"folder: audit, checkpoint_to: ['{other}']") as at, at.agent() as agent:
        for _ in range(5):
            await agent.ask(modern_call("wipe_ledger"))
    key = ("--key", str(at.folder / "key.pub"))
    whole = await callgate("audit", "verify", str(at.folder), *key, "--checkpoint", str(other))
    assert whole.exit_code == 0, whole.output

    copy = tmp_path / "copy"
    copytree(at.folder, copy)
    (segment,) = (copy / "log").iterdir()
    lines = segment.read_bytes().splitlines(keepends=True)
    segment.write_bytes(b"".join(lines[:-3]))
    # Whoever cuts off the end takes the checkpoints beside it away, too.
    (copy / "checkpoint").unlink()
    for path in (copy / "checkpoints").iterdir():
        path.unlink()

    found = await callgate("audit", "verify", str(copy), *key, "--checkpoint", str(other))
    alone = await callgate("audit", "verify", str(copy), *key)
    assert found.exit_code == 1
    assert "cut_off" in found.stdout
    assert "cut_off" not in alone.stdout


async def test_a_collector_has_each_checkpoint_as_an_event_and_the_last_one_when_the_gate_was_stopped(
    tmp_path: Path,
) -> None:
    with (
        Collector() as collector,
        DevWorkloadApi(tmp_path / "spiffe", WORKLOADS, ttl_s=300, dns_names={"gate": ["localhost"]}) as api,
    ):
        async with (
            scripted_server() as upstream,
            serving(tmp_path, api.endpoint("gate"), upstream.url, f"telemetry: {{otlp: '{collector.url}'}}\n") as gate,
        ):
            port, _ = await gate.ready()
            async with RawAgent(port, await context_of(api, "billing")).connected() as agent:
                assert (await agent.ask(modern_call("get_invoice"))).status == 200
                await until(lambda: len(collector.logs) > 0)
                assert (await agent.ask(modern_call("refund"))).status == 200
            gate.process.send_signal(signal.SIGTERM)
            assert await gate.end(20) == 0
    folder = tmp_path / "audit"
    lines, vkey = lines_of(folder), vkey_of(folder)
    events = [log for log in collector.logs if log.event == "callgate.audit.checkpoint"]
    sizes = [size_in(event.body, vkey, lines) for event in events]
    assert sizes == sorted(sizes)
    assert sizes[-1] == len(lines)
    assert json.loads(lines[-1])["kind"] == "stop"
    assert [event.attributes["callgate.audit.size"] for event in events] == sizes
    assert {event.attributes["callgate.audit.origin"] for event in events} == {ORIGIN}
    assert {event.resource["service.name"] for event in events} == {"callgate"}


async def test_what_the_collector_kept_verifies_the_log_by_the_command_line(tmp_path: Path) -> None:
    """As an operator would: the body of the event, saved as it is, is a checkpoint file."""
    with keeper() as witness:
        audit = f"folder: audit, checkpoint_to: ['http://127.0.0.1:{witness.port}/']"
        async with on_record(tmp_path, audit=audit) as at, at.agent() as agent:
            await agent.ask(modern_call("get_invoice"))
    saved = tmp_path / "note.txt"
    saved.write_text(witness.notes[-1])
    verified = await callgate(
        *(
            "audit",
            "verify",
            str(at.folder),
            "--key",
            vkey_of(at.folder),
            "--checkpoint",
            str(saved),
            "--format",
            "json",
        )
    )
    told = json.loads(verified.stdout)
    assert verified.exit_code == 0, verified.output
    assert told["records"] == len(records_in(at.folder))
