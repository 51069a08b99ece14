"""A dialect's lexicon as one regular expression: what each part of a text begins and ends with."""

import re
from functools import cache
from typing import Final

from callgate.screening.sql_lexicon import LEXICONS, Known, Lexicon


@cache
def pattern_of(dialect: str) -> re.Pattern[str]:
    """One alternation, tried at each position.  Every repetition is possessive: a text is read once, never twice."""
    lexicon = LEXICONS[dialect]
    word, number = _word_patterns(lexicon)
    alternatives = [
        # Most parts are one of these, so they are tried first: a word that is no prefix of a string, and the signs
        # that start no comment.
        rf"(?P<word>(?:{word})(?![\w&'\"]))",
        r"(?P<sign>[(),.;=*+<>](?![0-9]))",
        *_comment_patterns(lexicon),
        *_string_patterns(lexicon),
        *_name_patterns(lexicon),
        rf"(?P<odd_word>{word})",
        rf"(?P<number>{number})",
        r"(?P<odd_sign>[!-~])",
        r"(?P<other>.)",
    ]
    return re.compile(rf"[ \t\r\n]*+(?:{'|'.join(alternatives)})?", re.DOTALL)


def _comment_patterns(lexicon: Lexicon) -> list[str]:
    blank = r"(?=[\x00-\x20]|\Z)" if lexicon.comment_needs_blank else ""
    starts = [re.escape(start) + (blank if start == "--" else "") for start in lexicon.comments]
    end = r"[^\n\r]*+" if lexicon.carriage_return is Known.YES else r"[^\n]*+"
    return [rf"(?P<line>(?:{'|'.join(starts)}){end})", r"(?P<block>/\*)"]


def _string_patterns(lexicon: Lexicon) -> list[str]:
    found = []
    if lexicon.triple_quotes:
        triple = [rf"{q * 3}(?:[^{q}\\]|\\.|{q}(?!{q * 2}))*+{q * 3}" for q in lexicon.string_quotes]
        found.append(rf"(?P<triple>{lexicon.prefixes}?(?:{'|'.join(triple)}))")
    if lexicon.escape_strings:
        found.append(rf"(?P<escaped>[eE]{_quoted(_QUOTE, escapes=True)})")
    if lexicon.alternative_quotes:
        found.append(r"(?P<alternative>[nN]?[qQ]'[^ \t\r\n])")
    if lexicon.dollar:
        tag = r"(?:[^\W\d]\w*+)?" if lexicon.dollar == "$tag$" else ""
        found.append(rf"(?P<dollar>\${tag}\$)")
    if lexicon.parser in {"spark", "databricks"}:
        found.append(r"(?P<raw>[rR](?:'[^']*+'|\"[^\"]*+\"))")
    escapes = lexicon.backslash is Known.YES
    plain = "|".join(_quoted(quote, escapes=escapes) for quote in lexicon.string_quotes)
    found.append(rf"(?P<string>(?:{lexicon.prefixes})?(?:{plain}))")
    return found


_QUOTE: Final = "'"


def _quoted(quote: str, *, escapes: bool) -> str:
    if escapes:
        return rf"{quote}(?:[^{quote}\\]++|\\.|{quote}{quote})*+{quote}"
    return rf"{quote}(?:[^{quote}]++|{quote}{quote})*+{quote}"


def _name_patterns(lexicon: Lexicon) -> list[str]:
    escapes = lexicon.parser in {"bigquery", "clickhouse"}
    ways = []
    for pair in lexicon.name_quotes:
        closing = pair[1]
        if closing == "]":
            ways.append(r"\[[^\]]*+\]" if lexicon.parser == "sqlite" else r"\[(?:[^\]]++|\]\])*+\]")
        else:
            ways.append(_quoted(closing, escapes=escapes))
    prefix = "[uU]&" if lexicon.unicode_names else "(?!)"
    return [rf'(?P<unicode>{prefix}"(?:[^"]++|"")*+")', rf"(?P<name>{'|'.join(ways)})"]


def _word_patterns(lexicon: Lexicon) -> tuple[str, str]:
    """What a bare word is, and what a number."""
    inside = rf"[\w{lexicon.word}]"
    start = rf"[{lexicon.word_start}]{{0,2}}[^\W\d]" if lexicon.word_start else r"[^\W\d]"
    word = rf"{start}{inside}*+"
    if lexicon.digits_start_words:
        word += rf"|(?!0[xXbB][0-9a-fA-F]+\b)\d++(?![eE][+-]?\d)[^\W\d]{inside}*+"
    number = r"0[xX][0-9a-fA-F]++|(?:\d[\d_]*+(?:\.\d*+)?|\.\d++)(?:[eE][+-]?\d++)?"
    return word, number
