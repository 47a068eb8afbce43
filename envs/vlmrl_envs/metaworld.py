"""Three tasks of Meta-World, by the package itself: drawer-open, soccer, sweep-into, as RL-VLM-F uses them.

The package pins mujoco 3.3.0 and fails on MuJoCo 4 in one line: it writes eleven numbers into a weld's data, which hold
twelve since. Here those eleven are written, and the twelfth is left. Install it beside this project without its pin:

    pip install --no-deps "metaworld==3.1.1"

Frames are drawn by this project's ray tracer, with the robot left out unless asked for, as RL-VLM-F leaves it out. An env
is a plain Gymnasium env, not a World: its episodes move bodies of the model itself, which are no part of a state.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from vlmrl_envs.errors import world_error

TASKS = ("drawer-open", "soccer", "sweep-into")
EYE, AIM, LENS = np.array([0.32, 0.08, 0.62]), np.array([0.0, 0.79, 0.04]), 38.0
"""Our own camera, "task": where it is and what it looks at, metres, and its lens, degrees. It looks over the robot's place."""
PLACES = ("body_pos", "body_quat")
"""What of the model an episode's beginning moves."""
WELD = np.array([0.0, 0.0, 0.0, 0.0, 0.0, 0.0, -1.0, 0.0, 0.0, 0.0, 5.0])
"""What Meta-World writes into the weld between hand and mocap: anchor, relative pose, torque scale."""
ROBOT, CUBE = "base", (0.1, 0.75, 0.15, 1.0)
"""The body that carries the robot, and the colour that sweep-into's cube is drawn in: RL-VLM-F's is green, the package's brown."""


def weld_data(eq_data: np.ndarray, welds: np.ndarray) -> None:
    """Write Meta-World's eleven numbers into rows `welds` of eq_data (E, 11 or more), in place."""
    eq_data[welds, : len(WELD)] = WELD


def load(task: str) -> Any:
    """Return Meta-World's own env of a task, its goal observed, drawn anew at each reset from its own generator.

    Raises: `WorldError` for an unknown task, or where the package is not installed.
    """
    if task not in TASKS:
        raise world_error("task", repr(task), f"one of {list(TASKS)}", "pick one of these")
    try:
        from metaworld import sawyer_xyz_env
        from metaworld.env_dict import ALL_V3_ENVIRONMENTS
    except ImportError as error:
        raise world_error("metaworld", f"no such package ({error})", "metaworld 3.1.1 without its pin",
                          'pip install --no-deps "metaworld==3.1.1"') from error  # fmt: skip
    import mujoco

    def reset_mocap_welds(self: Any) -> None:
        if self.model.nmocap > 0:
            weld_data(self.model.eq_data, np.flatnonzero(self.model.eq_type == int(mujoco.mjtEq.mjEQ_WELD)))

    base: Any = sawyer_xyz_env.SawyerMocapBase
    base.reset_mocap_welds = reset_mocap_welds
    env = ALL_V3_ENVIRONMENTS[f"{task}-v3"]()
    env._partially_observable = False
    env.__dict__.pop("sawyer_observation_space", None)  # it was made, and kept, for the hidden goal
    env._freeze_rand_vec, env.seeded_rand_vec, env._set_task_called = False, True, True
    return env


