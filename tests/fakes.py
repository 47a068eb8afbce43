"""Small stand-ins for encoders, reward models, envs and worlds: deterministic, offline, fast."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from vlmrl_envs.rules import Caption, HoldRule

COLOURS = {"red": (1.0, 0.0, 0.0), "green": (0.0, 1.0, 0.0), "blue": (0.0, 0.0, 1.0)}


class FakeEncoder:
    """Embed a frame as its mean colour and a sentence as the colours it names, plus a constant one."""

    name = "fake"
    embedding_dim = 4
    image_size = 8
    context_length = 8
    fit = "squash"
    mean = (0.0, 0.0, 0.0)
    std = (1.0, 1.0, 1.0)
    device = torch.device("cpu")

    def __init__(self) -> None:
        self.num_frames = 0
        self.num_calls = 0

    def embed_images(self, frames: np.ndarray | torch.Tensor) -> torch.Tensor:
        frames = torch.as_tensor(frames)
        self.num_frames += len(frames)
        self.num_calls += 1
        colour = frames.float().mean(dim=(1, 2)) / 255 if len(frames) else torch.zeros(0, 3)
        return _unit(colour)

    def embed_texts(self, texts: list[str]) -> torch.Tensor:
        rows = [[COLOURS[word] for word in text.lower().split() if word in COLOURS] for text in texts]
        return _unit(torch.tensor([np.sum(row or [(0.0, 0.0, 0.0)], axis=0).tolist() for row in rows]))

    def is_truncated(self, texts: list[str]) -> list[bool]:
        return [len(text.split()) > self.context_length for text in texts]


def _unit(colour: torch.Tensor) -> torch.Tensor:
    rows = torch.cat([colour, torch.full((len(colour), 1), 0.1)], dim=1)
    return rows / rows.norm(dim=1, keepdim=True)


class FrameIdReward:
    """Read off a frame of `CounterEnv` or `FakeWorld` which one it is: tag*10_000 + episode*100 + step."""

    reads = "frames"

    def __init__(self) -> None:
        self.batches: list[np.ndarray] = []

    def compute_reward(self, batch: np.ndarray | torch.Tensor) -> torch.Tensor:
        frames = np.asarray(batch)
        assert frames.dtype == np.uint8 and frames.ndim == 4 and frames.shape[-1] == 3
        assert (frames == frames[:, :1, :1]).all(), "a frame mixes two moments"
        self.batches.append(frames.copy())
        tag, episode, step = frames[:, 0, 0].astype(np.float32).T
        return torch.from_numpy(tag * 10_000 + episode * 100 + step)

    @property
    def batch_sizes(self) -> list[int]:
        """Number of frames of each call so far."""
        return [len(batch) for batch in self.batches]


class RedReward:
    """Reward a frame's mean red channel, 0..1."""

    reads = "frames"

    def __init__(self) -> None:
        self.num_calls = 0

    def compute_reward(self, batch: np.ndarray | torch.Tensor) -> torch.Tensor:
        self.num_calls += 1
        return torch.as_tensor(batch)[..., 0].float().mean(dim=(1, 2)) / 255


class StateIdReward:
    """Read the moment off a state of `FakeWorld`, as `FrameIdReward` does off its frame."""

    reads = "states"

    def compute_reward(self, batch: np.ndarray) -> torch.Tensor:
        return torch.as_tensor(batch @ [10_000, 100, 1], dtype=torch.float32)


class BrokenReward:
    """Return `value` for row `row` of call number `call` (from 0), zeros otherwise."""

    reads = "frames"

    def __init__(self, call: int, row: int, value: float = float("nan")) -> None:
        self.call, self.row, self.value = call, row, value
        self.num_calls = 0

    def compute_reward(self, batch: np.ndarray | torch.Tensor) -> torch.Tensor:
        rewards = torch.zeros(len(batch))
        if self.num_calls == self.call:
            rewards[self.row] = self.value
        self.num_calls += 1
        return rewards


