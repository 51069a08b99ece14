"""The statements of a shell's text, one after the other: what runs, with which words, and what they write."""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Final

from callgate.screening.shell_dispatch import execute
from callgate.screening.shell_fields import fields_of
from callgate.screening.shell_files import looped
from callgate.screening.shell_inputs import empties_its_input
from callgate.screening.shell_parse import has_error
from callgate.screening.shell_scope import assigned_in, forget, forget_assigned, names_in_arithmetic
from callgate.screening.shell_simple import look, redirected, run_command, said_by
from callgate.screening.shell_state import State, is_exact
from callgate.screening.shell_syntax import read_program
from callgate.screening.shell_terms import HOLE, MAX_PIECES, Block, Budget, Command, Node, NotShell
from callgate.screening.shell_variables import assigned

# Of a loop's words, each is tried: more of them are taken together.
MAX_TRIED_WORDS: Final = 8


def new_state(budget: Budget) -> State:
    """A reading in which nothing was found yet."""
    return State(budget, execute, interpret, _substituted)


def interpret(state: State, text: str) -> None:
    """Read a shell's text within a reading; NotShell where that cannot be done."""
    if text.count("\n") > MAX_PIECES:
        raise NotShell("too_long")
    program = read_program(text, state.budget)
    if has_error(text):
        state.note("unparsable")
    _visit(state, program, None)


def _visit(state: State, node: Node, given: str | None) -> None:
    if isinstance(node, Command):
        run_command(state, node, given)
        return
    for word in node.words:
        look(state, word)
    if node.redirects:
        given = redirected(state, node.redirects, given)
    _KINDS[node.kind](state, node, given)


def _sequence(state: State, node: Block, given: str | None) -> None:
    for each in node.nodes:
        _visit(state, each, given)


def _substituted(state: State, body: Block) -> None:
    """Run a substitution, whose variables, functions and folder are its own."""
    _apart(state, body, None)


def _apart(state: State, node: Block, given: str | None) -> None:
    """A shell of its own."""
    known, functions, folder = dict(state.known), dict(state.functions), state.in_sensitive_folder
    _sequence(state, node, given)
    state.known, state.functions, state.in_sensitive_folder = known, functions, folder


def _pipeline(state: State, node: Block, given: str | None) -> None:
    """Each command of a pipeline runs in a shell of its own, and reads what the one before says."""
    if empties_its_input(state, node.nodes):
        state.note("overwrite")
    for each in node.nodes:
        _apart(state, Block("subshell", (each,)), given)
        given = said_by(state, each, given)
    forget_assigned(state, node)


def _chain(state: State, node: Block, given: str | None) -> None:
    """`a && b`: what comes later runs only after what came before."""
    first, *others = node.nodes
    _visit(state, first, given)
    _perhaps(state, others, given, afresh=False)


def _choice(state: State, node: Block, given: str | None) -> None:
    """With `||` in it, what comes later may run without what came before."""
    first, *others = node.nodes
    _visit(state, first, given)
    _perhaps(state, others, given, afresh=True)


def _branches(state: State, node: Block, given: str | None) -> None:
    """Commands that run perhaps, or several times."""
    forget_assigned(state, node)
    _perhaps(state, node.nodes, given, afresh=True)


def _perhaps(state: State, nodes: Sequence[Node], given: str | None, *, afresh: bool) -> None:
    """Read each; `afresh`: what one sets the others do not see.  Afterwards nothing of it is certain."""
    functions, folder = dict(state.functions), state.in_sensitive_folder
    for each in nodes:
        _visit(state, each, given)
        folder = folder or state.in_sensitive_folder
        if afresh:
            forget_assigned(state, each)
    for each in nodes:
        forget_assigned(state, each)
    state.functions, state.in_sensitive_folder = functions, folder


def _loop(state: State, node: Block, given: str | None) -> None:
    """`for`: few known words are tried one by one."""
    body = node.nodes[0]
    forget_assigned(state, node)
    if node.name:
        assigned(state, node.name, HOLE)
        words = [field for word in node.words for field in fields_of(word, state.known, state.budget)]
        _loop_over(state, node, words, given)
    else:
        state.evaluates = True
        _perhaps(state, [body], given, afresh=True)
    forget(state, {node.name})


def _loop_over(state: State, node: Block, words: Sequence[str], given: str | None) -> None:
    if words and len(words) <= MAX_TRIED_WORDS and all(map(is_exact, words)):
        for word in words:
            state.remember(node.name, word)
            _again(state, node, given)
        return
    values = {looped(word) for word in words}
    if len(values) == 1 and None not in values:
        state.remember(node.name, values.pop() or HOLE)
    _perhaps(state, node.nodes, given, afresh=True)


def _again(state: State, node: Block, given: str | None) -> None:
    """Run a loop's body once more: the commands that it has in common with the time before are listed once."""
    begin = len(state.commands)
    _perhaps(state, node.nodes, given, afresh=True)
    fresh = state.commands[begin:]
    if begin >= len(fresh) and state.commands[begin - len(fresh) : begin] == fresh:
        del state.commands[begin:]


def _function(state: State, node: Block, _: str | None) -> None:
    """A function's body is read where it is defined, with parameters and variables that are not known."""
    known, functions = state.known, dict(state.functions)
    sets = frozenset(assigned_in(node.nodes[0]))
    state.known = {}
    state.functions[node.name] = sets
    state.within.append(node.name)
    _visit(state, node.nodes[0], HOLE)
    state.within.pop()
    state.known, state.functions = known, {**functions, node.name: sets}


def _evaluation(state: State, node: Block, _: str | None) -> None:
    state.evaluates = True
    forget(state, names_in_arithmetic(node))


_KINDS: Final[Mapping[str, Callable[[State, Block, str | None], None]]] = MappingProxyType(
    {
        "sequence": _sequence,
        "group": _sequence,
        "subshell": _apart,
        "background": _apart,
        "pipeline": _pipeline,
        "chain": _chain,
        "choice": _choice,
        "if": _branches,
        "case": _branches,
        "loop": _branches,
        "for": _loop,
        "function": _function,
        "test": _evaluation,
        "arithmetic": _evaluation,
    }
)
