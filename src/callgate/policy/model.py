"""The policy file as it is written: what each key may hold, and what the keys must be to each other.

The whole file is refused for one mistake in it.
"""

import re
from collections.abc import Iterator
from typing import Annotated, ClassVar, Final, Literal, Self

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, WithJsonSchema, model_validator

from callgate.identity.spiffe_id import InvalidSpiffeId, TrustDomain
from callgate.policy import file_faults
from callgate.policy.approval_entries import ApprovalEntry, OwnedEntry
from callgate.policy.mask_entries import (
    MASK_NAME,
    MAX_DECLARED,
    MAX_MASKS,
    ArgumentMask,
    Dialect,
    Mask,
    Place,
    ShellForm,
    check_mask_name,
)
from callgate.policy.moments import Hours, Moment, Zone
from callgate.policy.patterns import TOOL_PATTERN, ToolPattern, WorkloadPattern
from callgate.policy.record_level import RecordLevel
from callgate.policy.templates import MAX_SCOPE_CHARACTERS, SCOPE_PATTERN, ScopeTemplate
from callgate.screening.packs import PACKS, pack_problem
from callgate.screening.terms import GROUPS
from callgate.yaml_model import Items, Seconds, StrictModel, did_you_mean, text_form
from callgate.yaml_strict import Document, Problem, YamlLimits

# 10 000 rules of 250 bytes each, with room for comments.
POLICY_LIMITS: Final = YamlLimits(max_bytes=4 * 1024 * 1024)
# More than people can look over; decisions stay cheap up to here.
MAX_RULES: Final = 10_000
# A rule that needs more patterns wants a wildcard, and each of them is tried on each call.
MAX_PATTERNS_IN_RULE: Final = 1_000
MAX_TRUST_DOMAINS: Final = 1_000
# They all go into one token, and that into one header line of 8 KiB.
MAX_SCOPES_IN_GRANT: Final = 32
MAX_DESCRIPTION_CHARACTERS: Final = 2_000
# Shorter, and clocks must agree better than they do; longer, and a stolen token outlives its call.
MIN_TTL_S: Final = 5
MAX_TTL_S: Final = 60

# A condition is read in one look; what is longer wants to be two rules.
MAX_EXPRESSION_CHARACTERS: Final = 2_000
MAX_NAME_CHARACTERS: Final = 512
MAX_TAGS: Final = 32
# The times of that many calls are kept for each workload and tool.
MAX_LIMIT_CALLS: Final = 1_000
# As many as there are servers in a configuration, each with some sorts of tools.
MAX_SCREENING_ENTRIES: Final = 1_000
# As long as a workload's history is kept.
MAX_WINDOW_S: Final = 24 * 3600
# A leap year.  What ends later has a date at which it does, and that is `until`.
MAX_LASTING_S: Final = 366 * 24 * 3600
# One for each team that builds agents.
MAX_OWNERS: Final = 1_000

# Names in a decision that are no rule's.
DEFAULT_DENY: Final = "default-deny"
MORE_RULES: Final = "more-rules"

_TAG: Final = re.compile(r"[a-z][a-z0-9_]{0,62}")
_RULE_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
# Also a path segment of the gate's URL and a label in metrics.
_SERVER_NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")


def check_server_name(text: str) -> str:
    """A server's name as both files write it.  Raises ValueError."""
    if _SERVER_NAME.fullmatch(text) is None:
        raise ValueError("must be 1 to 63 of a-z, 0-9 and '-', and start with a letter or digit")
    return text


def _check_version(version: int) -> int:
    if version != 1:
        raise ValueError(f"must be 1, the only one that this callgate reads; it is {version}")
    return version


def _check_rule_id(text: str) -> str:
    if _RULE_ID.fullmatch(text) is None:
        raise ValueError("must be 1 to 63 letters, digits, '.', '_' and '-', and start with a letter or digit")
    if text in {DEFAULT_DENY, MORE_RULES}:
        raise ValueError(f"must not be '{text}': decisions use that name for something else")
    return text


def _check_trust_domain(text: str) -> str:
    try:
        return TrustDomain(text).name
    except InvalidSpiffeId as error:
        raise ValueError(
            "must be a trust domain's name alone, such as acme.test, of a-z, 0-9, '.', '-', '_'"
        ) from error


