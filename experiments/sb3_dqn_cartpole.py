"""The CartPole-v1 of `sb3_ppo_cartpole_v1` with stable-baselines3's DQN, VLM-RM's agent for this task.

.venv/bin/python -m experiments.sb3_dqn_cartpole --seeds 0 --reward vlm constant
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from experiments.sb3_common import main
from experiments.sb3_ppo_cartpole_v1 import SETTING as PPO_SETTING


def make_dqn(envs: Any, seed: int) -> Any:
    """Return stable-baselines3's DQN; after every 256 env steps it learns from 128 batches."""
    from stable_baselines3 import DQN

    return DQN(
        "MlpPolicy",
        envs,
        learning_rate=2.3e-3,
        batch_size=64,
        buffer_size=100_000,
        learning_starts=1000,
        gamma=SETTING.gamma,
        train_freq=256 // SETTING.num_envs,
        gradient_steps=128,
        target_update_interval=256,
        exploration_fraction=0.3,
        exploration_final_eps=0.04,
        policy_kwargs={"net_arch": [256, 256]},
        seed=seed,
        device="cpu",
    )


SETTING = replace(
    PPO_SETTING,
    name="sb3_dqn_cartpole",
    make_model=make_dqn,
    total_steps=60_000,
    horizon=200,
    normalise_reward=False,
)

if __name__ == "__main__":
    main(SETTING)
