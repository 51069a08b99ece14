"""A part of callgate.yaml that people cannot be asked with ends the start, with one sentence for whoever started the gate."""

import os
import re
import socket
import sqlite3
import stat
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click
import pytest
import trio
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat

from callgate.cli.files import open_files
from callgate.cli.running import run
from callgate.cli.serve import run_gate
from support.pki import name
from support.serve_process import CALLGATE, START_S, serving, write_files

# A gate that starts after all is the test's failure.
PATIENCE_S = 20.0
WEBHOOK = "webhooks: [{name: ops, url: 'https://hooks.acme.test/x', secret_file: hook}]"
WEBHOOK_CA = WEBHOOK.replace("hook}", "hook, ca_file: ca.pem}")
SLACK = "slack: {channel: C0123456789, token_file: token, signing_secret_file: signing}"
SIGN_IN = "sign_in: {issuer: 'https://idp.acme.test', client_id: callgate, client_secret_file: client}"
SIGN_IN_CA = SIGN_IN.replace("client}", "client, ca_file: ca.pem}")
SOCKET = "socket: {path: s.sock}"
GOOD = {"hook": "whsec_" + "A" * 32, "token": "xoxb-1234567890", "signing": "a" * 32, "client": "s3cret"}
TLS = "{listen: '127.0.0.1:0', tls: {certificate: cert.pem, key: key.pem}}"

Prepare = Callable[[Path], object]


def writes(**content: str) -> Prepare:
    """Files of secrets by their names; "_" stands for a dot."""

    def prepare(folder: Path) -> None:
        for file_name, text in content.items():
            path = folder / file_name.replace("_", ".")
            path.write_text(text)
            path.chmod(0o600)

    return prepare


def folder_at(file_name: str) -> Prepare:
    return lambda folder: (folder / file_name).mkdir(mode=0o700)


def pipe_at(file_name: str) -> Prepare:
    return lambda folder: os.mkfifo(folder / file_name, 0o600)


def both(*prepared: Prepare) -> Prepare:
    def prepare(folder: Path) -> None:
        for each in prepared:
            each(folder)

    return prepare


def nothing(_folder: Path) -> None:
    pass


# What is wrong, what the configuration says of approvals, and the sentence that it ends with.
OF_APPROVALS = [
    ("no secret of a webhook", WEBHOOK, nothing, r"F/hook: a secret cannot be read: No such file or directory"),
    ("a webhook's secret that is none", WEBHOOK, writes(hook="hunter2"), r"F/hook: must hold one secret, .*whsec_.*"),
    ("an empty one", WEBHOOK, writes(hook=""), r"F/hook: must hold one secret, .*"),
    ("a folder for one", WEBHOOK, folder_at("hook"), r"F/hook: a secret cannot be read: Is a directory"),
    ("a pipe for one", WEBHOOK, pipe_at("hook"), r"F/hook: a secret stands in a plain file, and this is none"),
    ("no authorities", WEBHOOK_CA, writes(**GOOD), r"F/ca\.pem: authorities cannot be read: No such file or directory"),
    ("authorities that are none", WEBHOOK_CA, writes(**GOOD, ca_pem="x"), r"F/ca\.pem: holds no certificates .*"),
    ("no secrets of Slack", SLACK, nothing, r"F/signing: a secret cannot be read: No such file or directory"),
    ("a token that is none", SLACK, writes(**GOOD | {"token": "hunter2"}), r"F/token: must hold one line, .*bot token.*"),
    ("a signing secret that is none", SLACK, writes(**GOOD | {"signing": "hunter2"}), r"F/signing: must hold one line, .*"),
    ("a pipe for a token", SLACK, both(writes(signing="a" * 32), pipe_at("token")), r"F/token: .* plain file, .*"),
    ("no client secret", SIGN_IN, nothing, r"F/client: a secret cannot be read: No such file or directory"),
    ("a client secret of two lines", SIGN_IN, writes(client="a\nhunter2"), r"F/client: not one line of .*"),
    ("no authorities of a provider", SIGN_IN_CA, writes(**GOOD), r"F/ca\.pem: authorities cannot be read: .*"),
    ("a provider's that are none", SIGN_IN_CA, writes(**GOOD, ca_pem="x"), r"F/ca\.pem: holds no certificates .*"),
    ("a path too long for a socket", f"socket: {{path: {'x' * 120}}}", nothing, r"the path of a socket has at most 107 .*"),
    ("a file for a socket", SOCKET, writes(s_sock="x"), r"something else than a socket of this user is at F/s\.sock; .*"),
    ("no folder of a socket", "socket: {path: a/s}", nothing, r"cannot listen at F/a/s: No such file or directory"),
    ("a user that is none", "socket: {users: [n0b0dy]}", nothing, r"approvals\.socket\.users: this machine has no user n0b0dy"),
    ("a file for the folder", "keep: 1h", writes(approvals="x"), r"cannot open F/approvals/approvals\.db: .* it is none"),
    ("a folder that cannot be made", "folder: /proc/a/b", nothing, r"cannot open /proc/a/b/approvals\.db: .*No such file.*"),
]  # fmt: skip


