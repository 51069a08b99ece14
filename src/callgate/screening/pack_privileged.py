"""The pack `privileged-exec`: commands inside containers and clusters, and containers that are no wall.

It looks at all arguments: command lines and lists of words, the objects of Kubernetes, Docker and Compose, and the same
as YAML or JSON in a text.
"""

import re
from collections.abc import Iterator
from itertools import islice
from typing import Final

import re2  # type: ignore[import-untyped]  # ships no types

from callgate.screening.pack_commands import command_lines
from callgate.screening.pack_container_objects import rules_of_objects
from callgate.screening.pack_container_words import COMMANDS, rules_of_mount, rules_of_words
from callgate.screening.pack_declared import Unclear, shell_of
from callgate.screening.pack_manifests import read_manifest
from callgate.screening.pack_terms import UNCLEAR, Declared, Pack, rules_with
from callgate.screening.pack_walk import Contents, contents_of, fold
from callgate.wire.json_strict import JsonObject

PRIVILEGED_EXEC: Final = Pack(
    "privileged-exec",
    1,
    "Commands inside containers and clusters, and containers with rights over their host",
    rules_with(
        {
            "container_exec": "a command inside a running container, or a container added to a running pod",
            "privileged_container": "a container with all rights over its host",
            "privilege_escalation": "rights that grow: escalation allowed, or no profile of seccomp, AppArmor or SELinux",
            "added_capability": "a capability more than binding a low port",
            "host_namespace": "the host's own processes, network or users",
            "host_mount": "a part of the host's own files",
            "host_device": "a device of the host",
            "container_socket": "the socket of the container engine: whoever has it has the host",
            "root_user": "root inside the container, asked for",
            "privileged_shell": "a declared shell command that takes other rights, or may",
        },
        declared=False,
    ),
)

# Of one call: parts of texts around words that tell, and commands.  A text with more is not looked at wholly.
MAX_LOOKED_AT: Final = 256 * 1024
MAX_COMMANDS: Final = 200
# Of one command.
MAX_LINE_CHARACTERS: Final = 4096
# Texts that look like manifests by their beginning, and those that also have a word that tells.
MAX_TEXTS: Final = 2000
MAX_MANIFESTS: Final = 20
MAX_MANIFEST_CHARACTERS: Final = 48 * 1024
# A long text is looked at in pieces, each with the beginning of the next.
_PIECE: Final = 2048
_REACH: Final = 512

