"""Opening the database file of approvals: whose it is, which version, and what SQLite promises for it."""

import os
import sqlite3
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from callgate.approvals.sealing import SALT_BYTES, Seal
from callgate.approvals.store import StoreFault
from callgate.approvals.stored import Unreadable
from callgate.audit.disk import sync_folder

# Of the tables below.
SCHEMA_VERSION: Final = 1
# How long another process is waited for.  Less than a call is made to wait for the store (2 s): it is told why, then.
BUSY_S: Final = 1.5
# Arguments are 1 MiB at most, and a tool's definition is not longer; sealed, with what is around them.
MAX_VALUE_BYTES: Final = 8 * 1024 * 1024
# RETURNING came with 3.35, STRICT with 3.37.
_OLDEST_SQLITE: Final = (3, 37, 0)
_FOLDER_MODE: Final = 0o700
_FILE_MODE: Final = 0o600
_OTHERS: Final = 0o077
# Users of the socket may go through it, and see nothing else in it.
_OTHERS_IN_FOLDER: Final = 0o066
_NEW: Final = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
# SQLite itself would look again after up to 0.1 s, and a process that has much to write leaves it free for less.
_RETRY_S: Final = 0.001
_PROOF: Final = b"callgate"
_MAX_JOURNAL_BYTES: Final = 16 * 1024 * 1024
OPEN_STATES: Final = "state IN ('waiting', 'approved')"
_PRAGMAS: Final = (
    # https://www.sqlite.org/wal.html: readers and a writer do not wait for one another.
    "journal_mode = WAL",
    # https://www.sqlite.org/pragma.html#pragma_synchronous: in WAL mode, only FULL syncs after each transaction.
    "synchronous = FULL",
    "secure_delete = ON",
    # What one step wrote into the journal, were it much, does not stay there for ever.
    f"journal_size_limit = {_MAX_JOURNAL_BYTES}",
    "trusted_schema = OFF",
    "cell_size_check = ON",
    "temp_store = MEMORY",
)
_TABLES: Final = (
    # `changes`, `waiting` and `bytes` are counted by the triggers below: they are asked for several times a second.
    "CREATE TABLE store (salt BLOB NOT NULL, proof BLOB NOT NULL, changes INTEGER NOT NULL, waiting INTEGER NOT NULL,"
    " bytes INTEGER NOT NULL, wall REAL NOT NULL, boot TEXT NOT NULL, since_boot REAL NOT NULL) STRICT",
    "CREATE TABLE requests (seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, key TEXT NOT NULL, caller TEXT NOT NULL,"
    " state TEXT NOT NULL, asked REAL NOT NULL, ended REAL, revision INTEGER NOT NULL, body BLOB NOT NULL,"
    # Of both of its parts, as they were first written.
    " size INTEGER NOT NULL) STRICT",
    "CREATE TABLE sizes (caller TEXT PRIMARY KEY, bytes INTEGER NOT NULL) STRICT",
    # Apart: what never changes is not written again with each change, and lists do not read it.
    "CREATE TABLE shown (id TEXT PRIMARY KEY, body BLOB NOT NULL) STRICT",
    "CREATE INDEX requests_by_key ON requests (key)",
    f"CREATE INDEX requests_open ON requests (seq) WHERE {OPEN_STATES}",
    "CREATE INDEX requests_waiting ON requests (caller) WHERE state = 'waiting'",
    "CREATE INDEX requests_ended ON requests (ended) WHERE ended IS NOT NULL",
    "CREATE INDEX requests_ended_of ON requests (caller, ended) WHERE ended IS NOT NULL",
    "CREATE TRIGGER request_added AFTER INSERT ON requests BEGIN"
    " UPDATE store SET changes = changes + 1, waiting = waiting + (NEW.state = 'waiting'), bytes = bytes + NEW.size;"
    " INSERT OR IGNORE INTO sizes VALUES (NEW.caller, 0);"
    " UPDATE sizes SET bytes = bytes + NEW.size WHERE caller = NEW.caller; END",
    "CREATE TRIGGER request_changed AFTER UPDATE ON requests BEGIN UPDATE store"
    " SET changes = changes + 1, waiting = waiting + (NEW.state = 'waiting') - (OLD.state = 'waiting'); END",
    "CREATE TRIGGER request_deleted AFTER DELETE ON requests BEGIN"
    " UPDATE store SET changes = changes + 1, waiting = waiting - (OLD.state = 'waiting'), bytes = bytes - OLD.size;"
    " UPDATE sizes SET bytes = bytes - OLD.size WHERE caller = OLD.caller;"
    " DELETE FROM sizes WHERE caller = OLD.caller AND bytes <= 0;"
    " DELETE FROM shown WHERE id = OLD.id; END",
    "CREATE TABLE sessions (seq INTEGER PRIMARY KEY, digest TEXT NOT NULL UNIQUE, last REAL NOT NULL,"
    " body BLOB NOT NULL) STRICT",
    "CREATE TABLE secrets (seq INTEGER PRIMARY KEY, digest TEXT NOT NULL UNIQUE, kind TEXT NOT NULL, wall REAL NOT NULL,"
    " boot TEXT NOT NULL, since_boot REAL NOT NULL, lasts_s REAL NOT NULL, body BLOB NOT NULL) STRICT",
    "CREATE INDEX secrets_by_kind ON secrets (kind)",
    "CREATE TABLE notices (seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, target TEXT NOT NULL, due REAL NOT NULL,"
    " tries INTEGER NOT NULL, body BLOB NOT NULL) STRICT",
    "CREATE INDEX notices_by_due ON notices (due)",
    f"PRAGMA user_version = {SCHEMA_VERSION}",
)


