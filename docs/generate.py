"""The reference tables, made from the code: `python docs/generate.py` writes them into their pages.

A table stands between `<!-- generated: NAME -->` and `<!-- end -->`.  What the code does not say in words stands in
reference/words.yaml; `docs/check.py` fails where a page or the words have fallen behind.
"""

import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Literal, get_args, get_origin

import yaml
from annotated_types import Ge, Gt, Le
from pydantic import BaseModel, TypeAdapter
from pydantic.fields import FieldInfo

from callgate.addresses import Address
from callgate.config import Config
from callgate.errors import ANSWERS, Reason
from callgate.identity.spiffe_id import SpiffeId
from callgate.policy.model import PolicyFile
from callgate.trace import Stage
from callgate.wire.methods import METHODS, Kind

DOCS: Final = Path(__file__).parent
_MARKED: Final = re.compile(r"(<!-- generated: ([\w.]+) -->\n).*?(<!-- end -->)", re.DOTALL)
_BOUNDS: Final = {Ge: "from", Gt: "more than", Le: "at most"}


class ReasonWords(BaseModel):
    """What people should know of one reason; `sent` is False where no HTTP answer goes out."""

    stage: Stage
    means: str
    do: str
    sent: bool = True


class Words(BaseModel):
    """words.yaml."""

    reasons: dict[Reason, ReasonWords]
    config: dict[str, str]
    policy: dict[str, str]


class StaleWordsError(Exception):
    """words.yaml has words for what is not there, or none for what is."""


def read_words() -> Words:
    """Raises ValidationError."""
    found = yaml.safe_load((DOCS / "reference" / "words.yaml").read_text(encoding="utf-8"))
    return TypeAdapter(Words).validate_python(
        {"reasons": found["reasons"], "config": found["callgate.yaml"], "policy": found["policy.yaml"]}
    )


def reasons_table() -> str:
    """One table a stage."""
    words = read_words().reasons
    _compare(words, Reason, "reason")
    return "\n".join(f"### {stage}\n\n{_reasons_of(stage, words)}" for stage in Stage if _any(stage, words))


def _any(stage: Stage, words: Mapping[Reason, ReasonWords]) -> bool:
    return any(told.stage is stage for told in words.values())


def _reasons_of(stage: Stage, words: Mapping[Reason, ReasonWords]) -> str:
    rows = [
        (f"`{reason}`", *_on_the_wire(reason, words[reason]), words[reason].means, words[reason].do)
        for reason in Reason
        if words[reason].stage is stage
    ]
    return _table(("Reason", "HTTP", "JSON-RPC", "Means", "What to do"), rows)


def _on_the_wire(reason: Reason, words: ReasonWords) -> tuple[str, str]:
    if not words.sent:
        return "none", "none"
    answer = ANSWERS[reason]
    legacy = f", legacy {answer.legacy_http_status}" if answer.legacy_http_status else ""
    return f"{answer.http_status}{legacy}{', closes' if answer.closes else ''}", str(answer.rpc_code)


def methods_table() -> str:
    """Every method that the gate knows."""
    rows = [
        (f"`{name}`", ", ".join(sorted(row.eras)), "" if row.kind is Kind.REQUEST else str(row.kind), str(row.service))
        for name, row in METHODS.items()
    ]
    return _table(("Method", "Era", "", "The gate"), rows)


def config_table() -> str:
    """Every key of callgate.yaml."""
    return _keys_table(Config, read_words().config)


def policy_table() -> str:
    """Every key of the policy file."""
    return _keys_table(PolicyFile, read_words().policy)


def _keys_table(model: type[BaseModel], words: Mapping[str, str]) -> str:
    keys = dict(_keys(model, ""))
    _compare(words, keys, "key")
    rows = [
        (f"`{key}`", _form(key, field), _default(field), _sentence(words[key], field.description))
        for key, field in keys.items()
    ]
    return _table(("Key", "Form", "Default", "Meaning, and the default's reason"), rows)


