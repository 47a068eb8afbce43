"""What the stable-baselines3 experiments share: small stock frames, conditions, evaluation, results.

Conditions, same agent and same number of steps each:

    vlm             the goal-baseline reward of the encoder
    constant        the same reward for every frame; needs no frames, so none are drawn
    random-encoder  the goal-baseline reward of the same architecture with random weights
    swapped-goal    goal and baseline exchanged
    true            1 where the success check holds, 0 elsewhere: the ceiling; draws no frames
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from PIL import Image

from experiments import summary
from experiments.aggregate import mean_interval
from experiments.common import RESULTS, Book, provenance
from experiments.weights import SEES, fingerprint, identity
from vlmrl.runtime import limit_threads, without_display
from vlmrl.tasks import CLASSIC_ALPHA

CONDITIONS = ("vlm", "constant", "random-encoder", "swapped-goal", "true")


@dataclass(frozen=True)
class Setting:
    """One experiment."""

    name: str
    """Name of the results file."""
    make_env: Callable[[], gymnasium.Env]
    """Makes the env, stock renderer, without a reward model."""
    goal: str
    """What the agent shall bring about."""
    baseline: str
    """The world in neutral words."""
    success: Callable[[Any], bool]
    """Judges the unwrapped env after a step, from its physics alone."""
    make_model: Callable[[Any, int], Any]
    """Makes the stable-baselines3 agent from a VecEnv and a seed."""
    total_steps: int
    """Env steps of training."""
    horizon: int
    """Steps of a training episode; it ends by truncation only."""
    eval_horizon: int
    """Steps of an evaluation episode."""
    judged_from: int = 0
    """First step of an evaluation episode that counts, from 0."""
    num_envs: int = 16
    """Envs stepped, and frames scored, at once."""
    gamma: float = 0.98
    """Discount, also of the reward normalisation."""
    normalise_reward: bool = True
    """Divide rewards by the running spread of their discounted sums; off for agents that keep old rewards."""
    alpha: float = CLASSIC_ALPHA
    """Strength of the goal-baseline projection."""
    num_episodes: int = 100
    """Evaluation episodes."""
    passing: float = 0.95
    """Share of the judged steps that counts as passed."""


class SmallFrames(gymnasium.Wrapper):
    """Give an env's frames as size x size, squashed by antialiased bicubic interpolation as encoders do.

    Reading a 600 x 400 pygame screen costs Gymnasium three times its drawing, so that screen is shrunk before
    it is read: a quarter of the time, pixels 0.14 of 255 off on average and 7 at most.
    """

    def __init__(self, env: gymnasium.Env, size: int) -> None:
        super().__init__(env)
        self.size = size

    def render(self) -> Any:
        """Draw the env as it draws itself, then shrink."""
        with _small_screens(self.size):
            frame: Any = self.env.render()
        if frame.shape[:2] != (self.size, self.size):
            frame = np.asarray(_shrink(Image.fromarray(frame), self.size))
        return frame


def _shrink(image: Image.Image, size: int) -> Image.Image:
    return image.resize((size, size), Image.Resampling.BICUBIC, reducing_gap=3.0)


@contextmanager
def _small_screens(size: int) -> Iterator[None]:
    """Let pygame's `pixels3d` return a shrunk copy (size, size, 3) for a while."""
    import pygame

    stock = pygame.surfarray.pixels3d

    def small(screen: Any) -> np.ndarray:
        if screen.get_masks()[:3] != (0xFF0000, 0xFF00, 0xFF):
            return stock(screen)  # not stored as BGRX bytes, which is what follows
        pixels = pygame.surfarray.pixels2d(screen).T
        image = Image.frombuffer("RGBX", screen.get_size(), pixels, "raw", "RGBX", 0, 1)
        return np.asarray(_shrink(image, size))[..., 2::-1].transpose(1, 0, 2)

    pygame.surfarray.pixels3d = small  # type: ignore[assignment]
    try:
        yield
    finally:
        pygame.surfarray.pixels3d = stock


