"""What people were asked and what they said, in words, as the log has it."""

from collections.abc import Mapping
from typing import Final

from callgate.audit.entries import Entry
from callgate.cli.words import moment, told
from callgate.wire.json_strict import JsonObject
from callgate.wire.members import number_of, text_of

_WORDS: Final[Mapping[str, str]] = {
    "asked": "a person was asked",
    "seen": "seen",
    "agreed": "agreed to",
    "approved": "approved",
    "denied": "denied",
    "used": "used",
    "expired": "expired",
    "void": "void",
}


def happening_words(entry: Entry) -> str:
    """Of an `approval` record: `approved by alice@acme.test (oidc): refund of May, as agreed`."""
    happening = text_of(entry.record, "happening")
    who = by_words(entry.part("by"))
    said = told(text_of(entry.record, "reason"))
    words = f"{_WORDS.get(happening, told(happening))}{f' by {who}' if who else ''}{_uses(entry.record, happening)}"
    return f"{words}: {said}" if said else words


def by_words(person: JsonObject) -> str:
    """`alice@acme.test (oidc)`; "" where nobody is named."""
    name, means = told(text_of(person, "name")), told(text_of(person, "means"))
    return f"{name} ({means})" if name and means else name


def happened_words(entry: Entry) -> str:
    """The same with its moment and its number."""
    return f"{moment(entry.time_ns)}  {happening_words(entry)} (record {entry.seq})"


def approval_words(entry: Entry) -> str:
    """Of a request: the approval that it waited for or used, "" where nobody was asked."""
    if not entry.approval:
        return ""
    approvers = ", ".join(map(told, entry.approvers))
    use = number_of(entry.part("approval"), "use", 0)
    by = f" by {approvers}" if approvers else ""
    return f"{told(entry.approval)}{by}{f', use {use}' if use > 1 else ''}"


def _uses(record: JsonObject, happening: str) -> str:
    calls, used = number_of(record, "calls", 0), number_of(record, "used", 0)
    if happening == "approved":
        return f" for {calls} calls" if calls > 1 else ""
    return f", {used} of {calls} calls let through" if calls > 1 else ""
