"""`callgate audit init` and `key`."""

import os
import stat
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from callgate.audit.checkpoint import CheckpointKey, VerifierKey
from callgate.cli.audit import audit

CONFIG = """
listen: 127.0.0.1:8443
workload_api: unix:///run/spire/agent.sock
issuer: https://gate.acme.test:8443
policy: policy.yaml
audit: {{{audit}}}
servers:
  ledger:
    url: http://127.0.0.1:9000/mcp
    token: {{audience: https://ledger.acme.test/mcp}}
"""


def run(*args: str | Path) -> Result:
    return CliRunner().invoke(audit, [str(arg) for arg in args])


def config(folder: Path, audit: str = "folder: log") -> Path:
    (folder / "callgate.yaml").write_text(CONFIG.format(audit=audit))
    return folder / "callgate.yaml"


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_key_is_made_where_the_configuration_says_and_called_as_it_says(tmp_path: Path) -> None:
    # The policy that it names need not be there yet.
    result = run("init", "-c", config(tmp_path))
    key = CheckpointKey.load((tmp_path / "log" / "key.pem").read_bytes(), "gate.acme.test:8443/audit")

    assert result.exit_code == 0
    assert result.stdout == (tmp_path / "log" / "key.pub").read_text() == f"{key.vkey}\n"
    assert VerifierKey.parse(result.stdout).origin == "gate.acme.test:8443/audit"


def test_the_key_may_be_kept_elsewhere(tmp_path: Path) -> None:
    result = run("init", "-c", config(tmp_path, "folder: log, key: keys/gate.pem, origin: acme/gate-1"))

    assert result.exit_code == 0
    assert sorted(path.name for path in (tmp_path / "keys").iterdir()) == ["gate.pem", "gate.pub"]
    assert VerifierKey.parse(result.stdout).origin == "acme/gate-1"
    assert list((tmp_path / "log").iterdir()) == []


def test_it_needs_no_configuration(tmp_path: Path) -> None:
    result = run("init", "--folder", tmp_path / "a" / "b", "--origin", "acme/gate-1")

    assert result.exit_code == 0
    assert VerifierKey.parse(result.stdout).origin == "acme/gate-1"


def test_folder_and_key_are_the_gates_alone_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        run("init", "--folder", tmp_path / "audit", "--origin", "acme/gate-1")
    finally:
        os.umask(before)

    assert mode(tmp_path / "audit") == 0o700
    assert mode(tmp_path / "audit" / "key.pem") == 0o600


def test_the_private_key_is_printed_nowhere(tmp_path: Path) -> None:
    result = run("init", "--folder", tmp_path / "audit", "--origin", "acme/gate-1")
    secret = (tmp_path / "audit" / "key.pem").read_text().splitlines()[1]

    assert secret not in result.output
    assert secret not in (tmp_path / "audit" / "key.pub").read_text()


def test_what_to_do_with_it_is_told_on_stderr(tmp_path: Path) -> None:
    result = run("init", "--folder", tmp_path / "audit", "--origin", "acme/gate-1")

    assert f"callgate audit verify {tmp_path / 'audit'} --key {result.stdout.strip()}" in result.stderr


def test_a_key_that_exists_is_not_overwritten(tmp_path: Path) -> None:
    run("init", "--folder", tmp_path / "audit", "--origin", "acme/gate-1")
    before = [path.read_bytes() for path in sorted((tmp_path / "audit").iterdir())]
    result = run("init", "--folder", tmp_path / "audit", "--origin", "acme/gate-2")

    assert result.exit_code == 1
    assert "key.pem exists" in result.stderr
    assert result.stdout == ""
    assert [path.read_bytes() for path in sorted((tmp_path / "audit").iterdir())] == before


def test_a_link_in_the_place_of_the_key_is_not_written_through(tmp_path: Path) -> None:
    (tmp_path / "audit").mkdir()
    (tmp_path / "audit" / "key.pem").symlink_to(tmp_path / "elsewhere")

    assert run("init", "--folder", tmp_path / "audit", "--origin", "acme/gate-1").exit_code == 1
    assert not (tmp_path / "elsewhere").exists()


def test_a_folder_that_is_open_to_others_is_told(tmp_path: Path) -> None:
    (tmp_path / "audit").mkdir(mode=0o755)
    result = run("init", "--folder", tmp_path / "audit", "--origin", "acme/gate-1")

    assert result.exit_code == 0
    assert "is open to others" in result.stderr


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["--folder", "x"], "need each other"),
        (["--origin", "x"], "need each other"),
        (["--folder", "x", "--origin", "x", "-c", "y"], "give the one or the other"),
        ([], "there is no callgate.yaml here"),
        (["--folder", "x", "--origin", "two words"], "no space"),
    ],
)
def test_a_wrong_command_line_exits_2_and_makes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, args: list[str], words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    result = run("init", *args)

    assert result.exit_code == 2
    assert words in result.stderr
    assert not list(tmp_path.rglob("key.*"))


def test_a_folder_that_cannot_be_made_exits_1(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    result = run("init", "--folder", tmp_path / "file" / "audit", "--origin", "acme/gate-1")

    assert result.exit_code == 1
    assert "cannot make" in result.stderr


class TestKey:
    def test_prints_the_public_half_of_the_key_that_is_configured(self, tmp_path: Path) -> None:
        made = run("init", "-c", config(tmp_path)).stdout
        (tmp_path / "log" / "key.pub").unlink()
        result = run("key", "-c", tmp_path / "callgate.yaml")

        assert result.exit_code == 0
        assert result.stdout == made

    def test_a_key_that_is_not_there_or_is_none_exits_1(self, tmp_path: Path) -> None:
        path = config(tmp_path)
        missing = run("key", "-c", path)
        (tmp_path / "log").mkdir()
        (tmp_path / "log" / "key.pem").write_text("none")
        broken = run("key", "-c", path)

        assert (missing.exit_code, broken.exit_code) == (1, 1)
        assert "make one with: callgate audit init" in missing.stderr
        assert "cannot be used" in broken.stderr
