"""The whole side loop on a real world with the embedded encoder: segments, pairs, labels, store, fit, relabel."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import gymnasium
import numpy as np
import pytest

from vlmrl.encoders import load_encoder
from vlmrl.preferences import (
    Disagreement,
    EmbeddingRing,
    EncoderLabeller,
    Mixture,
    OracleLabeller,
    PoolConfig,
    PreferenceConfig,
    PreferenceReward,
    PreferenceStore,
    Question,
    RoutedLabeller,
    SegmentPool,
    Uniform,
    VisualGap,
    gather,
)
from vlmrl.preferences.fitting import FitConfig
from vlmrl.rollout import score_states
from vlmrl.tasks import get_task

TASK = get_task("cartpole")
QUESTION = Question(TASK.goal[0], TASK.baseline[0])


def test_two_stages_on_cartpole(tmp_path: Path):
    envs = gymnasium.make_vec(
        "vlmrl_envs:vlmrl/CartPole-v0", num_envs=4, vectorization_mode="vector_entry_point", horizon=20
    )
    world, encoder, rng = envs.unwrapped, load_encoder("embedded", "cpu"), np.random.default_rng(0)
    pool = SegmentPool(PoolConfig(length=2, every=2, stride=2), world.render_states)
    envs.action_space.seed(0)
    envs.reset(seed=0)
    rows = []
    for _ in range(40):
        _, rewards, _, truncated, infos = envs.step(envs.action_space.sample())
        rows.append((infos["states_before_reset"], truncated, rewards))
    states, ends, progress = (np.stack(column) for column in zip(*rows, strict=True))
    embeddings = encoder.embed_images(world.render_states(states.reshape(-1, states.shape[-1]))).numpy()
    embeddings = embeddings.reshape(*states.shape[:2], -1)
    pool.add(ends, states=states, embeddings=embeddings, progress=progress)

    reward = PreferenceReward(encoder, PreferenceConfig(fit=FitConfig(max_epochs=30)))
    labeller = RoutedLabeller(EncoderLabeller(encoder), OracleLabeller())
    with PreferenceStore(tmp_path / "preferences.sqlite") as store:
        first = gather(pool, Mixture(((1, Uniform()), (1, VisualGap()))), store, labeller, QUESTION, 60, rng)
        reward.fit(first.answered, pool=embeddings.reshape(-1, embeddings.shape[-1]))
        second = gather(
            pool,
            Disagreement(reward),
            store,
            labeller,
            QUESTION,
            20,
            rng,
            exclude=[p for p, _ in first.answered],
        )
        report = reward.fit(store.answered(QUESTION), pool=embeddings.reshape(-1, embeddings.shape[-1]))
        assert report.answers == first.asked + second.asked == 80
        assert 0 < labeller.report.share < 1 and report.training_result.accuracy > 0.8

    ring, buffer = EmbeddingRing(40, 4, encoder.embedding_dim), np.zeros((40, 4), np.float32)
    for row in embeddings:
        ring.add(row)
    assert ring.relabel(reward, buffer) == 160
    drawn = score_states(world, reward, states.reshape(-1, states.shape[-1]))
    np.testing.assert_allclose(
        buffer.reshape(-1), drawn, atol=0.05
    )  # float16, and half precision in the encoder
    assert np.corrcoef(buffer.reshape(-1), progress.reshape(-1))[0, 1] > 0.5
    assert drawn.mean() == pytest.approx(0, abs=0.02) and drawn.std() == pytest.approx(1, abs=0.02)
    envs.close()


def test_asking_and_keeping_need_no_torch():
    code = """import sys
from vlmrl.preferences import Uniform, SegmentPool, PreferenceStore, OracleLabeller, RoutedLabeller, gather, export_jsonl
print([m for m in ("torch", "jax", "mujoco", "open_clip") if m in sys.modules])"""
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_every_public_name_is_there():
    from vlmrl import preferences

    for name in preferences.__all__:
        assert getattr(preferences, name) is not None
    with pytest.raises(AttributeError):
        preferences.nothing  # noqa: B018
