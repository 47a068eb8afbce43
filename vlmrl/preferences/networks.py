"""Ensembles of reward networks: heads on embeddings, computed as one, and RL-VLM-F's small CNN on pixels."""

from __future__ import annotations

import itertools
import math

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from vlmrl.errors import usage_error
from vlmrl.preferences.configs import ConvConfig, HeadConfig


class EmbeddingEnsemble(nn.Module):
    """E multilayer perceptrons on embeddings, their weights stacked so that one product computes all.

    Inputs are centred and divided by one number (`set_inputs`): the embeddings of one world's frames lie close
    together. The output is unbounded.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, dim: int, config: HeadConfig, generator: torch.Generator) -> None:
        super().__init__()
        sizes = (dim, *config.hidden, 1)
        self.weights, self.biases = nn.ParameterList(), nn.ParameterList()
        for inputs, outputs in itertools.pairwise(sizes):
            bound = 1 / math.sqrt(inputs)
            weight = torch.rand(config.members, inputs, outputs, generator=generator) * 2 * bound - bound
            self.weights.append(nn.Parameter(weight))
            self.biases.append(nn.Parameter(torch.zeros(config.members, 1, outputs)))
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("scale", torch.ones(()))

    def set_inputs(self, embeddings: Float[Tensor, "frames dim"]) -> None:
        """Centre and scale the inputs by these embeddings."""
        self.mean.copy_(embeddings.mean(dim=0))
        self.scale.copy_((embeddings - self.mean).square().mean().sqrt().clamp_min(1e-6))

    def forward(self, embeddings: Float[Tensor, "members batch dim"]) -> Float[Tensor, "members batch"]:
        """Return each member's rewards of its own batch."""
        x = (embeddings - self.mean) / self.scale
        last = len(self.weights) - 1
        for i, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            x = torch.baddbmm(bias, x, weight)
            x = x if i == last else F.silu(x)
        return x.squeeze(-1)


class PixelEnsemble(nn.Module):
    """E small convolutional networks on uint8 frames, ReLU between the layers, tanh at the end: rewards in -1..1.

    Source: RL-VLM-F's image reward (kernels, channels, strides, no padding, no normalisation, its small last layer).
    Deviation: frames stay uint8 until a network reads them.
    """

    def __init__(self, height: int, width: int, config: ConvConfig, generator: torch.Generator) -> None:
        super().__init__()
        self.frame_shape = (height, width, 3)
        outputs = (_side(height, config), _side(width, config))
        if min(outputs) < 1:
            remedy = "render larger frames (64 is enough for the default), or give fewer layers"
            raise usage_error(
                "frames", f"{height}x{width} pixels", "frames that the layers do not use up", remedy
            )
        self.members = nn.ModuleList(_conv_net(outputs, config, generator) for _ in range(config.members))

    def forward(
        self, frames: UInt8[Tensor, "members batch height width 3"]
    ) -> Float[Tensor, "members batch"]:
        """Return each member's rewards of its own batch."""
        rewards = []
        for member, part in zip(self.members, frames, strict=True):
            images = part.permute(0, 3, 1, 2).float() / 255
            rewards.append(torch.tanh(member(images)).squeeze(-1))
        return torch.stack(rewards)


def rows_at_once(shape: tuple[int, ...]) -> int:
    """Return how many items of this shape are scored at once: 128 MiB of them as float32, at least one item."""
    return max(1, 2**25 // max(math.prod(shape), 1))


@torch.no_grad()
def silence(ensemble: nn.Module) -> None:
    """Let an ensemble say 0 of everything."""
    for parameter in ensemble.parameters():
        parameter.zero_()


def _side(side: int, config: ConvConfig) -> int:
    """Return a frame's side after all layers, below 1 if they use it up."""
    for kernel, stride in zip(config.kernels, config.strides, strict=True):
        side = (side - kernel) // stride + 1
    return side


def _conv_net(outputs: tuple[int, int], config: ConvConfig, generator: torch.Generator) -> nn.Sequential:
    layers: list[nn.Module] = []
    inputs = 3
    for kernel, channels, stride in zip(config.kernels, config.channels, config.strides, strict=True):
        layers += [_started(nn.Conv2d(inputs, channels, kernel, stride), None, generator), nn.ReLU()]
        inputs = channels
    last = nn.Linear(inputs * outputs[0] * outputs[1], 1)
    return nn.Sequential(*layers, nn.Flatten(), _started(last, 1e-3, generator))


def _started(layer: nn.Conv2d | nn.Linear, bound: float | None, generator: torch.Generator) -> nn.Module:
    """Set a layer's start: weights uniform within `bound` (1 / sqrt(inputs) where None), bias 0."""
    bound = bound or 1 / math.sqrt(layer.weight[0].numel())
    with torch.no_grad():
        layer.weight.copy_(torch.rand(layer.weight.shape, generator=generator) * 2 * bound - bound)
        assert layer.bias is not None
        layer.bias.zero_()
    return layer
