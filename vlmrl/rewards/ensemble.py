"""A few small networks that predict a reward from features, all of them in one batch of matrices.

Source: Lakshminarayanan et al., "Simple and Scalable Predictive Uncertainty Estimation using Deep Ensembles"
(NeurIPS 2017), section 2.4. Deviations: the networks regress the mean only (a reward model answers the same frame alike,
so there is no noise to learn), and each draws its own batches instead of seeing all rows in another order.
torch and not JAX: nothing to compile, rows of any number, and the answers come as torch tensors anyway.
"""

from __future__ import annotations

import itertools
import math

import numpy as np
import torch

from vlmrl.errors import usage_error
from vlmrl.rewards.answers import Answers
from vlmrl.rewards.learned_config import LearnedConfig

CLIP = 5.0
"""Standardised features are clipped to this, so that a state far from all others cannot leave the numbers' range."""
NEW_SHARE = 0.25
"""Part of a batch that is drawn among the newest answers."""
CHUNK = 8192
BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8


class Ensemble:
    """E multilayer perceptrons (ReLU) from F features to one number, fitted by Adam on squared errors.

    Equal seeds and equal inputs give equal numbers on a CPU with equal threads.
    """

    def __init__(self, num_features: int, config: LearnedConfig, seed: int) -> None:
        self.num_features, self.config, self.seed = num_features, config, seed
        self.fits = 0
        self._adam_steps = 0
        self._shift, self._scale = torch.zeros(num_features), torch.ones(num_features)
        self._mean, self._deviation = 0.0, 1.0
        generator = torch.Generator().manual_seed(seed)
        widths = [num_features, *config.hidden_sizes, 1]
        self._params: list[torch.Tensor] = []
        for fan_in, fan_out in itertools.pairwise(widths):
            shape = (config.ensemble_size, fan_in, fan_out)
            weight = torch.randn(shape, generator=generator) * math.sqrt(2.0 / fan_in)
            bias = 0.1 * torch.randn((config.ensemble_size, 1, fan_out), generator=generator)
            self._params += [weight, bias]
        self._firsts = [torch.zeros_like(p) for p in self._params]
        self._seconds = [torch.zeros_like(p) for p in self._params]

    def predict(self, features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the networks' mean and standard deviation, float32 (B,) each, in units of reward."""
        means, spreads = [], []
        with torch.no_grad():
            for first in range(0, len(features), CHUNK):
                out = self._forward(self._standardise(torch.from_numpy(features[first : first + CHUNK])))
                means.append(out.mean(dim=0) * self._deviation + self._mean)
                spreads.append(out.std(dim=0) * self._deviation)
        if not means:
            return np.zeros(0, np.float32), np.zeros(0, np.float32)
        return torch.cat(means).numpy(), torch.cat(spreads).numpy()

    def fit(self, answers: Answers, steps: int) -> float:
        """Take `steps` gradient steps on the answers; return the last tenth's mean loss, in variances of the answers.

        Features and rewards are standardised by what the store holds now.
        """
        rng = np.random.default_rng([self.seed, self.fits])
        self.fits += 1
        features = torch.from_numpy(answers.features)
        self._shift = features.mean(dim=0)
        spread = features.std(dim=0, unbiased=False)
        # A feature that has not moved yet says nothing; rounding must not be blown up into something.
        still = spread <= 1e-5 * (1.0 + self._shift.abs())
        self._scale = torch.where(still, torch.ones(()), spread)
        self._mean, self._deviation = (
            float(answers.rewards.mean()),
            max(float(answers.rewards.std()), 1e-6),
        )
        inputs = self._standardise(features)
        targets = torch.from_numpy((answers.rewards - self._mean) / self._deviation)
        chosen = torch.from_numpy(self._draw(answers, steps, rng))
        losses = [self._step(inputs[rows], targets[rows]) for rows in chosen]
        return float(np.mean(losses[-max(1, steps // 10) :]))

    def _draw(self, answers: Answers, steps: int, rng: np.random.Generator) -> np.ndarray:
        """Draw the rows of each step's batch for each network: int64 (steps, E, batch)."""
        shape = (steps, self.config.ensemble_size, self.config.batch_size)
        rows = rng.integers(0, len(answers), shape)
        newest = np.flatnonzero(answers.rounds == answers.rounds.max())
        among_newest = rng.random(shape) < NEW_SHARE
        rows[among_newest] = newest[rng.integers(0, len(newest), int(among_newest.sum()))]
        return rows

    def _standardise(self, features: torch.Tensor) -> torch.Tensor:
        return ((features - self._shift) / self._scale).clamp(-CLIP, CLIP)

    def _forward(self, rows: torch.Tensor) -> torch.Tensor:
        """Return (E, B) of rows (B, F) that all networks see, or (E, B, F), each its own."""
        hidden = rows if rows.ndim == 3 else rows.expand(self.config.ensemble_size, *rows.shape)
        last = len(self._params) // 2 - 1
        for layer in range(last + 1):
            hidden = torch.baddbmm(self._params[2 * layer + 1], hidden, self._params[2 * layer])
            hidden = hidden if layer == last else hidden.relu()
        return hidden[..., 0]

    def _step(self, inputs: torch.Tensor, targets: torch.Tensor) -> float:
        """Take one step of Adam on inputs (E, R, F) and targets (E, R); return the mean squared error."""
        for param in self._params:
            param.requires_grad_(True)
        errors = (self._forward(inputs) - targets).square().mean(dim=1)
        grads = torch.autograd.grad(
            errors.sum(), self._params
        )  # the networks share nothing: a sum, not a mean
        for param in self._params:
            param.requires_grad_(False)
        self._adam_steps += 1
        # Written out: torch's own optimiser imports triton, which must not happen after GL has started.
        torch._foreach_lerp_(self._firsts, grads, 1 - BETA1)
        torch._foreach_mul_(self._seconds, BETA2)
        torch._foreach_addcmul_(self._seconds, grads, grads, 1 - BETA2)
        first, second = 1 - BETA1**self._adam_steps, 1 - BETA2**self._adam_steps
        roots = torch._foreach_sqrt(torch._foreach_div(self._seconds, second))
        torch._foreach_add_(roots, EPSILON)
        torch._foreach_addcdiv_(self._params, self._firsts, roots, -self.config.learning_rate / first)
        return float(errors.detach().mean())

    def state_dict(self) -> dict[str, np.ndarray]:
        """Return copies of weights, Adam's moments, standardisation and counters, by name."""
        named = {"shift": self._shift, "scale": self._scale}
        for kind, tensors in (
            ("params", self._params),
            ("firsts", self._firsts),
            ("seconds", self._seconds),
        ):
            named |= {f"{kind}/{i}": tensor for i, tensor in enumerate(tensors)}
        state = {name: tensor.numpy().copy() for name, tensor in named.items()}
        state["rewards"] = np.array([self._mean, self._deviation])
        state["counters"] = np.array([self.fits, self._adam_steps], np.int64)
        return state

    def load_state_dict(self, state: dict[str, np.ndarray]) -> None:
        """Take over a `state_dict`; what follows is equal to the bit to what would have followed there.

        Raises: UsageError for the state of networks of another shape.
        """
        own = self.state_dict()
        odd = sorted(own.keys() ^ state.keys()) or [n for n in own if own[n].shape != state[n].shape]
        if odd:
            remedy = "build it with the config it was saved with"
            raise usage_error("ensemble", f"other entries or shapes: {odd}", "this ensemble's own", remedy)
        self._shift, self._scale = (torch.from_numpy(state[name].copy()) for name in ("shift", "scale"))
        for kind, tensors in (
            ("params", self._params),
            ("firsts", self._firsts),
            ("seconds", self._seconds),
        ):
            for i, tensor in enumerate(tensors):
                tensor.copy_(torch.from_numpy(state[f"{kind}/{i}"]))
        self._mean, self._deviation = (float(value) for value in state["rewards"])
        self.fits, self._adam_steps = (int(value) for value in state["counters"])
