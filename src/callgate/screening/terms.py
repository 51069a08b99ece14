"""The words of screening: what is looked for, what becomes of it, and what one call is screened by."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final


class Mode(StrEnum):
    """What becomes of a value that was found.

    `redact`: a word stands in its place.  `partial`: its last four letters or digits are left.  `pseudonym`: a keyed
    name stands in its place, the same each time for one workload.  `drop`: the whole text that holds it goes, with the
    member or entry that it is the value of.  `deny`: the whole message is refused.  `hold`: of arguments, a person has
    to agree.
    """

    REDACT = "redact"
    PARTIAL = "partial"
    PSEUDONYM = "pseudonym"
    DROP = "drop"
    DENY = "deny"
    HOLD = "hold"


class Handling(StrEnum):
    """What becomes of deceptive text, and of base64 content."""

    PASS = "pass"  # noqa: S105  # a verdict, no secret
    STRIP = "strip"
    SCREEN = "screen"
    DENY = "deny"


class Schemas(StrEnum):
    """Whether payloads are held against the tool's schemas.

    `known`: where the gate knows them.  `required`: a call of a tool whose schemas are not known is refused.
    """

    OFF = "off"
    KNOWN = "known"
    REQUIRED = "required"


# By what they are called in policies, traces, metrics and records.  National identifiers have names of their own, by
# ISO 3166 country and what it is called there.
NATIONAL_IDS: Final = (
    "au_tfn", "br_cpf", "ca_sin", "ch_ahv", "cn_ric", "de_tax_id", "dk_cpr", "es_dni", "fi_hetu", "fr_nir", "in_aadhaar",
    "it_codice_fiscale", "kr_rrn", "nl_bsn", "no_fnr", "pl_pesel", "pt_nif", "se_personnummer", "uk_nhs", "uk_nino",
    "za_id",
)  # fmt: skip
ENTITIES: Final = (
    "email",
    "phone",
    "card",
    "iban",
    "us_ssn",
    *NATIONAL_IDS,
    "ipv4",
    "ipv6",
    "mac",
    "birth_date",
    "secret",
)
# Names for several at once.
GROUPS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "all": ENTITIES,
        "personal": tuple(entity for entity in ENTITIES if entity != "secret"),
        "national_id": ("us_ssn", *NATIONAL_IDS),
        "ip": ("ipv4", "ipv6"),
    }
)
# What text can deceive with, by what it is called in traces.  `lookalike`: of two tools' names in one list.
DECEPTIONS: Final = ("ansi", "bidi", "zero_width", "tag_chars", "homoglyph", "control", "lookalike")


@dataclass(frozen=True, slots=True)
class MaskRule:
    """What is masked, and how.  Exactly one of `entity`, `pattern`, `key` and `pointer` is not "".

    `entity`: one of ENTITIES.  `pattern`: RE2.  `key`: the name of members, whatever the case and without `_` and `-`.
    `pointer`: RFC 6901, from the root of `arguments`, or of `structuredContent`; `*` is any one step.
    `name` is what finds are counted as: the entity, or what the author calls it.
    """

    mode: Mode
    name: str
    entity: str = ""
    pattern: str = ""
    key: str = ""
    pointer: str = ""


@dataclass(frozen=True, slots=True)
class Screening:
    """What one call is screened by: what its server asks for, and its grants.

    `held`: what a person has to agree to where it stands in the arguments, whatever becomes of it beside that.
    """

    answers: tuple[MaskRule, ...] = ()
    arguments: tuple[MaskRule, ...] = ()
    held: tuple[MaskRule, ...] = ()
    base64: Handling = Handling.SCREEN
    definitions: Handling = Handling.STRIP
    results: Handling = Handling.STRIP
    schemas: Schemas = Schemas.KNOWN


@dataclass(frozen=True, slots=True)
class Found:
    """Something that was found in a text: what, and where, in code points."""

    name: str
    start: int
    end: int
