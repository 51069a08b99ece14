"""Base64 as MCP carries it: which of it is text."""

import re
from base64 import b64encode
from binascii import Error, a2b_base64
from typing import Final

from callgate.screening.mask import Unscreenable
from callgate.wire.json_strict import JsonValue

# Types whose content is read as text (RFC 6838, 4.2.8 names the suffixes).  Of others too, where it is text.
_TEXTUAL: Final = re.compile(
    r"text/.*|.*[/+.-](?:json|xml|csv|ya?ml|svg|html|javascript|ecmascript|x-www-form-urlencoded|toml|sql|ndjson)",
    re.IGNORECASE | re.DOTALL,
)
_MAX_TYPE_CHARACTERS: Final = 256


def decoded(text: str, media_type: JsonValue) -> str | None:
    """The text that stands in base64; None where it is none.

    Raises Unscreenable for what is not base64 (RFC 4648, section 4, with its padding), and for what says that it is
    text and is no UTF-8.  The type is what the tool server says: whatever is UTF-8 without NUL is text.
    """
    try:
        content = a2b_base64(text, strict_mode=True)
    except (Error, ValueError):
        # From None: the message of the one could tell of the other's content.
        raise Unscreenable("not base64") from None
    try:
        read = content.decode()
    except UnicodeDecodeError:
        read = "\0"
    if "\0" not in read:
        return read
    if isinstance(media_type, str) and _is_textual(media_type):
        raise Unscreenable("not UTF-8")
    return None


def encoded(text: str) -> str:
    """A text in base64."""
    return b64encode(text.encode()).decode()


def _is_textual(media_type: str) -> bool:
    kind = media_type[:_MAX_TYPE_CHARACTERS].partition(";")[0].strip()
    return _TEXTUAL.fullmatch(kind) is not None
