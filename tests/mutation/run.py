"""Mutation testing of `policy/` and `identity/`: `just mutate --sample 600 --seed 1`.

Takes a uniformly random sample of all the mutants that mutmut makes, runs the unit tests of both packages against each,
and prints how many were killed, with a 95 % confidence interval. It works in a copy of the tree, so that the tree may change
meanwhile. Exit status: 0 at or above `--least`, 1 below it.

mutmut imports the code once and switches a mutant on when its tests begin, so it cannot tell about what runs while
modules are imported, such as the making of a constant. Those that survive there are run once more, each in a process of
its own that has the mutant from the start.
"""

import argparse
import json
import math
import os
import random
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from fnmatch import fnmatch
from pathlib import Path
from typing import Final

from mutmut.mutation.file_mutation import mutate_file_contents
from mutmut.stats import status_by_exit_code
from mutmut.utils.format_utils import get_mutant_name

ROOT: Final = Path(__file__).parents[2]
PACKAGES: Final = ("policy", "identity")
COPIED: Final = ("pyproject.toml", "src", "tests", "examples")
LEAST_PERCENT: Final = 85.0
"""What issue 4 asks for."""
DEAD: Final = frozenset({"killed", "timeout"})
TIMED_OUT: Final = 36
"""As in hurried.py."""
LONGEST_S: Final = 600
"""For one package's tests on one mutant; they take about one minute."""
SETTINGS: Final = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["mutmut"]
PYTEST: Final = (sys.executable, "-m", "pytest", *SETTINGS["pytest_add_cli_args"])
Z_95: Final = 1.959964
"""The normal distribution's two-sided 95 % point, for Wilson's interval."""


def main() -> int:
    """Copies, samples, runs, reports.

    Returns:
        The process's exit status.
    """
    asked = _arguments()
    _copy(asked.tree)
    os.chdir(asked.tree)
    everything = list(_mutants())
    fitting = [name for name in everything if not asked.only or any(fnmatch(name, only) for only in asked.only)]
    sample = sorted(_sample(fitting, asked.sample, asked.seed))
    print(
        f"{len(everything)} mutants in all, {len(fitting)} asked for, {len(sample)} to run (seed {asked.seed})",
        flush=True,
    )
    _run(sample, asked.children)
    status = _statuses(sample)
    status |= _run_from_the_start(_early(status), asked.children)
    if asked.survivors is not None:
        asked.survivors.write_text(_survivors(status), encoding="utf-8")
    return _report(status, asked.least)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "only", nargs="*", help="patterns of mutants' names, such as 'callgate.policy.decide.*'; default: all"
    )
    parser.add_argument("--sample", type=int, default=600, help="how many mutants to draw; 0 for all (some hours)")
    parser.add_argument("--seed", type=int, default=1, help="of the draw; the same tree and seed give the same sample")
    parser.add_argument("--children", type=int, default=2, help="processes at once")
    parser.add_argument("--least", type=float, default=LEAST_PERCENT, help="the score in percent that must be reached")
    parser.add_argument("--survivors", type=Path, help="write the survivors' diffs to this file")
    tree = Path(tempfile.gettempdir()) / "callgate-mutants"
    parser.add_argument("--tree", type=Path, default=tree, help="where the copy goes; it is emptied first")
    asked = parser.parse_args()
    asked.survivors = asked.survivors and asked.survivors.absolute()
    return asked


def _copy(tree: Path) -> None:
    shutil.rmtree(tree, ignore_errors=True)
    tree.mkdir(parents=True)
    for name in COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(ROOT / name, tree / name)


def _mutants() -> Iterable[str]:
    for path in sorted(path for package in PACKAGES for path in Path("src/callgate", package).glob("*.py")):
        for name in mutate_file_contents(str(path), path.read_text(encoding="utf-8")).mutant_names:
            yield get_mutant_name(path, name)


def _sample(names: Sequence[str], size: int, seed: int) -> Sequence[str]:
    if not 0 < size < len(names):
        return names
    return random.Random(seed).sample(names, size)  # noqa: S311 - a draw that anyone can repeat, and no secret


