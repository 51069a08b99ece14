"""Policies on disk, and the ways in which they change there.

Each policy is named by a number and no two are the same.  Even numbers let billing get an invoice, odd ones do not.
"""

import shutil
from collections.abc import Callable, Mapping
from hashlib import sha256
from pathlib import Path

LETS = "tools: [list_invoices, get_invoice]"
_TEXT = """\
# Number {number}.
version: 1
trust_domains: [acme.test]
grants:
  - id: billing
    workloads: [spiffe://acme.test/ns/billing/sa/*]
    server: ledger
    {tools}
denials:
  - id: nobody-wipes-the-ledger
    server: ledger
    tools: [wipe_ledger]
"""


def numbered(number: int) -> str:
    """The text of that policy."""
    return _TEXT.format(number=number, tools=LETS if number % 2 == 0 else "tools: [list_invoices]")


def digest_of(text: str) -> str:
    """What `sha256sum policy.yaml` prints of it."""
    return f"sha256:{sha256(text.encode()).hexdigest()}"


def rename_over(path: Path, text: str) -> None:
    """As it should be done."""
    new = path.with_name(f".{path.name}.new")
    new.write_text(text)
    new.rename(path)


def write_in_place(path: Path, text: str) -> None:
    """Truncate and write, as `>` does in a shell."""
    path.write_text(text)


def recreate(path: Path, text: str) -> None:
    path.unlink(missing_ok=True)
    path.write_text(text)


def point_elsewhere(path: Path, text: str) -> None:
    """A link to another file each time."""
    target = path.with_name(f"{digest_of(text)[-8:]}.text")
    target.write_text(text)
    link = path.with_name(".link")
    link.symlink_to(target.name)
    link.rename(path)


WAYS: Mapping[str, Callable[[Path, str], None]] = {
    "renamed over": rename_over,
    "truncated and written": write_in_place,
    "deleted and recreated": recreate,
    "linked elsewhere": point_elsewhere,
}


class ConfigMap:
    """A mounted ConfigMap, updated as kubelet's AtomicWriter does it.

    It writes a new folder `..<time>`, makes a link `..data_tmp` to it, renames that onto `..data`, and then adds and
    removes the links `name -> ..data/name` that users see; last, the old folder goes.
    """

    def __init__(self, folder: Path, files: Mapping[str, str]) -> None:
        self._folder = folder
        self._updates = 0
        folder.mkdir()
        self.update(files)

    def update(self, files: Mapping[str, str]) -> None:
        old = (self._folder / "..data").resolve() if self._updates else None
        self._updates += 1
        new = self._folder / f"..2026_11_21_10_00_00.{self._updates}"
        new.mkdir()
        for name, text in files.items():
            (new / name).write_text(text)
        (self._folder / "..data_tmp").symlink_to(new.name)
        (self._folder / "..data_tmp").rename(self._folder / "..data")
        for name in files:
            if not (self._folder / name).is_symlink():
                (self._folder / name).symlink_to(f"..data/{name}")
        for shown in self._folder.iterdir():
            if not shown.name.startswith("..") and shown.name not in files:
                shown.unlink()
        if old is not None:
            shutil.rmtree(old)


def _text(text: str | bytes) -> Callable[[Path], None]:
    def fault(path: Path) -> None:
        new = path.with_name(f".{path.name}.new")
        new.write_bytes(text.encode() if isinstance(text, str) else text)
        new.rename(path)

    return fault


def _link_to(target: str) -> Callable[[Path], None]:
    def fault(path: Path) -> None:
        link = path.with_name(".link")
        link.symlink_to(target)
        link.rename(path)

    return fault


def _empty_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


# What may stand where the policy stood, and a part of the words for it.  /proc/self/mem can be opened, and reading it
# fails: a file on a broken disk, for root, too, whom no permissions keep from reading.
FAULTS: Mapping[str, tuple[Callable[[Path], None], str]] = {
    "is gone": (Path.unlink, ": cannot be read: No such file or directory"),
    "is empty": (_text(""), ":1:1: is empty"),
    "is cut off": (_text(numbered(0)[:-20]), ":13:1: is not YAML"),
    "is no YAML": (_text("grants: ["), ":2:1: is not YAML"),
    "contains itself": (_text("grants: &g [*g]\n"), ":1:9: "),
    "names an unknown server": (_text(numbered(0).replace("ledger", "legder", 1)), ":7:13: server 'legder'"),
    "is 10 MB": (_text(b"#" * 10_000_000), ": is larger than 4194304 bytes"),
    "is no text": (_text(b"\xff\xfe"), ":1:1: is not UTF-8 here"),
    "cannot be read": (_link_to("/proc/self/mem"), ": cannot be read: Input/output error"),
    "is a link to itself": (_link_to("policy.yaml"), ": cannot be read: Too many levels of symbolic links"),
    "is endless": (_link_to("/dev/zero"), ": is not a regular file"),
    "is an empty folder": (_empty_folder, ": holds no policy file (*.yaml, *.yml)"),
}
