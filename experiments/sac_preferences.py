"""stable-baselines3's SAC on a reward learned from preferences, for worlds that are plain environments: Meta-World's.

`experiments.preferences` calls it. Settings are PEBBLE's and RL-VLM-F's for Meta-World where two cores allow: smaller
networks and batches, eight environments at once. A run that was stopped goes on from its last checkpoint.

`repeat` holds each action for so many environment steps (Gymnasium's `RepeatAction`; RL-VLM-F holds none, and 1 is the
default): the agent decides, is drawn and is updated that many times less, and explores as much further for it. Steps of
settings and rows are environment steps whatever it is.
"""

from __future__ import annotations

import json
import shutil
import time
from copy import deepcopy
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium import Env
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from gymnasium.wrappers import RepeatAction
from stable_baselines3 import SAC
from stable_baselines3.common.callbacks import BaseCallback

from experiments.common import known_before
from experiments.load import Load
from experiments.settings import agree
from experiments.settings import settings_of as settings_of_ppo
from vlmrl.checkpoints import replace_file
from vlmrl.configs import to_plain
from vlmrl.encoders import load_encoder
from vlmrl.evaluation import run_episodes
from vlmrl.making import make_env
from vlmrl.preferring import make_learner
from vlmrl.runs import METRICS, read_metrics
from vlmrl.runtime import limit_threads, without_display
from vlmrl.sb3 import VLMVecEnv
from vlmrl.sb3_preferences import EmbeddingReplayBuffer, FrameRewards, learn
from vlmrl.train_config import TrainConfig

NUM_ENVS, EXPLORE, ROW_EVERY, CHECKPOINT_EVERY = 8, 10_000, 5_000, 25_000
JUDGED_AT_ONCE = 20
"""Environments of Meta-World that are judged side by side: each holds a model of its own."""
SETTINGS: dict[str, Any] = {
    "learning_rate": 3e-4, "batch_size": 256, "gamma": 0.99, "tau": 0.005, "ent_coef": "auto_0.1", "learning_starts": 1000,
    "train_freq": 1, "gradient_steps": NUM_ENVS, "policy_kwargs": {"net_arch": [256, 256, 256]},
}  # fmt: skip


def make_held(config: TrainConfig, repeat: int) -> Env:
    """Return an environment of a run's task that holds each action for `repeat` steps."""
    env = make_env(config.task, config.task.horizon)
    return env if repeat == 1 else RepeatAction(env, repeat)


