"""Commands that fetch and send: curl, wget, socat and the copying tools of object stores."""

import re
from collections.abc import Sequence
from typing import Final

from callgate.screening.shell_facts import fact_of
from callgate.screening.shell_operands import apply_fact
from callgate.screening.shell_options import Given, options_of, read_options
from callgate.screening.shell_state import State, is_exact
from callgate.screening.shell_terms import HOLE, SPLIT
from callgate.screening.shell_wrappers import note_options

# curl(1).  -K and -q: what a file of options says is not known.
_CURL: Final = options_of(
    "o:=write_to output:=write_to O=write remote-name=write remote-name-all=write J=write remote-header-name=write output-dir:=write_to "
    "K:=unknown_script config:=unknown_script c:=write_to cookie-jar:=write_to D:=write_to dump-header:=write_to trace:=write_to trace-ascii:=write_to "
    "stderr:=write_to libcurl:=write_to etag-save:=write_to hsts:=write_to alt-svc:=write_to engine:=planted_code X: request: T: upload-file: d: data: data-binary: data-raw: "
    "data-urlencode: data-ascii: json: F: form: form-string: H: header: u: user: A: user-agent: e: referer: b: cookie: m: max-time: connect-timeout: "
    "retry: retry-delay: retry-max-time: x: proxy: U: proxy-user: w: write-out: r: range: Q:=remote_change quote:=remote_change E: cert: key: cacert: capath: resolve: connect-to: "
    "interface: url: y: Y: z: limit-rate: unix-socket: abstract-unix-socket: max-redirs: oauth2-bearer: noproxy: ciphers: tls-max: "
    "f fail s silent S show-error L location k insecure i include I head v verbose g G get a append C: n netrc N p R 0 1 2 3 4 6 compressed # Z"
)
_WGET: Final = options_of(
    "O: output-document: o:=write_to output-file:=write_to a:=write_to append-output:=write_to P:=write_to directory-prefix:=write_to "
    "e:=planted_code execute:=planted_code use-askpass:=planted_code config:=unknown_script save-cookies:=write_to warc-file:=write_to "
    "post-data: post-file: body-data: body-file: method: header: U: user-agent: i: input-file: B: t: tries: T: timeout: w: wait: Q: R: A: D: I: X: l: "
    "user: password: load-cookies: referer: bind-address: limit-rate: delete-after spider q quiet c continue N r recursive m mirror p k E nc no-check-certificate S b"
)
_DESTRUCTIVE_METHODS: Final = frozenset({"DELETE", "PUT", "PATCH", "PURGE"})
_TRANSFERS: Final = {
    "sftp": fact_of(
        "network ; S:=planted_code D:=planted_code b:=unknown_script F:=planted_code i: P: c: l: J: o: ; remote"
    ),
    "smbclient": fact_of("network ; c:=remote_change command:=remote_change U: I: p: W:"),
}
_ENGINE: Final = re.compile(r"docker|podman|containerd|crio|lxd|incus|systemd|snapd|libvirt|[\x00\x01]")
# sftp(1), smbclient(1): commands that only show, copy, or change which folder is meant.
_ASKS: Final = re.compile(
    r"[ \t]*(?:(?:ls|ll|dir|pwd|cd|lcd|lls|lpwd|df|du|version|help|bye|exit|quit|progress|get|mget|put|mput)(?:[ \t][^!|;]*)?)?"
)
# socat(1), "ADDRESS TYPES".
_SOCAT_RUNS: Final = ("exec:", "system:", "shell:", "exec,", "system,")
_SOCAT_SENDS: Final = ("tcp", "udp", "ssl", "openssl", "sctp", "socks", "proxy", "ip", "dtls", "vsock", "dccp")
_SOCAT_WRITES: Final = ("open:", "create:", "file:", "gopen:")


