"""On whose behalf a workload calls: the user that a verified access token names."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class User:
    """A user as a verified access token tells of one.

    `issuer` and `subject` are the token's `iss` and `sub`, which only together name somebody (RFC 7519, section
    4.1.2).  `groups` are those of the claim that the configuration names for this issuer.  `claims` holds the claims
    that the configuration names, as the token had them (JSON values), and no others.
    """

    issuer: str
    subject: str
    groups: tuple[str, ...] = ()
    claims: Mapping[str, object] = field(default_factory=lambda: MappingProxyType({}))
