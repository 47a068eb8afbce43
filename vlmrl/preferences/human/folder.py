"""Pairs and answers of a person as files: pairs.jsonl, segments/*.npy and answers.jsonl, appended and synced."""

from __future__ import annotations

import contextlib
import io
import json
import math
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vlmrl.checkpoints import replace_file
from vlmrl.configs import to_plain
from vlmrl.errors import usage_error
from vlmrl.preferences.human.sink import Given, Shown
from vlmrl.preferences.protocol import Answer, Pair, Question, Segment

PAIRS, ANSWERS, SEGMENTS, LOCK = "pairs.jsonl", "answers.jsonl", "segments", "label.lock"
TAIL = 4096
"""Bytes read at once from a file's end."""


def write_pairs(
    folder: str | os.PathLike[str],
    pairs: Sequence[Pair],
    question: Question,
    predictions: Sequence[float | None] | None = None,
) -> int:
    """Add pairs that a person is to answer to `folder`, made if need be; return how many were new.

    predictions: P(first preferred) of a model for each pair, or None. Frames are kept by content, without loss.
    Raises: UsageError if `predictions` are not one for each pair; OSError if the disk is full.
    """
    path = Path(folder)
    known = [None] * len(pairs) if predictions is None else list(predictions)
    if len(known) != len(pairs):
        raise usage_error(
            "predictions", len(known), f"{len(pairs)}, one for each pair", "give None where unknown"
        )
    (path / SEGMENTS).mkdir(parents=True, exist_ok=True)
    seen = {row["key"] for row in _rows(path / PAIRS)}
    count = 0
    for pair, prediction in zip(pairs, known, strict=True):
        if pair.key in seen:
            continue
        for segment in (pair.first, pair.second):
            _write_segment(path / SEGMENTS / f"{segment.key}.npy", segment)
        row = {"key": pair.key, "first": pair.first.key, "second": pair.second.key}
        row |= {"goal": question.goal, "baseline": question.baseline}
        _append(path / PAIRS, row | {"prediction": None if prediction is None else float(prediction)})
        seen.add(pair.key)
        count += 1
    return count


def _write_segment(file: Path, segment: Segment) -> None:
    if not file.exists():
        buffer = io.BytesIO()
        np.save(buffer, segment.frames, allow_pickle=False)
        replace_file(file, buffer.getvalue())


def _append(file: Path, row: dict[str, Any]) -> None:
    """Append a line and sync it; a line that was cut off by a kill or a full disk is taken away first."""
    line = (json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n").encode()
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        whole = _whole(descriptor)
        os.ftruncate(descriptor, whole)
        os.lseek(descriptor, whole, os.SEEK_SET)
        try:
            view = memoryview(line)
            while view:
                view = view[os.write(descriptor, view) :]
            os.fsync(descriptor)
        except OSError:
            with contextlib.suppress(OSError):
                os.ftruncate(descriptor, whole)
            raise
    finally:
        os.close(descriptor)


def _whole(descriptor: int) -> int:
    """Return the length of an open file up to its last newline; only its end is read."""
    end = os.lseek(descriptor, 0, os.SEEK_END)
    while end > 0:
        first = max(0, end - TAIL)
        os.lseek(descriptor, first, os.SEEK_SET)
        place = os.read(descriptor, end - first).rfind(b"\n")
        if place >= 0:
            return first + place + 1
        end = first
    return 0


def _rows(file: Path) -> Iterator[dict[str, Any]]:
    """Yield the rows of a JSONL file; a last line that was cut off is left out."""
    if not file.exists():
        return
    for number, line in enumerate(file.read_bytes().split(b"\n")[:-1], 1):
        try:
            row = json.loads(line)
            if not isinstance(row, dict) or not isinstance(row.get("key"), str):
                raise ValueError("no key")
        except ValueError as error:
            got = f"line {number} of {file} ({error})"
            raise usage_error("preferences", got, "JSON with a key", "remove the line") from error
        yield row


class FolderSink:
    """The pairs that `write_pairs` wrote and a person's answers, for one process at a time."""

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        """Open `folder` and keep others out until `close`.

        Raises: UsageError if it holds no pairs, a line is unreadable, or another process has it open.
        """
        self.path = Path(folder)
        if not (self.path / PAIRS).is_file():
            remedy = "write some with vlmrl.preferences.human.write_pairs"
            raise usage_error("preferences", self.path, f"a folder with {PAIRS}", remedy)
        self._lock = self._take_lock()
        try:
            self._pairs = {row["key"]: row for row in _rows(self.path / PAIRS)}
            self._labels: dict[str, float | None] = {}
            for row in _rows(self.path / ANSWERS):
                self._labels.pop(row["key"], None)
                if not row.get("taken_back"):
                    self._labels[row["key"]] = _label(row, self.path / ANSWERS)
        except BaseException:
            self.close()
            raise

    def _take_lock(self) -> int:
        descriptor = os.open(self.path / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except ImportError:  # Windows: nobody is kept out
            pass
        except OSError as error:
            os.close(descriptor)
            got = f"{self.path}, which another vlmrl label has open"
            raise usage_error("preferences", got, "one at a time", "use its page") from error
        return descriptor

    def close(self) -> None:
        """Let others in."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def pending(self) -> list[str]:
        """Return the keys of the pairs without an answer, as they were written."""
        return [key for key in self._pairs if key not in self._labels]

    def shown(self, key: str) -> Shown:
        """Return the pair `key` with its frames. Raises: KeyError; UsageError if its files are damaged."""
        row = self._pairs[key]
        pair = Pair(self._segment(row["first"]), self._segment(row["second"]))
        return Shown(pair, Question(row["goal"], row.get("baseline", "")), row.get("prediction"))

    def _segment(self, key: str) -> Segment:
        file = self.path / SEGMENTS / f"{Path(key).name}.npy"
        try:
            segment = Segment(np.load(file, allow_pickle=False))
            damaged = "" if segment.key == key else "other frames than its name says"
        except (OSError, ValueError, EOFError) as error:
            damaged = str(error)
        if damaged:
            raise usage_error(
                "segment", f"{file} ({damaged})", "the frames of the pair", "write the pair again"
            )
        return segment

    def put(self, key: str, answer: Answer) -> bool:
        """Append `answer` to answers.jsonl, synced, unless the pair has one."""
        if key in self._labels or key not in self._pairs:
            return False
        _append(self.path / ANSWERS, {"key": key, **to_plain(answer)})
        self._labels[key] = answer.label
        return True

    def take_back(self, key: str) -> bool:
        """Append that the answer of `key` is taken back."""
        if key not in self._labels:
            return False
        _append(self.path / ANSWERS, {"key": key, "taken_back": True})
        del self._labels[key]
        return True

    def given(self) -> list[Given]:
        """Return the answers so far, oldest first."""
        pairs = self._pairs
        return [
            Given(key, label, pairs[key].get("prediction"))
            for key, label in self._labels.items()
            if key in pairs
        ]


def _label(row: dict[str, Any], file: Path) -> float | None:
    label = row.get("label")
    if label is None or (type(label) in (int, float) and math.isfinite(label) and 0 <= label <= 1):
        return label
    raise usage_error("label", f"{label} in {file}", "a number from 0 to 1, or null", "remove the line")
