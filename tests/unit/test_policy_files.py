"""What of a folder counts as the policy, how much of it is read, and what changes can be seen."""

import os
import subprocess
from pathlib import Path

import pytest

from callgate.policy.compile import Policy
from callgate.policy_files import PolicyFiles, in_one_line, policy_files
from callgate.yaml_strict import Problem
from support.policies import WAYS, ConfigMap, digest_of, numbered

SERVERS = frozenset({"ledger"})


def part(rule: str) -> str:
    """A policy file with a rule of that name."""
    return numbered(0).replace("id: billing", f"id: {rule}").replace("nobody-", f"{rule}-")


def loaded(folder: Path, *names: str) -> Policy:
    found = policy_files(folder, names, SERVERS).load()
    assert isinstance(found, Policy), found
    return found


def told(folder: Path, *names: str) -> list[str]:
    found = policy_files(folder, names, SERVERS).load()
    assert isinstance(found, tuple), found
    return [str(problem).replace(f"{folder}/", "") for problem in found]


def write(folder: Path, *names: str) -> None:
    for number, name in enumerate(names):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(part(f"r{number}"))


def test_one_file_is_its_own_digest(tmp_path: Path) -> None:
    (tmp_path / "policy.yaml").write_text(numbered(3))
    assert loaded(tmp_path, "policy.yaml").digest == digest_of(numbered(3))


def test_a_folder_is_all_its_yaml_files_and_no_hidden_one(tmp_path: Path) -> None:
    write(tmp_path, "b.yaml", "a.yml", "c.yaml", ".d.yaml", "e.yaml~", "f.txt", ".c.yaml.swp", "g.yaml.bak")
    (tmp_path / "..2026").mkdir()
    assert loaded(tmp_path.parent, tmp_path.name).count("grant") == 3


def test_the_digest_of_a_folder_is_what_sha256sum_says_of_its_files_in_order_of_name(tmp_path: Path) -> None:
    write(tmp_path, "b.yaml", "a.yaml", "c.yaml")
    command = ["sha256sum", "a.yaml", "b.yaml", "c.yaml"]
    sums = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert loaded(tmp_path, ".").digest == digest_of(sums)


def test_a_list_adds_up(tmp_path: Path) -> None:
    write(tmp_path, "base.yaml", "teams/a.yaml", "teams/b.yaml", "other/c.yaml")
    assert loaded(tmp_path, "base.yaml", "teams").count("grant") == 3


def test_tells_what_is_wrong_in_each_file(tmp_path: Path) -> None:
    write(tmp_path, "a.yaml", "b.yaml", "d.yaml")
    (tmp_path / "a.yaml").write_text("")
    (tmp_path / "b.yaml").write_text(part("b").replace("server: ledger", "server: mail"))
    (tmp_path / "c.yaml").symlink_to("nowhere")
    (tmp_path / "d.yaml").write_text(part("d").replace("grants:", "grant:"))
    (tmp_path / "empty").mkdir()
    found = told(tmp_path, ".", "empty", "gone")
    assert sorted(line.split(": ")[0] for line in found) == [
        "a.yaml:1:1",
        "b.yaml:11:13",
        "b.yaml:7:13",
        "c.yaml",
        "d.yaml:4:1",
        "empty",
        "gone",
    ]


def test_a_file_that_cannot_be_read_leaves_no_policy_of_the_others(tmp_path: Path) -> None:
    write(tmp_path, "a.yaml")
    (tmp_path / "b.yaml").symlink_to("nowhere")
    assert told(tmp_path, ".") == ["b.yaml: cannot be read: No such file or directory"]


def test_takes_a_hundred_files_and_no_more(tmp_path: Path) -> None:
    write(tmp_path, *(f"{number}.yaml" for number in range(100)))
    assert loaded(tmp_path, ".").count("grant") == 100
    (tmp_path / "last.yaml").write_text(part("last"))
    assert told(tmp_path, ".") == [f"{tmp_path}: makes more than 100 policy files"]
    assert told(tmp_path, ".", "last.yaml") == ["last.yaml: makes more than 100 policy files"]


