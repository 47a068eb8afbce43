"""The store's file: its tables, how it is opened, what its failures are called, how a frame is packed."""

from __future__ import annotations

import sqlite3
import time
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from vlmrl.errors import UsageError, usage_error

VERSION = 1
APPLICATION = 0x766C6D70
"""What tells a store from any other SQLite file: "vlmp"."""
TABLES = """
CREATE TABLE frames (
    key TEXT PRIMARY KEY, height INTEGER NOT NULL, width INTEGER NOT NULL, data BLOB NOT NULL
) WITHOUT ROWID;
CREATE TABLE segments (key TEXT PRIMARY KEY, frames TEXT NOT NULL, progress TEXT) WITHOUT ROWID;
CREATE TABLE pairs (
    number INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE,
    first TEXT NOT NULL REFERENCES segments(key), second TEXT NOT NULL REFERENCES segments(key)
);
CREATE TABLE answers (
    number INTEGER PRIMARY KEY, pair TEXT NOT NULL REFERENCES pairs(key), question TEXT NOT NULL,
    labeller TEXT NOT NULL, model TEXT NOT NULL, parameters TEXT NOT NULL,
    label REAL CHECK (label BETWEEN 0 AND 1), reason TEXT NOT NULL,
    answered_by TEXT NOT NULL, answered_model TEXT NOT NULL, answered_parameters TEXT NOT NULL,
    seconds REAL NOT NULL, tokens INTEGER NOT NULL, cost REAL NOT NULL, created REAL NOT NULL,
    UNIQUE (pair, question, labeller, model, parameters)
);
"""
FAILURES = """
CREATE TABLE IF NOT EXISTS failures (
    number INTEGER PRIMARY KEY, pair TEXT NOT NULL REFERENCES pairs(key), question TEXT NOT NULL,
    labeller TEXT NOT NULL, model TEXT NOT NULL, parameters TEXT NOT NULL, label REAL CHECK (label IS NULL),
    reason TEXT NOT NULL, answered_by TEXT NOT NULL, answered_model TEXT NOT NULL, answered_parameters TEXT NOT NULL,
    seconds REAL NOT NULL, tokens INTEGER NOT NULL, cost REAL NOT NULL, created REAL NOT NULL
)
"""
"""Questions that nobody answered, one row each time: no answers, but they may have been paid for. Older stores lack it."""
MAX_PIXELS = 64_000_000
"""Frames that say to be larger are not unpacked."""
LEVEL = 1
"""zlib's: of frames of our worlds at 64 and 128 px it leaves 6 to 13%, as PNG does, in 0.03 to 1.2 ms against 0.5 to 5
(measured on two shared cores); level 6 leaves 4 to 11% in 0.1 to 2.7 ms."""


class StoreError(UsageError):
    """The store cannot be read or written; `answers` are those that were given and could not be kept."""

    def __init__(self, message: str, answers: Sequence[object] = ()) -> None:
        super().__init__(message)
        self.answers = list(answers)


def connect(path: Path, timeout_s: float, *, reading: bool = False) -> sqlite3.Connection:
    """Open the store at `path`, made if there is none; waits up to `timeout_s` for other writers.

    reading: open one that is there, and write nothing.
    Raises: StoreError for a file that is no store, or of another version, and where it may not be written.
    """
    connection = None
    with told_plainly(path):
        try:
            options: dict[str, Any] = {"isolation_level": None, "check_same_thread": False}
            if reading:
                name = f"{path.absolute().as_uri()}?mode=ro"
                connection = sqlite3.connect(name, timeout=timeout_s, uri=True, **options)
                _check_kind(connection, path)
                return connection
            connection = sqlite3.connect(path, timeout=timeout_s, **options)
            connection.execute("PRAGMA foreign_keys = ON")
            if _is_empty(connection):
                _make(connection, timeout_s)
            _check_kind(connection, path)
            connection.execute("PRAGMA synchronous = FULL")
            # A file that may only be read says so now, and not after the first answer was paid for.
            with transaction(connection):
                connection.execute(f"PRAGMA user_version = {VERSION}")
                connection.execute(FAILURES)
        except BaseException:
            if connection is not None:
                connection.close()
            raise
    return connection


