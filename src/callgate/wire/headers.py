"""Headers of an MCP request: what the transport demands of them, and whether they agree with the body.

Nothing is decided by a header.  MCP 2026-07-28 mirrors the method, the name and some arguments into headers for
whoever routes without reading bodies, so one that says anything else than the body is refused: "Servers that process
the request body MUST reject requests where the values specified in the headers do not match the corresponding values
in the request body" (basic/transports/streamable-http, "Server Validation").
"""

import re
from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from typing import Final

from callgate.errors import Reason, Refusal
from callgate.wire.http1 import Headers
from callgate.wire.json_strict import JsonObject, JsonValue

PARAM_PREFIX: Final = "mcp-param-"
# A tool mirrors a handful of arguments.
_MAX_PARAM_HEADERS: Final = 32

# "Value Encoding": "visible ASCII characters (0x21-0x7E), space (0x20), and horizontal tab (0x09)".
_HEADER_SAFE: Final = re.compile(r"[\t -~]*")
_SENTINEL: Final = re.compile(r"=\?base64\?(.*)\?=")
_DECIMAL: Final = re.compile(r"(-?[0-9]{1,20})(?:\.0{1,20})?")
# RFC 9110, 8.3.1: type, subtype and parameter names are case-insensitive.  RFC 8259, 11 defines no charset; clients
# that send one send this.
_JSON_TYPE: Final = re.compile(
    r"application/json(?:[ \t]*;[ \t]*charset=(?:utf-8|\"utf-8\"))?[ \t]*", re.IGNORECASE | re.ASCII
)
_BOTH_TYPES: Final = "application/json, text/event-stream"
_JSON_RANGES: Final = frozenset({"application/json", "application/*", "*/*"})
_STREAM_RANGES: Final = frozenset({"text/event-stream", "text/*", "*/*"})
_WEIGHT_ZERO: Final = re.compile(r"q=0(?:\.0{0,3})?", re.ASCII)


def refuse_transport(headers: Headers) -> Refusal | None:
    """The demands on every POST, whatever its revision: JSON, not encoded, and an answer of either form accepted."""
    if not _JSON_TYPE.fullmatch(headers.one("content-type") or ""):
        return Refusal(Reason.HTTP_CONTENT_TYPE)
    if headers.all("content-encoding"):
        return Refusal(Reason.HTTP_CONTENT_ENCODING)
    # "The client MUST include an Accept header listing both application/json and text/event-stream".
    return None if _accepts_both(headers.one("accept") or "") else Refusal(Reason.HTTP_ACCEPT)


def only(headers: Headers, name: str) -> str | Refusal | None:
    """The value of a header that must not be repeated: the first and the last of two readers would disagree."""
    if name in headers.repeated:
        return Refusal(Reason.HEADER_MISMATCH, f"{name} is repeated")
    return headers.one(name)


def decode_value(text: str) -> str | None:
    """What `Mcp-Name` or `Mcp-Param-*` says, with the base64 sentinel decoded; None for one that cannot be read."""
    match = _SENTINEL.fullmatch(text)
    if match is None:
        return text if _HEADER_SAFE.fullmatch(text) else None
    try:
        decoded = b64decode(match[1], validate=True)
        # Base64 has spellings that decode alike; only what an encoder writes is taken.
        return decoded.decode() if b64encode(decoded).decode() == match[1] else None
    except (Base64Error, ValueError):
        return None


def encode_value(text: str) -> str:
    """A value as `Mcp-Name` carries it, in the base64 sentinel where it would not survive as plain text."""
    plain = _HEADER_SAFE.fullmatch(text) and text == text.strip(" \t") and not _SENTINEL.fullmatch(text)
    return text if plain else f"=?base64?{b64encode(text.encode()).decode()}?="


def refuse_mirrors(headers: Headers, method: str, name: JsonValue, *, required: bool) -> Refusal | None:
    """Do `Mcp-Method` and `Mcp-Name` say what the body says?

    `name`: what the body has for `Mcp-Name`, None where the method has no such member.  `required`: whether they must
    be there (modern requests), or only must not lie.
    """
    said = only(headers, "mcp-method")
    if isinstance(said, Refusal):
        return said
    if said != method and (required or said is not None):
        return Refusal(Reason.HEADER_MISMATCH, "mcp-method")
    said = only(headers, "mcp-name")
    if isinstance(said, Refusal):
        return said
    if said is None:
        return Refusal(Reason.HEADER_MISMATCH, "mcp-name is missing") if required and name is not None else None
    return None if name is not None and decode_value(said) == name else Refusal(Reason.HEADER_MISMATCH, "mcp-name")


