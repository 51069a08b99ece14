"""Commands that run another command: what they add to it, and where it begins."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from callgate.screening.shell_options import Given, Options, effects_of, options_of, read_options
from callgate.screening.shell_state import State
from callgate.screening.shell_terms import FOUND, HOLE, INPUT, SPLIT
from callgate.screening.shell_variables import assigned


@dataclass(frozen=True, slots=True)
class Wrapper:
    """`skips`: how many operands stand before the command.  `alone`: what it means without one."""

    effects: tuple[str, ...]
    options: Options
    skips: int
    alone: tuple[str, ...]


# names ; what they do themselves ; options, up to the first operand ; operands before the command ; without a command.
# An option that is itself a command has `unresolved_code` or `planted_code` here if it is not read on its own below.
_WRAPPERS: Final = """
nohup nice ionice chrt setsid stdbuf unbuffer catchsegv chronic ifne torify caffeinate rlwrap dumb-init tini fakeroot eatmydata linux32 linux64 ; ; n: adjustment: c: class: classdata: p: i: o: e: input: output: error: t f r w wait fork ctty 0 1 2 3 4 5 6 7 8 9 version help ; 0 ;
setarch ; ; R addr-no-randomize v verbose show ; 1 ;
time ; ; f: o:=write_to p a v ; 0 ;
timeout gtimeout ; ; k: kill-after: s: signal: preserve-status foreground f p v verbose help version ; 1 ;
taskset ; ; a p c all-tasks pid cpu-list ; 1 ;
strace ltrace ; ; o:=write_to output:=write_to e: p: s: u: E: a: O: S: P: I: X: b: l: A? f ff c C t tt ttt r q y k n i v x w d D z Z T version help ; 0 ;
valgrind ; ; log-file:=write_to tool: leak-check: show-leak-kinds: track-origins: q v trace-children: ; 0 ;
watch viddy hwatch ; ; n: interval: d? differences? e errexit g chgexit t no-title c color x exec p precise b beep w no-wrap version help ; 0 ;
firejail bwrap proot ; privileged+unresolved_option ; ; 0 ;
proxychains proxychains4 torsocks tsocks ; network ; f: q ; 0 ;
cpulimit ; ; l: p: e: ; 0 ;
prlimit ; ; p: pid: o: ; 0 ;
numactl ; ; N: m: i: C: cpunodebind: membind: interleave: physcpubind: p: preferred: hardware H show s ; 0 ;
systemd-inhibit systemd-cat ; ; what: who: why: mode: t: p: identifier: priority: ; 0 ;
xvfb-run dbus-run-session dbus-launch ; ; a auto-servernum n: server-num: s: server-args: e: f: p: w: l ; 0 ;
sshpass ; ; p: f: d: e P: ; 0 ;
faketime ; ; f: p: m ; 1 ;
nsenter ; privileged ; t: target: S: setuid: G: setgid: r? root? w? wd? m? mount? u? uts? i? ipc? n? net? p? pid? C? cgroup? U? user? T? time? a all F no-fork Z e ; 0 ; unresolved_code
unshare ; privileged ; m? mount? u? uts? i? ipc? n? net? p? pid? U? user? C? cgroup? T? time? r map-root-user c f fork R: root: w: wd: S: setuid: G: setgid: propagation: setgroups: map-user: map-group: map-users: map-groups: kill-child? mount-proc? ; 0 ; unresolved_code
chroot ; privileged ; userspec: groups: skip-chdir ; 1 ; unresolved_code
setpriv capsh ; privileged ; reuid: regid: rgid: ruid: euid: egid: groups: inh-caps: ambient-caps: bounding-set: securebits: selinux-label: apparmor-profile: clear-groups init-groups keep-groups no-new-privs reset-env ; 0 ;
pkexec ; privileged ; user: u: ; 0 ; unresolved_code
gosu su-exec setuidgid chpst s6-setuidgid ; privileged ; u: e: ; 1 ;
doas ; privileged ; u: C: n s=unresolved_code L a: ; 0 ;
systemd-run ; write ; u: unit: p: property: uid:=privileged gid:=privileged slice: H:=network host:=network M:=privileged machine:=privileged E: setenv: d: working-directory: description: on-active:=schedule on-boot:=schedule on-calendar:=schedule on-startup:=schedule on-unit-active:=schedule on-unit-inactive:=schedule path-property: timer-property:=schedule socket-property: t pty P pipe q r S=unresolved_code shell=unresolved_code G collect user system scope wait nice: service-type: ; 0 ; unresolved_code
start-stop-daemon daemonize daemon ; write ; K=stop stop=stop x:=unresolved_code exec:=unresolved_code a:=unresolved_code startas:=unresolved_code c:=privileged chuid:=privileged ; 0 ;
busybox toybox ; ; list list-full install=write help ; 0 ;
script ; ; c: command: a q f e t? T: O: I: B: E: m: o: append ; 0 ;
nocache ; ; ; 0 ;
exec ; ; a: c l ; 0 ;
builtin ; ; ; 0 ;
command ; ; p v V ; 0 ;
coproc ; ; ; 0 ;
entr ; ; r c d n p s z x a ; 0 ;
"""


def _table() -> dict[str, Wrapper]:
    found: dict[str, Wrapper] = {}
    for line in _WRAPPERS.strip().splitlines():
        names, effects, options, skips, alone = (part.strip() for part in line.split(";"))
        wrapper = Wrapper(
            effects_of(effects) if effects else (), options_of(options), int(skips), effects_of(alone) if alone else ()
        )
        found.update(dict.fromkeys(names.split(), wrapper))
    return found


WRAPPERS: Final[Mapping[str, Wrapper]] = MappingProxyType(_table())


def run_wrapped(state: State, name: str, arguments: Sequence[str], given: str | None) -> None:
    """A wrapper of the table, with the command that it runs."""
    wrapper = WRAPPERS[name]
    read = read_options(wrapper.options, arguments, permutes=False)
    state.note(*wrapper.effects)
    note_options(state, read)
    # strace writes to a program where its file begins so (strace(1), -o).
    if any(value[:1] in {"|", "!"} for value in read.values("o", "output")):
        state.note("planted_code")
    _sure(state, wrapper.options, read)
    inner = read.operands[wrapper.skips :]
    if inner:
        state.run(inner, given)
    elif not read.has("version", "help", "V", "h"):
        state.note(*wrapper.alone)


def _sure(state: State, options: Options, read: Given) -> None:
    """An option that is not known may take a value, and so move the place where the command begins."""
    if read.unsure or not all(name in options.names for name, _ in read.said):
        state.note("unresolved_option")


def note_options(state: State, read: Given) -> None:
    """What the options that were given do."""
    for effect, value in read.effects:
        if effect != "write_to":
            state.note(effect)
        elif value.lstrip()[:1] == "|":
            # psql, strace and others write to a program where a file begins so (psql(1), -o).
            state.note("planted_code")
        else:
            state.write_to(value)


def command_lookup(state: State, name: str, arguments: Sequence[str], given: str | None) -> None:
    """`command -v NAME` only says where it is."""
    if not read_options(WRAPPERS["command"].options, arguments, permutes=False).has("v", "V"):
        run_wrapped(state, name, arguments, given)


def shell_words(state: State, name: str, arguments: Sequence[str], given: str | None) -> None:
    """`watch` hands its words to `sh -c`, joined by blanks, and `entr -s` its one."""
    read = read_options(WRAPPERS[name].options, arguments, permutes=False)
    if (name == "watch" and not read.has("x")) or (name == "entr" and read.has("s")):
        state.script(" ".join(read.operands))
    elif name == "entr":
        state.run([*(INPUT if word == "/_" else word for word in read.operands)], given)
    else:
        state.run(read.operands, given)


def script_session(state: State, _: str, arguments: Sequence[str], given: str | None) -> None:
    """`script [-c COMMAND] [FILE]` writes what a shell says to a file (script(1))."""
    read = read_options(WRAPPERS["script"].options, arguments)
    files = [value for value in read.values("O", "I", "B", "T") if value]
    for path in [*read.operands[:1], *files] or ["typescript"]:
        state.write_to(path)
    command = read.value("c", "command")
    if command is None:
        state.give(given)
    else:
        state.script(command)


_ENV: Final = options_of(
    "u: unset: C: chdir: S: split-string: i ignore-environment 0 null v debug block-signal? default-signal? ignore-signal?"
)
_SUDO: Final = options_of(
    "u: user: g: group: h: host: p: prompt: C: close-from: D: chdir: R: chroot: r: role: t: type: T: command-timeout: U: other-user: "
    "A b E? preserve-env? H i login k K l list n P s shell S v validate V e=accounts edit=accounts"
)
_SU: Final = options_of(
    "c: command: g: group: G: s: shell: u: user: w: whitelist-environment: session-command: l login m p P pty f"
)


def environment(state: State, _: str, arguments: Sequence[str], given: str | None) -> None:
    """`env [OPTION] [NAME=VALUE]… [COMMAND]`."""
    read = read_options(_ENV, arguments, permutes=False)
    split = read.value("S", "split-string")
    operands = _after_assignments(state, read.operands)
    _sure(state, _ENV, read)
    if split is not None:
        _split(state, split, operands, given)
    elif operands:
        state.run(operands, given)


def _split(state: State, text: str, others: Sequence[str], given: str | None) -> None:
    """`env -S` takes a text apart much like a shell does: what needs more than blanks is left to the shell's reading."""
    if any(mark in text for mark in "\\$#") or (not others and not text.strip()):
        state.note("unresolved_command")
    elif any(mark in text for mark in "'\""):
        state.script(text)
    else:
        environment(state, "env", [*text.split(), *others], given)


