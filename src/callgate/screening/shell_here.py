"""Here-documents: the lines after a command's that it reads (bash manual, 3.6.6)."""

from callgate.screening.shell_terms import NotShell, Word
from callgate.screening.shell_words import HereDocument, Source, read_text


def read_here_document(source: Source, document: HereDocument) -> None:
    """Read the lines after the command's, up to the one that is the end's word (3.6.6)."""
    lines: list[str] = []
    while source.position < len(source.text):
        line = _line(source, joins=document.expands)
        line = line.lstrip("\t") if document.strips_tabs else line
        if line.replace("\\\n", "") == document.end:
            document.redirect.target = _body("".join(lines), source, document)
            return
        lines.append(line + "\n")
    raise NotShell("unparsable")


def _line(source: Source, *, joins: bool) -> str:
    """Read one line, with those that a backslash at its end joins to it."""
    parts: list[str] = []
    while source.position < len(source.text):
        source.budget.spend()
        end = source.text.find("\n", source.position)
        end = end if end >= 0 else len(source.text)
        parts.append(source.text[source.position : end])
        source.position = min(end + 1, len(source.text))
        if not (joins and _continues(parts[-1])):
            break
    return "\n".join(parts)


def _continues(line: str) -> bool:
    return (len(line) - len(line.rstrip("\\"))) % 2 == 1


def _body(text: str, outer: Source, document: HereDocument) -> Word:
    if not document.expands:
        return Word(text, quoted=True, bare=False)
    return read_text(Source(text, outer.budget, outer.commands, outer.program))
