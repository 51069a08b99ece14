"""One SPIRE server and agent for the whole run.  Where SPIRE cannot be had, these tests fail; they are never skipped."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from spire.workloads import Spire

_SCRIPTS = Path(__file__).parents[2] / "spire"
# Half of it, counted from 10 s before issue: a new SVID about every 5 s.
_SVID_TTL_S = 20
# A cold build took 5 minutes on two cores.
_BUILD_TIMEOUT_S = 1800


@pytest.fixture(scope="session")
def spire(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Spire]:
    run = tmp_path_factory.mktemp("spire")
    environment = {
        **os.environ,
        "CALLGATE_SPIRE_RUN": str(run),
        "CALLGATE_SPIRE_SVID_TTL": str(_SVID_TTL_S),
        "CALLGATE_PYTHON": sys.executable,
    }
    _script("build", environment, _BUILD_TIMEOUT_S)
    _script("up", environment, 120)
    try:
        yield Spire(run, Path((run / "sockets").read_text().strip()))
    finally:
        _script("down", environment, 60)


def _script(name: str, environment: dict[str, str], timeout_s: float) -> None:
    done = subprocess.run(
        [_SCRIPTS / name], env=environment, timeout=timeout_s, stderr=subprocess.PIPE, text=True, check=False
    )
    if done.returncode != 0:
        pytest.fail(f"spire/{name} failed:\n{done.stderr}", pytrace=False)
