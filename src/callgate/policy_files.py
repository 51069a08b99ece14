"""A policy as it stands on disk: one file, a folder of them, or several of either.

Looks and reads; when to do so is `policy_source`'s to say.  Everything here may block and belongs in a thread.
"""

import errno
import os
import stat
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final, TypeAlias

from callgate.config_values import MAX_POLICY_FILES
from callgate.errors import GatewayError
from callgate.policy.compile import Policy, load_policies
from callgate.policy.model import POLICY_LIMITS
from callgate.yaml_strict import Problem, decode

# No descriptor or memory left to look with: that says something of the machine, and nothing of the files.
_SHORTAGES: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})
SUFFIXES: Final = (".yaml", ".yml")
# Tests may stand beside the policy that they are of.
TEST_ENDINGS: Final = (".test.yaml", "_test.yaml", ".test.yml", "_test.yml")
# A folder that holds more is no folder of policies, and it is listed ten times a second.
MAX_FOLDER_ENTRIES: Final = 1_000

# What the file system says of a file; the number of the error alone where it says nothing.  The time of change (ctime)
# cannot be set by anyone, and it moves with each write, rename and change of permissions.
FileState: TypeAlias = tuple[int, ...]


class Shortage(GatewayError):  # noqa: N818  # says what is wrong
    """The machine has nothing left to look at files with; they may be as good as ever."""


@dataclass(frozen=True, slots=True)
class Look:
    """The files of a policy without their contents, links followed.  Equal to another when nothing has changed.

    `problems`: why it cannot be told which files there are.
    """

    files: tuple[tuple[Path, FileState], ...]
    problems: tuple[Problem, ...] = ()

    def was_written_since(self, before: "Look") -> bool:
        """Whether a file of both is the same file with other contents: someone writes to it in its place."""
        known = {state[:2]: state for _, state in before.files if len(state) > 1}
        return any(known.get(state[:2], state)[3:5] != state[3:5] for _, state in self.files)


@dataclass(frozen=True, slots=True)
class Reading:
    """The files' contents as (name, text), in order, and what is wrong with those that could not be read."""

    texts: tuple[tuple[str, str], ...]
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True)
class PolicyFiles:
    """Where a policy stands.

    `paths` are files and folders.  Of a folder each `*.yaml` and `*.yml` counts whose name does not start with a dot,
    in the order of names; no more than MAX_POLICY_FILES in all.  `servers`, `has_auditors` and
    `has_approvals` as in `load_policies`.
    """

    paths: tuple[Path, ...]
    servers: frozenset[str] | None = None
    has_auditors: bool = True
    has_approvals: bool = True

    def __str__(self) -> str:
        """The paths, for people."""
        return ", ".join(map(str, self.paths))

    def look(self) -> Look:
        """Which files there are and in what state; never raises for what it finds."""
        files: list[tuple[Path, FileState]] = []
        problems: list[Problem] = []
        for path in self.paths:
            found = _files_at(path)
            if isinstance(found, Problem):
                problems.append(found)
            else:
                files += ((file, _state_of(file)) for file in found)
        if len(files) > MAX_POLICY_FILES:
            problems.append(_whole(self.paths[-1], f"makes more than {MAX_POLICY_FILES} policy files"))
        return Look(tuple(files[:MAX_POLICY_FILES]), tuple(problems))

    def read(self, look: Look) -> Reading:
        """The contents of the files that `look` found, 4 MiB together at most.  Raises Shortage."""
        texts: list[tuple[str, str]] = []
        problems = list(look.problems)
        room = POLICY_LIMITS.max_bytes
        for path, _ in look.files:
            text = _text_of(path, room)
            if isinstance(text, Problem):
                problems.append(text)
            else:
                texts.append((str(path), text))
                room -= len(text.encode())
        return Reading(tuple(texts), tuple(problems))

    def read_unchanged(self, look: Look) -> Reading | None:
        """The contents of one moment; None where the files are not what `look` saw any more.  Raises Shortage."""
        reading = self.read(look)
        return reading if self.look() == look else None

    def compiled(self, reading: Reading) -> Policy | tuple[Problem, ...]:
        """The policy that these files make, or all that is wrong with them."""
        policy = self._loaded(reading.texts) if reading.texts else ()
        if isinstance(policy, tuple):
            return (*reading.problems, *policy)
        return reading.problems or policy

    def _loaded(self, texts: Sequence[tuple[str, str]]) -> Policy | tuple[Problem, ...]:
        return load_policies(texts, self.servers, has_auditors=self.has_auditors, has_approvals=self.has_approvals)

    def load(self) -> Policy | tuple[Problem, ...]:
        """Read and compile it now."""
        return self.compiled(self.read_now())

    def read_now(self) -> Reading:
        """What is there now; that there is nothing to look with is a problem, too."""
        try:
            return self.read(self.look())
        except Shortage as shortage:
            return Reading((), (_whole(self.paths[0], str(shortage)),))


