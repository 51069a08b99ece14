"""Auditors with keys of their own, and stores that encrypt to them."""

import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from callgate.audit.age import Identity, KeyPair
from callgate.audit.content import ContentStore


@dataclass(frozen=True)
class Auditor:
    """`recipient` goes to the gate, `identities` stay here."""

    pair: KeyPair = field(default_factory=KeyPair.generate)

    @property
    def recipient(self) -> str:
        return self.pair.recipient

    @property
    def identities(self) -> tuple[Identity, ...]:
        identity = Identity.parse(self.pair.identity)
        assert identity is not None
        return (identity,)

    def store(self, folder: Path) -> ContentStore:
        return ContentStore(folder, [self.recipient])


def object_file(folder: Path, digest: str) -> Path:
    """Where an object is, as docs/reference/audit.md says."""
    return folder / "content" / digest[:2] / f"{digest}.age"


def files_below(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def ssh_key(folder: Path, kind: str = "ed25519", passphrase: str = "") -> tuple[Path, str]:
    """A new private key file of OpenSSH, and its public key."""
    path = folder / f"id_{kind}"
    subprocess.run(
        ["ssh-keygen", "-q", "-t", kind, "-N", passphrase, "-C", "auditor@acme.test", "-f", path], check=True
    )
    return path, path.with_suffix(".pub").read_text().strip()