def _check_workloads(text: str) -> str:
    return WorkloadPattern.parse(text).text


def _check_tools(text: str) -> str:
    return ToolPattern.parse(text).text


def _check_scope(text: str) -> str:
    return ScopeTemplate.parse(text).text


def _check_ttl(seconds: int) -> int:
    if not MIN_TTL_S <= seconds <= MAX_TTL_S:
        raise ValueError(f"must be from {MIN_TTL_S}s to {MAX_TTL_S}s")
    return seconds


def _check_tag(text: str) -> str:
    if _TAG.fullmatch(text) is None:
        raise ValueError("must be 1 to 63 of a-z, 0-9 and '_', and start with a letter")
    return text


def _at_most(limit_s: int) -> AfterValidator:
    def check(seconds: int) -> int:
        if seconds > limit_s:
            raise ValueError(f"must be at most {limit_s // 3600}h")
        return seconds

    return AfterValidator(check)


def _only_true(value: object) -> object:
    if value is not True:
        raise ValueError("must be true; where no user is needed, leave 'users' out")
    return value


def _check_pack(text: str) -> str:
    if problem := pack_problem(text):
        raise ValueError(f"{problem}{did_you_mean(text, PACKS)}")
    return text


def _check_unmasked(text: str) -> str:
    return text if text in GROUPS else check_mask_name(text)


RuleId = Annotated[
    str,
    AfterValidator(_check_rule_id),
    text_form(_RULE_ID.pattern, "billing-reads-invoices", **{"not": {"enum": [DEFAULT_DENY, MORE_RULES]}}),
]
ServerName = Annotated[str, AfterValidator(check_server_name), text_form(_SERVER_NAME.pattern, "ledger")]
TrustDomainName = Annotated[str, AfterValidator(_check_trust_domain), text_form("[a-z0-9._-]{1,255}", "acme.test")]
Workload = Annotated[
    str,
    AfterValidator(_check_workloads),
    text_form(r"spiffe://[a-z0-9._-]{1,255}(?:/(?:\*\*?|[A-Za-z0-9._-]+))+", "spiffe://acme.test/ns/billing/sa/*"),
]
Tool = Annotated[str, AfterValidator(_check_tools), text_form(TOOL_PATTERN.pattern, "get_invoice", "list_*")]
Scope = Annotated[
    str,
    Field(max_length=MAX_SCOPE_CHARACTERS),
    AfterValidator(_check_scope),
    text_form(SCOPE_PATTERN, "ledger.read", "ledger.account:{args.account}", maxLength=MAX_SCOPE_CHARACTERS),
]
TokenSeconds = Annotated[Seconds, AfterValidator(_check_ttl)]
WindowSeconds = Annotated[Seconds, _at_most(MAX_WINDOW_S)]
LastingSeconds = Annotated[Seconds, _at_most(MAX_LASTING_S)]
Name = Annotated[str, Field(min_length=1, max_length=MAX_NAME_CHARACTERS)]
Tag = Annotated[str, AfterValidator(_check_tag), text_form(_TAG.pattern, "reads_private")]
Masks = Annotated[Items[Mask], Field(min_length=1, max_length=MAX_MASKS)]
ArgumentMasks = Annotated[Items[ArgumentMask], Field(min_length=1, max_length=MAX_MASKS)]
Unmasked = Annotated[str, AfterValidator(_check_unmasked), text_form(MASK_NAME.pattern, "email", "employee")]
PackReference = Annotated[str, AfterValidator(_check_pack), WithJsonSchema({"type": "string", "enum": [*PACKS]})]
TextHandling = Literal["strip", "deny", "pass"]
Weekday = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
# The text alone: it is compiled where the rest of the rule is.
Expression = Annotated[str, Field(min_length=1, max_length=MAX_EXPRESSION_CHARACTERS)]
Description = Annotated[str, Field(max_length=MAX_DESCRIPTION_CHARACTERS)]