def kept(file_name: str, prepare: Callable[[Path], object]) -> Prepare:
    """Something in the folder of approvals."""

    def prepared(folder: Path) -> None:
        (folder / "approvals").mkdir(mode=0o700)
        path = folder / "approvals" / file_name
        if file_name == "approvals.db":
            path.touch(mode=0o600)
        prepare(path)

    return prepared


def sql(*statements: str) -> Callable[[Path], object]:
    def write(path: Path) -> None:
        with sqlite3.connect(path) as database:
            for statement in statements:
                database.execute(statement)
        database.close()

    return write


def linked(path: Path) -> None:
    path.unlink()
    path.symlink_to("elsewhere")


OF_THE_STORE = [
    ("a folder that others can read", lambda f: (f / "approvals").mkdir(mode=0o755), r"the folder F/approvals must .*chmod 700 .*"),
    ("a file that others can read", kept("approvals.db", lambda path: path.chmod(0o640)), r"F/.*approvals\.db must .*: chmod 600 .*"),
    ("a link", kept("approvals.db", linked), r"F/approvals/approvals\.db is no plain file"),
    ("no database", kept("approvals.db", lambda path: path.write_text("x" * 4096)), r"cannot open .*F/.*: file is not a database"),
    ("a newer gate's", kept("approvals.db", sql("PRAGMA user_version = 7")), r"F/.* was written by a newer callgate .*"),
    ("another program's", kept("approvals.db", sql("PRAGMA user_version = -1")), r"F/.* was not written by callgate; .*"),
    ("another program's tables", kept("approvals.db", sql("CREATE TABLE requests (x)")), r"cannot open .*F/.*: table requests .*"),
    ("no tables", kept("approvals.db", sql("CREATE TABLE x (x)", "PRAGMA user_version = 1")), r"cannot open .*F/.*: no such table.*"),
    ("a folder for the journal", kept("approvals.db-wal", lambda path: path.mkdir()), r"cannot open .*F/.*: disk I/O error"),
]  # fmt: skip


def certificate_of(key: ec.EllipticCurvePrivateKey) -> bytes:
    now = datetime.now(UTC)
    made = x509.CertificateBuilder(name("gate"), name("gate"), key.public_key(), x509.random_serial_number())
    made = made.not_valid_before(now - timedelta(hours=1)).not_valid_after(now + timedelta(hours=1))
    return made.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)


def pem(key: ec.EllipticCurvePrivateKey, password: bytes = b"") -> bytes:
    encryption = BestAvailableEncryption(password) if password else NoEncryption()
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)


def tls_files(folder: Path, certificate: bytes, key: bytes) -> None:
    (folder / "cert.pem").write_bytes(certificate)
    (folder / "key.pem").write_bytes(key)


def mismatched(folder: Path) -> None:
    one, other = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    tls_files(folder, certificate_of(one), pem(other))


