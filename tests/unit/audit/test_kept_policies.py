import os
import stat
from hashlib import sha256
from pathlib import Path

import pytest

from callgate.audit.policies import KeptPolicy, NotKept, keep, kept
from callgate.policy.compile import Policy, load_policies
from callgate.wire.json_strict import JsonObject, JsonValue

POLICY = """\
version: 1
trust_domains: [acme.test]
grants:
  - {id: refunds, workloads: ["spiffe://acme.test/**"], server: ledger, tools: [refund]}
"""
MORE = "version: 1\ntrust_domains: [acme.test]\ngrants: []\n"
FILES = (("conf/policy.yaml", POLICY), ("conf/more-ä.yaml", MORE + "# ü\n"))


def digest_of(text: str) -> str:
    return sha256(text.encode()).hexdigest()


def record_of(said: list[dict[str, str]], digest: str = "sha256:00") -> JsonObject:
    files: list[JsonValue] = [dict(entry) for entry in said]
    return {"kind": "policy", "digest": digest, "files": files}


def test_what_is_kept_is_what_the_record_names_and_compiles_to_the_same_digest(tmp_path: Path) -> None:
    policy = load_policies(FILES)
    assert isinstance(policy, Policy)

    said = keep(tmp_path, FILES)

    assert said == [{"name": name, "sha256": digest_of(text)} for name, text in FILES]
    found = kept(tmp_path, record_of(said, policy.digest))
    assert found == KeptPolicy(policy.digest, FILES)
    again = load_policies(found.files)
    assert isinstance(again, Policy)
    assert again.digest == policy.digest


def test_each_text_stands_under_its_own_digest_readable_by_its_owner_alone(tmp_path: Path) -> None:
    keep(tmp_path, FILES)

    found = {path.name: path.read_text() for path in (tmp_path / "policies").iterdir()}
    assert found == {f"{digest_of(text)}.yaml": text for _, text in FILES}
    for path in (tmp_path / "policies").iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_the_same_policy_again_writes_nothing(tmp_path: Path) -> None:
    first = keep(tmp_path, FILES)
    before = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "policies").iterdir()}

    assert keep(tmp_path, FILES) == first

    assert {path.name: path.stat().st_mtime_ns for path in (tmp_path / "policies").iterdir()} == before


def test_a_text_that_was_changed_meanwhile_is_written_again(tmp_path: Path) -> None:
    said = keep(tmp_path, FILES)
    path = tmp_path / "policies" / f"{said[0]['sha256']}.yaml"
    path.write_text(POLICY.replace("refund", "rebate"))

    keep(tmp_path, FILES)

    assert path.read_text() == POLICY


def test_what_a_killed_gate_left_half_written_is_no_hindrance(tmp_path: Path) -> None:
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies" / f"{digest_of(POLICY)}.new").write_text("version")

    said = keep(tmp_path, FILES[:1])

    assert kept(tmp_path, record_of(said)) == KeptPolicy("sha256:00", FILES[:1])
    assert sorted(path.name for path in (tmp_path / "policies").iterdir()) == [f"{digest_of(POLICY)}.yaml"]


def test_text_and_names_are_on_disk_before_it_returns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Contents first, then the rename, then the folder that has the name; a new folder's own name, too."""
    done: list[str] = []
    fdatasync, fsync, replace = os.fdatasync, os.fsync, Path.replace

    def note(what: str, descriptor: int) -> None:
        done.append(f"{what} {Path(f'/proc/self/fd/{descriptor}').readlink().name}")

    def contents(descriptor: int) -> None:
        note("contents", descriptor)
        fdatasync(descriptor)

    def folder(descriptor: int) -> None:
        note("folder", descriptor)
        fsync(descriptor)

    def renamed(path: Path, target: Path) -> Path:
        done.append(f"rename {path.name}")
        return replace(path, target)

    monkeypatch.setattr(os, "fdatasync", contents)
    monkeypatch.setattr(os, "fsync", folder)
    monkeypatch.setattr(Path, "replace", renamed)

    keep(tmp_path, FILES[:1])

    new = f"{digest_of(POLICY)}.new"
    assert done == [f"folder {tmp_path.name}", f"contents {new}", f"rename {new}", "folder policies"]


def test_a_changed_text_is_not_passed_off_as_the_policy_of_then(tmp_path: Path) -> None:
    said = keep(tmp_path, FILES)
    (tmp_path / "policies" / f"{said[1]['sha256']}.yaml").write_text(MORE)

    found = kept(tmp_path, record_of(said))

    assert isinstance(found, NotKept)
    assert "has been changed" in found.why


def test_a_pipe_in_place_of_a_text_keeps_nobody_waiting(tmp_path: Path) -> None:
    said = keep(tmp_path, FILES)
    path = tmp_path / "policies" / f"{said[1]['sha256']}.yaml"
    path.unlink()
    os.mkfifo(path)

    assert isinstance(kept(tmp_path, record_of(said)), NotKept)


def test_a_missing_text_is_told_by_its_name(tmp_path: Path) -> None:
    said = keep(tmp_path, FILES)
    (tmp_path / "policies" / f"{said[1]['sha256']}.yaml").unlink()

    found = kept(tmp_path, record_of(said))

    assert isinstance(found, NotKept)
    assert f"{said[1]['sha256']}.yaml: No such file" in found.why


@pytest.mark.parametrize(
    "record",
    [
        {},
        {"digest": "sha256:00"},
        {"digest": "sha256:00", "files": []},
        {"digest": "sha256:00", "files": ["policy.yaml"]},
        {"digest": "sha256:00", "files": [{"name": "policy.yaml"}]},
        {"digest": "sha256:00", "files": [{"sha256": "a" * 64}]},
        {"digest": 7, "files": [{"name": "policy.yaml", "sha256": "a" * 64}]},
    ],
)
def test_a_record_that_does_not_say_what_to_read_is_no_policy(tmp_path: Path, record: JsonObject) -> None:
    assert isinstance(kept(tmp_path, record), NotKept)


def test_a_record_names_no_file_outside_the_folder(tmp_path: Path) -> None:
    (tmp_path / "policies").mkdir()
    (tmp_path / "other.yaml").write_text(POLICY)

    found = kept(tmp_path, {"digest": "sha256:00", "files": [{"name": "policy.yaml", "sha256": "../other"}]})

    assert isinstance(found, NotKept)
    assert "no SHA-256" in found.why
