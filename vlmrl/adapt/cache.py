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
from vlmrl.checkpoints import clean_up, replace_file
from vlmrl.frames import Interpolation

PART = ".part"
FRAMES, DEGREES, CAPTIONS = ".frames.npy", ".degrees.npy", ".captions.json"
"""What the names of frames end in, and of what is known of them."""
Split = Callable[[Any], tuple[np.ndarray, np.ndarray]]


def frame_budget(cache_gib: float, sources: int, size: int) -> int:
    """Return how many frames of `size` pixels each of `sources` may keep, at least 64."""
    return max(64, int(cache_gib * 2**30 / max(sources, 1) / (3 * size * size)))


class FrameWriter:
    """Writes frames to a .npy file, at most `most` of them: when it is full, every second one is dropped.

    Plain writes and not a memory map: on a full disk a map kills the process, a write raises OSError.
    """

    def __init__(self, path: Path, size: int, most: int, interpolation: Interpolation = "bicubic") -> None:
        """Begin the file at `path` for frames uint8 (size, size, 3); it gets its name on `close`."""
        self.path, self.size, self.most = path, size, most
        self.interpolation: Interpolation = interpolation
        self.rows: list[int] = []
        """Which of the frames given are kept, by their place."""
        self.known: list[Any] = []
        """What is known of each frame that is kept."""
        self.given = 0
        """How many frames there were."""
        self.stride = 1
        """Of so many frames one is kept."""
        self._bytes = 3 * size * size
        self._file = open(path.with_name(path.name + PART), "wb+")  # noqa: SIM115
        self._file.write(self._header())

    def append(self, frames: np.ndarray, known: Iterable[Any]) -> None:
        """Add frames uint8 (m, H, W, 3), squashed to the file's size, and what is known of each."""
        for frame, about in zip(fit_square(frames, self.size, self.interpolation), known, strict=True):
            if self.given % self.stride == 0:
                if len(self.rows) == self.most:
                    self._halve()
                if self.given % self.stride == 0:
                    self._file.write(np.ascontiguousarray(frame).data)
                    self.rows.append(self.given)
                    # A row of degrees is copied: it would keep alive all that it was computed with.
                    self.known.append(about if isinstance(about, Mapping) else np.array(about, np.float32))
            self.given += 1

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
        self.rows, self.known = self.rows[::2], self.known[::2]
        self.stride *= 2
        self._file.seek(start + len(self.rows) * self._bytes)
        self._file.truncate()


Part = tuple[np.ndarray, Iterable[Any]]
"""Frames (m, H, W, 3) and, for each, what is known: degrees (F,) or truths by caption."""


def cached_store(
    folder: Path, name: str, size: int, most: int, make: Callable[[], Iterable[Part]], split: Split,
    interpolation: Interpolation = "bicubic",
) -> ArrayStore:  # fmt: skip
    """Return the frames that `make` yields, kept in `folder`; made only if they are not there yet.

    `split` tells the rows to train on and those held out from what is known of each row.
    Raises: OSError (disk full); what `make` raises.
    """
    folder.mkdir(exist_ok=True)
    clean_up(folder)
    path, degrees, captions = (folder / f"{name}{end}" for end in (FRAMES, DEGREES, CAPTIONS))
    if degrees.exists():
        frames, known = np.load(path, mmap_mode="r"), Known(degrees=np.load(degrees))
    elif captions.exists():
        frames, known = np.load(path, mmap_mode="r"), Known(captions=json.loads(captions.read_bytes()))
    else:
        writer = FrameWriter(path, size, most, interpolation)
        frames, known = _fill(writer, make)
        # Last: it says that all is there.
        if known.degrees is not None:
            data = io.BytesIO()
            np.save(data, known.degrees)
            replace_file(degrees, data.getvalue())
        else:
            replace_file(captions, json.dumps(known.captions, ensure_ascii=False).encode())
    train, held_out = split(known.captions if known.degrees is None else known.degrees)
    return ArrayStore(name, frames, known, train, held_out, size)


def _fill(writer: FrameWriter, make: Callable[[], Iterable[Part]]) -> tuple[np.ndarray, Known]:
    try:
        for part, about in make():
            writer.append(part, about)
        frames = writer.close()
    except BaseException:
        writer.abort()
        raise
    if writer.stride > 1:
        text = f"{writer.path.name}: {writer.given} frames are more than {writer.most}"
        warnings.warn(f"{text}; one of {writer.stride} is kept (raise --cache-gib for more)", stacklevel=2)
    if writer.known and not isinstance(writer.known[0], Mapping):
        return frames, Known(degrees=np.stack(writer.known))
    return frames, Known(captions=writer.known)
