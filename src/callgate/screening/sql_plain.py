"""A statement written anew from its parts, in one reading: no comment, no escape, no dialect's own quotes."""

from collections.abc import Sequence
from typing import Final

from callgate.screening.sql_lexical import Part
from callgate.screening.sql_lexicon import LEXICONS

# What no text that is written anew holds between quotes.
_UNWANTED: Final = {ord(each): "_" for each in "'\"`[]\\{}"} | dict.fromkeys(range(32), " ") | {127: " "}
# Neighbours that the parser would take for a comment or a template.
_PAIRS: Final = frozenset({"--", "/*", "*/", "//", "{{", "}}", "{%", "%}", "{#", "#}", "##", "#!"})


def plain_text(parts: Sequence[Part], dialect: str) -> tuple[str, dict[str, str]]:
    """A text of those parts in one reading, and what its names were before they were made plain."""
    lexicon = LEXICONS[dialect]
    opening, closing = lexicon.name_quotes[0][0], lexicon.name_quotes[0][1]
    keeps_slashes = dialect != "snowflake"
    written: list[str] = []
    renamed: dict[str, str] = {}
    before = ""
    for kind, text, _, apart in parts:
        one = text
        if kind == "string":
            one = f"'{text.translate(_STRING_PLAIN)}'"
        elif kind == "name":
            plain = text.translate(_UNWANTED) or "_"
            if plain != text:
                renamed[plain] = text
            one = f"{opening}{plain}{closing}"
        # A word behind a sign, and a sign behind a word, stand as they stood; everything else is looked at.
        if apart or (
            (kind != "sign" or not before.isalpha()) and _must_part(before, kind, one, keeps_slashes=keeps_slashes)
        ):
            written.append(" ")
        written.append(one)
        before = one
    return "".join(written), renamed


_STRING_PLAIN: Final = {ord("'"): "_", ord("\\"): "_", 127: " "} | dict.fromkeys(range(32), " ")


def _must_part(before: str, kind: str, one: str, *, keeps_slashes: bool) -> bool:
    if not before:
        return False
    if kind == "sign":
        pair = before[-1] + one
        return pair in _PAIRS and not (pair == "//" and keeps_slashes)
    last = before[-1]
    if kind in {"string", "name"}:
        return last.isalnum() or last in "_'\"`$"
    return (last.isdigit() and kind == "word" and before[0].isdigit()) or last in "'\"`]"
