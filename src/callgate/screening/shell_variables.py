"""Variables that change what other programs do, or what the shell itself runs."""

import re
from typing import Final

from callgate.screening.shell_state import State
from callgate.screening.shell_terms import HOLE, SPLIT

# What bash takes for numbers whatever is assigned to them, so that a subscript in the value is evaluated (5.2).
_NUMBERS: Final = frozenset({"RANDOM", "SRANDOM", "SECONDS", "LINENO", "HISTCMD", "OPTIND", "BASHPID", "EPOCHSECONDS"})

# Where programs and libraries are looked for, what is run before or after each command, what programs start for
# pages, editors and questions, and what interpreters load (bash manual, 5.1 and 5.2; ld.so(8); git(1); ssh(1); perlrun;
# Python and Node.js on their environments; less(1); man(1)).
_DANGEROUS: Final = re.compile(
    r"PATH|PWD|OLDPWD|UID|EUID|(?:LD|DYLD)_.*|BASH_ENV|ENV|SHELLOPTS|BASHOPTS|BASH_LOADABLES_PATH|BASH_FUNC_.*|PROMPT_COMMAND|PS[0-4]|EXECIGNORE"
    r"|(?:GIT_|MAN|SYSTEMD_|PSQL_|MYSQL_|LESS|AWS_|BAT_|GH_|DELTA_|KUBECTL_|KUBE_|HG|SVN_|FC|SUDO_|PG_)?(?:PAGER|EDITOR|VISUAL|ASKPASS)"
    r"|GIT_(?:SSH|SSH_COMMAND|PROXY_COMMAND|EXTERNAL_DIFF|CONFIG.*|EXEC_PATH|TEMPLATE_DIR|SEQUENCE_EDITOR|DIR|WORK_TREE|ALLOW_PROTOCOL|.*HOOK.*)"
    r"|FCEDIT|LESS(?:OPEN|CLOSE|KEY.*|EDIT)?|MANPAGER|MANOPT|MANPATH|BROWSER|SHELL|SSH_ASKPASS.*|SUDO_.*"
    r"|PYTHON(?!UNBUFFERED$|IOENCODING$|UTF8$|DONTWRITEBYTECODE$|HASHSEED$).*|PERL.*|RUBY.*|GEM_.*|BUNDLE_.*|NODE_(?!ENV$).*|NPM_CONFIG_.*|npm_config_.*"
    r"|LUA_.*|JAVA_.*|_JAVA_OPTIONS|JDK_JAVA_OPTIONS|CLASSPATH|MAVEN_.*|GRADLE_.*|ANT_.*|SBT_OPTS|R_(?:PROFILE|ENVIRON|LIBS).*|PHP(?:RC|_INI_SCAN_DIR)"
    r"|DOTNET_STARTUP_HOOKS|CORECLR_.*|COR_.*|TCLLIBPATH|GUILE_LOAD_.*|JULIA_.*|DENO_.*|BUN_.*|GO(?:FLAGS|TOOLCHAIN|ROOT|PROXY)|RUSTC.*|CARGO_.*|CC|CXX"
    r"|MAKEFLAGS|MFLAGS|GNUMAKEFLAGS|TAR_OPTIONS|TAPE|RSYNC_(?:RSH|CONNECT_PROG|PROXY)|CVS_RSH|ZIPOPT|ZIP|UNZIP|GZIP|XZ_.*|BZIP2?"
    r"|HIST(?:FILE|SIZE|FILESIZE|CONTROL|IGNORE)|HISTORY|HISTFILESIZE|LOCPATH|NLSPATH|GCONV_PATH|GETCONF_DIR|NIS_PATH|HOSTALIASES"
    r"|OPENSSL_(?:CONF|ENGINES|MODULES)|SSL_CERT_.*|CURL_HOME|WGETRC|HOME|XDG_.*|INPUTRC|TERMINFO.*|TERMCAP|SCREENRC|VIMINIT|EXINIT|MYVIMRC|EMACSLOADPATH"
    r"|ANSIBLE_.*|TF_CLI_.*|DOCKER_CONFIG|PGSYSCONFDIR|PGSERVICEFILE|MYSQL_HOME|PKCS11.*|LIBRARY_PATH|CDPATH|FPATH|ZDOTDIR"
    r"|QT_.*PLUGIN.*|GTK_(?:PATH|MODULES)|GIO_.*|FONTCONFIG_.*|LIBGL_.*|VK_.*|OCL_.*|WINEPREFIX|SNAP.*|ELECTRON_RUN_AS_NODE|GREP_OPTIONS|GROFF_.*"
    # Files of settings that name programs, programs themselves, and files that are written: each tool's own manual.
    r"|GIT_(?:TRACE.*|REDIRECT_.*|INDEX_FILE|OBJECT_DIRECTORY|ALTERNATE_OBJECT_DIRECTORIES|COMMON_DIR|SHELL_PATH|SSH_VARIANT)|TIGRC_.*"
    r"|KUBE(?:CONFIG|RC)|KUBECTL_.*|HELM_(?:PLUGINS|BIN|.*_HOME|KUBE.*|REPOSITORY_.*|REGISTRY_CONFIG)|KREW_ROOT|MINIKUBE_HOME"
    r"|AWS_(?:CONFIG_FILE|SHARED_CREDENTIALS_FILE|DATA_PATH|CA_BUNDLE)|CLOUDSDK_(?:CONFIG|PYTHON.*|ROOT_DIR)|AZURE_(?:CONFIG|EXTENSION)_DIR"
    r"|PSQL(?:RC|_HISTORY)|PGSSLKEY|LIBMYSQL_.*|MYSQL_(?:TEST_LOGIN_FILE|HISTFILE)|MARIADB_.*|SQLITE_HISTORY|REDISCLI_.*|ODBC.*|TNS_ADMIN|ORACLE_HOME"
    r"|(?:SVN|BORG|HG|RSH)_?(?:SSH|RSH)|CVS_(?:RSH|SERVER)|HG(?:RC.*)?|SSH_(?:SK_.*|PKCS11_HELPER)|GNUPGHOME|KRB5_(?:CONFIG|TRACE)|SASL_.*"
    r"|RIPGREP_CONFIG_PATH|ACK(?:RC|_OPTIONS.*|_PAGER.*)|BAT_(?:CONFIG_.*|OPTS)|FZF_DEFAULT_.*|DELTA_PAGER|DIFFPROG|WWW_BROWSER|MAILRC|MAILCAPS?"
    r"|TF_(?:PLUGIN.*|DATA_DIR|LOG_PATH|REATTACH_PROVIDERS)|PIP_CONFIG_FILE|CONDA(?:RC|_EXE)|YARN_.*|COMPOSER_HOME|RUSTUP_(?:HOME|DIST_.*)"
    r"|GO(?:ENV|PACKAGESDRIVER|CACHEPROG|AUTH|COVERDIR)|AWK(?:LIB)?PATH|NMAPDIR|WIRESHARK_.*|EXIFTOOL_HOME|MAGICK_.*PATH|GST_.*|PARALLEL.*"
    r"|MALLOC_TRACE|GMON_OUT_PREFIX|GCOV_PREFIX|LLVM_PROFILE_FILE|[A-Z]*SAN_OPTIONS|SSLKEYLOGFILE|BASH_XTRACEFD|SYSTEMD_LESS|VIM(?:RUNTIME)?|NVIM_.*"
    r"|DOCKER_CLI_PLUGIN_.*|CONTAINERS_(?:CONF|STORAGE_CONF).*|VAULT_CONFIG_PATH|GH_CONFIG_DIR|GH_PATH"
)
# Of git's traces: off, or to where errors go (git(1), GIT_TRACE).
_TRACES: Final = re.compile(r"GIT_TRACE.*=(?:[012]|true|false|)")
_OTHER_ENGINE: Final = re.compile(r"(?:DOCKER|CONTAINER|BUILDKIT)_HOST=(?:tcp|ssh|https?)://.*", re.DOTALL)
_HISTORY: Final = re.compile(r"HIST(?:FILE|SIZE|FILESIZE|CONTROL|IGNORE)|HISTORY")
# What a value may be without doing harm.
_HARMLESS: Final = {
    "PAGER": {"cat", "", "less", "more"}, "GIT_PAGER": {"cat", "", "less", "more"}, "SYSTEMD_PAGER": {"cat", "", "less"},
    "MANPAGER": {"cat", "less", "more"}, "AWS_PAGER": {"", "cat", "less"}, "LESS": {"-R", "-FRX", "FRX", "R", "-F", "-X"},
    "GH_PAGER": {"", "cat", "less"}, "BAT_PAGER": {"", "cat", "less"}, "HISTCONTROL": {"ignoredups", "erasedups"},
    "SYSTEMD_LESS": {"FRXMK", "FRSXMK", "FRSM", ""}, "EDITOR": {"true", ":", "cat"}, "GIT_EDITOR": {"true", ":"}, "VISUAL": {"true", ":"},
}  # fmt: skip


def assigned(state: State, name: str, value: str) -> None:
    """A variable is set, for the shell or for one command."""
    state.evaluates = state.evaluates or name in _NUMBERS
    said = f"{name}={value}"
    if _OTHER_ENGINE.fullmatch(said):
        state.note("network")
    if name[:1] in {HOLE, SPLIT}:
        state.note("environment")
    elif _TRACES.fullmatch(said):
        return
    elif _DANGEROUS.fullmatch(name) and value not in _HARMLESS.get(name, ()):
        state.note("tracks" if _HISTORY.fullmatch(name) else "environment")


def unset(state: State, name: str) -> None:
    """A variable is taken away."""
    if _HISTORY.fullmatch(name) or name in {"PATH", "HISTFILE"}:
        state.note("tracks")
    state.known.pop(name, None)
