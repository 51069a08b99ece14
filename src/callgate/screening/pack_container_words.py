"""What a command line of a container engine or a cluster's client asks for, told by its words.

From the manuals of docker, podman, nerdctl, containerd (ctr), crictl, kubectl, oc, LXC, systemd and the clouds' clients.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from posixpath import basename, normpath
from types import MappingProxyType
from typing import Final

from callgate.screening.pack_terms import UNCLEAR, table_of

# Words of one command that are looked at.
MAX_WORDS: Final = 400

_ENGINES: Final = frozenset(
    {"docker", "podman", "nerdctl", "finch", "docker-compose", "podman-compose", "podman-remote", "ctr", "buildah"}
)
_CLUSTERS: Final = frozenset({"kubectl", "oc", "kubecolor", "k3s", "microk8s", "microk8s.kubectl", "minikube"})
# Each of them, with what makes it an exec: words of which one is among the command's own.
_OTHERS: Final[Mapping[str, tuple[str, frozenset[str]]]] = MappingProxyType(
    {
        "crictl": ("container_exec", frozenset({"exec", "attach"})),
        "lxc": ("container_exec", frozenset({"exec", "shell", "console"})),
        "incus": ("container_exec", frozenset({"exec", "shell", "console"})),
        "lxc-attach": ("container_exec", frozenset()),
        "lxc-execute": ("container_exec", frozenset()),
        "pct": ("container_exec", frozenset({"exec", "enter"})),
        "runc": ("container_exec", frozenset({"exec"})),
        "crun": ("container_exec", frozenset({"exec"})),
        "machinectl": ("container_exec", frozenset({"shell", "login"})),
        "nsenter": ("host_namespace", frozenset()),
        "nomad": ("container_exec", frozenset({"exec"})),
        "ecs": ("container_exec", frozenset({"execute-command"})),
        "ecs-exec": ("container_exec", frozenset()),
        "aws": ("container_exec", frozenset({"execute-command"})),
        "az": ("container_exec", frozenset({"exec", "invoke"})),
        "apptainer": ("container_exec", frozenset({"exec", "shell"})),
        "singularity": ("container_exec", frozenset({"exec", "shell"})),
    }
)
COMMANDS: Final = frozenset({*_ENGINES, *_CLUSTERS, *_OTHERS})

# Options in front of the subcommand that take the next word.
_TAKES_WORD: Final = table_of("""-n -H -c -l -s -f -p --namespace --context --kubeconfig --cluster --user --host --server --as --as-group --token
    --config --log-level --file --project-name --project-directory --profile --request-timeout --env-file --address -a
    --tlscacert --tlscert --tlskey --url --connection --identity --certificate-authority --client-key
    --client-certificate --cache-dir -v""")
_GROUPS: Final = table_of("container compose service task tasks alpha kubectl plugin pod kube ctr")
_EXECS: Final = frozenset({"exec", "attach", "rsh", "debug", "cp", "ssh", "node-shell", "exec-as"})
_ENGINE_EXECS: Final = frozenset({"exec", "attach", "enter", "mount", "unshare"})

_HOST_NAMESPACES: Final = table_of("--pid --ipc --uts --net --network --userns --cgroupns")
_LOOSE: Final = re.compile(
    r"unconfined|label[=:]disable|no-new-privileges[=:]false|systempaths|writable-cgroups", re.IGNORECASE
)
_FALSE: Final = frozenset({"false", "0", "f", "no"})
ROOT: Final = re.compile(r"(?:root|0+)(?::.*)?")
# Of the restricted profile of Pod Security Standards: "Containers must drop ALL capabilities, and are only permitted to
# add back the NET_BIND_SERVICE capability."
ALLOWED_CAPABILITY: Final = "NET_BIND_SERVICE"

_SOCKET: Final = re.compile(
    r"(?:docker|containerd|crio|podman|dockershim|buildkitd|cri-dockerd)\.sock|docker_engine", re.IGNORECASE
)
# Below these a host keeps its own programs, devices, keys and accounts.
_SYSTEM: Final = (
    "/etc", "/root", "/proc", "/sys", "/dev", "/boot", "/run", "/var/run", "/var/lib/docker", "/var/lib/kubelet",
    "/var/lib/containerd", "/var/lib/containers", "/var/lib/rancher", "/var/lib/etcd", "/var/spool/cron", "/usr", "/bin",
    "/sbin", "/lib", "/lib64", "/host", "/hostfs", "/rootfs",
)  # fmt: skip
# These themselves; what is below them is somebody's own.
_WHOLE: Final = frozenset(
    {
        "/",
        "/var",
        "/var/lib",
        "/var/log",
        "/home",
        "/opt",
        "/srv",
        "/mnt",
        "/media",
        "/users",
        "/private",
        "~",
        "$home",
        "${home}",
    }
)
_HARMLESS: Final = (
    "/etc/localtime", "/etc/timezone", "/etc/ssl/certs", "/etc/pki/ca-trust", "/etc/hosts", "/etc/resolv.conf",
    "/usr/share/zoneinfo", "/usr/share/ca-certificates", "/usr/local/share/ca-certificates", "/usr/share/fonts", "/dev/shm", "/dev/null",  # noqa: S108  # a mount's source, not a file of ours
)  # fmt: skip
_KEYS: Final = re.compile(r"/\.(?:ssh|aws|kube|docker|gnupg|azure|config/gcloud|netrc|git-credentials)(?:/|$)")
_DRIVE: Final = re.compile(r"(?:[a-z]:|//?[a-z])[/\\]{0,2}")
_CLIMBS: Final = re.compile(r"(?:\.\./?){3,}|^(?:\$\{?pwd\}?|\$\(pwd\))?/?\.\./\.\.(?:/|$)")
_BIND_OPTION: Final = re.compile(r"(?:^|,)(?:source|src)=([^,]*)", re.IGNORECASE)
_WINDOWS: Final = re.compile(r"^([A-Za-z]:[\\/][^:]*)(?::|$)")


def rules_of_words(words: Sequence[str]) -> Iterator[str]:
    """The rules of `privileged-exec` that a command breaks; its first word is the program."""
    name = basename(words[0].replace("\\", "/")).lower().removesuffix(".exe")
    if len(words) > MAX_WORDS and name in COMMANDS:
        yield UNCLEAR
    words = words[1:MAX_WORDS]
    if name in _OTHERS:
        code, asked = _OTHERS[name]
        if not asked or asked.intersection(words):
            yield code
    if name in _ENGINES:
        yield from _engine(words)
    if name in _CLUSTERS:
        yield from _cluster(words)


def _own_words(words: Sequence[str]) -> Iterator[str]:
    """What is no option and no option's value, in front of which only such stand."""
    skips = False
    for word in words:
        if skips:
            skips = False
        elif word.startswith("-"):
            skips = word in _TAKES_WORD
        else:
            yield word


