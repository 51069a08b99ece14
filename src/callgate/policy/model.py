"""The policy file as it is written: what each key may hold, and what the keys must be to each other.

The whole file is refused for one mistake in it.  A key that a later version knows is a mistake here: a rule that was
read without its condition would let more through than its author wrote.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Annotated, ClassVar, Final

from pydantic import AfterValidator, Field

from callgate.identity.spiffe_id import InvalidSpiffeId, TrustDomain
from callgate.policy.patterns import PatternError, ToolPattern, WorkloadPattern
from callgate.yaml_model import Items, Seconds, StrictModel, did_you_mean
from callgate.yaml_strict import Document, Problem, YamlLimits, YamlPath, YamlValue, shown

# 10 000 rules of 250 bytes each, with room for comments.
POLICY_LIMITS: Final = YamlLimits(max_bytes=4 * 1024 * 1024)
# More than people can look over; decisions stay cheap up to here.
MAX_RULES: Final = 10_000
# A rule that needs more patterns wants a wildcard, and each of them is tried on each call.
MAX_PATTERNS_IN_RULE: Final = 1_000
MAX_TRUST_DOMAINS: Final = 1_000
# They all go into one token, and that into one header line of 8 KiB.
MAX_SCOPES_IN_GRANT: Final = 32
MAX_SCOPE_CHARACTERS: Final = 128
MAX_DESCRIPTION_CHARACTERS: Final = 2_000
# Shorter, and clocks must agree better than they do; longer, and a stolen token outlives its call.
MIN_TTL_S: Final = 5
MAX_TTL_S: Final = 60

# Names in a decision that are no rule's.
DEFAULT_DENY: Final = "default-deny"
MORE_RULES: Final = "more-rules"
# Scopes that say which call this is are the gate's to write.
RESERVED_SCOPE_PREFIXES: Final = ("tool:", "mcp:")

_RULE_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
# Also a path segment of the gate's URL and a label in metrics.
_SERVER_NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
# RFC 6749, section 3.3: scope-token = 1*( %x21 / %x23-5B / %x5D-7E ).
_SCOPE_TOKEN: Final = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+")


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
    if _SCOPE_TOKEN.fullmatch(text) is None:
        raise ValueError("must be one scope: printable ASCII without space, '\"' and '\\' (RFC 6749, section 3.3)")
    if text.startswith(RESERVED_SCOPE_PREFIXES):
        raise ValueError("must not start with 'tool:' or 'mcp:': the gate adds the scope that names the tool")
    return text


def _check_ttl(seconds: int) -> int:
    if not MIN_TTL_S <= seconds <= MAX_TTL_S:
        raise ValueError(f"must be from {MIN_TTL_S}s to {MAX_TTL_S}s")
    return seconds


RuleId = Annotated[str, AfterValidator(_check_rule_id)]
ServerName = Annotated[str, AfterValidator(check_server_name)]
Workload = Annotated[str, AfterValidator(_check_workloads)]
Tool = Annotated[str, AfterValidator(_check_tools)]
Scope = Annotated[str, Field(max_length=MAX_SCOPE_CHARACTERS), AfterValidator(_check_scope)]
TokenSeconds = Annotated[Seconds, AfterValidator(_check_ttl)]
Description = Annotated[str, Field(max_length=MAX_DESCRIPTION_CHARACTERS)]


class GrantEntry(StrictModel):
    """Who may use which tools of which server, and what the token then says."""

    later: ClassVar = frozenset(
        {"when", "limit", "approval", "mask", "record", "until", "for", "from", "between", "users", "groups", "shadow"}
    )

    id: RuleId
    description: Description = ""
    workloads: Items[Workload] = Field(min_length=1, max_length=MAX_PATTERNS_IN_RULE)
    server: ServerName
    tools: Items[Tool] = Field(min_length=1, max_length=MAX_PATTERNS_IN_RULE)
    scopes: Items[Scope] | None = Field(default=None, min_length=1, max_length=MAX_SCOPES_IN_GRANT)
    ttl_s: TokenSeconds | None = Field(default=None, alias="ttl")


class DenialEntry(StrictModel):
    """Which tools of which server nobody may use, or none of these workloads."""

    later: ClassVar = frozenset({"when", "until", "for", "from", "between", "users", "groups", "shadow"})

    id: RuleId
    description: Description = ""
    workloads: Items[Workload] | None = Field(default=None, min_length=1, max_length=MAX_PATTERNS_IN_RULE)
    server: ServerName
    tools: Items[Tool] = Field(min_length=1, max_length=MAX_PATTERNS_IN_RULE)


class PolicyFile(StrictModel):
    """The whole file.  Without grants it denies everything, which is a policy."""

    later: ClassVar = frozenset({"tags", "tools", "include", "history", "limits", "shadow", "issuers", "approvals"})

    version: Annotated[int, AfterValidator(_check_version)]
    trust_domains: Items[Annotated[str, AfterValidator(_check_trust_domain)]] = Field(
        min_length=1, max_length=MAX_TRUST_DOMAINS
    )
    grants: Items[GrantEntry] = Field(default=(), max_length=MAX_RULES)
    denials: Items[DenialEntry] = Field(default=(), max_length=MAX_RULES)


def cross_check(document: Document, servers: frozenset[str] | None) -> Iterator[Problem]:
    """What no key tells by itself; `servers` are the ones that exist, None where that is not known.

    The document may have any shape: this is asked of a file that has been refused, too.
    """
    rules = list(_rules(document.value))
    yield from _ids_used_twice(document, rules)
    yield from _foreign_workloads(document, rules)
    if servers is not None:
        yield from _unknown_servers(document, rules, servers)


def _rules(value: YamlValue) -> Iterator[tuple[YamlPath, dict[str, YamlValue]]]:
    for kind in ("grants", "denials"):
        for index, rule in enumerate(_list(_dict(value).get(kind))):
            if isinstance(rule, dict):
                yield (kind, index), rule


def _ids_used_twice(document: Document, rules: Iterable[tuple[YamlPath, dict[str, YamlValue]]]) -> Iterator[Problem]:
    first: dict[str, YamlPath] = {}
    for path, rule in rules:
        name = rule.get("id")
        if isinstance(name, str) and first.setdefault(name, path) is not path:
            line = document.position_of((*first[name], "id"))[0]
            yield document.problem((*path, "id"), f"id '{shown(name)}' is used twice; the first is in line {line}")


def _foreign_workloads(document: Document, rules: Iterable[tuple[YamlPath, dict[str, YamlValue]]]) -> Iterator[Problem]:
    listed = _dict(document.value).get("trust_domains")
    if not isinstance(listed, list) or not listed:
        return
    for path, rule in rules:
        for index, text in enumerate(_list(rule.get("workloads"))):
            name = _trust_domain_of(text)
            if name is not None and name not in listed:
                near = did_you_mean(name, [entry for entry in listed if isinstance(entry, str)])
                words = (
                    f"workloads[{index}] is in trust domain '{shown(name)}', which trust_domains does not list{near}"
                )
                yield document.problem((*path, "workloads", index), words)


def _unknown_servers(
    document: Document, rules: Iterable[tuple[YamlPath, dict[str, YamlValue]]], servers: frozenset[str]
) -> Iterator[Problem]:
    for path, rule in rules:
        name = rule.get("server")
        if isinstance(name, str) and name not in servers:
            near = did_you_mean(name, sorted(servers))
            yield document.problem((*path, "server"), f"server '{shown(name)}' is not configured{near}")


def _trust_domain_of(text: YamlValue) -> str | None:
    try:
        return WorkloadPattern.parse(text).trust_domain if isinstance(text, str) else None
    except PatternError:
        return None


def _dict(value: YamlValue) -> dict[str, YamlValue]:
    return value if isinstance(value, dict) else {}


def _list(value: YamlValue) -> list[YamlValue]:
    return value if isinstance(value, list) else []