def test_takes_four_mebibytes_together_and_no_more(tmp_path: Path) -> None:
    write(tmp_path, "a.yaml", "b.yaml")
    for name in ("a.yaml", "b.yaml"):
        with (tmp_path / name).open("a") as file:
            file.write("#" * (2 * 1024 * 1024 - file.tell()))
    assert loaded(tmp_path, ".").count("grant") == 2
    with (tmp_path / "b.yaml").open("a") as file:
        file.write("#")
    assert told(tmp_path, ".") == ["b.yaml: is larger than 2097152 bytes; the others leave no more of 4 MiB"]


def test_lists_no_folder_of_any_size(tmp_path: Path) -> None:
    write(tmp_path, "a.yaml")
    for number in range(1000):
        (tmp_path / f"{number}.txt").touch()
    assert told(tmp_path, ".") == [f"{tmp_path}: holds more than 1000 files"]


def test_waits_for_no_pipe_and_reads_no_folder_as_a_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.yaml")
    (tmp_path / "b.yaml").mkdir()
    assert told(tmp_path, ".") == ["a.yaml: is not a regular file", "b.yaml: cannot be read: Is a directory"]


@pytest.mark.parametrize("path", ["x" * 300, "a\0b"])
def test_says_what_cannot_be_a_path(tmp_path: Path, path: str) -> None:
    assert ": cannot be read: " in told(tmp_path, path)[0]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("what", ["policy.yaml", "."])
def test_every_change_is_seen_without_reading(tmp_path: Path, way: str, what: str) -> None:
    path = tmp_path / "policy.yaml"
    files = policy_files(tmp_path, [what])
    WAYS[way](path, numbered(0))
    before = files.look()
    assert files.look() == before
    WAYS[way](path, numbered(2))
    assert files.look() != before


def test_changes_of_permissions_and_of_names_are_seen(tmp_path: Path) -> None:
    files = policy_files(tmp_path, ["."])
    looks = [files.look()]

    def sees() -> bool:
        looks.append(files.look())
        return looks[-1] != looks[-2]

    write(tmp_path, "a.yaml", "b.yaml")
    assert sees()
    (tmp_path / "a.yaml").chmod(0)
    assert sees()
    (tmp_path / "a.yaml").rename(tmp_path / "c.yaml")
    assert sees()
    (tmp_path / "c.yaml").unlink()
    assert sees()
    write(tmp_path, ".hidden.yaml", "readme.md")
    assert not sees()


def test_a_change_is_seen_although_size_and_time_are_as_they_were(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    files = PolicyFiles((path,))
    path.write_text(numbered(0))
    before, times = files.look(), path.stat()
    path.write_text(numbered(2))
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert path.stat().st_mtime_ns == times.st_mtime_ns
    assert files.look() != before


def test_the_swap_of_a_configmap_is_seen_in_the_file_and_in_the_folder(tmp_path: Path) -> None:
    mounted = ConfigMap(tmp_path / "etc", {"policy.yaml": numbered(0)})
    file, folder = policy_files(tmp_path, ["etc/policy.yaml"]), policy_files(tmp_path, ["etc"])
    before = file.look(), folder.look()
    mounted.update({"policy.yaml": numbered(2)})
    assert file.look() != before[0]
    assert folder.look() != before[1]
    for files in (file, folder):
        policy = files.load()
        assert isinstance(policy, Policy)
        assert policy.digest == digest_of(numbered(2))


def test_a_reading_belongs_to_one_moment(tmp_path: Path) -> None:
    write(tmp_path, "a.yaml", "b.yaml")
    files = policy_files(tmp_path, ["."])
    look = files.look()
    assert files.read_unchanged(look) == files.read(look)
    write(tmp_path, "a.yaml")
    assert files.read_unchanged(look) is None


def test_tells_a_file_that_is_written_from_one_that_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    files = PolicyFiles((path,))
    nothing = files.look()
    path.write_text(numbered(0))
    first = files.look()
    assert not first.was_written_since(nothing)
    WAYS["renamed over"](path, numbered(22))
    replaced = files.look()
    assert not replaced.was_written_since(first)
    with path.open("a") as file:
        file.write("# more\n")
    written = files.look()
    assert written.was_written_since(replaced)
    path.chmod(0o640)
    assert not files.look().was_written_since(written)


def test_many_problems_make_one_line() -> None:
    first = Problem("a.yaml", 3, 5, "is\nwrong")
    assert in_one_line([first]) == "a.yaml:3:5: is wrong"
    assert in_one_line([first, first, first]) == "a.yaml:3:5: is wrong (and 2 more)"
