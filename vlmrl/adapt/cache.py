"""A bounded cache of frames on disk: written once with plain writes, then memory-mapped."""

from __future__ import annotations

import io
import json
import os
import warnings
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from vlmrl.adapt.pairs import ArrayStore, Known, fit_square
from vlmrl.checkpoints import replace_file

PART = ".part"
Split = Callable[[list[Any]], tuple[np.ndarray, np.ndarray]]


def frame_budget(cache_gib: float, sources: int, size: int) -> int:
    """Return how many frames of `size` pixels each of `sources` may keep, at least 64."""
    return max(64, int(cache_gib * 2**30 / max(sources, 1) / (3 * size * size)))


class FrameWriter:
    """Writes frames to a .npy file, at most `most` of them: when it is full, every second one is dropped.

    Plain writes and not a memory map: on a full disk a map kills the process, a write raises OSError.
    """

    def __init__(self, path: Path, size: int, most: int) -> None:
        """Begin the file at `path` for frames uint8 (size, size, 3); it gets its name on `close`."""
        self.path, self.size, self.most = path, size, most
        self.rows: list[int] = []
        """Which of the frames given are kept, by their place."""
        self.stride = 1
        """Of so many frames one is kept."""
        self._given, self._bytes = 0, 3 * size * size
        self._file = open(path.with_name(path.name + PART), "wb+")  # noqa: SIM115
        self._file.write(self._header())

    def append(self, frames: np.ndarray) -> None:
        """Add frames uint8 (m, H, W, 3), squashed to the file's size."""
        for frame in fit_square(frames, self.size):
            if self._given % self.stride == 0:
                if len(self.rows) == self.most:
                    self._halve()
                if self._given % self.stride == 0:
                    self._file.write(np.ascontiguousarray(frame).data)
                    self.rows.append(self._given)
            self._given += 1

    def close(self) -> np.ndarray:
        """Finish the file, give it its name, and return it memory-mapped: (n, size, size, 3)."""
        self._file.seek(0)
        self._file.write(self._header())
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        os.replace(self.path.with_name(self.path.name + PART), self.path)
        return np.load(self.path, mmap_mode="r")

    def abort(self) -> None:
        """Remove what was written."""
        self._file.close()
        self.path.with_name(self.path.name + PART).unlink(missing_ok=True)

    def _header(self) -> bytes:
        # NumPy pads the header so that its length stays the same while the first axis grows.
        out = io.BytesIO()
        shape = (len(self.rows), self.size, self.size, 3)
        np.lib.format.write_array_header_1_0(out, {"descr": "|u1", "fortran_order": False, "shape": shape})
        return out.getvalue()

    def _halve(self) -> None:
        start = len(self._header())
        for kept in range(1, (len(self.rows) + 1) // 2):
            self._file.seek(start + 2 * kept * self._bytes)
            data = self._file.read(self._bytes)
            self._file.seek(start + kept * self._bytes)
            self._file.write(data)
        self.rows = self.rows[::2]
        self.stride *= 2
        self._file.seek(start + len(self.rows) * self._bytes)
        self._file.truncate()


Part = tuple[np.ndarray, Iterable[Any]]
"""Frames (m, H, W, 3) and, for each, what is known: degrees (F,) or truths by caption."""


def cached_store(
    folder: Path, name: str, size: int, most: int, make: Callable[[], Iterable[Part]], split: Split
) -> ArrayStore:
    """Return the frames that `make` yields, kept in `folder`; made only if they are not there yet.

    `split` tells the rows to train on and those held out from what is known of each row.
    Raises: OSError (disk full); what `make` raises.
    """
    folder.mkdir(exist_ok=True)
    path, done = folder / f"{name}.frames.npy", folder / f"{name}.json"
    if done.exists():
        known = json.loads(done.read_bytes())
        frames = np.load(path, mmap_mode="r")
    else:
        frames, known = _fill(path, size, most, make)
        replace_file(done, json.dumps(known, ensure_ascii=False).encode())  # last: it says that all is there
    train, held_out = split(known)
    if known and not isinstance(known[0], Mapping):
        return ArrayStore(name, frames, Known(degrees=np.array(known, np.float32)), train, held_out, size)
    return ArrayStore(name, frames, Known(captions=known), train, held_out, size)


def _fill(
    path: Path, size: int, most: int, make: Callable[[], Iterable[Part]]
) -> tuple[np.ndarray, list[Any]]:
    writer, known = FrameWriter(path, size, most), []
    try:
        for frames, about in make():
            writer.append(frames)
            known += [x if isinstance(x, Mapping) else [round(float(d), 4) for d in x] for x in about]
        frames = writer.close()
        if len(frames) < len(known):
            text = f"{path.name}: {len(known)} frames are more than {most}; one of {writer.stride} is kept"
            warnings.warn(f"{text} (raise --cache-gib for more)", stacklevel=2)
        return frames, [known[row] for row in writer.rows]
    except BaseException:
        writer.abort()
        raise
