"""N worlds stepped at once on `mujoco.batch.Batch`, as a Gymnasium `VectorEnv`."""

from __future__ import annotations

from typing import Any

import mujoco
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from mujoco.batch import Batch

from vlmrl_envs.errors import world_error
from vlmrl_envs.rendering import Renderer, make_renderer
from vlmrl_envs.rules import Caption, WorldRules
from vlmrl_envs.visible import View

_WARNING = mujoco.mjtWarning
BAD_STATE = [int(w) for w in (_WARNING.mjWARN_BADQPOS, _WARNING.mjWARN_BADQVEL, _WARNING.mjWARN_BADQACC)]


class BatchedWorld(VectorEnv):
    """N copies of one world; implements `vlmrl_envs.world.World`.

    Episodes last `horizon` steps and end by truncation only. World i draws its starts from its own generator,
    seeded `seed + i`, so world i of a batch and a single world seeded `seed + i` live the same life.

    Args:
        rules: the world.
        num_envs: number of worlds N.
        horizon: env steps in an episode; None takes the world's own.
        render_mode: None or "rgb_array".
        render_size: (height, width) of frames, pixels.
        camera: name of the default camera; None takes the world's first.
        renderer: "warp" (everywhere) or "gl" (classic renderer, needs EGL or OSMesa).
        render_device: "cpu" or "cuda[:i]", for `warp`.
        autoreset_mode: when an ended world starts anew: the step it ends (default), the next, or by `reset_mask`.
        num_threads: physics and rendering threads; 0 takes every core.
    """

    def __init__(
        self,
        rules: WorldRules,
        num_envs: int = 1,
        *,
        horizon: int | None = None,
        render_mode: str | None = None,
        render_size: tuple[int, int] = (64, 64),
        camera: str | None = None,
        renderer: str = "warp",
        render_device: str = "cpu",
        autoreset_mode: AutoresetMode | str = AutoresetMode.SAME_STEP,
        num_threads: int = 0,
    ) -> None:
        if num_envs < 1:
            raise world_error("num_envs", num_envs, "an integer >= 1", "ask for at least one world")
        if horizon is not None and horizon < 1:
            raise world_error(
                "horizon", horizon, "an integer >= 1", "leave it out for the world's own horizon"
            )
        if render_mode not in (None, "rgb_array"):
            raise world_error("render_mode", render_mode, "None or 'rgb_array'", "worlds draw arrays only")
        if camera is not None and camera not in rules.cameras:
            raise world_error("camera", camera, f"one of {list(rules.cameras)}", "pick one of these")
        self.rules = rules
        self.hold = rules.hold
        self.num_envs = num_envs
        self.horizon = horizon or rules.horizon
        self.render_mode = render_mode
        self.render_size = (int(render_size[0]), int(render_size[1]))
        self.camera = camera or rules.cameras[0]
        self.autoreset_mode = AutoresetMode(autoreset_mode)
        self.metadata = {
            "render_modes": ["rgb_array"],
            "render_fps": round(1 / rules.dt),
            "autoreset_mode": self.autoreset_mode,
        }
        self.single_observation_space = rules.observation_space
        self.single_action_space = rules.action_space
        self.observation_space = batch_space(rules.observation_space, num_envs)
        self.action_space = batch_space(rules.action_space, num_envs)
        self._batch = Batch(rules.driven, num_envs, nthread=num_threads)
        self._renderer_args = (renderer, render_device, num_threads)
        self._renderers: dict[tuple[str, tuple[int, int]], Renderer] = {}
        self._view: View | None = None
        self._rngs = [np.random.default_rng(i) for i in range(num_envs)]
        self._ended = np.ones(num_envs, bool)
        self._steps = np.zeros(num_envs, int)
        self._returns = np.zeros(num_envs)
        self._history = np.zeros((self.horizon, num_envs), bool)

    # -- Gymnasium ---------------------------------------------------------------------------------------------

    def reset(
        self, *, seed: int | list[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Start worlds anew: all, or those of options["reset_mask"]; returns observations (N, O) and infos.

        options["elapsed"] (N,) sets the ages, in steps, at which episodes begin, so that they end at different times.
        """
        seeds = [seed + i for i in range(self.num_envs)] if isinstance(seed, int | np.integer) else seed
        for i, value in enumerate(seeds or []):
            if value is not None:
                self._rngs[i] = np.random.default_rng(value)
        mask = (options or {}).get("reset_mask", np.ones(self.num_envs, bool))
        self._start(np.flatnonzero(mask))
        if "elapsed" in (options or {}):
            self._steps[:] = np.clip((options or {})["elapsed"], 0, self.horizon - 1)
            self._history[:] = False
        states = self.get_states()
        return self.rules.observe(states), {"states_before_reset": states}

    def step(
        self, actions: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Advance every world one env step with actions (N, A) in [-1, 1].

        The reward is the world's own graded progress. infos carries `success` (N,), `states_before_reset` (N, S) and,
        where an episode ended, `is_success`, `env_return` (in `final_info` under SAME_STEP) and `final_obs`.
        """
        late = self.autoreset_mode == AutoresetMode.NEXT_STEP
        asleep = self._ended.copy() if late else np.zeros(self.num_envs, bool)
        if self.autoreset_mode == AutoresetMode.DISABLED and self._ended.any():
            raise world_error("step", f"ended worlds {np.flatnonzero(self._ended).tolist()}", "running worlds",
                              "call reset(options={'reset_mask': ended}) first")  # fmt: skip
        diverged = self._advance(np.asarray(actions, np.float64), ~asleep)
        if asleep.any():
            self._start(np.flatnonzero(asleep))
        states = self.get_states()
        rewards = np.where(asleep | diverged, 0.0, self.rules.env_reward(states))
        success = self.rules.success(states) & ~asleep & ~diverged
        awake = np.flatnonzero(~asleep)
        self._history[np.minimum(self._steps[awake], self.horizon - 1), awake] = success[awake]
        self._steps[awake] += 1
        self._returns[awake] += rewards[awake]
        truncated = ((self._steps >= self.horizon) | diverged) & ~asleep
        infos: dict[str, Any] = {"success": success, "states_before_reset": states}
        if diverged.any():
            infos["diverged"] = diverged
        observations = self.rules.observe(states)
        self._ended = truncated.copy()
        if truncated.any():
            observations = self._finish(truncated, observations, infos)
        return observations, rewards, np.zeros(self.num_envs, bool), truncated, infos

    def render(self) -> tuple[np.ndarray, ...] | None:
        """Draw the current state of every world: N frames (H, W, 3) uint8, or None without a render mode."""
        return None if self.render_mode is None else tuple(self.render_states(self.get_states()))

    def close_extras(self, **kwargs: Any) -> None:
        """Free the renderers."""
        for renderer in self._renderers.values():
            renderer.close()
        self._renderers.clear()

    # -- World -------------------------------------------------------------------------------------------------

    def get_states(self) -> np.ndarray:
        """Return the full physics states, float64 (N, S)."""
        time = self._batch.bind("time")[:, None]
        return np.concatenate([time, self._batch.bind("qpos"), self._batch.bind("qvel")], axis=1)

    def set_states(self, states: np.ndarray) -> None:
        """Set the full physics states, float64 (N, S); the episode's step count stays as it is.

        Raises: `WorldError` for another shape or values that are not finite.
        """
        states = np.asarray(states, np.float64)
        expected = (self.num_envs, self.rules.state_size)
        if states.shape != expected:
            raise world_error("states", states.shape, f"shape {expected}", "pass rows of get_states()")
        if not np.isfinite(states).all():
            rows = np.flatnonzero(~np.isfinite(states).all(axis=1))
            raise world_error(
                "states", f"non-finite rows {rows[:5].tolist()}", "finite numbers", "drop these rows"
            )
        qpos, qvel = self.rules.split(states)
        self._batch.bind("time")[:] = states[:, 0]
        self._batch.bind("qpos")[:] = qpos
        self._batch.bind("qvel")[:] = qvel

    def render_states(
        self, states: np.ndarray, camera: str | None = None, size: tuple[int, int] | None = None
    ) -> np.ndarray:
        """Draw states (B, S) as uint8 frames (B, H, W, 3) through a camera, at size (H, W) pixels."""
        camera, size = camera or self.camera, size or self.render_size
        if camera not in self.rules.cameras:
            raise world_error("camera", camera, f"one of {list(self.rules.cameras)}", "pick one of these")
        key = (camera, (int(size[0]), int(size[1])))
        if key not in self._renderers:
            name, device, threads = self._renderer_args
            self._renderers[key] = make_renderer(name, self.rules.model, camera, size, device, threads)
        return self._renderers[key].render(self.rules.split(np.asarray(states))[0])

    def visible_features(self, states: np.ndarray) -> np.ndarray:
        """Return what a frame of the default camera can show of states (B, S), float32 (B, F); see `View.features`."""
        return self._seen().features(self.rules.split(np.asarray(states))[0])

    def in_view(self, states: np.ndarray) -> np.ndarray:
        """Tell on which states (B, S) the default camera sees most of what moves, bool (B,); nothing is drawn."""
        return self._seen().in_view(self.rules.split(np.asarray(states))[0])

    def success(self, states: np.ndarray) -> np.ndarray:
        """Tell on which states (B, S) the goal holds, bool (B,)."""
        return self.rules.success(states)

    def similarity(self, states: np.ndarray) -> np.ndarray:
        """Return how true the goal's words are of states (B, S), float (B,) in 0..1, from the physics."""
        return self.rules.similarity(states)

    def sample_states(self, rng: np.random.Generator, n: int) -> np.ndarray:
        """Draw n varied states (n, S)."""
        return self.rules.sample_states(rng, n)

    def describe(self, state: np.ndarray) -> list[Caption]:
        """Write graded captions of one state (S,)."""
        return self.rules.describe(state)

    # -- Resumable ---------------------------------------------------------------------------------------------

    def snapshot(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Return all that the future depends on besides the actions: arrays by name, and the generators' states."""
        arrays = {"states": self.get_states(), "ended": self._ended, "steps": self._steps,
                  "returns": self._returns, "history": self._history}  # fmt: skip
        copies = {name: array.copy() for name, array in arrays.items()}
        return copies, {"generators": [rng.bit_generator.state for rng in self._rngs]}

    def load_snapshot(self, arrays: dict[str, np.ndarray], values: dict[str, Any]) -> np.ndarray:
        """Take a `snapshot` of as many worlds and the same horizon over; return the observations (N, O) of now.

        Raises: `WorldError` for a snapshot of other worlds.
        """
        if arrays["history"].shape != self._history.shape:
            shape = self._history.shape
            raise world_error("snapshot", f"horizon and worlds {arrays['history'].shape}", f"{shape}",
                              "make the worlds as they were made")  # fmt: skip
        self.set_states(arrays["states"])
        self._ended, self._steps = arrays["ended"].astype(bool), arrays["steps"].astype(int)
        self._returns, self._history = arrays["returns"].copy(), arrays["history"].astype(bool)
        for rng, state in zip(self._rngs, values["generators"], strict=True):
            rng.bit_generator.state = state
        return self.rules.observe(self.get_states())

    # -- inside ------------------------------------------------------------------------------------------------

    def _seen(self) -> View:
        if self._view is None:
            self._view = View(self.rules.model, self.camera, self.render_size, self._renderer_args[2])
        return self._view

    def _advance(self, actions: np.ndarray, awake: np.ndarray) -> np.ndarray:
        """Step the awake worlds; return which diverged (N,)."""
        if not np.isfinite(actions).all():
            rows = np.flatnonzero(~np.isfinite(actions).reshape(self.num_envs, -1).all(axis=1))
            raise world_error("actions", f"non-finite in worlds {rows[:5].tolist()}", "finite numbers",
                              "look for NaN in the policy")  # fmt: skip
        self._batch.bind("ctrl")[:] = self.rules.drive(np.clip(actions, -1.0, 1.0))
        self._batch.warning[:] = 0
        ids = None if awake.all() else np.flatnonzero(awake)
        if ids is None or len(ids):
            self._batch.step(ids=ids, nstep=self.rules.frame_skip)
        return (self._batch.warning[:, BAD_STATE, 1] > 0).any(axis=1)

    def _start(self, worlds: np.ndarray) -> None:
        states = self.get_states()
        for i in worlds:
            states[i] = self.rules.start(self._rngs[i])
        self.set_states(states)
        self._ended[worlds] = False
        self._steps[worlds] = 0
        self._returns[worlds] = 0.0

    def _finish(self, ended: np.ndarray, observations: np.ndarray, infos: dict[str, Any]) -> np.ndarray:
        """Report ended episodes in infos and, under SAME_STEP, start the worlds anew; return observations (N, O)."""
        verdict = np.zeros(self.num_envs, bool)
        broken = infos.get("diverged", np.zeros(self.num_envs, bool))  # physics that broke down is no success
        for i in np.flatnonzero(ended & ~broken):
            verdict[i] = self.hold.judge(self._history[: self._steps[i], i : i + 1])[0]
        end = {
            "is_success": verdict,
            "_is_success": ended.copy(),
            "env_return": np.where(ended, self._returns, 0.0),
            "_env_return": ended.copy(),
        }
        if self.autoreset_mode != AutoresetMode.SAME_STEP:
            infos.update(end)
            return observations
        final = np.full(self.num_envs, None, object)
        for i in np.flatnonzero(ended):
            final[i] = observations[i]
        infos |= {
            "final_obs": final,
            "_final_obs": ended.copy(),
            "final_info": end,
            "_final_info": ended.copy(),
        }
        self._start(np.flatnonzero(ended))
        return np.where(ended[:, None], self.rules.observe(self.get_states()), observations)
