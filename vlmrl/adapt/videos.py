"""Videos as a source: decoded once, at a few frames a second, into the bounded cache."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np

from vlmrl.adapt.cache import Part, cached_store
from vlmrl.adapt.captions import VideoCaption, read_captions
from vlmrl.adapt.config import VideoSource
from vlmrl.adapt.pairs import ArrayStore, Known, split_tail
from vlmrl.errors import usage_error
from vlmrl.frames import Interpolation
from vlmrl.video import read_video

CLIP = "\n"
"""Key under which a cached row says which video it is of; no caption holds a line break."""


def open_videos(
    source: VideoSource,
    name: str,
    size: int,
    held_out: float,
    seed: int,
    cache: Path,
    most: int,
    check: Callable[[list[str]], None] = lambda texts: None,
    interpolation: Interpolation = "bicubic",
) -> ArrayStore:
    """Return the frames of a folder of videos, at most `most`, each with its captions.

    `check` refuses captions that the model cannot read, before anything is decoded. Frames that no caption
    covers are left out. Whole videos are held out where others have their captions, else the end of each.

    Raises: UsageError on an empty folder, captions and videos that do not pair, a video that cannot be read.
    """
    captions = read_captions(source.videos)
    check(list(dict.fromkeys(caption.text for rows in captions.values() for caption in rows)))

    def parts() -> Iterator[Part]:
        for clip, (path, rows) in enumerate(captions.items()):
            yield from _decode(path, rows, clip, source.fps)

    split = lambda known: split_clips(known, held_out, seed)  # noqa: E731
    store = cached_store(cache, name, size, most, parts, split, interpolation)
    if store.count < 1 or store.held_out < 1:
        got = f"{store.count + store.held_out} frames in {source.videos}"
        raise usage_error("videos", got, "two or more", "raise --fps, or add videos")
    known = [
        {text: truth for text, truth in row.items() if text != CLIP} for row in store.known.captions or ()
    ]
    return ArrayStore(name, store.frames, Known(captions=known), store.rows(False), store.rows(True), size)


def _decode(path: Path, rows: list[VideoCaption], clip: int, fps: float) -> Iterator[Part]:
    """Yield frames one by one, with the truths of the captions that hold at that time."""
    seconds, used = 0.0, set()
    for seconds, frame in read_video(path, fps):
        holding = [row for row in rows if row.start <= seconds + 1e-6 and seconds < row.end - 1e-6]
        if holding:
            used |= set(holding)
            yield frame[None], [{CLIP: float(clip), **{row.text: row.truth for row in holding}}]
    for row in rows:
        if row not in used:
            got = f"{row.text!r} from {row.start:g} to {row.end:g} s of {path}, which ends at {seconds:g} s"
            raise usage_error(
                "captions", got, f"a frame of it at {fps:g} a second", "correct it, or raise fps"
            )


def split_clips(
    known: list[Mapping[str, float]], held_out: float, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows to train on and those held out, about `held_out` of all.

    Frames of one video are much alike: so whole videos are held out, in an order that `seed` draws, as long as
    each of their captions stays with another. Where that gives none, the end of each video is held out.
    """
    rows: dict[int, list[int]] = {}
    texts: dict[int, set[str]] = {}
    for number, row in enumerate(known):
        clip = int(row[CLIP])
        rows.setdefault(clip, []).append(number)
        texts.setdefault(clip, set()).update(set(row) - {CLIP})
    left = Counter(text for of_clip in texts.values() for text in of_clip)
    out: list[int] = []
    for clip in np.random.default_rng([seed, len(rows)]).permutation(sorted(rows)).tolist():
        more = len(out) + len(rows[clip])
        # The first may be more than was asked for, as long as most frames stay.
        enough = more <= held_out * len(known) or (not out and more <= 0.5 * len(known))
        if enough and all(left[text] > 1 for text in texts[clip]):
            out += rows[clip]
            left.subtract(texts[clip])
    if not out:
        for mine in rows.values():
            if len(mine) > 1:
                out += np.array(mine)[split_tail(len(mine), held_out)[1]].tolist()
    is_out = np.zeros(len(known), bool)
    is_out[out] = True
    return np.flatnonzero(~is_out), np.flatnonzero(is_out)
