"""Samplers of pairs: uniform, by what an ensemble disagrees or is unsure about, by how different frames look, mixed.

Never a pair of identical frames, never the same two segments twice in one draw, and never without end: if the pool
holds too few segments that differ, a UsageError says so.

Source: Lee et al. 2021 (PEBBLE, section 4.2: uniform, ensemble-based, entropy-based sampling from a larger uniform
draw). Deviations: candidates are drawn without replacement, the entropy is of the ensemble's mean, visual gap is ours.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from vlmrl.errors import UsageError, usage_error
from vlmrl.preferences.formulas import sigmoid
from vlmrl.preferences.protocol import Pair
from vlmrl.preferences.segments import SegmentPool

Content = frozenset[str]
SCORED_AT_ONCE = 1024
"""Frames that a model is given at once."""


class Judge(Protocol):
    """What an active sampler asks: the learned reward, of embeddings or of frames.

    Attributes:
        segment_reads: "embeddings" or "frames".
    """

    segment_reads: Literal["embeddings", "frames"]

    def segment_returns(self, batch: np.ndarray) -> np.ndarray:
        """Return each member's returns, float (E, B), of segments (B, L, ...)."""
        ...


class PairSampler(ABC):
    """Draws pairs of different frames from a pool: a `Sampler`, or a `Mixture` of them."""

    @abstractmethod
    def available(
        self, pool: SegmentPool, count: int, rng: np.random.Generator, exclude: Iterable[Pair] = ()
    ) -> list[Pair]:
        """Return `count` pairs of different frames, none of them (in either order) among `exclude`.

        Fewer only where the pool holds no more. Raises: UsageError for what the sampler cannot work with, such as
        segments without embeddings.
        """

    def sample(
        self, pool: SegmentPool, count: int, rng: np.random.Generator, exclude: Iterable[Pair] = ()
    ) -> list[Pair]:
        """Return `count` pairs as `available` does. Raises: UsageError also if the pool holds fewer."""
        pairs = self.available(pool, count, rng, exclude)
        if len(pairs) < count:
            raise too_few(pool, len(pairs), count)
        return pairs


def too_few(pool: SegmentPool, found: int, count: int) -> UsageError:
    """Return the error of a pool that has `found` new pairs where `count` are wanted."""
    got = f"{found} new pairs of {len(_different(pool))} different segments ({len(pool)} in the pool)"
    remedy = "collect more steps, ask for fewer pairs, or lower the stride"
    return usage_error("pool", got, f"{count} pairs of different frames", remedy)


