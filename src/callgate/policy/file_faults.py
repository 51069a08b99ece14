"""What no key of a policy file tells by itself.  Asked of a document of any shape, because its file may be refused."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Final, TypeAlias

from callgate.policy.patterns import PatternError, WorkloadPattern
from callgate.policy.rule_faults import faults_of
from callgate.screening.packs import PACKS
from callgate.screening.terms import ENTITIES, GROUPS
from callgate.yaml_model import did_you_mean
from callgate.yaml_strict import Document, Problem, YamlPath, YamlValue, shown

# An entry of a list, and where it stands.
Entry: TypeAlias = tuple[YamlPath, dict[str, YamlValue]]

RULES: Final = ("grants", "denials", "packs")
_WITH_SERVER: Final = (*RULES, "tools", "screening")
# As ids of rules are.
_MAX_ID_CHARACTERS: Final = 63


def faults(document: Document) -> Iterator[Problem]:
    """Everything that is wrong with how the parts of a file go together."""
    rules = list(rules_of(document.value))
    yield from _ids_used_twice(document, rules)
    yield from _foreign_workloads(document, rules)
    yield from _rules_of_no_pack(document)
    for path, rule in rules:
        for step, words in faults_of(rule):
            yield document.problem((*path, *step), words)


def rules_of(value: YamlValue) -> Iterator[Entry]:
    """Where each rule of a document stands, and what it says; the document may have any shape."""
    for key in RULES:
        yield from entries_of(value, key)


def entries_of(value: YamlValue, key: str) -> Iterator[Entry]:
    """The entries of one list of a document."""
    for index, entry in enumerate(_list(_dict(value).get(key))):
        if isinstance(entry, dict):
            yield (key, index), entry


def id_of(rule: Mapping[str, YamlValue]) -> YamlValue:
    """A rule's id.  A pack without one is called by its server and its name."""
    pack, server = rule.get("pack"), rule.get("server")
    if "id" not in rule and isinstance(pack, str) and isinstance(server, str):
        return default_id(server, pack)
    return rule.get("id")


def default_id(server: str, pack: str) -> str:
    """`db-destructive-sql` for `destructive-sql@1` on the server `db`."""
    return f"{server}-{pack.partition('@')[0]}"


def _ids_used_twice(document: Document, rules: Iterable[Entry]) -> Iterator[Problem]:
    first: dict[str, YamlPath] = {}
    for path, rule in rules:
        name = id_of(rule)
        if isinstance(name, str) and first.setdefault(name, path) is not path:
            line = document.position_of((*first[name], "id"))[0]
            yield document.problem((*path, "id"), f"id '{shown(name)}' is used twice; the first is in line {line}")
        elif isinstance(name, str) and "id" not in rule and len(name) > _MAX_ID_CHARACTERS:
            yield document.problem((*path, "id"), f"needs an id: '{shown(name)}' is longer than {_MAX_ID_CHARACTERS}")


def _foreign_workloads(document: Document, rules: Iterable[Entry]) -> Iterator[Problem]:
    listed = _dict(document.value).get("trust_domains")
    if not isinstance(listed, list) or not listed:
        return
    for path, rule in (*rules, *entries_of(document.value, "owners")):
        excepted = _list(_dict(rule.get("except")).get("workloads"))
        for keys, texts in ((("workloads",), _list(rule.get("workloads"))), (("except", "workloads"), excepted)):
            for index, text in enumerate(texts):
                name = _trust_domain_of(text)
                if name is not None and name not in listed:
                    near = did_you_mean(name, [entry for entry in listed if isinstance(entry, str)])
                    words = f"workloads[{index}] is in trust domain '{shown(name)}', which trust_domains does not list{near}"
                    yield document.problem((*path, *keys, index), words)


def _rules_of_no_pack(document: Document) -> Iterator[Problem]:
    for path, entry in entries_of(document.value, "packs"):
        pack = PACKS.get(str(entry.get("pack")))
        for index, rule in enumerate(_list(_dict(entry.get("except")).get("rules"))):
            if pack is not None and isinstance(rule, str) and rule not in pack.rules:
                near = did_you_mean(rule, pack.rules)
                words = f"rules[{index}]: {pack.reference} has no rule '{shown(rule)}'{near}"
                yield document.problem((*path, "except", "rules", index), words)


def unknown_unmasked(documents: Iterable[Document]) -> Iterator[Problem]:
    """Names that a grant unmasks and that are no entity's, no group's and no mask's, in whichever file."""
    known = list(documents)
    names = {*ENTITIES, *GROUPS, *(name for document in known for name in _own_names(document))}
    for document in known:
        for path, grant in entries_of(document.value, "grants"):
            for index, name in enumerate(_list(grant.get("unmask"))):
                if isinstance(name, str) and name not in names:
                    near = did_you_mean(name, sorted(names))
                    words = f"unmask[{index}]: nothing that is masked is called '{shown(name)}'{near}"
                    yield document.problem((*path, "unmask", index), words)


def _own_names(document: Document) -> Iterator[str]:
    for key in ("screening", "grants"):
        for _, entry in entries_of(document.value, key):
            for mask in map(_dict, _list(entry.get("mask"))):
                name = mask.get("name", mask.get("key"))
                if isinstance(name, str):
                    yield name


def unknown_servers(document: Document, servers: frozenset[str]) -> Iterator[Problem]:
    """Servers that no configuration has."""
    for key in _WITH_SERVER:
        for path, entry in entries_of(document.value, key):
            name = entry.get("server")
            if isinstance(name, str) and name not in servers:
                near = did_you_mean(name, sorted(servers))
                yield document.problem((*path, "server"), f"server '{shown(name)}' is not configured{near}")


def recordings_for_nobody(document: Document) -> Iterator[Problem]:
    """Recordings in full, where the configuration names nobody who can read them."""
    # A call that nothing could be recorded of would have to be refused, each time.
    for path, rule in rules_of(document.value):
        if rule.get("record") == "full":
            yield document.problem(
                (*path, "record"),
                "record: full needs somebody who can read it, and audit.recipients of callgate.yaml names nobody",
            )


def approvals_by_nobody(document: Document) -> Iterator[Problem]:
    """Approvals, where the configuration has no place at which people are asked."""
    for path, grant in entries_of(document.value, "grants"):
        if "approval" in grant:
            yield document.problem(
                (*path, "approval"),
                "approval needs a place where people are asked; add 'approvals: {folder: approvals}' to callgate.yaml",
            )


def _trust_domain_of(text: YamlValue) -> str | None:
    try:
        return WorkloadPattern.parse(text).trust_domain if isinstance(text, str) else None
    except PatternError:
        return None


def _dict(value: YamlValue) -> dict[str, YamlValue]:
    return value if isinstance(value, dict) else {}


def _list(value: YamlValue) -> list[YamlValue]:
    return value if isinstance(value, list) else []
