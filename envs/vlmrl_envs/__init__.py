"""Worlds: bodies to name a goal for, each a Gymnasium env and a batched Gymnasium `VectorEnv`.

Folder, in the order data flows through it:

    rules.py        what a world is: model, spaces, start, success, samples, captions (pure functions of states)
    kinematics.py   full physics states -> positions of bodies and geoms, batched
    rendering/      full physics states -> uint8 frames (`warp` everywhere, `gl` where there is one)
    batched.py      N worlds on `mujoco.batch.Batch`: the `VectorEnv`
    single.py       one world: the `Env`
    world.py        the World protocol that `vlmrl` relies on
    cartpole/ mountain_car/ humanoid/    the worlds themselves

This package knows Gymnasium and MuJoCo and nothing of `vlmrl`.
"""

from __future__ import annotations

WORLDS = {"CartPole-v0": "cartpole", "MountainCar-v0": "mountain_car", "Humanoid-v0": "humanoid"}


def register_envs() -> None:
    """Register `vlmrl/CartPole-v0`, `vlmrl/MountainCar-v0` and `vlmrl/Humanoid-v0` with Gymnasium.

    Importing this package calls it: Gymnasium 1.x has no entry-point group for plugins any more. Without an import,
    `gymnasium.make("vlmrl_envs:vlmrl/CartPole-v0")` does the same.
    """
    from gymnasium.envs.registration import register, registry

    for name, folder in WORLDS.items():
        env_id = f"vlmrl/{name}"
        if env_id not in registry:
            register(
                id=env_id,
                entry_point=f"vlmrl_envs.{folder}:make_single",
                vector_entry_point=f"vlmrl_envs.{folder}:make_batched",
            )


register_envs()
