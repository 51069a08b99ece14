"""SPIFFE IDs and trust domain names, read byte for byte.

There is one way to write an ID.  Nothing is normalised, decoded or lowered, so that the name under which a bundle is
found, the one that a policy compares and the one in a token are the same bytes (SPIFFE-ID.md, section 2).
"""

import re
from dataclasses import dataclass
from typing import Final, Self

# Section 2.3: "SPIFFE implementations MUST support SPIFFE URIs up to 2048 bytes in length and SHOULD NOT generate URIs
# of length greater than 2048 bytes".  What nobody should generate is not accepted either.
MAX_SPIFFE_ID_BYTES: Final = 2048
# Section 2.3: "the maximum length of a trust domain name is 255 bytes".
MAX_TRUST_DOMAIN_BYTES: Final = 255

_SCHEME: Final = "spiffe://"
# Section 2.1: "MUST be lowercase", "MUST contain only letters, numbers, dots, dashes, and underscores ([a-z0-9.-_])".
# Section 2.4 calls the same name case-insensitive; two spellings of one name are one too many.
_TRUST_DOMAIN: Final = re.compile(r"[a-z0-9._-]+")
# Section 2.2: "path segments MUST contain only letters, numbers, dots, dashes, and underscores ([a-zA-Z0-9.-_])".
_SEGMENT: Final = re.compile(r"[A-Za-z0-9._-]+")


class InvalidSpiffeId(ValueError):  # noqa: N818  # says what the input is
    """The text is no SPIFFE ID, or no trust domain name.

    `code` is stable: scheme, missing_trust_domain, td_charset, td_too_long, path_charset, empty_segment, dot_segment,
    trailing_slash, too_long.
    """

    def __init__(self, code: str) -> None:
        super().__init__(f"not a SPIFFE ID: {code}")
        self.code = code


@dataclass(frozen=True, slots=True)
class TrustDomain:
    """A trust domain name, such as `acme.test`.  One that breaks the rules cannot be made: InvalidSpiffeId."""

    name: str

    def __post_init__(self) -> None:
        if not self.name:
            raise InvalidSpiffeId("missing_trust_domain")
        if not _TRUST_DOMAIN.fullmatch(self.name):
            raise InvalidSpiffeId("td_charset")
        if len(self.name) > MAX_TRUST_DOMAIN_BYTES:
            raise InvalidSpiffeId("td_too_long")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a name, or take it from a whole SPIFFE ID: the Workload API names bundles `spiffe://acme.test`."""
        return cls(SpiffeId.parse(text).trust_domain.name if ":/" in text else text)

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class SpiffeId:
    """A SPIFFE ID; `path` is "" or starts with a slash.  One that breaks the rules cannot be made: InvalidSpiffeId."""

    trust_domain: TrustDomain
    path: str

    def __post_init__(self) -> None:
        # Every character that the rules let through is one byte, so that characters count bytes.
        if len(_SCHEME) + len(self.trust_domain.name) + len(self.path) > MAX_SPIFFE_ID_BYTES:
            raise InvalidSpiffeId("too_long")
        if self.path:
            _check_path(self.path)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `spiffe://<trust domain><path>`."""
        if len(text) > MAX_SPIFFE_ID_BYTES:
            raise InvalidSpiffeId("too_long")
        if not text.startswith(_SCHEME):
            raise InvalidSpiffeId("scheme")
        name, slash, rest = text[len(_SCHEME) :].partition("/")
        return cls(TrustDomain(name), slash + rest)

    def __str__(self) -> str:
        return f"{_SCHEME}{self.trust_domain.name}{self.path}"


def _check_path(path: str) -> None:
    # Section 2.2: "MUST NOT include segments that are empty or are relative path modifiers (i.e. `.`, `..`)", and
    # "MUST NOT include a trailing `/`".
    before, *segments = path.split("/")
    if before:
        raise InvalidSpiffeId("path_charset")
    for number, segment in enumerate(segments, start=1):
        if not segment:
            raise InvalidSpiffeId("trailing_slash" if number == len(segments) else "empty_segment")
        if segment in {".", ".."}:
            raise InvalidSpiffeId("dot_segment")
        if not _SEGMENT.fullmatch(segment):
            raise InvalidSpiffeId("path_charset")
