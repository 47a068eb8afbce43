"""CartPole-v1 of Gymnasium itself from a sentence: stock renderer, wrapper, stable-baselines3's PPO.

    .venv/bin/python -m experiments.sb3_ppo_cartpole_v1 --seeds 0 1 2 \
        --reward vlm constant random-encoder swapped-goal true

Early termination is suppressed everywhere (`fixed_horizon`), so the length of life says nothing: a training
episode is 100 steps, whatever happens, and an evaluation episode 500. Training at 500 works less well for a plain
reason: an untrained pole falls within 25 steps, so 95% of the frames would show a fallen one. The agent sees the
stock observation with the angle wrapped to one turn and all four numbers clipped, since a cart that is no longer
stopped by termination leaves the screen by hundreds of units. Judged: the share of steps with the pole within 12
degrees of upright, 100 episodes of 500 steps, last policy, never chosen by success.
"""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium.wrappers import TransformObservation

from experiments.sb3_common import Setting, main, stock

LIMIT = np.array([4.8, 5.0, np.pi, 5.0], np.float32)
UPRIGHT = np.deg2rad(12.0)


def wrap_angle(angle: Any) -> Any:
    """Return an angle in radians as one in [-pi, pi)."""
    return (angle + np.pi) % (2 * np.pi) - np.pi


def bounded(env: gymnasium.Env) -> gymnasium.Env:
    """Wrap the observed angle and clip the observation (4,) to LIMIT."""

    def bound(obs: np.ndarray) -> np.ndarray:
        obs = obs.copy()
        obs[2] = wrap_angle(obs[2])
        return np.clip(obs, -LIMIT, LIMIT)

    return TransformObservation(env, bound, gymnasium.spaces.Box(-LIMIT, LIMIT))


def upright(env: Any) -> bool:
    """Tell whether the pole is within 12 degrees of upright."""
    return bool(abs(wrap_angle(env.state[2])) <= UPRIGHT)


def make_ppo(envs: Any, seed: int) -> Any:
    """Return stable-baselines3's PPO with settings for short episodes."""
    from stable_baselines3 import PPO

    return PPO(
        "MlpPolicy",
        envs,
        n_steps=64,
        batch_size=256,
        n_epochs=10,
        gamma=SETTING.gamma,
        gae_lambda=0.9,
        learning_rate=lambda left: 1e-3 * left,
        seed=seed,
        device="cpu",
    )


SETTING = Setting(
    name="sb3_cartpole_v1",
    make_env=stock("CartPole-v1", bounded),
    goal="pole vertically upright on top of the cart",
    baseline="pole and cart",
    success=upright,
    make_model=make_ppo,
    total_steps=120_000,
    horizon=100,
    eval_horizon=500,
)

if __name__ == "__main__":
    main(SETTING)
