"""What the gate is told of the identity provider that people sign in at."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from callgate.approvals.secret_file import UnusableSecret, read_secret_file

SIGNED_IN_PATH: Final = "/approvals/signed-in"
# The longest that providers make has 64 characters; a file that is larger is another one.
MAX_SECRET_BYTES: Final = 1024


@dataclass(frozen=True, slots=True)
class SignInSettings:
    """One provider, and the gate as its client.

    `site`: where people reach the approvals page, as "https://gate.acme.test:8444".  `client_secret`: None for a public
    client.  `name_claim` says what policies call a person, `groups_claim` lists their groups.  `ca_file`: authorities for
    the provider's TLS certificate in PEM, None for the system's.
    """

    issuer: str
    client_id: str
    site: str
    client_secret: bytes | None = field(default=None, repr=False)
    scopes: tuple[str, ...] = ("openid", "profile", "email", "groups")
    name_claim: str = "email"
    groups_claim: str = "groups"
    ca_file: str | None = None

    @property
    def redirect_uri(self) -> str:
        """What the client has to be registered with, byte for byte (RFC 9700, section 2.1)."""
        return self.site + SIGNED_IN_PATH


def read_client_secret(path: Path) -> bytes:
    """The secret in a file, without the line break at its end.  Raises UnusableSecret; never says what it read."""
    octets = read_secret_file(path, MAX_SECRET_BYTES)
    secret = octets.removesuffix(b"\n").removesuffix(b"\r")
    # RFC 6749, appendix A.2: client-secret = *VSCHAR.
    if not secret or any(not 0x20 <= octet <= 0x7E for octet in secret):
        raise UnusableSecret(f"{path}: not one line of 1 to {MAX_SECRET_BYTES} printable ASCII characters")
    return secret
