"""Policy tests, found and run: what `callgate test` does before it prints."""

import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Final

from callgate.cli.branches import draw
from callgate.cli.explained import Shown, as_tree
from callgate.policy.compile import Policy
from callgate.policy.exercise import Exercise
from callgate.policy.scenario import Mismatch, Scenario, Suite, Trial, read_suite, try_out
from callgate.policy_files import TEST_ENDINGS, Look, PolicyFiles, policy_files, read_text
from callgate.yaml_strict import DEFAULT_LIMITS, Problem, scan

# What a test file's name ends with.
MAX_TEST_FILES: Final = 1_000
# Entries of folders that are looked at: a folder that holds more is not one of policies, and a walk takes seconds.
MAX_ENTRIES: Final = 100_000
# Folders that hold what others wrote: environments, packages, repositories.
_SKIPPED: Final = frozenset({"node_modules", "__pycache__", "venv"})


@dataclass(frozen=True, slots=True)
class Result:
    """One test; `trial` is there where it failed, and tells why."""

    name: str
    line: int
    seconds: float
    trial: Trial | None

    def tree(self, *, colour: bool) -> str:
        """The explanation of the decision that was not expected; "" where the test passed."""
        return draw(as_tree(self.trial.explanation, Shown()), colour=colour) if self.trial is not None else ""


@dataclass(frozen=True, slots=True)
class FileRun:
    """What came of one test file; `problems` is why it could not be run."""

    file: str
    results: tuple[Result, ...] = ()
    problems: tuple[Problem, ...] = ()

    @property
    def failed(self) -> tuple[Result, ...]:
        """The tests that failed."""
        return tuple(result for result in self.results if result.trial is not None)


@dataclass(frozen=True, slots=True)
class PolicyRun:
    """A policy that was tested, and what its tests showed of it."""

    name: str
    policy: Policy
    exercise: Exercise


@dataclass(slots=True)
class Run:
    """Everything that came of one run.  `looks`: how the policies' files were when they were read."""

    files: list[FileRun] = field(default_factory=list)
    policies: dict[tuple[Path, ...], PolicyRun | tuple[Problem, ...]] = field(default_factory=dict)
    looks: list[tuple[PolicyFiles, Look]] = field(default_factory=list)

    @property
    def tested(self) -> list[PolicyRun]:
        """The policies that could be read."""
        return [found for found in self.policies.values() if isinstance(found, PolicyRun)]

    @property
    def problems(self) -> tuple[Problem, ...]:
        """All that is wrong with files, once each."""
        return tuple(dict.fromkeys(problem for file in self.files for problem in file.problems))

    def count(self, *, failed: bool) -> int:
        """How many tests failed, or passed."""
        return sum(len(file.failed) if failed else len(file.results) - len(file.failed) for file in self.files)


def find_tests(paths: Iterable[Path]) -> tuple[Path, ...] | Problem:
    """Test files in order: those that are named, and of a folder those whose names say so, however deep."""
    found: dict[Path, None] = {}
    for path in paths:
        files = _tests_below(path) if path.is_dir() else (path,)
        if isinstance(files, Problem):
            return files
        found |= dict.fromkeys(files)
    if len(found) > MAX_TEST_FILES:
        return Problem(", ".join(map(str, paths)), 0, 0, f"holds more than {MAX_TEST_FILES} test files")
    return tuple(found)


def _tests_below(folder: Path) -> Sequence[Path] | Problem:
    entries = list(islice(_entries(folder), MAX_ENTRIES + 1))
    if len(entries) > MAX_ENTRIES:
        return Problem(str(folder), 0, 0, f"holds more than {MAX_ENTRIES} files; name the tests, or a smaller folder")
    return sorted(entry for entry in entries if entry.name.endswith(TEST_ENDINGS))


def _entries(folder: Path) -> Iterator[Path]:
    """The files below a folder; links to folders are not followed, and what cannot be listed holds no test of ours."""
    for here, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".") and name not in _SKIPPED]
        yield from (Path(here, name) for name in files if not name.startswith("."))


def run_tests(files: Sequence[Path], wanted: Callable[[str], bool]) -> Run:
    """Run the tests of these files whose names are wanted."""
    run = Run()
    for file in files:
        run.files.append(_run_file(file, wanted, run))
    return run


def _run_file(file: Path, wanted: Callable[[str], bool], run: Run) -> FileRun:
    text = read_text(file, DEFAULT_LIMITS.max_bytes)
    if isinstance(text, Problem):
        return FileRun(str(file), problems=(text,))
    suite = read_suite(text, str(file))
    if not isinstance(suite, Suite):
        return FileRun(str(file), problems=_instead_of_a_policy(file, text) or suite)
    policy = _policy_of(suite, file.parent, run)
    if not isinstance(policy, PolicyRun):
        return FileRun(str(file), problems=policy)
    return FileRun(str(file), tuple(_result(policy, each) for each in suite.scenarios if wanted(each.name)))


def _instead_of_a_policy(file: Path, text: str) -> tuple[Problem, ...]:
    """What to say of a policy that was named in the place of its tests; nothing where it is none."""
    document, _ = scan(text, str(file))
    keys = document.value.keys() if document is not None and isinstance(document.value, dict) else ()
    if "trust_domains" not in keys or "tests" in keys:
        return ()
    name = f"{file.stem}{TEST_ENDINGS[0]}"
    return (Problem(str(file), 0, 0, f"is a policy and no test of one; tests stand in files such as {name}"),)


def _policy_of(suite: Suite, folder: Path, run: Run) -> PolicyRun | tuple[Problem, ...]:
    """Each policy is read once, however many files test it."""
    files = policy_files(folder, suite.policy)
    key = tuple(path.absolute() for path in files.paths)
    found = run.policies.get(key)
    if found is None:
        look = files.look()
        run.looks.append((files, look))
        loaded = files.compiled(files.read(look))
        found = loaded if isinstance(loaded, tuple) else PolicyRun(str(files), loaded, Exercise.of(loaded))
        run.policies[key] = found
    return found


def _result(tested: PolicyRun, scenario: Scenario) -> Result:
    started = time.perf_counter()
    trial = try_out(tested.policy, scenario)
    seconds = time.perf_counter() - started
    tested.exercise.add(trial.explanation)
    return Result(scenario.name, scenario.line, seconds, None if trial.passed else trial)


def told(mismatch: Mismatch) -> str:
    """One expectation that was not met, in a line."""
    return f"{mismatch.what}: expected {mismatch.expected}, got {mismatch.got}"
