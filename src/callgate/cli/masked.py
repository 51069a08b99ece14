"""What calls are screened by, in words and as JSON."""

from collections.abc import Iterable, Iterator

from callgate.policy.screens import UNSCREENED, Screen
from callgate.screening.terms import MaskRule, Mode, Screening
from callgate.wire.json_strict import JsonObject


def screening_lines(screening: Screening) -> Iterator[str]:
    """What is masked, by mode; of the rest, what is not as it is where a policy says nothing."""
    if screening.answers:
        yield f"masked in answers: {masks_text(screening.answers)}"
    if screening.arguments:
        yield f"masked in arguments: {masks_text(screening.arguments)}"
    if screening.held:
        yield f"held for approval, where the arguments hold it: {', '.join(held_json(screening.held))}"
    if screening.base64 is not UNSCREENED.base64:
        yield f"base64 content: {screening.base64}"
    if screening.definitions is not UNSCREENED.definitions:
        yield f"text that deceives, in definitions: {screening.definitions}"
    if screening.results is not UNSCREENED.results:
        yield f"text that deceives, in results: {screening.results}"
    if screening.schemas is not UNSCREENED.schemas:
        yield f"schemas: {screening.schemas}"


def masks_text(rules: Iterable[MaskRule]) -> str:
    """`redact email, phone; partial card`."""
    by_mode: dict[str, dict[str, None]] = {}
    for rule in rules:
        by_mode.setdefault(rule.mode, {})[rule.name] = None
    return "; ".join(f"{mode} {', '.join(names)}" for mode, names in by_mode.items())


def masks_json(rules: Iterable[MaskRule]) -> JsonObject:
    """The mode by what is masked."""
    return {rule.name: rule.mode for rule in rules if rule.mode is not Mode.HOLD}


def held_json(rules: Iterable[MaskRule]) -> list[str]:
    """What is held for approval, each once."""
    return list(dict.fromkeys(rule.name for rule in rules if rule.mode is Mode.HOLD))


def screening_json(screening: Screening) -> JsonObject:
    """All of it."""
    return {
        "mask": masks_json(screening.answers),
        "mask_arguments": masks_json(screening.arguments),
        "hold": [*held_json(screening.held)],
        "base64": screening.base64,
        "text": {"definitions": screening.definitions, "results": screening.results},
        "schemas": screening.schemas,
    }


def screen_line(screen: Screen) -> str:
    """One entry of a policy's screening, as far as it masks."""
    said = [f"answers: {masks_text(screen.answers)}"] if screen.answers else []
    said += [f"arguments: {masks_text(screen.arguments)}"] if screen.arguments else []
    return f"whoever calls {', '.join(tool.text for tool in screen.tools)}, masked in {'; in '.join(said)}"
