"""What somebody may do to a log who can write to its files and does not have the key."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import orjson
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from callgate.audit.chain import NO_RECORD
from callgate.audit.checkpoint import CheckpointKey
from callgate.audit.merkle import Tree, leaf_hash
from callgate.audit.places import Places, segment_name
from support.audit_logs import ORIGIN, MadeLog

KEY: Final = CheckpointKey(ORIGIN, Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
OTHER_KEY: Final = CheckpointKey(ORIGIN, Ed25519PrivateKey.from_private_bytes(bytes(32)))
TIME: Final = "2026-01-07T12:00:00.000000000Z"


@dataclass
class LogFiles:
    """The lines of each file, without their line feeds, under its name's number; and the checkpoints' notes."""

    segments: dict[int, list[bytes]]
    notes: dict[int, list[str]]

    @classmethod
    def of(cls, made: MadeLog, *, segment_records: int, every: int, key: CheckpointKey = KEY) -> "LogFiles":
        """A log, with a checkpoint each `every` records and at the end."""
        segments: dict[int, list[bytes]] = {}
        first = 0
        for lines in made.lines(segment_records):
            segments[first] = [line.removesuffix(b"\n") for line in lines]
            first += len(lines)
        files = cls(segments, {})
        files.sign([*range(every, first, every), first], key)
        return files

    @property
    def size(self) -> int:
        return sum(map(len, self.segments.values()))

    @property
    def lines(self) -> list[bytes]:
        return [line for _, lines in sorted(self.segments.items()) for line in lines]

    def sign(self, sizes: Sequence[int], key: CheckpointKey = KEY) -> None:
        """Put checkpoints over so many records into the files that a gate puts them in, in place of all others."""
        self.notes = {}
        tree = Tree()
        for size, line in enumerate(self.lines, 1):
            tree.append(leaf_hash(line))
            if size in sizes:
                first = max(each for each in self.segments if each < size)
                self.notes.setdefault(first, []).append(key.sign(size, tree.root()))

    def at(self, number: int) -> tuple[list[bytes], int]:
        """The file in which a record stands, as its lines, and where in it."""
        first = max(each for each in self.segments if each <= number)
        return self.segments[first], number - first

    def place(self, number: int) -> tuple[str, int]:
        """The name of the file in which a record stands, and its line from 1."""
        first = max(each for each in self.segments if each <= number)
        return segment_name(first), number - first + 1

    def change(self, number: int, line: bytes) -> None:
        lines, index = self.at(number)
        lines[index] = line

    def edit(self, number: int, **fields: object) -> None:
        """Change what a record says, and leave all others as they are."""
        lines, index = self.at(number)
        lines[index] = orjson.dumps({**orjson.loads(lines[index]), **fields})

    def rewrite(self, number: int, **fields: object) -> None:
        """Change a record, and make the chain and the heads of files anew from there on."""
        self.edit(number, **fields)
        tree, prev = Tree(), NO_RECORD
        for lines in self.segments.values():
            for index, line in enumerate(lines):
                said = orjson.loads(line)
                if tree.size > number:
                    said["prev"] = prev
                    if said["kind"] == "segment":
                        said["peaks"] = [peak.hex() for peak in tree.peaks]
                    lines[index] = orjson.dumps(said)
                leaf = leaf_hash(lines[index])
                tree.append(leaf)
                prev = leaf.hex()

    def write(self, folder: Path, *, latest: bool = True) -> Path:
        """Write it all; returns the folder."""
        places = Places(folder)
        Path(places.log).mkdir(parents=True)
        Path(places.checkpoints).mkdir()
        for first, lines in self.segments.items():
            (Path(places.log) / segment_name(first)).write_bytes(b"".join(line + b"\n" for line in lines))
        for first, notes in self.notes.items():
            kept = "".join(json.dumps({"time": TIME, "note": note}) + "\n" for note in notes)
            (Path(places.checkpoints) / segment_name(first)).write_text(kept)
        if latest and self.notes:
            Path(places.checkpoint).write_text(self.notes[max(self.notes)][-1])
        return folder


def made_log(calls: int = 10) -> MadeLog:
    """A log of so many calls, some of them refused, some still under way when the next ones come."""
    log = MadeLog()
    log.start()
    under_way: list[int] = []
    for number in range(calls):
        if number % 7 == 3:
            log.refusal(tool="wipe_ledger")
        elif number % 5 == 4:
            log.call(orphan=True)
            under_way.append(len(log.records) - 1)
        else:
            log.call()
        if number % 5 == 1 and under_way:
            log.outcome(under_way.pop(0), status="failed")
    return log