def _subcommand(words: Sequence[str]) -> str:
    return next((word for word in _own_words(words) if word not in _GROUPS), "")


def _engine(words: Sequence[str]) -> Iterator[str]:
    first = _subcommand(words)
    if first in _ENGINE_EXECS and not (first == "mount" and "container" not in words):
        yield "container_exec"
    if first in _STARTS:
        yield from _options(words)


_STARTS: Final = table_of("run create exec update up build buildx start install service pod")


def _cluster(words: Sequence[str]) -> Iterator[str]:
    first = _subcommand(words)
    if first in _EXECS:
        yield "container_exec"
    if first == "debug" and any(word.startswith(("node/", "nodes/")) for word in words):
        yield "host_namespace"
    if first == "debug" and "--profile=sysadmin" in words:
        yield "privileged_container"
    if first == "run":
        yield from _options(words)
    if any(word in {"add-scc-to-user", "add-scc-to-group"} for word in words):
        yield "privilege_escalation"


def _options(words: Sequence[str]) -> Iterator[str]:
    for index, word in enumerate(words):
        name, is_joined, value = word.partition("=")
        if not is_joined:
            value = words[index + 1] if index + 1 < len(words) else ""
        if name[:1] == "-" and name in _OPTIONS:
            yield from _OPTIONS[name](value if is_joined or name not in _FLAGS else "")
        elif name.startswith(("-v/", "-v~", "-v$")):
            yield from rules_of_mount(word[2:])


def _privileged(value: str) -> Iterator[str]:
    if value.lower() not in _FALSE:
        yield "privileged_container"


def _namespace(value: str) -> Iterator[str]:
    if value.strip("\"'").lower() == "host":
        yield "host_namespace"


def _capability(value: str) -> Iterator[str]:
    return rules_of_capabilities(value.split(","))


def rules_of_capabilities(names: Sequence[str]) -> Iterator[str]:
    """Whether a container is to have more than the one capability that may be added."""
    if any(name.strip("\"' ").upper().removeprefix("CAP_") != ALLOWED_CAPABILITY for name in names if name):
        yield "added_capability"


def _device(value: str) -> Iterator[str]:
    if value:
        yield "host_device"


def _security(value: str) -> Iterator[str]:
    if _LOOSE.search(value):
        yield "privilege_escalation"


def _user(value: str) -> Iterator[str]:
    if ROOT.fullmatch(value.strip("\"'").lower()):
        yield "root_user"


def rules_of_mount(value: str) -> Iterator[str]:
    """Which rules a mount breaks, as `source:target` or `type=bind,source=…`."""
    value = value.strip("\"'")
    told = _BIND_OPTION.search(value)
    if told is None and re.match(r"(?:type|dst|target|destination)=", value):
        return
    drive = _WINDOWS.match(value)
    yield from rules_of_source(told[1] if told else drive[1] if drive else value.partition(":")[0])


def rules_of_source(source: str) -> Iterator[str]:
    """Which rules a path of the host breaks that is mounted into a container."""
    if _SOCKET.search(source):
        yield "container_socket"
    plain = source.strip("\"' ").lower().replace("\\", "/")
    if not plain.startswith(("/", "~", "$", ".")) and not _DRIVE.fullmatch(plain):
        return
    path = re.sub("^/+", "/", normpath(plain))
    below = any(path == each or path.startswith(f"{each}/") for each in _SYSTEM)
    is_harmless = any(path == each or path.startswith(f"{each}/") for each in _HARMLESS)
    is_drive = bool(_DRIVE.fullmatch(plain)) and plain != "."
    if (below and not is_harmless) or path in _WHOLE or is_drive or _KEYS.search(path) or _CLIMBS.search(plain):
        yield "host_mount"


_FLAGS: Final = frozenset({"--privileged"})
_OPTIONS: Final[Mapping[str, Callable[[str], Iterator[str]]]] = MappingProxyType(
    dict.fromkeys(_HOST_NAMESPACES, _namespace)
    | dict.fromkeys(("-v", "--volume", "--mount", "-mount"), rules_of_mount)
    | dict.fromkeys(("-u", "--user"), _user)
    | dict.fromkeys(("--device", "--device-cgroup-rule"), _device)
    | {"--privileged": _privileged, "--cap-add": _capability, "--security-opt": _security}
)
