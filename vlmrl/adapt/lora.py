"""Low-rank factors beside frozen weights, through torch's own parametrizations, and merged for export."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

SCALE = 2.0
"""What the product of the factors is multiplied with: LoRA's alpha / r, with alpha twice the rank."""
PLAIN = ("in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight", "text_projection", "proj")
"""Matrices that modules hold as parameters of their own: projections into attention, and out of the towers."""
KERNELS = ((1, 1), (3, 3))
"""Convolutions that get factors, those of a ResNet's stem among them; patch embeddings stay as they are."""


class LowRank(nn.Module):
    """Adds `SCALE * up @ down` to a weight, which is seen as a matrix (out, everything else).

    Source: Hu et al. 2021 (LoRA), section 4.1: `down` Gaussian, `up` zero, so that training starts at the weight.
    """

    def __init__(self, weight: Tensor, rank: int) -> None:
        """Make factors of `rank` (at most the weight's own) for a weight."""
        super().__init__()
        rows, columns = weight.shape[0], weight[0].numel()
        rank = min(rank, rows, columns)
        self.down = nn.Parameter(torch.randn(rank, columns) / columns**0.5)
        self.up = nn.Parameter(torch.zeros(rows, rank))

    def forward(self, weight: Tensor) -> Tensor:
        """Return the weight with the product added, in the weight's own precision."""
        with torch.autocast(weight.device.type, enabled=False):
            return weight + SCALE * (self.up @ self.down).reshape(weight.shape)


def targets(model: nn.Module) -> list[tuple[nn.Module, str]]:
    """Return (module, parameter name) of every weight that gets factors."""
    found: list[tuple[nn.Module, str]] = []
    for module in model.modules():
        kernel = isinstance(module, nn.Conv2d) and module.groups == 1 and module.kernel_size in KERNELS
        if kernel or isinstance(module, nn.Linear):
            found.append((module, "weight"))
        for name in PLAIN:
            value = module._parameters.get(name)
            if value is not None and value.ndim == 2:
                found.append((module, name))
    return found


def add_low_rank(model: nn.Module, rank: int) -> int:
    """Freeze the model and put low-rank factors beside its matrices and small kernels; return how many.

    Their start is drawn from torch's global generator.
    """
    chosen = [(module, name, getattr(module, name)) for module, name in targets(model)]
    model.requires_grad_(False)
    for module, name, weight in chosen:
        parametrize.register_parametrization(module, name, LowRank(weight.detach(), rank))
    return len(chosen)


def merged_state(model: nn.Module) -> dict[str, Tensor]:
    """Return the model's state with the factors merged into plain weights, as if it had never had any."""
    state: dict[str, Tensor] = {}
    with torch.no_grad():
        for key, value in model.state_dict().items():
            owner, mark, rest = key.partition("parametrizations.")
            if not mark:
                state[key] = value
                continue
            name, _, part = rest.partition(".")
            if part == "original":
                state[owner + name] = getattr(model.get_submodule(owner.rstrip(".")), name)
    return state
