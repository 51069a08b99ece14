"""The grammar of a shell's text: lists, pipelines, compound commands, functions, redirections (bash manual, 3.2).

It takes in no more than bash does; where bash is more lenient, the text is refused.
"""

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from callgate.screening.shell_parts import ODD_NAME, assignment, blanks, line_ends, redirect
from callgate.screening.shell_terms import (
    Assignment,
    Block,
    Budget,
    Command,
    Node,
    NotShell,
    Redirect,
    Word,
)
from callgate.screening.shell_words import Source, arithmetic_until, read_word

_RESERVED: Final = re.compile(
    r"(if|then|elif|else|fi|while|until|for|select|do|done|case|esac|function|\[\[|[{}!])(?=[ \t\n;&|()<>]|$)"
)
_CLOSERS: Final = frozenset({"then", "elif", "else", "fi", "do", "done", "esac", "}"})
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?=[ \t\n;]|$)")
_IN: Final = re.compile(r"in(?=[ \t\n;]|$)")
_TEST_BLANKS: Final = re.compile(r"(?:[ \t\n]|\\\n)+")
_TEST_END: Final = re.compile(r"\]\](?=[ \t\n;&|()<>]|$)")
_DECLARATIONS: Final = frozenset({"declare", "typeset", "local", "export", "readonly"})


def read_program(text: str, budget: Budget) -> Block:
    """Read a whole text; NotShell if it is none, or more than the budget allows."""
    source = Source(text, budget, _substituted, read_program)
    block = _list(source)
    if source.position < len(text) or source.waiting:
        raise NotShell("unparsable")
    return block


def _substituted(source: Source) -> Block:
    """The commands of a substitution, which end at a `)`; here-documents have to end within."""
    waiting, source.waiting = source.waiting, []
    block = _list(source)
    if source.waiting:
        raise NotShell("unparsable")
    source.waiting = waiting
    return block


def _reserved(source: Source) -> str:
    found = _RESERVED.match(source.text, source.position)
    return found.group(1) if found else ""


def _expect(source: Source, word: str) -> None:
    if _reserved(source) != word:
        raise NotShell("unparsable")
    source.position += len(word)


def _list(source: Source, *, some: bool = False) -> Block:
    """Commands up to a word or mark that closes them, which is left; `some`: there has to be one."""
    nodes: list[Node] = []
    line_ends(source)
    while source.next() and not source.text.startswith((")", ";;", ";&"), source.position):
        if _reserved(source) in _CLOSERS:
            break
        node = _and_or(source)
        blanks(source)
        if source.next() == "&":
            source.position += 1
            nodes.append(Block("background", (node,)))
        else:
            nodes.append(node)
            if source.next() == ";" and not source.text.startswith((";;", ";&"), source.position):
                source.position += 1
            elif source.next() != "\n":
                break
        line_ends(source)
    if some and not nodes:
        raise NotShell("unparsable")
    return Block("sequence", tuple(nodes))


def _and_or(source: Source) -> Node:
    nodes = [_pipeline(source)]
    blanks(source)
    kind = "chain"
    while source.starts("||") or source.starts("&&"):
        kind = "choice" if source.starts("||") else kind
        source.position += 2
        line_ends(source)
        nodes.append(_pipeline(source))
        blanks(source)
    return nodes[0] if len(nodes) == 1 else Block(kind, tuple(nodes))


def _pipeline(source: Source) -> Node:
    while _reserved(source) == "!":
        source.budget.spend()
        source.position += 1
        blanks(source)
    nodes = [_command(source)]
    blanks(source)
    while source.next() == "|" and not source.starts("||"):
        source.position += 1
        source.take("&")
        line_ends(source)
        nodes.append(_command(source))
        blanks(source)
    return nodes[0] if len(nodes) == 1 else Block("pipeline", tuple(nodes))


def _command(source: Source) -> Node:
    """One simple or compound command."""
    source.budget.deeper()
    source.budget.spend_command()
    word = _reserved(source)
    if not word and not source.starts("("):
        node = _simple(source)
    elif word == "function":
        source.position += len(word)
        node = _function(source)
    else:
        node = _with_redirects(source, _compound(source, word))
    source.budget.depth -= 1
    return node


def _compound(source: Source, word: str) -> Block:
    """What a reserved word or a parenthesis begins."""
    if source.take("(("):
        text = arithmetic_until(source, "))")
        return Block("arithmetic", words=(text,))
    if source.take("("):
        body = _list(source, some=True)
        if not source.take(")"):
            raise NotShell("unparsable")
        return Block("subshell", body.nodes)
    source.position += len(word)
    rule = _COMPOUND.get(word)
    if not rule:
        raise NotShell("unparsable")
    return rule(source)


def _group(source: Source) -> Block:
    body = _list(source, some=True)
    _expect(source, "}")
    return Block("group", body.nodes)


def _while(source: Source) -> Block:
    return Block("loop", (_list(source, some=True), _body(source)))


def _body(source: Source) -> Block:
    _expect(source, "do")
    body = _list(source, some=True)
    _expect(source, "done")
    return body


