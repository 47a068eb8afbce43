"""Embeddings of segments: their own where they have some, else their frames' by an encoder, in large batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from vlmrl.preferences.protocol import Segment

CHUNK = 4096
"""Frames put together for the encoder at once: 48 MiB at 64 px."""


def segment_embeddings(
    encoder: Any, segments: Sequence[Segment], *, use_own: bool = True
) -> list[np.ndarray]:
    """Return unit vectors float32 (L, D) of each segment's frames, in order; frames of one size go together.

    use_own: take a segment's own embeddings where it has some of `encoder.embedding_dim`; they must be of this encoder.
    Raises: UsageError for frames that the encoder cannot read.
    """
    dim = encoder.embedding_dim
    found: list[np.ndarray | None] = [
        s.embeddings if use_own and s.embeddings is not None and s.embeddings.shape[1:] == (dim,) else None
        for s in segments
    ]
    lacking = [place for place, embeddings in enumerate(found) if embeddings is None]
    for part in _chunks(segments, lacking):
        frames = np.concatenate([segments[place].frames for place in part])
        vectors = encoder.embed_images(frames).cpu().numpy()
        ends = np.cumsum([len(segments[place].frames) for place in part])[:-1]
        for place, rows in zip(part, np.split(vectors, ends), strict=True):
            found[place] = rows.copy()  # a view would keep the whole batch in memory
    return [np.asarray(embeddings, np.float32) for embeddings in found]


def _chunks(segments: Sequence[Segment], places: list[int]) -> Iterator[list[int]]:
    """Group places of segments of one frame size, about `CHUNK` frames in a group."""
    part: list[int] = []
    count = 0
    for place in sorted(places, key=lambda place: segments[place].frames.shape[1:]):
        shape = segments[place].frames.shape
        if part and (count + shape[0] > CHUNK or segments[part[0]].frames.shape[1:] != shape[1:]):
            yield part
            part, count = [], 0
        part.append(place)
        count += shape[0]
    if part:
        yield part
