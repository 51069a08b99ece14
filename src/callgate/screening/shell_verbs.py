"""Tools that are told what to do by a verb, by the table of them."""

from collections.abc import Sequence
from typing import Final

from callgate.screening.shell_cloud import container_run
from callgate.screening.shell_databases import key_value
from callgate.screening.shell_facts import Fact
from callgate.screening.shell_operands import apply_fact
from callgate.screening.shell_options import Options, options_of, read_options
from callgate.screening.shell_state import State, is_exact
from callgate.screening.shell_tools import TOOLS, Tool
from callgate.screening.shell_wrappers import note_options

_REDIS: Final = options_of(
    "h:=network p: s: a: u:=network n: r: i: d: user: pass: no-auth-warning raw csv json c x 2 3 tls cacert: scan stat latency latency-history "
    "bigkeys memkeys hotkeys eval:=sql pipe=sql rdb:=write_to functions-rdb:=write_to cluster=remote_change replica pattern: version"
)


def tool(state: State, name: str, arguments: Sequence[str], given: str | None) -> None:
    """Any tool of the table."""
    found = TOOLS[name]
    before = read_options(found.options, arguments, permutes=False)
    words = before.operands
    note_options(state, before)
    fact, rest = _verb(found, words)
    if fact is None or before.unsure:
        state.note("unknown_verb")
    elif fact.operands == "inner":
        inner(state, fact.options, rest, given)
        state.note(*fact.effects)
    else:
        apply_fact(state, fact, rest)


def _verb(found: Tool, words: Sequence[str]) -> tuple[Fact | None, Sequence[str]]:
    """What the verb does, and what stands behind it."""
    if not words:
        return found.verbs.get("-"), ()
    if not is_exact(words[0]):
        return None, ()
    both = "/".join(words[:2])
    return (found.verbs[both], words[2:]) if both in found.verbs else (found.verbs.get(words[0]), words[1:])


def inner(state: State, options: Options, arguments: Sequence[str], given: str | None) -> None:
    """A command that runs in a container or a pod: behind `--`, or behind the name."""
    if "--" in arguments:
        end = arguments.index("--")
        read = read_options(options, arguments[:end])
        command = list(arguments[end + 1 :])
    else:
        read = read_options(options, arguments, permutes=False)
        command = read.operands[1:]
        if command and command[0].startswith("-"):
            note_options(state, read)
            read = read_options(options, command)
            command = read.operands
    note_options(state, read)
    if read.unsure:
        state.note("unresolved_option")
    state.run(command, given)


def containers(state: State, name: str, arguments: Sequence[str], given: str | None) -> None:
    """`docker` and its kin: run and compose have grammars of their own."""
    before = read_options(TOOLS[name].options, arguments, permutes=False)
    words = before.operands[1:] if before.operands[:1] in (["container"], ["pod"]) else before.operands
    verb = words[0] if words else ""
    if before.has("r", "remote") or any("://" in value and "unix://" not in value for _, value in before.said):
        state.note("network")
    if verb in {"run", "create"}:
        note_options(state, before)
        container_run(state, words[1:], runs=verb == "run", given=given)
        state.note(*(["write"] if verb == "create" else []))
    elif verb == "compose":
        state.run(["docker-compose", *words[1:]], given)
    else:
        tool(state, name, arguments, given)


def key_values(state: State, _: str, arguments: Sequence[str], given: str | None) -> None:
    """`redis-cli`: options, then one command."""
    read = read_options(_REDIS, arguments, permutes=False)
    note_options(state, read)
    key_value(state, read, given)