_SPACE: Final = r"[\s\x22'\\]*"
_IS: Final = rf"{_SPACE}[:=]{_SPACE}(?:[&!][\w!-]*\s+)*{_SPACE}"
_TRUE: Final = r"(?:true|yes|on|1)\b"
# The same that objects are looked at for, where it stands in a text of whatever form: a patch in a command line, Terraform,
# a template.
_SETTINGS: Final[tuple[tuple[str, str], ...]] = (
    ("privileged_container", rf"\b(?:privileged|host_?process){_IS}{_TRUE}"),
    ("privilege_escalation", rf"\ballow_?privilege_?escalation{_IS}{_TRUE}"),
    ("privilege_escalation", rf"\bproc_?mount{_IS}unmasked\b|\b(?:seccomp|apparmor)_?profile{_IS}\{{?[\s\x22']*(?:type{_IS})?unconfined"),
    ("privilege_escalation", r"\bpod-security\.kubernetes\.io/enforce[\x22'\s]*[:=][\x22'\s]*privileged"),
    ("privilege_escalation", r"\b(?:apparmor|seccomp)[\w.-]*kubernetes\.io/[\w./-]*[\x22'\s]*[:=][\x22'\s]*(?:unconfined|localhost/unconfined)"),
    ("host_namespace", rf"\bhost_?(?:network|pid|ipc){_IS}{_TRUE}"),
    ("host_namespace", rf"\b(?:pid|ipc|network|userns|uts|cgroupns)_?mode{_IS}host\b"),
    ("host_mount", r"\bhost_?path[\x22'\\]*\s*[:=]\s*[\x22'\\{/~\w]|\bhost_?path\s*\{"),
    ("added_capability", r"\badd[\s\x22'\\]*[:=][\s\x22'\\\[-]*(?:cap_)?(?:all|sys_[a-z]+|net_admin|net_raw|net_broadcast|dac_[a-z_]+|"
     r"bpf|perfmon|syslog|ipc_[a-z]+|audit_(?:control|read)|mac_[a-z]+|setfcap|linux_immutable|checkpoint_restore|mknod|lease)\b"),
    ("root_user", rf"\brun_?as_?user{_IS}0+(?:[^\w.]|$)"),
    ("container_socket", r"(?:docker|containerd|crio|podman|dockershim|buildkitd|cri-dockerd)\.sock\b|pipe[/\\]+docker_engine"),
    ("container_socket", r"\btcp://[^\s/\x22']{1,253}:237[56]\b"),
    ("container_exec", r"/pods/[^/\s\x22']{1,253}/(?:exec|attach|ephemeralcontainers)\b|\bpods/(?:exec|attach)\b"),
    ("container_exec", r"/containers/[\w.-]{1,128}/(?:exec|attach)\b|/exec/[0-9a-f]{6,64}/start\b"),
)  # fmt: skip
_PATTERNS: Final = tuple((code, re2.compile(f"(?i){pattern}")) for code, pattern in _SETTINGS)
_ANY: Final = re2.compile(f"(?i){'|'.join(pattern for _, pattern in _SETTINGS)}")
# A word that each of them, and each manifest of interest, has.
_WORDS: Final = re2.compile(
    r"(?i)privilege|host_?(?:network|pid|ipc|path|process)|(?:pid|ipc|network|userns|uts|cgroupns)_?mode|proc_?mount|run_?as_?user|"
    r"seccomp|apparmor|capabilit|cap_?add|\badd[\x22'\\\s]*[:=]|docker|container|crio|podman|\.sock|:237[56]|pod-security|"
    r"pods?/|/exec/|securityopt|security_opt|binds|devices|volumes?|mounts?|podexec|ephemeral|\bpid|\bipc|"
    rf"\b(?:{'|'.join(re2.escape(name) for name in sorted(COMMANDS))})\b|\\[xu][0-9a-f]{{2}}"
)
# Where a command begins, in what is no prose: at the beginning of a line or behind what ends or runs another command.
_COMMAND: Final = re2.compile(
    r"(?im)(?:^|[;|&(){}\x60\x22'=>\[,]|\$\(|\b(?:sudo|doas|xargs|time|exec|nohup|env|then|do|else|command|timeout[ \t]+[\w.]+|run:)(?:[ \t]+-\S+)*)"
    r"[ \t]*(?:[\w./~\\:-]*[/\\])?(?:" + "|".join(re2.escape(name) for name in sorted(COMMANDS)) + r")(?:\.exe)?[ \t]+"
)
_END_OF_COMMAND: Final = re.compile(r"\s(?:[;|&]|\d?>)|[;|&]\s|\n")
_QUOTES: Final = str.maketrans("", "", "\"'`")
# No setting is shorter: `pid: host`.
_SHORTEST: Final = 8
# Tools whose own name says it, as the servers for Kubernetes and Docker have them.
_TOOL: Final = re.compile(
    r"(?:^|[_.-])(?:pods?|containers?|docker|kubectl|kube|k8s|podman|ecs|lxc|incus)s?[_.-](?:\w+[_.-])?(?:exec|execute|attach|debug)(?:$|[_.-])"
    r"|(?:^|[_.-])(?:exec|execute|run|attach)(?:[_.-]\w+)?[_.-](?:in|into|to|on)?[_.-]?(?:pod|container)s?(?:$|[_.-])",
    re.IGNORECASE,
)
_CAMEL: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


def look_for_privileged(tool: str, arguments: JsonObject, declared: Declared) -> set[str]:
    """The rules of privileged-exec that the call breaks."""
    contents = contents_of(arguments)
    lines = command_lines(contents)
    text, is_folded = fold("\n".join((contents.text(), *lines)))
    broken = set() if contents.is_whole and is_folded else {UNCLEAR}
    if _TOOL.search(_CAMEL.sub("_", tool[:128])):
        broken.add("container_exec")
    broken |= _in_shell(arguments, declared) | rules_of_objects(contents.objects)
    if _WORDS.search(text):
        broken |= _in_text(text) | _in_manifests(contents)
    return broken | _alone(text)