def _if(source: Source) -> Block:
    parts = [_list(source, some=True)]
    _expect(source, "then")
    parts.append(_list(source, some=True))
    while _reserved(source) == "elif":
        _expect(source, "elif")
        parts.append(_list(source, some=True))
        _expect(source, "then")
        parts.append(_list(source, some=True))
    if _reserved(source) == "else":
        _expect(source, "else")
        parts.append(_list(source, some=True))
    _expect(source, "fi")
    return Block("if", tuple(parts))


def _for(source: Source) -> Block:
    blanks(source)
    if source.take("(("):
        words: tuple[Word, ...] = (arithmetic_until(source, "))"),)
        name = ""
    else:
        found = source.match(_NAME)
        if not found:
            raise NotShell("unparsable")
        name = found.group()
        line_ends(source)
        words = _loop_words(source)
    blanks(source)
    source.take(";")
    line_ends(source)
    return Block("for", (_body(source),), name, words)


def _loop_words(source: Source) -> tuple[Word, ...]:
    """The words after `in`; without it the loop is over the positional parameters, `"$@"`."""
    if not _IN.match(source.text, source.position):
        quoted = Source('"$@"', source.budget, _substituted, read_program)
        word = read_word(quoted)
        return (word,) if word else ()
    source.position += 2
    words: list[Word] = []
    blanks(source)
    while word := read_word(source):
        words.append(word)
        blanks(source)
    return tuple(words)


def _case(source: Source) -> Block:
    blanks(source)
    word = read_word(source)
    line_ends(source)
    if not word or not _IN.match(source.text, source.position):
        raise NotShell("unparsable")
    source.position += 2
    words, nodes = [word], []
    line_ends(source)
    while _reserved(source) != "esac":
        source.take("(")
        words += _patterns(source)
        nodes.append(_list(source))
        if not (source.take(";;&") or source.take(";;") or source.take(";&")):
            break
        line_ends(source)
    _expect(source, "esac")
    return Block("case", tuple(nodes), words=tuple(words))


def _patterns(source: Source) -> list[Word]:
    words: list[Word] = []
    while True:
        blanks(source)
        word = read_word(source)
        if not word:
            raise NotShell("unparsable")
        words.append(word)
        blanks(source)
        if source.take(")"):
            return words
        if not source.take("|"):
            raise NotShell("unparsable")


def _test(source: Source) -> Block:
    """`[[ … ]]` (3.2.5.2).  A comment in it is refused: a quote in one would hide where it ends."""
    words: list[Word] = []
    while True:
        source.match(_TEST_BLANKS)
        if source.match(_TEST_END):
            break
        if source.next() in {"#", ";", ""}:
            raise NotShell("unparsable")
        word = read_word(source, in_test=True)
        if not word:
            raise NotShell("unparsable")
        words.append(word)
    if not words:
        raise NotShell("unparsable")
    return Block("test", words=tuple(words))


def _with_redirects(source: Source, block: Block) -> Block:
    redirects: list[Redirect] = []
    blanks(source)
    while found := redirect(source):
        redirects.append(found)
        blanks(source)
    return Block(block.kind, block.nodes, block.name, block.words, tuple(redirects))


def _function(source: Source) -> Block:
    """`function name [()] compound-command`."""
    blanks(source)
    word = read_word(source)
    if not word:
        raise NotShell("unparsable")
    blanks(source)
    if source.take("("):
        blanks(source)
        if not source.take(")"):
            raise NotShell("unparsable")
    return _defined(source, word)


def _defined(source: Source, word: Word) -> Block:
    """The body of a function, after its name (3.3)."""
    if not word.bare or ODD_NAME.search(word.text):
        raise NotShell("unparsable")
    line_ends(source)
    reserved = _reserved(source)
    if not source.starts("(") and reserved not in _COMPOUND:
        raise NotShell("unparsable")
    body = _with_redirects(source, _compound(source, reserved))
    return Block("function", (body,), word.text)


def _simple(source: Source) -> Node:
    """Assignments, words and redirections, in any order after the assignments (3.7.1)."""
    assignments: list[Assignment] = []
    words: list[Word] = []
    redirects: list[Redirect] = []
    while True:
        blanks(source)
        found = redirect(source)
        if found:
            redirects.append(found)
            continue
        declares = bool(words) and words[0].bare and words[0].text in _DECLARATIONS
        assigned = assignment(source) if not words or declares else None
        if assigned:
            assignments.append(assigned)
            continue
        word = read_word(source)
        if not word:
            break
        words.append(word)
    if len(words) == 1 and not assignments and not redirects and source.take("("):
        blanks(source)
        if not source.take(")"):
            raise NotShell("unparsable")
        return _defined(source, words[0])
    if source.next() in {"(", "<", ">"} or not (assignments or words or redirects):
        raise NotShell("unparsable")
    return Command(tuple(assignments), tuple(words), tuple(redirects))


_COMPOUND: Final[Mapping[str, Callable[[Source], Block]]] = MappingProxyType(
    {
        "{": _group,
        "if": _if,
        "while": _while,
        "until": _while,
        "for": _for,
        "select": _for,
        "case": _case,
        "[[": _test,
    }
)
