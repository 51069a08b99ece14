"""What an object that describes a container asks for: a pod of Kubernetes, a body of Docker's API, a service of Compose.

Names count without case, `_` and `-`, and by their last step where they are paths (`securityContext.privileged`).  The
rules are those of Pod Security Standards (Kubernetes), of which `baseline` forbids them all but the two that only
`restricted` does: root, and escalation; and what the same is called in Docker Engine's API and in the Compose
specification.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Final

from callgate.screening.pack_container_words import ROOT, rules_of_capabilities, rules_of_mount, rules_of_source
from callgate.screening.pack_terms import UNCLEAR
from callgate.wire.json_strict import JsonObject, JsonValue

# Of one list of mounts, devices and the like, at some 5 microseconds each.
MAX_ENTRIES: Final = 500

_TRUE: Final = frozenset({"true", "yes", "on", "y", "1", "t"})
_TEMPLATE: Final = re.compile(r"\{\{|\$\{|\$\(|<%")


def rules_of_objects(objects: Sequence[JsonObject]) -> set[str]:
    """The rules of `privileged-exec` that objects break by their own members."""
    names = frozenset().union(*objects) if objects else frozenset[str]()
    telling = {name: check for name in names if (check := _CHECKS.get(plain_name(name))) is not None}
    broken: set[str] = set()
    for members in objects:
        for name in telling.keys() & members.keys():
            broken.update(_checked(telling[name], members[name]))
        if not _WITH_OTHERS.isdisjoint(members):
            broken.update(_by_others(members))
    return broken


def _checked(check: Callable[[JsonValue], Iterator[str]], value: JsonValue) -> Iterator[str]:
    if isinstance(value, list | dict) and len(value) > MAX_ENTRIES:
        return iter((UNCLEAR,))
    return check(value)


_WITH_OTHERS: Final = frozenset({"image", "Image", "path"})


def _by_others(members: JsonObject) -> Iterator[str]:
    """What counts only beside another member."""
    if "image" in members or "Image" in members:
        yield from _user(members.get("user", members.get("User")))
    # A JSON Patch (RFC 6902) has the name in its path.
    path = members.get("path")
    if isinstance(path, str) and "value" in members and (check := _CHECKS.get(plain_name(path))) is not None:
        yield from check(members["value"])


def plain_name(name: str) -> str:
    """A member's name as the checks know it."""
    last = name[-100:].rpartition("/")[2].rpartition(".")[2]
    return last.lower().replace("_", "").replace("-", "")


def _flag(code: str) -> Callable[[JsonValue], Iterator[str]]:
    def check(value: JsonValue) -> Iterator[str]:
        if value is True or (type(value) is int and value != 0):
            yield code
        elif isinstance(value, str):
            if value.strip().lower() in _TRUE:
                yield code
            elif _TEMPLATE.search(value):
                yield UNCLEAR

    return check


def _namespace(value: JsonValue) -> Iterator[str]:
    if isinstance(value, str) and value.strip().lower() == "host":
        yield "host_namespace"


def _host_path(value: JsonValue) -> Iterator[str]:
    # Pod Security Standards, baseline: "HostPath volumes must be forbidden."
    if not value:
        return
    yield "host_mount"
    if isinstance(value, dict):
        value = value.get("path")
    if isinstance(value, str):
        yield from rules_of_source(value)


def _capabilities(value: JsonValue) -> Iterator[str]:
    if isinstance(value, dict):
        for name, each in value.items():
            if plain_name(name) == "add":
                yield from _added(each)


def _added(value: JsonValue) -> Iterator[str]:
    yield from rules_of_capabilities(_texts(value))


def _texts(value: JsonValue) -> list[str]:
    entries = value if isinstance(value, list) else [value]
    return [entry for entry in entries if isinstance(entry, str)]


def _devices(value: JsonValue) -> Iterator[str]:
    for entry in value if isinstance(value, list) else [value]:
        named = [entry] if isinstance(entry, str) else list(entry.values()) if isinstance(entry, dict) else []
        if any(isinstance(path, str) and path.startswith("/dev/") for path in named):
            yield "host_device"


def _security(value: JsonValue) -> Iterator[str]:
    if any(
        re.search(r"unconfined|label[=:]disable|no-new-privileges[=:]false|systempaths", each, re.IGNORECASE)
        for each in _texts(value)
    ):
        yield "privilege_escalation"


def _profile(value: JsonValue) -> Iterator[str]:
    told = value.get("type") if isinstance(value, dict) else value
    if isinstance(told, str) and told.strip().lower() in {"unconfined", "unmasked"}:
        yield "privilege_escalation"


def _user(value: JsonValue) -> Iterator[str]:
    if (type(value) is int and value == 0) or (isinstance(value, str) and ROOT.fullmatch(value.strip().lower())):
        yield "root_user"


def _run_as(value: JsonValue) -> Iterator[str]:
    if isinstance(value, str) and _TEMPLATE.search(value):
        yield UNCLEAR
    if (isinstance(value, int | float) and value == 0) or (isinstance(value, str) and re.fullmatch(r"\s*0+\s*", value)):
        yield "root_user"


def _mounts(value: JsonValue) -> Iterator[str]:
    if isinstance(value, str):
        yield from rules_of_mount(value)
    elif isinstance(value, dict):
        # docker-py: {"/host/path": {"bind": "/in/container"}}; and one mount alone.
        for name in value:
            yield from rules_of_source(name) if name.startswith(("/", "~")) else ()
        yield from _mount(value)
    elif isinstance(value, list):
        for entry in value:
            yield from rules_of_mount(entry) if isinstance(entry, str) else _mount(entry)


def _mount(entry: JsonValue) -> Iterator[str]:
    if isinstance(entry, dict):
        for name, value in entry.items():
            if plain_name(name) in {"source", "src", "hostpath", "hostdir"} and isinstance(value, str):
                yield from rules_of_source(value)


def _present(code: str) -> Callable[[JsonValue], Iterator[str]]:
    def check(value: JsonValue) -> Iterator[str]:
        if value:
            yield code

    return check


def _kind(value: JsonValue) -> Iterator[str]:
    if isinstance(value, str) and value.strip().lower() in {"podexecoptions", "podattachoptions"}:
        yield "container_exec"


_CHECKS: Final[Mapping[str, Callable[[JsonValue], Iterator[str]]]] = MappingProxyType(
    dict.fromkeys(("privileged", "hostprocess", "isprivileged", "privilegedmode"), _flag("privileged_container"))
    | dict.fromkeys(("hostnetwork", "hostpid", "hostipc"), _flag("host_namespace"))
    | dict.fromkeys(
        ("pid", "pidmode", "ipc", "ipcmode", "uts", "utsmode", "userns", "usernsmode", "network", "networkmode", "net",
         "cgroupns", "cgroupnsmode", "cgroup"),
        _namespace,
    )
    | dict.fromkeys(("hostpath",), _host_path)
    | dict.fromkeys(("volumes", "volume", "binds", "bind", "mounts", "mount"), _mounts)
    | dict.fromkeys(("devices", "device"), _devices)
    | dict.fromkeys(("securityopt", "securityopts", "securityoptions"), _security)
    | dict.fromkeys(("seccompprofile", "apparmorprofile", "procmount", "seccomp", "apparmor"), _profile)
    | {
        "allowprivilegeescalation": _flag("privilege_escalation"),
        "capabilities": _capabilities,
        "capadd": _added,
        "addcapabilities": _added,
        "runasuser": _run_as,
        "ephemeralcontainers": _present("container_exec"),
        "kind": _kind,
    }
)  # fmt: skip