def fetched(state: State, _: str, arguments: Sequence[str], __: str | None) -> None:
    """`curl`."""
    read = read_options(_CURL, arguments)
    state.note("network")
    note_options(state, read)
    _note_method(state, read)
    if any("%output{" in value for value in read.values("w", "write-out")):
        state.note("write")
    # A container engine, and much else that runs as root, is spoken to through such a socket.
    if any(_ENGINE.search(value) for value in read.values("unix-socket", "abstract-unix-socket")):
        state.note("privileged")


def sent_to_host(state: State, name: str, arguments: Sequence[str], given: str | None) -> None:
    """`sftp` and `smbclient`: beside their arguments they take commands from their input."""
    apply_fact(state, _TRANSFERS[name], arguments)
    if given is None:
        return
    if not is_exact(given):
        state.note("unknown_script")
    elif not all(_ASKS.fullmatch(line) for line in given.splitlines()):
        state.note("remote_change")


def _note_method(state: State, read: Given) -> None:
    if read.unsure and any(operand.startswith(SPLIT) for operand in read.operands):
        state.note("unresolved_option")
    for method in read.values("X", "request", "method"):
        if method.upper() == "DELETE":
            state.note("delete")
        elif method.upper() in _DESTRUCTIVE_METHODS or method[:1] in {HOLE, SPLIT}:
            state.note("remote_change")


def downloaded(state: State, _: str, arguments: Sequence[str], __: str | None) -> None:
    """`wget`: to a file named after what is fetched, if nothing else is said."""
    read = read_options(_WGET, arguments)
    if read.has("version", "help", "V", "h") and not read.operands:
        return
    state.note("network")
    note_options(state, read)
    _note_method(state, read)
    target = read.value("O", "output-document")
    if target is not None:
        state.write_to(target)
    elif not read.has("spider"):
        state.note("write")


def relayed(state: State, _: str, arguments: Sequence[str], __: str | None) -> None:
    """`socat`: two addresses, some of which run programs."""
    for argument in arguments:
        address = argument.lower().replace("!!", " ").split()[-1:] or [""]
        if address[0].startswith(_SOCAT_RUNS) or argument.lower().startswith(_SOCAT_RUNS):
            state.note("disclosure")
        elif argument.lower().startswith(_SOCAT_SENDS):
            state.note("network")
        elif argument.lower().startswith(_SOCAT_WRITES):
            state.write_to(argument.partition(":")[2].partition(",")[0])
        elif argument[:1] in {HOLE, SPLIT}:
            state.note("unresolved_option")
    state.note("network")


_STORE_READS: Final = frozenset(
    {
        "ls",
        "lsd",
        "lsl",
        "lsf",
        "lsjson",
        "size",
        "cat",
        "head",
        "tree",
        "about",
        "check",
        "cryptcheck",
        "listremotes",
        "version",
        "help",
        "md5sum",
        "sha1sum",
        "hashsum",
        "du",
        "stat",
        "info",
        "find",
        "diff",
        "la",
        "ping",
        "list",
        "config-show",
        "ncdu",
        "hash",
    }
)
_STORE_WRITES: Final = frozenset(
    {
        "cp",
        "copy",
        "copyto",
        "put",
        "get",
        "pipe",
        "mkdir",
        "mb",
        "touch",
        "copyurl",
        "rcat",
        "mirror-to",
        "sync-to",
        "upload",
        "download",
    }
)
_STORE: Final = options_of(
    "config: transfers: checkers: include: exclude: c: f: m h: host: host-bucket: access_key: secret_key: region: o: D: j: q v P n dry-run delete-removed=delete d=delete"
)


def object_store(state: State, _: str, arguments: Sequence[str], __: str | None) -> None:
    """`rclone`, `s3cmd`, `mc`, `gsutil`, `azcopy`: by their verb."""
    read = read_options(_STORE, arguments)
    verb = read.operands[0] if read.operands else "version"
    if verb not in {"version", "help"}:
        state.note("network")
    note_options(state, read)
    if verb in _STORE_WRITES:
        state.note("write")
    elif verb not in _STORE_READS:
        state.note("delete" if verb[:1] not in {HOLE, SPLIT} else "unknown_verb")