def read_param_headers(headers: Headers, arguments: JsonObject | None) -> tuple[tuple[str, str], ...] | Refusal:
    """The `Mcp-Param-*` headers, as they came: (lower-case name, value).

    Which argument each one mirrors is in the tool's schema, which the tool server checks.  The gate checks what it
    can know: each value stands somewhere in the arguments, and in the argument of its own name if there is one, so that no
    header says what the body does not.
    """
    found = tuple([field for field in headers if field[0].startswith(PARAM_PREFIX)])
    if not found:
        return ()
    if len(found) > _MAX_PARAM_HEADERS:
        return Refusal(Reason.HEADER_MISMATCH, f"{len(found)} mcp-param-* headers")
    texts, integers = _mirrorable(arguments or {})
    for name, value in found:
        if name in headers.repeated or name == PARAM_PREFIX:
            return Refusal(Reason.HEADER_MISMATCH, f"{name[:64]} is repeated, or has no name")
        said = decode_value(value)
        if said is None or not (said in texts or _integer(said) in integers):
            return Refusal(Reason.HEADER_MISMATCH, name[:64])
        if not _agrees_with_its_namesake(name.removeprefix(PARAM_PREFIX), said, arguments or {}):
            return Refusal(Reason.HEADER_MISMATCH, f"{name[:64]} and the argument of that name differ")
    return found


def mirrored_again(
    mirrors: tuple[tuple[str, str], ...], before: JsonObject, after: JsonObject
) -> tuple[tuple[str, str], ...]:
    """The `Mcp-Param-*` headers for arguments that were changed on the way, so that they say what the body then says.

    One whose argument is gone is left out, and the tool server refuses the call if it needs it.
    """
    if not mirrors:
        return ()
    texts, integers = _mirrorable(after)
    changed = _changed_scalars(before, after)
    found = []
    for name, value in mirrors:
        said = decode_value(value) or ""
        stands = said in texts or _integer(said) in integers
        if stands and _agrees_with_its_namesake(name.removeprefix(PARAM_PREFIX), said, after):
            found.append((name, value))
        elif said in changed:
            found.append((name, encode_value(changed[said])))
    return tuple(found)


def _changed_scalars(before: JsonObject, after: JsonObject) -> dict[str, str]:
    """What stands at the same place now, by what stood there, as headers write it."""
    found: dict[str, str] = {}
    pairs = [(before, after)]
    for old, new in pairs:
        for name in old.keys() & new.keys():
            was, now = old[name], new[name]
            if type(was) is dict and type(now) is dict:
                pairs.append((was, now))
            elif isinstance(was, str | int) and isinstance(now, str | int) and was != now:
                found[str(was)] = str(now)
    return found


def _agrees_with_its_namesake(name: str, said: str, arguments: JsonObject) -> bool:
    """Whether an argument that the header is named after says the same; there need not be one."""
    namesakes = [value for key, value in arguments.items() if key.casefold().replace("_", "-") == name]
    return all(_agrees(said, value) for value in namesakes)


def _agrees(said: str, value: JsonValue) -> bool:
    texts, integers = _mirrorable({"": value})
    return said in texts or _integer(said) in integers


def _accepts_both(accept: str) -> bool:
    if accept == _BOTH_TYPES:
        return True
    ranges = {_media_range(part) for part in accept.split(",")}
    return not ranges.isdisjoint(_JSON_RANGES) and not ranges.isdisjoint(_STREAM_RANGES)


def _media_range(part: str) -> str:
    media_range, *parameters = [piece.strip(" \t").lower() for piece in part.split(";")]
    # RFC 9110, 12.4.2: "a value of 0 means "not acceptable"".
    return "" if any(map(_WEIGHT_ZERO.fullmatch, parameters)) else media_range


def _mirrorable(arguments: JsonObject) -> tuple[set[str], set[int | None]]:
    """Every argument that a header can mirror: scalars at the end of a chain of object members, never in an array."""
    texts: set[str] = set()
    integers: set[int | None] = set()
    objects = [arguments]
    for each in objects:
        for value in each.values():
            if type(value) is dict:
                objects.append(value)
            elif type(value) is bool:
                texts.add("true" if value else "false")
            elif type(value) is str:
                texts.add(value)
            elif type(value) is int or (type(value) is float and value.is_integer()):
                integers.add(int(value))
    return texts, integers


def _integer(text: str) -> int | None:
    # "Servers SHOULD compare the header value and the body value numerically rather than as strings (e.g., `42.0` and
    # `42` are considered equal)."
    match = _DECIMAL.fullmatch(text)
    return int(match[1]) if match is not None else None
