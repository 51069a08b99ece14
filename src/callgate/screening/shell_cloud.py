"""Tools whose verbs follow a pattern, containers, and other tools of operators that no table of verbs covers."""

import re
from collections.abc import Sequence
from typing import Final

from callgate.screening.shell_databases import note_statement
from callgate.screening.shell_options import Given, options_of, read_options
from callgate.screening.shell_paths import plain_path
from callgate.screening.shell_state import State, is_exact
from callgate.screening.shell_terms import HOLE, SPLIT
from callgate.screening.shell_wrappers import note_options

_AWS: Final = options_of(
    "endpoint-url:=network profile: region: output: query: color: ca-bundle: cli-read-timeout: cli-connect-timeout: no-sign-request "
    "debug no-verify-ssl no-paginate no-cli-pager no-cli-auto-prompt cli-input-json: cli-input-yaml: cli-binary-format: delete=delete recursive quiet dryrun query-string: sql: sqls: statement: statements: transact-statements:"
)
_READING: Final = re.compile(
    r"(?:describe|list|get|head|lookup|search|batch-get|query|scan|filter|wait|estimate|validate|check|show|view|simulate|preview|discover|count|diff|detect|export-"
    r"|read|print|info|whoami|tail|explain|test)(?:-[a-z0-9-]*)?|ls|status|help|version|describe"
)
_MAKING: Final = re.compile(
    r"(?:create|put|add|tag|copy|register|allocate|attach|associate|enable|start|run|set|import|insert|upload|label|publish|subscribe|request|mb|new|init|clone"
    r"|activate|apply|deploy|submit|sync|use|select|configure|login|update|modify|untag|remove-tags|remove-labels)(?:-[a-z0-9-]*)?"
)
# Rights given for good, code run elsewhere, and settings that open something to others.
_GRAVE: Final = re.compile(
    r".*(?:policy|access-key|login-profile|role|permission|acl|public|password|credential|token|user-to-group|mfa|send-command|execute-command|invoke|run-command|ssh|iam"
    r"|public-access|firewall|security-group|authorize|trust|federation|admin|key-pair|service-account).*"
)
_S3: Final = {
    "ls": (),
    "presign": (),
    "cp": ("network", "write"),
    "sync": ("network", "write"),
    "mb": ("write",),
    "website": ("write",),
}


def _note_verb(state: State, verb: str, rest: str = "") -> None:
    if not is_exact(verb):
        state.note("unknown_verb")
    elif _READING.fullmatch(verb):
        return
    elif _MAKING.fullmatch(verb) and not _GRAVE.fullmatch(f"{verb} {rest}"):
        state.note("write")
    else:
        state.note("remote_change")


def _note_sizes(state: State, arguments: Sequence[str]) -> None:
    """A service scaled to nothing is stopped."""
    if _TO_NOTHING.search(" ".join(arguments)):
        state.note("stop")


# By service and operation, the dialect of what it runs (AWS CLI command reference; PartiQL is near enough to ANSI).
_AWS_SQL: Final = {
    "athena": "trino", "redshift-data": "redshift", "rds-data": "postgres", "timestream-query": "ansi", "dynamodb": "ansi",
}  # fmt: skip
_STATEMENT_OPTIONS: Final = ("query-string", "sql", "sqls", "statement", "statements", "transact-statements")
_RUNS_SQL: Final = re.compile(r"(?:start-query-execution|(?:batch-)?execute-(?:statement|sql|transaction)|query)")
_TO_NOTHING: Final = re.compile(
    r"--(?:desired-count|desired-capacity|max-size|reserved-concurrent-executions|provisioned-concurrent-executions|target-capacity|size"
    r"|num-nodes|node-count|max-instances|max-replicas|new-capacity|instance-count|number-of-workers|capacity)[ =]0(?![0-9.])"
)


def _queried(state: State, service: str, read: Given) -> None:
    """A statement is read as SQL; what stands in a file, or in JSON, cannot be told."""
    texts = read.values(*_STATEMENT_OPTIONS) + (read.operands[2:] if read.has("sqls") else [])
    for text in texts or [HOLE]:
        note_statement(state, HOLE if text.startswith(("file:", "fileb:")) else text, _AWS_SQL[service])


def amazon(state: State, _: str, arguments: Sequence[str], __: str | None) -> None:
    """`aws SERVICE OPERATION`."""
    read = read_options(_AWS, arguments)
    service, operation = [*read.operands, "help", "help"][:2]
    if read.has("version") or service == "help":
        return
    if read.unsure and not (is_exact(service) and is_exact(operation)):
        state.note("unknown_verb")
    if service == "s3":
        for effect in _S3.get(operation, ("network", "delete")):
            state.note(effect)
        if read.has("delete"):
            state.note("delete")
    elif service == "configure":
        state.note(*(() if operation in {"list", "get", "list-profiles", "help"} else ("write",)))
    elif service in {"ssm", "ecs", "ec2-instance-connect"} and operation in {
        "start-session",
        "execute-command",
        "ssh",
        "send-command",
        "open-tunnel",
    }:
        state.note("privileged", "remote_change")
    elif service in _AWS_SQL and _RUNS_SQL.fullmatch(operation) and (service, operation) != ("dynamodb", "query"):
        state.note("network")
        _queried(state, service, read)
    else:
        _note_verb(state, operation)
        _note_sizes(state, arguments)


