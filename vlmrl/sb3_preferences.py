"""stable-baselines3's off-policy agents on a reward that is learned from preferences, and relabels all they learn from.

The replay buffer holds what a transition is (observations, actions, ends) and its frame's embedding, not the frame: 1 KB
at 512 dimensions where a picture of 300 x 300 takes 270. After each refit every reward in it is computed anew.

    learner = make_learner("encoder", PreferencesConfig(), task, encoder, Path("runs/drawer"))
    frames = FrameRewards(learner)
    model = SAC("MlpPolicy", VLMVecEnv(env_fns, frames, fixed_horizon=500), replay_buffer_class=EmbeddingReplayBuffer,
                replay_buffer_kwargs={"frames": frames})
    learn(model, frames, 1_000_000, explore=10_000)    # the same call again goes on where it was stopped

Source: PEBBLE (Lee et al. 2021) and RL-VLM-F for exploring until the first answers and relabelling after each refit.
Deviation: the whole buffer is relabelled, before and after it has wrapped (RL-VLM-F stops at the write position).
"""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from stable_baselines3.common.callbacks import BaseCallback

from vlmrl.checkpoints import clean_up, list_checkpoints, load_checkpoint, save_checkpoint
from vlmrl.errors import usage_error
from vlmrl.preferences.relabelling import EmbeddingRing, RewardOfRows
from vlmrl.rewards.protocol import Reads
from vlmrl.rollout import ResumeWarning
from vlmrl.sb3_exploring import learn_anew, some_of, state_entropy
from vlmrl.sb3_replay import RelabelledReplayBuffer, shown
from vlmrl.sb3_state import agent_state, load_agent_state, read_arrays, write_arrays

if TYPE_CHECKING:
    from jaxtyping import Float, UInt8
    from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
    from stable_baselines3.common.type_aliases import ReplayBufferSamples
    from stable_baselines3.common.vec_env import VecNormalize
    from torch import Tensor

    from vlmrl.preferences.online import PreferenceLearner

MAX_POOL = 2**28
"""Bytes of frames that the pool of segments may hold; a checkpoint takes three times as much while it is written."""
WAITING = 64
"""Vector steps that are put together before their segments join the pool."""
BUFFER = ("observations", "next_observations", "actions", "rewards", "dones", "timeouts")
"""Arrays of a replay buffer."""
CHECKPOINTS, REPLAY = "checkpoints", "replay-"


class FrameRewards:
    """The reward model that VecEnvs are given: embeds each step's frames once, for reward, buffer and pool.

    Before the first fit all rewards are 0. Only one VecEnv may use it: the buffer takes the embeddings of the last call.
    """

    reads: Reads = "frames"
    keeps_frames = True
    """Each call must bring a frame of each env, seen or not."""

    def __init__(self, learner: PreferenceLearner) -> None:
        """Score by what `learner` has learned. Raises: UsageError for a reward on pixels, which a buffer cannot hold."""
        if learner.reward.segment_reads != "embeddings":
            remedy = "set preferences.learn_from to embeddings"
            raise usage_error(
                "reward", "one on pixels", "one on embeddings, to relabel without pictures", remedy
            )
        self.learner = learner
        self.reward = cast(Any, learner.reward)  # one on embeddings: it has an encoder
        self.dim: int = self.reward.encoder.embedding_dim
        self.frames: np.ndarray | None = None
        self.embeddings = np.zeros((0, self.dim), np.float32)

    def compute_reward(self, batch: UInt8[np.ndarray, "batch height width 3"]) -> Float[Tensor, " batch"]:
        """Return rewards (B,), float32, of uint8 frames (B, H, W, 3) by the reward of now; nothing is asked.

        Raises: UsageError for frames so large that the pool of segments would pass 256 MiB.
        """
        frames = np.asarray(batch)
        config = self.learner.pool.config
        size = config.capacity * config.length * frames[0].nbytes if len(frames) else 0
        if size > MAX_POOL:
            got = (
                f"{config.capacity} segments, {size >> 20} MiB at {frames.shape[1]}x{frames.shape[2]} pixels"
            )
            remedy = "lower it, or draw smaller frames"
            raise usage_error("preferences.pool.capacity", got, "256 MiB or less", remedy)
        embeddings = self.reward.encoder.embed_images(frames)
        self.frames, self.embeddings = frames, embeddings.cpu().numpy().astype(np.float32)
        if not self.reward.fits:
            return embeddings.new_zeros(len(frames)).float()
        return self.reward.reward_of_embeddings(embeddings)


