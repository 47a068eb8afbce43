"""Replay buffers of stable-baselines3 for rewards that change while an agent learns: each refit relabels all they hold.

An off-policy agent learns again and again from old transitions. Where its reward is a `LearnedReward`, which is refitted
online, they must not keep what an older fit said:

    learned = LearnedReward(reward_model, total_steps=100_000, query_share=0.1)
    model = SAC("MlpPolicy", VLMVecEnv(env_fns, learned), replay_buffer_class=LearnedReplayBuffer,
                replay_buffer_kwargs={"learned": learned})       # DQN, TD3, DDPG alike
    model.learn(100_000)

Kept beside a transition is what the networks see of its frame or state: 512 bytes of a picture, four a number of a state.
What the reward model answered itself, and what no camera saw, stays as it is. Agents that learn from each rollout once
(PPO, A2C) need none of this. `vlmrl.sb3_preferences` does the same for rewards that are learned from preferences.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from stable_baselines3.common.buffers import DictReplayBuffer, ReplayBuffer

from vlmrl.errors import usage_error
from vlmrl.preferences.relabelling import EmbeddingRing, RewardOfRows

if TYPE_CHECKING:
    from jaxtyping import Bool, Float
    from stable_baselines3.common.type_aliases import ReplayBufferSamples
    from stable_baselines3.common.vec_env import VecNormalize
    from torch import Tensor

    from vlmrl.rewards.learned import LearnedReward


def shown(infos: Sequence[dict[str, Any]]) -> Bool[np.ndarray, " envs"]:
    """Tell of which envs (N,) a step showed something to score, as the doors to reward models say it in infos."""
    hidden = [info.get("out_of_view", False) or info.get("diverged", False) for info in infos]
    return ~np.array(hidden, bool)


class RelabelledReplayBuffer(ReplayBuffer):
    """stable-baselines3's replay buffer with a row beside each transition that its reward can be made from anew."""

    ring: EmbeddingRing
    """The rows, in the buffer's own places; a row of NaN is one whose reward stays."""

    @abstractmethod
    def row_of_each(self, infos: Sequence[dict[str, Any]]) -> Float[np.ndarray, "envs dim"]:
        """Return the rows (N, D) of the step that was scored last, NaN where the reward shall stay."""

    @property
    @abstractmethod
    def reward_of_rows(self) -> RewardOfRows:
        """What rewards rows now."""

    def add(self, obs: Any, next_obs: Any, action: np.ndarray, reward: np.ndarray, done: np.ndarray,
            infos: list[dict[str, Any]]) -> None:  # fmt: skip
        """Add one transition of each env, with the rows of the step that was scored last.

        Raises: UsageError if these are not of the envs that infos say were seen.
        """
        self.ring.add(self.row_of_each(infos))
        super().add(obs, next_obs, action, reward, done, infos)

    def relabel(self) -> int:
        """Make the reward of every transition anew, whatever the write position; return how many these were."""
        return self.ring.relabel(self.reward_of_rows, self.rewards)


class Estimates:
    """What a `LearnedReward` says of rows that it did not ask about; a `RewardOfRows`."""

    def __init__(self, learned: LearnedReward) -> None:
        self._learned = learned

    def reward_of_embeddings(self, embeddings: Float[Tensor, "batch dim"]) -> Float[Tensor, " batch"]:
        """Return its cautious estimates (B,), float32, of rows (B, F) that its networks see."""
        return torch.from_numpy(self._learned.estimate(embeddings.numpy()))


class LearnedReplayBuffer(RelabelledReplayBuffer):
    """A replay buffer for agents on a `LearnedReward`: before it is drawn from, it follows the last refit."""

    def __init__(self, *args: Any, learned: LearnedReward, **kwargs: Any) -> None:
        """Take `ReplayBuffer`'s arguments; learned: the reward of the agent's VecEnv, and of no other."""
        super().__init__(*args, **kwargs)
        self.learned, self._refits = learned, learned.refits
        self._allocate()

    @property
    def reward_of_rows(self) -> RewardOfRows:
        """What rewards rows now."""
        return Estimates(self.learned)

    def row_of_each(self, infos: Sequence[dict[str, Any]]) -> Float[np.ndarray, "envs dim"]:
        """Return what the networks saw of each env (N, F): NaN where the model answered itself, or nothing was seen."""
        seen, last = np.flatnonzero(shown(infos)), self.learned.last
        count = len(last.features) if last else 0
        if len(seen) and count != len(seen):
            remedy = "give this learned reward to the agent's VecEnv, and to one VecEnv only"
            raise usage_error("learned", f"{count} scored last", f"{len(seen)}, one for each env that is seen", remedy)  # fmt: skip
        rows = np.full((self.n_envs, last.features.shape[1] if last else 1), np.nan, np.float32)
        if last and len(seen):
            rows[seen[~last.answered]] = last.features[~last.answered]
        return rows

    def add(self, obs: Any, next_obs: Any, action: np.ndarray, reward: np.ndarray, done: np.ndarray,
            infos: list[dict[str, Any]]) -> None:  # fmt: skip
        """Add one transition of each env. Raises: UsageError for a reward that another VecEnv has asked since."""
        if not self._allocated:
            self._allocate()
        super().add(obs, next_obs, action, reward, done, infos)

    def _allocate(self) -> None:
        """Make room for rows as wide as the first ones are; of steps before them nothing was seen."""
        last = self.learned.last
        dtype = np.float16 if self.learned.reads == "frames" else np.float32
        self.ring = EmbeddingRing(self.buffer_size, self.n_envs, last.features.shape[1] if last else 1, dtype)
        self.ring.embeddings[: self.size()] = np.nan
        self.ring.pos, self.ring.is_full = self.pos, self.full
        self._allocated = last is not None

    def sample(self, batch_size: int, env: VecNormalize | None = None) -> ReplayBufferSamples:
        """Draw transitions (B,), with rewards by the last refit."""
        if self._refits != self.learned.refits:
            self.relabel()
        return super().sample(batch_size, env)

    def relabel(self) -> int:
        """Make every reward anew that the reward model did not give itself; return how many transitions there are."""
        self._refits = self.learned.refits
        return super().relabel()


class LearnedDictReplayBuffer(LearnedReplayBuffer, DictReplayBuffer):  # type: ignore[misc]  # draws dictionaries
    """The same for agents whose observations are dictionaries (`MultiInputPolicy`)."""
