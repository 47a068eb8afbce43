"""Segments of rollouts and pairs of them: never across an episode's end, never identical, never without end."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from fakes import FakeEncoder, FakeWorld
from hypothesis import given, settings
from hypothesis import strategies as st

from vlmrl.errors import UsageError
from vlmrl.preferences.samplers import (
    Disagreement,
    Entropy,
    Mixture,
    Uniform,
    VisualGap,
    content,
    draw_places,
    probabilities,
    split,
)  # fmt: skip
from vlmrl.preferences.segments import CHUNK, PoolConfig, SegmentPool, segment_starts

SAMPLERS = [Uniform(), VisualGap(), Mixture(((1, Uniform()), (1, VisualGap())))]


def rollout(num_steps: int, num_envs: int = 2, horizon: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """Return states (T, N, 3) of a `FakeWorld`, which say (tag, episode, step), and where episodes ended (T, N)."""
    world = FakeWorld(num_envs, horizon)
    world.reset()
    states, ends = [], []
    for _ in range(num_steps):
        _, _, _, ended, infos = world.step(np.zeros((num_envs, 1)))
        states.append(infos["states_before_reset"])
        ends.append(ended)
    return np.stack(states), np.stack(ends)


def world_pool(num_steps: int = 20, config: PoolConfig | None = None, embed: bool = True) -> SegmentPool:
    states, ends = rollout(num_steps)
    pool = SegmentPool(config, FakeWorld().render_states)
    pool.add(ends, states=states, progress=states[..., 2])
    if embed:
        pool.embed(FakeEncoder())
    return pool


def reds_pool(reds: list[int], side: int = 8) -> SegmentPool:
    """Return a pool of one-frame segments of one colour each, with embeddings by angle."""
    frames = np.zeros((len(reds), 1, side, side, 3), np.uint8)
    frames[..., 0] = np.array(reds)[:, None, None, None]
    angles = np.array(reds)[:, None] / 255
    pool = SegmentPool(PoolConfig())
    pool.add(
        np.zeros((len(reds), 1), bool),
        frames=frames,
        embeddings=np.stack([np.cos(angles), np.sin(angles)], -1),
    )
    return pool


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 12),
    st.integers(1, 3),
    st.integers(1, 4),
    st.integers(1, 3),
    st.integers(1, 4),
    st.integers(0, 99),
)
def test_segments_are_all_those_that_cross_no_end_and_no_invalid_row(
    steps, envs, length, every, stride, seed
):
    rng = np.random.default_rng(seed)
    ends, valid = rng.random((steps, envs)) < 0.3, rng.random((steps, envs)) < 0.8
    span = (length - 1) * every
    expected = [
        (t, n)
        for t in range(0, steps - span, stride)
        for n in range(envs)
        if not ends[t : t + span, n].any() and valid[t : t + span + 1, n].all()
    ]
    assert [tuple(row) for row in segment_starts(ends, valid, length, every, stride)] == expected


def test_a_segment_holds_consecutive_moments_of_one_episode():
    pool = world_pool(20, PoolConfig(length=2, every=2, capacity=100))
    for segment in pool.draw(range(len(pool))):
        tag, episode, step = segment.states.T
        assert (tag[0], episode[0], step[0] + 2) == (tag[1], episode[1], step[1])
        assert (segment.frames[:, 0, 0] == segment.states).all()
        assert (segment.progress == step).all()
        assert segment.embeddings.shape == (2, 4)


def test_frames_are_drawn_late_in_chunks_and_not_kept():
    states, ends = rollout(1500, 2)
    drawn: list[int] = []

    def render(rows: np.ndarray) -> np.ndarray:
        drawn.append(len(rows))
        return FakeWorld().render_states(rows)

    pool = SegmentPool(PoolConfig(capacity=5000), render)
    pool.add(ends, states=states)
    assert drawn == []
    pool.draw([0, 0, 1])
    assert drawn == [2]
    pool.keys()
    assert drawn[1:] == [CHUNK, 3000 - 2 - CHUNK]
    assert all(entry.frames is None for entry in pool._entries)
    assert all(entry.states.base is None for entry in pool._entries), "a view keeps the whole rollout"
    pool.keys()
    assert len(drawn) == 3


@pytest.mark.parametrize("keep", ["recent", "uniform"])
def test_the_pool_is_bounded(keep):
    states, ends = rollout(40, 2, horizon=40)
    pool = SegmentPool(PoolConfig(capacity=16, keep=keep, per_rollout=10), FakeWorld().render_states, seed=1)
    for first in range(0, 40, 10):
        assert pool.add(ends[first : first + 10], states=states[first : first + 10]) == 10
    steps = np.array([s.states[0, 2] for s in pool.draw(range(16))])
    assert len(pool) == 16 and pool.seen == 40
    assert (steps > 20).all() if keep == "recent" else (steps <= 20).any()


def test_the_pool_refuses_what_it_cannot_draw_or_read():
    states, ends = rollout(4)
    frames = np.zeros((4, 2, 8, 8, 3), np.uint8)
    for arguments, match in (
        ({}, "rollout: got no frames and states"),
        ({"states": states}, "that nothing can draw"),
        ({"frames": frames / 255}, r"frames: got float64.*uint8"),
        ({"frames": frames, "progress": np.zeros(4)}, r"progress: got shape \(4,\)"),
        ({"frames": frames, "valid": np.ones(3, bool)}, "valid: got shape"),
        ({"frames": frames, "progress": np.full((4, 2), np.nan)}, "not finite at step 0, world 0"),
    ):
        with pytest.raises(UsageError, match=match):
            SegmentPool().add(ends, **arguments)
    with pytest.raises(UsageError, match="ends: got shape"):
        SegmentPool().add(ends[0], frames=frames)
    invalid = np.zeros((4, 2), bool)
    assert SegmentPool().add(ends, frames=frames, progress=np.full((4, 2), np.nan), valid=invalid) == 0
    with pytest.raises(UsageError, match="segments without embeddings"):
        world_pool(embed=False).embeddings([0])
    for name in ("length", "every", "stride", "capacity", "per_rollout"):
        with pytest.raises(UsageError, match=name):
            PoolConfig(**{name: 0})
    with pytest.raises(UsageError, match="keep"):
        PoolConfig(keep="all")


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 60), st.integers(0, 2000), st.integers(0, 99))
def test_places_are_drawn_without_replacement(n, count, seed):
    places = np.arange(n) * 3
    pairs = draw_places(places, count, np.random.default_rng(seed))
    assert pairs.shape == (min(count, n * (n - 1) // 2), 2)
    assert (pairs[:, 0] != pairs[:, 1]).all() and np.isin(pairs, places).all()
    assert len({frozenset(row) for row in pairs.tolist()}) == len(pairs)


def test_places_far_out_are_numbered_rightly():
    pairs = draw_places(np.arange(100_000), 2000, np.random.default_rng(0))
    assert (pairs[:, 0] != pairs[:, 1]).all() and pairs.min() >= 0 and pairs.max() < 100_000
    assert abs(pairs.mean() - 50_000) < 2000 and abs((pairs[:, 0] > pairs[:, 1]).mean() - 0.5) < 0.05


@pytest.mark.parametrize("sampler", SAMPLERS, ids=lambda s: type(s).__name__)
def test_samplers_return_different_pairs_of_different_frames_and_repeat(sampler):
    pool = world_pool(40)
    pairs = sampler.sample(pool, 30, np.random.default_rng(0))
    assert len(pairs) == 30 == len({content(p) for p in pairs})
    assert all(p.first.key != p.second.key and p.first.embeddings is not None for p in pairs)
    again = sampler.sample(world_pool(40), 30, np.random.default_rng(0))
    assert [p.key for p in again] == [p.key for p in pairs]
    assert not {content(p) for p in sampler.sample(pool, 30, np.random.default_rng(0), pairs)} & {
        content(p) for p in pairs
    }
    assert sampler.sample(pool, 0, np.random.default_rng(0)) == []


@pytest.mark.parametrize("sampler", SAMPLERS, ids=lambda s: type(s).__name__)
def test_no_pair_of_identical_frames_though_nearly_all_are(sampler):
    pool = reds_pool([7] * 300 + [8, 9])
    pairs = sampler.sample(pool, 3, np.random.default_rng(0))
    assert {content(p) for p in pairs} == {
        content(p) for p in Uniform().sample(pool, 3, np.random.default_rng(5))
    }
    with pytest.raises(
        UsageError, match=r"pool: got .* of 3 different segments \(302 in the pool\).*expected"
    ):
        sampler.sample(pool, 4, np.random.default_rng(0))


@pytest.mark.parametrize("sampler", SAMPLERS, ids=lambda s: type(s).__name__)
@pytest.mark.parametrize("reds", [[], [7], [7] * 50])
def test_a_pool_without_two_different_segments_is_an_error_and_no_hang(sampler, reds):
    pool = reds_pool(reds) if reds else SegmentPool()
    with pytest.raises(UsageError, match="0 new pairs of"):
        sampler.sample(pool, 2, np.random.default_rng(0))


def test_the_visual_gap_keeps_to_the_wider_half():
    pool = reds_pool(list(range(0, 200, 2)))
    wide = VisualGap(quantile=0.75).sample(pool, 40, np.random.default_rng(0))
    uniform = Uniform().sample(pool, 40, np.random.default_rng(0))
    gaps = [
        [abs(int(p.first.frames.mean() * 3) - int(p.second.frames.mean() * 3)) for p in s]
        for s in (wide, uniform)
    ]
    assert min(gaps[0]) > np.median(gaps[1])
    with pytest.raises(UsageError, match="quantile"):
        VisualGap(quantile=1.0)


class FakeJudge:
    """Two members: one rewards red, the other red up to 100 only; of frames or of embeddings."""

    def __init__(self, reads: str) -> None:
        self.segment_reads = reads
        self.scored = 0

    def segment_returns(self, batch: np.ndarray) -> np.ndarray:
        self.scored += len(batch)
        if self.segment_reads == "frames":
            assert batch.dtype == np.uint8 and batch.ndim == 5
            red = batch[:, :, 0, 0, 0].astype(float).sum(axis=1)
        else:
            red = np.arctan2(batch[..., 1], batch[..., 0]).sum(axis=1) * 255
        return np.stack([red, np.minimum(red, 100)]) / 20


@pytest.mark.parametrize("reads", ["embeddings", "frames"])
def test_active_samplers_work_on_images_as_on_embeddings(reads):
    """RL-VLM-F's active sampling unpacks 4 of 6 values and fails with images."""
    pool, judge = reds_pool(list(range(0, 250, 2))), FakeJudge(reads)
    torn = Disagreement(judge).sample(pool, 20, np.random.default_rng(0))
    reds = np.array([[p.first.frames[0, 0, 0, 0], p.second.frames[0, 0, 0, 0]] for p in torn]).astype(int)
    assert (reds.max(axis=1) > 100).all() and judge.scored <= len(pool)
    near = Entropy(judge).sample(pool, 20, np.random.default_rng(0))
    reds = np.array([[p.first.frames[0, 0, 0, 0], p.second.frames[0, 0, 0, 0]] for p in near]).astype(int)
    assert np.abs(reds[:, 0] - reds[:, 1]).max() < 40