class EmbeddingReplayBuffer(RelabelledReplayBuffer):
    """stable-baselines3's replay buffer with the embedding of each transition's frame beside it, in half precision."""

    def __init__(self, *args: Any, frames: FrameRewards, dtype: Any = np.float16, **kwargs: Any) -> None:
        """Take `ReplayBuffer`'s arguments; frames: the reward model of the agent's VecEnv."""
        super().__init__(*args, **kwargs)
        self.source = frames
        self.ring = EmbeddingRing(self.buffer_size, self.n_envs, frames.dim, dtype)

    @property
    def reward_of_rows(self) -> RewardOfRows:
        """What rewards embeddings now."""
        return self.source.reward

    def row_of_each(self, infos: Sequence[dict[str, Any]]) -> Float[np.ndarray, "envs dim"]:
        """Return the embeddings (N, D) of the frames that were scored last; NaN where the camera saw nothing of the goal."""
        rows, seen = self.source.embeddings, shown(infos)
        return np.where(seen[:, None], rows, np.nan) if len(rows) == len(seen) else rows

    def sample(self, batch_size: int, env: VecNormalize | None = None) -> ReplayBufferSamples:
        """Draw transitions (B,); until there is a learned reward theirs is how new the state is that they lead to."""
        found = super().sample(batch_size, env)
        if self.source.reward.fits:
            return found
        seen = some_of(self.next_observations[: self.size()])
        states = self.to_torch(np.asarray(self._normalize_obs(seen, env))).flatten(1).float()
        reached = found.next_observations.flatten(1).float()
        return found._replace(rewards=state_entropy(reached, states)[:, None])

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        """All arrays by name, (rows, N, ...) each."""
        return {**{name: getattr(self, name) for name in BUFFER}, "embeddings": self.ring.embeddings}

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays, filled or not."""
        return sum(array.nbytes for array in self.arrays.values())

    @property
    def filled(self) -> dict[str, np.ndarray]:
        """The filled rows of all arrays, by name: views, no copies."""
        return {name: array[: self.size()] for name, array in self.arrays.items()}

    def save(self, folder: Path) -> dict[str, Any]:
        """Write the filled rows into the new folder `folder`, array by array, and return what `load` needs besides."""
        return {"checksums": write_arrays(folder, self.filled), "position": [int(self.pos), bool(self.full)]}

    def load(self, folder: Path, record: dict[str, Any]) -> None:
        """Take over what `save` wrote of a buffer of the same size, spaces and envs.

        Raises: UsageError for another buffer, or files that are damaged.
        """
        read_arrays(folder, self.arrays, record["checksums"])
        pos, full = record["position"]
        self.pos = self.ring.pos = int(pos)
        self.full = self.ring.is_full = bool(full)


class PreferenceCallback(BaseCallback):
    """Collects segments of each step, and asks, refits and relabels when a stage is due and the agent is to learn.

    Progress, which only oracles and statistics see, is info["progress"] where an env gives it, else its own reward.
    """

    def __init__(self, frames: FrameRewards, checkpoint_every: int | None = None, explore: int = 0) -> None:
        """Ask from `explore` env steps on.

        checkpoint_every: env steps between checkpoints in the learner's folder; None writes none.
        """
        super().__init__()
        self.explore = explore
        self.source, self.learner, self.checkpoint_every = frames, frames.learner, checkpoint_every
        self.saved = 0
        self._rows: list[tuple[np.ndarray, ...]] = []

    def _on_step(self) -> bool:
        infos = self.locals["infos"]
        rewards = [info.get("env_reward", np.nan) for info in infos]
        progress = np.array([info.get("progress", r) for info, r in zip(infos, rewards, strict=True)], float)
        frames, embeddings = self.source.frames, self.source.embeddings
        assert frames is not None
        self._rows.append((np.array(self.locals["dones"], bool), frames, embeddings, progress))
        if self._asks:
            self.learner.steps += len(infos)  # stages are counted from the first answers on
        return True

    @property
    def _asks(self) -> bool:
        """Whether the time for questions has come."""
        model: Any = self.model
        return self.num_timesteps >= max(model.learning_starts, self.explore)

    def _on_rollout_end(self) -> None:
        model: Any = self.model
        due = self._asks and self.learner.is_due
        if self._rows and (due or len(self._rows) >= WAITING):
            self._flush()
        if due:
            first = not self.source.reward.fits
            self.learner.ask()
            model.replay_buffer.relabel()
            if first and self.explore > model.learning_starts:
                learn_anew(model)
            for name, value in self.learner.metrics().items():
                if value is not None:
                    self.logger.record(f"preferences/{name}", value)
        every = self.checkpoint_every
        if every is not None and self.num_timesteps - self.saved >= every:
            self.save()

    def _flush(self) -> None:
        ends, frames, embeddings, progress = (np.stack(column) for column in zip(*self._rows, strict=True))
        known = None if np.isnan(progress).any() else progress
        self.learner.pool.add(ends, frames=frames, embeddings=embeddings, progress=known)
        self._rows = []

    def save(self) -> None:
        """Write a checkpoint: the replay buffer in a folder of its own, then agent and learner with its name."""
        if self._rows:
            self._flush()
        model: Any = self.model
        folder = self.learner.folder / CHECKPOINTS
        folder.mkdir(exist_ok=True)
        clean_up(folder)
        taken = {path.name for path in folder.glob(f"{REPLAY}*")}
        name = next(
            n for k in range(len(taken) + 1) if (n := f"{REPLAY}{self.num_timesteps}-{k}") not in taken
        )
        record = {"replay": name, **model.replay_buffer.save(folder / name)}
        parts = {"agent": agent_state(model), "learner": self.learner.state_dict()}
        tensors = {f"{prefix}/{key}": value for prefix, part in parts.items() for key, value in part.items()}
        save_checkpoint(folder, self.num_timesteps, tensors, record, keep=1)
        for old in taken:
            shutil.rmtree(folder / old, ignore_errors=True)
        self.saved = self.num_timesteps


def learn(
    model: OffPolicyAlgorithm,
    frames: FrameRewards,
    total_timesteps: int,
    *,
    explore: int = 0,
    checkpoint_every: int | None = 100_000,
    callback: BaseCallback | None = None,
) -> OffPolicyAlgorithm:
    """Train to `total_timesteps` env steps in all, going on from the newest checkpoint in the learner's folder.

    explore: env steps before the first pairs are asked. The first `learning_starts` of them act at random, the rest are
    learned from with each state's distance to those seen as reward; the critic then begins anew. callback: called besides.

    Going on restores agent, replay buffer, learner and random numbers; the envs begin new episodes, with a warning, for
    they cannot be stored. Whatever stops it, what was answered lies in the store and is not asked again.
    Raises: UsageError for a model whose buffer is no `EmbeddingReplayBuffer` of these frames; what the labeller raises.
    """
    buffer = model.replay_buffer
    if not isinstance(buffer, EmbeddingReplayBuffer) or buffer.source is not frames:
        remedy = 'pass replay_buffer_class=EmbeddingReplayBuffer, replay_buffer_kwargs={"frames": frames}'
        raise usage_error("model", type(buffer).__name__, "an EmbeddingReplayBuffer of these frames", remedy)
    asks = PreferenceCallback(frames, checkpoint_every, explore)
    folder = frames.learner.folder
    folder.mkdir(parents=True, exist_ok=True)
    try:
        if list_checkpoints(folder / CHECKPOINTS):
            _take_up(model, buffer, asks)
        left = total_timesteps - model.num_timesteps
        if left > 0:
            both: Any = [asks, callback] if callback else asks
            model.learn(left, callback=both, reset_num_timesteps=False)
            if checkpoint_every is not None:
                asks.save()
    finally:
        frames.learner.close()
    return model


def _take_up(model: OffPolicyAlgorithm, buffer: EmbeddingReplayBuffer, callback: PreferenceCallback) -> None:
    checkpoint = load_checkpoint(callback.learner.folder / CHECKPOINTS)
    parts: dict[str, dict[str, np.ndarray]] = {"agent": {}, "learner": {}}
    for name, tensor in checkpoint.tensors.items():
        prefix, _, rest = name.partition("/")
        parts[prefix][rest] = tensor
    buffer.load(checkpoint.path.parent / Path(checkpoint.extra["replay"]).name, checkpoint.extra)
    callback.learner.load_state_dict(parts["learner"])
    load_agent_state(model, parts["agent"])
    callback.saved = model.num_timesteps
    warnings.warn(
        "envs: their state cannot be stored, so the run goes on with new episodes",
        ResumeWarning,
        stacklevel=3,
    )