def _is_empty(connection: sqlite3.Connection) -> bool:
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    return application == 0 and tables == 0


def _make(connection: sqlite3.Connection, timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL").fetchone()
            break
        except sqlite3.OperationalError as error:  # this one SQLite does not wait for by itself
            if _code(error) != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.02)
    with transaction(connection):
        if _is_empty(connection):  # another process may have been faster
            for statement in TABLES.split(";")[:-1]:
                connection.execute(statement)
            connection.execute(f"PRAGMA application_id = {APPLICATION}")
            connection.execute(f"PRAGMA user_version = {VERSION}")


def _check_kind(connection: sqlite3.Connection, path: Path) -> None:
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if application != APPLICATION:
        raise usage_error(
            "store", f"{path}, another program's database", "a store of preferences", "name another file"
        )
    if version != VERSION:
        remedy = (
            "update vlmrl" if version > VERSION else "export it with the vlmrl that wrote it, then import"
        )
        raise usage_error("store", f"{path} of version {version}", f"version {VERSION}", remedy)


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Do everything inside or nothing; the lock for writing is taken at once, so that readers never have to yield it."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


@contextmanager
def told_plainly(path: Path) -> Iterator[None]:
    """Turn SQLite's failures into a StoreError of one line, with its remedy."""
    try:
        yield
    except StoreError:
        raise
    except UsageError as error:
        raise StoreError(str(error)) from error
    except OSError as error:
        remedy = "give a path you may write to"
        raise StoreError(str(usage_error("store", f"{path} ({error.strerror})", "a file", remedy))) from error
    except sqlite3.Error as error:
        raise StoreError(str(_explained(path, error))) from error


def _code(error: sqlite3.Error) -> int:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF  # the rest says which kind of it


def _explained(path: Path, error: sqlite3.Error) -> UsageError:
    again = "then run the same command again: what was answered is kept"
    expected, remedy = {
        sqlite3.SQLITE_FULL: ("room to write", f"free some disk space, {again}"),
        sqlite3.SQLITE_READONLY: (
            "a file that may be written",
            "change its permissions, or name another file",
        ),
        sqlite3.SQLITE_CANTOPEN: ("a file in a folder that exists and may be written", "name another file"),
        sqlite3.SQLITE_NOTADB: ("a store of preferences", "name another file; this one was not touched"),
        sqlite3.SQLITE_CORRUPT: (
            "a whole database",
            "copy back a backup, or import an export into a new file",
        ),
        sqlite3.SQLITE_BUSY: ("a turn to write", f"end the process that holds it, {again}"),
        sqlite3.SQLITE_IOERR: ("a disk that reads and writes", f"look at the disk, {again}"),
    }.get(_code(error), ("a database that answers", "check it with `vlmrl.preferences.check_store(store)`"))
    return usage_error("store", f"{path} ({error})", expected, remedy)


def pack(frame: np.ndarray) -> bytes:
    """Return a frame's pixels uint8 (H, W, 3), compressed without loss."""
    return zlib.compress(np.ascontiguousarray(frame).tobytes(), LEVEL)


def unpack(data: bytes, height: int, width: int) -> np.ndarray:
    """Return the frame uint8 (H, W, 3) that `pack` made `data` of.

    Raises: ValueError if it is damaged, or longer than its shape says (nothing longer is ever unpacked).
    """
    size = 3 * height * width
    if not 0 < height * width <= MAX_PIXELS:
        raise ValueError(f"a frame of {height}x{width} pixels")
    unpacker = zlib.decompressobj()
    try:
        pixels = unpacker.decompress(data, size + 1)
    except zlib.error as error:
        raise ValueError(f"damaged pixels ({error})") from error
    if len(pixels) != size or not unpacker.eof:  # its end holds a checksum
        raise ValueError(f"damaged pixels ({len(pixels)} bytes, {size} expected)")
    return np.frombuffer(pixels, np.uint8).reshape(height, width, 3)