class UsersEntry(StrictModel):
    """On whose behalf: all of what is given must hold.

    `any` is true and stands alone: any user, but a user.  `groups`: one of them is enough.
    """

    model_config = ConfigDict(
        json_schema_extra={"minProperties": 1, "dependentSchemas": {"any": {"maxProperties": 1}}},
    )

    any: Annotated[Literal[True], BeforeValidator(_only_true)] | None = None
    issuers: Items[Name] | None = Field(default=None, min_length=1, max_length=MAX_PATTERNS_IN_RULE)
    subjects: Items[Name] | None = Field(default=None, min_length=1, max_length=MAX_PATTERNS_IN_RULE)
    groups: Items[Name] | None = Field(default=None, min_length=1, max_length=MAX_PATTERNS_IN_RULE)


class BetweenEntry(StrictModel):
    """Hours of a day and days of a week, by the clocks of a time zone."""

    model_config = ConfigDict(json_schema_extra={"anyOf": [{"required": ["days"]}, {"required": ["hours"]}]})

    days: Items[Weekday] | None = Field(default=None, min_length=1, max_length=7)
    hours: Hours | None = None
    zone: Zone = "UTC"


class LimitEntry(StrictModel):
    """How many calls of one tool a workload may make in any stretch of time that long."""

    calls: int = Field(ge=1, le=MAX_LIMIT_CALLS)
    per_s: WindowSeconds = Field(alias="per")


class _NamedEntry(StrictModel):
    """A rule has a name of its own."""

    id: RuleId


class _ConditionsEntry(StrictModel):
    """What all rules have in common."""

    model_config = ConfigDict(json_schema_extra={"dependentRequired": {"for": ["from"]}})

    description: Description = ""
    server: ServerName
    tools: Items[Tool] = Field(min_length=1, max_length=MAX_PATTERNS_IN_RULE)
    users: UsersEntry | None = None
    when: Expression | None = None
    starts: Moment | None = Field(default=None, alias="from")
    until: Moment | None = None
    lasts_s: LastingSeconds | None = Field(default=None, alias="for")
    between: BetweenEntry | None = None
    shadow: bool = False


class GrantEntry(_ConditionsEntry, _NamedEntry):
    """Who may use which tools of which server, what the token then says, and what more is masked.

    `unmask` takes from what the server's own screening masks in answers, wherever each grant that applies says so.
    """

    workloads: Items[Workload] = Field(min_length=1, max_length=MAX_PATTERNS_IN_RULE)
    scopes: Items[Scope] | None = Field(default=None, min_length=1, max_length=MAX_SCOPES_IN_GRANT)
    ttl_s: TokenSeconds | None = Field(default=None, alias="ttl")
    limit: LimitEntry | None = None
    approval: ApprovalEntry | None = None
    mask: Masks | None = None
    unmask: Items[Unmasked] | None = Field(default=None, min_length=1, max_length=MAX_MASKS)
    mask_arguments: ArgumentMasks | None = None
    record: RecordLevel | None = None


class DenialEntry(_ConditionsEntry, _NamedEntry):
    """Which tools of which server nobody may use, or none of these workloads."""

    workloads: Items[Workload] | None = Field(default=None, min_length=1, max_length=MAX_PATTERNS_IN_RULE)


class _SaysSomething(StrictModel):
    """An entry of which at least one of `says` has to be there."""

    says: ClassVar[tuple[str, ...]] = ()

    @model_validator(mode="after")
    def _something(self) -> Self:
        if all(getattr(self, key) is None for key in self.says):
            *others, last = (f"'{key}'" for key in self.says)
            raise ValueError(f"must have {', '.join(others)} or {last}")
        return self


def _one_of(*keys: str) -> ConfigDict:
    return ConfigDict(json_schema_extra={"anyOf": [{"required": [key]} for key in keys]})


class ExceptEntry(_SaysSomething):
    """What a pack is not about: rules of it, tools, workloads.  Each of them by itself is enough."""

    says = ("rules", "tools", "workloads")
    model_config = _one_of(*says)

    rules: Items[Name] | None = Field(default=None, min_length=1, max_length=MAX_PATTERNS_IN_RULE)
    tools: Items[Tool] | None = Field(default=None, min_length=1, max_length=MAX_PATTERNS_IN_RULE)
    workloads: Items[Workload] | None = Field(default=None, min_length=1, max_length=MAX_PATTERNS_IN_RULE)