_MOVES: Final = frozenset(
    {"cp", "mv", "rsync", "cat", "copy", "upload", "download", "upload-batch", "download-batch", "sync"}
)
_CLOUD_OPTIONS: Final = options_of(
    "project: account: format: filter: zone: region: limit: sort-by: configuration: quiet q verbosity: impersonate-service-account:=privileged flags-file:=unknown_script "
    "n: name: g: resource-group: o: output: subscription: query: l: location: yes y ids: t: access-token: context: c: u: p: s: a: app: remote: no-headers sql: ddl: ddl-file:=unknown_script"
)
# bq(1), its own flags and those of `query`.
_BIG_QUERY: Final = options_of(
    "format: project_id: dataset_id: location: job_id: flagfile:=unknown_script bigqueryrc:=unknown_script api:=network credential_file: max_results: n: start_row: s: "
    "parameter: maximum_bytes_billed: label: request_id: min_completion_ratio: append_table=write replace=overwrite destination_table:=write "
    "destination_schema: schedule:=schedule script=unresolved_code target_dataset:=write external_table_definition: udf_resource:=unknown_script "
    "time_partitioning_field: clustering_fields: use_legacy_sql? nouse_legacy_sql dry_run batch quiet q headless sync nosync use_cache nouse_cache"
)


def big_query(state: State, _: str, arguments: Sequence[str], given: str | None) -> None:
    """`bq query` runs its operand, or its input; the other verbs are as those of other clouds."""
    read = read_options(_BIG_QUERY, arguments)
    if read.operands[:1] != ["query"]:
        clouds(state, "bq", arguments, given)
        return
    note_options(state, read)
    if read.unsure:
        state.note("unresolved_option")
    note_statement(state, " ".join(read.operands[1:]) or given or "", "bigquery")


def clouds(state: State, _: str, arguments: Sequence[str], __: str | None) -> None:
    """`gcloud`, `az` and those like them: nouns, and a verb among them."""
    read = read_options(_CLOUD_OPTIONS, arguments)
    words = read.operands
    if not words or read.has("version", "help") or words[0] in {"help", "version", "info"}:
        return
    state.note(*(effect for effect, _value in read.effects))
    if words[0] == "storage" and _MOVES.intersection(words):
        state.note("network")
    for text in read.values("sql", "ddl"):
        note_statement(state, text, "bigquery")
    if "ssh" in words or "scp" in words or words[:2] == ["vm", "run-command"]:
        state.note("network", "privileged")
        for text in read.values("command"):
            state.script(text)
        return
    if words[0] == "interactive" or not all(is_exact(word) for word in words[:3]):
        state.note("unknown_verb")
        return
    verb = next((word for word in words if _is_destroying(word)), "") or _verb_of(words)
    _note_verb(state, verb, " ".join(words[:4]))
    _note_sizes(state, arguments)


def _is_destroying(word: str) -> bool:
    return (
        re.fullmatch(
            r"(?:delete|remove|destroy|rm|stop|purge|terminate|reset|revoke|disable|kill|drop|scale-to-zero|deallocate|restart|reboot|suspend|undelete|failover|wipe|detach)(?:-[a-z-]*)?",
            word,
        )
        is not None
    )


def _verb_of(words: Sequence[str]) -> str:
    """The last of the first words that looks like a verb: what comes behind are names."""
    for word in words[:4]:
        if _READING.fullmatch(word) or _MAKING.fullmatch(word):
            return word
    return "unknown"


_HOST_FOLDERS: Final = re.compile(
    r"/(?:[a-z0-9._-]+)?|/(?:etc|root|proc|sys|dev|boot|run|home|usr|bin|sbin|lib|opt)(?:/.*)?|/var(?:/(?:run|lib|log)(?:/.*)?)?|~|/host.*"
)
_RUN: Final = options_of(
    "v: volume: mount: name: e: env: env-file: p: publish: P publish-all w: workdir: u: user: h: hostname: l: label: network: net: entrypoint: "
    "restart: m: memory: c: cpu-shares: cpus: pid: ipc: uts: userns: cap-add: cap-drop: device: security-opt: add-host: dns: link: log-driver: log-opt: "
    "tmpfs: shm-size: ulimit: platform: pull: cgroup-parent: cgroupns: gpus: group-add: health-cmd: init ip: isolation: runtime: stop-signal: "
    "stop-timeout: storage-opt: sysctl: volumes-from: volume-driver: cidfile: label-file: expose: a: attach: device-cgroup-rule: cpuset-cpus: "
    "privileged rm i t d interactive tty detach read-only no-healthcheck q quiet sig-proxy"
)
_OPENS: Final = ("privileged", "cap-add", "device", "device-cgroup-rule", "volumes-from", "runtime")


