"""Commands on files whose arguments decide what they do: find, tar, dd, chmod, rsync and their kind."""

import re
from collections.abc import Sequence
from itertools import takewhile
from typing import Final

from callgate.screening.shell_options import Given, options_of, read_options
from callgate.screening.shell_paths import NOTHING, is_device, is_remote, is_sensitive
from callgate.screening.shell_state import State, is_exact
from callgate.screening.shell_terms import BRACKET, HOLE, INPUT, NAMES, PLAIN, SPLIT, STAR
from callgate.screening.shell_wrappers import note_options, note_ssh_options

# find(1), "ACTIONS".
_FIND_WRITES: Final = frozenset({"-fls", "-fprint", "-fprint0", "-fprintf"})
_FIND_RUNS: Final = frozenset({"-exec", "-execdir", "-ok", "-okdir"})
# Its tests and options that take the next argument, whatever that is.
_FIND_VALUED: Final = frozenset(
    [
        "-name",
        "-iname",
        "-path",
        "-ipath",
        "-wholename",
        "-iwholename",
        "-regex",
        "-iregex",
        "-lname",
        "-ilname",
        "-newer",
        "-anewer",
        "-cnewer",
        "-type",
        "-xtype",
        "-size",
        "-perm",
        "-user",
        "-group",
        "-uid",
        "-gid",
        "-mtime",
        "-mmin",
        "-atime",
        "-amin",
        "-ctime",
        "-cmin",
        "-maxdepth",
        "-mindepth",
        "-fstype",
        "-inum",
        "-links",
        "-samefile",
        "-printf",
        "-regextype",
        "-files0-from",
    ]
)
_MAY_BE_ACTIONS: Final = (SPLIT, STAR, BRACKET, INPUT)
_TAR: Final = options_of(
    "f: file: C: directory: b: blocking-factor: F:=planted_code info-script:=planted_code new-volume-script:=planted_code "
    "I: use-compress-program: to-command:=planted_code rsh-command:=planted_code rmt-command:=planted_code "
    "checkpoint? checkpoint-action: remove-files=delete delete=delete overwrite=overwrite overwrite-dir=overwrite unlink-first=overwrite U=overwrite recursive-unlink=delete "
    "T: files-from: X: exclude-from: exclude: L: N: g:=write_to listed-incremental:=write_to index-file:=write_to K: H: format: V: "
    "owner: group: mode: mtime: transform: xform: strip-components: one-top-level? suffix: sort: volno-file:=write_to warning: "
    "t list c create x extract get r append u update A catenate d diff compare z gzip j bzip2 J xz a auto-compress zstd lzma lzip Z v verbose p O to-stdout P W w i h S k m o s".replace(
        "=compressor", ""
    ).replace("=checkpoint", "")
)
_COMPRESSORS: Final = frozenset(
    {"gzip", "pigz", "bzip2", "pbzip2", "xz", "pixz", "zstd", "lz4", "lzop", "lzip", "lzma", "brotli"}
)
_TAR_ACTIONS: Final = re.compile(
    r"dot|bell|totals|ttyout(?:=[^\n]*)?|echo(?:=[^\n]*)?|sleep=[0-9.]+|wait=\w+|\.|[0-9]+"
)
_CHMOD: Final = options_of("R recursive reference: v verbose c changes f silent quiet no-preserve-root preserve-root")
_NUMERIC_MODE: Final = re.compile(r"[0-7]{1,4}")
# Symbolic modes that give nothing away: for the owner and the group, or read and execute for all.
_HARMLESS_MODE: Final = re.compile(r"[ug]*[+=-][rwxX]+|[ugo]*[-]w|[ugoa]*[+=][rxX]+|o[-=][rwxX]*|go[-=][rwxX]*|o=")
_INSTALL: Final = options_of(
    "m: mode: o: owner: g: group: t:=write_to target-directory:=write_to S: suffix: b C c d directory D p s strip v strip-program:=planted_code"
)
_RSYNC: Final = options_of(
    "e: rsh: rsync-path:=planted_code delete=delete del=delete delete-before=delete delete-during=delete delete-delay=delete delete-after=delete "
    "delete-excluded=delete delete-missing-args=delete remove-source-files=delete force=delete existing inplace max-delete: daemon=unknown_script "
    "config:=unknown_script log-file:=write_to write-batch:=write_to only-write-batch:=write_to read-batch: f: filter: include: exclude: include-from: "
    "exclude-from: files-from: T: temp-dir: partial-dir: backup-dir: suffix: B: block-size: port: password-file: bwlimit: timeout: out-format: "
    "compare-dest: copy-dest: link-dest: M:=planted_code remote-option:=planted_code chmod: chown:=permissions usermap:=permissions groupmap:=permissions "
    "info: debug: a archive v verbose z compress n dry-run list-only r recursive u update P progress h human-readable c checksum x W H A X S l L p o g t D O R q b d k K i I s y C E N U J"
)