def encrypted(folder: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    tls_files(folder, certificate_of(key), pem(key, b"hunter2"))


OF_TLS = [
    ("no files", nothing, r"admin\.tls: .* cannot be used: F/cert\.pem: No such file or directory"),
    ("a key of another certificate", mismatched, r"admin\.tls: .* cannot be used: the key is not that of the certificate"),
    ("a key with a password", encrypted, r"admin\.tls: .* cannot be used: .* not encrypted"),
    ("no PEM", lambda folder: tls_files(folder, b"x", b"y"), r"admin\.tls: .* cannot be used: .* in PEM .*"),
]  # fmt: skip


def sentence_of(path: Path) -> str:
    """How the start ends; the folder of callgate.yaml is F in it.  Anything but one told sentence is raised."""

    async def start() -> None:
        with trio.fail_after(PATIENCE_S):
            await run_gate(open_files(path))

    with pytest.raises(click.ClickException) as told:
        run(start)
    assert told.value.exit_code == 1
    return told.value.message.replace(str(path.parent), "F")


def configured(folder: Path, approvals: str = "keep: 1h", admin: str | None = None) -> Path:
    path = write_files(folder, "unix:///nobody/listens.sock", "http://127.0.0.1:9", f"approvals: {{{approvals}}}\n")
    if admin is not None:
        path.write_text(path.read_text().replace("admin: {listen: '127.0.0.1:0'}", f"admin: {admin}"))
    return path


def check(sentence: str, pattern: str) -> None:
    assert re.fullmatch(pattern, sentence), sentence
    assert "\n" not in sentence
    assert "hunter2" not in sentence


@pytest.mark.parametrize(
    ("said", "prepare", "pattern"), [row[1:] for row in OF_APPROVALS], ids=[row[0] for row in OF_APPROVALS]
)
def test_what_cannot_be_used_for_approvals_ends_the_start_in_one_sentence(
    tmp_path: Path, said: str, prepare: Prepare, pattern: str
) -> None:
    path = configured(tmp_path, said)
    prepare(tmp_path)
    check(sentence_of(path), pattern)


@pytest.mark.parametrize(
    ("prepare", "pattern"), [row[1:] for row in OF_THE_STORE], ids=[row[0] for row in OF_THE_STORE]
)
def test_a_store_that_cannot_be_used_ends_the_start_in_one_sentence(
    tmp_path: Path, prepare: Prepare, pattern: str
) -> None:
    path = configured(tmp_path)
    prepare(tmp_path)
    check(sentence_of(path), pattern)


@pytest.mark.parametrize(("prepare", "pattern"), [row[1:] for row in OF_TLS], ids=[row[0] for row in OF_TLS])
def test_a_certificate_that_cannot_be_used_ends_the_start_in_one_sentence(
    tmp_path: Path, prepare: Prepare, pattern: str
) -> None:
    path = configured(tmp_path, admin=TLS)
    prepare(tmp_path)
    check(sentence_of(path), pattern)


def test_a_port_that_is_taken_ends_the_start_in_one_sentence(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        path = configured(tmp_path, admin=f"{{listen: '127.0.0.1:{port}'}}")
        check(sentence_of(path), rf"cannot listen on 127\.0\.0\.1:{port}: Address already in use")


def test_a_socket_of_a_running_gate_ends_the_start_in_one_sentence(tmp_path: Path) -> None:
    path = configured(tmp_path, SOCKET)
    with socket.socket(socket.AF_UNIX) as running:
        running.bind(str(tmp_path / "s.sock"))
        running.listen()
        check(sentence_of(path), r"another process listens at F/s\.sock")


@contextmanager
def locked(path: Path) -> Iterator[None]:
    database = sqlite3.connect(path, isolation_level=None)
    database.execute("BEGIN EXCLUSIVE")
    try:
        yield
    finally:
        database.close()


def test_a_store_that_another_program_keeps_to_itself_ends_the_start_in_one_sentence(tmp_path: Path) -> None:
    path = configured(tmp_path)
    kept("approvals.db", nothing)(tmp_path)
    with locked(tmp_path / "approvals" / "approvals.db"):
        check(sentence_of(path), r"cannot open .*F/approvals/approvals\.db: database is locked")


def test_the_command_says_it_on_standard_error_and_exits_1(tmp_path: Path) -> None:
    path = configured(tmp_path, SIGN_IN)
    done = subprocess.run([CALLGATE, "serve", "-c", path], capture_output=True, timeout=START_S, check=False, text=True)
    assert done.returncode == 1
    assert (
        done.stderr.splitlines()[-1] == f"Error: {tmp_path}/client: a secret cannot be read: No such file or directory"
    )
    assert "Traceback" not in done.stderr


async def test_a_gate_starts_while_its_provider_its_receivers_and_slack_are_down(tmp_path: Path) -> None:
    down = "http://127.0.0.1:9"
    sign_in = f"sign_in: {{issuer: '{down}', client_id: callgate}}"
    webhook, slack = WEBHOOK.replace("https://hooks.acme.test", down), SLACK.replace("}", f", api: '{down}'}}")
    writes(**GOOD)(tmp_path)
    more = f"approvals: {{{sign_in}, {webhook}, {slack}}}\n"
    async with serving(tmp_path, "unix:///nobody/listens.sock", down, more) as gate:
        await gate.ports()
        await gate.line("sign-in: keys: unavailable")
        gate.process.terminate()
        assert await gate.end(START_S) == 0


async def test_users_of_the_socket_can_go_through_the_folder_and_see_nothing_in_it(tmp_path: Path) -> None:
    more = "approvals: {socket: {users: [daemon]}}\n"
    async with serving(tmp_path, "unix:///nobody/listens.sock", "http://127.0.0.1:9", more) as gate:
        await gate.ports()
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "approvals").iterdir()}
        assert stat.S_IMODE((tmp_path / "approvals").stat().st_mode) == 0o711
        assert modes.pop("admin.sock") == 0o666
        assert set(modes.values()) == {0o600}
        gate.process.terminate()
        assert await gate.end(START_S) == 0