class MetaWorld(gymnasium.Env):
    """One of Meta-World's tasks. Observation (39,): hand, gripper, object, the same a step before, goal (m).

    Action (4,): the hand's way (1 cm a step at most) and the gripper's force, -1..1. The reward is Meta-World's own over
    10, 0..1; info["progress"] is how near the object is to its target, -metres, as the reward also counts where the hand is,
    which no picture shows. Episodes end by truncation after `horizon` steps; an episode is a success if it is one at its last step.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 80}  # noqa: RUF012

    def __init__(
        self,
        task: str,
        *,
        horizon: int = 250,
        render_mode: str | None = None,
        render_size: tuple[int, int] = (64, 64),
        camera: str | None = None,
        show_robot: bool = False,
        render_device: str = "cpu",
    ) -> None:
        if not 1 <= horizon <= 500:
            raise world_error("horizon", horizon, "steps in 1..500", "leave it out for 250")
        if render_mode not in (None, "rgb_array"):
            raise world_error("render_mode", render_mode, "None or 'rgb_array'", "it draws arrays only")
        self.inner, self.horizon, self.render_mode = load(task), horizon, render_mode
        names = [self.inner.model.camera(i).name for i in range(self.inner.model.ncam)]
        self._camera = camera or "task"
        if self._camera not in ("task", *names):
            raise world_error("camera", camera, f"one of {['task', *names]}", "pick one of these")
        height, width = render_size
        self._look = (task, self._camera, show_robot, (height, width), render_device)
        self.task = task
        space = self.inner.sawyer_observation_space  # `observation_space` is still that of the hidden goal
        self.observation_space = spaces.Box(space.low, space.high, space.shape, np.float64)
        self.action_space = spaces.Box(-1.0, 1.0, (4,), np.float32)
        self._renderers: dict[int, Any] = {}
        self._return = 0.0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Start anew; the object's and the goal's places are drawn. Returns the observation (39,) and infos."""
        super().reset(seed=seed)
        self.inner.seed(int(self.np_random.integers(2**31)))
        self._return = 0.0
        return self._seen(self.inner.reset()[0]), {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Advance one step with an action (4,)."""
        if not np.isfinite(action).all():
            raise world_error("action", "non-finite numbers", "finite numbers", "look for NaN in the policy")
        observation, reward, _, _, inner = self.inner.step(np.clip(action, -1.0, 1.0).astype(np.float32))
        self._return += float(reward) / 10.0
        truncated = self.inner.curr_path_length >= self.horizon
        distance = float(inner["obj_to_target"])
        info: dict[str, Any] = {
            "success": bool(inner["success"]),
            "distance": distance,
            "progress": -distance,
        }
        if truncated:
            info |= {"is_success": info["success"], "env_return": self._return}
        return self._seen(observation), float(reward) / 10.0, False, truncated, info

    def render(self) -> np.ndarray | None:
        """Draw the current state: a frame (H, W, 3) uint8, or None without a render mode."""
        return None if self.render_mode is None else self.render_together([self])[0]

    @staticmethod
    def render_together(envs: Sequence[MetaWorld]) -> np.ndarray:
        """Draw the current states of envs of one task and look in one pass: frames (N, H, W, 3) uint8.

        Raises: `WorldError` for envs that differ in task, camera, size, robot or device.
        """
        first = envs[0]
        if any(env._look != first._look for env in envs):
            looks = sorted({str(env._look) for env in envs})
            raise world_error("envs", looks, "one task and look", "draw them one by one")
        own = {name: np.stack([getattr(env.inner.model, name) for env in envs]) for name in PLACES}
        return first._drawer(len(envs)).render(np.stack([env.inner.data.qpos for env in envs]), own)

    def _drawer(self, count: int) -> Any:
        from vlmrl_envs.rendering.warp import WarpRenderer

        if count not in self._renderers:
            task, name, show_robot, size, device = self._look
            drawn, camera = drawn_of(self.inner, task, name, show_robot)
            threads = min(count, len(os.sched_getaffinity(0)))
            self._renderers[count] = WarpRenderer(
                drawn, camera, size, device, threads, PLACES, batch=-(-count // threads)
            )
        return self._renderers[count]

    def close(self) -> None:
        """Free the renderers."""
        for renderer in self._renderers.values():
            renderer.close()
        self._renderers = {}

    def _seen(self, observation: np.ndarray) -> np.ndarray:
        space: Any = self.observation_space
        return np.asarray(np.clip(observation, space.low, space.high))


def drawn_of(inner: Any, task: str, camera: str, show_robot: bool = False) -> tuple[Any, str]:
    """Return a copy, only drawn, of the model of Meta-World's own env of a task, and the name that `camera` has in it.

    "task" takes the first camera's place. Without the robot, geoms of `ROBOT` and of all that it carries have alpha 0.
    Sweep-into's cube is green.
    """
    import copy

    import mujoco

    model = inner.model
    drawn, robot = copy.copy(model), {int(model.body(ROBOT).id)}
    if task == "sweep-into":
        cube = drawn.geom("objGeom").id
        drawn.geom_rgba[cube], drawn.geom_matid[cube] = CUBE, -1
    for body in range(model.nbody):
        if int(model.body_parentid[body]) in robot:
            robot.add(body)
    if not show_robot:
        hidden = np.isin(model.geom_bodyid, list(robot))
        drawn.geom_rgba[hidden, 3], drawn.geom_matid[hidden] = 0.0, -1
    if camera != "task":
        return drawn, camera
    back = (EYE - AIM) / np.linalg.norm(EYE - AIM)
    right = np.cross([0.0, 0.0, 1.0], back) / np.linalg.norm(np.cross([0.0, 0.0, 1.0], back))
    frame = np.stack([right, np.cross(back, right), back], axis=1)
    drawn.cam_pos[0], drawn.cam_fovy[0] = EYE, LENS
    mujoco.mju_mat2Quat(drawn.cam_quat[0], frame.ravel())
    return drawn, str(model.camera(0).name)
