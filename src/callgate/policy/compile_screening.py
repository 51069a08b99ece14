"""What a policy file says of tools and of screening made ready for decisions."""

from callgate.policy.mask_entries import rules_of, steps_of
from callgate.policy.model import ScreeningEntry, ToolsEntry
from callgate.policy.patterns import ToolPattern
from callgate.policy.screens import Screen
from callgate.policy.tags import Declaration, TagEntry
from callgate.screening.terms import Handling, Schemas


def tags_of(entry: ToolsEntry) -> TagEntry:
    """The tags that it gives to tools."""
    return TagEntry(entry.server, tuple(map(ToolPattern.parse, entry.tools)), frozenset(entry.tags or ()))


def declaration_of(entry: ToolsEntry) -> Declaration:
    """The arguments that it says are programs."""
    return Declaration(
        entry.server,
        tuple(map(ToolPattern.parse, entry.tools)),
        tuple((steps_of(place), dialect) for place, dialect in (entry.sql or {}).items()),
        tuple((steps_of(place), form) for place, form in (entry.shell or {}).items()),
    )


def screen_of(entry: ScreeningEntry) -> Screen:
    """What it screens by."""
    text = entry.text
    return Screen(
        entry.server,
        tuple(map(ToolPattern.parse, entry.tools)),
        rules_of(entry.mask),
        rules_of(entry.mask_arguments),
        Handling(entry.base64) if entry.base64 else None,
        Handling(text.definitions) if text and text.definitions else None,
        Handling(text.results) if text and text.results else None,
        Schemas(entry.schemas) if entry.schemas else None,
    )