def test_probabilities_are_bradley_terrys():
    pool = reds_pool([0, 20, 120])
    p = probabilities(FakeJudge("frames"), pool, np.array([[1, 0], [0, 1], [2, 1]]))
    assert p.shape == (2, 3)
    assert p[0].tolist() == pytest.approx([0.731059, 0.268941, 0.993307], abs=1e-5)  # sigmoid of 1, -1, 5
    assert p[1, 2] == pytest.approx(0.982014, abs=1e-5)  # sigmoid of 4


def test_a_mixture_keeps_its_shares():
    assert (
        split(10, [1, 1, 1]) == [4, 3, 3]
        and split(7, [0.5, 0.25, 0.25]) == [3, 2, 2]
        and split(0, [1]) == [0]
    )
    for shares in ((), ((0.0, Uniform()),), ((float("nan"), Uniform()),)):
        with pytest.raises(UsageError, match="shares"):
            Mixture(shares)
    pool = reds_pool(list(range(0, 200, 2)))
    mixed = Mixture(((3, Entropy(FakeJudge("frames"))), (1, VisualGap(0.9)))).sample(
        pool, 40, np.random.default_rng(0)
    )
    gaps = np.array([abs(int(p.first.frames[0, 0, 0, 0]) - int(p.second.frames[0, 0, 0, 0])) for p in mixed])
    assert (gaps < 50).sum() == 30 and (gaps > 100).sum() == 10


def test_the_encoder_of_the_pool_sees_each_frame_once():
    encoder = FakeEncoder()
    pool = world_pool(20, embed=False)
    assert pool.embed(encoder) == len(pool) == encoder.num_frames
    assert pool.embed(encoder) == 0
    assert torch.allclose(
        torch.from_numpy(pool.embeddings([3])[0]), encoder.embed_images(pool.draw([3])[0].frames), atol=1e-6
    )
