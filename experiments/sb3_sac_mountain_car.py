"""MountainCarContinuous-v0 of Gymnasium itself from a sentence: stock renderer, stable-baselines3's SAC.

    .venv/bin/python -m experiments.sb3_sac_mountain_car --seeds 0 --reward vlm constant

The env ends an episode at the flag, which would punish arriving under any positive reward; with a fixed horizon
the car can stay there and be rewarded for it. Judged: the share of steps 200 to 299 at the flag (position >=
0.45), 100 episodes of 300 steps, last policy.
"""

from __future__ import annotations

from typing import Any

from experiments.sb3_common import Setting, main, stock


def at_flag(env: Any) -> bool:
    """Tell whether the car has reached the flag."""
    return bool(env.state[0] >= env.goal_position)


def make_sac(envs: Any, seed: int) -> Any:
    """Return stable-baselines3's SAC, exploring by state: the car must first swing away from the flag."""
    from stable_baselines3 import SAC

    return SAC(
        "MlpPolicy",
        envs,
        learning_rate=1e-3,
        batch_size=256,
        learning_starts=1000,
        gamma=SETTING.gamma,
        tau=0.01,
        ent_coef=0.02,
        train_freq=32,
        gradient_steps=128,
        use_sde=True,
        policy_kwargs={"net_arch": [64, 64], "log_std_init": -2.0},
        seed=seed,
        device="cpu",
    )


SETTING = Setting(
    name="sb3_sac_mountain_car",
    make_env=stock("MountainCarContinuous-v0"),
    goal="a car at the peak of the mountain, next to the yellow flag",
    baseline="a car in the mountain",
    success=at_flag,
    make_model=make_sac,
    total_steps=60_000,
    horizon=200,
    eval_horizon=300,
    judged_from=200,
    gamma=0.99,
    normalise_reward=False,
)

if __name__ == "__main__":
    main(SETTING)
