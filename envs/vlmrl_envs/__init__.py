"""Worlds: bodies to name a goal for, each a Gymnasium env and a batched Gymnasium `VectorEnv`.

Folder, in the order data flows through it:

    rules.py        what a world is: model, spaces, start, success, samples, captions (pure functions of states)
    kinematics.py   full physics states -> positions of bodies and geoms, batched
    parts.py        states -> named points of a body; margins.py: limits on them, which a goal is made of
    posing.py       bodies put on the floor and let go
    stock.py        Gymnasium's own bodies in a scene of this project
    goal_world.py   a world with several goals; leg_world.py: one with legs, made from a small declaration
    soft.py         a lit table and driven slides; soft_world.py: what the rope, the cloth and the water have in common
    rendering/      full physics states -> uint8 frames (`warp` everywhere, `gl` where there is one)
    batched.py      N worlds on `mujoco.batch.Batch`: the `VectorEnv`
    single.py       one world: the `Env`
    world.py        the World protocol that `vlmrl` relies on
    making.py       the makers that Gymnasium's registration calls
    cartpole/ mountain_car/ humanoid/ ant/ half_cheetah/ hopper/ walker2d/ reacher/ pendulum/    the worlds themselves
    straighten_rope/ fold_cloth/ pass_water/    re-creations of SoftGym's tasks that RL-VLM-F uses
    metaworld.py    three tasks of Meta-World, if its package is installed; plain envs, no Worlds
    metaworld_scenes.py    where their drawer, ball and cube can be, and what can be said of it
    rewording.py    the same said in other words, by rule

This package knows Gymnasium and MuJoCo and nothing of `vlmrl`.
"""

from __future__ import annotations

WORLDS = {
    "CartPole-v0": "cartpole", "MountainCar-v0": "mountain_car", "Humanoid-v0": "humanoid",
    "Ant-v0": "ant", "HalfCheetah-v0": "half_cheetah", "Hopper-v0": "hopper", "Walker2d-v0": "walker2d",
    "Reacher-v0": "reacher", "Pendulum-v0": "pendulum",
    "StraightenRope-v0": "straighten_rope", "FoldCloth-v0": "fold_cloth", "PassWater-v0": "pass_water",
}  # fmt: skip
"""World -> its folder; nothing is loaded before one is made."""
METAWORLD = {
    "MetaWorldDrawerOpen-v0": "drawer-open", "MetaWorldSoccer-v0": "soccer", "MetaWorldSweepInto-v0": "sweep-into",
}  # fmt: skip
"""Env -> its task; they need the package metaworld, see `vlmrl_envs.metaworld`."""


def register_envs() -> None:
    """Register every world as `vlmrl/<name>` with Gymnasium.

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
    for name, task in METAWORLD.items():
        if f"vlmrl/{name}" not in registry:
            register(id=f"vlmrl/{name}", entry_point="vlmrl_envs.metaworld:MetaWorld", kwargs={"task": task})


register_envs()
