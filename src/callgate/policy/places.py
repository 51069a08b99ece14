"""Where the parts of a policy's rules stand in its files."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Self

from callgate.policy.file_faults import id_of, rules_of
from callgate.policy.model import POLICY_LIMITS
from callgate.policy.remarks import Check, Level, Remark
from callgate.policy.rule import Rule
from callgate.yaml_strict import Document, YamlPath, load


@dataclass(frozen=True, slots=True)
class Places:
    """The documents of a policy that was loaded, and where each rule is in them, by its id."""

    documents: tuple[Document, ...]
    _rules: Mapping[str, tuple[Document, YamlPath]]

    @classmethod
    def of(cls, files: Iterable[tuple[str, str]]) -> Self:
        """Read the files again, (name, text) each: for deciding nobody needs to know where a pattern stands."""
        found = [load(text, name, POLICY_LIMITS) for name, text in files]
        documents = tuple(document for document in found if isinstance(document, Document))
        rules = {str(id_of(rule)): (doc, path) for doc in documents for path, rule in rules_of(doc.value)}
        return cls(documents, MappingProxyType(rules))

    def remark(self, check: Check, rule: Rule, path: YamlPath, message: str, level: Level | None = None) -> Remark:
        """A remark on the part of `rule` at `path`, or on the whole rule for ()."""
        line, column = rule.line, 1
        if (known := self._rules.get(rule.id)) is not None:
            document, start = known
            line, column = document.position_of((*start, *path))
        return Remark(check, level or check.level, rule.file, line, column, message, rule.id)