class Sampler(PairSampler):
    """Draw pairs of a pool's segments; subclasses say which of the candidates come first."""

    candidates: int = 1
    """Candidates drawn for each pair wanted."""

    def available(
        self, pool: SegmentPool, count: int, rng: np.random.Generator, exclude: Iterable[Pair] = ()
    ) -> list[Pair]:
        """Return `count` pairs, or as many as there are."""
        if count < 0:
            raise usage_error("count", count, "0 or more", "ask for as many pairs as you can label")
        taken: set[Content] = {content(pair) for pair in exclude}
        # As many to spare as excluded pairs are likely to come up: more candidates would make active samplers greedier.
        spare = min(len(taken), math.ceil(2 * count * len(taken) / max(len(pool) * (len(pool) - 1) // 2, 1)))
        pairs: list[Pair] = []
        places = np.arange(len(pool))
        self._extend(pairs, taken, pool, count, self._ranked(pool, places, count + spare, rng))
        if len(pairs) < count:
            # Too many looked alike: now among segments of which no two do, where every candidate is a new pair.
            places = _different(pool)
            wanted = count + len(taken)
            self._extend(pairs, taken, pool, count, self._ranked(pool, places, wanted, rng))
        return pairs

    def _ranked(
        self, pool: SegmentPool, places: np.ndarray, count: int, rng: np.random.Generator
    ) -> np.ndarray:
        drawn = draw_places(places, self.candidates * count, rng)
        return drawn[self.order(pool, drawn)] if len(drawn) else drawn

    def _extend(
        self, pairs: list[Pair], taken: set[Content], pool: SegmentPool, count: int, ranked: np.ndarray
    ) -> None:
        """Move ranked candidates (M, 2) that are new and differ into `pairs`, drawing no more than needed."""
        first = 0
        while len(pairs) < count and first < len(ranked):
            part = ranked[first : first + count - len(pairs)]
            first += len(part)
            keys = [[pool.known_key(int(i)) for i in row] for row in part]
            part = part[[a is None or a != b for a, b in keys]]
            segments = pool.draw(part.reshape(-1))
            for a, b in zip(segments[::2], segments[1::2], strict=True):
                if a.key != b.key and frozenset((a.key, b.key)) not in taken:
                    taken.add(frozenset((a.key, b.key)))
                    pairs.append(Pair(a, b))

    @abstractmethod
    def order(self, pool: SegmentPool, drawn: np.ndarray) -> np.ndarray:
        """Return the order, int (M,), in which candidates (M, 2) are taken; all of them appear in it."""


def content(pair: Pair) -> Content:
    """Return what a pair shows, whichever segment is first."""
    return frozenset((pair.first.key, pair.second.key))


def draw_places(places: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Draw `count` (or all) of the n(n-1)/2 pairs of n places without replacement, int (M, 2), in random order."""
    n = len(places)
    total = n * (n - 1) // 2
    chosen = rng.choice(total, size=min(count, total), replace=False) if total else np.zeros(0, np.int64)
    # Number m stands for the pair (i, j), j < i, with m = i (i - 1) / 2 + j.
    high = np.floor((1 + np.sqrt(1 + 8.0 * chosen)) / 2).astype(np.int64)
    high -= high * (high - 1) // 2 > chosen  # a square root that was rounded up
    low = chosen - high * (high - 1) // 2
    pairs = places[np.stack([high, low], axis=1)] if len(chosen) else np.zeros((0, 2), np.int64)
    turned = rng.random(len(pairs)) < 0.5
    pairs[turned] = pairs[turned, ::-1]
    return pairs


def _different(pool: SegmentPool) -> np.ndarray:
    """Return the places of segments no two of which show the same frames."""
    return np.array(sorted({key: place for place, key in enumerate(pool.keys())}.values()), np.int64)


@dataclass(frozen=True)
class Uniform(Sampler):
    """Every pair is equally likely."""

    candidates: int = 2
    """Candidates for each pair wanted: the spare ones take the place of pairs of equal frames."""

    def order(self, pool: SegmentPool, drawn: np.ndarray) -> np.ndarray:
        """Return candidates as they were drawn."""
        return np.arange(len(drawn))


@dataclass(frozen=True)
class Disagreement(Sampler):
    """First the pairs on which the members of an ensemble disagree most (standard deviation of P(first))."""

    judge: Judge
    """The learned reward."""
    candidates: int = 10
    """Candidates for each pair wanted."""

    def order(self, pool: SegmentPool, drawn: np.ndarray) -> np.ndarray:
        """Return candidates by falling disagreement."""
        return np.argsort(-probabilities(self.judge, pool, drawn).std(axis=0), kind="stable")


@dataclass(frozen=True)
class Entropy(Sampler):
    """First the pairs of which the ensemble's mean is least sure (P(first) nearest to a half)."""

    judge: Judge
    """The learned reward."""
    candidates: int = 10
    """Candidates for each pair wanted."""

    def order(self, pool: SegmentPool, drawn: np.ndarray) -> np.ndarray:
        """Return candidates by falling entropy, which falls with the distance of P(first) from a half."""
        return np.argsort(np.abs(probabilities(self.judge, pool, drawn).mean(axis=0) - 0.5), kind="stable")


@dataclass(frozen=True)
class VisualGap(Sampler):
    """Pairs at random among those that look different: their embeddings lie further apart than most candidates'."""

    quantile: float = 0.5
    """Share of candidates that are too alike, 0 to below 1; 0 is uniform."""
    candidates: int = 4
    """Candidates for each pair wanted."""

    def __post_init__(self) -> None:
        if not 0 <= self.quantile < 1:
            raise usage_error("quantile", self.quantile, "a number in [0, 1)", "0.5 takes the wider half")

    def order(self, pool: SegmentPool, drawn: np.ndarray) -> np.ndarray:
        """Return those far enough apart as they were drawn, then the others by falling distance."""
        gaps = visual_gaps(pool, drawn)
        wide = gaps >= np.quantile(gaps, self.quantile)
        return np.argsort(-np.where(wide, np.inf, gaps), kind="stable")


@dataclass(frozen=True)
class Mixture(PairSampler):
    """Shares of several samplers; what one has taken, the next leaves out."""

    parts: tuple[tuple[float, PairSampler], ...]
    """(share, sampler) pairs; shares are positive and need not add up to 1."""

    def __post_init__(self) -> None:
        if not self.parts or not all(np.isfinite(share) and share > 0 for share, _ in self.parts):
            got = [share for share, _ in self.parts]
            raise usage_error("shares", got, "positive numbers", "leave out a sampler that gets no share")

    def available(
        self, pool: SegmentPool, count: int, rng: np.random.Generator, exclude: Iterable[Pair] = ()
    ) -> list[Pair]:
        """Return `count` pairs, or as many as there are, in shares rounded to the largest remainders."""
        before, pairs = list(exclude), list[Pair]()
        for part, (_, sampler) in zip(split(count, [s for s, _ in self.parts]), self.parts, strict=True):
            pairs += sampler.available(pool, part, rng, [*before, *pairs])
        return [pairs[i] for i in rng.permutation(len(pairs))]


def split(count: int, shares: list[float]) -> list[int]:
    """Split `count` by shares into whole numbers that add up to it, by largest remainders."""
    exact = np.array(shares) / np.sum(shares) * count
    parts = np.floor(exact).astype(int)
    for i in np.argsort(-(exact - parts), kind="stable")[: count - parts.sum()]:
        parts[i] += 1
    return parts.tolist()


def probabilities(judge: Judge, pool: SegmentPool, drawn: np.ndarray) -> np.ndarray:
    """Return each member's P(first preferred), float (E, M), of candidates (M, 2); each segment is scored once."""
    places, rows = np.unique(drawn, return_inverse=True)
    each = max(1, SCORED_AT_ONCE // pool.config.length)
    parts = [
        judge.segment_returns(pool.batch(places[i : i + each].tolist(), judge.segment_reads))
        for i in range(0, len(places), each)
    ]
    returns = np.concatenate(parts, axis=1)
    first, second = rows.reshape(drawn.shape).T
    return sigmoid(returns[:, first] - returns[:, second])


def visual_gaps(pool: SegmentPool, drawn: np.ndarray) -> np.ndarray:
    """Return how far apart the mean embeddings of each candidate's segments are, float (M,), 0..2."""
    places, rows = np.unique(drawn, return_inverse=True)
    means = pool.embeddings(places.tolist()).mean(axis=1)
    first, second = rows.reshape(drawn.shape).T
    return np.linalg.norm(means[first] - means[second], axis=1)
