"""The checkpoints that a log is held against: those beside it, and those that were kept elsewhere.

    {"time": "2026-01-07T12:00:00.000000000Z", "note": "<a signed note>"}      one a line, as the gate writes them
    <a signed note>                                                            or several, one after the other

Only what the key has signed is given out.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from heapq import merge
from itertools import chain, islice
from pathlib import Path
from typing import Final, NamedTuple

import orjson

from callgate.audit.checkpoint import Checkpoint, VerifierKey
from callgate.audit.findings import Code, Finding, Findings
from callgate.audit.lines import PlainFile, UnusableInput, look_at
from callgate.audit.note import MAX_NOTE_BYTES, BadNote, Flaw
from callgate.audit.places import Places, first_of

# A note in JSON, each of its characters escaped.
_MAX_LINE_BYTES: Final = 8 * MAX_NOTE_BYTES
# Who keeps single notes may put them into one file in any order; a gate appends its own in theirs, for years.
_SORTED: Final = 10_000
# The same checkpoint often comes from two places; a signature takes 0.1 ms.
_VERIFIED: Final = 256
_NO_NOTE: Final = BadNote(Flaw.MALFORMED, "there is no note in this line")
_SIGNATURE: Final = "\N{EM DASH} ".encode()


class Signed(NamedTuple):
    """A checkpoint that the key has signed, and where it stands.  `kept`: elsewhere than beside the log."""

    size: int
    root: bytes
    kept: bool
    file: str
    line: int
    note: str


class _Found(NamedTuple):
    """A note, and the line in which it begins; None for a line that holds none."""

    note: str | None
    line: int


@dataclass(slots=True)
class _Bad:
    """Notes in a row with the same flaw: one finding."""

    note: BadNote
    line: int
    count: int = 1


class CheckpointSource:
    """All of the checkpoints there are for a log, as its files were when this was made.

    To be made before the log's files are looked at: a gate writes the records first.  Raises UnusableInput.
    """

    def __init__(
        self, folder: Path, kept: Sequence[Path], key: VerifierKey, findings: Findings, *, start: int = 0
    ) -> None:
        """`kept`: files of checkpoints elsewhere; `start`: without the files for records before that one."""
        self._verify = lru_cache(maxsize=_VERIFIED)(key.verify)
        self._findings = findings
        self._beside = list(self._files_beside(folder, start))
        # Read at once: a gate puts a new file in its place.
        self._latest = [each for file in self._file(Path(Places(folder).checkpoint)) for each in self._signed(file)][:1]
        self._kept = [self._kept_file(path) for path in kept]

    def __iter__(self) -> Iterator[Signed]:
        """In the order of their sizes, each file being read meanwhile."""
        beside = chain.from_iterable(map(self._signed, self._beside))
        sources = [self._ascending(beside)]
        sources += (self._ascending(self._sorted(file)) for file in self._kept)
        sources.append(iter(self._latest))
        return merge(*sources, key=lambda signed: signed.size)

    def _files_beside(self, folder: Path, start: int) -> Iterator[PlainFile]:
        places = Path(Places(folder).checkpoints)
        try:
            names = sorted(path.name for path in places.iterdir() if (first_of(path.name) or 0) >= start)
        except FileNotFoundError:
            return
        except OSError as error:
            raise UnusableInput(f"{places} cannot be read: {error.strerror}") from error
        for name in names:
            if first_of(name) is not None:
                yield from self._file(places / name)

    def _file(self, path: Path) -> Iterator[PlainFile]:
        if not path.is_symlink() and not path.exists():
            return
        found = look_at(path)
        if found is not None:
            yield found
        else:
            self._findings.add(Finding(Code.NOT_A_FILE, "this is no plain file, and was not read", file=str(path)))

    def _kept_file(self, path: Path) -> PlainFile:
        try:
            # Whoever names a file may name a link.
            found = look_at(path.resolve(strict=True))
        except OSError as error:
            raise UnusableInput(f"{path} cannot be read: {error.strerror}") from error
        except RuntimeError:
            raise UnusableInput(f"{path} cannot be read: it is a link that leads to itself") from None
        if found is None or not any(each.note is not None for each in _notes_in(found)):
            raise UnusableInput(f"{path} holds no checkpoint")
        return found

    def _sorted(self, file: PlainFile) -> Iterator[Signed]:
        found = self._signed(file, kept=True)
        return chain(sorted(islice(found, _SORTED), key=lambda signed: signed.size), found)

    def _ascending(self, source: Iterator[Signed]) -> Iterator[Signed]:
        size, told = 0, False
        for signed in source:
            if signed.size >= size:
                size = signed.size
                yield signed
            elif not told:
                told = True
                # Elsewhere, too: a log that was put back to an earlier state, and then put back again, shows in nothing else.
                text = f"the checkpoint over {signed.size} records comes after one over {size}; it was not checked"
                self._findings.add(Finding(Code.CHECKPOINT_BACKWARDS, text, file=signed.file, line=signed.line))

    def _signed(self, file: PlainFile, *, kept: bool = False) -> Iterator[Signed]:
        bad: _Bad | None = None
        for note, line in _notes_in(file):
            found = self._verify(note) if note is not None else _NO_NOTE
            if isinstance(found, Checkpoint):
                yield Signed(found.size, found.root, kept, str(file.path), line, note or "")
            elif bad is not None and bad.note == found:
                bad.count += 1
            else:
                self._tell(file, bad, kept=kept)
                bad = _Bad(found, line)
        self._tell(file, bad, kept=kept)

    def _tell(self, file: PlainFile, bad: _Bad | None, *, kept: bool) -> None:
        if bad is None:
            return
        others = f", nor do others in this file ({bad.count} in all)" if bad.count > 1 else ""
        # What is cut short can be what a power failure left; it does no more than a checkpoint that is not there.
        is_torn = bad.note == _NO_NOTE or (bad.note.flaw is Flaw.MALFORMED and not kept)
        code = Code.CHECKPOINT_TORN if is_torn else Code.CHECKPOINT_BAD
        text = f"this proves nothing: {bad.note.why}{others}"
        self._findings.add(Finding(code, text, file=str(file.path), line=bad.line))


def _notes_in(file: PlainFile) -> Iterator[_Found]:
    """Each note, in either form."""
    block: list[str] = []
    begun = size = 0
    for number, octets, ended in file.lines(_MAX_LINE_BYTES):
        # What was never written reads as zeros.
        line = octets.lstrip(b"\0") if octets is not None else b"{"
        is_json, is_signature = line.startswith(b"{"), line.startswith(_SIGNATURE)
        if block and (is_json or size > MAX_NOTE_BYTES or (block[-1].startswith("\N{EM DASH}") and not is_signature)):
            yield _Found("".join(block), begun)
            block = []
        if is_json:
            yield _Found(_note_of(line), number)
        elif block or line:
            begun, size = (begun, size + len(line)) if block else (number, len(line))
            block.append(line.decode("utf-8", "replace") + ("\n" if ended else ""))
    if block:
        yield _Found("".join(block), begun)


def _note_of(line: bytes) -> str | None:
    try:
        note = orjson.loads(line).get("note")
    except orjson.JSONDecodeError:
        return None
    return note if isinstance(note, str) else None