def policy_files(
    folder: Path,
    paths: Iterable[str],
    servers: frozenset[str] | None = None,
    *,
    has_auditors: bool = True,
    has_approvals: bool = True,
) -> PolicyFiles:
    """What callgate.yaml in `folder` names by `paths`."""
    return PolicyFiles(tuple(folder / path for path in paths), servers, has_auditors, has_approvals)


def read_text(path: Path, max_bytes: int) -> str | Problem:
    """The text of one file of any kind; waits for it as long as it takes."""
    try:
        with path.open("rb") as file:
            # One byte more than may be: enough to be refused as too large.
            data = file.read(max_bytes + 1)
    except (OSError, ValueError) as error:
        return _whole(path, _words(error))
    return decode(data, str(path)) if len(data) <= max_bytes else _whole(path, f"is larger than {max_bytes} bytes")


def _files_at(path: Path) -> Sequence[Path] | Problem:
    """The path itself, or the policy files of the folder that stands there."""
    try:
        if not path.is_dir():
            return (path,)
        with os.scandir(path) as entries:
            names = [entry.name for entry in islice(entries, MAX_FOLDER_ENTRIES + 1)]
    except (OSError, ValueError) as error:
        return _unreadable(path, error)
    if len(names) > MAX_FOLDER_ENTRIES:
        return _whole(path, f"holds more than {MAX_FOLDER_ENTRIES} files")
    # Kubernetes keeps `..data` and `..2026_11_21_…` beside the names that it links there, editors their `.a.yaml.swp`.
    found = sorted(name for name in names if _is_policy(name))
    if odd := next((name for name in found if not name.isprintable()), None):
        # A line feed in it would make the digest that of other files, and what is not UTF-8 cannot be written at all.
        return _whole(path, f"holds a policy file whose name cannot be printed: {odd!a}")
    return [path / name for name in found] or _whole(path, "holds no policy file (*.yaml, *.yml)")


def _is_policy(name: str) -> bool:
    return name.endswith(SUFFIXES) and not name.startswith(".") and not name.endswith(TEST_ENDINGS)


def _state_of(path: Path) -> FileState:
    try:
        found = path.stat()
    except OSError as error:
        return (error.errno or 0,)
    except ValueError:
        return (0,)
    return (found.st_dev, found.st_ino, found.st_mode, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


def _text_of(path: Path, room: int) -> str | Problem:
    try:
        # Without O_NONBLOCK, to open a pipe that nobody writes to takes forever.
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:  # noqa: PTH123  # a descriptor
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                return _whole(path, "is not a regular file")
            data = file.read(room + 1)
    except (OSError, ValueError) as error:
        return _unreadable(path, error)
    if len(data) > room:
        shared = "; the others leave no more of 4 MiB" if room < POLICY_LIMITS.max_bytes else ""
        return _whole(path, f"is larger than {room} bytes{shared}")
    return decode(data, str(path))


def _unreadable(path: Path, error: Exception) -> Problem:
    if isinstance(error, OSError) and error.errno in _SHORTAGES:
        raise Shortage(_words(error))
    return _whole(path, _words(error))


def _words(error: Exception) -> str:
    return f"cannot be read: {getattr(error, 'strerror', None) or error}"


def _whole(path: Path, message: str) -> Problem:
    return Problem(str(path), 0, 0, message)


def in_one_line(problems: Sequence[Problem]) -> str:
    """The first of them, and how many more there are."""
    first = " ".join(str(problems[0]).split())
    return f"{first} (and {len(problems) - 1} more)" if len(problems) > 1 else first