def _keys(model: type[BaseModel], prefix: str) -> Iterator[tuple[str, FieldInfo]]:
    for name, field in model.model_fields.items():
        key = f"{prefix}{field.alias or name}"
        inner = _model_in(field.annotation)
        if inner is None:
            yield key, field
        else:
            yield from _keys(inner, f"{key}{_INSIDE.get(get_origin(field.annotation), '')}.")


_INSIDE: Final[Mapping[Any, str]] = MappingProxyType({tuple: "[]", Mapping: ".<name>"})


def _model_in(annotation: Any) -> type[BaseModel] | None:  # noqa: ANN401  # annotations have no type of their own
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for part in get_args(annotation) if (found := _model_in(part))), None)


def _form(key: str, field: FieldInfo) -> str:
    name = key.rpartition(".")[2]
    if get_origin(field.annotation) is Literal:
        return " or ".join(f"`{value}`" for value in get_args(field.annotation))
    if name.endswith(("_s", "_bytes")):
        return _bounded("seconds" if name.endswith("_s") else "bytes", field, "")
    if name in {"ttl", "connect", "first_byte", "total"}:
        return _bounded("duration", field, "s")
    if name.startswith(("max_", "requests_")):
        return _bounded("number", field, "")
    return next((form for kind, form in _FORMS.items() if kind in _kinds(field.annotation)), "text")


_FORMS: Final[Mapping[Any, str]] = MappingProxyType({tuple: "list", Address: "address:port", SpiffeId: "SPIFFE ID"})


def _kinds(annotation: Any) -> set[Any]:  # noqa: ANN401  # annotations have no type of their own
    found = {annotation, get_origin(annotation)}
    return found.union(*(_kinds(part) for part in get_args(annotation)))


def _bounded(form: str, field: FieldInfo, unit: str) -> str:
    told = [
        f"{word} {getattr(bound, kind.__name__.lower())}{unit}"
        for kind, word in _BOUNDS.items()
        for bound in field.metadata
        if isinstance(bound, kind)
    ]
    return ", ".join([form, *told])


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    # A factory's default depends on another key, and its words say how.
    value = field.default
    if field.default_factory is not None or value in (None, "", ()):
        return "none"
    is_duration = field.alias is not None and isinstance(value, int)
    return f"`{value}s`" if is_duration else f"`{value}`"


def _sentence(meaning: str, reason: str | None) -> str:
    if reason is None:
        return meaning
    told = f"{reason[0].upper()}{reason[1:]}."
    return f"{meaning} *{told}*" if meaning else told


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "".join(f"| {' | '.join(map(_escaped, line))} |\n" for line in lines)


def _escaped(cell: str) -> str:
    return cell.replace("|", "\\|")


def _compare(words: Iterable[str], wanted: Iterable[str], what: str) -> None:
    stale, missing = sorted(set(words) - set(wanted)), sorted(set(wanted) - set(words))
    if stale or missing:
        raise StaleWordsError(f"words.yaml: {what} without words: {missing}; words without {what}: {stale}")


TABLES: Final[Mapping[str, Callable[[], str]]] = MappingProxyType(
    {
        "reasons": reasons_table,
        "methods": methods_table,
        "callgate.yaml": config_table,
        "policy.yaml": policy_table,
    }
)


def regenerated(text: str) -> str:
    """A page with its tables made anew.  Raises StaleWordsError, and KeyError for a table that is none."""
    return _MARKED.sub(lambda found: f"{found[1]}\n{TABLES[found[2]]()}\n{found[3]}", text)


def main() -> None:
    """Write every page that has changed."""
    for page in sorted(DOCS.rglob("*.md")):
        text = page.read_text(encoding="utf-8")
        if (new := regenerated(text)) != text:
            page.write_text(new, encoding="utf-8")
            sys.stdout.write(f"{page.relative_to(DOCS)}\n")


if __name__ == "__main__":
    main()
