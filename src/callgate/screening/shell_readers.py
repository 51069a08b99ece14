"""Commands that a table of facts cannot tell enough of: by whom each is read."""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Final, TypeAlias

from callgate.screening import shell_builtins as builtins
from callgate.screening import shell_cloud as cloud
from callgate.screening import shell_code as code
from callgate.screening import shell_databases as databases
from callgate.screening import shell_files as files
from callgate.screening import shell_git as git
from callgate.screening import shell_network as network
from callgate.screening import shell_verbs as verbs
from callgate.screening import shell_wrappers as wrappers
from callgate.screening.shell_state import State
from callgate.screening.shell_tools import TOOLS

# What is found, the command's name, its arguments, and what it reads (see State).
Reader: TypeAlias = Callable[[State, str, Sequence[str], str | None], None]

# Languages, editors, builders, test runners and tools that run what a file or a package says: their code is not read.
_INTERPRETERS: Final = (
    "perl ruby ghc node nodejs deno bun php lua luajit tclsh wish expect Rscript R julia ghci runghc runhaskell guile racket sbcl clisp ecl scala groovy jshell java "
    "kotlin kotlinc jrunscript jjs osascript pwsh powershell swift dotnet dotnet-script mono erl escript elixir iex irb octave matlab sage gnuplot gdb lldb jdb pdb emacs emacsclient vim vi "
    "nvim view rvim vimdiff gvim ex ed red nano pico rnano joe micro helix hx make gmake bmake cmake ninja meson bazel buck gradle gradlew mvn ant sbt rake gulp grunt npx bunx uvx "
    "pytest py.test tox nox unittest jest mocha vitest ava karma cypress playwright phpunit rspec cucumber behave tsx ts-node esbuild webpack vite rollup eslint prettier "
    "tcc m4 latex pdflatex xelatex lualatex tex pdftex bibtex gimp blender inkscape libreoffice soffice wine qemu-system-x86_64 ansible ansible-playbook ansible-pull ansible-console ansible-galaxy "
    "puppet chef-client chef-solo chef salt salt-call salt-ssh fab cap knife pdsh pssh parallel-ssh clush dsh autossh vagrant virsh virt-install lxc lxc-attach lxc-execute "
    "incus systemd-nspawn buildah skopeo packer nix nix-shell nix-build nix-env nix-store guix direnv pipenv rye hatch uv bundle bundler drush artisan rails wp "
    "mongosh mongo influx cypher-shell hbase beeline impala-shell spark-shell spark-sql pyspark spark-submit hadoop hdfs ipython ipython3 bpython jupyter jupyter-nbconvert papermill "
    "celery gunicorn uvicorn flask django-admin streamlit cobc gforth ocaml nim crystal zig dart flutter odin raku perl6 perlbug perldoc cpan cpanm easy_install "
    "tmux screen dtach abduco byobu zellij ttyd gotty wetty shellinabox rename prename file-rename mmv qmv vidir pee sem run-parts anacron fakechroot logsave scrot rpmbuild dpkg-buildpackage debuild makepkg "
    "checkinstall autoreconf autoconf automake configure libtool pkgbuild install-info gpg-agent gpgconf dialog whiptail zenity yad run-mailcap see edit xdg-open open gnome-open kde-open mimeopen "
    "cscope ctags global gtags sqlplus isql tsql bteq osql ipmitool racadm redfishtool megacli storcli ssh-agent ssh-import-id dbus-send gdbus qdbus kubeadm kops eksctl argocd flux istioctl "
    "skaffold tilt garden devspace werf minikube kind k3d k3s rke rancher heroku flyctl fly vercel netlify wrangler firebase serverless sls sam cdk cdktf copilot chalice zappa eb "
    "apt-key add-apt-repository dpkg-divert alien snapcraft flatpak-builder update-manager do-release-upgrade unattended-upgrade unattended-upgrades needrestart"
)
_NAMES: Final[Sequence[tuple[Reader, str]]] = (
    (builtins.evaluated, "eval"),
    (builtins.sourced, ". source"),
    (builtins.trapped, "trap"),
    (builtins.aliased, "alias"),
    (builtins.unaliased, "unalias"),
    (builtins.unset_variable, "unset"),
    (builtins.set_parameters, "set"),
    (builtins.read_variables, "read"),
    (builtins.options_read, "getopts"),
    (builtins.mapped_file, "mapfile readarray"),
    (builtins.completions, "compgen"),
    (builtins.printed, "printf"),
    (builtins.tested, "test ["),
    (builtins.waited, "wait"),
    (builtins.jobs_listed, "jobs"),
    (builtins.arithmetic, "let"),
    (builtins.changed_folder, "cd pushd"),
    (builtins.killed, "kill killall"),
    (builtins.crontab, "crontab"),
    (builtins.password, "passwd chage"),
    (wrappers.environment, "env"),
    (wrappers.superuser, "sudo"),
    (wrappers.other_user, "su runuser"),
    (wrappers.group_shell, "sg newgrp"),
    (wrappers.arguments_from_input, "xargs"),
    (wrappers.in_parallel, "parallel"),
    (wrappers.locked, "flock"),
    (wrappers.other_host, "ssh slogin dropbear dbclient"),
    (wrappers.script_session, "script"),
    (wrappers.shell_words, "watch entr"),
    (wrappers.command_lookup, "command"),
    (files.found_files, "find gfind"),
    (files.found_by_fd, "fd fdfind"),
    (files.archived, "tar gtar bsdtar"),
    (files.converted, "dd"),
    (files.changed_mode, "chmod"),
    (files.installed, "install"),
    (files.synchronised, "rsync"),
    (files.mounted, "mount"),
    (files.loop_devices, "losetup"),
    (code.shell, "sh bash dash zsh ksh ksh93 mksh pdksh ash rbash rzsh rksh yash osh posh lksh oksh sash"),
    (code.shell, "fish csh tcsh rc es elvish nu xonsh"),
    (code.stream_editor, "sed gsed"),
    (code.pattern_language, "awk gawk mawk nawk original-awk goawk"),
    (code.desk_calculator, "dc"),
    (code.python, "python pypy"),
    (code.interpreter, _INTERPRETERS),
    (network.fetched, "curl"),
    (network.downloaded, "wget"),
    (network.relayed, "socat"),
    (network.object_store, "rclone s3cmd s4cmd s5cmd mc gsutil azcopy b2"),
    (git.versioned, "git"),
    (databases.database, "psql pgcli mysql mariadb sqlite3 duckdb clickhouse-client sqlcmd cqlsh trino snowsql"),
    (cloud.amazon, "aws"),
    (cloud.clouds, "gcloud az doctl ibmcloud oci aliyun hcloud linode-cli openstack"),
    (cloud.big_query, "bq"),
    (network.sent_to_host, "sftp smbclient"),
    (cloud.network_settings, "ip"),
    (cloud.interfaces, "ifconfig route arp"),
    (cloud.firewall, "iptables ip6tables iptables-save ip6tables-save"),
    (cloud.service, "service rc-service invoke-rc.d"),
    (verbs.key_values, "redis-cli valkey-cli keydb-cli"),
    (verbs.containers, "docker podman nerdctl"),
)
READERS: Final[Mapping[str, Reader]] = MappingProxyType(
    dict.fromkeys(TOOLS, verbs.tool) | {name: reader for reader, names in _NAMES for name in names.split()}
)
