"""What a reward model is: an object that says what it reads and scores a batch of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

if TYPE_CHECKING:
    import numpy as np
    from jaxtyping import Bool, Float
    from torch import Tensor

    from vlmrl.encoders import Encoder

Reads = Literal["frames", "embeddings", "states"]

FLAT = 1e-3
"""A similarity that varies by less than this is flat: what is smaller, half precision may have made (cosines reach
from -1 to 1, and encoders compute in half precision where it stays within a cosine of 0.9999)."""


@runtime_checkable
class RewardModel(Protocol):
    """Score a batch: one float32 reward for each frame, embedding or state, the greater the better.

    Attributes:
        reads: "frames" (uint8 (B,H,W,3)), "embeddings" (float32 (B,D)) or "states" (float64 (B,S), the full
            physics state).
    """

    reads: Reads

    def compute_reward(self, batch: Any) -> Float[Tensor, " batch"]:
        """Return rewards (B,), float32, detached, of B frames, embeddings or states as `reads` says."""
        ...


@runtime_checkable
class EmbeddingReward(RewardModel, Protocol):
    """A reward of a frame's embedding alone, so that frames are embedded once and rewards made again at will.

    Attributes:
        encoder: what makes the embeddings.
    """

    encoder: Encoder

    def reward_of_embeddings(self, embeddings: Float[Tensor, "batch dim"]) -> Float[Tensor, " batch"]:
        """Return rewards (B,), float32, detached, of unit vectors (B, D) that `encoder` made of frames."""
        ...


def asked_model(reward_model: RewardModel) -> RewardModel:
    """Return the model that answers: within a learned reward the one that it asks."""
    return reward_model.reward_model if isinstance(reward_model, RolloutReward) else reward_model


def draws(reward_model: RewardModel | None) -> bool:
    """Tell whether scoring a state takes a frame, so that a state which no camera sees cannot be scored."""
    return frames_a_state(reward_model) > 0


def frames_a_state(reward_model: RewardModel | None) -> int:
    """Return how many frames scoring a state takes: one, or one of each camera (`ManyViews`), or none."""
    if reward_model is None:
        return 0
    model = asked_model(reward_model)
    if getattr(model, "reads", "frames") != "states":
        return 1
    return len(getattr(model, "cameras", ()))


@runtime_checkable
class RolloutReward(RewardModel, Protocol):
    """A reward that is learned while an agent trains, from whole rollouts of a World.

    Attributes:
        reward_model: what is asked or learned; its `reads` tells whether states have to be drawn for it.
    """

    reward_model: RewardModel

    @property
    def asked(self) -> int:
        """States that were drawn, or asked about, so far."""
        ...

    def score_rollout(
        self,
        states: Float[np.ndarray, "T N S"],
        valid: Bool[np.ndarray, "T N"],
        ended: Bool[np.ndarray, "T N"] | None = None,
        progress: Float[np.ndarray, "T N"] | None = None,
    ) -> tuple[Float[np.ndarray, "T N"], Bool[np.ndarray, "T N"]]:
        """Return rewards (T, N) of a rollout's states and which rows count, having learned from them first.

        ended: the episode ended with this step. progress: the world's own reward, never given to the agent.
        """
        ...

    def metrics(self) -> dict[str, float | None]:
        """Return figures since the last call, by name."""
        ...

    def state_dict(self) -> dict[str, np.ndarray]:
        """Return copies of all state by name."""
        ...

    def load_state_dict(self, state: dict[str, np.ndarray]) -> None:
        """Take over a `state_dict`."""
        ...
