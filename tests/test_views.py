"""A reward that several cameras give: averaged, counted, refused where it cannot be."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fakes import FakeEncoder, RedReward

from vlmrl import training
from vlmrl.agents.config import PPOConfig
from vlmrl.errors import UsageError
from vlmrl.rewards.protocol import draws, frames_a_state
from vlmrl.rewards.views import ManyViews
from vlmrl.rollout import score_states
from vlmrl.runs import read_metrics
from vlmrl.tasks import Task, get_task
from vlmrl.training import TrainConfig, train

HUMANOID = replace(get_task("humanoid_kneeling"), goal=("red",), baseline=("blue",), horizon=4)
SMALL = PPOConfig(num_steps=4, num_epochs=1, num_minibatches=1, hidden_sizes=(8,))


class TwoSided:
    """A world whose frames are as red as the state's first number says, and half as red from behind."""

    def render_states(self, states: np.ndarray, camera: str | None = None) -> np.ndarray:
        light = states[:, 0] * {"front": 200, "back": 100}[str(camera)]
        return np.uint8(light[:, None, None, None] * np.ones((1, 8, 8, 1)) * [1, 0, 0])


def test_the_mean_over_cameras_is_the_reward_and_each_costs_a_frame() -> None:
    model = RedReward()
    reward = ManyViews(model, TwoSided(), ("front", "back"))
    states = np.array([[1.0, 7.0], [0.5, 7.0], [0.0, 7.0]])
    np.testing.assert_allclose(reward.compute_reward(states).numpy(), np.array([150, 75, 0]) / 255, rtol=1e-6)
    assert draws(reward) and frames_a_state(reward) == 2 and reward.reads == "states" and model.num_calls == 2
    assert (draws(model), frames_a_state(model), frames_a_state(None)) == (True, 1, 0)
    np.testing.assert_allclose(
        score_states(TwoSided(), reward, states), np.array([150, 75, 0]) / 255, rtol=1e-6
    )


@pytest.mark.parametrize("share", [None, 0.5])
def test_a_run_is_rewarded_by_the_cameras_it_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, share: float | None
) -> None:
    from vlmrl_envs.batched import BatchedWorld

    drawn: list[tuple[str | None, int]] = []

    def render(self, states, camera=None, size=None):
        drawn.append((camera, len(states)))
        return np.uint8(np.random.default_rng(0).integers(0, 255, (len(states), 8, 8, 3)))

    monkeypatch.setattr(BatchedWorld, "render_states", render)
    monkeypatch.setattr("vlmrl.encoders.load_encoder", lambda *_: FakeEncoder())
    config = TrainConfig(task=HUMANOID, agent=SMALL, num_envs=2, total_steps=16, views=("front", "track"), query_share=share,
                         out=tmp_path / "run")  # fmt: skip
    run = train(config)
    counts = {camera: sum(n for c, n in drawn if c == camera) for camera in ("front", "track")}
    assert counts["front"] == counts["track"] == (8 if share else 16) and len({c for c, _ in drawn}) == 2
    assert read_metrics(run.path)[-1]["frames_scored"] == 2 * counts["front"]
    assert training.load_run(run.path).config.views == ("front", "track")


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        (
            {"views": ("front", "moon")},
            r"views: got \['front', 'moon'\]; expected some of \['front', 'track'\]",
        ),
        (
            {"task": Task("stock", "CartPole-v1", ("red",), ("blue",), horizon=4), "views": ("a",)},
            "views: .*World",
        ),
        ({"reward": "constant"}, "views: got front, track with reward constant"),
        ({"labeller": "oracle"}, "views: got front, track with labeller oracle"),
    ],
)
def test_views_that_cannot_be_are_refused_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict, match: str
) -> None:
    monkeypatch.setattr("vlmrl.encoders.load_encoder", lambda *_: FakeEncoder())
    settings = {
        "task": HUMANOID,
        "agent": SMALL,
        "num_envs": 2,
        "total_steps": 16,
        "views": ("front", "track"),
    }
    with pytest.raises(UsageError, match=match):
        train(TrainConfig(**{**settings, "out": tmp_path / "run", **changes}))
    assert not (tmp_path / "run").exists()
