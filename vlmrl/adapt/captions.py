"""Captions of videos: rows of {file, caption, start, end, truth} from a JSON, JSON lines or CSV file, or from text files."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vlmrl.errors import usage_error

SUFFIXES = (".mp4", ".gif", ".webm", ".mkv", ".mov", ".avi")
FILES = ("captions.json", "captions.jsonl", "captions.csv")
FIELDS = ("file", "caption", "start", "end", "truth")
REMEDY = f"give rows with {', '.join(FIELDS[:2])} and, if wanted, {', '.join(FIELDS[2:])}"


@dataclass(frozen=True)
class VideoCaption:
    """A caption and the part of the video it is of."""

    text: str
    """The caption."""
    start: float = 0.0
    """Where it begins to hold, seconds from the video's start."""
    end: float = math.inf
    """Where it no longer holds, seconds."""
    truth: float = 1.0
    """How true it is, 0 (false) to 1 (true)."""


def read_captions(folder: Path) -> dict[Path, list[VideoCaption]]:
    """Return the captions of each video in `folder`, sorted by name.

    Raises: UsageError on a folder without videos, captions and videos that do not pair, or a damaged file.
    """
    if not folder.is_dir():
        raise usage_error("videos", folder, "a folder that exists", "check the path")
    videos = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
    if not videos:
        raise usage_error(
            "videos", f"{folder}, without one", f"videos ({', '.join(SUFFIXES)})", "put some there"
        )
    found: dict[Path, list[VideoCaption]] = {path: [] for path in videos}
    files = [folder / name for name in FILES if (folder / name).is_file()]
    if len(files) > 1:
        got = f"{', '.join(path.name for path in files)} in {folder}"
        raise usage_error("captions", got, "one of them", "keep one")
    for file in files:
        for where, row in _rows(file):
            name, caption = _parse(where, row)
            if folder / name not in found:
                raise usage_error(
                    "captions", f"{where} of {name!r}", f"a video in {folder}", "correct the name"
                )
            found[folder / name].append(caption)
    for path in videos:
        beside = path.with_suffix(".txt")
        if beside.is_file():
            lines = map(_plain, _text(beside).splitlines())
            found[path] += [VideoCaption(line) for line in lines if line]
        if not found[path]:
            expected = f"a row in {FILES[0]}, or {beside.name} beside it"
            raise usage_error("captions", f"none for {path}", expected, "write one, or take the video away")
    return found


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise usage_error("captions", f"{file} ({error})", "a text file in UTF-8", "save it again") from error


def _rows(file: Path) -> Iterator[tuple[str, Any]]:
    """Yield each row with the words that say where it stands."""
    text = _text(file)
    try:
        if file.suffix == ".csv":
            rows: list[Any] = list(csv.DictReader(io.StringIO(text), strict=True))
        elif file.suffix == ".jsonl":
            rows = [json.loads(line) for line in text.splitlines() if line.strip()]
        else:
            rows = json.loads(text)
    except (ValueError, csv.Error) as error:
        raise usage_error("captions", f"{file} ({error})", f"a {file.suffix[1:]} file", REMEDY) from error
    if isinstance(rows, dict):  # {file: caption}
        rows = [{"file": name, "caption": caption} for name, caption in rows.items()]
    if not isinstance(rows, list):
        raise usage_error("captions", f"{file} with a {type(rows).__name__}", "a list of rows", REMEDY)
    for number, row in enumerate(rows, 1):
        yield f"{file.name}, row {number}", row


def _parse(where: str, row: Any) -> tuple[str, VideoCaption]:
    if not isinstance(row, dict) or not set(row) <= set(FIELDS):
        got = f"{where} with {', '.join(map(str, row)) if isinstance(row, dict) else row!r}"
        raise usage_error("captions", got, f"only {', '.join(FIELDS)}", REMEDY)
    name, text = row.get("file"), row.get("caption")
    if not isinstance(name, str) or not isinstance(text, str) or not text.strip():
        raise usage_error("captions", f"{where} without file or caption", "both as texts", REMEDY)
    start, end, truth = (_number(where, row, key, default) for key, default in
                         (("start", 0.0), ("end", math.inf), ("truth", 1.0)))  # fmt: skip
    if not 0 <= start < end:
        raise usage_error(
            "captions", f"{where} from {start} to {end} s", "start before end, from 0 on", REMEDY
        )
    if not 0 <= truth <= 1:
        raise usage_error("captions", f"{where} of truth {truth}", "a number from 0 to 1", REMEDY)
    return name, VideoCaption(_plain(text), start, end, truth)


def _plain(text: str) -> str:
    return " ".join(text.split())


def _number(where: str, row: dict[str, Any], key: str, default: float) -> float:
    value = row.get(key)
    if value is None or value == "":
        return default
    try:
        return float(value)
    except (TypeError, ValueError) as error:
        raise usage_error("captions", f"{where} with {key} {value!r}", "a number", REMEDY) from error