class _MaybeNamedEntry(StrictModel):
    """A rule that can be called by what it says."""

    id: RuleId | None = None


class PackEntry(_ConditionsEntry, _MaybeNamedEntry):
    """A denial of every call that breaks a rule of a pack; where there is `when`, only of those for which it holds, too.

    Without an id it is called by its server and the pack: `db-destructive-sql`.
    """

    pack: PackReference
    tools: Items[Tool] = Field(default=("*",), min_length=1, max_length=MAX_PATTERNS_IN_RULE)
    workloads: Items[Workload] | None = Field(default=None, min_length=1, max_length=MAX_PATTERNS_IN_RULE)
    exceptions: ExceptEntry | None = Field(default=None, alias="except")


class ToolsEntry(_SaysSomething):
    """What these tools do, in words that conditions ask for, and which of their arguments are programs."""

    says = ("tags", "sql", "shell")
    model_config = _one_of(*says)

    server: ServerName
    tools: Items[Tool] = Field(min_length=1, max_length=MAX_PATTERNS_IN_RULE)
    tags: Items[Tag] | None = Field(default=None, min_length=1, max_length=MAX_TAGS)
    sql: dict[Place, Dialect] | None = Field(default=None, min_length=1, max_length=MAX_DECLARED)
    shell: dict[Place, ShellForm] | None = Field(default=None, min_length=1, max_length=MAX_DECLARED)


class TextEntry(_SaysSomething):
    """What becomes of text that deceives: in definitions of tools, and in what they answer."""

    says = ("definitions", "results")
    model_config = _one_of(*says)

    definitions: TextHandling | None = None
    results: TextHandling | None = None


class ScreeningEntry(_SaysSomething):
    """What the arguments and answers of a server's tools are screened by, whoever calls."""

    says = ("mask", "mask_arguments", "base64", "text", "schemas")
    model_config = _one_of(*says)

    server: ServerName
    tools: Items[Tool] = Field(default=("*",), min_length=1, max_length=MAX_PATTERNS_IN_RULE)
    mask: Masks | None = None
    mask_arguments: ArgumentMasks | None = None
    base64: Literal["pass", "screen", "deny"] | None = None
    text: TextEntry | None = None
    schemas: Literal["off", "known", "required"] | None = None


class OwnersEntry(OwnedEntry):
    """Which workloads these people and groups answer for."""

    workloads: Items[Workload] = Field(min_length=1, max_length=MAX_PATTERNS_IN_RULE)


class PolicyFile(StrictModel):
    """One file.  Without grants it denies everything, which is a policy."""

    version: Annotated[int, AfterValidator(_check_version), WithJsonSchema({"const": 1})]
    trust_domains: Items[TrustDomainName] = Field(min_length=1, max_length=MAX_TRUST_DOMAINS)
    tools: Items[ToolsEntry] = Field(default=(), max_length=MAX_RULES)
    screening: Items[ScreeningEntry] = Field(default=(), max_length=MAX_SCREENING_ENTRIES)
    owners: Items[OwnersEntry] = Field(default=(), max_length=MAX_OWNERS)
    packs: Items[PackEntry] = Field(default=(), max_length=MAX_RULES)
    grants: Items[GrantEntry] = Field(default=(), max_length=MAX_RULES)
    denials: Items[DenialEntry] = Field(default=(), max_length=MAX_RULES)


def cross_check(
    document: Document, servers: frozenset[str] | None, *, has_auditors: bool = True, has_approvals: bool = True
) -> Iterator[Problem]:
    """What no key tells by itself; `servers` are the ones that exist, None where that is not known.

    `has_auditors`: whether the configuration names somebody who can read what is recorded in full; `has_approvals`:
    whether it says where people are asked; True where that is not known.  The document may have any shape: this is asked
    of a file that has been refused, too.
    """
    yield from file_faults.faults(document)
    if servers is not None:
        yield from file_faults.unknown_servers(document, servers)
    if not has_auditors:
        yield from file_faults.recordings_for_nobody(document)
    if not has_approvals:
        yield from file_faults.approvals_by_nobody(document)
