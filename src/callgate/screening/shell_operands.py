"""What becomes of the operands of commands in the tables."""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Final

from callgate.screening.shell_facts import Fact
from callgate.screening.shell_options import Given, read_options
from callgate.screening.shell_paths import NOTHING, is_remote
from callgate.screening.shell_state import State, is_exact
from callgate.screening.shell_wrappers import note_options, note_ssh_options

# Of getent(1): those that are files here as a rule.
_LOCAL_DATABASES: Final = frozenset(
    {"passwd", "group", "shadow", "gshadow", "services", "protocols", "rpc", "aliases", "ethers", "initgroups"}
)


def apply_fact(state: State, fact: Fact, arguments: Sequence[str]) -> None:
    """Note what a command of a table does."""
    state.note(*fact.effects)
    if not fact.operands and not fact.options.effects:
        return
    read = read_options(fact.options, arguments)
    note_options(state, read)
    if read.unsure and fact.options.risky:
        state.note("unresolved_option")
    rule = _RULES.get(fact.operands)
    if rule:
        rule(state, fact, read)


def _all(state: State, _: Fact, read: Given) -> None:
    for path in read.operands:
        state.write_to(path, appends=read.has("a"))


def _made(state: State, _: Fact, read: Given) -> None:
    """What is made new overwrites nothing, wherever that is; only in the system's folders it may do harm."""
    for path in read.operands:
        if is_exact(path):
            state.write_to(path)


def _last(state: State, _: Fact, read: Given) -> None:
    """A copy: the last operand is written, unless -t named the folder; nothing copied over something empties it."""
    if not read.has("t", "target-directory") and len(read.operands) > 1:
        state.write_to(read.operands[-1])
        if read.operands[0] in NOTHING:
            state.note("overwrite")


def _moved(state: State, fact: Fact, read: Given) -> None:
    """What is moved away from the system's folders, or into nothing, is gone."""
    _last(state, fact, read)
    for path in read.operands:
        state.write_to(path)
    if read.operands[-1:] == ["/dev/null"]:
        state.note("delete")


def _first(state: State, _: Fact, read: Given) -> None:
    for path in read.operands[:1]:
        state.write_to(path)
    if read.has("T", "test") and read.has("TT", "unzip-command"):
        state.note("planted_code")


def _second(state: State, _: Fact, read: Given) -> None:
    for path in read.operands[1:2]:
        state.write_to(path)


def _packs(state: State, _: Fact, read: Given) -> None:
    if read.operands and not read.has("c", "stdout", "to-stdout", "l", "list", "t", "test"):
        state.note("write")
        for path in read.operands:
            state.write_to(path)
    if read.has("rm"):
        state.note("delete")


def _unpacks(state: State, _: Fact, read: Given) -> None:
    if read.operands and not read.has("l", "t", "p", "Z", "v", "z"):
        state.write_to(read.value("d") or "archive")
        if read.has("o"):
            state.note("overwrite")


def _archive(state: State, _: Fact, read: Given) -> None:
    """`ar`: the first word is what to do."""
    words = [*read.operands, *(name for name, _value in read.said)]
    letters = words[0] if words else ""
    if not is_exact(letters) or set(letters) & set("dm"):
        state.note("delete")
    elif not set(letters) & set("tp"):
        state.note("write")


def _packed(state: State, _: Fact, read: Given) -> None:
    """`7z`, `rar`: the first word is what to do; l, t, v and i tell."""
    verb = (read.operands or ["i"])[0]
    if verb in {"d", "rn", "df", "mf"} or not is_exact(verb):
        state.note("delete")
    elif not {"l", "t", "i", "h", "b", "v", "lb", "vb", "lt", "vt", "p"} >= {verb} and not read.has("so"):
        state.note("write")


def _remote(state: State, _: Fact, read: Given) -> None:
    """`scp`: to this host it writes."""
    note_ssh_options(state, [f"-o{value}" for value in read.values("o")])
    if read.operands and not is_remote(read.operands[-1]):
        state.write_to(read.operands[-1])


def _setting(state: State, _: Fact, read: Given) -> None:
    if read.operands:
        state.note("kernel")


def _date(state: State, _: Fact, read: Given) -> None:
    """A format begins with a `+`; anything else sets the clock (date(1))."""
    if any(not operand.startswith("+") for operand in read.operands):
        state.note("kernel")


def _names(state: State, _: Fact, read: Given) -> None:
    """`getent`: hosts and networks are asked of name servers."""
    if not read.operands or read.operands[0] not in _LOCAL_DATABASES:
        state.note("network")


def _setting_equals(state: State, _: Fact, read: Given) -> None:
    if any("=" in operand or not is_exact(operand) for operand in read.operands):
        state.note("kernel")


def _strict(state: State, fact: Fact, read: Given) -> None:
    """Only the options of the table are known, and one has to be given."""
    if not read.said or not all(name in fact.options.names for name, _ in read.said) or read.unsure:
        state.note("unknown_verb")


def _queries(state: State, fact: Fact, read: Given) -> None:
    """Packages: only questions are known."""
    _strict(state, fact, read)
    if not read.has("q", "query", "Q", "V", "verify", "K", "checksig", "F", "version", "help", "Ss", "Si"):
        state.note("packages")


def _alone(state: State, _: Fact, read: Given) -> None:
    """A noun without a verb is asked for; with one that is not in the table, nothing is known."""
    if read.operands:
        state.note("unknown_verb")


def _pager(state: State, _: Fact, read: Given) -> None:
    """`less +COMMAND` begins with a command of its own; `!` and `|` in one run a shell (less(1))."""
    if any(
        operand.startswith("+") and (not is_exact(operand) or set(operand) & set("!|vso#")) for operand in read.operands
    ):
        state.note("planted_code")


def _keygen(state: State, _: Fact, read: Given) -> None:
    if read.has("l") or read.has("F"):
        state.labels.discard("write")


def _exif(state: State, _: Fact, read: Given) -> None:
    """`-TAG=value` writes."""
    if any("=" in name or value for name, value in read.said):
        state.note("write")
    if any(name.lower() == "all" and not value for name, value in read.said):
        state.note("delete")


def _http(state: State, _: Fact, read: Given) -> None:
    if "DELETE" in read.operands[:2]:
        state.note("delete")
    elif {"PUT", "PATCH"} & set(read.operands[:2]):
        state.note("remote_change")


def _replicas(state: State, _: Fact, read: Given) -> None:
    if "0" in read.values("replicas"):
        state.note("stop")


_RULES: Final[Mapping[str, Callable[[State, Fact, Given], None]]] = MappingProxyType(
    {
        "all": _all,
        "made": _made, "last": _last, "moved": _moved, "first": _first, "second": _second, "packs": _packs, "unpacks": _unpacks, "archive": _archive, "packed": _packed,
        "remote": _remote, "setting": _setting, "names": _names, "date": _date, "setting_equals": _setting_equals, "strict": _strict, "queries": _queries,
        "keygen": _keygen,
        "pager": _pager, "alone": _alone, "exiftool": _exif, "httpie": _http, "replicas": _replicas,
    }
)  # fmt: skip
