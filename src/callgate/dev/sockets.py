"""Where the development Workload API's sockets lie: in a directory that is the user's own."""

import os
import re
import socket
import stat
from pathlib import Path
from urllib.parse import quote

from callgate.dev.issuance import DevWorkloadApiError
from callgate.identity.endpoint import parse_endpoint

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")


def socket_path_of(directory: Path, name: str) -> Path:
    """The socket of a workload.  Raises `DevWorkloadApiError`, or `InvalidEndpoint` where its path is too long."""
    if not _NAME.fullmatch(name):
        raise DevWorkloadApiError(f"{name!r} cannot name a socket: letters, digits, '.', '_' and '-', at most 63")
    path = directory / f"{name}.sock"
    parse_endpoint(address_of(path))
    return path


def address_of(socket_path: Path) -> str:
    """The value of SPIFFE_ENDPOINT_SOCKET for it."""
    return f"unix://{quote(os.fsencode(socket_path))}"


def prepare_directory(directory: Path) -> None:
    """Whoever can reach a socket has its identity: the directory is ours alone.  Raises `DevWorkloadApiError`."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = directory.stat()
    except OSError as error:
        raise DevWorkloadApiError(f"cannot use the directory {directory}: {error.strerror}") from error
    if found.st_uid != os.geteuid() or stat.S_IMODE(found.st_mode) & 0o077:
        raise DevWorkloadApiError(
            f"other users can reach {directory}, and with its sockets take any identity: chmod 700 it, or name a"
            " directory that does not exist yet"
        )


def remove_stale_socket(path: Path) -> None:
    """A server that was killed leaves its socket behind; one that still answers is not ours to replace.

    Raises `DevWorkloadApiError`.
    """
    try:
        with socket.socket(socket.AF_UNIX) as probe:
            probe.connect(os.fspath(path))
    except FileNotFoundError:
        return
    except ConnectionRefusedError:
        if not path.is_socket():
            raise DevWorkloadApiError(f"{path} exists and is no socket: remove it or use another directory") from None
        path.unlink()
        return
    raise DevWorkloadApiError(f"another process serves {path} already")
