"""Parts of commands that hold no commands of their own: blanks, redirections and assignments (bash manual, 3.4, 3.6)."""

import re
from typing import Final

from callgate.screening.shell_here import read_here_document
from callgate.screening.shell_terms import Assignment, NotShell, Redirect, Word
from callgate.screening.shell_words import HereDocument, Source, read_word

_BLANKS: Final = re.compile(r"(?:[ \t]|\\\n)*+(?:#[^\n]*)?")
_BEGINS_BLANK: Final = frozenset(" \t\\#")
_BEGINS_REDIRECT: Final = frozenset("<>&0123456789{")
_EMPTY_LINES: Final = re.compile(r"(?:[ \t]|\\\n|#[^\n]*(?=\n)|\n(?=[ \t\n#]))*+(?:#[^\n]*)?")
_REDIRECT: Final = re.compile(r"([0-9]+|\{[A-Za-z_][A-Za-z0-9_]*\})?(<<<|<<-|<<|<>|<&|<|>>|>\||>&|>|&>>|&>)")
_ASSIGNMENT: Final = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)(\+?)=")
_SUBSCRIPTED: Final = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)\x04.*\]\+?=", re.DOTALL)
_INDEXED: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\[")
_ENDS_ARRAY: Final = frozenset({"", *" \t\n;&|)<>"})
ODD_NAME: Final = re.compile(r"[\x00-\x20\"'$`\\&|;<>()]")


def blanks(source: Source) -> None:
    """Step over blanks and a comment behind them."""
    if source.next() in _BEGINS_BLANK:
        source.match(_BLANKS)


def line_ends(source: Source) -> None:
    """Step over line ends, and with the first one over the here-documents that were begun before it."""
    blanks(source)
    while source.take("\n"):
        waiting, source.waiting = source.waiting, []
        for document in waiting:
            read_here_document(source, document)
        source.match(_EMPTY_LINES)


def redirect(source: Source) -> Redirect | None:
    """Read the redirection that begins here, if one does."""
    if source.next() not in _BEGINS_REDIRECT:
        return None
    found = _REDIRECT.match(source.text, source.position)
    if not found or (found.group(2) in "<>" and source.text.startswith("(", found.end())):
        return None
    source.position = found.end()
    fd, op = found.group(1) or "", found.group(2)
    blanks(source)
    word = read_word(source)
    if not word:
        raise NotShell("unparsable")
    found_redirect = Redirect(op, fd, word)
    if op in {"<<", "<<-"}:
        source.waiting.append(_here_document(word, found_redirect))
    return found_redirect


def _here_document(word: Word, redirect: Redirect) -> HereDocument:
    if word.holes or ODD_NAME.search(word.text) or "\n" in word.text:
        raise NotShell("unparsable")
    return HereDocument(word.text, word.bare, redirect.op == "<<-", redirect)


def assignment(source: Source) -> Assignment | None:
    """Read the assignment that begins here, if one does."""
    begin = source.position
    found = source.match(_ASSIGNMENT)
    if found:
        name, partial = found.group(1), bool(found.group(2))
        if source.take("("):
            return Assignment(name, _array(source), partial=True)
        return Assignment(name, (read_word(source) or Word(""),), partial)
    if not _INDEXED.match(source.text, begin):
        return None
    word = read_word(source)
    subscripted = _SUBSCRIPTED.match(word.text) if word else None
    if not word or not subscripted or source.starts("("):
        source.position = begin
        return None
    return Assignment(subscripted.group(1), (word,), partial=True)


def _array(source: Source) -> tuple[Word, ...]:
    """The words of `name=(…)`, over as many lines as it takes."""
    words: list[Word] = []
    line_ends(source)
    while word := read_word(source):
        words.append(word)
        line_ends(source)
    # What stands right behind it would be part of the same word.
    if not source.take(")") or source.next() not in _ENDS_ARRAY:
        raise NotShell("unparsable")
    return tuple(words)
