"""Checkpoints of a growing log on their way out, for tests of where they go."""

import json
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import trio

from callgate.audit.anchors import AnchorLimits, Anchors
from callgate.audit.checkpoint import Checkpoint, CheckpointKey
from callgate.audit.merkle import Tree, leaf_hash
from callgate.telemetry.log_events import CheckpointEvents

ORIGIN: Final = "gate.acme.test/audit"
# 2026-01-07T12:00:00Z
BEGAN_NS: Final = 1_767_787_200_000_000_000
# As the defaults, a hundred times as fast.
QUICK: Final = AnchorLimits(
    every_s=0.01, attempt_s=0.3, retry_first_s=0.01, retry_max_s=0.05, refused_s=0.2, close_s=2.0
)
PATIENCE_S: Final = 10.0


@dataclass
class GrowingLog:
    """Makes real checkpoints of a tree that grows by one record each time."""

    key: CheckpointKey = field(default_factory=lambda: CheckpointKey.generate(ORIGIN))
    tree: Tree = field(default_factory=Tree)
    notes: list[str] = field(default_factory=list)

    def grow(self) -> str:
        self.tree.append(leaf_hash(b"record %d" % self.tree.size))
        self.notes.append(self.key.sign(self.tree.size, self.tree.root()))
        return self.notes[-1]

    def offer_to(self, anchors: Anchors, count: int = 1) -> str:
        """That many checkpoints, a second apart; returns the last."""
        for _ in range(count):
            anchors.offer(self.grow(), self.tree.size, BEGAN_NS + self.tree.size * 10**9)
        return self.notes[-1]

    def verified(self, notes: Sequence[str]) -> list[int]:
        """The sizes of checkpoints that this log's public key vouches for."""
        found = [self.key.verifier.verify(note) for note in notes]
        assert all(isinstance(each, Checkpoint) for each in found), found
        return [each.size for each in found if isinstance(each, Checkpoint)]


def kept_in(path: Path) -> list[str]:
    """The notes in a file of checkpoints."""
    return [json.loads(line)["note"] for line in path.read_text().splitlines()]


@asynccontextmanager
async def anchored(
    *targets: str | Path,
    otlp: CheckpointEvents | None = None,
    limits: AnchorLimits = QUICK,
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[Anchors]:
    """Running, and closed at the end."""
    anchors = Anchors([str(target) for target in targets], otlp, limits=limits, tls=tls)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(anchors.run)
        yield anchors
        await anchors.close()


async def until(holds: Callable[[], object]) -> None:
    """Look until it holds: a thread or another process brings it about."""
    with trio.fail_after(PATIENCE_S):
        while not holds():  # noqa: ASYNC110  # what it looks at has no event
            await trio.sleep(0.002)


async def everywhere(anchors: Anchors) -> None:
    """Until every place has the newest."""
    await until(lambda: not any(state.behind_since_ns for state in anchors.states))