def _after_assignments(state: State, operands: Sequence[str]) -> Sequence[str]:
    for position, operand in enumerate(operands):
        if "=" not in operand:
            return operands[position:]
        name, _, value = operand.partition("=")
        assigned(state, name, value)
    return ()


def superuser(state: State, _: str, arguments: Sequence[str], given: str | None) -> None:
    """`sudo`: a command as another user; -s and -i run a shell."""
    state.note("privileged")
    read = read_options(_SUDO, arguments, permutes=False)
    note_options(state, read)
    _sure(state, _SUDO, read)
    operands = _after_assignments(state, read.operands)
    if read.has("s", "shell", "i", "login"):
        if operands:
            state.script(" ".join(operands))
        else:
            state.give(given)
    elif operands:
        state.run(operands, given)


def other_user(state: State, name: str, arguments: Sequence[str], given: str | None) -> None:
    """`su` and `runuser`: a shell as another user, for a command or for its input."""
    state.note("privileged")
    read = read_options(_SU, arguments)
    command = read.value("c", "command", "session-command")
    if command is not None:
        state.script(command)
    elif name == "runuser" and read.has("u", "user") and read.operands:
        state.run(read.operands, given)
    else:
        state.give(given)


def group_shell(state: State, _: str, arguments: Sequence[str], given: str | None) -> None:
    """`sg GROUP -c COMMAND` and `newgrp`."""
    state.note("privileged")
    if len(arguments) > 1:
        state.script(" ".join(word for word in arguments[1:] if word != "-c"))
    else:
        state.give(given)