def _in_text(text: str) -> set[str]:
    parts, is_whole = _parts(text)
    broken = {code for code, pattern in _PATTERNS if pattern.search(parts)} if _ANY.search(parts) else set()
    broken |= set() if is_whole else _UNREAD
    for count, match in enumerate(_COMMAND.finditer(text)):
        if count == MAX_COMMANDS:
            return broken | _UNREAD
        broken.update(_in_command(match[0], text[match.end() : match.end() + MAX_LINE_CHARACTERS]))
    return broken


def _in_command(begin: str, rest: str) -> Iterator[str]:
    """`begin` ends with the program's name."""
    is_cut = len(rest) == MAX_LINE_CHARACTERS
    rest = rest.replace("\\\n", " ")
    found = _END_OF_COMMAND.search(rest)
    if found is None and is_cut:
        # What is behind could be one more option.
        yield UNCLEAR
    line = rest[: found.start()] if found else rest
    yield from rules_of_words((_NAME.findall(begin)[-1], *line.translate(_QUOTES).split()))


_NAME: Final = re.compile(r"[\w.-]+")


def _parts(text: str) -> tuple[str, bool]:
    """The pieces of a long text that have a word that tells, and whether that is all of it."""
    if len(text) <= MAX_LOOKED_AT:
        return text, True
    pieces = (text[start : start + _PIECE + _REACH] for start in range(0, len(text), _PIECE))
    told = list(islice(filter(_WORDS.search, pieces), MAX_LOOKED_AT // _PIECE + 1))
    return "\n".join(told), len(told) <= MAX_LOOKED_AT // _PIECE


def _in_manifests(contents: Contents) -> set[str]:
    """The objects that texts hold, and what texts in those hold."""
    broken: set[str] = set()
    candidates = [text for _, text in contents.named if len(text) > _SHORTEST and ":" in text]
    if len(candidates) > MAX_TEXTS:
        return broken | {UNCLEAR}
    left, waiting = MAX_MANIFEST_CHARACTERS, [text for text in candidates if _WORDS.search(text)]
    for text in waiting:
        if len(text) > left or len(waiting) > MAX_MANIFESTS:
            broken |= _UNREAD if _NEEDS_READING.search(text) else set()
            continue
        left -= len(text)
        for value in read_manifest(text).values:
            inner = contents_of(value)
            broken |= rules_of_objects(inner.objects) | (set() if inner.is_whole else _UNREAD)
            waiting.extend(each for _, each in inner.named if each != text and ":" in each and _WORDS.search(each))
    return broken


_UNREAD: Final = frozenset({UNCLEAR})
# What the patterns for text cannot tell: aliases, escaped names, text within text.
_NEEDS_READING: Final = re2.compile(
    r"(?i)(?:privileged|escalation|host_?(?:network|pid|ipc|process)|run_?as_?user|proc_?mount)[\s\x22'\\]*[:=]\s*"
    r"(?:[^\s\w\x22'/]|[\x22']\\|#)|\\(?:u00|x)[4-7][0-9a-f]|\badd[\x22']?:\s*[*&!]"
)


# Words that are nothing else, wherever they stand alone.
_ALONE: Final = re2.compile(
    r"(?m)^(?:(/+:/[^\s:]*(?::[a-zA-Z,]+)?)|--privileged(?:=true)?|--(?:pid|ipc|uts|net|network|userns)=host|--cap-add=\S+)$"
)


def _alone(text: str) -> set[str]:
    broken: set[str] = set()
    for match in islice(_ALONE.finditer(text), MAX_COMMANDS):
        broken.update(rules_of_mount(match[1]) if match[1] else rules_of_words(("docker", "run", match[0])))
    return broken


def _in_shell(arguments: JsonObject, declared: Declared) -> set[str]:
    broken: set[str] = set()
    for each in shell_of(arguments, declared):
        if isinstance(each, Unclear):
            broken.add(UNCLEAR)
        elif each.reading.privileged:
            broken.add("privileged_shell")
    return broken