def make_sac(config: TrainConfig, folder: Path, repeat: int = 1) -> tuple[SAC, FrameRewards]:
    """Return the agent of a run's settings, and what rewards it; both count decisions."""
    encoder = load_encoder(config.encoder)
    assert config.labeller is not None
    asked = replace(config.preferences, every=max(1, config.preferences.every // repeat))
    learner = make_learner(config.labeller, asked, config.task, encoder, folder, config.seed)
    frames = FrameRewards(learner)
    envs = VLMVecEnv([partial(make_held, config, repeat)] * NUM_ENVS, frames)
    model = SAC("MlpPolicy", envs, buffer_size=config.total_steps // repeat, replay_buffer_class=EmbeddingReplayBuffer,
                replay_buffer_kwargs={"frames": frames}, seed=config.seed, device="cpu",
                **deepcopy(SETTINGS))  # SAC writes into policy_kwargs  # fmt: skip
    return model, frames


class Diary(BaseCallback):
    """Appends a line to the run's metrics now and then: steps, seconds, recent success, what was asked and how it went."""

    def __init__(self, frames: FrameRewards, folder: Path, repeat: int = 1) -> None:
        super().__init__()
        self.frames, self.file, self.repeat = frames, folder / METRICS, repeat
        self.started, self.before = time.perf_counter(), seconds_of(folder)
        self._written = 0

    def _on_training_start(self) -> None:
        """Take out lines from after the checkpoint that the run goes on from."""
        reached = self.num_timesteps * self.repeat
        rows = [row for row in read_metrics(self.file.parent) if row["global_step"] <= reached]
        replace_file(self.file, "".join(json.dumps(row) + "\n" for row in rows).encode())
        self._written = self.num_timesteps

    def _on_step(self) -> bool:
        return True

    def _on_rollout_end(self) -> None:
        if self.num_timesteps - self._written >= ROW_EVERY:  # after the stage that may be due now
            self.write()

    def _on_training_end(self) -> None:
        if self.num_timesteps > self._written:
            self.write()

    def write(self) -> None:
        """Append a line of now."""
        self._written = self.num_timesteps
        episodes, wins = self.model.ep_info_buffer or (), self.model.ep_success_buffer or ()
        lengths = sum(episode["l"] for episode in episodes)
        row = {
            "global_step": self.num_timesteps * self.repeat,
            "seconds": round(self.before + time.perf_counter() - self.started, 1),
            "success": float(np.mean(wins)) if wins else None,
            "vlm_reward": sum(episode["r"] for episode in episodes) / lengths if lengths else None,
            **{f"learned/{name}": value for name, value in self.frames.learner.metrics().items()},
        }
        with self.file.open("a") as file:
            file.write(json.dumps(row) + "\n")


def seconds_of(folder: Path) -> float:
    """Return how long the sittings so far took that wrote a run's metrics."""
    return max((row["seconds"] for row in read_metrics(folder)), default=0.0)


class Policy:
    """A SAC that acts for `vlmrl.evaluation`."""

    def __init__(self, model: SAC) -> None:
        self.model = model

    def act(self, obs: np.ndarray, deterministic: bool = True) -> np.ndarray:
        """Return actions (N, A) for observations (N, O)."""
        return self.model.predict(obs, deterministic=deterministic)[0]


def judge(config: TrainConfig, model: SAC, episodes: int, repeat: int = 1) -> float:
    """Return the share of fresh episodes that end in success, by the world's own check."""
    verdicts: list[bool] = []
    while len(verdicts) < episodes:
        count = min(JUDGED_AT_ONCE, episodes - len(verdicts))
        makers = [partial(make_held, config, repeat)] * count
        envs = SyncVectorEnv(makers, autoreset_mode=AutoresetMode.SAME_STEP)
        try:
            found = run_episodes(Policy(model), envs, seed=10_000 + 1000 * config.seed + len(verdicts))
        finally:
            envs.close()
        verdicts += found["verdicts"].tolist()
    return float(np.mean(verdicts))


def settings_of(config: TrainConfig, repeat: int = 1) -> dict[str, Any]:
    """Return what decides a run, as `experiments.settings.settings_of`, but with SAC in the place of PPO.

    Its arguments are a list: to `agree`, one that only one of two lists holds is a difference.
    """
    held = {"action_repeat": repeat} if repeat != 1 else {}
    given = {**SETTINGS, "explore": EXPLORE, **held}
    arguments = [[name, to_plain(value)] for name, value in sorted(given.items())]
    return {**settings_of_ppo(config), "agent": {"name": "SAC", "arguments": arguments}, "num_envs": NUM_ENVS}


def open_folder(config: TrainConfig, weights: str | None, repeat: int = 1) -> Path:
    """Return the run's folder, `config.out`; what other settings or weights left there goes first."""
    assert config.out is not None
    who = {"labeller": config.labeller, "encoder": config.encoder, "weights": weights, "seed": config.seed}
    known = {**who, "settings": settings_of(config, repeat)}
    file = config.out / "sac.json"
    began = json.loads(file.read_bytes()) if file.is_file() else {}
    if not (began.keys() >= known.keys() and agree(began, known)):
        shutil.rmtree(config.out, ignore_errors=True)
        config.out.mkdir(parents=True)
        replace_file(file, json.dumps(known, indent=1).encode())
    return config.out


def run_one(config: TrainConfig, episodes: int, repeat: int = 1) -> dict[str, Any]:
    """Train to the end and judge the last policy; return the row, as `experiments.common.run_one` does."""
    limit_threads()
    without_display()
    known = known_before(config)
    folder = open_folder(config, known["weights"], repeat)
    load = Load()
    model, frames = make_sac(config, folder, repeat)
    diary = Diary(frames, folder, repeat)
    learn(model, frames, config.total_steps // repeat, explore=EXPLORE // repeat, checkpoint_every=CHECKPOINT_EVERY,
          callback=diary)  # fmt: skip
    burden = load.row()
    model.get_env().close()  # type: ignore[union-attr]
    return {
        **known, "settings": settings_of(config, repeat), "agent": {"name": "SAC", **SETTINGS, "action_repeat": repeat},
        "env_steps": model.num_timesteps * repeat, "frames_scored": model.num_timesteps, "wall_seconds": seconds_of(folder), **burden,
        "success": {str(config.task.horizon): judge(config, model, episodes, repeat)}, "episodes": episodes,
    }  # fmt: skip