@contextmanager
def told_as_fault(what: str = "the approvals store") -> Iterator[None]:
    """What SQLite says becomes a StoreFault that begins with `what`.  Its messages name tables, never values."""
    try:
        yield
    except sqlite3.Error as error:
        raise StoreFault(f"{what}: {error}") from error
    except (UnicodeEncodeError, OverflowError):
        # Without their messages, which tell what it was about.
        raise StoreFault(f"{what}: this is no value for it") from None


def open_database(path: Path, key: bytes) -> tuple[sqlite3.Connection, Seal, os.stat_result]:
    """Open the database at `path`, a new one where there is none; also what file it is.

    Blocks, a few seconds at most.  Raises StoreFault.
    """
    if sqlite3.sqlite_version_info < _OLDEST_SQLITE:
        raise StoreFault(f"SQLite is {sqlite3.sqlite_version}, and approvals need 3.37 or later")
    try:
        _look_at_folder(path.parent)
    except OSError as error:
        why = "it is none" if isinstance(error, FileExistsError) else error.strerror
        raise StoreFault(f"cannot open {path}: its folder cannot be used: {why}") from error
    try:
        file = _look_at_file(path)
    except OSError as error:
        raise StoreFault(f"cannot open {path}: {error.strerror}") from error
    with told_as_fault(f"cannot open the approvals store {path}"):
        # Used by one thread at a time, and by another one than opens it.
        database = sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False)
        try:
            return database, _prepared(database, path, key), file
        except BaseException:
            database.close()
            raise


def _look_at_folder(folder: Path) -> None:
    folder.mkdir(mode=_FOLDER_MODE, parents=True, exist_ok=True)
    sync_folder(folder.parent)
    found = folder.stat()
    if found.st_uid != os.geteuid() or stat.S_IMODE(found.st_mode) & _OTHERS_IN_FOLDER:
        raise StoreFault(f"the folder {folder} must belong to the gate's user, and to nobody else: chmod 700 {folder}")


def _look_at_file(path: Path) -> os.stat_result:
    with suppress(FileExistsError):
        os.close(os.open(path, _NEW, _FILE_MODE))
        sync_folder(path.parent)
    # Not opened to be looked at.  https://www.sqlite.org/howtocorrupt.html, 2.2: closing a descriptor of the file would
    # cancel the locks that this process has on it.
    found = path.lstat()
    if not stat.S_ISREG(found.st_mode):
        raise StoreFault(f"{path} is no plain file")
    if found.st_uid != os.geteuid() or stat.S_IMODE(found.st_mode) & _OTHERS:
        raise StoreFault(f"{path} must belong to the gate's user, and to nobody else: chmod 600 {path}")
    return found


def _prepared(database: sqlite3.Connection, path: Path, key: bytes) -> Seal:
    database.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MAX_VALUE_BYTES)
    # Text that is no text makes its own row unreadable, and no other.
    database.text_factory = lambda found: found.decode(errors="replace")
    until = time.monotonic() + BUSY_S
    for pragma in _PRAGMAS:
        begin(database, f"PRAGMA {pragma}", until)
    begin(database, "BEGIN IMMEDIATE", until)
    try:
        seal = _seal_of(database, path, key)
        database.execute("COMMIT")
    finally:
        if database.in_transaction:
            database.execute("ROLLBACK")
    return seal


def _seal_of(database: sqlite3.Connection, path: Path, key: bytes) -> Seal:
    (version,) = database.execute("PRAGMA user_version").fetchone()
    if version > SCHEMA_VERSION:
        raise StoreFault(f"{path} was written by a newer callgate (version {version} of its tables)")
    if version < 0:
        raise StoreFault(f"{path} was not written by callgate; move it aside, and the gate begins a new one")
    if version == 0:
        _create(database, key)
    return _proved(database, path, key)


def begin(database: sqlite3.Connection, statement: str, until: float) -> None:
    """Do what needs the file's lock, once no other process has it; until then by `time.monotonic` at the latest."""
    while True:
        try:
            database.execute(statement).fetchall()
        except sqlite3.OperationalError as error:
            # The low byte tells the kind: https://www.sqlite.org/rescode.html#pve
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                raise
            time.sleep(_RETRY_S)
        else:
            return


def _create(database: sqlite3.Connection, key: bytes) -> None:
    for statement in _TABLES:
        database.execute(statement)
    salt = os.urandom(SALT_BYTES)
    proof = Seal(key, salt).sealed(_PROOF, "store")
    database.execute("INSERT INTO store VALUES (?, ?, 0, 0, 0, 0, '', 0)", (salt, proof))


def _proved(database: sqlite3.Connection, path: Path, key: bytes) -> Seal:
    """The seal that this store was made with, if that is this gate's."""
    found = database.execute("SELECT salt, proof FROM store").fetchone()
    if found is None:
        raise StoreFault(f"{path} is not whole; move it aside, and the gate begins a new one")
    seal = Seal(key, found[0])
    try:
        seal.opened(found[1], "store")
    except Unreadable:
        raise StoreFault(f"{path} belongs to a gate with another key; move it aside, or use that key") from None
    return seal