_XARGS: Final = options_of(
    "I: i? E: e? L: l? n: P: s: a: d: arg-file: delimiter: eof? replace? max-lines? max-args: max-procs: max-chars: "
    "0 null o open-tty p interactive r no-run-if-empty t verbose x exit process-slot-var: show-limits J: R:"
)
_PARALLEL: Final = options_of(
    "j: jobs: a: arg-file: I: n: N: L: X m d: delimiter: C: colsep: S:=network sshlogin:=network slf:=network sshloginfile:=network "
    "joblog:=write_to results:=write_to tmpdir: workdir: wd: timeout: retries: delay: halt: load: nice: q quote k keep-order dry-run "
    "pipe pipepart block: eta bar progress tag will-cite citation verbose trim: env: profile:=unknown_script J:=unknown_script "
    "tmux=unresolved_code bash r no-run-if-empty 0 null ungroup u line-buffer lb rpl:=unresolved_code"
)


def arguments_from_input(state: State, _: str, arguments: Sequence[str], given: str | None) -> None:
    """`xargs`: a command with words from the input behind it, or in it for -I; `echo` without one (xargs(1))."""
    read = read_options(_XARGS, arguments, permutes=False)
    _sure(state, _XARGS, read)
    marks = read.values("I", "i", "replace", "J")
    mark = (marks[-1] or "{}") if marks else ""
    fed = FOUND if given == FOUND else INPUT
    if not read.operands:
        state.commands.append("echo")
    elif mark:
        state.run([word.replace(mark, fed) for word in read.operands], HOLE)
    else:
        # Twice, because the first may be the value of an option.
        state.run([*read.operands, fed, fed], HOLE)


