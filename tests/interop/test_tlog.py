"""The log and its proofs, verified with what Go verifies its checksum database with (golang.org/x/mod/sumdb)."""

import random
import subprocess
from base64 import b64encode
from dataclasses import dataclass
from pathlib import Path

import pytest

from callgate.audit.checkpoint import Checkpoint, CheckpointKey
from callgate.audit.merkle import Tree, leaf_hash
from callgate.audit.places import Places
from callgate.audit.proving import prove
from callgate.audit.verify import verify
from support.tampering import KEY, OTHER_KEY, LogFiles, made_log

# A build takes seconds, after a download of 0.1 MB.
pytestmark = [pytest.mark.go, pytest.mark.timeout(300)]
MODULE = Path(__file__).with_name("tlog")


@dataclass(frozen=True)
class Verifier:
    """The program in Go."""

    path: Path

    def __call__(self, *args: str | Path) -> bytes:
        """What it says; CalledProcessError where it does not verify."""
        return subprocess.run([self.path, *args], capture_output=True, check=True).stdout

    def refuses(self, *args: str | Path) -> str:
        """Why it does not verify."""
        ran = subprocess.run([self.path, *args], capture_output=True, check=False, text=True)
        assert ran.returncode == 1
        return ran.stderr


@pytest.fixture(scope="module")
def verifier(tmp_path_factory: pytest.TempPathFactory) -> Verifier:
    path = tmp_path_factory.mktemp("go") / "verifier"
    subprocess.run(["go", "build", "-mod=readonly", "-buildvcs=false", "-o", path, "."], cwd=MODULE, check=True)
    return Verifier(path)


@pytest.fixture(scope="module")
def files() -> LogFiles:
    return LogFiles.of(made_log(300), segment_records=100, every=37)


@pytest.fixture(scope="module")
def log(files: LogFiles, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return files.write(tmp_path_factory.mktemp("log") / "audit")


def said(size: int, root: bytes) -> bytes:
    return f"{size} {b64encode(root).decode()}\n".encode()


def checkpoint_of(note: str) -> Checkpoint:
    found = KEY.verifier.verify(note)
    assert isinstance(found, Checkpoint)
    return found


def file_of(folder: Path, name: str, text: str) -> Path:
    (folder / name).write_text(text)
    return folder / name


def test_the_root_of_the_files_is_the_one_that_was_signed(verifier: Verifier, log: Path, files: LogFiles) -> None:
    latest = Path(Places(log).checkpoint)
    signed = checkpoint_of(latest.read_text())

    assert signed.size == files.size
    assert verifier("root", log) == verifier("checkpoint", KEY.vkey, latest) == said(signed.size, signed.root)


def test_a_key_that_was_just_made_and_its_checkpoint_verify(verifier: Verifier, tmp_path: Path) -> None:
    key = CheckpointKey.generate("gate.acme.test:8443/audit")

    assert verifier("checkpoint", key.vkey, file_of(tmp_path, "note", key.sign(7, bytes(32)))) == said(7, bytes(32))


def test_a_checkpoint_that_was_edited_or_that_another_key_signed_does_not_verify(
    verifier: Verifier, tmp_path: Path
) -> None:
    edited = file_of(tmp_path, "edited", KEY.sign(7, bytes(32)).replace("\n7\n", "\n8\n"))
    other = file_of(tmp_path, "other", OTHER_KEY.sign(7, bytes(32)))

    assert "invalid signature" in verifier.refuses("checkpoint", KEY.vkey, edited)
    assert "no verifiable signatures" in verifier.refuses("checkpoint", KEY.vkey, other)


def test_the_proof_of_each_record_verifies_and_proves_its_line(
    verifier: Verifier, log: Path, files: LogFiles, tmp_path: Path
) -> None:
    lines = files.lines
    chosen = [0, 1, 99, 100, 101, files.size - 1, *random.Random(5).sample(range(files.size), 40)]  # noqa: S311
    for number in chosen:
        proof, _ = prove(log, KEY.verifier, number)
        assert verifier("inclusion", KEY.vkey, file_of(tmp_path, "proof", str(proof))) == lines[number]


def test_a_proof_of_another_record_does_not_verify(verifier: Verifier, log: Path, tmp_path: Path) -> None:
    text = str(prove(log, KEY.verifier, 41)[0])

    assert verifier.refuses("inclusion", KEY.vkey, file_of(tmp_path, "p", text.replace("index 41", "index 42")))


def subproof(old: int, first: int, last: int, *, whole: bool) -> list[tuple[int, int]]:
    """RFC 6962, section 2.1.2: SUBPROOF(m, D[n], b), as the leaves whose hashes it takes."""
    if old == last - first:
        return [] if whole else [(first, last)]
    middle = first + (1 << ((last - first - 1).bit_length() - 1))
    if old <= middle - first:
        return [*subproof(old, first, middle, whole=whole), (middle, last)]
    return [*subproof(old - (middle - first), middle, last, whole=False), (first, middle)]


def test_each_checkpoint_continues_the_ones_before_it(verifier: Verifier, files: LogFiles, tmp_path: Path) -> None:
    notes = [note for _, notes in sorted(files.notes.items()) for note in notes]
    leaves = [leaf_hash(line) for line in files.lines]
    pairs = [(old, new) for index, old in enumerate(notes) for new in notes[index:]]
    for old_note, new_note in pairs:
        old, new = checkpoint_of(old_note), checkpoint_of(new_note)
        path = [root(leaves[first:last]) for first, last in subproof(old.size, 0, new.size, whole=True)]
        given = (file_of(tmp_path, "old", old_note), file_of(tmp_path, "new", new_note))
        proof = "".join(b64encode(each).decode() + "\n" for each in path)

        assert verifier("consistency", KEY.vkey, *given, file_of(tmp_path, "proof", proof)) == b""
        forged = f"{proof}{b64encode(bytes(32)).decode()}\n"
        assert verifier.refuses("consistency", KEY.vkey, *given, file_of(tmp_path, "proof", forged))


def test_the_log_that_a_rewriter_leaves_has_another_root(verifier: Verifier, tmp_path: Path) -> None:
    files = LogFiles.of(made_log(30), segment_records=10, every=7)
    files.rewrite(20, caller="spiffe://acme.test/else")
    folder = files.write(tmp_path / "audit")
    signed = verifier("checkpoint", KEY.vkey, Path(Places(folder).checkpoint))

    assert verifier("root", folder) != signed
    assert not verify(folder, KEY.verifier).is_whole


def root(leaves: list[bytes]) -> bytes:
    tree = Tree()
    for leaf in leaves:
        tree.append(leaf)
    return tree.root()
