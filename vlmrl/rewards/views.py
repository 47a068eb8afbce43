"""One reward from several cameras: what one of them hides, another may show."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from vlmrl.errors import usage_error
from vlmrl.rewards.protocol import Reads, RewardModel
from vlmrl.rewards.sources import ask_frames

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor


class ManyViews:
    """Draw a World's states through several of its cameras and average what a reward model says of each frame.

    Whether a state is in view at all is asked of the World's own camera only.

    Attributes:
        reward: what scores the frames.
        cameras: K names of cameras of the World; a state costs K frames.

    Raises: UsageError for no camera, and for one that the world is known not to have.
    """

    reads: Reads = "states"

    def __init__(self, reward: RewardModel, world: Any, cameras: Sequence[str]) -> None:
        known = getattr(getattr(world, "rules", None), "cameras", cameras)
        if not cameras or not set(cameras) <= set(known):
            raise usage_error("views", list(cameras), f"some of {list(known)}", "name the world's cameras")
        self.reward, self.cameras = reward, tuple(cameras)
        self._world = world

    @property
    def encoder(self) -> Any:
        """The encoder of the reward within; None where it has none."""
        return getattr(self.reward, "encoder", None)

    def compute_reward(self, batch: Float[np.ndarray, "batch state"]) -> Float[Tensor, " batch"]:
        """Return rewards (B,), float32, of states (B, S), NaN where a frame of one cannot be embedded."""
        import torch

        views = [ask_frames(self.reward, self._world.render_states(batch, camera)) for camera in self.cameras]
        return torch.from_numpy(np.mean(views, axis=0, dtype=np.float32))
