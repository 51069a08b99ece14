"""Characters of a SQL text that are there to deceive: controls, and what looks like something else."""

import re
import unicodedata
from typing import Final

# C0 without tab, line feed and carriage return; DEL; C1; what turns the direction of text (UAX #9: embeddings,
# overrides, isolates), as in CVE-2021-42574; surrogates, which no text has.
_CONTROLS: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
# What some read as the end of a line, or do not show at all.
_HIDDEN: Final = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b-\u200f\u2028\u2029\u2060-\u2064\u3164\ufe00-\ufe0f\ufeff\uffa0]"
)
# Scripts whose letters look like Latin ones.
_LOOKALIKE_SCRIPTS: Final = ("CYRILLIC", "GREEK", "ARMENIAN", "CHEROKEE", "COPTIC", "LISU", "DESERET")
_CAPITALS: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
# Longer words are not looked at letter by letter.
_MAX_WORD_CHARACTERS: Final = 128


def has_controls(text: str) -> bool:
    """Whether a control character stands anywhere in it, strings too."""
    return _CONTROLS.search(text) is not None


def is_deceptive_comment(comment: str) -> bool:
    """Whether a comment holds what hides, or what others take for the end of a line."""
    return _HIDDEN.search(comment) is not None


def is_deceptive_word(word: str) -> bool:
    """Whether a word outside of quotes is not what it looks like.

    So is one that holds compatibility forms (full-width letters, the Kelvin sign), a capital that is ASCII in lower
    case or the other way round, letters that look like quotes, what cannot be seen, or letters of two scripts that look alike.
    """
    if word.isascii():
        return False
    if len(word) > _MAX_WORD_CHARACTERS or _HIDDEN.search(word):
        return True
    if unicodedata.normalize("NFKC", word) != unicodedata.normalize("NFC", word):
        return True
    if any(_folds_to_ascii(letter) or unicodedata.category(letter) == "Lm" for letter in word):
        return True
    return any("a" <= letter.lower() <= "z" for letter in word) and any(_is_of_lookalike_script(one) for one in word)


def _folds_to_ascii(letter: str) -> bool:
    """U+0130 and U+0131 (the Turkish i), U+017F (the long s), U+212A (Kelvin)."""
    return letter == "\u0130" or (not letter.isascii() and (letter.lower().isascii() or letter.upper() in _CAPITALS))


def _is_of_lookalike_script(letter: str) -> bool:
    return not letter.isascii() and unicodedata.name(letter, "").startswith(_LOOKALIKE_SCRIPTS)
