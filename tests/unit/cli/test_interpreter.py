"""In a process of its own: what is left alone by the garbage collector stays so for the life of a process."""

import json
import subprocess
import sys

_LOOK = """
import gc, json
from callgate.cli.interpreter import YOUNG_OBJECTS, settle
import callgate.cli.serve
loaded = len(gc.get_objects())
settle()
print(json.dumps([loaded, gc.get_freeze_count(), len(gc.get_objects()), gc.get_threshold()[0] == YOUNG_OBJECTS]))
"""


def test_what_was_loaded_at_the_start_is_not_looked_through_again() -> None:
    done = subprocess.run([sys.executable, "-c", _LOOK], capture_output=True, text=True, check=True)
    loaded, left_alone, looked_through, rarer = json.loads(done.stdout)
    assert left_alone > 0.9 * loaded
    assert looked_through < 1000
    assert rarer
