"""The members of a JSON object that anybody may have written: one of another type reads as if it were not there."""

from callgate.wire.json_strict import JsonObject, JsonValue


def text_of(members: JsonObject, name: str) -> str:
    """The text of that name; "" for none."""
    found = members.get(name)
    return found if isinstance(found, str) else ""


def number_of(members: JsonObject, name: str, default: int = -1) -> int:
    """The whole number of that name."""
    found = members.get(name)
    return found if isinstance(found, int) and not isinstance(found, bool) else default


def texts_of(members: JsonObject, name: str) -> tuple[str, ...]:
    """The texts in the list of that name."""
    found = members.get(name)
    return tuple(each for each in found if isinstance(each, str)) if isinstance(found, list) else ()


def objects_of(members: JsonObject, name: str) -> tuple[JsonObject, ...]:
    """The objects in the list of that name."""
    found = members.get(name)
    return tuple(each for each in found if isinstance(each, dict)) if isinstance(found, list) else ()


def is_deeper(value: JsonValue, depth: int) -> bool:
    """Whether more than `depth` lists and objects stand within each other."""
    parts = [value]
    for _ in range(depth + 1):
        containers = [part for part in parts if isinstance(part, dict | list)]
        if not containers:
            return False
        parts = [inner for part in containers for inner in (part.values() if isinstance(part, dict) else part)]
    return True
