"""How well the detector of personal data and secrets does on its corpus."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from callgate.screening.personal import detector_of
from callgate.screening.terms import ENTITIES, Found
from support.screen_score import Score, read_corpus

Span = Mapping[str, Any]  # `Any`: names and offsets


@dataclass(slots=True)
class _Count:
    expected: int = 0
    found: int = 0
    wrong: int = 0
    missed: dict[str, None] = field(default_factory=dict)


def score() -> dict[str, Score]:
    """Each entity, over the unambiguous cases of the whole corpus with every entity looked for.

    A value counts as found where all its letters and digits are within a find of its entity; a find that meets no value
    of the case is wrong.
    """
    counts = {entity: _Count() for entity in ENTITIES}
    for case in unambiguous():
        found = finds(case["text"])
        for span in case["spans"]:
            _count_value(counts[span["entity"]], case, span, found)
        for find in strays(case, found):
            counts[find.name].wrong += 1
            counts[find.name].missed[case["id"]] = None
    return {entity: Score(one.expected, one.found, one.wrong, tuple(one.missed)) for entity, one in counts.items()}


def _count_value(count: _Count, case: Mapping[str, Any], span: Span, found: Iterable[Found]) -> None:
    count.expected += 1
    if is_found(case["text"], span, found):
        count.found += 1
    else:
        count.missed[case["id"]] = None


def unambiguous() -> list[dict[str, Any]]:
    return [case for case in read_corpus("pii") if not case["ambiguous"]]


def finds(text: str) -> tuple[Found, ...]:
    return detector_of(frozenset(ENTITIES), ()).find(text)


def is_found(text: str, span: Span, found: Iterable[Found]) -> bool:
    """Whether one find of the right entity covers every letter and digit of the value."""
    places = [place for place in range(span["start"], span["end"]) if text[place].isalnum()]
    return any(
        find.name == span["entity"] and all(find.start <= place < find.end for place in places) for find in found
    )


def strays(case: Mapping[str, Any], found: Iterable[Found]) -> list[Found]:
    """Finds that meet neither what has to be found nor what may be."""
    spans: Sequence[Span] = [*case["spans"], *case["optional_spans"]]
    return [find for find in found if not any(find.start < span["end"] and span["start"] < find.end for span in spans)]
