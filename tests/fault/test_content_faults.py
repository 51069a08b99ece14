"""Content on a disk that fails, and in a process that is killed."""

import errno
import json
import signal
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

from callgate.audit.content import read
from support.auditors import Auditor, files_below, object_file

SECRET = "sk_live_planted_51HxQ"  # a made-up one
KILLS = 10

# Files may not grow beyond 80 KB, where the last piece of what is written ends at 84; then they may again.
_FULL_DISK = """
import json, resource, sys
from pathlib import Path
from callgate.audit.content import ContentStore
store = ContentStore(Path(sys.argv[1]), [sys.argv[2]])
before = store.put(b"before")
most = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (80_000, most[1]))
refused = []
for _ in range(3):
    try:
        store.put(sys.argv[3].encode() * 4_000)
    except OSError as error:
        refused.append(error.errno)
left = [str(path.name) for path in Path(sys.argv[1]).rglob("*") if path.is_file()]
resource.setrlimit(resource.RLIMIT_FSIZE, most)
after = store.put(sys.argv[3].encode() * 4_000)
print(json.dumps([before, refused, left, after]))
"""

_PUTS = """
import sys
from pathlib import Path
from callgate.audit.content import ContentStore
store = ContentStore(Path(sys.argv[1]), [sys.argv[2]])
while True:
    print(store.put(sys.argv[3].encode() * 20_000), flush=True)
"""


def python(script: str, *args: str) -> list[str]:
    return [sys.executable, "-c", script, *args]


def test_a_put_on_a_full_disk_fails_leaves_nothing_and_works_again_once_there_is_room(tmp_path: Path) -> None:
    auditor = Auditor()
    ran = subprocess.run(
        python(_FULL_DISK, str(tmp_path), auditor.recipient, SECRET), capture_output=True, text=True, check=True
    )
    before, refused, left, after = json.loads(ran.stdout)
    assert refused == [errno.EFBIG] * 3
    assert left == [f"{before}.age"]
    assert read(tmp_path, after, auditor.identities) == SECRET.encode() * 4_000


def test_after_each_kill_every_object_that_was_told_of_is_whole_and_none_is_in_the_clear(tmp_path: Path) -> None:
    auditor = Auditor()
    told: list[str] = []
    for puts in range(1, KILLS + 1):
        with subprocess.Popen(
            python(_PUTS, str(tmp_path), auditor.recipient, SECRET), stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            told += [process.stdout.readline().strip() for _ in range(puts)]
            process.send_signal(signal.SIGKILL)
        found = files_below(tmp_path)
        assert not any(SECRET.encode() in path.read_bytes() for path in found)
        assert {object_file(tmp_path, digest) for digest in told} <= set(found)
        objects = [path for path in found if path.suffix == ".age"]
        assert all(sha256(path.read_bytes()).hexdigest() == path.stem for path in objects)
        auditor.store(tmp_path)
        assert files_below(tmp_path) == objects
    assert all(read(tmp_path, digest, auditor.identities) == SECRET.encode() * 20_000 for digest in told)