def in_parallel(state: State, _: str, arguments: Sequence[str], __: str | None) -> None:
    """`parallel`: its words are a shell's text, with words from the input or after `:::` put in."""
    read = read_options(_PARALLEL, arguments, permutes=False)
    _sure(state, _PARALLEL, read)
    note_options(state, read)
    words = read.operands
    end = next((place for place, word in enumerate(words) if word.startswith(":::")), len(words))
    if not words[:end]:
        # The words of the input, or those after `:::`, are whole commands.
        for text in words[end + 1 :] or [HOLE]:
            state.script(text)
        return
    text = " ".join(words[:end])
    command = text.split()[0] if text.split() else HOLE
    if "{" in command:
        state.note("unresolved_command")
    else:
        state.script(_without_marks(text))
        state.run([*text.split(), INPUT], HOLE)


def _without_marks(text: str) -> str:
    return (
        text.replace("{}", "names")
        .replace("{.}", "names")
        .replace("{/}", "names")
        .replace("{#}", "1")
        .replace("{%}", "1")
    )


_FLOCK: Final = options_of(
    "c: command: w: wait: timeout: E: conflict-exit-code: n nonblock e x exclusive s shared u unlock o close F no-fork verbose"
)


def locked(state: State, _: str, arguments: Sequence[str], given: str | None) -> None:
    """`flock [OPTION] FILE [-c] COMMAND`; a number is a file that is open already (flock(1))."""
    read = read_options(_FLOCK, arguments, permutes=False)
    _sure(state, _FLOCK, read)
    lock, rest = read.operands[:1], read.operands[1:]
    if lock and not lock[0].isdigit() and not lock[0].startswith(("/var/lock/", "/run/lock/")):
        state.write_to(lock[0])
    if rest and rest[0] in {"-c", "--command"}:
        state.script(" ".join(rest[1:2]))
    elif rest:
        state.run(rest, given)
    elif read.has("c", "command"):
        state.script(read.value("c", "command") or HOLE)


_HOSTS: Final = options_of(
    "l: p: i: o: F:=planted_code J: L: R: D: W: w: b: c: e: E:=write_to m: O: Q: S: B: I:=planted_code P: "
    "A C f G g K k M N n q s T t V v X x Y y 4 6 a"
)
# Options of ssh_config(5) that run programs here, or that load them.
_SSH_RUNS: Final = (
    "proxycommand",
    "localcommand",
    "knownhostscommand",
    "include",
    "match",
    "pkcs11provider",
    "securitykeyprovider",
    "xauthlocation",
    "remotecommand",
    "permitlocalcommand",
)


def note_ssh_options(state: State, arguments: Sequence[str]) -> None:
    """What `-o` of ssh, scp and sftp may say: whatever runs a program is code that was planted."""
    for place, argument in enumerate(arguments):
        if argument.startswith("-o") or (argument.startswith("-") and argument.endswith("o") and argument[:2] != "-o"):
            value = argument[2:] or "".join(arguments[place + 1 : place + 2])
            plain = value.strip(" \t\"'=").lower()
            if plain.startswith(_SSH_RUNS) or plain[:1] in {HOLE, SPLIT}:
                state.note("planted_code")


def other_host(state: State, name: str, arguments: Sequence[str], given: str | None) -> None:
    """`ssh HOST [COMMAND]`: the words are a shell's text there; without any it reads its input."""
    state.note("network")
    note_ssh_options(state, arguments)
    read = read_options(_HOSTS, arguments, permutes=False)
    note_options(state, read)
    _sure(state, _HOSTS, read)
    words = read.operands[1:]
    if words and words[0].startswith("-"):
        # OpenSSH takes options after the host's name too (ssh.c, "again").
        other_host(
            state, name, [*words, read.operands[0]] if len(words) == 1 else _host_last(words, read.operands[0]), given
        )
    elif words:
        state.script(" ".join(words))
    elif given is not None:
        state.give(given)


def _host_last(words: Sequence[str], host: str) -> list[str]:
    read = read_options(_HOSTS, words, permutes=False)
    taken = len(words) - len(read.operands)
    return [*words[:taken], host, *words[taken:]]