def _run(names: Sequence[str], children: int) -> None:
    # The plugin must be importable before pytest reads `pythonpath`; a fixed hash seed repeats the order of sets.
    environ = os.environ | {"PYTHONPATH": str(Path.cwd() / "tests"), "PYTHONHASHSEED": "0"}
    command = [sys.executable, "-c", "from mutmut.__main__ import cli; cli()", "run", "--max-children", str(children)]
    if subprocess.run([*command, *names], env=environ, check=False).returncode:
        sys.exit(f"mutmut could not run; the tree is {Path.cwd()}")


def _statuses(names: Iterable[str]) -> dict[str, str]:
    found: dict[str, int | None] = {}
    for path in Path("mutants/src").rglob("*.meta"):
        found |= json.loads(path.read_text(encoding="utf-8"))["exit_code_by_key"]
    return {name: status_by_exit_code[found[name]] for name in names}


def _early(status: Mapping[str, str]) -> list[str]:
    """Those that are alive in functions which are called while modules are imported."""
    found = Path.cwd() / "imported.txt"
    subprocess.run(
        [*PYTEST, "--collect-only", "-q", *SETTINGS["pytest_add_cli_args_test_selection"]],
        env=_environ("stats") | {"CALLED_WHILE_IMPORTING": str(found)},
        cwd="mutants",
        check=True,
        stdout=subprocess.DEVNULL,
    )
    called = set(found.read_text(encoding="utf-8").split())
    return [name for name, how in status.items() if how not in DEAD and name.partition("__mutmut_")[0] in called]


def _run_from_the_start(names: Sequence[str], children: int) -> dict[str, str]:
    with ThreadPoolExecutor(children) as pool:
        found: dict[str, str] = {}
        for name, how in zip(names, pool.map(_from_the_start, names), strict=True):
            found[name] = how
            print(f"{len(found)} of {len(names)} from the start: {name}: {how}", flush=True)
    return found


def _from_the_start(name: str) -> str:
    """The tests of the mutant's package, and only if all pass those of the other."""
    own = "identity" if name.startswith("callgate.identity.") else "policy"
    for package in sorted(PACKAGES, key=lambda package: package != own):
        command = [*PYTEST, "-x", "-q", f"tests/unit/{package}"]
        try:
            done = subprocess.run(
                command, env=_environ(name), cwd="mutants", check=False, capture_output=True, timeout=LONGEST_S
            )
        except subprocess.TimeoutExpired:
            return "timeout"
        if done.returncode:
            return "timeout" if done.returncode == TIMED_OUT else "killed"
    return "survived"


def _environ(mutant: str) -> dict[str, str]:
    paths = os.pathsep.join(str(Path.cwd() / path) for path in ("mutants/src", "tests"))
    return os.environ | {"PYTHONPATH": paths, "PYTHONHASHSEED": "0", "MUTANT_UNDER_TEST": mutant}


def _survivors(status: Mapping[str, str]) -> str:
    alive = [name for name, how in status.items() if how not in DEAD]
    show = [sys.executable, "-c", "from mutmut.__main__ import cli; cli()", "show"]
    return "\n".join(
        f"# {status[name]}\n" + subprocess.run([*show, name], check=True, capture_output=True, text=True).stdout
        for name in alive
    )


def _report(status: Mapping[str, str], least: float) -> int:
    for module in sorted({name.rpartition(".")[0] for name in status}):
        counts = Counter(how for name, how in status.items() if name.rpartition(".")[0] == module)
        print(f"{module:40} {_counted(counts)}")
    counts = Counter(status.values())
    killed, total = counts["killed"] + counts["timeout"], len(status)
    low, high = _wilson(killed, total)
    print(f"{'together':40} {_counted(counts)}")
    print(
        f"killed or timed out: {killed} of {total} = {100 * killed / total:.1f} %, 95 % interval {low:.1f} to {high:.1f} %"
    )
    return 0 if 100 * killed / total >= least else 1


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{how} {number}" for how, number in sorted(counts.items()))


def _wilson(killed: int, total: int) -> tuple[float, float]:
    share, square = killed / total, Z_95**2 / total
    middle, spread = share + square / 2, Z_95 * math.sqrt((share * (1 - share) + square / 4) / total)
    return 100 * (middle - spread) / (1 + square), 100 * (middle + spread) / (1 + square)


if __name__ == "__main__":
    sys.exit(main())