def found_files(state: State, _: str, arguments: Sequence[str], __: str | None) -> None:
    """`find`: its actions; with none of them it only lists."""
    position = 0
    mark = _found_names(arguments)
    while position < len(arguments):
        argument = arguments[position]
        position += 1
        if argument == "-delete":
            state.note("delete")
        elif argument in _FIND_WRITES:
            state.write_to("".join(arguments[position : position + 1]))
        elif argument in _FIND_RUNS:
            position = _action(state, arguments, position, mark)
        elif argument in _FIND_VALUED and all(map(is_exact, arguments[position : position + 1])):
            position += 1
        elif argument.startswith(_MAY_BE_ACTIONS) or (argument[:1] == "-" and not is_exact(argument)):
            state.note("unresolved_option")


def _found_names(arguments: Sequence[str]) -> str:
    """What `{}` stands for: names below the starting points, which are known or not."""
    places = list(takewhile(lambda word: word[:1] not in {"-", "(", "!"}, arguments))
    known = all(is_exact(place) and not is_sensitive(place) and not is_device(place) for place in places)
    return NAMES if known else INPUT


def _action(state: State, arguments: Sequence[str], begin: int, mark: str) -> int:
    """The command of `-exec`, up to its `;`, or to a `+` after `{}`; where the rest goes on."""
    end = begin
    while end < len(arguments) and arguments[end] != ";" and not (arguments[end] == "+" and arguments[end - 1] == "{}"):
        end += 1
    command = [word.replace("{}", mark) for word in arguments[begin:end]]
    if not command or end == len(arguments):
        state.note("unresolved_command")
    state.run(command, HOLE)
    return end + 1


_FD: Final = options_of(
    "x: X: exec: exec-batch: e: t: E: d: c: S: o: g s i H I L a p l 0 u type: extension: exclude: max-depth: changed-within: changed-before: owner: color: j: threads: search-path: base-directory:"
)


def found_by_fd(state: State, _: str, arguments: Sequence[str], __: str | None) -> None:
    """`fd -x COMMAND` takes all that follows for the command."""
    for place, argument in enumerate(arguments):
        if argument in {"-x", "-X", "--exec", "--exec-batch"}:
            words = list(arguments[place + 1 :])
            command = words[: words.index(";")] if ";" in words else words
            state.run([word.replace("{}", INPUT) for word in command] + [INPUT], HOLE)
            if not command:
                state.note("unresolved_command")
            return
        if argument.startswith(("--exec", *_MAY_BE_ACTIONS)) or (
            argument[:1] == "-" and argument[1:2] != "-" and set("xX") & set(argument)
        ):
            state.note("unresolved_command")


def archived(state: State, _: str, arguments: Sequence[str], __: str | None) -> None:
    """`tar`: lists, or writes an archive, or what is in one; several options run programs (tar(1))."""
    words = list(arguments)
    if words and words[0][:1] not in {"-", *_MAY_BE_ACTIONS, ""} and is_exact(words[0]):
        words = _with_dash(words)
    read = read_options(_TAR, words)
    note_options(state, read)
    if read.unsure:
        state.note("unresolved_option")
    programs = read.values("I", "use-compress-program")
    if not all(is_exact(program) and program.split(" ")[0] in _COMPRESSORS for program in programs):
        state.note("planted_code")
    if not all(map(_TAR_ACTIONS.fullmatch, read.values("checkpoint-action"))):
        state.note("planted_code")
    files = read.values("f", "file")
    if any(is_remote(file) for file in files) and not read.has("force-local"):
        state.note("network")
    if read.said and not read.has("t", "list", "d", "diff", "compare", "version", "help"):
        _archive(state, read, files)


def _archive(state: State, read: Given, files: Sequence[str]) -> None:
    """Unpack an archive, or write one."""
    if read.has("x", "extract", "get"):
        if not read.has("O", "to-stdout"):
            state.write_to(read.value("C", "directory") or "archive")
        if read.has("P", "absolute-names"):
            state.note("overwrite")
    else:
        for file in files:
            state.write_to(file)


def _with_dash(words: list[str]) -> list[str]:
    """The old style, `tar xf FILE`: letters without a dash, their values behind in their order."""
    letters, rest = words[0], words[1:]
    values = [letter for letter in letters if letter in _TAR.valued]
    plain = "".join(letter for letter in letters if letter not in _TAR.valued)
    options = [word for letter, value in zip(values, rest, strict=False) for word in (f"-{letter}", value)]
    return [*([f"-{plain}"] if plain else []), *options, *rest[len(values) :]]


