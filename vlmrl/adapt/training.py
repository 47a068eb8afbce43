"""The state of an adaptation: weights, optimiser, step; one step of it, and its way to disk and back."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from vlmrl.adapt.batches import BatchMaker, Inputs
from vlmrl.adapt.config import AdaptConfig
from vlmrl.adapt.model import (
    backward,
    calibrate_bias,
    choose_half,
    frozen_digest,
    make_optimizer,
    prepare,
    set_training,
    trained_state,
)
from vlmrl.adapt.side_by_side import SideBySide
from vlmrl.adapt.validation import validate
from vlmrl.checkpoints import Checkpoint
from vlmrl.encoders.sources import LoadedClip
from vlmrl.errors import usage_error

WARMUP = 0.2
"""Largest share of a run that its warm-up takes, by steps or by the clock."""


def learning_rate(config: AdaptConfig, step: int, progress: float) -> float:
    """Return the rate of a step: linear warm-up, then half a cosine down to 2% at `progress` 1.

    `progress`, 0 to 1, is the share that is done by steps or by the clock, whichever is further.
    """
    warmup = max(1, min(config.warmup, config.steps // 5))
    rise = min(1.0, max((step + 1) / warmup, progress / WARMUP))
    return config.learning_rate() * rise * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(progress, 1.0))))


class NotFinite(FloatingPointError):
    """A loss or a gradient that is NaN or infinite; nothing has been learnt from it."""


class Training:
    """A model on its way: everything that a checkpoint has to hold."""

    def __init__(self, config: AdaptConfig, loaded: LoadedClip, device: torch.device) -> None:
        """Make `loaded` trainable on `device`."""
        self.config, self.loaded, self.model = config, loaded, loaded.model
        torch.manual_seed(config.seed)  # the start of low-rank factors
        self.fresh_bias = prepare(loaded, config)
        self.model.to(device)
        self.optimizer = make_optimizer(self.model, config)
        self.half = choose_half(config.precision, self.model, device)
        self.beside = (
            SideBySide(self.model, config.workers) if config.workers > 1 and device.type == "cpu" else None
        )
        self.step = 0
        self.seconds = 0.0
        """Time spent training so far, interruptions left out."""
        self.whole = True
        """False while a step is being taken: what is there then is not to be saved."""
        self.digest = frozen_digest(self.model)
        self._names = {id(p): name for name, p in self.model.named_parameters()}

    def begin(self, inputs: Inputs) -> None:
        """Set up what depends on the first batch; not called when a run is resumed."""
        if self.fresh_bias:
            self.model.eval()
            calibrate_bias(self.model, inputs, self.config.labels, self.half)

    def train_step(self, inputs: Inputs, progress: float) -> float:
        """Do one optimiser step and return its loss.

        Raises: NotFinite; weights and batch normalisation's statistics are then as before the step.
        """
        config = self.config
        set_training(self.model, frozen_norms=bool(config.low_rank))
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(config, self.step, progress)
        torch.manual_seed(config.seed * 1_000_003 + self.step)  # dropout: so a resumed step is the same step
        self.optimizer.zero_grad(set_to_none=True)
        with self._statistics_put_back():
            if self.beside is not None:
                loss = self.beside.backward(inputs, config.labels, self.half)
            else:
                loss = backward(self.model, inputs, config.labels, config.accumulate, self.half)
            trainable = [p for group in self.optimizer.param_groups for p in group["params"]]
            norm = float(torch.nn.utils.clip_grad_norm_(trainable, config.clip_norm))
            if not (math.isfinite(loss) and math.isfinite(norm)):
                self.optimizer.zero_grad(set_to_none=True)
                raise NotFinite(f"loss: got {loss} (gradient {norm}) at step {self.step}")
        self.optimizer.step()
        with torch.no_grad():
            self.model.logit_scale.clamp_(max=math.log(config.max_logit_scale))
        self.step += 1
        self.whole = True
        return loss

    @contextlib.contextmanager
    def _statistics_put_back(self) -> Iterator[None]:
        """Put buffers, which batch normalisation moves as a loss is computed, back as they were if that fails."""
        before = [buffer.clone() for buffer in self.model.buffers()]
        self.whole = False
        try:
            yield
        except BaseException:
            for buffer, value in zip(self.model.buffers(), before, strict=True):
                buffer.copy_(value)
            self.whole = True
            raise

    def validate(self, inputs: Inputs, maker: BatchMaker) -> dict[str, float]:
        """Judge the model on the held-out batch. Raises: NotFinite if its loss is not finite."""
        found = validate(self.model, inputs, maker, self.config.labels, self.half)
        if not math.isfinite(found["loss"]):
            raise NotFinite(f"validation loss: got {found['loss']} at step {self.step}")
        return found

    def close(self) -> None:
        """Stop the threads that it computes on, if it has any; it trains no more."""
        if self.beside is not None:
            self.beside.close()

    def tensors(self) -> dict[str, np.ndarray]:
        """Return what a checkpoint holds: trained weights, buffers, the optimiser's state."""
        found = {f"model.{name}": value for name, value in trained_state(self.model).items()}
        for parameter, state in self.optimizer.state.items():
            name = self._names[id(parameter)]
            found |= {f"adam/{name}/{key}": value for key, value in state.items()}
        return {name: value.detach().cpu().numpy() for name, value in found.items()}

    def extra(self) -> dict[str, Any]:
        """Return what a checkpoint holds beside tensors."""
        return {"seconds": self.seconds, "frozen": self.digest}

    def restore(self, checkpoint: Checkpoint) -> None:
        """Take weights, optimiser and step from a checkpoint.

        Raises: UsageError if it is of another model, or of another start.
        """
        if checkpoint.extra["frozen"] != self.digest:
            got = f"{self.config.start} with other weights than at the beginning"
            raise usage_error("start", got, "the same weights", "put them back, or begin anew")
        tensors = {name: torch.from_numpy(np.array(value)) for name, value in checkpoint.tensors.items()}
        weights = {n.removeprefix("model."): t for n, t in tensors.items() if n.startswith("model.")}
        if weights.keys() != trained_state(self.model).keys():
            got = f"{checkpoint.path} with {len(weights)} tensors"
            raise usage_error("checkpoint", got, "one of this model", "resume with what the run began with")
        self.model.load_state_dict(weights, strict=False)
        saved = self.optimizer.state_dict()
        order = [p for group in self.optimizer.param_groups for p in group["params"]]
        index = {self._names[id(p)]: number for number, p in enumerate(order)}
        saved["state"] = {}
        for key, value in tensors.items():
            if key.startswith("adam/"):
                _, name, part = key.split("/")
                if value.shape == order[index[name]].shape:
                    # The fused kernel reads both in the order of memory: kernels are channels last, files are not.
                    value = torch.empty_like(order[index[name]], dtype=value.dtype).copy_(value)
                saved["state"].setdefault(index[name], {})[part] = value
        self.optimizer.load_state_dict(saved)
        self.step, self.seconds = checkpoint.global_step, float(checkpoint.extra["seconds"])
