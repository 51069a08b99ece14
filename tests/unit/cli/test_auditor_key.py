"""`callgate audit auditor-key`."""

import os
import stat
import subprocess
import sys
from pathlib import Path

from click.testing import CliRunner, Result

from callgate.audit.content import ContentStore, read
from callgate.audit.identities import load_identities
from callgate.cli.auditor_key import auditor_key

# No file may grow beyond 10 bytes.
_SHORT_OF_ROOM = """
import resource, sys
from callgate.cli.auditor_key import auditor_key
resource.setrlimit(resource.RLIMIT_FSIZE, (10, 10))
auditor_key([sys.argv[1]])
"""


def made(file: Path) -> Result:
    return CliRunner().invoke(auditor_key, [str(file)])


def test_what_is_encrypted_to_the_key_on_stdout_is_read_with_the_key_in_the_file(tmp_path: Path) -> None:
    result = made(tmp_path / "auditor.key")
    assert result.exit_code == 0
    digest = ContentStore(tmp_path / "audit", [result.stdout.strip()]).put(b"of interest")
    found = load_identities(tmp_path / "auditor.key")
    assert not found.warning
    assert read(tmp_path / "audit", digest, found.identities) == b"of interest"


def test_the_private_key_is_in_the_file_alone_and_the_file_its_owners(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        result = made(tmp_path / "auditor.key")
    finally:
        os.umask(before)
    assert "AGE-SECRET-KEY" not in result.output
    assert stat.S_IMODE((tmp_path / "auditor.key").stat().st_mode) == 0o600


def test_the_file_reads_like_one_of_age_keygen(tmp_path: Path) -> None:
    result = made(tmp_path / "auditor.key")
    created, public, secret = (tmp_path / "auditor.key").read_text().splitlines()
    assert created.startswith("# created: 20")
    assert public == f"# public key: {result.stdout.strip()}"
    assert secret.startswith("AGE-SECRET-KEY-1")


def test_a_file_that_exists_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "auditor.key").write_text("precious")
    result = made(tmp_path / "auditor.key")
    assert result.exit_code == 1
    assert "exists" in result.stderr
    assert (tmp_path / "auditor.key").read_text() == "precious"


def test_a_folder_that_is_not_there_is_told_in_one_sentence(tmp_path: Path) -> None:
    result = made(tmp_path / "nowhere" / "auditor.key")
    assert result.exit_code == 1
    assert "No such file or directory" in result.stderr


def test_a_key_that_could_not_be_written_whole_is_not_left_behind(tmp_path: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", _SHORT_OF_ROOM, tmp_path / "auditor.key"], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 1
    assert "cannot write" in ran.stderr
    assert "age1" not in ran.stdout
    assert list(tmp_path.iterdir()) == []