def converted(state: State, _: str, arguments: Sequence[str], __: str | None) -> None:
    """`dd`: what it writes is `of=`; a device read as nothing, zeros or noise empties what is there."""
    for argument in arguments:
        key, _equals, value = argument.partition("=")
        if key[:1] in _MAY_BE_ACTIONS or key[:1] == HOLE:
            state.note("unresolved_option")
        if key == "of":
            state.write_to(value)
            sources = [word[3:] for word in arguments if word.startswith("if=")]
            if any(source.startswith(("/dev/", HOLE, SPLIT)) for source in sources) and value != "/dev/null":
                state.note("overwrite")


def changed_mode(state: State, _: str, arguments: Sequence[str], __: str | None) -> None:
    """`chmod`: one plain file is a write; folders as a whole, setuid, everybody's writing and the system's files are more."""
    rights = [word for word in arguments if re.fullmatch(r"-[rwxXst]+", word)]
    read = read_options(_CHMOD, [word for word in arguments if word not in rights or word == "-R"])
    state.note("write")
    modes = [word for word in rights if word != "-R"] or ([] if read.has("reference") else read.operands[:1])
    files = read.operands if len(modes) and modes[0] in rights else read.operands[len(modes) :]
    if read.has("R", "recursive") or read.unsure or not all(_is_harmless_mode(mode) for mode in modes):
        state.note("permissions")
    for path in files:
        state.write_to(path)


def _is_harmless_mode(mode: str) -> bool:
    if _NUMERIC_MODE.fullmatch(mode):
        bits = int(mode, 8)
        return not bits & 0o7002 and bool(bits & 0o700)
    return all(_HARMLESS_MODE.fullmatch(part) for part in mode.split(",")) or mode in {"-w", "-x"}


def installed(state: State, _: str, arguments: Sequence[str], __: str | None) -> None:
    """`install`: a copy with a mode and an owner."""
    read = read_options(_INSTALL, arguments)
    state.note("write", *(["overwrite"] if NOTHING & set(read.operands[:-1]) else []))
    note_options(state, read)
    for mode in read.values("m", "mode"):
        if not _is_harmless_mode(mode):
            state.note("permissions")
    if read.has("o", "owner", "g", "group"):
        state.note("permissions")
    for path in read.operands if read.has("d", "directory") else read.operands[-1:]:
        state.write_to(path)


def synchronised(state: State, _: str, arguments: Sequence[str], __: str | None) -> None:
    """`rsync`: a copy, perhaps to another host, perhaps with deletion."""
    read = read_options(_RSYNC, arguments)
    tries = read.has("n", "dry-run", "list-only")
    if read.unsure:
        state.note("unresolved_option")
    for effect, value in read.effects:
        if effect == "write_to":
            state.write_to(value)
        elif not (tries and effect == "delete"):
            state.note(effect)
    for shell in read.values("e", "rsh"):
        words = shell.split()
        if words[:1] != ["ssh"] or not is_exact(shell):
            state.note("planted_code")
        else:
            note_ssh_options(state, words[1:])
    if any(is_remote(operand) for operand in read.operands):
        state.note("network")
    if len(read.operands) > 1 and not tries and not is_remote(read.operands[-1]):
        state.write_to(read.operands[-1])


def mounted(state: State, _: str, arguments: Sequence[str], __: str | None) -> None:
    """`mount` without operands lists; anything else puts a file system somewhere."""
    read = read_options(
        options_of("t: o: O: L: U: a all l V v B R M bind rbind move make-private make-shared"), arguments
    )
    if read.operands or read.has("a", "all"):
        state.note("privileged", "write")
    for words in read.values("o"):
        if "suid" in words.split(",") or "remount" in words:
            state.note("device")


def loop_devices(state: State, _: str, arguments: Sequence[str], __: str | None) -> None:
    """`losetup` lists with -a, -l and -j; else it makes devices or takes them away."""
    if arguments and not set(arguments) <= {"-a", "--all", "-l", "--list", "-j", "-n", "-J"}:
        state.note("privileged", "device")


def is_plain_word(word: str) -> bool:
    """Whether a loop's word can be no option, no path elsewhere and nothing that splits."""
    return is_exact(word) and re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.@%+-]*", word) is not None


def looped(word: str) -> str | None:
    """What a loop's variable holds for certain when its words are too many to be tried: None if nothing."""
    if is_plain_word(word):
        return PLAIN
    if HOLE in word or SPLIT in word or is_sensitive(word) or is_device(word) or word.startswith(("-", "~", "/")):
        return None
    return NAMES if not is_exact(word) else None
