"""The admin socket: who may have it, what it replaces and leaves behind, and whom the kernel names."""

import fcntl
import os
import socket
import stat
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import trio

from callgate.net.local_listener import MAX_PATH_BYTES, CannotListenLocally, Credentials, LocalListener

NOBODY = 65534


@asynccontextmanager
async def listening(path: Path, *, shared: bool = False) -> AsyncIterator[trio.MemoryReceiveChannel[Credentials]]:
    send, receive = trio.open_memory_channel[Credentials](10)
    listener = LocalListener.open(path, shared=shared)

    async def accepted(sock: socket.socket, peer: Credentials) -> None:
        sock.close()
        await send.send(peer)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(listener.serve, nursery, accepted)
        yield receive
        listener.close()


def left_behind(path: Path) -> None:
    """As a process that was killed leaves it."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(path))


async def test_tells_which_user_and_process_is_at_the_other_end(tmp_path: Path) -> None:
    path = tmp_path / "admin.sock"
    async with listening(path) as peers, await trio.open_unix_socket(path):
        assert await peers.receive() == Credentials(os.getpid(), os.geteuid(), os.getegid())


async def test_no_other_user_can_even_connect_unless_it_is_shared(tmp_path: Path) -> None:
    before = os.umask(0o000)
    try:
        async with listening(tmp_path / "own.sock"), listening(tmp_path / "shared.sock", shared=True):
            modes = [stat.S_IMODE((tmp_path / name).lstat().st_mode) for name in ("own.sock", "shared.sock")]
    finally:
        os.umask(before)
    assert modes == [0o600, 0o666]


async def test_leaves_the_umask_and_no_file(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        async with listening(tmp_path / "admin.sock"):
            pass
        assert os.umask(0o027) == 0o027
    finally:
        os.umask(before)
    assert os.listdir(tmp_path) == []  # noqa: PTH208  # the loop has nothing else to do


async def test_replaces_what_a_killed_process_left(tmp_path: Path) -> None:
    path = tmp_path / "admin.sock"
    left_behind(path)
    async with listening(path) as peers, await trio.open_unix_socket(path):
        assert (await peers.receive()).uid == os.geteuid()


async def test_never_takes_the_place_of_one_that_listens(tmp_path: Path) -> None:
    path = tmp_path / "admin.sock"
    async with listening(path) as peers:
        with pytest.raises(CannotListenLocally, match="another process listens"):
            LocalListener.open(path)
        async with await trio.open_unix_socket(path):
            await peers.receive()


@pytest.mark.parametrize("kind", ["file", "folder", "link to a socket", "link to nothing"])
async def test_never_removes_what_is_not_a_socket(tmp_path: Path, kind: str) -> None:
    path, other = tmp_path / "admin.sock", tmp_path / "other.sock"
    if kind == "file":
        path.write_text("mine")
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to(other)
        if kind == "link to a socket":
            left_behind(other)
    with pytest.raises(CannotListenLocally, match="something else than a socket"):
        LocalListener.open(path)
    assert path.is_symlink() or path.exists()


async def test_a_path_that_is_too_long_is_told_with_its_limit(tmp_path: Path) -> None:
    room = MAX_PATH_BYTES - len(os.fsencode(tmp_path)) - 1
    LocalListener.open(tmp_path / ("a" * room)).close()
    with pytest.raises(CannotListenLocally, match="at most 107 bytes"):
        LocalListener.open(tmp_path / ("a" * (room + 1)))


async def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(CannotListenLocally, match="No such file"):
        LocalListener.open(tmp_path / "none" / "admin.sock")


async def test_removes_at_the_end_only_what_is_still_its_own(tmp_path: Path) -> None:
    path = tmp_path / "admin.sock"
    listener = LocalListener.open(path)
    path.unlink()
    left_behind(path)
    listener.close()
    assert path.is_socket()


# Nobody else can become another user, so there is nothing to be seen of one.
if os.geteuid() == 0:

    @pytest.fixture
    def world_folder() -> Iterator[Path]:
        """One that other users can go through, as pytest's own cannot."""
        with TemporaryDirectory(prefix="callgate-") as name:
            Path(name).chmod(0o755)
            yield Path(name)

    async def test_never_removes_another_users_socket(tmp_path: Path) -> None:
        path = tmp_path / "admin.sock"
        left_behind(path)
        os.chown(path, NOBODY, NOBODY)
        with pytest.raises(CannotListenLocally, match="something else than a socket of this user"):
            LocalListener.open(path)
        assert path.is_socket()

    async def test_the_kernel_names_another_user(world_folder: Path) -> None:
        path = world_folder / "admin.sock"
        code = f"import os, socket; os.setuid({NOBODY}); socket.socket(socket.AF_UNIX).connect({str(path)!r})"
        async with listening(path, shared=True) as peers:
            await trio.run_process([sys.executable, "-c", code])
            assert (await peers.receive()).uid == NOBODY

    async def test_another_user_cannot_connect_to_one_that_is_not_shared(world_folder: Path) -> None:
        path = world_folder / "admin.sock"
        code = f"import os, socket; os.setuid({NOBODY}); socket.socket(socket.AF_UNIX).connect({str(path)!r})"
        async with listening(path):
            done = await trio.run_process([sys.executable, "-c", code], capture_stderr=True, check=False)
        assert b"PermissionError" in done.stderr


def test_a_lock_that_somebody_holds_on_the_folder_is_told_of_within_seconds(tmp_path: Path) -> None:
    # flock(2): whoever may open a folder for reading may lock it.
    held = os.open(tmp_path, os.O_RDONLY)
    try:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(CannotListenLocally, match="holds a lock"):
            LocalListener.open(tmp_path / "admin.sock")
    finally:
        os.close(held)
