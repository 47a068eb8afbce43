"""What a store gives to others and takes from them: JSONL files, other stores, and a check of the whole."""

from __future__ import annotations

import base64
import json
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from vlmrl.checkpoints import sync_directory
from vlmrl.errors import UsageError, usage_error
from vlmrl.preferences import rows, schema
from vlmrl.preferences.formulas import pair_key, pixels_key
from vlmrl.preferences.protocol import Answer, Segment
from vlmrl.preferences.store import PreferenceStore

FORMAT = {"format": "vlmrl-preferences", "version": schema.VERSION}
"""The first line of an export."""
_INSERTS = {
    "frames": "INSERT OR IGNORE INTO frames VALUES (?, ?, ?, ?)",
    "segments": "INSERT OR IGNORE INTO segments VALUES (?, ?, ?)",
    "pairs": "INSERT OR IGNORE INTO pairs (key, first, second) VALUES (?, ?, ?)",
    "answers": rows.INSERT,
}
_COPIED = {
    "frames": "key, height, width, data",
    "segments": "key, frames, progress",
    "pairs": "key, first, second",
    "answers": rows.ANSWER_NAMES,
}
"""Tables in the order in which they refer to each other, with what is copied of them."""


def export_jsonl(store: PreferenceStore, path: str | Path) -> int:
    """Write all that a store holds to a JSONL file, as it is at one moment, and return how many answers.

    The file appears whole or not at all, and is on the disk when this returns. Raises: UsageError where it cannot be written.
    """
    path = Path(path)
    temporary = path.with_name(f".tmp-{path.name}-{os.getpid()}")
    count = 0
    try:
        with open(temporary, "w", encoding="utf-8") as file:
            for line in _lines(store):
                count += line.get("table") == "answers"
                file.write(json.dumps(line, ensure_ascii=False) + "\n")
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        sync_directory(path.parent)  # else a power loss may bring the old file back
    except OSError as error:
        got = f"{path} ({error.strerror})"
        raise usage_error(
            "export", got, "a file that may be written", "free space or name another"
        ) from error
    finally:
        temporary.unlink(missing_ok=True)
    return count


def import_jsonl(store: PreferenceStore, path: str | Path) -> int:
    """Take over what an export holds and the store lacks; return how many answers were new. All of it or nothing.

    Doing it again changes nothing; an answer that is there stays, but an abstention gives way to a label.
    Raises: UsageError naming the line that is damaged, cut off, or not what its key says.
    """
    path, new, number = Path(path), 0, 0
    try:
        with open(path, encoding="utf-8") as file, store.writing() as connection:
            for number, line in enumerate(file, 1):
                try:
                    new += _take(connection, json.loads(line), first=number == 1)
                except (ValueError, KeyError, TypeError, sqlite3.IntegrityError) as error:
                    got = f"{path}, line {number} ({error})"
                    raise usage_error("import", got, "a line of an export", "export it again") from error
            if number == 0:
                raise usage_error("import", f"{path}, which is empty", "an export", "export it again")
    except (OSError, UnicodeDecodeError) as error:
        raise usage_error(
            "import", f"{path} ({error})", "a JSONL file of an export", "check the path"
        ) from error
    return new


def import_store(store: PreferenceStore, other: str | Path) -> int:
    """Take over what the store at `other` holds and this one lacks, as `import_jsonl` does.

    Raises: StoreError for an `other` that is missing or no store.
    """
    other = Path(other)
    with schema.told_plainly(other):
        if not other.is_file():
            raise usage_error("store", f"{other}, which is no file", "a store to import", "check the path")
        schema.connect(other, 60.0).close()  # says what is wrong with it
    with store.attached(other) as connection:
        new = 0
        for table, names in _COPIED.items():
            query = f"INTO main.{table} ({names}) SELECT {names} FROM other.{table}"
            if table == "answers":  # "WHERE true" tells the parser that ON belongs to the INSERT
                new = connection.execute(f"INSERT {query} WHERE true ORDER BY number {rows.MERGE}").rowcount
            else:
                connection.execute(f"INSERT OR IGNORE {query}")
        return new


def check_store(store: PreferenceStore) -> list[str]:
    """Return what is wrong with a store, one line each: [] for a whole one. Every frame is unpacked."""
    try:
        found = [str(row[0]) for row in store.rows("PRAGMA integrity_check") if row[0] != "ok"]
        missing = store.rows("PRAGMA foreign_key_check")
        found += [f"table {row[0]}: refers to a missing row of {row[2]}" for row in missing]
        for key, height, width, data in store.rows("SELECT key, height, width, data FROM frames"):
            try:
                whole = pixels_key(schema.unpack(data, height, width)) == key
                found += [] if whole else [f"frame {key[:12]}: other pixels than its name says"]
            except ValueError as error:
                found.append(f"frame {key[:12]}: {error}")
        lost = store.rows("""SELECT segments.key, value FROM segments, json_each(segments.frames)
            WHERE value NOT IN (SELECT key FROM frames)""")
        return found + [f"segment {key[:12]}: its frame {frame[:12]} is missing" for key, frame in lost]
    except UsageError as error:
        return [str(error)]


def _lines(store: PreferenceStore) -> Iterator[dict[str, Any]]:
    """Yield the lines of an export: every table in turn, all of the same moment."""
    yield FORMAT
    with store.reading() as connection:
        for table, names in _COPIED.items():
            order = "number" if table in ("pairs", "answers") else "key"
            for row in connection.execute(f"SELECT {names} FROM {table} ORDER BY {order}"):
                line = {"table": table, **dict(zip(names.split(", "), row, strict=True))}
                if table == "frames":
                    line["data"] = base64.b64encode(line["data"]).decode()
                yield line


def _take(connection: sqlite3.Connection, line: dict[str, Any], first: bool) -> int:
    """Insert a line of an export if it is new and what it says it is; return how many answers that added."""
    if first:
        if line != FORMAT:
            raise ValueError(f"expected {json.dumps(FORMAT)}")
        return 0
    table = line["table"]
    values = [line[name] for name in _COPIED[table].split(", ")]
    if table == "frames":
        values[3] = base64.b64decode(values[3], validate=True)
        _same(values[0], pixels_key(schema.unpack(values[3], values[1], values[2])))
    elif table == "segments":
        _same(values[0], Segment(_frames(connection, json.loads(values[1]))).key)
    elif table == "pairs":
        _same(values[0], pair_key(values[1], values[2]))
    else:
        place = len(rows.KEPT.split(", "))
        answer: Answer = rows.answer_of(values[place:-1])
        values[place:-1] = rows.answer_rows([answer])[0]
    added = connection.execute(_INSERTS[table], values).rowcount
    return max(added, 0) if table == "answers" else 0


def _same(name: str, made: str) -> None:
    if name != made:
        raise ValueError(f"{name[:12]} is not what its key says")


def _frames(connection: sqlite3.Connection, keys: list[str]) -> np.ndarray:
    found = []
    for key in keys:
        row = connection.execute("SELECT data, height, width FROM frames WHERE key = ?", [key]).fetchone()
        if row is None:
            raise ValueError(f"frame {key[:12]} is missing")
        found.append(schema.unpack(*row))
    return np.stack(found)