class CounterEnv(gymnasium.Env):
    """Count steps; each frame and observation says (tag, episode, step), so a wrong one shows.

    Args:
        length: the env truncates itself at this step; None never.
        terminate_at: it terminates at this step, and on each later one, as CartPole does.
        tag: tells copies apart, 0..255.
        success_key: info key that says, on each step, whether step >= 3; None for none.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012

    def __init__(
        self,
        length: int | None = 5,
        terminate_at: int | None = None,
        tag: int = 0,
        success_key: str | None = None,
        render_mode: str | None = "rgb_array",
    ) -> None:
        self.length, self.terminate_at, self.tag, self.success_key = length, terminate_at, tag, success_key
        self.render_mode = render_mode
        self.observation_space = spaces.Box(-1.0, 255.0, (3,), np.float32)
        self.action_space = spaces.Discrete(2)
        self.episode = -1
        self.steps = 0
        self.seeds: list[int | None] = []

    def _obs(self) -> np.ndarray:
        return np.array([self.tag, self.episode, self.steps], np.float32)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        self.seeds.append(seed)
        self.episode += 1
        self.steps = 0
        return self._obs(), {"fresh": True}

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        self.steps += 1
        info = {} if self.success_key is None else {self.success_key: self.steps >= 3}
        terminated = self.terminate_at is not None and self.steps >= self.terminate_at
        truncated = self.length is not None and self.steps >= self.length
        return self._obs(), float(self.steps), terminated, truncated, info

    def render(self) -> Any:
        if self.render_mode is None:
            return None
        return np.full((8, 8, 3), [self.tag, self.episode, self.steps], np.uint8)

    def add(self, number: int) -> int:
        """Return tag + number."""
        return self.tag + number


class BlindEnv(CounterEnv):
    """An env that draws nothing."""

    metadata = {"render_modes": ["ansi"]}  # noqa: RUF012

    def __init__(self) -> None:
        super().__init__(render_mode=None)


class OddFrameEnv(CounterEnv):
    """An env whose frames are no uint8 RGB images: "float", "rgba", "grey", "tiny" or "none"."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind

    def render(self) -> Any:
        frame = super().render()
        return {
            "float": frame.astype(np.float32) / 255,
            "rgba": np.concatenate([frame, frame[..., :1]], axis=-1),
            "grey": frame[..., 0],
            "tiny": frame[:1, :1],
            "none": None,
        }[self.kind]


class FragileEnv(CounterEnv):
    """An env that cannot be stepped on after its own end."""

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        if self.terminate_at is not None and self.steps >= self.terminate_at:
            raise RuntimeError("the simulation is gone")
        return super().step(action)


class LampEnv(gymnasium.Env):
    """One action lights a lamp, drawn red: with `RedReward` the best action is 1 (Discrete) or +1 (Box)."""

    metadata = {"render_modes": ["rgb_array"]}  # noqa: RUF012

    def __init__(self, continuous: bool = False, length: int = 8) -> None:
        self.render_mode = "rgb_array"
        self.observation_space = spaces.Box(-1.0, 1.0, (2,), np.float32)
        self.action_space = spaces.Box(-1.0, 1.0, (1,), np.float32) if continuous else spaces.Discrete(2)
        self.length = length
        self.light = 0.0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        self.steps, self.light = 0, 0.0
        return self.np_random.uniform(-1, 1, 2).astype(np.float32), {}

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        self.steps += 1
        continuous = isinstance(self.action_space, spaces.Box)
        self.light = float((np.asarray(action).item() + 1) / 2 if continuous else action)
        obs = self.np_random.uniform(-1, 1, 2).astype(np.float32)
        return obs, 0.0, False, self.steps >= self.length, {}

    def render(self) -> np.ndarray:
        return np.full((8, 8, 3), [round(255 * self.light), 0, 0], np.uint8)