class Judged(gymnasium.Wrapper):
    """Put the success check into info["success"]; with reward set, make it or a constant 1 the reward."""

    def __init__(self, env: gymnasium.Env, success: Callable[[Any], bool], reward: str = "") -> None:
        super().__init__(env)
        self._success, self._reward = success, reward

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Step and judge."""
        obs, reward, terminated, truncated, info = self.env.step(action)
        info["success"] = bool(self._success(self.env.unwrapped))
        if self._reward:
            reward = float(info["success"]) if self._reward == "true" else 1.0
        return obs, reward, terminated, truncated, info


def train_envs(setting: Setting, condition: str, encoder_name: str, seed: int) -> Any:
    """Return the VecEnv of a condition."""
    from stable_baselines3.common.vec_env import DummyVecEnv, VecMonitor

    from vlmrl.horizon import FixedHorizon
    from vlmrl.sb3 import VLMVecEnv

    if condition in ("constant", "true"):

        def make() -> gymnasium.Env:
            return Judged(FixedHorizon(setting.make_env(), setting.horizon), setting.success, condition)

        return VecMonitor(DummyVecEnv([make] * setting.num_envs))
    reward_model = make_reward(setting, condition, encoder_name, seed)
    size = reward_model.encoder.image_size

    def make_drawn() -> gymnasium.Env:
        return SmallFrames(Judged(setting.make_env(), setting.success), size)

    return VLMVecEnv([make_drawn] * setting.num_envs, reward_model, fixed_horizon=setting.horizon)


def make_reward(setting: Setting, condition: str, encoder_name: str, seed: int) -> Any:
    """Return the reward model of a condition that reads frames."""
    from vlmrl.encoders import load_encoder
    from vlmrl.rewards import GoalBaselineReward, random_encoder_reward, swapped_goal

    if condition == "random-encoder":
        return random_encoder_reward(setting.goal, setting.baseline, setting.alpha, seed=seed)
    reward = GoalBaselineReward(load_encoder(encoder_name), setting.goal, setting.baseline, setting.alpha)
    return swapped_goal(reward) if condition == "swapped-goal" else reward


def evaluate(setting: Setting, model: Any, seed: int) -> np.ndarray:
    """Play the evaluation episodes, all at once and deterministically; return success, bool (T, N)."""
    from stable_baselines3.common.vec_env import DummyVecEnv

    from vlmrl.horizon import FixedHorizon

    def make() -> gymnasium.Env:
        return Judged(FixedHorizon(setting.make_env(), setting.eval_horizon), setting.success)

    envs = DummyVecEnv([make] * setting.num_episodes)
    envs.seed(seed)
    obs = envs.reset()
    success = np.zeros((setting.eval_horizon, setting.num_episodes), bool)
    for step in range(setting.eval_horizon):
        obs, _, _, infos = envs.step(model.predict(obs, deterministic=True)[0])
        success[step] = [info["success"] for info in infos]
    envs.close()
    return success


def run(setting: Setting, condition: str, seed: int, encoder_name: str = "embedded") -> dict[str, Any]:
    """Train and evaluate one condition with one seed; return its record. The last policy is judged."""
    from stable_baselines3.common.vec_env import VecNormalize

    sees = condition.replace("-", "_") in SEES
    known = {"weights": fingerprint(encoder_name) if sees else None, **provenance()}
    envs = train_envs(setting, condition, encoder_name, seed)
    if setting.normalise_reward:
        envs = VecNormalize(envs, norm_obs=False, norm_reward=True, gamma=setting.gamma)
    model = setting.make_model(envs, seed)
    start = time.time()
    model.learn(setting.total_steps)
    train_seconds = time.time() - start
    recent = [episode["r"] / episode["l"] for episode in model.ep_info_buffer]
    envs.close()
    shares = evaluate(setting, model, seed=10_000 + 1000 * seed)[setting.judged_from :].mean(axis=0)
    low, high = mean_interval(shares, seed)
    return {
        "condition": condition,
        "seed": seed,
        "share_of_steps": round(float(shares.mean()), 4),
        "interval_95": [round(low, 4), round(high, 4)],
        "episodes_passed": round(float((shares >= setting.passing).mean()), 4),
        "reward_per_step": round(float(np.mean(recent)), 5),
        "train_seconds": round(train_seconds, 1),
        "total_steps": setting.total_steps,
        "horizon": setting.horizon,
        "episodes": [setting.num_episodes, setting.eval_horizon, setting.judged_from],
        "prompts": [setting.goal, setting.baseline, setting.alpha],
        "encoder": encoder_name if sees else condition,
        "alpha": setting.alpha,
        **known,
    }


def main(setting: Setting) -> None:
    """Run the conditions and seeds asked for, skipping those in the results file."""
    parser = argparse.ArgumentParser(description=f"{setting.name}: {setting.goal!r}, stable-baselines3")
    parser.add_argument("--reward", nargs="+", choices=CONDITIONS, default=["vlm"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--encoder", default="embedded", help="see vlmrl.load_encoder")
    parser.add_argument("--results", type=Path, default=RESULTS / f"{setting.name}.json")
    parser.add_argument("--json", action="store_true", help="print the records as JSON")
    args = parser.parse_args()
    limit_threads()
    without_display()
    book = Book(args.results)
    for condition in args.reward:
        for seed in args.seeds:
            known = identity(condition.replace("-", "_"), args.encoder, setting.alpha)
            if not book.has(condition=condition, seed=seed, **known):
                row = run(setting, condition, seed, args.encoder)
                book.add(row, condition=condition, seed=seed, encoder=row["encoder"])
                if args.results.parent == RESULTS:
                    summary.write()
            wanted = {"condition": condition, "seed": seed, **known}
            record = next(r for r in book.rows if wanted.items() <= r.items())
            print(json.dumps(record) if args.json else line(record), flush=True)


def line(record: dict[str, Any]) -> str:
    """Return a record as one line of text."""
    low, high = record["interval_95"]
    return (
        f"{record['condition']:>14} seed {record['seed']}: success in {record['share_of_steps']:.1%} of steps "
        f"[{low:.1%}, {high:.1%}], {record['episodes_passed']:.0%} of episodes passed, "
        f"reward {record['reward_per_step']:.4f} a step, trained {record['train_seconds']:.0f} s"
    )


def stock(env_id: str, wrap: Callable[[gymnasium.Env], gymnasium.Env] | None = None) -> Callable[[], Any]:
    """Return a function that makes a stock env with rgb_array frames, in wrap if given."""

    def make() -> gymnasium.Env:
        env = gymnasium.make(env_id, render_mode="rgb_array", disable_env_checker=True)
        return env if wrap is None else wrap(env)

    return partial(make)
