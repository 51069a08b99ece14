"""Whole steps of one SQLite file: each is kept altogether or not at all, alone or together with others."""

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

from callgate.approvals.sqlite_file import BUSY_S, begin, open_database, told_as_fault
from callgate.approvals.store import StoreFault

Value: TypeAlias = str | float | bytes | None


class SqliteSteps:
    """The file `path`, sealed with `key` (32 bytes).  Raises StoreFault where it cannot be opened.

    A file that others can read, that is a link, that a newer gate wrote or that has another key is not opened.
    """

    def __init__(self, path: Path, key: bytes) -> None:
        self._path = path
        self._database, self._seal, self._file = open_database(path, key)
        self._is_within = False

    def close(self) -> None:
        """See `Store.close`."""
        self._database.close()

    @contextmanager
    def _step(self) -> Iterator[None]:
        """All of what is done within, or nothing: a transaction of its own, or a part of the one that is under way."""
        with told_as_fault():
            if self._is_within:
                with self._part():
                    yield
                return
            self._look()
            # At once for writing: what is read before a change cannot be changed by another process meanwhile.
            begin(self._database, "BEGIN IMMEDIATE", time.monotonic() + BUSY_S)
            self._is_within = True
            try:
                yield
                self._run("COMMIT")
            finally:
                self._is_within = False
                if self._database.in_transaction:
                    self._run("ROLLBACK")

    @contextmanager
    def _part(self) -> Iterator[None]:
        if not self._database.in_transaction:
            # https://www.sqlite.org/lang_transaction.html: SQLITE_FULL, SQLITE_IOERR and a few more "might cause an
            # automatic rollback".  Nothing is to be kept of what follows, either.
            raise StoreFault("the approvals store: all of this was undone by a fault before")
        self._run("SAVEPOINT part")
        try:
            yield
        except BaseException:
            if self._database.in_transaction:
                self._run("ROLLBACK TO part")
                self._run("RELEASE part")
            raise
        self._run("RELEASE part")

    def _look(self) -> None:
        """Other processes use the file that has the name: is it still this one?"""
        try:
            is_same = os.path.samestat(self._file, self._path.lstat())
        except OSError as error:
            raise StoreFault(f"cannot find {self._path}: {error.strerror}") from error
        if not is_same:
            raise StoreFault(f"{self._path} is another file than the one that was opened")

    def _run(self, statement: str, *values: Value) -> sqlite3.Cursor:
        return self._database.execute(statement, values)

    def _number(self, statement: str, *values: Value) -> int:
        row = self._run(statement, *values).fetchone()
        if row is None:
            raise StoreFault(f"{self._path} is not whole")
        return int(row[0])