class FakeWorld(VectorEnv):
    """A World of vlmrl without physics: states float64 (N, 3) are (tag, episode, step), drawn as counters.

    World i's episodes last `horizon` + i steps if `ragged`, `horizon` otherwise.
    """

    render_mode = None

    def __init__(
        self,
        num_envs: int = 2,
        horizon: int = 4,
        autoreset_mode: AutoresetMode = AutoresetMode.SAME_STEP,
        ragged: bool = False,
    ) -> None:
        self.num_envs, self.horizon = num_envs, horizon
        self.lengths = horizon + (np.arange(num_envs) if ragged else np.zeros(num_envs, int))
        self.hold = HoldRule()
        self.autoreset_mode = autoreset_mode
        self.metadata = {"autoreset_mode": autoreset_mode, "render_modes": ["rgb_array"]}
        self.single_observation_space = spaces.Box(-1.0, 1e3, (3,), np.float32)
        self.single_action_space = spaces.Box(-1.0, 1.0, (1,), np.float32)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.states = np.array([[i, -1, 0] for i in range(num_envs)], np.float64)
        self.ended = np.zeros(num_envs, bool)
        self.seed: Any = None

    def _start(self, mask: np.ndarray) -> None:
        self.states[mask, 1] += 1
        self.states[mask, 2] = 0
        self.ended[mask] = False

    def reset(self, *, seed: Any = None, options: Any = None) -> tuple[np.ndarray, dict[str, Any]]:
        self.seed = seed
        self._start((options or {}).get("reset_mask", np.ones(self.num_envs, bool)))
        return self.states.astype(np.float32), {"states_before_reset": self.states.copy()}

    def step(self, actions: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        late = self.autoreset_mode == AutoresetMode.NEXT_STEP
        assert late or not self.ended.any(), "an ended world was stepped"
        asleep = self.ended.copy()
        self.states[~asleep, 2] += 1
        self._start(asleep)
        ended = (self.states[:, 2] >= self.lengths) & ~asleep
        rewards = np.where(asleep, 0.0, self.states[:, 2])
        obs, states = self.states.astype(np.float32), self.states.copy()
        infos: dict[str, Any] = {"success": self.states[:, 2] >= 3, "states_before_reset": states}
        self.ended = ended.copy()
        if ended.any():
            end = {"is_success": ended & (np.arange(self.num_envs) % 2 == 0), "_is_success": ended.copy()}
            if self.autoreset_mode == AutoresetMode.SAME_STEP:
                final = np.full(self.num_envs, None, object)
                for i in np.flatnonzero(ended):
                    final[i] = obs[i]
                infos |= {"final_obs": final, "_final_obs": ended.copy()}
                infos |= {"final_info": end, "_final_info": ended.copy()}
                self._start(ended)
                obs = self.states.astype(np.float32)
            else:
                infos |= end
        return obs, rewards, np.zeros(self.num_envs, bool), ended, infos

    def get_states(self) -> np.ndarray:
        return self.states.copy()

    def set_states(self, states: np.ndarray) -> None:
        self.states = np.array(states, np.float64)

    def render_states(
        self, states: np.ndarray, camera: str | None = None, size: tuple[int, int] | None = None
    ) -> np.ndarray:
        return np.broadcast_to(np.uint8(states)[:, None, None], (len(states), 8, 8, 3)).copy()

    def success(self, states: np.ndarray) -> np.ndarray:
        return states[:, 2] >= 3

    def similarity(self, states: np.ndarray) -> np.ndarray:
        return np.minimum(states[:, 2] / 3, 1.0)

    def sample_states(self, rng: np.random.Generator, n: int) -> np.ndarray:
        return rng.integers(0, 4, (n, 3)).astype(np.float64)

    def describe(self, state: np.ndarray) -> list[Caption]:
        return [Caption(f"step {int(state[2])}", 1.0)]
