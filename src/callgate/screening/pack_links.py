"""How much data the address of a link or a picture carries.

A picture in Markdown or HTML is fetched as soon as the text is shown: its address alone hands over what it holds.
"""

import re
from enum import Enum
from typing import Final
from urllib.parse import unquote_plus

import re2  # type: ignore[import-untyped]  # ships no types

from callgate.screening.pack_hosts import Address

# How far in front of an address its markup is looked for.
_BEFORE: Final = 300


class _Place(Enum):
    """Where an address stands: the most characters of one value of its query, and of those that look encoded together.

    Signatures have 64 (SHA-256 in hexadecimal) and identifiers 36; a searched sentence in a link has some more.  A
    picture is fetched without anybody's doing, and a link takes a click.
    """

    PICTURE = (64, 160)
    LINK = (128, 400)
    TEXT = (512, 2000)


_PICTURE: Final = re2.compile(
    r"(?im)!\[[^\]\n]{0,200}\]\([ <]*$"
    r"|^[ >]{0,8}\[[^\]\n]{1,100}\]:[ \t]*<?$"
    r"|<(?:img|image|iframe|frame|video|audio|source|embed|object|link|script|input|use|body|table|td)\b[^<>]*$"
    r"|url\(['\"]?$|@import\s+['\"]?$"
)
_LINK: Final = re2.compile(r"(?i)\]\([ <]*$|<a\b[^<>]*$")
_ENCODED: Final = re.compile(r"[A-Za-z0-9+/_=-]*[0-9][A-Za-z0-9+/_=-]*")
_SCHEME: Final = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]{0,20}$")
# Of one query, the rest of which counts as one.
_MOST_VALUES: Final = 40
# Of a path's segment: names of files and the like are shorter.
_ENCODED_SEGMENT: Final = 100


def carries_data(text: str, start: int, address: Address) -> bool:
    """Whether the address, whose scheme ends or begins at `start` of `text`, carries more than where it stands needs."""
    if len(address.rest) <= _Place.PICTURE.value[0]:
        return False
    one, together = _place(text, start).value
    path, _, query = address.rest.replace("#", "?", 1).partition("?")
    values = [unquote_plus(part.partition("=")[2] or part) for part in re.split("[&;]", query, maxsplit=_MOST_VALUES)]
    if any(len(value) > one and (one == _Place.PICTURE.value[0] or _is_encoded(value)) for value in values):
        return True
    if sum(len(value) for value in values if _is_encoded(value) and len(value) > 16) > together:
        return True
    return one == _Place.PICTURE.value[0] and any(
        len(part) > _ENCODED_SEGMENT and _is_encoded(part) for part in path.split("/")
    )


def _is_encoded(value: str) -> bool:
    """Base64, hexadecimal and the like; and text of several lines, which is no address's."""
    return "\n" in value or _ENCODED.fullmatch(value) is not None


def _place(text: str, start: int) -> _Place:
    before = text[max(0, start - _BEFORE) : start]
    # The scheme itself, where `://` is what was found.
    before = _SCHEME.sub("", before) if not before.endswith(("(", "<", '"', "'", " ")) else before
    if _PICTURE.search(before):
        return _Place.PICTURE
    return _Place.LINK if _LINK.search(before) else _Place.TEXT