def container_run(state: State, arguments: Sequence[str], *, runs: bool, given: str | None) -> None:
    """`docker run` and `create`: what is opened to the container, and the command in it."""
    read = read_options(_RUN, arguments, permutes=False)
    if read.unsure:
        state.note("unresolved_option")
    if _is_privileged(read):
        state.note("privileged")
    if not runs:
        return
    image, command = read.operands[:1], read.operands[1:]
    entry = read.value("entrypoint")
    if entry:
        state.run([entry, *command], given)
    elif command:
        state.run(command, given)
    elif image or read.unsure:
        state.note("unknown_script")


def _is_privileged(read: Given) -> bool:
    host = any(
        value in {"host", ""} or value.startswith(("container:", HOLE, SPLIT))
        for value in read.values("pid", "ipc", "uts", "userns", "network", "net", "cgroupns")
    )
    unconfined = any("unconfined" in value or "disable" in value for value in read.values("security-opt"))
    mounts = any(_is_host_mount(value) for value in read.values("v", "volume", "mount"))
    opened = any(read.has(name) and read.value(name) != "false" for name in _OPENS)
    return opened or host or unconfined or mounts


def _is_host_mount(value: str) -> bool:
    """Whether a folder of the host's is given away: the root, the system's, homes, the engine's own socket."""
    source = value.partition(":")[0]
    for part in value.split(","):
        key, equals, path = part.partition("=")
        if equals and key in {"source", "src"}:
            source = path
    if source[:1] in {HOLE, SPLIT}:
        return True
    return _HOST_FOLDERS.fullmatch(plain_path(source)) is not None or source.startswith("..") or "docker.sock" in value


# `ip link s` sets, but `ip addr s` shows: ip(8) takes the first verb that begins so.
_IP_SHOWS: Final = frozenset(
    ["show", "sho", "sh", "list", "lis", "li", "l", "ls", "lst", "get", "g", "monitor", "help", "identify", "pids"]
)


_IP: Final = options_of(
    "n:=privileged netns:=privileged b:=unknown_script batch:=unknown_script f: family: rc: rcvbuf: l: loops: a all c? color? "
    "o oneline d details s stats statistics h human human-readable iec j json p pretty br brief 0 4 6 B M D I N r resolve t timestamp "
    "ts tshort V Version force echo"
)


def network_settings(state: State, _: str, arguments: Sequence[str], given: str | None) -> None:
    """`ip`: objects that are shown, or set; `ip netns exec` runs a command."""
    read = read_options(_IP, arguments, permutes=False)
    state.note(*(effect for effect, _value in read.effects))
    words = read.operands
    if len(words) > 1 and "netns".startswith(words[0]) and "exec".startswith(words[1]):
        state.note("privileged")
        state.run(words[3:], given)
        return
    verb = words[1] if len(words) > 1 else "show"
    if read.unsure or not all(is_exact(word) for word in words[:2]):
        state.note("unknown_verb")
    elif verb not in _IP_SHOWS and not (verb == "s" and not words[0].startswith("l")):
        state.note("firewall")


def firewall(state: State, name: str, arguments: Sequence[str], __: str | None) -> None:
    """`iptables` and its kin: -L and -S list, -C checks; everything else changes rules."""
    if name.endswith("-save"):
        return
    lists = any(
        word.startswith(("--list", "--check")) or re.fullmatch(r"-[nvx46]*[LSC][nvx]*", word) for word in arguments
    )
    changes = any(
        re.match(
            r"-[nvxwt]*[ADIRFZNXPE]|--(?:append|delete|insert|replace|flush|zero|new|delete-chain|policy|rename|modprobe)",
            word,
        )
        for word in arguments
    )
    if changes or not (lists or set(arguments) <= {"--version", "-V", "-h", "--help"}) or not arguments:
        state.note("firewall")


def interfaces(state: State, name: str, arguments: Sequence[str], __: str | None) -> None:
    """`ifconfig`, `route`, `arp`: with what sets something they set it."""
    words = [word for word in arguments if not word.startswith("-")]
    if (
        len(words) > (1 if name == "ifconfig" else 0)
        and not (name == "arp" and words[:1] == arguments[-1:] and "-d" not in arguments and "-s" not in arguments)
    ) or {"-d", "-s", "--delete", "--set", "-f", "--file"} & set(arguments):
        state.note("firewall")


def service(state: State, _: str, arguments: Sequence[str], __: str | None) -> None:
    """`service NAME VERB`."""
    verb = arguments[1] if len(arguments) > 1 else ""
    if list(arguments) in ([], ["--status-all"]) or verb == "status":
        return
    if verb in {"start", "reload"}:
        state.note("write")
    else:
        state.note("stop" if is_exact(verb) else "unknown_verb")
