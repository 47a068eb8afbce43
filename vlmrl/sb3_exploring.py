"""Exploring before anything is known of the goal: an agent paid for states that are far from those it has seen.

Source: PEBBLE (Lee et al. 2021), section 4.1: the particle estimate of a state distribution's entropy, k = 5.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

if TYPE_CHECKING:
    from jaxtyping import Float
    from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
    from torch import Tensor

NEIGHBOUR, SEEN = 5, 2048
"""k of the k-th nearest neighbour, and how many of the states seen are looked at."""
UPDATES = 100
"""Of the new critic, before the agent goes on."""


def state_entropy(
    states: Float[Tensor, "batch state"], seen: Float[Tensor, "seen state"], neighbour: int = NEIGHBOUR
) -> Float[Tensor, " batch"]:
    """Return rewards (B,): each state's distance to its k-th nearest among those seen, over the batch's mean distance.

    Deviation: PEBBLE divides by a running standard deviation, which would be state to keep.
    """
    k = min(neighbour + 1, len(seen))  # the nearest is mostly the state itself
    distances = torch.cdist(states, seen).kthvalue(k, dim=1).values
    return distances / distances.mean().clamp_min(1e-6)


def some_of(rows: np.ndarray, limit: int = SEEN) -> np.ndarray:
    """Return at most `limit` rows (R, S) of states (T, N, S), drawn by numpy's global generator, as the buffer draws."""
    count = rows.shape[0] * rows.shape[1]
    chosen = np.random.randint(count, size=min(count, limit))  # noqa: NPY002
    return rows[chosen // rows.shape[1], chosen % rows.shape[1]]


def learn_anew(model: OffPolicyAlgorithm, updates: int = UPDATES) -> None:
    """Make an agent's critic know nothing, and give it so many updates on the rewards that its buffer now holds.

    Values of states that were only new mislead once the reward is another. Features shared with the actor stay.
    """
    agent: Any = model
    for name, module in agent.critic.named_modules():
        if hasattr(module, "reset_parameters") and "features_extractor" not in name:
            module.reset_parameters()
    agent.critic.optimizer.state.clear()
    agent.critic_target.load_state_dict(agent.critic.state_dict())
    agent.train(updates, agent.batch_size)
