"""Tools that are told what to do by a verb: `systemctl stop`, `kubectl get`, `aws s3 ls`, and what each verb does.

A tool is its names, then its own options, then a line for each group of verbs: `verbs ; effects ; options ; operands`, as in
`shell_facts`.  A verb of two words is written with a `/`.  A verb that is not listed is not known, and so destructive.
`-` stands for none at all.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from callgate.screening.shell_facts import Fact, fact_of
from callgate.screening.shell_options import Options, options_of


@dataclass(frozen=True, slots=True)
class Tool:
    """`options` stand before the verb, and behind it too.  `verbs`: by one or two words."""

    options: Options
    verbs: Mapping[str, Fact]


_KUBECTL: Final = """
get describe logs top version explain api-resources api-versions cluster-info diff events wait completion options
config/view config/get-contexts config/current-context config/get-clusters config/get-users auth/can-i auth/whoami
rollout/status rollout/history plugin/list status projects whoami get-token - ; ; f: o: l: L: output: selector: filename: raw:=unknown_verb
kustomize ; ; enable-exec=planted_code enable-alpha-plugins=planted_code enable-star=planted_code enable-helm=planted_code helm-command:=planted_code mount:=planted_code network=network o:=write_to output:=write_to
apply create label annotate patch set autoscale expose certificate config/use-context config/set-context config/set-cluster
config/set new-app new-project start-build import-image tag project rollout/resume rollout/pause ; write ; f: o: l: k: p: filename: force=overwrite prune=delete overwrite
create/clusterrolebinding create/rolebinding create/clusterrole create/role create/token auth/reconcile adm policy ; accounts
scale ; write ; f: replicas: ; replicas
replace edit ; write ; f: force=delete
delete drain evict ; delete
cordon uncordon taint rollout/undo rollout/restart config/delete-context config/delete-cluster config/delete-user config/unset
config/rename-context ; remote_change
exec rsh attach debug ; privileged ; c: container: it i t stdin tty f: image: target: ; inner
cp rsync ; privileged+write ; c:
run ; write ; image: overrides:=privileged restart: env: labels: l: port: limits: privileged=privileged it i t rm command ; inner
port-forward proxy ; network ; f: p: port: address:
login logout ; network+write
"""
_DOCKER: Final = """
ps images logs inspect stats top version info diff history port events context/ls context/show context/inspect
image/ls image/inspect image/history container/ls container/ps container/inspect container/logs container/stats container/top
container/port container/diff volume/ls volume/inspect network/ls network/inspect system/df system/info system/events
service/ls service/ps service/logs service/inspect node/ls node/inspect node/ps stack/ls stack/ps stack/services
plugin/ls plugin/inspect config/ls config/inspect secret/ls secret/inspect manifest/inspect buildx/ls buildx/du buildx/inspect buildx/version
pod/ps pod/inspect pod/logs wait healthcheck - ; ; f: n: format: filter: tail: since: until: type:
search image/search ; network
start tag rename unpause network/create volume/create network/connect container/start image/tag
pod/start swarm/init context/use context/create ; write ; name:
pull push image/pull image/push login logout manifest/push ; network+write
commit save export import load image/save image/load image/import container/commit container/export ; write ; o:=write_to output:=write_to i: input:
stop kill restart pause update container/stop container/kill container/restart container/pause pod/stop pod/kill pod/restart ; stop
rm rmi prune image/rm image/remove image/prune container/rm container/prune volume/rm volume/remove volume/prune network/rm
network/prune network/disconnect system/prune builder/prune buildx/prune buildx/rm service/rm
stack/rm stack/remove node/rm secret/rm config/rm context/rm plugin/rm pod/rm pod/prune system/reset machine/rm
swarm/leave unmount ; delete
cp container/cp ; write+privileged
exec container/exec ; privileged ; e: env: u: user: w: workdir: env-file: detach-keys: index: i t d it privileged ; inner
attach container/attach ; privileged
build buildx/build image/build stack/deploy service/create service/update
builder/build buildx/bake play kube generate swarm/join plugin/install ; unknown_script
"""
_SYSTEMCTL: Final = """
status is-active is-enabled is-failed is-system-running list-units list-unit-files list-timers list-sockets list-jobs
list-dependencies list-machines list-automounts list-paths show show-environment cat get-default help - ; ; n: lines: t: type: p: property: o: output: state:
start enable reload daemon-reload reset-failed link add-wants preset reenable unmask ; write
stop disable mask kill isolate restart try-restart reload-or-restart poweroff reboot halt kexec suspend hibernate rescue
emergency default exit switch-root soft-reboot condrestart force-reload cancel daemon-reexec freeze clean revert
set-default set-property hybrid-sleep sleep thaw bind ; stop
edit set-environment unset-environment import-environment service-watchdogs mount-image log-level ; system_file
"""
_PACKAGES: Final = """
list search show info policy depends rdepends showpkg pkgnames madison changelog stats dump version help check
provides whatprovides repoquery repolist deplist history/list why ls ll la root bin prefix doctor
leaves deps desc home uses cat log freeze config/get config/list config/ls cache/dir cache/list cache/ls fund explain query
inspect tree licenses pkg/get
find-dupes is-installed showhold showauto showmanual debug list-available formats commands analytics ; ; n: p: f: a: format: depth: upgradable installed
update refresh makecache ; network+write
download source fetch ; network+write
install i add in remove rm uninstall un purge autoremove upgrade dist-upgrade full-upgrade update-all ci reinstall erase del
delete prune dedupe clean autoclean hold unhold localinstall groupinstall swap downgrade patch cleanup tap link unlink sync
require publish unpublish deprecate ; packages
owner/rm owner/remove owner/add owner/del team/rm team/destroy team/add team/create access/grant access/revoke access/set dist-tag/rm dist-tag/add
token/revoke token/create audit/fix ; remote_change
outdated view owner diff ping whoami audit team/ls org/ls profile/get access/list dist-tag/ls dist-tags token/list index ; network
"""

_TOOLS: Final = {
    "kubectl oc k3s-kubectl microk8s.kubectl kubecolor": (
        "n: namespace: context: cluster: kubeconfig: s: server: user: token: request-timeout: v: as:=privileged as-group:=privileged as-uid:=privileged all-namespaces A cache-dir: client-certificate: client-key: certificate-authority: tls-server-name: log-dir: profile: profile-output:",
        _KUBECTL,
    ),
    "docker podman nerdctl": (
        "H: host: c: context: config: l: log-level: D debug tls tlscacert: tlscert: tlskey: tlsverify root: runroot: url: connection: remote storage-driver: n: namespace: address:",
        _DOCKER,
    ),
    "docker-compose podman-compose": (
        "f: file: p: project-name: profile: env-file: project-directory: H: context: c:",
        """
        ps logs config images top ls version events port - ; ; f: n: tail:
        start create ; write
        pull push ; network+write
        stop kill restart pause ; stop
        down rm ; delete
        exec ; privileged ; e: env: u: user: w: workdir: index: T d ; inner
        """,
    ),
    "crictl": (
        "r: i: c:",
        """
        ps pods images img info inspect inspecti inspectp logs stats statsp version - ; ; o:
        exec attach ; privileged ; it i t ; inner
        rm rmi rmp ; delete
        stop stopp ; stop
        pull ; network+write
    """,
    ),
    "helm": (
        "n: namespace: kube-context: kubeconfig: kube-apiserver: kube-token: kube-as-user:=privileged kube-as-group:=privileged burst-limit: registry-config: repository-cache: repository-config: debug",
        """
        list ls status get history hist show inspect search template lint version env repo/list repo/ls dependency/list dep/list
        plugin/list verify completion - ; ; f: o: a: l: m: values: set: output: revision: version: post-renderer:=planted_code output-dir:=write
        install upgrade ; write ; f: i: o: values: set: version: force=overwrite reset-values post-renderer:=planted_code
        repo/add repo/update pull fetch push registry dependency/update dep/update dependency/build package create ; network+write ; post-renderer:=planted_code d: untar
        uninstall delete del un rollback repo/remove repo/rm ; delete
        plugin test ; unknown_script
        """,
    ),
    "terraform tofu terragrunt": (
        "chdir: version help",
        """
        plan show output validate version providers graph metadata state/list state/show state/pull workspace/list workspace/show get
        console login - ; ; out:=write var: var-file: target: state: no-color json input: refresh: lock: parallelism: destroy detailed-exitcode
        fmt ; write ; check recursive diff
        init workspace/new workspace/select refresh ; network+write ; backend-config: from-module: plugin-dir:=planted_code
        """,
    ),
    "pulumi": (
        "C: cwd: s: stack: color: non-interactive v:",
        """
        preview whoami version about logs stack/ls stack/output stack/history stack/graph config/get history - ; ; j json
        config/set stack/init stack/select login ; write
    """,
    ),
    "systemctl": (
        "H:=network M:=privileged host:=network machine:=privileged t: type: p: property: n: lines: o: output: user system no-pager a all l full q quiet state: root: now no-block force=stop f=stop",
        _SYSTEMCTL,
    ),
    "loginctl machinectl": (
        "H:=network p: n: o: l a no-pager",
        """
        list-sessions list-users list-seats session-status show-session user-status show-user seat-status show-seat list status show
        image-status show-image list-images - ; ; p: n:
        shell ; privileged ; uid: setenv: E: ; inner
        login ; privileged
    """,
    ),
    "timedatectl localectl hostnamectl resolvectl networkctl coredumpctl bootctl udevadm busctl oomctl portablectl homectl userdbctl": (
        "H:=network M:=privileged p: a no-pager n: o: json: static transient pretty l user system",
        """
        status show timesync-status show-timesync list-timezones list-locales list-keymaps list-x11-keymap-models list info
        lldp log-level dump statistics monitor settle test tree introspect get-property user users group
        services - ; ; n: p: q: query: e: export-db a r x attribute-walk
        query ; network ; t: c: p:
        """,
    ),
    "nmcli": (
        "f: t p a g: m: c: e: w: s",
        """
        - general/status connection/show con/show c/show device device/status dev/status device/show dev/show device/wifi dev/wifi radio
        networking/connectivity general/permissions ; ;
        connection con c g monitor general radio device dev d ; ; ; alone
    """,
    ),
    "ufw": ("dry-run", "status version show app/list app/info - ; ;"),
    "nft": ("a n N s j f:=firewall file:=firewall i=firewall c", "list describe - ; ;"),
    "zfs zpool": (
        "",
        """
        list get status history iostat version help holds userspace groupspace projectspace events diff - ; ; o: t: s: r: d:
        create snapshot snap set mount share scrub hold bookmark clone send allow import add attach online ; write
    """,
    ),
    "btrfs": (
        "q quiet v verbose",
        """
        filesystem/show filesystem/df filesystem/usage filesystem/du fi/show fi/df fi/usage subvolume/list subvolume/show subvol/list
        sub/list device/stats device/usage device/scan scrub/status balance/status qgroup/show property/get property/list version - ; ;
        subvolume/create subvolume/snapshot subvol/create subvol/snapshot filesystem/sync scrub/start ; write
    """,
    ),
    "cryptsetup": ("type:", "status luksDump isLuks luksUUID benchmark - ; ;"),
    "apt apt-get aptitude yum dnf zypper microdnf apk": (
        "y yes q quiet assume-yes c:=planted_code config-file:=planted_code o:=planted_code option:=planted_code s simulate dry-run t: a b n e: setopt:=planted_code enablerepo: disablerepo: repo: v no-cache installed upgradable",
        _PACKAGES,
    ),
    "brew snap flatpak port conda mamba micromamba npm pnpm yarn pip pip3 pipx gem composer poetry pdm": (
        "prefix: C: g global silent s json q quiet v verbose no-color python: cwd: dir: n: name: p: workspace: w: filter: F: registry: loglevel:",
        _PACKAGES,
    ),
    "go": (
        "C:",
        """
        version env list doc vet help mod/graph mod/why mod/verify bug - ; ; w=write u=write f: m json toolexec:=planted_code vettool:=planted_code modfile: mod:
        build fmt mod/tidy mod/init mod/edit mod/vendor clean work fix ; write ; o:=write_to toolexec:=planted_code ldflags: gcflags: tags: n x v race
        mod/download ; network+write
        get install ; network+packages
    """,
    ),
    "cargo": (
        "",
        """
        tree metadata search version locate-project pkgid verify-project read-manifest info help - ; ; format-version: manifest-path: p: e: i:
        fetch update search ; network+write
        fmt new init add remove vendor generate-lockfile package ; write
    """,
    ),
    "gio": (
        "",
        """
        info list cat tree monitor version help - ; ; a: f: n:
        copy mkdir save rename ; write
        trash remove move ; delete
        """,
    ),
    "nats": (
        "s: server: user: password: creds: nkey: context: timeout:",
        """
        sub subscribe stream/ls stream/info stream/report stream/get stream/view stream/find stream/state consumer/ls consumer/info consumer/report
        kv/ls kv/get kv/info kv/status kv/history kv/watch object/ls object/info obj/ls obj/info account/info server/ls server/info server/list
        server/ping server/check server/report rtt latency ping events context/ls context/show context/info schema/list schema/info bench - ; network
        pub publish request req kv/put kv/create kv/add stream/add consumer/add object/put obj/put object/get obj/get ; network+write
        """,
    ),
    "svn": (
        "username: password: r: revision: c: change: config-dir:=planted_code config-option:=planted_code non-interactive",
        """
        status st stat diff di info help version - ; ; diff-cmd:=planted_code q u: verbose v
        log cat list ls blame annotate praise propget pg proplist pl ; network ; l: limit: v verbose
        checkout co update up switch sw export commit ci import merge ; network+write ; m: F: message: editor-cmd:=planted_code diff3-cmd:=planted_code
        add mkdir copy cp move mv resolve propset ps ; write ; m: message:
        cleanup ; write ; remove-unversioned=delete remove-ignored=delete vacuum-pristines=delete
        delete del remove rm revert propdel pd ; delete
        """,
    ),
    "hg": (
        "R: repository: cwd: config:=planted_code debugger=planted_code q quiet v verbose y noninteractive pager: color:",
        """
        status st summary sum log diff annotate blame cat branches branch tags heads id identify parents tip files manifest
        paths root version help config showconfig grep export - ; ; r: rev: l: limit: T: template: I: X:
        clone pull push incoming outgoing ; network+write ; ssh:=planted_code e:=planted_code remotecmd:=planted_code f=overwrite force=overwrite
        add commit ci copy cp rename mv import init update up merge graft shelve unshelve bookmark resolve ; write ; m: C=history clean=history
        """,
    ),
    "rustup nvm pyenv rbenv asdf mise sdk volta fnm jenv": (
        "",
        "show version versions which list ls current help where latest - ; ;",
    ),
    "gh glab hub": (
        "R: repo: hostname:",
        """
        - version status help ; ;
        pr/list pr/view pr/diff pr/checks pr/status issue/list issue/view issue/status repo/view repo/list release/list release/view
        run/list run/view run/watch workflow/list workflow/view gist/list gist/view auth/status label/list search/issues search/prs
        search/repos search/code search/commits org/list project/list project/view ruleset/list variable/list secret/list cache/list
        browse config/get config/list alias/list extension/list ssh-key/list gpg-key/list mr/list mr/view ci/list ci/view ; network ; L: s: q: t: a: json: jq: state: author: label: limit: search:
        pr/checkout repo/clone run/download release/download gist/clone ; network+write
        pr/create issue/create pr/comment issue/comment pr/review pr/edit issue/edit pr/ready pr/reopen issue/reopen repo/fork repo/create
        gist/create label/create release/create mr/create mr/note workflow/run run/rerun ; network+write
    """,
    ),
    "vault": (
        "address: namespace: ns: ca-cert:",
        """
        read kv/get kv/list kv/metadata list status version token/lookup secrets/list auth/list policy/list policy/read path-help print login - ; ; field: format: version:
        write kv/put kv/patch ; write
    """,
    ),
    "consul nomad": (
        "http-addr: address: token: namespace: region:",
        """
        members info version catalog kv/get kv/export status job/status node/status alloc/status alloc/logs monitor validate
        plan server/members agent-info job/inspect job/plan job/history - ; ; format: t: json verbose
        kv/put job/run run ; write
        exec alloc/exec ; privileged ; i t task: job: ; inner
    """,
    ),
    "etcdctl": (
        "endpoints: cacert: cert: key: user: password: w: command-timeout: dial-timeout: write-out:",
        """
        get watch version member/list endpoint/health endpoint/status endpoint/hashkv alarm/list user/list user/get role/list role/get check lease/list - ; ; prefix keys-only limit: from-key
        put lease/grant snapshot/save ; write
    """,
    ),
    "supervisorctl pm2 sv s6-svc monit circusctl": (
        "c: s: u: p:",
        "status list ls ll logs log show describe info tail jlist prettylist monit avail pid summary report - ; ; lines: nostream f:",
    ),
    "openssl": (
        "",
        """
        version ciphers list help asn1parse errstr prime speed - ; ; in: out:=write_to
        x509 req rsa ec dsa pkey pkcs7 pkcs8 pkcs12 crl verify dgst rand enc genrsa genpkey ecparam dhparam pkeyparam pkeyutl rsautl cms smime
        base64 md5 sha1 sha256 sha512 passwd storeutl sess_id nseq spkac kdf mac ts crl2pkcs7 gendsa dsaparam ; ; in: out:=write_to engine:=planted_code provider:=planted_code provider-path:=planted_code config:=planted_code CAfile: CApath: inkey: key: keyout:=write_to pass: passin: passout: K: iv: k: S: sign: verify: signature: outform: inform: days: subj: checkend: newkey: sigopt: hmac: cert: certfile: CA: CAkey: nodes noout text
        s_client s_time ocsp ; network ; connect: proxy: engine:=planted_code provider:=planted_code provider-path:=planted_code keylogfile:=write_to sess_out:=write_to servername: CAfile: cert: key: starttls: msgfile:=write_to
        s_server ; network+disclosure
        ca ; write+planted_code
    """,
    ),
}


def _tool(said: tuple[str, str]) -> Tool:
    options, lines = said
    verbs: dict[str, Fact] = {}
    waiting: list[str] = []
    for line in lines.strip().splitlines():
        names, semicolon, rest = line.partition(";")
        waiting += names.split()
        if semicolon:
            verbs.update(dict.fromkeys(waiting, fact_of(rest, options)))
            waiting = []
    return Tool(options_of(options), verbs)


TOOLS: Final[Mapping[str, Tool]] = MappingProxyType(
    {name: tool for names, said in _TOOLS.items() for tool in (_tool(said),) for name in names.split()}
)
