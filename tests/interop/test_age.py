"""Recorded content and keys, against the age of the format's author (Go), not the library that the gate uses."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner

from callgate.audit.age import decrypt
from callgate.audit.content import ContentStore
from callgate.audit.identities import load_identities
from callgate.cli.auditor_key import auditor_key
from support.auditors import object_file, ssh_key

# A build takes seconds, after a download of 2 MB.
pytestmark = [pytest.mark.go, pytest.mark.timeout(300)]
MODULE = Path(__file__).with_name("age")
PLAINTEXT = b'{"at_us":0,"kind":"request","body":{}}\n' * 10_000


@dataclass(frozen=True)
class Age:
    """The two programs."""

    folder: Path

    def keygen(self, *args: str | Path) -> str:
        return self._run("age-keygen", *args).decode().strip()

    def decrypt(self, identity: Path, file: Path) -> bytes:
        return self._run("age", "--decrypt", "--identity", identity, file)

    def encrypt(self, recipient: str, plaintext: bytes) -> bytes:
        return self._run("age", "--recipient", recipient, given=plaintext)

    def _run(self, program: str, *args: str | Path, given: bytes = b"") -> bytes:
        return subprocess.run([self.folder / program, *args], input=given, stdout=subprocess.PIPE, check=True).stdout


@pytest.fixture(scope="module")
def age(tmp_path_factory: pytest.TempPathFactory) -> Age:
    folder = tmp_path_factory.mktemp("age")
    programs = ["filippo.io/age/cmd/age", "filippo.io/age/cmd/age-keygen"]
    build = ["go", "build", "-mod=readonly", "-buildvcs=false", "-o", f"{folder}/", *programs]
    subprocess.run(build, cwd=MODULE, check=True)
    return Age(folder)


def test_age_reads_what_the_gate_wrote_with_a_key_of_age_keygen(age: Age, tmp_path: Path) -> None:
    age.keygen("-o", tmp_path / "key.txt")
    store = ContentStore(tmp_path / "audit", [age.keygen("-y", tmp_path / "key.txt")])
    file = object_file(tmp_path / "audit", store.put(PLAINTEXT))
    assert age.decrypt(tmp_path / "key.txt", file) == PLAINTEXT


def test_age_reads_what_the_gate_wrote_with_an_ssh_key(age: Age, tmp_path: Path) -> None:
    private, public = ssh_key(tmp_path)
    file = object_file(tmp_path / "audit", ContentStore(tmp_path / "audit", [public]).put(PLAINTEXT))
    assert age.decrypt(private, file) == PLAINTEXT


def test_age_takes_an_auditors_key(age: Age, tmp_path: Path) -> None:
    made = CliRunner().invoke(auditor_key, [str(tmp_path / "auditor.key")])
    recipient = made.stdout.strip()
    assert age.keygen("-y", tmp_path / "auditor.key") == recipient
    file = object_file(tmp_path / "audit", ContentStore(tmp_path / "audit", [recipient]).put(PLAINTEXT))
    assert age.decrypt(tmp_path / "auditor.key", file) == PLAINTEXT


def test_an_auditor_reads_what_age_encrypted(age: Age, tmp_path: Path) -> None:
    age.keygen("-o", tmp_path / "key.txt")
    file = age.encrypt(age.keygen("-y", tmp_path / "key.txt"), PLAINTEXT)
    assert decrypt(file, load_identities(tmp_path / "key.txt").identities) == PLAINTEXT
