"""The reference tables and JSON Schemas, made from the code: `python docs/generate.py` writes them.

A table stands between `<!-- generated: NAME -->` and `<!-- end -->` in its page.  What the code does not say in words
stands in reference/words.yaml, and for keys in callgate's words.yaml; `docs/check.py` fails where a page, a schema or
the words have fallen behind.
"""

import re
import sys
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from types import MappingProxyType, UnionType
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin

import yaml
from annotated_types import Ge, Gt, Le
from cli_tables import makers
from pydantic import BaseModel, TypeAdapter
from pydantic.fields import FieldInfo

from callgate.addresses import Address
from callgate.audit.chain import Kind as RecordKind
from callgate.audit.format import KINDS, rows_of
from callgate.audit.record_parts import COMMON
from callgate.errors import ANSWERS, Reason
from callgate.identity.spiffe_id import SpiffeId
from callgate.policy.cel_names import VARIABLES
from callgate.policy.remarks import CHECKS
from callgate.schemas import FORMATS, SCHEMAS, FileFormat, Key, keys_of, read_words, schema_text
from callgate.screening.packs import packs_table
from callgate.trace import Stage
from callgate.wire.methods import METHODS, Kind

DOCS: Final = Path(__file__).parent
_MARKED: Final = re.compile(r"(<!-- generated: ([\w.-]+) -->\n).*?(<!-- end -->)", re.DOTALL)
_FIELD_HEAD: Final = ("Field", "Form", "Meaning")
_BOUNDS: Final = {Ge: "from", Gt: "more than", Le: "at most"}


class ReasonWords(BaseModel):
    """What people should know of one reason; `sent` is False where no HTTP answer goes out."""

    stage: Stage
    means: str
    do: str
    sent: bool = True


class StaleWordsError(Exception):
    """words.yaml has words for what is not there, or none for what is."""


def read_reasons() -> Mapping[Reason, ReasonWords]:
    """Raises ValidationError."""
    found = yaml.safe_load((DOCS / "reference" / "words.yaml").read_text(encoding="utf-8"))
    return TypeAdapter(dict[Reason, ReasonWords]).validate_python(found["reasons"])


def reasons_table() -> str:
    """One table a stage."""
    words = read_reasons()
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
    return _keys_table(FORMATS["config"])


def policy_table() -> str:
    """Every key of the policy file."""
    return _keys_table(FORMATS["policy"])


def policy_test_table() -> str:
    """Every key of a file of policy tests."""
    return _keys_table(FORMATS["policy-test"])


def variables_table() -> str:
    """Every variable of a condition, with its type in the words of CEL."""
    found = yaml.safe_load((DOCS / "reference" / "words.yaml").read_text(encoding="utf-8"))
    words = TypeAdapter(dict[str, str]).validate_python(found["variables"])
    # `history` is no variable to an author: it is asked by its functions.
    known = {name: kind for name, kind in VARIABLES.items() if name != "history"}
    _compare(words, known, "variable")
    rows = [(f"`{name}`", f"`{str(kind).lower()}`", words[name]) for name, kind in known.items()]
    return _table(("Variable", "Type", "What it is"), rows)


def remarks_list() -> str:
    """Every remark of `callgate check`, each under a heading that its output names."""
    return "\n".join(
        f"#### {check.code}\n\n**{check.name}**, {check.level}. {check.summary} *{check.hint}*\n"
        for check in CHECKS.values()
    )


def common_fields_table() -> str:
    """The fields that every audit record has."""
    return _table(_FIELD_HEAD, ((f"`{field.name}`", field.shape.words, field.meaning) for field in COMMON))


def record_kinds_list() -> str:
    """Every kind of audit record, each under a heading, with its fields."""
    return "\n".join(f"#### `{kind}`\n\n{form.meaning}\n{_fields_of(kind)}" for kind, form in KINDS.items())


def _fields_of(kind: RecordKind) -> str:
    rows = [(f"`{path}`", form, meaning) for path, form, meaning in rows_of(kind)]
    return f"\n{_table(_FIELD_HEAD, rows)}" if rows else ""


