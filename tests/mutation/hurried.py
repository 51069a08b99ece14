"""A pytest plugin for runs on mutants: the same examples each time, fewer of them, and a hang counted as one.

`[tool.mutmut]` loads it. Nothing here may make a test weaker than chance would: what a mutant survives, it survives again.
"""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest
from hypothesis import HealthCheck, settings
from mutmut.state import state

EXAMPLES: Final = 30
"""For each property that does not state a number itself: a third of Hypothesis's own, for a run thousands of times over."""
TIMED_OUT: Final = 36
"""The exit status that mutmut reads as a timeout (its `stats.status_by_exit_code`)."""
IMPORTED: Final = "CALLED_WHILE_IMPORTING"
"""Environment: a file to write the functions to that are called before any test is: while modules are imported."""

settings.register_profile(
    "mutation",
    derandomize=True,
    database=None,
    deadline=None,
    max_examples=EXAMPLES,
    suppress_health_check=list(HealthCheck),
)


def _kept() -> list[Callable[[], None]]:
    modules = [module for name, module in sys.modules.items() if name.startswith("callgate.")]
    found = {id(v): v.cache_clear for m in modules for v in vars(m).values() if hasattr(v, "cache_clear")}
    return list(found.values())


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the tests that are named after the mutant's module: most mutants die there, and soon."""
    module = os.environ.get("MUTANT_UNDER_TEST", "").rpartition(".")[0].rpartition(".")[2]
    items.sort(key=lambda item: item.path.stem != f"test_{module}")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """Forget what functions remember: else only the first test to ask would be seen to run what stands behind them."""
    for forget in _kept():
        forget()


def pytest_collection_finish() -> None:
    """Tell of the functions that ran so far, if asked to, in mutmut's names for them."""
    if IMPORTED in os.environ:
        Path(os.environ[IMPORTED]).write_text("\n".join(sorted(state()._stats)), encoding="utf-8")


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """End at once where a mutant hangs: no later test can say more, and each would wait as long."""
    under_mutant = "__mutmut_" in os.environ.get("MUTANT_UNDER_TEST", "")
    if under_mutant and report.failed and "Timeout (>" in report.longreprtext:
        os._exit(TIMED_OUT)
