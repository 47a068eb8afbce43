"""Controls: rewards without the goal. A check that an agent passes with one of these is no check."""

from __future__ import annotations

import math
from collections.abc import Sized
from typing import TYPE_CHECKING

from vlmrl.errors import usage_error
from vlmrl.rewards.goal_baseline import GoalBaselineReward
from vlmrl.rewards.protocol import Reads, RewardModel

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import torch
    from jaxtyping import Float, UInt8
    from torch import Tensor


class ConstantReward:
    """Give every frame the same reward.

    A positive constant solves tasks that only ask to stay alive (CartPole-v1) and punishes those that end at
    the goal (MountainCar): if it passes, the length of the episode leaks the task.

    Attributes:
        value: the reward, any finite number.
        reads: "frames" by default, so that nothing but the reward differs from the run it controls.
    """

    def __init__(self, value: float = 1.0, reads: Reads = "frames") -> None:
        if not math.isfinite(value):
            raise usage_error("value", value, "a finite number", "1.0 is usual")
        self.value = float(value)
        self.reads = reads

    def compute_reward(self, batch: Sized) -> Float[Tensor, " batch"]:
        """Return `value` for each of the B items of a batch, float32 (B,), on the CPU."""
        import torch

        return torch.full((len(batch),), self.value)


class BlankFrames:
    """Give every frame what another reward gives a black frame of its size: the agent is judged by a lens cap.

    If its agent passes, success does not depend on what is seen.

    Attributes:
        reward: the reward that sees black frames.
    """

    reads: Reads = "frames"

    def __init__(self, reward: RewardModel) -> None:
        if reward.reads != "frames":
            raise usage_error(
                "reward", f"one that reads {reward.reads}", "one that reads frames", "use ConstantReward"
            )
        self.reward = reward

    def compute_reward(
        self, batch: UInt8[np.ndarray | Tensor, "batch height width 3"]
    ) -> Float[Tensor, " batch"]:
        """Return rewards (B,), float32, of B black frames as large as those of a batch uint8 (B, H, W, 3).

        Black frames are all alike: one is scored and its reward repeated.
        """
        if len(batch) == 0:
            return self.reward.compute_reward(batch)
        return self.reward.compute_reward(batch[:1] * 0).expand(len(batch)).clone()


def random_encoder_reward(
    goal: str | Sequence[str],
    baseline: str | Sequence[str],
    alpha: float = 0.5,
    *,
    seed: int = 0,
    device: str | torch.device | None = None,
) -> GoalBaselineReward:
    """Return the goal-baseline reward of an untrained encoder: the embedded architecture, weights of `seed`.

    Raises:
        UsageError: as `load_encoder` and `GoalBaselineReward`.
    """
    from vlmrl.encoders import load_encoder

    return GoalBaselineReward(load_encoder(f"random:{seed}", device), goal, baseline, alpha)


def swapped_goal(reward: GoalBaselineReward) -> GoalBaselineReward:
    """Return the reward with goal and baseline exchanged: its agent is asked for what any frame shows."""
    return GoalBaselineReward(reward.encoder, reward.baseline, reward.goal, reward.alpha)
