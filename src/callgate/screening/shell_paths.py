"""Files that a command should not write, and those that are no files."""

import re
from typing import Final

# Linux takes no longer ones (limits.h, PATH_MAX).
MAX_PATH_CHARACTERS: Final = 4_096

# Writing there changes nothing, or what the caller sees.
_SINKS: Final = re.compile(r"/dev/(?:null|stdout|stderr|tty|full|fd/[0-9]+)|/proc/self/fd/[012]|-")
# bash opens a connection for these (manual, 3.6), and gawk (its manual, 12.4).
_CONNECTION: Final = re.compile(r"/(?:dev/(?:tcp|udp)|inet[46]?/(?:tcp|udp))/.*", re.DOTALL)
_DEVICE: Final = re.compile(r"/(?:dev(?!/shm/)|proc|sys)(?:/.*)?", re.DOTALL)
# Copied over something, they leave nothing of it.
NOTHING: Final = frozenset({"/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom"})
_LOG: Final = re.compile(r"/var/log(?:/.*)?", re.DOTALL)
_SENSITIVE: Final = re.compile(
    r"/(?:etc|boot|bin|sbin|lib(?:32|64|x32)?|usr|root|efi|var/(?:spool|lib|run)|run|System|Library)(?:/.*)?|/",
    re.DOTALL,
)
# What shells, ssh, git and desktops read when they start, wherever somebody's home is.
_STARTED: Final = re.compile(
    r"(?:.*/)?(?:\.(?:bash(?:rc|_profile|_login|_logout|_aliases|_history)|profile|zshrc|zshenv|zprofile|zlogin|zsh_history"
    r"|kshrc|cshrc|tcshrc|login|logout|inputrc|exrc|vimrc|nanorc|gitconfig|netrc|pgpass|my\.cnf|npmrc|pypirc|forward"
    r"|rhosts|shosts|xinitrc|xsession|xprofile|gdbinit|lesskey|mailrc|screenrc|tmux\.conf|wgetrc|curlrc|pythonrc"
    r"|python_history|sqlite_history|psqlrc|mysql_history|psql_history|pam_environment|envrc)"
    r"|\.(?:ssh|gnupg|aws|kube|docker|azure|git)/.*|\.config/(?:autostart|systemd|fish|git|environment\.d|nvim)/.*"
    r"|authorized_keys2?|\.local/bin/.*|id_(?:rsa|dsa|ecdsa|ed25519))",
    re.DOTALL,
)
_TILDE: Final = re.compile(r"~[A-Za-z0-9._+-]*")
_UP: Final = re.compile(r"(?:\.\./)+")
# Where programs that came with the system are.
_PROGRAMS: Final = frozenset(
    {
        "/bin", "/sbin", "/usr/bin", "/usr/sbin", "/usr/local/bin", "/usr/local/sbin", "/snap/bin", "/opt/homebrew/bin",
        "/usr/games", "/run/current-system/sw/bin",
    }
)  # fmt: skip


def plain_path(path: str) -> str:
    """A path without `.`, `//` and the parts that `..` takes back; one that goes up from here becomes absolute."""
    if "/" not in path:
        return path
    parts: list[str] = []
    rooted = path.startswith("/")
    for part in path.split("/"):
        if part == ".." and parts and parts[-1] != "..":
            parts.pop()
        elif part == "..":
            rooted = True
        elif part not in {"", "."}:
            parts.append(part)
    return ("/" if rooted else "") + "/".join(parts)


def is_sink(path: str) -> bool:
    """Whether writing there changes nothing."""
    return _SINKS.fullmatch(path) is not None


def is_connection(path: str) -> bool:
    """Whether bash sends what is written there to another host."""
    return _CONNECTION.fullmatch(path) is not None


def is_device(path: str) -> bool:
    """Whether it is a device, or a switch of the kernel's."""
    return _DEVICE.fullmatch(plain_path(path)) is not None


def is_sensitive(path: str) -> bool:
    """Whether it belongs to the system, or is read when somebody logs in or connects."""
    plain = plain_path(path)
    if _SENSITIVE.fullmatch(plain) or _TILDE.fullmatch(plain):
        return True
    return _STARTED.fullmatch(plain) is not None


def is_log(path: str) -> bool:
    """Whether it is one of the system's logs."""
    return _LOG.fullmatch(plain_path(path)) is not None


def tail_of(path: str) -> str:
    """What stands after the last `/`."""
    return path.rpartition("/")[2]


def is_program_folder(path: str) -> bool:
    """Whether a command named by its path comes from a folder of the system's programs; a bare name does too."""
    folder, slash, _ = path.rpartition("/")
    return not slash or plain_path(folder) in _PROGRAMS


def is_remote(path: str) -> bool:
    """Whether rsync, scp and tar take it for a file of another host: a `:` before any `/` (rsync(1), scp(1))."""
    head = path.partition("/")[0]
    return "::" in path or "://" in path or (":" in head and not path.startswith(("/", ".")))
