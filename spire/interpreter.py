"""Give a workload a Python of its own: `python interpreter.py DIRECTORY`.

DIRECTORY becomes a virtual environment that sees the packages of the Python that runs this, and whose `bin/python`
is a copy of its executable, not a link: SPIRE's `unix:path` selector is the file that /proc/PID/exe names.
(`python -m venv --copies` makes three copies under three names, which would be three identities, and sees no packages.)
"""

import shutil
import site
import sys
import sysconfig
from pathlib import Path

HERE = Path(sys.argv[1])
ORIGINAL = Path(sys.executable).resolve()


def copy_executable() -> None:
    """The one file that makes it a workload of its own."""
    (HERE / "bin").mkdir(parents=True)
    shutil.copy(ORIGINAL, HERE / "bin" / "python")
    # PEP 405: `home` is where the standard library is looked for.
    (HERE / "pyvenv.cfg").write_text(f"home = {ORIGINAL.parent}\ninclude-system-site-packages = false\n")


def link_shared_library() -> None:
    """For a Python built with a shared libpython that it finds at $ORIGIN/../lib."""
    for library in (ORIGINAL.parent.parent / "lib").glob("libpython*.so*"):
        (HERE / "lib" / library.name).symlink_to(library)


def share_packages() -> None:
    """By addsitedir, not as plain path lines, because editable installs are .pth files themselves."""
    packages = Path(sysconfig.get_path("purelib", vars={"base": str(HERE)}, scheme="venv"))
    packages.mkdir(parents=True)
    lines = [f"import site; site.addsitedir({directory!r})\n" for directory in site.getsitepackages()]
    (packages / "shared.pth").write_text("".join(lines))


copy_executable()
share_packages()
link_shared_library()
