from pathlib import Path

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from callgate.audit.checkpoint import CheckpointKey
from callgate.audit.continuity import Continuity, continuity
from support.audit_logs import ORIGIN, MadeLog

KEY = CheckpointKey.generate(ORIGIN)
RECORDS = 24


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    log = MadeLog()
    log.start()
    for _ in range(10):
        log.call()
    log.write(tmp_path, KEY, segment_records=8)
    return tmp_path


def lines_of(folder: Path) -> list[tuple[Path, int]]:
    """Where each record stands."""
    files = sorted((folder / "log").iterdir())
    return [(path, index) for path in files for index in range(len(path.read_bytes().splitlines()))]


def test_a_stretch_over_several_files_hangs_together(folder: Path) -> None:
    assert len(lines_of(folder)) == RECORDS
    assert continuity(folder, 3, 20) == Continuity(3, 20)


def test_says_that_no_record_follows_which_names_the_last_one(folder: Path) -> None:
    assert continuity(folder, 0, RECORDS - 1) == Continuity(0, RECORDS - 1, is_last=True)


def test_a_record_that_is_not_there_breaks_the_stretch(folder: Path) -> None:
    assert continuity(folder, 20, RECORDS + 2).broken == RECORDS


@given(number=st.integers(2, 20), how=st.sampled_from(["edit", "drop", "repeat", "swap"]))
@settings(max_examples=25, deadline=None)
def test_whatever_is_changed_within_a_stretch_breaks_it(
    tmp_path_factory: pytest.TempPathFactory, number: int, how: str
) -> None:
    folder = tmp_path_factory.mktemp("log")
    log = MadeLog()
    log.start()
    for _ in range(10):
        log.call()
    log.write(folder, KEY, segment_records=8)
    path, index = lines_of(folder)[number]
    lines = path.read_bytes().splitlines()
    match how:
        case "edit":
            lines[index] = orjson.dumps(orjson.loads(lines[index]) | {"caller": "spiffe://acme.test/somebody-else"})
        case "drop":
            del lines[index]
        case "repeat":
            lines.insert(index, lines[index])
        case _:
            other = index - 1 if index else 1
            lines[index], lines[other] = lines[other], lines[index]
    path.write_bytes(b"".join(line + b"\n" for line in lines))

    found = continuity(folder, 1, 21)

    assert found.broken is not None
    assert abs(found.broken - number) <= 1