def _options_table(rows: Callable[[], list[tuple[str, str, str]]]) -> str:
    return _table(("Option", "Default", "Meaning"), rows())


def _keys_table(form: FileFormat) -> str:
    """What holds other keys is told of by them, and needs no words here; it may have some, for the schema."""
    words = read_words()[form.words]
    inner = {key.path for key in keys_of(form.model) if key.inner}
    leaves = [key for key in keys_of(form.model) if key.path not in inner]
    # What stands in two places is told of once, unless there are words for both.
    first = {(key.owner, key.name): key for key in reversed(leaves)}
    told = [key for key in leaves if key.path in words or first[key.owner, key.name] is key]
    _compare(words.keys() - inner, {key.path for key in told}, "key")
    rows = [
        (f"`{key.path}`", _form(key), _default(key.field), _sentence(words[key.path], key.field.description))
        for key in told
    ]
    return _table(("Key", "Form", "Default", "Meaning, and the default's reason"), rows)


def _form(key: Key) -> str:
    name, field, kind = key.name, key.field, _bare(key.field.annotation)
    if get_origin(kind) is Literal:
        return " or ".join(f"`{_written(value)}`" for value in get_args(kind))
    if name.endswith(("_s", "_bytes")):
        return _bounded("seconds" if name.endswith("_s") else "bytes", field, "")
    # Durations are seconds in Python, and their names say so there.
    if kind is int:
        return _bounded("duration", field, "s") if field.alias else _bounded("number", field, "")
    # A pair is one text in the file.
    if get_origin(kind) is tuple and ... not in get_args(kind):
        return "text"
    return _FORMS.get(get_origin(kind) or kind, "text")


_FORMS: Final[Mapping[Any, str]] = MappingProxyType(
    {
        tuple: "list",
        dict: "mapping",
        bool: "`true` or `false`",
        float: "moment",
        Address: "address:port",
        SpiffeId: "SPIFFE ID",
    }
)


def _bare(annotation: Any) -> Any:  # noqa: ANN401  # annotations have no type of their own
    """An annotation without `Annotated` and `| None`."""
    if get_origin(annotation) is Annotated:
        return _bare(get_args(annotation)[0])
    if get_origin(annotation) in {Union, UnionType}:
        return _bare(get_args(annotation)[0])
    return annotation


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
    return f"`{value}s`" if is_duration else f"`{_written(value)}`"


def _written(value: object) -> str:
    if isinstance(value, tuple):
        return ", ".join(map(_written, value))
    return str(value).lower() if isinstance(value, bool) else str(value)


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
        "packs": packs_table,
        "methods": methods_table,
        "callgate.yaml": config_table,
        "policy.yaml": policy_table,
        "policy-test.yaml": policy_test_table,
        "variables": variables_table,
        "remarks": remarks_list,
        "record-fields": common_fields_table,
        "record-kinds": record_kinds_list,
        **{name: partial(_options_table, rows) for name, rows in makers().items()},
    }
)


def regenerated(text: str) -> str:
    """A page with its tables made anew.  Raises StaleWordsError, and KeyError for a table that is none."""
    return _MARKED.sub(lambda found: f"{found[1]}\n{TABLES[found[2]]()}\n{found[3]}", text)


def generated_files() -> Mapping[Path, str]:
    """What every generated file should say.  Raises StaleWordsError and KeyError, as `regenerated` does."""
    pages = {page: regenerated(page.read_text(encoding="utf-8")) for page in sorted(DOCS.rglob("*.md"))}
    return pages | {DOCS / "reference" / filename: schema_text(name) for name, filename in SCHEMAS.items()}


def main() -> None:
    """Write every file that has changed."""
    for file, text in generated_files().items():
        if not file.exists() or file.read_text(encoding="utf-8") != text:
            file.write_text(text, encoding="utf-8")
            sys.stdout.write(f"{file.relative_to(DOCS)}\n")


if __name__ == "__main__":
    main()
